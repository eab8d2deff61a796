//! What holds for every notifier: one status table, one table of broken networks, one hunt for secrets, sound data.

use std::time::Duration;

use lapwing_core::{
    event::EventKind,
    kind::{OptionType, OptionValue, Options},
};

use super::*;
use crate::{
    CODES, Retry,
    redact::base64,
    testkit::{self, Mode, Peer, SmtpPeer},
};

const CANARY: &str = "CANARY-7f3a9";

/// The notifiers that are one HTTP request, all of whose secrets hold the canary, speaking to `base`.
fn web(base: &str) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    vec![
        (
            "slack",
            vec![("webhook_url", format!("{base}/services/{CANARY}"))],
        ),
        (
            "telegram",
            vec![
                ("token", format!("42:{CANARY}")),
                ("chat_id", "7".into()),
                ("api", base.into()),
            ],
        ),
        (
            "webhook",
            vec![
                ("url", format!("{base}/x?key={CANARY}")),
                ("headers", format!("Authorization: Bearer {CANARY}")),
            ],
        ),
    ]
}

#[tokio::test]
async fn one_status_table_for_all() {
    use Retry::{After, Backoff, Never};
    let seven = After(Duration::from_secs(7));
    let table: &[(&str, Option<(&str, Retry)>)] = &[
        ("200 OK", None),
        ("201 Created", None),
        ("202 Accepted|ok", None),
        ("204 No Content", None),
        (
            "301 Moved\nLocation: http://127.0.0.1:1/",
            Some(("notify.redirected", Backoff)),
        ),
        (
            "302 Found\nLocation: /login",
            Some(("notify.redirected", Backoff)),
        ),
        ("400 Bad Request", Some(("notify.rejected", Never))),
        (
            "400 Bad Request\nRetry-After: 7",
            Some(("notify.rejected", Never)),
        ),
        ("401 Unauthorized", Some(("notify.auth", Never))),
        ("403 Forbidden", Some(("notify.auth", Never))),
        ("404 Not Found", Some(("notify.rejected", Never))),
        ("408 Request Timeout", Some(("notify.unavailable", Backoff))),
        ("410 Gone", Some(("notify.rejected", Never))),
        ("413 Too Large", Some(("notify.rejected", Never))),
        ("425 Too Early", Some(("notify.unavailable", Backoff))),
        ("429 Too Many", Some(("notify.rate_limited", Backoff))),
        (
            "429 Too Many\nRetry-After: 7",
            Some(("notify.rate_limited", seven)),
        ),
        ("500 Error", Some(("notify.unavailable", Backoff))),
        ("502 Bad Gateway", Some(("notify.unavailable", Backoff))),
        (
            "503 Unavailable\nRetry-After: 7",
            Some(("notify.unavailable", seven)),
        ),
        ("504 Timeout", Some(("notify.unavailable", Backoff))),
        ("599 Odd", Some(("notify.unavailable", Backoff))),
    ];
    let net = testkit::net();
    for (answer, expected) in table {
        let peer = Peer::http(&[*answer; 3]).await;
        for (name, given) in web(&peer.url("")) {
            let result = testkit::built(name, &given)
                .notifier
                .deliver(&testkit::message(), &net)
                .await;
            let got = result.err().map(|e| (e.code, e.retry));
            // Telegram tells a wrong token by 404 and a lost permission by 403.
            let expected = match (name, &answer[..3]) {
                ("telegram", "404") => Some(("notify.auth", Never)),
                ("telegram", "403") => Some(("notify.rejected", Never)),
                _ => *expected,
            };
            assert_eq!(got, expected, "{name}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_broken_network_is_tried_again() {
    let net = testkit::net();
    for (answer, codes) in [
        ("!close", ["notify.unreachable"; 2]),
        ("!silence", ["notify.timeout"; 2]),
        ("!garbage", ["notify.unreachable", "notify.protocol"]),
    ] {
        let peer = Peer::http(&[answer; 3]).await;
        let build = if answer == "!silence" {
            testkit::hasty
        } else {
            testkit::built
        };
        for (name, given) in web(&peer.url("")) {
            let error = build(name, &given)
                .notifier
                .deliver(&testkit::message(), &net)
                .await
                .unwrap_err();
            assert!(codes.contains(&error.code), "{name} {answer}: {error:?}");
            assert!(error.retry == Retry::Backoff && error.maybe_arrived, "{error:?}");
        }
    }
    let port = testkit::dead_port().await;
    for (name, given) in web(&format!("http://127.0.0.1:{port}")) {
        let error = testkit::built(name, &given)
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.retry),
            ("notify.unreachable", Retry::Backoff),
            "{name}: {error}"
        );
        assert!(
            error.message.contains("refused") && !error.maybe_arrived,
            "{error:?}"
        );
    }
    let tls = SmtpPeer::start(Mode::Implicit, &[]).await;
    for (name, given) in web(&format!("https://127.0.0.1:{}", tls.port))
        .into_iter()
        .take(1)
    {
        let error = testkit::built(name, &given)
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.retry),
            ("notify.tls", Retry::Backoff),
            "{name}: {error}"
        );
    }
}

/// Panics when the canary stands in `text` in any form.
fn hunt(text: &str, place: &str) {
    let plain = text.to_lowercase();
    assert!(!plain.contains(&CANARY.to_lowercase()), "{place}: {text}");
    assert!(!plain.contains("canary%2d"), "{place}: {text}");
    for lead in ["", "x", "xx"] {
        // The middle of the Base64 form is the same wherever the secret begins within three bytes.
        let coded = base64(format!("{lead}{CANARY}").as_bytes());
        assert!(!text.contains(&coded[4..coded.len() - 4]), "{place}: {text}");
    }
}

#[tokio::test]
async fn no_secret_in_any_error_of_http() {
    let net = testkit::net();
    let leak = format!(
        "{CANARY} {} /services/{CANARY} bot42:{CANARY}",
        base64(format!("42:{CANARY}").as_bytes())
    );
    let percent = CANARY.replace('-', "%2D");
    let mut answers: Vec<String> = vec!["!close".into(), "!garbage".into(), "!silence".into()];
    for status in [
        "400 Bad",
        "401 No",
        "403 No",
        "404 No",
        "407 No",
        "429 Slow",
        "500 Oh",
        "302 Found\nLocation: /x",
        "200 OK",
    ] {
        answers.push(format!("{status}|{leak}"));
        answers.push(format!("{status}|{percent}"));
        answers.push(format!(
            "{status}|{{\"ok\":false,\"description\":\"chat not found {leak}\"}}"
        ));
        answers.push(format!("{status}|{{\"ok\":false,\"description\":\"bot{CANARY}\",\"parameters\":{{\"migrate_to_chat_id\":\"{CANARY}\"}}}}"));
    }
    for answer in &answers {
        let peer = Peer::http(&[answer.as_str(); 12]).await;
        let build = if answer == "!silence" {
            testkit::hasty
        } else {
            testkit::built
        };
        let direct = web(&peer.url(""));
        let proxy = peer.url("").replace("http://", &format!("http://user:{CANARY}@"));
        let proxied = web("http://127.0.0.1:9").into_iter().map(|(name, mut given)| {
            given.push(("proxy", proxy.clone()));
            (name, given)
        });
        for (name, given) in direct.into_iter().chain(proxied.filter(|_| answer != "!silence")) {
            let built = build(name, &given);
            hunt(&format!("{built:?}"), "built");
            for result in [
                built.notifier.deliver(&testkit::message(), &net).await,
                built.notifier.verify(&net).await,
            ] {
                hunt(&format!("{result:?}"), name);
                if let Err(error) = result {
                    hunt(&error.to_string(), name);
                }
            }
        }
    }
}

#[tokio::test]
async fn no_secret_in_any_error_of_mail() {
    let net = testkit::net();
    let login = [("username", "me@example.com"), ("password", CANARY)];
    let plain = base64(format!("\0me@example.com\0{CANARY}").as_bytes());
    for stage in ["GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."] {
        for leak in [CANARY.to_owned(), plain.clone(), base64(CANARY.as_bytes())] {
            for code in [454, 535, 550, 999] {
                let peer = SmtpPeer::start(Mode::Plain, &[(stage, &format!("{code} you said {leak}"))]).await;
                let built = testkit::built("email", &peer.options("none", &login));
                let result = built.notifier.deliver(&testkit::message(), &net).await;
                hunt(&format!("{:?}", result.as_ref().unwrap_err()), stage);
                hunt(&result.unwrap_err().to_string(), stage);
            }
        }
    }
    let script = [("RCPT TO:<b@", &*format!("550 {CANARY}"))];
    let peer = SmtpPeer::start(Mode::Plain, &script).await;
    let given = peer.options(
        "none",
        &[login[0], login[1], ("to", "a@example.com,b@example.com")],
    );
    let receipt = testkit::built("email", &given)
        .notifier
        .deliver(&testkit::message(), &net)
        .await
        .unwrap();
    hunt(&format!("{receipt:?}"), "receipt");
}

#[test]
fn no_secret_in_any_error_of_options() {
    for kind in NOTIFIERS {
        for option in kind
            .info
            .all_options()
            .filter(|o| matches!(o.ty, OptionType::Secret | OptionType::Pairs))
        {
            let text = |t: &str| OptionValue::Text(t.to_owned());
            for value in [
                text(CANARY),
                text(&format!("{CANARY}\r\n")),
                text(&format!("ftp://{CANARY}")),
                text(&format!("https://u:{CANARY}@h/{CANARY}")),
                text(&format!("https://{CANARY} {CANARY}/")),
                text(&format!("Name: {CANARY}\u{7}")),
                OptionValue::List(vec![text(CANARY)]),
                OptionValue::Table(vec![("X".to_owned(), text(&format!("{CANARY}\n")))]),
            ] {
                let given = Options::from_iter([(option.name, value)]);
                if let Err(errors) = parse(kind.info.name, &given) {
                    hunt(&format!("{errors:?}"), option.name);
                }
            }
        }
    }
}

#[test]
fn shared_options_are_read() {
    let base = [("path", "x")];
    let with = |name: &'static str, value: &'static str| {
        parse("file", &testkit::options(&[base[0], (name, value)])).map(|b| b.common)
    };
    let common = parse("file", &testkit::options(&base)).unwrap().common;
    assert_eq!(
        (common.rate_limit, common.give_up, common.on),
        (None, Duration::from_hours(72), None)
    );
    assert_eq!(
        with("on", "down,monitoring").unwrap().on,
        Some(vec![EventKind::Down, EventKind::Monitoring])
    );
    let built = parse("file", &testkit::options(&[base[0], ("rate_limit", "10/1m")])).unwrap();
    let policy = built.policy("log".into());
    assert_eq!(
        (policy.rate_limit, policy.local),
        (Some((10, Duration::from_mins(1))), true)
    );
    assert_eq!(with("give_up", "1h").unwrap().give_up, Duration::from_hours(1));
    for (name, value) in [
        ("rate_limit", "10"),
        ("rate_limit", "0/1m"),
        ("rate_limit", "x/1m"),
        ("rate_limit", "1/0s"),
        ("give_up", "x"),
        ("on", "dwon"),
        ("on", ""),
    ] {
        assert_eq!(with(name, value).unwrap_err().len(), 1, "{name} = {value}");
    }
    let errors = parse(
        "slack",
        &testkit::options(&[("webhook_url", "http://h/"), ("proxy", "nonsense")]),
    )
    .unwrap_err();
    assert_eq!(errors[0].option, "proxy");
    assert_eq!(
        parse("slak", &Options::default()).unwrap_err()[0].hint.as_deref(),
        Some("did you mean \"slack\"?")
    );
}

#[test]
fn the_data_of_every_notifier_is_sound() {
    for kind in NOTIFIERS {
        let info = kind.info;
        assert!(
            !info.summary.is_empty() && !info.about.is_empty(),
            "{}",
            info.name
        );
        assert!(
            info.example.contains(&format!("type = \"{}\"", info.name)),
            "{}",
            info.name
        );
        let names: Vec<_> = info.all_options().map(|o| o.name).collect();
        for option in info.all_options() {
            assert!(
                option.doc.ends_with('.') && !option.example.is_empty(),
                "{} {}",
                info.name,
                option.name
            );
            assert_eq!(
                names.iter().filter(|n| **n == option.name).count(),
                1,
                "{} {}",
                info.name,
                option.name
            );
        }
        for required in info.required {
            assert!(
                names.contains(required) && info.example.contains(&format!("{required} =")),
                "{required}"
            );
        }
        let errors = parse(info.name, &Options::default()).unwrap_err();
        for required in info.required {
            assert_eq!(
                errors.iter().filter(|e| e.option == *required).count(),
                1,
                "{required}: {errors:?}"
            );
        }
    }
    assert!(
        CODES
            .iter()
            .all(|c| c.code.starts_with("notify.") && c.doc.ends_with('.'))
    );
}
