//! The judge of beats: the same standing as that of a probed series, moved by beats and by their absence.

use std::{borrow::Cow, time::Duration};

use jiff::tz::TimeZone;

use super::{Beat, BeatRule, BeatStanding, Cause, Due, Hindrance, Signal, Verdict, Wait};
use crate::{
    judge::{Happening, Standing, Step},
    monitor::Policy,
    notice::clock,
    observation::{Reason, clean},
    outage::{End, Outage},
    state::State,
    time::{Wall, short},
    uptime::Interval,
};

/// A word of a boot that comes so long after the first beat still explains the silence before.
const LATE_WORD: Duration = Duration::from_mins(5);
/// A beat that comes up to so long before a cron time is that of this time.
const EARLY: Duration = Duration::from_mins(1);
/// A machine that was off for longer than this, beyond what a period leaves open, did not merely restart.
const RESTART: Duration = Duration::from_mins(1);
/// Longest part of a note that stands in a reason, in bytes.
const QUOTED: usize = 120;

impl BeatRule {
    /// The length that a beat is expected in; None for cron times.
    pub fn period(&self) -> Option<Duration> {
        match self.due {
            Due::Every(period) => Some(period),
            Due::Cron(_) => None,
        }
    }

    /// When the beat after one at `last` is due.
    fn after(&self, last: Wall, zone: &TimeZone) -> Option<Wall> {
        let cron = match &self.due {
            Due::Every(period) => return Some(last + *period),
            Due::Cron(cron) => cron,
        };
        let next = cron.next(last, zone)?;
        // A clock that is a moment ahead of ours reports before its time: that was the beat of this time.
        let early = EARLY.min(self.wait() / 2);
        if next.since(last) >= early {
            return Some(next);
        }
        let second = cron.next(next, zone)?;
        Some(if next.since(last) < second.since(next) / 2 {
            second
        } else {
            next
        })
    }

    fn wait(&self) -> Duration {
        match self.wait {
            Wait::Grace(wait) | Wait::DownAfter(wait) => wait,
        }
    }
}

impl Beat {
    /// Why it says that something failed; None when it does not.
    pub fn failure(&self) -> Option<Reason> {
        let (code, text) = match self.signal {
            Signal::Fail => (FAILED, "the job said that it failed".to_owned()),
            Signal::Exit(status) if status != 0 => (EXIT, format!("the job ended with exit status {status}")),
            _ => return None,
        };
        // What a program says last is most often why.
        let said = self
            .note
            .as_deref()
            .and_then(|note| note.lines().rev().find(|line| !line.trim().is_empty()));
        Some(match said {
            Some(line) => Reason::new(
                code,
                format!("{text}: {}", clean(&end_of(line.trim()), 2 * QUOTED)),
            ),
            None => Reason::new(code, text),
        })
    }
}

impl BeatStanding {
    /// Most times of deafness that are told apart.
    pub const MOST_DEAF: usize = 32;

    /// When the next beat is due; None while none ever came, and while a job runs.
    pub fn due(&self, policy: &Policy) -> Option<Wall> {
        let rule = policy.beats.as_deref()?;
        if self.started.is_some() {
            return None;
        }
        let last = self.last?;
        let due = rule.after(last, &policy.zone)?;
        let moved = due + self.deaf_since(last);
        // A beat that came while nobody listened was not missed: the one after it is waited for.
        let missed = self.deaf.iter().find(|span| span.from <= due && due <= span.to);
        let Some(span) = missed else { return Some(moved) };
        let next = match rule.due {
            Due::Every(period) => {
                let passed = span.to.since(last).as_micros() / period.as_micros().max(1);
                last + period * u32::try_from(passed + 1).unwrap_or(u32::MAX)
            }
            Due::Cron(_) => rule.after(span.to, &policy.zone)?,
        };
        Some(next.max(moved))
    }

    /// When its absence becomes an outage.
    fn deadline(&self, policy: &Policy) -> Option<Wall> {
        let rule = policy.beats.as_deref()?;
        if let Some(started) = self.started {
            return Some(started + rule.wait() + self.deaf_since(started));
        }
        let due = self.due(policy)?;
        match (rule.wait, rule.period()) {
            (Wait::Grace(grace), _) => Some(due + grace),
            (Wait::DownAfter(wait), Some(period)) => Some(due + wait.saturating_sub(period)),
            (Wait::DownAfter(wait), None) => Some(self.last? + wait + self.deaf_since(self.last?)),
        }
    }

    /// When its absence shows as failing: halfway between due and too late.
    fn late_at(&self, policy: &Policy) -> Option<Wall> {
        let (due, deadline) = (self.due(policy)?, self.deadline(policy)?);
        (due < deadline).then(|| due + deadline.since(due) / 2)
    }

    /// How long we have been deaf since `from`.
    pub fn deaf_since(&self, from: Wall) -> Duration {
        self.deaf
            .iter()
            .map(|span| span.to.since(span.from.max(from)))
            .sum()
    }

    /// Time in which we did not listen counts neither way: the deadline moves by it.
    pub(crate) fn waive(&mut self, from: Wall, to: Wall) {
        let since = self.started.max(self.last);
        let Some(from) = since.map(|since| since.max(from)).filter(|from| *from < to) else {
            return;
        };
        let mut span = Interval { from, to };
        self.deaf.retain(|other| {
            let touches = other.from <= span.to && span.from <= other.to;
            if touches {
                span.from = span.from.min(other.from);
                span.to = span.to.max(other.to);
            }
            !touches
        });
        let at = self.deaf.partition_point(|other| other.from < span.from);
        self.deaf.insert(at, span);
        if self.deaf.len() > Self::MOST_DEAF {
            self.deaf[0].to = self.deaf[1].to;
            self.deaf.remove(1);
        }
    }

    /// Beats were lost on our side. That excuses a silence for a while, and not for ever: whoever can make us lose
    /// datagrams must not keep a dead sensor up.
    ///
    /// Gives whether anything has changed.
    pub(crate) fn excuse(&mut self, policy: &Policy, from: Wall, to: Wall) -> bool {
        let Some(rule) = policy.beats.as_deref() else {
            return false;
        };
        let most = 2 * (rule.wait() + rule.period().unwrap_or_default());
        if self.lost >= most {
            return false;
        }
        let deaf = |it: &Self| -> Duration { it.deaf.iter().map(|span| span.to.since(span.from)).sum() };
        let before = deaf(self);
        self.waive(from, to);
        let more = deaf(self).saturating_sub(before);
        self.lost += more;
        !more.is_zero()
    }

    /// Nothing was heard later than `now`: a clock that has been set back since would keep it for ever.
    pub(crate) fn cap(&mut self, now: Wall) {
        for time in [&mut self.last, &mut self.heard, &mut self.started] {
            *time = time.map(|at| at.min(now));
        }
        self.deaf.retain(|span| span.from < now);
        self.deaf.iter_mut().for_each(|span| span.to = span.to.min(now));
    }

    /// The clock was set by so much. All times move, those of earlier runs too: what is left until the deadline stays.
    pub(crate) fn shift(&mut self, by: i64) {
        for time in [&mut self.last, &mut self.heard, &mut self.started] {
            *time = time.map(|at| at.shifted(by));
        }
        for span in &mut self.deaf {
            (span.from, span.to) = (span.from.shifted(by), span.to.shifted(by));
        }
        if let Some((at, _)) = &mut self.account {
            *at = at.shifted(by);
        }
        // What has moved in the ledger is no longer found under its begin.
        self.recent = None;
    }

    /// A pause judges nothing, but what is heard is heard.
    fn hear_in_a_pause(&mut self, beat: &Beat) {
        if beat.failure().is_none() && beat.signal != Signal::Start {
            self.last = Some(beat.at);
        }
        self.started = (beat.signal == Signal::Start).then_some(beat.at);
        self.count_from(beat.at);
    }

    fn count_from(&mut self, at: Wall) {
        self.deaf.clear();
        self.lost = Duration::ZERO;
        self.heard = Some(at);
    }

    /// What a silence was, as far as its end tells.
    fn explain(&self, rule: &BeatRule, beat: &Beat) -> Option<Verdict> {
        let silent = beat.at.since(self.heard?);
        let verdict = |cause| {
            Some(Verdict {
                cause,
                silent,
                uptime: beat.uptime,
                account: beat.account,
            })
        };
        if self.stopped {
            return verdict(Cause::Stopped);
        }
        let was_there = ran_unheard(silent, rule, beat);
        match beat.uptime {
            Some(_) if sent_nothing(rule, beat) => verdict(Cause::Sensor),
            Some(uptime) if uptime < silent && !was_there => verdict(restarted(silent, uptime, rule)),
            Some(_) if !was_there && beat.running.is_some_and(|ran| ran < silent) => verdict(Cause::Sensor),
            Some(_) => verdict(match beat.account {
                Some(account) if account.hindrance == Hindrance::NoRoute => Cause::Network,
                _ => Cause::Line,
            }),
            None if beat.signal == Signal::Boot => verdict(Cause::Restart),
            None if self.tells_boots => verdict(Cause::Line),
            None => None,
        }
    }

    /// A boot that is told a little late: the outage that it explains, corrected.
    fn explain_late(&mut self, rule: &BeatRule, beat: &Beat) -> Option<Outage> {
        let fresh = |outage: &Outage| outage.end.is_some_and(|end| beat.at.since(end.at) <= LATE_WORD);
        if !self.recent.as_deref().is_some_and(fresh) {
            self.recent = None;
        }
        if beat.signal != Signal::Boot {
            return None;
        }
        let recent = self.recent.as_deref_mut()?;
        let (ended, verdict) = (recent.end?.at, recent.verdict?);
        if !matches!(verdict.cause, Cause::Line | Cause::Restart) {
            return None;
        }
        let (cause, uptime) = match beat.uptime {
            Some(uptime) => {
                let then = uptime.checked_sub(beat.at.since(ended)).unwrap_or_default();
                if then >= verdict.silent {
                    return None;
                }
                (restarted(verdict.silent, then, rule), Some(then))
            }
            None => (Cause::Restart, None),
        };
        recent.verdict = Some(Verdict {
            cause,
            uptime,
            ..verdict
        });
        self.recent.take().map(|outage| *outage)
    }
}

/// True when the sender's process was there for much of a silence, and not heard: then it was the line, whatever else
/// happened. A restart at the begin of the silence is not excused by a network that comes up late.
fn ran_unheard(silent: Duration, rule: &BeatRule, beat: &Beat) -> bool {
    let period = rule.period().unwrap_or_default();
    let off = beat
        .uptime
        .map_or(Duration::ZERO, |uptime| silent.saturating_sub(uptime));
    beat.running.is_some_and(|ran| {
        let there = ran > 2 * period.max(RESTART / 2) && ran >= silent / 3;
        there && (off.is_zero() || off > period + RESTART)
    })
}

/// True when the sender, by its own account, hardly tried: it was stopped, or its machine suspended.
fn sent_nothing(rule: &BeatRule, beat: &Beat) -> bool {
    let (Some(period), Some(account)) = (rule.period(), beat.account) else {
        return false;
    };
    period.saturating_mul(2 * account.lost.saturating_add(1)) < account.silent
}

/// A machine that has been up for `uptime` only, after a longer silence.
fn restarted(silent: Duration, uptime: Duration, rule: &BeatRule) -> Cause {
    let off = silent.saturating_sub(uptime);
    let sure = off.saturating_sub(rule.period().unwrap_or_default());
    if sure > RESTART {
        Cause::Power
    } else {
        Cause::Restart
    }
}

impl Standing {
    /// Takes a beat.
    pub fn beat(&mut self, policy: &Policy, beat: &Beat) -> Step {
        let mut step = Step {
            previous: self.state,
            ..Step::default()
        };
        let Some(rule) = policy.beats.as_deref() else {
            return step;
        };
        self.seen = self.seen.max(Some(beat.at));
        let mut beats = self.beats.take().unwrap_or_default();
        step.outage = beats.explain_late(rule, beat);
        let paused = self.is_paused();
        match beat.failure() {
            _ if paused => beats.hear_in_a_pause(beat),
            Some(reason) => self.told_of_failure(policy, beat, &mut beats, reason, &mut step),
            None if beat.signal == Signal::Start => self.job_started(beat, &mut beats, &mut step),
            None => self.all_is_well(rule, beat, &mut beats, &mut step),
        }
        beats.proof = beat.proof;
        beats.source = beat.source.or(beats.source);
        let overtaken = matches!((beats.mark, beat.mark), (Some(old), Some(new)) if old.boot == new.boot && old.seq > new.seq);
        beats.mark = beat.mark.filter(|_| !overtaken).or(beats.mark);
        beats.uptime = beat.uptime.or(beats.uptime);
        beats.tells_boots |= beat.signal == Signal::Boot;
        if !overtaken {
            beats.stopped = beat.signal == Signal::Stop;
        }
        if let Some(account) = beat.account {
            beats.account = Some((beat.at, account));
        }
        if beat.signal != Signal::Start || beat.note.is_some() {
            beats.note.clone_from(&beat.note);
        }
        self.beats = Some(beats);
        step
    }

    fn all_is_well(&mut self, rule: &BeatRule, beat: &Beat, beats: &mut BeatStanding, step: &mut Step) {
        // Not the later of it and the last one: that may have been read on a clock that was wrong.
        let at = beat.at;
        if let Some(mut outage) = self.outage.take() {
            let ended = at.max(outage.began);
            let silence = outage.reason.code.as_str() != FAILED && outage.reason.code.as_str() != EXIT;
            outage.verdict = beats.explain(rule, beat).filter(|_| silence);
            outage.end = Some(End {
                at: ended,
                // Who says that it failed says when.
                uncertainty: rule
                    .period()
                    .filter(|_| silence)
                    .unwrap_or_default()
                    .min(ended.since(outage.began)),
                recovered: true,
            });
            self.recovered_at = Some(ended);
            beats.recent = outage.verdict.map(|_| outage.clone());
            step.outage = Some(Outage::clone(&outage));
            step.happenings.push(Happening::Up(*outage));
        }
        beats.last = Some(at);
        beats.started = None;
        beats.count_from(at);
        self.known_since.get_or_insert(at);
        self.last_success = Some(at);
        self.failures = 0;
        self.first_failure = None;
        self.reason = None;
        self.enter(State::Up, at, step);
    }

    fn job_started(&mut self, beat: &Beat, beats: &mut BeatStanding, step: &mut Step) {
        // A job that begins again and again without an end does not put off the hour of truth.
        if beats.started.is_none() {
            beats.started = Some(beat.at);
            beats.count_from(beat.at);
        }
        // It came after all: what was late is under way.
        if self.state == State::Failing {
            self.failures = 0;
            self.first_failure = None;
            self.reason = None;
            self.enter(self.resume, beat.at, step);
        }
    }

    fn told_of_failure(
        &mut self,
        policy: &Policy,
        beat: &Beat,
        beats: &mut BeatStanding,
        reason: Reason,
        step: &mut Step,
    ) {
        beats.started = None;
        beats.heard = Some(beat.at);
        self.known_since.get_or_insert(beat.at);
        self.last_failure = Some(beat.at);
        if let Some(outage) = &mut self.outage {
            let known = outage.evidence.len();
            outage.note(beat.at, &reason);
            if outage.evidence.len() > known {
                step.outage = Some(Outage::clone(outage));
            }
            step.dirty = true;
            self.reason = Some(reason);
            return;
        }
        self.miss(policy, (beat.at, beat.at), Some(Duration::ZERO), reason, step);
    }

    /// Lets time pass: a beat that is overdue.
    pub(crate) fn beat_tick(&mut self, policy: &Policy, now: Wall, step: &mut Step) {
        let (None, Some(beats), Some(rule)) = (&self.outage, &self.beats, policy.beats.as_deref()) else {
            return;
        };
        let Some(deadline) = beats.deadline(policy) else {
            return;
        };
        if now >= deadline {
            let began = beats
                .started
                .or(beats.due(policy))
                .map_or(deadline, |due| due.min(deadline));
            let sure = match (beats.started, rule.period()) {
                (None, Some(_)) => beats.last.map(|last| began.since(last)),
                _ => Some(Duration::ZERO),
            };
            let reason = absence(beats, policy, rule, deadline);
            self.miss(policy, (began, now), sure, reason, step);
        } else if self.state != State::Failing && beats.late_at(policy).is_some_and(|late| now >= late) {
            let reason = absence(beats, policy, rule, now);
            self.failures = 1;
            self.first_failure = beats.due(policy);
            self.reason = Some(reason);
            self.resume = self.state;
            self.enter(State::Failing, now, step);
        }
    }

    /// When [`Standing::beat_tick`] has something to do.
    pub(crate) fn next_beat_tick(&self, policy: &Policy) -> Option<Wall> {
        let beats = self.beats.as_ref().filter(|_| self.outage.is_none())?;
        let late = beats.late_at(policy).filter(|_| self.state != State::Failing);
        late.or_else(|| beats.deadline(policy))
    }

    /// Declares an outage that began at the first moment, and is declared at the second.
    fn miss(
        &mut self,
        policy: &Policy,
        (began, at): (Wall, Wall),
        sure: Option<Duration>,
        reason: Reason,
        step: &mut Step,
    ) {
        let elapsed = at.since(began);
        let outage = Outage {
            began,
            begin_uncertainty: sure,
            last_up: self.last_success,
            reason: reason.clone(),
            evidence: Vec::new(),
            failed_checks: 0,
            reminded: policy.remind.iter().filter(|d| **d <= elapsed).count() as u32,
            end: None,
            verdict: None,
            acknowledged: None,
        };
        self.failures = 1;
        self.first_failure.get_or_insert(began);
        self.reason = Some(reason);
        step.outage = Some(outage.clone());
        step.happenings.push(Happening::Down);
        self.outage = Some(Box::new(outage));
        self.enter(State::Down, at, step);
    }
}

const FAILED: &str = "heartbeat.failed";
const EXIT: &str = "heartbeat.exit";

/// The end of a long line: there it says what went wrong.
fn end_of(line: &str) -> Cow<'_, str> {
    match line.len().checked_sub(QUOTED) {
        None | Some(0) => Cow::Borrowed(line),
        Some(over) => Cow::Owned(format!("…{}", &line[line.ceil_char_boundary(over)..])),
    }
}

/// Why the absence of a beat is one, at `now`.
fn absence(beats: &BeatStanding, policy: &Policy, rule: &BeatRule, now: Wall) -> Reason {
    let at = |moment| clock(moment, now, &policy.zone);
    if let Some(started) = beats.started {
        let text = format!(
            "started {}, not finished within {}",
            at(started),
            short(rule.wait())
        );
        return Reason::new("heartbeat.unfinished", text);
    }
    if let (true, Some(heard)) = (beats.stopped, beats.heard) {
        return Reason::new(
            "heartbeat.stopped",
            format!("the sensor said at {} that it stops", at(heard)),
        );
    }
    let text = match (&rule.due, beats.last, beats.due(policy)) {
        (Due::Every(period), Some(last), _) => {
            let missing =
                Duration::from_secs(now.since(last).saturating_sub(beats.deaf_since(last)).as_secs());
            format!(
                "no beat for {}, expected every {}",
                short(missing),
                short(*period)
            )
        }
        (Due::Cron(_), _, Some(due)) => format!("no beat since it was due at {}", at(due)),
        _ => "no beat".to_owned(),
    };
    Reason::new("heartbeat.late", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deafness_lies_ahead_of_a_clock_that_was_set_back() {
        let span = |from, to| Interval {
            from: Wall(from),
            to: Wall(to),
        };
        let mut beats = BeatStanding {
            last: Some(Wall(90)),
            deaf: vec![span(10, 40), span(50, 200), span(300, 400)],
            ..BeatStanding::default()
        };
        beats.cap(Wall(80));
        assert_eq!(beats.last, Some(Wall(80)));
        assert_eq!(beats.deaf, [span(10, 40), span(50, 80)]);
    }

    #[test]
    fn of_a_long_line_the_end_is_quoted() {
        assert_eq!(end_of("short"), "short");
        let long = format!("{}ä END", "a".repeat(500));
        let end = end_of(&long);
        assert!(
            end.starts_with('…') && end.ends_with("ä END") && end.len() <= QUOTED + 4,
            "{end}"
        );
        assert!(end_of(&"ä".repeat(300)).len() <= QUOTED + 4);
    }
}
