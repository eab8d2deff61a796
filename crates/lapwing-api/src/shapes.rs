//! Shapes, and how the core's values become them.

use std::{collections::BTreeMap, time::Duration};

use lapwing_core::{
    event::Event,
    heartbeat::{BeatStanding, Hindrance, Proof},
    lookout::{SeriesView, Snapshot},
    mute::{Mute, Mutes},
    observation::{Observation, Outcome, Reason as CoreReason, Value},
    outage::Outage,
    state::State,
    time::{Wall, short},
};
use serde::{Deserialize, Serialize};

use crate::{report::CauseShape, steering::MuteShape};

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
    /// Of a heartbeat that is heard again: whose fault its silence was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminder: Option<Reminder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Of `paused`, `acknowledged`, `silenced`: who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<MuteShape>,
    /// A silence holds: it is shown, and told to nobody.
    #[serde(default, skip_serializing_if = "is_false")]
    pub withheld: bool,
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
            cause: event.verdict.as_ref().map(CauseShape::from),
            reminder: event.reminder.map(|r| Reminder { n: r.n, last: r.last }),
            loss: event.loss.map(|l| Loss {
                from: round2(l.from.percent()),
                to: round2(l.to.percent()),
                lost: l.to.lost,
                held: l.to.held,
            }),
            mute: event.mute.as_ref().map(MuteShape::from),
            withheld: event.withheld,
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
    /// Of heartbeats: what is known of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatShape>,
    /// Who asked for no probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<MuteShape>,
    /// Who asked that nothing is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<MuteShape>,
    /// Who takes care of the outage that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<MuteShape>,
}

/// What is known of the sender of heartbeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatShape {
    /// The last beat that said that all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// How old the last sign of life of any kind is; absent when none ever came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<f64>,
    /// When the next beat is due; absent while none ever came, and while a job runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// How beats prove whose they are: `keyed` (HMAC), `url` (a secret in the address of a ping), `plain` (by their
    /// source address alone).
    pub proof: String,
    /// False for `plain`: anybody can forge those.
    pub authenticated: bool,
    /// Where the newest beat came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How long the sender's machine had been running, at the newest beat that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<f64>,
    /// The sender's newest account of a silence of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountShape>,
    /// What came with the newest beat, at most its last KiB; it begins with `…` where something is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Since when a job runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// The sender has said that it ends.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopped: bool,
}

/// What a sender says of a time in which nobody acknowledged its beats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountShape {
    /// When it said so.
    pub at: String,
    pub silent_s: f64,
    /// Beats that were not acknowledged.
    pub lost: u32,
    /// What it found in its way: `unanswered`, `no_route`, `no_name`.
    pub hindrance: String,
}

/// Longest note in a status, in bytes, without the mark that something is left out.
const NOTE: usize = 1024;

/// The end of a note: what went wrong stands last in a log.
fn end_of(note: &str) -> String {
    if note.len() <= NOTE {
        return note.to_owned();
    }
    format!("…{}", &note[note.ceil_char_boundary(note.len() - NOTE)..])
}

impl HeartbeatShape {
    pub fn new(beats: &BeatStanding, due: Option<Wall>, now: Wall) -> Self {
        let proof = match beats.proof {
            Proof::Keyed => "keyed",
            Proof::Url => "url",
            Proof::Plain => "plain",
        };
        Self {
            last: beats.last.map(Wall::rfc3339),
            age_s: beats.heard.map(|heard| seconds(now.since(heard))),
            due: due.map(Wall::rfc3339),
            proof: proof.to_owned(),
            authenticated: beats.proof != Proof::Plain,
            source: beats.source.map(|source| source.to_string()),
            uptime_s: beats.uptime.map(seconds),
            account: beats.account.map(|(at, account)| AccountShape {
                at: at.rfc3339(),
                silent_s: seconds(account.silent),
                lost: account.lost,
                hindrance: match account.hindrance {
                    Hindrance::Unanswered => "unanswered",
                    Hindrance::NoRoute => "no_route",
                    Hindrance::NoName => "no_name",
                }
                .to_owned(),
            }),
            note: beats.note.as_deref().map(end_of),
            started: beats.started.map(Wall::rfc3339),
            stopped: beats.stopped,
        }
    }
}

impl SeriesShape {
    /// The newest sign of life, for a narrow column: `12.3ms` of a probe, `12s ago` of a beat, `-` of neither.
    pub fn last_sign(&self) -> String {
        match (&self.heartbeat, &self.last) {
            (Some(beats), _) => beats.age_s.map_or_else(
                || "-".to_owned(),
                |age| format!("{} ago", short(Duration::from_secs(age.clamp(0.0, 1e9) as u64))),
            ),
            (None, Some(last)) => format!("{:.1}ms", last.total_ms),
            (None, None) => "-".to_owned(),
        }
    }

    /// Whether somebody asked to leave something out.
    pub fn is_muted(&self) -> bool {
        self.paused.is_some() || self.silenced.is_some() || self.acknowledged.is_some()
    }

    /// With what somebody asked to leave out.
    #[must_use]
    pub fn muted(self, mutes: Option<&Mutes>, outage: Option<&Outage>) -> Self {
        let shape = |mute: &Mute| MuteShape::from(mute);
        Self {
            paused: mutes.and_then(|m| m.paused.as_ref()).map(shape),
            silenced: mutes.and_then(|m| m.silenced.as_ref()).map(shape),
            acknowledged: outage.and_then(|o| o.acknowledged.as_deref()).map(shape),
            ..self
        }
    }

    /// Why it is in its state, and what else a person should know at a glance. `clock` writes an RFC 3339 time as that
    /// person reads it.
    pub fn remarks(&self, clock: &dyn Fn(&str) -> String) -> String {
        let reason = self.reason.as_ref().map(|r| r.detail.clone());
        let forgeable = self
            .heartbeat
            .as_ref()
            .is_some_and(|h| !h.authenticated && h.age_s.is_some());
        let heard = self.heartbeat.as_ref().is_some_and(|h| h.age_s.is_some());
        let never = self.state == "pending" && self.kind == "heartbeat" && !heard;
        let muted = [
            ("paused", &self.paused),
            ("silenced", &self.silenced),
            ("acknowledged", &self.acknowledged),
        ];
        let muted = muted
            .into_iter()
            .filter_map(|(word, mute)| Some(format!("{word}{}", mute.as_ref()?.words(clock))));
        let remarks = [
            reason,
            never.then(|| "never reported in".to_owned()),
            forgeable.then(|| "unauthenticated".to_owned()),
        ];
        remarks
            .into_iter()
            .flatten()
            .chain(muted)
            .collect::<Vec<_>>()
            .join("; ")
    }
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
    /// What came to each listener that runs, by name: `heartbeat`, `pings`, `echo`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listeners: BTreeMap<String, ListenerShape>,
}

/// What came to a listener since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerShape {
    /// Where it listens.
    pub address: String,
    /// How many of each: what was taken, and what was refused, by reason.
    pub counts: BTreeMap<String, u64>,
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
        let mut series: Vec<SeriesShape> = snapshot
            .series
            .iter()
            .map(|view| SeriesShape::new(view, now))
            .collect();
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
            listeners: BTreeMap::new(),
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

impl SeriesShape {
    pub fn new(view: &SeriesView, now: Wall) -> Self {
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
            heartbeat: view
                .beats
                .as_deref()
                .map(|beats| HeartbeatShape::new(beats, view.due, now)),
            paused: None,
            silenced: None,
            acknowledged: None,
        }
        .muted(view.mutes.as_deref(), view.outage.as_ref())
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

pub(crate) fn seconds(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e6
}

fn millis(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(it: &bool) -> bool {
    !it
}

fn round2(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use lapwing_core::heartbeat::Account;

    use super::*;

    const S: i64 = 1_000_000;

    fn shape(beats: &BeatStanding) -> HeartbeatShape {
        HeartbeatShape::new(beats, Some(Wall(130 * S)), Wall(112 * S))
    }

    fn series(heartbeat: Option<HeartbeatShape>) -> SeriesShape {
        SeriesShape {
            series: "home".to_owned(),
            monitor: "home".to_owned(),
            target: "heartbeat:home".to_owned(),
            kind: "heartbeat".to_owned(),
            labels: BTreeMap::new(),
            state: "up".to_owned(),
            since: Wall(0).rfc3339(),
            reason: None,
            last: None,
            loss: None,
            skipped: 0,
            heartbeat,
            paused: None,
            silenced: None,
            acknowledged: None,
        }
    }

    #[test]
    fn a_heartbeat_shows_what_is_known_and_nothing_else() {
        let beats = BeatStanding {
            last: Some(Wall(100 * S)),
            heard: Some(Wall(100 * S)),
            proof: Proof::Keyed,
            source: Some([127, 0, 0, 1].into()),
            uptime: Some(Duration::from_secs(115)),
            account: Some((
                Wall(100 * S),
                Account {
                    silent: Duration::from_millis(206_600),
                    lost: 7,
                    hindrance: Hindrance::NoRoute,
                },
            )),
            ..BeatStanding::default()
        };
        let expected = serde_json::json!({
            "last": "1970-01-01T00:01:40.000000Z", "age_s": 12.0, "due": "1970-01-01T00:02:10.000000Z",
            "proof": "keyed", "authenticated": true, "source": "127.0.0.1", "uptime_s": 115.0,
            "account": {
                "at": "1970-01-01T00:01:40.000000Z", "silent_s": 206.6, "lost": 7, "hindrance": "no_route",
            },
        });
        assert_eq!(serde_json::to_value(shape(&beats)).unwrap(), expected);
        let nothing = HeartbeatShape::new(&BeatStanding::default(), None, Wall(0));
        let expected = serde_json::json!({ "proof": "plain", "authenticated": false });
        assert_eq!(serde_json::to_value(nothing).unwrap(), expected);
        let probed = serde_json::to_value(series(None)).unwrap();
        assert_eq!(probed.get("heartbeat"), None);
    }

    #[test]
    fn of_a_long_note_whole_characters_of_the_end_are_shown() {
        let shown = |note: String| {
            let beats = BeatStanding {
                note: Some(note.into()),
                ..BeatStanding::default()
            };
            shape(&beats).note.unwrap()
        };
        let birds = |count| "\u{1F426}".repeat(count);
        assert_eq!(shown(birds(1000) + "end"), format!("…{}end", birds(255)));
        assert_eq!(shown(birds(256)), birds(256), "all of it");
    }

    fn hour(at: &str) -> String {
        at[11..16].to_owned()
    }

    #[test]
    fn at_a_glance() {
        let beats = BeatStanding {
            heard: Some(Wall(100 * S)),
            ..BeatStanding::default()
        };
        let mut plain = series(Some(shape(&beats)));
        assert_eq!(
            (plain.last_sign().as_str(), plain.remarks(&hour).as_str()),
            ("12s ago", "unauthenticated")
        );
        plain.reason = Some(Reason {
            code: "heartbeat.late".to_owned(),
            detail: "no beat for 12s".to_owned(),
        });
        assert_eq!(plain.remarks(&hour), "no beat for 12s; unauthenticated");
        plain.silenced = Some(MuteShape {
            by: "anna".to_owned(),
            reason: "new disk".to_owned(),
            since: Wall(0).rfc3339(),
            until: Some(Wall(60 * S).rfc3339()),
        });
        assert_eq!(
            plain.remarks(&hour),
            "no beat for 12s; unauthenticated; silenced by anna until 00:01: new disk"
        );
        let unheard = HeartbeatShape::new(&BeatStanding::default(), None, Wall(0));
        let mut never = series(Some(unheard));
        never.state = "pending".to_owned();
        assert_eq!(
            (never.last_sign().as_str(), never.remarks(&hour).as_str()),
            ("-", "never reported in")
        );
        never.state = "paused".to_owned();
        assert_eq!(never.remarks(&hour), "");
        let mut probed = series(None);
        assert_eq!(
            (probed.last_sign().as_str(), probed.remarks(&hour).as_str()),
            ("-", "")
        );
        probed.last = Some(LastShape {
            at: Wall(0).rfc3339(),
            total_ms: 12.34,
        });
        assert_eq!(probed.last_sign(), "12.3ms");
    }
}
