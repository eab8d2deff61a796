//! What the running daemon is asked over its Unix socket: one question, or a stream of lines.

use std::{
    fmt::Display,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use lapwing_api::steering::ErrorShape;
use tokio::{net::UnixStream, runtime::Runtime};

use super::{Failure, exit};
use crate::listeners::SOCKET;

/// Longest answer that is read: a status of a million series.
const MAX_ANSWER: usize = 1 << 30;
/// Longest line of a stream.
const MAX_LINE: usize = 1 << 20;

/// What the daemon said.
pub struct Answer {
    pub success: bool,
    pub body: Bytes,
}

/// Asks the daemon that listens on `socket`; None when none does.
pub fn ask(socket: &Path, method: &str, path: &str, body: Vec<u8>) -> Result<Option<Answer>, Failure> {
    runtime()?.block_on(async {
        let Some(stream) = connect(socket).await? else {
            return Ok(None);
        };
        let answer = send(stream, method, path, body).await?;
        let success = answer.status().is_success();
        let body = whole(answer).await?;
        Ok(Some(Answer { success, body }))
    })
}

/// Has the daemon on a data folder do something, and gives what it says of it. There must be one, and it must not refuse.
pub fn command(folder: &Path, path: &str, body: Vec<u8>) -> Result<Bytes, Failure> {
    runtime()?.block_on(async {
        let stream = connect(&folder.join(SOCKET)).await?;
        let stream = stream.ok_or_else(|| no_daemon(folder))?;
        granted(send(stream, "POST", path, body).await?).await
    })
}

/// Lines that the daemon sends as things happen.
pub struct Lines {
    runtime: Runtime,
    body: Incoming,
    /// What has come and is not given yet.
    held: Vec<u8>,
    folder: PathBuf,
}

impl Lines {
    /// Begins to listen to the daemon on a data folder.
    pub fn open(folder: &Path, path: &str) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let body = runtime.block_on(async {
            let stream = connect(&folder.join(SOCKET)).await?;
            let stream = stream.ok_or_else(|| no_daemon(folder))?;
            let answer = send(stream, "GET", path, Vec::new()).await?;
            if answer.status().is_success() {
                return Ok(answer.into_body());
            }
            Err(refused(answer).await)
        })?;
        Ok(Self {
            runtime,
            body,
            held: Vec::new(),
            folder: folder.to_owned(),
        })
    }

    /// The next line, when it comes. The end of the daemon is a failure.
    pub fn next(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.held.len() > MAX_LINE {
                return Err(other_version(&"a line has no end"));
            }
            match self.runtime.block_on(self.body.frame()) {
                Some(Ok(frame)) => self.held.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) | None => {
                    let folder = self.folder.display();
                    return Err(Failure::usage(format!("the daemon on {folder} has stopped")));
                }
            }
        }
    }
}

/// What to do where no daemon runs.
pub fn no_daemon(folder: &Path) -> Failure {
    Failure::usage(format!(
        "no daemon runs on {}: `lapwing run` starts one here, `lapwing service install` at every boot",
        folder.display()
    ))
}

/// An answer that this version cannot read.
pub fn other_version(why: &dyn Display) -> Failure {
    Failure::usage(format!(
        "the daemon is of another version than this program ({}), and its answer cannot be read ({why}): restart it",
        env!("CARGO_PKG_VERSION")
    ))
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// None when nobody listens on `socket`.
async fn connect(socket: &Path) -> Result<Option<UnixStream>, Failure> {
    match UnixStream::connect(socket).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => {
            let hint = "run this as the user who runs the daemon, or as root";
            Err(Failure::usage(format!(
                "{} cannot be reached: {error}; {hint}",
                socket.display()
            )))
        }
    }
}

async fn send(
    stream: UnixStream,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> Result<Response<Incoming>, Failure> {
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
    let answer = sender.send_request(request).await;
    answer.map_err(|e| broken("does not answer", &e))
}

fn broken(what: &str, error: &dyn Display) -> Failure {
    Failure {
        code: exit::INTERNAL,
        text: format!("the daemon {what}: {error}"),
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(|e| broken("ended its answer early", &e))?.to_bytes())
}

async fn granted(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    if answer.status().is_success() {
        whole(answer).await
    } else {
        Err(refused(answer).await)
    }
}

async fn refused(answer: Response<Incoming>) -> Failure {
    let status = answer.status();
    let body = match whole(answer).await {
        Ok(body) => body,
        Err(failure) => return failure,
    };
    match serde_json::from_slice(&body) {
        Ok(error) => refusal(error),
        Err(_) if [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status) => {
            other_version(&"it does not know what it is asked")
        }
        Err(_) => other_version(&format!(
            "{status}: {}",
            lapwing_core::observation::clean(String::from_utf8_lossy(&body).trim(), 200)
        )),
    }
}

/// What the daemon says when it will not.
pub fn refusal(error: ErrorShape) -> Failure {
    let ErrorShape { error, hint } = error;
    Failure::usage(match hint {
        Some(hint) if error.contains('\n') => format!("{error}\n{hint}"),
        Some(hint) => format!("{error}; {hint}"),
        None => error,
    })
}
