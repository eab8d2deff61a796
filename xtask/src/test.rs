//! `cargo xtask test`: every test of the workspace, after the programs they call are there.
//!
//! Never skips silently: what is left out is named on the way and in the summary.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    packages::{self, Need},
    run::{Done, Steps, cargo, run as run_command, say},
};

/// How much must run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All; a machine that cannot is an error.
    All,
    /// What this machine can run.
    Partial,
}

/// Tests that need root carry this in their name.
const ROOT: &str = "needs_root";

pub(crate) fn run(root: &Path, scope: Scope) -> Result<()> {
    if scope == Scope::All && !packages::is_root()? {
        let missing = packages::missing();
        if !missing.is_empty() {
            bail!("{}", packages::advice(&missing));
        }
        bail!(
            "tests that make network namespaces need root: run this as root, or leave them out with --partial"
        );
    }
    let mut steps = Steps::default();
    add(&mut steps, root, scope);
    steps.finish("test")
}

/// The steps of the test task, for the gate as well.
pub(crate) fn add(steps: &mut Steps, root: &Path, scope: Scope) {
    if scope == Scope::All {
        steps.step("packages", || packages::provide().map(|()| Done::Passed));
    }
    steps.step("build", || {
        run_command(cargo(root).args(["test", "--workspace", "--no-run"])).map(|()| Done::Passed)
    });
    steps.step("test", || {
        let left_out = match scope {
            Scope::All => Vec::new(),
            Scope::Partial => left_out(&packages::missing(), packages::is_root()?),
        };
        for (pattern, why) in &left_out {
            say(format_args!("not run: tests named {pattern}: {why}"));
        }
        let mut command = cargo(root);
        command.args(["test", "--workspace", "--no-fail-fast", "--"]);
        command.env("RUST_TEST_THREADS", threads().to_string());
        for (pattern, _) in &left_out {
            command.args(["--skip", pattern]);
        }
        run_command(&mut command)?;
        if left_out.is_empty() {
            return Ok(Done::Passed);
        }
        let patterns: Vec<_> = left_out.into_iter().map(|(pattern, _)| pattern).collect();
        Ok(Done::Left(format!(
            "ok, without tests named {}",
            patterns.join(", ")
        )))
    });
}

/// Tests at once: many of them wait for a server, not for a processor.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(4)
}

/// The name patterns of tests that cannot run here, with the reason.
fn left_out(missing: &[&Need], is_root: bool) -> Vec<(String, String)> {
    let mut patterns: Vec<_> = missing
        .iter()
        .map(|need| {
            (
                format!("needs_{}", need.program.replace(['-', '.'], "_")),
                format!("install {}", need.package),
            )
        })
        .collect();
    if !is_root {
        patterns.push((
            ROOT.to_owned(),
            "they make network namespaces: run as root".to_owned(),
        ));
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::NEEDS;

    #[test]
    fn what_cannot_run_is_left_out_by_name() {
        let nothing: Vec<(String, String)> = Vec::new();
        assert_eq!(left_out(&[], true), nothing);
        let patterns: Vec<_> = left_out(&[&NEEDS[0]], false)
            .into_iter()
            .map(|(pattern, _)| pattern)
            .collect();
        assert_eq!(patterns, ["needs_nginx", "needs_root"]);
    }
}
