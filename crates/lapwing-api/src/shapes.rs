//! Shapes, and how the core's values become them.

use std::{collections::BTreeMap, time::Duration};

use lapwing_core::{
    event::Event,
    lookout::{SeriesView, Snapshot},
    observation::{Observation, Outcome, Reason as CoreReason, Value},
    state::State,
    time::Wall,
};
use serde::{Deserialize, Serialize};

/// Version of the shapes, `v` in each.
pub const VERSION: u32 = 1;

/// Why something did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code, such as `connect.refused`.
    pub code: String,
    /// For people.
    pub detail: String,
}

/// Which reminder of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reminder {
    pub n: u32,
    pub last: bool,
}

/// A change of packet loss, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    pub from: f64,
    pub to: f64,
    pub lost: u32,
    pub held: u32,
}

/// An event, in webhooks, streams and the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventShape {
    pub v: u32,
    /// ULID; the same on every attempt to deliver.
    pub id: String,
    /// `down`, `up`, `reminder`, `loss`, `degraded`, `cleared`, `monitoring`, `offline`, `online`, …
    pub event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub state: String,
    pub previous: String,
    /// When it was decided: RFC 3339, microseconds, UTC.
    pub at: String,
    /// Begin of the outage or state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// End of the outage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminder: Option<Reminder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Where the probe ran.
    pub location: String,
    pub resent: bool,
    /// The message a person reads.
    pub text: String,
}

impl From<&Event> for EventShape {
    fn from(event: &Event) -> Self {
        let series = event.series.as_deref();
        Self {
            v: VERSION,
            id: event.id.to_string(),
            event: event.kind.as_str().to_owned(),
            monitor: series.map(|s| s.monitor.name.clone()),
            series: series.map(|s| s.name.clone()),
            target: series.map(|s| s.target.clone()),
            kind: series.map(|s| s.kind.to_owned()),
            labels: series
                .map(|s| s.monitor.labels.iter().cloned().collect())
                .unwrap_or_default(),
            state: event.state.to_string(),
            previous: event.previous.to_string(),
            at: event.at.rfc3339(),
            since: event.since.map(Wall::rfc3339),
            ended: event.ended.map(Wall::rfc3339),
            duration_s: event.duration.map(seconds),
            uncertainty_s: event.uncertainty.map(seconds),
            reason: event.reason.as_ref().map(Reason::from),
            reminder: event.reminder.map(|r| Reminder { n: r.n, last: r.last }),
            loss: event.loss.map(|l| Loss {
                from: round2(l.from.percent()),
                to: round2(l.to.percent()),
                lost: l.to.lost,
                held: l.to.held,
            }),
            location: "local".to_owned(),
            resent: false,
            text: event.text.clone(),
        }
    }
}

/// One line of `lapwing check --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckShape {
    pub v: u32,
    pub target: String,
    pub kind: String,
    /// `up`, `degraded`, `down`, `inconclusive`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub total_ms: f64,
    /// `connect_ms` and so on, in the order in which they ran.
    pub phases: serde_json::Map<String, serde_json::Value>,
    pub facts: serde_json::Map<String, serde_json::Value>,
    pub at: String,
}

impl CheckShape {
    pub fn new(target: &str, kind: &str, seen: &Observation) -> Self {
        let phase = |p: &lapwing_core::observation::Phase| (format!("{}_ms", p.name), millis(p.took).into());
        let fact = |f: &lapwing_core::observation::Fact| (f.name.to_owned(), value(&f.value));
        Self {
            v: VERSION,
            target: target.to_owned(),
            kind: kind.to_owned(),
            state: state_of(&seen.outcome).to_string(),
            reason: seen.outcome.reason().map(Reason::from),
            total_ms: millis(seen.took),
            phases: seen.sample.phases.iter().map(phase).collect(),
            facts: seen.sample.facts.iter().map(fact).collect(),
            at: seen.at.rfc3339(),
        }
    }
}

/// The state that a single check shows.
pub fn state_of(outcome: &Outcome) -> State {
    match outcome {
        Outcome::Up => State::Up,
        Outcome::Degraded(_) => State::Degraded,
        Outcome::Down(_) => State::Down,
        Outcome::Inconclusive(_) => State::Inconclusive,
    }
}

/// A series, in status lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesShape {
    pub series: String,
    pub monitor: String,
    pub target: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub state: String,
    pub since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The newest probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastShape>,
    /// Packet loss over the window, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Slots that found the probe before still running.
    pub skipped: u64,
}

/// The newest probe of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastShape {
    pub at: String,
    pub total_ms: f64,
}

/// A notifier, in status lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifierShape {
    pub name: String,
    /// Notices that wait.
    pub waiting: usize,
    /// Failed attempts in a row.
    pub failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Everything at a glance: `lapwing status --json` and `/api/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusShape {
    pub v: u32,
    pub version: String,
    pub at: String,
    /// False when read from the ledger because no daemon runs.
    pub running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Since when this monitor itself is cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline_since: Option<String>,
    /// Series by state.
    pub counts: BTreeMap<String, usize>,
    pub series: Vec<SeriesShape>,
    pub notifiers: Vec<NotifierShape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineShape>,
}

/// How the daemon itself is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineShape {
    /// Probes that have ended since the start.
    pub checks: u64,
    /// Probes under way.
    pub running: u64,
    /// How late half of all probes, and 99 of 100, started at most (upper bound of a bucket).
    pub late_p50_ms: f64,
    pub late_p99_ms: f64,
    /// Observations that storage could not take.
    pub dropped: u64,
    /// All starts since the start of the daemon by their lateness, ascending: what came between two looks is the
    /// difference of both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<LateShape>,
}

/// Probes that started as late as `up_to_ms`, but later than the bucket before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateShape {
    pub up_to_ms: f64,
    pub probes: u64,
}

impl StatusShape {
    pub fn new(snapshot: &Snapshot, version: &str, now: Wall) -> Self {
        let mut series: Vec<SeriesShape> = snapshot.series.iter().map(SeriesShape::from).collect();
        series.sort_by(|a, b| a.series.cmp(&b.series));
        Self {
            v: VERSION,
            version: version.to_owned(),
            at: now.rfc3339(),
            running: true,
            started: Some(snapshot.started.rfc3339()),
            offline_since: snapshot.offline.as_ref().map(|(since, _)| since.rfc3339()),
            counts: counts(&series),
            series,
            notifiers: snapshot
                .notifiers
                .iter()
                .map(|n| NotifierShape {
                    name: n.notifier.to_string(),
                    waiting: n.waiting,
                    failures: n.failures,
                    last_error: n.last_error.clone(),
                })
                .collect(),
            engine: None,
        }
    }

    /// Exit code of product.md: 1 something is down, 3 nothing down but something degraded or inconclusive, else 0.
    pub fn exit_code(&self) -> u8 {
        exit_code(self.series.iter().map(|s| s.state.as_str()))
    }
}

/// The order of `lapwing restore` to a running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreShape {
    /// Absolute path of the backup, as the daemon sees it.
    pub from: String,
}

/// Counts series by state.
pub fn counts(series: &[SeriesShape]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in series {
        *counts.entry(one.state.clone()).or_insert(0) += 1;
    }
    counts
}

/// 1 when one of `states` is down, 3 when one is degraded or inconclusive, else 0.
pub fn exit_code<'a>(states: impl Iterator<Item = &'a str>) -> u8 {
    let worst = |state: &str| match state {
        "down" => 2,
        "degraded" | "inconclusive" => 1,
        _ => 0,
    };
    match states.map(worst).max() {
        Some(2) => 1,
        Some(1) => 3,
        _ => 0,
    }
}

impl From<&SeriesView> for SeriesShape {
    fn from(view: &SeriesView) -> Self {
        Self {
            series: view.series.name.clone(),
            monitor: view.series.monitor.name.clone(),
            target: view.series.target.clone(),
            kind: view.series.kind.to_owned(),
            labels: view.series.monitor.labels.iter().cloned().collect(),
            state: view.state.to_string(),
            since: view.since.rfc3339(),
            reason: view.reason.as_ref().map(Reason::from),
            last: view.last.map(|(at, took)| LastShape {
                at: at.rfc3339(),
                total_ms: millis(took),
            }),
            loss: view.loss.map(|share| round2(share.percent())),
            skipped: view.skipped,
        }
    }
}

impl From<&CoreReason> for Reason {
    fn from(reason: &CoreReason) -> Self {
        Self {
            code: reason.code.to_string(),
            detail: reason.detail.clone(),
        }
    }
}

fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Int(v) => (*v).into(),
        Value::Float(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Text(v) => v.as_str().into(),
    }
}

fn seconds(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e6
}

fn millis(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e3
}

fn round2(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}
