//! Every code that stands in the sources of the way to the network and of the probes is declared: what is documented is
//! all that can be met.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

use lapwing_core::kind::SHARED_CODES;
use lapwing_probe::kinds::KINDS;
use regex::Regex;

/// The sources below `folder`, without tests and what serves them.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if matches!(name.as_str(), "tests" | "testkit") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Texts of the form of a code in the sources of both crates, and all that a fault is made with, each with the file where
/// it stands. The declarations themselves do not count.
fn written() -> BTreeSet<(String, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in [here.join("src"), here.join("../lapwing-net/src")] {
        sources(&folder, &mut files);
    }
    assert!(files.len() > 20, "{files:?}");
    let form = Regex::new(r#"(code: )?"([a-z]+\.[a-z_]+)""#).unwrap();
    let made = Regex::new(r#"(?:Fault::target|Fault::ours|Reason::new)\(\s*"([^"]*)""#).unwrap();
    let mut written = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let formed = form.captures_iter(text).filter(|c| c.get(1).is_none());
        let found = formed
            .map(|c| c[2].to_owned())
            .chain(made.captures_iter(text).map(|c| c[1].to_owned()));
        written.extend(found.map(|code| (code, file.display().to_string())));
    }
    written
}

#[test]
fn every_code_is_declared() {
    let declared: HashSet<&str> = KINDS
        .iter()
        .flat_map(|kind| kind.info.codes)
        .chain(SHARED_CODES)
        .map(|code| code.code)
        .collect();
    let facts: HashSet<&str> = KINDS
        .iter()
        .flat_map(|kind| kind.info.facts)
        .map(|fact| fact.name)
        .collect();
    let families: HashSet<&str> = declared
        .iter()
        .filter_map(|code| code.split('.').next())
        .collect();
    let written = written();
    let codes: HashSet<&str> = written.iter().map(|(code, _)| code.as_str()).collect();
    assert!(
        codes.contains("connect.refused") && codes.contains("http.proxy"),
        "the sources were read"
    );
    let unknown: Vec<_> = written
        .iter()
        .filter(|(code, _)| {
            let family = code.split('.').next().unwrap_or_default();
            families.contains(family) || !code.contains('.')
        })
        .filter(|(code, _)| !declared.contains(code.as_str()) && !facts.contains(code.as_str()))
        .collect();
    assert!(unknown.is_empty(), "not declared: {unknown:?}");
    // And nothing is documented that cannot be met.
    let idle: Vec<_> = declared.iter().filter(|code| !codes.contains(*code)).collect();
    assert!(idle.is_empty(), "declared, but given nowhere: {idle:?}");
}
