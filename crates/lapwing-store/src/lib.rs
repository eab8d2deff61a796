//! Remembers: the ledger (small, must be right) and the history (large, may be late by a second).
//!
//! Invariant: a call that returned `Ok` is on the disk, and nothing here reads a clock or decides anything.

pub mod added;
mod beats;
pub mod book;
#[cfg(test)]
mod contract;
mod disk;
mod error;
mod history;
mod keys;
#[cfg(test)]
mod kill;
mod ledger;
mod mem;
mod mutes;
mod pack;
mod record;
mod rollup;
mod standing;
pub mod story;
mod tell;

pub use disk::{
    DataDir, DiskHistory, DiskLedger, HISTORY_FILE, LEDGER_FILE, LOCK_FILE, ReadDir, Restored, quarantine,
    restore,
};
pub use error::StoreError;
pub use history::{Class, Folded, History, Point, Retained, Row, Wanted, limits};
pub use keys::{Key, space};
pub use ledger::{Change, Entry, Guard, Ledger, LedgerError, Op, Revision, Session};
pub use mem::{MemHistory, MemLedger};
pub use record::{Record, RecordError, Run, StoredReason, StoredWall, UnknownSpan, put, read};
pub use rollup::{Histogram, Rollup, Took};
pub use tell::{Step, Teller};
