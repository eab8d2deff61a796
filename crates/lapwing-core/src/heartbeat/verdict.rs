//! Whose fault a silence was: what the end of it, the sender's uptime and its own account say together.

use std::time::Duration;

use crate::heartbeat::Account;

/// What most likely caused a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The line between: the sender kept running.
    Line,
    /// The sender's own network: its system refused to send.
    Network,
    /// The sender's machine started anew.
    Restart,
    /// It was without power for a while.
    Power,
    /// The sender's process was not running; its machine was.
    Sensor,
    /// It was stopped or shut down in good order.
    Stopped,
}

impl Cause {
    pub const ALL: [Self; 6] = [
        Self::Line,
        Self::Network,
        Self::Restart,
        Self::Power,
        Self::Sensor,
        Self::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Network => "network",
            Self::Restart => "restart",
            Self::Power => "power",
            Self::Sensor => "sensor",
            Self::Stopped => "stopped",
        }
    }

    /// Reads the word back; None for a word of a later version.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == word)
    }
}

/// Line or reboot? The cause of an outage of a heartbeat, with what speaks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub cause: Cause,
    /// From the last beat before to the first after.
    pub silent: Duration,
    /// Uptime of the sender's machine when it spoke again.
    pub uptime: Option<Duration>,
    pub account: Option<Account>,
}
