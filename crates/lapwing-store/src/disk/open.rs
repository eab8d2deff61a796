//! Open hours: the rows of the log, by hour and series, already in the form of their chunks.
//!
//! It never knows more than the log on the disk does, and is built from it again after a crash.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use rusqlite::Connection;

use super::chunk::{Chunk, Raw, read_log};
use crate::{StoreError, Teller, history::HOUR, history::hour_of};

#[derive(Debug, Default)]
pub(super) struct Open {
    hours: BTreeMap<i64, HashMap<u32, Chunk>>,
    /// Bytes that the chunks take, about.
    size: usize,
    /// The last log row that is in here.
    last: i64,
    /// How many folds the file had seen when this was built; after another one it is built anew.
    folds: i64,
}

/// What a chunk takes beside its bytes.
const OVERHEAD: usize = 96;

impl Open {
    pub(super) fn load(connection: &Connection, path: &Path, teller: &Teller) -> Result<Self, StoreError> {
        let mut open = Self {
            last: -1,
            folds: -1,
            ..Self::default()
        };
        open.refresh(connection, path, teller)?;
        Ok(open)
    }

    /// Takes in what the log holds beyond what is here.
    pub(super) fn refresh(
        &mut self,
        connection: &Connection,
        path: &Path,
        teller: &Teller,
    ) -> Result<(), StoreError> {
        let failed = |e| StoreError::sql("read", path, e);
        let folds = folds(connection).map_err(failed)?;
        if folds != self.folds {
            *self = Self {
                last: -1,
                folds,
                ..Self::default()
            };
        }
        let mut statement = connection
            .prepare_cached("SELECT id, n, blob FROM log WHERE id > ? ORDER BY id")
            .map_err(failed)?;
        let mut found = statement.query([self.last]).map_err(failed)?;
        let mut rows_read = 0;
        while let Some(row) = found.next().map_err(failed)? {
            let id = row.get(0).map_err(failed)?;
            let blob = row.get_ref(2).map_err(failed)?.as_blob().unwrap_or_default();
            let rows = read_log(row.get(1).map_err(failed)?, blob);
            let rows = rows.ok_or_else(|| {
                StoreError::corrupt(path, format!("batch {id} of the log is not what was written"))
            })?;
            self.add(id, &rows);
            teller.tell("observations read back", rows_read, 0);
            rows_read += rows.len() as u64;
        }
        Ok(())
    }

    /// Takes in a log row that is durable.
    pub(super) fn add(&mut self, id: i64, rows: &[(u32, Raw)]) {
        for (series, raw) in rows {
            let hour = raw.at.div_euclid(HOUR);
            let chunks = self.hours.entry(hour).or_default();
            let chunk = chunks.entry(*series).or_insert_with(|| {
                self.size += OVERHEAD;
                Chunk::new(hour)
            });
            let before = chunk.bytes.len();
            chunk.push(raw);
            self.size += chunk.bytes.len() - before;
        }
        self.last = id;
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn hours(&self) -> impl Iterator<Item = i64> {
        self.hours.keys().copied()
    }

    pub(super) fn hour(&self, hour: i64) -> impl Iterator<Item = (u32, &Chunk)> {
        self.hours
            .get(&hour)
            .into_iter()
            .flatten()
            .map(|(series, chunk)| (*series, chunk))
    }

    /// The chunks of a series in `from..=to`, by hour.
    pub(super) fn of_series(&self, series: u32, from: i64, to: i64) -> BTreeMap<i64, Chunk> {
        let hours = if from <= to {
            Some(self.hours.range(from..=to))
        } else {
            None
        };
        hours
            .into_iter()
            .flatten()
            .filter_map(|(h, chunks)| Some((*h, chunks.get(&series)?.clone())))
            .collect()
    }

    /// The hours have been folded, in a transaction that is durable.
    pub(super) fn remove(&mut self, hours: &[i64]) {
        for chunks in hours.iter().filter_map(|hour| self.hours.remove(hour)) {
            for chunk in chunks.values() {
                self.size -= OVERHEAD + chunk.bytes.len();
            }
        }
        self.folds += 1;
    }
}

pub(super) fn folds(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM counter WHERE name = 'folds'")?
        .query_row([], |row| row.get(0))
}

/// The rows of one hour in the order of time, those of one moment in the order they came.
pub(super) fn in_order(mut rows: Vec<Raw>) -> Vec<Raw> {
    debug_assert!(
        rows.windows(2)
            .all(|w| hour_of(lapwing_core::time::Wall(w[0].at)) == w[1].at.div_euclid(HOUR))
    );
    rows.sort_by_key(|raw| raw.at);
    rows
}
