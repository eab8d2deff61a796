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

/// What is borne of one answer.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Until it begins, and between two pieces of it.
    silence: Duration,
    /// From the question to its end.
    whole: Duration,
    /// Longest answer in bytes.
    bytes: usize,
}

impl Bounds {
    const fn new(silence: Duration, whole: Duration) -> Self {
        Self {
            silence,
            whole,
            bytes: 64 << 20,
        }
    }

    /// For all there is about a million series.
    const fn huge(self) -> Self {
        Self {
            bytes: 1 << 30,
            ..self
        }
    }

    fn within(self, patience: Duration) -> Self {
        Self {
            silence: self.silence.min(patience),
            whole: self.whole.min(patience),
            ..self
        }
    }
}

/// What is borne of the answers to each sort of question.
#[derive(Clone, Copy, Debug)]
struct Limits {
    glance: Bounds,
    status: Bounds,
    /// Something is changed and written down first.
    change: Bounds,
    /// A million series are begun first.
    reload: Bounds,
    /// A message is delivered first, which may take 30 s.
    delivery: Bounds,
    /// Years are read first.
    history: Bounds,
    report: Bounds,
    /// All data is copied first.
    restore: Bounds,
    /// Longest line of a stream in bytes.
    line: usize,
}

const GLANCE: Bounds = Bounds::new(Duration::from_secs(10), Duration::from_secs(30));
const PAST: Bounds = Bounds::new(Duration::from_mins(10), Duration::from_hours(1));

const LIMITS: Limits = Limits {
    glance: GLANCE,
    status: GLANCE.huge(),
    change: Bounds::new(Duration::from_secs(30), Duration::from_secs(30)),
    reload: Bounds::new(Duration::from_mins(2), Duration::from_mins(2)),
    delivery: Bounds::new(Duration::from_mins(1), Duration::from_mins(1)),
    history: PAST,
    report: PAST.huge(),
    restore: Bounds::new(Duration::from_hours(24), Duration::from_hours(24)),
    line: 1 << 20,
};

impl Limits {
    fn each(self, change: impl Fn(Bounds) -> Bounds) -> Self {
        Self {
            glance: change(self.glance),
            status: change(self.status),
            change: change(self.change),
            reload: change(self.reload),
            delivery: change(self.delivery),
            history: change(self.history),
            report: change(self.report),
            restore: change(self.restore),
            line: self.line,
        }
    }
}

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
    /// Something else answers.
    #[error("what listens on {} is no Lapwing daemon ({why})", socket.display())]
    Foreign { socket: PathBuf, why: String },
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

    /// Waits no longer than this for any answer; a stream that has begun is waited for as ever.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        let limits = self.limits.each(|bounds| bounds.within(patience));
        Self { limits, ..self }
    }

    /// Everything at a glance.
    pub async fn status(&self) -> Result<StatusShape, ClientError> {
        self.read(&["status"], &[], self.limits.status).await
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
        let path = target(&["monitors", name], &[]);
        self.ask(Method::DELETE, &path, Vec::new(), self.limits.change)
            .await
    }

    /// Comes back when what was asked for is durable.
    pub async fn wish(&self, wish: &WishShape) -> Result<DoneShape, ClientError> {
        self.change(Method::POST, &["wishes"], wish).await
    }

    pub async fn reload(&self) -> Result<ReloadShape, ClientError> {
        let path = target(&["reload"], &[]);
        self.ask(Method::POST, &path, Vec::new(), self.limits.reload)
            .await
    }

    /// Has the daemon begin anew on the backup in `from`, an absolute path; gives what it says of it.
    pub async fn restore(&self, from: &Path) -> Result<String, ClientError> {
        let from = from.to_string_lossy().into_owned();
        let body = written(&RestoreShape { from })?;
        let path = target(&["restore"], &[]);
        let text = reply::granted(self, Method::POST, &path, body, self.limits.restore).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub async fn report(&self, query: &ReportQuery) -> Result<ReportShape, ClientError> {
        self.read(&["report"], &query.pairs(), self.limits.report).await
    }

    pub async fn history(&self, query: &HistoryQuery) -> Result<HistoryShape, ClientError> {
        self.read(&["history"], &query.pairs(), self.limits.history).await
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
        let path = target(&["notifiers", name, "test"], &[]);
        self.ask(Method::POST, &path, Vec::new(), self.limits.delivery)
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
        self.read(path, pairs, self.limits.glance).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
        pairs: &[(&str, String)],
        bounds: Bounds,
    ) -> Result<T, ClientError> {
        self.ask(Method::GET, &target(path, pairs), Vec::new(), bounds)
            .await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = written(body)?;
        self.ask(method, &target(path, &[]), body, self.limits.change)
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        bounds: Bounds,
    ) -> Result<T, ClientError> {
        let answer = reply::granted(self, method, target, body, bounds).await?;
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
