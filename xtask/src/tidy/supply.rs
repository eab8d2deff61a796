//! What we build from others: licences, banned crates, and where everything comes from.
//!
//! The lists stand in deny.toml alone, for cargo-deny and for this file; this one also runs where cargo-deny is not
//! installed. Never knows about advisories: those need their database.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::{Finding, Tree};
use crate::run::{cargo, output};

/// The only place our packages come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A package that is built, tests included, on this system.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    name: String,
    version: String,
    licence: String,
    /// Names of the packages that depend on it.
    wanted_by: BTreeSet<String>,
}

/// The lists of deny.toml.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    licences: Vec<String>,
    bans: Vec<Ban>,
}

#[derive(Debug)]
struct Ban {
    name: String,
    /// Only these versions, when given as `name@1.2`; compared from the left.
    version: Option<String>,
    reason: String,
    /// Packages that may depend on it all the same.
    wrappers: Vec<String>,
}

impl Policy {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse().context("deny.toml is not TOML")?;
        let list = |section: &str, key: &str| {
            let list = table
                .get(section)
                .and_then(|section| section.get(key))
                .and_then(Value::as_array);
            list.cloned()
                .with_context(|| format!("deny.toml has no list `{key}` in [{section}]"))
        };
        let licences = list("licenses", "allow")?;
        let bans = list("bans", "deny")?;
        Ok(Self {
            licences: licences
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            bans: bans.iter().map(Ban::parse).collect::<Result<_>>()?,
        })
    }
}

impl Ban {
    fn parse(value: &Value) -> Result<Self> {
        let field = |key| value.get(key).and_then(Value::as_str);
        let spec = field("crate").with_context(|| format!("deny.toml: the ban {value} names no `crate`"))?;
        let reason =
            field("reason").with_context(|| format!("deny.toml: the ban of {spec} has no `reason`"))?;
        let (name, version) = spec
            .split_once('@')
            .map_or((spec, None), |(name, version)| (name, Some(version)));
        let wrappers = value.get("wrappers").and_then(Value::as_array);
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            reason: reason.to_owned(),
            wrappers: wrappers
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        })
    }

    fn matches(&self, package: &Package) -> bool {
        let version = self.version.as_ref();
        let wrapped = !package.wanted_by.is_empty()
            && package.wanted_by.iter().all(|name| self.wrappers.contains(name));
        self.name == package.name
            && !wrapped
            && version.is_none_or(|version| {
                *version == package.version || package.version.starts_with(&format!("{version}."))
            })
    }
}

/// Every package that is built. From `cargo tree`, because `cargo metadata` also lists what no feature turns on.
pub(crate) fn packages(root: &Path) -> Result<BTreeSet<Package>> {
    let args = [
        "tree",
        "--workspace",
        "--locked",
        "--prefix",
        "depth",
        "--format",
        "{p}|{l}",
    ];
    Ok(parse_tree(&output(cargo(root).args(args))?))
}

/// Lines such as `0lapwing v1.0.0|MIT`, and below it, one deeper, what it depends on: `1syn v2.0.1 (proc-macro)|MIT (*)`.
fn parse_tree(text: &str) -> BTreeSet<Package> {
    let mut packages = BTreeMap::<(String, String), Package>::new();
    let mut above: Vec<String> = Vec::new();
    for (package, licence) in text.lines().filter_map(|line| line.split_once('|')) {
        let digits = package.bytes().take_while(u8::is_ascii_digit).count();
        let (depth, package) = package.split_at(digits);
        let mut words = package.split_whitespace();
        let (Ok(depth), Some(name), Some(version)) = (depth.parse::<usize>(), words.next(), words.next())
        else {
            continue;
        };
        let version = version.trim_start_matches('v');
        above.truncate(depth);
        let found = packages.entry((name.to_owned(), version.to_owned()));
        let found = found.or_insert_with(|| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.trim_end_matches("(*)").trim().to_owned(),
            wanted_by: BTreeSet::new(),
        });
        found.wanted_by.extend(above.last().cloned());
        above.push(name.to_owned());
    }
    packages.into_values().collect()
}

/// Every package that is banned, or whose licence is not in the list.
pub(crate) fn check(packages: &BTreeSet<Package>, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Package {
            name,
            version,
            licence,
            ..
        } = package;
        if !licence_allowed(licence, &policy.licences) {
            let message =
                format!("{name} {version} has the licence {licence:?}, which deny.toml does not allow");
            findings.push(Finding::new("Cargo.lock", message));
        }
        if let Some(ban) = policy.bans.iter().find(|ban| ban.matches(package)) {
            let message = format!(
                "{name} {version} is banned: {} (who wants it: cargo tree -i {name})",
                ban.reason
            );
            findings.push(Finding::new("Cargo.lock", message));
        }
    }
    findings
}

/// Every package of Cargo.lock that is not from crates.io, and every setting that would fetch it from elsewhere.
pub(crate) fn sources(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(tree.text("Cargo.lock").unwrap_or_default().lines()) {
        let Some(source) = text.strip_prefix("source = ") else {
            continue;
        };
        if source.trim_matches('"') != CRATES_IO {
            findings.push(Finding::at(
                "Cargo.lock",
                line,
                format!("{source} is not crates.io"),
            ));
        }
    }
    let settings = tree
        .files()
        .filter(|file| file.path.ends_with(".cargo/config.toml") || file.path.ends_with(".cargo/config"));
    for file in settings {
        for (line, text) in (1..).zip(file.text().lines()) {
            let key = text.trim_start().trim_start_matches('[');
            if ["source", "registry", "registries"]
                .iter()
                .any(|word| key.starts_with(word))
            {
                let message =
                    "packages come from crates.io: a mirror is set in the machine's own configuration";
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    findings
}

/// Whether an SPDX expression can be met with `allowed`. `MIT/Apache-2.0`, the old form, means OR.
fn licence_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any_of(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(licence) = words.next() else { return false };
    let mut name = licence.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "\
[licenses]
allow = [\"MIT\", \"Apache-2.0\", \"ISC\", \"Apache-2.0 WITH LLVM-exception\"]
[bans]
deny = [{ crate = \"openssl\", reason = \"one TLS stack\" }, { crate = \"bincode@1\", reason = \"unmaintained\" }, { crate = \"chrono\", wrappers = [\"reedline\"], reason = \"jiff\" }]
";

    fn findings(tree: &str) -> Vec<String> {
        let policy = Policy::parse(POLICY).unwrap();
        check(&parse_tree(tree), &policy)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn allowed_packages_pass() {
        let tree = "0lapwing v0.1.0 (/somewhere)|MIT OR Apache-2.0\n1syn v3.0.2 (proc-macro)|MIT/Apache-2.0 (*)\n1bincode v2.0.0|MIT\n\n";
        assert_eq!(parse_tree(tree).len(), 3);
        assert_eq!(findings(tree), [""; 0]);
    }

    #[test]
    fn a_licence_outside_the_list_is_named() {
        let found = findings("0gpl v1.0.0|GPL-3.0-only\n0none v1.0.0|\n");
        assert_eq!(
            found,
            [
                "gpl 1.0.0 has the licence \"GPL-3.0-only\", which deny.toml does not allow",
                "none 1.0.0 has the licence \"\", which deny.toml does not allow",
            ]
        );
    }

    #[test]
    fn a_banned_package_is_named_with_the_reason() {
        let found = findings("0openssl v0.10.1|Apache-2.0\n1bincode v1.3.3|MIT\n1bincode v11.0.0|MIT\n");
        assert_eq!(
            found,
            [
                "bincode 1.3.3 is banned: unmaintained (who wants it: cargo tree -i bincode)",
                "openssl 0.10.1 is banned: one TLS stack (who wants it: cargo tree -i openssl)",
            ]
        );
    }

    #[test]
    fn a_banned_package_may_stand_below_those_that_are_named() {
        let only = "0lapwing v1.0.0|MIT\n1reedline v1.0.0|MIT\n2chrono v0.4.1|MIT\n";
        assert_eq!(findings(only), [""; 0]);
        let other = format!("{only}1other v1.0.0|MIT\n2chrono v0.4.1|MIT (*)\n");
        assert_eq!(
            findings(&other),
            ["chrono 0.4.1 is banned: jiff (who wants it: cargo tree -i chrono)"]
        );
    }

    #[test]
    fn licence_expressions() {
        let policy = Policy::parse(POLICY).unwrap();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("ISC AND (Apache-2.0 OR OpenSSL)", true),
            ("ISC AND (GPL-2.0-only OR OpenSSL)", false),
            ("(MIT OR GPL-2.0-only) AND OpenSSL", false),
            ("GPL-2.0-only OR MIT AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("ISC WITH LLVM-exception", false),
            ("(MIT", false),
            ("MIT)", false),
            ("MIT ISC", false),
            ("MIT AND", false),
            ("", false),
        ] {
            assert_eq!(
                licence_allowed(expression, &policy.licences),
                expected,
                "{expression:?}"
            );
        }
    }

    #[test]
    fn a_policy_without_its_lists_is_an_error() {
        for text in [
            "",
            "[licenses]\nallow = []\n",
            "x",
            "[licenses]\nallow = []\n[bans]\ndeny = [{ crate = \"a\" }]\n",
        ] {
            assert!(Policy::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn packages_come_from_crates_io() {
        let lock = format!(
            "[[package]]\nname = \"a\"\nsource = \"{CRATES_IO}\"\n[[package]]\nsource = \"git+https://example.com/b#1\"\n"
        );
        let tree = Tree::of(&[
            ("Cargo.lock", &lock),
            (
                ".cargo/config.toml",
                "[alias]\nx = \"y\"\n[source.crates-io]\nreplace-with = \"mirror\"\n",
            ),
        ]);
        let places: Vec<_> = sources(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        assert_eq!(
            places,
            [("Cargo.lock".to_owned(), 5), (".cargo/config.toml".to_owned(), 3)]
        );
    }
}
