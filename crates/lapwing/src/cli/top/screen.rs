//! The terminal of `top`: its own screen, keys, mouse and pasted text.

use std::io::{self, BufWriter, Stdout};

use crossterm::event::Event;
use lapwing_term::top::Model;
use ratatui::{Terminal, backend::CrosstermBackend};
use tokio::sync::mpsc;

use crate::cli::screen::{self, Taken};

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
    /// None while it is lent.
    taken: Option<Taken>,
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        Ok(Self {
            taken: Some(Taken::begin(ENTER, LEAVE)?),
            terminal: fresh()?,
        })
    }

    /// Takes the screen again, after somebody else had it, and draws all of it at the next frame.
    pub(super) fn enter_again(&mut self) -> io::Result<()> {
        match &self.taken {
            Some(taken) => taken.again()?,
            None => self.taken = Some(Taken::begin(ENTER, LEAVE)?),
        }
        self.terminal = fresh()?;
        Ok(())
    }

    /// Gives the screen to the shell for a while.
    pub(super) fn lend(&mut self) {
        self.taken = None;
    }

    /// Draws nothing while it is lent.
    pub(super) fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        if self.taken.is_none() {
            return Ok(());
        }
        self.terminal
            .draw(|frame| model.draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }
}

/// What is typed, clicked and pasted, until the terminal is gone.
pub(super) fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (tell, keys) = mpsc::channel(KEYS);
    screen::read(move |event| tell.blocking_send(event).is_ok())?;
    Ok(keys)
}

/// A terminal of which nothing is known.
fn fresh() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    let out = BufWriter::with_capacity(PIECE, io::stdout());
    Terminal::new(CrosstermBackend::new(out))
}
