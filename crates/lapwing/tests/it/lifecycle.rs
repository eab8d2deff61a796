//! From the first failure to the last word: what is told, in which words, and that it is told once, also when the
//! daemon is killed in between.

use std::{path::Path, time::Duration};

use lapwing_store::{DataDir, book};
use serde_json::Value;

use crate::{
    kit::{Daemon, Home, clock, instant, shape},
    peers::{Answer, Door, HttpSink, Request},
};

fn three_ways(sink: &HttpSink) -> String {
    format!(
        "[notify.slack]\ntype = \"slack\"\nwebhook_url = \"{}\"\n\
         [notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\
         [notify.file]\ntype = \"file\"\npath = \"alerts/{{KIND}}.txt\"\n",
        sink.url("/slack"),
        sink.url("/hook")
    )
}

#[test]
fn an_outage_is_told_once_in_the_words_of_the_product() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let monitor = format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\nremind = [\"1s\", \"2s\"]\nlabels = {{ site = \"lab\" }}\n",
        door.url()
    );
    let home = Home::quick(&(monitor + &three_ways(&sink)));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    door.close();
    sink.wait_accepted("/hook", 3);
    let status = daemon.wait_state("web", "down");
    door.reopen();
    let told: Vec<Value> = sink.wait_accepted("/hook", 4).iter().map(Request::json).collect();
    daemon.wait_checks(5);
    daemon.stop();

    // A second run has nothing to add.
    let again = home.start();
    again.wait_state("web", "up");
    again.wait_checks(5);
    again.stop();

    let events: Vec<_> = told.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["down", "reminder", "reminder", "up"]);
    let texts: Vec<_> = told
        .iter()
        .map(|e| e["text"].as_str().unwrap().to_owned())
        .collect();
    in_the_words_of_the_product(&door.url(), &told, &texts);
    in_the_shape_of_the_product(&door.url(), &told);
    assert_eq!(
        status["since"], told[0]["since"],
        "the state began when the outage did"
    );
    assert_eq!(status["reason"]["code"], "connect.refused");

    let hooks = sink.accepted("/hook");
    assert_eq!(hooks.len(), 4, "nothing twice");
    for (request, event) in hooks.iter().zip(&told) {
        assert_eq!(request.header("idempotency-key"), event["id"].as_str());
    }
    let slack: Vec<_> = sink
        .accepted("/slack")
        .iter()
        .map(|r| r.json()["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(slack, texts);
    let lines: Vec<_> = home
        .lines("alerts/TCP.txt")
        .iter()
        .map(|line| line[20..].to_owned())
        .collect();
    assert_eq!(lines, texts);
    assert_eq!(
        shape(&home.lines("alerts/TCP.txt")[0][..20]),
        "0000-00-00 00:00:00 "
    );
}

fn in_the_words_of_the_product(url: &str, told: &[Value], texts: &[String]) {
    let since = clock(&told[0]["since"]);
    let down = format!("DOWN web ({url}) since {since}: connection refused. 3 checks failed; last seen up ");
    assert!(
        texts[0].starts_with(&down) && shape(&texts[0][down.len()..]) == "00:00:00.",
        "{}",
        texts[0]
    );
    assert_eq!(
        texts[1],
        format!("STILL DOWN web for 00:00:01 (since {since}): connection refused.")
    );
    assert_eq!(
        texts[2],
        format!(
            "STILL DOWN web for 00:00:02 (since {since}): connection refused. This is the last reminder; you will \
             hear when it is up."
        )
    );
    let up = &told[3];
    let sure = (up["uncertainty_s"].as_f64().unwrap() * 1e3).ceil();
    assert_eq!(
        texts[3],
        format!(
            "UP web after 00:00:0{:.0} ± {sure}ms down ({since} to {}): connection refused.",
            up["duration_s"].as_f64().unwrap().trunc(),
            clock(&up["ended"])
        )
    );
}

fn in_the_shape_of_the_product(url: &str, told: &[Value]) {
    for event in told {
        assert_eq!(event["v"], 1);
        assert_eq!(event["id"].as_str().unwrap().len(), 26, "a ULID");
        assert_eq!(
            (&event["monitor"], &event["series"]),
            (&"web".into(), &"web".into())
        );
        assert_eq!((&event["target"], &event["kind"]), (&url.into(), &"tcp".into()));
        assert_eq!(event["labels"], serde_json::json!({ "site": "lab" }));
        assert_eq!(
            (&event["location"], &event["resent"]),
            (&"local".into(), &false.into())
        );
        assert_eq!(
            shape(event["at"].as_str().unwrap()),
            "0000-00-00T00:00:00.000000Z"
        );
        assert_eq!(event["since"], told[0]["since"], "one outage has one begin");
        assert_eq!(
            event["reason"],
            serde_json::json!({ "code": "connect.refused", "detail": "connection refused" })
        );
        assert_eq!(event.get("loss"), None, "what is not applicable is absent");
    }
    let states = |n: usize| {
        (
            told[n]["previous"].as_str().unwrap(),
            told[n]["state"].as_str().unwrap(),
        )
    };
    assert_eq!(
        (states(0), states(1), states(3)),
        (("failing", "down"), ("down", "down"), ("down", "up"))
    );
    assert_eq!(told[0].get("reminder"), None);
    assert_eq!(told[1]["reminder"], serde_json::json!({ "n": 1, "last": false }));
    assert_eq!(told[2]["reminder"], serde_json::json!({ "n": 2, "last": true }));
    let (length, sure) = (
        told[3]["duration_s"].as_f64().unwrap(),
        told[3]["uncertainty_s"].as_f64().unwrap(),
    );
    assert!((2.0..10.0).contains(&length), "{length}");
    // Two intervals and a late start, at most: one of them would be too strict for a loaded machine.
    assert!(sure > 0.1 && sure < 1.0, "{sure}");
    let mut ids: Vec<_> = told.iter().map(|e| e["id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), told.len());
    assert!(ids.is_sorted(), "ids grow with time");
}

fn hooked(door: &Door, sink: &HttpSink, more: &str) -> Home {
    Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n{more}[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        door.url(),
        sink.url("/hook")
    ))
}

/// Failures in a row as they stand on the disk.
fn stored_failures(data: &Path) -> Option<(u32, Option<lapwing_core::time::Wall>)> {
    let ledger = DataDir::read(data).ok()?.ledger().ok()?;
    let standings = book::restore(&ledger).ok()?.standings;
    standings
        .first()
        .map(|(_, standing)| (standing.failures, standing.first_failure))
}

#[test]
fn a_streak_survives_a_kill() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = hooked(&door, &sink, "failure_threshold = 3\ninterval = \"1s\"\n");
    let daemon = home.start();
    daemon.wait_state("web", "up");
    door.close();
    let first = daemon.wait("the second failure on the disk", || {
        let (failures, first) = stored_failures(&home.path("data"))?;
        (failures == 2).then_some(first?)
    });
    daemon.kill9();
    assert_eq!(
        sink.requests().len(),
        0,
        "two failures of three are nothing to tell"
    );

    let daemon = home.start_debug();
    let down = sink.wait_accepted("/hook", 1)[0].json();
    assert_eq!(
        daemon.count_log("down: connection refused"),
        1,
        "the third failure is the first of this run"
    );
    assert_eq!(down["since"], first.rfc3339());
    let text = down["text"].as_str().unwrap();
    assert!(text.contains(" 3 checks failed; last seen up "), "{text}");
    daemon.wait_checks(3);
    daemon.stop();
    assert_eq!(sink.requests().len(), 1);
}

#[test]
fn an_outage_across_kills_is_one_outage_with_one_alert() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = hooked(&door, &sink, "");
    let daemon = home.start();
    daemon.wait_state("web", "up");

    // Killed while the receiver has the alert and has not answered: nobody knows whether it counts.
    sink.answer(Answer::Silence);
    door.close();
    let unanswered = sink.wait_requests(1)[0].json();
    daemon.kill9();
    sink.answer(Answer::status(200));
    let daemon = home.start();
    let down = sink.wait_accepted("/hook", 1)[0].json();
    assert_eq!(
        (&unanswered["resent"], &down["resent"]),
        (&false.into(), &true.into())
    );
    assert_eq!(down["id"], unanswered["id"]);
    assert_eq!(
        down["text"], unanswered["text"],
        "it is the same message, word for word"
    );
    let state = daemon.wait_state("web", "down");
    assert_eq!(state["since"], unanswered["since"]);

    // Killed when everything has been said.
    daemon.wait("the receipt", || {
        (daemon.status()["notifiers"][0]["waiting"] == 0).then_some(())
    });
    daemon.wait_checks(3);
    daemon.kill9();
    let daemon = home.start();
    assert_eq!(daemon.wait_state("web", "down")["since"], unanswered["since"]);
    daemon.wait_checks(3);
    door.reopen();
    let up = one_up(&sink);
    assert_eq!(up["since"], unanswered["since"]);
    let length = up["duration_s"].as_f64().unwrap();
    daemon.stop();
    every_id_is_told_once_or_says_so(&sink.requests());

    let report = home.json(&["report", "--format", "json"]);
    let outages = report["series"][0]["outages"].as_array().unwrap();
    assert_eq!(outages.len(), 1, "{report:#}");
    assert_eq!(
        (&outages[0]["began"], &outages[0]["ended"]),
        (&up["since"], &up["ended"])
    );
    assert_eq!(outages[0]["length_s"].as_f64(), Some(length));
    assert_eq!(outages[0]["recovered"], true);
    let classic = home.run(&["report", "--format", "classic"]).out;
    let words: Vec<_> = classic
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        words,
        ["Report", "Entry:", "Entry:", "Entry:", "Outage"],
        "{classic}"
    );
    assert!(
        classic.starts_with("Report for web\nEntry: ") && classic.contains(" lasted 0:00:"),
        "{classic}"
    );
}

/// The UP, when it was accepted; and that there is but one.
fn one_up(sink: &HttpSink) -> Value {
    let ups = || -> Vec<Value> {
        sink.accepted("/hook")
            .iter()
            .map(Request::json)
            .filter(|e| e["event"] == "up")
            .collect()
    };
    crate::kit::wait("UP", || ups().first().cloned())
}

fn every_id_is_told_once_or_says_so(requests: &[Request]) {
    let events: Vec<Value> = requests.iter().map(Request::json).collect();
    for (n, event) in events.iter().enumerate() {
        let before = events[..n].iter().any(|e| e["id"] == event["id"]);
        assert_eq!(
            event["resent"], before,
            "a repetition says so, and nothing else does: {events:#?}"
        );
    }
    let mut kinds: Vec<_> = events
        .iter()
        .map(|e| (e["event"].as_str(), e["id"].as_str()))
        .collect();
    kinds.dedup();
    let kinds: Vec<_> = kinds.into_iter().filter_map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["down", "up"], "one alert each");
}

#[test]
fn a_kill_while_the_notifier_answers_500_loses_nothing() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = hooked(&door, &sink, "");
    let daemon = home.start();
    daemon.wait_state("web", "up");
    sink.answer(Answer::status(500));
    door.close();
    sink.wait_requests(1);
    wait_failed(&daemon);
    daemon.kill9();
    sink.answer(Answer::status(200));
    let daemon = home.start();
    let down = sink.wait_accepted("/hook", 1)[0].json();
    assert_eq!(down["id"], sink.requests()[0].json()["id"]);
    daemon.wait_checks(5);
    daemon.stop();
    assert_eq!(sink.accepted("/hook").len(), 1);
}

fn wait_failed(daemon: &Daemon) {
    daemon.wait("a failed delivery", || {
        daemon.status()["notifiers"][0]["failures"]
            .as_u64()
            .filter(|failures| *failures > 0)
    });
}

#[test]
fn it_ends_at_once_however_much_is_due() {
    // 400 checks fall due 10 times a second: some are due at whatever moment it is told to stop.
    let home = Home::quick(
        "[[monitor]]\nname = \"many\"\nhosts = [\"127.0.1.[1-200]\", \"127.0.2.[1-200]\"]\ntarget = \"tcp://{host}:1\"\n\
         interval = \"100ms\"\ntimeout = \"100ms\"\nfailure_threshold = 0\n",
    );
    let daemon = home.start();
    daemon.wait_checks(400);
    let asked = instant();
    let log = daemon.stop();
    let took = instant() - asked;
    assert!(took < Duration::from_secs(6), "{took:?}\n{log}");
    assert!(!log.contains("still under way"), "nobody is told anything: {log}");
}

#[test]
fn it_ends_while_a_webhook_hangs() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = hooked(&door, &sink, "");
    let daemon = home.start();
    daemon.wait_state("web", "up");
    sink.answer(Answer::Silence);
    door.close();
    let unanswered = sink.wait_requests(1)[0].json();
    let asked = instant();
    let log = daemon.stop();
    let took = instant() - asked;
    assert!(took < Duration::from_secs(11), "{took:?}\n{log}");
    sink.answer(Answer::status(200));
    let again = home.start();
    let down = sink.wait_accepted("/hook", 1)[0].json();
    assert_eq!((&down["id"], &down["resent"]), (&unanswered["id"], &true.into()));
    again.stop();
}

#[test]
fn a_reminder_that_fell_due_while_nobody_watched_is_not_told_of_what_is_over() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let policy = "interval = \"1s\"\nfailure_threshold = 1\nremind = [\"3s\", \"1h\"]\n";
    let home = hooked(&door, &sink, policy);
    let daemon = home.start();
    daemon.wait_state("web", "up");
    door.close();
    let down = sink.wait_accepted("/hook", 1).remove(0);
    daemon.wait("the receipt", || {
        (daemon.status()["notifiers"][0]["waiting"] == 0).then_some(())
    });
    daemon.kill9();
    assert_eq!(sink.requests().len(), 1, "the reminder is still to come");
    door.reopen();
    crate::kit::wait("the time of the reminder", || {
        (instant() - down.at > Duration::from_secs(3)).then_some(())
    });
    let daemon = home.start();
    sink.wait_requests(2);
    daemon.wait_state("web", "up");
    daemon.wait_checks(2);
    daemon.stop();
    let told: Vec<_> = sink
        .requests()
        .iter()
        .map(|r| r.json()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["down", "up"]);
}

#[test]
fn time_without_a_daemon_is_unknown_and_not_down() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = hooked(&door, &sink, "");
    let daemon = home.start();
    daemon.wait_state("web", "up");
    door.close();
    let began = daemon.wait_state("web", "down")["since"].clone();
    let seconds = || {
        let report = home.json(&["report", "--json", "--since", began.as_str().unwrap()]);
        let series = &report["series"][0];
        let seconds = |field: &str| {
            series[field]
                .as_f64()
                .unwrap_or_else(|| panic!("{field}: {report:#}"))
        };
        assert!(seconds("up_s") < 0.001, "{report:#}");
        (seconds("down_s"), seconds("unknown_s"))
    };
    let (down, unknown) = daemon.wait("a second of outage", || {
        Some(seconds()).filter(|(down, _)| *down > 1.0)
    });
    assert!(
        unknown < 0.001,
        "while it runs, all is known: down {down}, unknown {unknown}"
    );
    let watched = instant();
    daemon.kill9();
    let (down_then, unknown_then) = seconds();
    let most = down + (instant() - watched).as_secs_f64() + 1.0;
    assert!(down_then < most, "{down_then}, at most {most}");
    let (down_later, unknown_later) = crate::kit::wait("unknown time grows", || {
        Some(seconds()).filter(|(_, unknown)| *unknown > unknown_then + 1.5)
    });
    assert!(
        (down_later - down_then).abs() < 0.001,
        "nobody looked: down {down_then}, then {down_later}; unknown {unknown_then}, then {unknown_later}"
    );
    let daemon = home.start();
    daemon.wait_state("web", "down");
    daemon.wait_checks(3);
    let (_, unknown) = seconds();
    assert!(unknown > 1.5, "what nobody watched stays unknown: {unknown}");
    daemon.stop();
}
