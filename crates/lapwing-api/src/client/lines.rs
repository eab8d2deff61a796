//! Answers that come line by line, as things happen. It must hold no more than one line and one piece of the answer.

use std::{fmt::Display, marker::PhantomData};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::{
    ClientError,
    reply::{Line, cut_short},
};

/// A stream of shapes. The connection ends when it is dropped.
#[derive(Debug)]
pub struct Lines<T> {
    /// None once nothing more can come.
    body: Option<Incoming>,
    _connection: Line,
    status: u16,
    longest: usize,
    /// What has come; of it, what has been given and what holds no further end of a line.
    held: Vec<u8>,
    given: usize,
    searched: usize,
    shape: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(body: Incoming, connection: Line, status: u16, longest: usize) -> Self {
        Self {
            body: Some(body),
            _connection: connection,
            status,
            longest,
            held: Vec::new(),
            given: 0,
            searched: 0,
            shape: PhantomData,
        }
    }

    /// The next shape, when it comes; None when the daemon has ended the stream in good order. Nothing follows an
    /// error. Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Result<T, ClientError>> {
        Some(self.next_line().await?.map(|(shape, _)| shape))
    }

    /// As [`next`](Self::next), with the line as it came: it may hold more than this version knows.
    pub async fn next_line(&mut self) -> Option<Result<(T, String), ClientError>> {
        loop {
            if let Some(line) = self.line() {
                return Some(self.read(line));
            }
            if self.held.len() - self.given > self.longest {
                let why = "a line has no end".to_owned();
                return Some(Err(self.fail(ClientError::OtherVersion { why })));
            }
            match self.body.as_mut()?.frame().await {
                Some(Ok(frame)) => self.take(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Some(Err(self.cut(&error))),
                None if self.given < self.held.len() => {
                    return Some(Err(self.cut(&"its last line is not whole")));
                }
                None => {
                    self.body = None;
                    return None;
                }
            }
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.held.drain(..self.given);
        self.searched -= self.given;
        self.given = 0;
        self.held.extend_from_slice(piece);
    }

    /// The next whole line of what is held.
    fn line(&mut self) -> Option<String> {
        let rest = &self.held[self.searched..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.held.len();
            return None;
        };
        let end = self.searched + length;
        let line = String::from_utf8_lossy(&self.held[self.given..end]).into_owned();
        self.given = end + 1;
        self.searched = self.given;
        Some(line)
    }

    /// The stream ends within a line. What could never become one is of another version.
    fn cut(&mut self, why: &dyn Display) -> ClientError {
        let unreadable = serde_json::from_slice::<T>(&self.held[self.given..]).err();
        self.fail(match unreadable.filter(|error| !error.is_eof()) {
            Some(error) => ClientError::OtherVersion {
                why: error.to_string(),
            },
            None => cut_short(why),
        })
    }

    fn read(&mut self, line: String) -> Result<(T, String), ClientError> {
        let unreadable = match serde_json::from_str(&line) {
            Ok(shape) => return Ok((shape, line)),
            Err(unreadable) => unreadable.to_string(),
        };
        let status = self.status;
        Err(self.fail(match serde_json::from_str(&line) {
            Ok(error) => ClientError::Refused { status, error },
            Err(_) => ClientError::OtherVersion { why: unreadable },
        }))
    }

    fn fail(&mut self, error: ClientError) -> ClientError {
        self.body = None;
        self.held.clear();
        (self.given, self.searched) = (0, 0);
        error
    }
}
