//! Retention: old observations go an hour at a time, rollups only when the size demands it, and the file shrinks.

use std::{sync::PoisonError, time::Duration};

use lapwing_core::time::Wall;
use rusqlite::{Connection, OptionalExtension};

use super::{
    file::MIB,
    history::{DiskHistory, Writer},
};
use crate::{Retained, StoreError, Teller, history::first_kept_hour};

/// Rollups go this many hours at a time: finding the oldest means reading all.
const ROLLUP_STEP: i64 = 24 * 7;
/// Pages given back in one transaction, so that appends need not wait long.
const VACUUM_STEP: u32 = 4096;

impl DiskHistory {
    pub(super) fn retain_at(
        &self,
        writer: &mut Writer,
        now: Wall,
        raw: Duration,
        max_size: u64,
    ) -> Result<Retained, StoreError> {
        let failed = self.sql("drop old rows from");
        let mut done = Retained::default();
        let first_kept = first_kept_hour(now, raw);
        // Rows that never got into a chunk are as old as those that did.
        self.fold_hours(writer, &|open| {
            open.hours().filter(|hour| *hour < first_kept).collect()
        })?;
        while let Some(oldest) = oldest_hour(&writer.connection, "chunk").map_err(&failed)? {
            let too_large = || Ok(used(&writer.connection)? > max_size);
            if oldest >= first_kept && !too_large().map_err(&failed)? {
                break;
            }
            self.teller
                .tell("hours of old observations deleted", done.raw_hours, 0);
            writer
                .connection
                .execute("DELETE FROM chunk WHERE hour = ?", [oldest])
                .map_err(&failed)?;
            done.raw_hours += 1;
        }
        while used(&writer.connection).map_err(&failed)? > max_size {
            let Some(oldest) = oldest_hour(&writer.connection, "rollup").map_err(&failed)? else {
                break;
            };
            self.teller.tell("old rollups deleted", done.rollups, 0);
            let until = oldest.saturating_add(ROLLUP_STEP);
            let gone = writer
                .connection
                .execute("DELETE FROM rollup WHERE hour < ?", [until])
                .map_err(&failed)?;
            done.rollups += gone as u64;
        }
        if done.rollups > 0 {
            self.forget_series(writer)?;
        }
        shrink(&writer.connection, max_size, &self.teller).map_err(&failed)?;
        Ok(done)
    }

    /// Series that nothing is kept of.
    fn forget_series(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let failed = self.sql("drop old rows from");
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let sql = "SELECT id FROM series WHERE NOT EXISTS (SELECT 1 FROM rollup WHERE series_id = series.id)";
        let gone: Vec<u32> = {
            let mut statement = writer.connection.prepare(sql).map_err(&failed)?;
            let ids = statement.query_map([], |row| row.get(0)).map_err(&failed)?;
            ids.collect::<rusqlite::Result<_>>().map_err(&failed)?
        };
        let gone: Vec<u32> = gone
            .into_iter()
            .filter(|id| open.of_series(*id, i64::MIN, i64::MAX).is_empty())
            .collect();
        for id in &gone {
            writer
                .connection
                .execute("DELETE FROM series WHERE id = ?", [id])
                .map_err(&failed)?;
        }
        writer.names.drop_series(&gone);
        Ok(())
    }
}

fn oldest_hour(connection: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .query_row(&format!("SELECT min(hour) FROM {table}"), [], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection
        .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

/// Bytes of pages in use.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages * pragma(connection, "page_size")?)
}

/// Gives free pages back, unless they are few enough to be used again soon.
fn shrink(connection: &Connection, max_size: u64, teller: &Teller) -> rusqlite::Result<()> {
    let (pages, free) = (
        pragma(connection, "page_count")?,
        pragma(connection, "freelist_count")?,
    );
    if free == 0 || (free * 8 < pages && pages * pragma(connection, "page_size")? <= max_size) {
        return Ok(());
    }
    loop {
        let before = pragma(connection, "freelist_count")?;
        teller.tell(
            "MiB given back to the disk",
            free.saturating_sub(before) / MIB,
            free / MIB,
        );
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_STEP})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        let left = pragma(connection, "freelist_count")?;
        if left == 0 || left == before {
            break;
        }
    }
    // The file itself is cut when the log is written back. A reader may hold that up; then it is the next time's.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
