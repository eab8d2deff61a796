//! What the daemon is asked to do, and how it refuses. Served on the local socket alone: whoever may open it may steer.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, State, connect_info::Connected, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use lapwing_api::{
    queries::StreamQuery,
    shapes::RestoreShape,
    steering::{DoneShape, ErrorShape, ReloadShape, WishShape},
};
use tokio::net::UnixListener;

use crate::{
    Source,
    monitors::{Asked, read, sent, short},
    plain,
};

/// Who is at the other end of a connection to the local socket.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self {
            uid: stream.io().peer_cred().ok().map(|peer| peer.uid()),
        }
    }
}

impl Peer {
    /// Of the user whose process it is.
    pub fn uid(self) -> Option<u32> {
        self.uid
    }
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What is asked for makes no sense.
    Bad,
    /// Nothing has that name.
    Unknown,
    /// It does not fit how things are.
    Conflict,
    /// The configuration has mistakes.
    Unfit,
    /// Too many do the same.
    Crowded,
    /// The daemon is stopping, or cannot store anything.
    Unable,
}

/// A refusal, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: Why,
    pub text: String,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self {
            why,
            text: text.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub fn stopping() -> Self {
        Self::new(Why::Unable, "the daemon is stopping")
    }
}

impl From<ErrorShape> for Refusal {
    /// What was asked cannot be read.
    fn from(error: ErrorShape) -> Self {
        let ErrorShape { error: text, hint } = error;
        Self {
            why: Why::Bad,
            text,
            hint,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.why {
            Why::Bad => StatusCode::BAD_REQUEST,
            Why::Unknown => StatusCode::NOT_FOUND,
            Why::Conflict => StatusCode::CONFLICT,
            Why::Unfit => StatusCode::UNPROCESSABLE_ENTITY,
            Why::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Why::Unable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = ErrorShape {
            error: self.text,
            hint: self.hint,
        };
        (status, [(header::CACHE_CONTROL, "no-store")], Json(error)).into_response()
    }
}

pub(crate) fn routes() -> Router<Arc<dyn Source>> {
    Router::new()
        .route("/api/v1/wishes", post(wish))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/events", get(events))
        .route("/api/v1/restore", post(restore))
}

async fn wish(
    State(source): State<Arc<dyn Source>>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    wish: Result<Json<WishShape>, JsonRejection>,
) -> Result<Json<DoneShape>, Refusal> {
    let uid = peer.and_then(|Extension(ConnectInfo(peer))| peer.uid());
    let example = r#"{"wish":"pause","names":["web"],"until":"2026-11-20T18:00:00Z"}"#;
    let wish = sent(wish, example)?;
    short(&wish.names)?;
    source.wish(wish, uid).await.map(Json)
}

async fn reload(State(source): State<Arc<dyn Source>>) -> Result<Json<ReloadShape>, Refusal> {
    source.reload().await.map(Json)
}

async fn events(State(source): State<Arc<dyn Source>>, asked: Asked) -> Result<Response, Refusal> {
    let query = read(asked, StreamQuery::from_pairs)?;
    source.events(query.monitors).await.map(stream)
}

async fn restore(
    State(source): State<Arc<dyn Source>>,
    order: Result<Json<RestoreShape>, JsonRejection>,
) -> Result<Response, Refusal> {
    let order = sent(order, r#"{"from":"/var/backups/lapwing.tar"}"#)?;
    let done = source.restore(order.from.into()).await;
    done.map(|done| plain(StatusCode::OK, done))
        .map_err(|why| Refusal::new(Why::Conflict, why))
}

/// An answer that comes line by line.
pub(crate) fn stream<B>(lines: B) -> Response
where
    B: HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::new(lines)).into_response()
}

#[cfg(test)]
pub(crate) mod tests;
