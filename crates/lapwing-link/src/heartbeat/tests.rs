//! The listener on loopback: a row for each reason to refuse, replies, reloads, and a flood.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
};

use lapwing_core::{
    heartbeat::{Account, Hindrance, Proof, Signal},
    secret::Secret,
    time::Now,
};
use lapwing_wire::heartbeat::{self as wire, Answer, Kind, Reply, SensorId};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
    time::{ClockId, clock_gettime},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::*;

const LONG: Duration = Duration::from_secs(10);
const KEY: &str = "0123456789abcdefghij";
const OLD_KEY: &str = "an old key, still valid";
const INSTANCE: u64 = 0xabcd;

struct Machine;

impl Clock for Machine {
    fn now(&self) -> Now {
        let read = |id| Duration::from(clock_gettime(id).unwrap()).as_micros() as u64;
        Now {
            wall: Wall(read(ClockId::CLOCK_REALTIME).cast_signed()),
            mono: Mono(read(ClockId::CLOCK_MONOTONIC)),
        }
    }
}

fn wall() -> Wall {
    Machine.now().wall
}

/// What the ear was told, in order.
#[derive(Debug)]
enum Told {
    Beat(HeardBeat),
    Deaf(Wall),
    Note(Note),
}

struct Ears {
    told: Sender<Told>,
    full: Arc<AtomicBool>,
    /// While the other end lives, each beat waits here until it says something.
    gate: Option<Receiver<()>>,
}

impl Ear for Ears {
    fn beat(&self, heard: HeardBeat) -> bool {
        if self.full.load(Ordering::SeqCst) {
            return false;
        }
        self.told.send(Told::Beat(heard)).unwrap();
        self.gate.as_ref().map(|gate| gate.recv_timeout(LONG).ok());
        true
    }

    fn deaf(&self, from: Wall) {
        self.told.send(Told::Deaf(from)).unwrap();
    }

    fn note(&self, note: &Note) {
        self.told.send(Told::Note(*note)).unwrap();
    }
}

struct Post {
    address: SocketAddr,
    rosters: Rosters,
    counters: Arc<HeartbeatCounters>,
    replier: Replier,
    told: Receiver<Told>,
    full: Arc<AtomicBool>,
    listener: HeartbeatListener,
}

/// A roster with the keyed sensor `home` and plain sources 127.0.0.0/8.
fn roster() -> Roster {
    let mut roster = Roster::default();
    let keys = [Secret::new(KEY), Secret::new(OLD_KEY)];
    roster.keyed("home", "home-series".into(), &keys).unwrap();
    roster
        .plain("127.0.0.0/8".parse().unwrap(), "plain-series".into())
        .unwrap();
    roster
}

fn start(listen: &str, roster: Roster, known: Known) -> Post {
    start_gated(listen, roster, known, None)
}

fn start_gated(listen: &str, roster: Roster, known: Known, gate: Option<Receiver<()>>) -> Post {
    let server = HeartbeatServer::bind(listen.parse().unwrap()).unwrap();
    let (told, hearing) = channel();
    let full = Arc::new(AtomicBool::new(false));
    let ears = Ears {
        told,
        full: Arc::clone(&full),
        gate,
    };
    let rosters = Rosters::new(Arc::new(roster));
    let (address, counters, replier) = (server.address(), server.counters(), server.replier());
    let listener = server
        .start(rosters.clone(), known, Arc::new(Machine), Box::new(ears))
        .unwrap();
    Post {
        address,
        rosters,
        counters,
        replier,
        told: hearing,
        full,
        listener,
    }
}

fn home() -> Post {
    start("127.0.0.1:0", roster(), Known::default())
}

impl Post {
    fn next(&self) -> Told {
        self.told.recv_timeout(LONG).expect("the ear is told something")
    }

    fn beat(&self) -> HeardBeat {
        match self.next() {
            Told::Beat(heard) => heard,
            other => panic!("{other:?} instead of a beat"),
        }
    }

    fn note(&self) -> Note {
        match self.next() {
            Told::Note(note) => note,
            other => panic!("{other:?} instead of a note"),
        }
    }

    fn counted(&self, name: &str) -> u64 {
        let all = self.counters.all();
        all.into_iter().find(|(n, _)| *n == name).unwrap().1
    }

    /// Each datagram that arrived is a beat or was refused for one reason.
    fn sums_up(&self) -> bool {
        let refused: u64 = Refusal::ALL.map(|why| self.counters.refused(why)).iter().sum();
        let dropped = self.counters.refused(Refusal::KernelDropped);
        self.counted("received") == self.counted("beats") + self.counted("plain_beats") + refused - dropped
    }
}

fn client(post: &Post) -> UdpSocket {
    let any = if post.address.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(post.address).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn id() -> SensorId {
    SensorId::parse("home").unwrap()
}

fn beat(seq: u64) -> wire::Beat {
    wire::Beat {
        kind: Kind::Beat,
        boot: 100,
        seq,
        instance: INSTANCE,
        time: wall().0,
        uptime_us: 500_000_000,
        running_us: 400_000_000,
        silent_us: 0,
        lost: 0,
        hindrance: 0,
    }
}

fn signed(beat: &wire::Beat) -> [u8; LEN] {
    beat.write(&id(), KEY.as_bytes())
}

fn reply(client: &UdpSocket) -> Reply {
    let mut bytes = [0; LEN + 1];
    let len = client.recv(&mut bytes).unwrap();
    assert!(wire::verify(&bytes[..len], KEY.as_bytes()));
    assert_eq!(wire::peek(&bytes[..len]), Ok(id()));
    Reply::parse(&bytes[..len]).unwrap()
}

#[test]
fn a_keyed_beat_is_heard_and_acknowledged() {
    let post = home();
    let client = client(&post);
    let sent = wire::Beat {
        kind: Kind::Boot,
        silent_us: 7_000_000,
        lost: 3,
        hindrance: 1,
        ..beat(9)
    };
    let before = wall();
    client.send(&signed(&sent)).unwrap();
    let heard = post.beat();
    let after = wall();
    assert_eq!(heard.to, To::Series("home-series".into()));
    assert!(heard.beat.at >= before && heard.beat.at <= after);
    let mark = Mark {
        boot: 100,
        seq: 9,
        instance: INSTANCE,
        former: 0,
    };
    let expected = Beat {
        at: heard.beat.at,
        signal: Signal::Boot,
        proof: Proof::Keyed,
        source: Some(Ipv4Addr::LOCALHOST.into()),
        uptime: Some(Duration::from_secs(500)),
        running: Some(Duration::from_secs(400)),
        account: Some(Account {
            silent: Duration::from_secs(7),
            lost: 3,
            hindrance: Hindrance::NoRoute,
        }),
        mark: Some(mark),
        note: None,
    };
    assert_eq!(heard.beat, expected);
    let ticket = heard.reply.unwrap();
    let replier = post.replier.clone();
    std::thread::spawn(move || replier.acknowledge(ticket))
        .join()
        .unwrap();
    let expected = Reply {
        answer: Answer::Heard,
        boot: 100,
        seq: 9,
        instance: INSTANCE,
        time: heard.beat.at.0,
    };
    assert_eq!(reply(&client), expected);
    let counted = || ["received", "beats", "replies", "reply_errors"].map(|name| post.counted(name));
    wait_for(|| counted() == [1, 1, 1, 0]);
}

#[test]
fn kinds_and_hindrances_are_told_apart() {
    let post = home();
    let client = client(&post);
    for (seq, kind, signal) in [
        (1, Kind::Beat, Signal::Ping),
        (2, Kind::Boot, Signal::Boot),
        (3, Kind::Stop, Signal::Stop),
    ] {
        client.send(&signed(&wire::Beat { kind, ..beat(seq) })).unwrap();
        let heard = post.beat().beat;
        assert_eq!((heard.signal, heard.account), (signal, None));
    }
    for (hindrance, expected) in [
        (0, Hindrance::Unanswered),
        (1, Hindrance::NoRoute),
        (2, Hindrance::NoName),
    ] {
        let sent = wire::Beat {
            silent_us: u64::MAX,
            uptime_us: u64::MAX,
            hindrance,
            ..beat(10 + u64::from(hindrance))
        };
        client.send(&signed(&sent)).unwrap();
        let heard = post.beat().beat;
        let century = Duration::from_secs(100 * 366 * 86_400);
        let account = heard.account.unwrap();
        assert_eq!((account.hindrance, account.silent), (expected, century));
        assert_eq!(heard.uptime, Some(century), "lengths are bounded");
    }
}

#[test]
fn both_keys_are_valid_and_the_reply_has_the_one_used() {
    let post = home();
    let client = client(&post);
    client.send(&beat(1).write(&id(), OLD_KEY.as_bytes())).unwrap();
    post.replier.acknowledge(post.beat().reply.unwrap());
    let mut bytes = [0; LEN];
    client.recv(&mut bytes).unwrap();
    assert!(wire::verify(&bytes, OLD_KEY.as_bytes()) && !wire::verify(&bytes, KEY.as_bytes()));
}

#[test]
fn plain_words_of_the_netmonitor_script() {
    let post = home();
    let client = client(&post);
    let uptime = Duration::from_millis(93_520);
    for (word, signal, uptime, note) in [
        ("PING", Signal::Ping, None, None),
        ("PING\n", Signal::Ping, None, None),
        ("BOOT93.52\n", Signal::Boot, Some(uptime), None),
        ("BOOT", Signal::Boot, None, None),
        ("BOOTup 3 days", Signal::Boot, None, Some("up 3 days")),
    ] {
        client.send(word.as_bytes()).unwrap();
        let heard = post.beat();
        assert_eq!(heard.to, To::Series("plain-series".into()));
        assert!(heard.reply.is_none(), "never answered");
        let expected = Beat {
            at: heard.beat.at,
            signal,
            proof: Proof::Plain,
            source: Some(Ipv4Addr::LOCALHOST.into()),
            uptime,
            running: None,
            account: None,
            mark: None,
            note: note.map(Into::into),
        };
        assert_eq!(heard.beat, expected, "{word:?}");
    }
    wait_for(|| post.counted("plain_beats") == 5);
    assert_eq!(post.counted("replies"), 0);
}

#[test]
fn every_reason_to_refuse_is_counted_and_noted() {
    let post = home();
    let client = client(&post);
    client.send(&signed(&beat(100))).unwrap();
    post.beat();
    for (bytes, why, sensor) in unsound().into_iter().chain(forged()).chain(out_of_place()) {
        let before = post.counters.refused(why);
        client.send(&bytes).unwrap();
        if before == 0 {
            let expected = Note {
                why,
                count: 1,
                source: Some(client.local_addr().unwrap()),
                sensor,
            };
            assert_eq!(post.note(), expected);
        }
        wait_for(|| post.counters.refused(why) == before + 1);
    }
    client.send(&signed(&beat(101))).unwrap();
    let mark = post.beat().beat.mark;
    assert_eq!(mark.map(|mark| mark.seq), Some(101), "nothing changed");
    wait_for(|| post.sums_up());
    assert_eq!(post.counted("replies"), 3, "delayed, stale, superseded");
}

/// A datagram, why it is refused, and the sensor that it names.
type Row = (Vec<u8>, Refusal, Option<SensorId>);

/// Beat 101 with one byte changed.
fn changed(at: usize, change: u8) -> Vec<u8> {
    let mut bytes = signed(&beat(101)).to_vec();
    bytes[at] ^= change;
    bytes
}

fn unsound() -> Vec<Row> {
    let good = signed(&beat(101));
    [
        (b"hello".to_vec(), Refusal::Foreign),
        (Vec::new(), Refusal::Foreign),
        (b"LWh".to_vec(), Refusal::Foreign),
        (b"PINGPING".to_vec(), Refusal::Foreign),
        (vec![0; 60_000], Refusal::Foreign),
        (b"LWhb".to_vec(), Refusal::Malformed),
        (good[..LEN - 1].to_vec(), Refusal::Malformed),
        ([good.as_slice(), &[0]].concat(), Refusal::Malformed),
        ([good.as_slice(), &[0; 5000]].concat(), Refusal::Malformed),
        (changed(6, 1), Refusal::Malformed),
        (changed(4, 3), Refusal::OtherVersion),
        (b"LWhb\x02short".to_vec(), Refusal::OtherVersion),
    ]
    .map(|(bytes, why)| (bytes, why, None))
    .into()
}

fn forged() -> Vec<Row> {
    let stranger = SensorId::parse("stranger").unwrap();
    let answer = Reply {
        answer: Answer::Heard,
        boot: 100,
        seq: 101,
        instance: INSTANCE,
        time: 0,
    };
    let signed_by = |id: SensorId, key: &str| beat(101).write(&id, key.as_bytes()).to_vec();
    let reply = answer.write(&id(), KEY.as_bytes()).to_vec();
    vec![
        (reply, Refusal::Reflected, Some(id())),
        (signed_by(stranger, KEY), Refusal::UnknownId, Some(stranger)),
        (signed_by(id(), "another key"), Refusal::BadMac, Some(id())),
        (changed(104, 1), Refusal::BadMac, Some(id())),
        (changed(23, 1), Refusal::BadMac, Some(id())),
    ]
}

/// After beat 100 of session 100.
fn out_of_place() -> Vec<Row> {
    let delayed = wire::Beat {
        running_us: 100_000_000,
        time: wall().0 - 300_000_000,
        ..beat(99)
    };
    let older = |instance| wire::Beat {
        boot: 99,
        instance,
        ..beat(1)
    };
    [
        (beat(100), Refusal::Replayed),
        (beat(36), Refusal::Replayed),
        (older(INSTANCE), Refusal::Replayed),
        (delayed, Refusal::Delayed),
        (older(7), Refusal::Stale),
        (older(0), Refusal::Superseded),
    ]
    .map(|(beat, why)| (signed(&beat).to_vec(), why, Some(id())))
    .into()
}

/// A counter is raised just after the ear was told, and has no other sign.
fn wait_for(mut done: impl FnMut() -> bool) {
    let end = Machine.mono() + LONG;
    while !done() {
        assert!(Machine.mono() < end, "it did not come to pass");
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn old_sessions_are_told_so() {
    let mark = Mark {
        boot: 500,
        seq: 70,
        instance: 1,
        former: 2,
    };
    let known = Known {
        marks: HashMap::from([("home-series".into(), mark)]),
        adopted: Vec::new(),
    };
    let post = start("127.0.0.1:0", roster(), known);
    let client = client(&post);
    let send = |boot, instance, seq| {
        let sent = wire::Beat {
            boot,
            instance,
            ..beat(seq)
        };
        client.send(&signed(&sent)).unwrap();
        (post.next(), sent)
    };
    let stale = (100, 7, Refusal::Stale, Answer::Stale { newest: 500 });
    // The session that replaced this one is alive only once it is heard, and then it keeps the former one out.
    let superseded = (500, 1, Refusal::Superseded, Answer::Superseded);
    for (boot, instance, why, answer) in [stale, superseded] {
        if why == Refusal::Superseded {
            let (told, _) = send(501, 9, 1);
            assert!(matches!(told, Told::Beat(_)), "{told:?}");
        }
        let (told, sent) = send(boot, instance, 5);
        assert!(matches!(told, Told::Note(note) if note.why == why), "{told:?}");
        let expected = Reply {
            answer,
            boot,
            seq: 5,
            instance,
            time: reply_time(&client, sent),
        };
        client.send(&signed(&sent)).unwrap();
        assert_eq!(
            Reply {
                time: expected.time,
                ..reply(&client)
            },
            expected
        );
    }
    let (told, _) = send(501, 9, 1);
    assert!(matches!(told, Told::Note(note) if note.why == Refusal::Replayed));
    let (told, _) = send(502, 7, 1);
    let Told::Beat(heard) = told else {
        panic!("{told:?}")
    };
    let mark = Mark {
        boot: 502,
        seq: 1,
        instance: 7,
        former: 9,
    };
    assert_eq!(heard.beat.mark, Some(mark));
}

/// Takes the reply to `sent` and gives its time, which is that of the arrival.
fn reply_time(client: &UdpSocket, sent: wire::Beat) -> i64 {
    let time = reply(client).time;
    assert!(time >= sent.time && time <= wall().0);
    time
}

#[test]
fn replies_to_beats_that_do_not_count_are_limited() {
    let post = home();
    let client = client(&post);
    let newer = wire::Beat { boot: 200, ..beat(1) };
    client.send(&signed(&newer)).unwrap();
    post.beat();
    let stale = signed(&wire::Beat {
        instance: 7,
        ..beat(1)
    });
    for _ in 0..300 {
        client.send(&stale).unwrap();
    }
    wait_for(|| post.counters.refused(Refusal::Stale) == 300);
    let replies = post.counted("replies");
    assert!((10..300).contains(&replies), "{replies}");
    assert!(matches!(post.next(), Told::Note(note) if note.count == 1));
    assert!(matches!(
        post.told.recv_timeout(Duration::ZERO),
        Err(RecvTimeoutError::Timeout)
    ));
}

#[test]
fn a_full_queue_forgets_the_beat_and_says_so() {
    let post = home();
    let client = client(&post);
    let bytes = signed(&beat(1));
    post.full.store(true, Ordering::SeqCst);
    let before = wall();
    client.send(&bytes).unwrap();
    assert_eq!(post.note().why, Refusal::QueueFull);
    let Told::Deaf(from) = post.next() else {
        panic!("it is not told")
    };
    assert!(from >= before && from <= wall());
    client.send(b"PING").unwrap();
    wait_for(|| post.counters.refused(Refusal::QueueFull) == 2);
    post.full.store(false, Ordering::SeqCst);
    client.send(&bytes).unwrap();
    loop {
        match post.next() {
            Told::Beat(heard) => break assert_eq!(heard.beat.mark.map(|mark| mark.seq), Some(1)),
            Told::Deaf(again) => assert!(again >= from),
            Told::Note(note) => panic!("{note:?}"),
        }
    }
}

#[test]
fn plain_sources_are_known_and_limited() {
    let mut strict = Roster::default();
    strict
        .plain("127.0.0.1/32".parse().unwrap(), "one".into())
        .unwrap();
    let post = start("127.0.0.1:0", strict, Known::default());
    let of = |host: &str| {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.connect(post.address).unwrap();
        socket
    };
    of("127.0.0.2").send(b"PING").unwrap();
    let note = post.note();
    assert_eq!((note.why, note.sensor), (Refusal::UnknownSource, None));
    let one = of("127.0.0.1");
    for _ in 0..300 {
        one.send(b"PING").unwrap();
    }
    wait_for(|| post.counted("received") == 301 && post.sums_up());
    let heard = post.counted("plain_beats");
    assert!((10..300).contains(&heard), "{heard}");
    assert_eq!(post.counters.refused(Refusal::Limited), 300 - heard);
}

#[test]
fn newcomers_are_let_in_at_a_limited_rate_and_others_at_once() {
    const NEW: u64 = 200;
    let mut open = Roster::default();
    open.adopt(true);
    let old = Ipv4Addr::new(127, 0, 0, 2);
    let known = Known {
        marks: HashMap::new(),
        adopted: vec![old.to_ipv6_mapped().into()],
    };
    let post = start("127.0.0.1:0", open, known);
    let send = |host: Ipv4Addr| {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.send_to(b"PING", post.address).unwrap();
    };
    let told = || loop {
        match post.next() {
            Told::Beat(heard) => break heard.to,
            Told::Note(note) => assert_eq!(note.why, Refusal::Limited),
            Told::Deaf(from) => panic!("deaf since {from:?}"),
        }
    };
    let new = |n| Ipv4Addr::new(127, 0, 1, n);
    (0..NEW as u8).for_each(|n| send(new(n)));
    wait_for(|| post.counted("received") == NEW && post.sums_up());
    let heard = post.counted("plain_beats");
    assert!((20..NEW).contains(&heard), "{heard}");
    assert_eq!(post.counters.refused(Refusal::Limited), NEW - heard);
    for n in 0..heard {
        let to = told();
        assert!(n >= 20 || to == To::Stranger(new(n as u8).into()), "{to:?}");
    }
    for source in [new(0), old, new(19)] {
        send(source);
        assert_eq!(told(), To::Stranger(source.into()), "no newcomer");
    }
}

#[test]
fn a_sensor_that_sends_too_often_loses_what_is_beyond() {
    // All within the window.
    const SENT: u64 = 60;
    let post = home();
    let client = client(&post);
    for seq in 1..=SENT {
        client.send(&signed(&beat(seq))).unwrap();
    }
    wait_for(|| post.counted("received") == SENT && post.sums_up());
    let heard = post.counted("beats");
    assert!((40..SENT).contains(&heard), "{heard}");
    assert_eq!(post.counters.refused(Refusal::TooOften), SENT - heard);
    // A slow machine may find room again between two of them.
    let (mut beats, mut notes) = (0, Vec::new());
    for _ in 0..=heard {
        match post.next() {
            Told::Beat(_) => beats += 1,
            Told::Note(note) => notes.push((note.why, note.sensor)),
            other @ Told::Deaf(_) => panic!("{other:?}"),
        }
    }
    assert_eq!((beats, notes), (heard, vec![(Refusal::TooOften, Some(id()))]));
    // What was refused is still new, once there is room for it.
    wait_for(|| {
        client.send(&signed(&beat(SENT))).unwrap();
        post.counted("beats") > heard
    });
    assert_eq!(post.counted("replies"), 0);
}

#[test]
fn a_reload_changes_keys_and_forgets_no_sequence() {
    let post = home();
    let client = client(&post);
    client.send(&signed(&beat(5))).unwrap();
    post.beat();
    let mut next = Roster::default();
    next.keyed("home", "renamed".into(), &[Secret::new(KEY)]).unwrap();
    post.rosters.replace(Arc::new(next));
    client.send(&signed(&beat(5))).unwrap();
    assert_eq!(post.note().why, Refusal::Replayed);
    client.send(&beat(6).write(&id(), OLD_KEY.as_bytes())).unwrap();
    assert_eq!(post.note().why, Refusal::BadMac);
    client.send(b"PING").unwrap();
    assert_eq!(post.note().why, Refusal::UnknownSource);
    client.send(&signed(&beat(6))).unwrap();
    assert_eq!(post.beat().to, To::Series("renamed".into()));
    post.rosters.replace(Arc::default());
    client.send(&signed(&beat(7))).unwrap();
    assert_eq!(post.note().why, Refusal::UnknownId);
    post.rosters.replace(Arc::new(roster()));
    client.send(&signed(&beat(6))).unwrap();
    client.send(&signed(&beat(7))).unwrap();
    assert_eq!(post.beat().beat.mark.map(|mark| mark.seq), Some(7), "6 was heard");
    assert_eq!(post.counters.refused(Refusal::Replayed), 2);
}

#[test]
fn replies_come_from_the_address_that_was_asked() {
    for (listen, to) in [
        ("0.0.0.0:0", "127.0.0.5"),
        ("[::]:0", "127.0.0.5"),
        ("[::]:0", "::1"),
        ("[::1]:0", "::1"),
    ] {
        let post = start(listen, roster(), Known::default());
        let to = SocketAddr::new(to.parse().unwrap(), post.address.port());
        let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.send_to(&signed(&beat(1)), to).unwrap();
        let heard = post.beat();
        assert_eq!(heard.beat.source, Some(client.local_addr().unwrap().ip()));
        post.replier.acknowledge(heard.reply.unwrap());
        let mut bytes = [0; LEN];
        let (_, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!(from, to, "{listen}");
    }
}

/// Waits until datagrams carry their time of arrival: the system begins with that a moment after the first socket has
/// asked for it, and goes on while there is one.
fn wait_for_stamps(socket: &HeartbeatSocket) {
    let own = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut batch = Batch::new();
    let mut is_stamped = false;
    wait_for(|| {
        own.send_to(b"PING", socket.address()).unwrap();
        let sent = wall();
        wait_for(|| wall() > sent + Duration::from_millis(1));
        let read = batch.read(socket, |datagram, _| is_stamped = datagram.stamp.unwrap() <= sent);
        read.is_ok() && is_stamped
    });
}

#[test]
fn a_stall_of_ours_makes_no_beat_late() {
    let stamping = HeartbeatSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    wait_for_stamps(&stamping);
    let (open, gate) = channel();
    let post = start_gated("127.0.0.1:0", roster(), Known::default(), Some(gate));
    let client = client(&post);
    client.send(&signed(&beat(1))).unwrap();
    post.beat();
    client.send(&signed(&beat(2))).unwrap();
    let sent = wall();
    // The listener has not read the second beat: it still waits in the ear.
    wait_for(|| wall() > sent + Duration::from_millis(5));
    open.send(()).unwrap();
    assert!(post.beat().beat.at <= sent);
    drop(open);
}

#[test]
fn what_the_system_dropped_is_counted_and_told() {
    let (open, gate) = channel();
    let post = start_gated("127.0.0.1:0", roster(), Known::default(), Some(gate));
    let client = client(&post);
    client.send(&signed(&beat(1))).unwrap();
    let first = post.beat().beat.at;
    // More than fits into the largest buffer, while the listener waits in the ear.
    let sent = 2 * 2 * RECEIVE_BUFFER / 60_000;
    let large = vec![0; 60_000];
    for _ in 0..sent {
        client.send(&large).unwrap();
    }
    drop(open);
    wait_for(|| post.counted("received") > 1);
    client.send(&signed(&beat(2))).unwrap();
    let (mut deaf, mut dropped) = (None, 0);
    loop {
        match post.next() {
            Told::Beat(heard) => break assert_eq!(heard.beat.mark.map(|mark| mark.seq), Some(2)),
            Told::Deaf(from) => deaf = Some(from),
            Told::Note(note) if note.why == Refusal::KernelDropped => dropped += note.count,
            Told::Note(note) => assert_eq!(note.why, Refusal::Foreign),
        }
    }
    wait_for(|| post.counted("received") + post.counted("kernel_dropped") == sent as u64 + 2);
    assert!(dropped > 0 && post.counted("kernel_dropped") >= dropped);
    let deaf = deaf.unwrap_or_else(|| match post.next() {
        Told::Deaf(from) => from,
        other => panic!("{other:?}"),
    });
    assert!(deaf >= first);
}

/// A UDP datagram whose checksum is wrong, if not by chance right.
fn send_broken(to: SocketAddr, checksum: u16) {
    const LONG_ENOUGH: u16 = 200;
    let raw = Socket::new(Domain::IPV4, Type::from(libc::SOCK_RAW), Some(Protocol::UDP)).unwrap();
    let header = [9, to.port(), LONG_ENOUGH, checksum].map(u16::to_be_bytes);
    let mut bytes = header.concat();
    bytes.resize(LONG_ENOUGH.into(), 0);
    raw.send_to(&bytes, &to.into()).unwrap();
}

fn wrong_checksums_are_told_from_a_full_buffer() {
    // Elsewhere other tests fill buffers.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.unwrap().success());
    let post = home();
    let client = client(&post);
    let told = |seq| {
        client.send(&signed(&beat(seq))).unwrap();
        loop {
            match post.next() {
                Told::Beat(_) => break,
                Told::Note(_) => {}
                Told::Deaf(from) => panic!("deaf since {from:?}"),
            }
        }
    };
    told(1);
    send_broken(post.address, 1);
    send_broken(post.address, 2);
    wait_for(|| {
        client.send(b"hello").unwrap();
        post.counted("kernel_dropped") > 0
    });
    // The second is read after all was told that the first one, or what was before it, gave rise to.
    told(2);
    told(3);
}

#[test]
fn needs_root_needs_ip_a_wrong_checksum_does_not_make_us_deaf() {
    // A thread of its own: the namespace ends with it.
    std::thread::spawn(wrong_checksums_are_told_from_a_full_buffer)
        .join()
        .unwrap();
}

#[test]
fn it_stops_and_lets_go_of_its_ear_and_address() {
    let post = home();
    let address = post.address;
    let taken = HeartbeatServer::bind(address).err().unwrap().to_string();
    let expected = format!("the heartbeat listener cannot listen on UDP {address}: ");
    assert!(taken.starts_with(&expected), "{taken}");
    post.listener.stop();
    assert_eq!(
        post.told.recv_timeout(LONG).err(),
        Some(RecvTimeoutError::Disconnected)
    );
    drop(post.replier);
    HeartbeatServer::bind(address).unwrap();
}

#[test]
fn needs_root_the_buffer_is_as_large_as_wanted() {
    let server = HeartbeatServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(server.receive_buffer(), RECEIVE_BUFFER);
}

/// 50 malformed datagrams beside each good one, 51,000 a second in all, or as many as the machine's other work leaves room
/// for: no more wait than the buffer holds.
#[test]
fn needs_root_a_flood_costs_no_beat() {
    const GOOD: u64 = 2_000;
    const WAITING: u64 = 8_000;
    /// So many that each may send its beats at once.
    const SENSORS: u64 = 100;
    let sensor = |n: u64| format!("s{}", n % SENSORS);
    let mut fleet = Roster::default();
    for n in 0..SENSORS {
        let keys = [Secret::new(KEY)];
        fleet.keyed(&sensor(n), sensor(n).into(), &keys).unwrap();
    }
    let post = start("127.0.0.1:0", fleet, Known::default());
    let (good, bad) = (client(&post), client(&post));
    let mut forged = signed(&beat(1));
    forged[5] = 0x7f;
    let begin = Machine.mono();
    for n in 1..=GOOD {
        for _ in 0..50 {
            bad.send(&forged).unwrap();
        }
        let id = SensorId::parse(&sensor(n)).unwrap();
        good.send(&beat(1 + n / SENSORS).write(&id, KEY.as_bytes()))
            .unwrap();
        wait_for(|| Machine.mono() >= begin + Duration::from_millis(n));
        let dropped = || post.counted("kernel_dropped");
        wait_for(|| post.counted("received") + dropped() + WAITING >= 51 * n);
    }
    wait_for(|| {
        let dropped = post.counted("kernel_dropped");
        post.counted("received") + dropped == 51 * GOOD && post.sums_up()
    });
    assert_eq!(
        ["beats", "malformed", "kernel_dropped"].map(|name| post.counted(name)),
        [GOOD, 50 * GOOD, 0]
    );
}
