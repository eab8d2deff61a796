//! Remembers: the ledger and the history
