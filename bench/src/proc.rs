//! What the kernel says about a process: CPU, memory, threads, descriptors. Reads /proc (proc(5)) and changes nothing.

use std::{fs, time::Duration};

use anyhow::Context as _;
use nix::{
    sys::resource::{UsageWho, getrusage},
    unistd::{SysconfVar, sysconf},
};

/// CPU time so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    /// Microseconds for each of `count`: user, system.
    pub(crate) fn each(self, count: f64) -> (f64, f64) {
        (
            self.user.as_secs_f64() * 1e6 / count,
            self.system.as_secs_f64() * 1e6 / count,
        )
    }

    /// Of the calling thread.
    pub(crate) fn of_thread() -> anyhow::Result<Self> {
        Self::of(UsageWho::RUSAGE_THREAD)
    }

    /// Of all children that have ended.
    pub(crate) fn of_children() -> anyhow::Result<Self> {
        Self::of(UsageWho::RUSAGE_CHILDREN)
    }

    fn of(who: UsageWho) -> anyhow::Result<Self> {
        let usage = getrusage(who)?;
        let time = |t: nix::sys::time::TimeVal| {
            Duration::new(
                t.tv_sec().unsigned_abs(),
                1_000 * t.tv_usec().unsigned_abs() as u32,
            )
        };
        Ok(Self {
            user: time(usage.user_time()),
            system: time(usage.system_time()),
        })
    }

    /// Of a running process with all its threads, in clock ticks (usually 10 ms).
    pub(crate) fn of_process(pid: u32) -> anyhow::Result<Self> {
        let ticks = sysconf(SysconfVar::CLK_TCK)?
            .filter(|n| *n > 0)
            .context("the length of a tick is unknown")?;
        parse_stat(&read(pid, "stat")?, ticks as f64)
            .context("/proc/PID/stat has another form than proc(5) says")
    }
}

/// Fields 14 and 15 of `proc_pid_stat(5)`; the name before them may hold spaces and brackets.
fn parse_stat(text: &str, ticks: f64) -> Option<Cpu> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || {
        Some(Duration::from_secs_f64(
            f64::from(fields.next()?.parse::<u32>().ok()?) / ticks,
        ))
    };
    Some(Cpu {
        user: next()?,
        system: next()?,
    })
}

/// Size of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Size {
    /// Resident memory now, and the most so far, in MiB.
    pub(crate) rss: f64,
    pub(crate) peak: f64,
    pub(crate) threads: u64,
}

impl Size {
    pub(crate) fn of_process(pid: u32) -> anyhow::Result<Self> {
        parse_status(&read(pid, "status")?).context("/proc/PID/status has another form than proc(5) says")
    }
}

fn parse_status(text: &str) -> Option<Size> {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let mib = |name| Some(number(name)? as f64 / 1024.0);
    Some(Size {
        rss: mib("VmRSS:")?,
        peak: mib("VmHWM:")?,
        threads: number("Threads:")?,
    })
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Echo requests that this machine has received since it started.
pub(crate) fn pings() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/net/snmp")?;
    parse_snmp(&text).context("/proc/net/snmp has no count of echo requests")
}

/// Names stand in one line, the values in the next.
fn parse_snmp(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names
        .split_ascii_whitespace()
        .position(|name| name == "InEchos")?;
    values.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn read(pid: u32, what: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{what}");
    fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_forms_are_read() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20";
        let expected = Cpu {
            user: Duration::from_millis(1_500),
            system: Duration::from_millis(250),
        };
        assert_eq!(parse_stat(stat, 100.0), Some(expected));
        assert_eq!(parse_stat("7 (a", 100.0), None);
        let status = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(
            parse_status(status),
            Some(Size {
                rss: 2.0,
                peak: 4.0,
                threads: 3
            })
        );
        let snmp = "Ip: A B\nIp: 1 2\nIcmp: InMsgs InEchos\nIcmp: 5 6\nIcmpMsg: X\n";
        assert_eq!(parse_snmp(snmp), Some(6));
        assert_eq!(parse_snmp("Icmp: InMsgs\nIcmp: 5\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        let size = Size::of_process(pid).unwrap();
        assert!(
            size.rss > 0.1 && size.peak >= size.rss && size.threads >= 1,
            "{size:?}"
        );
        assert!(descriptors(pid).unwrap() >= 3);
        let used = Cpu::of_process(pid).unwrap();
        assert!(used.since(used).total().is_zero());
        pings().unwrap();
    }
}
