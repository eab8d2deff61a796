//! Events as they happen, for whoever follows them: a line of JSON each.
//!
//! Whoever announces must never wait: a follower that reads too slowly is let go, and told so in its last line.

use std::{
    collections::HashSet,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame};
use lapwing_api::{shapes::EventShape, steering::ErrorShape};
use lapwing_core::event::Event;
use tokio::sync::mpsc;

/// Events that wait for one follower. A hundred thousand targets may change their state at once.
const WAITING: usize = 131_072;
const FOLLOWERS: usize = 64;
/// Events in one piece of the answer.
const PIECE: usize = 64;

/// Hands every event to all who follow.
#[derive(Debug)]
pub struct Broadcast {
    /// None once it is closed.
    followers: Mutex<Option<Vec<Place>>>,
    waiting: usize,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self {
            followers: Mutex::new(Some(Vec::new())),
            waiting: WAITING,
        }
    }
}

#[derive(Debug)]
struct Place {
    events: mpsc::Sender<Arc<Event>>,
    names: HashSet<String>,
    slow: Arc<AtomicBool>,
}

/// Why nobody else can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    Full,
    Closed,
}

/// One who follows: the body of an answer that ends when there is nothing more to come.
#[derive(Debug)]
pub struct Follower {
    events: mpsc::Receiver<Arc<Event>>,
    slow: Arc<AtomicBool>,
}

impl Broadcast {
    /// Hands on an event. Never waits.
    pub fn announce(&self, event: &Arc<Event>) {
        if let Some(places) = &mut *self.places() {
            places.retain(|place| place.take(event));
        }
    }

    /// From now on, events of the monitors and series with these names, and those about this monitor itself; all events
    /// when there is no name.
    pub fn follow(&self, names: Vec<String>) -> Result<Follower, NoPlace> {
        let mut places = self.places();
        let places = places.as_mut().ok_or(NoPlace::Closed)?;
        places.retain(|place| !place.events.is_closed());
        if places.len() >= FOLLOWERS {
            return Err(NoPlace::Full);
        }
        let (sender, events) = mpsc::channel(self.waiting);
        let slow = Arc::<AtomicBool>::default();
        places.push(Place {
            events: sender,
            names: names.into_iter().collect(),
            slow: Arc::clone(&slow),
        });
        Ok(Follower { events, slow })
    }

    /// Nothing more comes: everybody who follows reads to the end.
    pub fn close(&self) {
        *self.places() = None;
    }

    fn places(&self) -> MutexGuard<'_, Option<Vec<Place>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// False when it no longer follows.
    fn take(&self, event: &Arc<Event>) -> bool {
        if !self.wants(event) {
            return true;
        }
        match self.events.try_send(Arc::clone(event)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.slow.store(true, Ordering::Release);
                false
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let named = |name: &String| self.names.contains(name);
        match &event.series {
            Some(series) => self.names.is_empty() || named(&series.monitor.name) || named(&series.name),
            None => true,
        }
    }
}

impl Body for Follower {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut events = Vec::with_capacity(PIECE);
        let lines = if ready!(self.events.poll_recv_many(cx, &mut events, PIECE)) > 0 {
            let shapes = events.iter().map(|event| EventShape::from(&**event));
            shapes
                .filter_map(|shape| serde_json::to_string(&shape).ok())
                .fold(String::new(), |all, line| all + &line + "\n")
        } else if self.slow.swap(false, Ordering::AcqRel) {
            too_slow()
        } else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::data(lines.into()))))
    }
}

/// Lines of JSON that somebody else sends as they come to be: the body of an answer that ends when the sender is gone.
#[derive(Debug)]
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    /// Where to send lines, without their ends, and the body that they go out by. At most `waiting` wait to be read.
    pub fn pair(waiting: usize) -> (mpsc::Sender<String>, Self) {
        let (sender, lines) = mpsc::channel(waiting);
        (sender, Self(lines))
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut lines = Vec::with_capacity(PIECE);
        if ready!(self.0.poll_recv_many(cx, &mut lines, PIECE)) == 0 {
            return Poll::Ready(None);
        }
        let piece = lines
            .into_iter()
            .fold(String::new(), |all, line| all + &line + "\n");
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

fn too_slow() -> String {
    let error = ErrorShape {
        error: "these events were read too slowly: what happened after the line above is left out".to_owned(),
        hint: Some("follow again, and read faster or name the monitors that matter".to_owned()),
    };
    serde_json::to_string(&error).map_or_else(|_| String::new(), |line| line + "\n")
}

#[cfg(test)]
pub(crate) mod tests;
