//! The history on the disk: a batch is one blob in a log, hours that are over become a chunk a series.
//!
//! Layout and figures: the storage section of the performance notes; `examples/history_rate.rs` measures them.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use lapwing_core::time::{Wall, micros};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    chunk::{Chunk, Raw, write_log},
    dir::Held,
    file::{self, Schema},
    names::{Names, Texts, text_mark},
    open::{Open, in_order},
    read::Readers,
};
use crate::{
    Class, Folded, Histogram, History, Point, Retained, Rollup, Row, StoreError, Teller, Took, Wanted,
    history::{hour_of, hour_start, limits, requests_of, series_key},
    pack::checksum,
};

pub(super) const SCHEMA: Schema = Schema {
    what: "history",
    application: 0x4C57_4831,
    version: 1,
    before: "PRAGMA auto_vacuum=INCREMENTAL;",
    // Chunks by hour first: a fold appends, and retention frees whole pages.
    create: "
        CREATE TABLE series(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, mark INTEGER NOT NULL);
        CREATE TABLE reason(id INTEGER PRIMARY KEY, code TEXT NOT NULL, detail TEXT NOT NULL, mark INTEGER NOT NULL);
        CREATE TABLE fact(id INTEGER PRIMARY KEY, name TEXT NOT NULL, mark INTEGER NOT NULL);
        CREATE TABLE log(id INTEGER PRIMARY KEY, t_min INTEGER NOT NULL, t_max INTEGER NOT NULL,
                         n INTEGER NOT NULL, blob BLOB NOT NULL);
        CREATE TABLE chunk(hour INTEGER, series_id INTEGER, n INTEGER NOT NULL, blob BLOB NOT NULL,
                           PRIMARY KEY (hour, series_id)) WITHOUT ROWID;
        CREATE TABLE rollup(series_id INTEGER, hour INTEGER, n INTEGER NOT NULL, up INTEGER NOT NULL,
                            degraded INTEGER NOT NULL, down INTEGER NOT NULL, inconclusive INTEGER NOT NULL,
                            sent INTEGER NOT NULL, lost INTEGER NOT NULL, sum_us INTEGER NOT NULL,
                            min_us INTEGER NOT NULL, max_us INTEGER NOT NULL, histogram BLOB NOT NULL, mark INTEGER NOT NULL,
                            PRIMARY KEY (series_id, hour)) WITHOUT ROWID;
        CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO counter VALUES ('folds', 0), ('log', 0);",
    migrations: &[],
    tuning: "PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=4000;",
};

/// The history in `history.db`.
#[derive(Debug)]
pub struct DiskHistory {
    pub(super) path: PathBuf,
    /// Above the writer, for fields drop in order, and only a writer that closes last writes the log back.
    readers: Readers,
    /// None where it was opened for reading.
    owner: Option<Owner>,
    /// Locked for moments only: by who appends and folds once the disk has it, by who reads while a snapshot begins.
    pub(super) open: RwLock<Open>,
    texts: Texts,
    pub(super) teller: Teller,
}

#[derive(Debug)]
struct Owner {
    writer: Mutex<Writer>,
    /// Given back after the writer has closed.
    held: Arc<Held>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) names: Names,
}

/// Rows of one log blob at most.
const BATCH: usize = 65_536;

impl DiskHistory {
    pub(super) fn open(path: &Path, held: Arc<Held>, now: Wall, teller: Teller) -> Result<Self, StoreError> {
        let connection = file::open_writer(path, &SCHEMA, now, &teller)?;
        let names = Names::load(&connection, path)?;
        let open = RwLock::new(Open::load(&connection, path, &teller)?);
        let owner = Some(Owner {
            held,
            writer: Mutex::new(Writer { connection, names }),
        });
        Ok(Self {
            path: path.to_owned(),
            owner,
            readers: Readers::new(path, &SCHEMA),
            open,
            texts: Texts::default(),
            teller,
        })
    }

    pub(super) fn read(path: &Path, teller: Teller) -> Result<Self, StoreError> {
        let readers = Readers::new(path, &SCHEMA);
        let open = RwLock::new(readers.with(|connection| Open::load(connection, path, &teller))?);
        Ok(Self {
            path: path.to_owned(),
            owner: None,
            readers,
            open,
            texts: Texts::default(),
            teller,
        })
    }

    /// Reads the whole file and verifies its structure and every chunk.
    pub fn check(&self) -> Result<(), StoreError> {
        self.readers.with(|connection| {
            file::quick_check(connection, &self.path, &self.teller)?;
            Open::load(connection, &self.path, &self.teller)?;
            Names::load(connection, &self.path)?;
            let failed = self.sql("check");
            let mut statement = connection
                .prepare("SELECT hour, series_id, n, blob FROM chunk ORDER BY hour")
                .map_err(&failed)?;
            let (first, last) = connection
                .query_row(
                    "SELECT ifnull(min(hour), 0), ifnull(max(hour), 0) FROM chunk",
                    [],
                    |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
                )
                .map_err(&failed)?;
            let (mut rows, mut before) = (statement.query([]).map_err(&failed)?, None);
            while let Some(row) = rows.next().map_err(&failed)? {
                let (hour, _) = self.chunk_of(row)?;
                if before.replace(hour) != Some(hour) {
                    let done = (hour - first).cast_unsigned();
                    self.teller
                        .tell("hours verified", done, (last - first).cast_unsigned());
                }
            }
            let mut statement = connection.prepare(ALL_ROLLUPS).map_err(&failed)?;
            let mut rows = statement.query([]).map_err(&failed)?;
            while let Some(row) = rows.next().map_err(&failed)? {
                self.rollup_of(row)?;
            }
            Ok(())
        })
    }

    pub(super) fn sql(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |e| StoreError::sql(doing, &path, e)
    }

    /// The one writer, with the space of the disk that the history may use.
    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let owner = self.owner.as_ref().ok_or_else(|| StoreError::ReadOnly {
            path: self.path.clone(),
        })?;
        Ok(owner.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(crate) fn with_writer<T>(&self, f: impl FnOnce(&Connection) -> T) -> T {
        f(&self.writer().unwrap().connection)
    }

    fn has_room(&self) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner.held.ballast.spare())
    }

    /// Decodes a row of hour, series, count and blob.
    pub(super) fn chunk_of(&self, row: &rusqlite::Row<'_>) -> Result<(i64, Vec<Raw>), StoreError> {
        let failed = self.sql("read");
        let hour: i64 = row.get(0).map_err(&failed)?;
        let (series, count) = (row.get(1).map_err(&failed)?, row.get(2).map_err(&failed)?);
        let blob = row.get_ref(3).map_err(&failed)?.as_blob().unwrap_or_default();
        let rows = Chunk::open(series, hour, count, blob);
        let damaged = || {
            format!(
                "the hour {} of series {series} is not what was written",
                hour_start(hour).rfc3339()
            )
        };
        Ok((
            hour,
            rows.ok_or_else(|| StoreError::corrupt(&self.path, damaged()))?,
        ))
    }

    /// Begins a snapshot: reads of it and of the open hours that `take` picks belong to one moment.
    fn snapshot<'c, T>(
        &self,
        connection: &'c Connection,
        take: impl FnOnce(&Transaction<'c>, &Open) -> Result<T, StoreError>,
    ) -> Result<(Transaction<'c>, T), StoreError> {
        let failed = self.sql("read");
        if self.owner.is_none() {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.unchecked_transaction().map_err(&failed)?;
            open.refresh(&transaction, &self.path, &self.teller)?;
            let taken = take(&transaction, &open)?;
            return Ok((transaction, taken));
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.unchecked_transaction().map_err(&failed)?;
        super::open::folds(&transaction).map_err(&failed)?;
        let taken = take(&transaction, &open)?;
        Ok((transaction, taken))
    }

    fn series_id(&self, connection: &Connection, series: &str) -> Result<Option<u32>, StoreError> {
        let key = series_key(series);
        let found = connection
            .prepare_cached("SELECT id, mark FROM series WHERE key = ?")
            .and_then(|mut s| {
                s.query_row([key], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?)))
                    .optional()
            })
            .map_err(self.sql("read"))?;
        match found {
            Some((id, mark)) if mark != text_mark(id, &[key]) => Err(StoreError::corrupt(
                &self.path,
                format!("the number of series {key} is not what was written"),
            )),
            found => Ok(found.map(|(id, _)| id)),
        }
    }

    /// Gives the rows of a series in the hours `from..=to`, an hour at a time, in the order asked for.
    fn hours(
        &self,
        connection: &Connection,
        (series, mut open): (u32, BTreeMap<i64, Chunk>),
        (from, to): (i64, i64),
        newest_first: bool,
        each: &mut dyn FnMut(Vec<Raw>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let failed = self.sql("read");
        let order = if newest_first { "DESC" } else { "ASC" };
        // The rollups say which hours there are, so that nothing is looked for in vain.
        let sql = format!(
            "SELECT c.hour, c.series_id, c.n, c.blob FROM rollup r
             CROSS JOIN chunk c ON c.hour = r.hour AND c.series_id = r.series_id
             WHERE r.series_id = ?1 AND r.hour BETWEEN max(?2, ifnull((SELECT min(hour) FROM chunk), ?2)) AND ?3
             ORDER BY r.hour {order}"
        );
        let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
        let mut found = statement.query(params![series, from, to]).map_err(&failed)?;
        while let Some(row) = found.next().map_err(&failed)? {
            let (hour, mut rows) = self.chunk_of(row)?;
            while let Some(next) = next_open(&mut open, newest_first, hour) {
                if each(self.open_rows(next)?)?.is_break() {
                    return Ok(());
                }
            }
            if let Some(chunk) = open.remove(&hour) {
                rows.extend(self.open_rows((hour, chunk))?);
                rows = in_order(rows);
            }
            if each(rows)?.is_break() {
                return Ok(());
            }
        }
        while let Some(next) = if newest_first {
            open.pop_last()
        } else {
            open.pop_first()
        } {
            if each(self.open_rows(next)?)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn open_rows(&self, (hour, chunk): (i64, Chunk)) -> Result<Vec<Raw>, StoreError> {
        let rows = chunk
            .rows(hour)
            .ok_or_else(|| StoreError::corrupt(&self.path, "an open hour does not decode"))?;
        Ok(if chunk.sorted { rows } else { in_order(rows) })
    }

    fn tail_of(
        &self,
        connection: &Connection,
        (series, open): (u32, BTreeMap<i64, Chunk>),
        wanted: &Wanted,
    ) -> Result<Vec<Point>, StoreError> {
        let mut newest_first = Vec::new();
        let since = wanted.since;
        self.hours(
            connection,
            (series, open),
            (hour_of(since), i64::MAX),
            true,
            &mut |rows| {
                for raw in rows.into_iter().rev() {
                    if newest_first.len() == wanted.count || raw.at < since.0 {
                        return Ok(ControlFlow::Break(()));
                    }
                    newest_first.push(self.texts.point(connection, &self.path, &raw)?);
                }
                let enough = newest_first.len() == wanted.count;
                Ok(if enough {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        )?;
        newest_first.reverse();
        Ok(newest_first)
    }
}

/// The next open hour that stands before `hour` in the order of reading.
fn next_open(open: &mut BTreeMap<i64, Chunk>, newest_first: bool, hour: i64) -> Option<(i64, Chunk)> {
    let entry = if newest_first {
        open.last_entry()
    } else {
        open.first_entry()
    }?;
    let first = if newest_first {
        *entry.key() > hour
    } else {
        *entry.key() < hour
    };
    first.then(|| entry.remove_entry())
}

impl Names {
    fn raw(&mut self, row: &Row<'_>) -> (u32, Raw) {
        let observation = row.observation;
        let requests = requests_of(observation);
        let facts = row.facts.iter().take(limits::FACTS_PER_ROW);
        let raw = Raw {
            at: observation.at.0,
            took: micros(observation.took).cast_signed(),
            class: Class::of(&observation.outcome),
            reason: observation
                .outcome
                .reason()
                .map_or(0, |reason| self.reason(reason)),
            sent: requests.sent,
            lost: requests.lost,
            facts: facts.map(|(name, value)| (self.fact(name), *value)).collect(),
        };
        (self.series(series_key(row.series)), raw)
    }
}

impl Writer {
    /// Returns the numbers of the log rows made.
    fn append(&mut self, parts: &[Vec<(u32, Raw)>]) -> rusqlite::Result<Vec<i64>> {
        let transaction = self.connection.transaction()?;
        self.names.write(&transaction)?;
        let mut ids = Vec::with_capacity(parts.len());
        for rows in parts {
            let times = rows.iter().map(|(_, raw)| raw.at);
            // A counter, for the number of a deleted row must not come again.
            let id: i64 = transaction
                .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'log' RETURNING value")?
                .query_row([], |row| row.get(0))?;
            transaction
                .prepare_cached("INSERT INTO log(id, t_min, t_max, n, blob) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![
                    id,
                    times.clone().min(),
                    times.max(),
                    rows.len() as i64,
                    write_log(rows)
                ])?;
            ids.push(id);
        }
        transaction.commit()?;
        Ok(ids)
    }
}

impl History for DiskHistory {
    fn append(&self, batch: &[Row<'_>]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer()?;
        if !self.has_room() {
            return Err(StoreError::Full {
                path: self.path.clone(),
            });
        }
        self.fold_overflow(&mut writer)?;
        let parts: Vec<Vec<(u32, Raw)>> = batch
            .chunks(BATCH)
            .map(|part| part.iter().map(|row| writer.names.raw(row)).collect())
            .collect();
        match writer.append(&parts) {
            Ok(ids) => {
                writer.names.settle();
                let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
                ids.into_iter()
                    .zip(&parts)
                    .for_each(|(id, rows)| open.add(id, rows));
                Ok(())
            }
            Err(e) => {
                writer.names.forget();
                Err(StoreError::sql("append to", &self.path, e))
            }
        }
    }

    fn scan(
        &self,
        series: &str,
        from: Wall,
        to: Wall,
        each: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let range = (hour_of(from), hour_of(Wall(to.0 - 1)));
        self.readers.with(|connection| {
            let (snapshot, taken) = self.snapshot(connection, |snapshot, open| {
                let id = self.series_id(snapshot, series)?;
                Ok(id.map(|id| (id, open.of_series(id, range.0, range.1))))
            })?;
            let Some(taken) = taken else { return Ok(()) };
            self.hours(&snapshot, taken, range, false, &mut |rows| {
                for raw in rows.into_iter().filter(|raw| (from.0..to.0).contains(&raw.at)) {
                    if each(self.texts.point(&snapshot, &self.path, &raw)?).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
        })
    }

    fn tails(&self, wanted: &[Wanted]) -> Result<Vec<Vec<Point>>, StoreError> {
        self.readers.with(|connection| {
            let (snapshot, taken) = self.snapshot(connection, |snapshot, open| {
                let take = |w: &Wanted| {
                    let id = self.series_id(snapshot, &w.series)?;
                    Ok(id.map(|id| (id, open.of_series(id, hour_of(w.since), i64::MAX))))
                };
                wanted.iter().map(take).collect::<Result<Vec<_>, StoreError>>()
            })?;
            let tail = |(wanted, taken)| match taken {
                Some(taken) => self.tail_of(&snapshot, taken, wanted),
                None => Ok(Vec::new()),
            };
            let told = wanted.iter().zip(taken).zip(0..).map(|(asked, nth)| {
                self.teller.row("series read back", nth, wanted.len() as u64);
                tail(asked)
            });
            told.collect()
        })
    }

    fn rollups(&self, series: &str, from: Wall, to: Wall) -> Result<Vec<Rollup>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let (from, to) = (hour_of(from), hour_of(Wall(to.0 - 1)));
        self.readers.with(|connection| {
            let (snapshot, taken) = self.snapshot(connection, |snapshot, open| {
                let id = self.series_id(snapshot, series)?;
                Ok(id.map(|id| (id, open.of_series(id, from, to))))
            })?;
            let Some((id, open)) = taken else {
                return Ok(Vec::new());
            };
            let mut rollups = BTreeMap::new();
            let mut statement = snapshot.prepare_cached(ROLLUPS).map_err(self.sql("read"))?;
            let mut rows = statement.query(params![id, from, to]).map_err(self.sql("read"))?;
            while let Some(row) = rows.next().map_err(self.sql("read"))? {
                let rollup = self.rollup_of(row)?;
                rollups.insert(hour_of(rollup.hour), rollup);
            }
            for (hour, chunk) in open {
                let rollup = rollups
                    .entry(hour)
                    .or_insert_with(|| Rollup::new(hour_start(hour)));
                rollup.merge(&sum_up(hour, &self.open_rows((hour, chunk))?));
            }
            Ok(rollups.into_values().collect())
        })
    }

    fn series(&self) -> Result<Vec<String>, StoreError> {
        self.readers.with(|connection| {
            let read = || {
                let mut statement = connection.prepare_cached("SELECT key FROM series ORDER BY key")?;
                statement
                    .query_map([], |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<String>>>()
            };
            read().map_err(self.sql("read"))
        })
    }

    fn fold(&self, now: Wall) -> Result<Folded, StoreError> {
        self.fold_at(&mut *self.writer()?, now)
    }

    fn retain(&self, now: Wall, raw: Duration, max_size: u64) -> Result<Retained, StoreError> {
        self.retain_at(&mut *self.writer()?, now, raw, max_size)
    }

    fn size(&self) -> Result<u64, StoreError> {
        let size = |path: &Path| path.metadata().map(|m| m.len());
        let log = size(&file::beside(&self.path, "-wal")).unwrap_or(0);
        Ok(size(&self.path).map_err(|e| StoreError::io("look at", &self.path, e))? + log)
    }

    fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.readers
            .with(|connection| file::copy(connection, to, &self.teller))
    }
}

pub(super) const ROLLUPS: &str = "
    SELECT hour, up, degraded, down, inconclusive, sent, lost, sum_us, min_us, max_us, histogram, series_id, mark
    FROM rollup WHERE series_id = ?1 AND hour BETWEEN ?2 AND ?3 ORDER BY hour";
const ALL_ROLLUPS: &str = "
    SELECT hour, up, degraded, down, inconclusive, sent, lost, sum_us, min_us, max_us, histogram, series_id, mark
    FROM rollup";

impl DiskHistory {
    /// Reads a row of [`ROLLUPS`].
    pub(super) fn rollup_of(&self, row: &rusqlite::Row<'_>) -> Result<Rollup, StoreError> {
        let read = || -> rusqlite::Result<Option<Rollup>> {
            let count = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let Some(histogram) = Histogram::unpack(row.get_ref(10)?.as_blob()?) else {
                return Ok(None);
            };
            let rollup = Rollup {
                hour: hour_start(row.get(0)?),
                up: row.get(1)?,
                degraded: row.get(2)?,
                down: row.get(3)?,
                inconclusive: row.get(4)?,
                sent: count(5)?,
                lost: count(6)?,
                took: Took {
                    sum_us: count(7)?,
                    min_us: count(8)?,
                    max_us: count(9)?,
                    histogram,
                },
            };
            let sound = row.get::<_, u32>(12)? == rollup_mark(row.get(11)?, &rollup);
            Ok(sound.then_some(rollup))
        };
        read()
            .map_err(self.sql("read"))?
            .ok_or_else(|| StoreError::corrupt(&self.path, "a rollup is not what was written"))
    }
}

/// The checksum of a rollup in its place.
pub(super) fn rollup_mark(series: u32, rollup: &Rollup) -> u32 {
    let mut bytes = rollup.took.histogram.pack();
    for count in [
        rollup.up,
        rollup.degraded,
        rollup.down,
        rollup.inconclusive,
        series,
    ] {
        bytes.extend(count.to_le_bytes());
    }
    let took = &rollup.took;
    for figure in [rollup.sent, rollup.lost, took.sum_us, took.min_us, took.max_us] {
        bytes.extend(figure.to_le_bytes());
    }
    checksum(rollup.hour.0.cast_unsigned(), &bytes)
}

/// The rollup of rows of one hour.
pub(super) fn sum_up(hour: i64, rows: &[Raw]) -> Rollup {
    let mut rollup = Rollup::new(hour_start(hour));
    for raw in rows {
        rollup.add(
            raw.class,
            Duration::from_micros(raw.took.cast_unsigned()),
            raw.sent,
            raw.lost,
        );
    }
    rollup
}
