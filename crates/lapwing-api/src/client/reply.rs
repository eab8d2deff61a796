//! One request and the answer to it. It must hold no more of an answer than the limits of its client.

use std::{fmt::Display, future::Future, io::ErrorKind, path::Path, time::Duration};

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

use super::{Client, ClientError, Limits, Lines};

/// An answer of which the head has come.
pub(super) struct Reply {
    head: Response<Incoming>,
    line: Line,
    limits: Limits,
    patience: Duration,
}

/// The connection by which an answer comes; it ends with this value.
pub(super) type Line = JoinSet<hyper::Result<()>>;

impl Reply {
    /// Sends a request and waits until an answer to it begins, at most for `patience`.
    pub(super) async fn to(
        client: &Client,
        method: Method,
        target: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let (head, line) = in_time(patience, send(&client.socket, method, target, body)).await??;
        Ok(Self {
            head,
            line,
            limits: client.limits,
            patience,
        })
    }

    pub(super) fn is_success(&self) -> bool {
        self.head.status().is_success()
    }

    /// The whole answer, where it is no refusal.
    pub(super) async fn granted(self) -> Result<Bytes, ClientError> {
        if self.is_success() {
            self.whole().await
        } else {
            Err(self.refused().await)
        }
    }

    /// The lines that come, where it is no refusal.
    pub(super) async fn lines<T: DeserializeOwned>(self) -> Result<Lines<T>, ClientError> {
        if self.is_success() {
            let status = self.head.status().as_u16();
            Ok(Lines::new(
                self.head.into_body(),
                self.line,
                status,
                self.limits.line,
            ))
        } else {
            Err(self.refused().await)
        }
    }

    async fn whole(self) -> Result<Bytes, ClientError> {
        let Self {
            head,
            line,
            limits,
            patience,
        } = self;
        let mut body = head.into_body();
        let mut held = Vec::new();
        while let Some(frame) = in_time(patience, body.frame()).await? {
            let frame = frame.map_err(|error| cut_short(&error))?;
            held.extend_from_slice(&frame.into_data().unwrap_or_default());
            if held.len() > limits.answer {
                let why = "it has no end".to_owned();
                return Err(ClientError::OtherVersion { why });
            }
        }
        drop(line);
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

async fn in_time<T>(patience: Duration, work: impl Future<Output = T>) -> Result<T, ClientError> {
    let done = timeout(patience, work).await;
    done.map_err(|_| ClientError::Broken {
        what: "does not answer",
        why: format!("nothing came within {}", short(patience)),
    })
}

async fn send(
    socket: &Path,
    method: Method,
    target: &str,
    body: Vec<u8>,
) -> Result<(Response<Incoming>, Line), ClientError> {
    let stream = connect(socket).await?;
    let silent = |error| broken("does not answer", &error);
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
            _ => ClientError::Broken {
                what: "cannot be reached",
                why: format!("{}: {error}", socket.display()),
            },
        })
}

pub(super) fn cut_short(error: &dyn Display) -> ClientError {
    broken("ended its answer early", error)
}

fn broken(what: &'static str, error: &dyn Display) -> ClientError {
    let why = error.to_string();
    ClientError::Broken { what, why }
}
