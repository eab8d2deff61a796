//! The pages of the documentation as the tests read them: fenced blocks, and the text around them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A fenced block of a page.
pub(crate) struct Block {
    page: PathBuf,
    line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Files with this ending in a folder, and in the folders below it when `deep`.
pub(crate) fn files(folder: &Path, ending: &str, deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            found.extend(files(&path, ending, deep));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages = files(&root, "md", false);
    pages.extend(files(&root.join("docs"), "md", true));
    assert!(
        pages.len() > 10,
        "the documentation is not where this test looks for it"
    );
    pages
}

/// The fenced blocks of a page, and the page without them.
pub(crate) fn parts(page: &Path) -> (Vec<Block>, String) {
    let text = fs::read_to_string(page).unwrap();
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                let (page, language) = (page.to_owned(), language.trim().to_owned());
                let block = Block {
                    page,
                    line: number + 1,
                    language,
                    text: String::new(),
                };
                open = Some((block, line.len() - line.trim_start().len()));
            }
            (None, None) => prose.extend([line, "\n"]),
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(block, _)| block)),
            // A block in a list is indented as its fence is.
            (Some((block, indent)), None) => {
                block.text.extend([line.get(*indent..).unwrap_or_default(), "\n"]);
            }
        }
    }
    assert!(open.is_none(), "{} ends inside a block", page.display());
    (blocks, prose)
}
