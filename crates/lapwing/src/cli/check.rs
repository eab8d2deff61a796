//! `lapwing check`: probe now, once.

use std::{
    collections::VecDeque,
    io::{BufRead, IsTerminal},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use lapwing_api::{
    client::{Client, ClientError},
    shapes::{CheckShape, exit_code},
};
use lapwing_core::time::parse_duration;
use lapwing_net::Net;
use lapwing_probe::Prober;
use lapwing_term::{check_lines, paint::Paint};
use tokio::task::{JoinError, JoinHandle};

use super::{Failure, exit, local, progress::Progress, report::DataArg};
use crate::{
    clock::SystemClock,
    config::{self, Environment},
    out,
};

/// Probes that run at once, and results that may wait for an earlier one to be printed.
const AT_ONCE: usize = 1_000;
/// Fewer targets need no progress.
const MANY: usize = 50;
/// Results wait this long at most, or until they are so many bytes, before they are printed together.
const PRINT_EVERY: Duration = Duration::from_millis(50);
const MOST_HELD: usize = 64 << 10;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// What to probe: URLs, also with ranges and CIDR blocks; or names of monitors of the running daemon, where three
    /// failed checks by hand are three failures
    #[arg(value_name = "TARGET", required_unless_present = "stdin")]
    targets: Vec<String>,
    /// An option, as in a configuration: -o expect_body=ok, or for one kind -o icmp.count=5
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = pair)]
    option: Vec<(String, String)>,
    /// Deadline of each probe, name resolution included [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = deadline)]
    timeout: Option<Duration>,
    /// Read targets from standard input, one a line
    #[arg(long)]
    stdin: bool,
    /// Kind of the bare hosts on standard input: with icmp, web1 is read as icmp://web1
    #[arg(long, value_name = "KIND", requires = "stdin")]
    kind: Option<String>,
    /// A line of JSON each
    #[arg(long)]
    json: bool,
    /// Show everything that was found
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    data: DataArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing check tcp://127.0.0.1:22 https://example.com icmp://192.0.2.1
  lapwing check -o count=5 icmp://192.0.2.0/28
  lapwing check -o expect_body=ok -v https://example.com/health
  lapwing check 'dns://192.0.2.53/example.com?type=AAAA' ntp://pool.ntp.org
  lapwing check --stdin --kind icmp --json < hosts.txt
  lapwing check web            the monitor web, by the daemon; its result counts

Targets are asked from here, and nobody remembers what was found.";

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("it leaves no time for an answer".to_owned()),
        Ok(length) => Ok(length),
        Err(error) => Err(error.to_string()),
    }
}

pub fn check(args: &CheckArgs, environment: &Environment) -> Result<u8, Failure> {
    let are_names = !args.stdin && !args.targets.iter().any(|text| is_target(text));
    if are_names && let Some(code) = named(args, environment)? {
        return Ok(code);
    }
    let progress = Progress::begin();
    let checks =
        config::checks(&texts(args, &progress)?, &args.option, args.timeout).map_err(Failure::usage)?;
    if checks.is_empty() {
        return Err(Failure::usage("there is no target to check: the input is empty"));
    }
    // With few descriptors the probes still run, some with an `ours.descriptors`.
    drop(lapwing_net::raise_descriptor_limit());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(all(checks, args, progress))
}

/// Whether a word is a target, and no name.
pub(super) fn is_target(word: &str) -> bool {
    let kinds = config::kinds();
    let mut schemes = kinds.iter().flat_map(|kind| kind.schemes);
    let has = |scheme: &str| {
        word.strip_prefix(scheme)
            .is_some_and(|rest| rest.starts_with(':'))
    };
    word.contains("://") || schemes.any(|scheme| has(scheme))
}

/// Has the daemon check monitors of its own, now. None where there is no daemon, and nobody said where to look for it.
fn named(args: &CheckArgs, environment: &Environment) -> Result<Option<u8>, Failure> {
    let folder = match args.data.folder(environment) {
        Err(_) if !args.data.is_given() => return Ok(None),
        folder => folder?,
    };
    let ask = async |client: &Client| match client.alive().await {
        Err(ClientError::NoDaemon { .. }) if !args.data.is_given() => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(by_the_daemon(args, client).await)),
    };
    local::ask(&folder, ask)?.transpose()
}

async fn by_the_daemon(args: &CheckArgs, client: &Client) -> Result<u8, Failure> {
    if !args.option.is_empty() || args.timeout.is_some() {
        return Err(Failure::usage(
            "a monitor is checked as it is configured: options and --timeout are for targets, like tcp://HOST:PORT",
        ));
    }
    let hint = |error: ClientError| match &error {
        ClientError::Refused { status: 404, .. } => Failure::usage(format!(
            "{error}; a target has a scheme, like icmp://{}",
            args.targets[0]
        )),
        _ => error.into(),
    };
    let mut lines = client.check(&args.targets).await.map_err(hint)?;
    let mut states = Vec::new();
    while let Some(next) = lines.next().await {
        let found = next?;
        out::print(&if args.json {
            serde_json::to_string(&found).map_err(anyhow::Error::from)? + "\n"
        } else {
            let target = format!("{}  {}", found.series, found.check.target);
            let shape = CheckShape {
                target,
                ..found.check.clone()
            };
            check_lines::lines(&shape, out::paint(), args.verbose)
        })?;
        states.push(found.check.state);
    }
    Ok(exit_code(states.iter().map(String::as_str)))
}

fn texts(args: &CheckArgs, progress: &Progress) -> Result<Vec<String>, Failure> {
    let mut texts = args.targets.clone();
    if args.stdin {
        if !std::io::stdin().is_terminal() {
            progress.work("targets read", 0);
        }
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            progress.done(1);
            let text = line.split('#').next().unwrap_or_default().trim();
            match &args.kind {
                _ if text.is_empty() => {}
                Some(kind) if !text.contains("://") => texts.push(format!("{kind}://{}", as_host(text))),
                _ => texts.push(text.to_owned()),
            }
        }
    }
    Ok(texts)
}

/// A bare host as it stands in a URL: an IPv6 address gets its brackets; a port, range or CIDR block stays as it is.
fn as_host(text: &str) -> String {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{text}]")
    } else {
        text.to_owned()
    }
}

async fn all(checks: Vec<config::Check>, args: &CheckArgs, progress: Progress) -> Result<u8, Failure> {
    let net = Net::new(Arc::new(SystemClock::new()));
    let count = checks.len();
    let mut told = Told {
        args,
        paint: out::paint(),
        progress: Some(progress).filter(|_| count >= MANY),
        held: String::new(),
        states: Vec::with_capacity(count),
    };
    if let Some(progress) = &told.progress {
        progress.work("checked", count);
    }
    let (mut left, mut running) = (checks.into_iter(), VecDeque::new());
    let mut beat = tokio::time::interval(PRINT_EVERY);
    loop {
        let places = AT_ONCE - running.len();
        running.extend(left.by_ref().take(places).map(|check| start(check, net.clone())));
        let Some(next) = running.front_mut() else {
            break;
        };
        tokio::select! {
            shape = next => {
                running.pop_front();
                told.take(shape.map_err(|error| defect(&error))?)?;
            }
            _ = beat.tick() => told.print()?,
        }
    }
    told.print()?;
    drop(told.progress);
    if count > 1 && !args.json {
        out::print(&summary(&told.states, told.paint))?;
    }
    Ok(exit_code(told.states.iter().map(String::as_str)))
}

fn start(check: config::Check, net: Net) -> JoinHandle<CheckShape> {
    let config::Check { target, kind, prober } = check;
    let prober: Prober = prober;
    tokio::spawn(async move {
        let seen = prober.observe(&net).await;
        CheckShape::new(&target, kind, &seen)
    })
}

fn defect(error: &JoinError) -> Failure {
    Failure {
        code: exit::INTERNAL,
        text: error.to_string(),
    }
}

/// What was found, on its way to the terminal: many lines at once, for each print takes the progress away and back.
struct Told<'a> {
    args: &'a CheckArgs,
    paint: Paint,
    /// None when there is little to do.
    progress: Option<Progress>,
    held: String,
    states: Vec<String>,
}

impl Told<'_> {
    fn take(&mut self, shape: CheckShape) -> Result<(), Failure> {
        if self.args.json {
            self.held += &serde_json::to_string(&shape).map_err(anyhow::Error::from)?;
            self.held.push('\n');
        } else {
            self.held += &check_lines::lines(&shape, self.paint, self.args.verbose);
        }
        self.states.push(shape.state);
        if let Some(progress) = &self.progress {
            progress.done(1);
        }
        if self.held.len() > MOST_HELD {
            self.print()?;
        }
        Ok(())
    }

    fn print(&mut self) -> Result<(), Failure> {
        if self.held.is_empty() {
            return Ok(());
        }
        match &self.progress {
            Some(progress) => progress.print(&self.held)?,
            None => out::print(&self.held)?,
        }
        self.held.clear();
        Ok(())
    }
}

fn summary(states: &[String], paint: Paint) -> String {
    let of = |state: &str| states.iter().filter(|s| *s == state).count();
    let counts: Vec<String> = ["up", "degraded", "down", "inconclusive"]
        .into_iter()
        .filter(|state| of(state) > 0)
        .map(|state| paint.state(state, &format!("{} {state}", of(state))))
        .collect();
    format!("{} checked: {}\n", states.len(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::is_target;

    #[test]
    fn targets_are_told_from_names() {
        for target in ["tcp://h:1", "dns:example.com", "ping://h", "heartbeat:home"] {
            assert!(is_target(target), "{target}");
        }
        for name in ["web", "web/https", "web/10.0.0.1:80", "a b", "dnsmasq"] {
            assert!(!is_target(name), "{name}");
        }
    }
}
