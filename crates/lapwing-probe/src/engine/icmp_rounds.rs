//! The bookkeeping of the ICMP engine: which request is out, to whom, and what an arrival means for its round.
//!
//! Invariant: a reply counts only with the address, the sequence number and the 64-bit cookie of a request that waits
//! for it, and only once. No system call is made here but through [`Wire`].

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lapwing_core::{
    observation::Fault,
    time::{Clock, Mono, Now, Wall},
};
use lapwing_wire::icmp::{Echo, Version};
use tokio::sync::oneshot;

use super::{
    icmp::{Answer, Ask, Path, Refusal, Round, Tally},
    icmp_arrivals::{Arrival, Arrived},
};

/// Requests that wait for an answer, of all rounds.
const LIVE_MAX: usize = 1 << 20;
/// Requests of ended rounds that are still known, so that a late answer is told apart from a stranger's.
const KNOWN_MAX: usize = 1 << 17;
/// How long they are known.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// Until a packet is tried again for which the kernel had no buffer.
const BUFFER_PAUSE: Duration = Duration::from_millis(2);

/// The sockets, as the rounds see them.
pub(super) trait Wire {
    /// A socket for packets of `version` on `path`, held until it is released.
    fn open(&mut self, version: Version, path: &Path) -> Result<usize, Fault>;
    fn release(&mut self, socket: usize);
    /// Sends one request with this sequence number and cookie.
    fn send(
        &mut self,
        socket: usize,
        to: SocketAddr,
        mark: (u16, u64),
        payload: usize,
    ) -> Result<(), SendError>;
    /// Packets that the kernel dropped so far because we did not read them in time.
    fn dropped(&self) -> u64;
}

/// Why a request did not leave.
pub(super) enum SendError {
    /// For want of a buffer: worth another try.
    Busy(Fault),
    Ours(Fault),
}

/// A round on its way to the engine.
pub(super) struct Job {
    pub ask: Ask,
    pub reply: oneshot::Sender<Result<Round, Fault>>,
}

pub(super) struct Rounds<W> {
    pub wire: W,
    clock: Arc<dyn Clock>,
    cookies: RandomState,
    sent: u64,
    live: Vec<Option<Live>>,
    free_live: Vec<u32>,
    requests: Vec<Request>,
    free_requests: VecDeque<u32>,
    /// When a round wants attention next. Entries of ended rounds are skipped by their serial number.
    timers: BinaryHeap<Reverse<(Mono, u32, u64)>>,
    known: VecDeque<(Mono, u32)>,
    serial: u64,
}

struct Live {
    serial: u64,
    ask: Ask,
    to: IpAddr,
    reply: oneshot::Sender<Result<Round, Fault>>,
    socket: usize,
    /// When the next request is due; None when all have been sent, or those that still can.
    next: Option<Mono>,
    /// After this a request would not get its time.
    last_send: Mono,
    first_sent: Option<Mono>,
    /// Slots of the requests, by number.
    slots: Vec<u32>,
    /// Requests sent and neither answered nor refused.
    waiting: u32,
    found: Round,
    /// An error that quotes too little to end the round: it only explains a silence.
    hint: Option<Refusal>,
    refused: Option<Fault>,
    dropped: u64,
}

#[derive(Clone)]
struct Request {
    state: State,
    to: IpAddr,
    cookie: u64,
    sent: Mono,
    round: u32,
    number: u16,
    tally: Option<Arc<Tally>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Of a running round.
    Waiting,
    Answered,
    /// Of an ended round.
    Lost,
    Done,
    /// Of an ended round that did not need it: its answer is neither late nor lost.
    Unjudged,
}

impl<W: Wire> Rounds<W> {
    pub(super) fn new(wire: W, clock: Arc<dyn Clock>, cookies: RandomState) -> Self {
        Self {
            wire,
            clock,
            cookies,
            sent: 0,
            live: Vec::new(),
            free_live: Vec::new(),
            requests: Vec::new(),
            free_requests: VecDeque::new(),
            timers: BinaryHeap::new(),
            known: VecDeque::new(),
            serial: 0,
        }
    }

    /// How long nothing has to be done; None while there is no round.
    pub(super) fn until_next(&self, now: Mono) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, _, _))| due.since(now))
    }

    /// Begins a round and sends its first request.
    pub(super) fn begin(&mut self, job: Job) {
        let Job { ask, reply } = job;
        let to = ask.to.ip();
        let version = if to.is_ipv4() { Version::V4 } else { Version::V6 };
        let full = self.requests.len() >= LIVE_MAX && self.free_requests.is_empty();
        let socket = if full {
            Err(Fault::ours(
                "ours.overload",
                format!("more than {LIVE_MAX} echo requests wait for their answer"),
            ))
        } else {
            self.wire.open(version, &ask.path)
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(fault) => {
                drop(reply.send(Err(fault))); // the caller may have gone
                return;
            }
        };
        let now = self.clock.mono();
        let planned = now + ask.spacing * u32::from(ask.packets.saturating_sub(1));
        self.serial += 1;
        let live = Live {
            serial: self.serial,
            to,
            reply,
            socket,
            next: Some(now),
            last_send: planned + ask.deadline.since(planned) / 2,
            first_sent: None,
            slots: Vec::new(),
            waiting: 0,
            found: Round::default(),
            hint: None,
            refused: None,
            dropped: self.wire.dropped(),
            ask,
        };
        let index = self.free_live.pop().unwrap_or_else(|| {
            self.live.push(None);
            (self.live.len() - 1) as u32
        });
        self.live[index as usize] = Some(live);
        self.attend(index, now);
    }

    /// Sends what is due and ends what is over at `due`. Everything that arrived until then must have been read.
    pub(super) fn advance(&mut self, due: Mono) {
        while let Some(Reverse((at, index, serial))) = self.timers.peek().copied() {
            if at > due {
                break;
            }
            self.timers.pop();
            let current = self.live.get(index as usize).and_then(Option::as_ref);
            if current.is_some_and(|live| live.serial == serial) {
                self.attend(index, due);
            }
        }
        while let Some((until, slot)) = self.known.front().copied() {
            if until > due && self.known.len() <= KNOWN_MAX {
                break;
            }
            self.known.pop_front();
            self.forget(slot);
        }
    }

    /// Takes an arrival. `read` is when it was read, on both clocks.
    pub(super) fn arrived(&mut self, arrival: &Arrival, read: Now) {
        match &arrival.what {
            Arrived::Reply(echo) => {
                if let Some(slot) = self.find(arrival.from, echo) {
                    self.answered(slot, arrival, read);
                }
            }
            Arrived::Report {
                version,
                complaint,
                destination,
                quoted,
            } => {
                let refusal = Refusal {
                    version: *version,
                    complaint: *complaint,
                    from: arrival.from,
                };
                match quoted.cookie {
                    Some(_) => {
                        if let Some(slot) = self.find(*destination, quoted) {
                            self.refused(slot, refusal);
                        }
                    }
                    None => self.hinted(*destination, quoted.seq, refusal),
                }
            }
        }
    }

    /// The request of this address, sequence number and cookie.
    fn find(&self, address: IpAddr, echo: &Echo) -> Option<u32> {
        let cookie = echo.cookie?;
        self.candidates(address, echo.seq)
            .find(|slot| self.requests[*slot as usize].cookie == cookie)
    }

    /// Requests to `address` with this sequence number: a slot's number modulo 2^16 is its sequence number.
    fn candidates(&self, address: IpAddr, seq: u16) -> impl Iterator<Item = u32> + '_ {
        (usize::from(seq)..self.requests.len())
            .step_by(1 << 16)
            .map(|slot| slot as u32)
            .filter(move |slot| {
                let request = &self.requests[*slot as usize];
                request.state != State::Free && request.to == address
            })
    }

    fn answered(&mut self, slot: u32, arrival: &Arrival, read: Now) {
        let request = &mut self.requests[slot as usize];
        let index = request.round;
        match request.state {
            State::Waiting | State::Answered => {}
            State::Lost => {
                request.state = State::Done;
                return request.tally.iter().for_each(|tally| tally.late());
            }
            State::Done => return request.tally.iter().for_each(|tally| tally.duplicate()),
            State::Unjudged | State::Free => return,
        }
        let Some(live) = self.live[index as usize].as_mut() else {
            return;
        };
        if request.state == State::Answered {
            live.found.duplicates += 1;
            return;
        }
        request.state = State::Answered;
        let at = received_at(arrival.at, read, request.sent);
        if at > live.ask.deadline {
            live.ask.tally.late();
            return;
        }
        live.waiting -= 1;
        live.found.answers.push(Answer {
            number: request.number,
            rtt: at.since(request.sent),
        });
        live.found.ttl = arrival.ttl.or(live.found.ttl);
        if live.ask.until_answered || live.is_complete() {
            self.finish(index);
        }
    }

    fn refused(&mut self, slot: u32, refusal: Refusal) {
        let request = &mut self.requests[slot as usize];
        if request.state != State::Waiting {
            return;
        }
        let index = request.round;
        let Some(live) = self.live[index as usize].as_mut() else {
            return;
        };
        request.state = State::Answered;
        live.waiting -= 1;
        live.found.refusal = Some(refusal);
        if live.ask.until_answered || live.is_complete() {
            self.finish(index);
        }
    }

    /// A quote of eight bytes is too easy to forge to end a round.
    fn hinted(&mut self, address: IpAddr, seq: u16, refusal: Refusal) {
        let waiting = self
            .candidates(address, seq)
            .find(|s| self.requests[*s as usize].state == State::Waiting);
        let index = waiting.map(|slot| self.requests[slot as usize].round);
        if let Some(live) = index.and_then(|i| self.live[i as usize].as_mut()) {
            live.hint = Some(refusal);
        }
    }

    /// Ends the round, or sends its next request, and sets its next timer.
    fn attend(&mut self, index: u32, now: Mono) {
        let Some(live) = self.live[index as usize].as_ref() else {
            return;
        };
        if now >= live.ask.deadline || live.reply.is_closed() {
            return self.finish(index);
        }
        if live.next.is_some_and(|due| due <= now) && !self.send_next(index) {
            return self.finish(index);
        }
        let Some(live) = self.live[index as usize].as_ref() else {
            return;
        };
        let due = live
            .next
            .map_or(live.ask.deadline, |next| next.min(live.ask.deadline));
        self.timers.push(Reverse((due, index, live.serial)));
    }

    /// Sends the next request of the round. False when nothing more can come of the round.
    fn send_next(&mut self, index: u32) -> bool {
        let slot = self.free_requests.pop_front().unwrap_or_else(|| {
            self.requests.push(Request::free());
            (self.requests.len() - 1) as u32
        });
        self.sent += 1;
        let cookie = self.cookies.hash_one(self.sent);
        let Some(live) = self.live[index as usize].as_mut() else {
            return false;
        };
        let now = self.clock.mono();
        let number = live.slots.len() as u16;
        match self
            .wire
            .send(live.socket, live.ask.to, (slot as u16, cookie), live.ask.payload)
        {
            Ok(()) => {
                let state = State::Waiting;
                self.requests[slot as usize] = Request {
                    state,
                    to: live.to,
                    cookie,
                    sent: now,
                    round: index,
                    number,
                    tally: None,
                };
                live.slots.push(slot);
                live.waiting += 1;
                live.first_sent.get_or_insert(now);
                live.plan_after(now);
                true
            }
            Err(error) => {
                self.free_requests.push_front(slot);
                let (fault, again) = match error {
                    SendError::Busy(fault) => (fault, Some(now + BUFFER_PAUSE)),
                    SendError::Ours(fault) => (fault, None),
                };
                live.refused = Some(fault);
                live.next = again.filter(|at| *at <= live.last_send);
                live.next.is_some() || live.waiting > 0
            }
        }
    }

    /// Ends the round: tells its caller, and keeps its requests known for a while.
    fn finish(&mut self, index: u32) {
        let Some(live) = self.live[index as usize].take() else {
            return;
        };
        self.free_live.push(index);
        self.wire.release(live.socket);
        let until = self.clock.mono() + KNOWN_FOR;
        let enough = live.judged_up_to();
        for slot in &live.slots {
            let request = &mut self.requests[*slot as usize];
            request.state = match request.state {
                State::Waiting if request.number >= enough => State::Unjudged,
                State::Waiting => State::Lost,
                _ => State::Done,
            };
            request.tally = Some(Arc::clone(&live.ask.tally));
            self.known.push_back((until, *slot));
        }
        let dropped = self.wire.dropped() != live.dropped;
        let (reply, verdict) = live.verdict(dropped);
        drop(reply.send(verdict)); // the caller may have gone
    }

    fn forget(&mut self, slot: u32) {
        self.requests[slot as usize] = Request::free();
        self.free_requests.push_back(slot);
    }
}

impl Live {
    /// True when every request has been sent and has its answer or refusal.
    fn is_complete(&self) -> bool {
        self.waiting == 0 && self.next.is_none()
    }

    /// Requests from this number on were sent beside the answer that ended the round.
    fn judged_up_to(&self) -> u16 {
        match self.found.answers.first() {
            Some(answer) if self.ask.until_answered => answer.number + 1,
            _ => u16::MAX,
        }
    }

    fn plan_after(&mut self, now: Mono) {
        let due = self.next.unwrap_or(now) + self.ask.spacing;
        // After a stall the missed ones follow each other at half the spacing, not in one burst.
        let due = if due < now {
            now + self.ask.spacing / 2
        } else {
            due
        };
        let more = self.slots.len() < usize::from(self.ask.packets) && due <= self.last_send;
        self.next = more.then_some(due);
    }

    /// The verdict for the caller. `dropped`: the kernel threw away packets meanwhile, maybe answers of this round.
    fn verdict(mut self, dropped: bool) -> (oneshot::Sender<Result<Round, Fault>>, Result<Round, Fault>) {
        let busy = |text| Err(Fault::ours("ours.overload", text));
        let sent = self.slots.len() as u32;
        let answered = self.found.answers.len() as u32;
        let silent = answered == 0 && self.found.refusal.is_none();
        let half = self.ask.asked + self.ask.deadline.since(self.ask.asked) / 2;
        let verdict = if sent == 0 {
            self.refused.take().map_or_else(
                || busy("this process was too busy to send the request in time"),
                Err,
            )
        } else if silent && dropped {
            busy("the kernel dropped packets that this process was too busy to read, maybe the answer")
        } else if silent && self.first_sent.is_some_and(|at| at > half) {
            busy("this process was too busy to send the request in time")
        } else {
            self.found.sent = if self.ask.until_answered {
                sent.min(u32::from(self.judged_up_to()))
            } else {
                sent
            };
            if dropped && !self.ask.until_answered {
                self.found.sent -= self.waiting;
            }
            let of_those = if self.ask.until_answered {
                answered.min(1)
            } else {
                answered
            };
            self.found.lost = self.found.sent.saturating_sub(of_those);
            self.found.refusal = self.found.refusal.or(self.hint);
            Ok(self.found)
        };
        (self.reply, verdict)
    }
}

impl Request {
    fn free() -> Self {
        Self {
            state: State::Free,
            to: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            cookie: 0,
            sent: Mono(0),
            round: 0,
            number: 0,
            tally: None,
        }
    }
}

/// When the kernel received a packet, on the monotonic clock: its age by the wall clock, taken off the moment of
/// reading. A step of the wall clock in between cannot move it before the send or after the reading.
fn received_at(stamp: Option<Wall>, read: Now, sent: Mono) -> Mono {
    let Some(stamp) = stamp else { return read.mono };
    let age = read.wall.micros_since(stamp);
    if age < 0 {
        return read.mono;
    }
    Mono(read.mono.0.saturating_sub(age as u64))
        .max(sent)
        .min(read.mono)
}

#[cfg(test)]
mod tests;
