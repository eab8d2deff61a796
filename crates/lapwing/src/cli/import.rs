//! `lapwing import`: the configuration of another tool as one of ours. Never writes over a file unasked, and never writes
//! a password into the configuration.

mod netmonitor;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::{Failure, exit, progress::Progress};
use crate::{
    config::{self, Environment},
    out,
};

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From the monitor of the netmonitor scripts: its JSON configuration
    #[command(after_help = EXAMPLES)]
    Netmonitor(NetmonitorArgs),
}

#[derive(Debug, Args)]
pub struct NetmonitorArgs {
    /// The monitor's JSON file
    #[arg(value_name = "CONFIG.json")]
    config: PathBuf,
    /// Write the configuration to this file, and the password to a file beside it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long, requires = "out")]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing import netmonitor config.json                      look at it
  lapwing import netmonitor config.json --out lapwing.toml   write it
  lapwing config check --config lapwing.toml

The sensors stay as they are: they find Lapwing where they found the scripts.";

/// What was read, as a configuration of ours.
struct Imported {
    toml: String,
    /// Stands in a file of its own.
    password: Option<String>,
    /// What could not be taken over, a line each.
    warnings: Vec<String>,
}

/// Where the password of the mail server stands.
enum PasswordAt {
    /// A file beside the configuration.
    File(String),
    /// An environment variable.
    Variable(&'static str),
}

pub fn import(command: &ImportCommand, environment: &Environment) -> Result<u8, Failure> {
    let ImportCommand::Netmonitor(args) = command;
    let shown = args.config.display();
    let progress = Progress::begin();
    progress.work("reading the configuration", 0);
    let text = fs::read_to_string(&args.config)
        .map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    let password_at = match &args.out {
        Some(_) => PasswordAt::File(PASSWORD_FILE.to_owned()),
        None => PasswordAt::Variable(PASSWORD_VARIABLE),
    };
    let name = args
        .config
        .file_name()
        .unwrap_or(args.config.as_os_str())
        .to_string_lossy();
    let imported = netmonitor::read(&text, &name, &password_at)
        .map_err(|wrong| Failure::usage(wrong.at(&shown.to_string())))?;
    drop(progress);
    for warning in &imported.warnings {
        out::complain(&format!("warning: {shown}: {warning}\n"));
    }
    match &args.out {
        None => out::print(&imported.toml)?,
        Some(path) => {
            let files = files(path, imported);
            store(&files, args.force)?;
            proven(path, environment)?;
            out::print(&told(path, &files))?;
        }
    }
    Ok(exit::FINE)
}

const PASSWORD_FILE: &str = "netmonitor.password";
const PASSWORD_VARIABLE: &str = "NETMONITOR_PASSWORD";

/// The files to write, each with its text.
fn files(path: &Path, imported: Imported) -> Vec<(PathBuf, String)> {
    let beside = |password| (path.with_file_name(PASSWORD_FILE), format!("{password}\n"));
    let password = imported.password.map(beside);
    password
        .into_iter()
        .chain([(path.to_owned(), imported.toml)])
        .collect()
}

/// Writes all files for their owner alone, or none when one of them is there already.
fn store(files: &[(PathBuf, String)], force: bool) -> Result<(), Failure> {
    let there = files.iter().find(|(path, _)| path.symlink_metadata().is_ok());
    if let (Some((path, _)), false) = (there, force) {
        let shown = path.display();
        return Err(Failure::usage(format!(
            "{shown} is there already; --force replaces it"
        )));
    }
    for (path, text) in files {
        write(path, text)
            .map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // Made anew, so that the mode of what was there does not stay.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// Reads what was written as `run` would: an address of the original may be none that a mail server takes.
fn proven(path: &Path, environment: &Environment) -> Result<(), Failure> {
    match config::load(path, environment) {
        Ok(_) => Ok(()),
        Err(report) => Err(Failure::usage(format!(
            "{} is written, and needs to be mended:\n{}",
            path.display(),
            report.render(out::paint_errors())
        ))),
    }
}

fn told(path: &Path, files: &[(PathBuf, String)]) -> String {
    let names: Vec<_> = files
        .iter()
        .rev()
        .map(|(path, _)| path.display().to_string())
        .collect();
    format!(
        "Wrote {}. Next, with the original stopped:\n  lapwing run --config {}\n",
        names.join(" and "),
        path.display()
    )
}
