//! How the delay of each direction changes. No clock of one machine is compared with one of the other: the offset
//! between them is in every delay, and so in no difference of two.

use std::time::Duration;

use lapwing_core::time::Mono;

use super::times::{Jitter, Times};

/// How fast two clocks may drift apart, as a share: that of ordinary crystals.
const DRIFT: f64 = 50e-6;
/// The clocks are read in µs and not at once; the least delays may seem to be shorter by so many seconds.
const SLACK: f64 = 1e-3;

/// By how much one datagram took longer than the quickest of late, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub out: Duration,
    pub back: Duration,
}

/// One direction of a run.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Of the delays, whatever the clocks show.
    pub jitter: Jitter,
    /// Delays above the least of late.
    pub changes: Times,
}

/// What delays are compared with: the least of late, each way. One run may hand it to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline {
    /// The first delay out: all others are kept as differences to it, which are small.
    origin: Option<i64>,
    out: Option<Least>,
    back: Option<Least>,
}

/// The least delay, in seconds of two clocks. It rises with time, so that drifting clocks are followed.
#[derive(Clone, Copy, Debug)]
struct Least {
    seconds: f64,
    at: Mono,
}

impl Baseline {
    /// True when a clock was set: together, the least delays cannot be negative.
    fn is_impossible(&self) -> bool {
        let seconds = |least: Option<Least>| least.map_or(0.0, |least| least.seconds);
        seconds(self.out) + seconds(self.back) < -SLACK
    }
}

/// Gives by how much `delay` is above the least.
fn above(least: &mut Option<Least>, delay: f64, now: Mono) -> f64 {
    let seconds = match least {
        Some(least) => (least.seconds + now.since(least.at).as_secs_f64() * DRIFT).min(delay),
        None => delay,
    };
    *least = Some(Least { seconds, at: now });
    delay - seconds
}

/// Both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    pub(super) baseline: Baseline,
    pub(super) out: Way,
    pub(super) back: Way,
    /// How often one clock was seen to be set against the other.
    pub(super) set: u64,
}

impl Delays {
    /// Takes a datagram: sent and back by our clock, received by the server's (µs).
    pub(super) fn take(&mut self, sent: Mono, received: i64, back: Mono) -> Change {
        let out = received.wrapping_sub(sent.0 as i64);
        let origin = *self.baseline.origin.get_or_insert(out);
        let out = out.wrapping_sub(origin) as f64 / 1e6;
        let back_delay = back.since(sent).as_secs_f64() - out;
        let mut change = [
            above(&mut self.baseline.out, out, back),
            above(&mut self.baseline.back, back_delay, back),
        ];
        if self.baseline.is_impossible() {
            self.set += 1;
            let least = |seconds| Some(Least { seconds, at: back });
            (self.baseline.out, self.baseline.back) = (least(out), least(back_delay));
            self.out.jitter.restart();
            self.back.jitter.restart();
            change = [0.0, 0.0];
        }
        self.out.jitter.add(out);
        self.back.jitter.add(back_delay);
        // More than the whole way took it cannot be, whatever the server writes.
        let whole = back.since(sent);
        let [out, back] =
            change.map(|seconds| Duration::from_micros((seconds * 1e6).round() as u64).min(whole));
        self.out.changes.add(out);
        self.back.changes.add(back);
        Change { out, back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// A line whose delays are known, between clocks that are `offset` µs apart.
    struct Line {
        delays: Delays,
        offset: i64,
        now: u64,
    }

    impl Line {
        fn new(offset: i64) -> Self {
            Self {
                delays: Delays::default(),
                offset,
                now: SECOND,
            }
        }

        /// A datagram that takes so many µs each way, a second after the last; gives the changes in µs.
        fn send(&mut self, out: u64, back: u64) -> (u128, u128) {
            self.now += SECOND;
            let received = ((self.now + out) as i64).wrapping_add(self.offset);
            let change = self
                .delays
                .take(Mono(self.now), received, Mono(self.now + out + back));
            (change.out.as_micros(), change.back.as_micros())
        }
    }

    /// The least rises by 50 µs a second.
    fn near((out, back): (u128, u128), expected: (u128, u128)) {
        assert!(
            out.abs_diff(expected.0) <= 1000 && back.abs_diff(expected.1) <= 1000,
            "{out} {back}, expected {expected:?}"
        );
    }

    #[test]
    fn changes_are_told_by_direction_whatever_the_clocks_show() {
        for offset in [
            0,
            1_700_000_000_000_000,
            -7_000_000,
            i64::MAX - 5_000_000,
            i64::MIN,
        ] {
            let mut line = Line::new(offset);
            near(line.send(10_000, 20_000), (0, 0));
            near(line.send(60_000, 20_000), (50_000, 0));
            near(line.send(10_000, 95_000), (0, 75_000));
            near(line.send(5_000, 20_000), (0, 0));
            near(line.send(10_000, 20_000), (5_000, 0));
            assert_eq!(line.delays.set, 0, "{offset}");
        }
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_ended() {
        let mut line = Line::new(-3);
        line.send(10_000, 10_000);
        line.delays = Delays {
            baseline: line.delays.baseline,
            ..Delays::default()
        };
        near(line.send(60_000, 10_000), (50_000, 0));
        assert_eq!(line.delays.out.changes.count(), 1);
    }

    #[test]
    fn clocks_may_drift() {
        // 40 ppm for a day: 3.5 s in the end.
        for drift in [40, -40] {
            let mut line = Line::new(0);
            for _ in 0..86_400 {
                line.offset += drift;
                near(line.send(10_000, 10_000), (0, 0));
            }
            near(line.send(10_000, 60_000), (0, 50_000));
            near(line.send(60_000, 10_000), (50_000, 0));
        }
    }

    #[test]
    fn a_clock_that_is_set_begins_anew() {
        for step in [60_000_000, -60_000_000] {
            let mut line = Line::new(5);
            line.send(10_000, 10_000);
            line.offset += step;
            near(line.send(10_000, 10_000), (0, 0));
            near(line.send(10_000, 30_000), (0, 20_000));
            assert_eq!(line.delays.set, 1);
            assert!(
                line.delays.out.jitter.seconds().unwrap() < 0.01,
                "the step itself is no jitter"
            );
        }
    }

    #[test]
    fn stamps_that_mean_nothing_are_survived() {
        let mut delays = Delays::default();
        for (n, stamp) in [i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN]
            .into_iter()
            .enumerate()
        {
            let sent = Mono(n as u64 * SECOND);
            let change = delays.take(sent, stamp, Mono(sent.0 + 10));
            assert!(change.out + change.back <= Duration::from_millis(2), "{change:?}");
        }
    }
}
