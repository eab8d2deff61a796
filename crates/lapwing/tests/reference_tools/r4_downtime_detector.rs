//! `DowntimeDetector`: rounds of four echo requests in two seconds, and a Telegram chat that hears of the first
//! unanswered round, of the outage after 10, 30 and 60 minutes, and of its end.

use std::time::Duration;

use crate::{
    alone::{Requests, alone, deaf, deaf6},
    clockwork::{clock, words},
    kit::{Home, shape},
    peers::{Answer, Door, HttpSink, texts},
    story::private,
    watching::Watch,
};

const PATH: &str = "/bot123:abc/sendMessage";

/// The Bot API, which takes every message.
fn telegram() -> HttpSink {
    let sink = HttpSink::open();
    sink.answer(Answer::Status(200, r#"{"ok":true,"result":{}}"#.to_owned()));
    sink
}

/// Rounds of four in 2 s, without a pause between them.
const ROUNDS: &str = "\
[defaults]
interval = \"2s\"
timeout = \"2s\"
failure_threshold = 1
timezone = \"UTC\"
[web]
listen = \"off\"
";

#[test]
fn needs_root_needs_ip_four_requests_in_two_seconds_and_up_at_the_first_answer() {
    alone(|| {
        let requests = Requests::open();
        let home = Home::new(&format!(
            "{ROUNDS}[[monitor]]\nname = \"line\"\ntarget = \"icmp://127.0.0.1?retry=3\"\n"
        ));
        let daemon = home.start();
        daemon.wait_state("line", "up");
        let (half, round) = (Duration::from_millis(500), Duration::from_secs(2));
        // Answered: one request each round.
        let mut last = requests.next_at_pace(round);
        // Two are lost, the third is answered: that is no outage.
        deaf(true);
        last = requests.next_after(last, round);
        last = requests.next_after(last, half);
        deaf(false);
        last = requests.next_after(last, half);
        last = requests.next_after(last, 2 * half);
        // Nobody answers: four each round, and the next round begins at once.
        deaf(true);
        last = requests.next_after(last, round);
        for _ in 0..7 {
            last = requests.next_after(last, half);
        }
        let down = daemon.wait_log(" INFO DOWN line ");
        assert!(
            down.contains(" 1 check failed; "),
            "the first round is told: {down}"
        );
        deaf(false);
        daemon.wait_log(" INFO UP line after ");
        let log = daemon.stop();
        assert_eq!(log.matches(" INFO DOWN ").count(), 1, "{log}");
    });
}

#[test]
fn needs_root_needs_ip_those_that_answer_and_those_that_do_not() {
    alone(|| {
        let home = Home::new("");
        deaf6(true);
        let ran = home.run(&["check", "-o", "retry=3", "icmp://127.0.0.1", "icmp://[::1]", "-v"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.out.contains("icmp.address = 127.0.0.1") && ran.out.contains("icmp.rtt = "),
            "{ran:?}"
        );
        let down = ran
            .out
            .lines()
            .find(|line| line.contains("icmp://[::1]"))
            .unwrap();
        assert!(
            down.starts_with("down ")
                && ran
                    .out
                    .contains(" no answer to 4 echo requests within 2s [timeout.answer]\n"),
            "{down}"
        );
        assert!(ran.out.ends_with("2 checked: 1 up, 1 down\n"), "{ran:?}");
    });
}

#[test]
fn needs_root_needs_ip_the_chat_hears_each_word_once_across_a_kill() {
    alone(|| {
        let sink = telegram();
        let monitors = ["127.0.0.1", "[::1]"].map(|host| {
            format!("[[monitor]]\nname = \"{host}\"\ntarget = \"icmp://{host}?retry=3\"\nremind = [\"12s\", \"14s\", \"16s\"]\n")
        });
        let home = Home::new(&format!(
            "{ROUNDS}{}[notify.phone]\ntype = \"telegram\"\ntoken = {{ file = \"token\" }}\nchat_id = -1001234567890\n\
             api = \"{}\"\non = [\"monitoring\", \"down\", \"reminder\", \"up\"]\n",
            monitors.concat(),
            sink.url("")
        ));
        private(&home, "token", "123:abc\n");
        let daemon = home.start();
        sink.wait_accepted(PATH, 2);
        daemon.wait_state("127.0.0.1", "up");
        daemon.wait_state("[::1]", "up");
        deaf(true);
        sink.wait_accepted(PATH, 3);
        daemon.wait("the receipt", || {
            (daemon.status()["notifiers"][0]["waiting"] == 0).then_some(())
        });
        daemon.kill9();
        let daemon = home.start();
        for count in 4..=6 {
            sink.wait_accepted(PATH, count);
        }
        // After the last reminder, silence until it is up.
        daemon.wait_checks(6);
        assert_eq!(sink.requests().len(), 6, "{:?}", texts(&sink.requests()));
        deaf(false);
        let told = sink.wait_accepted(PATH, 7);
        daemon.stop();
        assert!(
            told.iter().all(|r| r.json()["chat_id"] == -1_001_234_567_890_i64),
            "{told:#?}"
        );
        let told = texts(&told);
        let mut started = told[..2].to_vec();
        started.sort();
        assert_eq!(
            started,
            [
                "NOW MONITORING 127.0.0.1 (icmp://127.0.0.1).",
                "NOW MONITORING [::1] (icmp://[::1])."
            ]
        );
        let shapes: Vec<String> = told[2..].iter().map(|text| shape(text)).collect();
        assert!(
            shapes[0].starts_with("DOWN 000.0.0.0 (icmp://000.0.0.0) since 00:00:00: "),
            "{told:?}"
        );
        for (reminder, seconds) in told[3..6].iter().zip([12, 14, 16]) {
            let told_at =
                |seconds| reminder.starts_with(&format!("STILL DOWN 127.0.0.1 for 00:00:{seconds} (since "));
            assert!(told_at(seconds) || told_at(seconds + 1), "{told:?}");
        }
        assert!(
            told[5].ends_with(" This is the last reminder; you will hear when it is up."),
            "{told:?}"
        );
        assert!(
            shapes[4].starts_with("UP 000.0.0.0 after 00:00:00 ± "),
            "{told:?}"
        );
    });
}

#[test]
fn needs_faketime_reminders_come_after_ten_thirty_and_sixty_minutes() {
    let (sink, mut door) = (telegram(), Door::open());
    let home = Home::new("");
    private(&home, "token", "123:abc\n");
    let (url, name) = (door.url(), door.address().to_string());
    let api = sink.url("");
    let args = [
        &*url,
        "-v",
        "-i",
        "30s",
        "--timeout",
        "20s",
        "-t",
        "1",
        "--no-file",
        "--telegram-token-file",
        "token",
        "--telegram-chat",
        "5",
        "--telegram-api",
        &api,
    ];
    let clock = clock("2026-01-01 12:00:00", 600);
    let watch = Watch::through(&home, &words(&clock), &args);
    watch.wait("  up  ");
    door.close();
    let last = watch.wait(" This is the last reminder; you will hear when it is up.");
    assert!(
        last.contains(&format!("  STILL DOWN {name} for 01:00:")),
        "{last}"
    );
    // Twenty minutes more, in which nothing is told.
    let failed = || watch.shown().matches("  failed  ").count();
    let until = failed() + 40;
    watch
        .process
        .wait("twenty minutes", || (failed() >= until).then_some(()));
    assert_eq!(sink.requests().len(), 5, "{:?}", texts(&sink.requests()));
    door.reopen();
    let told = texts(&sink.wait_accepted(PATH, 6));
    assert_eq!(watch.interrupt().code, 0);
    let starts = [
        format!("NOW MONITORING {name} ({url})."),
        format!("DOWN {name} ({url}) since 12:"),
        format!("STILL DOWN {name} for 00:10:"),
        format!("STILL DOWN {name} for 00:30:"),
        format!("STILL DOWN {name} for 01:00:"),
        format!("UP {name} after 01:"),
    ];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    for (text, start) in told.iter().zip(&starts) {
        assert!(text.starts_with(start), "{start}: {told:?}");
    }
    let last: Vec<bool> = told
        .iter()
        .map(|text| text.contains("the last reminder"))
        .collect();
    assert_eq!(last, [false, false, false, false, true, false], "{told:?}");
}

#[test]
fn a_thousand_hosts_are_asked_by_one_engine() {
    let monitor = "[[monitor]]\nname = \"all\"\nhosts = [\"127.77.0.0/22\"]\ntarget = \"icmp://{host}\"\n";
    let home = Home::new(&format!("{ROUNDS}{monitor}retry = 3\n"));
    let daemon = home.start();
    let up = |status: &serde_json::Value| {
        status["series"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["state"] == "up")
            .count()
    };
    daemon.wait("1,024 hosts up", || (up(&daemon.status()) == 1_024).then_some(()));
    let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.pid()))
        .unwrap()
        .count();
    assert!(threads < 64, "{threads} threads");
    let log = daemon.stop();
    assert!(!log.contains("DOWN "), "{log}");
}
