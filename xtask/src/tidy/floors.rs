//! The floors: which crate may see which. Imports only go down, and siblings never see each other.
//!
//! The list is complete. A new edge is a design question first, and then a line here and in ARCHITECTURE.md.

use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;

/// A crate of the workspace and what it may depend on inside the workspace. Development dependencies are free.
const EDGES: &[(&str, &[&str])] = &[
    ("lapwing-core", &[]),
    ("lapwing-wire", &[]),
    ("lapwing-net", &["lapwing-core"]),
    ("lapwing-probe", &["lapwing-core", "lapwing-wire", "lapwing-net"]),
    ("lapwing-notify", &["lapwing-core", "lapwing-net"]),
    ("lapwing-link", &["lapwing-core", "lapwing-wire", "lapwing-net"]),
    ("lapwing-store", &["lapwing-core"]),
    ("lapwing-api", &["lapwing-core"]),
    ("lapwing-web", &["lapwing-core", "lapwing-store", "lapwing-api"]),
    ("lapwing-term", &["lapwing-core", "lapwing-api"]),
    (
        "lapwing",
        &[
            "lapwing-core",
            "lapwing-wire",
            "lapwing-net",
            "lapwing-probe",
            "lapwing-notify",
            "lapwing-link",
            "lapwing-store",
            "lapwing-api",
            "lapwing-web",
            "lapwing-term",
        ],
    ),
    ("lapwing-bench", &[]),
    ("xtask", &[]),
];

/// Crates of others that floor 0 must not have: they would bring I/O, clocks, tasks, formats or logging with them.
const CLOSED: &[(&str, &[&str], &str)] = &[
    (
        "lapwing-core",
        &[
            "tokio",
            "serde",
            "serde_json",
            "tracing",
            "log",
            "nix",
            "libc",
            "socket2",
            "hyper",
            "rusqlite",
            "getrandom",
        ],
        "decisions have no I/O, no clock, no async, no serde and no logging",
    ),
    (
        "lapwing-wire",
        &[
            "tokio",
            "serde",
            "serde_json",
            "tracing",
            "log",
            "nix",
            "libc",
            "socket2",
            "getrandom",
        ],
        "codecs turn bytes into messages and do nothing else",
    ),
];

/// A crate of the workspace, with its normal and build dependencies by name.
pub(crate) struct Crate {
    name: String,
    dependencies: Vec<String>,
}

/// The crates of this workspace.
pub(crate) fn crates(metadata: &Metadata) -> Vec<Crate> {
    let dependencies = |package: &cargo_metadata::Package| {
        let wanted = package
            .dependencies
            .iter()
            .filter(|found| found.kind != DependencyKind::Development);
        wanted.map(|found| found.name.clone()).collect()
    };
    let packages = metadata.workspace_packages().into_iter();
    packages
        .map(|package| Crate {
            name: package.name.to_string(),
            dependencies: dependencies(package),
        })
        .collect()
}

/// Every edge that is not in the list.
pub(crate) fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in crates {
        let manifest = manifest(&found.name);
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == found.name) else {
            let message = format!(
                "{} stands on no floor: add it to the list of allowed edges first",
                found.name
            );
            findings.push(Finding::new(&manifest, message));
            continue;
        };
        let ours = found
            .dependencies
            .iter()
            .filter(|name| crates.iter().any(|other| other.name == **name));
        for name in ours.filter(|name| !allowed.contains(&name.as_str())) {
            let seen = if allowed.is_empty() {
                "no other crate of ours".to_owned()
            } else {
                allowed.join(", ")
            };
            let message = format!(
                "forbidden edge {} -> {name}: imports only go down; it may see {seen}",
                found.name
            );
            findings.push(Finding::new(&manifest, message));
        }
        for (name, why) in closed(found) {
            let message = format!("forbidden dependency {} -> {name}: {why}", found.name);
            findings.push(Finding::new(&manifest, message));
        }
    }
    findings
}

fn closed(found: &Crate) -> impl Iterator<Item = (&String, &'static str)> {
    CLOSED
        .iter()
        .filter(|(name, _, _)| *name == found.name)
        .flat_map(|(_, banned, why)| {
            let names = found
                .dependencies
                .iter()
                .filter(|name| banned.contains(&name.as_str()));
            names.map(move |name| (name, *why))
        })
}

fn manifest(name: &str) -> String {
    match name {
        "xtask" => "xtask/Cargo.toml".to_owned(),
        "lapwing-bench" => "bench/Cargo.toml".to_owned(),
        _ => format!("crates/{name}/Cargo.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(edges: &[(&str, &[&str])]) -> Vec<Crate> {
        let mut crates: Vec<_> = EDGES
            .iter()
            .map(|(name, _)| Crate {
                name: (*name).to_owned(),
                dependencies: Vec::new(),
            })
            .collect();
        for (name, dependencies) in edges {
            crates.retain(|found| found.name != *name);
            let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
            crates.push(Crate {
                name: (*name).to_owned(),
                dependencies,
            });
        }
        crates
    }

    #[test]
    fn allowed_edges_pass() {
        let edges: &[(&str, &[&str])] = &[
            ("lapwing-web", &["lapwing-core", "lapwing-store", "axum"]),
            ("lapwing", &["lapwing-web", "tokio"]),
        ];
        assert_eq!(check(&workspace(edges)), []);
    }

    #[test]
    fn an_edge_up_or_to_a_sibling_is_named() {
        for (from, to) in [
            ("lapwing-core", "lapwing-net"),
            ("lapwing-core", "lapwing-wire"),
            ("lapwing-net", "lapwing-wire"),
            ("lapwing-probe", "lapwing-notify"),
            ("lapwing-term", "lapwing-store"),
            ("lapwing-web", "lapwing"),
            ("lapwing-bench", "lapwing-core"),
            ("xtask", "lapwing-core"),
        ] {
            let findings = check(&workspace(&[(from, &[to])]));
            assert_eq!(findings.len(), 1, "{from} -> {to}: {findings:?}");
            let text = findings[0].to_string();
            assert!(text.contains(&format!("forbidden edge {from} -> {to}")), "{text}");
            assert!(text.starts_with(&manifest(from)), "{text}");
        }
    }

    #[test]
    fn a_crate_on_no_floor_is_named() {
        let findings = check(&workspace(&[("lapwing-agent", &[])]));
        assert!(
            findings[0].message.contains("lapwing-agent stands on no floor"),
            "{findings:?}"
        );
    }

    #[test]
    fn floor_0_has_no_io_crate() {
        let findings = check(&workspace(&[
            ("lapwing-core", &["jiff", "serde"]),
            ("lapwing-wire", &["tokio"]),
        ]));
        let texts: Vec<_> = findings
            .iter()
            .map(|found| found.message.split(':').next().unwrap())
            .collect();
        assert_eq!(
            texts,
            [
                "forbidden dependency lapwing-core -> serde",
                "forbidden dependency lapwing-wire -> tokio"
            ]
        );
    }

    #[test]
    fn every_edge_goes_to_a_crate_listed_before_it() {
        for (place, (name, allowed)) in EDGES.iter().enumerate() {
            for to in *allowed {
                assert!(
                    EDGES[..place].iter().any(|(lower, _)| lower == to),
                    "{name} -> {to} does not go down"
                );
            }
        }
    }
}
