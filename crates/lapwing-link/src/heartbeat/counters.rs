//! What the heartbeat listener did, and why it did not: counters by reason, and lines for the log at a bounded rate.

use std::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lapwing_core::time::Mono;
use lapwing_wire::heartbeat::SensorId;

/// Between two lines about the same reason.
const LINE_EVERY: Duration = Duration::from_mins(1);

/// Why a datagram is no beat that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Neither keyed nor plain.
    Foreign,
    /// Keyed, and broken or cut off.
    Malformed,
    /// Keyed, in a version that this program does not know.
    OtherVersion,
    /// A reply of a listener, sent to one.
    Reflected,
    /// Of a sensor that is not on the roster.
    UnknownId,
    /// Not signed with a key of its sensor.
    BadMac,
    /// Heard before, or older than what is remembered.
    Replayed,
    /// Held up on its way for longer than a minute and a half.
    Delayed,
    /// Of an older session than one heard before.
    Stale,
    /// Of a sensor whose id is used by a newer one.
    Superseded,
    /// Plain, from a source that belongs to no monitor.
    UnknownSource,
    /// Keyed and new, and too many of its sensor.
    TooOften,
    /// Plain, and too many of its source, of new sources, or in all.
    Limited,
    /// The queue behind the listener was full.
    QueueFull,
    /// Dropped by the system because the socket's buffer was full; never seen.
    KernelDropped,
}

impl Refusal {
    pub const ALL: [Self; 15] = [
        Self::Foreign,
        Self::Malformed,
        Self::OtherVersion,
        Self::Reflected,
        Self::UnknownId,
        Self::BadMac,
        Self::Replayed,
        Self::Delayed,
        Self::Stale,
        Self::Superseded,
        Self::UnknownSource,
        Self::TooOften,
        Self::Limited,
        Self::QueueFull,
        Self::KernelDropped,
    ];

    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Malformed => "malformed",
            Self::OtherVersion => "other_version",
            Self::Reflected => "reflected",
            Self::UnknownId => "unknown_id",
            Self::BadMac => "bad_mac",
            Self::Replayed => "replayed",
            Self::Delayed => "delayed",
            Self::Stale => "stale",
            Self::Superseded => "superseded",
            Self::UnknownSource => "unknown_source",
            Self::TooOften => "too_often",
            Self::Limited => "limited",
            Self::QueueFull => "queue_full",
            Self::KernelDropped => "kernel_dropped",
        }
    }

    /// For people, behind "heartbeat datagrams refused: ".
    fn text(self) -> &'static str {
        match self {
            Self::Foreign => "not heartbeats at all",
            Self::Malformed => "broken or cut off",
            Self::OtherVersion => "in a version of the format that this program does not know",
            Self::Reflected => "replies of a heartbeat listener, not beats",
            Self::UnknownId => "no monitor has this sensor and a key for it",
            Self::BadMac => "the key is wrong",
            Self::Replayed => "heard before, or very late",
            Self::Delayed => "held up on the way",
            Self::Stale => "of an older session than one heard before",
            Self::Superseded => "two sensors use the same id, this is the older one",
            Self::UnknownSource => "plain, from a source that no monitor names",
            Self::TooOften => "more than a sensor needs to send",
            Self::Limited => "plain, and too many",
            Self::QueueFull => "more beats than could be handled",
            Self::KernelDropped => "dropped by the system because the receive buffer was full",
        }
    }
}

/// What the listener did so far.
#[derive(Debug, Default)]
pub struct HeartbeatCounters {
    /// Datagrams that arrived. Each is a beat, a plain beat, or refused.
    received: AtomicU64,
    beats: AtomicU64,
    plain_beats: AtomicU64,
    replies: AtomicU64,
    /// Replies that the system did not send.
    reply_errors: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl HeartbeatCounters {
    /// Names and values, for metrics.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let refused = Refusal::ALL.map(|why| (why.name(), self.refused(why)));
        let done = [
            ("received", &self.received),
            ("beats", &self.beats),
            ("plain_beats", &self.plain_beats),
            ("replies", &self.replies),
            ("reply_errors", &self.reply_errors),
        ];
        let done = done.map(|(name, counter)| (name, counter.load(Ordering::Relaxed)));
        done.into_iter().chain(refused).collect()
    }

    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) {
        add(&self.received, 1);
    }

    pub(super) fn heard(&self, keyed: bool) {
        add(if keyed { &self.beats } else { &self.plain_beats }, 1);
    }

    pub(super) fn replied(&self, sent: bool) {
        add(if sent { &self.replies } else { &self.reply_errors }, 1);
    }

    pub(super) fn refuse(&self, why: Refusal, count: u64) {
        add(&self.refused[why as usize], count);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// A line for the log: what was refused, how often since the last such line, and who was the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub why: Refusal,
    pub count: u64,
    pub source: Option<SocketAddr>,
    /// The sensor that the datagram claims to be of.
    pub sensor: Option<SensorId>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str("heartbeat datagram refused")?,
            count => write!(f, "{count} heartbeat datagrams refused")?,
        }
        write!(f, ": {}", self.why.text())?;
        let the_last = if self.count == 1 { "" } else { "the last " };
        match (self.sensor, self.source) {
            (Some(sensor), Some(source)) => write!(f, "; {the_last}from {source}, sensor {sensor}"),
            (None, Some(source)) => write!(f, "; {the_last}from {source}"),
            (_, None) => Ok(()),
        }
    }
}

/// Gathers refusals into at most one line per reason and minute.
#[derive(Default)]
pub(super) struct Notebook {
    pages: [Page; Refusal::ALL.len()],
}

#[derive(Clone, Copy, Default)]
struct Page {
    pending: Option<Note>,
    /// When the next line may be written.
    next: Mono,
}

impl Notebook {
    /// Takes a refusal in; gives the line if one may be written now.
    pub(super) fn write(&mut self, note: Note, now: Mono) -> Option<Note> {
        let page = &mut self.pages[note.why as usize];
        let before = page.pending.map_or(0, |pending| pending.count);
        page.pending = Some(Note {
            count: before.saturating_add(note.count),
            ..note
        });
        page.turn(now)
    }

    /// A line that had to wait and may be written now.
    pub(super) fn due(&mut self, now: Mono) -> Option<Note> {
        self.pages.iter_mut().find_map(|page| page.turn(now))
    }

    /// When the next waiting line may be written.
    pub(super) fn next(&self) -> Option<Mono> {
        let waiting = self.pages.iter().filter(|page| page.pending.is_some());
        waiting.map(|page| page.next).min()
    }
}

impl Page {
    fn turn(&mut self, now: Mono) -> Option<Note> {
        if now < self.next {
            return None;
        }
        let note = self.pending.take()?;
        self.next = now + LINE_EVERY;
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(why: Refusal, count: u64) -> Note {
        Note {
            why,
            count,
            source: Some(SocketAddr::from(([10, 0, 0, count as u8], 5000))),
            sensor: None,
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono(86_400_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn counters_have_a_name_each() {
        let counters = HeartbeatCounters::default();
        counters.refuse(Refusal::KernelDropped, 7);
        counters.received();
        counters.heard(true);
        counters.heard(false);
        counters.replied(true);
        counters.replied(false);
        let all = counters.all();
        let names: std::collections::HashSet<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!((all.len(), names.len()), (20, 20));
        assert!(all[..5].iter().all(|(_, count)| *count == 1));
        assert_eq!(all[19], ("kernel_dropped", 7));
        for (i, why) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, i);
        }
    }

    #[test]
    fn one_line_a_minute_and_reason() {
        let mut book = Notebook::default();
        let bad = note(Refusal::BadMac, 1);
        assert_eq!(book.write(bad, at(0)), Some(bad), "the first at once");
        assert_eq!(book.next(), None);
        assert_eq!(book.write(note(Refusal::BadMac, 2), at(1)), None);
        assert_eq!(book.write(note(Refusal::BadMac, 3), at(59)), None);
        let other = note(Refusal::Replayed, 1);
        assert_eq!(book.write(other, at(59)), Some(other), "each reason for itself");
        assert_eq!((book.next(), book.due(at(59))), (Some(at(60)), None));
        let gathered = Note {
            count: 5,
            ..note(Refusal::BadMac, 3)
        };
        assert_eq!(book.due(at(60)), Some(gathered));
        assert_eq!((book.next(), book.due(at(60))), (None, None));
        assert_eq!(book.write(bad, at(119)), None);
        assert_eq!(
            book.write(bad, at(120)).map(|note| note.count),
            Some(2),
            "or by the next one"
        );
    }

    #[test]
    fn lines_are_for_people() {
        let mut note = note(Refusal::BadMac, 1);
        note.sensor = SensorId::parse("home").ok();
        assert_eq!(
            note.to_string(),
            "heartbeat datagram refused: the key is wrong; from 10.0.0.1:5000, sensor home"
        );
        note.count = 3;
        note.sensor = None;
        assert_eq!(
            note.to_string(),
            "3 heartbeat datagrams refused: the key is wrong; the last from 10.0.0.1:5000"
        );
        note.source = None;
        note.why = Refusal::KernelDropped;
        assert_eq!(
            note.to_string(),
            "3 heartbeat datagrams refused: dropped by the system because the receive buffer was full"
        );
    }
}
