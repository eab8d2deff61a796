//! Points in time and lengths of time, as values.
//!
//! Nothing here reads a clock: the binary's `clock.rs` is the only reader, and hands out [`Now`].

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};

/// A moment on the wall clock: microseconds since 1970-01-01T00:00:00Z. It labels, it never schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// A moment on the monotonic clock: microseconds since an arbitrary origin of this process. It schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub wall: Wall,
    pub mono: Mono,
}

/// The one way to ask for the time. The binary implements it; tests move a clock of their own.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, read together.
    fn now(&self) -> Now;

    /// The monotonic clock alone: cheaper, for stopwatches and deadlines.
    fn mono(&self) -> Mono {
        self.now().mono
    }
}

impl Wall {
    /// Microseconds from `earlier` to here; negative when `earlier` lies later.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time from `earlier` to here, zero when `earlier` lies later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier).max(0) as u64)
    }

    /// As a calendar instant. Values outside jiff's range (years -9999 to 9999) are clamped to its ends.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }

    /// RFC 3339 with microseconds, in UTC: `2026-11-20T14:51:19.000000Z`.
    pub fn rfc3339(self) -> String {
        format!("{:.6}", self.timestamp())
    }

    /// A number that changes at each full hour of the clocks in `zone`, and at no other moment but a change of the
    /// zone's minutes. It runs on over daylight-saving changes: an hour that a clock shows twice counts twice.
    pub fn clock_hour(self, zone: &TimeZone) -> i64 {
        let offset = i64::from(zone.to_offset(self.timestamp()).seconds()).rem_euclid(3600);
        (self.0.div_euclid(1_000_000) + offset).div_euclid(3600)
    }

    /// The next full hour of the clocks in `zone`, after this moment.
    #[must_use]
    pub fn next_clock_hour(self, zone: &TimeZone) -> Self {
        let offset = i64::from(zone.to_offset(self.timestamp()).seconds()).rem_euclid(3600);
        let hour = (self.0.div_euclid(1_000_000) + offset).div_euclid(3600) + 1;
        Self((hour * 3600 - offset).saturating_mul(1_000_000))
    }

    /// Moved by `by` microseconds, which may be negative.
    #[must_use]
    pub fn shifted(self, by: i64) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl Mono {
    /// The time from `earlier` to here, zero when `earlier` lies later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs) as i64))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(micros(rhs) as i64))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

/// Whole microseconds, saturating far beyond any length that a person writes.
pub fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros())
        .unwrap_or(u64::MAX)
        .min(i64::MAX as u64)
}

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a length of time: write a number and a unit, like 500ms, 30s, 10m, 2h, 30d or 1h30m")]
pub struct BadDuration(pub String);

/// Reads `500ms`, `30s`, `10m`, `2h`, `30d`, `1w` and sums of them like `1h30m`; decimals like `0.2s` too.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let mut rest = text.trim();
    let mut total = 0f64;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit_and_rest = rest[digits..].trim_start();
        let unit_len = unit_and_rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(unit_and_rest.len());
        let micros_per_unit = match &unit_and_rest[..unit_len] {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "s" | "sec" | "second" | "seconds" => 1e6,
            "m" | "min" | "minute" | "minutes" => 60e6,
            "h" | "hour" | "hours" => 3600e6,
            "d" | "day" | "days" => 86400e6,
            "w" | "week" | "weeks" => 7.0 * 86400e6,
            _ => return Err(bad()),
        };
        total += number * micros_per_unit;
        rest = unit_and_rest[unit_len..].trim_start();
    }
    // A century is more than any interval, window or retention can mean.
    if total > 100.0 * 366.0 * 86400e6 {
        return Err(bad());
    }
    Ok(Duration::from_micros(total.round() as u64))
}

/// A length of time as a person writes it in a configuration: `30s`, `1h30m`, `900ms`.
pub fn short(length: Duration) -> String {
    let total = micros(length);
    if total == 0 {
        return "0s".to_owned();
    }
    let mut rest = total;
    let mut text = String::new();
    for (unit, size) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ] {
        let count = rest / size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            rest -= count * size;
        }
    }
    text
}

/// A measured time for people, three significant digits: `873µs`, `12.3ms`, `1.02s`.
pub fn measured(length: Duration) -> String {
    let micros = length.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        m if m < 1e3 => (m, "µs"),
        m if m < 1e6 => (m / 1e3, "ms"),
        m => (m / 1e6, "s"),
    };
    let decimals = match value {
        v if unit == "µs" || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{unit}")
}

/// `HH:MM:SS`, whole seconds; days run on as hours (`49:00:00`).
#[derive(Clone, Copy, Debug)]
pub struct Hms(pub Duration);

impl fmt::Display for Hms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        write!(f, "{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for (text, micros_expected) in [
            ("30s", 30_000_000),
            ("900ms", 900_000),
            ("1h30m", 5_400_000_000),
            ("30d", 2_592_000_000_000),
            ("0.2s", 200_000),
        ] {
            assert_eq!(micros(parse_duration(text).unwrap()), micros_expected, "{text}");
        }
        assert_eq!(short(Duration::from_secs(5400)), "1h30m");
        assert_eq!(short(Duration::from_millis(900)), "900ms");
        for bad in ["", "30", "s", "1x", "-1s", "1s 2", "9999999w", "1..2s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn measured_keeps_three_digits() {
        for (us, text) in [
            (873, "873µs"),
            (1_234, "1.23ms"),
            (12_345, "12.3ms"),
            (123_456, "123ms"),
            (1_020_000, "1.02s"),
        ] {
            assert_eq!(measured(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn clock_hours_follow_the_zone() {
        let kathmandu = TimeZone::fixed(jiff::tz::Offset::from_seconds(5 * 3600 + 45 * 60).unwrap());
        let edge = Wall(15 * 60 * 1_000_000); // 00:15 UTC is 06:00 there
        assert_eq!(
            edge.clock_hour(&kathmandu) - Wall(edge.0 - 1).clock_hour(&kathmandu),
            1
        );
    }
}
