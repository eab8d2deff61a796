//! Monitors: what is asked of a series, how often, and when it counts as down.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::tz::TimeZone;

use crate::{event::EventKind, heartbeat::BeatRule, loss::LossPolicy};

/// Address family that a probe may use. `both` in a configuration makes two series, one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    #[default]
    Any,
    V4,
    V6,
}

impl Family {
    pub fn allows(self, addr: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => addr.is_ipv4(),
            Self::V6 => addr.is_ipv6(),
        }
    }
}

/// Which of a name's addresses a probe asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// The first that the resolver gives.
    #[default]
    First,
    /// Every one; the probe passes when all of them do.
    All,
}

/// Where packets come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    #[default]
    Any,
    Address(IpAddr),
    /// An interface by name (`SO_BINDTODEVICE`).
    Interface(String),
}

/// What every probe needs to know, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProbeSettings {
    /// One deadline for all that a probe does, name resolution included.
    pub timeout: Duration,
    /// Limit of the connect alone; at most `timeout`.
    pub connect_timeout: Duration,
    pub family: Family,
    pub addresses: Addresses,
    pub source: Source,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            family: Family::Any,
            addresses: Addresses::First,
            source: Source::Any,
        }
    }
}

/// When failures make an outage, and successes end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownRule {
    /// Never: only loss is judged.
    Off,
    /// So many failures, or successes, in a row.
    Consecutive { failures: u32, successes: u32 },
    /// Down when `fail` of the last `of` failed, up again when at most `recover` of them did.
    Window { of: u32, fail: u32, recover: u32 },
}

/// Whether failures below the threshold are forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetFailures {
    #[default]
    Never,
    /// At each full hour.
    Hourly,
}

/// How a series is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Between probes while up.
    pub interval: Duration,
    /// Between probes while failing.
    pub retry_interval: Duration,
    /// Between probes while down.
    pub recovery_interval: Duration,
    pub rule: DownRule,
    pub reset_failures: ResetFailures,
    pub loss: Option<LossPolicy>,
    /// Times since an outage began at which it is told again, ascending.
    pub remind: Vec<Duration>,
    /// For the full hours of `reset_failures` and the times in texts.
    pub zone: TimeZone,
    /// When beats are due; None where we ask ourselves.
    pub beats: Option<Arc<BeatRule>>,
}

impl Default for Policy {
    fn default() -> Self {
        let interval = Duration::from_secs(30);
        Self {
            interval,
            retry_interval: interval,
            recovery_interval: interval,
            rule: DownRule::Consecutive {
                failures: 3,
                successes: 1,
            },
            reset_failures: ResetFailures::Never,
            loss: None,
            remind: Vec::new(),
            zone: TimeZone::UTC,
            beats: None,
        }
    }
}

/// A named set of targets with one schedule, one policy and its notifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub policy: Policy,
    /// Names of the notifiers that are told.
    pub notify: Vec<Arc<str>>,
}

/// One target of a monitor at one host and address family: what has its own state, outages and history.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Identity over restarts and reloads: monitor, target URL and family.
    pub key: Arc<str>,
    /// What people call it: `web`, `web/icmp`, `web/10.0.0.7:80`.
    pub name: String,
    pub monitor: Arc<Monitor>,
    /// The target URL, without options.
    pub target: String,
    pub kind: &'static str,
    /// The host for people, without port and brackets.
    pub host: String,
    /// True where the target never leaves this machine: it tells nothing about our own line.
    pub loopback: bool,
    /// True where a slot is used even while an earlier probe still waits.
    pub overlaps: bool,
}

/// What the outbox must know about a notifier.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifierPolicy {
    pub name: Arc<str>,
    /// Events that it wants; None for those that are news of the targets or of our line.
    pub on: Option<Vec<EventKind>>,
    /// At most so many messages in so much time.
    pub rate_limit: Option<(u32, Duration)>,
    /// An undelivered message becomes a dead letter after this time.
    pub give_up: Duration,
    /// True where it is reached without the line to the outside.
    pub local: bool,
}

impl NotifierPolicy {
    pub fn wants(&self, event: EventKind) -> bool {
        match &self.on {
            Some(wanted) => wanted.contains(&event),
            None => event.is_news(),
        }
    }
}

/// How the series of an unknown source is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Adoption {
    /// With `beats` set.
    pub policy: Policy,
    pub notify: Vec<Arc<str>>,
    pub labels: Vec<(String, String)>,
}

/// Most sources that are adopted.
pub const MAX_ADOPTED: usize = 1_000;

/// All that is watched, and everybody who is told: the decisions' view of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub series: Vec<Arc<Series>>,
    pub notifiers: Vec<NotifierPolicy>,
    /// For texts that belong to no monitor.
    pub zone: Option<TimeZone>,
    /// Makes a series of each unknown source of plain beats; None where those are refused.
    pub adopt: Option<Adoption>,
}
