//! What the judge says.

use std::{sync::Arc, time::Duration};

use crate::{
    heartbeat::Verdict, id::Id, loss::LossChange, monitor::Series, mute::Mute, observation::Reason,
    state::State, time::Wall,
};

/// What happened. The words are public: additive, never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An outage is declared.
    Down,
    /// An outage has ended.
    Up,
    /// An outage lasts.
    Reminder,
    /// Packet loss has moved.
    Loss,
    /// The target answers but needs attention.
    Degraded,
    /// It needs attention no longer.
    Cleared,
    /// A target is watched from now on.
    Monitoring,
    /// We cannot reach anything: our own line is down.
    Offline,
    /// We can again.
    Online,
    /// Somebody asked us not to watch it for a while.
    Paused,
    Resumed,
    /// Somebody takes care of an outage.
    Acknowledged,
    /// Somebody asked us not to tell of it for a while.
    Silenced,
    Unsilenced,
}

impl EventKind {
    pub const ALL: [Self; 14] = [
        Self::Down,
        Self::Up,
        Self::Reminder,
        Self::Loss,
        Self::Degraded,
        Self::Cleared,
        Self::Monitoring,
        Self::Offline,
        Self::Online,
        Self::Paused,
        Self::Resumed,
        Self::Acknowledged,
        Self::Silenced,
        Self::Unsilenced,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Reminder => "reminder",
            Self::Loss => "loss",
            Self::Degraded => "degraded",
            Self::Cleared => "cleared",
            Self::Monitoring => "monitoring",
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Acknowledged => "acknowledged",
            Self::Silenced => "silenced",
            Self::Unsilenced => "unsilenced",
        }
    }

    /// True for what everybody wants to hear who has not said otherwise: not what people did themselves.
    pub fn is_news(self) -> bool {
        !matches!(
            self,
            Self::Monitoring
                | Self::Paused
                | Self::Resumed
                | Self::Acknowledged
                | Self::Silenced
                | Self::Unsilenced
        )
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == word)
    }
}

/// One thing that happened, with all that a message or a page tells about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Id,
    pub kind: EventKind,
    /// None for events about ourselves (offline, online).
    pub series: Option<Arc<Series>>,
    pub state: State,
    pub previous: State,
    /// When it was decided.
    pub at: Wall,
    /// Begin of the outage, or of the state.
    pub since: Option<Wall>,
    /// Length of the outage so far, or in all.
    pub duration: Option<Duration>,
    pub uncertainty: Option<Duration>,
    pub reason: Option<Reason>,
    pub reminder: Option<Reminder>,
    pub loss: Option<LossChange>,
    /// End of the outage.
    pub ended: Option<Wall>,
    pub failed_checks: Option<u32>,
    pub last_up: Option<Wall>,
    /// Of heartbeats: line or reboot.
    pub verdict: Option<Verdict>,
    /// Who asked for a pause, silence or acknowledgement.
    pub mute: Option<Mute>,
    /// A silence holds: it is shown, and told to nobody.
    pub withheld: bool,
    /// The message a person reads.
    pub text: String,
}

/// Which reminder of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// From 1.
    pub n: u32,
    pub last: bool,
}
