//! The local API and the status page: states as plain text and as JSON.
//!
//! Invariant: it reads snapshots and sends inputs; it never writes state. Nothing here may hold a secret.

mod pages;

use std::{future::Future, io, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use lapwing_api::shapes::{RestoreShape, StatusShape};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

/// Where the faces read from. The binary implements it over the engine.
pub trait Source: Send + Sync + 'static {
    /// Everything at a glance; None while the engine is stopping.
    fn status(&self) -> Pin<Box<dyn Future<Output = Option<StatusShape>> + Send + '_>>;

    /// Begins anew on the data of the backup in `from`; a sentence on what was done, or why not.
    fn restore(&self, from: PathBuf) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;

    /// True when the engine answers. Costs the same however much is watched.
    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
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
        .route("/api/v1/restore", post(restore))
        .with_state(Arc::clone(&source))
        .merge(router(source))
}

/// The routes for a TCP listener: answered only under the names of this machine, so that a page of another site cannot
/// read the states by letting its name point here (DNS rebinding).
pub fn tcp_router(source: Arc<dyn Source>) -> Router {
    router(source).layer(axum::middleware::from_fn(only_local_names))
}

async fn only_local_names(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    let local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    if local || name.is_empty() {
        return next.run(request).await;
    }
    plain(
        StatusCode::MISDIRECTED_REQUEST,
        "This page answers under localhost or an address only.\n".to_owned(),
    )
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
    axum::serve(listener, router)
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
        None => stopping(),
    }
}

/// Healthy when the engine answers: a watchdog or a load balancer asks here.
async fn health(State(source): State<Arc<dyn Source>>) -> Response {
    if source.alive().await {
        plain(StatusCode::OK, "ok\n".to_owned())
    } else {
        stopping()
    }
}

async fn restore(State(source): State<Arc<dyn Source>>, Json(order): Json<RestoreShape>) -> Response {
    match source.restore(order.from.into()).await {
        Ok(done) => plain(StatusCode::OK, done),
        Err(why) => plain(StatusCode::CONFLICT, why),
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
