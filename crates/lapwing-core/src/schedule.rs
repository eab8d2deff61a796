//! When a series is probed: absolute slots that never drift, spread by a stable hash so that nothing fires at once.

use std::time::Duration;

use crate::time::{Mono, micros};

/// The first slot of a series after a start: spread over the interval when there are many, within a second when
/// there are few, so that a person sees all states at once and a large plan makes no burst.
pub fn first_slot(now: Mono, hash: u64, interval: Duration, series_count: usize) -> Mono {
    // 2,000 starts a second is far below what one core probes.
    let few = Duration::from_micros(500 * series_count as u64).max(Duration::from_millis(500));
    now + offset(hash, interval.min(few))
}

/// The slot after `last` while the series is up: on or towards its own grid, at least half an interval and at most
/// one away, so that series which were bunched together by an outage spread out again, and no check confirms the one
/// just before.
pub fn next_on_grid(last: Mono, hash: u64, interval: Duration) -> Mono {
    let interval_us = micros(interval).max(1);
    let phase = micros(offset(hash, interval));
    let since_phase = last.0.saturating_sub(phase);
    let passed = if last.0 < phase {
        0
    } else {
        since_phase / interval_us + 1
    };
    let next = phase + passed * interval_us;
    let distance = next - last.0;
    // Too near: two steps of at least half an interval each lead to the point after it.
    Mono(if distance < interval_us / 2 {
        last.0 + distance.midpoint(interval_us)
    } else {
        next
    })
}

/// The slot after `last` at a fixed step, while failing or down: never before `now` by more than one step, so that
/// a stall is not made up for by a burst. Gives the slot and how many were skipped.
pub fn next_after(last: Mono, step: Duration, now: Mono) -> (Mono, u64) {
    let step_us = micros(step).max(1);
    let next = Mono(last.0 + step_us);
    if next >= now {
        return (next, 0);
    }
    let behind = (now.0 - next.0) / step_us;
    (Mono(next.0 + behind * step_us), behind)
}

fn offset(hash: u64, within: Duration) -> Duration {
    Duration::from_micros(((u128::from(hash) * u128::from(micros(within))) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::stable_hash;

    #[test]
    fn the_grid_does_not_drift() {
        let interval = Duration::from_secs(30);
        let hash = stable_hash("web");
        let first = (0..2).fold(Mono(0), |last, _| next_on_grid(last, hash, interval));
        let mut slot = first;
        for n in 1..1000u64 {
            slot = next_on_grid(slot, hash, interval);
            assert_eq!(slot.0, first.0 + n * 30_000_000);
        }
        // A slot off the grid comes back to it within one interval.
        let back = next_on_grid(Mono(slot.0 + 5_000_000), hash, interval);
        assert_eq!(back.0, slot.0 + 30_000_000);
        let back = next_on_grid(Mono(slot.0 + 25_000_000), hash, interval);
        assert_eq!(back.0, slot.0 + 25_000_000 + 17_500_000);
        assert_eq!(next_on_grid(back, hash, interval).0, slot.0 + 60_000_000);
    }

    #[test]
    fn a_large_plan_spreads_evenly() {
        let interval = Duration::from_secs(10);
        let mut per_second = [0u32; 10];
        for n in 0..10_000 {
            let hash = stable_hash(&format!("m{n}"));
            let slot = (0..3).fold(Mono(0), |last, _| next_on_grid(last, hash, interval));
            per_second[(slot.0 / 1_000_000 % 10) as usize] += 1;
        }
        assert!(
            per_second.iter().all(|n| (850..1150).contains(n)),
            "{per_second:?}"
        );
    }

    #[test]
    fn few_series_start_within_a_second_and_many_without_a_burst() {
        let interval = Duration::from_secs(60);
        for (count, within_us) in [(5, 500_000), (10_000, 5_000_000), (1_000_000, 60_000_000)] {
            let latest = (0..count.min(10_000))
                .map(|n| first_slot(Mono(0), stable_hash(&n.to_string()), interval, count).0);
            assert!(latest.max().expect("some") < within_us);
        }
    }

    #[test]
    fn a_stall_is_not_made_up_for() {
        let step = Duration::from_secs(5);
        assert_eq!(
            next_after(Mono(10_000_000), step, Mono(11_000_000)),
            (Mono(15_000_000), 0)
        );
        assert_eq!(
            next_after(Mono(10_000_000), step, Mono(32_000_000)),
            (Mono(30_000_000), 3)
        );
    }
}
