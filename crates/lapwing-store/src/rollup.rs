//! Rollups: what is kept of an hour of a series when its observations are gone.
//!
//! Everything here adds up: the rollup of two parts merged is the rollup of the whole.

use std::time::Duration;

use lapwing_core::time::{Wall, micros};

use crate::{
    history::Class,
    pack::{Reader, write_varint},
};

/// Counts of latencies in buckets of at most 12.5 % width, exact below 8 µs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u16, u32)>);

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        self.add_count(bucket(micros(latency)), 1);
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add_count(*bucket, *count);
        }
    }

    /// How many latencies were added.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The latency that the share `q` (0 to 1) of all lies at or below, within the width of a bucket; None when empty.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((self.count() as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += u64::from(*count);
            (seen >= rank).then(|| Duration::from_micros(middle(*bucket)))
        })
    }

    fn add_count(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 2);
        let mut last = 0;
        for (bucket, count) in &self.0 {
            write_varint(u64::from(bucket - last), &mut out);
            write_varint(u64::from(*count), &mut out);
            last = *bucket;
        }
        out
    }

    pub(crate) fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut buckets: Vec<(u16, u32)> = Vec::new();
        while !reader.is_empty() {
            let step = u16::try_from(reader.varint()?).ok()?;
            let bucket = match buckets.last() {
                Some(_) if step == 0 => return None,
                Some((last, _)) => last.checked_add(step)?,
                None => step,
            };
            if bucket > LAST_BUCKET {
                return None;
            }
            buckets.push((bucket, reader.varint32()?));
        }
        Some(Self(buckets))
    }
}

const LAST_BUCKET: u16 = bucket(u64::MAX);

/// Eight buckets for each doubling.
const fn bucket(us: u64) -> u16 {
    if us < 8 {
        return us as u16;
    }
    let exponent = 63 - us.leading_zeros() as u16;
    (exponent - 2) * 8 + ((us >> (exponent - 3)) & 7) as u16
}

const fn middle(bucket: u16) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let shift = bucket / 8 - 1;
    let low = (8 + (bucket % 8) as u64) << shift;
    low + ((1u64 << shift) >> 1)
}

/// How long the successful probes took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Microseconds, saturating.
    pub sum_us: u64,
    /// Zero when there was no success.
    pub min_us: u64,
    pub max_us: u64,
    pub histogram: Histogram,
}

impl Took {
    fn add(&mut self, took: Duration) {
        let us = micros(took);
        self.min_us = if self.histogram.0.is_empty() {
            us
        } else {
            self.min_us.min(us)
        };
        self.max_us = self.max_us.max(us);
        self.sum_us = self.sum_us.saturating_add(us).min(i64::MAX as u64);
        self.histogram.add(took);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.histogram.0.is_empty() {
            return;
        }
        self.min_us = if self.histogram.0.is_empty() {
            other.min_us
        } else {
            self.min_us.min(other.min_us)
        };
        self.max_us = self.max_us.max(other.max_us);
        self.sum_us = self.sum_us.saturating_add(other.sum_us).min(i64::MAX as u64);
        self.histogram.merge(&other.histogram);
    }
}

/// An hour (UTC) of a series, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// When the hour began.
    pub hour: Wall,
    /// Observations by outcome.
    pub up: u32,
    pub degraded: u32,
    pub down: u32,
    pub inconclusive: u32,
    /// Requests sent and lost, inconclusive observations left out.
    pub sent: u64,
    pub lost: u64,
    /// Of successes alone: a timeout says nothing about latency.
    pub took: Took,
}

impl Rollup {
    pub fn new(hour: Wall) -> Self {
        Self {
            hour,
            ..Self::default()
        }
    }

    /// How many observations it holds.
    pub fn observations(&self) -> u64 {
        [self.up, self.degraded, self.down, self.inconclusive]
            .map(u64::from)
            .iter()
            .sum()
    }

    pub fn merge(&mut self, other: &Self) {
        self.up = self.up.saturating_add(other.up);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.down = self.down.saturating_add(other.down);
        self.inconclusive = self.inconclusive.saturating_add(other.inconclusive);
        self.sent += other.sent;
        self.lost += other.lost;
        self.took.merge(&other.took);
    }

    pub(crate) fn add(&mut self, class: Class, took: Duration, sent: u32, lost: u32) {
        let count = match class {
            Class::Up => &mut self.up,
            Class::Degraded => &mut self.degraded,
            Class::Down => &mut self.down,
            Class::Inconclusive => &mut self.inconclusive,
        };
        *count = count.saturating_add(1);
        self.sent += u64::from(sent);
        self.lost += u64::from(lost);
        if matches!(class, Class::Up | Class::Degraded) {
            self.took.add(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        let mut last = 0;
        for us in (0..4096u64).chain((12..63).flat_map(|e| [1 << e, (1 << e) + (1 << (e - 1))])) {
            assert!(bucket(us) >= last, "{us}");
            last = bucket(us);
            let error = middle(last).abs_diff(us) as f64;
            assert!(error <= us as f64 * 0.125, "{us} reads as {}", middle(last));
        }
        assert_eq!(bucket(u64::MAX), LAST_BUCKET);
    }

    #[test]
    fn quantiles_find_the_middle_and_the_ends() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|ms| histogram.add(Duration::from_millis(ms)));
        for (q, ms) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(q).unwrap().as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.07, "{q}: {found}");
        }
    }

    proptest! {
        #[test]
        fn parts_merged_are_the_whole(rows: Vec<(u8, u32, u8, u8)>, cut: usize) {
            let add = |rollup: &mut Rollup, (class, us, sent, lost): &(u8, u32, u8, u8)| {
                rollup.add(Class::ALL[usize::from(class % 4)], Duration::from_micros((*us).into()), (*sent).into(), (*lost).into());
            };
            let cut = cut % (rows.len() + 1);
            let [mut whole, mut left, mut right] = [(); 3].map(|()| Rollup::new(Wall(0)));
            for (at, row) in rows.iter().enumerate() {
                add(&mut whole, row);
                add(if at < cut { &mut left } else { &mut right }, row);
            }
            left.merge(&right);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(Histogram::unpack(&whole.took.histogram.pack()), Some(whole.took.histogram));
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(bytes: Vec<u8>) {
            if let Some(histogram) = Histogram::unpack(&bytes) {
                prop_assert!(histogram.0.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }
}
