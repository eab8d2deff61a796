//! What the documentation says is true: each configuration in it is accepted by the program, each command and flag
//! exists, each link leads somewhere. It must never reach the network.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use crate::pages::{Block, files, pages, parts, root};

fn lapwing(args: &[&str], variables: &[(String, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    // Nothing of this machine's configuration may help.
    command.env_clear().envs(variables.iter().cloned()).args(args);
    command.output().unwrap()
}

/// What stands between `before` and `after`, each time.
fn between<'t>(text: &'t str, before: &str, after: char) -> Vec<&'t str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after))
        .map(|(found, _)| found)
        .collect()
}

/// Writes a configuration with all that it asks for, and lets the program read it.
fn check(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lapwing.toml");
    fs::write(&config, text).unwrap();
    for secret in between(text, "file = \"", '"') {
        let path = folder.path().join(secret);
        // The keys of heartbeats have a form of their own, and no two are the same.
        let text = if path.extension().is_some_and(|e| e == "key") {
            format!("{secret:x<16}\n")
        } else {
            "123456:secret\n".to_owned()
        };
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    for list in between(text, "\"@", '"') {
        fs::write(folder.path().join(list), "192.0.2.9\n").unwrap();
    }
    let value = |name: &str| {
        if name.ends_with("_ID") {
            "42".to_owned()
        } else if name.ends_with("_KEY") {
            format!("{name:x<16}")
        } else {
            "https://hooks.example.com/services/T/B/x".to_owned()
        }
    };
    let variables: Vec<_> = between(text, "${", '}')
        .into_iter()
        .map(|name| (name.to_owned(), value(name)))
        .collect();
    lapwing(
        &["config", "check", "--config", config.to_str().unwrap()],
        &variables,
    )
}

fn none(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} wrong:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn every_configuration_is_accepted() {
    let blocks: Vec<Block> = pages().iter().flat_map(|page| parts(page).0).collect();
    let mut given: Vec<(String, String)> = blocks
        .iter()
        .filter(|block| block.language == "toml")
        .filter(|block| {
            ["[[monitor]]", "[heartbeat]"]
                .iter()
                .any(|head| block.text.contains(head))
        })
        .map(|block| (block.place(), block.text.clone()))
        .collect();
    for path in files(&root().join("examples"), "toml", false) {
        given.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    assert!(given.len() > 10, "only {} configurations were found", given.len());
    let problems: Vec<String> = given
        .iter()
        .filter_map(|(place, text)| {
            let output = check(text);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (!output.status.success()).then(|| format!("{place}\n{said}"))
        })
        .collect();
    none(&problems);
}

#[test]
fn a_wrong_configuration_would_be_seen() {
    let output = check("[[monitor]]\nname = \"x\"\ntarget = \"tcp://192.0.2.1:80\"\nintervall = \"1s\"\n");
    assert_eq!(output.status.code(), Some(2));
}

/// The words of a command line up to what the shell does with it.
fn words(line: &str) -> Vec<&str> {
    let line = line.split(" #").next().unwrap_or_default();
    let after = line
        .split_whitespace()
        .skip_while(|word| *word != "lapwing" && !word.ends_with("/lapwing"))
        .skip(1);
    after
        .take_while(|word| !["|", "&&", "&", ";", ">", "<"].contains(word))
        .collect()
}

#[test]
fn every_command_and_flag_exists() {
    let mut problems = Vec::new();
    let mut seen = 0;
    for block in pages()
        .iter()
        .flat_map(|page| parts(page).0)
        .filter(|block| block.language == "sh")
    {
        for line in block.text.lines() {
            let words = words(line);
            let Some(first) = words.first() else { continue };
            seen += 1;
            let nested = ["config", "import", "notify", "echo", "service"].contains(first)
                || words.starts_with(&["sensor", "keygen"]);
            let mut args: Vec<&str> = words.iter().take(if nested { 2 } else { 1 }).copied().collect();
            args.push("--help");
            let output = lapwing(&args, &[]);
            let help = String::from_utf8_lossy(&output.stdout).into_owned();
            let unknown = words
                .iter()
                .filter(|w| w.starts_with("--"))
                .find(|flag| !help.contains(**flag));
            if !output.status.success() || unknown.is_some() {
                problems.push(format!("{}: {line}", block.place()));
            }
        }
    }
    assert!(seen > 20, "only {seen} command lines were found");
    none(&problems);
}

/// A heading's anchor, as the page shows it: lower case, without punctuation, with hyphens for blanks.
fn anchors(page: &Path) -> Vec<String> {
    let anchor = |line: &str| -> Option<String> {
        let title = line
            .strip_prefix('#')?
            .trim_start_matches('#')
            .trim()
            .to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
    };
    parts(page).1.lines().filter_map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut problems = Vec::new();
    for page in pages() {
        for link in between(&parts(&page).1, "](", ')') {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            let is_page = target.extension().is_some_and(|e| e == "md");
            if !target.exists() {
                problems.push(format!("{}: {link} does not exist", page.display()));
            } else if is_page && !anchor.is_empty() && !anchors(&target).iter().any(|a| a == anchor) {
                problems.push(format!("{}: {link} has no such heading", page.display()));
            }
        }
    }
    none(&problems);
}
