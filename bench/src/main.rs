//! `lapwing-bench`: puts load on a real lapwing and measures it from outside, beside the barest loops that do the same.
//!
//! All traffic stays on 127.0.0.0/8, where every address answers. It links nothing of Lapwing: what it measures is the
//! program that people run.

mod bare;
mod clock;
mod daemon;
mod echo;
mod faces;
mod heartbeats;
mod load;
mod proc;
mod report;
mod sink;
mod startup;
mod status;
mod suite;
mod table;

use std::{io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};

use crate::load::{Kind, Load};

/// Measures Lapwing: CPU, memory, lateness and start, on this machine, over loopback.
#[derive(Parser)]
#[command(about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo build --release -p lapwing -p lapwing-bench
  cargo run --release -p lapwing-bench -- suite
  cargo run --release -p lapwing-bench -- daemon --kind tcp --monitors 10000 --interval 10s --seconds 30
  cargo run --release -p lapwing-bench -- daemon --kind icmp --monitors 10000 --separate
  cargo run --release -p lapwing-bench -- cli
  cargo run --release -p lapwing-bench -- echo --rounds 7
  cargo run --release -p lapwing-bench -- heartbeats
  cargo run --release -p lapwing-bench -- faces
  cargo run --release -p lapwing-store --example year_of_outages -- /tmp/year
  cargo run --release -p lapwing-bench -- report /tmp/year
  cargo run --release -p lapwing-bench -- bare --kind tcp --rate 1000";

#[derive(Subcommand)]
enum Command {
    /// A daemon under steady load: one row
    Daemon(DaemonArgs),
    /// 1,000, 10,000 and 100,000 series of tcp and icmp: a table
    Suite(SuiteArgs),
    /// How long a command takes to start and end
    Cli(CliArgs),
    /// The echo server beside the barest responder, in turn
    Echo(EchoArgs),
    /// How long a report of a year takes, in each format
    Report(ReportArgs),
    /// How fast a daemon of many series answers top, completion and lists: a table
    Faces(FacesArgs),
    /// Sensors at their usual pace, and few of them beside a flood: two tables
    Heartbeats(HeartbeatArgs),
    /// A bare loop alone, paced or as fast as it goes
    Bare(BareArgs),
    /// Sends back what comes: the responder that `echo` compares with
    #[command(hide = true)]
    Responder { listen: SocketAddr },
    /// Connects once and ends: the bare process that `cli` compares with
    #[command(hide = true)]
    Connect { address: SocketAddr },
}

/// Which program is measured.
#[derive(Args)]
struct Program {
    /// The lapwing to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    lapwing: Option<PathBuf>,
}

impl Program {
    fn find(&self) -> anyhow::Result<PathBuf> {
        let path = match &self.lapwing {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("lapwing"),
        };
        let hint = "build it first: cargo build --release -p lapwing";
        ensure!(path.is_file(), "{} is not there; {hint}", path.display());
        path.canonicalize()
            .with_context(|| format!("{} cannot be run", path.display()))
    }
}

#[derive(Args)]
struct DaemonArgs {
    #[arg(long, value_enum, default_value_t = Kind::Tcp)]
    kind: Kind,
    /// How many series
    #[arg(long, default_value_t = 10_000)]
    monitors: u32,
    /// Between two checks of a series: 500ms, 10s, 1m
    #[arg(long, default_value = "10s", value_parser = duration)]
    interval: Duration,
    /// Length of the window that is measured
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// One [[monitor]] for each series, instead of one for all
    #[arg(long)]
    separate: bool,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct SuiteArgs {
    /// Length of each window
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct CliArgs {
    /// How often each command is run
    #[arg(long, default_value_t = 51)]
    runs: usize,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct EchoArgs {
    /// Bytes of each datagram, 40 to 1472
    #[arg(long, value_delimiter = ',', default_value = "64,1200")]
    sizes: Vec<usize>,
    /// How often each responder has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each turn
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct ReportArgs {
    /// Data folder, such as the example `year_of_outages` of lapwing-store writes
    folder: PathBuf,
    /// How often each format is written
    #[arg(long, default_value_t = 11)]
    runs: usize,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct FacesArgs {
    /// How many series
    #[arg(long, default_value_t = 100_000)]
    monitors: u32,
    /// Between two checks of a series: 500ms, 10s, 1m
    #[arg(long, default_value = "60s", value_parser = duration)]
    interval: Duration,
    /// How often each request is made
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct HeartbeatArgs {
    /// How many keyed sensors
    #[arg(long, default_value_t = 100_000)]
    sensors: u32,
    /// Between two beats of a sensor: 10s, 1m
    #[arg(long, default_value = "30s", value_parser = duration)]
    period: Duration,
    /// Malformed datagrams each second of the flood
    #[arg(long, default_value_t = 100_000)]
    flood: u32,
    /// Good beats each second beside it
    #[arg(long, default_value_t = 1_000)]
    good: u32,
    /// Length of each window
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct BareArgs {
    #[arg(long, value_enum, default_value_t = Kind::Tcp)]
    kind: Kind,
    /// Checks each second; 0: as fast as it goes
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error there is nobody to tell.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Daemon(args) => {
            ensure!(
                (1..=1_000_000).contains(&args.monitors),
                "--monitors must be 1 to 1,000,000"
            );
            ensure!(args.seconds > 0, "--seconds must be 1 or more");
            let DaemonArgs {
                kind,
                monitors,
                interval,
                seconds,
                separate,
                program,
            } = args;
            let load = Load {
                kind,
                monitors,
                interval,
                separate,
            };
            suite::run(&[load], Duration::from_secs(seconds), &program.find()?)
        }
        Command::Suite(args) => {
            ensure!(args.seconds > 0, "--seconds must be 1 or more");
            suite::run(
                &suite::loads(),
                Duration::from_secs(args.seconds),
                &args.program.find()?,
            )
        }
        Command::Cli(args) => startup::run(args.runs.max(1), &args.program.find()?),
        Command::Report(args) => report::run(&args.folder, args.runs.max(1), &args.program.find()?),
        Command::Bare(args) => suite::bare(args.kind, args.rate, Duration::from_secs(args.seconds.max(1))),
        Command::Echo(args) => echo::run(
            &args.sizes,
            args.rounds.max(1),
            Duration::from_secs(args.seconds.max(1)),
            &args.program.find()?,
        ),
        Command::Faces(args) => {
            ensure!(
                (1..=1_000_000).contains(&args.monitors),
                "--monitors must be 1 to 1,000,000"
            );
            let load = Load {
                kind: Kind::Tcp,
                monitors: args.monitors,
                interval: args.interval,
                separate: false,
            };
            faces::run(&load, args.rounds.max(1), &args.program.find()?)
        }
        Command::Heartbeats(args) => {
            ensure!(
                (1..=999_999).contains(&args.sensors),
                "--sensors must be 1 to 999,999"
            );
            let window = Duration::from_secs(args.seconds.max(1));
            let lapwing = args.program.find()?;
            heartbeats::steady(args.sensors, args.period, window, &lapwing)?;
            heartbeats::flood(args.flood, args.good.max(1), window, &lapwing)
        }
        Command::Responder { listen } => echo::respond(listen),
        Command::Connect { address } => startup::connect(address),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("a number and its unit are needed: 500ms, 10s, 1m".to_owned()),
    };
    match number.parse::<u64>().ok().filter(|n| (1..=1_000_000).contains(n)) {
        Some(number) => Ok(Duration::from_millis(number * scale)),
        None => Err("a whole number from 1 to 1,000,000 is needed before the unit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for bad in [
            "",
            "10",
            "s",
            "0s",
            "1.5s",
            "10 s",
            "10h",
            "18446744073709551615m",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
