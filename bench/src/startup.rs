//! How long commands take from start to end, each run in turn with a bare process that does the same.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{clock, proc::Cpu, sink::Sink, table};

/// A command and what came of its runs.
pub(crate) struct Measured {
    pub(crate) name: String,
    command: Command,
    pub(crate) wall: Vec<Duration>,
    pub(crate) cpu: Vec<Duration>,
}

impl Measured {
    pub(crate) fn new(name: &str, program: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            name: name.to_owned(),
            command,
            wall: Vec::new(),
            cpu: Vec::new(),
        }
    }

    /// One run. The only child at that time, so what children have used since is its own.
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let (begun, before) = (clock::now(), Cpu::of_children()?);
        let status = self
            .command
            .status()
            .with_context(|| format!("{} cannot be started", self.name))?;
        self.wall.push(begun.elapsed());
        self.cpu.push(Cpu::of_children()?.since(before).total());
        ensure!(status.success(), "{} ends with {status}", self.name);
        Ok(())
    }
}

/// Prints the medians of `runs` runs of each command.
pub(crate) fn run(runs: usize, lapwing: &Path) -> anyhow::Result<()> {
    let sink = Sink::open()?;
    let own = std::env::current_exe()?;
    let (address, target) = (
        format!("127.0.0.1:{}", sink.port),
        format!("tcp://127.0.0.1:{}", sink.port),
    );
    let mut all = [
        Measured::new("a bare process that connects", &own, &["connect", &address]),
        Measured::new("lapwing --version", lapwing, &["--version"]),
        Measured::new("lapwing check tcp://127.0.0.1:PORT", lapwing, &["check", &target]),
        Measured::new(
            "lapwing check icmp://127.0.0.1",
            lapwing,
            &["check", "icmp://127.0.0.1"],
        ),
    ];
    for _ in 0..runs {
        for measured in &mut all {
            measured.run()?;
        }
    }
    table::say(&table::head(&[
        "command",
        "wall ms (median)",
        "CPU ms (median)",
        "wall x bare",
    ]))?;
    let bare = median(&mut all[0].wall);
    for measured in &mut all {
        let (wall, cpu) = (median(&mut measured.wall), median(&mut measured.cpu));
        table::say(&table::row(&[
            measured.name.clone(),
            format!("{:.2}", wall.as_secs_f64() * 1e3),
            format!("{:.2}", cpu.as_secs_f64() * 1e3),
            format!("{:.1}", wall.as_secs_f64() / bare.as_secs_f64()),
        ]))?;
    }
    Ok(())
}

/// What the bare process does.
pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<()> {
    TcpStream::connect(address)
        .map(drop)
        .with_context(|| format!("{address} cannot be reached"))
}

pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut []), Duration::ZERO);
        assert_eq!(
            median(&mut [9, 1, 5].map(Duration::from_secs)),
            Duration::from_secs(5)
        );
    }

    #[test]
    fn runs_are_measured_and_failures_are_told() {
        let mut good = Measured::new("true", Path::new("/bin/true"), &[]);
        good.run().unwrap();
        assert!(good.wall[0] > Duration::ZERO && good.cpu.len() == 1);
        assert!(
            Measured::new("false", Path::new("/bin/false"), &[])
                .run()
                .is_err()
        );
        assert!(
            Measured::new("nothing", Path::new("/nonexistent"), &[])
                .run()
                .is_err()
        );
    }
}
