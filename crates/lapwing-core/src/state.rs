//! The state of a series, as everybody sees it.

use std::fmt;

/// What is known about a series now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not yet asked.
    #[default]
    Pending,
    Up,
    /// It answers, but something about it needs attention.
    Degraded,
    /// The newest checks failed, fewer than make an outage.
    Failing,
    Down,
    /// We cannot ask it: our own fault.
    Inconclusive,
    /// Somebody asked us not to ask it.
    Paused,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Up,
        Self::Degraded,
        Self::Failing,
        Self::Down,
        Self::Inconclusive,
        Self::Paused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Down => "down",
            Self::Inconclusive => "inconclusive",
            Self::Paused => "paused",
        }
    }

    /// Reads the word back; None for a word of a later version.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// True where uptime cannot tell up from down.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Pending | Self::Inconclusive | Self::Paused)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
