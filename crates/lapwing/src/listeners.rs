//! What others reach us by: the status page and API, the Unix socket of the local commands, the echo server, and where
//! sensors and jobs report in.

mod beats;

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use lapwing_api::shapes::ListenerShape;
use lapwing_core::{lookout::Snapshot, time::Wall};
use lapwing_link::echo::{EchoCounters, EchoServer, EchoSettings};
use lapwing_web::{Source, pings::Pings};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinHandle,
};
use tracing::error;

pub use self::beats::Hearing;
use self::beats::{PingDoor, Sensors};
use crate::{clock::SystemClock, config::Loaded, ear, recorder::full};

/// Name of the Unix socket in the data folder.
pub const SOCKET: &str = "lapwing.sock";

/// All listeners of the daemon.
pub struct Listeners {
    web: Option<Web>,
    socket: PathBuf,
    unix: Option<UnixListener>,
    echo: Option<Echo>,
    sensors: Option<Sensors>,
    pings: Option<PingDoor>,
    source: Option<Arc<dyn Source>>,
    hearing: Option<Hearing>,
    ping_desk: Option<Arc<dyn Pings>>,
    /// Since when nobody hears datagrams, where somebody did before.
    deaf_since: Option<Wall>,
    board: Board,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

struct Web {
    wanted: SocketAddr,
    bound: SocketAddr,
    listener: Option<TcpListener>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// A running echo server; it stops when told, or when dropped.
struct Echo {
    wanted: EchoSettings,
    bound: SocketAddr,
    counters: Arc<EchoCounters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What came to the listeners that are open, for whoever asks for the status.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Vec<Posted>>>);

struct Posted {
    name: &'static str,
    address: SocketAddr,
    counts: Box<dyn Fn() -> Vec<(&'static str, u64)> + Send>,
}

impl Board {
    pub fn read(&self) -> Vec<(String, ListenerShape)> {
        let posted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = |one: &Posted| ListenerShape {
            address: one.address.to_string(),
            counts: (one.counts)()
                .into_iter()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
        };
        posted
            .iter()
            .map(|one| (one.name.to_owned(), shape(one)))
            .collect()
    }
}

impl Listeners {
    /// Opens every listener of the configuration, so that one that cannot be opened is known before anything starts.
    pub async fn bind(loaded: &Loaded, data: &Path, clock: &Arc<SystemClock>) -> anyhow::Result<Self> {
        let web = match loaded.web {
            Some(wanted) => Some(bind_web(wanted).await?),
            None => None,
        };
        let echo = match &loaded.echo {
            Some(wanted) => Some(start_echo(wanted.clone(), clock)?),
            None => None,
        };
        let sensors = loaded.heartbeat.listen.map(Sensors::bind).transpose()?;
        let pings = match loaded.heartbeat.http {
            Some(wanted) => Some(PingDoor::bind(wanted).await?),
            None => None,
        };
        let socket = data.join(SOCKET);
        let unix = Some(bind_unix(&socket)?);
        Ok(Self {
            web,
            socket,
            unix,
            echo,
            sensors,
            pings,
            source: None,
            hearing: None,
            ping_desk: None,
            deaf_since: None,
            board: Board::default(),
            stop: watch::channel(false).0,
            tasks: Vec::new(),
        })
    }

    /// Begins to answer.
    pub fn serve(&mut self, source: Arc<dyn Source>) {
        if let Some(unix) = self.unix.take() {
            let (router, stop) = (
                lapwing_web::local_router(Arc::clone(&source)),
                self.stop.subscribe(),
            );
            self.tasks.push(tokio::spawn(async move {
                if let Err(failed) = lapwing_web::serve_unix(unix, router, stop).await {
                    error!(error = %full(&failed), "the local socket no longer answers");
                }
            }));
        }
        self.source = Some(source);
        self.serve_web();
    }

    /// Begins to hear: what `before` says was heard by earlier runs counts no second time.
    pub fn hear(&mut self, hearing: Hearing, before: &Snapshot) -> anyhow::Result<()> {
        if let Some(sensors) = &mut self.sensors {
            sensors.start(&hearing, ear::known(before))?;
        }
        let (reception, rosters) = (Arc::clone(&hearing.reception), hearing.rosters.clone());
        let desk: Arc<dyn Pings> =
            Arc::new(ear::PingDesk::new(reception, rosters, ear::ping_sources(before)));
        if let Some(pings) = &mut self.pings {
            pings.serve(Arc::clone(&desk));
        }
        (self.hearing, self.ping_desk) = (Some(hearing), Some(desk));
        self.post();
        Ok(())
    }

    /// The counters of all listeners, also of those that are opened later.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    fn post(&self) {
        let mut posted = Vec::new();
        if let Some(sensors) = &self.sensors {
            let counters = Arc::clone(&sensors.counters);
            posted.push(Posted {
                name: "heartbeat",
                address: sensors.bound,
                counts: Box::new(move || counters.all()),
            });
        }
        if let Some(pings) = &self.pings {
            let counters = Arc::clone(&pings.counters);
            posted.push(Posted {
                name: "pings",
                address: pings.bound,
                counts: Box::new(move || counters.all().to_vec()),
            });
        }
        if let Some(echo) = &self.echo {
            let counters = Arc::clone(&echo.counters);
            posted.push(Posted {
                name: "echo",
                address: echo.bound,
                counts: Box::new(move || counters.all().to_vec()),
            });
        }
        *self.board.0.lock().unwrap_or_else(PoisonError::into_inner) = posted;
    }

    /// Opens what a changed configuration wants elsewhere, and closes what it no longer wants. What cannot be opened
    /// stays where it was. Gives a line for each that has moved, and why others have not.
    pub async fn rebind(
        &mut self,
        loaded: &Loaded,
        clock: &Arc<SystemClock>,
    ) -> (Vec<String>, Vec<anyhow::Error>) {
        let before = self.describe();
        let mut failed = Vec::new();
        if self.web.as_ref().map(|w| w.wanted) != loaded.web {
            failed.extend(self.move_web(loaded.web).await.err());
            self.serve_web();
        }
        if self.echo.as_ref().map(|e| &e.wanted) != loaded.echo.as_ref() {
            failed.extend(self.move_echo(loaded.echo.clone(), clock).await.err());
        }
        if self.sensors.as_ref().map(|s| s.wanted) != loaded.heartbeat.listen {
            failed.extend(self.move_sensors(loaded.heartbeat.listen).await.err());
        }
        if self.pings.as_ref().map(|p| p.wanted) != loaded.heartbeat.http {
            failed.extend(self.move_pings(loaded.heartbeat.http).await.err());
        }
        self.post();
        let moved = self
            .describe()
            .into_iter()
            .filter(|line| !before.contains(line))
            .collect();
        (moved, failed)
    }

    async fn move_web(&mut self, wanted: Option<SocketAddr>) -> anyhow::Result<()> {
        let opened = match wanted {
            Some(wanted) => bind_web(wanted).await.map(Some),
            None => Ok(None),
        };
        match (opened, self.web.take()) {
            (Ok(new), old) => {
                self.web = new;
                if let Some(old) = old {
                    old.stop().await;
                }
                Ok(())
            }
            (Err(failed), old) => {
                self.web = old;
                Err(failed)
            }
        }
    }

    async fn move_echo(
        &mut self,
        wanted: Option<EchoSettings>,
        clock: &Arc<SystemClock>,
    ) -> anyhow::Result<()> {
        let old = self.echo.take();
        let was = old.as_ref().map(|o| (o.bound, o.wanted.clone()));
        if let Some(old) = old {
            old.stop().await;
        }
        let Some(wanted) = wanted else { return Ok(()) };
        match start_echo(wanted, clock) {
            Ok(new) => {
                self.echo = Some(new);
                Ok(())
            }
            Err(failed) => {
                if let Some((listen, was)) = was {
                    let place = EchoSettings {
                        listen,
                        ..was.clone()
                    };
                    self.echo = Some(Echo {
                        wanted: was,
                        ..start_echo(place, clock)?
                    });
                }
                Err(failed)
            }
        }
    }

    /// The old listener goes first: it may have the port that the new one wants, and each knows by itself what it has
    /// heard.
    async fn move_sensors(&mut self, wanted: Option<SocketAddr>) -> anyhow::Result<()> {
        let Some(hearing) = self.hearing.clone() else {
            return Ok(());
        };
        let old = self.sensors.take().map(|mut old| {
            old.stop();
            (old.wanted, old.bound)
        });
        if old.is_some() {
            self.deaf_since = Some(hearing.clock.now().wall);
        }
        let Some(wanted) = wanted else { return Ok(()) };
        let before = hearing
            .reception
            .snapshot()
            .await
            .context("the daemon is stopping")?;
        let open = |place, wanted| {
            let mut sensors = Sensors::bind(place)?;
            sensors.start(&hearing, ear::known(&before))?;
            sensors.wanted = wanted;
            anyhow::Ok(sensors)
        };
        let moved = match open(wanted, wanted) {
            Ok(new) => {
                self.sensors = Some(new);
                Ok(())
            }
            Err(failed) => {
                if let Some((was, place)) = old {
                    self.sensors = Some(open(place, was)?);
                }
                Err(failed)
            }
        };
        if let Some(from) = self.deaf_since.take_if(|_| self.sensors.is_some()) {
            hearing.reception.deaf(from);
        }
        moved
    }

    async fn move_pings(&mut self, wanted: Option<SocketAddr>) -> anyhow::Result<()> {
        let old = self.pings.take();
        let was = old.as_ref().map(|old| (old.wanted, old.bound));
        if let Some(old) = old {
            old.stop().await;
        }
        let Some(wanted) = wanted else { return Ok(()) };
        let (opened, failed) = match (PingDoor::bind(wanted).await, was) {
            (Ok(new), _) => (Some(new), None),
            (Err(failed), Some((was, place))) => {
                let mut old = PingDoor::bind(place).await?;
                old.wanted = was;
                (Some(old), Some(failed))
            }
            (Err(failed), None) => (None, Some(failed)),
        };
        self.pings = opened;
        if let (Some(pings), Some(desk)) = (&mut self.pings, &self.ping_desk) {
            pings.serve(Arc::clone(desk));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Has the configuration say what is open, where it could not be opened as it says.
    pub fn opened(&self, loaded: &mut Loaded) {
        loaded.web = self.web.as_ref().map(|w| w.wanted);
        loaded.echo = self.echo.as_ref().map(|e| e.wanted.clone());
        loaded.heartbeat.listen = self.sensors.as_ref().map(|s| s.wanted);
        loaded.heartbeat.http = self.pings.as_ref().map(|p| p.wanted);
    }

    /// Hears no more datagrams. What was heard is still worked up and answered.
    pub fn stop_hearing(&mut self) {
        if let Some(sensors) = &mut self.sensors {
            sensors.stop();
        }
    }

    /// Where everything is, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(web) = &self.web {
            lines.push(format!(
                "status page on http://{}/ (JSON on /api/v1/status)",
                web.bound
            ));
        }
        if let Some(echo) = &self.echo {
            lines.push(format!(
                "echo server on udp-echo://{0} and tcp-echo://{0}",
                echo.bound
            ));
        }
        lines.extend(self.sensors.as_ref().map(Sensors::describe));
        lines.extend(self.pings.as_ref().map(PingDoor::describe));
        lines
    }

    /// Stops answering; requests under way are finished.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        if let Some(web) = self.web.take() {
            web.stop().await;
        }
        if let Some(echo) = self.echo.take() {
            echo.stop().await;
        }
        if let Some(pings) = self.pings.take() {
            pings.stop().await;
        }
        for task in self.tasks.drain(..) {
            // A client that never ends its request does not hold the end up.
            drop(tokio::time::timeout(std::time::Duration::from_secs(2), task).await);
        }
        drop(std::fs::remove_file(&self.socket));
    }

    fn serve_web(&mut self) {
        let (Some(web), Some(source)) = (&mut self.web, &self.source) else {
            return;
        };
        let Some(listener) = web.listener.take() else {
            return;
        };
        let (router, stop) = (lapwing_web::tcp_router(Arc::clone(source)), web.stop.subscribe());
        web.task = Some(tokio::spawn(async move {
            if let Err(failed) = lapwing_web::serve_tcp(listener, router, stop).await {
                error!(error = %full(&failed), "the status page no longer answers");
            }
        }));
    }
}

async fn bind_web(wanted: SocketAddr) -> anyhow::Result<Web> {
    let listener = TcpListener::bind(wanted).await.with_context(|| {
        format!("the status page cannot listen on {wanted}; choose another address in the configuration: [web] listen = \"127.0.0.1:8481\", or \"off\"")
    })?;
    let bound = listener.local_addr()?;
    Ok(Web {
        wanted,
        bound,
        listener: Some(listener),
        stop: watch::channel(false).0,
        task: None,
    })
}

fn start_echo(wanted: EchoSettings, clock: &Arc<SystemClock>) -> anyhow::Result<Echo> {
    let listen = wanted.listen;
    let server = EchoServer::bind(wanted.clone(), Arc::clone(clock) as _).with_context(|| {
        format!("the echo server cannot listen on {listen}; choose another address in the configuration: [echo] listen")
    })?;
    let (bound, counters) = (server.address(), server.counters());
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(server.serve(async move {
        // An error means that the sender is gone, which is a stop too.
        drop(stopped.wait_for(|stop| *stop).await);
    }));
    Ok(Echo {
        wanted,
        bound,
        counters,
        stop,
        task,
    })
}

impl Web {
    /// Closes the listener; requests under way are finished, but do not hold us up.
    async fn stop(mut self) {
        self.stop.send_replace(true);
        self.listener = None;
        if let Some(task) = self.task.take() {
            drop(tokio::time::timeout(std::time::Duration::from_secs(2), task).await);
        }
    }
}

impl Echo {
    async fn stop(self) {
        self.stop.send_replace(true);
        // It closes its sockets at once; a connection that lingers does not hold the end up.
        drop(tokio::time::timeout(std::time::Duration::from_secs(2), self.task).await);
    }
}

/// The data folder is ours alone, so a socket that lies there was left by a crash.
fn bind_unix(path: &Path) -> anyhow::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("the old socket {} cannot be removed", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| {
        format!(
            "the local socket {} cannot be opened (a path may have at most 107 bytes)",
            path.display()
        )
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
