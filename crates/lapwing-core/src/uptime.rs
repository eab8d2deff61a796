//! Uptime = up / (up + down), weighted by time: unknown time is left out of both.

use std::time::Duration;

use crate::time::{Wall, micros};

/// The formula, for standing beside every number.
pub const FORMULA: &str = "uptime = up / (up + down), by time; unknown time is left out";

/// A half-open interval of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub from: Wall,
    pub to: Wall,
}

/// How a window of time was spent. The three sum to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uptime {
    pub up: Duration,
    pub down: Duration,
    pub unknown: Duration,
}

impl Uptime {
    /// Percent; None when nothing is known.
    pub fn percent(&self) -> Option<f64> {
        let known = (self.up + self.down).as_secs_f64();
        (known > 0.0).then(|| self.up.as_secs_f64() * 100.0 / known)
    }

    /// Splits `window` by the outages and the unknown times of a series, each in any order and overlapping as they
    /// may. Where both hold, the time is unknown: an outage says nothing about a time in which nobody looked.
    pub fn of(window: Interval, outages: &[Interval], unknown: &[Interval]) -> Self {
        let total = window.to.since(window.from);
        let unknown = merged(window, unknown);
        let both: Vec<Interval> = outages.iter().chain(&unknown).copied().collect();
        let unknown_us: u64 = unknown.iter().map(length).sum();
        let either_us: u64 = merged(window, &both).iter().map(length).sum();
        Self {
            up: total.saturating_sub(Duration::from_micros(either_us)),
            down: Duration::from_micros(either_us - unknown_us),
            unknown: Duration::from_micros(unknown_us),
        }
    }
}

fn length(interval: &Interval) -> u64 {
    micros(interval.to.since(interval.from))
}

/// The union of `intervals` within `window`, in order and without overlap.
fn merged(window: Interval, intervals: &[Interval]) -> Vec<Interval> {
    let mut cut: Vec<Interval> = intervals
        .iter()
        .map(|i| Interval {
            from: i.from.max(window.from),
            to: i.to.min(window.to),
        })
        .filter(|i| i.from < i.to)
        .collect();
    cut.sort_by_key(|i| i.from);
    let mut out: Vec<Interval> = Vec::with_capacity(cut.len());
    for next in cut {
        match out.last_mut() {
            Some(last) if next.from <= last.to => last.to = last.to.max(next.to),
            _ => out.push(next),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(from: i64, to: i64) -> Interval {
        Interval {
            from: Wall(from),
            to: Wall(to),
        }
    }

    #[test]
    fn unknown_time_counts_neither_way() {
        let uptime = Uptime::of(at(0, 100), &[at(10, 30), at(-5, 2)], &[at(20, 40), at(90, 200)]);
        assert_eq!(
            uptime,
            Uptime {
                up: Duration::from_micros(58),
                down: Duration::from_micros(12),
                unknown: Duration::from_micros(30)
            }
        );
        assert_eq!(Uptime::of(at(0, 10), &[], &[at(0, 10)]).percent(), None);
    }

    proptest! {
        #[test]
        fn agrees_with_counting_every_microsecond(
            outages in prop::collection::vec((-10i64..60, 0i64..30), 0..6),
            unknown in prop::collection::vec((-10i64..60, 0i64..30), 0..6),
        ) {
            let window = at(0, 50);
            let spans = |v: &[(i64, i64)]| v.iter().map(|(f, l)| at(*f, f + l)).collect::<Vec<_>>();
            let (outages, unknown) = (spans(&outages), spans(&unknown));
            let within = |list: &[Interval], t: i64| list.iter().any(|i| i.from.0 <= t && t < i.to.0);
            let (mut up, mut down, mut unk) = (0u64, 0, 0);
            for t in 0..50 {
                if within(&unknown, t) { unk += 1 } else if within(&outages, t) { down += 1 } else { up += 1 }
            }
            let got = Uptime::of(window, &outages, &unknown);
            prop_assert_eq!((micros(got.up), micros(got.down), micros(got.unknown)), (up, down, unk));
        }
    }
}
