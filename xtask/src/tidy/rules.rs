//! Rules about single files: calls, words, names and sizes.

use super::{
    Finding, Tree,
    source::{code, has_word, is_word, without_tests},
    tree::File,
};

/// The longest a file may be, in lines without its tests.
pub(crate) const MAX_LINES: usize = 600;

/// The largest file that is tracked, in bytes. What is larger is made, not stored.
const MAX_BYTES: usize = 256 * 1024;

/// Reading a clock, as written in code.
const CLOCK_CALLS: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Utc::now",
];

/// The only reader of a clock.
const CLOCK: &str = "crates/lapwing/src/clock.rs";

/// Words of unfinished work. Written in two halves, so that this file may hold them.
const UNFINISHED: &[&str] = &[concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];

/// Names that say nothing about what is inside.
const VAGUE: &[&str] = &["util", "helper", "common", "misc"];

/// Folders of one machine.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Time is an argument: outside tests, only clock.rs reads a clock.
pub(crate) fn clock_calls(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in ours(tree).filter(|file| file.path != CLOCK && !file.is_test()) {
        for (line, text) in without_tests(&code(file.text())) {
            for call in CLOCK_CALLS.iter().filter(|call| has_word(text, call)) {
                let message = format!(
                    "{call} reads a clock: take the time as an argument ({CLOCK} is the only reader)"
                );
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    findings
}

/// Unfinished work belongs to an issue, not into the tree.
pub(crate) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree
        .files()
        .filter(|file| file.has_extension("rs") || file.has_extension("toml"))
    {
        for (line, text) in (1..).zip(file.text().lines()) {
            for word in UNFINISHED.iter().filter(|word| has_word(text, word)) {
                findings.push(Finding::at(
                    &file.path,
                    line,
                    format!("{word}: finish it, or leave it out"),
                ));
            }
        }
    }
    for file in tree.rust() {
        for (line, text) in (1..).zip(code(file.text()).lines()) {
            for call in ["todo!", "unimplemented!"]
                .iter()
                .filter(|call| has_word(text, call))
            {
                findings.push(Finding::at(
                    &file.path,
                    line,
                    format!("{call} panics when it is reached: finish it"),
                ));
            }
        }
    }
    findings
}

/// A lint is switched off with a reason, and only while it would fire.
pub(crate) fn bare_allow(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (line, text) in (1..).zip(code(file.text()).lines()) {
            if text.contains("#[allow(") || text.contains("#![allow(") {
                let message = "write #[expect(…, reason = \"…\")] instead of allow";
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    findings
}

/// Every module opens with what it is for and what it must never do; its tests, in a file of
/// their own, belong to it.
pub(crate) fn module_docs(tree: &Tree) -> Vec<Finding> {
    let modules = tree.rust().filter(|file| !file.is_test_half());
    let bare = modules.filter(|file| {
        let first = file.text().lines().find(|line| !line.trim().is_empty());
        !first.is_some_and(|line| {
            line.strip_prefix("//!")
                .is_some_and(|text| !text.trim().is_empty())
        })
    });
    bare.map(|file| {
        Finding::at(
            &file.path,
            1,
            "the module does not open with //! and what it is for",
        )
    })
    .collect()
}

/// A file fits a head. `exceptions` are paths with reasons; one that is not needed is a finding too.
pub(crate) fn long_files(tree: &Tree, exceptions: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test()) {
        let lines = without_tests(&code(file.text())).len();
        let excepted = exceptions.iter().any(|(path, _)| *path == file.path);
        if lines > MAX_LINES && !excepted {
            let message =
                format!("{lines} lines without tests, at most {MAX_LINES}: split it by what it is about");
            findings.push(Finding::new(&file.path, message));
        }
        if lines <= MAX_LINES && excepted {
            findings.push(Finding::new(
                &file.path,
                "short enough: take it out of the exceptions in xtask/src/tidy.rs",
            ));
        }
    }
    for (path, _) in exceptions.iter().filter(|(path, _)| tree.text(path).is_none()) {
        findings.push(Finding::new(
            path,
            "does not exist: take it out of the exceptions in xtask/src/tidy.rs",
        ));
    }
    findings
}

/// A name says what is inside.
pub(crate) fn vague_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for part in file.path.split('/') {
            if let Some(word) = VAGUE.iter().find(|word| part.starts_with(*word)) {
                let message = format!("`{part}` begins with `{word}`: name it after what it does");
                findings.push(Finding::new(&file.path, message));
            }
        }
    }
    findings
}

/// The repository holds source, not products.
pub(crate) fn large_files(tree: &Tree) -> Vec<Finding> {
    let large = tree.files().filter(|file| file.bytes > MAX_BYTES);
    large
        .map(|file| {
            let message = format!(
                "{} KiB, at most {} KiB are tracked",
                file.bytes / 1024,
                MAX_BYTES / 1024
            );
            Finding::new(&file.path, message)
        })
        .collect()
}

/// No file knows the machine it was written on.
pub(crate) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        for (line, text) in (1..).zip(file.text().lines()) {
            for folder in MACHINE.iter().filter(|folder| has_path(text, folder)) {
                findings.push(Finding::at(
                    &file.path,
                    line,
                    format!("{folder}… is a path of one machine"),
                ));
            }
        }
    }
    findings
}

/// At least one sample configuration stands in the tree; tests of the binary read them all.
pub(crate) fn examples(tree: &Tree) -> Vec<Finding> {
    let present = tree
        .files()
        .any(|file| file.path.starts_with("examples/") && file.has_extension("toml"));
    if present {
        Vec::new()
    } else {
        vec![Finding::new(
            "examples/",
            "holds no sample configuration (*.toml)",
        )]
    }
}

/// Rust files of the product: tasks may measure themselves.
fn ours(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.rust().filter(|file| file.path.starts_with("crates/"))
}

/// Whether an absolute path below `folder` stands in `line`, and not the middle of a longer path or URL.
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| is_word(c) || matches!(c, '.' | '-' | '~' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<(String, usize)> {
        findings
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect()
    }

    fn at(path: &str, line: usize) -> (String, usize) {
        (path.to_owned(), line)
    }

    #[test]
    fn a_clock_call_is_found_in_code_only() {
        let calls = "// Instant::now\nlet a = \"Instant::now\";\nlet b = tokio::time::Instant::now();\nlet c = SystemTime::now;\n";
        let tested = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}\nfn g() { Zoned::now() }\n";
        let tree = Tree::of(&[
            ("crates/lapwing-store/src/a.rs", calls),
            ("crates/lapwing-store/src/b.rs", tested),
            ("crates/lapwing-store/tests/c.rs", calls),
            (CLOCK, calls),
            ("xtask/src/run.rs", calls),
        ]);
        let a = "crates/lapwing-store/src/a.rs";
        assert_eq!(
            lines(clock_calls(&tree)),
            [at(a, 3), at(a, 4), at("crates/lapwing-store/src/b.rs", 6)]
        );
    }

    #[test]
    fn unfinished_work_is_found() {
        let text = format!(
            "// {}: later\nfn f() {{ todo!() }}\nlet a = \"todo!\";\n",
            concat!("FIX", "ME")
        );
        let word = format!("# {}\n", concat!("XX", "X"));
        let tree = Tree::of(&[
            ("a.rs", &text),
            ("b.toml", &word),
            ("c.md", &word),
            ("d.rs", "mktemp_XXXXXX todo"),
        ]);
        assert_eq!(
            lines(unfinished(&tree)),
            [at("a.rs", 1), at("b.toml", 1), at("a.rs", 2)]
        );
    }

    #[test]
    fn allow_is_found_and_expect_is_not() {
        let text = "#![allow(missing_docs)]\n#[expect(dead_code, reason = \"x\")]\n    #[allow(dead_code)]\n// #[allow(x)]\n";
        assert_eq!(
            lines(bare_allow(&Tree::of(&[("a.rs", text)]))),
            [at("a.rs", 1), at("a.rs", 3)]
        );
    }

    #[test]
    fn a_module_without_its_words_is_found() {
        let tree = Tree::of(&[
            ("a.rs", "//! For this.\n"),
            ("b.rs", "\n//! For that.\nuse x;\n"),
            ("c.rs", "use x;\n//! Late.\n"),
            ("d.rs", "//!\n"),
            ("e.rs", ""),
            ("f.toml", ""),
            ("g/tests.rs", "use super::*;"),
            ("tests/h.rs", "use x;"),
        ]);
        assert_eq!(
            lines(module_docs(&tree)),
            [at("c.rs", 1), at("d.rs", 1), at("e.rs", 1), at("tests/h.rs", 1)]
        );
    }

    #[test]
    fn a_file_is_too_long_without_its_tests() {
        let full = "x;\n".repeat(MAX_LINES);
        let with_tests = format!("{full}#[cfg(test)]\nmod tests {{\n{full}}}\n");
        let long = format!("{full}y;\n");
        let tree = Tree::of(&[
            ("a.rs", &with_tests),
            ("b.rs", &long),
            ("c.rs", &long),
            ("x/tests/d.rs", &long),
        ]);
        assert_eq!(lines(long_files(&tree, &[("c.rs", "a table")])), [at("b.rs", 0)]);
        let stale = [
            ("a.rs", "was long"),
            ("b.rs", "a table"),
            ("c.rs", "a table"),
            ("gone.rs", "moved"),
        ];
        assert_eq!(
            lines(long_files(&tree, &stale)),
            [at("a.rs", 0), at("gone.rs", 0)]
        );
    }

    #[test]
    fn vague_names_are_found() {
        let tree = Tree::of(&[
            ("crates/a/src/utils.rs", ""),
            ("crates/a/tests/common/mod.rs", ""),
            ("crates/a/src/resolve.rs", ""),
            ("docs/common.md", ""),
        ]);
        let found = lines(vague_names(&tree));
        assert_eq!(
            found,
            [
                at("crates/a/src/utils.rs", 0),
                at("crates/a/tests/common/mod.rs", 0)
            ]
        );
    }

    #[test]
    fn large_files_are_found() {
        let full = "x".repeat(MAX_BYTES);
        let larger = format!("{full}x");
        assert_eq!(
            lines(large_files(&Tree::of(&[("a", &full), ("b", &larger)]))),
            [at("b", 0)]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let own = MACHINE[0];
        let text = format!(
            "cd {own}main\nhttps://example.com{own}x\nfile://{own}x\n~{own}\n$dir{own}\n${{dir}}{own}\n"
        );
        assert_eq!(
            lines(machine_paths(&Tree::of(&[("a.md", &text)]))),
            [at("a.md", 1), at("a.md", 3)]
        );
    }

    #[test]
    fn samples_must_exist() {
        assert_eq!(examples(&Tree::of(&[("examples/README.md", "")])).len(), 1);
        assert_eq!(examples(&Tree::of(&[("examples/home.toml", "")])), []);
    }
}
