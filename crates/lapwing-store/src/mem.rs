//! Both stores in memory: the model that the disk is compared with, and what `watch` uses.

mod history;
mod ledger;

pub use history::MemHistory;
pub use ledger::MemLedger;
