//! The rounds against a wire that only notes what is sent, and a clock that is moved by hand.

use std::sync::{Mutex, MutexGuard};

use lapwing_wire::icmp::Complaint;

use super::*;

const MS: Duration = Duration::from_millis(1);
const START: u64 = 1_000_000;
/// The wall clock runs this far beside the monotonic one.
const WALL: i64 = 1_700_000_000_000_000;

#[derive(Default)]
struct Hand(Mutex<u64>);

impl Hand {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap()
    }
}

impl Clock for Hand {
    fn now(&self) -> Now {
        let mono = *self.lock();
        Now {
            wall: Wall(mono as i64 + WALL),
            mono: Mono(mono),
        }
    }
}

#[derive(Default)]
struct Notes {
    /// Destination, sequence number, cookie.
    sent: Vec<(IpAddr, u16, u64)>,
    open: usize,
    dropped: u64,
    errors: VecDeque<SendError>,
}

impl Wire for Notes {
    fn open(&mut self, _: Version, path: &Path) -> Result<usize, Fault> {
        if path.ttl == Some(99) {
            return Err(Fault::ours("ours.permission", "no"));
        }
        self.open += 1;
        Ok(0)
    }

    fn release(&mut self, _: usize) {
        self.open -= 1;
    }

    fn send(&mut self, _: usize, to: SocketAddr, mark: (u16, u64), _: usize) -> Result<(), SendError> {
        if let Some(error) = self.errors.pop_front() {
            return Err(error);
        }
        self.sent.push((to.ip(), mark.0, mark.1));
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

struct Stage {
    clock: Arc<Hand>,
    rounds: Rounds<Notes>,
}

type Promise = oneshot::Receiver<Result<Round, Fault>>;

impl Stage {
    fn new() -> Self {
        let clock = Arc::new(Hand(Mutex::new(START)));
        let rounds = Rounds::new(
            Notes::default(),
            clock.clone() as Arc<dyn Clock>,
            RandomState::new(),
        );
        Self { clock, rounds }
    }

    fn ask(&self, packets: u16, until_answered: bool) -> Ask {
        let asked = self.clock.mono();
        Ask {
            to: "10.0.0.9:0".parse().unwrap(),
            packets,
            spacing: 2000 * MS / u32::from(packets) / if until_answered { 1 } else { 2 },
            until_answered,
            payload: 56,
            path: Path::default(),
            asked,
            deadline: asked + 2000 * MS,
            tally: Arc::default(),
        }
    }

    fn begin(&mut self, ask: Ask) -> Promise {
        let (reply, promise) = oneshot::channel();
        self.rounds.begin(Job { ask, reply });
        promise
    }

    /// Moves the clock to `ms` after the start; no round is looked at.
    fn sleep_until(&mut self, ms: u64) {
        *self.clock.lock() = START + ms * 1000;
    }

    /// Moves the clock to `ms` after the start, a millisecond at a time, as the thread would.
    fn run_until(&mut self, ms: u64) {
        let end = START + ms * 1000;
        while *self.clock.lock() < end {
            *self.clock.lock() += 1000;
            let due = self.clock.mono();
            self.rounds.advance(due);
        }
    }

    fn echo(&self, n: usize) -> Echo {
        let (_, seq, cookie) = self.rounds.wire.sent[n];
        Echo {
            id: 1,
            seq,
            cookie: Some(cookie),
            payload: 56,
        }
    }

    /// The reply to the packet `n` from its destination, received by the kernel at `ms` after the start.
    fn reply_to(&mut self, n: usize, ms: u64) {
        let (from, echo) = (self.rounds.wire.sent[n].0, self.echo(n));
        self.deliver(from, Arrived::Reply(echo), ms);
    }

    fn report_about(&mut self, n: usize, cookie: bool) {
        let mut quoted = self.echo(n);
        quoted.cookie = quoted.cookie.filter(|_| cookie);
        let destination = self.rounds.wire.sent[n].0;
        let complaint = Complaint::Unreachable(1);
        let what = Arrived::Report {
            version: Version::V4,
            complaint,
            destination,
            quoted,
        };
        self.deliver("10.0.0.1".parse().unwrap(), what, 0);
    }

    fn deliver(&mut self, from: IpAddr, what: Arrived, ms: u64) {
        let at = Some(Wall((START + ms * 1000) as i64 + WALL));
        let read = self.clock.now();
        self.rounds.arrived(
            &Arrival {
                from,
                at,
                ttl: Some(60),
                what,
            },
            read,
        );
    }
}

fn round(promise: &mut Promise) -> Round {
    promise
        .try_recv()
        .expect("the round has ended")
        .expect("nothing is our fault")
}

fn fault(promise: &mut Promise) -> String {
    promise
        .try_recv()
        .expect("the round has ended")
        .expect_err("our fault")
        .reason()
        .code
        .to_string()
}

fn running(promise: &mut Promise) -> bool {
    promise.try_recv() == Err(oneshot::error::TryRecvError::Empty)
}

#[test]
fn one_request_one_answer() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(1, true));
    stage.sleep_until(12);
    stage.reply_to(0, 7);
    let answers = vec![Answer {
        number: 0,
        rtt: 7 * MS,
    }];
    let expected = Round {
        sent: 1,
        lost: 0,
        answers,
        ttl: Some(60),
        ..Round::default()
    };
    assert_eq!(round(&mut promise), expected);
    assert_eq!(stage.rounds.wire.open, 0, "the socket is released");
}

#[test]
fn retries_go_out_while_unanswered_and_stop_at_the_answer() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(4, true));
    stage.run_until(499);
    assert_eq!(stage.rounds.wire.sent.len(), 1);
    stage.run_until(1100);
    assert_eq!(stage.rounds.wire.sent.len(), 3, "at 0, 500 and 1000 ms");
    stage.reply_to(1, 1050);
    let found = round(&mut promise);
    assert_eq!(
        (found.sent, found.lost),
        (2, 1),
        "the third was not needed, and is not judged"
    );
    assert_eq!(
        found.answers,
        [Answer {
            number: 1,
            rtt: 550 * MS
        }]
    );
    stage.run_until(2100);
    assert_eq!(
        stage.rounds.wire.sent.len(),
        3,
        "nothing is sent after the answer"
    );
}

#[test]
fn silence_ends_at_the_deadline() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(4, true));
    stage.run_until(1999);
    assert!(running(&mut promise));
    stage.run_until(2000);
    let found = round(&mut promise);
    assert_eq!((found.sent, found.lost, found.answers.len()), (4, 4, 0));
}

#[test]
fn count_sends_all_and_measures_loss() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(5, false));
    stage.reply_to(0, 1);
    stage.run_until(1000);
    assert_eq!(stage.rounds.wire.sent.len(), 5);
    for n in [3, 1, 4] {
        stage.reply_to(n, 1000);
    }
    stage.reply_to(3, 1000);
    assert!(running(&mut promise), "one is missing");
    stage.run_until(2000);
    let found = round(&mut promise);
    assert_eq!((found.sent, found.lost, found.duplicates), (5, 1, 1));
    assert_eq!(
        found.answers.iter().map(|a| a.number).collect::<Vec<_>>(),
        [0, 3, 1, 4]
    );
}

#[test]
fn count_ends_with_the_last_answer() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(2, false));
    stage.run_until(700);
    stage.reply_to(0, 700);
    stage.reply_to(1, 700);
    assert_eq!(round(&mut promise).lost, 0);
}

#[test]
fn strangers_and_forgeries_are_not_answers() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(1, true));
    let (to, good) = (stage.rounds.wire.sent[0].0, stage.echo(0));
    let other: IpAddr = "10.0.0.8".parse().unwrap();
    for (from, echo) in [
        (other, good),
        (
            to,
            Echo {
                seq: good.seq + 1,
                ..good
            },
        ),
        (
            to,
            Echo {
                cookie: good.cookie.map(|c| c ^ 1),
                ..good
            },
        ),
        (to, Echo { cookie: None, ..good }),
    ] {
        stage.deliver(from, Arrived::Reply(echo), 1);
        let report = Arrived::Report {
            version: Version::V4,
            complaint: Complaint::Unreachable(1),
            destination: from,
            quoted: Echo {
                cookie: echo.cookie.or(Some(0)),
                ..echo
            },
        };
        stage.deliver(other, report, 1);
        assert!(running(&mut promise), "{from} {echo:?}");
    }
    stage.deliver(to, Arrived::Reply(good), 1);
    assert_eq!(round(&mut promise).lost, 0);
}

#[test]
fn a_stall_of_ours_is_no_loss() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(1, true));
    // Stopped for a minute; the answer came after 3 ms and waits in the socket. The thread reads first.
    stage.sleep_until(60_000);
    let due = stage.clock.mono();
    stage.reply_to(0, 3);
    stage.rounds.advance(due);
    assert_eq!(
        round(&mut promise).answers,
        [Answer {
            number: 0,
            rtt: 3 * MS
        }]
    );
}

#[test]
fn a_late_answer_is_late_and_told_to_the_next_round() {
    let mut stage = Stage::new();
    let ask = stage.ask(1, true);
    let tally = Arc::clone(&ask.tally);
    // Read in time, but received late; then received late after the round has ended; then twice.
    let mut promise = stage.begin(ask);
    stage.sleep_until(2500);
    stage.reply_to(0, 2001);
    assert!(running(&mut promise));
    stage.run_until(2501);
    assert_eq!(round(&mut promise).lost, 1);
    assert_eq!(tally.take_late(), 1);
    let mut ask = stage.ask(1, true);
    ask.tally = Arc::clone(&tally);
    let mut promise = stage.begin(ask);
    stage.run_until(4600);
    assert_eq!(round(&mut promise).lost, 1);
    stage.reply_to(1, 4600);
    stage.reply_to(1, 4600);
    assert_eq!((tally.take_late(), tally.take_duplicates()), (1, 1));
    stage.run_until(10_000);
    stage.reply_to(1, 10_000);
    assert_eq!(
        (tally.take_late(), tally.take_duplicates()),
        (0, 0),
        "forgotten by now"
    );
}

#[test]
fn an_icmp_error_ends_the_round_early() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(4, true));
    stage.report_about(0, true);
    let found = round(&mut promise);
    assert_eq!((found.sent, found.lost), (1, 1));
    assert_eq!(
        found.refusal.map(|r| r.from.to_string()).as_deref(),
        Some("10.0.0.1")
    );
}

#[test]
fn with_count_an_icmp_error_is_one_loss() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(2, false));
    stage.report_about(0, true);
    assert!(running(&mut promise));
    stage.run_until(600);
    stage.reply_to(1, 600);
    let found = round(&mut promise);
    assert_eq!((found.sent, found.lost, found.refusal.is_some()), (2, 1, true));
}

#[test]
fn a_short_quote_explains_but_does_not_end() {
    let mut stage = Stage::new();
    let mut silent = stage.begin(stage.ask(1, true));
    stage.report_about(0, false);
    assert!(running(&mut silent));
    stage.run_until(2000);
    assert!(round(&mut silent).refusal.is_some());
    let mut answered = stage.begin(stage.ask(1, true));
    stage.report_about(1, false);
    stage.reply_to(1, 2010);
    assert_eq!(round(&mut answered).lost, 0);
}

#[test]
fn our_own_errors() {
    let gone = || Fault::ours("ours.no_route", "gone");
    let full = || Fault::ours("ours.buffers", "full");
    let mut stage = Stage::new();
    let mut ask = stage.ask(1, true);
    ask.path.ttl = Some(99);
    assert_eq!(fault(&mut stage.begin(ask)), "ours.permission");
    stage.rounds.wire.errors.push_back(SendError::Ours(gone()));
    assert_eq!(fault(&mut stage.begin(stage.ask(4, true))), "ours.no_route");
    stage
        .rounds
        .wire
        .errors
        .extend([SendError::Busy(full()), SendError::Busy(full())]);
    let mut later = stage.begin(stage.ask(1, true));
    stage.run_until(10);
    assert_eq!(stage.rounds.wire.sent.len(), 1, "sent at the third try");
    stage.reply_to(0, 11);
    assert_eq!(round(&mut later).lost, 0);
    stage
        .rounds
        .wire
        .errors
        .extend((0..3000).map(|_| SendError::Busy(full())));
    let mut never = stage.begin(stage.ask(1, true));
    stage.run_until(2100);
    assert_eq!(fault(&mut never), "ours.buffers");
    stage.rounds.wire.errors.clear();
    // The second packet cannot leave: what was sent is judged.
    let mut second = stage.begin(stage.ask(2, false));
    stage.rounds.wire.errors.push_back(SendError::Ours(gone()));
    stage.run_until(3000);
    stage.reply_to(1, 3000);
    stage.run_until(4200);
    assert_eq!((round(&mut second).sent, stage.rounds.wire.open), (1, 0));
}

#[test]
fn too_busy_to_judge() {
    let mut stage = Stage::new();
    let ask = stage.ask(1, true);
    stage.sleep_until(1500);
    let mut delayed = stage.begin(ask.clone());
    stage.run_until(2000);
    assert_eq!(
        fault(&mut delayed),
        "ours.overload",
        "sent when most of the time had gone"
    );
    assert_eq!(fault(&mut stage.begin(ask)), "ours.overload", "never sent");
    let mut dropped = stage.begin(stage.ask(1, true));
    stage.rounds.wire.dropped += 1;
    stage.run_until(4000);
    assert_eq!(fault(&mut dropped), "ours.overload");
    let mut some = stage.begin(stage.ask(2, false));
    stage.run_until(4600);
    stage.reply_to(2, 4600);
    stage.rounds.wire.dropped += 1;
    stage.run_until(6100);
    let found = round(&mut some);
    assert_eq!(
        (found.sent, found.lost),
        (1, 0),
        "what may have been dropped is not judged"
    );
}

#[test]
fn missed_requests_of_a_count_are_not_sent_in_a_burst_nor_too_late() {
    let mut stage = Stage::new();
    let mut promise = stage.begin(stage.ask(5, false));
    stage.sleep_until(900);
    stage.run_until(901);
    assert_eq!(stage.rounds.wire.sent.len(), 2);
    stage.run_until(2000);
    let found = round(&mut promise);
    assert!((3..=5).contains(&found.sent), "{}", found.sent);
}

#[test]
fn wall_clock_steps_stay_within_send_and_reading() {
    let read = Now {
        wall: Wall(WALL),
        mono: Mono(10_000),
    };
    for (stamp, expected) in [
        (Some(Wall(WALL - 4_000)), 6_000),
        (Some(Wall(WALL - 3_600_000_000)), 5_000),
        (Some(Wall(WALL + 3_600_000_000)), 10_000),
        (None, 10_000),
    ] {
        assert_eq!(received_at(stamp, read, Mono(5_000)), Mono(expected));
    }
}

#[test]
fn many_requests_share_a_sequence_number_and_stay_apart() {
    let mut stage = Stage::new();
    let count = 70_000;
    let mut promises: Vec<_> = (0..count).map(|_| stage.begin(stage.ask(1, true))).collect();
    assert_eq!(stage.rounds.wire.sent[0].1, stage.rounds.wire.sent[1 << 16].1);
    stage.reply_to(1 << 16, 5);
    assert!(running(&mut promises[0]));
    assert_eq!(promises[1 << 16].try_recv().unwrap().unwrap().lost, 0);
    for n in (0..count).filter(|n| *n != 1 << 16) {
        stage.reply_to(n, 5);
    }
    assert!(
        promises
            .iter_mut()
            .enumerate()
            .all(|(n, p)| n == 1 << 16 || round(p).lost == 0)
    );
    stage.run_until(2000);
    assert!(stage.rounds.timers.is_empty() && stage.rounds.live.iter().all(Option::is_none));
    stage.run_until(6000);
    assert!(stage.rounds.known.is_empty());
}
