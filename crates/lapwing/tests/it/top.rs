//! `lapwing top` in a real terminal, beside a real daemon: what it shows, what keys do, and how it leaves the terminal.

use std::process::Command;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    kit::{Home, look},
    peers::Door,
    terminal::Terminal,
};

/// One that can go down, and forty that are up.
fn config(door: &Door) -> String {
    format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\nfailure_threshold = 1\nlabels = {{ team = \"shop\" }}\n\
         [[monitor]]\nname = \"net\"\nhosts = [\"127.7.0.[10-49]\"]\ntarget = \"icmp://{{host}}\"\ninterval = \"1m\"\n\
         [[monitor]]\nname = \"gone\"\ntarget = \"tcp://127.0.0.1:1\"\nfailure_threshold = 1\n",
        door.url()
    )
}

fn top(home: &Home, columns: u16) -> Terminal<'_> {
    let program = env!("CARGO_BIN_EXE_lapwing");
    Terminal::open(
        home,
        columns,
        &format!("TZ=UTC {program} top; echo \"ended with $?\"; stty -a"),
    )
}

fn press(terminal: &Terminal<'_>, keys: &[&str]) {
    for key in keys {
        terminal.tmux(&["send-keys", key]);
    }
}

/// Waits until the screen no longer holds `text`.
#[track_caller]
fn wait_without(terminal: &Terminal<'_>, text: &str) {
    let gone = look(|| (!terminal.screen().contains(text)).then_some(()));
    assert!(gone.is_some(), "{text:?} stays:\n{}", terminal.screen());
}

/// The shell is back: the cursor, wrapped lines, the mouse and the keys are as they were.
#[track_caller]
fn assert_restored(terminal: &Terminal<'_>) {
    let end = terminal.wait(&["ended with 0", " echo ", "isig"]);
    assert!(!end.contains("q quit") && !end.contains("series"), "{end}");
    assert!(!end.contains("-isig") && !end.contains("-echo "), "{end}");
    let modes = "#{cursor_flag} #{wrap_flag} #{alternate_on} #{mouse_any_flag}";
    assert_eq!(terminal.tmux(&["display-message", "-p", modes]).trim(), "1 1 0 0");
}

/// The first process of the shell of the terminal.
fn child(terminal: &Terminal<'_>) -> Pid {
    let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let children = Command::new("ps")
        .args(["-o", "pid=", "--ppid", shell.trim()])
        .output()
        .unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn needs_tmux_top_lists_searches_sorts_and_filters() {
    let door = Door::open();
    let home = Home::quick(&config(&door));
    let daemon = home.start();
    daemon.wait_state("gone", "down");
    let terminal = top(&home, 100);
    terminal.wait(&[
        "1 down",
        "42 series",
        "STATE▼",
        "gone",
        "connection refused",
        "q quit",
    ]);
    press(&terminal, &["/", "team=shop"]);
    terminal.wait(&["search: team=shop▏", "1 of 42 series, with \"team=shop\"", "web "]);
    wait_without(&terminal, "gone");
    press(&terminal, &["Escape"]);
    terminal.wait(&["gone", "1-"]);
    // By name: what is down is first no more.
    press(&terminal, &[">", "r"]);
    terminal.wait(&["NAME▲", "web ", "net/127.7.0.49"]);
    press(&terminal, &["End"]);
    terminal.wait(&["-42 of 42", "gone "]);
    press(&terminal, &["1"]);
    terminal.wait(&["1 of 42 series, down", "gone "]);
    wait_without(&terminal, "net/");
    press(&terminal, &["q"]);
    assert_restored(&terminal);
    daemon.stop();
}

#[test]
fn needs_tmux_top_shows_details_and_events_and_acts() {
    let mut door = Door::open();
    let home = Home::quick(&config(&door));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    let terminal = top(&home, 100);
    terminal.wait(&["42 series", "q quit"]);
    press(&terminal, &["/", "team=shop", "Enter"]);
    terminal.wait(&["1 of 42 series, with \"team=shop\"  (Esc"]);
    press(&terminal, &["Enter"]);
    let url = door.url();
    terminal.wait(&[
        "up since ",
        &url,
        "team=shop",
        "lapwing.toml:",
        "every 200ms",
        "latency",
        " 24h ",
    ]);
    // The history has some of it, and so the chart has a scale.
    terminal.wait(&["checks    ", " checks, 0 failed", "ms"]);
    press(&terminal, &["Right"]);
    terminal.tmux(&["resize-window", "-x", "160", "-y", "50"]);
    terminal.wait(&["RESULTS", "│ up since "]);
    door.close();
    terminal.wait(&[
        "│ down since ",
        "(connect.refused)",
        "DOWN web (",
        "its log",
        "so far",
        "x",
    ]);
    press(&terminal, &["a"]);
    terminal.wait(&["acknowledged web"]);
    press(&terminal, &["s", "soon", "Enter"]);
    terminal.wait(&["first how long"]);
    press(&terminal, &["C-u", "2h deploy", "Enter"]);
    terminal.wait(&["│ silenced  by ", ": deploy"]);
    press(&terminal, &["p"]);
    terminal.wait(&["│ paused since "]);
    door.reopen();
    press(&terminal, &["p"]);
    terminal.wait(&["│ up since "]);
    press(&terminal, &["c"]);
    terminal.wait(&["checked web: up, "]);
    terminal.tmux(&["resize-window", "-x", "20", "-y", "5"]);
    terminal.wait(&["web"]);
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    terminal.wait(&["RESULTS", "│ up since "]);
    press(&terminal, &["?"]);
    terminal.wait(&["acknowledge the outage"]);
    press(&terminal, &["C-c"]);
    assert_restored(&terminal);
    daemon.stop();
}

#[test]
fn needs_tmux_top_outlives_the_daemon_and_a_signal_leaves_the_terminal_as_it_was() {
    let door = Door::open();
    let home = Home::quick(&config(&door));
    let daemon = home.start();
    daemon.wait_state("gone", "down");
    let terminal = top(&home, 80);
    terminal.wait(&["1 down", "42 series"]);
    daemon.stop();
    // What was known stays.
    terminal.wait(&["no daemon since ", "not connected", "gone "]);
    let daemon = home.start();
    terminal.wait(&["42 series", "1 down"]);
    wait_without(&terminal, "no daemon since");
    // One that hangs.
    daemon.signal(Signal::SIGSTOP);
    terminal.wait(&["no answer for ", "gone "]);
    daemon.signal(Signal::SIGCONT);
    wait_without(&terminal, "no answer");
    kill(child(&terminal), Signal::SIGTERM).unwrap();
    assert_restored(&terminal);
    daemon.stop();
}

#[test]
fn needs_tmux_needs_bash_top_gives_the_terminal_to_the_shell_and_takes_it_back() {
    let door = Door::open();
    let home = Home::quick(&config(&door));
    let daemon = home.start();
    let program = env!("CARGO_BIN_EXE_lapwing");
    let terminal = Terminal::open(&home, 80, "exec bash --norc -i");
    terminal.tmux(&["send-keys", &format!("{program} top"), "Enter"]);
    terminal.wait(&["42 series", "q quit"]);
    press(&terminal, &["C-z"]);
    terminal.wait(&["Stopped"]);
    wait_without(&terminal, "q quit");
    terminal.tmux(&["send-keys", "fg", "Enter"]);
    terminal.wait(&["42 series", "q quit"]);
    // As somebody else does it. SIGSTOP leaves no time to tidy up: the screen is the shell's as it is.
    for (signal, tidy) in [(Signal::SIGTSTP, true), (Signal::SIGSTOP, false)] {
        kill(child(&terminal), signal).unwrap();
        terminal.wait(&["Stopped"]);
        if tidy {
            wait_without(&terminal, "q quit");
        }
        terminal.tmux(&["send-keys", "clear; fg", "Enter"]);
        terminal.wait(&["42 series", "q quit"]);
        wait_without(&terminal, "Stopped");
        press(&terminal, &["/", "shop"]);
        terminal.wait(&["1 of 42 series, with \"shop\"  (Esc"]);
        press(&terminal, &["Escape"]);
        // Escape and a key at once would be that key with Alt.
        wait_without(&terminal, "shop");
    }
    press(&terminal, &["q"]);
    wait_without(&terminal, "q quit");
    terminal.tmux(&["send-keys", "echo ended with $?; stty -a", "Enter"]);
    assert_restored(&terminal);
    daemon.stop();
}

#[test]
fn needs_tmux_what_top_cannot_do_is_said_in_a_line() {
    let home = Home::quick("[[monitor]]\nname = \"x\"\ntarget = \"tcp://127.0.0.1:1\"\n");
    let said = home.run(&["top"]);
    let said = said.refused();
    assert!(said.contains("this is no terminal"), "{said}");
    assert!(said.contains("`lapwing status --watch`"), "{said}");
    let terminal = top(&home, 100);
    let said = terminal.wait(&["ended with 2"]);
    assert!(
        said.contains("lapwing: no daemon runs on") && said.contains("`lapwing run` starts one here"),
        "{said}"
    );
}
