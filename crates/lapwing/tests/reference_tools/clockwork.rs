//! A clock of the program's own, by faketime(1): it starts where a test says and runs as fast as it says. The waits of
//! the program shrink as much.
//!
//! Never for a target whose answers the kernel stamps: the kernel keeps the real time.

use crate::kit::Ran;

/// What a command is started through, so that its clock starts at `begin` (`2026-01-01 12:00:00`, UTC) and runs `speed`
/// times as fast.
pub(crate) fn clock(begin: &str, speed: u32) -> Vec<String> {
    let mut ask = std::process::Command::new("faketime");
    let library = Ran::of(ask.args(["-f", "+0", "printenv", "LD_PRELOAD"]));
    assert_eq!(library.code, 0, "{library:?}");
    vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.out.trim()),
        format!("FAKETIME=@{begin} x{speed}"),
    ]
}

/// As [`clock`], for [`Home::through`](crate::kit::Home::through).
pub(crate) fn words(clock: &[String]) -> Vec<&str> {
    clock.iter().map(String::as_str).collect()
}
