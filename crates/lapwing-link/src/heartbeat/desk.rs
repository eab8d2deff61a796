//! Judges one datagram: whose it is, whether it proves it, and whether it is new.
//!
//! Nothing a sender chose is kept, and no memory taken for it, before its proof is checked.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use lapwing_core::{
    heartbeat::{Account, Beat, Hindrance, Mark, Proof, Signal},
    monitor::MAX_ADOPTED,
    time::{Mono, Now},
};
use lapwing_wire::heartbeat::{self as wire, Answer, Kind, LEN, Plain, Reply, SensorId};

use super::{
    Ear, HeardBeat, Known, ReplyTicket, To,
    counters::Refusal,
    roster::Roster,
    socket::Datagram,
    window::{Arrival, Place, Window, arrival},
};
use crate::limit::{Bounded, Bucket, Limits, Rate};

/// Keyed beats of one sensor: twice what the shortest period of a monitor, 100 ms, needs.
const KEYED: Rate = Rate::of(20, 40);
/// Plain beats of sources that belong to no monitor and were not heard lately, all together.
const NEWCOMERS: Rate = Rate::of(20, 20);
/// How long a source without a monitor is no newcomer, when others need its place.
const LATELY: Duration = Duration::from_secs(86_400);
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
    sensors: HashMap<SensorId, Sequence>,
    strangers: Strangers,
    plain: Limits,
    replies: Limits,
}

/// The beats of one sensor.
struct Sequence {
    window: Window,
    rate: Bucket,
}

/// Sources that belong to no monitor. Which of them are adopted is not decided here: no more than a bounded number of
/// new ones gets as far as that.
struct Strangers {
    lately: Bounded<IpAddr, Mono>,
    newcomers: Bucket,
}

impl Strangers {
    fn new(adopted: Vec<IpAddr>, now: Mono) -> Self {
        let mut lately = Bounded::new(MAX_ADOPTED);
        for source in adopted {
            lately.get(source.to_canonical(), now, || now, |_| true);
        }
        Self {
            lately,
            newcomers: Bucket::default(),
        }
    }

    fn allow(&mut self, source: IpAddr, now: Mono) -> bool {
        if let Some(heard) = self.lately.known(&source) {
            *heard = now;
            return true;
        }
        let may = self.newcomers.take(now, NEWCOMERS);
        if may {
            let needed = |heard: &Mono| now.since(*heard) < LATELY;
            self.lately.get(source, now, || now, needed);
        }
        may
    }
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
    pub(super) fn new(known: Known, now: Mono) -> Self {
        Self {
            marks: known.marks,
            sensors: HashMap::new(),
            strangers: Strangers::new(known.adopted, now),
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
        let Sequence { window, rate } = self.sensors.entry(id).or_insert_with(|| {
            let stored = marks.remove(&sensor.series);
            Sequence {
                window: stored.map_or_else(Window::default, Window::resume),
                rate: Bucket::default(),
            }
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
            // By its arrival: what had to wait for us did not come all at once.
            Place::New(_) if !rate.take(arrival.mono, KEYED) => return Err(refused(Refusal::TooOften)),
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
            return Err(Refusal::UnknownSource);
        }
        let mut may = || series.is_some() || self.strangers.allow(source, now.mono);
        if !self.plain.allow(source, now.mono) || !may() {
            return Err(Refusal::Limited);
        }
        let heard = HeardBeat {
            to: series.map_or(To::Stranger(source), |series| To::Series(Arc::clone(series))),
            beat: plain(word, datagram, arrival(datagram.stamp, now)),
            reply: None,
        };
        if !ear.beat(heard) {
            return Err(Refusal::QueueFull);
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
