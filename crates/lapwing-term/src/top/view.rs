//! The frame: which pane is where, the lines above them, and the log.

use lapwing_core::{notice::clock, time::Wall};
use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};

use super::{
    Hit, Model, PATIENCE,
    pen::{Ink, Line},
};

/// What needs somebody comes first.
pub(super) const STATES: [&str; 7] = [
    "down",
    "failing",
    "degraded",
    "inconclusive",
    "paused",
    "pending",
    "up",
];
/// From here on, details stand beside the list, and are open unless they are closed.
const WIDE: u16 = 110;
const OPEN: u16 = 150;
/// From here on, details stand below the list; where it is lower, in its place.
const HIGH: u16 = 40;
/// From here on, the log is open unless it is closed.
const LOG: u16 = 24;
/// Below this, only what matters most has a line.
const LOW: u16 = 8;

impl Model {
    /// Draws all of it, and remembers what the mouse can hit.
    pub fn draw(&mut self, area: Rect, buffer: &mut Buffer) {
        self.hits.clear();
        (self.chart, self.bar) = (None, 0);
        let ink = Ink {
            paint: self.paint,
            is_stale: self.lost.is_some(),
        };
        let mut rest = area;
        if area.height > 3 {
            self.title(cut_top(&mut rest, 1), ink, buffer);
        }
        if area.height >= LOW || self.lost.is_some() {
            self.about(cut_top(&mut rest, 1), ink, buffer);
        }
        if area.height > 1 {
            self.footer(cut_bottom(&mut rest, 1), ink, buffer);
        }
        let is_any = self.window.count > 0 || self.missing().is_some();
        let is_open = is_any && self.details.open.unwrap_or(area.width >= OPEN);
        let is_alone = is_open && area.width < WIDE && area.height < HIGH;
        // Details that stand alone have a log of their own.
        if !is_alone && self.is_log_open_in(area) {
            let place = cut_bottom(&mut rest, (area.height / 4).clamp(3, 12));
            self.log_pane(place, ink, buffer);
        }
        if is_open {
            let place = cut_details(&mut rest, area, ink, buffer);
            self.details_pane(place, ink, buffer);
        }
        self.list_pane(rest, ink, buffer);
        if self.help {
            self.help_pane(area, ink, buffer);
        }
    }

    pub(super) fn is_log_open(&self) -> bool {
        self.log.unwrap_or(true)
    }

    fn is_log_open_in(&self, area: Rect) -> bool {
        area.height >= 12 && self.log.unwrap_or(area.height >= LOG)
    }

    /// The states that there are, and how many series are in each.
    pub(super) fn counts(&self) -> Vec<(String, usize)> {
        let Some(page) = &self.list.page else {
            return Vec::new();
        };
        let rank = |state: &str| STATES.iter().position(|s| *s == state);
        let mut counts: Vec<_> = page.counts.iter().map(|(state, n)| (state.clone(), *n)).collect();
        counts.retain(|(_, n)| *n > 0);
        counts.sort_by_key(|(state, _)| rank(state).unwrap_or(STATES.len()));
        counts
    }

    /// How many are in each state, and the clock.
    fn title(&mut self, place: Rect, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, place);
        let now = clock(self.now, self.now, &self.zone);
        let version = self.list.page.as_ref().map_or("", |page| page.version.as_str());
        let missed = self
            .unanswered
            .filter(|length| *length >= PATIENCE && self.lost.is_none());
        let mut right = match (missed, self.lost.is_some(), place.width) {
            (Some(length), ..) => format!("no answer for {}s", length.as_secs()),
            (None, _, ..30) => String::new(),
            (None, _, 30..70) => now,
            (None, true, _) => format!("not connected  {now}"),
            (None, false, _) => format!("lapwing {version}  {now}"),
        };
        right.insert(0, ' ');
        let room = line.left().saturating_sub(super::pen::width(&right));
        let mut left = Line::new(
            line.buffer(),
            Rect {
                width: room as u16,
                ..place
            },
        );
        for (state, count) in self.counts() {
            let mut style = ink.state(&state);
            if self.list.query.states.contains(&state) {
                style = style.add_modifier(Modifier::REVERSED);
            }
            let place = left.put(&format!("{} {state}", grouped(count)), style);
            left.put("  ", ink.plain());
            self.hits.push((place, Hit::State(state)));
        }
        let style = if missed.is_some() {
            ink.alarm()
        } else {
            ink.faint()
        };
        line.right(&right, usize::MAX, style);
    }

    /// What list this is; or why it is an old one.
    fn about(&self, place: Rect, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, place);
        if let Some((since, why)) = &self.lost {
            let since = clock(*since, self.now, &self.zone);
            line.column(
                &format!("no daemon since {since}, trying again: {why}"),
                usize::MAX,
                ink.alarm(),
            );
            return;
        }
        let Some(page) = &self.list.page else {
            line.put("asking the daemon…", ink.faint());
            return;
        };
        let query = &self.list.query;
        let is_part = !query.search.is_empty() || !query.states.is_empty();
        let mut text = match page.total {
            0 => "nothing is watched".to_owned(),
            1 => "1 series".to_owned(),
            total => format!("{} series", grouped(total)),
        };
        if is_part {
            text = format!("{} of {text}", grouped(page.matching));
            for state in &query.states {
                text += &format!(", {state}");
            }
            if !query.search.is_empty() {
                text += &format!(", with \"{}\"", query.search);
            }
            if !self.list.is_fresh {
                text += " …";
            }
            text += "  (Esc: all)";
        }
        line.put(&text, if is_part { ink.bold() } else { ink.faint() });
        let shown = self.window.shown();
        if shown.len() < self.window.count {
            let place = format!(
                "  {}-{} of {}",
                grouped(shown.start + 1),
                grouped(shown.end),
                grouped(self.window.count)
            );
            line.right(&place, usize::MAX, ink.faint());
        }
    }

    fn log_pane(&mut self, mut place: Rect, ink: Ink, buffer: &mut Buffer) {
        rule("log", cut_top(&mut place, 1), ink, buffer);
        self.hits.push((place, Hit::Shield));
        if self.events.is_empty() {
            Line::new(buffer, place).put("events stand here as they happen", ink.faint());
        }
        let skipped = self.events.len().saturating_sub(place.height.into());
        for event in self.events.iter().skip(skipped) {
            let mut line = Line::new(buffer, cut_top(&mut place, 1));
            self.event_line(event, &mut line, ink);
        }
    }

    /// `14:51:20  DOWN web (tcp://…) since …`
    pub(super) fn event_line(&self, event: &lapwing_api::shapes::EventShape, line: &mut Line<'_>, ink: Ink) {
        line.put(&format!("{}  ", self.time(&event.at)), ink.faint());
        let end = event.text.find(' ').unwrap_or(event.text.len());
        let (word, rest) = event.text.split_at(end);
        line.put(word, ink.state(&event.state));
        line.column(rest, usize::MAX, ink.plain());
    }

    /// A time as it is read here: with its date where that is not today's.
    pub(super) fn time(&self, rfc3339: &str) -> String {
        match rfc3339.parse::<jiff::Timestamp>() {
            Ok(at) => clock(Wall(at.as_microsecond()), self.now, &self.zone),
            Err(_) => rfc3339.to_owned(),
        }
    }
}

/// Beside the list, below it, or in its place.
fn cut_details(rest: &mut Rect, area: Rect, ink: Ink, buffer: &mut Buffer) -> Rect {
    if area.width >= WIDE {
        let mut place = cut_right(rest, (area.width * 2 / 5).max(50));
        edge(&mut place, ink, buffer);
        return place;
    }
    if area.height < HIGH {
        return std::mem::take(rest);
    }
    let height = rest.height * 3 / 5;
    let mut place = cut_bottom(rest, height);
    rule("details", cut_top(&mut place, 1), ink, buffer);
    place
}

/// A line between two panes.
pub(super) fn rule(name: &str, place: Rect, ink: Ink, buffer: &mut Buffer) {
    let mut line = Line::new(buffer, place);
    line.put("── ", ink.faint());
    line.put(name, ink.bold());
    line.put(" ", ink.faint());
    let left = line.left();
    line.put(&"─".repeat(left), ink.faint());
}

/// A line at the left side of a pane.
fn edge(place: &mut Rect, ink: Ink, buffer: &mut Buffer) {
    for y in place.top()..place.bottom() {
        let line = Rect::new(place.x, y, 2, 1);
        Line::new(buffer, line).put("│ ", ink.faint());
    }
    let width = place.width.min(2);
    place.x += width;
    place.width -= width;
}

/// 100000 as `100,000`.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Takes lines away at the upper end of a place.
pub(super) fn cut_top(place: &mut Rect, lines: u16) -> Rect {
    let height = lines.min(place.height);
    let cut = Rect { height, ..*place };
    place.y += height;
    place.height -= height;
    cut
}

pub(super) fn cut_bottom(place: &mut Rect, lines: u16) -> Rect {
    let height = lines.min(place.height);
    place.height -= height;
    Rect {
        y: place.y + place.height,
        height,
        ..*place
    }
}

fn cut_right(place: &mut Rect, columns: u16) -> Rect {
    let width = columns.min(place.width);
    place.width -= width;
    Rect {
        x: place.x + place.width,
        width,
        ..*place
    }
}
