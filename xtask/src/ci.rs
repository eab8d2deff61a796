//! `cargo xtask ci`: the one gate. A developer's machine and the server run the same steps with the same flags.
//!
//! Never changes compiler flags between steps: each change would build everything again.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    docs,
    run::{Done, Steps, cargo, run as run_command, say},
    test::{self, Scope},
    tidy::{self, Tree},
};

/// What to do when cargo-deny is not installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deny {
    /// Say so. `tidy` checks licences, bans and sources in any case.
    IfPresent,
    /// Install it, which takes minutes.
    Install,
}

pub(crate) fn run(root: &Path, deny: Deny) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("fmt", || fmt(root));
    steps.step("tidy", || tidy::run(root).map(|()| Done::Passed));
    steps.step("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run_command(cargo(root).args(args)).map(|()| Done::Passed)
    });
    test::add(&mut steps, root, Scope::All);
    steps.step("docs", || docs::check(root).map(|()| Done::Passed));
    steps.step("deny", || check_dependencies(root, deny));
    steps.finish("ci")
}

/// Every tracked Rust file, also those that no module declares.
fn fmt(root: &Path) -> Result<Done> {
    let tree = Tree::read(root)?;
    let files = tree.rust().map(|file| &file.path);
    let output = Command::new("rustfmt")
        .current_dir(root)
        .args(["--check", "--files-with-diff", "--edition", "2024"])
        .args(files)
        .output()?;
    let listed = String::from_utf8_lossy(&output.stdout);
    let unformatted: BTreeSet<_> = listed.lines().collect();
    for file in &unformatted {
        let file = Path::new(file);
        say(format_args!(
            "not formatted: {}",
            file.strip_prefix(root).unwrap_or(file).display()
        ));
    }
    if output.status.success() && unformatted.is_empty() {
        return Ok(Done::Passed);
    }
    bail!(
        "run `cargo fmt --all`\n{}",
        String::from_utf8_lossy(&output.stderr).trim()
    )
}

fn check_dependencies(root: &Path, deny: Deny) -> Result<Done> {
    let present = Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !present {
        if deny == Deny::IfPresent {
            let why = "not run: cargo-deny is not installed (cargo install cargo-deny --locked); \
                       tidy has checked licences, bans and sources";
            return Ok(Done::Left(why.to_owned()));
        }
        run_command(cargo(root).args(["install", "cargo-deny", "--locked"]))?;
    }
    run_command(cargo(root).args(["deny", "check", "bans", "licenses", "sources"]))?;
    advisories(root)
}

/// Known vulnerabilities. The database lives on the network, and a machine without it can still judge the rest.
fn advisories(root: &Path) -> Result<Done> {
    let output = cargo(root).args(["deny", "check", "advisories"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    say(text.trim());
    if output.status.success() {
        return Ok(Done::Passed);
    }
    if text.contains("failed to fetch advisory database") {
        return Ok(Done::Left(
            "ok, without advisories: their database cannot be reached".to_owned(),
        ));
    }
    bail!("cargo deny check advisories failed ({})", output.status)
}
