//! One question to the running daemon, over its Unix socket.

use std::{io::ErrorKind, path::Path};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Failure, exit};

/// Longest answer that is read: a status of a million series.
const MAX_ANSWER: usize = 1 << 30;

/// What the daemon said.
pub struct Answer {
    pub success: bool,
    pub body: Bytes,
}

/// Asks the daemon that listens on `socket`; None when none does.
pub fn ask(socket: &Path, method: &str, path: &str, body: Vec<u8>) -> Result<Option<Answer>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => {
                let hint = "run this as the user who runs the daemon, or as root";
                return Err(Failure::usage(format!(
                    "{} cannot be reached: {error}; {hint}",
                    socket.display()
                )));
            }
        };
        exchange(stream, method, path, body).await.map(Some)
    })
}

async fn exchange(stream: UnixStream, method: &str, path: &str, body: Vec<u8>) -> Result<Answer, Failure> {
    let broken = |what: &str, error: &dyn std::fmt::Display| Failure {
        code: exit::INTERNAL,
        text: format!("the daemon {what}: {error}"),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken("does not answer", &e))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "lapwing")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| broken("cannot be asked", &e))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|e| broken("does not answer", &e))?;
    let success = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    Ok(Answer {
        success,
        body: body.map_err(|e| broken("ended its answer early", &e))?.to_bytes(),
    })
}
