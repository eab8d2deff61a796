//! Our own fault is no outage of anybody else: without a network, and after standing still.

use std::{process::Command, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    kit::{Daemon, Home, Ran},
    peers::{Answer, HttpSink},
};

/// Runs a program in the network namespace of the daemon.
fn beside(daemon: &Daemon, args: &[&str]) {
    let pid = daemon.pid().to_string();
    let ran = Ran::of(Command::new("nsenter").args(["-n", "-t", &pid, "--"]).args(args));
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
}

#[test]
fn needs_root_and_needs_ip_without_a_network_nothing_is_down() {
    // 192.0.2.0/24 is for documentation (RFC 5737) and lives in this namespace only.
    let home = Home::quick(
        "[[monitor]]\nname = \"tcp\"\ntarget = \"tcp://192.0.2.1:80\"\n\
         [[monitor]]\nname = \"ping\"\ntarget = \"icmp://192.0.2.1\"\n\
         [[monitor]]\nname = \"here\"\ntarget = \"icmp://127.0.0.1\"\n\
         [notify.file]\ntype = \"file\"\npath = \"alerts.txt\"\n",
    );
    let inside = [
        "unshare",
        "-n",
        "sh",
        "-c",
        "ip link set lo up && exec \"$@\"",
        "sh",
    ];
    let daemon = home.start_as(home.through(&inside).arg("run"));
    for name in ["tcp", "ping"] {
        let series = daemon.wait_state(name, "inconclusive");
        assert_eq!(series["reason"]["code"], "ours.no_route", "{series}");
    }
    daemon.wait_state("here", "up");
    let told = daemon.wait("the alert in the file", || {
        home.lines("alerts.txt").first().cloned()
    });
    assert!(told[20..].starts_with("OFFLINE since "), "{told}");
    assert!(told.ends_with("States are unknown until it can."), "{told}");
    daemon.wait_checks(12);
    assert!(daemon.status()["offline_since"].is_string());
    let ran = home.run(&["status"]);
    assert!(ran.code == 3 && ran.out.contains("OFFLINE since "), "{ran:?}");

    // A link comes up: now the target answers for itself, and refuses.
    beside(
        &daemon,
        &[
            "ip", "link", "add", "lap0", "type", "veth", "peer", "name", "lap1",
        ],
    );
    beside(&daemon, &["ip", "address", "add", "192.0.2.1/24", "dev", "lap0"]);
    beside(&daemon, &["ip", "link", "set", "lap0", "up"]);
    daemon.wait_state("ping", "up");
    daemon.wait_state("tcp", "down");
    let lines = daemon.wait("three alerts", || {
        Some(home.lines("alerts.txt")).filter(|lines| lines.len() >= 3)
    });
    let words: Vec<_> = lines
        .iter()
        .map(|line| line[20..].split(' ').next().unwrap())
        .collect();
    assert_eq!(words, ["OFFLINE", "ONLINE", "DOWN"], "{lines:?}");
    assert_eq!(daemon.status().get("offline_since"), None);
    daemon.wait_checks(6);
    daemon.stop();
    assert_eq!(home.lines("alerts.txt").len(), 3, "each is told once");

    let report = home.json(&["report", "ping", "--format", "json"]);
    let ping = &report["series"][0];
    assert_eq!(ping["outages"], serde_json::json!([]), "{report:#}");
    assert!(
        ping["down_s"].as_f64() == Some(0.0) && ping["unknown_s"].as_f64() > Some(1.0),
        "{report:#}"
    );
}

#[test]
fn standing_still_is_no_outage_of_the_target() {
    let sink = HttpSink::open();
    // It answers after half of the deadline, so that a probe is under way at whatever moment we are stopped.
    sink.answer(Answer::Slow(Duration::from_millis(200)));
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"page\"\ntarget = \"{}\"\ninterval = \"400ms\"\ntimeout = \"400ms\"\n\
         failure_threshold = 1\n[notify.file]\ntype = \"file\"\npath = \"alerts.txt\"\n",
        sink.url("/")
    ));
    let daemon = home.start_debug();
    let before = daemon.wait_state("page", "up");
    for _ in 0..2 {
        let seen = sink.requests().len();
        sink.wait_requests(seen + 1);
        daemon.signal(Signal::SIGSTOP);
        // The standing still itself is what is tried here.
        std::thread::sleep(Duration::from_millis(2_500));
        daemon.signal(Signal::SIGCONT);
        daemon.wait_checks(4);
        daemon.wait_state("page", "up");
    }
    let status = daemon.status();
    let log = daemon.stop();
    assert_eq!(home.lines("alerts.txt"), Vec::<String>::new(), "{log}");
    assert!(!log.contains("down: "), "{log}");
    let page: &Value = &status["series"][0];
    assert!(
        page["skipped"].as_u64() > Some(0),
        "slots that were missed are counted: {page}"
    );
    assert!(before["since"].is_string());
}
