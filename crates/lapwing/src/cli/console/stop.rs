//! What ends the console from outside: a signal, or a panic of its own.
//!
//! It must never leave the terminal as only the editor needs it.

use std::{
    io,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossterm::terminal::disable_raw_mode;
use nix::libc::{SIGHUP, SIGQUIT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::out;

/// Longest time that the console takes to leave.
const LEAVING: Duration = Duration::from_secs(3);
/// Pastes come as keys again (xterm control sequences, DECRST 2004).
const NO_PASTES: &str = "\u{1b}[?2004l";

/// Whether somebody wants the console to leave. The default is that nobody ever does.
#[derive(Clone, Default)]
pub(super) struct Stop {
    is_asked: watch::Sender<bool>,
    /// Ends the typing.
    typing: Arc<AtomicBool>,
}

impl Stop {
    /// From now on SIGTERM, SIGHUP and SIGQUIT ask the console to leave, and a panic leaves the terminal usable.
    pub(super) fn listen(runtime: &Handle) -> io::Result<Self> {
        restore_on_panic();
        let _on_runtime = runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut quit = signal(SignalKind::quit())?;
        let stop = Self::default();
        let heard = stop.clone();
        runtime.spawn(async move {
            let signal = tokio::select! {
                _ = terminate.recv() => SIGTERM,
                _ = hangup.recv() => SIGHUP,
                _ = quit.recv() => SIGQUIT,
            };
            heard.typing.store(true, Ordering::Relaxed);
            heard.is_asked.send_replace(true);
            tokio::time::sleep(LEAVING).await;
            // The editor never comes back from a terminal that is gone.
            drop(disable_raw_mode());
            drop(emulate_default_handler(signal));
        });
        Ok(stop)
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.is_asked.borrow()
    }

    /// Waits until somebody asks.
    pub(super) async fn asked(&self) {
        // It cannot be closed while we are there.
        drop(self.is_asked.subscribe().wait_for(|asked| *asked).await);
    }

    /// True once the typing is to end.
    pub(super) fn typing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.typing)
    }
}

/// A panic must be readable, and the shell usable after it. One of another thread ends nothing.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() == Some("main") {
                drop(out::print(NO_PASTES));
                drop(disable_raw_mode());
            }
            before(info);
        }));
    });
}
