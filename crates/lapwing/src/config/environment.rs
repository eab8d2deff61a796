//! What the process was given besides files: environment variables, working directory, user. Read once, at start.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The environment as a value, so that tests bring their own.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    directory: PathBuf,
}

impl Environment {
    /// That of this process. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        Self {
            variables: variables.collect(),
            directory: PathBuf::new(),
        }
    }

    /// One of its own, with relative paths starting at `directory`.
    #[cfg(test)]
    pub fn of<N: Into<String>, V: Into<String>>(
        directory: impl Into<PathBuf>,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        Self {
            variables,
            directory: directory.into(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A variable that is neither missing nor empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The first folder of a variable in which systemd lists folders with colons between them (systemd.exec(5)).
    pub(super) fn folder(&self, name: &str) -> Option<PathBuf> {
        let folders = self.given(name)?;
        Some(PathBuf::from(folders.split(':').next().unwrap_or(folders)))
    }

    /// The same with one more variable.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut more = self.clone();
        more.variables.insert(name.to_owned(), value.to_owned());
        more
    }

    /// A path as this process sees it.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}
