//! The shape of a report: outages and uptime of each series over a window of time.

use std::time::Duration;

use lapwing_core::{
    outage::Outage,
    time::Wall,
    uptime::{FORMULA, Interval, Uptime},
};
use serde::{Deserialize, Serialize};

use crate::shapes::{Reason, VERSION};

/// Outages and uptime of all series asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportShape {
    pub v: u32,
    /// The window of time, RFC 3339.
    pub from: String,
    pub to: String,
    /// How `uptime_percent` is computed.
    pub formula: String,
    pub series: Vec<SeriesReport>,
}

/// One series over the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    pub series: String,
    pub monitor: String,
    pub target: String,
    /// False when the series is watched no more.
    pub watched: bool,
    /// The first conclusive check ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_since: Option<String>,
    /// Absent when nothing is known about the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_percent: Option<f64>,
    pub up_s: f64,
    pub down_s: f64,
    pub unknown_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_outage_s: Option<f64>,
    /// Oldest first; all that touch the window.
    pub outages: Vec<OutageShape>,
}

/// One outage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutageShape {
    pub began: String,
    /// Absent while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// So far, while it lasts.
    pub length_s: f64,
    /// The true length lies within this of `length_s`; absent when its begin is uncertain without bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty_s: Option<f64>,
    pub reason: Reason,
    pub failed_checks: u32,
    /// False while it lasts, and when watching ended before it did.
    pub recovered: bool,
    /// Reasons it changed to, with the time of each change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceShape>,
}

/// A change of reason during an outage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceShape {
    pub at: String,
    pub reason: Reason,
}

/// What a report of one series is made of.
#[derive(Clone, Debug)]
pub struct SeriesRecord {
    pub series: String,
    pub monitor: String,
    pub target: String,
    pub watched: bool,
    pub known_since: Option<Wall>,
    /// Oldest first.
    pub outages: Vec<Outage>,
    /// Times in which nothing was known, besides those in which nobody watched.
    pub unknown: Vec<Interval>,
}

impl ReportShape {
    /// Reports `records` over `window`. `unwatched` are the times in which this program did not run; an outage that
    /// lasts goes on until `now`.
    pub fn new(records: &[SeriesRecord], window: Interval, unwatched: &[Interval], now: Wall) -> Self {
        Self {
            v: VERSION,
            from: window.from.rfc3339(),
            to: window.to.rfc3339(),
            formula: FORMULA.to_owned(),
            series: records
                .iter()
                .map(|r| SeriesReport::new(r, window, unwatched, now))
                .collect(),
        }
    }
}

impl SeriesReport {
    fn new(record: &SeriesRecord, window: Interval, unwatched: &[Interval], now: Wall) -> Self {
        let touches = |o: &&Outage| o.began < window.to && o.end.map_or(now, |e| e.at) >= window.from;
        let outages: Vec<&Outage> = record.outages.iter().filter(touches).collect();
        let spans: Vec<Interval> = outages
            .iter()
            .map(|o| Interval {
                from: o.began,
                to: o.end.map_or(now, |e| e.at),
            })
            .collect();
        let mut unknown = record.unknown.clone();
        unknown.extend_from_slice(unwatched);
        // Before the first conclusive check, and after now, nothing is known.
        unknown.push(Interval {
            from: window.from,
            to: record.known_since.unwrap_or(window.to),
        });
        unknown.push(Interval {
            from: now,
            to: window.to.max(now),
        });
        let uptime = Uptime::of(window, &spans, &unknown);
        let lengths = outages.iter().map(|o| seconds(o.length(now)));
        Self {
            series: record.series.clone(),
            monitor: record.monitor.clone(),
            target: record.target.clone(),
            watched: record.watched,
            known_since: record.known_since.map(Wall::rfc3339),
            uptime_percent: uptime.percent(),
            up_s: seconds(uptime.up),
            down_s: seconds(uptime.down),
            unknown_s: seconds(uptime.unknown),
            longest_outage_s: lengths.reduce(f64::max),
            outages: outages.into_iter().map(|o| OutageShape::new(o, now)).collect(),
        }
    }
}

impl OutageShape {
    fn new(outage: &Outage, now: Wall) -> Self {
        Self {
            began: outage.began.rfc3339(),
            ended: outage.end.map(|e| e.at.rfc3339()),
            length_s: seconds(outage.length(now)),
            uncertainty_s: outage.uncertainty().map(seconds),
            reason: (&outage.reason).into(),
            failed_checks: outage.failed_checks,
            recovered: outage.end.is_some_and(|e| e.recovered),
            evidence: outage
                .evidence
                .iter()
                .map(|(at, reason)| EvidenceShape {
                    at: at.rfc3339(),
                    reason: reason.into(),
                })
                .collect(),
        }
    }
}

fn seconds(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e6
}
