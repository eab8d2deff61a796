//! What can go wrong with a file of ours, in the words that a person needs to mend it.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;
use rusqlite::ErrorCode;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a ledger, a history or the folder that holds them could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing of the call was kept; what was stored before is whole.
    #[error("the disk that holds {} is full: nothing was lost, free some space", .path.display())]
    Full { path: PathBuf },
    #[error("{} is in use by {}", .path.display(), Holder(*.pid))]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error("{} is damaged ({what}): keep a copy of the file, and bring back a backup with `lapwing restore`", .path.display())]
    Corrupt { path: PathBuf, what: String },
    #[error("{} has format {found}, this version of lapwing knows formats up to {known}: use a newer lapwing", .path.display())]
    NewerVersion { path: PathBuf, found: u32, known: u32 },
    /// Only a reader says this: the daemon migrates when it starts.
    #[error("{} has the older format {found}, this version of lapwing reads {known}: start the daemon once to convert it", .path.display())]
    OlderVersion { path: PathBuf, found: u32, known: u32 },
    #[error("{} does not exist: has the daemon run with this data folder?", .path.display())]
    Missing { path: PathBuf },
    #[error("{} is open for reading only", .path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} already exists", .path.display())]
    Exists { path: PathBuf },
    #[error("SQLite {found} has a known defect that damages files: {needed} or newer is needed")]
    OldSqlite {
        found: &'static str,
        needed: &'static str,
    },
    #[error("a memory store has no file to back up")]
    Memory,
    #[error("cannot {doing} {}", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: Cause,
    },
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}: a data folder serves one daemon at a time"),
            None => f.write_str("another process"),
        }
    }
}

impl StoreError {
    /// True when the file itself is bad, so that [`crate::quarantine`] makes sense for a history.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                path: path.to_owned(),
            },
            io::ErrorKind::NotFound => Self::Missing {
                path: path.to_owned(),
            },
            _ => Self::Io {
                doing,
                path: path.to_owned(),
                source: source.into(),
            },
        }
    }

    pub(crate) fn sql(doing: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let owned = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path: owned },
            Some(ErrorCode::SystemIoFailure) if disk_is_full(path) => Self::Full { path: owned },
            Some(ErrorCode::DatabaseCorrupt) => Self::corrupt(path, "the database structure is broken"),
            Some(ErrorCode::NotADatabase) => Self::corrupt(path, "it is not a database"),
            Some(
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Locked {
                path: owned,
                pid: None,
            },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path: owned },
            Some(_) => Self::Io {
                doing,
                path: owned,
                source: source.into(),
            },
            None => match source {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::QueryReturnedNoRows => {
                    Self::corrupt(path, format!("a value is not what was written: {source}"))
                }
                other => Self::Io {
                    doing,
                    path: owned,
                    source: other.into(),
                },
            },
        }
    }
}

/// `SQLite` reports a full disk as a plain I/O error where it grows its shared memory file.
fn disk_is_full(path: &Path) -> bool {
    path.parent()
        .is_some_and(|dir| free_bytes(dir).is_some_and(|free| free < 1 << 16))
}

/// Bytes that this process may still write to the file system of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = statvfs(dir).ok()?;
    #[expect(
        clippy::useless_conversion,
        reason = "the field is 32 bits wide on some targets"
    )]
    Some(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_sentence_that_names_the_file() {
        let path = PathBuf::from("data/ledger.db");
        let locked = StoreError::Locked {
            path: path.clone(),
            pid: Some(17),
        };
        assert_eq!(
            locked.to_string(),
            "data/ledger.db is in use by process 17: a data folder serves one daemon at a time"
        );
        let full = StoreError::io("write", &path, io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, StoreError::Full { .. }) && full.to_string().contains("data/ledger.db"));
        assert!(
            StoreError::corrupt(&path, "x")
                .to_string()
                .contains("lapwing restore")
        );
    }
}
