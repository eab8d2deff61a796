//! Lapwing's own tasks, run as `cargo xtask <task>`: what the gate runs, a developer runs with the same words.
//!
//! Invariant: never depends on a Lapwing crate, so that a tree that does not compile can still be judged.

mod ci;
mod deb;
mod docs;
mod packages;
mod reference_tools;
mod run;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
usage: cargo xtask <task>

  ci [--with-deny]   everything a change must pass: fmt, clippy, test, tidy, docs, deny
                     --with-deny installs cargo-deny first when it is missing
  test [--partial]   every test of the workspace; as root, installs the packages the tests need
                     --partial leaves out, by name, the tests this machine cannot run
  tidy               the rules of the house that no compiler knows
  docs [--check]     writes docs/reference from the program, or says where it is stale
  deb [PROGRAM DIR]  the Debian package, into target/debian; or one with PROGRAM in it, into DIR
  packages           installs the Debian packages the tests need, or says which are missing";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match task(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(format_args!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn task(args: &[&str]) -> Result<()> {
    let root = root()?;
    match args {
        ["ci"] => ci::run(&root, ci::Deny::IfPresent),
        ["ci", "--with-deny"] => ci::run(&root, ci::Deny::Install),
        ["test"] => test::run(&root, test::Scope::All),
        ["test", "--partial"] => test::run(&root, test::Scope::Partial),
        ["tidy"] => {
            let mut steps = run::Steps::default();
            steps.step("tidy", || tidy::run(&root).map(|()| run::Done::Passed));
            steps.step("docs", || docs::check(&root).map(|()| run::Done::Passed));
            steps.finish("tidy")
        }
        ["docs"] => docs::write(&root),
        ["docs", "--check"] => docs::check(&root),
        ["deb"] => deb::build(&root),
        ["deb", program, folder] => deb::package(&root, Path::new(program), Path::new(folder)).map(|_| ()),
        ["packages"] => packages::provide(),
        ["help" | "--help" | "-h"] => {
            run::say(USAGE);
            Ok(())
        }
        [] => bail!("no task given\n\n{USAGE}"),
        other => bail!("unknown task {:?}\n\n{USAGE}", other.join(" ")),
    }
}

/// The workspace's folder: the parent of this crate's.
fn root() -> Result<PathBuf> {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = Path::new(&manifest)
        .parent()
        .context("xtask stands in the workspace's folder")?;
    Ok(root.to_path_buf())
}
