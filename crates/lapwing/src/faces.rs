//! What the faces read and ask for: the API's source over the engine. It must never change a state by itself: what is
//! asked for goes into the engine's queue.

mod wishes;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lapwing_api::{
    shapes::{EngineShape, LateShape, StatusShape},
    steering::{DoneShape, ReloadShape, WishShape},
};
use lapwing_core::{kind::nearest, lookout::Named, time::Clock};
use lapwing_web::{
    Answer, Source,
    steering::{Refusal, Why},
    stream::{Broadcast, Follower, NoPlace},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ear::Reception,
    engine::Message,
    hands::{Meter, late_ms},
    listeners::Board,
    recorder::full,
};

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
}

/// What the daemon itself must do, not its engine.
pub enum Order {
    Restore(RestoreOrder),
    /// Read the configuration again. The reply is what was applied, or the report of a bad one.
    Reload(oneshot::Sender<Result<ReloadShape, String>>),
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
            let verified = tokio::task::spawn_blocking(move || crate::backup_file::verify(&backup, &data));
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
        Box::pin(self.grant(wish, uid))
    }

    fn reload(&self) -> Answer<'_, Result<ReloadShape, Refusal>> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            let sent = self.orders.send(Order::Reload(reply)).await;
            sent.map_err(|_| Refusal::stopping())?;
            let applied = done.await.map_err(|_| Refusal::stopping())?;
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
}

impl Faces {
    /// The engine's answer; None when it has ended.
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.engine.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The series that `names` mean.
    async fn find(&self, names: &[String]) -> Result<Vec<Named>, Refusal> {
        let found = self.ask(|reply| Message::Find(names.to_vec(), reply)).await;
        let unknown = match found.ok_or_else(Refusal::stopping)? {
            Ok(found) => return Ok(found),
            Err(unknown) => unknown,
        };
        let text = format!("there is no monitor or series \"{}\"", unknown.name);
        // Comparing with a hundred thousand names takes a while.
        let near = tokio::task::spawn_blocking(move || {
            let names = unknown
                .known
                .iter()
                .flat_map(|s| [s.monitor.name.as_str(), s.name.as_str()]);
            nearest(&unknown.name, names).map(|near| format!("did you mean \"{near}\"?"))
        });
        let hint = near.await.ok().flatten();
        let hint = hint.unwrap_or_else(|| "`lapwing status --all` lists them".to_owned());
        Err(Refusal::new(Why::Unknown, text).hint(hint))
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
