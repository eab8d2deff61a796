//! Whose fault a silence was: what the end of it, the sender's uptime and its own account say together.

use std::time::Duration;

use super::Account;
use crate::notice::about;

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
    /// The sender's process was not running, or stood still; its machine was not restarted.
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

impl Verdict {
    /// What a person reads: a sentence fragment that stands alone.
    pub fn text(&self) -> String {
        let booted = |uptime: Duration| {
            format!(
                "silent {}, booted {} before it spoke",
                about(self.silent),
                about(uptime)
            )
        };
        match (self.cause, self.uptime) {
            (Cause::Line, Some(uptime)) if uptime < self.silent => {
                let unheard = self.account.map_or(uptime, |account| account.silent);
                format!(
                    "line down for {} at least while the sensor ran{}; it had restarted, {} before it spoke",
                    about(unheard),
                    self.lost(),
                    about(uptime)
                )
            }
            (Cause::Line, uptime) => {
                let who = match (self.account, uptime) {
                    (Some(_), _) => "sensor kept running",
                    (None, Some(_)) => "the sensor's machine kept running",
                    (None, None) => "no restart was reported",
                };
                format!("line down, {who}{}", self.lost())
            }
            (Cause::Network, _) => format!(
                "the sensor's own network was down, sensor kept running{}",
                self.lost()
            ),
            (Cause::Restart, Some(uptime)) => format!("restarted: {}", booted(uptime)),
            (Cause::Restart, None) => "restarted".to_owned(),
            (Cause::Power, Some(uptime)) => format!("power cut likely: {}", booted(uptime)),
            (Cause::Power, None) => "power cut likely".to_owned(),
            // It ran before and after, and tried nothing.
            (Cause::Sensor, _)
                if self
                    .account
                    .is_some_and(|account| account.silent >= self.silent / 2) =>
            {
                "the sensor sent nothing: it was stopped, or its machine suspended".to_owned()
            }
            (Cause::Sensor, _) => "the sensor was not running, its machine was".to_owned(),
            (Cause::Stopped, Some(uptime)) if uptime < self.silent => {
                format!("shut down in good order: {}", booted(uptime))
            }
            (Cause::Stopped, _) => "the sensor was stopped in good order".to_owned(),
        }
    }

    fn lost(&self) -> String {
        match self.account {
            Some(Account { lost: 1, .. }) => " (1 beat lost)".to_owned(),
            Some(Account { lost, .. }) if lost > 0 => format!(" ({lost} beats lost)"),
            _ => String::new(),
        }
    }
}
