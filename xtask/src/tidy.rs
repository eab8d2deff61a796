//! `cargo xtask tidy`: the rules of the house that no compiler knows, each a small function over the tracked files.
//!
//! Never mends anything: it says where, what and what to do instead.

mod floors;
mod lints;
mod registry;
mod rules;
mod source;
mod supply;
mod tree;

use std::{collections::BTreeSet, fmt, path::Path};

use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;

pub(crate) use tree::Tree;

use crate::run::say;

/// Files that may be longer than [`rules::MAX_LINES`] without their tests, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// One broken rule, at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Prints every finding and fails when there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let policy = supply::Policy::parse(tree.text("deny.toml").unwrap_or_default())?;

    let mut findings = judge(&tree);
    findings.extend(floors::check(&floors::crates(&metadata)));
    let packages = match supply::packages(root) {
        Ok(packages) => packages,
        Err(error) => {
            findings.push(Finding::new("Cargo.lock", format!("{error:#}")));
            BTreeSet::new()
        }
    };
    findings.extend(supply::check(&packages, &policy));
    findings.sort();
    findings.dedup();
    for finding in &findings {
        say(finding);
    }
    if findings.is_empty() {
        say(format_args!(
            "tidy: {} files and {} packages are in order",
            tree.len(),
            packages.len()
        ));
        return Ok(());
    }
    bail!("{} findings", findings.len())
}

/// All rules that need no more than the files.
fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(rules::clock_calls(tree));
    findings.extend(rules::unfinished(tree));
    findings.extend(rules::bare_allow(tree));
    findings.extend(rules::module_docs(tree));
    findings.extend(rules::long_files(tree, LONG_FILES));
    findings.extend(rules::vague_names(tree));
    findings.extend(rules::large_files(tree));
    findings.extend(rules::machine_paths(tree));
    findings.extend(rules::examples(tree));
    findings.extend(registry::check(tree));
    findings.extend(lints::check(tree));
    findings.extend(supply::sources(tree));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_place() {
        assert_eq!(Finding::new("a.rs", "is bad").to_string(), "a.rs: is bad");
        assert_eq!(Finding::at("a.rs", 7, "is bad").to_string(), "a.rs:7: is bad");
    }

    #[test]
    fn a_clean_tree_has_no_findings_and_each_rule_is_wired() {
        let clean = [
            ("examples/home.toml", "x = 1\n"),
            (
                "crates/lapwing-probe/src/kinds.rs",
                "//! All kinds.\nmod tcp;\npub static KINDS: &[Kind] = &[tcp::KIND];\n",
            ),
            ("crates/lapwing-probe/src/kinds/tcp.rs", "//! A kind.\n"),
            ("clippy.toml", "a = 1\n"),
            ("crates/lapwing-core/clippy.toml", "a = 1\n"),
        ];
        assert_eq!(judge(&Tree::of(&clean)), []);

        let long = format!("//! A.\n{}", "x;\n".repeat(rules::MAX_LINES));
        let large = "x".repeat(300 * 1024);
        let broken: &[(&str, &str, &str)] = &[
            (
                "crates/lapwing-core/src/a.rs",
                "//! A.\nfn f() { Instant::now(); }\n",
                "reads a clock",
            ),
            (
                "crates/lapwing-core/src/a.rs",
                "//! A.\nfn f() { todo!() }\n",
                "finish it",
            ),
            (
                "crates/lapwing-core/src/a.rs",
                "//! A.\n#[allow(dead_code)]\nfn f() {}\n",
                "instead of allow",
            ),
            (
                "crates/lapwing-core/src/a.rs",
                "fn f() {}\n",
                "does not open with //!",
            ),
            ("crates/lapwing-core/src/a.rs", &long, "split it"),
            ("crates/lapwing-core/src/helper.rs", "//! A.\n", "name it after"),
            (
                "crates/lapwing-probe/src/kinds/udp.rs",
                "//! A kind.\n",
                "udp is not registered",
            ),
            (
                "crates/lapwing-store/clippy.toml",
                "a = 2\n",
                "in the root's clippy.toml",
            ),
            (".cargo/config.toml", "[source.crates-io]\n", "crates.io"),
            ("docs/a.md", concat!("see /wo", "rk/main\n"), "one machine"),
            ("docs/a.txt", &large, "KiB"),
        ];
        for (path, text, message) in broken {
            let mut files = clean.to_vec();
            files.push((path, text));
            let findings = judge(&Tree::of(&files));
            let found = findings.iter().any(|finding| finding.message.contains(message));
            assert!(found, "{path}: no {message:?} in {findings:?}");
        }
        assert!(
            judge(&Tree::of(&clean[1..]))
                .iter()
                .any(|finding| finding.path == "examples/")
        );
    }
}
