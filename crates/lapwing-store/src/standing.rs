//! Records of what the lookout decides: standings, outages, notices under way.
//!
//! The shapes are the store's own: a field of the core may be renamed without touching what lies on disk.

use std::{sync::Arc, time::Duration};

use lapwing_core::{
    event::EventKind,
    id::Id,
    judge::Standing,
    loss::{LossWindow, Share},
    outage::{End, Outage},
    outbox::{Notice, Row},
    state::State,
    time::micros,
};
use serde::{Deserialize, Serialize};

use crate::{
    beats::VerdictRecord,
    mutes::{MuteRecord, MutesRecord},
    record::{Record, StoredReason, StoredWall},
};

/// The standing of a series, under [`crate::space::series`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StandingRecord {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    state: String,
    since: StoredWall,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    resume: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_failure: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_success: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    success_before: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "is_zero")]
    successes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_success: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    window: Vec<(StoredWall, bool)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_before: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovered_at: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outage: Option<OutageRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    degraded: Option<(StoredWall, StoredReason)>,
    /// Runs of equal results, oldest first: positive lengths were answered, negative ones lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    loss: Vec<i64>,
    /// Lost and held of the share told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_told: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    inconclusive: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<StoredReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_since: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mutes: Option<MutesRecord>,
}

impl Record for StandingRecord {
    const VERSION: u32 = 1;
}

impl From<&Standing> for StandingRecord {
    fn from(it: &Standing) -> Self {
        let told = it.loss.told();
        let runs = it
            .loss
            .runs()
            .map(|(lost, n)| if lost { -i64::from(n) } else { i64::from(n) });
        Self {
            name: String::new(),
            state: it.state.to_string(),
            since: it.since.into(),
            resume: it.resume.to_string(),
            failures: it.failures,
            first_failure: it.first_failure.map(Into::into),
            last_failure: it.last_failure.map(Into::into),
            last_success: it.last_success.map(Into::into),
            success_before: it.success_before.map(Into::into),
            successes: it.successes,
            first_success: it.first_success.map(Into::into),
            window: it
                .window
                .iter()
                .map(|(at, failed)| ((*at).into(), *failed))
                .collect(),
            window_before: it.window_before.map(Into::into),
            recovered_at: it.recovered_at.map(Into::into),
            outage: it.outage.as_deref().map(Into::into),
            degraded: it
                .degraded
                .as_deref()
                .map(|(at, reason)| ((*at).into(), reason.into())),
            loss: runs.collect(),
            loss_told: (told.lost > 0).then_some((told.lost, told.held)),
            inconclusive: it.inconclusive,
            reason: it.reason.as_ref().map(Into::into),
            seen: it.seen.map(Into::into),
            known_since: it.known_since.map(Into::into),
            mutes: it.mutes.as_deref().map(Into::into),
        }
    }
}

impl From<StandingRecord> for Standing {
    fn from(it: StandingRecord) -> Self {
        let runs = it
            .loss
            .iter()
            .map(|n| (*n < 0, u32::try_from(n.unsigned_abs()).unwrap_or(u32::MAX)));
        let (lost, held) = it.loss_told.unwrap_or((0, 1));
        Self {
            // A word of a later version reads as never asked: the next probe tells.
            state: State::parse(&it.state).unwrap_or_default(),
            since: it.since.into(),
            resume: State::parse(&it.resume).unwrap_or_default(),
            failures: it.failures,
            first_failure: it.first_failure.map(Into::into),
            last_failure: it.last_failure.map(Into::into),
            last_success: it.last_success.map(Into::into),
            success_before: it.success_before.map(Into::into),
            successes: it.successes,
            first_success: it.first_success.map(Into::into),
            window: it
                .window
                .into_iter()
                .map(|(at, failed)| (at.into(), failed))
                .collect(),
            window_before: it.window_before.map(Into::into),
            recovered_at: it.recovered_at.map(Into::into),
            outage: it.outage.map(|outage| Box::new(outage.into())),
            degraded: it
                .degraded
                .map(|(at, reason)| Box::new((at.into(), reason.into()))),
            loss: LossWindow::restore(
                runs.collect::<Vec<_>>(),
                Share {
                    lost,
                    held: held.max(1),
                },
            ),
            inconclusive: it.inconclusive,
            reason: it.reason.map(Into::into),
            seen: it.seen.map(Into::into),
            known_since: it.known_since.map(Into::into),
            // Stored apart: they change with every beat.
            beats: None,
            mutes: it.mutes.map(|mutes| Box::new(mutes.into())),
        }
    }
}

/// An outage, under [`crate::space::outage`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutageRecord {
    began: StoredWall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begin_uncertainty_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_up: Option<StoredWall>,
    reason: StoredReason,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<(StoredWall, StoredReason)>,
    failed_checks: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    reminded: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<EndRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<MuteRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EndRecord {
    at: StoredWall,
    uncertainty_us: u64,
    recovered: bool,
}

impl Record for OutageRecord {
    const VERSION: u32 = 1;
}

impl From<&Outage> for OutageRecord {
    fn from(it: &Outage) -> Self {
        Self {
            began: it.began.into(),
            begin_uncertainty_us: it.begin_uncertainty.map(micros),
            last_up: it.last_up.map(Into::into),
            reason: (&it.reason).into(),
            evidence: it
                .evidence
                .iter()
                .map(|(at, reason)| ((*at).into(), reason.into()))
                .collect(),
            failed_checks: it.failed_checks,
            reminded: it.reminded,
            end: it.end.map(|end| EndRecord {
                at: end.at.into(),
                uncertainty_us: micros(end.uncertainty),
                recovered: end.recovered,
            }),
            verdict: it.verdict.map(Into::into),
            acknowledged: it.acknowledged.as_deref().map(Into::into),
        }
    }
}

impl From<OutageRecord> for Outage {
    fn from(it: OutageRecord) -> Self {
        Self {
            began: it.began.into(),
            begin_uncertainty: it.begin_uncertainty_us.map(Duration::from_micros),
            last_up: it.last_up.map(Into::into),
            reason: it.reason.into(),
            evidence: it
                .evidence
                .into_iter()
                .map(|(at, reason)| (at.into(), reason.into()))
                .collect(),
            failed_checks: it.failed_checks,
            reminded: it.reminded,
            end: it.end.map(|end| End {
                at: end.at.into(),
                uncertainty: Duration::from_micros(end.uncertainty_us),
                recovered: end.recovered,
            }),
            verdict: it.verdict.and_then(VerdictRecord::verdict),
            acknowledged: it.acknowledged.map(|mute| Box::new(mute.into())),
        }
    }
}

/// A notice on its way, under [`crate::space::outbox`]; given up, under [`crate::space::dead`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowRecord {
    order: u64,
    notifier: String,
    attempts: u32,
    #[serde(default)]
    sending: bool,
    #[serde(default)]
    resent: bool,
    id: String,
    event: String,
    lane: String,
    monitor: String,
    series: String,
    target: String,
    probe: String,
    host: String,
    at: StoredWall,
    text: String,
    json: String,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead: Option<String>,
}

impl Record for RowRecord {
    const VERSION: u32 = 1;
}

impl From<&Row> for RowRecord {
    fn from(row: &Row) -> Self {
        let notice = &row.notice;
        Self {
            order: row.order,
            notifier: row.notifier.to_string(),
            attempts: row.attempts,
            sending: row.sending,
            resent: row.resent,
            id: notice.id.to_string(),
            event: notice.kind.as_str().to_owned(),
            lane: notice.lane.to_string(),
            monitor: notice.monitor.clone(),
            series: notice.series.clone(),
            target: notice.target.clone(),
            probe: notice.probe.clone(),
            host: notice.host.clone(),
            at: notice.at.into(),
            text: notice.text.clone(),
            json: notice.json.clone(),
            dead: None,
        }
    }
}

impl RowRecord {
    /// The row; None when its id or event is a word of a later version.
    pub(crate) fn row(self) -> Option<Row> {
        let notice = Notice {
            id: Id::parse(&self.id)?,
            kind: EventKind::parse(&self.event)?,
            lane: self.lane.into(),
            monitor: self.monitor,
            series: self.series,
            target: self.target,
            probe: self.probe,
            host: self.host,
            at: self.at.into(),
            text: self.text,
            json: self.json,
        };
        Some(Row {
            order: self.order,
            notifier: self.notifier.into(),
            notice: Arc::new(notice),
            attempts: self.attempts,
            sending: self.sending,
            resent: self.resent,
        })
    }
}

/// A moment that comes first: the key of a row keeps its order.
pub(crate) fn row_name(order: u64) -> String {
    format!("{order:020}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
