//! The unit's text, and what systemd itself thinks of it.

use std::{fs, process::Command};

use super::*;

fn daemon() -> Unit {
    Unit {
        role: Role::Daemon,
        command: ["/bin/true", "run", "--config", "/etc/lapwing"]
            .map(ToOwned::to_owned)
            .into(),
        user: None,
        credentials: vec![("slack.url".to_owned(), "/etc/lapwing/slack.url".into())],
        environment: vec!["/etc/lapwing/environment".into()],
    }
}

fn sensor() -> Unit {
    let key = format!("{CREDENTIALS}/sensor.key");
    Unit {
        role: Role::Sensor,
        command: [
            "/bin/true",
            "sensor",
            "--server",
            "monitor.example.com",
            "--key-file",
            &key,
        ]
        .map(ToOwned::to_owned)
        .into(),
        user: None,
        credentials: vec![("sensor.key".to_owned(), "/etc/lapwing/home key".into())],
        environment: Vec::new(),
    }
}

/// Runs systemd-analyze on the unit in a folder of its own.
fn analyze(unit: &Unit, args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(unit.role.unit());
    fs::write(&file, unit.render()).unwrap();
    let done = Command::new("systemd-analyze")
        .args(args)
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args:?}: {said}\n{}", unit.render());
}

#[test]
fn needs_systemd_analyze_every_unit_is_verified_without_a_warning() {
    for unit in [
        daemon(),
        sensor(),
        Unit {
            user: Some("nobody".to_owned()),
            ..daemon()
        },
    ] {
        analyze(&unit, &["verify", "--recursive-errors=yes", "--man=no"]);
    }
}

#[test]
fn needs_systemd_analyze_every_unit_is_hardened() {
    for unit in [
        daemon(),
        sensor(),
        Unit {
            user: Some("nobody".to_owned()),
            ..daemon()
        },
    ] {
        analyze(
            &unit,
            &["security", "--offline=yes", "--threshold=20", "--no-pager"],
        );
    }
}

#[test]
fn the_unit_says_what_it_was_asked_to() {
    let text = daemon().render();
    assert!(text.starts_with(MARK));
    for line in [
        "ExecStart=/bin/true run --config /etc/lapwing",
        "ExecReload=/bin/true reload --config /etc/lapwing",
        "DynamicUser=yes",
        "StateDirectory=lapwing",
        "AmbientCapabilities=CAP_NET_RAW",
        "LoadCredential=slack.url:/etc/lapwing/slack.url",
        "EnvironmentFile=/etc/lapwing/environment",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let text = sensor().render();
    for line in [
        "ExecStart=/bin/true sensor --server monitor.example.com --key-file ${CREDENTIALS_DIRECTORY}/sensor.key",
        "LoadCredential=\"sensor.key:/etc/lapwing/home key\"",
        "CapabilityBoundingSet=",
        "StateDirectory=lapwing-sensor",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(
        !text.contains("CAP_NET_RAW") && !text.contains("ExecReload"),
        "{text}"
    );
    let own = Unit {
        user: Some("watch".to_owned()),
        ..daemon()
    }
    .render();
    assert!(
        own.contains("\nUser=watch\n") && !own.contains("DynamicUser"),
        "{own}"
    );
}

#[test]
fn no_word_means_more_than_itself() {
    for (word, written) in [
        ("plain", "plain"),
        ("", "\"\""),
        ("two words", "\"two words\""),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ("a\"b\\c'", "\"a\\\"b\\\\c'\""),
        ("${CREDENTIALS_DIRECTORY}/key", "${CREDENTIALS_DIRECTORY}/key"),
    ] {
        assert_eq!(argument(word), written);
    }
}

#[test]
fn what_would_change_is_shown() {
    assert_eq!(differences("a\nb\n", "a\nc\n"), "  - b\n  + c\n");
    assert_eq!(
        differences("a\nb\n", "b\na\n"),
        "  the same lines in another order\n"
    );
}
