//! A running daemon under load: started, watched from outside, measured, stopped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    clock,
    load::{ALERTS, DATA, Kind, Load},
    proc::{self, Cpu, Size},
    sink::Sink,
    status::{self, Status},
};

/// How long a daemon may take to load its configuration and check something.
pub(crate) const START: Duration = Duration::from_secs(120);
/// How long it may take to stop in good order.
const STOP: Duration = Duration::from_secs(12);
/// What it says, in its folder.
const LOG: &str = "log";
/// Between the first look at the status and the window: the look itself costs CPU.
const SETTLE: Duration = Duration::from_secs(1);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// From the start of the process to its first check, and until every series was checked.
    pub(crate) first: Duration,
    pub(crate) all: Duration,
    /// Checks each second.
    pub(crate) rate: f64,
    /// CPU of a check in microseconds: user, system.
    pub(crate) cpu: (f64, f64),
    /// Lateness in milliseconds.
    pub(crate) late_p50: f64,
    pub(crate) late_p99: f64,
    /// When every series was checked once, before anybody asked for a status.
    pub(crate) idle: Size,
    pub(crate) after: Size,
    pub(crate) descriptors: usize,
    /// Alerts about targets that were never down, and series that were not up in the end.
    pub(crate) false_failures: u64,
    /// Observations that storage could not take.
    pub(crate) dropped: u64,
    /// From SIGTERM to its end; None when it had to be killed.
    pub(crate) stopped: Option<Duration>,
}

/// Starts a daemon, measures it over `window`, and stops it.
pub(crate) fn measure(load: &Load, window: Duration, lapwing: &Path, sink: &Sink) -> anyhow::Result<Figures> {
    let counter = Counter {
        kind: load.kind,
        sink,
        offset: 0,
    }
    .reset()?;
    let mut daemon = Daemon::start(&load.configuration(sink.port), lapwing)?;
    let found = daemon.observe(load, window, &counter);
    let stopped = daemon.stop()?;
    let found = found.map(|found| Figures { stopped, ..found });
    found.with_context(|| format!("the daemon's last words: {}", daemon.last_words()))
}

/// Checks that arrive at the targets, counted there: asking the daemon would cost it time and memory.
struct Counter<'s> {
    kind: Kind,
    sink: &'s Sink,
    offset: u64,
}

impl Counter<'_> {
    fn reset(self) -> anyhow::Result<Self> {
        let offset = self.count()?;
        Ok(Self { offset, ..self })
    }

    fn count(&self) -> anyhow::Result<u64> {
        let count = match self.kind {
            Kind::Tcp => self.sink.accepted(),
            Kind::Icmp => proc::pings()?,
        };
        Ok(count - self.offset)
    }
}

/// A folder for a daemon, which goes with it.
pub(crate) fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("lapwing-bench-").tempdir()?)
}

/// The process and its folder; both go when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    pub(crate) fn start(configuration: &str, lapwing: &Path) -> anyhow::Result<Self> {
        Self::start_in(folder()?, configuration, lapwing)
    }

    /// Starts one in a folder that may hold what its configuration names.
    pub(crate) fn start_in(folder: TempDir, configuration: &str, lapwing: &Path) -> anyhow::Result<Self> {
        let file = folder.path().join("lapwing.toml");
        fs::write(&file, configuration)?;
        let log = File::create(folder.path().join(LOG))?;
        let child = Command::new(lapwing)
            .args(["run", "--config"])
            .arg(&file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", lapwing.display()))?;
        Ok(Self { child, folder })
    }

    fn observe(&mut self, load: &Load, window: Duration, counter: &Counter<'_>) -> anyhow::Result<Figures> {
        let wanted = u64::from(load.monitors);
        let first = self.until("checks nothing", START, || Ok(counter.count()? > 0))?;
        let all = self.until("does not check every series", load.interval * 2 + START, || {
            Ok(counter.count()? >= wanted)
        })?;
        let idle = Size::of_process(self.child.id())?;
        let mut before = self.status()?;
        let patience = clock::now();
        while before.count("up") < wanted && patience.elapsed() < load.interval * 2 {
            std::thread::sleep(Duration::from_millis(200));
            before = self.status()?;
        }
        std::thread::sleep(SETTLE);
        let (begun, used) = (clock::now(), Cpu::of_process(self.child.id())?);
        std::thread::sleep(window);
        let (length, used) = (begun.elapsed(), Cpu::of_process(self.child.id())?.since(used));
        let after = self.status()?;
        let between = after.at.duration_since(before.at).as_secs_f64();
        let rate = (after.engine.checks - before.engine.checks) as f64 / between;
        Ok(Figures {
            first,
            all: first + all,
            rate,
            cpu: used.each(rate * length.as_secs_f64()),
            late_p50: after.late_since(&before, 0.5),
            late_p99: after.late_since(&before, 0.99),
            idle,
            after: Size::of_process(self.child.id())?,
            descriptors: proc::descriptors(self.child.id())?,
            false_failures: self.alerts().max(wanted.saturating_sub(after.count("up"))),
            dropped: after.engine.dropped,
            stopped: None,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Alerts so far about something that is down.
    pub(crate) fn alerts(&self) -> u64 {
        let alerts = fs::read_to_string(self.folder.path().join(ALERTS)).unwrap_or_default();
        alerts.lines().filter(|line| line.contains("DOWN ")).count() as u64
    }

    /// Waits until `done`, as long as the daemon lives.
    pub(crate) fn until(
        &mut self,
        otherwise: &str,
        limit: Duration,
        mut done: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let child = &mut self.child;
        let took = clock::wait_for(limit, Duration::from_millis(2), || {
            if let Some(status) = child.try_wait()? {
                bail!("the daemon has ended: {status}");
            }
            done()
        })?;
        took.with_context(|| format!("the daemon {otherwise} within {limit:?}"))
    }

    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        self.early_status()?
            .context("the daemon's local socket does not listen")
    }

    /// The status; None while the daemon does not listen yet.
    pub(crate) fn early_status(&self) -> anyhow::Result<Option<Status>> {
        status::ask(&self.socket())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(DATA).join("lapwing.sock")
    }

    /// Asks it to end, and waits. None when it has to be killed.
    pub(crate) fn stop(&mut self) -> anyhow::Result<Option<Duration>> {
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        }
        let child = &mut self.child;
        clock::wait_for(STOP, Duration::from_millis(2), || Ok(child.try_wait()?.is_some()))
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
