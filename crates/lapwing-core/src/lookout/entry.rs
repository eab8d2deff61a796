//! One watched series: its standing, its place in the schedule, its probes under way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Change, SeriesView};
use crate::{
    judge::Standing,
    monitor::{DownRule, Series},
    observation::Observation,
    schedule,
    state::State,
    time::{Mono, Wall},
};

/// Results of one series that may wait for an earlier probe of it.
const MAX_RUNNING: usize = 64;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) series: Arc<Series>,
    pub(super) standing: Standing,
    pub(super) hash: u64,
    pub(super) last_slot: Option<Mono>,
    pub(super) next_slot: Mono,
    /// Probes under way, oldest first, with results that wait for an earlier one.
    pub(super) running: VecDeque<(u64, Option<Box<Observation>>)>,
    /// A slot that found a probe still running, and waits a moment for it to end.
    pub(super) waiting: Option<Mono>,
    /// Somebody wants to know at once, and only probes that began before that are under way.
    pub(super) wanted: bool,
    pub(super) last: Option<(Wall, Duration)>,
    /// It has been asked since this process started.
    pub(super) asked: bool,
    pub(super) skipped: u64,
    /// Only the heap entry with this number counts.
    pub(super) wake: u64,
    pub(super) blind: bool,
}

impl Entry {
    pub(super) fn stored(&self) -> Change {
        Change::Standing {
            series: Arc::clone(&self.series.key),
            name: self.series.name.clone(),
            standing: Box::new(self.standing.clone()),
        }
    }

    /// True when another probe may begin.
    pub(super) fn has_room(&self) -> bool {
        self.running.is_empty() || (self.series.overlaps && self.running.len() < MAX_RUNNING)
    }

    /// What is under way is not wanted any more, nor what waits for it.
    pub(super) fn forget_running(&mut self) {
        self.running.clear();
        self.waiting = None;
        self.wanted = false;
    }

    /// True where nobody asks: beats come by themselves.
    pub(super) fn is_passive(&self) -> bool {
        self.series.monitor.policy.beats.is_some()
    }

    /// True where its failures may come from our own line.
    pub(super) fn tells_of_line(&self) -> bool {
        !self.series.loopback && !self.standing.is_paused()
    }

    /// When it is asked first, or first again, as one of `count`. Never while nobody may ask.
    pub(super) fn first_slot(&self, now: Mono, count: usize) -> Mono {
        if self.is_passive() || self.standing.is_paused() {
            return Mono(u64::MAX);
        }
        schedule::first_slot(now, self.hash, self.series.monitor.policy.interval, count)
    }

    /// After a change of the interval: the next slot counts from the last one.
    pub(super) fn reschedule(&mut self, now: Mono) {
        let asked = self.last_slot.filter(|_| self.next_slot != Mono(u64::MAX));
        let Some(last) = asked else { return };
        let policy = &self.series.monitor.policy;
        let step = self.standing.interval(policy);
        self.next_slot = if step == policy.interval {
            schedule::next_on_grid(last.max(now), self.hash, step)
        } else {
            (last + step).max(now)
        };
    }

    pub(super) fn is_blind(&self) -> bool {
        let threshold = match self.series.monitor.policy.rule {
            DownRule::Consecutive { failures, .. } => failures,
            DownRule::Window { fail, .. } => fail,
            DownRule::Off => 3,
        };
        self.standing.inconclusive >= threshold.max(1)
    }

    pub(super) fn view(&self) -> SeriesView {
        let standing = &self.standing;
        SeriesView {
            series: Arc::clone(&self.series),
            state: standing.state,
            since: match (&standing.outage, standing.state) {
                (Some(outage), State::Down) => outage.began,
                _ => standing.since,
            },
            reason: standing.reason.clone(),
            outage: standing.outage.as_deref().cloned(),
            last: self.last,
            loss: self.series.monitor.policy.loss.map(|_| standing.loss.share()),
            skipped: self.skipped,
            due: standing
                .beats
                .as_ref()
                .and_then(|b| b.due(&self.series.monitor.policy)),
            beats: standing.beats.clone(),
            mutes: standing.mutes.clone(),
        }
    }
}
