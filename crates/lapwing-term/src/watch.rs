//! `lapwing watch`: what was seen of each series, a line a result, and the summary at the end.
//!
//! It keeps a bounded sample of each series, however long it is watched.

mod tally;
mod view;

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use jiff::tz::TimeZone;
use lapwing_api::{
    shapes::{EventShape, SeriesShape},
    watch::ResultShape,
};
use lapwing_core::{
    notice::about,
    time::{Hms, short},
};

pub use tally::{Tally, percent};
pub use view::View;

use crate::{echo_lines::ms, paint::Paint, status_table::local};

/// Most outages that are kept of all series.
const MOST_OUTAGES: usize = 1_000;
/// Most outages that the summary shows of one series.
const MOST_SHOWN: usize = 20;

/// All that was seen, by the names of the series.
#[derive(Debug, Default)]
pub struct Watched {
    tallies: HashMap<String, Tally>,
    /// In the order in which they began: the series, and the newest event of each.
    outages: Vec<EventShape>,
    /// Outages beyond the most that are kept.
    more: usize,
}

impl Watched {
    /// Counts a result. True when it differs from the one before it, or is the first.
    pub fn result(&mut self, result: &ResultShape) -> bool {
        self.tallies.entry(result.series.clone()).or_default().add(result)
    }

    /// Remembers the outage that an event begins or ends.
    pub fn event(&mut self, event: &EventShape) {
        match event.event.as_str() {
            "down" if self.outages.len() < MOST_OUTAGES => self.outages.push(event.clone()),
            "down" => self.more += 1,
            "up" => {
                let same = |one: &&mut EventShape| one.series == event.series && one.event == "down";
                if let Some(open) = self.outages.iter_mut().rev().find(same) {
                    *open = event.clone();
                }
            }
            _ => {}
        }
    }

    pub fn tally(&self, series: &str) -> Option<&Tally> {
        self.tallies.get(series)
    }

    /// What is told at the end: each series as it was left, as ping does it, and its outages. `took` is how long it
    /// was watched.
    pub fn summary(&self, series: &[SeriesShape], took: Duration, zone: &TimeZone, paint: Paint) -> String {
        let mut text = String::new();
        for one in series {
            let state = paint.state(&one.state, &one.state);
            text += &format!("\n--- {} ({}): {state} ---\n", one.series, one.target);
            if let Some(tally) = self.tallies.get(&one.series) {
                text += &counts(tally, took, paint);
            }
            text += &self.outages(&one.series, zone, paint);
        }
        if self.more > 0 {
            text += &format!("{} more outages that were not kept\n", self.more);
        }
        text
    }

    fn outages(&self, series: &str, zone: &TimeZone, paint: Paint) -> String {
        let all: Vec<_> = self
            .outages
            .iter()
            .filter(|o| o.series.as_deref() == Some(series))
            .collect();
        if all.is_empty() {
            return String::new();
        }
        let mut text = match all.len() {
            1 => "1 outage:\n".to_owned(),
            n => format!("{n} outages:\n"),
        };
        let skipped = all.len().saturating_sub(MOST_SHOWN);
        if skipped > 0 {
            text += &format!("  the newest {MOST_SHOWN}:\n");
        }
        for outage in &all[skipped..] {
            text += &self::outage(outage, zone, paint);
        }
        text
    }
}

/// `2026-11-20 14:51:19  up  web  0.42 ms`: what one check found, judged by nobody yet.
pub fn result(result: &ResultShape, zone: &TimeZone, paint: Paint) -> String {
    // "Down" is what is judged of several; one check has failed.
    let word = match result.state.as_str() {
        "down" => "failed",
        other => other,
    };
    let mut text = format!(
        "{}  {} {}",
        paint.faint(&local(&result.at, zone)),
        paint.state(&result.state, &format!("{word:<7}")),
        result.series
    );
    if let Some(rtt) = result.rtt_ms {
        let _written = write!(text, "  {} ms", ms(rtt));
    }
    if result.lost > 0 && result.sent > 1 {
        let _written = write!(text, "  {} of {} lost", result.lost, result.sent);
    }
    if let Some(reason) = &result.reason {
        let _written = write!(text, "  {}", reason.detail);
    }
    text.push('\n');
    text
}

fn counts(tally: &Tally, took: Duration, paint: Paint) -> String {
    let loss = format!("{} lost ({:.2}%)", tally.lost, percent(tally.lost, tally.sent));
    let mut text = format!(
        "{} sent in {}: {} received, {}\n",
        tally.sent,
        short(Duration::from_secs(took.as_secs_f64().round() as u64)),
        tally.sent - tally.lost,
        if tally.lost > 0 {
            paint.state("down", &loss)
        } else {
            loss
        }
    );
    if tally.ours > 0 {
        let why = tally.ours_reason.as_deref().unwrap_or_default();
        let line = format!(
            "{} could not be asked, which is no loss of the line: {why}",
            tally.ours
        );
        text += &(paint.state("inconclusive", &line) + "\n");
    }
    if let Some(rtt) = tally.spread() {
        let jitter = tally
            .jitter_ms()
            .map_or_else(String::new, |jitter| format!(", jitter {} ms", ms(jitter)));
        let values = [rtt.min_ms, rtt.median_ms, rtt.p95_ms, rtt.max_ms]
            .map(ms)
            .join("/");
        text += &format!("rtt min/median/p95/max {values} ms{jitter}\n");
    }
    text
}

/// `  2026-11-20 14:51:19 to 14:54:45, 00:03:26 ± 30s: connection refused`
fn outage(event: &EventShape, zone: &TimeZone, paint: Paint) -> String {
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    let began = local(event.since.as_deref().unwrap_or(&event.at), zone);
    let reason = event.reason.as_ref().map_or("", |r| r.detail.as_str());
    let Some(ended) = &event.ended else {
        return format!("  since {began}, {}: {reason}\n", paint.state("down", "not over"));
    };
    let ended = local(ended, zone);
    // Of the same day, the date is said once.
    let ended = match (began.split_once(' '), ended.split_once(' ')) {
        (Some((day, _)), Some((same, time))) if day == same => time,
        _ => &ended,
    };
    let length = Hms(seconds(event.duration_s.unwrap_or_default()));
    let sure = match event.uncertainty_s {
        Some(s) => format!("± {}", about(seconds(s))),
        None => "(never seen up before)".to_owned(),
    };
    format!("  {began} to {ended}, {length} {sure}: {reason}\n")
}

#[cfg(test)]
mod tests;
