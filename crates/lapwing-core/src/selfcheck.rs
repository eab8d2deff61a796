//! Is it us? When every series that leaves this machine is inconclusive, our own line is down.

use std::time::Duration;

use crate::{observation::Reason, time::Wall};

/// A suspicion that does not harden within this time was none.
const SUSPICION: Duration = Duration::from_mins(10);

/// Counts inconclusive series and says when we are offline.
#[derive(Clone, Debug, Default)]
pub struct SelfCheck {
    /// Series that tell something about our line, and how many of these are inconclusive long enough.
    network: usize,
    blind: usize,
    /// The first inconclusive observation after the last conclusive one, over all of them.
    suspect_since: Option<Wall>,
    /// As `suspect_since`, of causes that lie in the line and not in this program's rights or limits.
    suspect_line: Option<Wall>,
    /// Since when, once it is told.
    pub offline: Option<(Wall, Reason)>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Offline {
        since: Wall,
        reason: Reason,
    },
    Online {
        since: Wall,
        reason: Reason,
        lasted: Duration,
    },
}

impl SelfCheck {
    /// As the last run left it.
    pub fn restore(offline: Option<(Wall, Reason)>) -> Self {
        Self {
            suspect_since: offline.as_ref().map(|(since, _)| *since),
            offline,
            ..Self::default()
        }
    }

    /// Sets how many series there are and how many of these are blind, after the plan has changed.
    pub fn recount(&mut self, network: usize, blind: usize) {
        self.network = network;
        self.blind = blind;
    }

    /// Since when our line seems to be down, or is: silence from then on proves nothing about others.
    pub fn quiet_since(&self, now: Wall) -> Option<Wall> {
        match &self.offline {
            Some((since, reason)) => Some(*since).filter(|_| is_of_line(reason)),
            None => self.suspect_line.filter(|since| now.since(*since) < SUSPICION),
        }
    }

    /// Nobody is left to tell that we are cut off: it is not known any more, and so it is over.
    pub fn forget(&mut self, now: Wall) -> Option<Line> {
        if self.network > 0 {
            return None;
        }
        (self.suspect_since, self.suspect_line) = (None, None);
        let (since, reason) = self.offline.take()?;
        Some(Line::Online {
            since,
            lasted: now.since(since),
            reason,
        })
    }

    /// One more series is blind.
    pub fn lost_sight(&mut self) {
        self.blind += 1;
    }

    /// One of the blind series sees again.
    pub fn regained_sight(&mut self) {
        self.blind = self.blind.saturating_sub(1);
    }

    /// Takes one observation of a network series: None when it was conclusive, else its cause.
    pub fn saw(&mut self, at: Wall, cause: Option<&Reason>) -> Option<Line> {
        match cause {
            None => {
                self.suspect_since = None;
                self.suspect_line = None;
                let (since, reason) = self.offline.take()?;
                Some(Line::Online {
                    since,
                    lasted: at.since(since),
                    reason,
                })
            }
            Some(reason) => {
                let since = *self.suspect_since.get_or_insert(at);
                if is_of_line(reason) {
                    self.suspect_line.get_or_insert(at);
                }
                if self.offline.is_some() || self.network == 0 || self.blind < self.network {
                    return None;
                }
                self.offline = Some((since, reason.clone()));
                Some(Line::Offline {
                    since,
                    reason: reason.clone(),
                })
            }
        }
    }

    /// Moves all times by `by` microseconds: the clock was set.
    pub fn shift(&mut self, by: i64) {
        self.suspect_since = self.suspect_since.map(|t| t.shifted(by));
        self.suspect_line = self.suspect_line.map(|t| t.shifted(by));
        if let Some((since, _)) = &mut self.offline {
            *since = since.shifted(by);
        }
    }
}

/// True for causes that lie in the line or our network, not in what this process may or can do.
fn is_of_line(reason: &Reason) -> bool {
    matches!(
        reason.code.as_str(),
        "ours.no_route" | "ours.no_address" | "ours.resolver" | "ours.source"
    )
}
