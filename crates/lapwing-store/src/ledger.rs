//! The ledger: a versioned map of keys to values that changes by guarded, durable, all-or-nothing commits.
//!
//! The trait carries what a cluster needs (guards, fences, revisions); it must never promise more than etcd can keep.

use std::{fmt, path::Path, time::Duration};

use crate::{Key, StoreError};

/// Counts the commits that changed something. Every commit has its own, larger than those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A condition of a commit. All must hold, else nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    KeyAbsent(Key),
    /// The key exists and its last change is of this revision.
    ModRevision(Key, Revision),
    /// The session with this fence still owns the ledger.
    Fence(u64),
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyAbsent(key) => write!(f, "{key} is absent"),
            Self::ModRevision(key, revision) => write!(f, "{key} is of revision {}", revision.0),
            Self::Fence(fence) => write!(f, "session {fence} owns the ledger"),
        }
    }
}

/// A change. Of several on one key in a commit, the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put(Key, Vec<u8>),
    /// Deleting what is absent changes nothing.
    Delete(Key),
}

impl Op {
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub value: Vec<u8>,
    /// When the key came into being, the last time that it did.
    pub created: Revision,
    /// When it was last put.
    pub modified: Revision,
}

/// A change that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    pub key: Key,
    /// None when the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// Whether we own the ledger, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Larger for each owner. A commit guarded with [`Guard::Fence`] fails once somebody else took over.
    pub fence: u64,
    /// How long ownership is still certain; zero when it is not.
    pub fresh_for: Duration,
}

impl Session {
    pub fn fresh(&self) -> bool {
        !self.fresh_for.is_zero()
    }
}

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Nothing was written. `index` counts the guards from zero.
    #[error("nothing was written, for it does not hold that {guard}")]
    Guard { index: usize, guard: Guard },
    /// The commit may or may not have happened: read again before anything else.
    #[error("it is not known whether the last commit reached the disk")]
    Unknown(#[source] StoreError),
    /// Too old, or from another life of the ledger: read the range again.
    #[error("changes since revision {} are not kept any more", .since.0)]
    Compacted { since: Revision },
    #[error(
        "{key} is too long: a key has at most {} bytes and a value {}",
        Key::MAX,
        MAX_VALUE
    )]
    TooLong { key: Key },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Longest value, in bytes.
pub(crate) const MAX_VALUE: usize = 1 << 20;
/// Operations whose changes are kept for [`Ledger::changes`].
pub(crate) const KEPT_CHANGES: u64 = 10_000;

/// The authority about what must be right. Calls block: run them on a thread of their own.
pub trait Ledger: Send + Sync {
    /// Checks the guards, then writes all operations durably or none. Returns the revision of the commit, or the
    /// present one when nothing changed.
    fn commit(&self, guards: &[Guard], ops: &[Op]) -> Result<Revision, LedgerError>;

    /// Entries with `from <= key < to` in the order of their keys, at most `limit`, and the revision they are of.
    /// [`Key::END`] as `to` sets no end. A page that came back full goes on at [`Key::next`] of its last key.
    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<(Vec<Entry>, Revision), LedgerError>;

    /// All entries whose keys start with `prefix`.
    fn prefix(&self, prefix: &Key) -> Result<(Vec<Entry>, Revision), LedgerError> {
        self.range(prefix, &prefix.after_prefix(), usize::MAX)
    }

    /// The last entries whose keys start with `prefix`, last first, at most `limit`.
    fn last(&self, prefix: &Key, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let (entries, _) = self.prefix(prefix)?;
        Ok(entries.into_iter().rev().take(limit).collect())
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError>;

    /// What changed after revision `since`, oldest first; [`LedgerError::Compacted`] when some of it is gone.
    fn changes(&self, since: Revision) -> Result<Vec<Change>, LedgerError>;

    fn session(&self) -> Session;

    /// Writes a consistent copy to the new file `to` while others go on, and verifies it.
    fn backup(&self, to: &Path) -> Result<(), LedgerError>;
}

/// The operations in effect: the last of each key, within the limits.
pub(crate) fn effective(ops: &[Op]) -> Result<Vec<&Op>, LedgerError> {
    for op in ops {
        let value = if let Op::Put(_, value) = op {
            value.len()
        } else {
            0
        };
        if op.key().as_bytes().len() > Key::MAX || value > MAX_VALUE {
            return Err(LedgerError::TooLong {
                key: op.key().clone(),
            });
        }
    }
    let mut seen = std::collections::HashSet::with_capacity(ops.len());
    let mut last: Vec<&Op> = ops.iter().rev().filter(|op| seen.insert(op.key())).collect();
    last.reverse();
    Ok(last)
}
