//! The shape of a report: outages and uptime of each series over a window of time.

use std::time::Duration;

use lapwing_core::{
    heartbeat::Verdict,
    observation::Reason as CoreReason,
    outage::Outage,
    time::Wall,
    uptime::{Cover, FORMULA, Interval, Timeline, Uptime},
};
use serde::{Deserialize, Serialize};

use crate::shapes::{Reason, VERSION};

/// Outages and uptime of all series asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportShape {
    pub v: u32,
    /// Of the program that made it.
    pub version: String,
    /// When it was made: RFC 3339, microseconds, UTC, as all times here.
    pub at: String,
    /// False when no daemon was watching at that time.
    pub running: bool,
    /// The window of time.
    pub from: String,
    pub to: String,
    /// How `uptime_percent` is computed.
    pub formula: String,
    /// The begin of each slice of the window, and the end of the last; empty where no format asked for slices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<String>,
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
    /// Mean time between failures: `up_s` / outages that began in the window. Absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtbf_s: Option<f64>,
    /// Mean time to repair: the mean length of the outages that have recovered. Absent when none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mttr_s: Option<f64>,
    /// Oldest first; all that touch the window, each in its whole length.
    pub outages: Vec<OutageShape>,
    /// How each slice between two of the report's `edges` was spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceShape>,
}

/// How a slice of the window was spent. The three sum to its length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceShape {
    pub up_s: f64,
    pub down_s: f64,
    pub unknown_s: f64,
}

/// One outage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutageShape {
    pub began: String,
    /// Absent while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// True while it lasts, and absent after.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ongoing: bool,
    /// So far, while it lasts.
    pub length_s: f64,
    /// The true length lies within this of `length_s`; absent when its begin is uncertain without bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty_s: Option<f64>,
    pub reason: Reason,
    /// Of heartbeats, once the sensor spoke again: whose fault it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseShape>,
    pub failed_checks: u32,
    /// False while it lasts, and when watching ended before it did.
    pub recovered: bool,
    /// Reasons it changed to, with the time of each change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceShape>,
}

/// What a sensor's silence was, and what speaks for that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CauseShape {
    /// `line`, `network`, `restart`, `power`, `sensor`, `stopped`.
    pub kind: String,
    /// For people.
    pub text: String,
    /// From the last beat before to the first after.
    pub silent_s: f64,
    /// How long the sensor's machine had been running when it spoke again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<f64>,
    /// Beats that the sensor says were never acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_beats: Option<u32>,
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
    /// Times in which nothing was known, besides those in which nobody watched; in any order.
    pub unknown: Vec<Interval>,
}

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub window: Interval,
    /// Times in which this program did not run, over the same window.
    pub unwatched: &'a Cover<'a>,
    /// Parts of the window, one after the other, to be told one by one; empty for none.
    pub slices: &'a [Interval],
    /// An outage that lasts goes on until now.
    pub now: Wall,
    /// Whether a daemon runs now.
    pub running: bool,
}

impl ReportShape {
    /// Reports `records`; `version` is that of this program.
    pub fn new(records: &[SeriesRecord], scope: &Scope<'_>, version: &str) -> Self {
        Self {
            v: VERSION,
            version: version.to_owned(),
            at: scope.now.rfc3339(),
            running: scope.running,
            from: scope.window.from.rfc3339(),
            to: scope.window.to.rfc3339(),
            formula: FORMULA.to_owned(),
            edges: edges(scope.slices),
            series: records.iter().map(|r| SeriesReport::new(r, scope)).collect(),
        }
    }
}

fn edges(slices: &[Interval]) -> Vec<String> {
    let begins = slices.iter().map(|s| s.from);
    begins
        .chain(slices.last().map(|s| s.to))
        .map(Wall::rfc3339)
        .collect()
}

impl SeriesReport {
    fn new(record: &SeriesRecord, scope: &Scope<'_>) -> Self {
        let Scope { window, now, .. } = *scope;
        let touches = |o: &&Outage| o.began < window.to && o.end.map_or(now, |e| e.at) >= window.from;
        let outages: Vec<&Outage> = record.outages.iter().filter(touches).collect();
        let timeline = timeline(record, &outages, scope);
        let uptime = timeline.whole();
        let longest = outages.iter().map(|o| o.length(now)).max();
        let begun = outages.iter().filter(|o| o.began >= window.from).count();
        let slice = |part: &Interval| SliceShape::from(timeline.within(*part));
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
            longest_outage_s: longest.map(seconds),
            mtbf_s: (begun > 0).then(|| seconds(uptime.up) / begun as f64),
            mttr_s: mean_repair(&outages),
            slices: scope.slices.iter().map(slice).collect(),
            outages: outages.into_iter().map(|o| OutageShape::new(o, now)).collect(),
        }
    }
}

fn timeline<'a>(record: &SeriesRecord, outages: &[&Outage], scope: &Scope<'a>) -> Timeline<'a> {
    let Scope { window, now, .. } = *scope;
    let down = |o: &&Outage| Interval {
        from: o.began,
        to: o.end.map_or(now, |e| e.at),
    };
    let down: Vec<Interval> = outages.iter().map(down).collect();
    // Before the first conclusive check, and after now, nothing is known.
    let before = Interval {
        from: window.from,
        to: record.known_since.unwrap_or(window.to),
    };
    let after = Interval {
        from: now,
        to: window.to,
    };
    let unknown = [record.unknown.as_slice(), &[before, after]].concat();
    Timeline::new(window, &down, &unknown, scope.unwatched)
}

fn mean_repair(outages: &[&Outage]) -> Option<f64> {
    let ends = outages
        .iter()
        .filter_map(|o| Some((o, o.end.filter(|e| e.recovered)?)));
    let lengths: Vec<f64> = ends.map(|(o, end)| seconds(end.at.since(o.began))).collect();
    (!lengths.is_empty()).then(|| lengths.iter().sum::<f64>() / lengths.len() as f64)
}

impl From<Uptime> for SliceShape {
    fn from(spent: Uptime) -> Self {
        Self {
            up_s: seconds(spent.up),
            down_s: seconds(spent.down),
            unknown_s: seconds(spent.unknown),
        }
    }
}

impl OutageShape {
    pub fn new(outage: &Outage, now: Wall) -> Self {
        let change = |(at, reason): &(Wall, CoreReason)| EvidenceShape {
            at: at.rfc3339(),
            reason: reason.into(),
        };
        Self {
            began: outage.began.rfc3339(),
            ended: outage.end.map(|e| e.at.rfc3339()),
            ongoing: outage.end.is_none(),
            length_s: seconds(outage.length(now)),
            uncertainty_s: outage.uncertainty().map(seconds),
            reason: (&outage.reason).into(),
            cause: outage.verdict.as_ref().map(CauseShape::from),
            failed_checks: outage.failed_checks,
            recovered: outage.end.is_some_and(|e| e.recovered),
            evidence: outage.evidence.iter().map(change).collect(),
        }
    }
}

impl From<&Verdict> for CauseShape {
    fn from(verdict: &Verdict) -> Self {
        Self {
            kind: verdict.cause.as_str().to_owned(),
            text: verdict.text(),
            silent_s: seconds(verdict.silent),
            uptime_s: verdict.uptime.map(seconds),
            lost_beats: verdict.account.map(|a| a.lost),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(it: &bool) -> bool {
    !it
}

fn seconds(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use lapwing_core::{
        heartbeat::{Account, Cause, Hindrance},
        outage::End,
    };

    use super::*;

    const S: i64 = 1_000_000;

    fn span(from: i64, to: i64) -> Interval {
        Interval {
            from: Wall(from * S),
            to: Wall(to * S),
        }
    }

    fn outage(began: i64, end: Option<(i64, bool)>) -> Outage {
        Outage {
            began: Wall(began * S),
            begin_uncertainty: Some(Duration::from_secs(1)),
            last_up: Some(Wall((began - 1) * S)),
            reason: CoreReason::new("connect.refused", "connection refused"),
            evidence: Vec::new(),
            failed_checks: 1,
            reminded: 0,
            end: end.map(|(at, recovered)| End {
                at: Wall(at * S),
                uncertainty: Duration::from_secs(2),
                recovered,
            }),
            verdict: None,
            acknowledged: None,
        }
    }

    fn record(outages: Vec<Outage>) -> SeriesRecord {
        SeriesRecord {
            series: "web".to_owned(),
            monitor: "web".to_owned(),
            target: "tcp://web:1".to_owned(),
            watched: true,
            known_since: Some(Wall(10 * S)),
            outages,
            unknown: vec![span(30, 35)],
        }
    }

    /// Over the seconds 0 to 100 at 90, nobody watching from 50 to 60.
    fn report(outages: Vec<Outage>) -> SeriesReport {
        let window = span(0, 100);
        let unwatched = Cover::new(window, &[span(50, 60)]);
        let scope = Scope {
            window,
            unwatched: &unwatched,
            slices: &[span(0, 50), span(50, 100)],
            now: Wall(90 * S),
            running: true,
        };
        ReportShape::new(&[record(outages)], &scope, "1").series.remove(0)
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-9)
    }

    #[test]
    fn means_are_of_what_is_known() {
        // One began before the window, one recovered, one was given up, one lasts.
        let told = report(vec![
            outage(-20, Some((12, true))),
            outage(20, Some((24, true))),
            outage(40, Some((41, false))),
            outage(80, None),
        ]);
        assert!(close(
            Some(told.up_s),
            100.0 - 10.0 - 2.0 - 4.0 - 5.0 - 1.0 - 10.0 - 20.0
        ));
        assert!(close(told.mtbf_s, told.up_s / 3.0), "{told:?}");
        assert!(close(told.mttr_s, f64::midpoint(32.0, 4.0)), "{told:?}");
        assert!(close(told.longest_outage_s, 32.0));
        let ongoing: Vec<bool> = told.outages.iter().map(|o| o.ongoing).collect();
        assert_eq!(ongoing, [false, false, false, true]);
        assert!(close(told.outages[3].uncertainty_s, 1.0) && close(Some(told.outages[3].length_s), 10.0));
    }

    #[test]
    fn without_outages_there_are_no_means() {
        let told = report(Vec::new());
        assert_eq!(
            (told.mtbf_s, told.mttr_s, told.longest_outage_s),
            (None, None, None)
        );
        let lasts = report(vec![outage(80, None)]);
        assert!(lasts.mtbf_s.is_some() && lasts.mttr_s.is_none(), "{lasts:?}");
    }

    #[test]
    fn slices_sum_to_the_whole() {
        let told = report(vec![outage(20, Some((55, true))), outage(80, None)]);
        let sums: Vec<f64> = told
            .slices
            .iter()
            .map(|s| s.up_s + s.down_s + s.unknown_s)
            .collect();
        assert_eq!(sums, [50.0, 50.0]);
        let total = |of: fn(&SliceShape) -> f64| told.slices.iter().map(of).sum::<f64>();
        assert_eq!(
            (total(|s| s.up_s), total(|s| s.down_s), total(|s| s.unknown_s)),
            (told.up_s, told.down_s, told.unknown_s)
        );
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut silent = outage(20, Some((24, true)));
        silent.verdict = Some(Verdict {
            cause: Cause::Line,
            silent: Duration::from_secs(5),
            uptime: None,
            account: Some(Account {
                silent: Duration::from_secs(5),
                lost: 3,
                hindrance: Hindrance::Unanswered,
            }),
        });
        let json = serde_json::to_value(report(vec![silent, outage(80, None)])).unwrap();
        let (ended, lasts) = (&json["outages"][0], &json["outages"][1]);
        let text = "line down, sensor kept running (3 beats lost)";
        let cause = serde_json::json!({ "kind": "line", "text": text, "silent_s": 5.0, "lost_beats": 3 });
        assert_eq!(ended["cause"], cause);
        assert_eq!((ended.get("ongoing"), lasts.get("cause")), (None, None));
        assert_eq!(lasts["ongoing"], true);
    }
}
