//! Outages: when one began and ended, how sure that is, and why.

use std::time::Duration;

use crate::{heartbeat::Verdict, mute::Mute, observation::Reason, time::Wall};

/// An interval of `down` of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The first of the failures that made it.
    pub began: Wall,
    /// First failure minus the last success before it. None when the series was never seen up before.
    pub begin_uncertainty: Option<Duration>,
    /// The last time it was seen up before it began.
    pub last_up: Option<Wall>,
    /// The reason that was told.
    pub reason: Reason,
    /// Other reasons seen during the outage, in order, with the time of each change; bounded.
    pub evidence: Vec<(Wall, Reason)>,
    /// Checks that failed before it was declared.
    pub failed_checks: u32,
    /// How many reminder times have passed.
    pub reminded: u32,
    pub end: Option<End>,
    /// Of heartbeats: line or reboot, once somebody spoke again.
    pub verdict: Option<Verdict>,
    /// Somebody takes care of it.
    pub acknowledged: Option<Box<Mute>>,
}

/// How an outage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The first of the successes that ended it, or the moment when watching ended.
    pub at: Wall,
    /// First success minus the last failure.
    pub uncertainty: Duration,
    /// False when the series was taken out of the plan while it was down.
    pub recovered: bool,
}

impl Outage {
    /// Most changes of reason that are kept.
    pub const EVIDENCE_MAX: usize = 16;

    /// From its begin to its end, or to `now` while it lasts.
    pub fn length(&self, now: Wall) -> Duration {
        self.end.map_or(now, |e| e.at).since(self.began)
    }

    /// The larger of both uncertainties. None where the begin's is unknown.
    pub fn uncertainty(&self) -> Option<Duration> {
        let begin = self.begin_uncertainty?;
        Some(self.end.map_or(begin, |e| e.uncertainty.max(begin)))
    }

    pub(crate) fn note(&mut self, at: Wall, reason: &Reason) {
        let newest = self.evidence.last().map_or(&self.reason, |(_, r)| r);
        if newest.code != reason.code && self.evidence.len() < Self::EVIDENCE_MAX {
            self.evidence.push((at, reason.clone()));
        }
    }

    pub(crate) fn shift(&mut self, moved: impl Fn(Wall) -> Wall) {
        self.began = moved(self.began);
        self.last_up = self.last_up.map(&moved);
        for (at, _) in &mut self.evidence {
            *at = moved(*at);
        }
    }
}
