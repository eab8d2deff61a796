//! The account of a silence: since when, how many beats, and what kept them. All that a sensor keeps for later.

use std::time::Duration;

use lapwing_core::{
    heartbeat::{Account, Hindrance},
    time::Mono,
};

pub(super) struct Silence {
    /// When the last acknowledged beat was sent; before the first one, the start.
    since: Mono,
    /// Lost beats by hindrance.
    lost: [u32; 3],
}

impl Silence {
    pub(super) fn new(since: Mono) -> Self {
        Self { since, lost: [0; 3] }
    }

    /// A beat sent at `sent_at` was acknowledged.
    pub(super) fn ended(&mut self, sent_at: Mono) {
        *self = Self::new(sent_at);
    }

    pub(super) fn lost(&mut self, hindrance: Hindrance) {
        let count = &mut self.lost[hindrance as usize];
        *count = count.saturating_add(1);
    }

    /// Lost beats in a row.
    pub(super) fn count(&self) -> u32 {
        self.lost.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    pub(super) fn length(&self, now: Mono) -> Duration {
        now.since(self.since)
    }

    /// What a beat says about it: nothing, unless more than a period has passed. Beats that fell into a suspend or a stall
    /// were not sent, and are not counted.
    pub(super) fn account(&self, now: Mono, period: Duration) -> Option<Account> {
        let lost = self.count();
        (lost > 0 || self.length(now) >= 2 * period).then(|| Account {
            silent: self.length(now),
            lost,
            hindrance: self.hindrance(),
        })
    }

    /// What kept most of them; where two are equal, the one that lies nearer to us.
    fn hindrance(&self) -> Hindrance {
        [Hindrance::Unanswered, Hindrance::NoName, Hindrance::NoRoute]
            .into_iter()
            .filter(|hindrance| self.lost[*hindrance as usize] > 0)
            .max_by_key(|hindrance| self.lost[*hindrance as usize])
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    fn at(secs: u64) -> Mono {
        Mono(secs * 1_000_000)
    }

    fn said(silent: u64, lost: u32, hindrance: Hindrance) -> Account {
        let silent = Duration::from_secs(silent);
        Account {
            silent,
            lost,
            hindrance,
        }
    }

    #[test]
    fn only_more_than_a_period_is_a_silence() {
        let mut silence = Silence::new(at(0));
        assert_eq!(silence.account(at(0), PERIOD), None);
        silence.ended(at(0));
        assert_eq!(
            silence.account(at(31), PERIOD),
            None,
            "the next beat, a little late"
        );
        silence.lost(Hindrance::Unanswered);
        assert_eq!(
            silence.account(at(60), PERIOD),
            Some(said(60, 1, Hindrance::Unanswered))
        );
        silence.ended(at(60));
        assert_eq!(silence.account(at(90), PERIOD), None);
        assert_eq!(
            silence.account(at(3660), PERIOD),
            Some(said(3600, 0, Hindrance::Unanswered)),
            "a suspend: nothing was sent"
        );
    }

    #[test]
    fn the_most_frequent_hindrance_stands() {
        let mut silence = Silence::new(at(0));
        for (hindrance, expected) in [
            (Hindrance::Unanswered, Hindrance::Unanswered),
            (Hindrance::NoName, Hindrance::NoName),
            (Hindrance::NoRoute, Hindrance::NoRoute),
            (Hindrance::Unanswered, Hindrance::Unanswered),
        ] {
            silence.lost(hindrance);
            assert_eq!(
                silence.account(at(1), PERIOD).map(|a| a.hindrance),
                Some(expected)
            );
        }
        assert_eq!(silence.count(), 4);
        silence.lost = [u32::MAX, 1, 0];
        silence.lost(Hindrance::Unanswered);
        assert_eq!(silence.count(), u32::MAX);
    }
}
