//! Pause, acknowledgement, silence: what somebody asks us to leave out, why, and until when.
//!
//! It must never make an outage unknown: what is silenced is measured all the same, and told when the silence ends.

use std::time::Duration;

use crate::{
    judge::{Happening, Standing, Step},
    outage::{End, Outage},
    state::State,
    time::Wall,
};

/// Who asked, why, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    pub by: String,
    /// May be empty.
    pub reason: String,
    pub since: Wall,
    /// None: until it is taken back.
    pub until: Option<Wall>,
}

impl Mute {
    /// True from its end on.
    pub fn is_over(&self, now: Wall) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No probes; the time is unknown.
    Pause(Mute),
    Resume,
    /// Somebody takes care: no reminders until it is up again.
    Acknowledge(Mute),
    /// Measured, not told.
    Silence(Mute),
    Unsilence,
}

/// The wishes that hold for a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mutes {
    pub paused: Option<Mute>,
    pub silenced: Option<Mute>,
    /// The open outage has not been told.
    pub owed_down: bool,
    /// An outage that was told as down, and whose end has not been told.
    pub owed_up: Option<Outage>,
}

impl Mutes {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Standing {
    pub fn is_paused(&self) -> bool {
        self.mutes.as_ref().is_some_and(|m| m.paused.is_some())
    }

    /// What is told now stays untold until the silence ends.
    pub fn is_silenced(&self) -> bool {
        self.mutes.as_ref().is_some_and(|m| m.silenced.is_some())
    }

    /// Does what somebody asks for.
    pub fn wish(&mut self, wish: &Wish, now: Wall) -> Step {
        let mut step = Step {
            previous: self.state,
            dirty: true,
            ..Step::default()
        };
        match wish {
            Wish::Pause(mute) => self.pause(mute, now, &mut step),
            Wish::Resume => self.resume(now, &mut step),
            Wish::Acknowledge(mute) => {
                if let Some(outage) = &mut self.outage {
                    outage.acknowledged = Some(Box::new(mute.clone()));
                    step.outage = Some(Outage::clone(outage));
                    step.happenings.push(Happening::Acknowledged(mute.clone()));
                }
            }
            Wish::Silence(mute) => {
                self.mutes.get_or_insert_default().silenced = Some(mute.clone());
                step.happenings.push(Happening::Silenced(mute.clone()));
            }
            Wish::Unsilence => self.speak(&mut step),
        }
        step
    }

    /// Ends what has come to its end.
    pub(crate) fn mutes_over(&mut self, now: Wall, step: &mut Step) {
        let Some(mutes) = &self.mutes else { return };
        let over = |mute: &Option<Mute>| mute.as_ref().is_some_and(|m| m.is_over(now));
        let (paused, silenced) = (over(&mutes.paused), over(&mutes.silenced));
        if paused {
            self.resume(now, step);
        }
        if silenced {
            self.speak(step);
        }
        step.dirty |= paused || silenced;
    }

    /// When [`Standing::mutes_over`] has something to do.
    pub(crate) fn next_mute_end(&self) -> Option<Wall> {
        let mutes = self.mutes.as_ref()?;
        let ends = [&mutes.paused, &mutes.silenced];
        ends.into_iter().flatten().filter_map(|m| m.until).min()
    }

    /// Takes out what a silence holds back, and remembers what is owed for it.
    pub(crate) fn hold_back(&mut self, step: &mut Step) {
        let Some(mutes) = self.mutes.as_mut().filter(|m| m.silenced.is_some()) else {
            return;
        };
        for happening in &step.happenings {
            match happening {
                Happening::Down => mutes.owed_down = true,
                Happening::Up(_) if mutes.owed_down => mutes.owed_down = false,
                Happening::Up(outage) => mutes.owed_up = Some(outage.clone()),
                _ => continue,
            }
            step.dirty = true;
        }
        step.withheld = true;
    }

    fn pause(&mut self, mute: &Mute, now: Wall, step: &mut Step) {
        self.mutes.get_or_insert_default().paused = Some(mute.clone());
        step.happenings.push(Happening::Paused(mute.clone()));
        self.failures = if self.outage.is_some() { self.failures } else { 0 };
        self.inconclusive = 0;
        self.enter(State::Paused, now, step);
    }

    fn resume(&mut self, now: Wall, step: &mut Step) {
        if self.mutes.as_mut().and_then(|m| m.paused.take()).is_none() {
            return;
        }
        let began = self.since;
        // Nobody looked meanwhile: an open outage goes on, anything else is not known yet.
        let mut state = State::Pending;
        if let Some(beats) = &mut self.beats {
            beats.waive(began, now);
            if beats.last.is_some() {
                state = State::Up;
            }
            // All was well meanwhile: that ended the outage, although nobody judged.
            if let Some(at) = beats.last.filter(|last| *last > began)
                && let Some(mut outage) = self.outage.take()
            {
                outage.end = Some(End {
                    at,
                    uncertainty: Duration::ZERO,
                    recovered: true,
                });
                self.failures = 0;
                self.first_failure = None;
                self.reason = None;
                step.outage = Some(Outage::clone(&outage));
                step.happenings.push(Happening::Up(*outage));
            }
        }
        if self.outage.is_some() {
            state = State::Down;
        }
        self.enter(state, now, step);
        step.happenings.insert(0, Happening::Resumed);
        self.tidy_mutes();
    }

    fn speak(&mut self, step: &mut Step) {
        let Some(mutes) = &mut self.mutes else { return };
        if mutes.silenced.take().is_none() {
            return;
        }
        step.happenings.push(Happening::Unsilenced);
        if let Some(outage) = mutes.owed_up.take() {
            step.happenings.push(Happening::Up(outage));
        }
        if std::mem::take(&mut mutes.owed_down) && self.outage.is_some() {
            step.happenings.push(Happening::Down);
        }
        self.tidy_mutes();
    }

    fn tidy_mutes(&mut self) {
        drop(self.mutes.take_if(|m| m.is_empty()));
    }
}
