//! The echo server beside the barest responder, in turn, under the same load.

mod load;
mod responder;

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{proc::Cpu, table};

pub(crate) use responder::respond;

/// Where both listen.
pub(crate) const ANYWHERE: &str = "0.0.0.0:0";
/// Addresses of the responder that are asked: one, as by a client; and so many that no two answers leave together.
const ADDRESSES: [u32; 2] = [1, 1_000];
/// More than any machine answers in a second: the limits are checked, and let everything through.
const NO_LIMIT: &str = "4000000000";
const COLUMNS: &[&str] = &[
    "bytes",
    "addresses",
    "responder",
    "datagrams/s",
    "slowest",
    "fastest",
    "x bare",
    "CPU µs/datagram",
    "x bare",
];

/// What one responder did in one round: datagrams a second, CPU µs a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    rate: f64,
    cpu: f64,
}

/// Measures both responders in turn with datagrams of each of `sizes`, and prints the medians of `rounds` rounds.
pub(crate) fn run(sizes: &[usize], rounds: usize, length: Duration, lapwing: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let places = places()?;
    pin(places.1)?;
    let mut bare = Server::start(Command::new(own).args(["responder", ANYWHERE]))?;
    let mut echo = Server::start(
        Command::new(lapwing)
            .args(["echo", "serve", "--listen", ANYWHERE])
            .args(["--per-source", NO_LIMIT, "--in-all", NO_LIMIT]),
    )?;
    pin(places.0)?;
    table::say(&table::head(COLUMNS))?;
    let loads = sizes
        .iter()
        .flat_map(|size| ADDRESSES.map(|addresses| (*size, addresses)));
    for (size, addresses) in loads {
        let mut found: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (server, rounds) in [&mut bare, &mut echo].into_iter().zip(&mut found) {
                rounds.push(server.round(size, addresses, length)?);
            }
        }
        for row in rows(size, addresses, &found) {
            table::say(&row)?;
        }
    }
    Ok(())
}

/// The processors of the load and of the responders: two of them where there are two.
fn places() -> anyhow::Result<(usize, usize)> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let all: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let (first, last) = (all.first(), all.last());
    Ok((*first.context("no processor")?, *last.context("no processor")?))
}

/// Keeps this thread, and the programs that it starts, on one processor.
fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A responder that runs; it is killed when this is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts a program that says first of all where it listens: `… udp-echo://ADDRESS …`, on standard error.
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", name.display()))?;
        let mut server = Self { child, port: 0 };
        let mut line = String::new();
        let stderr = server.child.stderr.as_mut().context("no standard error")?;
        BufReader::new(stderr).read_line(&mut line)?;
        let bound: Option<SocketAddr> = line
            .split("udp-echo://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let bound = bound.with_context(|| format!("{} says: {}", name.display(), line.trim()))?;
        server.port = bound.port();
        Ok(server)
    }

    fn round(&mut self, size: usize, addresses: u32, length: Duration) -> anyhow::Result<Round> {
        let before = Cpu::of_process(self.child.id())?;
        let done = load::run(self.port, size, addresses, length)?;
        let used = Cpu::of_process(self.child.id())?.since(before);
        ensure!(done.answered > 0, "nothing was answered");
        Ok(Round {
            rate: done.answered as f64 / done.took.as_secs_f64(),
            cpu: used.total().as_secs_f64() * 1e6 / done.answered as f64,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A row for each responder, the bare one first.
fn rows(size: usize, addresses: u32, found: &[Vec<Round>; 2]) -> [String; 2] {
    let middle = |rounds: &[Round], of: fn(&Round) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        (all[0], all[all.len() / 2], all[all.len() - 1])
    };
    let (_, bare_rate, _) = middle(&found[0], |round| round.rate);
    let (_, bare_cpu, _) = middle(&found[0], |round| round.cpu);
    [("bare", &found[0]), ("lapwing", &found[1])].map(|(name, rounds)| {
        let (slowest, rate, fastest) = middle(rounds, |round| round.rate);
        let (_, cpu, _) = middle(rounds, |round| round.cpu);
        table::row(&[
            table::count(size as f64),
            table::count(f64::from(addresses)),
            name.to_owned(),
            table::count(rate),
            table::count(slowest),
            table::count(fastest),
            format!("{:.2}", rate / bare_rate),
            format!("{cpu:.2}"),
            format!("{:.2}", cpu / bare_cpu),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_medians_and_ratios() {
        let round = |rate, cpu| Round { rate, cpu };
        let found = [
            vec![round(1000.0, 4.0), round(900.0, 3.0), round(1100.0, 5.0)],
            vec![round(950.0, 6.0), round(10.0, 9.0), round(990.0, 5.0)],
        ];
        let rows = rows(64, 1, &found);
        assert_eq!(
            rows[0],
            "| 64 | 1 | bare | 1,000 | 900 | 1,100 | 1.00 | 4.00 | 1.00 |"
        );
        assert_eq!(
            rows[1],
            "| 64 | 1 | lapwing | 950 | 10 | 990 | 0.95 | 6.00 | 1.50 |"
        );
    }
}
