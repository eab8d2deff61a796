//! The datagrams of the original, sent with netcat and by a sensor without a key, and the configuration of its monitor.

use std::{cell::Cell, fs, process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{begin, classic, silence};
use crate::{
    certificates::Authority,
    inbox::{Inbox, Told, Way},
    place::{NEAR, Place, Side},
    process::Process,
    scene::{LAPWING, now, report, time},
    sensors::{Script, Sensor, netcat, once},
    sinks::{PASSWORD, Sinks, USER},
};

/// The address that a line at home has in the end.
const LATER: &str = "10.77.0.9";

/// A series in the status.
fn of_series<'s>(status: &'s Value, name: &str) -> &'s Value {
    let mut all = status["series"].as_array().unwrap().iter();
    all.find(|one| one["series"] == name).unwrap_or(&Value::Null)
}

#[test]
fn needs_nc_a_named_source_and_an_adopted_one() {
    let place = Place::new();
    place.ip(Side::Far, &["address", "add", "10.77.0.9/24", "dev", "far"]);
    // The table stays open: what follows are keys of it.
    let adopt = "adopt = true\nperiod = \"1s\"\ndown_after = \"3s\"\n".to_owned();
    let monitors = [adopt, Sensor::monitor("home", "from = [\"10.77.0.2/32\"]")];
    let mut scene = begin(&place, &monitors);
    let (both, sources) = (["home", LATER], ["10.77.0.2", LATER]);
    let beats = || Script::start(&place, &netcat(&sources, "PING"));
    let script = Cell::new(Some(beats()));
    scene.wait_until("heard from both", |status| {
        both.iter()
            .all(|series| of_series(status, series)["state"] == "up")
    });
    let status = scene.status();
    for (series, source) in both.iter().zip(sources) {
        let sender = &of_series(&status, series)["heartbeat"];
        assert_eq!(
            (&sender["source"], &sender["proof"], &sender["authenticated"]),
            (&source.into(), &"plain".into(), &false.into()),
            "{status:#}"
        );
    }
    let silent = || script.take().unwrap().stop();
    let boot = || {
        once(&place, &netcat(&sources[..1], "BOOT1.50"));
        once(&place, &netcat(&sources[1..], "BOOTup 3 days"));
        script.set(Some(beats()));
    };
    let told = silence(&scene, &both, silent, boot);
    let text = told[0].cause("restart");
    assert!(
        text.starts_with("restarted: silent ") && text.ends_with("s, booted 2s before it spoke"),
        "{text}"
    );
    assert_eq!(told[0].up["cause"]["uptime_s"], 1.5);
    // An uptime that is no number is a boot all the same.
    assert_eq!(told[1].cause("restart"), "restarted");
    // From one that tells boots, that it tells none is a word too.
    for told in silence(&scene, &both, silent, || script.set(Some(beats()))) {
        assert_eq!(told.cause("line"), "line down, no restart was reported");
    }
    scene.finish();
}

#[test]
fn the_line_at_home_gets_another_address() {
    let place = Place::new();
    let sensors = [
        Sensor::keyed(&place, Side::Far, "keyed", NEAR[0]),
        Sensor::plain(&place, Side::Far, "plain", NEAR[0]),
    ];
    let monitors = [
        Sensor::keyed_monitor("keyed"),
        Sensor::monitor("plain", "from = \"any\""),
    ];
    let mut scene = begin(&place, &monitors);
    scene.wait_until_up();
    let address = |verb, address: &str| {
        place.ip(
            Side::Far,
            &["address", verb, &format!("{address}/24"), "dev", "far"],
        );
    };
    address("delete", "10.77.0.2");
    address("add", LATER);
    scene.wait_until("heard from elsewhere", |status| {
        ["keyed", "plain"]
            .iter()
            .all(|series| of_series(status, series)["heartbeat"]["source"] == LATER)
    });
    sensors[0].wait_for(4, ": heard by ");
    sensors[1].wait_for(4, ": sent to ");
    scene.finish();
}

/// The configuration of the original's monitor, imported and run as it comes out.
#[test]
fn needs_nc_the_original_is_replaced() {
    let (place, authority, inbox) = (Place::new(), Authority::new(), Arc::<Inbox>::default());
    let sinks = Sinks::open(&place, &authority, now(), &inbox);
    let (folder, source) = (place.folder(), ["10.77.0.2"]);
    let original = json!({
        "username": USER,
        "password": PASSWORD,
        "smtp_server": "127.0.0.1",
        "smtp_port": sinks.safe_mail,
        "alert_address": "5551234567@sms.lapwing.test",
        "client_log_dir": folder.join("clients"),
        "listen_port": 7777,
        "listen_address": "0.0.0.0",
        "down_interval": { "seconds": 2, "milliseconds": 500 },
    });
    fs::write(folder.join("config.json"), original.to_string()).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    import(&place);
    let mut run = place.command(Side::Near, LAPWING);
    run.arg("run").arg("--config").arg(folder.join("lapwing.toml"));
    // The original trusts whom its machine trusts.
    run.env("SSL_CERT_FILE", folder.join("ca.pem"));
    let mut daemon = Process::start(&mut run, folder.join("daemon.log"));
    wait_for_log(&daemon, "heartbeats on udp 0.0.0.0:7777");
    once(&place, &netcat(&source, "PING"));
    let down = mail(&inbox, "DOWN 10.77.0.2");
    once(&place, &netcat(&source, "BOOT1.25"));
    let _beats = Script::start(&place, &netcat(&source, "PING"));
    let up = mail(&inbox, "UP 10.77.0.2");
    for mail in [&down, &up] {
        assert_eq!(mail.to, "5551234567@sms.lapwing.test", "{mail:?}");
    }
    assert!(up.body.contains("s, booted 1s before it spoke.\n"), "{}", up.body);
    assert!(daemon.end().success());
    let log = fs::read_to_string(folder.join("clients/10.77.0.2.log")).unwrap();
    let count = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        [count("DOWN 10.77.0.2 "), count("UP 10.77.0.2 ")],
        [1, 1],
        "{log}"
    );
    proven_by_report(&place);
    let mails: Vec<Told> = inbox.all();
    assert_eq!(mails.len(), 2, "{mails:#?}");
}

/// As its reader is told: write, look, run.
fn import(place: &Place) {
    let folder = place.folder();
    let lapwing = |args: &[&str]| {
        let ran = Command::new(LAPWING)
            .args(args)
            .current_dir(folder)
            .output()
            .unwrap();
        let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(ran.status.success(), "{args:?}: {said:?}");
        said
    };
    let [_, warnings] = lapwing(&["import", "netmonitor", "config.json", "--out", "lapwing.toml"]);
    assert_eq!(warnings, "");
    let written = fs::read_to_string(folder.join("lapwing.toml")).unwrap();
    assert!(!written.contains(PASSWORD), "{written}");
    lapwing(&["config", "check", "--config", "lapwing.toml"]);
}

fn wait_for_log(daemon: &Process, text: &str) {
    let started = now();
    while !daemon.said().contains(text) {
        assert!(now() < started + Duration::from_secs(20), "{}", daemon.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a mail that came after STARTTLS and a login.
fn mail(inbox: &Inbox, start: &str) -> Told {
    let found = inbox.wait(Duration::from_secs(20), |told| {
        let fits = |told: &&Told| told.way == Way::SafeMail && told.starts(start);
        told.iter().find(fits).cloned()
    });
    found.unwrap_or_else(|| panic!("no {start}: {:#?}", inbox.all()))
}

fn proven_by_report(place: &Place) {
    let data = place.folder().join("data");
    let json: Value = serde_json::from_str(&report(&data, "json")).unwrap();
    let home = &json["series"][0];
    let outage = &home["outages"][0];
    assert_eq!(outage["cause"]["kind"], "restart", "{json:#}");
    let up = json!({ "since": outage["began"], "ended": outage["ended"] });
    let told = super::Told {
        series: "10.77.0.2",
        down: Value::Null,
        up,
    };
    assert_eq!(
        report(&data, "classic"),
        classic(time(home, "known_since"), &told)
    );
}
