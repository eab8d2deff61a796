//! What the daemon is asked to do, and how it refuses. Served on the local socket alone: whoever may open it may steer.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{
        ConnectInfo, Query, State,
        connect_info::Connected,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use lapwing_api::steering::{ErrorShape, WishShape};
use tokio::net::UnixListener;

use crate::Source;

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
}

async fn wish(
    State(source): State<Arc<dyn Source>>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    wish: Result<Json<WishShape>, JsonRejection>,
) -> Response {
    let uid = peer.and_then(|Extension(ConnectInfo(peer))| peer.uid);
    match wish {
        Ok(Json(wish)) => match source.wish(wish, uid).await {
            Ok(done) => Json(done).into_response(),
            Err(refusal) => refusal.into_response(),
        },
        Err(bad) => Refusal::new(Why::Bad, bad.body_text())
            .hint(r#"send JSON like {"wish":"pause","names":["web"],"until":"2026-11-20T18:00:00Z"}, with content-type application/json"#)
            .into_response(),
    }
}

async fn reload(State(source): State<Arc<dyn Source>>) -> Response {
    match source.reload().await {
        Ok(applied) => Json(applied).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

type Words = Vec<(String, String)>;

async fn events(
    State(source): State<Arc<dyn Source>>,
    query: Result<Query<Words>, QueryRejection>,
) -> Response {
    let words = match query {
        Ok(Query(words)) => words,
        Err(bad) => return Refusal::new(Why::Bad, bad.body_text()).into_response(),
    };
    if let Some((word, _)) = words.iter().find(|(word, _)| word != "monitor") {
        return Refusal::new(Why::Bad, format!("events cannot be chosen by \"{word}\""))
            .hint("write ?monitor=NAME, as often as there are names")
            .into_response();
    }
    let names = words.into_iter().map(|(_, name)| name).collect();
    match source.events(names).await {
        Ok(follower) => (
            [
                (header::CONTENT_TYPE, "application/x-ndjson"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            Body::new(follower),
        )
            .into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests;
