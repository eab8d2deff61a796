//! What the faces read and ask for: the API's source over the engine. It must never change a state by itself: what is
//! asked for goes into the engine's queue.

mod checks;
mod edits;
mod lists;
mod notifiers;
mod past;
mod view;
mod wishes;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapwing_api::{
    monitors::{
        AddShape, EditShape, EditedShape, HistoryQuery, HistoryShape, MonitorDetails, MonitorPage,
        MonitorQuery, NamesShape, NotifiersShape, ReportQuery, SeriesPage, SeriesQuery, TailsShape,
    },
    report::ReportShape,
    shapes::{EngineShape, LateShape, StatusShape},
    steering::{DoneShape, ReloadShape, WishShape},
};
use lapwing_core::{lookout::Named, time::Clock};
use lapwing_net::Net;
use lapwing_probe::Prober;
use lapwing_store::{History, Ledger};
use lapwing_web::{
    Answer, Source,
    steering::{Refusal, Why},
    stream::{Broadcast, Follower, Lines, NoPlace},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use self::view::Views;
use self::view::{View, unknown};
use crate::{
    config::Origins,
    courier::Told,
    ear::Reception,
    edits::{Edit, Wanted},
    engine::Message,
    hands::{Meter, late_ms},
    hub::Hub,
    listeners::Board,
    recorder::full,
};

/// Questions about the past that are answered at once; more wait.
pub const READERS: u32 = 4;

/// Notifiers that are tested at once.
pub const TRIALS: usize = 2;

/// The engine and its meters, and who takes orders.
pub struct Faces {
    pub engine: mpsc::Sender<Message>,
    pub clock: Arc<dyn Clock>,
    pub meter: Arc<Meter>,
    /// Observations that storage could not take.
    pub dropped: Arc<AtomicU64>,
    pub orders: mpsc::Sender<Order>,
    pub board: Board,
    pub reception: Arc<Reception>,
    pub events: Arc<Broadcast>,
    /// The data folder.
    pub data: PathBuf,
    /// Gone when this life of the engine ends, whoever still asks: a restore needs the data for itself.
    pub ledger: Weak<dyn Ledger>,
    pub history: Weak<dyn History>,
    /// How long single observations are kept.
    pub raw: Duration,
    pub readers: Arc<Semaphore>,
    pub views: Views,
    pub hub: Arc<Hub>,
    /// Checks that are asked for and under way, of all who ask.
    pub checks: Arc<Semaphore>,
    /// Tests of notifiers under way.
    pub trials: Arc<Semaphore>,
    pub net: Net,
    pub told: Arc<RwLock<Arc<Told>>>,
    pub planned: Arc<RwLock<Arc<Planned>>>,
}

/// What the faces must know of the running configuration.
pub struct Planned {
    /// By the key of the series.
    pub probers: Arc<HashMap<Arc<str>, Prober>>,
    pub origins: Arc<Origins>,
}

/// What the daemon itself must do, not its engine.
pub enum Order {
    Restore(RestoreOrder),
    /// Read the configuration again. The reply is what was applied, or the report of a bad one.
    Reload(oneshot::Sender<Result<ReloadShape, String>>),
    /// Add, change or remove a monitor.
    Edit(Box<Edit>, oneshot::Sender<Result<EditedShape, Refusal>>),
}

/// Begin anew on the data of a backup. The reply is what to tell whoever asked.
pub struct RestoreOrder {
    pub from: PathBuf,
    pub reply: oneshot::Sender<Result<String, String>>,
}

impl Source for Faces {
    fn restore(&self, from: PathBuf) -> Answer<'_, Result<String, String>> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            let stopping = || "the daemon is stopping".to_owned();
            // A backup that is no good is known before anything stops.
            let (backup, data) = (from.clone(), self.data.clone());
            let verified = tokio::task::spawn_blocking(move || {
                crate::backup_file::verify(&backup, &data, &lapwing_store::Teller::default())
            });
            match verified.await {
                Ok(Ok(())) => {}
                Ok(Err(bad)) => return Err(format!("nothing is restored: {}", full(&*bad))),
                Err(_) => return Err("nothing is restored: the backup could not be read".to_owned()),
            }
            self.orders
                .send(Order::Restore(RestoreOrder { from, reply }))
                .await
                .map_err(|_| stopping())?;
            done.await.map_err(|_| stopping())?
        })
    }

    fn alive(&self) -> Answer<'_, bool> {
        Box::pin(async move { self.ask(Message::Ping).await.is_some() })
    }

    fn status(&self) -> Answer<'_, Option<StatusShape>> {
        Box::pin(async move {
            let snapshot = self.ask(Message::Snapshot).await?;
            let mut status = StatusShape::new(&snapshot, env!("CARGO_PKG_VERSION"), self.clock.now().wall);
            status.engine = Some(self.engine_shape());
            status.listeners = self.board.read().into_iter().collect();
            Some(status)
        })
    }

    fn wish(&self, wish: WishShape, uid: Option<u32>) -> Answer<'_, Result<DoneShape, Refusal>> {
        Box::pin(async move {
            let granted = self.grant(wish, uid).await;
            self.views.stale().await;
            granted
        })
    }

    fn reload(&self) -> Answer<'_, Result<ReloadShape, Refusal>> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            let sent = self.orders.send(Order::Reload(reply)).await;
            sent.map_err(|_| Refusal::stopping())?;
            let applied = done.await.map_err(|_| Refusal::stopping())?;
            self.views.stale().await;
            applied.map_err(|report| {
                Refusal::new(Why::Unfit, report)
                    .hint("nothing was changed: mend the configuration, and reload it again")
            })
        })
    }

    fn events(&self, names: Vec<String>) -> Answer<'_, Result<Follower, Refusal>> {
        Box::pin(async move {
            if !names.is_empty() {
                self.find(&names).await?;
            }
            self.events.follow(names).map_err(|why| match why {
                NoPlace::Closed => Refusal::stopping(),
                NoPlace::Full => Refusal::new(Why::Crowded, "as many programs follow the events as may")
                    .hint("end one of them"),
            })
        })
    }

    fn series(&self, query: SeriesQuery) -> Answer<'_, Result<SeriesPage, Refusal>> {
        Box::pin(self.show(move |view| lists::series(view, &query)))
    }

    fn monitors(&self, query: MonitorQuery) -> Answer<'_, Result<MonitorPage, Refusal>> {
        let planned = self.planned();
        Box::pin(self.show(move |view| Ok(lists::monitors(view, &planned, &query))))
    }

    fn monitor(&self, name: String) -> Answer<'_, Result<MonitorDetails, Refusal>> {
        let (planned, ledger) = (self.planned(), Weak::clone(&self.ledger));
        Box::pin(self.read(move |view| lists::monitor(view, &planned, &*held(&ledger)?, &name)))
    }

    fn names(&self, prefix: String, limit: usize) -> Answer<'_, Result<NamesShape, Refusal>> {
        let planned = self.planned();
        Box::pin(self.show(move |view| Ok(lists::names(view, &planned, &prefix, limit))))
    }

    fn add(&self, order: AddShape, uid: Option<u32>) -> Answer<'_, Result<EditedShape, Refusal>> {
        Box::pin(self.change(Wanted::Add(order.monitor), order.by, uid))
    }

    fn edit(
        &self,
        name: String,
        order: EditShape,
        uid: Option<u32>,
    ) -> Answer<'_, Result<EditedShape, Refusal>> {
        let wanted = Wanted::Change { name, set: order.set };
        Box::pin(self.change(wanted, order.by, uid))
    }

    fn remove(&self, name: String, uid: Option<u32>) -> Answer<'_, Result<EditedShape, Refusal>> {
        Box::pin(self.change(Wanted::Remove(name), None, uid))
    }

    fn check(&self, names: Vec<String>) -> Answer<'_, Result<Lines, Refusal>> {
        Box::pin(self.check_now(names))
    }

    fn results(&self, names: Vec<String>) -> Answer<'_, Result<Lines, Refusal>> {
        Box::pin(self.follow_results(names))
    }

    fn tails(&self, series: Vec<String>, count: usize) -> Answer<'_, Result<TailsShape, Refusal>> {
        let history = Weak::clone(&self.history);
        Box::pin(self.read(move |view| past::tails(view, &*held(&history)?, &series, count)))
    }

    fn history(&self, query: HistoryQuery) -> Answer<'_, Result<HistoryShape, Refusal>> {
        let (history, raw) = (Weak::clone(&self.history), self.raw);
        Box::pin(self.read(move |view| past::history(view, &*held(&history)?, raw, &query)))
    }

    fn report(&self, query: ReportQuery) -> Answer<'_, Result<ReportShape, Refusal>> {
        let (ledger, now) = (Weak::clone(&self.ledger), self.clock.now().wall);
        Box::pin(self.read(move |_| past::report(&*held(&ledger)?, &query, now)))
    }

    fn notifiers(&self) -> Answer<'_, Result<NotifiersShape, Refusal>> {
        Box::pin(async { Ok(notifiers::list(&self.told())) })
    }

    fn test_notifier(&self, name: String) -> Answer<'_, Result<DoneShape, Refusal>> {
        Box::pin(self.prove(name))
    }
}

impl Faces {
    /// What `work` makes of a look at everything. It may block, and take a while.
    async fn show<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let view = self.views.look().await?;
        blocking(move || work(&view)).await
    }

    /// As [`show`](Self::show), for work that reads what is stored: a few at a time.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        // Whoever goes away does not stop what was begun: its place is free when that ends.
        let place = Arc::clone(&self.readers).acquire_owned().await;
        self.show(move |view| {
            let _place = place;
            work(view)
        })
        .await
    }

    fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn planned(&self) -> Arc<Planned> {
        Arc::clone(&self.planned.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The engine's answer; None when it has ended.
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.engine.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The series that `names` mean.
    async fn find(&self, names: &[String]) -> Result<Vec<Named>, Refusal> {
        let found = self.ask(|reply| Message::Find(names.to_vec(), reply)).await;
        let unknown_name = match found.ok_or_else(Refusal::stopping)? {
            Ok(found) => return Ok(found),
            Err(unknown) => unknown,
        };
        // Comparing with a hundred thousand names takes a while.
        blocking(move || {
            let known = unknown_name.known.iter();
            let names = known.flat_map(|s| [s.monitor.name.as_str(), s.name.as_str()]);
            Err(unknown(&unknown_name.name, names))
        })
        .await
    }

    fn engine_shape(&self) -> EngineShape {
        let late = self.meter.late();
        EngineShape {
            checks: self.meter.checks(),
            running: self.meter.running(),
            late_p50_ms: late_ms(&late, 0.5),
            late_p99_ms: late_ms(&late, 0.99),
            dropped: self.dropped.load(Ordering::Relaxed),
            late: late
                .into_iter()
                .map(|(up_to_ms, probes)| LateShape { up_to_ms, probes })
                .collect(),
        }
    }
}

/// What is stored, while this life of the engine lasts.
fn held<T: ?Sized>(memory: &Weak<T>) -> Result<Arc<T>, Refusal> {
    memory.upgrade().ok_or_else(Refusal::stopping)
}

/// Does work that may block, or take a while, where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Refusal::new(
            Why::Unable,
            "this ended by a defect of Lapwing; please report it",
        ))
    })
}
