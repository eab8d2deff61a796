//! The menu of Tab, and the one that opens by itself while somebody types: it shows what may come, and takes no key.

use lapwing_term::console::words::word_end;
use reedline::{
    ColumnarMenu, Completer, CompletionResult, Editor, LineBuffer, Menu, MenuEvent, MenuSettings, Painter,
    Suggestion, UndoBehavior,
};

/// Lines of it: more would move the screen at every key.
const LINES: usize = 5;

/// Stands where not all is shown.
pub(super) const MORE: &str = "… and more";

/// Without colours our styles have none; those of the menu write what is chosen in capitals.
const STYLED: bool = true;

/// The menu of Tab. It completes the whole word under the cursor.
pub(super) struct Choosing(pub(super) ColumnarMenu);

impl Menu for Choosing {
    fn settings(&self) -> &MenuSettings {
        self.0.settings()
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn clear_input(&mut self) {
        self.0.clear_input();
    }

    fn menu_event(&mut self, event: MenuEvent) {
        self.0.menu_event(event);
    }

    fn can_quick_complete(&self) -> bool {
        self.0.can_quick_complete()
    }

    fn can_partially_complete(
        &mut self,
        values_updated: bool,
        editor: &mut Editor,
        completer: &mut dyn Completer,
    ) -> bool {
        self.0.can_partially_complete(values_updated, editor, completer)
    }

    fn update_values(&mut self, editor: &mut Editor, completer: &mut dyn Completer) {
        // Else the tail of the word would be left as a word of its own.
        let to_end = |line: &mut LineBuffer| {
            line.set_insertion_point(word_end(line.get_buffer(), line.insertion_point()));
        };
        editor.edit_buffer(to_end, UndoBehavior::MoveCursor);
        self.0.update_values(editor, completer);
    }

    fn reset_position(&mut self) {
        self.0.reset_position();
    }

    fn update_working_details(
        &mut self,
        editor: &mut Editor,
        completer: &mut dyn Completer,
        painter: &Painter,
    ) {
        self.0.update_working_details(editor, completer, painter);
    }

    fn replace_in_buffer(&self, editor: &mut Editor) {
        self.0.replace_in_buffer(editor);
    }

    fn menu_required_lines(&self, terminal_columns: u16) -> u16 {
        lines(&self.0, terminal_columns)
    }

    fn menu_string(&self, available_lines: u16, _: bool) -> String {
        text(&self.0, available_lines)
    }

    fn min_rows(&self) -> u16 {
        self.menu_required_lines(u16::MAX).min(self.0.min_rows())
    }

    fn get_values(&self) -> &[Suggestion] {
        self.0.get_values()
    }

    fn results_are_provisional(&self) -> bool {
        self.0.results_are_provisional()
    }

    fn is_awaiting_first_answer(&self) -> bool {
        self.0.is_awaiting_first_answer()
    }
}

/// None where there is nothing to offer.
fn lines(menu: &ColumnarMenu, terminal_columns: u16) -> u16 {
    if menu.get_values().is_empty() {
        return 0;
    }
    menu.menu_required_lines(terminal_columns)
}

/// Nothing where there is nothing to offer.
fn text(menu: &ColumnarMenu, available_lines: u16) -> String {
    if menu.get_values().is_empty() {
        return String::new();
    }
    menu.menu_string(available_lines, STYLED)
}

/// Shows, but never writes into the line: that is for the menu of Tab.
pub(super) struct Typing(pub(super) ColumnarMenu);

impl Menu for Typing {
    fn settings(&self) -> &MenuSettings {
        self.0.settings()
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn clear_input(&mut self) {
        self.0.clear_input();
    }

    fn menu_event(&mut self, event: MenuEvent) {
        // The editor has asked for nothing on our behalf, for we complete nothing.
        self.0.menu_event(match event {
            MenuEvent::Activate(_) => MenuEvent::Activate(false),
            MenuEvent::Edit(_) => MenuEvent::Edit(false),
            other => other,
        });
    }

    fn can_quick_complete(&self) -> bool {
        false
    }

    fn can_partially_complete(&mut self, _: bool, _: &mut Editor, _: &mut dyn Completer) -> bool {
        false
    }

    fn update_values(&mut self, editor: &mut Editor, completer: &mut dyn Completer) {
        self.0.update_values(editor, &mut Few(completer));
    }

    fn reset_position(&mut self) {
        self.0.reset_position();
    }

    fn update_working_details(
        &mut self,
        editor: &mut Editor,
        completer: &mut dyn Completer,
        painter: &Painter,
    ) {
        self.0
            .update_working_details(editor, &mut Few(completer), painter);
    }

    fn replace_in_buffer(&self, _: &mut Editor) {}

    fn menu_required_lines(&self, terminal_columns: u16) -> u16 {
        lines(&self.0, terminal_columns)
    }

    fn menu_string(&self, available_lines: u16, _: bool) -> String {
        text(&self.0, available_lines)
    }

    fn min_rows(&self) -> u16 {
        self.menu_required_lines(u16::MAX).min(self.0.min_rows())
    }

    fn get_values(&self) -> &[Suggestion] {
        self.0.get_values()
    }

    /// So nothing of it is ever taken by Enter.
    fn results_are_provisional(&self) -> bool {
        true
    }
}

/// A few of what another one offers: nothing for an empty line, nor for a word that is whole.
struct Few<'a>(&'a mut dyn Completer);

impl Completer for Few<'_> {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        if line.trim().is_empty() {
            return CompletionResult::fresh(Vec::new());
        }
        let found = self.0.complete(line, pos);
        let is_typed = |s: &Suggestion| line.get(s.span.start..s.span.end) == Some(s.value.as_str());
        let all = found.suggestions();
        let mut few = match all {
            [only] if is_typed(only) => Vec::new(),
            all => all[..all.len().min(LINES)].to_vec(),
        };
        if all.len() > LINES
            && let Some(last) = few.last_mut()
        {
            last.display_override = Some(MORE.to_owned());
            last.description = None;
        }
        CompletionResult::fresh(few)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words(usize);

    impl Completer for Words {
        fn complete(&mut self, _: &str, _: usize) -> CompletionResult {
            let word = |n| Suggestion {
                value: format!("word-{n}"),
                ..Suggestion::default()
            };
            CompletionResult::fresh((0..self.0).map(word).collect::<Vec<_>>())
        }
    }

    #[test]
    fn where_there_is_nothing_to_offer_nothing_is_shown() {
        let mut menu = Choosing(ColumnarMenu::default());
        menu.update_values(&mut Editor::default(), &mut Words(0));
        assert_eq!(
            (menu.menu_string(10, false), menu.menu_required_lines(80)),
            (String::new(), 0)
        );
        menu.update_values(&mut Editor::default(), &mut Words(2));
        assert!(menu.menu_required_lines(80) > 0);
    }

    #[test]
    fn the_last_of_a_few_says_that_there_is_more() {
        for (count, expected) in [(LINES, "word-4"), (LINES + 1, MORE)] {
            let found = Few(&mut Words(count)).complete("x", 1);
            let shown: Vec<&str> = found
                .suggestions()
                .iter()
                .map(Suggestion::display_value)
                .collect();
            assert_eq!((shown.len(), shown[LINES - 1]), (LINES, expected));
        }
    }
}
