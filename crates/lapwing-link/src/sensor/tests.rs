//! A sensor against a scripted monitor on loopback: the monitor says what becomes of each beat, and ends the sensor.

use std::{
    net::{Ipv4Addr, UdpSocket},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use lapwing_core::time::{Now, Wall};
use nix::time::{ClockId, clock_gettime};

use super::*;

const KEY: &str = "0123456789abcdefghij";
const LONG: Duration = Duration::from_secs(10);

/// The clocks of this machine, with an uptime that can jump as it does in a suspend.
#[derive(Default)]
struct Machines {
    /// Microseconds added to the uptime.
    suspended: AtomicU64,
}

impl Clock for Machines {
    fn now(&self) -> Now {
        let read = |id| Duration::from(clock_gettime(id).unwrap()).as_micros() as u64;
        Now {
            wall: Wall(read(ClockId::CLOCK_REALTIME) as i64),
            mono: Mono(read(ClockId::CLOCK_BOOTTIME) + self.suspended.load(Ordering::SeqCst)),
        }
    }
}

fn id() -> SensorId {
    SensorId::parse("home").unwrap()
}

/// What the monitor does with a beat.
#[derive(Clone, Copy, Debug)]
enum Do {
    Hear,
    Ignore,
    Stale(u64),
    Superseded,
    /// Everything that only looks like a reply.
    Deceive,
}

/// Answers as the script says, and hears everything after its end. Gives the beats that came.
struct Monitor {
    socket: UdpSocket,
    stop: UnixStream,
    script: Vec<Do>,
    /// Beats to be heard in all, before the sensor is stopped.
    beats: usize,
}

impl Monitor {
    fn run(self) -> Vec<Beat> {
        let mut seen = Vec::new();
        let mut buffer = [0; 200];
        loop {
            let (len, from) = self.socket.recv_from(&mut buffer).expect("a beat in time");
            let datagram = &buffer[..len];
            assert!(peek(datagram) == Ok(id()) && verify(datagram, KEY.as_bytes()));
            let beat = Beat::parse(datagram).unwrap();
            let what = self.script.get(seen.len()).copied().unwrap_or(Do::Hear);
            // A beat more may come before the word to stop has arrived.
            if seen.len() < self.beats || beat.kind == Kind::Stop {
                seen.push(beat);
            }
            for reply in replies(what, &beat) {
                self.socket.send_to(&reply, from).unwrap();
            }
            if beat.kind == Kind::Stop {
                return seen;
            }
            if seen.len() == self.beats {
                drop(self.stop.shutdown(std::net::Shutdown::Both));
            }
        }
    }
}

fn replies(what: Do, beat: &Beat) -> Vec<Vec<u8>> {
    let heard = Reply {
        answer: Answer::Heard,
        boot: beat.boot,
        seq: beat.seq,
        instance: beat.instance,
        time: 1,
    };
    let write = |reply: &Reply| reply.write(&id(), KEY.as_bytes()).to_vec();
    match what {
        Do::Ignore => Vec::new(),
        Do::Hear => vec![write(&heard)],
        Do::Stale(newest) => vec![write(&Reply {
            answer: Answer::Stale { newest },
            ..heard
        })],
        Do::Superseded => vec![write(&Reply {
            answer: Answer::Superseded,
            ..heard
        })],
        Do::Deceive => {
            let whole = write(&heard);
            let mut flipped = whole.clone();
            flipped[10] ^= 1;
            vec![
                heard.write(&id(), b"another key of the same length").to_vec(),
                heard
                    .write(&SensorId::parse("other").unwrap(), KEY.as_bytes())
                    .to_vec(),
                write(&Reply {
                    boot: heard.boot + 1,
                    ..heard
                }),
                write(&Reply {
                    seq: heard.seq + 1,
                    ..heard
                }),
                write(&Reply {
                    instance: heard.instance ^ 1,
                    ..heard
                }),
                beat.write(&id(), KEY.as_bytes()).to_vec(),
                flipped,
                whole[..LEN - 1].to_vec(),
                [&*whole, &[0]].concat(),
                Vec::new(),
                vec![0; 60_000],
            ]
        }
    }
}

fn monitor(script: &[Do], beats: usize) -> (SocketAddr, JoinHandle<Vec<Beat>>, UnixStream) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let monitor = Monitor {
        socket,
        stop,
        script: script.to_vec(),
        beats,
    };
    (address, thread::spawn(move || monitor.run()), stopped)
}

fn settings(server: Server) -> SensorSettings {
    SensorSettings {
        server,
        identity: Some(Identity {
            id: id(),
            key: Secret::new(KEY),
        }),
        period: Duration::from_millis(10),
        patience: Duration::from_millis(250),
        instance: 77,
    }
}

fn at(address: SocketAddr) -> Server {
    Server {
        host: Host::Ip(address.ip(), None),
        port: address.port(),
    }
}

fn name(port: u16) -> Server {
    Server {
        host: Host::Name("monitor.example".to_owned()),
        port,
    }
}

fn start(uptime_secs: u64) -> Start {
    let machine = Machine {
        boot_id: String::new(),
        uptime: Duration::from_secs(uptime_secs),
    };
    Start::begin(None, machine, Wall(1_000_000_000_000)).0
}

fn no_lookup() -> Lookup {
    Arc::new(|server| panic!("{server} needs no look-up"))
}

/// Runs a sensor to its end; gives what it said, details left out.
fn run(settings: SensorSettings, start: Start, lookup: Lookup, stop: &UnixStream) -> Vec<String> {
    run_on(&Machines::default(), settings, start, lookup, stop)
}

fn run_on(
    clock: &Machines,
    settings: SensorSettings,
    start: Start,
    lookup: Lookup,
    stop: &UnixStream,
) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |word: Word| {
        if word.level > Level::Detail {
            said.push(word.text);
        }
    };
    let sensor = Sensor::new(settings, start, lookup, clock, stop.as_fd(), &mut say).unwrap();
    sensor.run().unwrap();
    said
}

/// The scripted monitor and a sensor of it: the beats that came, and what was said.
fn act(script: &[Do], beats: usize) -> (Vec<Beat>, Vec<String>) {
    let (address, monitor, stop) = monitor(script, beats);
    let said = run(settings(at(address)), start(99_999), no_lookup(), &stop);
    (monitor.join().unwrap(), said)
}

#[test]
fn beats_are_numbered_and_acknowledged() {
    let (address, monitor, stop) = monitor(&[], 5);
    let mut settings = settings(at(address));
    settings.period = Duration::from_millis(150);
    let said = run(settings, start(99_999), no_lookup(), &stop);
    let beats = monitor.join().unwrap();
    assert_eq!(beats.len(), 6);
    for (nth, beat) in beats.iter().enumerate() {
        assert_eq!(
            (beat.seq, beat.instance, beat.boot),
            (nth as u64 + 1, 77, 1_000_000)
        );
        assert_eq!((beat.silent_us, beat.lost, beat.hindrance), (0, 0, 0), "{beat:?}");
        assert!(beat.time > 1_700_000_000_000_000 && beat.uptime_us > beat.running_us);
        let kind = if nth == 5 { Kind::Stop } else { Kind::Beat };
        assert_eq!(beat.kind, kind);
    }
    let pace = beats[4].running_us - beats[0].running_us;
    assert!(pace > 500_000, "four periods: {pace}");
    assert!(said[0].starts_with("heard by 127.0.0.1:"), "{said:?}");
    assert_eq!(said[1..], ["stopped; the monitor knows"]);
}

#[test]
fn a_silence_is_accounted_for() {
    let (beats, said) = act(&[Do::Hear, Do::Ignore, Do::Ignore, Do::Ignore], 6);
    let lost: Vec<_> = beats.iter().map(|b| b.lost).collect();
    assert_eq!(lost, [0, 0, 1, 2, 3, 0, 0]);
    // Beats that are not answered take their whole patience.
    assert!(beats[4].silent_us >= 750_000, "{}", beats[4].silent_us);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(
        said[1].starts_with("not heard for ") && said[1].contains("no answer from 127.0.0.1:"),
        "after the second: {said:?}"
    );
    assert!(
        said[2].starts_with("heard again") && said[2].contains("(3 beats lost; no answer from"),
        "{said:?}"
    );
}

#[test]
fn a_single_lost_beat_is_no_event() {
    let (beats, said) = act(&[Do::Hear, Do::Ignore, Do::Hear, Do::Ignore], 5);
    assert_eq!(
        beats.iter().map(|b| b.lost).collect::<Vec<_>>(),
        [0, 0, 1, 0, 1, 0]
    );
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn only_a_reply_that_proves_itself_counts() {
    let (beats, said) = act(&[Do::Deceive, Do::Deceive], 3);
    assert_eq!(beats.iter().map(|b| b.lost).collect::<Vec<_>>(), [0, 1, 2, 0]);
    assert!(
        said[0].starts_with("not heard yet: no valid answer from 127.0.0.1:")
            && said[0].contains("(datagrams ignored: 11)"),
        "{said:?}"
    );
}

#[test]
fn a_boot_is_told_until_it_is_acknowledged() {
    let (address, monitor, stop) = monitor(&[Do::Ignore, Do::Hear], 4);
    run(settings(at(address)), start(20), no_lookup(), &stop);
    let kinds: Vec<_> = monitor.join().unwrap().iter().map(|b| b.kind).collect();
    assert_eq!(
        kinds,
        [Kind::Boot, Kind::Boot, Kind::Beat, Kind::Beat, Kind::Stop]
    );
}

#[test]
fn a_stale_session_goes_on_above_the_newest() {
    let newest = 5_000_000_000;
    let (beats, said) = act(&[Do::Stale(newest)], 3);
    let marks: Vec<_> = beats.iter().map(|b| (b.boot, b.seq)).collect();
    assert_eq!(
        marks,
        [(1_000_000, 1), (newest + 1, 1), (newest + 1, 2), (newest + 1, 3)]
    );
    assert_eq!(beats[1].lost, 0, "the same beat, at once");
    assert!(said[0].contains("going on as 5000000001"), "{said:?}");
}

#[test]
fn a_monitor_that_is_never_content_is_no_endless_loop() {
    let stale = [Do::Stale(9), Do::Stale(u64::MAX), Do::Stale(1), Do::Stale(1)];
    let (beats, said) = act(&stale, 5);
    let sessions: Vec<_> = beats.iter().map(|b| b.boot).collect();
    // Never below what it has.
    assert_eq!(
        sessions,
        [1_000_000, 1_000_000, u64::MAX, u64::MAX, u64::MAX, u64::MAX]
    );
    assert!(
        said.iter()
            .any(|s| s.contains("every session of this sensor outdated")),
        "{said:?}"
    );
}

#[test]
fn a_second_sensor_is_loudly_told_once() {
    let (beats, said) = act(&[Do::Hear, Do::Superseded, Do::Superseded, Do::Superseded], 5);
    assert!(beats.iter().all(|b| b.boot == 1_000_000), "it does not raise");
    assert_eq!(beats[4].lost, 3);
    let loud: Vec<_> = said.iter().filter(|s| s.contains("ANOTHER SENSOR")).collect();
    assert_eq!(loud.len(), 1, "{said:?}");
}

#[test]
fn a_closed_port_is_seen_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let mut settings = settings(at(closed));
    settings.patience = LONG;
    let (clock, mut said) = (Machines::default(), Vec::new());
    let began = clock.mono();
    let mut say = |word: Word| {
        if word.level > Level::Detail {
            said.push(word.text);
            drop(stop.shutdown(std::net::Shutdown::Both));
        }
    };
    Sensor::new(
        settings,
        start(9999),
        no_lookup(),
        &clock,
        stopped.as_fd(),
        &mut say,
    )
    .unwrap()
    .run()
    .unwrap();
    assert!(clock.mono().since(began) < LONG, "nobody waits for an answer");
    assert_eq!(
        said,
        [
            format!("not heard yet: {closed} is not reached: connection refused"),
            "stopped; the monitor could not be told".to_owned()
        ]
    );
}

#[test]
fn what_the_system_refuses_goes_to_the_next_address() {
    let (address, monitor, stop) = monitor(&[], 3);
    let port = address.port();
    // No socket can be connected to the broadcast address.
    let lookup: Lookup = Arc::new(move |_| {
        Ok(vec![
            SocketAddr::from((Ipv4Addr::BROADCAST, port)),
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        ])
    });
    let said = run(settings(name(port)), start(9999), lookup, &stop);
    let beats = monitor.join().unwrap();
    assert!(beats.iter().all(|b| b.lost == 0), "{beats:?}");
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn when_nothing_can_be_sent_the_account_says_so() {
    let (address, monitor, stop) = monitor(&[], 2);
    let port = address.port();
    let asked = AtomicUsize::new(0);
    let lookup: Lookup = Arc::new(move |_| {
        let ip = match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Ipv4Addr::BROADCAST,
            _ => Ipv4Addr::LOCALHOST,
        };
        Ok(vec![SocketAddr::from((ip, port))])
    });
    let said = run(settings(name(port)), start(9999), lookup, &stop);
    let beats = monitor.join().unwrap();
    assert!(beats[0].lost > 0 && beats[0].hindrance == 1, "{:?}", beats[0]);
    assert!(
        said[0].starts_with("not heard yet: this machine cannot send to 255.255.255.255"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with(&format!("monitor.example is 127.0.0.1:{port} now")),
        "{said:?}"
    );
    assert!(said[2].starts_with("heard again"), "{said:?}");
}

#[test]
fn an_address_that_stays_silent_is_left() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, monitor, stop) = monitor(&[], 2);
    let addresses = vec![silent.local_addr().unwrap(), address];
    let lookup: Lookup = Arc::new(move |_| Ok(addresses.clone()));
    run(settings(name(1)), start(9999), lookup, &stop);
    let beats = monitor.join().unwrap();
    assert_eq!(beats.iter().map(|b| b.lost).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn a_name_may_change_its_address() {
    let old = UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = old.local_addr().unwrap();
    let (after, monitor, stop) = monitor(&[], 2);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        Ok(vec![if nth == 0 { before } else { after }])
    });
    let said = run(settings(name(1)), start(9999), lookup, &stop);
    let beats = monitor.join().unwrap();
    // Two in a row, and one more when the answer of the resolver takes longer than a period.
    assert!((2..=3).contains(&beats[0].lost), "{beats:?}");
    assert!(asked.load(Ordering::SeqCst) >= 2);
    assert!(
        said.contains(&format!("monitor.example is {after} now, no longer {before}")),
        "{said:?}"
    );
}

#[test]
fn an_unknown_name_is_tried_until_it_is_known() {
    let (address, monitor, stop) = monitor(&[], 2);
    let asked = AtomicUsize::new(0);
    let lookup: Lookup = Arc::new(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0..3 => Err(io::Error::other(
            "failed to lookup address information: Name or service not known",
        )),
        3 => Ok(Vec::new()),
        _ => Ok(vec![address]),
    });
    let said = run(settings(name(1)), start(9999), lookup, &stop);
    let beats = monitor.join().unwrap();
    assert_eq!((beats[0].lost, beats[0].hindrance), (4, 2), "{beats:?}");
    assert_eq!(
        said[0],
        "not heard yet: the name monitor.example cannot be resolved: Name or service not known"
    );
    assert!(said[1].ends_with("it has no address"), "{said:?}");
    assert!(said[2].starts_with("heard again"), "{said:?}");
}

#[test]
fn a_slow_resolver_holds_up_no_beat() {
    let (address, monitor, stop) = monitor(&[Do::Hear, Do::Ignore, Do::Ignore], 6);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let asked = AtomicUsize::new(0);
    let lookup: Lookup = Arc::new(move |_| {
        if asked.fetch_add(1, Ordering::SeqCst) > 0 {
            let _ = held.lock().unwrap().recv();
        }
        Ok(vec![address])
    });
    let said = run(settings(name(1)), start(9999), lookup, &stop);
    assert_eq!(monitor.join().unwrap().len(), 7, "{said:?}");
    drop(hold);
}

#[test]
fn after_a_suspend_one_beat_at_once_with_its_account() {
    let (address, monitor, stop) = monitor(&[], 4);
    let mut settings = settings(at(address));
    settings.period = Duration::from_millis(200);
    let clock = Arc::new(Machines::default());
    let sleeper = Arc::clone(&clock);
    let hour = 3_600_000_000;
    let mut nth = 0;
    let mut say = |word: Word| {
        if word.text.starts_with("beat ") {
            nth += 1;
            if nth == 2 {
                sleeper.suspended.store(hour, Ordering::SeqCst);
            }
        }
    };
    Sensor::new(
        settings,
        start(9999),
        no_lookup(),
        &*clock,
        stop.as_fd(),
        &mut say,
    )
    .unwrap()
    .run()
    .unwrap();
    let beats = monitor.join().unwrap();
    assert_eq!(beats[1].silent_us, 0);
    assert!(
        (hour..hour + 5_000_000).contains(&beats[2].silent_us),
        "{beats:?}"
    );
    assert_eq!((beats[2].lost, beats[3].silent_us), (0, 0), "{beats:?}");
    let gap = beats[3].running_us - beats[2].running_us;
    assert!(gap > 100_000, "no burst: {gap}");
}

#[test]
fn nothing_is_caught_up_on() {
    let (second, at) = (Duration::from_secs(1), |secs: u64| Mono(secs * 1_000_000));
    assert_eq!(paced(at(10), at(10), second), at(10));
    assert_eq!(
        paced(at(10), Mono(10_900_000), second),
        at(10),
        "the pace is kept"
    );
    assert_eq!(paced(at(10), at(11), second), at(11));
    assert_eq!(paced(at(10), at(3600), second), at(3600));
}

/// What a plain sensor sends, stopped after so many datagrams.
fn plain(start: Start, count: usize) -> (Vec<String>, Vec<String>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut settings = settings(at(socket.local_addr().unwrap()));
    settings.identity = None;
    settings.patience = Duration::from_millis(5);
    let (stop, stopped) = UnixStream::pair().unwrap();
    let monitor = thread::spawn(move || {
        let mut buffer = [0; 200];
        let mut texts = Vec::new();
        for _ in 0..count {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            texts.push(String::from_utf8(buffer[..len].to_vec()).unwrap());
            socket.send_to(b"nobody asked", from).unwrap();
        }
        stop.shutdown(std::net::Shutdown::Both).unwrap();
        texts
    });
    let said = run(settings, start, no_lookup(), &stopped);
    (monitor.join().unwrap(), said)
}

#[test]
fn plain_beats_are_those_of_the_original() {
    let (texts, said) = plain(start(20), 4);
    let uptime = texts[0].strip_prefix("BOOT").unwrap();
    let (whole, hundredths) = uptime.split_once('.').unwrap();
    assert!(whole.parse::<u64>().is_ok() && hundredths.len() == 2, "{uptime}");
    assert_eq!(texts[1..], ["PING"; 3]);
    assert!(
        said[0].starts_with("the first beat went out to 127.0.0.1:"),
        "{said:?}"
    );
    assert_eq!(said[1..], ["stopped"]);
    assert_eq!(plain(start(9999), 2).0, ["PING"; 2], "no boot");
}

#[test]
fn a_plain_boot_is_told_once_somebody_listens() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let mut settings = settings(at(address));
    settings.identity = None;
    settings.patience = Duration::from_millis(5);
    let (stop, stopped) = UnixStream::pair().unwrap();
    let clock = Machines::default();
    let (mut listener, mut said, mut heard) = (None, Vec::new(), 0);
    let mut say = |word: Word| {
        if word.text.contains("sent to") {
            heard += 1;
            if heard == 2 {
                stop.shutdown(std::net::Shutdown::Both).unwrap();
            }
        }
        if word.level > Level::Detail {
            said.push(word.text);
            listener.get_or_insert_with(|| UdpSocket::bind(address).unwrap());
        }
    };
    Sensor::new(
        settings,
        start(20),
        no_lookup(),
        &clock,
        stopped.as_fd(),
        &mut say,
    )
    .unwrap()
    .run()
    .unwrap();
    assert!(
        said[0].starts_with("not sending yet: ") && said[1].starts_with("sending again"),
        "{said:?}"
    );
    let mut buffer = [0; 40];
    let (len, _) = listener.unwrap().recv_from(&mut buffer).unwrap();
    assert!(buffer[..len].starts_with(b"BOOT"));
}

#[test]
fn the_words_of_the_wire_are_those_of_the_account() {
    use lapwing_core::heartbeat::Hindrance;
    let numbers = [Hindrance::Unanswered, Hindrance::NoRoute, Hindrance::NoName].map(|h| h as u8);
    assert_eq!(numbers, [0, 1, 2]);
}
