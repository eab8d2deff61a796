//! Socket Network Monitoring System: seven services of a list of servers, each group at its own pace, with an echo server
//! and its client.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, UdpSocket},
};

use nix::sys::signal::Signal;

use crate::{
    alone::alone,
    certificates::Authority,
    kit::{Daemon, Home, shape},
    peers::{Answer, Door, HttpSink, own_address},
    services::{Service, dns, https, ntp, pong},
    story::{checks, pace},
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// `lapwing echo serve`; and its `ADDRESS:PORT`.
fn echo_server(home: &Home, listen: &str) -> (Daemon, String) {
    let mut command = home.lapwing();
    command.args(["echo", "serve", "--listen", listen]);
    let out = File::create(home.path("server.out")).unwrap();
    let server = Daemon::spawn_to(&mut command, out.into(), home.path("none"));
    let line = server.wait_log("echo server on udp-echo://");
    let (_, address) = line.split_once("udp-echo://").unwrap();
    let address = address.split(' ').next().unwrap().to_owned();
    (server, address)
}

/// The servers of the story, but for the host itself and the echo server.
struct Servers {
    web: HttpSink,
    safe: Service<u16>,
    names: Service<Ipv4Addr>,
    time: Service<u8>,
    door: Door,
    udp: Service<()>,
}

impl Servers {
    fn open(authority: &Authority) -> Self {
        Self {
            web: HttpSink::open(),
            safe: https(authority),
            names: dns(ADDRESS),
            time: ntp(2),
            door: Door::open(),
            udp: pong(),
        }
    }

    /// A monitor for each kind, named like it.
    fn monitors(&self, echo: &str) -> String {
        let (safe, names, time) = (self.safe.address, self.names.address, self.time.address);
        let (web, door, udp) = (self.web.url("/"), self.door.url(), self.udp.address);
        let monitor = |(kind, url, more): (&str, String, &str)| {
            format!("[[monitor]]\nname = \"{kind}\"\ntarget = \"{url}\"\n{more}\n")
        };
        let monitors = [
            ("http", web, ""),
            ("https", format!("https://{safe}"), "ca = \"ca.pem\""),
            ("icmp", "icmp://127.0.0.1".to_owned(), ""),
            (
                "dns",
                format!("dns://{names}/www.example.com?type=A"),
                "expect = [\"192.0.2.7\"]",
            ),
            ("ntp", format!("ntp://{time}"), "stratum = 4"),
            ("tcp", door, ""),
            (
                "udp",
                format!("udp://{udp}"),
                "send = \"ping\"\nexpect = \"pong\"",
            ),
            ("udp-echo", format!("udp-echo://{echo}"), ""),
        ];
        monitors.map(monitor).concat()
    }

    fn fail(&mut self) {
        self.web.answer(Answer::status(503));
        self.safe.say(404);
        self.names.say(Ipv4Addr::new(192, 0, 2, 8));
        self.time.say(16);
        self.door.close();
        self.udp.fall_silent();
    }

    fn recover(&mut self) {
        self.web.answer(Answer::status(200));
        self.safe.say(200);
        self.names.say(ADDRESS);
        self.time.say(2);
        self.door.reopen();
        self.udp.say(());
    }
}

/// What each kind says of a server that fails.
const FAILURES: [(&str, &str); 7] = [
    ("http", "http.status"),
    ("https", "http.status"),
    ("dns", "dns.mismatch"),
    ("ntp", "ntp.unsynchronized"),
    ("tcp", "connect.refused"),
    ("udp", "timeout.answer"),
    ("udp-echo", "connect.refused"),
];

#[test]
fn seven_services_are_up_and_each_that_breaks_is_told_with_its_reason() {
    let (authority, echo_home) = (Authority::new(), Home::new(""));
    let mut servers = Servers::open(&authority);
    let (mut echo, echo_address) = echo_server(&echo_home, &format!("{}:0", own_address()));
    let home = Home::new(&format!(
        "[defaults]\ninterval = \"500ms\"\ntimeout = \"500ms\"\nfailure_threshold = 2\ntimezone = \"UTC\"\n[web]\nlisten = \"off\"\n\
         {}[notify.log]\ntype = \"file\"\npath = \"alerts.txt\"\n",
        servers.monitors(&echo_address)
    ));
    fs::write(home.path("ca.pem"), authority.pem()).unwrap();
    let daemon = home.start();
    for (kind, _) in FAILURES {
        daemon.wait_state(kind, "up");
    }
    servers.fail();
    echo.signal(Signal::SIGINT);
    echo.ended();
    for (kind, code) in FAILURES {
        let down = daemon.wait_state(kind, "down");
        assert_eq!(down["reason"]["code"], code, "{down}");
    }
    // The host itself is still there.
    daemon.wait_state("icmp", "up");
    servers.recover();
    let (_echo, _) = echo_server(&echo_home, &echo_address);
    let told = daemon.wait("all of them up again", || {
        Some(home.lines("alerts.txt")).filter(|lines| lines.len() >= 14)
    });
    daemon.stop();
    let stamped = |line: &String| shape(&line[..20]) == "0000-00-00 00:00:00 ";
    assert!(told.iter().all(stamped), "{told:?}");
    for (kind, _) in FAILURES {
        let words = told
            .iter()
            .map(|line| line[20..].split(' ').take(2).collect::<Vec<_>>());
        let of_it: Vec<_> = words
            .filter(|words| words[1] == kind)
            .map(|words| words[0])
            .collect();
        assert_eq!(of_it, ["DOWN", "UP"], "{kind}: {told:?}");
    }
}

#[test]
fn what_each_service_is_asked_for_is_shown() {
    let (authority, web, names, time) = (Authority::new(), HttpSink::open(), dns(ADDRESS), ntp(2));
    let (safe, home) = (https(&authority), Home::new(""));
    fs::write(home.path("ca.pem"), authority.pem()).unwrap();
    let found = home.json(&["check", "--json", &web.url("/")]);
    assert_eq!(found["facts"]["http.status"], 200, "{found}");
    for phase in ["connect_ms", "first_byte_ms", "transfer_ms"] {
        assert!(found["phases"][phase].is_number(), "{found}");
    }
    let found = home.json(&[
        "check",
        "--json",
        "-o",
        "ca=ca.pem",
        &format!("https://{}", safe.address),
    ]);
    assert!(
        found["phases"]["tls_ms"].is_number()
            && found["facts"]["tls.expires_in"].as_f64() > Some(80.0 * 86_400.0),
        "{found}"
    );
    let found = home.json(&[
        "check",
        "--json",
        &format!("dns://{}/www.example.com?type=A", names.address),
    ]);
    assert_eq!(found["facts"]["dns.answers"], "192.0.2.7", "{found}");
    let found = home.json(&["check", "--json", &format!("ntp://{}", time.address)]);
    assert_eq!(
        (&found["facts"]["ntp.stratum"], &found["facts"]["ntp.leap"]),
        (&2.into(), &"none".into()),
        "{found}"
    );
    assert!(
        found["facts"]["ntp.offset"].as_f64().unwrap().abs() < 0.5 && found["facts"]["ntp.delay"].is_number(),
        "{found}"
    );
}

#[test]
fn a_datagram_finds_a_port_open_closed_or_silent() {
    let (home, open) = (Home::new(""), pong());
    let silent = UdpSocket::bind((own_address(), 0)).unwrap();
    let closed = UdpSocket::bind((own_address(), 0)).unwrap().local_addr().unwrap();
    let check = |address, more: &[&str]| {
        let target = format!("udp://{address}");
        home.json(&[&["check", "--json", "--timeout", "500ms"], more, &[&target]].concat())
    };
    let found = check(open.address, &[]);
    assert_eq!(
        (&found["state"], &found["facts"]["udp.answered"]),
        (&"up".into(), &true.into()),
        "{found}"
    );
    let found = check(closed, &[]);
    assert_eq!(
        (&found["state"], &found["reason"]["code"]),
        (&"down".into(), &"connect.refused".into()),
        "{found}"
    );
    let quiet = silent.local_addr().unwrap();
    let found = check(quiet, &[]);
    assert_eq!(
        (&found["state"], &found["facts"]["udp.answered"]),
        (&"up".into(), &false.into()),
        "{found}"
    );
    let found = check(quiet, &["-o", "expect=pong"]);
    assert_eq!(found["reason"]["code"], "timeout.answer", "{found}");
}

/// The configuration of the original: each server with its services and its own interval.
#[test]
fn every_server_has_its_own_interval_and_waits_for_no_other() {
    let (web, time) = (HttpSink::open(), ntp(2));
    let echo_home = Home::new("");
    let (_echo, echo) = echo_server(&echo_home, &format!("{}:0", own_address()));
    let home = Home::new(&format!(
        "[defaults]\ntimeout = \"400ms\"\n[web]\nlisten = \"off\"\n\
         [[monitor]]\nname = \"www.google.com\"\ntargets = [\"{}\", \"icmp://127.0.0.1\"]\ninterval = \"400ms\"\n\
         [[monitor]]\nname = \"pool.ntp.org\"\ntarget = \"ntp://{}\"\ninterval = \"800ms\"\n\
         [[monitor]]\nname = \"localhost\"\ntarget = \"udp-echo://{echo}\"\ninterval = \"1200ms\"\n",
        web.url("/"),
        time.address
    ));
    let daemon = home.start_debug();
    daemon.wait("five checks of the slowest", || {
        (checks(&daemon.log(), "localhost").len() >= 5).then_some(())
    });
    let log = daemon.stop();
    for (series, interval) in [
        ("www.google.com/http", 0.4),
        ("www.google.com/icmp", 0.4),
        ("pool.ntp.org", 0.8),
        ("localhost", 1.2),
    ] {
        let pauses = pace(&checks(&log, series));
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        assert!(
            (mean - interval).abs() < 0.15,
            "{series} every {interval} s: {pauses:?}\n{log}"
        );
    }
}

#[test]
fn needs_root_needs_ip_localhost_has_an_echo_server_on_its_usual_port() {
    alone(|| {
        let home = Home::new("");
        let mut command = home.lapwing();
        command.args(["echo", "serve"]);
        let out = File::create(home.path("server.out")).unwrap();
        let server = Daemon::spawn_to(&mut command, out.into(), home.path("none"));
        server.wait_log("echo server on ");
        let ran = home.run(&[
            "check",
            "udp-echo://localhost",
            "tcp-echo://localhost",
            "udp-echo://127.0.0.1:7007",
        ]);
        assert!(ran.code == 0 && ran.out.ends_with("3 checked: 3 up\n"), "{ran:?}");
        let ran = home.run(&["echo", "send", "localhost", "--count", "5", "--interval", "100ms"]);
        assert!(
            ran.code == 0
                && ran.out.contains("\n5 sent in ")
                && ran.out.contains(": 5 received, 0 lost (0.00%)"),
            "{ran:?}"
        );
    });
}
