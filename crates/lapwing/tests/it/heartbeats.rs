//! Heartbeats heard by the daemon: plain, keyed and by HTTP; what counts, what is told, and what changes nothing.

use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use lapwing_wire::heartbeat::{Answer, Beat, Kind, LEN, Reply, SensorId};
use serde_json::Value;

use crate::{
    kit::{Daemon, Home, PATIENCE},
    peers::{HttpSink, Request, own_address},
};

const KEY: &str = "C4naryKey-0123456789.first";
const OLD_KEY: &str = "C4naryKey-0123456789.older";
const APPLIED: &str = "configuration applied";

/// A home whose daemon hears heartbeats on an address of its own, with the keys in files.
fn home(config: &str, sink: &HttpSink) -> Home {
    let own = own_address();
    let home = Home::quick(&format!(
        "{config}[heartbeat]\nlisten = \"{own}:0\"\nhttp = \"{own}:0\"\n\
         [notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        sink.url("/hook")
    ));
    for (name, key) in [("key", KEY), ("old", OLD_KEY)] {
        fs::write(home.path(name), key).unwrap();
        fs::set_permissions(home.path(name), Permissions::from_mode(0o600)).unwrap();
    }
    home
}

const KEYED: &str = "\
[[monitor]]
name = \"nas\"
target = \"heartbeat:nas\"
period = \"1h\"
key = { file = \"key\" }
";

/// The address that the log names after `word`, the `nth` time it does, counted from 0.
fn address(daemon: &Daemon, word: &str, nth: usize) -> SocketAddr {
    daemon.wait(word, || {
        let log = daemon.log();
        let mut said = log.lines().filter_map(|line| line.split_once(word));
        said.nth(nth)?.1.split([' ', '/']).next()?.parse().ok()
    })
}

fn udp(daemon: &Daemon) -> SocketAddr {
    address(daemon, "heartbeats on udp ", 0)
}

fn http(daemon: &Daemon) -> SocketAddr {
    address(daemon, "pings on http://", 0)
}

/// How many of a kind a listener has counted.
fn counted(daemon: &Daemon, listener: &str, name: &str) -> u64 {
    let status = daemon.status();
    let count = &status["listeners"][listener]["counts"][name];
    count
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} of {listener}: {}", status["listeners"]))
}

#[track_caller]
fn wait_counted(daemon: &Daemon, listener: &str, name: &str, count: u64) {
    daemon.wait(&format!("{count} {name}"), || {
        (counted(daemon, listener, name) == count).then_some(())
    });
}

fn told(sink: &HttpSink, count: usize) -> Vec<Value> {
    sink.wait_accepted("/hook", count)
        .iter()
        .map(Request::json)
        .collect()
}

/// A keyed sensor.
struct Sensor {
    socket: UdpSocket,
    id: SensorId,
    key: &'static str,
    beat: Beat,
}

impl Sensor {
    fn new(id: &str, key: &'static str) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let beat = Beat {
            kind: Kind::Beat,
            boot: 1,
            seq: 0,
            instance: 7,
            time: 0,
            uptime_us: 5_000_000_000,
            running_us: 4_000_000_000,
            silent_us: 0,
            lost: 0,
            hindrance: 0,
        };
        Self {
            socket,
            id: SensorId::parse(id).unwrap(),
            key,
            beat,
        }
    }

    /// The next beat, not sent.
    fn next(&mut self) -> [u8; LEN] {
        self.beat.seq += 1;
        self.beat.write(&self.id, self.key.as_bytes())
    }

    /// Sends the next beat and waits until it counts. Gives the datagram.
    fn beat(&mut self, to: SocketAddr) -> [u8; LEN] {
        let datagram = self.next();
        self.socket.send_to(&datagram, to).unwrap();
        assert_eq!(self.reply(), (Answer::Heard, self.beat.seq));
        datagram
    }

    fn reply(&self) -> (Answer, u64) {
        let mut buffer = [0; 200];
        let (len, _) = self.socket.recv_from(&mut buffer).unwrap();
        assert_eq!(len, LEN, "as long as the request");
        assert!(lapwing_wire::heartbeat::verify(
            &buffer[..len],
            self.key.as_bytes()
        ));
        let reply = Reply::parse(&buffer[..len]).unwrap();
        (reply.answer, reply.seq)
    }
}

/// A source of plain beats, with an address of its own.
fn source() -> UdpSocket {
    UdpSocket::bind((own_address(), 0)).unwrap()
}

#[test]
fn plain_beats_tell_the_line_from_a_restart() {
    let (sink, sensor) = (HttpSink::open(), source());
    let config = format!(
        "[[monitor]]\nname = \"home\"\ntarget = \"heartbeat:home\"\nperiod = \"400ms\"\ndown_after = \"900ms\"\n\
         from = [\"{}\"]\n",
        sensor.local_addr().unwrap().ip()
    );
    let home = home(&config, &sink);
    let daemon = home.start();
    let to = udp(&daemon);
    assert_eq!(daemon.series("home").unwrap()["state"], "pending");
    sensor.send_to(b"BOOT86400.00", to).unwrap();
    let up = daemon.wait_state("home", "up");
    assert_eq!(up["heartbeat"]["proof"], "plain", "{up}");
    assert_eq!(up["heartbeat"]["authenticated"], false);
    assert_eq!(up["heartbeat"]["uptime_s"], 86_400.0);
    assert!(
        up["heartbeat"]["due"].is_string() && up["heartbeat"].get("account").is_none(),
        "{up}"
    );
    let shown = home.run(&["status", "--all"]).out;
    assert!(
        shown.contains(" ago ") && shown.contains("unauthenticated"),
        "{shown}"
    );

    told(&sink, 1);
    let down = daemon.wait_state("home", "down");
    assert_eq!(down["reason"]["code"], "heartbeat.late", "{down}");
    sensor.send_to(b"PING\n", to).unwrap();
    told(&sink, 3);
    sensor.send_to(b"BOOT0.5", to).unwrap();
    let told = told(&sink, 4);
    let seen: Vec<_> = told
        .iter()
        .map(|e| (e["event"].as_str().unwrap(), e["cause"]["kind"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("down", None),
            ("up", Some("line")),
            ("down", None),
            ("up", Some("restart"))
        ],
        "{told:#?}"
    );
    for event in [&told[1], &told[3]] {
        let (text, cause) = (event["text"].as_str().unwrap(), &event["cause"]);
        assert!(text.contains(cause["text"].as_str().unwrap()), "{event:#}");
        assert!(cause["silent_s"].as_f64().unwrap() >= 0.9, "{event:#}");
    }
    assert_eq!(told[3]["cause"]["uptime_s"], 0.5);
    daemon.stop();
    let report = home.json(&["report", "--format", "json"]);
    let outages = report["series"][0]["outages"].as_array().unwrap();
    let causes: Vec<_> = outages.iter().map(|o| &o["cause"]["kind"]).collect();
    assert_eq!(causes[..2], ["line", "restart"], "{report:#}");
}

#[test]
fn a_beat_is_acknowledged_once_it_is_durable_and_never_counts_twice() {
    let sink = HttpSink::open();
    let home = home(KEYED, &sink);
    let daemon = home.start();
    let mut sensor = Sensor::new("nas", KEY);
    let first = sensor.beat(udp(&daemon));
    let second = sensor.beat(udp(&daemon));
    daemon.kill9();

    let left = home.json(&["status", "--json"]);
    let left = &left["series"][0]["heartbeat"];
    assert!(left["proof"] == "keyed" && left["last"].is_string(), "{left}");
    let daemon = home.start();
    let to = udp(&daemon);
    let before = daemon.wait_state("nas", "up");
    assert_eq!(before["heartbeat"]["last"], left["last"]);
    for datagram in [first, second] {
        sensor.socket.send_to(&datagram, to).unwrap();
    }
    wait_counted(&daemon, "heartbeat", "replayed", 2);
    sensor.beat(to);
    let after = daemon.series("nas").unwrap();
    assert!(
        after["heartbeat"]["last"].as_str() > before["heartbeat"]["last"].as_str(),
        "{after}"
    );
    assert_eq!(counted(&daemon, "heartbeat", "beats"), 1);
    let log = daemon.stop();
    assert!(log.contains("heard before, or very late"), "{log}");
    assert_eq!(sink.requests().len(), 0);
}

#[test]
fn nothing_that_is_forged_or_broken_changes_a_state() {
    let sink = HttpSink::open();
    let config = format!("{KEYED}[echo]\nlisten = \"{}:0\"\n", own_address());
    let home = home(&config, &sink);
    let daemon = home.start();
    let to = udp(&daemon);
    let mut sensor = Sensor::new("nas", KEY);
    let good = sensor.beat(to);
    let before = daemon.wait_state("nas", "up");

    let mut next = good;
    next[23] += 1;
    let mut future = good;
    future[4] = 2;
    let reply = Reply {
        answer: Answer::Heard,
        boot: 1,
        seq: 9,
        instance: 7,
        time: 0,
    };
    let reply: [u8; LEN] = reply.write(&sensor.id, KEY.as_bytes());
    let (mut wrong, mut unknown) = (Sensor::new("nas", OLD_KEY), Sensor::new("nobody", KEY));
    let rows: [(&str, Vec<Vec<u8>>); 8] = [
        ("replayed", vec![good.to_vec()]),
        ("bad_mac", vec![wrong.next().to_vec(), next.to_vec()]),
        ("reflected", vec![reply.to_vec()]),
        ("unknown_id", vec![unknown.next().to_vec()]),
        ("other_version", vec![future.to_vec()]),
        (
            "malformed",
            vec![good[..LEN - 1].to_vec(), [&good[..], &[0; 1_300]].concat()],
        ),
        (
            "foreign",
            vec![b"GET / HTTP/1.1".to_vec(), b"PINGS".to_vec(), Vec::new()],
        ),
        ("unknown_source", vec![b"PING".to_vec(), b"BOOT1".to_vec()]),
    ];
    for (reason, datagrams) in &rows {
        for datagram in datagrams {
            sensor.socket.send_to(datagram, to).unwrap();
        }
        wait_counted(&daemon, "heartbeat", reason, datagrams.len() as u64);
    }
    // In bursts that fit into the smallest buffer that a system allows.
    for burst in 1..=20 {
        for _ in 0..100 {
            sensor.socket.send_to(&[0x55; 64], to).unwrap();
        }
        wait_counted(&daemon, "heartbeat", "foreign", 3 + burst * 100);
    }
    sensor.beat(to);
    assert_eq!(counted(&daemon, "heartbeat", "beats"), 2);
    let after = daemon.series("nas").unwrap();
    assert_eq!(
        (&after["state"], &after["since"]),
        (&before["state"], &before["since"])
    );
    sensor.socket.set_nonblocking(true).unwrap();
    assert!(
        sensor.socket.recv_from(&mut [0; 200]).is_err(),
        "nobody else is answered"
    );
    assert_eq!(counted(&daemon, "echo", "answered"), 0);
    let log = daemon.stop();
    let lines = log.lines().filter(|line| line.contains("refused: ")).count();
    assert!(
        (rows.len()..=rows.len() + 2).contains(&lines),
        "a line for each reason: {log}"
    );
    assert!(!log.contains("C4nary"), "{log}");
    assert_eq!(sink.requests().len(), 0);
}

/// Sends a request of a ping and gives status and body of the answer.
fn ping(to: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains("C4nary"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_job_reports_in_with_curl() {
    let sink = HttpSink::open();
    let config = "[[monitor]]\nname = \"backup\"\ntarget = \"heartbeat:backup\"\ncron = \"30 2 * * *\"\n\
                  key = { file = \"key\" }\n";
    let home = home(config, &sink);
    let daemon = home.start_debug();
    let to = http(&daemon);
    let job =
        |method: &str, suffix: &str, body: &str| ping(to, method, &format!("/ping/{KEY}{suffix}"), body);
    let heartbeat = || daemon.series("backup").unwrap()["heartbeat"].clone();
    let ok = (200, "OK".to_owned());

    assert_eq!(job("GET", "/start?rid=7", ""), ok);
    assert!(heartbeat()["started"].is_string(), "{}", heartbeat());
    assert_eq!(job("POST", "", "12 GB in 3 minutes\n"), ok);
    let up = daemon.wait_state("backup", "up");
    assert_eq!(up["heartbeat"]["note"], "12 GB in 3 minutes");
    assert_eq!(up["heartbeat"]["proof"], "url");
    assert!(
        up["heartbeat"].get("started").is_none() && up["heartbeat"]["due"].is_string(),
        "{up}"
    );

    assert_eq!(job("POST", "/fail", "copying\nno space left on device\n"), ok);
    let down = daemon.wait_state("backup", "down");
    assert_eq!(down["reason"]["code"], "heartbeat.failed");
    let detail = down["reason"]["detail"].as_str().unwrap();
    assert!(detail.ends_with("no space left on device"), "{detail}");
    assert_eq!(job("HEAD", "/0", ""), (200, String::new()));
    daemon.wait_state("backup", "up");
    assert_eq!(job("PUT", "/3/", ""), ok);
    let down = daemon.wait_state("backup", "down");
    assert_eq!(down["reason"]["code"], "heartbeat.exit");

    assert_eq!(job("GET", "/300", "").0, 400);
    assert_eq!(job("DELETE", "", "").0, 405);
    assert_eq!(
        ping(to, "GET", "/ping/C4naryKey-0123456789.guess", ""),
        (404, "unknown key".to_owned())
    );
    // Who guesses is slowed down; who has the key goes on.
    let guess = |n: u32| ping(to, "GET", &format!("/ping/C4naryKey-0123456789.{n}"), "").0;
    assert!((0..200).any(|n| guess(n) == 429), "keys can be guessed fast");
    assert_eq!(job("GET", "", ""), ok);
    // What was confirmed is durable.
    let log = daemon.kill9();
    assert!(!log.contains("C4nary"), "{log}");
    let left = home.json(&["status", "--json"]);
    assert_eq!(left["series"][0]["state"], "up", "{left}");
    let events: Vec<_> = told(&sink, 3).iter().map(|e| e["event"].clone()).collect();
    assert_eq!(events[..3], ["down", "up", "down"]);
}

#[test]
fn unknown_sources_are_adopted_at_a_limited_rate() {
    let sink = HttpSink::open();
    let config = home(KEYED, &sink).read("lapwing.toml");
    let home = home("", &sink);
    home.configure(&config.replace("[heartbeat]\n", "[heartbeat]\nadopt = true\nperiod = \"1h\"\n"));
    let daemon = home.start();
    let to = udp(&daemon);
    let one = source();
    let name = one.local_addr().unwrap().ip().to_string();
    one.send_to(b"PING", to).unwrap();
    let up = daemon.wait_state(&name, "up");
    assert_eq!(
        (&up["target"], &up["kind"]),
        (&format!("heartbeat:{name}").into(), &"heartbeat".into())
    );
    assert_eq!(up["heartbeat"]["authenticated"], false);
    // It is stored with the next beats, a quarter of a second later at most.
    daemon.wait("the ledger", || {
        let left = home.json(&["report", "--format", "json"]);
        left["series"]
            .as_array()?
            .iter()
            .any(|s| s["series"] == *name)
            .then_some(())
    });
    daemon.kill9();

    let daemon = home.start();
    let to = udp(&daemon);
    let again = daemon.series(&name).unwrap();
    assert_eq!(again["since"], up["since"], "it is still there");
    for n in 0..200u32 {
        let address = Ipv4Addr::from((127 << 24) | (1 << 22) | (std::process::id() % 1_000) << 11 | n);
        UdpSocket::bind((address, 0))
            .unwrap()
            .send_to(b"PING", to)
            .unwrap();
    }
    let told = |name| counted(&daemon, "heartbeat", name);
    daemon.wait("all of them", || {
        (told("plain_beats") + told("limited") == 200).then_some(())
    });
    let heard = told("plain_beats");
    assert!((20..200).contains(&heard), "{heard}");
    // The monitor, the one from before, and these.
    daemon.wait("those that were let in", || {
        (daemon.status()["series"].as_array().unwrap().len() as u64 == 2 + heard).then_some(())
    });
    one.send_to(b"PING", to).unwrap();
    wait_counted(&daemon, "heartbeat", "plain_beats", heard + 1);

    // Nobody is adopted any more: they are let go, and none is down for it.
    home.edit("adopt = true\nperiod = \"1h\"\n", "");
    daemon.reload(APPLIED, 1);
    daemon.wait("only the monitor is left", || {
        (daemon.status()["series"].as_array().unwrap().len() == 1).then_some(())
    });
    one.send_to(b"PING", to).unwrap();
    wait_counted(&daemon, "heartbeat", "unknown_source", 1);
    daemon.stop();
    assert_eq!(sink.requests().len(), 0);
}

#[test]
fn keys_are_exchanged_without_a_gap() {
    let sink = HttpSink::open();
    let home = home(KEYED, &sink);
    home.edit("key = { file = \"key\" }", "key = { file = \"old\" }");
    let daemon = home.start();
    let (to, pings) = (udp(&daemon), http(&daemon));
    let mut sensor = Sensor::new("nas", OLD_KEY);
    sensor.beat(to);

    home.edit(
        "key = { file = \"old\" }",
        "key = [{ file = \"key\" }, { file = \"old\" }]",
    );
    daemon.reload(APPLIED, 1);
    sensor.beat(to);
    sensor.key = KEY;
    sensor.beat(to);
    for key in [KEY, OLD_KEY] {
        assert_eq!(ping(pings, "GET", &format!("/ping/{key}"), "").0, 200);
    }

    home.edit(
        "key = [{ file = \"key\" }, { file = \"old\" }]",
        "key = { file = \"key\" }",
    );
    daemon.reload(APPLIED, 2);
    sensor.key = OLD_KEY;
    let old = sensor.next();
    sensor.socket.send_to(&old, to).unwrap();
    wait_counted(&daemon, "heartbeat", "bad_mac", 1);
    assert_eq!(ping(pings, "GET", &format!("/ping/{OLD_KEY}"), "").0, 404);
    sensor.key = KEY;
    sensor.beat(to);
    daemon.stop();
}

#[test]
fn the_listeners_move_with_the_configuration() {
    let (sink, taken) = (HttpSink::open(), UdpSocket::bind((own_address(), 0)).unwrap());
    let home = home(KEYED, &sink);
    let daemon = home.start();
    let (first, pings) = (udp(&daemon), http(&daemon));
    let mut sensor = Sensor::new("nas", KEY);
    sensor.beat(first);

    // An address that somebody else has: it stays where it is.
    let listen =
        |from: &str, to: &str| home.edit(&format!("listen = \"{from}\""), &format!("listen = \"{to}\""));
    let (was, other) = (format!("{}:0", first.ip()), own_address());
    let occupied = taken.local_addr().unwrap().to_string();
    listen(&was, &occupied);
    daemon.reload(APPLIED, 1);
    let error = daemon.wait_log("cannot be heard on UDP");
    assert!(error.contains(&occupied), "{error}");
    let datagram = sensor.beat(first);

    listen(&occupied, &format!("{other}:0"));
    daemon.reload(APPLIED, 2);
    let second = address(&daemon, "heartbeats on udp ", 1);
    assert_eq!(second.ip(), other);
    sensor.socket.send_to(&datagram, second).unwrap();
    wait_counted(&daemon, "heartbeat", "replayed", 1);
    sensor.beat(second);

    let door = own_address();
    home.edit(
        &format!("http = \"{}:0\"", pings.ip()),
        &format!("http = \"{door}:0\""),
    );
    daemon.reload(APPLIED, 3);
    let moved = address(&daemon, "pings on http://", 1);
    assert_eq!(moved.ip(), door);
    assert_eq!(ping(moved, "GET", &format!("/ping/{KEY}"), "").0, 200);
    assert!(TcpStream::connect(pings).is_err());
    daemon.wait_state("nas", "up");
    daemon.stop();
    assert_eq!(sink.requests().len(), 0);
}

#[test]
fn time_in_which_nobody_listened_counts_neither_way() {
    let sink = HttpSink::open();
    let down_after = Duration::from_secs(2);
    let home = home(KEYED, &sink);
    home.edit("period = \"1h\"", "period = \"400ms\"\ndown_after = \"2s\"");
    let daemon = home.start();
    let mut sensor = Sensor::new("nas", KEY);
    sensor.beat(udp(&daemon));
    daemon.kill9();
    std::thread::sleep(down_after + down_after / 2);

    let daemon = home.start();
    assert_eq!(daemon.series("nas").unwrap()["state"], "up");
    sensor.beat(udp(&daemon));
    assert_eq!(sink.requests().len(), 0, "nothing was told of our own absence");
    // Silence that we do hear is told.
    assert_eq!(told(&sink, 1)[0]["event"], "down");
    daemon.stop();
}

#[test]
fn a_port_in_use_is_told_in_one_sentence() {
    let sink = HttpSink::open();
    let (datagrams, pings) = (
        UdpSocket::bind((own_address(), 0)).unwrap(),
        TcpListener::bind((own_address(), 0)).unwrap(),
    );
    for (key, taken, word) in [
        (
            "listen",
            datagrams.local_addr().unwrap(),
            "sensors cannot be heard on UDP",
        ),
        ("http", pings.local_addr().unwrap(), "pings cannot be taken on"),
    ] {
        let home = home(KEYED, &sink);
        let config = home.read("lapwing.toml");
        let line = config
            .lines()
            .rfind(|line| line.starts_with(key))
            .unwrap()
            .to_owned();
        home.edit(&line, &format!("{key} = \"{taken}\""));
        let ran = home.run(&["run"]);
        let text = ran.refused();
        assert!(text.contains(word) && text.contains(&taken.to_string()), "{text}");
        assert!(
            text.contains(&format!("[heartbeat] {key}")) && text.contains("in use"),
            "{text}"
        );
    }
}
