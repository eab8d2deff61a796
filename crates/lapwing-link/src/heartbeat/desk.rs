//! Judges one datagram: whose it is, whether it proves it, and whether it is new.
//!
//! Nothing a sender chose is kept, and no memory taken for it, before its proof is checked.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use lapwing_core::{
    heartbeat::{Account, Beat, Hindrance, Mark, Proof, Signal},
    monitor::MAX_ADOPTED,
    time::Now,
};
use lapwing_wire::heartbeat::{self as wire, Answer, Kind, LEN, Plain, Reply, SensorId};

use super::{
    Ear, HeardBeat, Known, ReplyTicket, To,
    counters::Refusal,
    roster::Roster,
    socket::Datagram,
    window::{Arrival, Place, Window, arrival},
};
use crate::echo::Limits;

/// Plain beats each second, of one source (an IPv4 address or an IPv6 /64) and in all.
const PLAIN: (u32, u32) = (10, 10_000);
/// Replies each second to beats that do not count, to one source and in all.
const REPLIES: (u32, u32) = (10, 1_000);
/// No machine has been running for longer than a century.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What is remembered between datagrams.
pub(super) struct Desk {
    /// Marks of sensors that were not heard yet since the start.
    marks: HashMap<Arc<str>, Mark>,
    windows: HashMap<SensorId, Window>,
    adopted: HashSet<IpAddr>,
    plain: Limits,
    replies: Limits,
}

/// Why a datagram is no beat that counts, of which sensor it claims to be, and what its sender is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    pub(super) sensor: Option<SensorId>,
    pub(super) answer: Option<Box<[u8; LEN]>>,
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self {
            why,
            sensor: None,
            answer: None,
        }
    }
}

impl Desk {
    pub(super) fn new(known: Known) -> Self {
        let canonical = |source: IpAddr| source.to_canonical();
        Self {
            marks: known.marks,
            windows: HashMap::new(),
            adopted: known.adopted.into_iter().map(canonical).collect(),
            plain: Limits::new(PLAIN.0, PLAIN.1),
            replies: Limits::new(REPLIES.0, REPLIES.1),
        }
    }

    /// Hands a beat that counts to `ear`; true for a keyed one.
    pub(super) fn hear(
        &mut self,
        datagram: &Datagram<'_>,
        roster: &Roster,
        now: Now,
        ear: &dyn Ear,
    ) -> Result<bool, Refused> {
        if wire::is_marked(datagram.bytes) {
            return self.keyed(datagram, roster, now, ear).map(|()| true);
        }
        self.plain(datagram, roster, now, ear)
            .map(|()| false)
            .map_err(Refused::from)
    }

    fn keyed(
        &mut self,
        datagram: &Datagram<'_>,
        roster: &Roster,
        now: Now,
        ear: &dyn Ear,
    ) -> Result<(), Refused> {
        let bytes = datagram.bytes;
        if wire::is_other_version(bytes) {
            return Err(Refusal::OtherVersion.into());
        }
        let id = wire::peek(bytes).map_err(|_| Refusal::Malformed)?;
        let refused = |why| Refused {
            why,
            sensor: Some(id),
            answer: None,
        };
        if wire::is_reply(bytes) {
            return Err(refused(Refusal::Reflected));
        }
        let sensor = roster.sensor(&id).ok_or(refused(Refusal::UnknownId))?;
        let key = sensor.keys().find(|key| wire::verify(bytes, key));
        let key = key.ok_or(refused(Refusal::BadMac))?;
        let beat = wire::Beat::parse(bytes).map_err(|_| refused(Refusal::Malformed))?;

        let marks = &mut self.marks;
        let window = self.windows.entry(id).or_insert_with(|| {
            let stored = marks.remove(&sensor.series);
            stored.map_or_else(Window::default, Window::resume)
        });
        let arrival = arrival(datagram.stamp, now);
        let reply = |answer| {
            Reply {
                answer,
                boot: beat.boot,
                seq: beat.seq,
                instance: beat.instance,
                time: arrival.wall.0,
            }
            .write(&id, key)
        };
        let (why, answer) = match window.place(&beat, arrival) {
            Place::New(mark) => {
                let heard = HeardBeat {
                    to: To::Series(Arc::clone(&sensor.series)),
                    beat: keyed(&beat, mark, datagram, arrival),
                    reply: Some(ReplyTicket::new(reply(Answer::Heard), datagram.route)),
                };
                if !ear.beat(heard) {
                    return Err(refused(Refusal::QueueFull));
                }
                window.take(mark, &beat, arrival);
                return Ok(());
            }
            Place::Replayed => return Err(refused(Refusal::Replayed)),
            Place::Delayed(newest) => (Refusal::Delayed, Answer::Stale { newest }),
            Place::Stale(newest) => (Refusal::Stale, Answer::Stale { newest }),
            Place::Superseded => (Refusal::Superseded, Answer::Superseded),
        };
        let may_reply = self.replies.allow(datagram.from.ip(), now.mono);
        Err(Refused {
            answer: may_reply.then(|| Box::new(reply(answer))),
            ..refused(why)
        })
    }

    fn plain(
        &mut self,
        datagram: &Datagram<'_>,
        roster: &Roster,
        now: Now,
        ear: &dyn Ear,
    ) -> Result<(), Refusal> {
        let word = Plain::parse(datagram.bytes).ok_or(Refusal::Foreign)?;
        let source = datagram.from.ip();
        let series = roster.by_source(source);
        if series.is_none() && !roster.adopts() {
            self.adopted.clear();
            return Err(Refusal::UnknownSource);
        }
        let to = match series {
            Some(series) => To::Series(Arc::clone(series)),
            None if self.adopted.len() < MAX_ADOPTED || self.adopted.contains(&source) => {
                To::Stranger(source)
            }
            None => return Err(Refusal::AdoptedFull),
        };
        if !self.plain.allow(source, now.mono) {
            return Err(Refusal::Limited);
        }
        let stranger = series.is_none();
        let heard = HeardBeat {
            to,
            beat: plain(word, datagram, arrival(datagram.stamp, now)),
            reply: None,
        };
        if !ear.beat(heard) {
            return Err(Refusal::QueueFull);
        }
        if stranger {
            self.adopted.insert(source);
        }
        Ok(())
    }
}

fn keyed(beat: &wire::Beat, mark: Mark, datagram: &Datagram<'_>, arrival: Arrival) -> Beat {
    let length = |micros| Duration::from_micros(micros).min(LONGEST);
    let account = Account {
        silent: length(beat.silent_us),
        lost: beat.lost,
        hindrance: match beat.hindrance {
            1 => Hindrance::NoRoute,
            2 => Hindrance::NoName,
            _ => Hindrance::Unanswered,
        },
    };
    Beat {
        at: arrival.wall,
        signal: match beat.kind {
            Kind::Beat => Signal::Ping,
            Kind::Boot => Signal::Boot,
            Kind::Stop => Signal::Stop,
        },
        proof: Proof::Keyed,
        source: Some(datagram.from.ip()),
        uptime: Some(length(beat.uptime_us)),
        running: Some(length(beat.running_us)),
        account: (beat.silent_us > 0).then_some(account),
        mark: Some(mark),
        note: None,
    }
}

fn plain(word: Plain<'_>, datagram: &Datagram<'_>, arrival: Arrival) -> Beat {
    let (signal, text) = match word {
        Plain::Ping => (Signal::Ping, ""),
        Plain::Boot(text) => (Signal::Boot, text),
    };
    let uptime = wire::uptime(text).map(|uptime| uptime.min(LONGEST));
    Beat {
        at: arrival.wall,
        signal,
        proof: Proof::Plain,
        source: Some(datagram.from.ip()),
        uptime,
        running: None,
        account: None,
        mark: None,
        note: (uptime.is_none() && !text.is_empty()).then(|| text.into()),
    }
}
