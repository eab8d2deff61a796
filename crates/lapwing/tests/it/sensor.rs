//! `lapwing sensor` as a program: what arrives at a socket, what it says, how it ends, what it needs.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use lapwing_wire::heartbeat::{Answer, Beat, Kind, LEN, Reply, SensorId, peek, verify};
use nix::sys::signal::Signal;

use crate::kit::{Daemon, Home, PATIENCE, Ran};

const KEY: &str = "0123456789abcdefghij";

/// Where beats arrive.
struct Ear(UdpSocket);

impl Ear {
    fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn datagram(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 200];
        let (len, from) = self.0.recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    }

    fn text(&self) -> String {
        String::from_utf8(self.datagram().0).unwrap()
    }

    /// The next keyed beat, acknowledged.
    fn beat(&self, id: &str) -> Beat {
        let (datagram, from) = self.datagram();
        let id = SensorId::parse(id).unwrap();
        assert!(peek(&datagram) == Ok(id) && verify(&datagram, KEY.as_bytes()));
        let beat = Beat::parse(&datagram).unwrap();
        let reply = Reply {
            answer: Answer::Heard,
            boot: beat.boot,
            seq: beat.seq,
            instance: beat.instance,
            time: beat.time,
        };
        let reply: [u8; LEN] = reply.write(&id, KEY.as_bytes());
        self.0.send_to(&reply, from).unwrap();
        beat
    }

    /// The original's configuration for this address.
    fn json(&self) -> String {
        format!(
            "{{\"server\": \"127.0.0.1\", \"port\": {}}}",
            self.address().port()
        )
    }
}

/// Starts a sensor, its state in the folder of the home.
fn start(home: &Home, command: &mut Command, args: &[&str]) -> Daemon {
    command
        .args(["sensor", "--state", "state", "--period", "1s"])
        .args(args);
    Daemon::spawn(command, home.path("none"))
}

fn stop(mut sensor: Daemon, signal: Signal) -> String {
    sensor.signal(signal);
    let (status, log) = sensor.ended();
    assert!(status.success() && !log.contains("panicked"), "{status}\n{log}");
    log
}

fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The note of a start in another boot of this machine.
fn booted_since(home: &Home) {
    fs::create_dir_all(home.path("state")).unwrap();
    let note = "lapwing sensor 1\nboot_id another\nuptime_us 5\nsession 9\n";
    fs::write(home.path("state/sensor.state"), note).unwrap();
}

#[test]
fn plain_beats_with_the_configuration_of_the_original() {
    let (ear, home) = (Ear::open(), Home::new(""));
    fs::write(home.path("sensor.json"), ear.json()).unwrap();
    booted_since(&home);
    let sensor = start(&home, &mut home.lapwing(), &["--config", "sensor.json"]);
    let boot = ear.text();
    let told: f64 = boot.strip_prefix("BOOT").unwrap().parse().unwrap();
    assert!((uptime() - told).abs() < 10.0, "{boot}");
    assert_eq!([ear.text(), ear.text()], ["PING", "PING"]);
    sensor.wait_log("the first beat went out to 127.0.0.1:");
    let log = stop(sensor, Signal::SIGTERM);
    for words in [
        "a plain beat to 127.0.0.1:",
        "every 1s",
        "no monitor replies",
        "stopped",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    // A restart on a running machine is no boot.
    let again = start(&home, &mut home.lapwing(), &["--config", "sensor.json"]);
    assert_eq!(ear.text(), "PING");
    stop(again, Signal::SIGINT);
}

#[test]
fn signed_beats_from_start_to_stop() {
    let (ear, home) = (Ear::open(), Home::new(""));
    let server = ear.address().to_string();
    let args = ["--server", &server, "--id", "home", "--verbose"];
    let session = |before: u64| {
        let mut command = home.lapwing();
        command
            .env("LAPWING_SENSOR_KEY", KEY)
            .env("JOURNAL_STREAM", "8:1");
        let sensor = start(&home, &mut command, &args);
        let first = ear.beat("home");
        assert!(first.seq == 1 && first.boot > before, "{first:?}");
        assert!((uptime() - first.uptime_us as f64 / 1e6).abs() < 10.0);
        let second = ear.beat("home");
        assert_eq!((second.seq, second.lost, second.silent_us), (2, 0, 0));
        sensor.wait_log("beat 2: heard by");
        sensor.signal(Signal::SIGTERM);
        assert_eq!(ear.beat("home").kind, Kind::Stop);
        let log = stop(sensor, Signal::SIGTERM);
        assert!(
            log.starts_with("sensor home: a signed beat to 127.0.0.1:"),
            "no time: {log}"
        );
        assert!(log.ends_with("stopped; the monitor knows\n"), "{log}");
        assert!(!log.contains(KEY), "{log}");
        first.boot
    };
    let first = session(0);
    session(first);
}

#[test]
fn a_monitor_that_ends_and_comes_back() {
    let (ear, home) = (Ear::open(), Home::new(""));
    let address = ear.address();
    let server = address.to_string();
    let mut command = home.lapwing();
    command.env("LAPWING_SENSOR_KEY", KEY);
    let sensor = start(&home, &mut command, &["--server", &server, "--id", "home"]);
    ear.beat("home");
    sensor.wait_log("heard by 127.0.0.1:");
    drop(ear);
    let line = sensor.wait_log("not heard for");
    assert!(line.contains("connection refused"), "{line}");
    assert!(
        line.starts_with("20") && line.as_bytes()[10] == b'T',
        "it has its time: {line}"
    );
    let ear = Ear(UdpSocket::bind(address).unwrap());
    ear.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let beat = ear.beat("home");
    assert!(
        beat.lost > 0 && beat.silent_us > 1_000_000 && beat.hindrance == 0,
        "{beat:?}"
    );
    let line = sensor.wait_log("heard again");
    assert!(line.contains("lost; 127.0.0.1:"), "{line}");
    assert_eq!(sensor.count_log("not heard for"), 1);
    drop(ear);
    let log = stop(sensor, Signal::SIGTERM);
    assert!(log.contains("the monitor could not be told"), "{log}");
}

#[test]
fn the_memory_of_a_sensor_is_small() {
    let (ear, home) = (Ear::open(), Home::new(""));
    let server = ear.address().to_string();
    let mut command = home.lapwing();
    command.env("LAPWING_SENSOR_KEY", KEY);
    let sensor = start(&home, &mut command, &["--server", &server, "--id", "home"]);
    ear.beat("home");
    ear.beat("home");
    let status = fs::read_to_string(format!("/proc/{}/status", sensor.pid())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // Pages of the program itself, of which a build for tests has more, are shared with every other process of it.
    assert!(field("RssAnon") < 4096, "{status}");
    assert_eq!(field("Threads"), 1, "{status}");
    sensor.kill9();
}

#[test]
fn keys_are_made_and_never_replaced() {
    let home = Home::new("");
    let [first, second] = [0, 1].map(|_| home.run(&["sensor", "keygen"]));
    for ran in [&first, &second] {
        let key = ran.out.strip_suffix('\n').unwrap();
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        assert!(
            ran.code == 0 && key.len() == 43 && key.chars().all(fits),
            "{ran:?}"
        );
        assert!(
            ran.err.contains("target = \"heartbeat:home\"") && !ran.err.contains(key),
            "{ran:?}"
        );
    }
    assert_ne!(first.out, second.out);
    let kept = home.run(&["sensor", "keygen", "--out", "home.key"]);
    assert!(kept.code == 0 && kept.out.is_empty(), "{kept:?}");
    let key = home.read("home.key");
    let mode = fs::metadata(home.path("home.key")).unwrap().permissions().mode();
    assert_eq!((key.trim().len(), mode & 0o777), (43, 0o600));
    assert!(
        !kept.err.contains(key.trim()) && kept.err.contains("--key-file home.key"),
        "{kept:?}"
    );
    let again = home.run(&["sensor", "keygen", "--out", "home.key"]);
    assert!(again.refused().contains("home.key is there already"), "{again:?}");
    assert_eq!(home.read("home.key"), key);
    let nowhere = home.run(&["sensor", "keygen", "--out", "none/home.key"]);
    assert!(nowhere.refused().contains("cannot be written"), "{nowhere:?}");
}

#[test]
fn wrong_options_are_refused_in_a_sentence() {
    let home = Home::new("");
    fs::write(home.path("bad.json"), "{\"server\": }").unwrap();
    fs::write(home.path("open.key"), KEY).unwrap();
    fs::set_permissions(home.path("open.key"), fs::Permissions::from_mode(0o644)).unwrap();
    for (args, words) in [
        (&[][..], "where the beats go"),
        (&["--server", "a:0"], "\"0\" is not a port"),
        (&["--server", "a", "--period", "0s"], "must lie between 1s and 1d"),
        (&["--server", "a", "--id", "home"], "needs a key"),
        (
            &["--server", "a", "--key-file", "none.key"],
            "none.key cannot be read",
        ),
        (
            &["--server", "a", "--key-file", "open.key"],
            "can be read by others (mode 0644)",
        ),
        (&["--config", "bad.json"], "bad.json:1:12: this is not JSON"),
    ] {
        let ran = home.run(&[&["sensor"], args].concat());
        assert!(ran.refused().contains(words), "{words}: {ran:?}");
    }
    let both = home.run(&["sensor", "--server", "a", "keygen"]);
    assert_eq!(both.code, 2, "{both:?}");
    let help = home.run(&["sensor", "--help"]);
    assert!(help.code == 0 && help.out.contains("Examples:"), "{help:?}");
}

#[test]
fn a_folder_for_the_state_that_cannot_be_used_is_said_once() {
    let (ear, home) = (Ear::open(), Home::new(""));
    fs::write(home.path("state"), "a file").unwrap();
    let server = ear.address().to_string();
    let sensor = start(&home, &mut home.lapwing(), &["--server", &server]);
    ear.text();
    ear.text();
    assert_eq!(
        sensor.count_log("state/sensor.state cannot be"),
        1,
        "{}",
        sensor.log()
    );
    stop(sensor, Signal::SIGTERM);
}

#[test]
fn needs_root_needs_unshare_a_machine_without_a_network_is_waited_for() {
    let home = Home::new("");
    let fence = ["unshare", "--net"];
    let by_name = start(&home, &mut home.through(&fence), &["--server", "monitor.example"]);
    by_name.wait_log("not sending yet: the name monitor.example cannot be resolved: ");
    stop(by_name, Signal::SIGTERM);
    let mut command = home.through(&fence);
    command.env("LAPWING_SENSOR_KEY", KEY);
    let by_address = start(&home, &mut command, &["--server", "192.0.2.1", "--id", "home"]);
    by_address.wait_log("not heard yet: this machine cannot send to 192.0.2.1:7777: network is unreachable");
    stop(by_address, Signal::SIGTERM);
}

#[test]
fn needs_root_needs_unshare_a_new_uptime_is_a_boot() {
    let (ear, home) = (Ear::open(), Home::new(""));
    let server = ear.address().to_string();
    let args = ["--server", &server];
    let before = start(&home, &mut home.lapwing(), &args);
    ear.text();
    stop(before, Signal::SIGTERM);
    let offset = format!("{}", -(uptime() as i64) + 1);
    let fence = [
        "unshare",
        "--time",
        "--boottime",
        &offset,
        "--fork",
        "--kill-child",
    ];
    let sensor = start(&home, &mut home.through(&fence), &args);
    let boot = ear.text();
    let told: f64 = boot
        .strip_prefix("BOOT")
        .unwrap_or_else(|| panic!("{boot}"))
        .parse()
        .unwrap();
    assert!(told < 30.0, "{boot}");
    sensor.kill9();
}

#[test]
fn the_sensor_says_how_it_is_used() {
    let ran = Ran::of(Home::new("").lapwing().args(["sensor", "keygen", "--help"]));
    assert!(ran.code == 0 && ran.out.contains("--out"), "{ran:?}");
}
