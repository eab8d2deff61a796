//! Folding: hours that are over move from the log into one chunk a series, and get their rollups.
//!
//! Chunks, rollups and the rest of the log change in one transaction, so that a crash loses and doubles nothing.

use std::{collections::HashSet, sync::PoisonError};

use lapwing_core::time::Wall;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    chunk::{Chunk, Raw, read_log, write_log},
    history::{DiskHistory, ROLLUPS, Writer, rollup_mark, sum_up},
    open::{Open, in_order},
};
use crate::{
    Folded, Rollup, StoreError,
    history::{HOUR, hour_of, oldest_open_hour},
};

/// Open hours above this are folded before they are over, so that memory stays bounded.
const MOST_OPEN: usize = 32 << 20;

impl DiskHistory {
    /// Folds the hours that are over; all of them when they take too much memory.
    pub(super) fn fold_at(&self, writer: &mut Writer, now: Wall) -> Result<Folded, StoreError> {
        self.fold_hours(writer, &|open| {
            if open.size() > MOST_OPEN {
                return open.hours().collect();
            }
            let (oldest_open, present) = (oldest_open_hour(now), hour_of(now));
            open.hours()
                .filter(|hour| !(oldest_open..=present).contains(hour))
                .collect()
        })
    }

    /// Folds everything when nobody has for so long that memory would run out.
    pub(super) fn fold_overflow(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).size() <= 2 * MOST_OPEN {
            return Ok(());
        }
        self.fold_hours(writer, &|open| open.hours().collect()).map(drop)
    }

    pub(super) fn fold_hours(
        &self,
        writer: &mut Writer,
        pick: &dyn Fn(&Open) -> Vec<i64>,
    ) -> Result<Folded, StoreError> {
        let failed = self.sql("fold");
        let transaction = writer
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        // What is folded is what the log holds, whoever wrote it.
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .refresh(&transaction, &self.path, &self.teller)?;
        let mut folded = Folded::default();
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let hours = pick(&open);
        if hours.is_empty() {
            return Ok(folded);
        }
        let total: u64 = hours.iter().map(|hour| open.hour(*hour).count() as u64).sum();
        for hour in &hours {
            // In the order of the table, so that pages fill up one after the other.
            let mut chunks: Vec<(u32, &Chunk)> = open.hour(*hour).collect();
            chunks.sort_unstable_by_key(|(series, _)| *series);
            for (series, chunk) in chunks {
                self.teller.row("hours of series folded", folded.chunks, total);
                self.fold_chunk(&transaction, series, *hour, chunk)?;
                folded.chunks += 1;
                folded.rows += u64::from(chunk.count);
            }
        }
        drop(open);
        self.trim_log(&transaction, &hours)?;
        transaction
            .execute("UPDATE counter SET value = value + 1 WHERE name = 'folds'", [])
            .map_err(&failed)?;
        // Readers begin before or after both, never between.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        transaction.commit().map_err(&failed)?;
        open.remove(&hours);
        Ok(folded)
    }

    fn fold_chunk(
        &self,
        transaction: &Transaction<'_>,
        series: u32,
        hour: i64,
        chunk: &Chunk,
    ) -> Result<(), StoreError> {
        let failed = self.sql("fold");
        let late = self.open_rows((hour, chunk.clone()))?;
        self.fold_rollup(transaction, series, &sum_up(hour, &late))?;
        let before = transaction
            .prepare_cached("SELECT hour, series_id, n, blob FROM chunk WHERE hour = ? AND series_id = ?")
            .map_err(&failed)?
            .query_row(params![hour, series], |row| Ok(self.chunk_of(row)))
            .optional()
            .map_err(&failed)?;
        let whole = match before {
            None if chunk.sorted => chunk.clone(),
            before => {
                let mut rows = before.transpose()?.map_or_else(Vec::new, |(_, rows)| rows);
                rows.extend(late);
                let mut whole = Chunk::new(hour);
                for raw in in_order(rows) {
                    whole.push(&raw);
                }
                whole
            }
        };
        transaction
            .prepare_cached("INSERT OR REPLACE INTO chunk(hour, series_id, n, blob) VALUES (?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![hour, series, whole.count, whole.seal(series, hour)]))
            .map_err(&failed)?;
        Ok(())
    }

    fn fold_rollup(
        &self,
        transaction: &Transaction<'_>,
        series: u32,
        late: &Rollup,
    ) -> Result<(), StoreError> {
        let failed = self.sql("fold");
        let hour = hour_of(late.hour);
        let before = transaction
            .prepare_cached(ROLLUPS)
            .map_err(&failed)?
            .query_row(params![series, hour, hour], |row| Ok(self.rollup_of(row)))
            .optional()
            .map_err(&failed)?
            .transpose()?;
        let mut rollup = before.unwrap_or_else(|| Rollup::new(late.hour));
        rollup.merge(late);
        transaction
            .prepare_cached("INSERT OR REPLACE INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .and_then(|mut statement| {
                statement.execute(params![
                    series,
                    hour,
                    rollup.observations().cast_signed(),
                    rollup.up,
                    rollup.degraded,
                    rollup.down,
                    rollup.inconclusive,
                    rollup.sent.cast_signed(),
                    rollup.lost.cast_signed(),
                    rollup.took.sum_us.cast_signed(),
                    rollup.took.min_us.cast_signed(),
                    rollup.took.max_us.cast_signed(),
                    rollup.took.histogram.pack(),
                    rollup_mark(series, &rollup)
                ])
            })
            .map_err(&failed)?;
        Ok(())
    }

    /// Takes the rows of folded hours out of the log.
    fn trim_log(&self, transaction: &Transaction<'_>, hours: &[i64]) -> Result<(), StoreError> {
        let failed = self.sql("fold");
        let hours: HashSet<i64> = hours.iter().copied().collect();
        let is_folded = |at: i64| hours.contains(&at.div_euclid(HOUR));
        let mut statement = transaction
            .prepare_cached("SELECT id, t_min, t_max FROM log")
            .map_err(&failed)?;
        let batches = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(&failed)?;
        let batches: Vec<(i64, i64, i64)> = batches.collect::<rusqlite::Result<_>>().map_err(&failed)?;
        for (id, first, last) in batches {
            if first.div_euclid(HOUR) == last.div_euclid(HOUR) {
                if is_folded(first) {
                    delete_batch(transaction, id).map_err(&failed)?;
                }
            } else {
                self.trim_batch(transaction, id, &is_folded)?;
            }
        }
        Ok(())
    }

    /// A batch that holds rows of more than one hour.
    fn trim_batch(
        &self,
        transaction: &Transaction<'_>,
        id: i64,
        is_folded: &dyn Fn(i64) -> bool,
    ) -> Result<(), StoreError> {
        let failed = self.sql("fold");
        let (count, blob): (u32, Vec<u8>) = transaction
            .prepare_cached("SELECT n, blob FROM log WHERE id = ?")
            .and_then(|mut s| s.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(&failed)?;
        let rows = read_log(count, &blob).ok_or_else(|| {
            StoreError::corrupt(
                &self.path,
                format!("batch {id} of the log is not what was written"),
            )
        })?;
        let kept: Vec<(u32, Raw)> = rows.into_iter().filter(|(_, raw)| !is_folded(raw.at)).collect();
        if kept.len() == count as usize {
            return Ok(());
        }
        if kept.is_empty() {
            return delete_batch(transaction, id).map_err(&failed);
        }
        let times = kept.iter().map(|(_, raw)| raw.at);
        transaction
            .prepare_cached("UPDATE log SET t_min = ?, t_max = ?, n = ?, blob = ? WHERE id = ?")
            .and_then(|mut statement| {
                let (first, last) = (times.clone().min(), times.max());
                statement.execute(params![first, last, kept.len() as i64, write_log(&kept), id])
            })
            .map_err(&failed)?;
        Ok(())
    }
}

fn delete_batch(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM log WHERE id = ?")?
        .execute([id])
        .map(drop)
}
