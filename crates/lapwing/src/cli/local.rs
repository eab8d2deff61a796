//! The client of the running daemon, for commands that ask and wait: one question, or events as they come. It must
//! never decide what a refusal means: the daemon's words are shown as they are.

use std::path::{Path, PathBuf};

use lapwing_api::{
    client::{Client, ClientError, Lines},
    shapes::EventShape,
};
use tokio::runtime::Runtime;

use super::{Failure, exit};
use crate::listeners::SOCKET;

/// Asks the daemon on a data folder. There must be one, and it must not refuse.
pub fn ask<T>(
    folder: &Path,
    question: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
) -> Result<T, Failure> {
    Ok(runtime()?.block_on(question(&client(folder)))?)
}

/// As [`ask`]; None when no daemon runs.
pub fn ask_if_any<T>(
    folder: &Path,
    question: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
) -> Result<Option<T>, Failure> {
    match runtime()?.block_on(question(&client(folder))) {
        Err(ClientError::NoDaemon { .. }) => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

/// The client of the daemon on a data folder.
pub fn client(folder: &Path) -> Client {
    Client::new(folder.join(SOCKET))
}

/// Events that the daemon sends as they happen.
pub struct Events {
    runtime: Runtime,
    lines: Lines<EventShape>,
    folder: PathBuf,
}

impl Events {
    /// Begins to listen to the daemon on a data folder: to all events, or to those with one of `names`.
    pub fn open(folder: &Path, names: &[String]) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let lines = runtime.block_on(client(folder).events(names))?;
        Ok(Self {
            runtime,
            lines,
            folder: folder.to_owned(),
        })
    }

    /// The next event, when it comes, and its line as the daemon wrote it. The end of the daemon is a failure.
    pub fn next(&mut self) -> Result<(EventShape, String), Failure> {
        match self.runtime.block_on(self.lines.next_line()) {
            Some(Ok(event)) => Ok(event),
            None | Some(Err(ClientError::Broken { .. })) => {
                let folder = self.folder.display();
                Err(Failure::usage(format!("the daemon on {folder} has stopped")))
            }
            Some(Err(error)) => Err(error.into()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match error {
            ClientError::Broken { .. } => exit::INTERNAL,
            _ => exit::USAGE,
        };
        Self {
            code,
            text: error.to_string(),
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
