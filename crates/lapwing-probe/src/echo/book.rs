//! The book of one run over UDP: every datagram that was sent, and what became of it.

use std::{collections::VecDeque, time::Duration};

use lapwing_core::{
    observation::Fault,
    time::{Mono, Now},
};
use lapwing_wire::echo::{Datagram, HEADER_LEN, Request, Stamp};

use super::{
    count::{Count, Directions},
    delay::{Baseline, Change, Delays, Way},
    times::{Jitter, Times},
};

/// An echo that comes later than this, or after so many more datagrams, is not known any more.
const KNOWN_FOR: Duration = Duration::from_mins(10);
const KNOWN: usize = 65_535;

/// A run: sequence numbers begin with 1.
#[derive(Debug)]
pub struct Book {
    cookie: u64,
    size: usize,
    /// The newest datagrams, oldest first; what is older is only counted.
    known: VecDeque<Sent>,
    sent: u64,
    /// Datagrams whose time was over; those that came later are not among them any more.
    lost: u64,
    /// All up to here were looked at by [`Book::overdue`].
    judged: u64,
    totals: Totals,
    /// Highest sequence number that is back.
    highest: u64,
    stamped: bool,
    count: Count,
    delays: Delays,
    /// What an echo must look like.
    expected: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Datagrams that are back, each counted once.
    pub back: u64,
    /// Of these: those that came when they had been taken for lost.
    pub late: u64,
    /// Of these: those that were overtaken by later ones (RFC 4737).
    pub reordered: u64,
    /// Echoes beyond the first of each datagram.
    pub duplicates: u64,
    /// Round trips.
    pub rtt: Times,
    pub jitter: Jitter,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Mono,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Lost,
    /// With what the server counted; 0 when it does not.
    Back(u32),
}

/// An echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub seq: u64,
    pub rtt: Duration,
    /// Not the first of this datagram: it counts nowhere else.
    pub duplicate: bool,
    pub reordered: bool,
    pub late: bool,
    /// Where the server stamps what it gets, and for the first echo alone.
    pub change: Option<Change>,
}

/// What came is no echo of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    Changed,
    Length { have: usize, sent: usize },
}

impl Mismatch {
    pub fn fault(self) -> Fault {
        let text = match self {
            Self::Changed => "what came back is not what was sent".to_owned(),
            Self::Length { have, sent } => {
                format!("{have} bytes came back that are no echo of the {sent} bytes sent")
            }
        };
        Fault::target("echo.mismatch", text)
    }
}

impl Book {
    /// `cookie`: chosen at random, nobody else knows it. `size`: bytes of each datagram, [`HEADER_LEN`] at least.
    pub fn new(cookie: u64, size: usize) -> Self {
        Self {
            cookie,
            size,
            known: VecDeque::new(),
            sent: 0,
            lost: 0,
            judged: 0,
            totals: Totals::default(),
            highest: 0,
            stamped: false,
            count: Count::new(),
            delays: Delays::default(),
            expected: vec![0; size],
        }
    }

    /// Compares delays with those of an earlier run to the same server.
    #[must_use]
    pub fn against(mut self, baseline: Baseline) -> Self {
        self.delays.baseline = baseline;
        self
    }

    /// What the delays of a later run may be compared with.
    pub fn baseline(&self) -> Baseline {
        self.delays.baseline
    }

    /// Writes the next datagram, to leave at `now`.
    pub fn write_next(&self, now: Mono, packet: &mut [u8]) {
        let written = self.request(self.sent + 1, now).write(packet);
        debug_assert!(written.is_ok(), "no datagram is shorter than its header");
    }

    /// The datagram that was written for `now` has left. Gives its sequence number.
    pub fn sent_at(&mut self, now: Mono) -> u64 {
        self.sent += 1;
        let state = State::Waiting;
        self.known.push_back(Sent { at: now, state });
        while let Some(oldest) = self.known.front() {
            let waiting = oldest.state == State::Waiting;
            if self.known.len() <= KNOWN && (waiting || now.since(oldest.at) < KNOWN_FOR) {
                break;
            }
            self.lost += u64::from(waiting);
            self.known.pop_front();
        }
        self.sent
    }

    /// Takes a datagram. Anything but an exact echo is a mismatch; None is one of a datagram that is not known any
    /// more.
    pub fn receive(&mut self, bytes: &[u8], now: Now) -> Result<Option<Arrival>, Mismatch> {
        let (request, stamp) = match Datagram::parse(bytes) {
            Ok(Datagram::Request(request)) => (request, None),
            Ok(Datagram::Reply(request, stamp)) => (request, Some(stamp)),
            Err(_) => return Err(self.mismatch(bytes)),
        };
        let seq = self.seq(request.seq).ok_or_else(|| self.mismatch(bytes))?;
        if request.cookie != self.cookie || bytes.len() != self.size {
            return Err(self.mismatch(bytes));
        }
        let Some(Sent { at, state }) = self.place(seq).map(|place| self.known[place]) else {
            return Ok(None);
        };
        let ours = self.request(seq, at);
        let written = ours.write(&mut self.expected).is_ok();
        let same_padding = bytes[HEADER_LEN..] == self.expected[HEADER_LEN..];
        if !written || request != ours || !same_padding {
            return Err(self.mismatch(bytes));
        }
        self.stamped |= stamp.is_some();
        let arrival = Arrival {
            seq,
            rtt: now.mono.since(at),
            duplicate: matches!(state, State::Back(_)),
            reordered: seq < self.highest,
            late: state == State::Lost,
            change: None,
        };
        let received = stamp.map_or(0, |stamp| stamp.received);
        if let State::Back(first) = state {
            self.totals.duplicates += 1;
            self.count.copy(seq, first, received);
            return Ok(Some(arrival));
        }
        let change = self.enter(&arrival, at, stamp, now.mono);
        Ok(Some(Arrival { change, ..arrival }))
    }

    /// Enters the first echo of a datagram.
    fn enter(&mut self, arrival: &Arrival, sent: Mono, stamp: Option<Stamp>, now: Mono) -> Option<Change> {
        let Arrival { seq, rtt, .. } = *arrival;
        self.totals.back += 1;
        self.totals.late += u64::from(arrival.late);
        self.lost -= u64::from(arrival.late);
        self.totals.reordered += u64::from(arrival.reordered);
        self.totals.rtt.add(rtt);
        self.totals.jitter.add(rtt.as_secs_f64());
        self.highest = self.highest.max(seq);
        if let Some(place) = self.place(seq) {
            self.known[place].state = State::Back(stamp.map_or(0, |stamp| stamp.received));
        }
        let stamp = stamp?;
        let (known, first) = (&self.known, self.first_known());
        self.count.echo(seq, stamp.received, sent, now, |after| {
            back_after(known, first, after) - u64::from(seq > after)
        });
        Some(self.delays.take(sent, stamp.at, now))
    }

    /// Takes for lost what was sent `patience` ago and more, and is not back. Gives their sequence numbers, each once.
    pub fn overdue(&mut self, now: Mono, patience: Duration) -> Vec<u64> {
        let mut found = Vec::new();
        self.judged = self.judged.max(self.first_known() - 1);
        while let Some(place) = self.place(self.judged + 1)
            && now.since(self.known[place].at) >= patience
        {
            self.judged += 1;
            if self.known[place].state == State::Waiting {
                self.known[place].state = State::Lost;
                self.lost += 1;
                found.push(self.judged);
            }
        }
        found
    }

    /// When [`Book::overdue`] will next have something to look at.
    pub fn next_overdue(&self, patience: Duration) -> Option<Mono> {
        let next = (self.judged + 1).max(self.first_known());
        let at = |seq| self.place(seq).map(|place| self.known[place].at + patience);
        at(next)
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Datagrams that are not back: lost or under way.
    pub fn unanswered(&self) -> u64 {
        self.sent - self.totals.back
    }

    /// Datagrams that [`Book::overdue`] took for lost and that have not come since.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// True when the server is Lapwing's, which stamps what it gets. None before the first echo.
    pub fn stamped(&self) -> Option<bool> {
        (self.totals.back > 0).then_some(self.stamped)
    }

    /// Datagrams that are not back, by the direction in which they were lost; those sent after the newest echo are in
    /// neither. None when the server does not count.
    pub fn directions(&self) -> Option<Directions> {
        let first = self.first_known();
        self.count.lost(|after| back_after(&self.known, first, after))
    }

    /// Delays on the way out and on the way back, and how often a clock was set meanwhile. None without a server that
    /// stamps.
    pub fn ways(&self) -> Option<(&Way, &Way, u64)> {
        self.stamped
            .then_some((&self.delays.out, &self.delays.back, self.delays.set))
    }

    fn request(&self, seq: u64, sent: Mono) -> Request {
        Request {
            cookie: self.cookie,
            // The whole number is found again by its distance from the newest one.
            seq: seq as u32,
            sent: sent.0,
        }
    }

    /// The whole sequence number of which a datagram carries the lower half.
    fn seq(&self, half: u32) -> Option<u64> {
        let behind = u64::from((self.sent as u32).wrapping_sub(half));
        self.sent.checked_sub(behind).filter(|seq| *seq > 0)
    }

    fn first_known(&self) -> u64 {
        self.sent + 1 - self.known.len() as u64
    }

    fn place(&self, seq: u64) -> Option<usize> {
        let place = seq.checked_sub(self.first_known())? as usize;
        (place < self.known.len()).then_some(place)
    }

    fn mismatch(&self, bytes: &[u8]) -> Mismatch {
        match bytes.len() {
            same if same == self.size => Mismatch::Changed,
            have => Mismatch::Length {
                have,
                sent: self.size,
            },
        }
    }
}

/// How many datagrams sent after `after` are back, of those known.
fn back_after(known: &VecDeque<Sent>, first_known: u64, after: u64) -> u64 {
    let from = (after + 1).saturating_sub(first_known) as usize;
    let later = known.range(from.min(known.len())..);
    later.filter(|sent| matches!(sent.state, State::Back(_))).count() as u64
}

#[cfg(test)]
mod tests;
