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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixListener,
        thread,
    };

    use super::*;

    /// How `events` ends on a socket that answers like this.
    fn followed(answer: &'static str) -> Failure {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let ended = Events::open(folder.path(), &[]).and_then(|mut events| events.next().map(drop));
        peer.join().unwrap();
        ended.unwrap_err()
    }

    #[test]
    fn a_socket_of_something_else_is_wrong_use() {
        let failure = followed("220 mail ESMTP\r\n");
        assert_eq!(failure.code, exit::USAGE);
        let expected = format!("{SOCKET} is no Lapwing daemon (invalid HTTP version parsed)");
        assert!(failure.text.ends_with(&expected), "{failure:?}");
    }

    #[test]
    fn events_of_another_version_are_no_end() {
        let other = followed("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"v\":2}");
        assert!(other.text.contains("of another version"), "{other:?}");
        let ended = followed("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
        assert!(ended.text.ends_with("has stopped"), "{ended:?}");
        assert_eq!((other.code, ended.code), (exit::USAGE, exit::USAGE));
    }
}
