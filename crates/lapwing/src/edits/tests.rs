//! Edits whose commit is not confirmed: what is stored counts, and the daemon is given it.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use lapwing_store::{Change, Entry, Guard, Key, MemLedger, Op, Session, StoreError};
use serde_json::json;

use super::*;
use crate::config;

/// A ledger on a disk that fails.
#[derive(Default)]
struct Failing {
    ledger: MemLedger,
    /// A commit is written, and yet nobody is told.
    unconfirmed: AtomicBool,
    /// A commit is not written, and nobody is told either.
    lost: AtomicBool,
    unreadable: AtomicBool,
}

fn failed() -> StoreError {
    StoreError::Memory
}

impl Ledger for Failing {
    fn commit(&self, guards: &[Guard], ops: &[Op]) -> Result<Revision, LedgerError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(LedgerError::Unknown(failed()));
        }
        let done = self.ledger.commit(guards, ops)?;
        if self.unconfirmed.load(Ordering::Relaxed) {
            return Err(LedgerError::Unknown(failed()));
        }
        Ok(done)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<(Vec<Entry>, Revision), LedgerError> {
        if self.unreadable.load(Ordering::Relaxed) {
            return Err(failed().into());
        }
        self.ledger.range(from, to, limit)
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.ledger.get(key)
    }

    fn changes(&self, since: Revision) -> Result<Vec<Change>, LedgerError> {
        self.ledger.changes(since)
    }

    fn session(&self) -> Session {
        self.ledger.session()
    }

    fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        self.ledger.backup(to)
    }
}

/// A daemon's view: what it runs, and what it would tell.
struct Desk {
    loaded: Loaded,
    ledger: Failing,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lapwing.toml");
        std::fs::write(&path, "[web]\nlisten = \"off\"\n").unwrap();
        Self {
            loaded: config::load(&path, &Environment::default()).unwrap(),
            ledger: Failing::default(),
            _folder: folder,
        }
    }

    /// Carries it out; the answer as one text, a refusal behind `no: `.
    fn edit(&mut self, wanted: Wanted) -> String {
        let edit = Edit {
            wanted,
            by: "anna".to_owned(),
        };
        let done = carry_out(&self.loaded, &Environment::default(), &self.ledger, edit, Wall(7));
        if let Some(loaded) = done.loaded {
            self.loaded = loaded;
        }
        match done.answer {
            Ok(shape) => shape.text,
            Err(refusal) => format!("no: {}; {}", refusal.text, refusal.hint.unwrap_or_default()),
        }
    }

    fn add(&mut self, name: &str) -> String {
        let keys = json!({ "name": name, "target": "tcp://127.0.0.1:1" });
        self.edit(Wanted::Add(keys.as_object().unwrap().clone()))
    }

    fn change(&mut self, name: &str, interval: &str) -> String {
        let set = json!({ "interval": interval }).as_object().unwrap().clone();
        self.edit(Wanted::Change {
            name: name.to_owned(),
            set,
        })
    }

    fn watched(&self) -> Vec<&str> {
        self.loaded.plan.series.iter().map(|s| s.name.as_str()).collect()
    }
}

#[test]
fn what_came_to_the_disk_unconfirmed_is_done() {
    let mut desk = Desk::new();
    desk.ledger.unconfirmed.store(true, Ordering::Relaxed);
    assert_eq!(
        desk.add("a"),
        "added a: 1 series, checked every 30s, telling nobody"
    );
    assert_eq!(
        desk.change("a", "1m"),
        "changed a: 1 series, checked every 1m, telling nobody"
    );
    assert_eq!(desk.watched(), ["a"]);
    assert_eq!(desk.edit(Wanted::Remove("a".to_owned())), "removed a");
    assert!(desk.watched().is_empty() && added::all(&desk.ledger).unwrap().is_empty());
}

#[test]
fn what_did_not_come_to_the_disk_is_refused() {
    let mut desk = Desk::new();
    desk.add("a");
    desk.ledger.lost.store(true, Ordering::Relaxed);
    for said in [
        desk.add("b"),
        desk.change("a", "1m"),
        desk.edit(Wanted::Remove("a".to_owned())),
    ] {
        assert!(
            said.contains("cannot be stored: the disk fails; nothing was changed"),
            "{said}"
        );
    }
    assert_eq!(desk.watched(), ["a"]);
}

#[test]
fn what_cannot_be_read_again_is_said_not_to_be_known() {
    let mut desk = Desk::new();
    desk.ledger.unconfirmed.store(true, Ordering::Relaxed);
    desk.ledger.unreadable.store(true, Ordering::Relaxed);
    let said = desk.add("a");
    assert!(
        said.starts_with("no: it is not known whether \"a\" was added"),
        "{said}"
    );
    // As soon as the disk is well, the next edit of it finds what is there.
    desk.ledger.unconfirmed.store(false, Ordering::Relaxed);
    desk.ledger.unreadable.store(false, Ordering::Relaxed);
    let said = desk.add("a");
    assert!(
        said.starts_with("no: somebody else has changed \"a\" meanwhile"),
        "{said}"
    );
    assert_eq!(desk.watched(), ["a"]);
    assert!(desk.change("a", "1m").starts_with("changed a"));
}

#[test]
fn a_change_by_somebody_else_is_taken_over() {
    let mut desk = Desk::new();
    desk.add("a");
    let stored = added::all(&desk.ledger).unwrap().remove(0);
    added::change(&desk.ledger, &stored, &stored.text.replace(":1\"", ":2\"")).unwrap();
    let said = desk.change("a", "1m");
    assert!(
        said.starts_with("no: somebody else has changed \"a\" meanwhile"),
        "{said}"
    );
    assert_eq!(desk.loaded.plan.series[0].target, "tcp://127.0.0.1:2");
    assert!(desk.change("a", "1m").starts_with("changed a"));
}
