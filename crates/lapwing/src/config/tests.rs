//! Whole configurations, good and bad, through [`load`].

mod added;
mod bad;
mod files;
mod good;
mod heartbeats;
mod random;
mod secrets;

use std::path::{Path, PathBuf};

use super::{Environment, Loaded, Report, load};

/// A folder of its own, and the environment that a configuration in it sees.
struct Place {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        let variables = [
            ("HOME", "/nonexistent"),
            ("TOKEN", "canary-token"),
            ("NUMBER", "7"),
            ("KEY", "canary-key-0123456789"),
            ("OTHER_KEY", "canary-key-9876543210"),
        ];
        let variables = variables.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn env(&self) -> Environment {
        Environment::of(self.path(), self.variables.clone())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Loaded, Report> {
        load(&self.write("lapwing.toml", text), &self.env())
    }
}

fn loaded(text: &str) -> Loaded {
    Place::new()
        .load(text)
        .unwrap_or_else(|report| panic!("{text}\n{report}"))
}

/// The errors of a text: `line:column message; hint`.
fn errors(text: &str) -> Vec<String> {
    said(&Place::new().load(text).expect_err(text))
}

fn said(report: &Report) -> Vec<String> {
    let line = |d: &super::diagnostic::Diagnostic| {
        let at =
            d.at.as_ref()
                .map_or(String::new(), |at| format!("{}:{} ", at.line, at.column));
        format!("{at}{}; {}", d.message, d.hint.as_deref().unwrap_or_default())
    };
    report.diagnostics().iter().map(line).collect()
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.plan.series.iter().map(|s| s.name.as_str()).collect()
}
