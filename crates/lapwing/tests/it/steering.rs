//! The one-line commands that steer a running daemon: what they do, that it lasts, and what they say when they cannot.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, getuid},
};
use serde_json::{Value, json};

use crate::{
    kit::{Daemon, Home, PATIENCE, Ran, look, wait},
    peers::{Door, HttpSink},
};

/// A command that goes on until it is stopped, and the lines that it prints.
struct Live {
    child: Child,
    lines: Receiver<String>,
}

impl Live {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).count()
        });
        Self { child, lines }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line that holds `text`.
    #[track_caller]
    fn find(&self, text: &str) -> String {
        loop {
            let line = self.next();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Exit code and last words.
    fn ended(&mut self) -> (Option<i32>, String) {
        let status = wait("the command ends", || self.child.try_wait().unwrap());
        let mut words = String::new();
        let stderr = self.child.stderr.take();
        stderr.unwrap().read_to_string(&mut words).unwrap();
        (status.code(), words)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn me() -> String {
    User::from_uid(getuid()).unwrap().unwrap().name
}

fn monitor(name: &str, url: &str) -> String {
    format!("[[monitor]]\nname = \"{name}\"\ntarget = \"{url}\"\n")
}

fn hook(sink: &HttpSink) -> String {
    format!(
        "[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        sink.url("/hook")
    )
}

#[track_caller]
fn done(ran: &Ran, text: &str) {
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, format!("{text}\n").as_str(), "")
    );
}

/// Events that a webhook was sent, in order.
fn told(sink: &HttpSink) -> Vec<String> {
    let word = |request: &crate::peers::Request| request.json()["event"].as_str().unwrap().to_owned();
    sink.requests().iter().map(word).collect()
}

#[test]
fn a_pause_asks_nothing_and_survives_kill_9() {
    let (page, door) = (HttpSink::open(), Door::open());
    let home = Home::quick(&(monitor("web", &page.url("/")) + &monitor("other", &door.url())));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    done(
        &home.run(&["pause", "web", "--reason", "new disk"]),
        "paused web until it is resumed",
    );
    let web = daemon.series("web").unwrap();
    assert_eq!(
        (&web["state"], &web["paused"]["by"]),
        (&"paused".into(), &me().into())
    );
    assert_eq!(
        (&web["paused"]["reason"], web["paused"].get("until")),
        (&"new disk".into(), None)
    );
    // A probe that was under way may still arrive.
    daemon.wait_checks(2);
    let asked = page.requests().len();
    daemon.wait_checks(5);
    daemon.kill9();

    let daemon = home.start();
    daemon.wait_state("other", "up");
    daemon.wait_checks(5);
    assert_eq!(page.requests().len(), asked, "nobody may ask");
    let status = home.run(&["status"]);
    assert!(
        status.code == 0 && status.out.contains(&format!("paused by {}: new disk", me())),
        "{status:?}"
    );
    let resumed = home.run(&["resume", "web", "--json"]);
    let resumed: Value = serde_json::from_str(&resumed.out).unwrap();
    assert_eq!(
        resumed,
        json!({ "v": 1, "text": "resumed web", "series": ["web"] })
    );
    let web = daemon.wait_state("web", "up");
    assert_eq!(web.get("paused"), None);
    assert!(page.requests().len() > asked);
    done(&home.run(&["resume", "web"]), "nothing to do: web is not paused");
    daemon.stop();
}

#[test]
fn paused_time_is_unknown_in_reports_and_ends_by_itself() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    let ran = Ran::of(
        home.lapwing()
            .args(["pause", "web", "--for", "1500ms"])
            .env("SUDO_USER", "anna"),
    );
    assert!(
        ran.code == 0 && ran.out.starts_with("paused web until "),
        "{ran:?}"
    );
    assert_eq!(
        daemon.series("web").unwrap()["paused"]["by"],
        "anna",
        "who is behind sudo"
    );
    daemon.wait_log("RESUMED web.");
    daemon.wait_state("web", "up");
    let log = daemon.log();
    assert!(log.contains("PAUSED web by anna until"), "{log}");
    wait("the span is stored", || {
        let report = home.json(&["report", "web", "--last", "10s", "--json"]);
        let seconds = |key: &str| report["series"][0][key].as_f64().unwrap();
        assert!(seconds("down_s") <= 0.0, "a pause is no outage: {report:#}");
        (seconds("up_s") > 0.0 && seconds("unknown_s") >= 1.4).then_some(())
    });
    daemon.stop();
}

#[test]
fn an_acknowledgement_stops_the_reminders() {
    let (mut door, sink) = (Door::closed(), HttpSink::open());
    let remind: Vec<String> = (1..=100).map(|n| format!("\"{}ms\"", n * 300)).collect();
    let home = Home::quick(&format!(
        "{}failure_threshold = 1\nremind = [{}]\n{}",
        monitor("web", &door.url()),
        remind.join(", "),
        hook(&sink)
    ));
    let daemon = home.start();
    daemon.wait_log("STILL DOWN web");
    done(
        &home.run(&["ack", "web", "-r", "on my way"]),
        "acknowledged web: no reminders until it is up",
    );
    let web = daemon.series("web").unwrap();
    assert_eq!(
        (&web["state"], &web["acknowledged"]["reason"]),
        (&"down".into(), &"on my way".into())
    );
    let status = home.run(&["status"]);
    assert!(
        status.code == 1
            && status
                .out
                .contains(&format!("acknowledged by {}: on my way", me())),
        "{status:?}"
    );
    daemon.wait_checks(8);
    door.reopen();
    daemon.wait_state("web", "up");
    wait("the recovery is told", || {
        told(&sink).contains(&"up".to_owned()).then_some(())
    });
    let again = home.run(&["ack", "web"]);
    assert!(
        again
            .refused()
            .contains("web is not down: there is nothing to acknowledge"),
        "{again:?}"
    );
    let log = daemon.stop();
    let (_, after) = log.split_once("ACKNOWLEDGED web, down since").unwrap();
    assert!(!after.contains("STILL DOWN") && after.contains("UP web"), "{log}");
}

#[test]
fn a_silence_is_seen_by_all_and_told_to_nobody_until_it_ends() {
    let (mut door, sink) = (Door::open(), HttpSink::open());
    let home = Home::quick(&(monitor("web", &door.url()) + "failure_threshold = 1\n" + &hook(&sink)));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    let endless = home.run(&["silence", "web"]);
    assert!(endless.refused().contains("--for 2h"), "{endless:?}");
    let ran = home.run(&["silence", "web", "--for", "2h", "--reason", "deploy"]);
    assert!(
        ran.code == 0 && ran.out.starts_with("silenced web until "),
        "{ran:?}"
    );
    assert!(
        home.run(&["status"]).out.contains("silenced by "),
        "also while it is up"
    );
    door.close();
    daemon.wait_state("web", "down");
    daemon.wait_checks(3);
    assert_eq!(told(&sink), Vec::<String>::new());
    done(
        &home.run(&["silence", "web", "--end"]),
        "ended the silence of web",
    );
    wait("it is told", || (!told(&sink).is_empty()).then_some(()));
    assert_eq!(told(&sink), ["down"]);
    done(
        &home.run(&["silence", "web", "--end"]),
        "nothing to do: web is not silenced",
    );
    daemon.stop();
}

#[test]
fn events_come_as_they_happen_until_the_daemon_stops() {
    let (mut door, other) = (Door::open(), Door::open());
    let home = Home::quick(&format!(
        "{}failure_threshold = 1\n{}",
        monitor("web", &door.url()),
        monitor("other", &other.url())
    ));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    let mut json = Live::start(home.lapwing().args(["events", "--follow", "--json", "web"]));
    let mut text = Live::start(home.lapwing().args(["events", "-f"]));
    // Until both are there.
    let silence = || home.run(&["silence", "web", "other", "--for", "1h"]).code;
    let mut first = Vec::new();
    for live in [&json, &text] {
        let line = look(|| {
            assert_eq!(silence(), 0);
            live.lines.try_recv().ok()
        });
        first.push(line.unwrap());
    }
    let silenced: Value = serde_json::from_str(&first[0]).unwrap();
    assert_eq!(
        (&silenced["event"], &silenced["mute"]["by"]),
        (&"silenced".into(), &me().into())
    );
    assert!(first[1].contains("SILENCED "), "{first:?}");
    door.close();
    let down: Value = serde_json::from_str(&json.find("\"down\"")).unwrap();
    assert_eq!(
        (&down["series"], &down["withheld"]),
        (&"web".into(), &true.into())
    );
    assert!(text.find("DOWN web").ends_with("(silenced: told to nobody)"));
    assert_eq!(home.run(&["pause", "other"]).code, 0);
    text.find("PAUSED other");
    daemon.stop();
    for live in [&mut json, &mut text] {
        let (code, words) = live.ended();
        assert!(
            code == Some(2) && words.contains("has stopped"),
            "{code:?} {words}"
        );
    }
    let rest: Vec<String> = json.lines.iter().collect();
    assert!(!rest.iter().any(|line| line.contains("\"other\"")), "{rest:?}");
}

#[test]
fn the_last_events_are_remembered() {
    let mut door = Door::closed();
    let home = Home::quick(&(monitor("web", &door.url()) + "failure_threshold = 1\n"));
    let daemon = home.start();
    daemon.wait_state("web", "down");
    door.reopen();
    daemon.wait_state("web", "up");
    let all = wait("both are stored", || {
        let ran = home.run(&["events"]);
        (ran.out.lines().count() == 2).then_some(ran.out)
    });
    let lines: Vec<&str> = all.lines().collect();
    assert!(
        lines[0].contains(&format!("  DOWN web ({}): connection refused", door.url())),
        "{all}"
    );
    assert!(lines[1].contains("  UP web after 00:00:0"), "{all}");
    let ran = home.run(&["events", "web", "--last", "1", "--json"]);
    let up: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&up["event"], &up["reason"]["code"]),
        (&"up".into(), &"connect.refused".into())
    );
    assert!(
        up["duration_s"].as_f64() > Some(0.0) && up["ended"] == up["at"],
        "{up:#}"
    );
    let unknown = home.run(&["events", "wep"]);
    assert!(unknown.refused().contains("did you mean \"web\"?"), "{unknown:?}");
    let followed = home.run(&["events", "--follow", "wep"]);
    assert!(
        followed.refused().contains("did you mean \"web\"?"),
        "{followed:?}"
    );
    daemon.stop();
}

#[test]
fn a_reload_applies_what_is_good_and_shows_what_is_not() {
    let (door, taken) = (Door::open(), Door::open());
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    let before = daemon.wait_state("web", "up");
    let good = home.read("lapwing.toml") + &monitor("new", &door.url());
    home.configure(&good);
    done(
        &home.run(&["reload"]),
        "configuration applied: watching 2 series, 1 of them new",
    );
    daemon.wait_state("new", "up");

    home.configure(&format!(
        "{good}{}{}intervall = \"1s\"\n",
        monitor("bad", "tcq://x"),
        monitor("worse", &door.url())
    ));
    let bad = home.run(&["reload"]);
    assert_eq!((bad.code, bad.out.as_str()), (2, ""), "{bad:?}");
    for words in [
        "lapwing.toml:",
        "did you mean \"tcp\"?",
        "\"interval\"",
        "nothing was changed",
    ] {
        assert!(bad.err.contains(words), "{words}: {bad:?}");
    }
    daemon.wait_checks(3);
    let series = |status: &Value| status["series"].as_array().unwrap().len();
    assert_eq!(series(&daemon.status()), 2);

    // One listener that cannot be opened: the rest is applied.
    home.configure(
        &good
            .replacen("\"off\"", &format!("\"{}\"", taken.address()), 1)
            .replace("\"new\"", "\"newer\""),
    );
    let partly = home.run(&["reload", "--json"]);
    let applied: Value = serde_json::from_str(&partly.out).unwrap();
    assert_eq!(
        (partly.code, &applied["new"], &applied["gone"]),
        (2, &1.into(), &1.into()),
        "{partly:?}"
    );
    assert!(
        partly.err.contains("cannot listen on") && partly.err.contains("stays as it was"),
        "{partly:?}"
    );
    assert_eq!(daemon.series("web").unwrap()["since"], before["since"]);
    daemon.stop();
}

#[test]
fn a_name_means_a_monitor_or_a_series() {
    let (a, b) = (Door::open(), Door::open());
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntargets = [\"{}\", \"{}\"]\n",
        a.url(),
        b.url()
    ));
    let daemon = home.start();
    let status = daemon.wait("both are up", || {
        Some(daemon.status()).filter(|status| status["counts"]["up"] == 2)
    });
    let names: Vec<&str> = (0..2)
        .map(|n| status["series"][n]["series"].as_str().unwrap())
        .collect();
    let paused = home.json(&["pause", "web", names[0], "--json"]);
    assert_eq!(
        paused["series"].as_array().unwrap().len(),
        2,
        "each once: {paused}"
    );
    let resumed = home.json(&["resume", names[1], "--json"]);
    assert_eq!(resumed["series"], json!([names[1]]));
    for (args, words) in [
        (
            &["pause", "web", "wbe"][..],
            "there is no monitor or series \"wbe\"; did you mean \"web\"?",
        ),
        (
            &["silence", "qqqqqqqq", "--for", "1h"],
            "`lapwing status --all` lists them",
        ),
        (
            &["pause", "web", "--until", "2001-01-01"],
            "is past; give a time that is still to come",
        ),
        (
            &["pause", "web", "--until", "later"],
            "is not a time: write 18:00",
        ),
    ] {
        let ran = home.run(args);
        assert!(ran.refused().contains(words), "{args:?}: {ran:?}");
    }
    for args in [
        &["pause"][..],
        &["pause", "web", "--for", "1h", "--until", "18:00"],
        &["silence", "web", "--end", "--for", "1h"],
    ] {
        assert_eq!(home.run(args).code, 2, "{args:?}");
    }
    // Nothing of what was refused was done.
    daemon.wait_state(names[1], "up");
    daemon.stop();
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let home = Home::quick(&monitor("web", "tcp://127.0.0.1:1"));
    let steer = |words: &str| {
        for args in [
            &["pause", "web"][..],
            &["resume", "web"],
            &["ack", "web"],
            &["silence", "web", "--end"],
            &["reload"],
            &["events", "--follow"],
        ] {
            let ran = home.run(args);
            assert!(ran.refused().contains(words), "{args:?}: {ran:?}");
        }
    };
    steer("no daemon runs on data: `lapwing run` starts one");
    // One that knows nothing of all this.
    fs::create_dir(home.path("data")).unwrap();
    let socket = UnixListener::bind(home.path("data/lapwing.sock")).unwrap();
    std::thread::spawn(move || {
        for mut stream in socket.incoming().map_while(Result::ok) {
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 8\r\nconnection: close\r\n\r\nnothing\n";
            // It reads the head, so that its end is no reset.
            let mut buffer = [0; 4096];
            drop(stream.read(&mut buffer).and_then(|_| stream.write_all(answer)));
        }
    });
    steer("the daemon is of another version");
}

#[test]
fn needs_root_the_socket_of_another_user() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    for (path, mode) in [("", 0o755), ("lapwing.toml", 0o644), ("data", 0o755)] {
        fs::set_permissions(home.path(path), Permissions::from_mode(mode)).unwrap();
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let ran = Ran::of(home.through(&nobody).args(["pause", "web"]));
    let words = ran.refused();
    assert!(
        words.contains("Permission denied") && words.contains("as root"),
        "{words}"
    );
    daemon.wait_state("web", "up");
    daemon.stop();
}

#[test]
fn a_mistake_in_the_configuration_does_not_keep_from_the_daemon() {
    let door = Door::open();
    let home = Home::quick(&(monitor("web", &door.url()) + "[store]\npath = \"data\"\n"));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    home.edit("[store]", "x = [\n[store]");
    let warned = "has mistakes (`lapwing config check` shows them); asking the daemon on ";
    for args in [
        &["status"][..],
        &["list"],
        &["console", "-x", "status"],
        &["pause", "web"],
        &["events"],
        &["report"],
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(
            ran.err.contains(warned) && ran.err.lines().count() == 1,
            "{args:?}: {ran:?}"
        );
    }
    let refused = home.run(&["reload"]);
    assert!(
        refused.code == 2 && refused.err.contains(warned) && refused.err.contains("this is not TOML"),
        "{refused:?}"
    );
    let typing = home.run(&["completions", "bash", "--", "lapwing", "pause", "w"]);
    assert_eq!((typing.err.as_str(), typing.out.contains("web")), ("", true));
    daemon.stop();
    let alone = home.run(&["status"]);
    assert!(
        alone.code == 2 && alone.err.contains("this is not TOML") && alone.err.contains("`--data FOLDER`"),
        "{alone:?}"
    );
}

#[test]
fn an_end_is_confirmed_in_the_time_zone_of_who_gave_it() {
    let door = Door::open();
    let home = Home::quick(&monitor("web", &door.url()));
    let daemon = home.start();
    let until = ["pause", "web", "--until", "2100-01-01T12:00"];
    for zone in ["Asia/Tokyo", "UTC", "America/New_York"] {
        let ran = Ran::of(home.lapwing().env("TZ", zone).args(until));
        done(&ran, "paused web until 2100-01-01 12:00:00");
    }
    daemon.stop();
}

/// Ends a command as Ctrl-C does.
fn interrupt(live: &Live) {
    kill(Pid::from_raw(live.child.id() as i32), Signal::SIGINT).unwrap();
}

#[test]
fn the_status_is_shown_again_and_again() {
    let (open, closed) = (Door::open(), Door::closed());
    let home = Home::quick(&(monitor("web", &open.url()) + &monitor("gone", &closed.url())));
    let daemon: Daemon = home.start();
    daemon.wait_state("gone", "down");
    daemon.wait_state("web", "up");
    let mut text = Live::start(home.lapwing().args(["status", "--watch", "0.1"]));
    for _ in 0..2 {
        assert!(text.find("1 down, 1 up").starts_with("20"), "under its time");
        text.find("connection refused");
    }
    interrupt(&text);
    assert_eq!(text.ended(), (Some(1), String::new()), "as the last status");
    let mut json = Live::start(home.lapwing().args(["status", "--json", "--watch", "100ms"]));
    for _ in 0..2 {
        let status: Value = serde_json::from_str(&json.next()).unwrap();
        assert_eq!(status["counts"], json!({ "down": 1, "up": 1 }));
    }
    daemon.stop();
    json.find("\"running\":false");
    interrupt(&json);
    assert_eq!(json.ended().0, Some(1));
    assert_eq!(home.run(&["status", "--watch", "0"]).code, 2);
}
