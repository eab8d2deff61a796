//! The daemon's ear: beats go into the engine's queue, and the word that they count goes back to whoever sent them.
//!
//! It must never wait for anybody on the listener's thread, and never tell a sender what is not durable.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapwing_core::{
    heartbeat::{Beat, Proof},
    lookout::{Input, SeriesView, Snapshot},
    time::{Clock, Mono, Wall},
};
use lapwing_link::{
    heartbeat::{Ear, HeardBeat, Known, Note, Replier, ReplyTicket, Rosters, To},
    limit::Limits,
};
use lapwing_web::pings::{Admission, Ping, Pings};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

use crate::{engine::Message, recorder::Vital};

/// Senders that wait for the word that their beat counts; beyond that the oldest one waits in vain.
const WAITING: usize = 65_536;
/// Who has waited for longer than this waits in vain: a sensor has sent another beat by now.
const PATIENCE: Duration = Duration::from_secs(10);
/// An HTTP ping that does not count within this time is refused.
const COUNT_WITHIN: Duration = Duration::from_secs(5);
/// Keys that one source may try in a second.
const GUESSES: u32 = 5;

/// Hands beats to the engine, and knows who waits for the word that one counts.
pub struct Reception {
    engine: mpsc::Sender<Message>,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// By ticket, and so by age.
    senders: BTreeMap<u64, (Mono, Sender)>,
}

/// Why nobody says that something counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// The daemon is stopping.
    Closed,
    /// It could not be made durable in time.
    Late,
}

/// Who is told that a beat counts.
enum Sender {
    Sensor(Replier, ReplyTicket),
    Request(oneshot::Sender<()>),
}

impl Reception {
    pub fn new(engine: mpsc::Sender<Message>, runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        Self {
            engine,
            runtime,
            clock,
            waiting: Mutex::default(),
        }
    }

    /// Tells the sender that its beat counts.
    pub fn heard(&self, ticket: u64) {
        let sender = self.waiting().senders.remove(&ticket);
        match sender {
            Some((_, Sender::Sensor(replier, reply))) => replier.acknowledge(reply),
            // A client that has gone is no fault.
            Some((_, Sender::Request(tell))) => drop(tell.send(())),
            None => {}
        }
    }

    /// Everything as it is behind all beats that were handed in before; None when the engine has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, snapshot) = oneshot::channel();
        self.engine.send(Message::Snapshot(reply)).await.ok()?;
        snapshot.await.ok()
    }

    /// Sends what `message` makes of a ticket, and waits until it is durable.
    pub async fn heed(&self, within: Duration, message: impl FnOnce(u64) -> Message) -> Result<(), Unheard> {
        let (tell, told) = oneshot::channel();
        let ticket = self.wait_for(Sender::Request(tell));
        let counted = async {
            let sent = self.engine.send(message(ticket)).await;
            sent.map_err(|_| Unheard::Closed)?;
            told.await.map_err(|_| {
                if self.engine.is_closed() {
                    Unheard::Closed
                } else {
                    // Let go while everything works: it has waited for too long.
                    Unheard::Late
                }
            })
        };
        let counted = timeout(within, counted).await;
        self.forget(ticket);
        counted.unwrap_or(Err(Unheard::Late))
    }

    /// From now on nothing counts: whoever waits is let go.
    pub fn close(&self) {
        self.waiting().senders.clear();
    }

    fn wait_for(&self, sender: Sender) -> u64 {
        let now = self.clock.mono();
        let mut waiting = self.waiting();
        let too_old = |(_, (since, _)): (&u64, &(Mono, Sender))| now.since(*since) > PATIENCE;
        while waiting.senders.len() >= WAITING || waiting.senders.first_key_value().is_some_and(too_old) {
            waiting.senders.pop_first();
        }
        waiting.last += 1;
        let ticket = waiting.last;
        waiting.senders.insert(ticket, (now, sender));
        ticket
    }

    fn forget(&self, ticket: u64) {
        self.waiting().senders.remove(&ticket);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody could be heard from `from` until now.
    pub fn deaf(&self, from: Wall) {
        let engine = self.engine.clone();
        // It must arrive, however full the queue is: when beats are lost it is.
        self.runtime.spawn(async move {
            drop(engine.send(Message::Input(Box::new(Input::Deaf { from }))).await);
        });
    }
}

/// The ear of one heartbeat listener.
pub struct SensorEar {
    reception: Arc<Reception>,
    replier: Replier,
    /// Dropped by a panic of the listener's thread, which would otherwise leave every sensor to be called down.
    _vital: Vital,
}

impl SensorEar {
    pub fn new(reception: Arc<Reception>, replier: Replier, vital: Vital) -> Self {
        Self {
            reception,
            replier,
            _vital: vital,
        }
    }
}

impl Ear for SensorEar {
    fn beat(&self, heard: HeardBeat) -> bool {
        let beat = Box::new(heard.beat);
        let sensor = |reply| Sender::Sensor(self.replier.clone(), reply);
        let ticket = heard.reply.map(|reply| self.reception.wait_for(sensor(reply)));
        let input = match heard.to {
            To::Series(series) => Input::Beat { series, beat, ticket },
            To::Stranger(source) => Input::Stranger { source, beat },
        };
        let taken = self
            .reception
            .engine
            .try_send(Message::Input(Box::new(input)))
            .is_ok();
        if let Some(ticket) = ticket.filter(|_| !taken) {
            self.reception.forget(ticket);
        }
        taken
    }

    fn deaf(&self, from: Wall) {
        self.reception.deaf(from);
    }

    fn note(&self, note: &Note) {
        warn!("{note}");
    }
}

/// Whose HTTP pings count.
pub struct PingDesk {
    reception: Arc<Reception>,
    rosters: Rosters,
    guard: Mutex<Guard>,
}

/// Makes guessing a key slow, without a way to keep out who has one.
struct Guard {
    /// Where the last ping of each series came from. That source may go on, and so may anybody with a key that was
    /// never used.
    known: HashMap<Arc<str>, IpAddr>,
    others: Limits,
}

impl fmt::Debug for PingDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PingDesk").finish_non_exhaustive()
    }
}

impl PingDesk {
    pub fn new(reception: Arc<Reception>, rosters: Rosters, known: HashMap<Arc<str>, IpAddr>) -> Self {
        let others = Limits::new(GUESSES, u32::MAX);
        Self {
            reception,
            rosters,
            guard: Mutex::new(Guard { known, others }),
        }
    }
}

impl Pings for PingDesk {
    fn admit(&self, key: &str, source: IpAddr) -> Admission {
        let found = self.rosters.get().by_url(key);
        let now = self.reception.clock.mono();
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let free = found
            .as_ref()
            .is_some_and(|series| guard.known.get(series).is_none_or(|known| *known == source));
        if !free && !guard.others.allow(source, now) {
            return Admission::Limited;
        }
        match found {
            Some(series) => {
                guard.known.insert(Arc::clone(&series), source);
                Admission::Known(series)
            }
            None => Admission::Unknown,
        }
    }

    fn ping(&self, ping: Ping) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let beat = Beat {
                at: self.reception.clock.now().wall,
                signal: ping.signal,
                proof: Proof::Url,
                source: Some(ping.source),
                uptime: None,
                running: None,
                account: None,
                mark: None,
                note: ping.note,
            };
            let input = |ticket| {
                Message::Input(Box::new(Input::Beat {
                    series: ping.series,
                    beat: Box::new(beat),
                    ticket: Some(ticket),
                }))
            };
            self.reception.heed(COUNT_WITHIN, input).await.is_ok()
        })
    }
}

/// What the listener of datagrams must know of earlier beats, so that none counts twice.
pub fn known(snapshot: &Snapshot) -> Known {
    let mark = |view: &SeriesView| Some((Arc::clone(&view.series.key), view.beats.as_ref()?.mark?));
    let adopted = |view: &SeriesView| {
        let host = &view.series.host;
        host.parse()
            .ok()
            .filter(|_| view.series.kind == "heartbeat" && view.series.monitor.name == *host)
    };
    Known {
        marks: snapshot.series.iter().filter_map(mark).collect(),
        adopted: snapshot.series.iter().filter_map(adopted).collect(),
    }
}

/// Where the newest HTTP ping of each series came from.
pub fn ping_sources(snapshot: &Snapshot) -> HashMap<Arc<str>, IpAddr> {
    let source = |view: &SeriesView| {
        let beats = view.beats.as_ref().filter(|b| b.proof == Proof::Url)?;
        Some((Arc::clone(&view.series.key), beats.source?))
    };
    snapshot.series.iter().filter_map(source).collect()
}

#[cfg(test)]
mod tests;
