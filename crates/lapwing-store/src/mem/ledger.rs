//! The ledger in memory: the plainest thing that keeps the contract.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Change, Entry, Guard, Key, Ledger, LedgerError, Op, Revision, Session, StoreError,
    ledger::{KEPT_CHANGES, effective},
};

/// A ledger that ends with the process.
#[derive(Debug)]
pub struct MemLedger(Mutex<State>);

#[derive(Debug)]
struct State {
    entries: BTreeMap<Key, Entry>,
    changes: VecDeque<Change>,
    revision: Revision,
    compacted: Revision,
    fence: u64,
}

impl MemLedger {
    pub fn new() -> Self {
        Self(Mutex::new(State {
            entries: BTreeMap::new(),
            changes: VecDeque::new(),
            revision: Revision(0),
            compacted: Revision(0),
            fence: 1,
        }))
    }

    /// Another owner takes the ledger: commits guarded with the old fence fail from here on.
    pub fn take_over(&self) -> Session {
        self.state().fence += 1;
        self.session()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::KeyAbsent(key) => !self.entries.contains_key(key),
            Guard::ModRevision(key, revision) => {
                self.entries.get(key).is_some_and(|e| e.modified == *revision)
            }
            Guard::Fence(fence) => self.fence == *fence,
        }
    }

    /// False when the operation changes nothing.
    fn apply(&mut self, op: &Op, revision: Revision) -> bool {
        let value = match op {
            Op::Put(key, value) => {
                let created = self.entries.get(key).map_or(revision, |e| e.created);
                let entry = Entry {
                    key: key.clone(),
                    value: value.clone(),
                    created,
                    modified: revision,
                };
                self.entries.insert(key.clone(), entry);
                Some(value.clone())
            }
            Op::Delete(key) => {
                if self.entries.remove(key).is_none() {
                    return false;
                }
                None
            }
        };
        self.changes.push_back(Change {
            revision,
            key: op.key().clone(),
            value,
        });
        if self.changes.len() as u64 > KEPT_CHANGES
            && let Some(gone) = self.changes.pop_front()
        {
            self.compacted = gone.revision;
        }
        true
    }
}

impl Ledger for MemLedger {
    fn commit(&self, guards: &[Guard], ops: &[Op]) -> Result<Revision, LedgerError> {
        let ops = effective(ops)?;
        let mut state = self.state();
        if let Some(index) = guards.iter().position(|guard| !state.holds(guard)) {
            return Err(LedgerError::Guard {
                index,
                guard: guards[index].clone(),
            });
        }
        let next = Revision(state.revision.0 + 1);
        let mut changed = false;
        for op in ops {
            changed |= state.apply(op, next);
        }
        if changed {
            state.revision = next;
        }
        Ok(state.revision)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<(Vec<Entry>, Revision), LedgerError> {
        let state = self.state();
        if *to != Key::END && from >= to {
            return Ok((Vec::new(), state.revision));
        }
        let end = if *to == Key::END {
            Bound::Unbounded
        } else {
            Bound::Excluded(to)
        };
        let found = state.entries.range((Bound::Included(from), end)).take(limit);
        Ok((found.map(|(_, entry)| entry.clone()).collect(), state.revision))
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        Ok(self.state().entries.get(key).cloned())
    }

    fn changes(&self, since: Revision) -> Result<Vec<Change>, LedgerError> {
        let state = self.state();
        if since < state.compacted || since > state.revision {
            return Err(LedgerError::Compacted { since });
        }
        Ok(state
            .changes
            .iter()
            .filter(|change| change.revision > since)
            .cloned()
            .collect())
    }

    fn session(&self) -> Session {
        Session {
            fence: self.state().fence,
            fresh_for: Duration::MAX,
        }
    }

    fn backup(&self, _to: &Path) -> Result<(), LedgerError> {
        Err(StoreError::Memory.into())
    }
}
