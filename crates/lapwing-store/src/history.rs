//! The history: every observation, and hourly rollups that stay when observations go.
//!
//! Append and scan never decide anything about a target; a late, doubled or backward time is stored as it came.

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use lapwing_core::{
    observation::{Observation, Outcome, Reason, Requests},
    time::Wall,
};

use crate::{Rollup, StoreError};

/// Limits that both histories keep.
pub mod limits {
    /// Distinct details kept for each code; beyond them only the code is.
    pub const DETAILS_PER_CODE: usize = 256;
    /// Facts kept of one observation; further ones are dropped.
    pub const FACTS_PER_ROW: usize = 64;
    /// Longest series key, in bytes.
    pub const SERIES_KEY: usize = 1024;
}

/// Outcome of an observation without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Up,
    Degraded,
    Down,
    Inconclusive,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Up, Self::Degraded, Self::Down, Self::Inconclusive];

    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Up => Self::Up,
            Outcome::Degraded(_) => Self::Degraded,
            Outcome::Down(_) => Self::Down,
            Outcome::Inconclusive(_) => Self::Inconclusive,
        }
    }

    /// The word of the glossary: `up`, `degraded`, `down`, `inconclusive`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// An observation to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub series: &'a str,
    pub observation: &'a Observation,
    /// The facts worth keeping, chosen by the caller: a number each.
    pub facts: &'a [(&'static str, f64)],
}

/// An observation read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub at: Wall,
    /// Whole microseconds.
    pub took: Duration,
    pub class: Class,
    /// None when up. Its detail is empty where there were too many different ones.
    pub reason: Option<Arc<Reason>>,
    /// Zero and zero when inconclusive.
    pub requests: Requests,
    pub facts: Vec<(Arc<str>, f64)>,
}

/// What [`History::tails`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub series: String,
    /// How many of the last observations.
    pub count: usize,
    /// None before this.
    pub since: Wall,
}

/// What a fold did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub rows: u64,
    pub chunks: u64,
}

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Hours whose observations went.
    pub raw_hours: u64,
    /// Rollups that went, which happens only under `max_size`.
    pub rollups: u64,
}

/// Where observations are kept. Calls block: run them on a thread of their own.
///
/// Observations of one series that lie in the same microsecond are all kept, in the order they came.
pub trait History: Send + Sync {
    /// Keeps all rows durably, or none.
    fn append(&self, batch: &[Row<'_>]) -> Result<(), StoreError>;

    /// Gives every observation with `from <= at < to`, oldest first, until told to stop.
    fn scan(
        &self,
        series: &str,
        from: Wall,
        to: Wall,
        each: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The last `count` observations, newest last.
    fn tail(&self, series: &str, count: usize) -> Result<Vec<Point>, StoreError> {
        let wanted = Wanted {
            series: series.to_owned(),
            count,
            since: Wall(i64::MIN),
        };
        Ok(self.tails(&[wanted])?.pop().unwrap_or_default())
    }

    /// The last observations of many series at once, newest last; answers stand where their questions do.
    fn tails(&self, wanted: &[Wanted]) -> Result<Vec<Vec<Point>>, StoreError>;

    /// The rollups of all hours that `from..to` touches, oldest first, the present hour as far as it has come.
    fn rollups(&self, series: &str, from: Wall, to: Wall) -> Result<Vec<Rollup>, StoreError>;

    /// Keys of all series that something is kept of, in order.
    fn series(&self) -> Result<Vec<String>, StoreError>;

    /// Packs hours that are over. Call it every minute or so; it does nothing when there is nothing to do.
    fn fold(&self, now: Wall) -> Result<Folded, StoreError>;

    /// Drops observations of hours that ended more than `raw` ago, then the oldest until at most `max_size` bytes are
    /// left: observations first, rollups after. Never call it while the wall clock is in doubt.
    fn retain(&self, now: Wall, raw: Duration, max_size: u64) -> Result<Retained, StoreError>;

    /// Bytes on the disk.
    fn size(&self) -> Result<u64, StoreError>;

    /// Writes a consistent copy to the new file `to` while others go on, and verifies it.
    fn backup(&self, to: &Path) -> Result<(), StoreError>;
}

/// Microseconds of an hour.
pub(crate) const HOUR: i64 = 3_600_000_000;
/// A probe that began in the last hour may end this far into the present one.
const GRACE: Duration = Duration::from_mins(2);

/// The hour, counted from 1970 in UTC, that a moment lies in.
pub(crate) const fn hour_of(at: Wall) -> i64 {
    at.0.div_euclid(HOUR)
}

pub(crate) fn hour_start(hour: i64) -> Wall {
    Wall(hour.saturating_mul(HOUR))
}

/// The oldest hour that may still get observations in order.
pub(crate) fn oldest_open_hour(now: Wall) -> i64 {
    hour_of(now - GRACE)
}

/// The first hour whose observations stay.
pub(crate) fn first_kept_hour(now: Wall, raw: Duration) -> i64 {
    hour_of(now - raw).min(oldest_open_hour(now))
}

/// Requests of an observation, zero and zero when inconclusive.
pub(crate) fn requests_of(observation: &Observation) -> Requests {
    observation.requests().unwrap_or(Requests { sent: 0, lost: 0 })
}

/// A series key within its limit, cut at a character.
pub(crate) fn series_key(key: &str) -> &str {
    &key[..key.floor_char_boundary(limits::SERIES_KEY)]
}
