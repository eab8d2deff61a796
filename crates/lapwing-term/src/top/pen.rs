//! Text on the frame: never beyond its place, and never a control character; colours of states where they are wanted.

use lapwing_core::observation::clean;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::paint::Paint;

/// Longest text of a peer that is looked at, in bytes.
const LONGEST: usize = 2_000;

/// Cells that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    pub(super) paint: Paint,
    /// What is shown is old: nothing is as it was.
    pub(super) is_stale: bool,
}

impl Ink {
    pub(super) fn state(self, state: &str) -> Style {
        let style = Style::new();
        if self.is_stale || self.paint == Paint::Plain {
            return self.faint_if_stale();
        }
        match state {
            "up" => style.fg(Color::Green),
            "degraded" | "failing" => style.fg(Color::Yellow),
            "down" => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            "inconclusive" => style.fg(Color::Magenta),
            _ => style.fg(Color::DarkGray),
        }
    }

    pub(super) fn plain(self) -> Style {
        self.faint_if_stale()
    }

    pub(super) fn bold(self) -> Style {
        self.faint_if_stale().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        match self.paint {
            Paint::Plain => Style::new(),
            Paint::Colour => Style::new().fg(Color::DarkGray),
        }
    }

    /// Of a line that must be seen.
    pub(super) fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        match self.paint {
            Paint::Plain => style,
            Paint::Colour => style.fg(Color::Yellow),
        }
    }

    pub(super) fn chart(self) -> Style {
        match (self.paint, self.is_stale) {
            (Paint::Colour, false) => Style::new().fg(Color::Cyan),
            _ => self.faint_if_stale(),
        }
    }

    fn faint_if_stale(self) -> Style {
        if self.is_stale { self.faint() } else { Style::new() }
    }
}

/// A line that is written from left to right, and never becomes wider than its place.
pub(super) struct Line<'b> {
    buffer: &'b mut Buffer,
    place: Rect,
}

impl<'b> Line<'b> {
    pub(super) fn new(buffer: &'b mut Buffer, place: Rect) -> Self {
        let place = place.intersection(buffer.area);
        Self { buffer, place }
    }

    /// The buffer, for another line of it.
    pub(super) fn buffer(&mut self) -> &mut Buffer {
        self.buffer
    }

    /// Cells that are left.
    pub(super) fn left(&self) -> usize {
        if self.place.height == 0 {
            0
        } else {
            self.place.width.into()
        }
    }

    /// Where the next text goes.
    pub(super) fn rest(&self) -> Rect {
        Rect {
            height: self.place.height.min(1),
            ..self.place
        }
    }

    /// Writes as much as fits, and gives the place it has taken.
    pub(super) fn put(&mut self, text: &str, style: Style) -> Rect {
        let before = self.rest();
        if self.left() > 0 {
            let text = clean(text, LONGEST);
            let Rect { x, y, width, .. } = self.place;
            let (end, _) = self.buffer.set_stringn(x, y, text, width.into(), style);
            self.skip(end.saturating_sub(x).into());
        }
        Rect {
            width: before.width - self.place.width,
            ..before
        }
    }

    /// As [`Line::put`], in a column of `width`: what is too long ends in `…`, what is short is followed by gaps.
    pub(super) fn column(&mut self, text: &str, width: usize, style: Style) -> Rect {
        let width = width.min(self.left());
        let start = self.rest();
        let text = fit(&clean(text, LONGEST), width);
        let taken = self.put(&text, style).width;
        self.skip(width.saturating_sub(taken.into()));
        Rect {
            width: width as u16,
            ..start
        }
    }

    /// As [`Line::column`], at its right end.
    pub(super) fn right(&mut self, text: &str, width: usize, style: Style) {
        let width = width.min(self.left());
        let text = fit(&clean(text, LONGEST), width);
        self.skip(width.saturating_sub(text.width()));
        self.put(&text, style);
    }

    pub(super) fn skip(&mut self, cells: usize) {
        let cells = (cells.min(usize::from(u16::MAX)) as u16).min(self.place.width);
        self.place.x += cells;
        self.place.width -= cells;
    }
}

/// At most `width` cells of `text`, with `…` where something is left out.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let cells = c.width().unwrap_or(0);
        if cells > left {
            break;
        }
        left -= cells;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// As [`fit`], but the end of it.
pub(super) fn fit_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        let cells = c.width().unwrap_or(0);
        if cells > left {
            break;
        }
        left -= cells;
        start = at;
    }
    let mark = if width > 0 { "…" } else { "" };
    format!("{mark}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_wide_characters() {
        assert_eq!(fit("web", 3), "web");
        assert_eq!(fit("webs", 3), "we…");
        assert_eq!(fit("東京都", 6), "東京都");
        assert_eq!(fit("東京都", 5), "東京…");
        assert_eq!(fit("東京都", 4), "東…");
        assert_eq!(fit("東京都", 0), "");
        assert_eq!(fit_end("webs", 4), "webs");
        assert_eq!(fit_end("webs", 3), "…bs");
        assert_eq!(fit_end("東京都", 4), "…都");
        assert_eq!(fit_end("東京都", 1), "…");
        assert_eq!(fit_end("東京都", 0), "");
    }

    #[test]
    fn what_a_peer_writes_is_plain_text() {
        let area = Rect::new(0, 0, 12, 1);
        let mut buffer = Buffer::empty(area);
        Line::new(&mut buffer, area).put("a\u{1b}[31mb\u{202e}\nc", Style::new());
        let text: String = buffer
            .content
            .iter()
            .map(|cell| cell.symbol().to_owned())
            .collect();
        assert_eq!(text, "a [31mb  c  ");
    }

    #[test]
    fn columns_keep_their_width_and_their_place() {
        let area = Rect::new(0, 0, 10, 1);
        let mut buffer = Buffer::empty(area);
        let mut line = Line::new(&mut buffer, area);
        assert_eq!(line.column("東京都", 5, Style::new()).width, 5);
        line.right("1.2", 4, Style::new());
        assert_eq!((line.left(), line.put("too long", Style::new()).width), (1, 1));
        assert_eq!(line.put("x", Style::new()).width, 0);
        // A place that is not on the screen.
        let mut none = Line::new(&mut buffer, Rect::new(20, 3, 5, 1));
        none.column("x", 3, Style::new());
        none.right("x", 3, Style::new());
    }
}
