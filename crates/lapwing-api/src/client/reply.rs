//! One request and the answer to it. It must hold no more of an answer than the limits of its client.

use std::{fmt::Display, io::ErrorKind, path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use lapwing_core::{observation::clean, time::short};
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, task::JoinSet, time::timeout};

use super::{Bounds, Client, ClientError, Lines};

/// An answer of which the head has come.
pub(super) struct Reply {
    head: Response<Incoming>,
    line: Line,
    socket: Arc<Path>,
    bounds: Bounds,
    longest_line: usize,
}

/// The connection by which an answer comes; it ends with this value.
pub(super) type Line = JoinSet<hyper::Result<()>>;

/// Asks, and gives the whole answer, where it is no refusal.
pub(super) async fn granted(
    client: &Client,
    method: Method,
    target: &str,
    body: Vec<u8>,
    bounds: Bounds,
) -> Result<Bytes, ClientError> {
    let granted = async {
        let reply = Reply::to(client, method, target, body, bounds).await?;
        if reply.is_success() {
            reply.whole().await
        } else {
            Err(reply.refused().await)
        }
    };
    timeout(bounds.whole, granted)
        .await
        .unwrap_or_else(|_| Err(late(&client.socket, UNFINISHED, bounds.whole)))
}

impl Reply {
    /// Sends a request and waits until an answer to it begins.
    pub(super) async fn to(
        client: &Client,
        method: Method,
        target: &str,
        body: Vec<u8>,
        bounds: Bounds,
    ) -> Result<Self, ClientError> {
        let socket = Arc::clone(&client.socket);
        let (head, line) = timeout(bounds.silence, send(&socket, method, target, body))
            .await
            .map_err(|_| late(&socket, "no answer came", bounds.silence))??;
        Ok(Self {
            head,
            line,
            socket,
            bounds,
            longest_line: client.limits.line,
        })
    }

    pub(super) fn is_success(&self) -> bool {
        self.head.status().is_success()
    }

    /// The lines that come, where it is no refusal.
    pub(super) async fn lines<T: DeserializeOwned>(self) -> Result<Lines<T>, ClientError> {
        if self.is_success() {
            let status = self.head.status().as_u16();
            let body = self.head.into_body();
            return Ok(Lines::new(body, self.line, status, self.longest_line));
        }
        let (socket, whole) = (Arc::clone(&self.socket), self.bounds.whole);
        let refused = timeout(whole, self.refused()).await;
        Err(refused.unwrap_or_else(|_| late(&socket, UNFINISHED, whole)))
    }

    async fn whole(self) -> Result<Bytes, ClientError> {
        let Bounds { silence, bytes, .. } = self.bounds;
        let mut body = self.head.into_body();
        let mut held = Vec::new();
        while let Some(frame) = timeout(silence, body.frame())
            .await
            .map_err(|_| late(&self.socket, "nothing more came", silence))?
        {
            let frame = frame.map_err(|error| cut_short(&error))?;
            held.extend_from_slice(&frame.into_data().unwrap_or_default());
            if held.len() > bytes {
                let socket = self.socket.display();
                let why = format!("{socket}: more than {bytes} bytes came");
                return Err(broken("answers without end", &why));
            }
        }
        Ok(held.into())
    }

    async fn refused(self) -> ClientError {
        let status = self.head.status();
        let body = match self.whole().await {
            Ok(body) => body,
            Err(error) => return error,
        };
        if let Ok(error) = serde_json::from_slice(&body) {
            let status = status.as_u16();
            return ClientError::Refused { status, error };
        }
        let why = if [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status) {
            "it does not know what it is asked".to_owned()
        } else {
            format!("{status}: {}", clean(String::from_utf8_lossy(&body).trim(), 200))
        };
        ClientError::OtherVersion { why }
    }
}

const UNFINISHED: &str = "no whole answer came";

fn late(socket: &Path, what: &str, patience: Duration) -> ClientError {
    let (socket, patience) = (socket.display(), short(patience));
    broken("does not answer", &format!("{socket}: {what} within {patience}"))
}

async fn send(
    socket: &Path,
    method: Method,
    target: &str,
    body: Vec<u8>,
) -> Result<(Response<Incoming>, Line), ClientError> {
    let stream = connect(socket).await?;
    let silent = |error: hyper::Error| {
        if error.is_parse() {
            let (socket, why) = (socket.to_owned(), error.to_string());
            ClientError::Foreign { socket, why }
        } else {
            broken("does not answer", &format!("{}: {error}", socket.display()))
        }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(silent)?;
    let mut line = Line::new();
    line.spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "lapwing")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| broken("cannot be asked", &error))?;
    Ok((sender.send_request(request).await.map_err(silent)?, line))
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon {
                    socket: socket.to_owned(),
                }
            }
            ErrorKind::PermissionDenied => ClientError::Denied {
                socket: socket.to_owned(),
            },
            _ => broken("cannot be reached", &format!("{}: {error}", socket.display())),
        })
}

pub(super) fn cut_short(error: &dyn Display) -> ClientError {
    broken("ended its answer early", error)
}

fn broken(what: &'static str, error: &dyn Display) -> ClientError {
    let why = error.to_string();
    ClientError::Broken { what, why }
}
