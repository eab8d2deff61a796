//! The terminal of the live view: its own screen, its keys.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use lapwing_api::shapes::EventShape;
use tokio::sync::mpsc;

use crate::{
    cli::screen::{self, Taken},
    out,
};

/// Another screen, without a cursor and without wrapping of lines (xterm, "Control Sequences").
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
/// Events that are kept for a higher screen.
const EVENTS: usize = 200;

/// True where a live view can be shown.
pub fn is_fit() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb
}

/// The screen while it is ours.
pub(super) struct Screen {
    _taken: Taken,
    keys: mpsc::Receiver<()>,
    size: (usize, usize),
    pub(super) events: VecDeque<EventShape>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let taken = Taken::begin(ENTER, LEAVE)?;
        let (tell, keys) = mpsc::channel(1);
        screen::read(move |event| !ends(&event) || tell.blocking_send(()).is_ok())?;
        Ok(Self {
            _taken: taken,
            keys,
            size: (0, 0),
            events: VecDeque::new(),
        })
    }

    /// Waits until somebody ends it by a key. Never comes back when there are no more keys.
    pub(super) async fn ended(&mut self) {
        if self.keys.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn event(&mut self, event: EventShape) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Shows what `lines` makes of the width and height. False when the terminal is gone.
    pub(super) fn draw(
        &mut self,
        lines: impl FnOnce(&Self, usize, usize) -> Vec<String>,
    ) -> io::Result<bool> {
        let size = (out::width().unwrap_or(80), out::height().unwrap_or(24));
        let mut text = String::new();
        if size != self.size {
            text.push_str("\u{1b}[2J");
        }
        self.size = size;
        // Each line is cleared before it is written: after a full one, the last column would be.
        text.push_str("\u{1b}[H\u{1b}[K");
        text.push_str(&lines(self, size.0, size.1).join("\r\n\u{1b}[K"));
        out::print_live(&text)
    }
}

fn ends(event: &Event) -> bool {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press,
        ..
    }) = event
    else {
        return false;
    };
    match code {
        KeyCode::Char('q' | 'Q') => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_end_it() {
        let key = |code, modifiers| ends(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(!ends(&Event::Resize(20, 5)));
    }
}
