//! The history in memory: observations in order, rollups summed up on demand.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapwing_core::{observation::Reason, time::Wall};

use crate::{
    Class, Folded, History, Point, Retained, Rollup, Row, StoreError, Wanted,
    history::{first_kept_hour, hour_of, hour_start, limits, requests_of, series_key},
};

/// A history that ends with the process.
#[derive(Debug, Default)]
pub struct MemHistory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    series: BTreeMap<String, Series>,
    reasons: HashMap<String, HashMap<String, Arc<Reason>>>,
    rows: u64,
}

#[derive(Debug, Default)]
struct Series {
    /// In the order of time; those of one moment in the order they came.
    points: Vec<Point>,
    rollups: BTreeMap<i64, Rollup>,
}

/// What a row takes here, about.
const ROW_SIZE: u64 = size_of::<Point>() as u64;

impl MemHistory {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, row: &Row<'_>) {
        let observation = row.observation;
        let point = Point {
            at: observation.at,
            took: Duration::from_micros(lapwing_core::time::micros(observation.took)),
            class: Class::of(&observation.outcome),
            reason: observation.outcome.reason().map(|reason| self.reason(reason)),
            requests: requests_of(observation),
            facts: row
                .facts
                .iter()
                .take(limits::FACTS_PER_ROW)
                .map(|(name, v)| (Arc::from(*name), *v))
                .collect(),
        };
        let series = self.series.entry(series_key(row.series).to_owned()).or_default();
        let hour = hour_of(point.at);
        let rollup = series
            .rollups
            .entry(hour)
            .or_insert_with(|| Rollup::new(hour_start(hour)));
        rollup.add(point.class, point.took, point.requests.sent, point.requests.lost);
        let place = series.points.partition_point(|p| p.at <= point.at);
        series.points.insert(place, point);
        self.rows += 1;
    }

    fn reason(&mut self, reason: &Reason) -> Arc<Reason> {
        let details = self.reasons.entry(reason.code.as_str().to_owned()).or_default();
        let full = details.len() - usize::from(details.contains_key("")) >= limits::DETAILS_PER_CODE;
        let detail = if full && !details.contains_key(&reason.detail) {
            ""
        } else {
            &reason.detail
        };
        let kept = || {
            Arc::new(Reason {
                code: reason.code.clone(),
                detail: detail.to_owned(),
            })
        };
        Arc::clone(details.entry(detail.to_owned()).or_insert_with(kept))
    }

    /// Drops observations of hours before `hour`.
    fn drop_raw(&mut self, hour: i64) -> u64 {
        let mut hours = std::collections::BTreeSet::new();
        for series in self.series.values_mut() {
            let keep = series.points.partition_point(|p| hour_of(p.at) < hour);
            hours.extend(series.points.drain(..keep).map(|p| hour_of(p.at)));
            self.rows -= keep as u64;
        }
        hours.len() as u64
    }
}

impl History for MemHistory {
    fn append(&self, batch: &[Row<'_>]) -> Result<(), StoreError> {
        let mut state = self.state();
        for row in batch {
            state.add(row);
        }
        Ok(())
    }

    fn scan(
        &self,
        series: &str,
        from: Wall,
        to: Wall,
        each: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let found: Vec<Point> = match self.state().series.get(series) {
            Some(series) => {
                let start = series.points.partition_point(|p| p.at < from);
                series.points[start..]
                    .iter()
                    .take_while(|p| p.at < to)
                    .cloned()
                    .collect()
            }
            None => return Ok(()),
        };
        let _ = found.into_iter().try_for_each(each);
        Ok(())
    }

    fn tails(&self, wanted: &[Wanted]) -> Result<Vec<Vec<Point>>, StoreError> {
        let state = self.state();
        let tail = |w: &Wanted| {
            let points = state.series.get(&w.series).map_or(&[][..], |s| &s.points);
            let start = points
                .partition_point(|p| p.at < w.since)
                .max(points.len().saturating_sub(w.count));
            points[start..].to_vec()
        };
        Ok(wanted.iter().map(tail).collect())
    }

    fn rollups(&self, series: &str, from: Wall, to: Wall) -> Result<Vec<Rollup>, StoreError> {
        let state = self.state();
        let Some(series) = state.series.get(series).filter(|_| from < to) else {
            return Ok(Vec::new());
        };
        Ok(series
            .rollups
            .range(hour_of(from)..=hour_of(Wall(to.0 - 1)))
            .map(|(_, r)| r.clone())
            .collect())
    }

    fn series(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state().series.keys().cloned().collect())
    }

    fn fold(&self, _now: Wall) -> Result<Folded, StoreError> {
        Ok(Folded::default())
    }

    fn retain(&self, now: Wall, raw: Duration, max_size: u64) -> Result<Retained, StoreError> {
        let mut state = self.state();
        let mut raw_hours = state.drop_raw(first_kept_hour(now, raw));
        while state.rows * ROW_SIZE > max_size {
            let oldest = state
                .series
                .values()
                .filter_map(|s| s.points.first())
                .map(|p| hour_of(p.at))
                .min();
            let Some(oldest) = oldest else { break };
            raw_hours += state.drop_raw(oldest.saturating_add(1));
        }
        Ok(Retained {
            raw_hours,
            rollups: 0,
        })
    }

    fn size(&self) -> Result<u64, StoreError> {
        Ok(self.state().rows * ROW_SIZE)
    }

    fn backup(&self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError::Memory)
    }
}
