//! Registries: a file beside one must be declared in it and stand in its list, or it would be dead and nobody would see.
//!
//! Never looks inside the files; the compiler does.

use std::collections::BTreeSet;

use super::{
    Finding, Tree,
    source::{code, has_word},
};

/// A list of plugins: the file that holds it, and the folder of its entries.
struct Registry {
    file: &'static str,
    folder: &'static str,
    list: &'static str,
}

const REGISTRIES: &[Registry] = &[
    Registry {
        file: "crates/lapwing-probe/src/kinds.rs",
        folder: "crates/lapwing-probe/src/kinds/",
        list: "KINDS",
    },
    Registry {
        file: "crates/lapwing-notify/src/notifiers.rs",
        folder: "crates/lapwing-notify/src/notifiers/",
        list: "NOTIFIERS",
    },
];

/// Every entry that is not declared, or not in the list.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    REGISTRIES
        .iter()
        .flat_map(|registry| check_one(tree, registry))
        .collect()
}

fn check_one(tree: &Tree, registry: &Registry) -> Vec<Finding> {
    let text = code(tree.text(registry.file).unwrap_or_default());
    let list = list(&text, registry.list);
    let mut findings = Vec::new();
    for name in entries(tree, registry.folder) {
        if !declares(&text, &name) {
            findings.push(Finding::new(
                registry.file,
                format!("{name} is not declared: add `mod {name};`"),
            ));
        }
        if !list.is_some_and(|list| has_word(list, &name)) {
            let message = format!("{name} is not registered: add its line to {}", registry.list);
            findings.push(Finding::new(registry.file, message));
        }
    }
    findings
}

/// The modules in a folder; a module with a folder of its own counts once.
fn entries(tree: &Tree, folder: &str) -> BTreeSet<String> {
    let below = tree
        .rust()
        .filter(|file| !file.is_test())
        .filter_map(|file| file.path.strip_prefix(folder));
    below
        .map(|rest| rest.split(['/', '.']).next().unwrap_or(rest).to_owned())
        .collect()
}

fn declares(text: &str, name: &str) -> bool {
    text.lines()
        .any(|line| line.trim_end().ends_with(&format!("mod {name};")))
}

/// The text between the list's name and its end.
fn list<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = text.match_indices(name).find(|(at, _)| {
        let before = text[..*at].trim_end();
        before.ends_with("static") || before.ends_with("const")
    })?;
    let rest = &text[begin.0..];
    Some(&rest[..rest.find("];").unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: (&str, &str) = ("crates/lapwing-probe/src/kinds/tcp.rs", "");

    fn with_registry(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            TCP,
            ("crates/lapwing-probe/src/kinds/http.rs", ""),
            ("crates/lapwing-probe/src/kinds/http/body.rs", ""),
            ("crates/lapwing-probe/src/kinds/shared_tests.rs", ""),
            ("crates/lapwing-probe/src/kinds.rs", text),
        ]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_complete_registry_passes() {
        let text = "mod http;\npub(crate) mod tcp;\n\npub static KINDS: &[Kind] = &[\n    tcp::KIND,\n    http::KIND,\n];\n";
        assert_eq!(with_registry(text), [""; 0]);
    }

    #[test]
    fn an_unregistered_kind_is_named() {
        let text = "mod http;\nmod tcp;\npub static KINDS: &[Kind] = &[http::KIND];\nfn f() { tcp::f() }\n";
        assert_eq!(
            with_registry(text),
            ["tcp is not registered: add its line to KINDS"]
        );
    }

    #[test]
    fn an_undeclared_kind_is_named() {
        let text = "mod http;\n// mod tcp;\npub static KINDS: &[Kind] = &[http::KIND, /* tcp::KIND */];\n";
        assert_eq!(
            with_registry(text),
            [
                "tcp is not declared: add `mod tcp;`",
                "tcp is not registered: add its line to KINDS"
            ]
        );
    }

    #[test]
    fn a_registry_that_is_missing_registers_nothing() {
        assert_eq!(check(&Tree::of(&[TCP])).len(), 2);
        let notifier = Tree::of(&[("crates/lapwing-notify/src/notifiers/slack.rs", "")]);
        assert_eq!(check(&notifier)[0].path, "crates/lapwing-notify/src/notifiers.rs");
    }
}
