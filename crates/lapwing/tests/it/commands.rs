//! Every command, run as a person or a script would, and what it prints and ends with.

use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    kit::{Daemon, Home, PATIENCE, Ran, shape},
    peers::{Answer, Door, HttpSink},
};

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

#[test]
fn check_says_what_it_found_and_ends_with_it() {
    let (open, closed, sink, home) = (Door::open(), Door::closed(), HttpSink::open(), Home::new(""));
    let up = home.run(&["check", &open.url()]);
    assert!(
        up.code == 0 && up.out.starts_with("up ") && up.err.is_empty(),
        "{up:?}"
    );
    let down = home.run(&["check", &open.url(), &closed.url()]);
    assert_eq!(down.code, 1, "{down:?}");
    assert!(
        down.out.contains("connection refused [connect.refused]"),
        "{down:?}"
    );
    assert!(down.out.ends_with("2 checked: 1 up, 1 down\n"), "{down:?}");
    // The answer is there, the wished words are not.
    let mismatch = home.run(&["check", "-o", "expect_body=ok", &sink.url("/health")]);
    assert!(
        mismatch.code == 1 && mismatch.out.contains("[body.mismatch]"),
        "{mismatch:?}"
    );
    sink.answer(Answer::Status(200, "all is ok".to_owned()));
    let match_ = home.run(&["check", "-o", "expect_body=ok", "-v", &sink.url("/health")]);
    assert!(
        match_.code == 0 && match_.out.contains("http.status"),
        "{match_:?}"
    );
    let usage = home.run(&["check"]);
    assert!(usage.code == 2 && usage.err.contains("TARGET"), "{usage:?}");
}

#[test]
fn check_prints_json_in_the_shape_of_the_product() {
    let (open, closed, home) = (Door::open(), Door::closed(), Home::new(""));
    let ran = home.run(&["check", "--json", &open.url(), &closed.url()]);
    let found = lines(&ran);
    assert_eq!((ran.code, found.len()), (1, 2), "{ran:?}");
    for (line, url) in found.iter().zip([open.url(), closed.url()]) {
        assert_eq!(
            (&line["target"], &line["kind"]),
            (&url.into(), &"tcp".into()),
            "in the order given"
        );
        assert!(
            line["total_ms"].as_f64() > Some(0.0) && line["facts"].is_object(),
            "{line}"
        );
        assert!(line["phases"]["connect_ms"].as_f64() > Some(0.0), "{line}");
        assert_eq!(shape(line["at"].as_str().unwrap()), "0000-00-00T00:00:00.000000Z");
    }
    assert_eq!((&found[0]["state"], found[0].get("reason")), (&"up".into(), None));
    assert_eq!(found[1]["state"], "down");
    assert_eq!(
        found[1]["reason"],
        json!({ "code": "connect.refused", "detail": "connection refused" })
    );
}

#[test]
fn check_reads_targets_from_standard_input() {
    let (open, home) = (Door::open(), Home::new(""));
    let input = format!("# a list\n{url}\n\n  {url}  # with a comment\n", url = open.url());
    let ran = Ran::fed(home.lapwing().args(["check", "--stdin", "--json"]), &input);
    assert_eq!((ran.code, lines(&ran).len()), (0, 2), "{ran:?}");
    let bare = "127.0.0.1\n::1\nlocalhost\n127.0.0.0/30\nudp-echo://127.0.0.1:1\n";
    let ran = Ran::fed(
        home.lapwing().args([
            "check",
            "--stdin",
            "--kind",
            "icmp",
            "--json",
            "--timeout",
            "500ms",
        ]),
        bare,
    );
    let targets: Vec<_> = lines(&ran)
        .iter()
        .map(|l| l["target"].as_str().unwrap().to_owned())
        .collect();
    let expected = [
        "icmp://127.0.0.1",
        "icmp://[::1]",
        "icmp://localhost",
        "icmp://127.0.0.0",
        "icmp://127.0.0.1",
        "icmp://127.0.0.2",
        "icmp://127.0.0.3",
        "udp-echo://127.0.0.1:1",
    ];
    assert_eq!(targets, expected, "{ran:?}");
    assert_eq!(ran.code, 1, "nobody echoes there: {ran:?}");
    let unknown = Ran::fed(
        home.lapwing().args(["check", "--stdin", "--kind", "icmq"]),
        "127.0.0.1\n",
    );
    assert!(
        unknown.code == 2 && unknown.err.contains("did you mean \"icmp\"?"),
        "{unknown:?}"
    );
}

#[test]
fn options_may_stand_everywhere_and_for_one_kind() {
    let (sink, home) = (HttpSink::open(), Home::new(""));
    sink.answer(Answer::Status(404, String::new()));
    let url = sink.url("/gone?status=200");
    let ran = home.run(&[
        "check",
        "-o",
        "http.status=404",
        "-o",
        "icmp.count=2",
        "--json",
        &url,
        "icmp://127.0.0.1",
    ]);
    let found = lines(&ran);
    assert_eq!((ran.code, &found[0]["state"]), (0, &"up".into()), "{ran:?}");
    assert!(
        found[1]["facts"]["icmp.rtt_min"].is_number(),
        "several requests: {ran:?}"
    );
    assert_eq!(
        sink.requests()[0].path,
        "/gone?status=200",
        "a query of http belongs to the request"
    );
    let ran = home.run(&["check", "--json", "icmp://127.0.0.1?count=3"]);
    assert!(lines(&ran)[0]["facts"]["icmp.rtt_min"].is_number(), "{ran:?}");
    let ran = home.run(&["check", "--json", "icmp://127.0.0.1"]);
    assert!(
        lines(&ran)[0]["facts"]["icmp.rtt_min"].is_null(),
        "one request has no spread: {ran:?}"
    );
    let range = home.run(&["check", "--json", "icmp://127.0.0.[01-03]"]);
    assert!(range.code == 0 && lines(&range).len() == 3, "{range:?}");
}

#[test]
fn a_configuration_is_written_checked_and_shown() {
    let home = Home::new("");
    fs::remove_file(home.path("lapwing.toml")).unwrap();
    let init = home.run(&["config", "init"]);
    assert!(init.code == 0 && init.out.contains("lapwing run"), "{init:?}");
    let again = home.run(&["config", "init"]);
    assert!(again.refused().contains("--force"), "{again:?}");
    let check = home.run(&["config", "check"]);
    assert!(
        check.code == 0 && check.out.starts_with("lapwing.toml is good: "),
        "{check:?}"
    );
    let shown = home.run(&["config", "show"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    // What is shown is a configuration itself, with the same meaning.
    home.configure(&shown.out);
    assert_eq!(home.run(&["config", "show"]).out, shown.out);

    // A folder of files, found by the environment.
    fs::create_dir(home.path("conf")).unwrap();
    fs::write(home.path("conf/10.toml"), "[defaults]\ninterval = \"1m\"\n").unwrap();
    fs::write(
        home.path("conf/20.toml"),
        "[[monitor]]\nname = \"a\"\ntarget = \"tcp://127.0.0.1:1\"\n",
    )
    .unwrap();
    let ran = Ran::of(
        home.lapwing()
            .env("LAPWING_CONFIG", home.path("conf"))
            .args(["config", "show"]),
    );
    assert!(ran.code == 0 && ran.out.contains("interval = \"1m\""), "{ran:?}");

    let schema = home.json(&["config", "schema"]);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["monitor"].is_object(), "{schema}");
}

#[test]
fn status_with_and_without_a_daemon() {
    let (open, mut flip) = (Door::open(), Door::open());
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"one\"\ntarget = \"{}\"\n[[monitor]]\nname = \"two\"\ntarget = \"{}\"\n",
        open.url(),
        flip.url()
    ));
    let never = home.run(&["status"]);
    assert!(never.refused().contains("`lapwing run` starts one"), "{never:?}");
    let daemon = home.start();
    daemon.wait_state("one", "up");
    daemon.wait_state("two", "up");
    let fine = home.run(&["status"]);
    assert_eq!((fine.code, fine.out.as_str()), (0, "2 up\n"), "{fine:?}");
    let all = home.run(&["status", "--all"]);
    assert!(
        all.out.contains(" one ") && all.out.contains(&open.url()),
        "{all:?}"
    );
    flip.close();
    daemon.wait_state("two", "down");
    let down = home.run(&["status"]);
    assert!(
        down.code == 1 && down.out.starts_with("1 down, 1 up\n"),
        "{down:?}"
    );
    assert!(
        down.out.contains(" two ") && !down.out.contains(" one "),
        "what is up is not in the way: {down:?}"
    );
    let live = home.json(&["status", "--json"]);
    assert_eq!(
        (&live["running"], &live["counts"]),
        (&true.into(), &json!({ "down": 1, "up": 1 }))
    );
    daemon.stop();
    let left = home.run(&["status"]);
    assert!(
        left.code == 1 && left.out.contains("No daemon is running"),
        "{left:?}"
    );
    let left = home.json(&["status", "--json"]);
    assert_eq!(
        (&left["running"], &left["counts"]),
        (&false.into(), &json!({ "down": 1, "up": 1 }))
    );
    assert_eq!(left["series"][1]["since"], live["series"][1]["since"]);
}

/// A home in which one outage has come and gone, and its daemon.
fn after_an_outage() -> (Home, Daemon, Door) {
    let mut door = Door::open();
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        door.url()
    ));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    door.close();
    daemon.wait_state("web", "down");
    door.reopen();
    // It is said when it is on the disk.
    daemon.wait_log("UP web after");
    (home, daemon, door)
}

#[test]
fn reports_in_every_format_beside_the_daemon() {
    let (home, daemon, door) = after_an_outage();
    let table = home.run(&["report", "--last", "1h"]);
    for words in [
        "uptime = up / (up + down)",
        "connection refused [connect.refused]",
        " web ",
    ] {
        assert!(table.code == 0 && table.out.contains(words), "{words}: {table:?}");
    }
    let report = home.json(&["report", "--format", "json"]);
    let series = &report["series"][0];
    assert!(
        series["up_s"].as_f64() > Some(0.0) && series["down_s"].as_f64() > Some(0.0),
        "{report:#}"
    );
    let outage = &series["outages"][0];
    let sure = outage["uncertainty_s"].as_f64().unwrap();
    let csv = home.run(&["report", "--format", "csv"]).out;
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 2, "{csv}");
    assert!(
        rows[0].starts_with("series,target,began,ended,length_s,uncertainty_s,code,reason"),
        "{csv}"
    );
    assert!(
        rows[1].starts_with(&format!(
            "web,{},{},",
            door.url(),
            outage["began"].as_str().unwrap()
        )),
        "{csv}"
    );
    let classic = home.run(&["report", "--format", "classic", "web"]).out;
    assert!(classic.ends_with(&format!(" (+/- {sure:.1}sec)\n")), "{classic}");
    let unknown = home.run(&["report", "wep"]);
    assert!(unknown.refused().contains("did you mean \"web\"?"), "{unknown:?}");
    let empty = home.run(&["report", "--since", "2026-01-02", "--until", "2026-01-01"]);
    assert!(
        empty.refused().contains("--since must lie before --until"),
        "{empty:?}"
    );
    let nonsense = home.run(&["report", "--since", "yesterday"]);
    assert!(
        nonsense.refused().contains("\"yesterday\" is not a time"),
        "{nonsense:?}"
    );
    daemon.stop();
}

#[test]
fn a_backup_while_running_brings_everything_back() {
    let (home, daemon, _door) = after_an_outage();
    let made = home.run(&["backup", "copy.tar"]);
    assert!(made.code == 0 && made.out.contains("verified"), "{made:?}");
    assert_eq!(
        home.path("copy.tar").metadata().unwrap().permissions().mode() & 0o077,
        0,
        "it is as private"
    );
    let twice = home.run(&["backup", "copy.tar"]);
    assert!(twice.refused().contains("copy.tar exists already"), "{twice:?}");
    let before = home.json(&["report", "--format", "json"])["series"][0]["outages"].clone();
    daemon.stop();
    fs::rename(home.path("data"), home.path("lost")).unwrap();
    let back = home.run(&["restore", "copy.tar"]);
    assert_eq!(
        (back.code, back.out.as_str()),
        (0, "copy.tar is restored to data\n"),
        "{back:?}"
    );
    assert_eq!(
        home.json(&["report", "--format", "json"])["series"][0]["outages"],
        before
    );
    let again = home.run(&["restore", "copy.tar"]);
    assert!(
        again
            .out
            .contains("what was there lies in data/ledger.db.before-restore-"),
        "{again:?}"
    );
    let junk = home.run(&["restore", "lapwing.toml"]);
    assert!(
        junk.refused().contains("lapwing.toml is not a backup of Lapwing"),
        "{junk:?}"
    );
    let daemon = home.start();
    daemon.wait_state("web", "up");
    assert_eq!(
        home.json(&["report", "--format", "json"])["series"][0]["outages"],
        before
    );
    daemon.stop();
}

#[test]
fn a_running_daemon_goes_over_to_a_restored_folder() {
    let (home, daemon, _door) = after_an_outage();
    assert_eq!(home.run(&["backup", "copy.tar"]).code, 0);
    let outages = || home.json(&["report", "--format", "json"])["series"][0]["outages"].clone();
    let before = outages();
    let junk = home.run(&["restore", "lapwing.toml"]);
    assert!(junk.refused().contains("not a backup of Lapwing"), "{junk:?}");
    daemon.wait_checks(3);
    let done = home.run(&["restore", "copy.tar"]);
    assert!(done.code == 0 && done.out.contains("is restored to"), "{done:?}");
    daemon.wait_state("web", "up");
    daemon.wait_checks(3);
    assert_eq!(outages(), before);
    daemon.stop();
    assert_eq!(outages(), before);
}

#[test]
fn notifiers_are_tested_and_listed() {
    let (good, bad) = (HttpSink::open(), HttpSink::open());
    bad.answer(Answer::Status(404, "no_service".to_owned()));
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"tcp://127.0.0.1:1\"\nnotify = [\"good\"]\n\
         [notify.good]\ntype = \"slack\"\nwebhook_url = \"{}\"\n[notify.bad]\ntype = \"slack\"\nwebhook_url = \"{}\"\n",
        good.url("/a"),
        bad.url("/b")
    ));
    let ran = home.run(&["notify", "test", "good"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "good: delivered\n"));
    assert!(
        good.accepted("/a")[0].json()["text"]
            .as_str()
            .unwrap()
            .starts_with("TEST: ")
    );
    let ran = home.run(&["notify", "test"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("bad: not delivered: ") && ran.out.contains("removed or switched off"),
        "{ran:?}"
    );
    let ran = home.run(&["notify", "test", "goot"]);
    assert!(ran.refused().contains("did you mean \"good\"?"), "{ran:?}");
    let list = home.run(&["notify", "list"]).out;
    assert!(
        list.contains("good  slack  tells of 1 series") && list.contains("bad  slack  tells of 0"),
        "{list}"
    );
    let refused = home.run(&["run", "--verify-notifiers"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("bad: ") && refused.err.contains("notifier good is valid"),
        "{refused:?}"
    );
}

#[test]
fn telegram_chats_are_found_by_the_bot() {
    let sink = HttpSink::open();
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"tcp://127.0.0.1:1\"\n[notify.phone]\ntype = \"telegram\"\n\
         token = {{ file = \"token\" }}\nchat_id = \"1\"\napi = \"{}\"\n",
        sink.url("")
    ));
    fs::write(home.path("token"), "123:abc").unwrap();
    fs::set_permissions(home.path("token"), Permissions::from_mode(0o600)).unwrap();
    let none = json!({ "ok": true, "result": [] }).to_string();
    sink.answer(Answer::Status(200, none));
    let ran = home.run(&["notify", "telegram-chats", "phone"]);
    assert!(ran.code == 0 && ran.out.contains("write to it"), "{ran:?}");
    let seen = json!({ "ok": true, "result": [
        { "update_id": 1, "message": { "chat": { "id": 42, "type": "private", "first_name": "Ada" } } },
        { "update_id": 2, "channel_post": { "chat": { "id": -1_001_234_567_890_i64, "type": "channel", "title": "Ops" } } },
    ]});
    sink.answer(Answer::Status(200, seen.to_string()));
    let ran = home.run(&["notify", "telegram-chats", "phone"]);
    assert!(
        ran.out.contains("42  private  Ada") && ran.out.contains("-1001234567890  channel  Ops"),
        "{ran:?}"
    );
    assert!(
        sink.requests().iter().all(|r| r.path.starts_with("/bot123:abc/")),
        "{:?}",
        sink.requests()
    );
    sink.answer(Answer::Status(
        401,
        json!({ "ok": false, "error_code": 401, "description": "Unauthorized" }).to_string(),
    ));
    let ran = home.run(&["notify", "telegram-chats", "phone"]);
    assert!(!ran.refused().contains("123:abc"), "{ran:?}");
    let ran = home.run(&["notify", "telegram-chats", "fone"]);
    assert!(
        ran.code == 2 && ran.err.contains("there is no notifier \"fone\""),
        "{ran:?}"
    );
}

/// Commands below `path`, by what its help lists.
fn commands(home: &Home, path: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = home.run(&args);
    assert_eq!((help.code, help.err.as_str()), (0, ""), "{args:?}: {help:?}");
    let below = help.out.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let below = below.split("\n\n").next().unwrap_or_default();
    let names: Vec<String> = below
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .map(ToOwned::to_owned)
        .collect();
    for name in &names {
        let mut next = path.to_vec();
        next.push(name.clone());
        commands(home, &next, found);
    }
    if names.is_empty() {
        found.push((path.to_vec(), help.out));
    }
}

#[test]
fn every_command_has_an_example_in_its_help() {
    let home = Home::new("");
    let mut found = Vec::new();
    commands(&home, &[], &mut found);
    assert!(found.len() >= 13, "{found:?}");
    for (path, help) in &found {
        let words = format!("lapwing {}", path.join(" "));
        let examples = help.split_once("\nExample").map_or("", |(_, rest)| rest);
        assert!(
            examples.contains(&words),
            "`{words} --help` has no example:\n{help}"
        );
        for line in help.lines() {
            assert!(
                line.chars().count() <= 120,
                "{words}: too long for a terminal: {line}"
            );
        }
    }
    let version = home.run(&["--version"]);
    assert_eq!(version.out, format!("lapwing {}\n", env!("CARGO_PKG_VERSION")));
    let map = home.run(&["--help"]);
    assert!(
        map.out.contains("Begin here:") && map.out.contains("Exit codes:"),
        "{map:?}"
    );
    let none = Ran::of(home.lapwing().stdout(Stdio::piped()));
    assert!(none.code == 2 && none.err.contains("lapwing"), "{none:?}");
}

#[test]
fn the_status_page_answers_under_names_of_this_machine_only() {
    let door = Door::open();
    let home = Home::new(&format!(
        "[web]\nlisten = \"127.0.0.1:0\"\n[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        door.url()
    ));
    let daemon = home.start();
    let line = daemon.wait_log("status page on http://");
    let (_, rest) = line.split_once("http://").unwrap();
    let address = rest.split('/').next().unwrap();
    let (_, port) = address.split_once(':').unwrap();
    let ask = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for name in ["localhost", "127.0.0.1", "[::1]"] {
        for host in [name.to_owned(), format!("{name}:{port}")] {
            let answer = ask(&host, "/api/v1/status");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
            assert!(answer.contains("\"web\""), "{host}: {answer}");
        }
    }
    for host in [
        "evil.example".to_owned(),
        format!("localhost.evil.example:{port}"),
        "b\u{e4}d".to_owned(),
    ] {
        for path in ["/", "/status.json", "/api/v1/status", "/healthz", "/nosuch"] {
            let answer = ask(&host, path);
            assert!(answer.starts_with("HTTP/1.1 421 "), "{host}{path}: {answer}");
            assert!(!answer.contains("web"), "{host}{path}: {answer}");
        }
    }
    daemon.stop();
}

#[test]
fn words_of_other_programs_lead_to_those_of_this_one() {
    let door = Door::open();
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        door.url()
    ));
    for (word, here) in [
        ("stop", "'pause', 'remove'"),
        ("start", "'resume'"),
        ("delete", "'remove'"),
        ("rm", "'remove'"),
        ("logs", "'events'"),
        ("tail", "'events'"),
        ("ls", "'list'"),
        ("stats", "'report'"),
        ("repot", "'report'"),
    ] {
        let ran = home.run(&[word]);
        assert!(ran.code == 2 && ran.err.contains(here), "{word}: {ran:?}");
    }
    let below = home.run(&["service", "rm"]);
    assert!(
        below.code == 2 && !below.err.contains("'remove'"),
        "those of the program alone: {below:?}"
    );
    let daemon = home.start();
    let at_prompt = |line: &str| home.run(&["console", "-x", line]);
    let backup = at_prompt("backup x.tar");
    assert!(
        backup.refused().ends_with("run `lapwing backup` in a shell"),
        "{backup:?}"
    );
    assert!(at_prompt("ls").err.contains("'list'"));
    // As the console starts it: by another name.
    let usage = Ran::of(home.lapwing().arg0("exe").args(["status", "--wrong"]));
    assert!(
        usage.code == 2 && usage.err.contains("Usage: lapwing status"),
        "{usage:?}"
    );
    daemon.stop();
}
