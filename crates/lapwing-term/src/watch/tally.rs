//! What was seen of one series: counts for ever, round trips and results of the last while.

use std::collections::VecDeque;

use lapwing_api::{echo::Spread, watch::ResultShape};

/// Round trips that are kept for median and 95th percentile, and for the sparkline.
const RTTS: usize = 10_000;
/// Results that are kept for the bar.
const RECENT: usize = 500;

/// Counts and samples of one series.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: u64,
    pub lost: u64,
    /// What could not be asked, by our own fault, and why the last time.
    pub ours: u64,
    pub ours_reason: Option<String>,
    /// What the newest results found, oldest first.
    pub recent: VecDeque<Seen>,
    rtts: VecDeque<f64>,
    least: Option<f64>,
    most: Option<f64>,
    jitter: Option<f64>,
}

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// Answered after so many milliseconds.
    Up(f64),
    Degraded(f64),
    Failed,
    /// Not asked, by our own fault.
    Ours,
}

impl Tally {
    /// Counts a result. True when its kind differs from that of the one before, or it is the first.
    pub(super) fn add(&mut self, result: &ResultShape) -> bool {
        self.sent += u64::from(result.sent);
        self.lost += u64::from(result.lost.min(result.sent));
        let seen = match (result.state.as_str(), result.rtt_ms) {
            ("up", Some(rtt)) => Seen::Up(rtt),
            ("degraded", Some(rtt)) => Seen::Degraded(rtt),
            ("inconclusive", _) => Seen::Ours,
            _ => Seen::Failed,
        };
        if seen == Seen::Ours {
            self.ours += 1;
            self.ours_reason = result.reason.as_ref().map(|r| r.detail.clone());
        }
        if let Some(rtt) = result.rtt_ms {
            self.round_trip(rtt);
        }
        let same = |last: &Seen| std::mem::discriminant(last) == std::mem::discriminant(&seen);
        let changed = !self.recent.back().is_some_and(same);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(seen);
        changed
    }

    fn round_trip(&mut self, rtt: f64) {
        if let Some(last) = self.rtts.back() {
            // RFC 3550, section 6.4.1.
            let difference = (rtt - last).abs();
            self.jitter = Some(
                self.jitter
                    .map_or(difference / 16.0, |j| j + (difference - j) / 16.0),
            );
        }
        self.least = Some(self.least.map_or(rtt, |least| least.min(rtt)));
        self.most = Some(self.most.map_or(rtt, |most| most.max(rtt)));
        if self.rtts.len() == RTTS {
            self.rtts.pop_front();
        }
        self.rtts.push_back(rtt);
    }

    /// Least and most of all round trips; median and 95th percentile of the last 10,000.
    pub fn spread(&self) -> Option<Spread> {
        let mut sorted: Vec<f64> = self.rtts.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        // Nearest rank: at least that share is not above it.
        let rank = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Some(Spread {
            min_ms: self.least?,
            median_ms: rank(0.5)?,
            p95_ms: rank(0.95)?,
            max_ms: self.most?,
        })
    }

    /// True when none of the results that are kept was answered, and some were asked.
    pub fn is_silent(&self) -> bool {
        let answered = |seen: &Seen| matches!(seen, Seen::Up(_) | Seen::Degraded(_));
        self.recent.contains(&Seen::Failed) && !self.recent.iter().any(answered)
    }

    /// RFC 3550, section 6.4.1, over the round trips.
    pub fn jitter_ms(&self) -> Option<f64> {
        self.jitter
    }
}

/// Share in percent; nothing of nothing is 0.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}
