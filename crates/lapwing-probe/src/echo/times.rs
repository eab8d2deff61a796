//! Many lengths of time in a bounded memory: extremes, quantiles, jitter.

use std::time::Duration;

use lapwing_core::time::micros;

/// So many are kept as they are; further ones go into buckets.
const EXACT: usize = 1024;
/// Buckets of each doubling: a quantile is exact to 1/128 of itself.
const PARTS: u64 = 64;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Lengths from here on (12 days) share the last bucket.
const LONGEST: u64 = (1 << 40) - 1;

/// Lengths of time, of any number.
#[derive(Clone, Debug, Default)]
pub struct Times {
    count: u64,
    least: u64,
    most: u64,
    /// In µs, unsorted; empty once there are buckets.
    exact: Vec<u64>,
    buckets: Vec<u64>,
}

impl Times {
    pub fn add(&mut self, length: Duration) {
        let length = micros(length).min(LONGEST);
        self.least = if self.count == 0 {
            length
        } else {
            self.least.min(length)
        };
        self.most = self.most.max(length);
        self.count += 1;
        if self.buckets.is_empty() && self.exact.len() < EXACT {
            self.exact.push(length);
            return;
        }
        if self.buckets.is_empty() {
            self.buckets = vec![0; bucket(LONGEST) + 1];
            for earlier in std::mem::take(&mut self.exact) {
                self.buckets[bucket(earlier)] += 1;
            }
        }
        self.buckets[bucket(length)] += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn least(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.least))
    }

    pub fn most(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.most))
    }

    /// The length that `share` (0 to 1) of all do not exceed, by nearest rank. Exact for the first 1,024 lengths, and
    /// to one percent beyond.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        if self.buckets.is_empty() {
            let mut sorted = self.exact.clone();
            sorted.sort_unstable();
            return sorted
                .get(rank as usize - 1)
                .map(|length| Duration::from_micros(*length));
        }
        let mut below = 0;
        let place = self.buckets.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Duration::from_micros(middle(place).clamp(self.least, self.most)))
    }
}

/// The bucket of a length in µs: below 64 one for each, then 64 for each doubling.
fn bucket(length: u64) -> usize {
    if length < PARTS {
        return length as usize;
    }
    let doublings = length.ilog2() - PARTS_BITS;
    let part = (length >> doublings) - PARTS;
    (u64::from(doublings + 1) * PARTS + part) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let doublings = bucket / PARTS - 1;
    ((PARTS + bucket % PARTS) << doublings) + (1 << doublings) / 2
}

/// Interarrival jitter of transit times, in the order of arrival (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    seconds: f64,
    last: Option<f64>,
    differences: u64,
}

impl Jitter {
    /// Takes a transit time in seconds; an offset that all of them share does not matter.
    pub fn add(&mut self, transit: f64) {
        if let Some(last) = self.last {
            self.seconds += ((transit - last).abs() - self.seconds) / 16.0;
            self.differences += 1;
        }
        self.last = Some(transit);
    }

    /// The next transit time is not compared with the last one: their offsets differ.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// In seconds; None before two transit times were compared.
    pub fn seconds(&self) -> Option<f64> {
        (self.differences > 0).then_some(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(length: u64) -> Duration {
        Duration::from_micros(length)
    }

    #[test]
    fn few_are_exact() {
        let mut times = Times::default();
        assert_eq!(
            (times.least(), times.quantile(0.5), times.most()),
            (None, None, None)
        );
        times.add(us(7));
        assert_eq!(
            (times.least(), times.quantile(0.5), times.quantile(0.95)),
            (Some(us(7)), Some(us(7)), Some(us(7)))
        );
        for length in [3, 9, 1, 5] {
            times.add(us(length));
        }
        assert_eq!(
            (
                times.least(),
                times.quantile(0.5),
                times.quantile(0.95),
                times.most()
            ),
            (Some(us(1)), Some(us(5)), Some(us(9)), Some(us(9)))
        );
    }

    #[test]
    fn many_are_right_to_a_percent_and_take_no_more_memory() {
        let mut times = Times::default();
        // Every length from 1 to 1,000,000 µs once, in a shuffled order.
        for n in 0..1_000_000u64 {
            times.add(us(n * 7_919 % 1_000_000 + 1));
        }
        for (share, exact) in [(0.01, 1e4), (0.5, 5e5), (0.95, 9.5e5), (1.0, 1e6)] {
            let found = times.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!((found / exact - 1.0).abs() < 0.01, "{share}: {found}");
        }
        assert_eq!(
            (times.count(), times.least(), times.most()),
            (1_000_000, Some(us(1)), Some(us(1_000_000)))
        );
        assert!(times.exact.is_empty() && times.buckets.len() < 2500);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for length in (0..100_000).chain((17..=40).map(|bits| (1 << bits) - 1)) {
            let place = bucket(length);
            assert!(place >= last, "{length}");
            assert!(length >= 100_000 || place - last <= 1, "{length}");
            let off = middle(place).abs_diff(length) as f64;
            assert!(off <= length as f64 / 64.0, "{length}: {}", middle(place));
            last = place;
        }
        let mut times = Times::default();
        times.add(Duration::MAX);
        assert_eq!(times.most(), Some(us(LONGEST)));
    }

    #[test]
    fn jitter_of_the_rfc() {
        let of = |transits: &[f64]| {
            let mut jitter = Jitter::default();
            for transit in transits {
                jitter.add(*transit);
            }
            jitter.seconds()
        };
        assert_eq!(
            (of(&[]), of(&[5.0]), of(&[5.0, 5.0, 5.0])),
            (None, None, Some(0.0))
        );
        // |D| is 16, then 0: J is 1, then 15/16.
        assert_eq!(of(&[0.0, 16.0, 16.0]), Some(15.0 / 16.0));
        let mut jitter = Jitter::default();
        jitter.add(1.0);
        jitter.restart();
        jitter.add(1e9);
        jitter.add(1e9);
        assert_eq!(jitter.seconds(), Some(0.0));
    }
}
