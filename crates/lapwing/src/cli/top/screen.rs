//! The terminal of `top`: its own screen, keys, mouse and pasted text. However it ends, the terminal is left as it was
//! found.

use std::{
    io::{self, BufWriter, Stdout},
    sync::Once,
};

use crossterm::{
    event::{self, Event},
    terminal::{disable_raw_mode, enable_raw_mode},
};
use lapwing_term::top::Model;
use ratatui::{Terminal, backend::CrosstermBackend};
use tokio::sync::mpsc;

use crate::out;

/// Another screen, cleared, without a cursor; buttons and the wheel of the mouse with places beyond column 223; pasted
/// text in brackets (xterm, "Control Sequences").
const ENTER: &str = "\u{1b}[?1049h\u{1b}[2J\u{1b}[?25l\u{1b}[?1000h\u{1b}[?1006h\u{1b}[?2004h";
/// It is cleared first: tmux 3.3 mixes wide lines into the screen below when the size has changed meanwhile.
const LEAVE: &str = "\u{1b}[?2004l\u{1b}[?1006l\u{1b}[?1000l\u{1b}[?25h\u{1b}[0m\u{1b}[2J\u{1b}[?1049l";
/// A frame goes out in few pieces.
const PIECE: usize = 1 << 16;
/// Keys that wait to be read.
const KEYS: usize = 256;

/// The screen while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        restore_on_panic();
        begin()?;
        let terminal = fresh();
        if terminal.is_err() {
            restore();
        }
        Ok(Self { terminal: terminal? })
    }

    /// Takes the screen again, after somebody else had it, and draws all of it at the next frame.
    pub(super) fn enter_again(&mut self) -> io::Result<()> {
        begin()?;
        self.terminal = fresh()?;
        Ok(())
    }

    /// Gives the screen to the shell for a while.
    pub(super) fn lend() {
        restore();
    }

    pub(super) fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        self.terminal
            .draw(|frame| model.draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// What is typed, clicked and pasted, until the terminal is gone.
pub(super) fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (tell, keys) = mpsc::channel(KEYS);
    let read = move || {
        while let Ok(event) = event::read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(keys)
}

fn begin() -> io::Result<()> {
    enable_raw_mode()?;
    out::print(ENTER)
}

/// A terminal of which nothing is known.
fn fresh() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    let out = BufWriter::with_capacity(PIECE, io::stdout());
    Terminal::new(CrosstermBackend::new(out))
}

/// Nothing can be done about a terminal that takes neither.
fn restore() {
    drop(out::print(LEAVE));
    drop(disable_raw_mode());
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
