//! The live view of `lapwing watch`: what fits on the screen, as lines. It writes nothing, and no line is wider than
//! the screen.

use std::{collections::VecDeque, time::Duration};

use jiff::tz::TimeZone;
use lapwing_api::shapes::{EventShape, SeriesShape, counts};
use lapwing_core::time::Hms;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Tally, Watched, percent, tally::Seen};
use crate::{echo_lines::ms, paint::Paint, status_table::local};

/// Lines that events have at least, where there are as many, and where the screen is not a low one.
const EVENTS: usize = 5;
/// Lines of a series that is shown whole, with the gap after it.
const BLOCK: usize = 5;
/// The title, the gap below it, and the keys.
const FRAME: usize = 3;
/// Cells of a screen on which names are more than alignment.
const NARROW: usize = 40;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What there is to see.
#[derive(Debug)]
pub struct View<'a> {
    pub watched: &'a Watched,
    pub series: &'a [SeriesShape],
    /// Oldest first.
    pub events: &'a VecDeque<EventShape>,
    /// What is wrong with us: a notifier that fails.
    pub troubles: &'a [String],
    pub took: Duration,
    pub zone: &'a TimeZone,
    pub paint: Paint,
}

impl View<'_> {
    /// At most `height` lines, none wider than `width`.
    pub fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let paint = self.paint;
        let mut lines = vec![self.title(width), String::new()];
        let foot = FRAME + self.troubles.len();
        let events = EVENTS.min(self.events.len() + 1).min(height / 3);
        let room = height.saturating_sub(foot + events);
        if self.series.len() * BLOCK <= room {
            self.series
                .iter()
                .for_each(|one| lines.extend(self.block(one, width)));
        } else {
            lines.extend(self.rows(room, width));
        }
        let left = height.saturating_sub(lines.len() + 1 + self.troubles.len());
        let skipped = self.events.len().saturating_sub(left);
        for event in self.events.iter().skip(skipped) {
            lines.push(self.event(event, width));
        }
        for trouble in self.troubles {
            lines.push(Line::new(width).put(trouble, |t| paint.state("degraded", t)).text);
        }
        lines.truncate(height.saturating_sub(1));
        lines.push(
            Line::new(width)
                .put("q or Ctrl-C ends it with a summary", |t| paint.faint(t))
                .text,
        );
        lines.truncate(height);
        lines
    }

    fn title(&self, width: usize) -> String {
        let mut line = Line::new(width).put("lapwing watch  ", |t| self.paint.bold(t));
        for (state, count) in counts(self.series) {
            line = line.put(&format!("{count} {state}  "), |t| self.paint.state(&state, t));
        }
        line.put(&format!("for {}", Hms(self.took)), |t| self.paint.faint(t))
            .text
    }

    /// State and name; results; round trips; figures.
    fn block(&self, one: &SeriesShape, width: usize) -> Vec<String> {
        let paint = self.paint;
        let none = Tally::default();
        let tally = self.watched.tally(&one.series).unwrap_or(&none);
        let since = format!("  since {}", local(&one.since, self.zone));
        let reason = one
            .reason
            .as_ref()
            .map_or_else(String::new, |r| format!("  {}", r.detail));
        // Under each other, where there is room for it.
        let states = if width < NARROW { 0 } else { 12 };
        let head = Line::new(width)
            .put(&format!("{:<states$} ", one.state), |t| {
                paint.state(&one.state, t)
            })
            .put(&one.series, |t| paint.bold(t))
            .put(&reason, ToOwned::to_owned)
            .put(&format!("  {}", one.target), |t| paint.faint(t))
            .put(&since, |t| paint.faint(t));
        let label = |name: &str| Line::new(width).put(&format!("  {name:<9} "), |t| paint.faint(t));
        let room = width.saturating_sub(12);
        vec![
            head.text,
            bar(label("results"), tally, room, paint).text,
            label("rtt").put(&spark(tally, room), ToOwned::to_owned).text,
            label("").put(&figures(one, tally), ToOwned::to_owned).text,
            String::new(),
        ]
    }

    /// A line a series, worst first, as many as there is room for.
    fn rows(&self, room: usize, width: usize) -> Vec<String> {
        let mut all: Vec<&SeriesShape> = self.series.iter().collect();
        let rank = |state: &str| match state {
            "down" => 0,
            "failing" => 1,
            "degraded" | "inconclusive" => 2,
            _ => 3,
        };
        all.sort_by_key(|one| (rank(&one.state), one.series.as_str()));
        let shown = if all.len() > room {
            room.saturating_sub(1)
        } else {
            all.len()
        };
        let name = all.iter().take(shown).map(|one| one.series.width()).max();
        let most = if width < NARROW { width } else { width / 3 };
        let name = name.unwrap_or_default().min(most);
        let states = all.iter().take(shown).map(|one| one.state.len()).max();
        let states = states.unwrap_or_default();
        let mut lines: Vec<String> = all
            .iter()
            .take(shown)
            .map(|one| self.row(one, states, name, width))
            .collect();
        if all.len() > shown {
            let more = format!("… and {} more", all.len() - shown);
            lines.push(Line::new(width).put(&more, ToOwned::to_owned).text);
        }
        lines
    }

    fn row(&self, one: &SeriesShape, states: usize, name: usize, width: usize) -> String {
        let paint = self.paint;
        let none = Tally::default();
        let tally = self.watched.tally(&one.series).unwrap_or(&none);
        let mut title = Line::new(name).put(&one.series, ToOwned::to_owned);
        title.text.extend(std::iter::repeat_n(' ', title.left));
        let rtt = tally
            .spread()
            .map_or_else(String::new, |rtt| format!("{} ms", ms(rtt.median_ms)));
        let line = Line::new(width)
            .put(&format!("{:<states$}  ", one.state), |t| {
                paint.state(&one.state, t)
            })
            .put(&title.text, ToOwned::to_owned)
            .put(
                &format!("  {:>6.2}%  {rtt:>10}  ", loss(one, tally)),
                ToOwned::to_owned,
            );
        let room = line.left;
        bar(line, tally, room, paint).text
    }

    fn event(&self, event: &EventShape, width: usize) -> String {
        let (word, rest) = event
            .text
            .split_at(event.text.find(' ').unwrap_or(event.text.len()));
        let at = local(&event.at, self.zone);
        // The day goes where there is hardly room for what happened.
        let at = at
            .split(' ')
            .next_back()
            .filter(|_| width < NARROW)
            .unwrap_or(&at);
        Line::new(width)
            .put(&format!("{at}  "), |t| self.paint.faint(t))
            .put(word, |t| self.paint.state(&event.state, t))
            .put(rest, ToOwned::to_owned)
            .text
    }
}

/// Over what is judged, where loss is; else over all.
fn loss(one: &SeriesShape, tally: &Tally) -> f64 {
    one.loss.unwrap_or_else(|| percent(tally.lost, tally.sent))
}

fn figures(one: &SeriesShape, tally: &Tally) -> String {
    let mut text = format!(
        "loss {:.2}%  {} sent, {} lost",
        loss(one, tally),
        tally.sent,
        tally.lost
    );
    if tally.ours > 0 {
        text += &format!(", {} could not be asked", tally.ours);
    }
    if let Some(rtt) = tally.spread() {
        text += &format!("  median {} p95 {}", ms(rtt.median_ms), ms(rtt.p95_ms));
        text += &tally
            .jitter_ms()
            .map_or_else(String::new, |jitter| format!(" jitter {}", ms(jitter)));
        text += " ms";
    }
    text
}

/// The newest results, oldest first.
fn bar(mut line: Line, tally: &Tally, room: usize, paint: Paint) -> Line {
    let skipped = tally.recent.len().saturating_sub(room);
    let seen: Vec<_> = tally.recent.iter().skip(skipped).map(mark).collect();
    for alike in seen.chunk_by(|a, b| a == b) {
        let (mark, state) = alike[0];
        line = line.put(&mark.repeat(alike.len()), |t| paint.state(state, t));
    }
    line
}

/// How a result is drawn, and the state whose colour it has.
fn mark(seen: &Seen) -> (&'static str, &'static str) {
    match seen {
        Seen::Up(_) => ("█", "up"),
        Seen::Degraded(_) => ("▓", "degraded"),
        Seen::Failed => ("x", "down"),
        Seen::Ours => ("?", "inconclusive"),
    }
}

/// The newest round trips, each as high as its share of the longest; a gap where there was none.
fn spark(tally: &Tally, room: usize) -> String {
    let skipped = tally.recent.len().saturating_sub(room);
    let shown = || tally.recent.iter().skip(skipped);
    let rtt = |seen: &Seen| match seen {
        Seen::Up(rtt) | Seen::Degraded(rtt) => Some(*rtt),
        Seen::Failed | Seen::Ours => None,
    };
    let longest = shown().filter_map(rtt).fold(0.0, f64::max);
    let level = |rtt: f64| {
        let share = if longest > 0.0 { rtt / longest } else { 0.0 };
        LEVELS[((share * 7.0).round() as usize).min(7)]
    };
    shown().map(|seen| rtt(seen).map_or(' ', level)).collect()
}

/// A line that never becomes wider than the screen.
struct Line {
    text: String,
    left: usize,
}

impl Line {
    fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            left: width,
        }
    }

    /// Adds as much of `part` as fits, in the colours of `paint`.
    fn put(mut self, part: &str, paint: impl Fn(&str) -> String) -> Self {
        let mut fits = String::new();
        for c in part.chars() {
            let width = c.width().unwrap_or(0);
            if width > self.left {
                self.left = 0;
                break;
            }
            self.left -= width;
            fits.push(c);
        }
        if !fits.is_empty() {
            self.text += &paint(&fits);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::{answer, event, series};

    fn shown(
        watched: &Watched,
        series: &[SeriesShape],
        (width, height): (usize, usize),
        paint: Paint,
    ) -> Vec<String> {
        let events: VecDeque<EventShape> = (0..9).map(|_| event("down", false)).collect();
        let view = View {
            watched,
            series,
            events: &events,
            troubles: &["notifier phone fails".to_owned()],
            took: Duration::from_secs(61),
            zone: &TimeZone::UTC,
            paint,
        };
        view.lines(width, height)
    }

    fn watched() -> Watched {
        let mut watched = Watched::default();
        for one in [
            answer("up", Some(1.0), 0),
            answer("up", Some(8.0), 1),
            answer("down", None, 2),
            answer("inconclusive", None, 3),
            answer("degraded", Some(4.0), 4),
        ] {
            watched.result(&one);
        }
        watched
    }

    #[test]
    fn one_series_is_shown_whole() {
        let lines = shown(&watched(), &[series("failing")], (90, 14), Paint::Plain);
        assert_eq!(lines.len(), 14);
        assert_eq!(lines[0], "lapwing watch  1 failing  for 00:01:01");
        assert_eq!(
            lines[2..6],
            [
                "failing      web  tcp://192.0.2.1:80  since 2026-11-20 14:51:19",
                "  results   ██x?▓",
                "  rtt       ▂█  ▅",
                "            loss 25.00%  4 sent, 1 lost, 1 could not be asked  median 4.00 p95 8.00 jitter 0.66 ms",
            ]
            .map(|line| line.chars().take(90).collect::<String>())
        );
        assert_eq!(lines[7], "2026-11-20 14:51:21  …");
        assert_eq!(lines[12], "notifier phone fails");
        assert_eq!(lines[13], "q or Ctrl-C ends it with a summary");
    }

    #[test]
    fn many_series_have_a_line_each_worst_first_and_the_rest_is_counted() {
        let mut many: Vec<SeriesShape> = (0..30).map(|_| series("up")).collect();
        many[20].state = "down".to_owned();
        let lines = shown(&watched(), &many, (60, 20), Paint::Plain);
        assert_eq!(lines[2], "down  web   25.00%     4.00 ms  ██x?▓");
        assert_eq!(lines[3], "up    web   25.00%     4.00 ms  ██x?▓");
        assert!(lines.iter().any(|line| line == "… and 20 more"), "{lines:#?}");
    }

    #[test]
    fn on_a_narrow_screen_names_and_events_come_first() {
        let mut long = series("down");
        long.series = "db.example.com".to_owned();
        let lines = shown(&watched(), &[long, series("up")], (24, 9), Paint::Plain);
        assert_eq!(lines[2], "down  db.example.com    ");
        assert!(lines.iter().any(|line| line == "14:51:21  …"), "{lines:#?}");
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        let mut wide = series("up");
        wide.series = "東京".repeat(20);
        for (width, height) in [(0, 0), (1, 1), (20, 5), (21, 24), (80, 3), (200, 60)] {
            for all in [vec![series("down"), wide.clone()], Vec::new()] {
                let lines = shown(&watched(), &all, (width, height), Paint::Plain);
                assert!(lines.len() <= height, "{width}x{height}: {lines:#?}");
                let widest = lines.iter().map(|line| line.width()).max();
                assert!(widest.unwrap_or(0) <= width, "{width}x{height}: {lines:#?}");
            }
        }
    }

    #[test]
    fn colours_are_those_of_states() {
        let lines = shown(&watched(), &[series("down")], (90, 14), Paint::Colour);
        assert!(lines[3].contains("\u{1b}[31;1mx\u{1b}[0m"), "{lines:#?}");
    }
}
