//! Packet loss over the last requests, told when it has moved far enough.

use std::collections::VecDeque;

use crate::observation::Requests;

/// When loss is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossPolicy {
    /// How many of the last requests are held.
    pub window: u32,
    /// Tell when the share has moved by more than this, in thousandths of a percentage point.
    pub change_milli: u64,
    /// Judge once this many are held.
    pub min: u32,
}

impl LossPolicy {
    /// Largest window: more than a day of one request a second, and small enough to be stored in one piece.
    pub const MAX_WINDOW: u32 = 100_000;
}

/// An exact share: `lost` of `held`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub lost: u32,
    pub held: u32,
}

impl Share {
    pub fn percent(self) -> f64 {
        if self.held == 0 {
            0.0
        } else {
            f64::from(self.lost) * 100.0 / f64::from(self.held)
        }
    }

    fn is_all(self) -> bool {
        self.held > 0 && self.lost == self.held
    }
}

/// The window of one series, and what was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossWindow {
    /// Runs of equal results, oldest first: (lost, length). Adjacent runs differ.
    runs: VecDeque<(bool, u32)>,
    share: Share,
    told: Share,
}

impl Default for LossWindow {
    fn default() -> Self {
        Self {
            runs: VecDeque::new(),
            share: Share { lost: 0, held: 0 },
            told: Share { lost: 0, held: 1 },
        }
    }
}

/// A change of loss worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossChange {
    pub from: Share,
    pub to: Share,
}

impl LossWindow {
    /// As stored: the runs oldest first, and the share told last.
    pub fn restore(runs: impl IntoIterator<Item = (bool, u32)>, told: Share) -> Self {
        let mut window = Self {
            told,
            ..Self::default()
        };
        for (lost, count) in runs {
            window.push(lost, count, u32::MAX);
        }
        window
    }

    pub fn runs(&self) -> impl Iterator<Item = (bool, u32)> + '_ {
        self.runs.iter().copied()
    }

    pub fn told(&self) -> Share {
        self.told
    }

    pub fn share(&self) -> Share {
        self.share
    }

    /// Takes the requests of one observation and says whether the loss is to be told. Within one observation the
    /// answered ones are counted as the older.
    pub fn observe(&mut self, policy: &LossPolicy, requests: Requests) -> Option<LossChange> {
        let lost = requests.lost.min(requests.sent);
        self.push(false, requests.sent - lost, policy.window);
        self.push(true, lost, policy.window);
        let (now, told) = (self.share, self.told);
        if now.held < policy.min.max(1) {
            return None;
        }
        let moved = (u128::from(now.lost) * u128::from(told.held))
            .abs_diff(u128::from(told.lost) * u128::from(now.held));
        let far =
            moved * 100_000 > u128::from(policy.change_milli) * u128::from(now.held) * u128::from(told.held);
        let edge = (now.is_all() && !told.is_all()) || (now.lost == 0 && told.lost != 0);
        (far || edge).then(|| {
            self.told = now;
            LossChange { from: told, to: now }
        })
    }

    fn push(&mut self, lost: bool, count: u32, window: u32) {
        let count = count.min(window);
        if count == 0 {
            return;
        }
        match self.runs.back_mut() {
            Some((kind, length)) if *kind == lost => *length += count,
            _ => self.runs.push_back((lost, count)),
        }
        self.share.held += count;
        self.share.lost += if lost { count } else { 0 };
        while self.share.held > window {
            let over = self.share.held - window;
            let Some((kind, length)) = self.runs.front_mut() else {
                break;
            };
            let dropped = over.min(*length);
            *length -= dropped;
            self.share.held -= dropped;
            self.share.lost -= if *kind { dropped } else { 0 };
            if *length == 0 {
                self.runs.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R2: LossPolicy = LossPolicy {
        window: 300,
        change_milli: 5_000,
        min: 1,
    };

    fn one(lost: bool) -> Requests {
        Requests {
            sent: 1,
            lost: u32::from(lost),
        }
    }

    /// The rule of the specification, on a plain list.
    fn naive(policy: &LossPolicy, results: &[bool]) -> Vec<(usize, f64)> {
        let (mut told, mut events) = ((0u64, 1u64), Vec::new());
        for end in 1..=results.len() {
            let held = &results[end.saturating_sub(policy.window as usize)..end];
            let (lost, all) = (held.iter().filter(|l| **l).count() as u64, held.len() as u64);
            if (all as u32) < policy.min.max(1) {
                continue;
            }
            let moved = (lost * told.1).abs_diff(told.0 * all) * 100_000 > policy.change_milli * all * told.1;
            if (lost == all && told.0 != told.1) || (lost == 0 && told.0 != 0) || moved {
                told = (lost, all);
                events.push((end, lost as f64 * 100.0 / all as f64));
            }
        }
        events
    }

    #[test]
    fn edges_are_exact() {
        // 15 of 300 is exactly 5 points: not more than 5, so silent; 16 is told.
        let mut window = LossWindow::default();
        for _ in 0..300 {
            assert_eq!(window.observe(&R2, one(false)), None);
        }
        for _ in 0..15 {
            assert_eq!(window.observe(&R2, one(true)), None);
        }
        let change = window.observe(&R2, one(true)).expect("told");
        assert_eq!(change.to, Share { lost: 16, held: 300 });
    }

    #[test]
    fn the_first_loss_is_all_loss() {
        let mut window = LossWindow::default();
        assert_eq!(
            window.observe(&R2, one(true)).expect("told").to,
            Share { lost: 1, held: 1 }
        );
        assert_eq!(window.observe(&R2, one(true)), None);
    }

    fn compare(policy: &LossPolicy, results: &[bool]) {
        let mut held = LossWindow::default();
        let mut told = Vec::new();
        for (n, lost) in (1..).zip(results) {
            told.extend(held.observe(policy, one(*lost)).map(|c| (n, c.to.percent())));
        }
        assert_eq!(told, naive(policy, results), "{policy:?} {results:?}");
        assert_eq!(
            LossWindow::restore(held.runs().collect::<Vec<_>>(), held.told()),
            held
        );
    }

    #[test]
    fn exhaustive_against_the_naive_rule() {
        for window in [1, 2, 3, 5] {
            for change_milli in [0, 5_000, 34_000, 100_000] {
                for min in [0, 1, 3] {
                    let policy = LossPolicy {
                        window,
                        change_milli,
                        min,
                    };
                    for bits in 0u32..(1 << 10) {
                        compare(&policy, &(0..10).map(|i| bits >> i & 1 == 1).collect::<Vec<_>>());
                    }
                }
            }
        }
    }
}
