//! The data folder: who may open it, and what to say when somebody else has.

use std::{
    fs::DirBuilder,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use lapwing_core::time::Wall;
use nix::sys::statfs;

use super::{
    HISTORY_FILE, LEDGER_FILE, ballast::Ballast, file, history::DiskHistory, ledger::DiskLedger, lock::Lock,
};
use crate::{StoreError, Teller};

/// A data folder that is ours alone. The stores it opens keep the lock for as long as any of them lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    held: Arc<Held>,
    warnings: Vec<String>,
    opened: Wall,
    teller: Teller,
}

/// What the stores of a folder share.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) lock: Lock,
    pub(super) ballast: Ballast,
}

impl DataDir {
    /// Takes the folder, making it (mode 0700) when it does not exist. `now` names the copies that conversions keep.
    pub fn open(path: &Path, now: Wall) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| StoreError::io("create the data folder", path, e))?;
        let lock = Lock::take(path)?;
        let held = Arc::new(Held {
            lock,
            ballast: Ballast::new(path),
        });
        Ok(Self {
            path: path.to_owned(),
            held,
            warnings: warnings(path),
            opened: now,
            teller: Teller::default(),
        })
    }

    /// The stores that it opens from now on tell how far their long work is.
    #[must_use]
    pub fn telling(self, teller: Teller) -> Self {
        Self { teller, ..self }
    }

    /// Looks into a folder beside the daemon, or without one. Nothing is locked and nothing is written.
    pub fn read(path: &Path) -> Result<ReadDir, StoreError> {
        if !file::exists(path)? {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        Ok(ReadDir {
            path: path.to_owned(),
            teller: Teller::default(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the operator should know about the folder, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The ledger, checked through. A damaged one is an error, for what it knew cannot be guessed.
    pub fn ledger(&self) -> Result<DiskLedger, StoreError> {
        let (path, held) = (self.path.join(LEDGER_FILE), Arc::clone(&self.held));
        DiskLedger::open(&path, held, self.opened, self.teller.clone())
    }

    /// The history; an error when it is damaged.
    pub fn history(&self) -> Result<DiskHistory, StoreError> {
        let (path, held) = (self.path.join(HISTORY_FILE), Arc::clone(&self.held));
        DiskHistory::open(&path, held, self.opened, self.teller.clone())
    }

    /// The history; a damaged one is set aside and a new one begun, so that monitoring goes on. The second value is
    /// where the damaged one lies and what was wrong with it.
    pub fn history_or_quarantine(
        &self,
        now: Wall,
    ) -> Result<(DiskHistory, Option<(PathBuf, StoreError)>), StoreError> {
        match self.history() {
            Err(error) if error.is_corrupt() => {
                let aside = file::quarantine(&self.path.join(HISTORY_FILE), now)?;
                Ok((self.history()?, Some((aside, error))))
            }
            opened => Ok((opened?, None)),
        }
    }
}

/// A data folder to read from.
#[derive(Debug)]
pub struct ReadDir {
    path: PathBuf,
    teller: Teller,
}

impl ReadDir {
    /// As [`DataDir::telling`].
    #[must_use]
    pub fn telling(self, teller: Teller) -> Self {
        Self { teller, ..self }
    }

    /// The ledger as it is; it refuses commits.
    pub fn ledger(&self) -> Result<DiskLedger, StoreError> {
        DiskLedger::read(&self.path.join(LEDGER_FILE), self.teller.clone())
    }

    /// The history as it is; it refuses to append, fold and retain.
    pub fn history(&self) -> Result<DiskHistory, StoreError> {
        DiskHistory::read(&self.path.join(HISTORY_FILE), self.teller.clone())
    }
}

fn warnings(path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(meta) = path.metadata()
        && meta.permissions().mode() & 0o077 != 0
    {
        warnings.push(format!(
            "{} may be read by other users: chmod 700 it",
            path.display()
        ));
    }
    if let Ok(stat) = statfs::statfs(path)
        && is_network(stat.filesystem_type())
    {
        warnings.push(format!(
            "{} lies on a network file system, where locks and crash safety cannot be relied on: use a local disk",
            path.display()
        ));
    }
    warnings
}

fn is_network(kind: statfs::FsType) -> bool {
    let mut network = vec![
        statfs::NFS_SUPER_MAGIC,
        statfs::SMB_SUPER_MAGIC,
        statfs::AFS_SUPER_MAGIC,
        statfs::CODA_SUPER_MAGIC,
        statfs::NCP_SUPER_MAGIC,
    ];
    // CIFS, SMB2, 9p and Ceph have no name in nix; two of the numbers do not fit 32 bits with a sign.
    #[cfg(all(target_pointer_width = "64", target_env = "gnu"))]
    network.extend([0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x00C3_6400].map(statfs::FsType));
    network.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known() {
        assert!(is_network(statfs::NFS_SUPER_MAGIC) && is_network(statfs::SMB_SUPER_MAGIC));
        assert!(!is_network(statfs::EXT4_SUPER_MAGIC) && !is_network(statfs::TMPFS_MAGIC));
    }
}
