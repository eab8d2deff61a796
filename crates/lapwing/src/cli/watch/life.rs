//! The engine at work for a terminal: with a memory ledger, and every result and event shown as it comes.
//!
//! A slow terminal must never hold the engine up: what it cannot take is counted, and said at the end.

use std::{
    collections::HashSet,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapwing_api::{
    shapes::{EventShape, SeriesShape, StatusShape, exit_code},
    watch::ResultShape,
};
use lapwing_core::{
    event::Event,
    lookout::{Input, Lookout, Restored, Snapshot},
    monitor::DownRule,
    outbox::{ChannelView, Delivery},
    time::{Clock, Mono},
};
use lapwing_net::Net;
use lapwing_store::{MemHistory, MemLedger};
use lapwing_term::{event_lines, watch};
use lapwing_web::stream::Broadcast;
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, sleep, timeout},
};

use super::{orders::Orders, screen::Screen};
use crate::{
    cli::Failure,
    clock::SystemClock,
    courier::{Courier, Told},
    daemon,
    ear::Reception,
    engine::{Engine, Message, QUEUE},
    hands::Hands,
    out,
    recorder::{self, Outlet, Retention, Sign, Started, Threads},
    stalls::Stalls,
};

/// Results and events that wait to be shown.
const WAITING: usize = 65_536;
/// What is shown in one turn.
const TURN: usize = 256;
/// Nobody asks for older observations; they would only fill the memory.
const KEPT: Duration = Duration::from_mins(10);
/// How long the end waits for messages that have not been sent yet.
const GOODBYE: Duration = Duration::from_secs(5);
/// From one frame of the live view to the next, and where each costs much.
const FRAME: Duration = Duration::from_millis(250);
const SLOW_FRAME: Duration = Duration::from_secs(2);
const MANY: usize = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What there is to show.
enum Sight {
    Result(Box<ResultShape>),
    Event(Box<EventShape>),
}

/// The way to the terminal.
#[derive(Clone)]
struct Stage {
    sights: mpsc::Sender<Sight>,
    missed: Arc<AtomicU64>,
}

impl Stage {
    fn show(&self, sight: Sight) {
        if self.sights.try_send(sight).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Shows events, and has everything else done as the daemon does it.
struct Usher {
    courier: Courier,
    stage: Stage,
}

impl Outlet for Usher {
    fn announce(&self, event: &Arc<Event>) {
        self.stage
            .show(Sight::Event(Box::new(EventShape::from(&**event))));
    }

    fn deliver(&self, delivery: Delivery) {
        self.courier.deliver(delivery);
    }

    fn heard(&self, ticket: u64) {
        self.courier.heard(ticket);
    }

    fn sign(&self, sign: Sign) {
        self.courier.sign(sign);
    }
}

/// The running engine.
struct Life {
    queue: mpsc::Sender<Message>,
    engine: JoinHandle<()>,
    threads: Threads,
    clock: Arc<dyn Clock>,
    started: Mono,
    missed: Arc<AtomicU64>,
}

/// Watches until somebody ends it, and gives the exit code.
pub(super) async fn live(orders: Orders, view: Shown) -> Result<u8, Failure> {
    let mut signals = Signals::listen()?;
    let (sights, mut shown) = mpsc::channel(WAITING);
    let mut face = Face {
        watched: watch::Watched::default(),
        zone: orders.zone.clone(),
        verbose: view == Shown::Verbose,
        screen: None,
    };
    let frame = if orders.plan.series.len() > MANY {
        SLOW_FRAME
    } else {
        FRAME
    };
    let (life, mut defects) = Life::begin(orders, sights)?;
    if view == Shown::Live {
        face.screen = Some(Screen::enter()?);
    }
    let mut batch = Vec::with_capacity(TURN);
    let mut frames = tokio::time::interval(frame);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listening = loop {
        tokio::select! {
            biased;
            order = signals.next() => match order {
                Order::Stop => break true,
                Order::Summary if face.screen.is_none() => {
                    let text = face.summary(&life, &life.snapshot().await?);
                    if !out::print_live(&text)? { break false }
                }
                Order::Summary => {}
            },
            () = face.ended() => break true,
            Some(part) = defects.recv() => {
                return Err(anyhow::anyhow!("the {part} ended by a defect of Lapwing; please report it").into());
            }
            _ = frames.tick(), if face.screen.is_some() => if !face.draw(&life).await? { break false },
            count = shown.recv_many(&mut batch, TURN) => if count == 0 || !out::print_live(&face.take(&mut batch))? {
                break false;
            },
        }
    };
    life.send_rest(&mut signals).await?;
    let last = life.snapshot().await?;
    let end = face.series(&life, &last);
    let (took, missed) = (life.took(), life.end().await?);
    while shown.recv_many(&mut batch, TURN).await > 0 {
        let text = face.take(&mut batch);
        if listening {
            out::print_live(&text)?;
        }
    }
    // The summary stands where the command was typed.
    drop(face.screen.take());
    if listening {
        let mut text = face.watched.summary(&end, took, &face.zone, out::paint());
        text += &unsent(&last);
        if missed > 0 {
            text += &format!("{missed} results and events are not counted: the terminal was too slow\n");
        }
        out::print_live(&text)?;
    }
    Ok(exit_code(end.iter().map(|s| s.state.as_str())))
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Live,
    /// Lines, where something changes.
    Lines,
    /// A line for each result.
    Verbose,
}

/// What was seen, and where it is shown.
struct Face {
    watched: watch::Watched,
    zone: jiff::tz::TimeZone,
    verbose: bool,
    /// None for lines.
    screen: Option<Screen>,
}

impl Face {
    /// Counts what has come, and gives the lines of it; none for a screen, which shows it in its next frame.
    fn take(&mut self, batch: &mut Vec<Sight>) -> String {
        let paint = out::paint();
        let mut text = String::new();
        for sight in batch.drain(..) {
            match sight {
                Sight::Result(result) => {
                    let told = self.watched.result(&result) || self.verbose;
                    if told && self.screen.is_none() {
                        text += &watch::result(&result, &self.zone, paint);
                    }
                }
                Sight::Event(event) => {
                    self.watched.event(&event);
                    match &mut self.screen {
                        // Everything on the screen is monitored.
                        Some(_) if event.event == "monitoring" => {}
                        Some(screen) => screen.event(*event),
                        None => text += &event_lines::live(&event, &self.zone, paint),
                    }
                }
            }
        }
        text
    }

    /// Waits until a key ends it.
    async fn ended(&mut self) {
        match &mut self.screen {
            Some(screen) => screen.ended().await,
            None => std::future::pending().await,
        }
    }

    /// A new frame. False when the terminal is gone.
    async fn draw(&mut self, life: &Life) -> Result<bool, Failure> {
        let snapshot = life.snapshot().await?;
        let series = self.series(life, &snapshot);
        let failing = snapshot.notifiers.iter().filter(|n| n.failures > 0);
        let troubles: Vec<String> = failing.map(trouble).collect();
        let Some(screen) = &mut self.screen else {
            return Ok(true);
        };
        let (watched, zone, took) = (&self.watched, &self.zone, life.took());
        let drawn = screen.draw(|screen, width, height| {
            let view = watch::View {
                watched,
                series: &series,
                events: &screen.events,
                troubles: &troubles,
                took,
                zone,
                paint: out::paint(),
            };
            view.lines(width, height)
        });
        Ok(drawn?)
    }

    fn summary(&self, life: &Life, snapshot: &Snapshot) -> String {
        let series = self.series(life, snapshot);
        self.watched
            .summary(&series, life.took(), &self.zone, out::paint())
    }

    /// The series as they are. Where only loss is judged, one that has lost all is down.
    fn series(&self, life: &Life, snapshot: &Snapshot) -> Vec<SeriesShape> {
        let version = env!("CARGO_PKG_VERSION");
        let mut status = StatusShape::new(snapshot, version, life.clock.now().wall);
        let unjudged = snapshot.series.iter().map(|view| &view.series);
        let unjudged = unjudged.filter(|series| series.monitor.policy.rule == DownRule::Off);
        let unjudged: HashSet<&str> = unjudged.map(|series| &*series.name).collect();
        for one in &mut status.series {
            let tally = self.watched.tally(&one.series);
            let silent = || tally.is_some_and(watch::Tally::is_silent);
            if unjudged.contains(&*one.series) && one.loss.map_or_else(silent, |loss| loss >= 100.0) {
                "down".clone_into(&mut one.state);
            }
        }
        status.series
    }
}

/// Messages that nobody has taken.
fn unsent(last: &Snapshot) -> String {
    let waiting = last.notifiers.iter().filter(|n| n.waiting > 0);
    waiting.map(|n| trouble(n) + "\n").collect()
}

fn trouble(notifier: &ChannelView) -> String {
    let why = notifier.last_error.as_deref().unwrap_or("there was no time");
    format!(
        "{} of {} not delivered: {why}",
        notifier.waiting, notifier.notifier
    )
}

type Defects = mpsc::UnboundedReceiver<&'static str>;

impl Life {
    fn begin(orders: Orders, sights: mpsc::Sender<Sight>) -> Result<(Self, Defects), Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let net = Net::new(Arc::clone(&clock));
        let (queue, inbox) = mpsc::channel(QUEUE);
        let missed = Arc::<AtomicU64>::default();
        let stage = Stage {
            sights,
            missed: Arc::clone(&missed),
        };
        let hands = Hands {
            net: net.clone(),
            probers: Arc::clone(&orders.probers),
            engine: queue.clone(),
            places: Arc::new(Semaphore::new(daemon::places())),
            meter: Arc::default(),
            stalls: Stalls::watch(Arc::clone(&clock))?,
        };
        let usher = Usher {
            courier: courier(&orders, net, &queue, &clock),
            stage: stage.clone(),
        };
        let Started {
            mut recorder,
            threads,
            vital,
            defects,
        } = record(usher, &clock)?;
        recorder.watcher = Some(Box::new(move |series, seen| {
            stage.show(Sight::Result(Box::new(ResultShape::new(series, seen))));
        }));
        let now = clock.now();
        let seed = getrandom::u64().map_err(|error| anyhow::anyhow!("no random number: {error}"))?;
        let mut lookout = Lookout::new(seed, daemon::render, Restored::default(), now);
        lookout.handle(Input::Plan(orders.plan), now);
        let engine = Engine {
            lookout,
            clock: Arc::clone(&clock),
            hands,
            recorder,
            queue: inbox,
        };
        let vital = vital.of("engine");
        let engine = tokio::spawn(async move {
            let _vital = vital;
            engine.run().await;
        });
        let life = Self {
            queue,
            engine,
            threads,
            started: now.mono,
            clock,
            missed,
        };
        Ok((life, defects))
    }

    async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let (reply, snapshot) = oneshot::channel();
        let gone = || anyhow::anyhow!("the engine ended by a defect of Lapwing; please report it");
        let sent = self.queue.send(Message::Snapshot(reply)).await;
        sent.map_err(|_| gone())?;
        Ok(snapshot.await.map_err(|_| gone())?)
    }

    fn took(&self) -> Duration {
        self.clock.mono().since(self.started)
    }

    /// Waits for messages that are on their way, not for those that nobody takes; a second Ctrl-C ends the waiting.
    async fn send_rest(&self, signals: &mut Signals) -> Result<(), Failure> {
        let sent = async {
            loop {
                let snapshot = self.snapshot().await?;
                if snapshot
                    .notifiers
                    .iter()
                    .all(|n| n.waiting == 0 || n.failures > 0)
                {
                    return Ok(());
                }
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            ended = timeout(GOODBYE, sent) => ended.unwrap_or(Ok(())),
            _ = signals.next() => Ok(()),
        }
    }

    /// Ends the engine. Gives how much could not be shown.
    async fn end(self) -> Result<u64, Failure> {
        daemon::stop(&self.queue, self.engine).await;
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || threads.join()).await;
        joined.map_err(anyhow::Error::from)?;
        Ok(self.missed.load(Ordering::Relaxed))
    }
}

fn courier(orders: &Orders, net: Net, queue: &mpsc::Sender<Message>, clock: &Arc<dyn Clock>) -> Courier {
    let told = Told {
        notifiers: orders.notifiers.clone(),
        zone: orders.zone.clone(),
    };
    let reception = Reception::new(queue.clone(), Handle::current(), Arc::clone(clock));
    Courier {
        net,
        runtime: Handle::current(),
        engine: queue.clone(),
        told: Arc::new(RwLock::new(Arc::new(told))),
        reception: Arc::new(reception),
        events: Arc::<Broadcast>::default(),
    }
}

fn record(usher: Usher, clock: &Arc<dyn Clock>) -> std::io::Result<Started> {
    let retention = Retention {
        raw: KEPT,
        max_size: u64::MAX,
    };
    let (ledger, history) = (Arc::new(MemLedger::new()), Arc::new(MemHistory::new()));
    recorder::start(ledger, history, Arc::clone(clock), usher, retention)
}

enum Order {
    Stop,
    Summary,
}

/// What a person, or the system, tells the running command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next one. May be dropped and called again: none is lost.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.hangup.recv() => Order::Stop,
            _ = self.quit.recv() => Order::Summary,
        }
    }
}
