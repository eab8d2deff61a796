//! Jobs that report in with curl, as cron jobs do.

use std::cell::Cell;

use jiff::Timestamp;
use serde_json::Value;

use super::{begin, silence};
use crate::{
    place::Place,
    scene::{Scene, during, private, time},
    sensors::{Script, Sensor, curl, once},
};

const KEY: &str = "Rk3vT0pYxq8-nightly.backup";
const POLL_KEY: &str = "Zm5hW2sLbd7-every.second";

/// A job that is expected once an hour, and may take 3 s.
const BACKUP: &str = "[[monitor]]\nname = \"backup\"\ntarget = \"heartbeat:backup\"\nperiod = \"1h\"\ngrace = \"3s\"\n\
                      key = { file = \"backup.key\" }\n";

/// A ping that must count. Gives between when and when it was sent.
fn ping(place: &Place, path: &str, body: Option<&str>) -> (Timestamp, Timestamp) {
    during(|| assert_eq!(once(place, &curl(path, body)), "200", "{path}"))
}

/// What is known of the job that makes backups.
fn backup(scene: &Scene<'_>) -> Value {
    scene.status()["series"][0]["heartbeat"].take()
}

/// A job that says how it ended: DOWN with this reason, and UP by a success.
fn failure(scene: &Scene<'_>, place: &Place, path: &str, body: Option<&str>, reason: (&str, &str)) {
    let wait_for = |start: &str| scene.wait_for([start.to_owned()].into_iter());
    let sent = ping(place, &format!("{KEY}/{path}"), body);
    wait_for("DOWN backup");
    let event = scene.newest("down", "backup");
    assert_eq!(
        (&event["reason"]["code"], &event["reason"]["detail"]),
        (&reason.0.into(), &reason.1.into()),
        "{event:#}"
    );
    let since = time(&event, "since");
    assert!(sent.0 <= since && since <= sent.1, "{event:#}");
    assert!(
        event["text"]
            .as_str()
            .unwrap()
            .contains(&format!(": {}. Last beat ", reason.1)),
        "{event:#}"
    );
    ping(place, &format!("{KEY}/0"), None);
    wait_for("UP backup");
    let event = scene.newest("up", "backup");
    let text = event["text"].as_str().unwrap();
    assert!(text.ends_with(&format!("): {}.", reason.1)), "{text}");
    assert_eq!(event.get("cause"), None, "{event:#}");
}

#[test]
fn needs_curl_a_job_says_how_it_ended_or_that_it_begins_or_nothing() {
    let place = Place::new();
    for (name, key) in [("backup", KEY), ("poll", POLL_KEY)] {
        private(&place.folder().join(format!("{name}.key")), key);
    }
    let polls = || Script::start(&place, &curl(POLL_KEY, None));
    let (before, after) = (polls(), Cell::new(None));
    let mut scene = begin(&place, &[BACKUP.to_owned(), Sensor::keyed_monitor("poll")]);
    ping(&place, KEY, None);
    scene.wait_until_up();

    let told = ("heartbeat.failed", "the job said that it failed: disk full");
    failure(&scene, &place, "fail", Some("copying\ndisk full\n"), told);
    let told = ("heartbeat.exit", "the job ended with exit status 3");
    failure(&scene, &place, "3", None, told);
    ping(&place, &format!("{KEY}/start"), None);
    assert!(backup(&scene)["started"].is_string());
    ping(&place, KEY, Some("42 files"));
    let beats = backup(&scene);
    assert_eq!(
        (
            &beats["note"],
            &beats["proof"],
            &beats["source"],
            beats.get("started")
        ),
        (&"42 files".into(), &"url".into(), &"10.77.0.2".into(), None),
        "{beats:#}"
    );
    for (path, status) in [("nobody-has-this-key", "404"), (&*format!("{KEY}/256"), "400")] {
        assert_eq!(once(&place, &curl(path, None)), status, "{path}");
    }

    let started = Cell::new(None);
    let fall_silent = || {
        before.stop();
        started.set(Some(ping(&place, &format!("{KEY}/start"), None)));
    };
    let go_on = || {
        scene.wait_for(["DOWN backup".to_owned()].into_iter());
        ping(&place, KEY, None);
        after.set(Some(polls()));
    };
    let told = silence(&scene, &["poll"], fall_silent, go_on);
    let reason = told[0].reason("heartbeat.late");
    assert_eq!(reason, "no beat for 3s, expected every 1s");
    assert_eq!(told[0].up.get("cause"), None, "{:#}", told[0].up);
    unfinished(&scene, started.get().unwrap());
    scene.finish();
}

/// A job that said that it began, and not in time that it ended.
fn unfinished(scene: &Scene<'_>, started: (Timestamp, Timestamp)) {
    scene.wait_for(["UP backup".to_owned()].into_iter());
    let down = scene.newest("down", "backup");
    assert_eq!(down["reason"]["code"], "heartbeat.unfinished", "{down:#}");
    let detail = down["reason"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("started ") && detail.ends_with(", not finished within 3s"),
        "{detail}"
    );
    let since = time(&down, "since");
    assert!(started.0 <= since && since <= started.1, "{down:#}");
}
