//! The judge of one series: a pure state machine (policy, standing, observation or tick, now) → what happened.
//!
//! It must never read a clock, and never count an inconclusive observation for or against a target.

use std::{collections::VecDeque, time::Duration};

use crate::{
    event::Reminder,
    heartbeat::BeatStanding,
    loss::{LossChange, LossWindow},
    monitor::{DownRule, Policy, ResetFailures},
    mute::{Mute, Mutes},
    observation::{Observation, Outcome, Reason, Requests},
    outage::{End, Outage},
    state::State,
    time::Wall,
    uptime::Interval,
};

/// What is known about a series: all that must survive a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub state: State,
    /// When `state` began.
    pub since: Wall,
    /// The state that a streak of failures or an inconclusive spell interrupted.
    pub resume: State,
    /// Failures in a row, below the threshold or within an outage.
    pub failures: u32,
    pub first_failure: Option<Wall>,
    pub last_failure: Option<Wall>,
    pub last_success: Option<Wall>,
    /// The last success before the streak.
    pub success_before: Option<Wall>,
    /// Successes in a row while down.
    pub successes: u32,
    pub first_success: Option<Wall>,
    /// The last results of a window rule, oldest first: when, and whether it failed.
    pub window: VecDeque<(Wall, bool)>,
    /// The last success before the oldest held result of a window rule.
    pub window_before: Option<Wall>,
    /// End of the newest outage: a later one never begins before it.
    pub recovered_at: Option<Wall>,
    /// Boxed with what else is rare: most series are up, and there may be a million.
    pub outage: Option<Box<Outage>>,
    /// Told as degraded, since when and why.
    pub degraded: Option<Box<(Wall, Reason)>>,
    pub loss: LossWindow,
    /// Inconclusive observations in a row, and why.
    pub inconclusive: u32,
    /// The newest reason of any kind: why it is failing, down, degraded or inconclusive.
    pub reason: Option<Reason>,
    /// The newest observation that is counted in here.
    pub seen: Option<Wall>,
    /// The first conclusive observation ever: before it, nothing is known.
    pub known_since: Option<Wall>,
    /// What is remembered of beats; None but for heartbeats.
    pub beats: Option<Box<BeatStanding>>,
    /// What somebody asked us to leave out.
    pub mutes: Option<Box<Mutes>>,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    Down,
    /// The outage that ended.
    Up(Outage),
    Reminder(Reminder),
    Loss(LossChange),
    Degraded,
    /// Since when and why it had been degraded.
    Cleared(Wall, Reason),
    Paused(Mute),
    Resumed,
    Acknowledged(Mute),
    Silenced(Mute),
    Unsilenced,
}

/// What one step changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    pub happenings: Vec<Happening>,
    /// The standing must be stored: more has changed than what history can tell after a crash.
    pub dirty: bool,
    /// An unknown time that ended here: its state, from, to.
    pub unknown: Option<(State, Wall, Wall)>,
    /// The outage that began, changed or ended.
    pub outage: Option<Outage>,
    pub previous: State,
    /// A silence holds: what happened is shown, and told to nobody.
    pub withheld: bool,
}

impl Standing {
    /// A series that nobody has asked yet.
    pub fn new(now: Wall) -> Self {
        Self {
            since: now,
            ..Self::default()
        }
    }

    /// The interval that holds in this state.
    pub fn interval(&self, policy: &Policy) -> Duration {
        match self.effective() {
            State::Down => policy.recovery_interval,
            State::Failing => policy.retry_interval,
            State::Pending | State::Up | State::Degraded | State::Inconclusive | State::Paused => {
                policy.interval
            }
        }
    }

    /// True while an outage is open, whether or not we can ask now.
    pub fn is_down(&self) -> bool {
        self.outage.is_some()
    }

    /// Takes an observation. `now` is when it is judged; its own time is when the probe began.
    pub fn observe(&mut self, policy: &Policy, seen: &Observation) -> Step {
        let mut step = Step {
            previous: self.state,
            ..Step::default()
        };
        self.seen = self.seen.max(Some(seen.at));
        if self.is_paused() {
            return step;
        }
        self.hourly_reset(policy, seen.at, &mut step);
        match &seen.outcome {
            Outcome::Inconclusive(reason) => self.inconclusive(seen.at, reason, &mut step),
            Outcome::Down(reason) => self.failure(policy, seen.at, reason, &mut step),
            Outcome::Up => self.success(policy, seen.at, None, &mut step),
            Outcome::Degraded(reason) => self.success(policy, seen.at, Some(reason), &mut step),
        }
        if let (Some(loss), Some(requests)) = (&policy.loss, seen.requests()) {
            self.judge_loss(loss, requests, &mut step);
        }
        step
    }

    /// Lets time pass: reminders, full hours, beats that are overdue, ends of pauses and silences.
    pub fn tick(&mut self, policy: &Policy, now: Wall) -> Step {
        let mut step = Step {
            previous: self.state,
            ..Step::default()
        };
        self.mutes_over(now, &mut step);
        if self.is_paused() {
            return step;
        }
        if policy.beats.is_some() {
            self.beat_tick(policy, now, &mut step);
        } else {
            self.hourly_reset(policy, now, &mut step);
        }
        self.remind(policy, now, &mut step);
        step
    }

    /// When [`Standing::tick`] has something to do, if nothing else happens before.
    pub fn next_tick(&self, policy: &Policy) -> Option<Wall> {
        let state = if self.is_paused() {
            None
        } else {
            self.next_of_state(policy)
        };
        [state, self.next_mute_end()].into_iter().flatten().min()
    }

    fn next_of_state(&self, policy: &Policy) -> Option<Wall> {
        if let (State::Down, Some(outage)) = (self.state, &self.outage) {
            return policy
                .remind
                .get(outage.reminded as usize)
                .map(|d| outage.began + *d);
        }
        if policy.beats.is_some() {
            return self.next_beat_tick(policy);
        }
        let streak =
            self.failures > 0 && self.outage.is_none() && policy.reset_failures == ResetFailures::Hourly;
        self.last_failure
            .filter(|_| streak)
            .map(|at| at.next_clock_hour(&policy.zone))
    }

    /// Ends the watch, because the series is no longer in the plan. Gives the outage that this cuts short.
    pub fn retire(&mut self, now: Wall) -> Option<Outage> {
        let mut outage = self.outage.take()?;
        outage.end = Some(End {
            at: now.max(outage.began),
            uncertainty: Duration::ZERO,
            recovered: false,
        });
        Some(*outage)
    }

    /// The clock was set by `by` microseconds: times that were read on it in `span`, which is since this program
    /// started, move with it, so that lengths stay what they are. Times of earlier runs were read on another clock.
    ///
    /// `seen` stays: it is a high-water mark over what history holds, and history is not rewritten.
    pub fn shift(&mut self, by: i64, span: Interval) {
        let moved = |at: Wall| {
            if span.from <= at && at <= span.to {
                at.shifted(by)
            } else {
                at
            }
        };
        for time in [
            &mut self.first_failure,
            &mut self.last_failure,
            &mut self.last_success,
            &mut self.success_before,
            &mut self.window_before,
            &mut self.recovered_at,
            &mut self.first_success,
            &mut self.known_since,
        ] {
            *time = time.map(moved);
        }
        self.since = moved(self.since);
        if let Some(told) = &mut self.degraded {
            told.0 = moved(told.0);
        }
        for (at, _) in &mut self.window {
            *at = moved(*at);
        }
        if let Some(outage) = &mut self.outage {
            outage.shift(moved);
        }
        if let Some(beats) = &mut self.beats {
            beats.shift(by);
        }
    }

    /// The state behind an inconclusive spell.
    fn effective(&self) -> State {
        match (self.state, &self.outage, self.failures) {
            (State::Inconclusive, Some(_), _) => State::Down,
            (State::Inconclusive, None, 0) => self.resume,
            (State::Inconclusive, None, _) => State::Failing,
            (state, ..) => state,
        }
    }

    pub(crate) fn enter(&mut self, state: State, at: Wall, step: &mut Step) {
        if self.state == state {
            return;
        }
        if self.state.is_unknown() {
            step.unknown = Some((self.state, self.since, at.max(self.since)));
        }
        self.state = state;
        self.since = at;
        step.dirty = true;
    }

    fn inconclusive(&mut self, at: Wall, reason: &Reason, step: &mut Step) {
        self.inconclusive = self.inconclusive.saturating_add(1);
        self.reason = Some(reason.clone());
        if self.state != State::Inconclusive {
            // A failing series keeps what its streak interrupted: that is where it returns to when the streak ends.
            if self.state != State::Failing {
                self.resume = self.state;
            }
            self.enter(State::Inconclusive, at, step);
        }
    }

    /// Ends an inconclusive spell: the counters go on where they were.
    fn conclusive(&mut self, at: Wall, step: &mut Step) {
        self.inconclusive = 0;
        self.known_since.get_or_insert(at);
        if self.state == State::Inconclusive {
            self.enter(self.effective(), at, step);
        }
    }

    fn failure(&mut self, policy: &Policy, at: Wall, reason: &Reason, step: &mut Step) {
        self.conclusive(at, step);
        self.reason = Some(reason.clone());
        self.successes = 0;
        self.first_success = None;
        if self.failures == 0 {
            self.first_failure = Some(at);
            self.success_before = self.last_success;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(at);
        self.hold(policy, at, true);
        if let Some(outage) = &mut self.outage {
            let known = outage.evidence.len();
            outage.note(at, reason);
            if outage.evidence.len() > known {
                step.dirty = true;
                step.outage = Some(Outage::clone(outage));
            }
            return;
        }
        step.dirty |= policy.rule != DownRule::Off;
        if self.state != State::Failing {
            self.resume = self.state;
            self.enter(State::Failing, at, step);
        }
        if let Some((began, success_before)) = self.crossed(policy) {
            self.declare(policy, at, (began, success_before), reason, step);
        }
    }

    /// Begin of the outage and the last success before it, when the rule says down.
    fn crossed(&self, policy: &Policy) -> Option<(Wall, Option<Wall>)> {
        match policy.rule {
            DownRule::Off => None,
            DownRule::Consecutive { failures, .. } => {
                (self.failures >= failures).then_some((self.first_failure?, self.success_before))
            }
            DownRule::Window { fail, .. } => {
                let failed = self.window.iter().filter(|(_, failed)| *failed).count();
                // An end that lies ahead was read on a clock that has been set back since.
                let ended = self
                    .recovered_at
                    .filter(|end| self.last_failure.is_some_and(|f| *end <= f));
                let fresh = |at: Wall| ended.is_none_or(|end| at > end);
                let oldest = self
                    .window
                    .iter()
                    .position(|(at, failed)| *failed && fresh(*at))?;
                let before = match oldest.checked_sub(1) {
                    Some(before) => Some(self.window[before].0),
                    None => self.window_before,
                };
                (failed >= fail as usize).then_some((self.window[oldest].0, before))
            }
        }
    }

    fn declare(
        &mut self,
        policy: &Policy,
        at: Wall,
        begin: (Wall, Option<Wall>),
        reason: &Reason,
        step: &mut Step,
    ) {
        let (began, last_up) = begin;
        let failed_checks = match policy.rule {
            DownRule::Window { .. } => self.window.iter().filter(|(_, failed)| *failed).count() as u32,
            DownRule::Consecutive { .. } | DownRule::Off => self.failures,
        };
        let elapsed = at.since(began);
        let outage = Outage {
            began,
            begin_uncertainty: last_up.map(|up| began.since(up)),
            last_up,
            reason: reason.clone(),
            evidence: Vec::new(),
            failed_checks,
            // Reminder times that lie before the alert itself are not told after it.
            reminded: policy.remind.iter().filter(|d| **d <= elapsed).count() as u32,
            end: None,
            verdict: None,
            acknowledged: None,
        };
        step.outage = Some(outage.clone());
        step.happenings.push(Happening::Down);
        self.outage = Some(Box::new(outage));
        self.enter(State::Down, at, step);
    }

    fn success(&mut self, policy: &Policy, at: Wall, degraded: Option<&Reason>, step: &mut Step) {
        self.conclusive(at, step);
        self.hold(policy, at, false);
        if self.outage.is_some() {
            self.successes = self.successes.saturating_add(1);
            let first = *self.first_success.get_or_insert(at);
            step.dirty = true;
            if !self.recovered(policy) {
                self.last_success = Some(at);
                return;
            }
            self.end_outage(first, step);
        }
        let had_streak = self.failures > 0;
        self.last_success = Some(at);
        self.failures = 0;
        self.first_failure = None;
        self.successes = 0;
        self.first_success = None;
        step.dirty |= had_streak;
        self.passed(at, degraded, step);
    }

    fn recovered(&self, policy: &Policy) -> bool {
        match policy.rule {
            // The rule was turned off while it was down: the next success ends the outage.
            DownRule::Off => true,
            DownRule::Consecutive { successes, .. } => self.successes >= successes.max(1),
            DownRule::Window { recover, .. } => {
                self.window.iter().filter(|(_, failed)| *failed).count() <= recover as usize
            }
        }
    }

    fn end_outage(&mut self, first_success: Wall, step: &mut Step) {
        if let Some(mut outage) = self.outage.take() {
            let uncertainty = self
                .last_failure
                .map_or(Duration::ZERO, |f| first_success.since(f));
            outage.end = Some(End {
                at: first_success.max(outage.began),
                uncertainty,
                recovered: true,
            });
            self.recovered_at = Some(first_success);
            step.outage = Some(Outage::clone(&outage));
            step.happenings.push(Happening::Up(*outage));
        }
    }

    fn passed(&mut self, at: Wall, degraded: Option<&Reason>, step: &mut Step) {
        match degraded {
            Some(reason) => {
                self.reason = Some(reason.clone());
                self.enter(State::Degraded, at, step);
                if self.degraded.is_none() {
                    self.degraded = Some(Box::new((at, reason.clone())));
                    step.happenings.push(Happening::Degraded);
                    step.dirty = true;
                }
            }
            None => {
                self.reason = None;
                self.enter(State::Up, at, step);
                if let Some((since, reason)) = self.degraded.take().map(|told| *told) {
                    step.happenings.push(Happening::Cleared(since, reason));
                    step.dirty = true;
                }
            }
        }
    }

    /// Keeps the window of a window rule at its length.
    fn hold(&mut self, policy: &Policy, at: Wall, failed: bool) {
        let DownRule::Window { of, .. } = policy.rule else {
            self.window.clear();
            return;
        };
        if self.window.is_empty() {
            self.window_before = self.last_success;
        }
        self.window.push_back((at, failed));
        while self.window.len() > of as usize {
            if let Some((gone, false)) = self.window.pop_front() {
                self.window_before = Some(gone);
            }
        }
    }

    fn judge_loss(&mut self, policy: &crate::loss::LossPolicy, requests: Requests, step: &mut Step) {
        if let Some(change) = self.loss.observe(policy, requests) {
            step.happenings.push(Happening::Loss(change));
            step.dirty = true;
        }
    }

    /// At a full hour a streak below the threshold is forgotten, and the state is what it was before it.
    fn hourly_reset(&mut self, policy: &Policy, now: Wall, step: &mut Step) {
        let (ResetFailures::Hourly, None, true) = (policy.reset_failures, &self.outage, self.failures > 0)
        else {
            return;
        };
        let Some(last) = self.last_failure else { return };
        if last.clock_hour(&policy.zone) == now.clock_hour(&policy.zone) {
            return;
        }
        self.failures = 0;
        self.first_failure = None;
        self.window.clear();
        if self.state == State::Failing {
            self.reason = self.degraded.as_ref().map(|told| told.1.clone());
            self.enter(self.resume, now, step);
        }
        step.dirty = true;
    }

    /// Tells a lasting outage again. Of several times that have passed unnoticed, only the newest is told.
    fn remind(&mut self, policy: &Policy, now: Wall, step: &mut Step) {
        let (State::Down, Some(outage)) = (self.state, &mut self.outage) else {
            return;
        };
        let elapsed = now.since(outage.began);
        let passed = policy.remind.iter().filter(|d| **d <= elapsed).count() as u32;
        if passed > outage.reminded {
            outage.reminded = passed;
            let last = passed as usize == policy.remind.len();
            // Somebody takes care: whoever does need not be reminded.
            let known = outage.acknowledged.as_ref().is_some_and(|ack| !ack.is_over(now));
            if !known {
                step.happenings
                    .push(Happening::Reminder(Reminder { n: passed, last }));
            }
            step.outage = Some(Outage::clone(outage));
            step.dirty = true;
        }
    }
}
