//! How far a sweep is: shown on a terminal and gone without a trace, and never anywhere else.

use crate::{
    kit::{Home, Ran, wait},
    terminal::Terminal,
};

const LAPWING: &str = env!("CARGO_BIN_EXE_lapwing");
/// 16,384 targets; two requests each, so that it takes a few seconds.
const SWEEP: [&str; 6] = [
    "check",
    "-o",
    "count=2",
    "--timeout",
    "200ms",
    "icmp://127.0.0.0/18",
];

fn script(to: &str) -> String {
    format!("{LAPWING} {} {to}; echo \"ended with $?\"", SWEEP.join(" "))
}

#[test]
fn needs_tmux_a_sweep_shows_how_far_it_is_and_leaves_a_clean_screen() {
    let home = Home::new("");
    let terminal = Terminal::open(&home, 80, &script("--json > out"));
    let seen = terminal.wait(&["[#", "/16384 checked, ", "/s, ", " left"]);
    assert_eq!(seen.trim_end().lines().count(), 1, "{seen}");
    terminal.wait(&["ended with "]);
    let end = terminal.scrolled();
    assert!(end.starts_with("ended with "), "{end}");
    assert_eq!(end.trim_end().lines().count(), 1, "{end}");
    assert_eq!(home.lines("out").len(), 16_384);
}

#[test]
fn needs_tmux_results_and_progress_share_a_terminal_of_any_width() {
    for (columns, text, longer) in [(80, "/16384 checked, ", "\t"), (20, "/16384", "checked")] {
        let home = Home::new("");
        let terminal = Terminal::open(&home, columns, &script(""));
        let seen = terminal.wait(&["up", text]);
        assert!(!seen.contains(longer), "{seen}");
        terminal.wait(&["16384 checked: ", "ended with "]);
        let all = terminal.scrolled();
        assert_eq!(all.matches("/16384").count(), 0, "{all}");
        assert!(!all.contains('#') && !all.contains(".."), "{all}");
    }
}

#[test]
fn needs_tmux_ctrl_c_takes_the_progress_away_and_ends_as_ever() {
    let home = Home::new("");
    let long = script("--timeout 5s > out").replacen("--timeout 200ms ", "", 1);
    let terminal = Terminal::open(&home, 40, &format!("trap : INT; {long}"));
    terminal.wait(&["/16384"]);
    terminal.tmux(&["send-keys", "C-c"]);
    terminal.wait(&["ended with 130"]);
    let end = terminal.scrolled();
    assert_eq!(end.trim(), "ended with 130");
}

#[test]
fn needs_tmux_standard_error_that_is_no_terminal_gets_nothing() {
    let home = Home::new("");
    let terminal = Terminal::open(&home, 80, &script("2> err"));
    terminal.wait(&["16384 checked: ", "ended with "]);
    assert_eq!(home.read("err"), "");
    let all = terminal.scrolled();
    assert!(!all.contains("/16384"), "{all}");
    let ran = Ran::of(home.lapwing().args(SWEEP));
    assert_eq!(ran.err, "");
    assert_eq!(ran.out.lines().count(), 16_384 + 1);
}

#[test]
fn needs_tmux_short_work_and_a_dumb_terminal_show_nothing() {
    let dumb = format!("export TERM=dumb; {}", script("> out"));
    for script in [
        format!("{LAPWING} check icmp://127.0.0.0/26 > out; echo \"ended with $?\""),
        dumb,
    ] {
        let home = Home::new("");
        // What is written is read from the pane's own stream, for a screen forgets.
        let terminal = Terminal::open(&home, 80, &format!("read go; {script}"));
        terminal.tmux(&["pipe-pane", &format!("cat >> {}", home.path("stream").display())]);
        terminal.tmux(&["send-keys", "go", "Enter"]);
        terminal.wait(&["ended with "]);
        wait("the stream", || {
            home.read("stream").contains("ended with ").then_some(())
        });
        assert_eq!(
            home.read("stream").matches('#').count(),
            0,
            "{}",
            home.read("stream")
        );
    }
}
