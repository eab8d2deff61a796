//! One daemon a folder: an advisory lock on a file that also says who holds it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::StoreError;

/// The lock's file in the data folder.
pub const LOCK_FILE: &str = "lapwing.lock";

/// Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK_FILE);
        // The file may be removed between our opening and locking it; then we hold nothing, and ask again.
        for _ in 0..16 {
            let lock = Self::take_once(dir, &path)?;
            if lock.held() {
                return Ok(lock);
            }
        }
        Err(StoreError::Locked {
            path: dir.to_owned(),
            pid: None,
        })
    }

    fn take_once(dir: &Path, path: &Path) -> Result<Self, StoreError> {
        let failed = |e| StoreError::io("lock", path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = (&file)
                    .take(32)
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(StoreError::Locked {
                    path: dir.to_owned(),
                    pid,
                });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // The pid is for people; a disk too full to hold it is no reason not to monitor.
        if file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .is_err()
        {
            tracing::warn!(path = %path.display(), "cannot write the process id into the lock file");
        }
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Whether the path still leads to the file that we locked.
    pub(super) fn held(&self) -> bool {
        match (self.file.metadata(), self.path.metadata()) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}
