//! `ReachabilityCheck`: one host from the command line, its packet loss by ICMP or one of its ports, and every message in
//! a dated file.

use std::net::TcpListener;

use crate::{
    alone::{Requests, alone, deaf},
    kit::{Home, instant, look, shape, wait},
    peers::{Door, HttpSink, own_address, texts},
    story::{Mute, each_second, private},
    watching::{Watch, dated},
};

/// The texts of the lines of an alert file.
fn alerts(home: &Home, end: &str) -> Vec<String> {
    let (name, lines) = dated(home, end);
    assert_eq!(shape(&name[..11]), "0000-00-00_", "{name}");
    assert!(
        lines.iter().all(|l| shape(&l[..20]) == "0000-00-00 00:00:00 "),
        "{lines:?}"
    );
    lines.iter().map(|line| line[20..].to_owned()).collect()
}

#[track_caller]
fn wait_results(watch: &Watch<'_>, state: &str, count: usize) {
    let word = format!("  {state}  ");
    let found = look(|| (watch.shown().matches(&word).count() >= count).then_some(()));
    assert!(found.is_some(), "not {count} results {state}:\n{}", watch.shown());
}

#[test]
fn needs_root_needs_ip_loss_is_told_by_more_than_the_change_and_at_all_and_none() {
    alone(|| {
        let (home, sink) = (Home::new(""), HttpSink::open());
        private(&home, "hook", &sink.url("/hook"));
        let watch = Watch::start(
            &home,
            &[
                "127.0.0.1",
                "-s",
                "30",
                "-c",
                "35",
                "-i",
                "100ms",
                "-v",
                "--slack-webhook-file",
                "hook",
            ],
        );
        wait_results(&watch, "up", 30);
        deaf(true);
        watch.wait(" to 100.00% (30 of 30).");
        deaf(false);
        watch.wait(" to 0.00% (0 of 30).");
        sink.wait_accepted("/hook", 6);
        let ran = watch.interrupt();
        // 11 of 30 is the first share above 35 points; the last step to 100 and to 0 is less, and told all the same.
        let expected = [
            "rose from 0.00% to 36.67% (11 of 30).",
            "rose from 36.67% to 73.33% (22 of 30).",
            "rose from 73.33% to 100.00% (30 of 30).",
            "fell from 100.00% to 63.33% (19 of 30).",
            "fell from 63.33% to 26.67% (8 of 30).",
            "fell from 26.67% to 0.00% (0 of 30).",
        ]
        .map(|text| format!("LOSS 127.0.0.1 {text}"));
        assert_eq!(alerts(&home, "_127.0.0.1_ICMP.txt"), expected);
        assert_eq!(texts(&sink.accepted("/hook")), expected);
        assert!(
            ran.code == 0 && !ran.out.contains("DOWN"),
            "only the loss is judged: {ran:?}"
        );
    });
}

#[test]
fn needs_root_needs_ip_before_the_sample_is_full_the_loss_is_over_what_is_there() {
    alone(|| {
        let home = Home::new("");
        deaf(true);
        let watch = Watch::start(&home, &["127.0.0.1", "-i", "100ms", "--timeout", "500ms", "-v"]);
        watch.wait("  LOSS 127.0.0.1 rose from 0.00% to 100.00% (1 of 1).");
        deaf(false);
        let fell = watch.wait(" fell from 100.00% to ");
        let (_, share) = fell.split_once('(').unwrap();
        let (lost, held) = share.trim_end_matches(").").split_once(" of ").unwrap();
        let (lost, held): (u32, u32) = (lost.parse().unwrap(), held.parse().unwrap());
        assert!(lost < held && held < 300, "{fell}");
        // The default change: at least one answer in twenty.
        assert!(
            (held - lost) * 100 > held * 5 && (held - lost - 1) * 100 <= held * 5,
            "{fell}"
        );
        watch.interrupt();
    });
}

#[test]
fn needs_root_needs_ip_three_hundred_results_and_five_points_are_the_defaults() {
    alone(|| {
        let home = Home::new("");
        let watch = Watch::start(
            &home,
            &[
                "127.0.0.1",
                "-i",
                "300ms",
                "--timeout",
                "300ms",
                "-o",
                "count=15",
                "-v",
            ],
        );
        wait_results(&watch, "up", 20);
        deaf(true);
        // 15 of 300 are 5.00 %, which is not more than 5.
        let rose = watch.wait("  LOSS 127.0.0.1 rose from 0.00% to ");
        let (_, share) = rose.split_once('(').unwrap();
        let lost: u32 = share.strip_suffix(" of 300).").unwrap().parse().unwrap();
        assert!((16..=30).contains(&lost), "{rose}");
        watch.interrupt();
    });
}

#[test]
fn needs_root_needs_ip_a_host_is_asked_once_a_second() {
    alone(|| {
        let (home, requests) = (Home::new(""), Requests::open());
        let watch = Watch::start(&home, &["127.0.0.1"]);
        each_second(|| requests.next());
        let ran = watch.interrupt();
        assert!(
            ran.err.starts_with("watching icmp://127.0.0.1 every 1s; "),
            "{ran:?}"
        );
    });
}

#[test]
fn a_port_is_asked_once_a_second() {
    let (home, listener) = (Home::new(""), TcpListener::bind((own_address(), 0)).unwrap());
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let watch = Watch::start(&home, &[&host, "--port", &port]);
    let begin = instant();
    each_second(|| {
        wait("a connection", || listener.accept().ok());
        instant() - begin
    });
    let ran = watch.interrupt();
    assert!(
        ran.err
            .starts_with(&format!("watching tcp://{address} every 1s; ")),
        "{ran:?}"
    );
}

#[test]
fn a_port_is_down_at_its_third_failure_in_a_row_and_a_success_counts_anew() {
    let (home, mut door) = (Home::new(""), Door::open());
    let (host, port) = (door.address().ip().to_string(), door.address().port().to_string());
    let watch = Watch::start(&home, &[&host, "--port", &port, "-v"]);
    wait_results(&watch, "up", 1);
    door.close();
    wait_results(&watch, "failed", 2);
    door.reopen();
    let ups = watch.shown().matches("  up  ").count();
    wait_results(&watch, "up", ups + 1);
    assert!(
        !watch.shown().contains("  DOWN "),
        "two failures are no outage:\n{}",
        watch.shown()
    );
    let failed = watch.shown().matches("  failed  ").count();
    assert_eq!(failed, 2, "{}", watch.shown());
    door.close();
    watch.wait("  DOWN ");
    let failed = watch.shown().matches("  failed  ").count() - failed;
    assert!(failed == 3, "the third one in a row is told:\n{}", watch.shown());
    door.reopen();
    watch.wait("  UP ");
    let ran = watch.interrupt();
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = alerts(&home, &format!("_{host}_TCP.txt"));
    let name = format!("{host}:{port}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with(&format!("DOWN {name} (tcp://{name}) since ")),
        "{told:?}"
    );
    assert!(
        told[0].contains(": connection refused. 3 checks failed; last seen up "),
        "{told:?}"
    );
    assert!(
        told[1].starts_with(&format!("UP {name} after 00:00:0")),
        "{told:?}"
    );
}

#[test]
fn a_port_that_does_not_answer_has_two_seconds() {
    let (home, mute) = (Home::new(""), Mute::open());
    let (host, port) = (mute.address.ip().to_string(), mute.address.port().to_string());
    let watch = Watch::start(&home, &[&host, "-p", &port, "-t", "1"]);
    let down = watch.wait("  DOWN ");
    assert!(
        down.contains(" within 2s. 1 check failed; never seen up"),
        "{down}"
    );
    assert_eq!(watch.interrupt().code, 1);
}
