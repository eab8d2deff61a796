//! `lapwing sensor`: heartbeats of this machine to a monitor elsewhere. One thread, small enough for a small board.

mod keygen;
mod options;

use std::{fs, os::fd::AsFd, path::PathBuf};

use clap::{Args, Subcommand};
use lapwing_core::time::{Clock, short};
use lapwing_link::sensor::{Level, Machine, Sensor, SensorSettings, Start, Word, state_file, system_lookup};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use self::options::{Chosen, Options};
use super::{Failure, exit};
use crate::{clock::BootClock, config::Environment, manager::Manager, out};

/// Send heartbeats of this machine to a monitor, until stopped
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct SensorArgs {
    #[command(subcommand)]
    command: Option<SensorCommand>,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  lapwing sensor keygen --out home.key    a key, for here and for the monitor
  lapwing sensor --server monitor.example.com --id home --key-file home.key
  lapwing sensor --config sensor.json     plain beats, as netmonitor sends them

The key may also come from LAPWING_SENSOR_KEY, or from the file that LAPWING_SENSOR_KEY_FILE names.
The monitor is `lapwing run` with a heartbeat: target. SIGTERM and Ctrl-C tell it that the silence is meant.";

#[derive(Debug, Subcommand)]
enum SensorCommand {
    /// Make a key that a sensor proves its beats with
    #[command(
        after_help = "Examples:\n  lapwing sensor keygen --out home.key\n  lapwing sensor keygen > home.key     (umask 077 first)"
    )]
    Keygen {
        /// Write it to a new file that only you can read, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub fn sensor(args: &SensorArgs, environment: &Environment) -> Result<u8, Failure> {
    match &args.command {
        Some(SensorCommand::Keygen { out }) => keygen::keygen(out.as_deref()),
        None => run(&args.options, environment),
    }
}

fn run(options: &Options, environment: &Environment) -> Result<u8, Failure> {
    let chosen = options::choose(options, environment)?;
    let stop = stop_signals()?;
    let clock = BootClock;
    let manager = Manager::of(environment);
    let mut say = speaker(options.verbose, environment, &manager);
    for warning in &chosen.warnings {
        say(warning.clone());
    }
    say(opening(&chosen));
    let now = clock.now();
    let machine = Machine {
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        uptime: now.mono.since(lapwing_core::time::Mono(0)),
    };
    let id = chosen.identity.as_ref().map(|identity| &identity.id);
    let file = chosen.state.as_deref().map(|folder| state_file(folder, id));
    let (start, words) = Start::begin(file, machine, now.wall);
    words.into_iter().for_each(&mut say);
    let settings = SensorSettings {
        patience: SensorSettings::patience(chosen.period),
        server: chosen.server,
        identity: chosen.identity,
        period: chosen.period,
        instance: getrandom::u64().map_err(anyhow::Error::from)?,
    };
    let mut sensor = Sensor::new(settings, start, system_lookup(), &clock, stop.as_fd(), &mut say)?;
    let alive = || manager.alive();
    if let Some(patience) = manager.watchdog() {
        sensor = sensor.watched(patience / 3, &alive);
    }
    manager.ready();
    sensor.run()?;
    Ok(exit::FINE)
}

/// Readable when we are asked to end. Threads that start later inherit that the signals do nothing else.
fn stop_signals() -> Result<SignalFd, Failure> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
        .into_iter()
        .collect();
    let failed = |error: nix::Error| Failure::from(std::io::Error::from(error));
    signals.thread_block().map_err(failed)?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)
}

/// Writes lines to standard error, each with its time in UTC, as the daemon's log has it, unless the journal stamps them
/// itself (systemd.exec(5)). The service manager knows the newest one.
fn speaker(verbose: bool, environment: &Environment, manager: &Manager) -> impl FnMut(Word) {
    let stamped = environment.get("JOURNAL_STREAM").is_none_or(str::is_empty);
    move |word| {
        if word.level == Level::Detail && !verbose {
            return;
        }
        if word.level != Level::Detail {
            manager.status(&word.text);
        }
        let time = if stamped {
            let now = BootClock.now().wall.timestamp();
            now.strftime("%Y-%m-%dT%H:%M:%SZ ").to_string()
        } else {
            String::new()
        };
        let mark = if word.level == Level::Warning {
            "warning: "
        } else {
            ""
        };
        out::complain(&format!("{time}{mark}{}\n", word.text));
    }
}

fn opening(chosen: &Chosen) -> Word {
    let (server, period) = (&chosen.server, short(chosen.period));
    let text = match &chosen.identity {
        Some(identity) => format!("sensor {}: a signed beat to {server} every {period}", identity.id),
        None => format!(
            "sensor without a key: a plain beat to {server} every {period}. Plain beats prove nothing, anybody can send them, and no monitor replies; \"lapwing sensor keygen\" makes a key"
        ),
    };
    let level = Level::Notice;
    Word { level, text }
}
