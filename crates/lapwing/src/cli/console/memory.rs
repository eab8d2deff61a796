//! What was typed, kept from one console to the next.
//!
//! It must never keep a line that holds a secret, nor let others read the file.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use lapwing_term::console::paste::holds_secret;
use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, ReedlineError,
    ReedlineErrorVariants, Result, SearchQuery,
};

use crate::config::Environment;

/// Lines that are kept.
const MOST: usize = 5_000;

pub(super) struct Memory {
    kept: FileBackedHistory,
    /// Names of options whose values are secret.
    secrets: Vec<String>,
}

impl Memory {
    /// In the file of the user; without one, for as long as the console lives.
    pub(super) fn open(environment: &Environment, secrets: Vec<String>) -> Self {
        let file = path(environment).filter(|path| private(path).is_ok());
        let kept = file.and_then(|path| FileBackedHistory::with_file(MOST, path).ok());
        Self {
            kept: kept.unwrap_or_default(),
            secrets,
        }
    }
}

/// XDG Base Directory Specification 0.8: what is kept, but is no setting.
fn path(environment: &Environment) -> Option<PathBuf> {
    let given = environment.get("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(Path::new(environment.get("HOME").filter(|h| !h.is_empty())?).join(".local/state"));
    let state = given.filter(|path| path.is_absolute()).or_else(home)?;
    Some(state.join("lapwing/history"))
}

/// There, and nobody else's business.
fn private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

impl History for Memory {
    fn save(&mut self, line: HistoryItem) -> Result<HistoryItem> {
        if holds_secret(&line.command_line, &self.secrets) {
            // A line that could not be saved can be brought back once, and is gone with the console.
            return Err(ReedlineError(ReedlineErrorVariants::OtherHistoryError(
                "it holds a secret",
            )));
        }
        let saved = self.kept.save(line)?;
        // A disk that is full is no reason to stop typing.
        drop(self.kept.sync());
        Ok(saved)
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.kept.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.kept.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.kept.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.kept.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.kept.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.kept.delete(id)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.kept.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.kept.session()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_kept_and_the_file_is_private() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::of("/", [("HOME", home.path().to_str().unwrap())]);
        let file = home.path().join(".local/state/lapwing/history");
        let mut memory = Memory::open(&environment, vec!["psk".to_owned()]);
        memory.save(HistoryItem::from_command_line("pause web")).unwrap();
        for secret in ["add h heartbeat:h -o key=abc", "add h x://h -o psk=abc"] {
            memory.save(HistoryItem::from_command_line(secret)).unwrap_err();
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "pause web\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let memory = Memory::open(&environment, Vec::new());
        assert_eq!((memory.count_all().unwrap(), mode(&file)), (1, 0o600));
        let nowhere = Memory::open(&Environment::of("/", [("HOME", "/proc")]), Vec::new());
        assert_eq!(nowhere.count_all().unwrap(), 0);
    }
}
