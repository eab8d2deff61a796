//! The heartbeat listener of `[heartbeat] listen`: UDP datagrams in, beats that count out.
//!
//! It runs on a thread of its own, so that nothing else in the process makes it miss a datagram. It answers only what
//! carries a valid MAC, with as many bytes, and never allocates for a sender before that is checked.

mod counters;
mod deafness;
mod desk;
mod roster;
mod socket;
mod window;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lapwing_core::{
    heartbeat::{Beat, Mark},
    time::{Clock, Mono, Wall},
};
use lapwing_wire::heartbeat::LEN;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};

use self::{
    counters::Notebook,
    deafness::Deafness,
    desk::{Desk, Refused},
    socket::{Batch, Datagram, HeartbeatSocket, Route},
};
pub use self::{
    counters::{HeartbeatCounters, Note, Refusal},
    roster::{Roster, RosterError, Rosters},
    socket::RECEIVE_BUFFER,
};

/// A quiet socket is looked at so often. A buffer that was empty then has filled later: so far back, and no further, we
/// may have been deaf when the system says that it dropped something. Only a halt of ours makes it longer.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After an error of the socket that is not about one datagram.
const PAUSE: Duration = Duration::from_millis(100);

/// Who takes the beats. Called from the listener's thread: it must not wait.
pub trait Ear: Send {
    /// A beat whose proof and place in its sequence were checked. False when there is no room for it: it then counts
    /// as never received.
    fn beat(&self, heard: HeardBeat) -> bool;

    /// Beats were lost on our side between this moment and now.
    fn deaf(&self, from: Wall);

    /// A line for the log; at most one for each [`Refusal`] in a minute.
    fn note(&self, note: &Note);
}

/// A beat that counts once it is stored.
#[derive(Debug)]
pub struct HeardBeat {
    pub to: To,
    pub beat: Beat,
    /// To be given to [`Replier::acknowledge`] when the beat is durable. Plain beats are never answered.
    pub reply: Option<ReplyTicket>,
}

/// Where a beat goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Series(Arc<str>),
    /// A plain beat of a source that belongs to no monitor, where such are adopted.
    Stranger(IpAddr),
}

/// What earlier runs know of sensors and sources.
#[derive(Debug, Default)]
pub struct Known {
    /// The newest mark of each keyed series.
    pub marks: HashMap<Arc<str>, Mark>,
    pub adopted: Vec<IpAddr>,
}

/// The right to tell one sender that its beat counts.
#[derive(Debug)]
pub struct ReplyTicket(Box<([u8; LEN], Route)>);

impl ReplyTicket {
    fn new(reply: [u8; LEN], route: Route) -> Self {
        Self(Box::new((reply, route)))
    }
}

/// Sends replies from the listener's socket. Cheap to clone; works as long as it lives.
#[derive(Clone)]
pub struct Replier {
    socket: Arc<HeartbeatSocket>,
    counters: Arc<HeartbeatCounters>,
}

impl Replier {
    /// Tells the sender that its beat counts. Never waits; a reply that cannot be sent is counted.
    pub fn acknowledge(&self, ticket: ReplyTicket) {
        let ReplyTicket(reply) = ticket;
        self.send(&reply.0, &reply.1);
    }

    fn send(&self, reply: &[u8; LEN], route: &Route) {
        self.counters.replied(self.socket.send(reply, route).is_ok());
    }
}

/// The listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    #[error("the heartbeat listener cannot listen on UDP {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the heartbeat listener cannot start its thread: {0}")]
    Thread(#[source] io::Error),
}

/// A listener that has its address, and hears once it is [started](HeartbeatServer::start).
pub struct HeartbeatServer {
    replier: Replier,
}

impl HeartbeatServer {
    /// Port 0: any that is free.
    pub fn bind(listen: SocketAddr) -> Result<Self, HeartbeatError> {
        let socket = HeartbeatSocket::bind(listen).map_err(|source| HeartbeatError::Listen {
            address: listen,
            source,
        })?;
        let replier = Replier {
            socket: Arc::new(socket),
            counters: Arc::default(),
        };
        Ok(Self { replier })
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.replier.socket.address()
    }

    /// Bytes of received datagrams that may wait. Less than [`RECEIVE_BUFFER`] where the system allows no more:
    /// `net.core.rmem_max`.
    pub fn receive_buffer(&self) -> usize {
        self.replier.socket.receive_buffer()
    }

    pub fn counters(&self) -> Arc<HeartbeatCounters> {
        Arc::clone(&self.replier.counters)
    }

    pub fn replier(&self) -> Replier {
        self.replier.clone()
    }

    /// Hears from now on, on a thread of its own, until the listener that this gives is stopped or dropped.
    pub fn start(
        self,
        rosters: Rosters,
        known: Known,
        clock: Arc<dyn Clock>,
        ear: Box<dyn Ear>,
    ) -> Result<HeartbeatListener, HeartbeatError> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags).map_err(|errno| HeartbeatError::Thread(errno.into()))?;
        let stop = Arc::new(Stop {
            asked: AtomicBool::new(false),
            wake,
        });
        let now = clock.now();
        let listening = Listening {
            replier: self.replier,
            rosters,
            desk: Desk::new(known, now.mono),
            clock,
            ear,
            stop: Arc::clone(&stop),
            notebook: Notebook::default(),
            deafness: Deafness::new(),
            dropped: 0,
            last: now.wall,
            empty: now.wall,
        };
        let thread = std::thread::Builder::new()
            .name("heartbeats".to_owned())
            .spawn(move || listening.run())
            .map_err(HeartbeatError::Thread)?;
        Ok(HeartbeatListener {
            stop,
            thread: Some(thread),
        })
    }
}

/// A listener that hears. Dropping it stops it too.
pub struct HeartbeatListener {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

struct Stop {
    asked: AtomicBool,
    wake: EventFd,
}

impl HeartbeatListener {
    /// Ends the thread and waits for it: a few milliseconds at most. Tickets may still be acknowledged after that.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.asked.store(true, Ordering::Relaxed);
        // Only a counter at its limit refuses, and that one wakes as well.
        let _ = self.stop.wake.write(1);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported where it happened.
            drop(thread.join());
        }
    }
}

impl Drop for HeartbeatListener {
    fn drop(&mut self) {
        self.end();
    }
}

/// The state of the listener's thread.
struct Listening {
    replier: Replier,
    rosters: Rosters,
    desk: Desk,
    clock: Arc<dyn Clock>,
    ear: Box<dyn Ear>,
    stop: Arc<Stop>,
    notebook: Notebook,
    deafness: Deafness,
    /// Datagrams that the system dropped, as of the last one that arrived.
    dropped: u32,
    /// When the last datagram arrived.
    last: Wall,
    /// When no datagram was waiting.
    empty: Wall,
}

impl Listening {
    fn run(mut self) {
        let mut batch = Batch::new();
        while !self.stop.asked.load(Ordering::Relaxed) {
            match self.hear(&mut batch) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.empty = self.clock.now().wall;
                    self.wait(true);
                }
                Err(_) => self.wait(false),
            }
            self.tell_due();
        }
    }

    /// Takes one batch.
    fn hear(&mut self, batch: &mut Batch) -> Result<usize, Errno> {
        let socket = Arc::clone(&self.replier.socket);
        let roster = self.rosters.get();
        let mut now = None;
        batch.read(&socket, |datagram, dropped| {
            let now = *now.get_or_insert_with(|| self.clock.now());
            self.replier.counters.received();
            self.missed(dropped, now.mono);
            self.last = datagram.stamp.unwrap_or(now.wall).min(now.wall);
            match self.desk.hear(&datagram, &roster, now, &*self.ear) {
                Ok(keyed) => self.replier.counters.heard(keyed),
                Err(refused) => self.refuse(&refused, &datagram, now.mono),
            }
        })
    }

    /// Takes note of datagrams that the system dropped before the one at hand.
    fn missed(&mut self, dropped: u32, now: Mono) {
        let missed = dropped.wrapping_sub(self.dropped);
        if missed == 0 {
            return;
        }
        self.dropped = dropped;
        self.deafness.dropped(self.last.max(self.empty));
        let note = Note {
            why: Refusal::KernelDropped,
            count: u64::from(missed),
            source: None,
            sensor: None,
        };
        self.count(note, now);
    }

    fn refuse(&mut self, refused: &Refused, datagram: &Datagram<'_>, now: Mono) {
        if refused.why == Refusal::QueueFull {
            self.deafness.since(self.last);
        }
        if let Some(answer) = &refused.answer {
            self.replier.send(answer, &datagram.route);
        }
        let note = Note {
            why: refused.why,
            count: 1,
            source: Some(datagram.from),
            sensor: refused.sensor,
        };
        self.count(note, now);
    }

    fn count(&mut self, note: Note, now: Mono) {
        self.replier.counters.refuse(note.why, note.count);
        if let Some(note) = self.notebook.write(note, now) {
            self.ear.note(&note);
        }
    }

    /// Tells what had to wait and is due.
    fn tell_due(&mut self) {
        if self.deafness.next().is_none() && self.notebook.next().is_none() {
            return;
        }
        let now = self.clock.mono();
        if let Some(from) = self.deafness.due(now) {
            self.ear.deaf(from);
        }
        while let Some(note) = self.notebook.due(now) {
            self.ear.note(&note);
        }
    }

    /// Until a datagram arrives (if asked for), something is due, or the end.
    fn wait(&self, for_datagrams: bool) {
        let due = [self.deafness.next(), self.notebook.next()];
        let due = due.into_iter().flatten().min();
        let mut timeout = due.map_or(LOOK_EVERY, |at| {
            LOOK_EVERY.min(at.since(self.clock.mono()) + Duration::from_millis(1))
        });
        let readable = PollFlags::POLLIN;
        let mut watched = vec![PollFd::new(self.stop.wake.as_fd(), readable)];
        if for_datagrams {
            watched.push(PollFd::new(self.replier.socket.as_fd(), readable));
        } else {
            timeout = PAUSE;
        }
        // An interrupted wait is a short one.
        let _ = poll(
            &mut watched,
            PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX),
        );
    }
}

#[cfg(test)]
mod tests;
