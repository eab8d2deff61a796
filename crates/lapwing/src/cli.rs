//! The command line: what there is, with examples, and who does it.

mod ack;
mod add;
mod backup;
mod check;
mod completions;
pub mod config;
mod console;
mod echo;
mod edit;
mod edits;
mod events;
mod help;
mod import;
mod list;
mod local;
mod man;
mod notify;
mod pause;
mod progress;
mod reference;
mod reload;
mod remove;
mod report;
mod resume;
mod run;
mod screen;
mod sensor;
mod service;
mod show;
mod silence;
mod status;
mod top;
mod watch;
mod wish;

use std::{path::PathBuf, process::ExitCode};

use std::ops::RangeInclusive;

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::styling::{AnsiColor, Style, Styles},
    error::{ContextKind, ContextValue},
};
use lapwing_core::{kind::nearest, observation::clean};

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
#[command(
    name = "lapwing", bin_name = "lapwing", version, max_term_width = 110, after_help = MAP, disable_help_subcommand = true, styles = STYLES
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const MAP: &str = "\
Begin here:
  lapwing check https://example.com icmp://192.0.2.1    is it up, now?
  lapwing config init                                   write a configuration
  lapwing run                                           watch, and tell you
  lapwing help report                                   all about a command

Exit codes:
  0   all is well
  1   something is down
  2   usage or configuration
  3   nothing is down, but something is degraded or inconclusive
  70  internal";

/// On a terminal only, and not where `NO_COLOR` is set.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default())
    .error(AnsiColor::Red.on_default().bold())
    .valid(AnsiColor::Green.on_default())
    .invalid(AnsiColor::Red.on_default())
    .context(Style::new());

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
    /// The whole screen: what is watched, as it changes, with details and keys to act
    Top(top::TopArgs),
    /// The monitors of the running daemon, and where each comes from
    List(list::ListArgs),
    /// All about one monitor: its states, its keys, its last outages
    Show(show::ShowArgs),
    /// These commands at a prompt, with completion, history and live events
    Console(console::ConsoleArgs),
    /// What happened, and what happens
    Events(events::EventsArgs),
    /// Watch one more monitor, from now on
    Add(add::AddArgs),
    /// Change a monitor that was added
    Edit(edit::EditArgs),
    /// End monitors that were added
    Remove(remove::RemoveArgs),
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
    /// All about a command, with examples
    Help(help::HelpArgs),
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
    /// Print the monitors that were added while the daemon ran, as TOML
    #[command(
        after_help = "Examples:\n  lapwing config export\n  lapwing config export -o added.toml --data /var/lib/lapwing\n\nThe text says how to take them over into a configuration file. Works with a running daemon and without one."
    )]
    Export {
        /// Into this new file
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        data: report::DataArg,
    },
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example:\n  lapwing config schema > lapwing.schema.json")]
    Schema,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(watch::spelled(std::env::args_os()));
    let parsed = matches.and_then(|found| Cli::from_arg_matches(&found).map_err(|e| e.format(&mut command)));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let words = std::env::args_os().skip(1);
            let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
            return misread(error, &words).into();
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

/// The whole command line. What stands below the options of each help is as wide as the terminal.
pub fn command() -> clap::Command {
    help::flowing(Cli::command())
}

/// Says what is wrong with a command line of these words, or shows the help that they ask for; gives the exit code.
pub fn misread(mut error: clap::Error, words: &[String]) -> u8 {
    if !error.use_stderr() {
        // Help that cannot be printed has no reader.
        drop(error.print());
        return exit::FINE;
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
        let is_first = words.first() == Some(word);
        if is_first && command().find_subcommand(word).is_some() {
            out::complain(&format!(
                "lapwing: \"{word}\" is no command of the console: run `lapwing {word}` in a shell\n"
            ));
            return exit::USAGE;
        }
        let meant = meant(&error, word, is_first);
        if !meant.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(meant));
        }
    }
    if words.iter().any(|word| clean(word, usize::MAX) != *word) {
        // With colours these would stand in it as they are.
        out::complain(&error.render().to_string());
    } else {
        drop(error.print());
    }
    exit::USAGE
}

/// What other programs call a command, and what it is called here.
const HABITS: [(&str, &[&str]); 9] = [
    ("stop", &["pause", "remove"]),
    ("start", &["resume"]),
    ("delete", &["remove"]),
    ("rm", &["remove"]),
    ("logs", &["events"]),
    ("log", &["events"]),
    ("tail", &["events"]),
    ("ls", &["list"]),
    ("stats", &["report"]),
];

/// What may have been meant by a command that there is not: by habit, or the nearest.
fn meant(error: &clap::Error, word: &str, is_first: bool) -> Vec<String> {
    let habit = HABITS.iter().find(|(habit, _)| is_first && *habit == word);
    if let Some((_, here)) = habit {
        return here.iter().map(ToString::to_string).collect();
    }
    let Some(ContextValue::Strings(alike)) = error.get(ContextKind::SuggestedSubcommand) else {
        return Vec::new();
    };
    let near = nearest(word, alike.iter().map(String::as_str));
    near.map(ToOwned::to_owned).into_iter().collect()
}

/// A whole number of a range, or one sentence about it.
pub fn number(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let found = text.parse().ok().filter(|number| range.contains(number));
        found.ok_or_else(|| format!("it is a whole number from {} to {}", range.start(), range.end()))
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

impl Failure {
    /// The store cannot be read; where that is for want of permission, who can.
    pub fn stored(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let denied = causes.any(|cause| cause.to_string().contains("Permission denied"));
        let hint = if denied {
            "; run this as the user who runs the daemon, or as root"
        } else {
            ""
        };
        Self::usage(format!("{}{hint}", crate::recorder::full(error)))
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
        Command::Check(args) => check::check(&args, &environment),
        Command::Watch(args) => watch::watch(&args, &environment),
        Command::Status(args) => status::status(&args, &environment),
        Command::Top(args) => top::top(&args, &environment),
        Command::List(args) => list::list(&args, &environment),
        Command::Show(args) => show::show(&args, &environment),
        Command::Console(args) => console::console(&args, &environment),
        Command::Events(args) => events::events(&args, &environment),
        Command::Add(args) => add::add(&args, &environment),
        Command::Edit(args) => edit::edit(&args, &environment),
        Command::Remove(args) => remove::remove(&args, &environment),
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
        Command::Help(args) => help::help(&args),
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
        ConfigCommand::Export { output, data } => data
            .folder(environment)
            .and_then(|folder| config::export(&folder, output.as_deref(), &mut text)),
        ConfigCommand::Schema => config::schema(&mut text),
    };
    out::print(&String::from_utf8_lossy(&text))?;
    done
}
