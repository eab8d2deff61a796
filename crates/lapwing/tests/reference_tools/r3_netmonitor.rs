//! netmonitor: a sensor at home says PING every 30 s, and BOOT after a start of its machine; its monitor sends a mail when
//! nothing was heard for three minutes, keeps a log for each address, and reports every outage with its uncertainty.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use lapwing_wire::heartbeat::{Beat, Kind, LEN, SensorId};
use nix::sys::signal::Signal;

use crate::{
    clockwork::{clock, words},
    kit::{Daemon, Home, PATIENCE, shape, wait},
    peers::{SmtpSink, own_address},
    story::time,
};

/// How much faster the clocks of monitor and sensor run.
const SPEED: u32 = 40;

/// The monitor's file of the original, but for the port, which is any.
fn config_json(mail: &SmtpSink) -> String {
    format!(
        r#"{{"username": "me@example.com", "password": "secret", "smtp_server": "{}", "smtp_port": {},
            "alert_address": "5551234567@sms.example.com", "client_log_dir": "logs", "listen_port": 7777,
            "listen_address": "127.0.0.1", "down_interval": {{"minutes": 3}}}}"#,
        mail.address.ip(),
        mail.address.port()
    )
}

/// The monitor that `lapwing import` makes of it, running; and where it hears.
fn monitor(home: &Home, mail: &SmtpSink) -> (Daemon, SocketAddr) {
    fs::write(home.path("config.json"), config_json(mail)).unwrap();
    let ran = home.run(&["import", "netmonitor", "config.json", "--out", "new.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    home.configure(&format!(
        "[defaults]\ntimezone = \"UTC\"\n[web]\nlisten = \"off\"\n{}",
        home.read("new.toml")
    ));
    // A port of its own, and a mail server without TLS; the rest is the original's.
    home.edit("127.0.0.1:7777", "127.0.0.1:0");
    home.edit("\"starttls\"", "\"none\"");
    let clock = clock("2020-12-20 14:50:00", SPEED);
    let daemon = home.start_as(home.through(&words(&clock)).arg("run"));
    let address = heard_at(&daemon);
    (daemon, address)
}

fn heard_at(daemon: &Daemon) -> SocketAddr {
    let line = daemon.wait_log("heartbeats on udp ");
    let (_, rest) = line.split_once("heartbeats on udp ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// The sensor of the original, on a machine that has started anew when `booted`.
fn sensor(home: &Home, booted: bool) -> Daemon {
    if booted {
        fs::create_dir_all(home.path("state")).unwrap();
        fs::write(
            home.path("state/sensor.state"),
            "lapwing sensor 1\nboot_id another\nuptime_us 5\nsession 9\n",
        )
        .unwrap();
    }
    let clock = clock("2020-12-20 14:50:00", SPEED);
    let mut command = home.through(&words(&clock));
    // The lines have their times, wherever this test runs.
    command.env_remove("JOURNAL_STREAM").args([
        "sensor",
        "--config",
        "sensor.json",
        "--state",
        "state",
        "--verbose",
    ]);
    Daemon::spawn(&mut command, home.path("none"))
}

#[test]
fn needs_faketime_a_line_that_drops_is_mailed_logged_and_reported() {
    let (home, mail) = (Home::new(""), SmtpSink::open());
    let (daemon, address) = monitor(&home, &mail);
    fs::write(
        home.path("sensor.json"),
        format!(r#"{{"server": "127.0.0.1", "port": {}}}"#, address.port()),
    )
    .unwrap();

    // Another source, which says a word and falls silent.
    let other = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    other.send_to(b"PING", address).unwrap();
    // BOOT, then a PING every 30 s.
    let mut home_line = sensor(&home, true);
    home_line.wait_log("beat 5: sent to ");
    every_thirty_seconds(&home_line);
    let up = daemon.wait_state("127.0.0.1", "up");
    assert!(
        up["heartbeat"]["uptime_s"].as_f64() > Some(0.0),
        "it came with BOOT: {up}"
    );
    assert_eq!(up["heartbeat"]["proof"], "plain", "{up}");
    home_line.signal(Signal::SIGSTOP);
    let mails = mails_of(&mail, "127.0.0.1", 1);
    assert!(
        mails[0].contains("To: 5551234567@sms.example.com") && mails[0].contains("From: me@example.com"),
        "{mails:?}"
    );
    assert!(
        mails[0].contains("DOWN 127.0.0.1 ") && mails[0].contains("no beat for 3m"),
        "{mails:?}"
    );
    // The line is there again, the sensor ran all the time.
    home_line.signal(Signal::SIGCONT);
    let mails = mails_of(&mail, "127.0.0.1", 2);
    assert!(
        mails[1].contains("\nUP 127.0.0.1 after ") && mails[1].contains("line down"),
        "{mails:?}"
    );
    // The power fails: the machine has started anew when it speaks again.
    home_line.signal(Signal::SIGTERM);
    home_line.ended();
    mails_of(&mail, "127.0.0.1", 3);
    let mails = mails_of(&mail, "127.0.0.2", 1);
    assert!(mails[0].contains("DOWN 127.0.0.2 "), "{mails:?}");
    let source = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    source.send_to(b"BOOT12.50", address).unwrap();
    let mails = mails_of(&mail, "127.0.0.1", 4);
    assert!(mails[3].contains(", booted 13s before it spoke"), "{mails:?}");
    other.send_to(b"PING", address).unwrap();
    mails_of(&mail, "127.0.0.2", 2);
    daemon.stop();
    assert_eq!(mail.wait_mails(6).len(), 6, "one mail a change");
    the_logs(&home);
    the_reports(&home);
}

/// What the sensor says of its period, and what its first five beats show.
fn every_thirty_seconds(sensor: &Daemon) {
    sensor.wait_log(" every 30s");
    let beat = |n| time(&sensor.wait_log(&format!("beat {n}: sent to ")));
    let took = beat(1).duration_until(beat(5)).as_secs();
    assert!((105..=135).contains(&took), "{took} s:\n{}", sensor.log());
}

/// The mails on a source, once there are `count`, as their reader sees them.
fn mails_of(mail: &SmtpSink, source: &str, count: usize) -> Vec<String> {
    wait(&format!("{count} mails on {source}"), || {
        let mut mails: Vec<_> = mail.wait_mails(0).iter().map(|mail| unfolded(mail)).collect();
        mails.retain(|mail| mail.contains(&format!(" {source} ")));
        (mails.len() >= count).then_some(mails)
    })
}

/// The lines of a mail as its reader sees them (RFC 2045, section 6.7, rule 5).
fn unfolded(mail: &str) -> String {
    mail.replace("=\r\n", "")
}

fn the_logs(home: &Home) {
    for (source, wanted) in [
        ("127.0.0.1", &["NOW", "DOWN", "UP", "DOWN", "UP"][..]),
        ("127.0.0.2", &["NOW", "DOWN", "UP"]),
    ] {
        let log = home.lines(&format!("logs/{source}.log"));
        let words: Vec<_> = log
            .iter()
            .map(|line| line[20..].split(' ').next().unwrap())
            .collect();
        assert_eq!(words, wanted, "{source}: {log:?}");
        assert!(
            log.iter().all(|line| line.contains(&format!(" {source} "))),
            "{log:?}"
        );
    }
}

fn the_reports(home: &Home) {
    let ran = home.run(&[
        "report",
        "--format",
        "classic",
        "--since",
        "2020-12-20",
        "--until",
        "2020-12-21",
    ]);
    let up = "Entry: Sun Dec 00 00:00:00 0000 up";
    let down = "Entry: Sun Dec 00 00:00:00 0000 down";
    let outage = "Outage on Sun Dec 00 00:00:00 0000 lasted 0:00:00.000000 (+/- 00sec)";
    let reports: Vec<&str> = ran.out.split("Report for ").skip(1).collect();
    let [first, other] = reports[..] else {
        panic!("{ran:?}")
    };
    for (report, source, wanted) in [
        (first, "127.0.0.1", &[up, down, up, outage, down, up, outage][..]),
        (other, "127.0.0.2", &[up, down, up, outage]),
    ] {
        let mut lines = report.lines().filter(|line| !line.is_empty());
        assert_eq!(lines.next(), Some(source), "{ran:?}");
        let lines: Vec<&str> = lines.collect();
        let shapes: Vec<String> = lines.iter().map(|line| shape(line)).collect();
        assert_eq!(shapes, wanted, "{ran:?}");
        assert!(
            lines[3].contains(" lasted 0:0") && lines[3].ends_with("(+/- 30sec)"),
            "{ran:?}"
        );
    }
}

#[test]
fn many_sensors_are_heard_at_once() {
    const SENSORS: u32 = 500;
    let key = |n: u32| format!("C4naryKey-0123456789.{n}");
    let monitor = |n: u32| {
        format!(
            "[[monitor]]\nname = \"s{n}\"\ntarget = \"heartbeat:s{n}\"\nperiod = \"1h\"\nkey = \"${{KEY_{n}}}\"\n"
        )
    };
    let monitors: String = (0..SENSORS).map(monitor).collect();
    let own = own_address();
    let home = Home::quick(&format!("{monitors}[heartbeat]\nlisten = \"{own}:0\"\n"));
    let mut command = home.lapwing();
    command.envs((0..SENSORS).map(|n| (format!("KEY_{n}"), key(n))));
    let daemon = home.start_as(command.arg("run"));
    let to = heard_at(&daemon);
    let socket = UdpSocket::bind((own_address(), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let beat = Beat {
        kind: Kind::Beat,
        boot: 1,
        seq: 1,
        instance: 7,
        time: 0,
        uptime_us: 5_000_000,
        running_us: 4_000_000,
        silent_us: 0,
        lost: 0,
        hindrance: 0,
    };
    for first in (0..SENSORS).step_by(100) {
        for n in first..first + 100 {
            let id = SensorId::parse(&format!("s{n}")).unwrap();
            let datagram: [u8; LEN] = beat.write(&id, key(n).as_bytes());
            socket.send_to(&datagram, to).unwrap();
        }
        // Each is acknowledged once it is on disk.
        for _ in 0..100 {
            socket.recv(&mut [0; 200]).unwrap();
        }
    }
    let status = daemon.status();
    let series = status["series"].as_array().unwrap();
    assert_eq!(series.iter().filter(|s| s["state"] == "up").count(), 500);
    daemon.stop();
}
