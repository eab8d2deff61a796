//! The command line: what there is, with examples, and who does it.

mod ack;
mod backup;
mod check;
mod completions;
pub mod config;
mod echo;
mod events;
mod import;
mod local;
mod man;
mod notify;
mod pause;
mod reference;
mod reload;
mod report;
mod resume;
mod run;
mod sensor;
mod service;
mod silence;
mod status;
mod watch;
mod wish;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config::Environment, out};

/// Exit codes of every command.
pub mod exit {
    /// All is well.
    pub const FINE: u8 = 0;
    /// Something is down.
    pub const DOWN: u8 = 1;
    /// Usage or configuration.
    pub const USAGE: u8 = 2;
    /// Our own fault.
    pub const INTERNAL: u8 = 70;
}

/// Watches networks and services: knows when one is down, since when, how sure that is and why, and tells you once.
#[derive(Debug, Parser)]
#[command(name = "lapwing", version, max_term_width = 110, after_help = MAP, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const MAP: &str = "\
Begin here:
  lapwing check https://example.com icmp://192.0.2.1    is it up, now?
  lapwing config init                                   write a configuration to start from
  lapwing run                                           watch, and tell you

Exit codes: 0 all is well, 1 something is down, 2 usage or configuration,
            3 nothing down but something degraded or inconclusive, 70 internal";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch everything in the configuration, until stopped
    Run(run::RunArgs),
    /// Probe targets now, once, and say what was found
    Check(check::CheckArgs),
    /// Look at hosts and targets from this terminal, without a configuration
    Watch(watch::WatchArgs),
    /// The states of the running daemon at a glance
    Status(status::StatusArgs),
    /// What happened, and what happens
    Events(events::EventsArgs),
    /// Do not check for a while
    Pause(pause::PauseArgs),
    /// Check again what is paused
    Resume(resume::ResumeArgs),
    /// Take care of an outage: no more reminders of it
    Ack(ack::AckArgs),
    /// Check, but tell nobody for a while
    Silence(silence::SilenceArgs),
    /// Have the running daemon read its configuration again
    Reload(reload::ReloadArgs),
    /// Outages, uptime and how sure they are
    Report(report::ReportArgs),
    /// Write, check and show configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Take over the configuration of another tool
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Prove notifiers, list them, find Telegram chats
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// An echo server, to measure lines with
    #[command(subcommand)]
    Echo(echo::EchoCommand),
    Sensor(sensor::SensorArgs),
    /// Run the daemon or a sensor as a service of systemd
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Copy all data into one file, while the daemon runs
    Backup(backup::BackupArgs),
    /// Put a backup back in place, also under a running daemon
    Restore(backup::RestoreArgs),
    /// Write the script that lets a shell complete commands and names of monitors
    Completions(completions::CompletionsArgs),
    /// Write manual pages
    Man(man::ManArgs),
    /// Write the reference pages (for Lapwing's own documentation)
    #[command(hide = true)]
    Reference {
        folder: PathBuf,
    },
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigArg {
    /// Configuration file, or folder of *.toml files
    /// [default: $LAPWING_CONFIG, ./lapwing.toml, ~/.config/lapwing/, /etc/lapwing/]
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a commented starter configuration
    #[command(
        after_help = "Example:\n  lapwing config init\n  lapwing config init /etc/lapwing/lapwing.toml"
    )]
    Init {
        /// Where to write it
        #[arg(default_value = "lapwing.toml")]
        path: PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Report every error of a configuration at once, with its place
    #[command(after_help = "Example:\n  lapwing config check --config /etc/lapwing/")]
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Show the configuration as it is understood, defaults filled in, secrets as ***
    #[command(after_help = "Example:\n  lapwing config show --config /etc/lapwing/")]
    Show {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example:\n  lapwing config schema > lapwing.schema.json")]
    Schema,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(watch::spelled(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::FINE
            };
            // Help that cannot be printed has no reader.
            drop(error.print());
            return code.into();
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code.into(),
        Err(failure) => {
            // A list of errors with their places needs no name before it.
            let name = if failure.text.starts_with("error") || failure.text.starts_with('\u{1b}') {
                ""
            } else {
                "lapwing: "
            };
            out::complain(&format!("{name}{}\n", failure.text.trim_end()));
            failure.code.into()
        }
    }
}

/// Why a command ended without doing its work.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub text: String,
}

impl Failure {
    /// The user can mend it: usage, configuration, permissions.
    pub fn usage(text: impl Into<String>) -> Self {
        Self {
            code: exit::USAGE,
            text: text.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            code: exit::INTERNAL,
            text: crate::recorder::full(&*error),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self {
            code: exit::INTERNAL,
            text: error.to_string(),
        }
    }
}

fn dispatch(command: Command) -> Result<u8, Failure> {
    let environment = Environment::of_process();
    match command {
        Command::Run(args) => run::run(&args, &environment),
        Command::Check(args) => check::check(&args),
        Command::Watch(args) => watch::watch(&args, &environment),
        Command::Status(args) => status::status(&args, &environment),
        Command::Events(args) => events::events(&args, &environment),
        Command::Pause(args) => pause::pause(&args, &environment),
        Command::Resume(args) => resume::resume(&args, &environment),
        Command::Ack(args) => ack::ack(&args, &environment),
        Command::Silence(args) => silence::silence(&args, &environment),
        Command::Reload(args) => reload::reload(&args, &environment),
        Command::Report(args) => report::report(&args, &environment),
        Command::Config(command) => configuration(command, &environment),
        Command::Import(command) => import::import(&command, &environment),
        Command::Notify(command) => notify::notify(&command, &environment),
        Command::Echo(command) => echo::echo(&command),
        Command::Sensor(args) => sensor::sensor(&args, &environment),
        Command::Service(command) => service::service(&command, &environment),
        Command::Backup(args) => backup::backup(&args, &environment),
        Command::Restore(args) => backup::restore(&args, &environment),
        Command::Completions(args) => completions::completions(&args, &environment),
        Command::Man(args) => man::man(&args),
        Command::Reference { folder } => reference::write(&folder),
    }
}

fn configuration(command: ConfigCommand, environment: &Environment) -> Result<u8, Failure> {
    let mut text = Vec::new();
    let (paint, errors) = (
        out::paint() != lapwing_term::paint::Paint::Plain,
        out::paint_errors(),
    );
    let done = match command {
        ConfigCommand::Init { path, force } => config::init(&path, force, &mut text),
        ConfigCommand::Check { config } => {
            config::check(config.config.as_deref(), environment, errors, &mut text)
        }
        ConfigCommand::Show { config } => {
            config::show(config.config.as_deref(), environment, paint, &mut text)
        }
        ConfigCommand::Schema => config::schema(&mut text),
    };
    out::print(&String::from_utf8_lossy(&text))?;
    done
}
