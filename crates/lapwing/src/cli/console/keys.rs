//! What keys and pastes mean: those of Emacs and the shell, with a menu that opens as somebody types.
//!
//! A paste must never run anything, nor steer the terminal.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use lapwing_term::console::paste::cleaned;
use reedline::{
    EditCommand, EditMode, Emacs, PromptEditMode, ReedlineEvent, ReedlineRawEvent, default_emacs_keybindings,
};

/// The menu of Tab, and the one that opens by itself.
pub(super) const CHOICE: &str = "choice";
pub(super) const TYPING: &str = "typing";

/// Most of a paste that is taken, in bytes.
const PASTE: usize = 64 << 10;

pub(super) struct Keys {
    emacs: Emacs,
    /// The menu of Tab is open, or was.
    choosing: bool,
    /// Ctrl-R is at work.
    searching: bool,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            emacs: Emacs::new(default_emacs_keybindings()),
            choosing: false,
            searching: false,
        }
    }

    fn key(&mut self, key: KeyEvent) -> ReedlineEvent {
        use ReedlineEvent::{
            Down, Esc, HistoryHintComplete, Left, Menu, MenuNext, Multiple, Right, UntilFound, Up,
        };

        let was_choosing = std::mem::take(&mut self.choosing);
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('r') if is_control => self.searching = true,
            KeyCode::Enter | KeyCode::Esc => self.searching = false,
            KeyCode::Char('c' | 'd' | 'g') if is_control => self.searching = false,
            _ => {}
        }
        let usual = Event::Key(key)
            .try_into()
            .map_or(ReedlineEvent::None, |raw| self.emacs.parse_event(raw));
        if self.searching {
            return usual;
        }
        let without_menu = |event| Multiple(vec![Esc, event]);
        match (key.code, usual) {
            (KeyCode::Tab, _) if was_choosing => {
                self.choosing = true;
                UntilFound(vec![MenuNext, Menu(CHOICE.to_owned())])
            }
            (KeyCode::Tab, _) => {
                self.choosing = true;
                without_menu(Menu(CHOICE.to_owned()))
            }
            (KeyCode::BackTab | KeyCode::Up | KeyCode::Down | KeyCode::Left | KeyCode::Right, usual)
                if was_choosing =>
            {
                self.choosing = true;
                usual
            }
            // Where nobody chooses, the arrows are for the line and for what was typed.
            (KeyCode::Up, _) => without_menu(Up),
            (KeyCode::Down, _) => without_menu(Down),
            (KeyCode::Left, _) if key.modifiers.is_empty() => without_menu(Left),
            (KeyCode::Right, _) if key.modifiers.is_empty() => {
                without_menu(UntilFound(vec![HistoryHintComplete, Right]))
            }
            (_, ReedlineEvent::Edit(commands)) => {
                Multiple(vec![Esc, ReedlineEvent::Edit(commands), Menu(TYPING.to_owned())])
            }
            (_, usual) => usual,
        }
    }
}

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        match Event::from(event) {
            Event::Paste(text) => {
                let end = text.floor_char_boundary(PASTE);
                ReedlineEvent::Edit(vec![EditCommand::InsertString(cleaned(&text[..end]))])
            }
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            other => {
                let other = ReedlineRawEvent::try_from(other);
                other.map_or(ReedlineEvent::None, |raw| self.emacs.parse_event(raw))
            }
        }
    }

    fn edit_mode(&self) -> PromptEditMode {
        self.emacs.edit_mode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(keys: &mut Keys, code: KeyCode, modifiers: KeyModifiers) -> ReedlineEvent {
        let key = Event::Key(KeyEvent::new(code, modifiers));
        keys.parse_event(key.try_into().unwrap())
    }

    #[test]
    fn a_paste_is_text_and_no_key() {
        let mut keys = Keys::new();
        let paste = Event::Paste("pause web\r\nremove \u{1b}[Aweb\n".to_owned());
        let ReedlineEvent::Edit(commands) = keys.parse_event(paste.try_into().unwrap()) else {
            panic!("no edit");
        };
        assert_eq!(
            commands,
            [EditCommand::InsertString("pause web\nremove web".to_owned())]
        );
        let much = Event::Paste("ż".repeat(PASTE));
        let ReedlineEvent::Edit(commands) = keys.parse_event(much.try_into().unwrap()) else {
            panic!("no edit");
        };
        assert_eq!(commands, [EditCommand::InsertString("ż".repeat(PASTE / 2))]);
    }

    #[test]
    fn arrows_are_for_the_history_unless_somebody_chooses() {
        let mut keys = Keys::new();
        let none = KeyModifiers::NONE;
        let menu = ReedlineEvent::Multiple(vec![ReedlineEvent::Esc, ReedlineEvent::Menu(CHOICE.to_owned())]);
        let history = ReedlineEvent::Multiple(vec![ReedlineEvent::Esc, ReedlineEvent::Up]);
        assert_eq!(press(&mut keys, KeyCode::Up, none), history);
        assert_eq!(press(&mut keys, KeyCode::Tab, none), menu);
        assert_ne!(press(&mut keys, KeyCode::Up, none), history);
        assert!(matches!(
            press(&mut keys, KeyCode::Tab, none),
            ReedlineEvent::UntilFound(_)
        ));
        assert!(matches!(
            press(&mut keys, KeyCode::Char('x'), none),
            ReedlineEvent::Multiple(_)
        ));
        assert_eq!(press(&mut keys, KeyCode::Up, none), history);
    }

    #[test]
    fn while_searching_keys_are_left_alone() {
        let mut keys = Keys::new();
        let none = KeyModifiers::NONE;
        assert_eq!(
            press(&mut keys, KeyCode::Char('r'), KeyModifiers::CONTROL),
            ReedlineEvent::SearchHistory
        );
        assert!(matches!(
            press(&mut keys, KeyCode::Char('x'), none),
            ReedlineEvent::Edit(_)
        ));
        assert_eq!(press(&mut keys, KeyCode::Enter, none), ReedlineEvent::Enter);
        assert!(matches!(
            press(&mut keys, KeyCode::Char('x'), none),
            ReedlineEvent::Multiple(_)
        ));
    }
}
