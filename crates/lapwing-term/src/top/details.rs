//! The details of the selected series: who it is, how it is, its past.

use std::time::Duration;

use lapwing_api::{
    monitors::{BucketShape, MonitorDetails, Origin, PastOutage},
    report::OutageShape,
    shapes::SeriesShape,
};
use lapwing_core::{
    notice::about,
    time::{Hms, Wall, measured, short},
};
use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};

use unicode_width::UnicodeWidthChar;

use super::{
    Hit, Model, RANGES, chart,
    pen::{Ink, Line},
    view::cut_top,
};

/// Columns of the names of lines.
const LABEL: usize = 10;
/// Most lines of one fact.
const LINES: usize = 3;
/// Lines that the chart has at least and at most.
const CHART: (u16, u16) = (4, 12);
/// Fewer columns show no chart.
const NARROW: u16 = 24;

impl Model {
    pub(super) fn details_pane(&mut self, mut place: Rect, ink: Ink, buffer: &mut Buffer) {
        self.hits.push((place, Hit::Shield));
        self.chart = Some(0);
        let Some(row) = self.details_row().cloned() else {
            return;
        };
        self.details.row = Some(row.clone());
        let about = self
            .details
            .monitor
            .as_ref()
            .filter(|(series, _)| *series == row.series);
        let about = about.map(|(_, details)| details.clone());
        self.head(&row, &mut place, ink, buffer);
        for (label, text) in self.facts(&row, about.as_ref()) {
            if place.height == 0 {
                return;
            }
            labelled(label, &text, &mut place, ink, buffer);
        }
        self.past(&row, &mut place, ink, buffer);
        let outages = about.map(|details| details.outages).unwrap_or_default();
        let outages: Vec<PastOutage> = outages.into_iter().filter(|o| o.series == row.series).collect();
        self.outages(&outages, &mut place, ink, buffer);
        self.own_log(&row.series, &mut place, ink, buffer);
    }

    fn head(&self, row: &SeriesShape, place: &mut Rect, ink: Ink, buffer: &mut Buffer) {
        let mut line = Line::new(buffer, cut_top(place, 1));
        line.column(&row.series, usize::MAX, ink.bold());
        let mut line = Line::new(buffer, cut_top(place, 1));
        line.put(&row.state, ink.state(&row.state));
        line.put(&format!(" since {}", self.time(&row.since)), ink.plain());
        if let Some(since) = micros(&row.since) {
            let length = self.now.since(Wall(since));
            line.put(&format!("  ({})", Hms(length)), ink.faint());
        }
    }

    /// What there is to say, a line each.
    fn facts(&self, row: &SeriesShape, about: Option<&MonitorDetails>) -> Vec<(&'static str, String)> {
        let mut facts = vec![("target", row.target.clone())];
        let mut say = |label, text: Option<String>| {
            facts.extend(text.filter(|text| !text.is_empty()).map(|text| (label, text)));
        };
        say(
            "reason",
            row.reason
                .as_ref()
                .map(|reason| format!("{} ({})", reason.detail, reason.code)),
        );
        let clock = |at: &str| self.time(at);
        for (label, mute) in [
            ("paused", &row.paused),
            ("silenced", &row.silenced),
            ("acked", &row.acknowledged),
        ] {
            say(
                label,
                mute.as_ref().map(|mute| mute.words(&clock).trim().to_owned()),
            );
        }
        say("last", self.last(row));
        say("loss", row.loss.map(|loss| format!("{loss:.2}%")));
        say("labels", Some(pairs(row)));
        if let Some(about) = about {
            say("checked", about.monitor.interval_s.map(every));
            say("tells", Some(about.monitor.notify.join(", ")));
            say("from", Some(origin(&about.monitor.origin, &clock)));
        }
        facts
    }

    fn last(&self, row: &SeriesShape) -> Option<String> {
        if let Some(beats) = &row.heartbeat {
            let mut text = beats.age_s.map_or("never heard".to_owned(), |_| row.last_sign());
            text += &beats
                .source
                .as_ref()
                .map_or_else(String::new, |from| format!(" from {from}"));
            text += &beats
                .due
                .as_ref()
                .map_or_else(String::new, |due| format!(", due {}", self.time(due)));
            return Some(text);
        }
        let last = row.last.as_ref()?;
        Some(format!("{} at {}", row.last_sign(), self.time(&last.at)))
    }

    /// The chart and the strip, and which stretch they show.
    fn past(&mut self, row: &SeriesShape, place: &mut Rect, ink: Ink, buffer: &mut Buffer) {
        if place.height < CHART.0 + 4 || place.width < NARROW {
            return;
        }
        cut_top(place, 1);
        let mut line = Line::new(buffer, cut_top(place, 1));
        line.column("latency", LABEL, ink.faint());
        for (at, (name, _)) in RANGES.iter().enumerate() {
            let mut style = ink.plain();
            if at == self.details.range {
                style = style.add_modifier(Modifier::REVERSED | Modifier::BOLD);
            }
            let hit = line.put(&format!(" {name} "), style);
            self.hits.push((hit, Hit::Range(at)));
        }
        line.put("  ← →", ink.faint());
        self.chart = Some(place.width.saturating_sub(LABEL as u16));
        let wanted = self.history_of(&row.series);
        let held = self.details.history.as_ref().filter(|(query, history)| {
            let is_same = wanted
                .as_ref()
                .is_some_and(|wanted| wanted.buckets == query.buckets);
            history.series == row.series && is_same && self.is_range(query)
        });
        let buckets = held.map_or(&[][..], |(_, history)| history.buckets.as_slice());
        let height = (place.height / 3).clamp(CHART.0, CHART.1);
        draw_chart(buckets, cut_top(place, height), ink, buffer);
        let mut line = Line::new(buffer, cut_top(place, 1));
        line.column("checks", LABEL, ink.faint());
        chart::strip(buckets, &mut line, ink);
        if let Some((query, _)) = held {
            let mut line = Line::new(buffer, cut_top(place, 1));
            line.column("", LABEL, ink.faint());
            line.put(&self.time(&query.from), ink.faint());
            line.right("now", usize::MAX, ink.faint());
            labelled("", &chart::figures(buckets), place, ink, buffer);
        }
    }

    /// Whether it is the past that is chosen.
    fn is_range(&self, query: &lapwing_api::monitors::HistoryQuery) -> bool {
        let length = (|| Some(micros(&query.to)? - micros(&query.from)?))();
        let wanted = RANGES[self.details.range].1 as i64 * 1_000_000;
        length.is_some_and(|length| (length - wanted).abs() <= wanted / 100)
    }

    fn outages(&self, outages: &[PastOutage], place: &mut Rect, ink: Ink, buffer: &mut Buffer) {
        if outages.is_empty() || place.height < 3 {
            return;
        }
        cut_top(place, 1);
        let mut line = Line::new(buffer, cut_top(place, 1));
        line.put("outages", ink.bold());
        // The log wants some lines too.
        let most = usize::from(place.height)
            .min(outages.len())
            .min(usize::from(place.height / 2).max(3));
        for past in outages.iter().take(most) {
            let mut line = Line::new(buffer, cut_top(place, 1));
            line.put(&format!("{}  ", self.time(&past.outage.began)), ink.faint());
            let style = if past.outage.ongoing {
                ink.state("down")
            } else {
                ink.plain()
            };
            line.put(&lasted(&past.outage), style);
            line.column(
                &format!("  {}", past.outage.reason.detail),
                usize::MAX,
                ink.plain(),
            );
        }
    }

    /// What happened to this series.
    fn own_log(&self, series: &str, place: &mut Rect, ink: Ink, buffer: &mut Buffer) {
        let own = || {
            self.events
                .iter()
                .filter(|event| event.series.as_deref() == Some(series))
        };
        let count = own().count();
        if count == 0 || place.height < 3 {
            return;
        }
        cut_top(place, 1);
        Line::new(buffer, cut_top(place, 1)).put("its log", ink.bold());
        let skipped = count.saturating_sub(place.height.into());
        for event in own().skip(skipped) {
            let mut line = Line::new(buffer, cut_top(place, 1));
            self.event_line(event, &mut line, ink);
        }
    }
}

fn draw_chart(buckets: &[BucketShape], place: Rect, ink: Ink, buffer: &mut Buffer) {
    let highest = chart::highest(buckets);
    let mut labels = place;
    labels.width = LABEL as u16;
    let canvas = Rect {
        x: place.x + labels.width,
        width: place.width.saturating_sub(labels.width),
        ..place
    };
    if highest > 0.0 {
        chart::latency(buckets, highest, canvas, ink, buffer);
        let top = measured(Duration::from_secs_f64(highest / 1e3));
        let label = |text: &str, y: u16, buffer: &mut Buffer| {
            let place = Rect {
                y,
                height: 1,
                width: labels.width - 1,
                ..labels
            };
            Line::new(buffer, place).right(text, LABEL - 1, ink.faint());
        };
        label(&top, place.y, buffer);
        label("0", place.bottom().saturating_sub(1), buffer);
    } else {
        let text = if buckets.is_empty() { "…" } else { "no answers" };
        Line::new(buffer, canvas).put(text, ink.faint());
    }
}

/// A line with its name; what is long goes on below it.
fn labelled(label: &str, text: &str, place: &mut Rect, ink: Ink, buffer: &mut Buffer) {
    let (mut label, mut rest) = (label, text);
    for left in (0..LINES).rev() {
        let mut line = Line::new(buffer, cut_top(place, 1));
        line.column(label, LABEL, ink.faint());
        let width = line.left();
        let end = if left == 0 || place.height == 0 {
            rest.len()
        } else {
            line_end(rest, width)
        };
        line.column(&rest[..end], usize::MAX, ink.plain());
        (label, rest) = ("", rest[end..].trim_start());
        if rest.is_empty() || width == 0 {
            return;
        }
    }
}

/// Where a text is best broken, so that it begins with at most `width` cells.
fn line_end(text: &str, width: usize) -> usize {
    let mut cells = 0;
    let mut gap = None;
    for (at, c) in text.char_indices() {
        cells += c.width().unwrap_or(0);
        if cells > width {
            let end = gap.filter(|gap| *gap > 0).unwrap_or(at);
            return if end > 0 { end } else { c.len_utf8() };
        }
        if c == ' ' {
            gap = Some(at);
        }
    }
    text.len()
}

fn micros(rfc3339: &str) -> Option<i64> {
    let at = rfc3339.parse::<jiff::Timestamp>().ok()?;
    Some(at.as_microsecond())
}

fn lasted(outage: &OutageShape) -> String {
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    let length = Hms(seconds(outage.length_s));
    if outage.ongoing {
        return format!("{length} so far");
    }
    let sure = outage.uncertainty_s.filter(|s| *s > 0.0);
    sure.map_or_else(
        || length.to_string(),
        |s| format!("{length} ± {}", about(seconds(s))),
    )
}

fn pairs(row: &SeriesShape) -> String {
    let pairs = row.labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

fn every(seconds: f64) -> String {
    let interval = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    format!("every {}", short(interval))
}

fn origin(origin: &Origin, clock: &dyn Fn(&str) -> String) -> String {
    match origin {
        Origin::File { file, line } => format!("{file}:{line}"),
        Origin::Added { by, at } => format!("added by {by}, {}", clock(at)),
        Origin::Adopted => "adopted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_between_words() {
        for (text, width, expected) in [
            ("one two", 7, 7),
            ("one two", 6, 3),
            ("one two", 2, 2),
            ("東京都", 5, 6),
            ("東京都", 1, 3),
            ("I 東東", 3, 1),
            (" 東", 1, 1),
            (" 東", 0, 1),
            ("", 5, 0),
        ] {
            assert_eq!(line_end(text, width), expected, "{text} in {width}");
        }
    }

    #[test]
    fn any_text_is_broken_between_characters_and_comes_to_its_end() {
        let parts = ["a", " ", "東", "é", "🦀", "\u{301}", "I ", "word", "  "];
        for seed in 0..4_000_usize {
            let part = |at: u32| parts[seed.wrapping_mul(7_919).rotate_right(at * 5) % parts.len()];
            let text: String = (0..12).map(part).collect();
            for width in 0..24 {
                let mut rest = text.as_str();
                while !rest.is_empty() {
                    let end = line_end(rest, width);
                    assert!(
                        end > 0 && rest.is_char_boundary(end),
                        "{rest:?} in {width}: {end}"
                    );
                    rest = &rest[end..];
                }
            }
        }
    }
}
