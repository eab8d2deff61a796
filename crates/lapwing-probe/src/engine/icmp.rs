//! The ICMP engine: takes rounds of echo requests from any task, and one thread of its own sends and receives them.
//!
//! Invariant: whatever waits on the sockets is read before any deadline is judged, and answers are timed by the
//! kernel's receive stamp. A stall of this process therefore never becomes a loss of the target.

use std::{
    hash::RandomState,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lapwing_core::{
    monitor::Source,
    observation::Fault,
    time::{Clock, Mono},
};
use lapwing_wire::icmp::{Complaint, Version};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use super::{
    icmp_arrivals::Arrival,
    icmp_rounds::{Job, Rounds},
    icmp_sockets::Sockets,
};

/// Rounds that may wait for the engine's thread; who comes later waits, until its deadline.
const QUEUE: usize = 4096;
/// Rounds begun between two looks at the sockets. More would let answers pile up in the kernel.
const BATCH: usize = 16;

/// How packets leave. Rounds with equal paths share a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path {
    /// Time to live or hop limit of the requests; the system's default when None.
    pub ttl: Option<u8>,
    /// Set "don't fragment" and ignore what the kernel knows about the path's MTU.
    pub df: bool,
    pub source: Source,
}

/// A round: one or more echo requests to one address.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The port is ignored; an IPv6 scope is used.
    pub to: SocketAddr,
    /// Requests to send, at least one.
    pub packets: u16,
    /// From one request to the next.
    pub spacing: Duration,
    /// Ends at the first answer, and sends on only while there is none; otherwise all are sent and counted.
    pub until_answered: bool,
    /// Bytes after the ICMP header, at least eight.
    pub payload: usize,
    pub path: Path,
    /// When the caller asked, and when the round ends; answers that the kernel received later are late.
    pub asked: Mono,
    pub deadline: Mono,
    /// Takes what arrives after the round has ended.
    pub tally: Arc<Tally>,
}

/// What arrived for rounds that had ended, to be told by the next one. Shared by all rounds of a probe.
#[derive(Debug, Default)]
pub struct Tally {
    late: AtomicU32,
    duplicates: AtomicU32,
}

impl Tally {
    /// Answers that came after their deadline, since the last call.
    pub fn take_late(&self) -> u32 {
        self.late.swap(0, Ordering::Relaxed)
    }

    /// Answers to requests that had been answered, since the last call.
    pub fn take_duplicates(&self) -> u32 {
        self.duplicates.swap(0, Ordering::Relaxed)
    }

    pub(super) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which request it answers, from 0.
    pub number: u16,
    /// From just before the send to the kernel's receive stamp.
    pub rtt: Duration,
}

/// An ICMP error about a request of the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub version: Version,
    pub complaint: Complaint,
    /// Who reported it.
    pub from: IpAddr,
}

/// What became of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Requests that are judged: sent, and given their time.
    pub sent: u32,
    /// Those of them without an answer in time.
    pub lost: u32,
    /// In the order of arrival.
    pub answers: Vec<Answer>,
    /// Further answers to the same request.
    pub duplicates: u32,
    /// Time to live or hop limit that the last answer arrived with.
    pub ttl: Option<u8>,
    pub refusal: Option<Refusal>,
}

/// The handle of the engine. Its thread starts with the first round and ends when the handle is dropped.
pub struct IcmpEngine {
    clock: Arc<dyn Clock>,
    running: Mutex<Option<Running>>,
}

struct Running {
    jobs: mpsc::Sender<Job>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// Brings the thread out of its sleep.
struct Wake {
    event: EventFd,
    /// The thread sleeps or is about to; whoever clears this writes the event.
    sleeping: AtomicBool,
    stop: AtomicBool,
}

impl Wake {
    fn call(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // It fails only when the counter is full, and then the thread is awake.
            let _ = self.event.write(1);
        }
    }
}

impl IcmpEngine {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            clock: Arc::clone(clock),
            running: Mutex::new(None),
        }
    }

    /// Runs one round and gives what became of it, at `ask.deadline` at the latest. Errors are ours alone: what the
    /// target or the way to it does stands in the [`Round`].
    pub async fn ping(&self, ask: Ask) -> Result<Round, Fault> {
        let (jobs, wake) = self.start()?;
        let (reply, answer) = oneshot::channel();
        let left = ask.deadline.since(self.clock.mono());
        let job = Job { ask, reply };
        let busy = "this process was too busy to send the request in time";
        match tokio::time::timeout(left, jobs.send(job)).await {
            Ok(Ok(())) => wake.call(),
            Ok(Err(_)) => return Err(stopped()),
            Err(_) => return Err(Fault::ours("ours.overload", busy)),
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    fn start(&self) -> Result<(mpsc::Sender<Job>, Arc<Wake>), Fault> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            return Ok((running.jobs.clone(), Arc::clone(&running.wake)));
        }
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let event = event.map_err(|e| lapwing_net::fault_of(&e.into(), lapwing_net::Moment::Call))?;
        let wake = Arc::new(Wake {
            event,
            sleeping: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (clock, woken) = (Arc::clone(&self.clock), Arc::clone(&wake));
        let thread = std::thread::Builder::new()
            .name("icmp".to_owned())
            .spawn(move || run(&clock, queue, &woken));
        let thread = thread.map_err(|e| Fault::ours("ours.other", format!("no thread for ICMP: {e}")))?;
        *running = Some(Running {
            jobs: jobs.clone(),
            wake: Arc::clone(&wake),
            thread: Some(thread),
        });
        Ok((jobs, wake))
    }
}

impl Drop for IcmpEngine {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut running) = running.take() {
            running.wake.stop.store(true, Ordering::SeqCst);
            let _ = running.wake.event.write(1);
            if let Some(thread) = running.thread.take() {
                drop(thread.join());
            }
        }
    }
}

fn stopped() -> Fault {
    Fault::ours("ours.panic", "the ICMP engine has ended; please report this")
}

/// The thread: look at the sockets, then judge deadlines, then begin new rounds; sleep when there is nothing to do.
fn run(clock: &Arc<dyn Clock>, mut queue: mpsc::Receiver<Job>, wake: &Wake) {
    let mut rounds = Rounds::new(Sockets::default(), Arc::clone(clock), RandomState::new());
    let mut arrivals: Vec<Arrival> = Vec::new();
    while !wake.stop.load(Ordering::SeqCst) {
        // First the announcement, then the look: a job queued after the look finds the announcement.
        wake.sleeping.store(queue.is_empty(), Ordering::SeqCst);
        let patience = if queue.is_empty() {
            rounds.until_next(clock.mono())
        } else {
            Some(Duration::ZERO)
        };
        let woken = rounds.wire.wait(&wake.event, patience);
        wake.sleeping.store(false, Ordering::SeqCst);
        if woken {
            let _ = wake.event.read();
        }
        // Whatever is due by now has its answer, if any, in the sockets already.
        let due = clock.mono();
        rounds.wire.drain(&mut arrivals);
        let read = clock.now();
        for arrival in arrivals.drain(..) {
            rounds.arrived(&arrival, read);
        }
        rounds.advance(due);
        for _ in 0..BATCH {
            let Ok(job) = queue.try_recv() else { break };
            rounds.begin(job);
        }
    }
}

#[cfg(test)]
mod tests;
