//! Network Service Monitor: ports of many hosts every 30 s; the third failure in a row is told to Slack, then every 5 s
//! until it is up again; each full hour forgets what has not become an outage.

use std::{io::Write as _, net::TcpListener, time::Duration};

use crate::{
    clockwork::{clock, words},
    kit::{Daemon, Home, shape},
    peers::{Answer, Door, HttpSink, own_address, texts},
    story::{Check, Mute, checks, pace, pauses, time},
};

fn monitor(name: &str, url: &str, more: &str) -> String {
    format!("[[monitor]]\nname = \"{name}\"\ntarget = \"{url}\"\n{more}")
}

/// The original's numbers.
const ORIGINAL: &str = "\
[defaults]
interval = \"30s\"
failure_threshold = 3
recovery_interval = \"5s\"
timeout = \"10s\"
[web]
listen = \"off\"
[notify.ops]
type = \"slack\"
webhook_url = \"${SLACK_WEBHOOK_URL}\"
";

/// A daemon whose clock runs `speed` times as fast, with every check in its log.
fn start(home: &Home, begin: &str, speed: u32, hook: &str) -> Daemon {
    let clock = clock(begin, speed);
    let mut command = home.through(&words(&clock));
    command.env("LAPWING_LOG", "debug").env("SLACK_WEBHOOK_URL", hook);
    home.start_as(command.arg("run"))
}

#[test]
fn needs_faketime_the_third_failure_is_told_and_then_it_is_asked_every_five_seconds() {
    let (sink, steady, mut door) = (HttpSink::open(), Door::open(), Door::open());
    let services = monitor("example", &door.url(), "")
        + &monitor("faster", &door.url(), "retry_interval = \"10s\"\n")
        + &monitor("another", &steady.url(), "");
    let home = Home::new(&format!("{ORIGINAL}{services}"));
    let path = "/services/T0/B0/C4nary";
    let daemon = start(&home, "2026-01-01 12:00:01", 15, &sink.url(path));
    for name in ["example", "faster", "another"] {
        daemon.wait_state(name, "up");
    }
    door.close();
    sink.wait_accepted(path, 2);
    let failed = || {
        checks(&daemon.log(), "example")
            .iter()
            .filter(|c| c.failed())
            .count()
    };
    // Six after the third, which prove that nothing is told twice.
    daemon.wait("checks while down", || (failed() >= 9).then_some(()));
    door.reopen();
    sink.wait_accepted(path, 4);
    let seen = checks(&daemon.log(), "example").len();
    daemon.wait("checks after the recovery", || {
        (checks(&daemon.log(), "example").len() >= seen + 4).then_some(())
    });
    let log = daemon.stop();
    assert!(!log.contains("C4nary"), "{log}");
    let told = sink.requests();
    let text = texts(&told);
    assert_eq!(told.len(), 4, "each is told once: {text:?}");
    assert_eq!(told[0].json(), serde_json::json!({ "text": text[0] }));
    what_was_told(&door.url(), &text);
    when_it_was_asked(&log);
}

fn what_was_told(url: &str, told: &[String]) {
    let of_it: Vec<_> = told.iter().filter(|text| text.contains(" example ")).collect();
    let [down, up] = of_it[..] else { panic!("{told:?}") };
    let rest = down.strip_prefix(&format!("DOWN example ({url}) since "));
    let rest = rest.unwrap_or_else(|| panic!("{down}"));
    assert_eq!(
        shape(rest),
        "00:00:00: connection refused. 0 checks failed; last seen up 00:00:00."
    );
    assert!(rest.contains(" 3 checks failed;"), "{down}");
    let length = "UP example after 00:00:00 ± 00s down (00:00:00 to 00:00:00): connection refused.";
    assert_eq!(shape(up), length);
}

/// Every 30 s until the third failure, every 5 s while down, every 30 s again; and the other port all the time.
fn when_it_was_asked(log: &str) {
    let all = checks(log, "example");
    let first = all.iter().position(Check::failed).unwrap();
    let last = all.iter().rposition(Check::failed).unwrap();
    let failed = &all[first..=last];
    assert!(failed.iter().all(Check::failed), "{failed:#?}");
    let alert = log
        .lines()
        .find(|line| line.contains(" INFO DOWN example "))
        .unwrap();
    assert!(
        failed[2].at <= time(alert) && time(alert) < failed[3].at,
        "the third failure is told: {alert}\n{failed:#?}"
    );
    let each = |pauses: &[f64], wanted: f64| {
        // One check that comes late moves the mean, and not the median.
        let mut sorted = pauses.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        assert!(
            (median - wanted).abs() < wanted / 3.0,
            "every {wanted} s: {pauses:?}"
        );
    };
    let pauses_of = pauses(failed);
    each(&pauses_of[..2], 30.0);
    each(&pauses_of[2..], 5.0);
    let mut faster = checks(log, "faster");
    faster.retain(Check::failed);
    each(&pauses(&faster)[..2], 10.0);
    each(&pace(&all[last + 1..]), 30.0);
    let steady = checks(log, "another");
    assert!(steady.iter().all(|check| !check.failed()), "{steady:#?}");
    each(&pace(&steady), 30.0);
}

#[test]
fn one_slow_host_delays_no_other() {
    let (mute, door) = (Mute::open(), Door::open());
    let slow = monitor("slow", &mute.url(), "interval = \"2s\"\ntimeout = \"2s\"\n");
    let home = Home::quick(&(slow + &monitor("quick", &door.url(), "")));
    let daemon = home.start_debug();
    daemon.wait("two checks of the slow one", || {
        (checks(&daemon.log(), "slow").len() >= 2).then_some(())
    });
    let log = daemon.stop();
    let slow = checks(&log, "slow");
    assert!(
        slow.iter()
            .all(|check| check.line.contains("code=timeout.connect")),
        "{slow:#?}"
    );
    // While the second one waited for its 2 s, the other was asked every 200 ms.
    let between = |at| slow[0].at < at && at < slow[1].at;
    let meanwhile = checks(&log, "quick")
        .into_iter()
        .filter(|check| between(check.at))
        .count();
    assert!(meanwhile >= 6, "{meanwhile} checks meanwhile:\n{log}");
}

#[test]
fn the_connection_has_a_limit_of_its_own() {
    let (home, mute) = (Home::new(""), Mute::open());
    let limit = [
        "check",
        "--json",
        "-o",
        "connect_timeout=200ms",
        "--timeout",
        "5s",
    ];
    let found = home.json(&[&limit[..], &[&mute.url()]].concat());
    assert_eq!(found["reason"]["code"], "timeout.connect", "{found}");
    let took = found["total_ms"].as_f64().unwrap();
    assert!((200.0..2_000.0).contains(&took), "{found}");
    // What comes after the connection may take longer.
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"220 ready\r\n").unwrap();
    });
    let found = home.json(&[&limit[..], &["-o", "expect=220", &url]].concat());
    assert_eq!(found["state"], "up", "{found}");
    assert!(found["total_ms"].as_f64() > Some(500.0), "{found}");
    server.join().unwrap();
}

#[test]
fn needs_faketime_each_full_hour_forgets_what_is_no_outage_yet() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let quick = "interval = \"2s\"\n";
    let monitors = monitor(
        "hourly",
        &door.url(),
        "interval = \"2s\"\nreset_failures = \"hourly\"\n",
    ) + &monitor("kept", &door.url(), quick)
        + &monitor(
            "gone",
            &Door::closed().url(),
            "interval = \"2s\"\nfailure_threshold = 1\nreset_failures = \"hourly\"\n",
        );
    let defaults = ORIGINAL
        .replace("timeout = \"10s\"", "timeout = \"2s\"\ntimezone = \"UTC\"")
        .replace("recovery_interval = \"5s\"\n", "");
    let home = Home::new(&format!("{defaults}{monitors}"));
    let daemon = start(&home, "2026-01-01 12:59:45", 2, &sink.url("/hook"));
    let of_hour = |hour: &str, log: &str| {
        checks(log, "hourly")
            .into_iter()
            .filter(|c| c.failed() && c.line.contains(hour))
            .count()
    };
    // An up at 55 leaves room for one or two failures of the hour, and never for three.
    daemon.wait("an answer just before the hour", || {
        checks(&daemon.log(), "hourly")
            .last()
            .filter(|c| c.line.contains("T12:59:55.") || c.line.contains("T12:59:56."))
            .map(|_| ())
    });
    door.close();
    daemon.wait_log("INFO DOWN hourly ");
    let log = daemon.stop();
    let before = of_hour("T12:59:", &log);
    assert!((1..3).contains(&before), "{before} before the hour:\n{log}");
    assert_eq!(
        of_hour("T13:00:", &log),
        3,
        "counted anew from the hour on:\n{log}"
    );
    let text = texts(&sink.requests());
    let told = |name: &str| {
        text.iter()
            .filter(|t| t.starts_with(&format!("DOWN {name} ")))
            .collect::<Vec<_>>()
    };
    let (hourly, kept) = (told("hourly"), told("kept"));
    assert!(
        hourly.len() == 1 && hourly[0].contains(" since 13:00:0"),
        "{text:?}"
    );
    assert!(
        hourly[0].contains(" 3 checks failed; last seen up 12:59:5"),
        "{text:?}"
    );
    assert!(
        kept.len() == 1 && kept[0].contains(" since 12:59:5"),
        "without it, they count on: {text:?}"
    );
    assert_eq!(
        (told("gone").len(), text.len()),
        (1, 3),
        "an outage is not forgotten: {text:?}"
    );
}

#[test]
fn what_fails_is_survived_and_slack_hears_of_it_later() {
    let (sink, mute, refused) = (HttpSink::open(), Mute::open(), Door::closed());
    sink.answer(Answer::status(503));
    let monitors = monitor("silent", &mute.url(), "") + &monitor("refused", &refused.url(), "");
    let home = Home::quick(&format!(
        "{monitors}[notify.ops]\ntype = \"slack\"\nwebhook_url = \"{}\"\n",
        sink.url("/hook")
    ));
    let daemon = home.start();
    daemon.wait_state("silent", "down");
    daemon.wait_state("refused", "down");
    sink.wait_requests(1);
    sink.answer(Answer::status(200));
    let mut told = texts(&sink.wait_accepted("/hook", 2));
    daemon.stop();
    told.sort();
    assert!(
        told[0].contains(": connection refused. 3 checks failed")
            && told[1].contains("DOWN silent ")
            && told[1].contains(" within 200ms. 3 checks failed"),
        "{told:?}"
    );
}
