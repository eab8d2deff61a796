//! Commands: exact words, bounded output, and an end whatever they do.

use std::{fs, path::Path};

use lapwing_core::kind::{OptionValue, Options};

use super::*;
use crate::{
    Built, Retry,
    testkit::{self, HOSTILE},
};

fn command(argv: &[&str], deadline: Duration) -> Built {
    let argv = argv.iter().map(|a| OptionValue::Text((*a).to_owned())).collect();
    let given = Options::from_iter([("argv", OptionValue::List(argv))]);
    crate::notifiers::parse_within("command", &given, deadline).unwrap()
}

fn shell(script: &str, arguments: &[&str]) -> Built {
    let script = script.replace('{', "{{").replace('}', "}}");
    let mut argv = vec!["/bin/sh", "-c", &script, "sh"];
    argv.extend(arguments);
    command(&argv, Duration::from_secs(20))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn words_environment_and_input_arrive_exactly() {
    let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
    let folder = dir.path().to_str().unwrap();
    let script = "cd \"$1\"; shift; cat > in; env > env; printf '%s\\n' \"$@\" > args";
    let built = shell(script, &[folder, "{text}", "a b", "{{event}}", "-{event}"]);
    let mut message = testkit::message();
    message.monitor = HOSTILE.to_owned();
    message.text = "$(touch pwned) `touch pwned`; touch pwned & \"'\n| x".to_owned();
    message.resent = true;
    built.notifier.deliver(&message, &net).await.unwrap();
    assert_eq!(read(&dir.path().join("in")), message.payload());
    let args = read(&dir.path().join("args"));
    let text = message.field("text");
    assert_eq!(
        args.lines().collect::<Vec<_>>(),
        [text.as_str(), "a b", "{event}", "-down"]
    );
    assert!(!dir.path().join("pwned").exists());
    let env = read(&dir.path().join("env"));
    for line in [
        "LAPWING_EVENT=down",
        "LAPWING_ID=01JTEST",
        "LAPWING_RESENT=true",
        "LAPWING_HOST=www.example.com",
    ] {
        assert!(env.lines().any(|l| l == line), "{line}");
    }
    for line in env.lines() {
        let name = line.split('=').next().unwrap();
        let known = name.starts_with("LAPWING_")
            || INHERITED.contains(&name)
            || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name);
        assert!(known, "{line} came from our environment");
    }
    assert_eq!(env.lines().filter(|l| l.starts_with("LAPWING_")).count(), 11);
}

#[tokio::test]
async fn a_status_other_than_zero_is_tried_again() {
    let net = testkit::net();
    for (script, words) in [
        (
            "echo >&2; echo first >&2; echo second >&2; exit 3",
            "exit status: 3: first",
        ),
        ("exit 1", "nothing on standard error"),
        ("kill -9 $$", "signal: 9"),
    ] {
        let error = shell(script, &[])
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert_eq!((error.code, error.retry), ("notify.command", Retry::Backoff));
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn endless_output_and_unread_input_do_no_harm() {
    let net = testkit::net();
    let mut message = testkit::message();
    message.json = format!("{{\"x\":\"{}\"}}", "y".repeat(1_000_000));
    let flood = shell(
        "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; exit 0",
        &[],
    );
    flood.notifier.deliver(&message, &net).await.unwrap();
    let kept = drain(Some(tokio::io::repeat(7).take(5_000_000))).await;
    assert_eq!(kept.len(), OUTPUT_MAX);
}

#[tokio::test]
async fn at_the_deadline_the_whole_group_dies() {
    let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
    let pids = dir.path().join("pids");
    let script = format!(
        "trap '' TERM; sleep 600 & echo $! $$ > {}; wait; sleep 600",
        pids.display()
    );
    let built = command(&["/bin/sh", "-c", &script], Duration::from_secs(2));
    let error = built
        .notifier
        .deliver(&testkit::message(), &net)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.retry),
        ("notify.timeout", Retry::Backoff),
        "{error}"
    );
    gone(&pids).await;
}

#[tokio::test]
async fn what_it_leaves_behind_with_our_pipes_is_ended() {
    let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
    let pids = dir.path().join("pids");
    let script = format!("sleep 600 & echo $! > {}; exit 0", pids.display());
    shell(&script, &[])
        .notifier
        .deliver(&testkit::message(), &net)
        .await
        .unwrap();
    gone(&pids).await;
}

/// Waits until no process of the list is left, but for those that only wait to be reaped.
async fn gone(pids: &Path) {
    let listed = read(pids);
    let alive = || {
        listed.split_whitespace().any(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
        })
    };
    let waited = timeout(Duration::from_secs(5), async {
        while alive() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{listed} still run");
}

#[tokio::test]
async fn verify_finds_what_can_be_run() {
    let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    let long = Duration::from_secs(20);
    for good in ["sh", "/bin/sh"] {
        command(&[good], long).notifier.verify(&net).await.unwrap();
    }
    for (bad, words) in [
        (plain.to_str().unwrap(), "not an executable"),
        (dir.path().to_str().unwrap(), "not an executable"),
        ("/nonexistent/x", "does not exist"),
        ("lapwing-no-such-command", "does not exist"),
    ] {
        let built = command(&[bad], long);
        assert!(built.notifier.is_local());
        let error = built.notifier.verify(&net).await.unwrap_err();
        assert!(
            error.code == "notify.config" && error.message.contains(words),
            "{error}"
        );
        assert_eq!(
            built
                .notifier
                .deliver(&testkit::message(), &net)
                .await
                .unwrap_err()
                .code,
            "notify.config"
        );
    }
    for bad in [
        vec![("argv", "")],
        vec![("argv", "x,{nope}")],
        vec![("argv", "x,{")],
        vec![],
    ] {
        assert!(
            crate::parse("command", &testkit::options(&bad)).is_err(),
            "{bad:?}"
        );
    }
}
