//! What reports are made of, for the command and for the daemon: from what the ledger tells to what a person asks for.
//!
//! It reads neither clock nor store.

use std::collections::BTreeMap;

use lapwing_api::report::{ReportShape, Scope, SeriesRecord};
use lapwing_core::{
    kind::nearest,
    time::Wall,
    uptime::{Cover, Interval},
};
use lapwing_store::story::{SeriesStory, Story};

/// Which part of the past, seen from when.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    pub window: Interval,
    /// Parts of the window, one after the other, to be told one by one; empty for none.
    pub slices: &'a [Interval],
    pub now: Wall,
    /// Whether a daemon runs now.
    pub running: bool,
}

/// A name that no record has, and what was perhaps meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    pub hint: String,
}

/// Reports on `records`; on times in which nobody watched, `runs` tells.
pub fn report(records: &[SeriesRecord], runs: &[(Wall, Wall)], stretch: &Stretch<'_>) -> ReportShape {
    let Stretch {
        window,
        slices,
        now,
        running,
    } = *stretch;
    let scope = Scope {
        window,
        unwatched: &Cover::new(window, &unwatched(runs, now, running)),
        slices,
        now,
        running,
    };
    ReportShape::new(records, &scope, env!("CARGO_PKG_VERSION"))
}

/// Times in which the daemon did not run: before its first run, between runs, and after the last unless it runs now.
fn unwatched(runs: &[(Wall, Wall)], now: Wall, running: bool) -> Vec<Interval> {
    let mut gaps = Vec::new();
    let mut from = Wall(i64::MIN);
    for (started, until) in runs {
        gaps.push(Interval { from, to: *started });
        from = *until;
    }
    if !running || runs.is_empty() {
        gaps.push(Interval { from, to: now });
    }
    gaps
}

/// Watched ones first, each by name.
pub fn records(story: Story) -> Vec<SeriesRecord> {
    let mut records: Vec<SeriesRecord> = story.series.into_iter().map(|(k, s)| record(&k, s)).collect();
    records.sort_by(|a, b| (!a.watched, &a.series).cmp(&(!b.watched, &b.series)));
    records
}

fn record(key: &str, story: SeriesStory) -> SeriesRecord {
    let (monitor, target) = split_key(key);
    let SeriesStory {
        watched,
        outages,
        mut unknown,
    } = story;
    let forever = |from| Interval {
        from,
        to: Wall(i64::MAX),
    };
    let known_since = match &watched {
        Some(watched) => {
            unknown.extend(watched.state.is_unknown().then(|| forever(watched.since)));
            watched.known_since
        }
        None => {
            // It is known from its first outage at least, and nothing after the last that was told.
            let known = outages.iter().map(|o| o.last_up.unwrap_or(o.began)).min();
            let told = outages.iter().filter_map(|o| o.end).map(|end| end.at).max();
            unknown.push(forever(told.or(known).unwrap_or(Wall(i64::MIN))));
            known
        }
    };
    let name = watched.as_ref().map_or("", |w| w.name.as_str());
    SeriesRecord {
        series: called(name, monitor, target),
        monitor: monitor.to_owned(),
        target: target.to_owned(),
        watched: watched.is_some(),
        known_since,
        outages,
        unknown,
    }
}

/// What people call a series; one that is watched no more by its monitor and target.
pub fn name_of(key: &str, names: &BTreeMap<String, String>) -> String {
    let (monitor, target) = split_key(key);
    called(names.get(key).map_or("", String::as_str), monitor, target)
}

fn called(name: &str, monitor: &str, target: &str) -> String {
    if name.is_empty() {
        format!("{monitor} ({target})")
    } else {
        name.to_owned()
    }
}

/// Monitor and target of a stored key.
pub fn split_key(key: &str) -> (&str, &str) {
    let (monitor, rest) = key.split_once('\u{1f}').unwrap_or((key, ""));
    (monitor, rest.split('\u{1f}').next().unwrap_or_default())
}

/// Keeps those that `wanted` names; all when it names none.
pub fn select(records: &mut Vec<SeriesRecord>, wanted: &[String]) -> Result<(), Unknown> {
    for name in wanted {
        if !records.iter().any(|r| r.series == *name || r.monitor == *name) {
            let known = records
                .iter()
                .flat_map(|r| [r.series.as_str(), r.monitor.as_str()]);
            let hint = nearest(name, known).map_or_else(
                || "lapwing status --all lists them".to_owned(),
                |n| format!("did you mean \"{n}\"?"),
            );
            return Err(Unknown {
                name: name.clone(),
                hint,
            });
        }
    }
    if !wanted.is_empty() {
        records.retain(|r| wanted.iter().any(|name| r.series == *name || r.monitor == *name));
    }
    Ok(())
}
