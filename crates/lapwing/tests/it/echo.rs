//! The echo server and its client, as a person sees them, and against servers that lose, double and delay.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::UdpSocket,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use lapwing_wire::echo::{Datagram, Stamp, answer};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    kit::{Daemon, Home, look, wait},
    peers::own_address,
};

/// `lapwing echo serve` on an address of its own.
struct Server {
    daemon: Daemon,
    /// `ADDRESS:PORT`.
    address: String,
}

impl Server {
    fn start(home: &Home, args: &[&str]) -> Self {
        let listen = format!("{}:0", own_address());
        let mut command = home.lapwing();
        command.args(["echo", "serve", "--listen", &listen]).args(args);
        let out = File::create(home.path("server.out")).unwrap();
        let daemon = Daemon::spawn_to(&mut command, out.into(), home.path("no.sock"));
        let said = daemon.wait_log("echo server on udp-echo://");
        let address = said.split("udp-echo://").nth(1).unwrap();
        let address = address.split(' ').next().unwrap().to_owned();
        Self { daemon, address }
    }

    fn ip(&self) -> &str {
        self.address.split_once(':').unwrap().0
    }

    /// Ends as a person would end it. Gives what it said.
    fn end(mut self) -> String {
        self.daemon.signal(Signal::SIGINT);
        let (status, log) = self.daemon.ended();
        assert!(status.success(), "{log}");
        log
    }
}

/// A program of a test; it is killed when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits until it has ended by itself, and gives its exit code.
    fn ended(&mut self) -> Option<i32> {
        look(|| self.0.try_wait().unwrap()).expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What was measured, as `#`: decimals, and the time that a run took.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let length = rest[at..]
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len() - at);
        let number = &rest[at..at + length];
        let took = rest[..at].ends_with(" sent in ");
        out.push_str(&rest[..at]);
        if took {
            // 1s203ms: up to the colon.
            out.push('#');
            rest = &rest[at + rest[at..].find(':').unwrap()..];
            continue;
        }
        let is_decimal = number.matches('.').count() == 1;
        out.push_str(if is_decimal { "#" } else { number });
        rest = &rest[at + length..];
    }
    out + rest
}

#[test]
fn a_run_over_udp() {
    let home = Home::new("");
    let server = Server::start(&home, &[]);
    let ran = home.run(&[
        "echo",
        "send",
        &server.address,
        "-c",
        "3",
        "-i",
        "20ms",
        "-s",
        "56",
    ]);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    let (address, ip) = (&server.address, server.ip());
    assert_eq!(
        masked(&ran.out),
        format!(
            "echo to {address} ({ip}), udp, 56 bytes every 20ms\n\
             56 bytes from {ip}: seq=1 rtt=# ms  out +# back +# ms\n\
             56 bytes from {ip}: seq=2 rtt=# ms  out +# back +# ms\n\
             56 bytes from {ip}: seq=3 rtt=# ms  out +# back +# ms\n\
             \n\
             --- {address} ({address}), udp, 56 bytes ---\n\
             3 sent in #: 3 received, 0 lost (#%), 0 duplicates, 0 out of order\n\
             rtt min/median/p95/max #/#/#/# ms, jitter # ms\n\
             out:  delay change median/p95/max +#/+#/+# ms, jitter # ms\n\
             back: delay change median/p95/max +#/+#/+# ms, jitter # ms\n\
             delay change: how much longer than the quickest of late, each way; the clocks need not agree\n"
        )
    );
    let quiet = home.run(&["echo", "send", &server.address, "-q", "-c", "1"]);
    assert_eq!(quiet.code, 0);
    assert_eq!(quiet.out.matches("seq=").count(), 0, "{quiet:?}");
    assert!(quiet.out.contains("1 sent in "), "{quiet:?}");
    let log = server.end();
    assert!(log.contains("\nstopped: answered 4\n"), "{log}");
}

#[test]
fn a_run_over_tcp() {
    let home = Home::new("");
    let server = Server::start(&home, &[]);
    let ran = home.run(&[
        "echo",
        "send",
        "--tcp",
        &server.address,
        "-c",
        "2",
        "-i",
        "20ms",
        "-s",
        "100000",
    ]);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    let (address, ip) = (&server.address, server.ip());
    assert_eq!(
        masked(&ran.out),
        format!(
            "echo to {address} ({ip}), tcp, 100000 bytes every 20ms\n\
             connected in # ms\n\
             100000 bytes from {ip}: seq=1 rtt=# ms\n\
             100000 bytes from {ip}: seq=2 rtt=# ms\n\
             \n\
             --- {address} ({address}), tcp, 100000 bytes ---\n\
             2 sent in #: 2 received, 0 lost (#%)\n\
             rtt min/median/p95/max #/#/#/# ms, jitter # ms\n"
        )
    );
    server.end();
}

#[test]
fn both_ends_speak_json() {
    let home = Home::new("");
    let server = Server::start(&home, &["--json", "--plain", "refused"]);
    let url = format!("udp-echo://{}", server.address);
    let ran = home.run(&["echo", "send", "--json", &url, "-c", "2", "-i", "0.02"]);
    let lines: Vec<Value> = ran
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let events: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["echo", "echo", "summary"], "{ran:?}");
    let summary = &lines[2];
    let counts =
        ["sent", "received", "lost", "waiting", "duplicates", "reordered"].map(|k| summary[k].clone());
    assert_eq!(counts, [2, 2, 0, 0, 0, 0].map(Value::from), "{summary:#}");
    assert_eq!(
        (
            &summary["server"],
            &summary["out"]["lost"],
            &summary["lost_unknown"]
        ),
        (&json!("lapwing"), &json!(0), &json!(0))
    );
    // A stranger's datagram is refused, and counted.
    let plain = UdpSocket::bind((own_address(), 0)).unwrap();
    plain.send_to(b"hello", &server.address).unwrap();
    let counted = wait("the counters", || {
        server.daemon.signal(Signal::SIGUSR1);
        let out = home.read("server.out");
        let line: Value = serde_json::from_str(out.lines().last()?).ok()?;
        (line["plain_refused"] == 1).then_some(line)
    });
    assert_eq!(counted["answered"], 2, "{counted:#}");
    server.end();
    let last: Value = serde_json::from_str(home.read("server.out").lines().last().unwrap()).unwrap();
    assert_eq!(last, counted);
}

#[test]
fn the_server_answers_our_own_probes_and_shows_its_counters() {
    let home = Home::new("");
    let server = Server::start(&home, &[]);
    let urls = ["udp", "tcp"].map(|kind| format!("{kind}-echo://{}", server.address));
    let ran = home.run(&["check", "--json", "-o", "count=3", &urls[0], &urls[1]]);
    let states: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["state"].clone())
        .collect();
    assert_eq!((ran.code, states), (0, vec!["up".into(), "up".into()]), "{ran:?}");
    server.daemon.signal(Signal::SIGUSR1);
    server
        .daemon
        .wait_log("so far: answered 3, connections 1, stream_bytes 192");
    let log = server.end();
    assert!(
        log.ends_with("\nstopped: answered 3, connections 1, stream_bytes 192\n"),
        "{log}"
    );
}

/// A server that is played: `play` gets each datagram with its number from 1, and gives what to send back.
fn played(play: impl Fn(u32, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (String, JoinHandle<()>) {
    let socket = UdpSocket::bind((own_address(), 0)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            let Ok(Datagram::Request(request)) = Datagram::parse(&buffer[..length]) else {
                return;
            };
            for bytes in play(request.seq, &buffer[..length]) {
                socket.send_to(&bytes, from).unwrap();
            }
        }
    });
    (address, thread)
}

fn stamped(bytes: &[u8], received: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    answer(&mut bytes, Stamp { received, at: 5 }).unwrap();
    bytes
}

/// Ends a server that is played.
fn end((address, thread): (String, JoinHandle<()>)) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"end", address).unwrap();
    thread.join().unwrap();
}

#[test]
fn what_is_lost_doubled_and_overtaken_is_said() {
    // Of six: 2 is lost on the way out, 3 on the way back, 4 comes twice, 5 after 6.
    let held = std::sync::Mutex::new(Vec::new());
    let server = played(move |number, bytes| match number {
        2 | 3 => Vec::new(),
        4 => vec![stamped(bytes, 3), stamped(bytes, 3)],
        5 => {
            held.lock().unwrap().push(stamped(bytes, 4));
            Vec::new()
        }
        6 => [
            vec![stamped(bytes, 5)],
            std::mem::take(&mut *held.lock().unwrap()),
        ]
        .concat(),
        _ => vec![stamped(bytes, number)],
    });
    let home = Home::new("");
    let address = &server.0;
    let ip = address.split_once(':').unwrap().0;
    let ran = home.run(&[
        "echo",
        "send",
        address,
        "-c",
        "6",
        "-i",
        "10ms",
        "--timeout",
        "1s",
    ]);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    let text = masked(&ran.out);
    for line in [
        format!("64 bytes from {ip}: seq=4 rtt=# ms (duplicate)"),
        format!("64 bytes from {ip}: seq=5 rtt=# ms  out +# back +# ms (out of order)"),
        "seq=2 lost: no echo within 1s".to_owned(),
        "seq=3 lost: no echo within 1s".to_owned(),
        "6 sent in #: 4 received, 2 lost (#%), 1 duplicate, 1 out of order".to_owned(),
        "lost on the way out 1 (#%), on the way back 1 (#%)".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
    end(server);
}

#[test]
fn an_echo_after_its_time_is_late_and_no_loss() {
    let held = std::sync::Mutex::new(Vec::new());
    let server = played(move |number, bytes| {
        let mut held = held.lock().unwrap();
        if number == 1 {
            held.push(bytes.to_vec());
            return Vec::new();
        }
        // Once the first was given up.
        let mut back = if number == 5 {
            std::mem::take(&mut *held)
        } else {
            Vec::new()
        };
        back.push(bytes.to_vec());
        back
    });
    let home = Home::new("");
    let ran = home.run(&[
        "echo",
        "send",
        &server.0,
        "-c",
        "5",
        "-i",
        "100ms",
        "--timeout",
        "200ms",
    ]);
    let text = masked(&ran.out);
    assert!(text.contains("\nseq=1 lost: no echo within 200ms\n"), "{text}");
    assert!(text.contains(" ms (out of order) (late)\n"), "{text}");
    assert!(
        text.contains(": 5 received (1 of them late), 0 lost (#%)"),
        "{text}"
    );
    assert!(
        !text.contains("delay change"),
        "a plain server tells no direction: {text}"
    );
    end(server);
}

#[test]
fn where_nobody_answers() {
    let home = Home::new("");
    let closed = UdpSocket::bind((own_address(), 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let args = [
        "echo",
        "send",
        &closed,
        "-c",
        "2",
        "-i",
        "20ms",
        "--timeout",
        "100ms",
    ];
    let ran = home.run(&args);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        ran.out.matches("connection refused\n").count(),
        1,
        "said once: {ran:?}"
    );
    assert!(ran.out.contains("seq=2 lost: no echo within 100ms\n"), "{ran:?}");
    assert!(
        masked(&ran.out).contains("2 sent in #: 0 received, 2 lost (#%)"),
        "{ran:?}"
    );
    let ran = home.run(&[&args[..], &["--tcp"]].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("seq=2 lost: connection refused\n"), "{ran:?}");
    let (silent, thread) = played(|_, _| vec![b"who are you?".to_vec()]);
    let ran = home.run(&["echo", "send", &silent, "-c", "1", "--timeout", "100ms"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out
            .contains("12 bytes came back that are no echo of the 64 bytes sent\n")
            && ran.out.contains("\n1 came that were no echo of ours\n"),
        "{ran:?}"
    );
    end((silent, thread));
}

#[test]
fn what_cannot_be_asked_is_one_sentence() {
    let home = Home::new("");
    for (args, text) in [
        (&["nobody.invalid"][..], "nobody.invalid"),
        (&["::1", "-4"], "::1 is not an IPv4 address"),
        (&["http://localhost"], "cannot ask http://localhost"),
        (
            &["--tcp", "udp-echo://localhost"],
            "cannot ask udp-echo://localhost",
        ),
        (&["udp-echo://localhost?count=3"], "options are given as --count"),
        (&["-s", "39", "localhost"], "--size must be 40 to 65507, not 39"),
        (
            &["-s", "0", "--tcp", "localhost"],
            "--size must be 1 to 1048576, not 0",
        ),
        (&["local host"], "space"),
    ] {
        let ran = home.run(&[&["echo", "send"], args].concat());
        assert!(ran.refused().contains(text), "{args:?}: {ran:?}");
    }
    for args in [
        &[][..],
        &["-c", "0", "localhost"],
        &["-i", "0", "localhost"],
        &["--timeout", "never", "localhost"],
        &["-4", "-6", "localhost"],
    ] {
        let ran = home.run(&[&["echo", "send"], args].concat());
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}: {ran:?}");
    }
    let ran = home.run(&["echo", "serve", "--idle", "0s"]);
    assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
}

#[test]
fn a_run_without_an_end_is_asked_and_ended_by_signals() {
    let home = Home::new("");
    let server = Server::start(&home, &[]);
    for transport in [&[][..], &["--tcp"]] {
        let out = File::create(home.path("out")).unwrap();
        let mut command = home.lapwing();
        command
            .args(["echo", "send", &server.address, "-i", "10ms"])
            .args(transport);
        let mut running = Running::start(command.stdout(out));
        wait("an echo", || home.read("out").contains("seq=2 ").then_some(()));
        running.signal(Signal::SIGQUIT);
        wait("a summary", || {
            home.read("out").contains("\nrtt min/").then_some(())
        });
        let before = home.read("out").matches("seq=").count();
        wait("more", || {
            (home.read("out").matches("seq=").count() > before).then_some(())
        });
        running.signal(Signal::SIGINT);
        assert_eq!(running.ended(), Some(0));
        let text = home.read("out");
        assert_eq!(text.matches("\n--- ").count(), 2, "{text}");
        assert_eq!(text.matches(" lost (0.00%)").count(), 2, "{text}");
    }
    server.end();
}

#[test]
fn a_run_ends_when_nobody_reads_it_any_more() {
    let home = Home::new("");
    let server = Server::start(&home, &[]);
    let mut command = home.lapwing();
    command.args(["echo", "send", &server.address, "-i", "10ms"]);
    let mut running = Running::start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    assert_eq!(running.ended(), Some(0));
    server.end();
}
