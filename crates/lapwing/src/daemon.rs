//! The running daemon: everything wired together, until it is told to stop.

mod change;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context, bail};
use lapwing_api::shapes::EventShape;
use lapwing_core::{
    event::Event,
    lookout::{Input, Lookout},
    observation::{Observation, Outcome, Reason, Requests, Sample},
    time::{Clock, Wall},
};
use lapwing_link::heartbeat::Rosters;
use lapwing_net::Net;
use lapwing_store::{Class, DataDir, DiskHistory, DiskLedger, History, Point, Teller, Wanted, book};
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
    faces::{self, Faces, Order, Planned, RestoreOrder, Views},
    hands::{Hands, Meter},
    hub::Hub,
    listeners::{Board, Hearing, Listeners},
    manager::Manager,
    progress,
    recorder::{self, Retention, Started, Vital, full},
    stalls::Stalls,
    telemetry::LogLevel,
    watchdog,
};

/// Descriptors kept free for the store, the listeners and the notifiers.
const RESERVED_DESCRIPTORS: usize = 128;
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
        self.add_what_was_added(&*memory.ledger)?;
        let mut listeners = Listeners::bind(&self.loaded, memory.dir.path(), &self.clock).await?;
        let lookout = self.look_out(&memory)?;
        let (queue, inbox) = mpsc::channel(QUEUE);
        let desk = self.desk(queue, &memory)?;
        let Started {
            recorder,
            threads,
            vital,
            mut defects,
        } = self.record(&memory, &desk)?;
        let (orders, mut ordered) = mpsc::channel(1);
        let readers = Arc::clone(&desk.readers);
        let dropped = Arc::clone(&recorder.dropped);
        let faces = self.faces(&desk, &memory, listeners.board(), dropped, orders);
        listeners.serve(Arc::new(faces));
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
        desk.hub.close();
        drop(desk);
        drop(memory);
        let next = match order {
            None => Next::Stop,
            Some(order) => {
                // Who reads the old data still holds it.
                drop(readers.acquire_many(faces::READERS).await);
                self.restore(order);
                Next::Again
            }
        };
        listeners.close().await;
        Ok(next)
    }

    /// What this life shares, with `queue` leading into its engine.
    fn desk(&self, queue: mpsc::Sender<Message>, memory: &Memory) -> std::io::Result<Desk> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let reception = Reception::new(queue.clone(), Handle::current(), Arc::clone(&clock));
        Ok(Desk {
            net: self.net.clone(),
            queue,
            ledger: Arc::clone(&memory.ledger),
            told: Arc::new(RwLock::new(told(&self.loaded))),
            planned: Arc::new(RwLock::new(planned(&self.loaded))),
            places: Arc::new(Semaphore::new(places())),
            meter: Arc::default(),
            stalls: Stalls::watch(Arc::clone(&clock))?,
            reception: Arc::new(reception),
            events: Arc::default(),
            hub: Arc::default(),
            readers: Arc::new(Semaphore::new(faces::READERS as usize)),
            rosters: Rosters::new(Arc::clone(&self.loaded.heartbeat.roster)),
            clock,
        })
    }

    /// What is shown to whoever asks, and who takes their orders.
    fn faces(
        &self,
        desk: &Desk,
        memory: &Memory,
        board: Board,
        dropped: Arc<AtomicU64>,
        orders: mpsc::Sender<Order>,
    ) -> Faces {
        Faces {
            engine: desk.queue.clone(),
            clock: Arc::clone(&self.clock) as _,
            meter: Arc::clone(&desk.meter),
            dropped,
            orders,
            board,
            reception: Arc::clone(&desk.reception),
            events: Arc::clone(&desk.events),
            data: memory.dir.path().to_owned(),
            ledger: Arc::downgrade(&memory.ledger) as _,
            history: Arc::downgrade(&memory.history) as _,
            raw: self.loaded.store.raw,
            readers: Arc::clone(&desk.readers),
            hub: Arc::clone(&desk.hub),
            // Most places stay with the probes that are due.
            checks: Arc::new(Semaphore::new(places() / 4)),
            trials: Arc::new(Semaphore::new(faces::TRIALS)),
            net: self.net.clone(),
            told: Arc::clone(&desk.told),
            views: Views::new(desk.queue.clone(), Arc::clone(&self.clock) as _),
            planned: Arc::clone(&desk.planned),
        }
    }

    fn record(&self, memory: &Memory, desk: &Desk) -> std::io::Result<Started> {
        let retention = Retention {
            raw: self.loaded.store.raw,
            max_size: self.loaded.store.max_size,
        };
        let mut started = recorder::start(
            Arc::clone(&memory.ledger) as _,
            Arc::clone(&memory.history) as _,
            Arc::clone(&desk.clock),
            desk.courier(),
            retention,
        )?;
        let hub = Arc::clone(&desk.hub);
        started.recorder.watcher = Some(Box::new(move |series, seen| hub.show(series, seen)));
        Ok(started)
    }

    /// Puts a backup in the place of the data, which nobody holds now. On failure the data stays as it is.
    fn restore(&self, order: RestoreOrder) {
        let (from, to) = (order.from, &self.loaded.store.path);
        let now = self.clock.now().wall;
        let done =
            crate::backup_file::restore(&from, to, now, &self.teller()).map_err(|failed| full(&*failed));
        match &done {
            Ok(text) => info!("{text}"),
            Err(failed) => error!("nothing is restored, the data stays as it is: {failed}"),
        }
        // Whoever asked may be gone; the log tells it too.
        drop(order.reply.send(done));
    }

    /// Tells the log and the service manager how far long work is.
    fn teller(&self) -> Teller {
        progress::teller(Arc::clone(&self.clock) as _, Arc::clone(&self.manager))
    }

    fn remember(&self) -> anyhow::Result<Memory> {
        let now = self.clock.now().wall;
        let dir = DataDir::open(&self.loaded.store.path, now)?.telling(self.teller());
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
        if series == 0 && self.loaded.plan.adopt.is_none() && self.loaded.echo.is_none() {
            warn!("nothing is watched yet: `lapwing add web https://www.example.com/` adds a monitor");
        }
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
        let Signals { hangup, ending } = signals;
        loop {
            let order = tokio::select! {
                () = ending.told() => return None,
                _ = hangup.recv() => None,
                Some(order) = orders.recv() => Some(order),
            };
            if let Some(Order::Restore(order)) = order {
                return Some(order);
            }
            // What it reads may lie on a disk that never answers.
            tokio::select! {
                () = ending.told() => return None,
                () = self.carry_out(order, desk, listeners) => {}
            }
        }
    }

    /// Carries out an order, None for SIGHUP. Whoever asked may be gone; the log tells it too.
    async fn carry_out(&mut self, order: Option<Order>, desk: &Desk, listeners: &mut Listeners) {
        match order {
            None => drop(self.reload(desk, listeners).await),
            Some(Order::Reload(reply)) => drop(reply.send(self.reload(desk, listeners).await)),
            Some(Order::Edit(edit, reply)) => drop(reply.send(self.edit(*edit, desk, listeners).await)),
            // Another life begins with it.
            Some(Order::Restore(_)) => {}
        }
    }
}

/// The signals that the daemon obeys, listened to from first to last.
struct Signals {
    hangup: Signal,
    ending: Ending,
}

/// The signals that say that it is time to stop.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            ending: Ending {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
        })
    }
}

impl Ending {
    /// Comes back when it is time to stop.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => info!("SIGINT: stopping"),
        }
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
    ledger: Arc<DiskLedger>,
    told: Arc<RwLock<Arc<Told>>>,
    planned: Arc<RwLock<Arc<Planned>>>,
    places: Arc<Semaphore>,
    meter: Arc<Meter>,
    stalls: Arc<Stalls>,
    reception: Arc<Reception>,
    events: Arc<Broadcast>,
    hub: Arc<Hub>,
    readers: Arc<Semaphore>,
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

fn planned(loaded: &Loaded) -> Arc<Planned> {
    Arc::new(Planned {
        probers: Arc::clone(&loaded.probers),
        origins: Arc::clone(&loaded.origins),
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
