//! Which rows of a long list are on the screen, and which one is selected. Counts alone; it knows no rows.

use std::ops::Range;

/// Rows that are asked for at least: a short screen does not ask again at every key.
const LEAST: usize = 20;
/// Most rows that are asked for at once.
const MOST: usize = 600;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The selected row.
    pub(super) cursor: usize,
    /// The first row on the screen.
    pub(super) top: usize,
    /// Rows on the screen.
    pub(super) height: usize,
    /// Rows that there are.
    pub(super) count: usize,
}

impl Window {
    /// The rows on the screen.
    pub(super) fn shown(&self) -> Range<usize> {
        self.top..self.count.min(self.top + self.height)
    }

    /// How many rows there are now, and where the selected one is, if it is to be followed. It keeps its line, but that
    /// the upper end of the list stays on the screen as long as it can: worse ones come in there.
    pub(super) fn take(&mut self, count: usize, selected: Option<usize>) {
        self.count = count;
        if let Some(selected) = selected {
            let line = self.cursor.saturating_sub(self.top);
            self.cursor = selected;
            if self.top > 0 {
                self.top = selected.saturating_sub(line);
            }
        }
        self.settle();
    }

    pub(super) fn resize(&mut self, height: usize) {
        self.height = height;
        self.settle();
    }

    /// Selects another row, so many further.
    pub(super) fn step(&mut self, by: isize) {
        self.cursor = self.cursor.saturating_add_signed(by);
        self.settle();
    }

    pub(super) fn page(&mut self, pages: isize) {
        let by = pages * self.height.saturating_sub(1).max(1) as isize;
        self.top = self.top.saturating_add_signed(by);
        self.step(by);
    }

    pub(super) fn home(&mut self) {
        (self.cursor, self.top) = (0, 0);
    }

    pub(super) fn end(&mut self) {
        self.cursor = self.count.saturating_sub(1);
        self.settle();
    }

    pub(super) fn select(&mut self, row: usize) {
        self.cursor = row;
        self.settle();
    }

    /// Moves the rows under the screen; the selected one is always on it.
    pub(super) fn scroll(&mut self, by: isize) {
        let last = self.count.saturating_sub(self.height);
        self.top = self.top.saturating_add_signed(by).min(last);
        let bottom = (self.top + self.height).saturating_sub(1).max(self.top);
        self.cursor = self.cursor.clamp(self.top, bottom);
        self.settle();
    }

    /// Offset and count of the rows to ask for: the same as are `loaded` while these reach beyond the screen.
    pub(super) fn to_load(self, loaded: Option<(usize, usize)>) -> (usize, usize) {
        let limit = (self.height * 3).clamp(LEAST, MOST);
        if let Some((offset, held)) = loaded {
            let margin = self.height / 2;
            let above = offset == 0 || offset + margin <= self.top;
            let below = offset + held >= self.count || self.top + self.height + margin <= offset + held;
            if above && below && offset <= self.top && held <= limit {
                return (offset, limit);
            }
        }
        let last = self.count.saturating_sub(limit);
        (self.top.saturating_sub(self.height).min(last), limit)
    }

    fn settle(&mut self) {
        self.cursor = self.cursor.min(self.count.saturating_sub(1));
        self.top = self.top.min(self.count.saturating_sub(self.height));
        if self.cursor < self.top {
            self.top = self.cursor;
        }
        if self.height > 0 && self.cursor >= self.top + self.height {
            self.top = self.cursor + 1 - self.height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(count: usize, height: usize) -> Window {
        let mut window = Window::default();
        window.resize(height);
        window.take(count, None);
        window
    }

    #[test]
    fn pages_reach_both_ends_of_100_000_rows() {
        let mut window = window(100_000, 20);
        window.page(1);
        assert_eq!((window.top, window.cursor), (19, 19));
        window.end();
        assert_eq!((window.top, window.cursor), (99_980, 99_999));
        window.page(1);
        assert_eq!((window.top, window.cursor), (99_980, 99_999));
        window.page(-1);
        assert_eq!((window.top, window.cursor), (99_961, 99_980));
        window.home();
        window.page(-1);
        assert_eq!((window.top, window.cursor), (0, 0));
        window.step(20);
        assert_eq!((window.top, window.cursor), (1, 20));
    }

    #[test]
    fn scrolling_keeps_the_selected_row_on_the_screen() {
        let mut window = window(100, 10);
        window.scroll(3);
        assert_eq!((window.top, window.cursor), (3, 3));
        window.select(12);
        window.scroll(-3);
        assert_eq!((window.top, window.cursor), (0, 9));
        window.scroll(1_000);
        assert_eq!((window.top, window.cursor), (90, 90));
    }

    #[test]
    fn the_selected_row_is_followed_and_the_upper_end_stays_in_sight() {
        let mut window = window(100, 10);
        window.take(100, Some(4));
        assert_eq!((window.cursor, window.top), (4, 0));
        window.take(100, Some(40));
        assert_eq!((window.cursor, window.top), (40, 31));
        window.take(100, Some(50));
        assert_eq!((window.cursor, window.top), (50, 41));
        window.take(3, None);
        assert_eq!((window.cursor, window.top), (2, 0));
        window.take(0, None);
        assert_eq!((window.cursor, window.top, window.shown().len()), (0, 0, 0));
    }

    #[test]
    fn rows_are_asked_for_before_they_are_reached() {
        let mut window = window(1_000, 20);
        assert_eq!(window.to_load(None), (0, 60));
        let loaded = Some((0, 60));
        window.scroll(30);
        assert_eq!(window.to_load(loaded), (0, 60));
        window.scroll(1);
        assert_eq!(window.to_load(loaded), (11, 60));
        window.end();
        assert_eq!(window.to_load(loaded), (940, 60));
        assert_eq!(window.to_load(Some((940, 60))), (940, 60));
    }

    #[test]
    fn no_size_is_a_defect() {
        for (count, height) in [(0, 0), (0, 5), (5, 0), (1, 1), (3, 50)] {
            let mut window = window(count, height);
            for _ in 0..3 {
                window.page(1);
                window.scroll(-5);
                window.scroll(7);
                window.end();
                window.step(-1);
            }
            assert!(window.cursor <= count && window.top <= count, "{window:?}");
            assert!(window.shown().len() <= height, "{window:?}");
        }
    }
}
