//! Monitors that are added while the daemon runs: watched at once, kept, changed, ended, and taken over into a file.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};

use lapwing_api::{
    client::{Client, ClientError},
    monitors::{AddShape, EditShape, Keys, MonitorQuery, Origin},
};
use nix::{
    fcntl::OFlag,
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::{Value, json};

use crate::{
    kit::{Daemon, Home, PATIENCE, Ran, wait},
    peers::{Door, HttpSink},
};

const REFUSED: &str = "the changed configuration is not applied";

fn hook(sink: &HttpSink) -> String {
    format!(
        "[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        sink.url("/hook")
    )
}

fn monitor(name: &str, url: &str) -> String {
    format!("[[monitor]]\nname = \"{name}\"\ntarget = \"{url}\"\n")
}

#[track_caller]
fn done(ran: &Ran, text: &str) {
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, format!("{text}\n").as_str(), "")
    );
}

/// A report of mistakes: exit code 2, nothing on standard output.
#[track_caller]
fn unfit<'r>(ran: &'r Ran, says: &[&str]) -> &'r str {
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    for part in says {
        assert!(ran.err.contains(part), "{part:?} is not in:\n{}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    &ran.err
}

/// What was told, each once: a message whose receipt was not stored before a kill comes again, and says so.
fn told(sink: &HttpSink) -> Vec<String> {
    let word = |request: &crate::peers::Request| {
        let event = request.json();
        let word = format!(
            "{} {}",
            event["event"].as_str().unwrap(),
            event["series"].as_str().unwrap()
        );
        (event["resent"] == false).then_some(word)
    };
    sink.requests().iter().filter_map(word).collect()
}

fn client(home: &Home) -> Client {
    Client::new(home.path("data/lapwing.sock"))
}

fn order(monitor: Value) -> AddShape {
    AddShape {
        monitor: object(monitor),
        by: Some("anna".to_owned()),
    }
}

fn object(keys: Value) -> Keys {
    match keys {
        Value::Object(keys) => keys,
        other => panic!("not an object: {other}"),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, status: u16) -> String {
    match answer {
        Err(ClientError::Refused { status: said, error }) if said == status => error.sentence(),
        other => panic!("not refused with {status}: {other:?}"),
    }
}

#[test]
fn what_is_added_is_watched_told_of_and_kept() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = Home::quick(&hook(&sink));
    let daemon = home.start();
    daemon.wait_log("nothing is watched yet: `lapwing add");
    let added = home.run(&[
        "add",
        "web",
        &door.url(),
        "-o",
        "interval=100ms",
        "--label",
        "team=shop",
    ]);
    done(&added, "added web: 1 series, checked every 100ms, telling hook");
    let web = daemon.wait_state("web", "up");
    assert_eq!(web["labels"], json!({ "team": "shop" }));
    door.close();
    let down = sink.wait_accepted("/hook", 1)[0].json();
    assert_eq!((&down["event"], &down["series"]), (&"down".into(), &"web".into()));
    daemon.kill9();

    let daemon = home.start();
    let web = daemon.wait_state("web", "down");
    assert_eq!(web["since"], down["since"], "one outage, from before");
    door.reopen();
    wait("the end is told", || (told(&sink).len() > 1).then_some(()));
    let log = daemon.stop();
    assert_eq!(told(&sink), ["down web", "up web"]);
    assert!(log.contains("watching 1 series of 1 monitor"), "{log}");
    // By whom and when, for those who look.
    assert!(home.run(&["config", "export"]).out.contains("# added by "));
}

#[test]
fn a_change_keeps_the_outage_while_the_target_is_the_same() {
    let (sink, closed, open) = (HttpSink::open(), Door::closed(), Door::open());
    let home = Home::quick(&hook(&sink));
    let daemon = home.start();
    home.run(&["add", "gone", &closed.url(), "-o", "labels.old=1"]);
    sink.wait_accepted("/hook", 1);
    let before = daemon.wait_state("gone", "down");
    let args = [
        "edit",
        "gone",
        "--interval",
        "150ms",
        "--label",
        "team=shop",
        "--unset",
        "labels.old",
    ];
    done(
        &home.run(&args),
        "changed gone: 1 series, checked every 150ms, telling hook",
    );
    done(&home.run(&args[..6]), "nothing to do: gone is like that");
    assert_eq!(home.run(&args).refused(), "lapwing: labels.old is not set");
    daemon.wait_checks(4);
    let after = daemon.wait_state("gone", "down");
    assert_eq!(
        (&after["since"], &after["labels"]),
        (&before["since"], &json!({ "team": "shop" }))
    );
    done(
        &home.run(&["edit", "gone", "-o", "notify=", "--json"]),
        r#"{"v":1,"text":"changed gone: 1 series, checked every 150ms, telling nobody","monitor":"gone","series":1}"#,
    );
    // Another target is another series.
    let second = Door::open();
    let targets = format!("targets=[\"{}\", \"{}\"]", open.url(), second.url());
    let ran = home.run(&["edit", "gone", "-o", &targets]);
    done(
        &ran,
        "changed gone: 2 series, checked every 150ms, telling nobody",
    );
    daemon.wait_state(&format!("gone/{}", second.address()), "up");
    assert_eq!(daemon.series("gone"), None);
    assert!(home.run(&["edit", "gone"]).err.contains("--option <KEY=VALUE>"));

    done(&home.run(&["remove", "gone"]), "removed gone");
    assert_eq!(daemon.status()["series"], json!([]));
    daemon.kill9();
    let daemon = home.start();
    assert_eq!(daemon.status()["series"], json!([]), "what was removed stays so");
    daemon.stop();
    assert_eq!(told(&sink), ["down gone"]);
}

#[test]
fn a_monitor_of_a_file_is_changed_there() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    let line = home
        .lines("lapwing.toml")
        .iter()
        .position(|l| l == "[[monitor]]")
        .unwrap()
        + 1;
    let filed =
        format!("\"web\" is defined in lapwing.toml, line {line}; edit it there, then `lapwing reload`");
    for args in [
        &["add", "web", "tcp://127.0.0.1:1"][..],
        &["edit", "web", "-o", "interval=1s"],
        &["remove", "web"],
    ] {
        assert_eq!(home.run(args).refused(), format!("lapwing: {filed}"), "{args:?}");
    }
    home.run(&["add", "database", &door.url()]);
    for (args, says) in [
        (
            &["add", "database", "tcp://127.0.0.1:1"][..],
            "there is a monitor \"database\" already; `lapwing edit database`",
        ),
        (
            &["edit", "databse", "-o", "interval=1s"],
            "no monitor \"databse\" was added; did you mean \"database\"?",
        ),
        (
            &["remove", "x"],
            "no monitor \"x\" was added; `lapwing config export`",
        ),
        (
            &["edit", "database", "-o", "name=db"],
            "\"database\" keeps its name",
        ),
        (
            &["add", "x", "tcp://127.0.0.1:1", "-o", "name=y"],
            "the name stands behind `lapwing add`",
        ),
        (
            &["add", "x", "tcp://127.0.0.1:1", "-o", "a..b=y"],
            "\"a..b\" is not a key",
        ),
    ] {
        let ran = home.run(args);
        assert!(ran.refused().contains(says), "{args:?}: {ran:?}");
    }
    // Of several, each is tried.
    let ran = home.run(&["remove", "web", "database", "nobody"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, "removed database\n"));
    assert_eq!(ran.err.lines().count(), 2, "{ran:?}");
    assert_eq!(daemon.series("database"), None);
    daemon.stop();
    let ran = home.run(&["add", "x", "tcp://127.0.0.1:1"]);
    assert!(ran.refused().contains("no daemon runs on"), "{ran:?}");
}

#[test]
fn an_argument_is_never_ignored() {
    let door = Door::open();
    let home = Home::quick("");
    let daemon = home.start();
    home.run(&["add", "database", &door.url()]);
    for (args, says) in [
        (
            &["edit", "database", "--unset", "interval"][..],
            "interval is not set",
        ),
        (
            &["edit", "database", "--unset", "intervall"],
            "did you mean \"interval\"?",
        ),
        (
            &["edit", "database", "--unset", "interval", "-o", "interval=4s"],
            "-o interval and --unset interval give the same key",
        ),
        (
            &["edit", "database", "--notify", "mail", "-o", "notify=file"],
            "-o notify and --notify give the same key",
        ),
        (
            &["add", "x", "tcp://127.0.0.1:1", "-o", "target=tcp://127.0.0.1:2"],
            "TARGET and -o target give the same key",
        ),
    ] {
        let ran = home.run(args);
        assert!(ran.refused().contains(says), "{args:?}: {ran:?}");
    }
    daemon.stop();
}

/// A command, and what its report says.
const BAD: &[(&[&str], &[&str])] = &[
    (
        &["add", "x", "https://a/", "-o", "auth=user:canary"],
        &["auth does not stand in an added monitor itself", "auth = \"***\""],
    ),
    (
        &["add", "x", "tcq://a:1"],
        &[
            "added monitor \"x\":3:10",
            "target = \"tcq://a:1\"",
            "did you mean \"tcp\"?",
        ],
    ),
    (
        &["add", "x", "tcp://a:1", "-o", "intervall=1s"],
        &["has a key \"intervall\"", "did you mean \"interval\"?"],
    ),
    (
        &["add", "x", "tcp://a:1", "--interval", "60"],
        &["interval = \"60\" is not a length of time"],
    ),
    (
        &["add", "x", "tcp://a:1", "--notify", "op"],
        &["there is no notifier \"op\"", "did you mean \"ops\"?"],
    ),
    (&["add", "x/y", "tcp://a:1"], &["a name may not hold \"/\""]),
    (&["add", "x\u{1b}[31m", "tcp://a:1"], &["control characters"]),
    (&["add", "", "tcp://a:1"], &["at least one character"]),
    (
        &["add", "${HIDDEN}", "tcp://a:1"],
        &["no variable can stand here in an added monitor"],
    ),
    (
        &["add", "a$$b", "tcp://a:1"],
        &["the name of an added monitor cannot come from elsewhere"],
    ),
    (
        &["add", "x", "tcp://${HIDDEN}:1"],
        &["no variable can stand here in an added monitor"],
    ),
    (
        &["add", "x", "tcp://a:1", "-o", "labels.a=${HIDDEN}"],
        &["no variable can stand here in an added monitor"],
    ),
    (
        &["add", "x\u{202e}y", "tcp://a:1"],
        &["turn the direction of writing"],
    ),
    (
        &["add", "--", "-x", "tcp://a:1"],
        &["a name may not begin with \"-\""],
    ),
    (
        &[
            "add",
            "x",
            "https://a/",
            "-o",
            "headers={ Authorization = \"Bearer canary\" }",
        ],
        &[
            "Authorization does not stand in an added monitor itself",
            "${NAME}",
        ],
    ),
    (
        &["add", "x", "http://user:canary@a/"],
        &[
            "a target URL may not hold a user name or password",
            "auth = \"${PAGE_AUTH}\"",
        ],
    ),
    (
        &["add", "x", "https://a/", "-o", "ca=fifo"],
        &["an added monitor reads no files", "[defaults]"],
    ),
    (
        &["add", "x", "tls://a:1?ca=fifo"],
        &["an added monitor reads no files"],
    ),
    (
        &["add", "x", "icmp://{host}", "-o", "hosts=@lapwing.toml"],
        &["an added monitor reads no files"],
    ),
    (
        &["add", "x", "https://a/", "-o", "auth={ file = \"/etc/shadow\" }"],
        &["an added monitor reads no files"],
    ),
    (
        &["add", "x", "heartbeat:x", "-o", "key=0123456789abcdef"],
        &["key does not stand in an added monitor itself"],
    ),
    (
        &["add", "x", "heartbeat:x", "-o", "period=30s"],
        &["nobody can report in: [heartbeat] does not listen"],
    ),
    (
        &["add", "x", "tcp://a:1", "-o", "depends_on=web"],
        &["this version of Lapwing does not have"],
    ),
    (
        &["edit", "web2", "-o", "timeout=1h"],
        &[
            "timeout = \"1h\" is longer than the interval",
            "added monitor \"web2\":",
        ],
    ),
    (
        &["edit", "web2", "--unset", "target"],
        &["this monitor has no target"],
    ),
];

#[test]
fn bad_values_report_their_place_and_change_nothing() {
    let door = Door::open();
    let home = Home::quick(&format!(
        "{}[notify.ops]\ntype = \"file\"\npath = \"alerts\"\n",
        monitor("web", &door.url())
    ));
    mkfifo(&home.path("fifo"), Mode::S_IRWXU).unwrap();
    let daemon = home.start_as(home.lapwing().env("HIDDEN", "canary-4711").arg("run"));
    for (args, says) in BAD {
        home.run(&["add", "web2", &door.url()]);
        let ran = home.run(args);
        let report = unfit(&ran, says);
        assert!(report.ends_with("nothing was changed\n"), "{report}");
        assert!(
            !report.contains("canary") && !report.contains('\u{1b}'),
            "{report}"
        );
    }
    assert_eq!(daemon.status()["series"].as_array().unwrap().len(), 2);
    let log = daemon.stop();
    assert!(!log.contains("panicked") && !log.contains("canary"), "{log}");
}

#[tokio::test]
async fn what_no_command_could_send_is_refused_too() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start_as(home.lapwing().env("HIDDEN", "canary-4711").arg("run"));
    let api = client(&home);
    for (monitor, status, says) in [
        (json!({}), 400, "this monitor has no name"),
        (
            json!({ "name": 7, "target": "tcp://a:1" }),
            400,
            "this monitor has no name",
        ),
        (
            json!({ "name": "x", "target": "tcp://a:1", "interval": [null] }),
            400,
            "interval holds null",
        ),
        (
            json!({ "name": "x", "target": "tcp://a:1", "failure_threshold": u64::MAX }),
            400,
            "is too large",
        ),
        (
            json!({ "name": "x", "target": "tcp://a:1", "labels": { "a": "b".repeat(1 << 16) } }),
            400,
            "longer than 64 KiB",
        ),
        (
            json!({ "name": "x\u{0}", "target": "tcp://a:1" }),
            422,
            "control characters",
        ),
        (
            json!({ "name": "x", "target": "tcp://a:1", "labels": { "${HIDDEN}": "1" } }),
            422,
            "added monitor \"x\"",
        ),
    ] {
        let said = refused(api.add(&order(monitor.clone())).await, status);
        assert!(
            said.contains(says) && !said.contains("canary"),
            "{monitor}: {said}"
        );
    }
    let names: Vec<Value> = daemon.status()["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["series"].clone())
        .collect();
    assert_eq!(names, ["web"]);
    let log = daemon.stop();
    assert!(!log.contains("panicked") && !log.contains("canary"), "{log}");
}

#[tokio::test]
async fn the_api_says_where_each_monitor_comes_from() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let variables = [("PAGE", "index"), ("TOKEN", "canary")];
    let daemon = home.start_as(home.lapwing().envs(variables).arg("run"));
    let api = client(&home);
    let keys = json!({ "name": "my line", "target": door.url(), "send": "${PAGE}", "interval": "1s", "labels": { "a_b": "c" } });
    let added = api.add(&order(keys.clone())).await.unwrap();
    assert_eq!((added.monitor.as_str(), added.series), ("my line", 1));
    let details = api.monitor("my line").await.unwrap();
    assert!(
        matches!(&details.monitor.origin, Origin::Added { by, .. } if by == "anna"),
        "{details:?}"
    );
    assert_eq!(details.keys.map(Value::Object), Some(keys), "as they were given");
    let hidden = json!({ "name": "shop", "target": "http://127.0.0.1:1/", "headers": { "Authorization": "Bearer ${TOKEN}" } });
    api.add(&order(hidden)).await.unwrap();
    let shop = api.monitor("shop").await.unwrap();
    assert_eq!(shop.keys.unwrap()["headers"], json!({ "Authorization": "***" }));
    let web = api.monitor("web").await.unwrap();
    assert!(
        matches!(&web.monitor.origin, Origin::File { file, line: 7.. } if file == "lapwing.toml"),
        "{web:?}"
    );
    assert_eq!(web.keys, None);
    let set = EditShape {
        set: object(json!({ "send": null, "name": "my line", "labels": { "x": "y" } })),
        by: None,
    };
    api.edit("my line", &set).await.unwrap();
    let now = api.monitor("my line").await.unwrap();
    let expected = json!({ "name": "my line", "target": door.url(), "interval": "1s", "labels": { "a_b": "c", "x": "y" } });
    assert_eq!(now.keys.map(Value::Object), Some(expected));
    assert_eq!(details.monitor.origin, now.monitor.origin, "who added it stays");
    let said = refused(api.remove("web").await, 409);
    assert!(said.contains("lapwing.toml, line"), "{said}");
    refused(api.remove("my lime").await, 404);
    api.remove("my line").await.unwrap();
    refused(api.monitor("my line").await, 404);
    daemon.stop();
}

#[test]
fn one_that_no_longer_fits_is_left_out_and_kept() {
    let (door, sink) = (Door::open(), HttpSink::open());
    let home = Home::quick(&format!("{}{}", monitor("web", &door.url()), hook(&sink)));
    let daemon = home.start();
    home.run(&["add", "told", &door.url(), "--notify", "hook"]);
    home.run(&["add", "other", &door.url()]);
    let good = home.read("lapwing.toml");
    home.configure(&good.replace(&hook(&sink), ""));
    let ran = home.run(&["reload"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.contains("configuration applied: watching 2 series"),
        "{ran:?}"
    );
    for part in [
        "the monitor \"told\" that was added is left out",
        "there is no notifier \"hook\"",
        "added monitor \"told\":4:",
    ] {
        assert!(
            ran.err.contains(part) && daemon.log().contains(part),
            "{part}: {ran:?}"
        );
    }
    assert_eq!(daemon.series("told"), None);
    daemon.wait_state("other", "up");
    // It is seen, so that somebody can mend it.
    let list = home.json(&["list", "--json"]);
    assert_eq!(
        (&list["total"], &list["monitors"][1]["name"]),
        (&3.into(), &"told".into())
    );
    assert_eq!(list["monitors"][1]["unwatched"], "there is no notifier \"hook\"");
    assert_eq!(list["monitors"][1]["origin"]["from"], "added");
    let shown = home.run(&["show", "told"]).out;
    assert!(
        shown.starts_with("told  unwatched\n") && shown.contains("there is no notifier \"hook\""),
        "{shown}"
    );
    let found = home.run(&["list", "--search", "TOLD"]).out;
    assert!(
        found.contains("told is not watched: there is no notifier"),
        "{found}"
    );
    assert!(
        home.run(&["list", "--search", "nothing"])
            .out
            .starts_with("None of the 3")
    );
    // It does not stand in the way of other edits, and can be mended or removed.
    done(
        &home.run(&["add", "third", &door.url()]),
        "added third: 1 series, checked every 200ms, telling nobody",
    );
    done(
        &home.run(&["edit", "told", "--unset", "notify"]),
        "changed told: 1 series, checked every 200ms, telling nobody",
    );
    daemon.wait_state("told", "up");
    daemon.stop();

    // At a start as well; and with the notifier back, all are watched.
    home.configure(&good);
    let daemon = home.start();
    home.run(&["edit", "told", "-o", "notify=hook"]);
    daemon.kill9();
    home.configure(&good.replace(&hook(&sink), ""));
    let daemon = home.start();
    daemon.wait_log("the monitor \"told\" that was added is left out");
    daemon.wait_state("third", "up");
    assert_eq!(daemon.series("told"), None);
    home.configure(&good);
    assert_eq!(home.run(&["reload"]).code, 0);
    daemon.wait_state("told", "up");
    daemon.stop();
}

#[test]
fn what_was_added_is_taken_over_into_a_file() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    home.run(&[
        "add",
        "it's \"me\"",
        &door.url(),
        "-o",
        "loss={ window = 10 }",
        "-o",
        "send=a\\r\\n",
        "--label",
        "x_y=z",
    ]);
    home.run(&["add", "db", &door.url(), "-o", "failure_threshold=1"]);
    let before = daemon.wait_state("db", "up");
    let exported = home.run(&["config", "export"]);
    assert_eq!((exported.code, exported.err.as_str()), (0, ""));
    assert!(
        exported.out.contains("#   lapwing remove 'it'\\''s \"me\"' db\n"),
        "{}",
        exported.out
    );
    let good = home.read("lapwing.toml");
    home.configure(&format!("{good}{}", exported.out));
    let check = home.run(&["config", "check"]);
    assert!(
        check.code == 0 && check.out.contains(": 3 monitors, 3 series"),
        "{check:?}"
    );
    let reloaded = home.run(&["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert!(
        reloaded
            .out
            .contains("the monitor \"db\" that was added is not watched, for lapwing.toml, line"),
        "{reloaded:?}"
    );
    done(
        &home.run(&["remove", "db"]),
        "removed db; the one in the files goes on",
    );
    home.run(&["remove", "it's \"me\""]);
    daemon.wait_checks(3);
    assert_eq!(daemon.wait_state("db", "up")["since"], before["since"]);
    daemon.stop();
    // Without a daemon too, and never over a file that is there.
    let none = home.run(&["config", "export", "-o", "added.toml"]);
    done(&none, "Wrote 0 monitors to added.toml");
    assert!(
        home.run(&["config", "export", "-o", "added.toml"])
            .refused()
            .contains("is there already")
    );
    assert!(home.read("added.toml").starts_with("# No monitor was added"));
}

#[test]
fn a_broken_file_on_the_disk_does_not_hinder_an_edit() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    let good = home.read("lapwing.toml");
    home.configure("this is not TOML");
    daemon.reload(REFUSED, 1);
    done(
        &home.run(&["add", "new", &door.url(), "--data", "data"]),
        "added new: 1 series, checked every 200ms, telling nobody",
    );
    daemon.wait_state("new", "up");
    fs::remove_file(home.path("lapwing.toml")).unwrap();
    done(&home.run(&["remove", "new", "--data", "data"]), "removed new");
    daemon.wait_state("web", "up");
    home.configure(&good);
    daemon.reload("configuration applied", 1);
    daemon.stop();
    // What says nothing at all is still a mistake.
    home.configure("# nothing\n");
    let ran = home.run(&["config", "check"]);
    unfit(&ran, &["lapwing.toml is empty", "lapwing config init"]);
    home.configure("[web]\nlisten = \"off\"\n");
    let ran = home.run(&["config", "check"]);
    assert!(
        ran.code == 0
            && ran
                .out
                .contains("nothing is watched until one is added: lapwing add"),
        "{ran:?}"
    );
}

#[test]
fn a_backup_holds_what_was_added() {
    let door = Door::open();
    let home = Home::quick("");
    let daemon = home.start();
    home.run(&["add", "web", &door.url()]);
    daemon.wait_state("web", "up");
    assert_eq!(home.run(&["backup", "saved.tar"]).code, 0);
    home.run(&["remove", "web"]);
    home.run(&["add", "late", &door.url()]);
    let restored = home.run(&["restore", "saved.tar"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    daemon.wait("web is back", || {
        let status = daemon.try_status()?;
        let series = status["series"].as_array()?;
        (series.len() == 1 && series[0]["series"] == "web").then_some(())
    });
    // And the restored one can be changed.
    done(
        &home.run(&["edit", "web", "-o", "interval=1s"]),
        "changed web: 1 series, checked every 1s, telling nobody",
    );
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_are_added_and_two_edits_at_once_are_one_after_the_other() {
    let home = Home::quick("");
    let daemon = home.start();
    let api = client(&home);
    let add = |number: usize| {
        let api = api.clone();
        tokio::spawn(async move {
            let keys =
                json!({ "name": format!("m{number}"), "target": "tcp://127.0.0.1:1", "interval": "1h" });
            api.add(&order(keys)).await
        })
    };
    for batch in 0..5 {
        let all: Vec<_> = (0..100).map(|n| add(batch * 100 + n)).collect();
        for one in all {
            one.await.unwrap().unwrap();
        }
    }
    // Of many that add the same, one does.
    let all: Vec<_> = (0..8).map(|_| add(500)).collect();
    let mut added = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(_) => added += 1,
            refusal => assert!(refused(refusal, 409).contains("there is a monitor \"m500\" already")),
        }
    }
    assert_eq!(added, 1);
    // Of many that each change another key, all do.
    let keys: Vec<_> = (0..8)
        .map(|n| {
            let api = api.clone();
            let set = EditShape {
                set: object(json!({ "labels": { format!("l{n}"): "x" } })),
                by: None,
            };
            tokio::spawn(async move { api.edit("m7", &set).await })
        })
        .collect();
    for one in keys {
        one.await.unwrap().unwrap();
    }
    assert_eq!(
        daemon.series("m7").unwrap()["labels"].as_object().unwrap().len(),
        8
    );
    daemon.kill9();
    let daemon = home.start();
    let status = daemon.status();
    assert_eq!(status["series"].as_array().unwrap().len(), 501);
    assert_eq!(
        daemon.series("m7").unwrap()["labels"].as_object().unwrap().len(),
        8
    );
    assert_eq!(
        home.run(&["config", "export"]).out.matches("[[monitor]]").count(),
        501
    );
    daemon.stop();
}

#[tokio::test]
async fn heartbeats_are_added_too() {
    let home = Home::quick(
        "[heartbeat]\nhttp = \"127.0.0.1:0\"\n[[monitor]]\nname = \"home\"\ntarget = \"heartbeat:home\"\nperiod = \"1h\"\nkey = \"${HOME_KEY}\"\n",
    );
    let keys = [
        ("HOME_KEY", "0123456789abcdef-home"),
        ("JOB_KEY", "0123456789abcdef-job"),
    ];
    let daemon = home.start_as(home.lapwing().envs(keys).arg("run"));
    let add = |name: &str, key: &str| {
        home.run(&[
            "add",
            name,
            &format!("heartbeat:{name}"),
            "-o",
            "period=1h",
            "-o",
            &format!("key=${{{key}}}"),
        ])
    };
    done(
        &add("job", "JOB_KEY"),
        "added job: 1 series, expected every 1h, telling nobody",
    );
    for (name, key, says) in [
        ("other", "HOME_KEY", "two monitors have the same key"),
        ("another", "JOB_KEY", "two heartbeats have the same key"),
        ("lost", "LOST", "the environment variable LOST is not set"),
    ] {
        let ran = add(name, key);
        let report = unfit(&ran, &[says]);
        assert!(!report.contains("0123456789"), "{report}");
    }
    let said = daemon.wait_log("/ping/");
    let address = said
        .split("http://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let ping = |key: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET /ping/{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        std::io::read_to_string(stream).unwrap()
    };
    assert!(ping(keys[1].1).starts_with("HTTP/1.1 200"));
    daemon.wait_state("job", "up");
    assert!(
        ping(keys[0].1).starts_with("HTTP/1.1 200"),
        "those of the files are heard as before"
    );
    done(&home.run(&["remove", "job"]), "removed job");
    assert!(
        !ping(keys[1].1).starts_with("HTTP/1.1 200"),
        "nobody is at that address"
    );
    daemon.stop();
}

#[test]
fn needs_root_on_a_full_disk_nothing_is_added() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    fs::create_dir(home.path("data")).unwrap();
    let script = "mount -t tmpfs -o size=2m,mode=700 tmpfs data && exec \"$@\"";
    let inside = ["unshare", "-m", "sh", "-c", script, "sh"];
    let mut daemon = Daemon::spawn(home.through(&inside).arg("run"), home.path("data/lapwing.sock"));
    daemon.wait_log("watching ");
    let data = format!("/proc/{}/cwd/data", daemon.pid());
    let add = |name: &str| {
        home.run(&[
            "add",
            name,
            &door.url(),
            "--data",
            &data,
            "-o",
            &format!("labels.x={}", "x".repeat(30_000)),
        ])
    };
    assert_eq!(add("first").code, 0);
    let mut rubbish = fs::File::create(format!("{data}/rubbish")).unwrap();
    for size in [1 << 16, 1 << 12, 1 << 9, 1] {
        while rubbish.write_all(&vec![0; size]).is_ok() {}
    }
    // What is kept free for alerts is used up first.
    let refused = (0..200)
        .map(|n| (n, add(&format!("m{n}"))))
        .find(|(_, ran)| ran.code != 0);
    let (at, ran) = refused.expect("the disk is full");
    assert!(
        ran.err.contains(&format!("\"m{at}\" cannot be stored")) && ran.err.contains("full"),
        "{ran:?}"
    );
    assert!(ran.err.ends_with("nothing was changed\n"), "{ran:?}");
    let stored = home.run(&["config", "export", "--data", &data]);
    assert!(
        !stored.out.contains(&format!("\"m{at}\"")),
        "{}",
        stored.out.len()
    );
    drop(rubbish);
    fs::remove_file(format!("{data}/rubbish")).unwrap();
    let ran = add(&format!("m{at}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    daemon.signal(Signal::SIGTERM);
    let (status, log) = daemon.ended();
    assert!(status.success() && !log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn one_is_added_beside_very_many() {
    // As many as a test can bear; none of them is due meanwhile.
    let home = Home::quick(
        "[[monitor]]\nname = \"many\"\ntarget = \"tcp://{host}:1\"\nhosts = [\"127.1.0.0/16\"]\ninterval = \"24h\"\ntimeout = \"10ms\"\n",
    );
    let daemon = home.start();
    let door = Door::open();
    let ran = home.run(&["add", "web", &door.url()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // Once the answer is there, so is the monitor.
    let page = client(&home).monitors(&MonitorQuery::default()).await.unwrap();
    let watched: Vec<_> = page
        .monitors
        .iter()
        .map(|m| (m.name.as_str(), m.series))
        .collect();
    assert_eq!(watched, [("many", 65_536), ("web", 1)]);
    daemon.kill9();
}

/// The authority of all TLS monitors goes, and comes back.
#[test]
fn an_edit_of_one_leaves_another_as_it_is() {
    let (sink, closed) = (HttpSink::open(), Door::closed());
    let home = Home::quick(&format!("{}[defaults.tls]\nca = \"ca.pem\"\n", hook(&sink)));
    let authority = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    fs::write(home.path("ca.pem"), authority.cert.pem()).unwrap();
    let daemon = home.start();
    let target = format!("tls://{}", closed.address());
    assert_eq!(home.run(&["add", "first", &target]).code, 0);
    sink.wait_accepted("/hook", 1);
    let before = daemon.wait_state("first", "down");
    fs::remove_file(home.path("ca.pem")).unwrap();
    assert_eq!(home.run(&["add", "second", &Door::open().url()]).code, 0);
    assert_eq!(home.run(&["edit", "second", "-o", "interval=1s"]).code, 0);
    assert_eq!(home.run(&["remove", "second"]).code, 0);
    let after = daemon.wait_state("first", "down");
    assert_eq!(after["since"], before["since"], "the outage goes on");
    assert_eq!(told(&sink), ["down first"]);
    daemon.stop();
}

#[test]
fn a_file_that_never_answers_does_not_hinder_the_end() {
    let home = Home::quick("");
    let mut daemon = home.start();
    // As a file on a dead disk: whoever opens it waits.
    fs::remove_file(home.path("lapwing.toml")).unwrap();
    mkfifo(&home.path("lapwing.toml"), Mode::S_IRWXU).unwrap();
    daemon.signal(Signal::SIGHUP);
    // It is being read: only a pipe with a reader can be opened for writing at once.
    let opens = |path| {
        let mut how = fs::OpenOptions::new();
        how.write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .ok()
    };
    let held = daemon.wait("it is read", || opens(home.path("lapwing.toml")));
    daemon.signal(Signal::SIGTERM);
    let (status, log) = daemon.ended();
    drop(held);
    assert!(status.success() && log.contains("stopped in good order"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_backups_are_restored_one_after_the_other() {
    let home = Home::quick("");
    let daemon = home.start();
    assert_eq!(home.run(&["backup", "saved.tar"]).code, 0);
    let all: Vec<_> = (0..4)
        .map(|_| {
            let (api, from) = (client(&home), home.path("saved.tar"));
            tokio::spawn(async move { api.restore(&from).await })
        })
        .collect();
    let mut restored = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(_) => restored += 1,
            // The life that was asked has ended for another one's restore.
            Err(refusal) => assert!(refusal.to_string().contains("stopping"), "{refusal}"),
        }
    }
    assert!(restored > 0);
    daemon.stop();
}
