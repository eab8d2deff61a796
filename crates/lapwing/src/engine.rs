//! The engine loop: inputs in, effects out. It owns the lookout and never waits for storage or the network.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lapwing_core::{
    lookout::{Effect, Input, Lookout, Named, Snapshot, Unknown},
    state::State,
    time::{Clock, Now, Wall},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::{
    clock,
    hands::Hands,
    recorder::{Recorder, Sign},
};

/// Capacity of the queue into the engine. Full, it makes probes wait to report, which shows as lateness.
pub const QUEUE: usize = 16_384;
/// Messages taken in one turn.
const BATCH: usize = 1_024;
/// Differences between the clocks below this are slewing and rounding, not a step.
const STEP: Duration = Duration::from_millis(500);
/// A sleep shorter than this is a stall: the probes' own deadlines deal with it.
const SLEPT: Duration = Duration::from_secs(2);

/// What the engine is told.
#[derive(Debug)]
pub enum Message {
    Input(Box<Input>),
    /// A look at everything.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Are you there?
    Ping(oneshot::Sender<()>),
    /// Are you there, and the ledger behind you, and those who send messages?
    Sign(Sign),
    /// The series that names mean.
    Find(Vec<String>, oneshot::Sender<Result<Vec<Named>, Unknown>>),
    /// How many series are in each state.
    Count(oneshot::Sender<BTreeMap<State, usize>>),
    /// New hands for a new plan, which comes right behind.
    Hands(Box<Hands>),
    /// End in good order: the sender hears when all effects have been given out.
    Stop(oneshot::Sender<()>),
}

/// The loop's belongings.
pub struct Engine {
    pub lookout: Lookout,
    pub clock: Arc<dyn Clock>,
    pub hands: Hands,
    pub recorder: Recorder,
    pub queue: mpsc::Receiver<Message>,
}

impl Engine {
    /// Runs until told to stop.
    pub async fn run(mut self) {
        let mut goodbye: Option<oneshot::Sender<()>> = None;
        let mut inbox = Vec::with_capacity(BATCH);
        let mut clocks = Clocks::new(self.clock.now());
        self.carry_out();
        loop {
            let wait = self.lookout.next_wake().since(self.clock.mono());
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut inbox, BATCH) => if count == 0 { return },
                () = sleep(wait) => {}
            }
            let now = self.clock.now();
            if let Some(input) = clocks.compare(now) {
                self.lookout.handle(input, now);
            }
            for message in inbox.drain(..) {
                match message {
                    Message::Input(input) => self.lookout.handle(*input, now),
                    Message::Hands(hands) => self.hands = *hands,
                    // Somebody who no longer wants the answer is no fault.
                    Message::Ping(reply) => drop(reply.send(())),
                    Message::Sign(sign) => self.recorder.sign(sign),
                    Message::Count(reply) => drop(reply.send(self.lookout.count())),
                    Message::Find(names, reply) => drop(reply.send(self.lookout.find(&names))),
                    Message::Snapshot(reply) => drop(reply.send(self.lookout.snapshot())),
                    Message::Stop(done) => {
                        self.lookout.handle(Input::Stop, now);
                        goodbye = Some(done);
                    }
                }
            }
            self.lookout.handle(Input::Tick, now);
            self.carry_out();
            // Messages under way still bring their receipts: without them they would be sent again.
            if let Some(done) = goodbye.take_if(|_| !self.lookout.is_delivering()) {
                let _gone_is_fine = done.send(());
                return;
            }
        }
    }

    fn carry_out(&mut self) {
        let mut book = Vec::new();
        for effect in self.lookout.effects() {
            match effect {
                Effect::Probe { series, run, slot } => self.hands.probe(&series, run, slot),
                other => book.push(other),
            }
        }
        if !book.is_empty() {
            self.recorder.record(book);
        }
    }
}

/// Compares the clocks with each other, turn by turn.
struct Clocks {
    last: Now,
    suspended: Duration,
}

impl Clocks {
    fn new(now: Now) -> Self {
        Self {
            last: now,
            suspended: clock::suspended(),
        }
    }

    /// What the clocks say has happened since the last turn, if it is more than time passing.
    fn compare(&mut self, now: Now) -> Option<Input> {
        let (last, suspended) = (self.last, clock::suspended());
        let slept = suspended.saturating_sub(self.suspended);
        self.last = now;
        self.suspended = suspended;
        let ran = now.mono.since(last.mono).as_micros() as i64;
        if slept >= SLEPT {
            return Some(Input::Slept { from: last.wall });
        }
        let step = now.wall.micros_since(last.wall) - ran - slept.as_micros() as i64;
        if step.unsigned_abs() >= STEP.as_micros() as u64 {
            return Some(Input::ClockStep(step));
        }
        // A turn comes at least every minute: a longer one means that this process was stopped.
        let stopped = now.mono.since(last.mono) >= Duration::from_secs(90);
        stopped.then_some(Input::Slept {
            from: Wall(last.wall.0),
        })
    }
}
