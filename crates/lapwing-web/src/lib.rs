//! The local API and the status page: states as plain text and as JSON.
//!
//! Invariant: it reads snapshots and sends inputs; it never writes state. Nothing here may hold a secret.

mod monitors;
mod pages;
pub mod pings;
pub mod steering;
pub mod stream;

use std::{future::Future, io, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use lapwing_api::{
    monitors::{
        AddShape, EditShape, EditedShape, HistoryQuery, HistoryShape, MonitorDetails, MonitorPage,
        MonitorQuery, NamesShape, NotifiersShape, ReportQuery, SeriesPage, SeriesQuery, TailsShape,
    },
    report::ReportShape,
    shapes::StatusShape,
    steering::{DoneShape, ReloadShape, WishShape},
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

use self::{
    steering::{Peer, Refusal},
    stream::{Follower, Lines},
};

/// Longest body of a request, in bytes: the names of a hundred thousand monitors.
const MAX_BODY: usize = 8 << 20;

/// What a [`Source`] will say.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the faces read from, and whom they ask. The binary implements it over the engine.
pub trait Source: Send + Sync + 'static {
    /// Everything at a glance; None while the engine is stopping.
    fn status(&self) -> Answer<'_, Option<StatusShape>>;

    /// Begins anew on the data of the backup in `from`; a sentence on what was done, or why not.
    fn restore(&self, from: PathBuf) -> Answer<'_, Result<String, String>>;

    /// True when the engine answers. Costs the same however much is watched.
    fn alive(&self) -> Answer<'_, bool>;

    /// Does what the user with this id asks for; comes back when that is durable.
    fn wish(&self, wish: WishShape, uid: Option<u32>) -> Answer<'_, Result<DoneShape, Refusal>>;

    /// Reads the configuration again and applies it. One with mistakes changes nothing.
    fn reload(&self) -> Answer<'_, Result<ReloadShape, Refusal>>;

    /// Events from now on, of the monitors and series with these names; of all when there is none.
    fn events(&self, names: Vec<String>) -> Answer<'_, Result<Follower, Refusal>>;

    fn series(&self, query: SeriesQuery) -> Answer<'_, Result<SeriesPage, Refusal>>;

    fn monitors(&self, query: MonitorQuery) -> Answer<'_, Result<MonitorPage, Refusal>>;

    /// All about the monitor, or the one series, with this name.
    fn monitor(&self, name: String) -> Answer<'_, Result<MonitorDetails, Refusal>>;

    fn names(&self, prefix: String, limit: usize) -> Answer<'_, Result<NamesShape, Refusal>>;

    /// Adds a monitor; comes back when that is durable and it is watched.
    fn add(&self, order: AddShape, uid: Option<u32>) -> Answer<'_, Result<EditedShape, Refusal>>;

    /// Changes a monitor that was added.
    fn edit(
        &self,
        name: String,
        order: EditShape,
        uid: Option<u32>,
    ) -> Answer<'_, Result<EditedShape, Refusal>>;

    /// Removes a monitor that was added.
    fn remove(&self, name: String, uid: Option<u32>) -> Answer<'_, Result<EditedShape, Refusal>>;

    /// Checks these monitors and series at once: results as they come.
    fn check(&self, names: Vec<String>) -> Answer<'_, Result<Lines, Refusal>>;

    /// Results from now on, of the monitors and series with these names.
    fn results(&self, names: Vec<String>) -> Answer<'_, Result<Lines, Refusal>>;

    fn tails(&self, series: Vec<String>, count: usize) -> Answer<'_, Result<TailsShape, Refusal>>;

    fn history(&self, query: HistoryQuery) -> Answer<'_, Result<HistoryShape, Refusal>>;

    fn report(&self, query: ReportQuery) -> Answer<'_, Result<ReportShape, Refusal>>;

    fn notifiers(&self) -> Answer<'_, Result<NotifiersShape, Refusal>>;

    /// Sends a message by this notifier; comes back when it is delivered, or why not.
    fn test_notifier(&self, name: String) -> Answer<'_, Result<DoneShape, Refusal>>;
}

/// The routes, for every listener.
pub fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/", get(text))
        .route("/status.txt", get(text))
        .route("/status.json", get(json))
        .route("/api/v1/status", get(json))
        .route("/healthz", get(health))
        .fallback(unknown)
        .with_state(source)
}

/// The routes of the Unix socket: those of everybody, and the commands of whoever may open it.
pub fn local_router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .merge(steering::routes())
        .merge(monitors::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::map_response(kept_by_nobody))
        .with_state(Arc::clone(&source))
        .merge(router(source))
}

/// The routes for a TCP listener: answered only under the names of this machine, so that a page of another site cannot
/// read the states by letting its name point here (DNS rebinding).
pub fn tcp_router(source: Arc<dyn Source>) -> Router {
    router(source).layer(axum::middleware::from_fn(only_local_names))
}

async fn only_local_names(request: Request, next: Next) -> Response {
    // Without the header nobody was sent here by a name; one that cannot be read is no name of ours.
    let local = match request.headers().get(header::HOST) {
        Some(host) => host
            .to_str()
            .is_ok_and(|host| host.is_empty() || is_local_name(host)),
        None => true,
    };
    if local {
        return next.run(request).await;
    }
    plain(
        StatusCode::MISDIRECTED_REQUEST,
        "This page answers under localhost or an address only.\n".to_owned(),
    )
}

/// True for `localhost` and for every address, with a port or without: what a `Host` header holds (RFC 9110, section
/// 7.2) that no other site can let point here.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Serves `router` on a TCP listener until `stop` turns true. Requests under way are finished.
pub async fn serve_tcp(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stopped(stop))
        .await
}

/// As [`serve_tcp`], on a Unix socket.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(stopped(stop))
        .await
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn text(State(source): State<Arc<dyn Source>>) -> Response {
    match source.status().await {
        Some(status) => plain(StatusCode::OK, pages::text(&status)),
        None => stopping(),
    }
}

async fn json(State(source): State<Arc<dyn Source>>) -> Response {
    match source.status().await {
        Some(status) => ([(header::CACHE_CONTROL, "no-store")], Json(status)).into_response(),
        None => Refusal::stopping().into_response(),
    }
}

/// What is true now is not what is true later.
async fn kept_by_nobody(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Healthy when the engine answers: a watchdog or a load balancer asks here.
async fn health(State(source): State<Arc<dyn Source>>) -> Response {
    if source.alive().await {
        plain(StatusCode::OK, "ok\n".to_owned())
    } else {
        stopping()
    }
}

async fn unknown() -> Response {
    let text = "There is nothing here. Look at / (text) or /api/v1/status (JSON).\n";
    plain(StatusCode::NOT_FOUND, text.to_owned())
}

fn stopping() -> Response {
    plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
}

fn plain(code: StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (code, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::is_local_name;

    #[test]
    fn only_names_that_no_site_can_borrow_are_local() {
        for host in [
            "localhost",
            "LocalHost",
            "localhost:9900",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:9900",
            "192.168.1.5:80",
            "[::1]",
            "[::1]:9900",
            "[2001:db8::7]:80",
        ] {
            assert!(is_local_name(host), "{host}");
        }
        for host in [
            "",
            ":9900",
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:9900",
            "localhost:9900.evil.example",
            "localhost@evil.example",
            "127.1",
            "2130706433",
            "[::1].evil.example",
            "[::1",
            "[evil.example]",
        ] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
