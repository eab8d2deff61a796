//! The last line: the main keys, what is typed, or a word on what was done. And the page of all keys.

use ratatui::{
    buffer::Buffer,
    crossterm::event::KeyCode,
    layout::Rect,
    widgets::{Clear, Widget},
};

use super::{
    Entry, Hit, Model,
    pen::{Ink, Line, fit, fit_end, width},
    view::{cut_top, rule},
};

/// The main keys, the most important first.
const KEYS: [(&str, KeyCode, &str); 10] = [
    ("q", KeyCode::Char('q'), "quit"),
    ("?", KeyCode::Char('?'), "keys"),
    ("/", KeyCode::Char('/'), "search"),
    ("Enter", KeyCode::Enter, "details"),
    (">", KeyCode::Char('>'), "sort"),
    ("Tab", KeyCode::Tab, "state"),
    ("p", KeyCode::Char('p'), "pause"),
    ("a", KeyCode::Char('a'), "ack"),
    ("s", KeyCode::Char('s'), "silence"),
    ("c", KeyCode::Char('c'), "check"),
];

const ALL: [(&str, &str); 19] = [
    ("↑ ↓  j k", "the series above or below"),
    ("PgUp PgDn  Space", "a screen further"),
    ("Home End  g G", "the first, the last"),
    ("Enter", "details: open, close"),
    ("← →  [ ]", "details: the last 1h, 24h, 7d, 30d"),
    ("/", "search in names, targets, labels"),
    ("Tab  Shift-Tab", "one state alone, the next one"),
    ("1 … 7, 0", "down, failing, degraded, … up; 0 all"),
    ("< >", "sort by another column"),
    ("r", "sort the other way round"),
    ("Esc", "back: details, search, state"),
    ("p", "pause, or resume"),
    ("a", "acknowledge the outage"),
    ("s", "silence for a while, or end it"),
    ("c", "check now"),
    ("l", "log: open, close"),
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "to the shell; fg comes back"),
    ("q  Ctrl-C", "quit"),
];

const MOUSE: &str = "Mouse: click a row, a column head, a count, a key; turn the wheel.";
const MARKS: &str = "x down  ! failing  ~ degraded  ? inconclusive  = paused  . pending  + up";

impl Model {
    pub(super) fn footer(&mut self, place: Rect, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, place);
        if let Some(said) = &self.said {
            let style = if said.is_bad { ink.alarm() } else { ink.bold() };
            line.column(&said.text.replace('\n', " "), usize::MAX, style);
            return;
        }
        let (label, text) = match &self.entry {
            Entry::Keys => return self.keys(place, ink, buffer),
            Entry::Search => ("search: ".to_owned(), self.list.query.search.as_str()),
            Entry::Silence { series, text } => {
                (format!("silence {series} for how long, and why: "), text.as_str())
            }
        };
        // What is typed must be seen, its end and the cursor above all.
        let room = line.left().saturating_sub(1);
        line.put(&fit(&label, room.saturating_sub(width(text))), ink.bold());
        line.put(&fit_end(text, room), ink.plain());
        line.put("▏", ink.bold());
        let hint = match &self.entry {
            Entry::Search => "  Enter: keep, Esc: all",
            _ if text.is_empty() => "  such as: 2h new disk  (Esc: not)",
            _ => "",
        };
        line.put(hint, ink.faint());
    }

    fn keys(&mut self, place: Rect, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, place);
        let selected = self.selected();
        let (is_paused, is_silenced) = selected.map_or((false, false), |row| {
            (row.paused.is_some(), row.silenced.is_some())
        });
        let mut hits = Vec::new();
        for (key, code, word) in KEYS {
            let word = match word {
                "pause" if is_paused => "resume",
                "silence" if is_silenced => "unsilence",
                word => word,
            };
            if line.left() < width(key) + 1 + width(word) {
                break;
            }
            let start = line.rest();
            line.put(key, ink.bold());
            line.put(&format!(" {word}"), ink.faint());
            let place = Rect {
                width: start.width - line.rest().width,
                ..start
            };
            hits.push((place, Hit::Key(code)));
            line.skip(2);
        }
        self.hits.extend(hits);
    }

    /// All keys, over everything else.
    pub(super) fn help_pane(&mut self, area: Rect, ink: Ink, buffer: &mut Buffer) {
        let size = (area.width.min(82), area.height.min(ALL.len() as u16 + 5));
        let mut place = Rect {
            x: area.x + (area.width - size.0) / 2,
            y: area.y + (area.height - size.1) / 2,
            width: size.0,
            height: size.1,
        };
        Clear.render(place, buffer);
        self.hits.push((area, Hit::Key(KeyCode::Esc)));
        rule("keys", cut_top(&mut place, 1), ink, buffer);
        let labels = if place.width >= 60 { 20 } else { 10 };
        for (keys, what) in ALL {
            let mut line = Line::new(buffer, cut_top(&mut place, 1));
            line.skip(usize::from(place.width > 40) * 2);
            line.column(keys, labels, ink.bold());
            line.put(what, ink.plain());
        }
        for text in [MOUSE, MARKS] {
            let mut line = Line::new(buffer, cut_top(&mut place, 1));
            line.skip(usize::from(place.width > 40) * 2);
            line.put(text, ink.faint());
        }
        rule("Esc: back", cut_top(&mut place, 1), ink, buffer);
    }
}
