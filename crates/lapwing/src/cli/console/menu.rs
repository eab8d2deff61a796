//! The menu that opens by itself while somebody types: it shows what may come, and takes no key.

use reedline::{
    ColumnarMenu, Completer, CompletionResult, Editor, Menu, MenuEvent, MenuSettings, Painter, Suggestion,
};

/// Lines of it: more would move the screen at every key.
const LINES: usize = 5;

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
        if self.get_values().is_empty() {
            return 0;
        }
        self.0.menu_required_lines(terminal_columns)
    }

    fn menu_string(&self, available_lines: u16, use_ansi_coloring: bool) -> String {
        if self.get_values().is_empty() {
            return String::new();
        }
        self.0.menu_string(available_lines, use_ansi_coloring)
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
        let few = match found.suggestions() {
            [only] if is_typed(only) => &[],
            [few @ .., _] if few.len() >= LINES => &few[..LINES],
            all => all,
        };
        CompletionResult::fresh(few.to_vec())
    }
}
