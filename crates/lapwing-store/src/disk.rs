//! Both stores on the disk: a folder with one lock, `ledger.db` and `history.db`, each an `SQLite` file of its own.

mod ballast;
mod chunk;
mod dir;
mod file;
mod fold;
mod history;
mod ledger;
mod lock;
mod names;
mod open;
mod read;
mod restore;
mod retain;

pub use dir::{DataDir, ReadDir};
pub use file::quarantine;
pub use history::DiskHistory;
pub use ledger::DiskLedger;
pub use lock::LOCK_FILE;
pub use restore::{Restored, restore};

/// The ledger's file in the data folder.
pub const LEDGER_FILE: &str = "ledger.db";
/// The history's file in the data folder.
pub const HISTORY_FILE: &str = "history.db";
