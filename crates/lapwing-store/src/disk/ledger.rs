//! The ledger on the disk: one writing connection, reading ones as needed, a checksum on every entry.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapwing_core::time::Wall;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    dir::Held,
    file::{self, Schema},
    read::Readers,
};
use crate::{
    Change, Entry, Guard, Key, Ledger, LedgerError, Op, Revision, Session, StoreError, Teller,
    ledger::{KEPT_CHANGES, effective},
    pack::checksum,
};

pub(super) const SCHEMA: Schema = Schema {
    what: "ledger",
    application: 0x4C57_4C31,
    version: 1,
    before: "",
    create: "
        CREATE TABLE kv(key BLOB PRIMARY KEY, value BLOB NOT NULL, create_rev INTEGER NOT NULL,
                        mod_rev INTEGER NOT NULL, mark INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE change(id INTEGER PRIMARY KEY, rev INTEGER NOT NULL, key BLOB NOT NULL, value BLOB,
                            mark INTEGER NOT NULL);
        CREATE INDEX change_rev ON change(rev);
        CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL, inverse INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO counter VALUES ('revision', 0, -1), ('compacted', 0, -1), ('fence', 0, -1);",
    migrations: &[],
    tuning: "PRAGMA cache_size=-4096;",
};

/// The ledger in `ledger.db`.
#[derive(Debug)]
pub struct DiskLedger {
    path: PathBuf,
    /// Above the writer, for fields drop in order, and only a writer that closes last writes the log back.
    readers: Readers,
    /// None where it was opened for reading.
    owner: Option<Owner>,
    teller: Teller,
}

#[derive(Debug)]
struct Owner {
    /// None after a commit of unknown outcome: the file is opened again before the next one.
    writer: Mutex<Option<Connection>>,
    fence: u64,
    opened: Wall,
    /// Given back after the writer has closed.
    held: Arc<Held>,
}

impl DiskLedger {
    pub(super) fn open(
        path: &Path,
        held: Arc<Held>,
        opened: Wall,
        teller: Teller,
    ) -> Result<Self, StoreError> {
        let connection = file::open_writer(path, &SCHEMA, opened, &teller)?;
        let mut ledger = Self {
            path: path.to_owned(),
            owner: None,
            readers: Readers::new(path, &SCHEMA),
            teller,
        };
        ledger.check()?;
        let next = || {
            let fence = Revision(counter(&connection, "fence")?.0 + 1);
            set_counter(&connection, "fence", fence).map(|()| fence.0)
        };
        let next = || next().map_err(ledger.sql("open"));
        let fence = match next() {
            Err(e) if held.ballast_helps(&e) => next()?,
            other => other?,
        };
        ledger.owner = Some(Owner {
            held,
            fence,
            opened,
            writer: Mutex::new(Some(connection)),
        });
        Ok(ledger)
    }

    pub(super) fn read(path: &Path, teller: Teller) -> Result<Self, StoreError> {
        let readers = Readers::new(path, &SCHEMA);
        readers.with(|_| Ok(()))?;
        Ok(Self {
            path: path.to_owned(),
            owner: None,
            readers,
            teller,
        })
    }

    /// Reads the whole file and verifies its structure and every entry.
    pub fn check(&self) -> Result<(), StoreError> {
        self.readers.with(|connection| {
            file::quick_check(connection, &self.path, &self.teller)?;
            self.entries(
                connection,
                &Key::new([]),
                &Key::END,
                Order::FirstFirst,
                usize::MAX,
            )?;
            let check = || {
                counter(connection, "fence")?;
                changes(connection, Revision(0))
            };
            check().map(drop).map_err(self.sql("check"))
        })
    }

    fn sql(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |e| StoreError::sql(doing, &path, e)
    }

    fn commit_once(
        &self,
        slot: &mut Option<Connection>,
        opened: Wall,
        guards: &[Guard],
        ops: &[&Op],
    ) -> Result<Revision, LedgerError> {
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => file::open_writer(&self.path, &SCHEMA, opened, &self.teller)?,
        };
        let failed = self.sql("write to");
        let step = (|| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(&failed)?;
            for (index, guard) in guards.iter().enumerate() {
                if !self.holds(&transaction, guard)? {
                    return Err(LedgerError::Guard {
                        index,
                        guard: guard.clone(),
                    });
                }
            }
            let revision = apply(&transaction, ops).map_err(&failed)?;
            match transaction.commit() {
                Ok(()) => Ok(revision),
                Err(e) => Err(match failed(e) {
                    sure @ (StoreError::Full { .. } | StoreError::Locked { .. }) => sure.into(),
                    unsure => LedgerError::Unknown(unsure),
                }),
            }
        })();
        if !matches!(step, Err(LedgerError::Unknown(_))) {
            *slot = Some(connection);
        }
        step
    }

    fn holds(&self, transaction: &Transaction<'_>, guard: &Guard) -> Result<bool, StoreError> {
        let revision_of = |key: &Key| {
            transaction
                .prepare_cached("SELECT mod_rev FROM kv WHERE key = ?")
                .and_then(|mut s| {
                    s.query_row([key.as_bytes()], |row| row.get::<_, i64>(0))
                        .optional()
                })
                .map_err(self.sql("read"))
        };
        Ok(match guard {
            Guard::KeyAbsent(key) => revision_of(key)?.is_none(),
            Guard::ModRevision(key, revision) => revision_of(key)? == Some(revision.0.cast_signed()),
            Guard::Fence(fence) => {
                counter(transaction, "fence").map_err(self.sql("read"))? == Revision(*fence)
            }
        })
    }

    fn entries(
        &self,
        connection: &Connection,
        from: &Key,
        to: &Key,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let failed = self.sql("read");
        let below = if *to == Key::END { "?2 IS NULL" } else { "key < ?2" };
        let order = match order {
            Order::FirstFirst => "ASC",
            Order::LastFirst => "DESC",
        };
        let sql = format!(
            "SELECT key, value, create_rev, mod_rev, mark FROM kv
             WHERE key >= ?1 AND {below} ORDER BY key {order} LIMIT ?3"
        );
        let end = (*to != Key::END).then(|| to.as_bytes());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
        let mut rows = statement
            .query(params![from.as_bytes(), end, limit])
            .map_err(&failed)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            let entry = entry(row).map_err(&failed)?;
            let entry = entry.map_err(|key| {
                StoreError::corrupt(&self.path, format!("the entry {key} is not what was written"))
            })?;
            self.teller
                .row("entries of the ledger read", entries.len() as u64, 0);
            entries.push(entry);
        }
        Ok(entries)
    }

    fn owner(&self) -> Result<(&Owner, MutexGuard<'_, Option<Connection>>), StoreError> {
        let owner = self.owner.as_ref().ok_or_else(|| StoreError::ReadOnly {
            path: self.path.clone(),
        })?;
        Ok((owner, owner.writer.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    #[cfg(test)]
    pub(crate) fn with_writer<T>(&self, f: impl FnOnce(&Connection) -> T) -> T {
        let (_, writer) = self.owner().unwrap();
        f(writer.as_ref().unwrap())
    }
}

impl Held {
    /// True when the disk was full and space has been freed, so that trying once more makes sense.
    pub(super) fn ballast_helps(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Full { .. }) && self.ballast.drop_it()
    }
}

/// Of keys.
#[derive(Clone, Copy)]
enum Order {
    FirstFirst,
    LastFirst,
}

impl Ledger for DiskLedger {
    fn commit(&self, guards: &[Guard], ops: &[Op]) -> Result<Revision, LedgerError> {
        let ops = effective(ops)?;
        let (owner, mut slot) = self.owner()?;
        match self.commit_once(&mut slot, owner.opened, guards, &ops) {
            Err(LedgerError::Store(error)) if owner.held.ballast_helps(&error) => {
                self.commit_once(&mut slot, owner.opened, guards, &ops)
            }
            done => done,
        }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<(Vec<Entry>, Revision), LedgerError> {
        Ok(self.readers.with(|connection| {
            let snapshot = connection.unchecked_transaction().map_err(self.sql("read"))?;
            let revision = counter(&snapshot, "revision").map_err(self.sql("read"))?;
            Ok((
                self.entries(&snapshot, from, to, Order::FirstFirst, limit)?,
                revision,
            ))
        })?)
    }

    fn last(&self, prefix: &Key, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let end = prefix.after_prefix();
        Ok(self
            .readers
            .with(|connection| self.entries(connection, prefix, &end, Order::LastFirst, limit))?)
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        Ok(self
            .readers
            .with(|connection| self.entries(connection, key, &key.next(), Order::FirstFirst, 1))?
            .pop())
    }

    fn changes(&self, since: Revision) -> Result<Vec<Change>, LedgerError> {
        let found = self.readers.with(|connection| {
            let read = || -> rusqlite::Result<_> {
                let snapshot = connection.unchecked_transaction()?;
                if since < counter(&snapshot, "compacted")? || since > counter(&snapshot, "revision")? {
                    return Ok(None);
                }
                changes(&snapshot, since).map(Some)
            };
            read().map_err(self.sql("read"))
        })?;
        found.ok_or(LedgerError::Compacted { since })
    }

    fn session(&self) -> Session {
        match &self.owner {
            Some(owner) => {
                let fresh_for = if owner.held.lock.held() {
                    Duration::MAX
                } else {
                    Duration::ZERO
                };
                Session {
                    fence: owner.fence,
                    fresh_for,
                }
            }
            None => Session {
                fence: 0,
                fresh_for: Duration::ZERO,
            },
        }
    }

    fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        Ok(self
            .readers
            .with(|connection| file::copy(connection, to, &self.teller))?)
    }
}

/// Writes the operations and returns the revision they made, or the present one when nothing changed.
fn apply(transaction: &Transaction<'_>, ops: &[&Op]) -> rusqlite::Result<Revision> {
    let present = counter(transaction, "revision")?;
    let next = Revision(present.0 + 1);
    let mut changed = false;
    for op in ops {
        changed |= apply_one(transaction, op, next)?;
    }
    if !changed {
        return Ok(present);
    }
    set_counter(transaction, "revision", next)?;
    // What falls out of the log of changes takes its whole revision along for those who ask.
    let sql = "DELETE FROM change WHERE id <= (SELECT max(id) FROM change) - ? RETURNING rev";
    let mut statement = transaction.prepare_cached(sql)?;
    let gone = statement.query_map([KEPT_CHANGES.cast_signed()], |row| row.get(0).map(revision))?;
    let gone = gone.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().max();
    gone.map_or(Ok(()), |compacted| {
        set_counter(transaction, "compacted", compacted)
    })?;
    Ok(next)
}

fn apply_one(transaction: &Transaction<'_>, op: &Op, next: Revision) -> rusqlite::Result<bool> {
    let key = op.key().as_bytes();
    let value = match op {
        Op::Put(_, value) => {
            let created: Option<i64> = transaction
                .prepare_cached("SELECT create_rev FROM kv WHERE key = ?")?
                .query_row([key], |row| row.get(0))
                .optional()?;
            let created = created.map_or(next, revision);
            let mark = mark(key, value, created, next);
            transaction
                .prepare_cached("INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?, ?)")?
                .execute(params![
                    key,
                    value,
                    created.0.cast_signed(),
                    next.0.cast_signed(),
                    mark
                ])?;
            Some(value)
        }
        Op::Delete(_) => {
            if transaction
                .prepare_cached("DELETE FROM kv WHERE key = ?")?
                .execute([key])?
                == 0
            {
                return Ok(false);
            }
            None
        }
    };
    transaction
        .prepare_cached("INSERT INTO change(rev, key, value, mark) VALUES (?, ?, ?, ?)")?
        .execute(params![
            next.0.cast_signed(),
            key,
            value,
            change_mark(key, value.map(Vec::as_slice), next)
        ])?;
    Ok(true)
}

fn changes(connection: &Connection, since: Revision) -> rusqlite::Result<Vec<Change>> {
    let mut statement =
        connection.prepare_cached("SELECT rev, key, value, mark FROM change WHERE rev > ? ORDER BY id")?;
    let rows = statement.query_map([since.0.cast_signed()], |row| {
        let (revision, key, value) = (revision(row.get(0)?), row.get::<_, Vec<u8>>(1)?, row.get(2)?);
        if row.get::<_, i64>(3)? != change_mark(&key, Option::as_deref(&value), revision) {
            return Err(rusqlite::Error::IntegralValueOutOfRange(3, 0));
        }
        Ok(Change {
            revision,
            key: Key::new(key),
            value,
        })
    })?;
    rows.collect()
}

fn change_mark(key: &[u8], value: Option<&[u8]>, at: Revision) -> i64 {
    match value {
        Some(value) => mark(key, value, at, at),
        None => -mark(key, &[], at, at),
    }
}

/// The entry of a row, or its key when the checksum says that it is damaged.
fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Result<Entry, Key>> {
    let key: Vec<u8> = row.get(0)?;
    let value: Vec<u8> = row.get(1)?;
    let (created, modified) = (revision(row.get(2)?), revision(row.get(3)?));
    if row.get::<_, i64>(4)? != mark(&key, &value, created, modified) {
        return Ok(Err(Key::new(key)));
    }
    Ok(Ok(Entry {
        key: Key::new(key),
        value,
        created,
        modified,
    }))
}

fn mark(key: &[u8], value: &[u8], created: Revision, modified: Revision) -> i64 {
    let seed = u64::from(checksum(created.0, key)) << 32;
    i64::from(checksum(seed ^ modified.0, value))
}

fn revision(number: i64) -> Revision {
    Revision(number.cast_unsigned())
}

fn counter(connection: &Connection, name: &str) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT value, inverse FROM counter WHERE name = ?")?;
    let (value, inverse): (i64, i64) = statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if value == !inverse {
        Ok(revision(value))
    } else {
        Err(rusqlite::Error::IntegralValueOutOfRange(0, value))
    }
}

fn set_counter(connection: &Connection, name: &str, value: Revision) -> rusqlite::Result<()> {
    let value = value.0.cast_signed();
    let mut statement =
        connection.prepare_cached("UPDATE counter SET value = ?, inverse = ? WHERE name = ?")?;
    statement.execute(params![value, !value, name]).map(drop)
}
