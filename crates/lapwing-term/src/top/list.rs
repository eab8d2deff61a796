//! The list of series: its columns, its heads, its rows.

use jiff::tz::TimeZone;
use lapwing_api::{
    monitors::{PointShape, Sort},
    shapes::SeriesShape,
};
use lapwing_core::{notice::zoned, time::Wall};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    Hit, Model, TAIL,
    pen::{Ink, Line},
    view::cut_top,
};

/// The orders of the list, in that of the columns.
pub(super) const ORDERS: [(Sort, &str); 6] = [
    (Sort::State, "STATE"),
    (Sort::Name, "NAME"),
    (Sort::Target, "TARGET"),
    (Sort::Since, "SINCE"),
    (Sort::Latency, "LAST"),
    (Sort::Loss, "LOSS"),
];
/// Between columns.
const GAP: usize = 1;
const STATE: (usize, usize) = (6, 12);
const SINCE: usize = 8;
const LAST: usize = 8;
const LOSS: usize = 7;
/// So much of a reason must fit beside the target.
const WHY: usize = 30;
/// From here on, states are words and not only a mark.
const WORDS: usize = 48;

/// How wide each column is; 0 for one that is not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Widths {
    state: usize,
    name: usize,
    target: usize,
    since: usize,
    last: usize,
    loss: usize,
    bar: usize,
}

impl Widths {
    /// What fits in `room`, where the longest words are as long as those of `needed`.
    fn of(room: usize, needed: Self) -> Self {
        let shown = |from: usize, width: usize| if room >= from { width } else { 0 };
        let mut widths = Self {
            state: if room >= WORDS {
                needed.state.clamp(STATE.0, STATE.1)
            } else {
                1
            },
            since: shown(70, SINCE),
            last: shown(30, LAST),
            loss: shown(60, LOSS),
            ..Self::default()
        };
        let fixed = [widths.state, widths.since, widths.last, widths.loss];
        let fixed: usize = fixed.iter().filter(|w| **w > 0).map(|width| width + GAP).sum();
        let mut rest = room.saturating_sub(fixed);
        widths.bar = if room >= 70 { (rest / 4).clamp(8, TAIL) } else { 0 };
        rest = rest.saturating_sub(if widths.bar > 0 { widths.bar + GAP } else { 0 });
        if room < 60 {
            widths.name = rest;
            return widths;
        }
        widths.name = needed.name.clamp(8, (rest * 3 / 5).max(8));
        rest = rest.saturating_sub(widths.name + 2 * GAP);
        // What the targets do not need is for the bars.
        widths.target = rest.min(needed.target.max(20) + 40);
        widths.bar = (widths.bar + rest - widths.target).min(if widths.bar > 0 { TAIL } else { 0 });
        widths
    }
}

impl Model {
    pub(super) fn list_pane(&mut self, mut place: Rect, ink: Ink, buffer: &mut Buffer) {
        let states = self.counts().into_iter().map(|(state, _)| state.len());
        let needed = Widths {
            state: states.max().unwrap_or_default(),
            name: self.list.name,
            target: self.list.target,
            ..Widths::default()
        };
        let widths = Widths::of(place.width.into(), needed);
        if place.height > 3 {
            self.heads(cut_top(&mut place, 1), widths, ink, buffer);
        }
        self.bar = widths.bar;
        if place.height == 0 {
            return;
        }
        self.window.resize(place.height.into());
        if self.window.count == 0 && self.list.page.is_some() {
            let text = if self.list.is_fresh { "nothing matches" } else { "" };
            Line::new(buffer, place).put(text, ink.faint());
        }
        for index in self.window.shown() {
            let line = cut_top(&mut place, 1);
            match self.row(index) {
                Some(row) => self.series_row(row, widths, line, ink, buffer),
                None => drop(Line::new(buffer, line).put("…", ink.faint())),
            }
            if index == self.window.cursor && self.missing().is_none() {
                buffer.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
            }
            self.hits.push((line, Hit::Row(index)));
        }
    }

    fn heads(&mut self, place: Rect, widths: Widths, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, place);
        let query = &self.list.query;
        for (sort, name) in ORDERS {
            let (width, is_right) = match sort {
                Sort::State => (widths.state, false),
                Sort::Name => (widths.name, false),
                Sort::Target => (widths.target, false),
                Sort::Since => (widths.since, false),
                Sort::Latency => (widths.last, true),
                Sort::Loss => (widths.loss, true),
            };
            if width == 0 {
                continue;
            }
            let is_chosen = query.sort == sort;
            let arrow = match (is_chosen, query.reverse) {
                (false, _) => "",
                (true, false) => "▼",
                (true, true) => "▲",
            };
            let text = format!("{name}{arrow}");
            let text = if width == 1 { arrow } else { &text };
            let style = if is_chosen {
                ink.bold().add_modifier(Modifier::UNDERLINED)
            } else {
                ink.bold()
            };
            let start = line.rest();
            if is_right {
                line.right(text, width, style);
            } else {
                line.column(text, width, style);
            }
            let place = Rect {
                width: start.width - line.rest().width,
                ..start
            };
            self.hits.push((place, Hit::Sort(sort)));
            line.skip(GAP);
        }
        if widths.bar > 0 {
            line.put("RESULTS", ink.bold());
        }
    }

    fn series_row(&self, row: &SeriesShape, widths: Widths, place: Rect, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, place);
        let state = ink.state(&row.state);
        if widths.state == 1 {
            line.column(mark(&row.state), 1, state);
        } else {
            line.column(&row.state, widths.state, state);
        }
        line.skip(GAP);
        line.column(&row.series, widths.name, ink.plain());
        if widths.target > 0 {
            line.skip(GAP);
            self.target(row, widths.target, &mut line, ink);
        }
        if widths.since > 0 {
            line.skip(GAP);
            let since = brief(&row.since, self.now, &self.zone);
            line.column(&since, widths.since, ink.faint());
        }
        if widths.last > 0 {
            line.skip(GAP);
            line.right(&row.last_sign(), widths.last, ink.plain());
        }
        if widths.loss > 0 {
            line.skip(GAP);
            let loss = row.loss.map_or_else(String::new, |loss| format!("{loss:.2}%"));
            let style = if row.loss.is_some_and(|loss| loss > 0.0) {
                ink.state("degraded")
            } else {
                ink.plain()
            };
            line.right(&loss, widths.loss, style);
        }
        if widths.bar > 0 {
            line.skip(GAP);
            let tail = self.tails.get(&row.series).map_or(&[][..], Vec::as_slice);
            bar(tail, &mut line, ink);
        }
    }

    /// The target; and where it is not up, why. Where there is no room for both, why.
    fn target(&self, row: &SeriesShape, width: usize, line: &mut Line<'_>, ink: Ink) {
        let why = row.remarks(&|at| self.time(at));
        let start = line.left();
        let target = super::pen::width(&row.target);
        if why.is_empty() {
            line.column(&row.target, width, ink.faint());
        } else if target + 2 + super::pen::width(&why).min(WHY) <= width {
            line.column(&row.target, target, ink.faint());
            line.skip(2);
            line.column(&why, width - target - 2, ink.state(&row.state));
        } else {
            line.column(&why, width, ink.state(&row.state));
        }
        line.skip(width.saturating_sub(start - line.left()));
    }
}

/// The newest results that fit, oldest first.
fn bar(tail: &[PointShape], line: &mut Line<'_>, ink: Ink) {
    let skipped = tail.len().saturating_sub(line.left());
    for alike in tail[skipped..].chunk_by(|a, b| a.state == b.state && is_lossy(a) == is_lossy(b)) {
        let one = &alike[0];
        let (mark, state) = match one.state.as_str() {
            "up" if is_lossy(one) => ("▓", "degraded"),
            "up" => ("█", "up"),
            "degraded" => ("▓", "degraded"),
            "down" => ("x", "down"),
            _ => ("?", "inconclusive"),
        };
        line.put(&mark.repeat(alike.len()), ink.state(state));
    }
}

fn is_lossy(point: &PointShape) -> bool {
    point.lost.is_some_and(|lost| lost > 0)
}

/// A state in one letter, told apart without colours.
pub(super) fn mark(state: &str) -> &'static str {
    match state {
        "up" => "+",
        "degraded" => "~",
        "failing" => "!",
        "down" => "x",
        "inconclusive" => "?",
        "paused" => "=",
        _ => ".",
    }
}

/// A time in 8 cells: `14:51:19`, `Nov 18`, `2025-11`.
fn brief(rfc3339: &str, now: Wall, zone: &TimeZone) -> String {
    let Ok(at) = rfc3339.parse::<jiff::Timestamp>() else {
        return "-".to_owned();
    };
    let (at, now) = (at.to_zoned(zone.clone()), zoned(now, zone));
    let format = if at.date() == now.date() {
        "%H:%M:%S"
    } else if at.year() == now.year() {
        "%b %d"
    } else {
        "%Y-%m"
    };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_is_wider_than_the_screen() {
        for room in 0..300 {
            let needed = Widths {
                state: 12,
                name: 40,
                target: 40,
                ..Widths::default()
            };
            let w = Widths::of(room, needed);
            let all = [w.state, w.name, w.target, w.since, w.last, w.loss, w.bar];
            let gaps = all.iter().filter(|width| **width > 0).count().saturating_sub(1);
            let sum: usize = all.iter().sum();
            assert!(sum + gaps <= room.max(2), "{room}: {w:?}");
        }
    }

    #[test]
    fn a_time_is_brief() {
        let now = "2026-11-20T14:51:19Z".parse::<jiff::Timestamp>().unwrap();
        let now = Wall(now.as_microsecond());
        for (at, expected) in [
            ("2026-11-20T00:00:01.000000Z", "00:00:01"),
            ("2026-11-18T14:51:19.000000Z", "Nov 18"),
            ("2025-12-31T14:51:19.000000Z", "2025-12"),
            ("soon", "-"),
        ] {
            assert_eq!(brief(at, now, &TimeZone::UTC), expected);
        }
    }
}
