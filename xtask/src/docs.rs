//! `cargo xtask docs`: docs/reference, written by the program itself, so that it cannot say what the program does not do;
//! and the page of the reference tools, from the rows beside their tests.
//!
//! Never edits a file of docs/reference by other means.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::{
    reference_tools,
    run::{cargo, output, run, say},
};

/// Where the reference stands in the tree.
const REFERENCE: &str = "docs/reference";

/// Files by their path below the folder.
type Pages = BTreeMap<PathBuf, Vec<u8>>;

/// Replaces docs/reference by what the program writes.
pub(crate) fn write(root: &Path) -> Result<()> {
    let new = generate(root)?;
    let folder = root.join(REFERENCE);
    let old = pages(&folder)?;
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        fs::remove_file(folder.join(path))
            .with_context(|| format!("{} could not be removed", path.display()))?;
    }
    for (path, text) in &new {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&folder))?;
        fs::write(&file, text).with_context(|| format!("{} could not be written", file.display()))?;
    }
    say(format_args!("{REFERENCE}: {} pages written", new.len()));
    Ok(())
}

/// Fails when docs/reference is not what the program would write.
pub(crate) fn check(root: &Path) -> Result<()> {
    let stale = differences(&pages(&root.join(REFERENCE))?, &generate(root)?);
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "{REFERENCE} is stale; run `cargo xtask docs`:\n  {}",
        stale.join("\n  ")
    )
}

/// Builds the program and lets it write its reference into a fresh folder; with the page of the reference tools.
fn generate(root: &Path) -> Result<Pages> {
    run(cargo(root).args(["build", "--workspace", "--bin", "lapwing"]))?;
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let target = metadata.target_directory.into_std_path_buf();
    let folder = target.join("reference");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} could not be removed", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    output(
        Command::new(target.join("debug/lapwing"))
            .arg("reference")
            .arg(&folder),
    )
    .context("`lapwing reference DIR` must write the reference pages")?;
    let mut pages = pages(&folder)?;
    if pages.is_empty() {
        bail!("`lapwing reference` wrote no page");
    }
    let tools = reference_tools::page(root)?;
    pages.insert(PathBuf::from(reference_tools::PAGE), tools.into_bytes());
    Ok(pages)
}

/// All files below `folder`; none when it does not exist.
fn pages(folder: &Path) -> Result<Pages> {
    let mut pages = Pages::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        if !next.exists() {
            continue;
        }
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text =
                    fs::read(&path).with_context(|| format!("{} could not be read", path.display()))?;
                pages.insert(path.strip_prefix(folder)?.to_path_buf(), text);
            }
        }
    }
    Ok(pages)
}

/// One line for each page that is missing, superfluous or different.
fn differences(committed: &Pages, generated: &Pages) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, text) in generated {
        let name = path.display();
        match committed.get(path) {
            None => lines.push(format!("{name}: missing")),
            Some(old) if old != text => {
                lines.push(format!("{name}:{}: differs", first_difference(old, text)));
            }
            Some(_) => {}
        }
    }
    for path in committed.keys().filter(|path| !generated.contains_key(*path)) {
        lines.push(format!(
            "{}: the program does not write this page",
            path.display()
        ));
    }
    lines
}

/// The number of the first line that differs.
fn first_difference(old: &[u8], new: &[u8]) -> usize {
    let (old, new) = (old.split(|byte| *byte == b'\n'), new.split(|byte| *byte == b'\n'));
    old.zip(new).take_while(|(old, new)| old == new).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pages: &[(&str, &str)]) -> Pages {
        pages
            .iter()
            .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn each_way_to_be_stale_is_named() {
        let committed = of(&[
            ("same.md", "a\n"),
            ("old.md", "a\n"),
            ("changed.md", "one\ntwo\n"),
        ]);
        let generated = of(&[("same.md", "a\n"), ("new.md", "a\n"), ("changed.md", "one\n2\n")]);
        let lines = differences(&committed, &generated);
        assert_eq!(
            lines,
            [
                "changed.md:2: differs",
                "new.md: missing",
                "old.md: the program does not write this page"
            ]
        );
        assert!(differences(&generated, &generated).is_empty());
    }

    #[test]
    fn a_longer_page_differs_after_the_last_common_line() {
        assert_eq!(first_difference(b"a\nb", b"a\nb\nc"), 3);
        assert_eq!(first_difference(b"", b"x"), 1);
    }

    #[test]
    fn pages_are_read_from_nested_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kinds")).unwrap();
        fs::write(folder.path().join("kinds/tcp.md"), "x").unwrap();
        fs::write(folder.path().join("cli.md"), "y").unwrap();
        assert_eq!(
            pages(folder.path()).unwrap(),
            of(&[("kinds/tcp.md", "x"), ("cli.md", "y")])
        );
        assert_eq!(pages(&folder.path().join("nothing")).unwrap(), Pages::new());
    }
}
