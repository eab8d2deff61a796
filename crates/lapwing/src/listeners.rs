//! What others reach us by: the status page and API, the Unix socket of the local commands, the echo server.

use std::{
    future::Future,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use lapwing_api::shapes::{EngineShape, LateShape, StatusShape};
use lapwing_core::time::Clock;
use lapwing_link::echo::{EchoServer, EchoSettings};
use lapwing_web::Source;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::error;

use crate::{
    clock::SystemClock,
    config::Loaded,
    engine::Message,
    hands::{Meter, late_ms},
    recorder::full,
};

/// Name of the Unix socket in the data folder.
pub const SOCKET: &str = "lapwing.sock";

/// All listeners of the daemon.
pub struct Listeners {
    web: Option<Web>,
    socket: PathBuf,
    unix: Option<UnixListener>,
    echo: Option<Echo>,
    source: Option<Arc<dyn Source>>,
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
    wanted: SocketAddr,
    bound: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listeners {
    /// Opens every listener of the configuration, so that one that cannot be opened is known before anything starts.
    pub async fn bind(loaded: &Loaded, data: &Path, clock: &Arc<SystemClock>) -> anyhow::Result<Self> {
        let web = match loaded.web {
            Some(wanted) => Some(bind_web(wanted).await?),
            None => None,
        };
        let echo = match loaded.echo {
            Some(wanted) => Some(start_echo(wanted, clock)?),
            None => None,
        };
        let socket = data.join(SOCKET);
        let unix = Some(bind_unix(&socket)?);
        Ok(Self {
            web,
            socket,
            unix,
            echo,
            source: None,
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
        if self.echo.as_ref().map(|e| e.wanted) != loaded.echo {
            failed.extend(self.move_echo(loaded.echo, clock).await.err());
        }
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
        wanted: Option<SocketAddr>,
        clock: &Arc<SystemClock>,
    ) -> anyhow::Result<()> {
        let old = self.echo.take();
        let (place, was) = (old.as_ref().map(|o| o.bound), old.as_ref().map(|o| o.wanted));
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
                if let (Some(place), Some(was)) = (place, was) {
                    self.echo = Some(Echo {
                        wanted: was,
                        ..start_echo(place, clock)?
                    });
                }
                Err(failed)
            }
        }
    }

    /// The addresses that the configuration names for the page and the echo server, as far as they could be opened.
    pub fn opened(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (
            self.web.as_ref().map(|w| w.wanted),
            self.echo.as_ref().map(|e| e.wanted),
        )
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

fn start_echo(wanted: SocketAddr, clock: &Arc<SystemClock>) -> anyhow::Result<Echo> {
    let server = EchoServer::bind(EchoSettings::new(wanted), Arc::clone(clock) as _).with_context(|| {
        format!("the echo server cannot listen on {wanted}; choose another address in the configuration: [echo] listen")
    })?;
    let bound = server.address();
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(server.serve(async move {
        // An error means that the sender is gone, which is a stop too.
        drop(stopped.wait_for(|stop| *stop).await);
    }));
    Ok(Echo {
        wanted,
        bound,
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

/// What the faces read: a snapshot of the engine and its meters.
pub struct StatusSource {
    pub engine: mpsc::Sender<Message>,
    pub clock: Arc<dyn Clock>,
    pub meter: Arc<Meter>,
    /// Observations that storage could not take.
    pub dropped: Arc<AtomicU64>,
    pub orders: mpsc::Sender<RestoreOrder>,
    /// The data folder.
    pub data: PathBuf,
}

/// Begin anew on the data of a backup. The reply is what to tell whoever asked.
pub struct RestoreOrder {
    pub from: PathBuf,
    pub reply: oneshot::Sender<Result<String, String>>,
}

impl Source for StatusSource {
    fn restore(&self, from: PathBuf) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
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
                .send(RestoreOrder { from, reply })
                .await
                .map_err(|_| stopping())?;
            done.await.map_err(|_| stopping())?
        })
    }

    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.engine.send(Message::Ping(reply)).await.is_ok() && answer.await.is_ok()
        })
    }

    fn status(&self) -> Pin<Box<dyn Future<Output = Option<StatusShape>> + Send + '_>> {
        Box::pin(async move {
            let (reply, snapshot) = oneshot::channel();
            self.engine.send(Message::Snapshot(reply)).await.ok()?;
            let snapshot = snapshot.await.ok()?;
            let mut status = StatusShape::new(&snapshot, env!("CARGO_PKG_VERSION"), self.clock.now().wall);
            let late = self.meter.late();
            status.engine = Some(EngineShape {
                checks: self.meter.checks(),
                running: self.meter.running(),
                late_p50_ms: late_ms(&late, 0.5),
                late_p99_ms: late_ms(&late, 0.99),
                dropped: self.dropped.load(Ordering::Relaxed),
                late: late
                    .into_iter()
                    .map(|(up_to_ms, probes)| LateShape { up_to_ms, probes })
                    .collect(),
            });
            Some(status)
        })
    }
}
