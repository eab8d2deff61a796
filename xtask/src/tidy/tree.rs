//! The tracked files as values, so that a rule can be tested on a tree that is written down in the test.
//!
//! Never reads what git ignores.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::run::output;

/// A file of the repository.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: usize,
    /// None when it is not text.
    pub(crate) text: Option<String>,
}

impl File {
    fn new(path: &str, content: Vec<u8>) -> Self {
        Self {
            path: path.to_owned(),
            bytes: content.len(),
            text: String::from_utf8(content).ok(),
        }
    }

    /// The text, or nothing.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    /// Whether the file holds the tests of the module above it: `tests.rs`, `email_tests.rs`.
    pub(crate) fn is_test_half(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs")
    }

    /// Whether nothing of the file is in the product: a test, a testkit, a bench, an example.
    pub(crate) fn is_test(&self) -> bool {
        let Some((folders, name)) = self.path.rsplit_once('/') else {
            return false;
        };
        let in_folder = folders
            .split('/')
            .any(|folder| matches!(folder, "tests" | "benches" | "examples" | "testkit"));
        in_folder || self.is_test_half() || name == "testkit.rs"
    }
}

/// All files, by path.
pub(crate) struct Tree(Vec<File>);

impl Tree {
    /// The files that are tracked, or would be with `git add .`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let list = output(Command::new("git").current_dir(root).args(args))?;
        let mut files = Vec::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            let place = root.join(path);
            // Deleted but not yet committed, or a link to elsewhere.
            if !place.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                continue;
            }
            let content = fs::read(&place).with_context(|| format!("{path} could not be read"))?;
            files.push(File::new(path, content));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Self(files))
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(path, text)| File::new(path, text.as_bytes().to_vec()))
                .collect(),
        )
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.0.iter()
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.has_extension("rs"))
    }

    /// The text of one file, if it is there.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files().find(|file| file.path == path).map(File::text)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_tracked_or_new_and_not_what_is_ignored_or_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let git = |args: &[&str]| output(Command::new("git").current_dir(root).args(args)).unwrap();
        git(&["init", "--quiet"]);
        for (name, text) in [
            (".gitignore", "/target\n"),
            ("tracked.rs", "a"),
            ("new.rs", "b"),
            ("gone.rs", "c"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        fs::create_dir(root.join("target")).unwrap();
        fs::write(root.join("target/ignored.rs"), "d").unwrap();
        fs::write(root.join("blob"), [0xFF, 0xFE]).unwrap();
        git(&["add", "tracked.rs", "gone.rs"]);
        fs::remove_file(root.join("gone.rs")).unwrap();

        let tree = Tree::read(root).unwrap();
        let paths: Vec<_> = tree.files().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", "blob", "new.rs", "tracked.rs"]);
        assert_eq!(tree.text("tracked.rs"), Some("a"));
        assert_eq!(tree.text("blob"), Some(""));
        assert_eq!(tree.rust().count(), 2);
    }

    #[test]
    fn knows_test_files() {
        let tree = Tree::of(&[
            ("crates/a/tests/x.rs", ""),
            ("crates/a/examples/x.rs", ""),
            ("crates/a/src/judge/tests.rs", ""),
            ("crates/a/src/testkit.rs", ""),
            ("crates/a/src/email_tests.rs", ""),
            ("crates/a/src/testing.rs", ""),
            ("build.rs", ""),
        ]);
        let found: Vec<_> = tree.files().map(File::is_test).collect();
        assert_eq!(found, [true, true, true, true, true, false, false]);
    }
}
