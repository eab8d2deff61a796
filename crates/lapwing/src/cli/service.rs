//! `lapwing service`: puts the daemon or the sensor under systemd, takes it away again, and says how it is. Never
//! touches data or configuration.

mod install;
mod status;
mod systemd;
mod unit;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use self::unit::{MARK, Role};
use super::{Failure, exit};
use crate::{
    config::{self, Environment},
    out,
};

/// The daemon's data, unless its configuration says otherwise.
const STATE: &str = "/var/lib/lapwing";

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Write, enable and start a systemd unit
    #[command(after_help = INSTALL)]
    Install(install::InstallArgs),
    /// Stop, disable and remove what install has written; data stays
    #[command(
        after_help = "Examples:\n  sudo lapwing service uninstall\n  sudo lapwing service uninstall sensor"
    )]
    Uninstall(RoleArg),
    /// How the service is: state, process, since when, and whether it answers
    #[command(
        after_help = "Examples:\n  sudo lapwing service status    exit code 1 when it does not run or answer\n  lapwing service status sensor --json"
    )]
    Status(status::StatusArgs),
}

const INSTALL: &str = "\
Examples:
  sudo lapwing service install           with the configuration in /etc/lapwing/
  sudo lapwing service install --credential slack.url=/etc/slack.url
  sudo lapwing service install sensor --server monitor.example.com \\
      --id home --key-file /etc/lapwing/home.key
  lapwing service install --print        look at the unit first; needs no root

The service runs as a user of its own without rights, and sees no home folders. Secret files beside the configuration,
{ file = \"slack.url\" }, are handed to it by systemd (LoadCredential) and may stay readable by root alone.";

/// Which service.
#[derive(Debug, Clone, Copy, Args)]
pub struct RoleArg {
    /// The daemon (lapwing run), or a sensor
    #[arg(value_enum, default_value = "daemon", hide_default_value = true)]
    role: Role,
}

pub fn service(command: &ServiceCommand, environment: &Environment) -> Result<u8, Failure> {
    match command {
        ServiceCommand::Install(args) => install::install(args, environment),
        ServiceCommand::Uninstall(args) => uninstall(args.role),
        ServiceCommand::Status(args) => status::status(args, environment),
    }
}

/// Where a service of this configuration has its data.
fn data(configuration: &Path, environment: &Environment) -> Result<PathBuf, String> {
    // As systemd gives it to the service.
    let environment = environment.with("STATE_DIRECTORY", STATE);
    config::store_path(configuration, &environment).map_err(|report| report.to_string())
}

/// Only root may change units, and only systemd has them.
fn ready_to_change(what: &str, instead: &str) -> Result<(), Failure> {
    if !systemd::is_running() {
        return Err(Failure::usage(format!(
            "systemd does not run this machine, so there are no services to {what}; {instead}"
        )));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::usage(format!(
            "only root may {what} services: put sudo before the command"
        )));
    }
    Ok(())
}

fn uninstall(role: Role) -> Result<u8, Failure> {
    ready_to_change("uninstall", "stop the program that you started by hand")?;
    let (unit, file) = (role.unit(), role.file());
    let Ok(text) = fs::read_to_string(&file) else {
        return Err(Failure::usage(format!(
            "{} is not there: \"lapwing service install{}\" has not been used",
            file.display(),
            role.argument()
        )));
    };
    if !text.starts_with(MARK) {
        return Err(Failure::usage(format!(
            "{} was not written by \"lapwing service install\" and stays; \"systemctl disable --now {unit}\" stops it",
            file.display()
        )));
    }
    systemd::order(&["--quiet", "disable", "--now", &unit])?;
    fs::remove_file(&file)
        .map_err(|error| Failure::usage(format!("{} cannot be removed: {error}", file.display())))?;
    systemd::order(&["daemon-reload"])?;
    // What never failed cannot be forgotten, which is fine.
    drop(systemd::order(&["reset-failed", &unit]));
    let name = role.name();
    let kept: Vec<String> = [
        format!("/var/lib/{name}"),
        format!("/var/log/{name}"),
        "/etc/lapwing".to_owned(),
    ]
    .into_iter()
    .filter(|folder| PathBuf::from(folder).exists())
    .collect();
    out::print(&format!("{unit} is stopped, disabled and removed\n"))?;
    if !kept.is_empty() {
        out::print(&format!(
            "What it has written and its configuration stay in {}\n",
            kept.join(", ")
        ))?;
    }
    Ok(exit::FINE)
}
