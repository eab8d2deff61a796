//! Monitors that were added while the daemon ran: their text, who added them and when. Every change is one guarded
//! commit, so that none is lost to another.

use std::collections::BTreeMap;

use lapwing_core::time::Wall;
use serde::{Deserialize, Serialize};

use crate::{
    Guard, Ledger, LedgerError, Op, Revision,
    book::BookError,
    record::{self, Record, StoredWall},
    space,
};

/// Most monitors that may be added.
pub const MOST: usize = 10_000;
/// Longest text of one, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// A monitor that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    pub name: String,
    /// Its keys: the TOML of one `[[monitor]]`, with secrets as `${NAME}`.
    pub text: String,
    /// Who added it, and when.
    pub by: String,
    pub at: Wall,
    pub created: Revision,
    /// Of the text that there is.
    pub modified: Revision,
}

/// Under [`space::added`].
#[derive(Serialize, Deserialize)]
struct AddedRecord {
    text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    by: String,
    at: StoredWall,
}

impl Record for AddedRecord {
    const VERSION: u32 = 1;
}

/// All that were added, in the order in which they were.
pub fn all(ledger: &dyn Ledger) -> Result<Vec<Added>, BookError> {
    let mut found = BTreeMap::new();
    for entry in ledger.prefix(&space::all_added())?.0 {
        let Some(name) = space::name_in(&entry.key, &space::all_added()) else {
            continue;
        };
        let AddedRecord { text, by, at } = record::read(&entry)?;
        let (created, modified) = (entry.created, entry.modified);
        let added = Added {
            text,
            by,
            at: at.into(),
            created,
            modified,
            name: name.clone(),
        };
        found.insert((created, name), added);
    }
    Ok(found.into_values().collect())
}

/// Adds one. Its name must be free, else [`LedgerError::Guard`].
pub fn add(ledger: &dyn Ledger, name: &str, text: &str, by: &str, at: Wall) -> Result<Added, LedgerError> {
    let guard = Guard::KeyAbsent(space::added(name));
    let revision = ledger.commit(&[guard], &[put(name, text, by, at)])?;
    Ok(Added {
        name: name.to_owned(),
        text: text.to_owned(),
        by: by.to_owned(),
        at,
        created: revision,
        modified: revision,
    })
}

/// Changes the text of one. It must be as it was read, else [`LedgerError::Guard`].
pub fn change(ledger: &dyn Ledger, added: &Added, text: &str) -> Result<Added, LedgerError> {
    let op = put(&added.name, text, &added.by, added.at);
    let modified = ledger.commit(&[unchanged(added)], &[op])?;
    Ok(Added {
        text: text.to_owned(),
        modified,
        ..added.clone()
    })
}

/// Removes one. It must be as it was read, else [`LedgerError::Guard`].
pub fn remove(ledger: &dyn Ledger, added: &Added) -> Result<(), LedgerError> {
    ledger.commit(&[unchanged(added)], &[Op::Delete(space::added(&added.name))])?;
    Ok(())
}

fn unchanged(added: &Added) -> Guard {
    Guard::ModRevision(space::added(&added.name), added.modified)
}

fn put(name: &str, text: &str, by: &str, at: Wall) -> Op {
    let record = AddedRecord {
        text: text.to_owned(),
        by: by.to_owned(),
        at: at.into(),
    };
    record::put(&space::added(name), &record)
}
