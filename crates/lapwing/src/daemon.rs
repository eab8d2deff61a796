//! The running daemon: everything wired together, until it is told to stop.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, bail};
use lapwing_api::{
    shapes::{EventShape, VERSION},
    steering::ReloadShape,
};
use lapwing_core::{
    event::Event,
    lookout::{Input, Lookout},
    observation::{Observation, Outcome, Reason, Requests, Sample},
    time::{Clock, Wall},
};
use lapwing_link::heartbeat::Rosters;
use lapwing_net::Net;
use lapwing_store::{Class, DataDir, DiskHistory, DiskLedger, History, Point, Wanted, book};
use lapwing_web::stream::Broadcast;
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, mpsc, oneshot},
};
use tracing::{error, info, warn};

use crate::{
    clock::SystemClock,
    config::{self, Environment, Loaded},
    courier::{Courier, Told},
    ear::Reception,
    engine::{Engine, Message, QUEUE},
    faces::{Faces, Order, RestoreOrder},
    hands::{Hands, Meter},
    listeners::{Hearing, Listeners},
    manager::Manager,
    recorder::{self, Retention, Started, Vital, full},
    stalls::Stalls,
    telemetry::LogLevel,
    watchdog,
};

/// Descriptors kept free for the store, the listeners and the notifiers.
const RESERVED_DESCRIPTORS: usize = 128;
/// What the service manager shows until a configuration is applied again.
const NOT_APPLIED: &str = "; the changed configuration is not applied, the log says why";
/// How long the service manager waits while a backup takes the place of the data.
const RESTORING: Duration = Duration::from_hours(1);
/// How long the end waits for messages under way.
const GOODBYE: Duration = Duration::from_secs(8);

/// What the daemon is made of before it runs.
pub struct Daemon {
    pub loaded: Loaded,
    pub path: PathBuf,
    pub environment: Environment,
    pub clock: Arc<SystemClock>,
    pub net: Net,
    pub log: LogLevel,
    pub manager: Arc<Manager>,
}

/// What an earlier run left, and where this one writes.
struct Memory {
    dir: DataDir,
    ledger: Arc<DiskLedger>,
    history: Arc<DiskHistory>,
}

impl Daemon {
    /// Watches until SIGTERM or SIGINT. SIGHUP reads the configuration again; `lapwing restore` begins anew on other data.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        while let Next::Again = self.watch(&mut signals).await? {
            info!("beginning anew on the restored data");
        }
        info!("stopped in good order");
        Ok(())
    }

    /// One life of the engine on one set of data.
    async fn watch(&mut self, signals: &mut Signals) -> anyhow::Result<Next> {
        let memory = self.remember()?;
        let mut listeners = Listeners::bind(&self.loaded, memory.dir.path(), &self.clock).await?;
        let lookout = self.look_out(&memory)?;
        let (queue, inbox) = mpsc::channel(QUEUE);
        let desk = self.desk(queue)?;
        let Started {
            recorder,
            threads,
            vital,
            mut defects,
        } = self.record(&memory, &desk)?;
        let (orders, mut ordered) = mpsc::channel(1);
        listeners.serve(Arc::new(Faces {
            engine: desk.queue.clone(),
            clock: Arc::clone(&self.clock) as _,
            meter: Arc::clone(&desk.meter),
            dropped: Arc::clone(&recorder.dropped),
            orders,
            board: listeners.board(),
            reception: Arc::clone(&desk.reception),
            events: Arc::clone(&desk.events),
            data: memory.dir.path().to_owned(),
        }));
        listeners.hear(desk.hearing(vital.of("daemon")), &lookout.snapshot())?;
        let hands = desk.hands(&self.loaded);
        let engine = Engine {
            lookout,
            clock: Arc::clone(&self.clock) as _,
            hands,
            recorder,
            queue: inbox,
        };
        let engine_vital = vital.of("engine");
        let engine = tokio::spawn(async move {
            let _vital = engine_vital;
            engine.run().await;
        });
        self.greet(&listeners, memory.dir.path());
        self.manager.wait(None);
        self.manager.ready();
        let told = tokio::spawn(watchdog::tell(Arc::clone(&self.manager), desk.queue.clone()));
        let order = tokio::select! {
            order = self.obey(signals, &desk, &mut listeners, &mut ordered) => order,
            Some(part) = defects.recv() => bail!("the {part} ended by a defect of Lapwing; please report it"),
        };
        told.abort();
        // Who still waits for an order to be carried out is let go.
        drop(ordered);
        match order {
            None => self.manager.stopping(),
            Some(_) => self.manager.wait(Some(RESTORING)),
        }
        listeners.stop_hearing();
        stop(&desk.queue, engine).await;
        tokio::task::spawn_blocking(move || threads.join()).await?;
        desk.reception.close();
        desk.events.close();
        drop(memory);
        let next = match order {
            None => Next::Stop,
            Some(order) => {
                self.restore(order);
                Next::Again
            }
        };
        listeners.close().await;
        Ok(next)
    }

    /// What this life shares, with `queue` leading into its engine.
    fn desk(&self, queue: mpsc::Sender<Message>) -> std::io::Result<Desk> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let reception = Reception::new(queue.clone(), Handle::current(), Arc::clone(&clock));
        Ok(Desk {
            net: self.net.clone(),
            queue,
            told: Arc::new(RwLock::new(told(&self.loaded))),
            places: Arc::new(Semaphore::new(places())),
            meter: Arc::default(),
            stalls: Stalls::watch(Arc::clone(&clock))?,
            reception: Arc::new(reception),
            events: Arc::default(),
            rosters: Rosters::new(Arc::clone(&self.loaded.heartbeat.roster)),
            clock,
        })
    }

    fn record(&self, memory: &Memory, desk: &Desk) -> std::io::Result<Started> {
        let retention = Retention {
            raw: self.loaded.store.raw,
            max_size: self.loaded.store.max_size,
        };
        recorder::start(
            Arc::clone(&memory.ledger) as _,
            Arc::clone(&memory.history) as _,
            Arc::clone(&desk.clock),
            desk.courier(),
            retention,
        )
    }

    /// Puts a backup in the place of the data, which nobody holds now. On failure the data stays as it is.
    fn restore(&self, order: RestoreOrder) {
        let (from, to) = (order.from, &self.loaded.store.path);
        let now = self.clock.now().wall;
        let done = crate::backup_file::restore(&from, to, now).map_err(|failed| full(&*failed));
        match &done {
            Ok(text) => info!("{text}"),
            Err(failed) => error!("nothing is restored, the data stays as it is: {failed}"),
        }
        // Whoever asked may be gone; the log tells it too.
        drop(order.reply.send(done));
    }

    fn remember(&self) -> anyhow::Result<Memory> {
        let now = self.clock.now().wall;
        let dir = DataDir::open(&self.loaded.store.path, now)?;
        for warning in dir.warnings() {
            warn!("{warning}");
        }
        let ledger = Arc::new(dir.ledger()?);
        let (history, aside) = dir.history_or_quarantine(now)?;
        if let Some((aside, why)) = aside {
            error!(
                "the history was damaged ({}): it lies in {} now, and a new one has begun; states and outages are untouched",
                damage(&why),
                aside.display()
            );
        }
        Ok(Memory {
            dir,
            ledger,
            history: Arc::new(history),
        })
    }

    /// The lookout as the last run left it, with what history knows beyond the ledger.
    fn look_out(&self, memory: &Memory) -> anyhow::Result<Lookout> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).context("the system gives no randomness")?;
        let restored = book::restore(&*memory.ledger).context("the ledger cannot be read")?;
        let now = self.clock.now();
        let mut lookout = Lookout::new(u64::from_le_bytes(seed), render, restored, now);
        lookout.handle(Input::Plan(self.loaded.plan.clone()), now);
        replay(&mut lookout, &*memory.history, &*self.clock);
        Ok(lookout)
    }

    fn greet(&self, listeners: &Listeners, data: &Path) {
        let (series, notifiers) = (self.loaded.plan.series.len(), self.loaded.plan.notifiers.len());
        let monitors = self.loaded.monitor_count();
        info!(
            "watching {} of {} ({}), telling {}; data in {}",
            count(series, "series", "series"),
            count(monitors, "monitor", "monitors"),
            self.loaded.source.display(),
            count(notifiers, "notifier", "notifiers"),
            data.display()
        );
        for line in listeners.describe() {
            info!("{line}");
        }
        for line in config::alert_files(&self.loaded) {
            info!("{line}");
        }
    }

    /// Waits for signals and orders. Comes back when it is time to stop, or with the order to begin anew.
    async fn obey(
        &mut self,
        signals: &mut Signals,
        desk: &Desk,
        listeners: &mut Listeners,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Option<RestoreOrder> {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => { info!("SIGTERM: stopping"); return None }
                _ = signals.interrupt.recv() => { info!("SIGINT: stopping"); return None }
                _ = signals.hangup.recv() => drop(self.reload(desk, listeners).await),
                Some(order) = orders.recv() => match order {
                    Order::Restore(order) => return Some(order),
                    // Whoever asked may be gone; the log tells it too.
                    Order::Reload(reply) => drop(reply.send(self.reload(desk, listeners).await)),
                },
            }
        }
    }

    /// Reads the configuration again and applies it. A bad one changes nothing: its report is given.
    async fn reload(&mut self, desk: &Desk, listeners: &mut Listeners) -> Result<ReloadShape, String> {
        self.manager.reloading();
        let read = match self.read_again().await {
            Ok(loaded) => Ok(self.apply(loaded, desk, listeners).await),
            Err(report) => Err(report),
        };
        match &read {
            Ok(applied) => info!("{}", applied.text),
            Err(report) => {
                let gap = if report.contains('\n') { "\n" } else { " " };
                error!("the changed configuration is not applied:{gap}{report}");
            }
        }
        self.manager.note(if read.is_ok() { "" } else { NOT_APPLIED });
        self.manager.ready();
        read
    }

    async fn read_again(&self) -> Result<Loaded, String> {
        let (path, environment) = (self.path.clone(), self.environment.clone());
        let loading = tokio::task::spawn_blocking(move || config::load(&path, &environment));
        match loading.await {
            Ok(loaded) => loaded.map_err(|report| report.to_string().trim_end().to_owned()),
            Err(bug) => Err(full(&bug)),
        }
    }

    async fn apply(&mut self, mut loaded: Loaded, desk: &Desk, listeners: &mut Listeners) -> ReloadShape {
        let mut notes = Vec::new();
        if loaded.store != self.loaded.store {
            let kept = self.loaded.store.path.display();
            let note = format!("changes of [store] are applied at the next start; the data stays in {kept}");
            warn!("{note}");
            notes.push(note);
            loaded.store = self.loaded.store.clone();
        }
        self.log.apply(&loaded.log);
        *desk.told.write().unwrap_or_else(PoisonError::into_inner) = told(&loaded);
        let (moved, refused) = listeners.rebind(&loaded, &self.clock).await;
        let refused: Vec<String> = refused.iter().map(|failed| full(&**failed)).collect();
        for error in &refused {
            error!(%error, "a listener of the changed configuration cannot be opened and stays as it was; the rest is applied");
        }
        for line in &moved {
            info!("{line}");
        }
        notes.extend(moved);
        let plan = loaded.plan.clone();
        let (new, gone) = (added(&self.loaded, &loaded), added(&loaded, &self.loaded));
        let series = plan.series.len();
        // The engine is gone only when everything ends.
        drop(
            desk.queue
                .send(Message::Hands(Box::new(desk.hands(&loaded))))
                .await,
        );
        drop(desk.queue.send(Message::Input(Box::new(Input::Plan(plan)))).await);
        // Behind the plan: a beat of a new sender finds its series.
        desk.rosters.replace(Arc::clone(&loaded.heartbeat.roster));
        // A life after a restore opens what is open now, not what was refused.
        listeners.opened(&mut loaded);
        self.loaded = loaded;
        ReloadShape {
            v: VERSION,
            text: applied(series, new, gone),
            series,
            new,
            gone,
            notes,
            refused,
        }
    }
}

fn applied(series: usize, new: usize, gone: usize) -> String {
    let mut text = format!(
        "configuration applied: watching {}",
        count(series, "series", "series")
    );
    if new > 0 {
        text.push_str(&format!(", {new} of them new"));
    }
    if gone > 0 {
        text.push_str(&format!("; {gone} no longer watched"));
    }
    text
}

/// How many series of `after` are not in `before`.
fn added(before: &Loaded, after: &Loaded) -> usize {
    let known: HashSet<&str> = before.plan.series.iter().map(|s| &*s.key).collect();
    let series = after.plan.series.iter();
    series.filter(|s| !known.contains(&*s.key)).count()
}

/// The signals that the daemon obeys, listened to from first to last.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// What follows a life of the engine.
enum Next {
    Stop,
    Again,
}

/// What one life of the engine shares, and the hands that it is given.
struct Desk {
    net: Net,
    queue: mpsc::Sender<Message>,
    told: Arc<RwLock<Arc<Told>>>,
    places: Arc<Semaphore>,
    meter: Arc<Meter>,
    stalls: Arc<Stalls>,
    reception: Arc<Reception>,
    events: Arc<Broadcast>,
    rosters: Rosters,
    clock: Arc<dyn Clock>,
}

impl Desk {
    fn hearing(&self, vital: Vital) -> Hearing {
        Hearing {
            reception: Arc::clone(&self.reception),
            rosters: self.rosters.clone(),
            clock: Arc::clone(&self.clock),
            vital: Arc::new(vital),
        }
    }

    fn hands(&self, loaded: &Loaded) -> Hands {
        let probers = Arc::clone(&loaded.probers);
        Hands {
            net: self.net.clone(),
            probers,
            engine: self.queue.clone(),
            places: Arc::clone(&self.places),
            meter: Arc::clone(&self.meter),
            stalls: Arc::clone(&self.stalls),
        }
    }

    fn courier(&self) -> Courier {
        Courier {
            net: self.net.clone(),
            runtime: Handle::current(),
            engine: self.queue.clone(),
            told: Arc::clone(&self.told),
            reception: Arc::clone(&self.reception),
            events: Arc::clone(&self.events),
        }
    }
}

fn told(loaded: &Loaded) -> Arc<Told> {
    let zone = loaded.plan.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
    Arc::new(Told {
        notifiers: loaded.notifiers.clone(),
        zone,
    })
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// What is wrong with a store, without the advice that another place would give.
fn damage(error: &lapwing_store::StoreError) -> String {
    match error {
        lapwing_store::StoreError::Corrupt { what, .. } => what.clone(),
        other => full(other),
    }
}

/// How many probes may run at once.
pub fn places() -> usize {
    descriptors().saturating_sub(RESERVED_DESCRIPTORS).max(16) * 3 / 4
}

/// How many descriptors this process may open.
fn descriptors() -> usize {
    match lapwing_net::raise_descriptor_limit() {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX / 4),
        Err(failed) => {
            warn!(error = %failed, "the limit of open files cannot be raised: few probes run at once");
            1_024
        }
    }
}

/// Ends the engine; it waits for messages under way, but not for ever.
pub async fn stop(queue: &mpsc::Sender<Message>, engine: tokio::task::JoinHandle<()>) {
    let (done, ended) = oneshot::channel();
    if queue.send(Message::Stop(done)).await.is_ok() && tokio::time::timeout(GOODBYE, ended).await.is_err() {
        warn!("messages were still under way: they are sent again at the next start, marked as resent");
    }
    engine.abort();
    if let Err(error) = engine.await
        && error.is_panic()
    {
        error!("the engine ended by a defect");
    }
}

/// The event's public JSON.
pub fn render(event: &Event) -> String {
    serde_json::to_string(&EventShape::from(event)).unwrap_or_default()
}

/// Hands the lookout what history knows beyond the stored standings: a crash loses at most the last second.
fn replay(lookout: &mut Lookout, history: &dyn History, clock: &dyn Clock) {
    let series = lookout.replay_from();
    let wanted: Vec<Wanted> = series
        .iter()
        .map(|(series, seen)| Wanted {
            series: series.key.to_string(),
            count: replay_count(series),
            since: seen.map_or(Wall(i64::MIN), |s| Wall(s.0 + 1)),
        })
        .collect();
    let tails = match history.tails(&wanted) {
        Ok(tails) => tails,
        Err(failed) => {
            return error!(error = %full(&failed), "the history cannot be read: the last moments before the restart are unknown");
        }
    };
    let now = clock.now();
    for ((series, _), points) in series.iter().zip(tails) {
        for point in points {
            let input = Input::Replayed {
                series: Arc::clone(&series.key),
                observation: observation(&point),
            };
            lookout.handle(input, now);
        }
    }
}

/// How many observations can matter after a crash: those of the windows, or else the last few.
fn replay_count(series: &lapwing_core::monitor::Series) -> usize {
    let policy = &series.monitor.policy;
    let window = match policy.rule {
        lapwing_core::monitor::DownRule::Window { of, .. } => of,
        _ => 16,
    };
    policy
        .loss
        .map_or(window, |loss| loss.window.max(window))
        .min(100_000) as usize
}

fn observation(point: &Point) -> Observation {
    let reason = || match &point.reason {
        Some(reason) => Reason::clone(reason),
        None => Reason::new("unknown", "reason not recorded"),
    };
    let outcome = match point.class {
        Class::Up => Outcome::Up,
        Class::Degraded => Outcome::Degraded(reason()),
        Class::Down => Outcome::Down(reason()),
        Class::Inconclusive => Outcome::Inconclusive(reason()),
    };
    let requests = Some(Requests {
        sent: point.requests.sent,
        lost: point.requests.lost,
    });
    Observation {
        at: point.at,
        took: point.took,
        outcome,
        sample: Sample {
            requests,
            ..Sample::default()
        },
    }
}
