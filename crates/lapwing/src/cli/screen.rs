//! A terminal that is ours for a while: raw keys, a screen of its own. However it ends, by a panic too, the terminal is
//! left as it was found.

use std::{
    io,
    sync::{Mutex, Once, PoisonError},
};

use crossterm::{
    event::{self, Event},
    terminal::{disable_raw_mode, enable_raw_mode},
};

use crate::out;

/// What gives the terminal back, while it is ours.
static LEAVE: Mutex<Option<&'static str>> = Mutex::new(None);

/// The terminal, until this is dropped.
pub struct Taken {
    enter: &'static str,
}

impl Taken {
    /// Writes `enter` to a terminal with raw keys, and `leave` at the end.
    pub fn begin(enter: &'static str, leave: &'static str) -> io::Result<Self> {
        restore_on_panic();
        *LEAVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(leave);
        let taken = Self { enter };
        taken.again()?;
        Ok(taken)
    }

    /// Sets it up once more, after somebody else may have changed it.
    pub fn again(&self) -> io::Result<()> {
        // Raw keys are not set twice, also where a shell has taken them away meanwhile.
        disable_raw_mode()?;
        enable_raw_mode()?;
        out::print(self.enter)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        restore();
    }
}

/// Hands every event of the terminal to `each` on a thread of its own, until `each` wants no more or there is none.
pub fn read(mut each: impl FnMut(Event) -> bool + Send + 'static) -> io::Result<()> {
    let read = move || {
        while let Ok(event) = event::read() {
            if !each(event) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(())
}

/// Nothing can be done about a terminal that takes neither.
fn restore() {
    let leave = LEAVE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(leave) = leave {
        drop(out::print(leave));
        drop(disable_raw_mode());
    }
}

/// A panic must be readable, and the shell usable after it.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
