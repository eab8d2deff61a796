//! The typed client of the local API: a connection to the daemon's Unix socket for each request.
//!
//! It must never wait for ever for an answer to begin, nor hold more of one than its limits allow.

mod lines;
mod reply;

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub use self::lines::Lines;
use self::reply::Reply;
use crate::{
    monitors::{
        AddShape, CheckOrder, CheckedShape, EditShape, EditedShape, HistoryQuery, HistoryShape,
        MonitorDetails, MonitorPage, MonitorQuery, NamesShape, NotifiersShape, ReportQuery, SeriesPage,
        SeriesQuery, TailsShape,
    },
    queries::{NamesQuery, StreamQuery, TailsQuery},
    report::ReportShape,
    shapes::{EventShape, RestoreShape, StatusShape},
    steering::{DoneShape, ErrorShape, ReloadShape, WishShape},
    watch::ResultShape,
};

/// What is held of an answer, and how long it is waited for.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Longest answer in bytes: a status of a million series.
    answer: usize,
    /// Longest line of a stream in bytes.
    line: usize,
    /// Until an answer begins, and between two pieces of it.
    glance: Duration,
    /// As `glance`, where something is changed or written down first.
    change: Duration,
    /// As `glance`, where years are read first.
    past: Duration,
    /// As `glance`, where all data is copied first.
    restore: Duration,
}

const LIMITS: Limits = Limits {
    answer: 1 << 30,
    line: 1 << 20,
    glance: Duration::from_secs(10),
    change: Duration::from_mins(2),
    past: Duration::from_mins(10),
    restore: Duration::from_hours(24),
};

/// What is written as it is in a path or a query (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Asks the daemon that listens on a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: Arc<Path>,
    limits: Limits,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    #[error(
        "no daemon runs on {}: `lapwing run` starts one here, `lapwing service install` at every boot",
        folder(socket).display()
    )]
    NoDaemon { socket: PathBuf },
    #[error(
        "{} cannot be reached: {}; run this as the user who runs the daemon, or as root",
        socket.display(),
        io::Error::from_raw_os_error(EACCES)
    )]
    Denied { socket: PathBuf },
    #[error(
        "the daemon is of another version than this program ({}), and its answer cannot be read ({why}): restart it",
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion { why: String },
    /// The daemon will not. The status is that of HTTP.
    #[error("{}", error.sentence())]
    Refused { status: u16, error: ErrorShape },
    /// No whole answer came.
    #[error("the daemon {what}: {why}")]
    Broken { what: &'static str, why: String },
}

/// "Permission denied", as every Unix numbers it.
const EACCES: i32 = 13;

fn folder(socket: &Path) -> &Path {
    socket
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

impl ErrorShape {
    /// What happened and what to do about it, in one sentence; a report of many lines keeps them.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) if self.error.contains('\n') => format!("{}\n{hint}", self.error),
            Some(hint) => format!("{}; {hint}", self.error),
            None => self.error.clone(),
        }
    }
}

impl Client {
    /// Opens nothing yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into().into(),
            limits: LIMITS,
        }
    }

    /// Everything at a glance.
    pub async fn status(&self) -> Result<StatusShape, ClientError> {
        self.get(&["status"], &[]).await
    }

    /// Whether the engine answers. False while it is stopping.
    pub async fn alive(&self) -> Result<bool, ClientError> {
        let reply = Reply::to(self, Method::GET, "/healthz", Vec::new(), self.limits.glance).await?;
        Ok(reply.is_success())
    }

    pub async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, ClientError> {
        self.get(&["series"], &query.pairs()).await
    }

    pub async fn monitors(&self, query: &MonitorQuery) -> Result<MonitorPage, ClientError> {
        self.get(&["monitors"], &query.pairs()).await
    }

    /// All about the monitor, or the one series, with this name.
    pub async fn monitor(&self, name: &str) -> Result<MonitorDetails, ClientError> {
        self.get(&["monitors", name], &[]).await
    }

    /// Names of monitors and series that begin with `prefix`, at most `limit`.
    pub async fn names(&self, prefix: &str, limit: usize) -> Result<NamesShape, ClientError> {
        let prefix = prefix.to_owned();
        let query = NamesQuery { prefix, limit };
        self.get(&["names"], &query.pairs()).await
    }

    /// Comes back when the monitor is durable and watched.
    pub async fn add(&self, order: &AddShape) -> Result<EditedShape, ClientError> {
        self.change(Method::POST, &["monitors"], order).await
    }

    pub async fn edit(&self, name: &str, order: &EditShape) -> Result<EditedShape, ClientError> {
        self.change(Method::PATCH, &["monitors", name], order).await
    }

    pub async fn remove(&self, name: &str) -> Result<EditedShape, ClientError> {
        let path = ["monitors", name];
        self.ask(Method::DELETE, &path, &[], Vec::new(), self.limits.change)
            .await
    }

    /// Comes back when what was asked for is durable.
    pub async fn wish(&self, wish: &WishShape) -> Result<DoneShape, ClientError> {
        self.change(Method::POST, &["wishes"], wish).await
    }

    pub async fn reload(&self) -> Result<ReloadShape, ClientError> {
        self.ask(Method::POST, &["reload"], &[], Vec::new(), self.limits.change)
            .await
    }

    /// Has the daemon begin anew on the backup in `from`, an absolute path; gives what it says of it.
    pub async fn restore(&self, from: &Path) -> Result<String, ClientError> {
        let from = from.to_string_lossy().into_owned();
        let body = written(&RestoreShape { from })?;
        let path = target(&["restore"], &[]);
        let reply = Reply::to(self, Method::POST, &path, body, self.limits.restore).await?;
        let text = reply.granted().await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub async fn report(&self, query: &ReportQuery) -> Result<ReportShape, ClientError> {
        let pairs = query.pairs();
        self.ask(Method::GET, &["report"], &pairs, Vec::new(), self.limits.past)
            .await
    }

    pub async fn history(&self, query: &HistoryQuery) -> Result<HistoryShape, ClientError> {
        let pairs = query.pairs();
        self.ask(Method::GET, &["history"], &pairs, Vec::new(), self.limits.past)
            .await
    }

    /// The last `count` results of each of these series.
    pub async fn tails(&self, series: &[String], count: usize) -> Result<TailsShape, ClientError> {
        let series = series.to_vec();
        let query = TailsQuery { series, count };
        self.get(&["tails"], &query.pairs()).await
    }

    pub async fn notifiers(&self) -> Result<NotifiersShape, ClientError> {
        self.get(&["notifiers"], &[]).await
    }

    /// Sends a message by this notifier; comes back when it is delivered, or why not.
    pub async fn test_notifier(&self, name: &str) -> Result<DoneShape, ClientError> {
        let path = ["notifiers", name, "test"];
        self.ask(Method::POST, &path, &[], Vec::new(), self.limits.change)
            .await
    }

    /// Events from now on, of the monitors and series with these names; of all when there is none.
    pub async fn events(&self, names: &[String]) -> Result<Lines<EventShape>, ClientError> {
        self.follow("events", names).await
    }

    /// Results from now on, of the monitors and series with these names; of all when there is none.
    pub async fn results(&self, names: &[String]) -> Result<Lines<ResultShape>, ClientError> {
        self.follow("results", names).await
    }

    /// Checks these monitors and series at once: results as they come.
    pub async fn check(&self, names: &[String]) -> Result<Lines<CheckedShape>, ClientError> {
        let names = names.to_vec();
        let body = written(&CheckOrder { names })?;
        let path = target(&["checks"], &[]);
        let reply = Reply::to(self, Method::POST, &path, body, self.limits.change).await?;
        reply.lines().await
    }

    async fn follow<T: DeserializeOwned>(
        &self,
        what: &str,
        names: &[String],
    ) -> Result<Lines<T>, ClientError> {
        let monitors = names.to_vec();
        let path = target(&[what], &StreamQuery { monitors }.pairs());
        let reply = Reply::to(self, Method::GET, &path, Vec::new(), self.limits.glance).await?;
        reply.lines().await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        pairs: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.ask(Method::GET, path, pairs, Vec::new(), self.limits.glance)
            .await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = written(body)?;
        self.ask(method, path, &[], body, self.limits.change).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        pairs: &[(&str, String)],
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let reply = Reply::to(self, method, &target(path, pairs), body, patience).await?;
        let answer = reply.granted().await?;
        serde_json::from_slice(&answer).map_err(|why| ClientError::OtherVersion { why: why.to_string() })
    }
}

fn written(body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(body).map_err(|error| ClientError::Broken {
        what: "cannot be asked",
        why: error.to_string(),
    })
}

/// The path of a request and its query, whatever its parts hold.
fn target(path: &[&str], pairs: &[(&str, String)]) -> String {
    let mut target = "/api/v1".to_owned();
    for part in path {
        written_to(write!(target, "/{}", utf8_percent_encode(part, ESCAPED)));
    }
    for (at, (key, value)) in pairs.iter().enumerate() {
        let mark = if at == 0 { '?' } else { '&' };
        let value = utf8_percent_encode(value, ESCAPED);
        written_to(write!(target, "{mark}{key}={value}"));
    }
    target
}

/// Writing to a string cannot fail.
fn written_to(_: std::fmt::Result) {}

#[cfg(test)]
mod tests;
