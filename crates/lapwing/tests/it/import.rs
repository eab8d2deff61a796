//! Configurations of other tools, taken over: what comes of them is accepted, and no password stands where it should not.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
};

use crate::kit::{Home, Ran};

/// A monitor's file as the netmonitor scripts have it.
const NETMONITOR: &str = r#"{
    "username": "me@example.com",
    "password": "canary \"quoted\" $HOME ${HOME}",
    "smtp_server": "smtp.example.com",
    "smtp_port": 587,
    "alert_address": "5551234567@sms.example.com",
    "client_log_dir": "logs",
    "listen_port": 7777,
    "listen_address": "127.0.0.1",
    "down_interval": {"minutes": 3}
}
"#;

fn home(text: &str) -> Home {
    let home = Home::new("");
    fs::write(home.path("config.json"), text).unwrap();
    home
}

fn import(home: &Home, more: &[&str]) -> Ran {
    let mut args = vec!["import", "netmonitor", "config.json"];
    args.extend(more);
    home.run(&args)
}

fn mode(home: &Home, name: &str) -> u32 {
    home.path(name).metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn netmonitor_becomes_a_configuration_that_is_accepted() {
    let home = home(NETMONITOR);
    let ran = import(&home, &["--out", "new.toml"]);
    assert!(ran.code == 0 && ran.err.is_empty(), "{ran:?}");
    assert!(
        ran.out.starts_with("Wrote new.toml and netmonitor.password. ")
            && ran.out.contains("\n  lapwing run --config new.toml\n"),
        "{ran:?}"
    );
    let text = home.read("new.toml");
    for part in [
        "\n[notify.mail]\ntype     = \"email\"\nserver   = \"smtp.example.com\"\nport     = 587\ntls      = \"starttls\"\n",
        "\nfrom     = \"me@example.com\"\nto       = [\"5551234567@sms.example.com\"]\n",
        "\nusername = \"me@example.com\"\npassword = { file = \"netmonitor.password\" }\n",
        "\n[notify.log]\ntype = \"file\"\npath = \"logs/{monitor}.log\"\n",
        "\n[heartbeat]\nlisten     = \"127.0.0.1:7777\"\nadopt      = true\ndown_after = \"3m\"\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(
        home.read("netmonitor.password"),
        "canary \"quoted\" $HOME ${HOME}\n"
    );
    assert_eq!(
        (mode(&home, "new.toml"), mode(&home, "netmonitor.password")),
        (0o600, 0o600)
    );
    let check = home.run(&["config", "check", "--config", "new.toml"]);
    assert!(
        check.code == 0 && check.out.contains("is good: 0 monitors, 0 series, 2 notifiers\n"),
        "{check:?}"
    );
    // What is shown is what the original said.
    let shown = home.run(&["config", "show", "--config", "new.toml"]);
    assert!(
        shown
            .out
            .contains("\nadopt = true\nperiod = \"30s\"\ndown_after = \"3m\"\n"),
        "{shown:?}"
    );
    assert!(!shown.out.contains("canary"), "{shown:?}");
}

#[test]
fn on_standard_output_the_password_is_a_variable() {
    let home = home(NETMONITOR);
    let ran = import(&home, &[]);
    assert!(
        ran.code == 0 && ran.err.is_empty() && !ran.out.contains("canary"),
        "{ran:?}"
    );
    assert!(!home.path("netmonitor.password").exists());
    home.configure(&ran.out);
    let check = home.run(&["config", "check"]);
    assert!(
        check.code == 2
            && check
                .err
                .contains("the environment variable NETMONITOR_PASSWORD is not set"),
        "{check:?}"
    );
    let check = Ran::of(
        home.lapwing()
            .env("NETMONITOR_PASSWORD", "x")
            .args(["config", "check"]),
    );
    assert_eq!(check.code, 0, "{check:?}");
}

#[test]
fn nothing_is_written_over_unasked() {
    let home = home(NETMONITOR);
    for name in ["new.toml", "netmonitor.password"] {
        fs::write(home.path(name), "mine").unwrap();
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        let ran = import(&home, &["--out", "new.toml"]);
        assert_eq!(
            ran.refused(),
            format!("lapwing: {name} is there already; --force replaces it")
        );
        assert_eq!(home.read(name), "mine");
        let others = ["new.toml", "netmonitor.password"]
            .into_iter()
            .filter(|other| *other != name);
        assert!(
            others.into_iter().all(|other| !home.path(other).exists()),
            "{name}"
        );
        fs::remove_file(home.path(name)).unwrap();
    }
    for name in ["new.toml", "netmonitor.password"] {
        fs::write(home.path(name), "mine").unwrap();
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let ran = import(&home, &["--out", "new.toml", "--force"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        (mode(&home, "new.toml"), mode(&home, "netmonitor.password")),
        (0o600, 0o600)
    );
    let ran = import(&home, &["--force"]);
    assert!(ran.code == 2 && ran.err.contains("--out"), "{ran:?}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let home = home("{\n  \"listen_port\": 7777,\n}\n");
    let ran = import(&home, &["--out", "new.toml"]);
    assert!(
        ran.refused()
            .starts_with("lapwing: config.json:3:1: this is not JSON: trailing comma; "),
        "{ran:?}"
    );
    assert!(!home.path("new.toml").exists());
    let ran = home.run(&["import", "netmonitor", "gone.json"]);
    assert!(
        ran.refused().starts_with("lapwing: gone.json cannot be read: "),
        "{ran:?}"
    );
    // What cannot be taken over is told, and the rest is taken.
    fs::write(
        home.path("config.json"),
        r#"{"listen_port": 7777, "colour": "red"}"#,
    )
    .unwrap();
    let ran = import(&home, &["--out", "new.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let warnings: Vec<_> = ran.err.lines().collect();
    assert_eq!(
        warnings,
        [
            "warning: config.json: the key \"colour\" is not known and is left out",
            "warning: config.json: without smtp_server, username, alert_address there is no mail: nobody is told of an outage",
        ]
    );
    // An address that no mail server takes is seen at once, and not at the first outage.
    let text = NETMONITOR.replace("5551234567@sms.example.com", "not an address");
    fs::write(home.path("config.json"), text).unwrap();
    let ran = import(&home, &["--out", "bad.toml"]);
    assert!(
        ran.code == 2
            && ran.err.contains("bad.toml is written, and needs to be mended:\n")
            && !ran.err.contains("canary"),
        "{ran:?}"
    );
}

#[test]
fn the_imported_monitor_hears_the_sensors_of_the_original() {
    let home = home(NETMONITOR);
    let ran = import(&home, &["--out", "new.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = home.read("new.toml").replace("127.0.0.1:7777", "127.0.0.1:0");
    fs::write(
        home.path("new.toml"),
        format!("{text}\n[web]\nlisten = \"off\"\n"),
    )
    .unwrap();
    let daemon = home.start_as(home.lapwing().args(["run", "--config", "new.toml"]));
    let address = daemon.wait("a listener", || {
        let log = daemon.log();
        let (_, rest) = log.split_once("heartbeats on udp ")?;
        rest.split(' ').next()?.parse::<SocketAddr>().ok()
    });
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.send_to(b"PING", address).unwrap();
    daemon.wait("a line in the sender's own file", || {
        let log = home.read("logs/127.0.0.1.log");
        log.contains("NOW MONITORING 127.0.0.1 (heartbeat:127.0.0.1).")
            .then_some(())
    });
}
