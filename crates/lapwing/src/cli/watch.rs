//! `lapwing watch`: look at hosts and targets from this terminal, without a configuration.
//!
//! It runs the daemon's engine with its memories in memory: judging, alerts and words are the same. It writes nothing
//! but the alerts.

mod life;
mod orders;
mod screen;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use lapwing_core::time::parse_duration;
use tracing::Level;

use self::life::Shown;
pub use self::screen::is_fit;
use super::{Failure, check, number};
use crate::{
    config::{Environment, Log, LogFormat},
    out, telemetry,
};

/// Shortest time between two checks of one target.
const SHORTEST: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WatchArgs {
    /// Hosts, asked by ICMP or with -p by TCP, and target URLs; also ranges and CIDR blocks
    #[arg(value_name = "HOST|TARGET", required = true)]
    targets: Vec<String>,
    /// Connect to this TCP port of each host, instead of ICMP
    #[arg(short, long, value_name = "PORT", value_parser = number(1..=65_535))]
    port: Option<u32>,
    /// Judge the loss over the last so many requests [default: 300 for ICMP and UDP echo, else loss is not judged]
    #[arg(short, long, value_name = "N", value_parser = number(1..=100_000))]
    size: Option<u32>,
    /// Tell when the loss has moved by more than so many percentage points [default: 5]
    #[arg(short, long, value_name = "PCT", value_parser = points)]
    change: Option<u64>,
    /// Down after so many failures in a row, 0 for never (also -ct) [default: 3; for ICMP 0, where loss is judged]
    #[arg(short = 't', long, value_name = "N", value_parser = number(0..=1_000_000))]
    ctimeout: Option<u32>,
    /// Time between two checks [default: 1s; http, dns and tls 5s, ntp 30s]
    #[arg(short, long, value_name = "DURATION", value_parser = interval)]
    interval: Option<Duration>,
    /// Deadline of each check, name resolution included [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = check::deadline)]
    timeout: Option<Duration>,
    /// An option, as in a configuration: -o expect_body=ok, or for one kind -o icmp.size=1400
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = check::pair)]
    option: Vec<(String, String)>,
    /// Lines instead of the live view, as when standard output is no terminal
    #[arg(long)]
    plain: bool,
    /// Lines, one for every result and not only where something changes
    #[arg(long, short)]
    verbose: bool,
    /// Append no alerts to DATE_HOST_KIND.txt in this folder
    #[arg(long)]
    no_file: bool,
    /// Tell this notifier of a configuration too
    #[arg(long, value_name = "NOTIFIER")]
    notify: Vec<String>,
    /// The configuration of --notify: a file, or a folder of *.toml files
    /// [default: $LAPWING_CONFIG, ./lapwing.toml, ~/.config/lapwing/, /etc/lapwing/]
    #[arg(long, value_name = "PATH", requires = "notify")]
    config: Option<PathBuf>,
    /// Tell a Telegram chat: this file holds the bot's token. ICMP then goes in rounds of 4 requests in 2s, the first
    /// unanswered round is down, and an outage is told again after 10m, 30m and 1h
    #[arg(long, value_name = "FILE", requires = "telegram_chat")]
    telegram_token_file: Option<PathBuf>,
    /// The chat's number, negative for groups and channels, or @channel
    #[arg(
        long,
        value_name = "ID",
        requires = "telegram_token_file",
        allow_hyphen_values = true
    )]
    telegram_chat: Option<String>,
    /// The address of an own Bot API server
    #[arg(long, value_name = "URL", requires = "telegram_token_file")]
    telegram_api: Option<String>,
    /// Tell a Slack channel: this file holds the URL of its incoming webhook
    #[arg(long, value_name = "FILE")]
    slack_webhook_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  lapwing watch 192.0.2.1               loss, told when it moves by over 5%
  lapwing watch 192.0.2.1 -s 100 -c 10  of the last 100, told by over 10%
  lapwing watch 192.0.2.1 -p 443 -t 5   a TCP port, down after 5 failures
  lapwing watch 192.0.2.1 https://example.com    several at once
  lapwing watch 192.0.2.1 --notify phone         a notifier of the configuration
  lapwing watch 192.0.2.1 --telegram-token-file token --telegram-chat -10012345
  lapwing watch 192.0.2.1 --plain -v > line.log

Ctrl-C ends it with a summary, Ctrl-\\ shows one in between. Nothing is remembered but the alerts, which are appended to
DATE_HOST_KIND.txt in this folder. Exit code: 1 when something is down at the
end, or has lost all where only loss is judged.";

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(length) if length < SHORTEST => Err("it is at least 100ms".to_owned()),
        Ok(length) => Ok(length),
        Err(error) => Err(error.to_string()),
    }
}

/// Percentage points, in thousandths.
fn points(text: &str) -> Result<u64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(points) if (0.0..=100.0).contains(&points) => Ok((points * 1e3).round() as u64),
        _ => Err("it is a number from 0 to 100".to_owned()),
    }
}

/// The command line with `-ct` as one option of `watch`, as reference has it, not as `-c t`.
pub fn spelled(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = args.collect();
    if all.get(1).is_some_and(|command| command == "watch") {
        let options = all.iter_mut().take_while(|arg| *arg != "--");
        options
            .filter(|arg| *arg == "-ct")
            .for_each(|arg| *arg = "-t".into());
    }
    all
}

pub fn watch(args: &WatchArgs, environment: &Environment) -> Result<u8, Failure> {
    let orders = orders::read(args, environment)?;
    let log = Log {
        level: Level::WARN,
        format: LogFormat::Text,
    };
    let shown = if args.verbose {
        Shown::Verbose
    } else if args.plain || !is_fit() {
        Shown::Lines
    } else {
        Shown::Live
    };
    // The log would run through the live view, which shows itself what fails.
    if shown != Shown::Live || !io::stderr().is_terminal() {
        telemetry::init(&log)?;
    }
    out::complain(&orders.heading(args));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(life::live(orders, shown));
    // A delivery that hangs in a system call does not hold the end up.
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(args: &[&str]) -> Vec<String> {
        let all = super::spelled(args.iter().map(OsString::from));
        all.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn ct_is_one_option_of_watch_alone() {
        let (watch, other) = (["lapwing", "watch", "h", "-ct", "5"], ["lapwing", "check", "-ct"]);
        assert_eq!(spelled(&watch), ["lapwing", "watch", "h", "-t", "5"]);
        assert_eq!(spelled(&other), other);
        let after = ["lapwing", "watch", "--", "-ct"];
        assert_eq!(spelled(&after), after);
    }

    #[test]
    fn points_are_percentage_points() {
        assert_eq!(
            (points("5"), points("7.5%"), points("0")),
            (Ok(5_000), Ok(7_500), Ok(0))
        );
        for bad in ["-1", "101", "NaN", "t", ""] {
            assert!(points(bad).is_err(), "{bad}");
        }
    }
}
