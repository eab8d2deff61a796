//! Writes down what the lookout decides, and lets what waits for it go on: transitions before messages, always.
//!
//! Two threads, so that a long batch of observations never holds up an alert. Neither ever makes the engine wait:
//! what cannot be stored is kept, merged by key, and tried again; observations beyond the queue are dropped, counted.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use lapwing_core::{
    event::Event,
    lookout::Effect,
    monitor::Series,
    observation::{Observation, Outcome, Value},
    outbox::Delivery,
    time::{Clock, Mono, Now},
};
use lapwing_store::{History, Key, Ledger, LedgerError, Op, Row, StoreError, book};
use tracing::{debug, error, info, warn};

use crate::clock;

/// Observations that wait for the history's thread; more are dropped.
const SAMPLES: usize = 200_000;
/// Observations in one append.
const APPEND: usize = 50_000;
/// Observations are durable within this time.
const APPEND_EVERY: Duration = Duration::from_secs(1);
const FOLD_EVERY: Duration = Duration::from_secs(60);
/// A clock that was set ahead by more than this is in doubt for so long.
const LEAP: Duration = Duration::from_secs(3600);
const DOUBT: Duration = Duration::from_secs(86_400);
const HOUSE_EVERY: Duration = Duration::from_secs(3600);
const LAST_TRIES: usize = 5;
const RETRY: Duration = Duration::from_secs(1);
/// After this time without a successful commit, messages go out although their rows are not stored: an alert that may
/// be repeated is better than none.
const PATIENCE: Duration = Duration::from_secs(10);

/// The engine's way to both threads.
pub struct Recorder {
    decisions: mpsc::Sender<Page>,
    samples: Arc<Tray>,
    /// Codes of our own faults that the log has told.
    told: Mutex<HashSet<String>>,
    pub dropped: Arc<AtomicU64>,
    /// Sees every observation before what is decided by it; must never wait.
    pub watcher: Option<Watcher>,
}

pub type Watcher = Box<dyn Fn(&Arc<Series>, &Arc<Observation>) + Send + Sync>;

/// What the ledger's thread is given.
enum Page {
    Decisions(Vec<Effect>),
    Sign(Sign),
}

/// A sign of life: it takes the whole way of an alert, and is answered at its end.
pub type Sign = tokio::sync::oneshot::Sender<()>;

type Sample = (Arc<Series>, Arc<Observation>);

/// Observations on their way to the history's thread, which comes for them once a second: handing one over wakes nobody.
#[derive(Default)]
struct Tray {
    pile: Mutex<Pile>,
    /// Rung when the pile is as large as one append, and at the end.
    bell: Condvar,
}

#[derive(Default)]
struct Pile {
    samples: Vec<Sample>,
    ended: bool,
}

impl Tray {
    /// Puts observations down; gives how many found no room.
    fn put(&self, samples: Vec<Sample>) -> u64 {
        let mut pile = self.pile.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SAMPLES.saturating_sub(pile.samples.len());
        let refused = samples.len().saturating_sub(room);
        let before = pile.samples.len();
        pile.samples.extend(samples.into_iter().take(room));
        if before < APPEND && pile.samples.len() >= APPEND {
            self.bell.notify_one();
        }
        refused as u64
    }

    fn end(&self) {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.bell.notify_one();
    }

    /// Waits for `wait`, less when there is enough for an append or the end has come; takes all, and says whether it has.
    fn take(&self, wait: Duration) -> (Vec<Sample>, bool) {
        let pile = self.pile.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |pile: &mut Pile| pile.samples.len() < APPEND && !pile.ended;
        let waited = self.bell.wait_timeout_while(pile, wait, idle);
        let (mut pile, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut pile.samples), pile.ended)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.samples.end();
    }
}

/// Where events and messages go once they are stored.
pub trait Outlet: Send + 'static {
    fn announce(&self, event: &Arc<Event>);
    fn deliver(&self, delivery: Delivery);
    /// The beat with this ticket counts, durably.
    fn heard(&self, ticket: u64);
    /// Answers, where messages are sent from.
    fn sign(&self, sign: Sign);
}

/// How long observations are kept, and how large the history may become.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub raw: Duration,
    pub max_size: u64,
}

/// Both threads, to be waited for at the end.
pub struct Threads {
    ledger: JoinHandle<()>,
    history: JoinHandle<()>,
}

impl Threads {
    /// Waits until everything that was recorded is stored, or has been tried one last time.
    pub fn join(self) {
        for (name, thread) in [("ledger", self.ledger), ("history", self.history)] {
            if thread.join().is_err() {
                error!(thread = name, "the thread ended by a defect");
            }
        }
    }
}

/// Both threads at work, and how to hear that something without which nothing works has ended by a defect.
pub struct Started {
    pub recorder: Recorder,
    pub threads: Threads,
    pub vital: Vital,
    pub defects: tokio::sync::mpsc::UnboundedReceiver<&'static str>,
}

/// Tells when it is dropped by a panic: the process must then end, for a monitor that is silent is worse than none.
pub struct Vital {
    name: &'static str,
    tell: tokio::sync::mpsc::UnboundedSender<&'static str>,
}

impl Vital {
    pub(crate) fn pair() -> (Self, tokio::sync::mpsc::UnboundedReceiver<&'static str>) {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        (Self { name: "daemon", tell }, told)
    }

    /// One for `name`, to be held while it works.
    pub fn of(&self, name: &'static str) -> Self {
        Self {
            name,
            tell: self.tell.clone(),
        }
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody listens only while everything ends.
            let _gone_is_fine = self.tell.send(self.name);
        }
    }
}

/// Whether the wall clock can be believed when something is to be deleted by its word.
struct Doubt {
    last: Now,
    suspended: Duration,
    until: Mono,
}

impl Doubt {
    fn new(now: Now) -> Self {
        Self {
            last: now,
            suspended: clock::suspended(),
            until: Mono(0),
        }
    }

    /// True for a day after the clock was set ahead by more than an hour: it may be set back.
    fn of(&mut self, now: Now) -> bool {
        let suspended = clock::suspended();
        let passed = now.mono.since(self.last.mono) + suspended.saturating_sub(self.suspended);
        let leapt = now.wall.since(self.last.wall).saturating_sub(passed);
        (self.last, self.suspended) = (now, suspended);
        if leapt > LEAP {
            warn!("the clock was set ahead: nothing old is deleted for a day, in case it is set back");
            self.until = now.mono + DOUBT;
        }
        now.mono < self.until
    }
}

/// Starts both threads. They end when the [`Recorder`] is dropped.
pub fn start(
    ledger: Arc<dyn Ledger>,
    history: Arc<dyn History>,
    clock: Arc<dyn Clock>,
    outlet: impl Outlet,
    retention: Retention,
) -> std::io::Result<Started> {
    let (decisions, decided) = mpsc::channel();
    let samples = Arc::new(Tray::default());
    let sampled = Arc::clone(&samples);
    let dropped = Arc::<AtomicU64>::default();
    let (vital, defects) = Vital::pair();
    let (clerk_vital, archive_vital) = (vital.of("ledger"), vital.of("history"));
    let clerk = Clerk {
        ledger,
        clock: Arc::clone(&clock),
        outlet,
        doubt: Doubt::new(clock.now()),
        pending: BTreeMap::new(),
        held: Vec::new(),
        signs: Vec::new(),
    };
    let ledger = std::thread::Builder::new()
        .name("ledger".to_owned())
        .spawn(move || {
            let _vital = clerk_vital;
            clerk.run(&decided);
        })?;
    let archive = Archive {
        kept: kept_names(),
        history,
        doubt: Doubt::new(clock.now()),
        dropped: Arc::clone(&dropped),
        clock,
        retention,
        failing: false,
    };
    let history = std::thread::Builder::new()
        .name("history".to_owned())
        .spawn(move || {
            let _vital = archive_vital;
            archive.run(&sampled);
        })?;
    let recorder = Recorder {
        decisions,
        samples,
        told: Mutex::default(),
        dropped,
        watcher: None,
    };
    let threads = Threads { ledger, history };
    Ok(Started {
        recorder,
        threads,
        vital,
        defects,
    })
}

impl Recorder {
    /// Takes effects in their order. Never waits.
    pub fn record(&self, effects: Vec<Effect>) {
        let (mut decisions, mut samples) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Sample { series, observation } => {
                    log(&series, &observation);
                    self.warn_once(&series, &observation);
                    if let Some(watcher) = &self.watcher {
                        watcher(&series, &observation);
                    }
                    samples.push((series, observation));
                }
                other => decisions.push(other),
            }
        }
        if !samples.is_empty() {
            self.dropped
                .fetch_add(self.samples.put(samples), Ordering::Relaxed);
        }
        if !decisions.is_empty() && self.decisions.send(Page::Decisions(decisions)).is_err() {
            error!("the ledger's thread is gone: decisions are not stored");
        }
    }

    /// Sends a sign of life the way of the decisions. It is dropped unanswered when the ledger's thread is gone.
    pub fn sign(&self, sign: Sign) {
        drop(self.decisions.send(Page::Sign(sign)));
    }

    /// What this program lacks is told once for each code: whoever starts it should not have to look for it.
    fn warn_once(&self, series: &Series, observation: &Observation) {
        let Outcome::Inconclusive(reason) = &observation.outcome else {
            return;
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(reason.code.to_string()) {
            warn!(code = %reason.code, "cannot check {}: {}", series.name, reason.detail);
        }
    }
}

/// One line a check, at `debug`.
fn log(series: &Series, observation: &Observation) {
    let took_ms = observation.took.as_micros() as f64 / 1e3;
    match observation.outcome.reason() {
        None => debug!(series = %series.name, took_ms, "up"),
        Some(reason) => {
            let state = lapwing_api::shapes::state_of(&observation.outcome);
            debug!(series = %series.name, took_ms, code = %reason.code, "{state}: {}", reason.detail);
        }
    }
}

/// The ledger's thread.
struct Clerk<O> {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    outlet: O,
    doubt: Doubt,
    /// What is not stored yet; the newest of each key counts.
    pending: BTreeMap<Key, Op>,
    /// What waits for it.
    held: Vec<Effect>,
    /// What is answered after the next try to store, whatever came of it.
    signs: Vec<Sign>,
}

impl<O: Outlet> Clerk<O> {
    fn run(mut self, decided: &mpsc::Receiver<Page>) {
        let mut failing_since: Option<Mono> = None;
        // Not at once: a machine without a battery-backed clock may still be in another year.
        let mut house_at = self.clock.mono() + HOUSE_EVERY;
        loop {
            if failing_since.is_none() && self.clock.mono() >= house_at {
                house_at = self.clock.mono() + HOUSE_EVERY;
                self.keep_house();
            }
            let first = decided.recv_timeout(if failing_since.is_some() {
                RETRY
            } else {
                HOUSE_EVERY
            });
            let ended = match first {
                Ok(page) => {
                    self.take(page);
                    // Everything that has queued up meanwhile goes into the same transaction.
                    while let Ok(page) = decided.try_recv() {
                        self.take(page);
                    }
                    false
                }
                Err(mpsc::RecvTimeoutError::Timeout) => false,
                Err(mpsc::RecvTimeoutError::Disconnected) => true,
            };
            failing_since = self.commit(failing_since);
            self.signs.drain(..).for_each(|sign| self.outlet.sign(sign));
            if ended {
                for _ in 0..LAST_TRIES {
                    if failing_since.is_none() {
                        return;
                    }
                    std::thread::sleep(RETRY / 2);
                    failing_since = self.commit(failing_since);
                }
                error!("the last states and alerts could not be stored");
                return;
            }
        }
    }

    /// Deletes what nobody asks for any more: the ledger does not grow for ever.
    fn keep_house(&mut self) {
        if self.doubt.of(self.clock.now()) {
            return;
        }
        match book::expired(&*self.ledger, self.clock.now().wall) {
            Ok(ops) => ops
                .into_iter()
                .for_each(|op| drop(self.pending.insert(op.key().clone(), op))),
            Err(err) => warn!(error = %full(&err), "old entries of the ledger cannot be found"),
        }
    }

    fn take(&mut self, page: Page) {
        let decisions = match page {
            Page::Decisions(decisions) => decisions,
            Page::Sign(sign) => return self.signs.push(sign),
        };
        let mut ops = Vec::new();
        for effect in decisions {
            match effect {
                Effect::Commit(changes) => changes
                    .iter()
                    .for_each(|change| book::operations(change, &mut ops)),
                other => self.held.push(other),
            }
        }
        for op in ops {
            self.pending.insert(op.key().clone(), op);
        }
    }

    /// Stores what is pending and lets go what waits for it. Gives since when it does not succeed.
    fn commit(&mut self, failing_since: Option<Mono>) -> Option<Mono> {
        let ops: Vec<Op> = self.pending.values().cloned().collect();
        match self.ledger.commit(&[], &ops) {
            Ok(_) => {
                self.pending.clear();
                if failing_since.is_some() {
                    info!("the ledger is writable again: nothing was lost");
                }
                self.let_go();
                None
            }
            Err(LedgerError::TooLong { key }) => {
                error!(%key, "an entry is too long for the ledger and is left out; please report it");
                self.pending.remove(&key);
                self.commit(failing_since)
            }
            Err(err) => {
                let now = self.clock.mono();
                let since = failing_since.unwrap_or(now);
                if failing_since.is_none() {
                    error!(error = %full(&err), "the ledger cannot be written; states and alerts are kept in memory and tried again every second");
                }
                if now.since(since) >= PATIENCE {
                    // That a beat counts is never said before it does, and nobody waits for the word so long.
                    self.held.retain(|effect| !matches!(effect, Effect::Heard { .. }));
                    if !self.held.is_empty() {
                        warn!(
                            "alerts go out although they could not be stored: after a crash they may be repeated"
                        );
                        self.let_go();
                    }
                }
                Some(since)
            }
        }
    }

    fn let_go(&mut self) {
        for effect in self.held.drain(..) {
            match effect {
                Effect::Announce(event) => self.outlet.announce(&event),
                Effect::Deliver(delivery) => self.outlet.deliver(delivery),
                Effect::Heard { ticket } => self.outlet.heard(ticket),
                Effect::Probe { .. } | Effect::Sample { .. } | Effect::Commit(_) => {}
            }
        }
    }
}

/// The history's thread.
struct Archive {
    history: Arc<dyn History>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    kept: HashSet<&'static str>,
    doubt: Doubt,
    dropped: Arc<AtomicU64>,
    failing: bool,
}

impl Archive {
    fn run(mut self, sampled: &Tray) {
        let mut waiting: Vec<Sample> = Vec::new();
        let mut fold_at = self.clock.mono() + FOLD_EVERY;
        loop {
            let (mut samples, ended) = sampled.take(APPEND_EVERY);
            if waiting.is_empty() {
                waiting = samples;
            } else {
                waiting.append(&mut samples);
            }
            self.append(&mut waiting, ended);
            let now = self.clock.now();
            if now.mono >= fold_at {
                fold_at = now.mono + FOLD_EVERY;
                self.keep_house(now);
            }
            if ended {
                return;
            }
        }
    }

    /// Appends what waits. What cannot be written stays, up to the size of one append.
    fn append(&mut self, waiting: &mut Vec<Sample>, last: bool) {
        if waiting.is_empty() {
            return;
        }
        let facts: Vec<Vec<(&'static str, f64)>> = waiting
            .iter()
            .map(|(_, seen)| kept_facts(seen, &self.kept))
            .collect();
        let rows: Vec<Row<'_>> = waiting
            .iter()
            .zip(&facts)
            .map(|((series, observation), facts)| Row {
                series: &series.key,
                observation,
                facts,
            })
            .collect();
        let result = self.history.append(&rows);
        self.report(&result);
        if result.is_ok() || last {
            waiting.clear();
        }
        // What cannot be written stays as long as there is room.
        let over = waiting.len().saturating_sub(SAMPLES);
        waiting.drain(..over);
        self.dropped.fetch_add(over as u64, Ordering::Relaxed);
    }

    fn keep_house(&mut self, now: Now) {
        let doubted = self.doubt.of(now);
        let mut result = self.history.fold(now.wall).map(|_| ());
        if result.is_ok() && !doubted {
            result = self
                .history
                .retain(now.wall, self.retention.raw, self.retention.max_size)
                .map(|_| ());
        }
        self.report(&result);
    }

    fn report<T>(&mut self, result: &Result<T, StoreError>) {
        match result {
            Ok(_) if self.failing => info!("the history is writable again"),
            Err(err) if !self.failing => {
                error!(error = %full(err), "the history cannot be written; observations are kept as long as memory allows, alerts go on");
            }
            _ => {}
        }
        self.failing = result.is_err();
    }
}

/// Names of the facts that their kinds want kept.
fn kept_names() -> HashSet<&'static str> {
    let facts = lapwing_probe::kinds::KINDS.iter().flat_map(|k| k.info.facts);
    facts.filter(|f| f.kept).map(|f| f.name).collect()
}

/// The facts of an observation that are kept, as numbers.
fn kept_facts(seen: &Observation, kept: &HashSet<&'static str>) -> Vec<(&'static str, f64)> {
    let number = |value: &Value| match value {
        Value::Int(v) => Some(*v as f64),
        Value::Float(v) => Some(*v),
        Value::Bool(v) => Some(f64::from(u8::from(*v))),
        Value::Text(_) => None,
    };
    let facts = seen.sample.facts.iter().filter(|f| kept.contains(f.name));
    facts.filter_map(|f| Some((f.name, number(&f.value)?))).collect()
}

/// An error with its causes, on one line.
pub fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
