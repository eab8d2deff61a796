//! What was typed, kept from one console to the next.
//!
//! It must never keep a line that holds a secret, let others read the file, nor write what is no file of its own.

use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use lapwing_term::console::paste::holds_secret;
use nix::fcntl::OFlag;
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
    /// In the file of the user; without one, for as long as the console lives, and why.
    pub(super) fn open(environment: &Environment, secrets: Vec<String>) -> (Self, Option<String>) {
        let (kept, why) = match path(environment).as_deref().map(kept) {
            Some(Ok(kept)) => (kept, None),
            Some(Err(why)) => (FileBackedHistory::default(), Some(why)),
            None => (FileBackedHistory::default(), None),
        };
        (Self { kept, secrets }, why)
    }
}

/// XDG Base Directory Specification 0.8: what is kept, but is no setting.
fn path(environment: &Environment) -> Option<PathBuf> {
    let given = environment.get("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(Path::new(environment.get("HOME").filter(|h| !h.is_empty())?).join(".local/state"));
    let state = given.filter(|path| path.is_absolute()).or_else(home)?;
    Some(state.join("lapwing/history"))
}

fn kept(path: &Path) -> std::result::Result<FileBackedHistory, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    private(path).map_err(|error| match error.raw_os_error() {
        // What `O_NOFOLLOW` says of a link (open(2)).
        Some(nix::libc::ELOOP) => failed(&"it is a symbolic link"),
        _ => failed(&error),
    })?;
    FileBackedHistory::with_file(MOST, path.to_owned()).map_err(|error| failed(&error))
}

/// There, a regular file, and nobody else's business.
fn private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // A pipe that nobody reads must not hold us up.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    file.set_permissions(Permissions::from_mode(0o600))
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
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_is_secret_is_not_kept_and_the_file_is_private() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::of("/", [("HOME", home.path().to_str().unwrap())]);
        let file = home.path().join(".local/state/lapwing/history");
        let (mut memory, why) = Memory::open(&environment, vec!["psk".to_owned()]);
        assert_eq!(why, None);
        memory.save(HistoryItem::from_command_line("pause web")).unwrap();
        for secret in ["add h heartbeat:h -o key=abc", "add h x://h -o psk=abc"] {
            memory.save(HistoryItem::from_command_line(secret)).unwrap_err();
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "pause web\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let (memory, _) = Memory::open(&environment, Vec::new());
        assert_eq!((memory.count_all().unwrap(), mode(&file)), (1, 0o600));
        let (nowhere, why) = Memory::open(&Environment::of("/", [("HOME", "/proc")]), Vec::new());
        assert_eq!((nowhere.count_all().unwrap(), why.is_some()), (0, true));
    }

    #[test]
    fn what_is_no_file_of_its_own_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::of("/", [("HOME", home.path().to_str().unwrap())]);
        let file = home.path().join(".local/state/lapwing/history");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let other = home.path().join("other");
        fs::write(&other, "mine\n").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
        let refused = |expected: &str| {
            let (mut memory, why) = Memory::open(&environment, Vec::new());
            let why = why.unwrap();
            assert!(
                why.ends_with(expected) && why.contains("/lapwing/history: "),
                "{why}"
            );
            memory.save(HistoryItem::from_command_line("pause web")).unwrap();
            assert_eq!(memory.count_all().unwrap(), 1);
        };
        symlink(&other, &file).unwrap();
        refused("it is a symbolic link");
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine\n");
        assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o644);
        fs::remove_file(&file).unwrap();
        symlink(home.path().join("nowhere"), &file).unwrap();
        refused("it is a symbolic link");
        assert!(!home.path().join("nowhere").exists());
        fs::remove_file(&file).unwrap();
        // One that somebody reads can be opened.
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&file)
            .unwrap();
        refused("it is no regular file");
    }
}
