//! `lapwing watch`: every spelling of its options, what it shows, the dated file, the summary, and who is told.

use std::{
    fs,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use crate::{
    kit::{Daemon, Home, clock, look, shape},
    peers::{Answer, Door, HttpSink, own_address, texts},
    terminal::Terminal,
    watching::{Echo, Watch, dated, secret},
};

#[test]
fn a_port_is_down_after_three_failures_and_up_again() {
    let (home, mut door) = (Home::new(""), Door::open());
    let (host, port) = (door.address().ip().to_string(), door.address().port().to_string());
    let watch = Watch::start(&home, &[&host, "-p", &port, "-i", "200ms"]);
    let name = format!("{host}:{port}");
    watch.wait(&format!("NOW MONITORING {name} (tcp://{name})."));
    watch.wait(&format!("  up      {name}  "));
    door.close();
    let failed = watch.wait(&format!("  failed  {name}  connection refused"));
    assert_eq!(shape(&failed[..21]), "0000-00-00 00:00:00  ");
    let down = watch.wait(&format!("  DOWN {name} (tcp://{name}) since "));
    assert!(
        down.contains(": connection refused. 3 checks failed; last seen up "),
        "{down}"
    );
    door.reopen();
    let up = watch.wait(&format!("  UP {name} after "));
    let ran = watch.interrupt();
    assert_eq!((ran.code, ran.out.contains("panicked")), (0, false), "{ran:?}");
    let (file, alerts) = dated(&home, &format!("_{host}_TCP.txt"));
    assert_eq!(shape(&file[..11]), "0000-00-00_");
    let texts = |line: &str| line[20..].trim().to_owned();
    assert_eq!(
        alerts.iter().map(|l| texts(l)).collect::<Vec<_>>(),
        [texts(&down), texts(&up)],
        "{alerts:?}"
    );
    let (_, summary) = ran
        .out
        .split_once(&format!("\n--- {name} (tcp://{name}): up ---\n"))
        .unwrap();
    let lines: Vec<&str> = summary.lines().collect();
    assert!(
        lines[0].contains(" sent in ") && lines[0].contains(" lost ("),
        "{summary}"
    );
    assert!(
        lines[1].starts_with("rtt min/median/p95/max ") && lines[1].contains(", jitter "),
        "{summary}"
    );
    assert_eq!(lines[2], "1 outage:", "{summary}");
    assert!(
        lines[3].contains(" ± ") && lines[3].ends_with(": connection refused"),
        "{summary}"
    );
}

#[test]
fn what_is_down_at_the_end_is_the_exit_code_and_in_the_summary() {
    let (home, door) = (Home::new(""), Door::closed());
    let (host, port) = (door.address().ip().to_string(), door.address().port().to_string());
    let watch = Watch::start(
        &home,
        &[
            "--port",
            &port,
            &host,
            "-ct",
            "1",
            "--no-file",
            "-v",
            "-i",
            "100ms",
        ],
    );
    watch.wait("  DOWN ");
    watch.process.signal(Signal::SIGQUIT);
    watch.wait("not over: connection refused");
    let ran = watch.interrupt();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        ran.out.matches(": down ---\n").count(),
        2,
        "once in between, once at the end: {ran:?}"
    );
    assert!(
        ran.out.contains("1 checks failed") || ran.out.contains("1 check failed"),
        "{ran:?}"
    );
    assert!(ran.out.matches("  failed  ").count() >= 1, "{ran:?}");
    assert!(!ran.err.contains("appended"), "{ran:?}");
    let left: Vec<_> = fs::read_dir(home.folder()).unwrap().collect();
    assert_eq!(left.len(), 2, "the configuration and what it printed: {left:?}");
}

#[test]
fn every_spelling_of_the_threshold_is_the_same_option() {
    for threshold in [["-t", "2"], ["-ct", "2"], ["--ctimeout", "2"]] {
        let (home, door) = (Home::new(""), Door::closed());
        let (host, port) = (door.address().ip().to_string(), door.address().port().to_string());
        let mut args = vec![&*host, "-p", &port, "-i", "100ms", "--no-file"];
        args.extend(threshold);
        let watch = Watch::start(&home, &args);
        let down = watch.wait("  DOWN ");
        assert!(down.contains(" 2 checks failed; "), "{threshold:?}: {down}");
        watch.interrupt();
    }
}

#[test]
fn loss_is_told_when_it_moves_by_more_than_the_change() {
    for (size, change) in [("-s", "-c"), ("--size", "--change")] {
        let (home, echo) = (Home::new(""), Echo::open());
        let target = format!("udp-echo://{}", echo.address);
        let args = [
            &*target,
            size,
            "20",
            change,
            "20",
            "-t",
            "0",
            "-i",
            "100ms",
            "--timeout",
            "90ms",
            "-v",
        ];
        let watch = Watch::start(&home, &args);
        let many = || (watch.shown().matches("  up  ").count() >= 20).then_some(());
        assert!(look(many).is_some(), "{}", watch.shown());
        echo.drop_all(true);
        let rose = watch.wait(&format!(
            "  LOSS {} rose from 0.00% to 25.00% (5 of 20).",
            echo.address
        ));
        watch.wait("rose from 75.00% to 100.00% (20 of 20).");
        echo.drop_all(false);
        watch.wait(" fell from ");
        let ran = watch.interrupt();
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(!ran.out.contains("DOWN"), "{ran:?}");
        let host = echo.address.split_once(':').unwrap().0;
        let (_, alerts) = dated(&home, &format!("_{host}_UDP-ECHO.txt"));
        assert_eq!(alerts[0][20..], rose[21..], "{alerts:?}");
    }
}

#[test]
fn a_host_is_asked_by_icmp_and_one_that_loses_all_is_down() {
    let home = Home::new("");
    let host = own_address().to_string();
    let watch = Watch::start(&home, &[&host, "::1", "-v", "-i", "100ms"]);
    for name in [&*host, "::1"] {
        watch.wait(&format!("  up      {name}  "));
    }
    let ran = watch.interrupt();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .contains(&format!("\n--- {host} (icmp://{host}): up ---\n")),
        "{ran:?}"
    );
    assert!(ran.out.contains("\n--- ::1 (icmp://[::1]): up ---\n"), "{ran:?}");
    assert!(
        ran.out.contains(" 0 lost (0.00%)\nrtt min/median/p95/max "),
        "{ran:?}"
    );
    let echo = Echo::open();
    echo.drop_all(true);
    let target = format!("udp-echo://{}", echo.address);
    let watch = Watch::start(
        &home,
        &[
            &target,
            "-t",
            "0",
            "-i",
            "100ms",
            "--timeout",
            "100ms",
            "--no-file",
        ],
    );
    watch.wait("  LOSS ");
    assert_eq!(watch.interrupt().code, 1);
}

#[test]
fn telegram_is_told_by_the_rule_of_its_reference() {
    let (home, sink, mut door) = (Home::new(""), HttpSink::open(), Door::open());
    secret(&home, "123:abc\n");
    sink.answer(Answer::Status(200, r#"{"ok":true,"result":{}}"#.to_owned()));
    let address = door.address().to_string();
    let target = format!("tcp://{address}");
    let args = [
        &*target,
        "-i",
        "100ms",
        "-t",
        "1",
        "--no-file",
        "--telegram-token-file",
        "secret",
        "--telegram-chat",
        "-1001234567890",
        "--telegram-api",
        &sink.url(""),
    ];
    let watch = Watch::start(&home, &args);
    let path = "/bot123:abc/sendMessage";
    sink.wait_accepted(path, 1);
    watch.wait("  up  ");
    door.close();
    sink.wait_accepted(path, 2);
    door.reopen();
    let told = sink.wait_accepted(path, 3);
    let ran = watch.interrupt();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        told.iter().all(|r| r.json()["chat_id"] == -1_001_234_567_890_i64),
        "{told:#?}"
    );
    let told = texts(&told);
    assert!(
        told[0].starts_with(&format!("NOW MONITORING {address} ")),
        "{told:?}"
    );
    assert!(
        told[1].starts_with(&format!("DOWN {address} ")) && told[1].contains("1 check failed"),
        "{told:?}"
    );
    assert!(told[2].starts_with(&format!("UP {address} after ")), "{told:?}");
    assert!(
        !ran.out.contains("123:abc") && !ran.err.contains("123:abc"),
        "{ran:?}"
    );
}

#[test]
fn slack_and_a_notifier_of_a_configuration_are_told() {
    let (sink, door) = (HttpSink::open(), Door::closed());
    let hook = |name: &str, path: &str| {
        format!(
            "[notify.{name}]\ntype = \"webhook\"\nurl = \"{}\"\n",
            sink.url(path)
        )
    };
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"x\"\ntarget = \"{}\"\n{}{}",
        door.url(),
        hook("wanted", "/wanted"),
        hook("other", "/other")
    ));
    secret(&home, &sink.url("/slack"));
    let url = door.url();
    let watch = Watch::start(
        &home,
        &[
            &url,
            "-t",
            "1",
            "-i",
            "100ms",
            "--no-file",
            "--slack-webhook-file",
            "secret",
            "--notify",
            "wanted",
        ],
    );
    let slack = sink.wait_accepted("/slack", 1);
    let wanted = sink.wait_accepted("/wanted", 1);
    watch.interrupt();
    assert!(texts(&slack)[0].starts_with("DOWN "), "{slack:#?}");
    assert_eq!(wanted[0].json()["event"], "down");
    assert_eq!(clock(&wanted[0].json()["at"]).len(), 8);
    assert!(sink.accepted("/other").is_empty(), "only the one that was named");
}

#[test]
fn a_message_that_nobody_takes_is_said_at_the_end() {
    let (home, sink, door) = (Home::new(""), HttpSink::open(), Door::closed());
    secret(&home, &sink.url("/slack"));
    sink.answer(Answer::status(500));
    let url = door.url();
    let watch = Watch::start(
        &home,
        &[
            &url,
            "-t",
            "1",
            "-i",
            "100ms",
            "--no-file",
            "--slack-webhook-file",
            "secret",
        ],
    );
    sink.wait_requests(1);
    watch.process.wait_log("not delivered: ");
    let ran = watch.interrupt();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("1 of --slack-webhook-file not delivered: "),
        "{ran:?}"
    );
}

#[test]
fn several_kinds_at_once_go_by_their_shortest_names() {
    let (home, one, two) = (Home::new(""), Door::open(), Door::closed());
    let (up, down) = (one.url(), two.url());
    let web = format!("http://{}/health", two.address());
    let watch = Watch::start(
        &home,
        &[&up, &up, &down, &web, "-t", "1", "-i", "100ms", "--no-file"],
    );
    watch.wait(&format!("  up      {}  ", one.address()));
    // Two targets of one address and port are told apart by the whole of them.
    watch.wait(&format!("  DOWN {down} ({down}) since "));
    watch.wait(&format!("  DOWN {web} ({web}) since "));
    let ran = watch.interrupt();
    assert_eq!((ran.code, ran.out.matches("\n--- ").count()), (1, 3), "{ran:?}");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let (home, door) = (Home::new(""), Door::open());
    let mut command = home.lapwing();
    command.args(["watch", &door.url(), "-v", "-i", "100ms", "--no-file"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut watch = Daemon::spawn_to(&mut command, Stdio::from(writer), home.path("none"));
    // The command holds a writer of its own until it goes.
    drop(command);
    drop(reader);
    let (status, log) = watch.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn what_cannot_be_watched_is_said_in_a_line() {
    let home = Home::new("");
    secret(&home, "123:abc");
    fs::write(home.path("open"), "123:abc").unwrap();
    let refused = |args: &[&str]| {
        let ran = home.run(&[&["watch"], args].concat());
        ran.refused().to_owned()
    };
    for (args, words) in [
        (
            &["localhost:22"][..],
            "\"localhost:22\" is no host; write tcp://localhost:22, or: lapwing watch localhost -p 22",
        ),
        (
            &["tcp://127.0.0.1:1", "-p", "5"],
            "-p is for hosts, but tcp://127.0.0.1:1 is a target of its own",
        ),
        (&["htp://127.0.0.1"], "did you mean \"http\"?"),
        (&["heartbeat:home"], "a heartbeat is passive"),
        (&["127.0.0.1", "-o", "cuont=5"], "did you mean \"count\"?"),
        (
            &["127.0.0.1", "--slack-webhook-file", "nowhere"],
            "nowhere cannot be read",
        ),
        (
            &["127.0.0.1", "--slack-webhook-file", "open"],
            "can be read by others",
        ),
        (
            &[
                "127.0.0.1",
                "--telegram-token-file",
                "secret",
                "--telegram-chat",
                "me",
            ],
            "neither a number nor @channel",
        ),
    ] {
        let said = refused(args);
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!said.contains("123:abc"), "{said}");
    }
    for args in [
        &[][..],
        &["127.0.0.1", "-s", "0"],
        &["127.0.0.1", "-s", "many"],
        &["127.0.0.1", "-c", "101"],
        &["127.0.0.1", "-p", "0"],
        &["127.0.0.1", "-p", "65536"],
        &["127.0.0.1", "-t"],
        &["127.0.0.1", "-ct"],
        &["127.0.0.1", "-i", "1ms"],
        &["127.0.0.1", "--telegram-chat", "5"],
        &["127.0.0.1", "--telegram-token-file", "secret"],
        &["127.0.0.1", "--config", "lapwing.toml"],
    ] {
        let ran = home.run(&[&["watch"], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.err.starts_with("error: "), "{args:?}: {ran:?}");
    }
}

#[test]
fn an_unknown_notifier_is_named_with_the_nearest_one() {
    let home = Home::quick(
        "[[monitor]]\nname = \"x\"\ntarget = \"icmp://127.0.0.1\"\n[notify.phone]\ntype = \"file\"\npath = \"a.txt\"\n",
    );
    let ran = home.run(&["watch", "127.0.0.1", "--notify", "phon"]);
    let said = ran.refused();
    assert!(
        said.contains("has no notifier \"phon\"; did you mean \"phone\"?"),
        "{said}"
    );
}

/// A network of its own, whose host answers no echo request while there is a file `mute`.
const MUTE: &str = "ip link set lo up
    while sleep 0.05 && kill -0 $$ 2> /dev/null; do
        if [ -e mute ]; then echo 1; else echo 0; fi > /proc/sys/net/ipv4/icmp_echo_ignore_all
    done &
    exec \"$@\"";

#[test]
fn needs_root_needs_unshare_needs_ip_the_first_unanswered_round_is_down_for_telegram() {
    let home = Home::new("");
    secret(&home, "123:abc");
    let before = ["unshare", "-n", "sh", "-c", MUTE, "sh"];
    let args = [
        "127.0.0.1",
        "-v",
        "--telegram-token-file",
        "secret",
        "--telegram-chat",
        "5",
        "--telegram-api",
        "http://127.0.0.1:1",
    ];
    let watch = Watch::through(&home, &before, &args);
    watch.wait("  up      127.0.0.1  ");
    fs::write(home.path("mute"), "").unwrap();
    let down = watch.wait("  DOWN 127.0.0.1 (icmp://127.0.0.1) since ");
    assert!(
        down.contains("within 2s. 1 check failed; last seen up "),
        "{down}"
    );
    assert!(
        watch.shown().contains("  failed  127.0.0.1  4 of 4 lost  "),
        "{}",
        watch.shown()
    );
    fs::remove_file(home.path("mute")).unwrap();
    watch.wait("  UP 127.0.0.1 after ");
    let ran = watch.interrupt();
    assert!(ran.out.contains(" of --telegram-chat not delivered: "), "{ran:?}");
    let (_, alerts) = dated(&home, "_127.0.0.1_ICMP.txt");
    assert_eq!(alerts.len(), 2, "{alerts:?}");
}

/// A terminal of 80 columns that runs `watch`, and then says with which exit code it ended.
fn terminal<'h>(home: &'h Home, args: &str) -> Terminal<'h> {
    let program = env!("CARGO_BIN_EXE_lapwing");
    let script = format!("{program} watch {args}; echo \"ended with $?\"; stty -a");
    Terminal::open(home, 80, &script)
}

#[test]
fn needs_tmux_the_live_view_shows_states_and_events_and_leaves_the_terminal_as_it_was() {
    let (home, mut door) = (Home::new(""), Door::open());
    let (url, name) = (door.url(), door.address().to_string());
    let terminal = terminal(&home, &format!("{url} -t 1 -i 100ms --no-file"));
    terminal.wait(&[
        "lapwing watch  1 up",
        "  results   █",
        "  rtt       ",
        "loss 0.00%",
        "median",
        "jitter",
    ]);
    door.close();
    let down = format!("DOWN {name} (");
    terminal.wait(&[
        "1 down",
        "x",
        "connection refused",
        &down,
        "q or Ctrl-C ends it with a summary",
    ]);
    terminal.tmux(&["resize-window", "-x", "30", "-y", "8"]);
    // The whole view still fits: its first line, and its last one as far as it goes.
    terminal.wait(&["lapwing watch  1 down", "q or Ctrl-C ends it with a sum\n"]);
    terminal.tmux(&["resize-window", "-x", "100", "-y", "40"]);
    door.reopen();
    terminal.wait(&["lapwing watch  1 up", &format!("UP {name} after ")]);
    terminal.tmux(&["send-keys", "q"]);
    let end = terminal.wait(&["ended with 0", "1 outage:", " echo ", "isig"]);
    assert!(end.contains(&format!("--- {name} ({url}): up ---")), "{end}");
    assert!(!end.contains("-isig") && !end.contains("q or Ctrl-C"), "{end}");
    let cursor = terminal.tmux(&[
        "display-message",
        "-p",
        "#{cursor_flag} #{wrap_flag} #{alternate_on}",
    ]);
    assert_eq!(cursor.trim(), "1 1 0");
}

#[test]
fn needs_tmux_ctrl_c_and_a_signal_end_the_live_view_too() {
    for by_key in [true, false] {
        let (home, door) = (Home::new(""), Door::closed());
        let terminal = terminal(&home, &format!("{} -t 1 -i 100ms --no-file", door.url()));
        terminal.wait(&["1 down"]);
        if by_key {
            terminal.tmux(&["send-keys", "C-c"]);
        } else {
            let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
            let children = Command::new("ps")
                .args(["-o", "pid=", "--ppid", shell.trim()])
                .output()
                .unwrap();
            let child = String::from_utf8(children.stdout).unwrap();
            let child = nix::unistd::Pid::from_raw(child.trim().parse().unwrap());
            nix::sys::signal::kill(child, Signal::SIGTERM).unwrap();
        }
        terminal.wait(&["ended with 1", ": down ---", "not over: connection refused"]);
    }
}
