//! Asks systemd and gives it orders, by its own commands. Never touches a unit other than the one named.

use std::{
    collections::HashMap,
    io,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::super::Failure;

/// Lines of the journal that are shown when a service does not start.
const SHOWN: &str = "15";

/// Whether systemd runs this machine (sd_booted(3)).
pub(super) fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Gives an order; what systemd says against it is the error.
pub(super) fn order(args: &[&str]) -> Result<(), Failure> {
    let done = output(Command::new("systemctl").args(args))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(Failure::usage(format!(
        "\"systemctl {}\" failed: {}",
        args.join(" "),
        said.trim()
    )))
}

/// The properties of a unit, by name.
pub(super) fn properties(unit: &str) -> Result<HashMap<String, String>, Failure> {
    let names = "LoadState,ActiveState,SubState,UnitFileState,MainPID,ActiveEnterTimestamp,NRestarts,StatusText,FragmentPath,ExecStart";
    let done = output(Command::new("systemctl").args([
        "show",
        "--timestamp=unix",
        "--property",
        names,
        "--",
        unit,
    ]))?;
    let text = String::from_utf8_lossy(&done.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// The newest lines of the unit in the journal; empty where they cannot be read.
pub(super) fn journal(unit: &str) -> String {
    let mut command = Command::new("journalctl");
    command.args([
        "--quiet",
        "--no-pager",
        "--output=cat",
        "--lines",
        SHOWN,
        "--unit",
        unit,
    ]);
    let done = output(&mut command);
    done.map_or_else(
        |_| String::new(),
        |done| String::from_utf8_lossy(&done.stdout).into_owned(),
    )
}

/// Runs a command as a service with these settings would run it; gives its exit and all that it said.
pub(super) fn trial(settings: &[String], command: &[&str]) -> Result<Output, Failure> {
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--wait", "--pipe", "--collect"]);
    for setting in settings {
        run.args(["--property", setting]);
    }
    output(run.arg("--").args(command))
}

fn output(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::usage(format!("{name} is not here: is systemd installed?")),
            _ => Failure::usage(format!("{name} cannot be run: {error}")),
        })
}
