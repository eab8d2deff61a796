//! Texts that rows hold as numbers: series keys, reasons, names of facts. A number is never used again.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use lapwing_core::observation::Reason;
use rusqlite::{Connection, params};

use super::chunk::Raw;
use crate::{Point, StoreError, history::limits, pack::checksum};

/// What the writer knows by heart. Names given out in a transaction are forgotten again when it fails.
#[derive(Debug, Default)]
pub(super) struct Names {
    series: Table,
    facts: Table,
    /// By code, then by detail.
    reasons: HashMap<String, HashMap<String, u32>>,
    last_reason: u32,
    new_reasons: Vec<(u32, String, String)>,
}

#[derive(Debug, Default)]
struct Table {
    ids: HashMap<String, u32>,
    last: u32,
    new: Vec<(u32, String)>,
}

impl Table {
    fn load(connection: &Connection, path: &Path, sql: &str) -> Result<Self, StoreError> {
        let mut table = Self::default();
        read_all(connection, path, sql, |id, mut texts| {
            table.ids.insert(std::mem::take(&mut texts[0]), id);
            table.last = table.last.max(id);
        })?;
        Ok(table)
    }

    fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        self.last += 1;
        self.ids.insert(name.to_owned(), self.last);
        self.new.push((self.last, name.to_owned()));
        self.last
    }

    fn write(&self, connection: &Connection, sql: &str) -> rusqlite::Result<()> {
        for (id, name) in &self.new {
            connection
                .prepare_cached(sql)?
                .execute(params![id, name, text_mark(*id, &[name])])?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        for (_, name) in self.new.drain(..) {
            self.ids.remove(&name);
        }
    }
}

impl Names {
    pub(super) fn load(connection: &Connection, path: &Path) -> Result<Self, StoreError> {
        let mut names = Self {
            series: Table::load(connection, path, "SELECT id, mark, key FROM series")?,
            facts: Table::load(connection, path, "SELECT id, mark, name FROM fact")?,
            ..Self::default()
        };
        read_all(
            connection,
            path,
            "SELECT id, mark, code, detail FROM reason",
            |id, texts| {
                let [code, detail] = [0, 1].map(|i| texts[i].clone());
                names.reasons.entry(code).or_default().insert(detail, id);
                names.last_reason = names.last_reason.max(id);
            },
        )?;
        Ok(names)
    }

    pub(super) fn series(&mut self, key: &str) -> u32 {
        self.series.id(key)
    }

    pub(super) fn fact(&mut self, name: &str) -> u32 {
        self.facts.id(name)
    }

    /// The number of a reason; that of its code alone when the code has too many details already.
    pub(super) fn reason(&mut self, reason: &Reason) -> u32 {
        let code = reason.code.as_str();
        if let Some(id) = self
            .reasons
            .get(code)
            .and_then(|details| details.get(&reason.detail))
        {
            return *id;
        }
        let details = self.reasons.entry(code.to_owned()).or_default();
        let full = details.len() - usize::from(details.contains_key("")) >= limits::DETAILS_PER_CODE;
        let detail = if full { "" } else { &reason.detail };
        if let Some(id) = details.get(detail) {
            return *id;
        }
        self.last_reason += 1;
        details.insert(detail.to_owned(), self.last_reason);
        self.new_reasons
            .push((self.last_reason, code.to_owned(), detail.to_owned()));
        self.last_reason
    }

    /// Writes the new names inside the transaction that uses them.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.series
            .write(connection, "INSERT INTO series(id, key, mark) VALUES (?, ?, ?)")?;
        self.facts
            .write(connection, "INSERT INTO fact(id, name, mark) VALUES (?, ?, ?)")?;
        for (id, code, detail) in &self.new_reasons {
            let sql = "INSERT INTO reason(id, code, detail, mark) VALUES (?, ?, ?, ?)";
            let mark = text_mark(*id, &[code, detail]);
            connection
                .prepare_cached(sql)?
                .execute(params![id, code, detail, mark])?;
        }
        Ok(())
    }

    /// The transaction is durable.
    pub(super) fn settle(&mut self) {
        self.series.new.clear();
        self.facts.new.clear();
        self.new_reasons.clear();
    }

    /// The transaction failed. Its numbers stay unused.
    pub(super) fn forget(&mut self) {
        self.series.forget();
        self.facts.forget();
        for (_, code, detail) in self.new_reasons.drain(..) {
            if let Some(details) = self.reasons.get_mut(&code) {
                details.remove(&detail);
            }
        }
    }

    pub(super) fn drop_series(&mut self, ids: &[u32]) {
        self.series.ids.retain(|_, id| !ids.contains(id));
    }
}

/// Texts that readers have met.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    reasons: HashMap<u32, Arc<Reason>>,
    facts: HashMap<u32, Arc<str>>,
}

impl Texts {
    /// The observation that a reader is given.
    pub(super) fn point(&self, connection: &Connection, path: &Path, raw: &Raw) -> Result<Point, StoreError> {
        let mut reason = None;
        let mut facts = Vec::new();
        if raw.reason != 0 || !raw.facts.is_empty() {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if raw.reason != 0 {
                reason = Some(known.reason(connection, path, raw.reason)?);
            }
            for (id, value) in &raw.facts {
                facts.push((known.fact(connection, path, *id)?, *value));
            }
        }
        Ok(Point {
            at: lapwing_core::time::Wall(raw.at),
            took: std::time::Duration::from_micros(raw.took.cast_unsigned()),
            class: raw.class,
            reason,
            requests: lapwing_core::observation::Requests {
                sent: raw.sent,
                lost: raw.lost,
            },
            facts,
        })
    }
}

impl Known {
    fn reason(&mut self, connection: &Connection, path: &Path, id: u32) -> Result<Arc<Reason>, StoreError> {
        if let Some(reason) = self.reasons.get(&id) {
            return Ok(Arc::clone(reason));
        }
        let texts = read_one(
            connection,
            path,
            "SELECT id, mark, code, detail FROM reason WHERE id = ?",
            id,
        )?;
        let [code, detail] = [0, 1].map(|i| texts[i].clone());
        Ok(Arc::clone(
            self.reasons
                .entry(id)
                .or_insert(Arc::new(Reason::stored(code, detail))),
        ))
    }

    fn fact(&mut self, connection: &Connection, path: &Path, id: u32) -> Result<Arc<str>, StoreError> {
        if let Some(name) = self.facts.get(&id) {
            return Ok(Arc::clone(name));
        }
        let texts = read_one(
            connection,
            path,
            "SELECT id, mark, name FROM fact WHERE id = ?",
            id,
        )?;
        Ok(Arc::clone(
            self.facts.entry(id).or_insert(texts[0].as_str().into()),
        ))
    }
}

/// Gives the number and texts of each row, whose columns are number, checksum, texts.
fn read_all(
    connection: &Connection,
    path: &Path,
    sql: &str,
    mut each: impl FnMut(u32, Vec<String>),
) -> Result<(), StoreError> {
    let failed = |e| StoreError::sql("read", path, e);
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (id, texts) = texts(row, path)?;
        each(id, texts);
    }
    Ok(())
}

fn read_one(connection: &Connection, path: &Path, sql: &str, id: u32) -> Result<Vec<String>, StoreError> {
    let failed = |e| StoreError::sql("read", path, e);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([id]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        Some(row) => Ok(texts(row, path)?.1),
        None => Err(StoreError::corrupt(
            path,
            format!("text {id} of a row is missing"),
        )),
    }
}

fn texts(row: &rusqlite::Row<'_>, path: &Path) -> Result<(u32, Vec<String>), StoreError> {
    let read = || {
        let texts = (2..row.as_ref().column_count())
            .map(|at| row.get(at))
            .collect::<rusqlite::Result<Vec<String>>>()?;
        Ok((row.get(0)?, row.get::<_, u32>(1)?, texts))
    };
    let (id, mark, texts) = read().map_err(|e| StoreError::sql("read", path, e))?;
    let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
    if mark != text_mark(id, &parts) {
        return Err(StoreError::corrupt(
            path,
            format!("text {id} is not what was written"),
        ));
    }
    Ok((id, texts))
}

/// The checksum of texts and their number.
pub(super) fn text_mark(id: u32, texts: &[&str]) -> u32 {
    texts
        .iter()
        .fold(id, |mark, text| checksum(u64::from(mark), text.as_bytes()))
}
