//! The lookout: everything that is decided, in one value. Inputs go in, effects come out.
//!
//! It is the only place where state changes. It must never do anything itself: probing, storing, sending and
//! showing are the hands' work, in the order in which the effects are given.

mod beats;
mod clocks;
mod entry;
mod planning;
mod slots;
mod telling;
mod wishes;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;

pub use self::wishes::{Named, Unknown};
use self::{beats::Ear, entry::Entry};
use crate::{
    event::Event,
    heartbeat::{Beat, BeatStanding},
    id::Rng,
    judge::{Standing, Step},
    loss::Share,
    monitor::{Plan, Series},
    mute::{Mutes, Wish},
    observation::{Observation, Outcome, Reason},
    outage::Outage,
    outbox::{ChannelView, Delivery, Outbox, Receipt, Row, RowChange},
    selfcheck::SelfCheck,
    state::State,
    time::{Mono, Now, Wall},
};

/// All that can happen to us.
#[derive(Debug)]
pub enum Input {
    /// A new plan: at start, and whenever the configuration has changed.
    Plan(Plan),
    /// A probe has ended.
    Observed { run: RunId, observation: Observation },
    /// An observation from history that the stored standing does not count yet. Only before the first tick.
    Replayed {
        series: Arc<str>,
        observation: Observation,
    },
    /// An attempt to deliver has ended.
    Receipt { delivery: u64, receipt: Receipt },
    /// A beat of a sensor or job, its proof checked. `ticket` comes back in [`Effect::Heard`].
    Beat {
        series: Arc<str>,
        beat: Box<Beat>,
        ticket: Option<u64>,
    },
    /// A plain beat of a source that belongs to no monitor: it is adopted, if the plan says so.
    Stranger { source: IpAddr, beat: Box<Beat> },
    /// Somebody asks for something. `ticket` comes back in [`Effect::Heard`].
    Wish {
        series: Vec<Arc<str>>,
        wish: Wish,
        ticket: Option<u64>,
    },
    /// Somebody wants to know at once: these series, each named once, are probed now, whatever is due.
    Check { series: Vec<Arc<str>> },
    /// Beats were lost on our side at some time from the first moment to now: silence in that time proves nothing.
    Deaf { from: Wall },
    /// The wall clock was set by so many microseconds.
    ClockStep(i64),
    /// This process did not run from the first moment to now: the machine slept, or we were stopped.
    Slept { from: Wall },
    /// Time has passed.
    Tick,
    /// The process ends in good order.
    Stop,
}

/// All that we do. The hands carry them out in order; what stands behind a `Commit` waits until it is durable.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Probe now. `slot` is when it was due.
    Probe {
        series: Arc<Series>,
        run: RunId,
        slot: Mono,
    },
    /// Remember this observation.
    Sample {
        series: Arc<Series>,
        observation: Arc<Observation>,
    },
    /// Store all of this at once, or nothing of it.
    Commit(Vec<Change>),
    /// The beat or wish with this ticket counts, and that is durable: whoever sent it may be told.
    Heard { ticket: u64 },
    /// Show it: log, live views.
    Announce(Arc<Event>),
    /// Send it.
    Deliver(Delivery),
}

/// One probe of one series under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    slot: u32,
    number: u64,
}

/// What to store.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Standing {
        series: Arc<str>,
        /// What people call the series.
        name: String,
        standing: Box<Standing>,
    },
    /// The series is no longer watched.
    Forget {
        series: Arc<str>,
    },
    Outage {
        series: Arc<str>,
        outage: Box<Outage>,
    },
    /// The outage that was stored under this begin has moved, because the clock was set.
    OutageMoved {
        series: Arc<str>,
        began: Wall,
    },
    /// A time in which nothing was known about the series.
    Unknown {
        series: Arc<str>,
        state: State,
        from: Wall,
        to: Wall,
    },
    /// Since when and why we are cut off; None when we are not.
    Line(Option<(Wall, Reason)>),
    /// This process watched from `started` to `until`.
    Watch {
        started: Wall,
        until: Wall,
    },
    /// The beats of a series, with the mark that must be durable before the newest of them counts.
    Beats {
        series: Arc<str>,
        beats: Box<BeatStanding>,
    },
    /// A source was adopted, or is let go.
    Adopted {
        source: IpAddr,
        kept: bool,
    },
    Outbox(RowChange),
}

/// What an earlier run has stored.
#[derive(Debug, Default)]
pub struct Restored {
    pub standings: Vec<(Arc<str>, Standing)>,
    pub rows: Vec<Row>,
    /// What is remembered of beats, by series.
    pub beats: Vec<(Arc<str>, BeatStanding)>,
    /// Sources that were adopted.
    pub adopted: Vec<IpAddr>,
    /// Since when and why the last run was cut off, if it was.
    pub offline: Option<(Wall, Reason)>,
    /// The newest watch: when it started and when it was last known to run.
    pub watch: Option<(Wall, Wall)>,
}

/// A series as the faces see it.
#[derive(Clone, Debug)]
pub struct SeriesView {
    pub series: Arc<Series>,
    pub state: State,
    /// Begin of the state; of the outage while down.
    pub since: Wall,
    pub reason: Option<Reason>,
    pub outage: Option<Outage>,
    pub last: Option<(Wall, Duration)>,
    pub loss: Option<Share>,
    /// Slots that found the probe before still running.
    pub skipped: u64,
    /// Of heartbeats: what is remembered of beats, and when the next is due.
    pub beats: Option<Box<BeatStanding>>,
    pub due: Option<Wall>,
    /// What somebody asked us to leave out.
    pub mutes: Option<Box<Mutes>>,
}

/// Everything as the faces see it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub series: Vec<SeriesView>,
    pub notifiers: Vec<ChannelView>,
    pub offline: Option<(Wall, Reason)>,
    pub started: Wall,
}

/// How often it is stored that this process still watches.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// A turn that comes so much too late found this process stalled.
const STALL: Duration = Duration::from_millis(500);

/// The lookout. See the module.
#[derive(Debug)]
pub struct Lookout {
    /// Boxed: taking one out and putting it back moves a pointer.
    entries: Vec<Option<Box<Entry>>>,
    by_key: HashMap<Arc<str>, u32>,
    free: Vec<u32>,
    restored: HashMap<Arc<str>, Standing>,
    wakes: BinaryHeap<Reverse<(Mono, u32, u64)>>,
    outbox: Outbox,
    ear: Ear,
    line: SelfCheck,
    notifiers: Vec<Arc<str>>,
    zone: TimeZone,
    rng: Rng,
    /// Renders an event as public JSON; a pure function of the binary's.
    render: fn(&Event) -> String,
    last_run: u64,
    watch: (Wall, Wall),
    /// When this process started, on the present clock.
    born: Wall,
    alive_at: Mono,
    stopped: bool,
    out: Out,
}

#[derive(Debug, Default)]
struct Out {
    probes: Vec<Effect>,
    samples: Vec<Effect>,
    changes: Vec<Change>,
    events: Vec<Arc<Event>>,
    /// Tickets of beats that the changes make durable.
    heard: Vec<u64>,
    effects: VecDeque<Effect>,
}

impl Lookout {
    /// A lookout that watches nothing yet. `seed` feeds ids and jitter; `render` makes the JSON of an event.
    pub fn new(seed: u64, render: fn(&Event) -> String, restored: Restored, now: Now) -> Self {
        let mut out = Out::default();
        let mut absent = None;
        let mut outbox = Outbox::default();
        outbox.restore(restored.rows);
        if let Some((started, alive)) = restored.watch {
            // A stored observation proves that the last run lived longer than its last sign of life.
            let seen = restored.standings.iter().filter_map(|(_, s)| s.seen);
            let heard = restored.beats.iter().filter_map(|(_, b)| b.heard);
            let seen = seen.chain(heard).max();
            let until = seen.map_or(alive, |s| s.max(alive)).min(now.wall).max(started);
            out.changes.push(Change::Watch { started, until });
            // The high-water marks may come from a clock that was ahead; the sign of life does not.
            absent = Some(alive);
        }
        out.changes.push(Change::Watch {
            started: now.wall,
            until: now.wall,
        });
        Self {
            entries: Vec::new(),
            by_key: HashMap::new(),
            free: Vec::new(),
            restored: beats::reunite(restored.standings, restored.beats, absent, now.wall),
            wakes: BinaryHeap::new(),
            outbox,
            ear: Ear::new(restored.adopted),
            line: SelfCheck::restore(restored.offline),
            notifiers: Vec::new(),
            zone: TimeZone::UTC,
            rng: Rng::new(seed),
            render,
            last_run: 0,
            watch: (now.wall, now.wall),
            born: now.wall,
            alive_at: now.mono + ALIVE_EVERY,
            stopped: false,
            out,
        }
    }

    /// Takes one input. What is to be done then stands in [`Lookout::effects`].
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Plan(plan) => self.plan(plan, now),
            Input::Observed { run, observation } => self.observed(run, observation, now),
            Input::Replayed { series, observation } => self.replayed(&series, &observation, now),
            Input::Receipt { delivery, receipt } => {
                self.outbox.receipt(delivery, &receipt, now, &mut self.rng);
            }
            Input::ClockStep(by) => self.clock_step(by, now),
            Input::Slept { from } => self.slept(from, now),
            Input::Beat { series, beat, ticket } => self.beat(&series, &beat, ticket, now),
            Input::Stranger { source, beat } => self.stranger(source, &beat, now),
            Input::Wish { series, wish, ticket } => self.wish(&series, &wish, ticket, now),
            Input::Check { series } => self.check(&series, now),
            Input::Deaf { from } => self.deaf(from, now),
            Input::Tick => {}
            Input::Stop => self.stop(now),
        }
        self.wake(now);
        self.flush(now);
    }

    /// Takes what is to be done, in order.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.out.effects.drain(..)
    }

    /// When to hand in the next [`Input::Tick`], if nothing else happens before.
    pub fn next_wake(&self) -> Mono {
        if self.stopped {
            return self.alive_at;
        }
        let series = self
            .wakes
            .peek()
            .map(|Reverse((at, ..))| *at)
            .filter(|_| !self.stopped);
        [
            series,
            self.outbox.next_wake(),
            self.ear.commit_at,
            Some(self.alive_at),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.alive_at)
    }

    /// How many series are watched.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// True when every notice has been delivered.
    pub fn is_quiet(&self) -> bool {
        self.outbox.is_idle()
    }

    /// True while an attempt to deliver is under way.
    pub fn is_delivering(&self) -> bool {
        self.outbox.is_delivering()
    }

    /// The observation after which history must be replayed, for each series of the plan that is asked.
    pub fn replay_from(&self) -> Vec<(Arc<Series>, Option<Wall>)> {
        self.entries
            .iter()
            .flatten()
            .filter(|e| !e.is_passive())
            .map(|e| (Arc::clone(&e.series), e.standing.seen))
            .collect()
    }

    /// How many series are in each state.
    pub fn count(&self) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.iter().flatten() {
            *counts.entry(entry.standing.state).or_default() += 1;
        }
        counts
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            series: self.entries.iter().flatten().map(|entry| entry.view()).collect(),
            notifiers: self.outbox.view(),
            offline: self.line.offline.clone(),
            started: self.watch.0,
        }
    }

    fn observed(&mut self, run: RunId, observation: Observation, now: Now) {
        let Some(Some(entry)) = self.entries.get_mut(run.slot as usize) else {
            return;
        };
        let Some(waiting) = entry.running.iter_mut().find(|(number, _)| *number == run.number) else {
            return;
        };
        waiting.1 = Some(Box::new(observation));
        // Results are judged in the order in which the probes began, whatever the order of the answers.
        while let Some((_, Some(_))) = self.entries[run.slot as usize]
            .as_ref()
            .and_then(|e| e.running.front())
        {
            let next = self.entries[run.slot as usize]
                .as_mut()
                .and_then(|e| e.running.pop_front());
            if let Some((_, Some(observation))) = next {
                self.judge(run.slot, *observation, now);
            }
        }
        self.make_room(run.slot, now);
        self.arm(run.slot, now);
    }

    fn judge(&mut self, slot: u32, observation: Observation, now: Now) {
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        let before = entry.standing.interval(&entry.series.monitor.policy);
        let step = entry.standing.observe(&entry.series.monitor.policy, &observation);
        entry.last = Some((observation.at, observation.took));
        entry.asked = true;
        if entry.standing.interval(&entry.series.monitor.policy) != before {
            entry.reschedule(now.mono);
        }
        let series = Arc::clone(&entry.series);
        let cause = match &observation.outcome {
            Outcome::Inconclusive(reason) => Some(reason.clone()),
            Outcome::Up | Outcome::Degraded(_) | Outcome::Down(_) => None,
        };
        let at = observation.at;
        self.out.samples.push(Effect::Sample {
            series,
            observation: Arc::new(observation),
        });
        self.check_line(slot, at, cause.as_ref(), now);
        self.apply(slot, step, now);
    }

    fn replayed(&mut self, series: &Arc<str>, observation: &Observation, now: Now) {
        let Some(slot) = self.by_key.get(series).copied() else {
            return;
        };
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        if entry.standing.seen.is_some_and(|seen| observation.at <= seen) {
            return;
        }
        let step = entry.standing.observe(&entry.series.monitor.policy, observation);
        entry.last = Some((observation.at, observation.took));
        self.apply(slot, step, now);
        self.arm(slot, now);
    }

    /// Turns what the judge said into changes and events.
    fn apply(&mut self, slot: u32, mut step: Step, now: Now) {
        let Some(mut entry) = self.entries[slot as usize].take() else {
            return;
        };
        entry.standing.hold_back(&mut step);
        let key = &entry.series.key;
        if let Some(outage) = step.outage {
            self.out.changes.push(Change::Outage {
                series: Arc::clone(key),
                outage: Box::new(outage),
            });
        }
        if let Some((state, from, to)) = step.unknown.filter(|(_, from, to)| from < to) {
            self.out.changes.push(Change::Unknown {
                series: Arc::clone(key),
                state,
                from,
                to,
            });
        }
        if step.dirty {
            self.out.changes.push(entry.stored());
        }
        for happening in step.happenings {
            let mut event = self.describe(&entry, happening, step.previous, now);
            event.withheld = step.withheld;
            self.tell(event, Some(&entry.series));
        }
        self.entries[slot as usize] = Some(entry);
    }

    /// Starts every probe that is due and lets time pass where it matters.
    fn wake(&mut self, now: Now) {
        let mut resumed = false;
        let deafened = self.is_deafened(now);
        while let Some(Reverse((at, slot, number))) = self.wakes.peek().copied() {
            // After the end nothing falls due: what is not begun would stay due for ever.
            if at > now.mono || self.stopped {
                break;
            }
            self.wakes.pop();
            let Some(entry) = self.entries[slot as usize].as_mut().filter(|e| e.wake == number) else {
                continue;
            };
            // After a restart the target is asked first: a reminder of what is over would be wrong.
            let ticks = if entry.is_passive() {
                // After a stall of ours, beats may lie in the socket: they are heard first.
                now.mono.since(at) < STALL && !deafened
            } else {
                entry.asked || entry.standing.is_paused()
            };
            if ticks
                && entry
                    .standing
                    .next_tick(&entry.series.monitor.policy)
                    .is_some_and(|due| due <= now.wall)
            {
                let before = entry.standing.interval(&entry.series.monitor.policy);
                let paused = entry.standing.is_paused();
                let step = entry.standing.tick(&entry.series.monitor.policy, now.wall);
                if paused && !entry.standing.is_paused() {
                    entry.next_slot = entry.first_slot(now.mono, 1);
                    resumed = true;
                }
                if entry.standing.interval(&entry.series.monitor.policy) != before {
                    entry.reschedule(now.mono);
                }
                self.apply(slot, step, now);
            }
            self.start_if_due(slot, now);
            self.arm(slot, now);
        }
        if resumed {
            self.recount(now);
        }
        if now.mono >= self.alive_at {
            self.alive_at = now.mono + ALIVE_EVERY;
            self.watch.1 = now.wall.max(self.watch.0);
            self.out.changes.push(Change::Watch {
                started: self.watch.0,
                until: self.watch.1,
            });
            self.let_strangers_go(now);
        }
    }

    fn stop(&mut self, now: Now) {
        self.stopped = true;
        self.out.changes.push(Change::Watch {
            started: self.watch.0,
            until: now.wall.max(self.watch.0),
        });
        for entry in self.entries.iter().flatten() {
            self.out.changes.push(entry.stored());
        }
        self.ear.commit_at = self.ear.commit_at.map(|_| now.mono);
    }

    /// Puts everything in its order: probes wait for nothing; what is told waits for what is stored.
    fn flush(&mut self, now: Now) {
        let deliveries = if self.stopped {
            Vec::new()
        } else {
            self.outbox.deliveries(now)
        };
        self.commit_beats(now);
        let out = &mut self.out;
        out.changes
            .extend(self.outbox.take_changes().into_iter().map(Change::Outbox));
        out.effects.extend(out.probes.drain(..));
        out.effects.extend(out.samples.drain(..));
        if !out.changes.is_empty() {
            out.effects
                .push_back(Effect::Commit(std::mem::take(&mut out.changes)));
        }
        // What is sent goes before what is shown: a log that nobody reads never holds up a message.
        out.effects.extend(deliveries.into_iter().map(Effect::Deliver));
        out.effects
            .extend(out.heard.drain(..).map(|ticket| Effect::Heard { ticket }));
        out.effects.extend(out.events.drain(..).map(Effect::Announce));
    }
}
