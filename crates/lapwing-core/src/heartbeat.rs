//! Heartbeats: when a beat is due, when its absence is an outage, and whose fault a silence was.
//!
//! A heartbeat is passive: nobody asks, somebody reports in. It must never count time in which we did not listen.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{outage::Outage, time::Wall, uptime::Interval};

mod cron;
mod judge;
mod verdict;

pub use self::{
    cron::{Cron, CronError},
    verdict::{Cause, Verdict},
};

/// When beats are due, and how long one may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct BeatRule {
    pub due: Due,
    pub wait: Wait,
}

/// When a beat is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    /// So long after the last one.
    Every(Duration),
    /// At the times of a cron expression, in the time zone of the monitor.
    Cron(Cron),
}

/// How long a beat may be missing before that is an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// So long after it was due.
    Grace(Duration),
    /// So long after the last beat (the rule of the netmonitor script).
    DownAfter(Duration),
}

/// What a sender says with a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// All is well.
    Ping,
    /// All is well, and its machine has booted.
    Boot,
    /// It ends in good order: silence is to be expected.
    Stop,
    /// A job begins.
    Start,
    /// A job says that it failed.
    Fail,
    /// A job ended with this exit status; 0 is well.
    Exit(u8),
}

/// How a beat proved whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// By its source address alone: anybody can forge it.
    #[default]
    Plain,
    /// By a secret in the address of an HTTP request.
    Url,
    /// By HMAC-SHA256 under a key of its own.
    Keyed,
}

/// One beat, as it arrived. Whoever made this value has checked its proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// When it arrived.
    pub at: Wall,
    pub signal: Signal,
    pub proof: Proof,
    pub source: Option<IpAddr>,
    /// How long the sender's machine had been running.
    pub uptime: Option<Duration>,
    /// How long the sending process had been running.
    pub running: Option<Duration>,
    /// What the sender says about its own silence.
    pub account: Option<Account>,
    /// Its place in the sender's sequence; only of keyed ones.
    pub mark: Option<Mark>,
    /// What came with it: the body of an HTTP ping, or the text of a `BOOT` that is no number. Bounded by whoever
    /// received it.
    pub note: Option<Arc<str>>,
}

/// A sender's own account of a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Since its last beat that was acknowledged.
    pub silent: Duration,
    /// Beats that it sent, or could not send, in that time.
    pub lost: u32,
    pub hindrance: Hindrance,
}

/// What kept a sender from being heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hindrance {
    /// It sent, and nobody answered.
    #[default]
    Unanswered,
    /// Its system refused to send: no route, no address, no interface.
    NoRoute,
    /// The name of its monitor could not be resolved.
    NoName,
}

/// The place of a keyed beat: what must be durable before the beat counts, so that none counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Number of the sender's session: larger at each start of its process.
    pub boot: u64,
    /// Number of the beat within the session.
    pub seq: u64,
    /// Random for each start of the process.
    pub instance: u64,
    /// The instance before; its beats come from a second sender with the same name.
    pub former: u64,
}

/// What is remembered about the beats of a series. Stored on its own, for it changes with every beat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BeatStanding {
    /// The last beat that said that all is well.
    pub last: Option<Wall>,
    /// The last sign of life of any kind.
    pub heard: Option<Wall>,
    /// When a job began that has not ended yet.
    pub started: Option<Wall>,
    /// Times since `last`, or since `started`, in which we did not listen or could not hear: in order, none touching
    /// the next, at most [`BeatStanding::MOST_DEAF`].
    pub deaf: Vec<Interval>,
    /// How much of that is excused by what we lost, and not by an absence of ours. Not stored.
    pub lost: Duration,
    pub proof: Proof,
    pub source: Option<IpAddr>,
    pub mark: Option<Mark>,
    /// Uptime of the sender's machine at `heard`.
    pub uptime: Option<Duration>,
    /// It has told a boot before, so that none is a sign too.
    pub tells_boots: bool,
    /// It said that it would stop.
    pub stopped: bool,
    /// The newest account of a silence, and when it was given.
    pub account: Option<(Wall, Account)>,
    /// What came with the newest beat.
    pub note: Option<Arc<str>>,
    /// The newest outage, while a late word of a boot may still explain it. Not stored.
    pub recent: Option<Box<Outage>>,
}
