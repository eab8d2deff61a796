//! Uptime = up / (up + down), weighted by time: unknown time is left out of both.

use std::{iter, time::Duration};

use jiff::{Span, tz::TimeZone};

use crate::{
    notice::zoned,
    time::{Wall, micros},
};

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
}

/// What is known of a series over a window of time, ready to be asked about any part of it.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    window: Interval,
    unwatched: &'a Cover<'a>,
    unknown: Cover<'a>,
    /// Unknown or down.
    not_up: Cover<'a>,
}

impl<'a> Timeline<'a> {
    /// From the outages and the unknown times of a series, each in any order and overlapping as they may, and the
    /// times in which nobody watched any series: a [`Cover`] of the same window, made once for all of them. Where an
    /// outage and an unknown time meet, the time is unknown: an outage says nothing about a time in which nobody
    /// looked.
    pub fn new(
        window: Interval,
        outages: &[Interval],
        unknown: &[Interval],
        unwatched: &'a Cover<'a>,
    ) -> Self {
        let both: Vec<Interval> = outages.iter().chain(unknown).copied().collect();
        Self {
            window,
            unwatched,
            unknown: Cover::beside(window, unknown, Some(unwatched)),
            not_up: Cover::beside(window, &both, Some(unwatched)),
        }
    }

    /// How the whole window was spent.
    pub fn whole(&self) -> Uptime {
        self.within(self.window)
    }

    /// How a part of the window was spent. What lies outside the window is not counted.
    pub fn within(&self, part: Interval) -> Uptime {
        let from = part.from.max(self.window.from);
        let part = Interval {
            from,
            to: part.to.min(self.window.to).max(from),
        };
        let unwatched = self.unwatched.within(part);
        let unknown = unwatched + self.unknown.within(part);
        let not_up = unwatched + self.not_up.within(part);
        Uptime {
            up: Duration::from_micros(length(&part) - not_up),
            down: Duration::from_micros(not_up - unknown),
            unknown: Duration::from_micros(unknown),
        }
    }
}

/// Parts of a window of time that tell how much of any stretch of it they cover.
#[derive(Clone, Debug, Default)]
pub struct Cover<'a> {
    /// In order and without overlap.
    spans: Vec<Interval>,
    /// Microseconds covered by the spans before each, and by all of them at the end.
    before: Vec<u64>,
    /// What this covers too is counted there and not here.
    beside: Option<&'a Self>,
}

impl<'a> Cover<'a> {
    /// The union of `intervals` within `window`.
    pub fn new(window: Interval, intervals: &[Interval]) -> Self {
        Self::beside(window, intervals, None)
    }

    fn beside(window: Interval, intervals: &[Interval], beside: Option<&'a Self>) -> Self {
        let mut cover = Self {
            spans: merged(window, intervals),
            before: vec![0],
            beside,
        };
        let mut sum = 0;
        for span in &cover.spans {
            sum += cover.own(*span);
            cover.before.push(sum);
        }
        cover
    }

    /// Microseconds of `part` that are covered.
    pub fn within(&self, part: Interval) -> u64 {
        self.until(part.to) - self.until(part.from)
    }

    /// Microseconds covered before `at`.
    fn until(&self, at: Wall) -> u64 {
        let begun = self.spans.partition_point(|span| span.from < at);
        let Some(last) = begun.checked_sub(1) else {
            return 0;
        };
        let Interval { from, to } = self.spans[last];
        self.before[last] + self.own(Interval { from, to: to.min(at) })
    }

    fn own(&self, span: Interval) -> u64 {
        length(&span) - self.beside.map_or(0, |other| other.within(span))
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

/// Most slices that a window is cut into.
pub const MOST_SLICES: usize = 120;
/// From this length on a slice is a whole day or more.
const DAILY: Duration = Duration::from_secs(14 * 86_400);
/// Lengths of shorter slices, in seconds: they all divide an hour or a day.
const STEPS: [i64; 15] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800,
];

/// Cuts `window` into equal slices that begin when the clocks of `zone` show a round time: whole days where it is long,
/// else hours or less. Only the first and the last may be shorter, and a day on which the clocks are set has its own
/// length.
pub fn slices(window: Interval, zone: &TimeZone) -> Vec<Interval> {
    let edges = if window.to.since(window.from) < DAILY {
        round_times(window, zone)
    } else {
        midnights(window, zone)
    };
    let inner = edges
        .into_iter()
        .filter(|at| window.from < *at && *at < window.to);
    let mut from = window.from;
    inner
        .chain(iter::once(window.to))
        .map(|to| Interval {
            from: std::mem::replace(&mut from, to),
            to,
        })
        .collect()
}

fn midnights(window: Interval, zone: &TimeZone) -> Vec<Wall> {
    let (first, last) = (zoned(window.from, zone).date(), zoned(window.to, zone).date());
    let days = (last - first).get_days().unsigned_abs() as usize + 1;
    let step = days.div_ceil(MOST_SLICES) as i64;
    (1_i64..)
        .map_while(|n| first.checked_add(Span::new().try_days(n * step).ok()?).ok())
        .take_while(|day| *day <= last)
        .filter_map(|day| day.to_zoned(zone.clone()).ok())
        .map(|midnight| Wall(midnight.timestamp().as_microsecond()))
        .collect()
}

fn round_times(window: Interval, zone: &TimeZone) -> Vec<Wall> {
    let length = length(&window) as i64;
    // The first and the last slice may be parts of one.
    let fits = |step: &i64| length / (step * 1_000_000) + 2 <= MOST_SLICES as i64;
    let step = STEPS.into_iter().find(fits).unwrap_or(10_800) * 1_000_000;
    let ahead = i64::from(zone.to_offset(window.from.timestamp()).seconds()) * 1_000_000;
    let nth = |at: Wall| at.0.saturating_add(ahead).div_euclid(step);
    let steps = nth(window.from) + 1..=nth(window.to);
    steps.map(|n| Wall(n * step - ahead)).collect()
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

    fn spent(up: u64, down: u64, unknown: u64) -> Uptime {
        Uptime {
            up: Duration::from_micros(up),
            down: Duration::from_micros(down),
            unknown: Duration::from_micros(unknown),
        }
    }

    #[test]
    fn unknown_time_counts_neither_way() {
        let window = at(0, 100);
        let unwatched = Cover::new(window, &[at(90, 200)]);
        let line = Timeline::new(window, &[at(10, 30), at(-5, 2)], &[at(20, 40)], &unwatched);
        assert_eq!(line.whole(), spent(58, 12, 30));
        assert_eq!(line.within(at(15, 25)), spent(0, 5, 5));
        assert_eq!(line.within(at(-50, 1)), spent(0, 1, 0));
        assert_eq!(line.within(at(200, 300)), spent(0, 0, 0));
        let never = Cover::new(window, &[window]);
        assert_eq!(Timeline::new(window, &[], &[], &never).whole().percent(), None);
    }

    proptest! {
        #[test]
        fn agrees_with_counting_every_microsecond(
            outages in prop::collection::vec((-10i64..60, 0i64..30), 0..6),
            unknown in prop::collection::vec((-10i64..60, 0i64..30), 0..6),
            unwatched in prop::collection::vec((-10i64..60, 0i64..9), 0..6),
            (from, long) in (0i64..50, 0i64..50),
        ) {
            let window = at(0, 50);
            let spans = |v: &[(i64, i64)]| v.iter().map(|(f, l)| at(*f, f + l)).collect::<Vec<_>>();
            let (outages, unknown, unwatched) = (spans(&outages), spans(&unknown), spans(&unwatched));
            let within = |list: &[Interval], t: i64| list.iter().any(|i| i.from.0 <= t && t < i.to.0);
            let part = at(from, (from + long).min(50));
            let (mut up, mut down, mut unk) = (0u64, 0, 0);
            for t in part.from.0..part.to.0 {
                if within(&unknown, t) || within(&unwatched, t) {
                    unk += 1;
                } else if within(&outages, t) {
                    down += 1;
                } else {
                    up += 1;
                }
            }
            let cover = Cover::new(window, &unwatched);
            let got = Timeline::new(window, &outages, &unknown, &cover).within(part);
            prop_assert_eq!(got, spent(up, down, unk));
        }

        #[test]
        fn slices_are_few_and_fill_the_window(from in -3_000_000_000_000_000i64..3_000_000_000_000_000, length in 1i64..400 * 86_400_000_000) {
            let window = at(from, from + length);
            let slices = slices(window, &TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC));
            prop_assert!(slices.len() <= MOST_SLICES);
            prop_assert_eq!((slices[0].from, slices[slices.len() - 1].to), (window.from, window.to));
            prop_assert!(slices.iter().all(|s| s.from < s.to));
            prop_assert!(slices.windows(2).all(|w| w[0].to == w[1].from));
        }
    }

    #[test]
    fn slices_begin_at_round_times() {
        let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(5 * 3600 + 45 * 60).unwrap());
        let hour = 3_600_000_000;
        let cases = [
            // 00:00 UTC is 05:45 there.
            (at(0, hour), 60, 60_000_000),
            (at(1, 7 * 24 * hour), 85, 15 * 60_000_000),
            (at(0, 30 * 24 * hour), 31, 18 * hour + hour / 4),
            (at(0, 365 * 24 * hour), 92, 18 * hour + hour / 4 + 3 * 24 * hour),
        ];
        for (window, count, first_edge) in cases {
            let slices = slices(window, &zone);
            assert_eq!((slices.len(), slices[0].to.0), (count, first_edge), "{window:?}");
        }
        assert_eq!(slices(at(5, 6), &zone), [at(5, 6)]);
        assert!(slices(at(i64::MIN / 2, i64::MAX / 2), &zone).len() <= MOST_SLICES);
    }
}
