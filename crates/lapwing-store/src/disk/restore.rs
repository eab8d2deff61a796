//! Bringing back a backup: verified before anything is replaced, and what was there is kept aside.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lapwing_core::time::Wall;

use super::{
    HISTORY_FILE, LEDGER_FILE,
    file::{self, Schema},
    history, ledger,
    lock::Lock,
};
use crate::{StoreError, Teller};

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files that now hold the backup.
    pub files: Vec<PathBuf>,
    /// Where the files lie that were there before.
    pub kept: Vec<PathBuf>,
}

/// Restores a backup into a data folder that no daemon uses. `from` is one file made by a `backup`, or a folder that
/// holds `ledger.db`, `history.db` or both.
///
/// Everything is copied and verified before the first file is replaced. `now` names the files that are kept aside.
pub fn restore(from: &Path, to_dir: &Path, now: Wall, teller: &Teller) -> Result<Restored, StoreError> {
    let parts = parts(from)?;
    let lock = {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(to_dir);
        made.map_err(|e| StoreError::io("create the data folder", to_dir, e))?;
        Lock::take(to_dir)?
    };
    let mut ready: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (source, schema, name) in &parts {
        let target = to_dir.join(name);
        let copy = file::beside(&target, ".restore");
        file::remove_all(&copy);
        let copied = file::open_source(source, schema)
            .and_then(|(connection, _)| file::copy(&connection, &copy, teller));
        if let Err(e) = copied {
            for (copy, _) in &ready {
                file::remove_all(copy);
            }
            return Err(e);
        }
        ready.push((copy, target));
    }
    let mut restored = Restored::default();
    for (copy, target) in ready {
        restored.kept.extend(replace(&copy, &target, now)?);
        restored.files.push(target);
    }
    drop(lock);
    Ok(restored)
}

type Part = (PathBuf, &'static Schema, &'static str);

const KINDS: [(&Schema, &str); 2] = [(&ledger::SCHEMA, LEDGER_FILE), (&history::SCHEMA, HISTORY_FILE)];

fn parts(from: &Path) -> Result<Vec<Part>, StoreError> {
    if from.is_dir() {
        let mut found = Vec::new();
        for (schema, name) in KINDS {
            let path = from.join(name);
            if file::exists(&path)? {
                found.push((path, schema, name));
            }
        }
        if found.is_empty() {
            return Err(StoreError::Missing {
                path: from.join(LEDGER_FILE),
            });
        }
        return Ok(found);
    }
    // A file says itself what it holds: the first kind that opens it, or what the last one said against it.
    let mut refused = None;
    for (schema, name) in KINDS {
        match file::open_source(from, schema) {
            Ok(_) => return Ok(vec![(from.to_owned(), schema, name)]),
            Err(e @ StoreError::NewerVersion { .. }) => return Err(e),
            Err(e) => refused = Some(e),
        }
    }
    Err(refused.unwrap_or_else(|| StoreError::Missing {
        path: from.to_owned(),
    }))
}

/// Puts `copy` in the place of `target`. At every moment a whole file stands there, the old one or the new.
fn replace(copy: &Path, target: &Path, now: Wall) -> Result<Option<PathBuf>, StoreError> {
    let mut kept = None;
    if file::exists(target)? {
        file::write_log_back(target);
        let aside = file::free_name(target, &format!(".before-restore-{}", file::stamp(now)))?;
        fs::hard_link(target, &aside).map_err(|e| StoreError::io("keep", target, e))?;
        kept = Some(aside);
    }
    // A log that is still there belongs to a damaged file. Beside the new one it would be played into that.
    for suffix in ["-wal", "-shm"] {
        let log = file::beside(target, suffix);
        if file::exists(&log)? {
            let to = kept.as_ref().map_or_else(
                || file::beside(target, &format!(".lost{suffix}")),
                |k| file::beside(k, suffix),
            );
            fs::rename(&log, &to).map_err(|e| StoreError::io("keep", &log, e))?;
        }
    }
    fs::rename(copy, target).map_err(|e| StoreError::io("put in place", copy, e))?;
    file::sync_folder_of(target)?;
    Ok(kept)
}
