use std::sync::atomic::{AtomicU64, Ordering};

use lapwing_core::{heartbeat::Signal, secret::Secret, time::Now};
use lapwing_link::heartbeat::{HeartbeatServer, Roster};

use super::*;

const KEY: &str = "0123456789abcdef";
const OTHER: &str = "0123456789abcdeg";

/// A clock that the test moves.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Now {
        let now = self.0.load(Ordering::Relaxed);
        Now {
            wall: Wall(now as i64),
            mono: Mono(now),
        }
    }
}

struct Fixture {
    reception: Arc<Reception>,
    inbox: mpsc::Receiver<Message>,
    clock: Arc<Hand>,
}

fn fixture(queue: usize) -> Fixture {
    let (engine, inbox) = mpsc::channel(queue);
    let clock = Arc::<Hand>::default();
    let reception = Reception::new(engine, Handle::current(), Arc::clone(&clock) as _);
    Fixture {
        reception: Arc::new(reception),
        inbox,
        clock,
    }
}

fn request(reception: &Reception) -> (u64, oneshot::Receiver<()>) {
    let (tell, told) = oneshot::channel();
    (reception.wait_for(Sender::Request(tell)), told)
}

fn desk(reception: &Arc<Reception>, known: HashMap<Arc<str>, IpAddr>) -> PingDesk {
    let mut roster = Roster::default();
    for (key, series) in [(KEY, "one"), (OTHER, "two")] {
        roster.url(&Secret::new(key), series.into()).unwrap();
    }
    PingDesk::new(Arc::clone(reception), Rosters::new(roster), known)
}

fn host(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

fn ping() -> Ping {
    Ping {
        series: "one".into(),
        signal: Signal::Exit(3),
        source: host(1),
        note: Some("disk full".into()),
    }
}

fn ticket_of(message: Message) -> u64 {
    match message {
        Message::Input(input) => match *input {
            Input::Beat {
                ticket: Some(ticket), ..
            } => ticket,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_sender_hears_of_its_own_beat() {
    let fixture = fixture(1);
    let (first, mut first_told) = request(&fixture.reception);
    let (second, mut second_told) = request(&fixture.reception);
    fixture.reception.heard(second);
    fixture.reception.heard(second);
    fixture.reception.heard(77);
    assert!(first_told.try_recv().is_err() && second_told.try_recv().is_ok());
    fixture.reception.heard(first);
    assert!(first_told.try_recv().is_ok());
}

#[tokio::test]
async fn who_waits_in_vain_takes_no_room() {
    let fixture = fixture(1);
    let (_, mut oldest) = request(&fixture.reception);
    let waiting: Vec<_> = (0..WAITING).map(|_| request(&fixture.reception)).collect();
    assert_eq!(fixture.reception.waiting().senders.len(), WAITING);
    assert_eq!(oldest.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    fixture
        .clock
        .0
        .fetch_add(PATIENCE.as_micros() as u64 + 1, Ordering::Relaxed);
    let (newest, mut told) = request(&fixture.reception);
    assert_eq!(fixture.reception.waiting().senders.len(), 1);
    fixture.reception.heard(waiting[0].0);
    fixture.reception.heard(newest);
    assert!(told.try_recv().is_ok());
}

#[tokio::test]
async fn a_ping_is_confirmed_when_it_counts_and_not_before() {
    let mut fixture = fixture(8);
    let desk = Arc::new(desk(&fixture.reception, HashMap::new()));
    let asked = {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move { desk.ping(ping()).await })
    };
    let Some(Message::Input(input)) = fixture.inbox.recv().await else {
        panic!("no beat")
    };
    let Input::Beat { series, beat, ticket } = *input else {
        panic!("{input:?}")
    };
    assert_eq!(
        (&*series, beat.signal, beat.proof),
        ("one", Signal::Exit(3), Proof::Url)
    );
    assert_eq!(
        (beat.source, beat.note.as_deref()),
        (Some(host(1)), Some("disk full"))
    );
    assert!(!asked.is_finished());
    fixture.reception.heard(ticket.unwrap());
    assert!(asked.await.unwrap());

    // The engine ends with the word still owed.
    let asked = {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move { desk.ping(ping()).await })
    };
    ticket_of(fixture.inbox.recv().await.unwrap());
    fixture.reception.close();
    assert!(!asked.await.unwrap());
    drop(fixture.inbox);
    assert!(!desk.ping(ping()).await, "no engine");
    assert!(fixture.reception.waiting().senders.is_empty());
}

#[tokio::test]
async fn guessing_is_slow_and_keeps_nobody_out() {
    let fixture = fixture(1);
    let desk = desk(&fixture.reception, HashMap::from([("one".into(), host(1))]));
    let guesses = || {
        let guess = |n: u32| desk.admit(&format!("guess-0123456789-{n}"), host(9));
        (0..20).map(guess).filter(|a| *a == Admission::Unknown).count()
    };
    assert_eq!(guesses(), GUESSES as usize);
    let known = |series: &str| Admission::Known(series.into());
    assert_eq!(
        desk.admit(KEY, host(9)),
        Admission::Limited,
        "not even the right one"
    );
    assert_eq!(desk.admit(KEY, host(1)), known("one"), "who used it before");
    assert_eq!(desk.admit(KEY, host(2)), known("one"), "or has not guessed");
    assert_eq!(desk.admit(OTHER, host(9)), known("two"), "its first use");
    assert_eq!(desk.admit(OTHER, host(9)), known("two"));
    fixture.clock.0.fetch_add(1_000_000, Ordering::Relaxed);
    assert_eq!(guesses(), GUESSES as usize, "and a second later again");
}

#[tokio::test]
async fn a_full_queue_refuses_beats_and_still_takes_the_word_of_it() {
    let mut fixture = fixture(1);
    let server = HeartbeatServer::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let ear = SensorEar::new(Arc::clone(&fixture.reception), server.replier(), Vital::pair().0);
    let heard = || HeardBeat {
        to: To::Stranger(host(1)),
        beat: Beat {
            at: Wall(5),
            signal: Signal::Ping,
            proof: Proof::Plain,
            source: Some(host(1)),
            uptime: None,
            running: None,
            account: None,
            mark: None,
            note: None,
        },
        reply: None,
    };
    assert!(ear.beat(heard()));
    assert!(!ear.beat(heard()), "full");
    ear.deaf(Wall(7));
    let Some(Message::Input(first)) = fixture.inbox.recv().await else {
        panic!("no beat")
    };
    assert!(matches!(*first, Input::Stranger { source, .. } if source == host(1)));
    let Some(Message::Input(second)) = fixture.inbox.recv().await else {
        panic!("no word")
    };
    assert!(matches!(*second, Input::Deaf { from: Wall(7) }));
    assert!(ear.beat(heard()));
}
