//! Space kept in reserve, so that a disk filled by anybody still takes the next outage and its notices.
//!
//! Only the ledger may drop the ballast; while it is gone the history takes nothing.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::fcntl::posix_fallocate;

use crate::error::free_bytes;

const SIZE: u64 = 16 << 20;
/// It is taken up again only with this much to spare, else ledger and history would fight over the last bytes.
const ROOM: u64 = 4 * SIZE;

#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    dropped: AtomicBool,
}

impl Ballast {
    /// Takes up the ballast where there is room; a small disk goes without.
    pub(super) fn new(dir: &Path) -> Self {
        let ballast = Self {
            path: dir.join("ballast"),
            dropped: AtomicBool::new(false),
        };
        ballast.take_up();
        ballast
    }

    /// Frees the space. False when there was none to free.
    pub(super) fn drop_it(&self) -> bool {
        if fs::remove_file(&self.path).is_err() {
            return false;
        }
        self.dropped.store(true, Ordering::Relaxed);
        tracing::warn!(path = %self.path.display(), "the disk is full: freed the reserve for outages and notices");
        true
    }

    /// Whether others than the ledger may write: the ballast is not in use, or there is room for it again.
    pub(super) fn spare(&self) -> bool {
        if self.dropped.load(Ordering::Relaxed) && self.take_up() {
            self.dropped.store(false, Ordering::Relaxed);
        }
        !self.dropped.load(Ordering::Relaxed)
    }

    fn take_up(&self) -> bool {
        if fs::metadata(&self.path).is_ok_and(|m| m.len() >= SIZE) {
            return true;
        }
        if self
            .path
            .parent()
            .and_then(free_bytes)
            .is_none_or(|free| free < ROOM)
        {
            return false;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path);
        let taken = file.is_ok_and(|file| posix_fallocate(&file, 0, SIZE as i64).is_ok());
        if !taken {
            drop(fs::remove_file(&self.path));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_dropped_once_and_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path());
        assert_eq!(fs::metadata(&ballast.path).unwrap().len(), SIZE);
        assert!(ballast.spare() && ballast.drop_it() && !ballast.path.exists());
        assert!(!ballast.drop_it());
        assert!(ballast.spare() && ballast.path.exists(), "this disk has room");
    }
}
