//! Runs commands and named steps, shows what they say, and measures them. The only place that prints.
//!
//! Never swallows a command's own output or exit code.

use std::{
    fmt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How a step ended that did not fail.
pub(crate) enum Done {
    Passed,
    /// Not run, or not all of it, and why: shown in the summary, so that nothing is left out silently.
    Left(String),
}

/// The steps of one task, in order, with their times.
#[derive(Default)]
pub(crate) struct Steps {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    took: Duration,
    result: Result<Done>,
}

impl Steps {
    /// Runs one step. A failed step does not stop the next: one run shows all that is wrong.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Done>) {
        say(format_args!("\n== {name}"));
        let begun = stopwatch();
        let result = work();
        let took = begun.elapsed();
        match &result {
            Ok(Done::Passed) => {}
            Ok(Done::Left(why)) => say(why),
            Err(error) => say(format_args!("{name}: {error:#}")),
        }
        self.rows.push(Row { name, took, result });
    }

    /// Prints one line a step and the total; an error names the steps that failed.
    pub(crate) fn finish(self, task: &str) -> Result<()> {
        say(format_args!("\n== summary of cargo xtask {task}"));
        for row in &self.rows {
            let end = match &row.result {
                Ok(Done::Passed) => "ok".to_owned(),
                Ok(Done::Left(why)) => why.clone(),
                Err(_) => "FAILED".to_owned(),
            };
            say(format_args!(
                "{:<10} {:>7.1} s  {end}",
                row.name,
                row.took.as_secs_f64()
            ));
        }
        let total: Duration = self.rows.iter().map(|row| row.took).sum();
        say(format_args!("{:<10} {:>7.1} s", "total", total.as_secs_f64()));
        let failed: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.result.is_err())
            .map(|row| row.name)
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", failed.join(", "))
    }
}

/// Shows one line, or several.
#[expect(
    clippy::print_stdout,
    reason = "a task talks to the terminal it was started in"
)]
pub(crate) fn say(line: impl fmt::Display) {
    println!("{line}");
}

/// Cargo, as it was called by hand: what `cargo run` adds to the environment would make build scripts run again.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env_remove("LD_LIBRARY_PATH");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    command
}

/// Shows the command, runs it with our own terminal, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    say(format_args!("$ {line}"));
    let status = command
        .status()
        .with_context(|| format!("{line} could not be started"))?;
    if status.success() {
        return Ok(());
    }
    bail!("{line} failed ({status})")
}

/// What the command writes, with its error text when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .output()
        .with_context(|| format!("{line} could not be started"))?;
    if !output.status.success() {
        bail!(
            "{line} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{line} wrote bytes that are not text"))
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let mut line = program.to_string_lossy().into_owned();
    for (shown, arg) in command.get_args().enumerate() {
        if shown == 16 {
            line.push_str(" …");
            break;
        }
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

#[expect(
    clippy::disallowed_methods,
    reason = "tasks measure themselves; no Lapwing code runs here"
)]
fn stopwatch() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_task_and_lets_the_next_run() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.step("first", || bail!("broken"));
        steps.step("second", || {
            ran = true;
            Ok(Done::Left("second: not run: no reason".to_owned()))
        });
        steps.step("third", || Ok(Done::Passed));
        assert_eq!(steps.finish("x").unwrap_err().to_string(), "failed: first");
        assert!(ran);
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        assert!(run(&mut Command::new("true")).is_ok());
        assert!(run(&mut Command::new("false")).is_err());
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("why") && error.contains('3'), "{error}");
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
    }

    #[test]
    fn cargo_does_not_inherit_what_cargo_run_sets() {
        let command = cargo(Path::new("/"));
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name)
            .collect();
        assert!(removed.contains(&"CARGO_MANIFEST_DIR".as_ref()), "{removed:?}");
        assert!(removed.contains(&"CARGO_PKG_NAME".as_ref()), "{removed:?}");
    }
}
