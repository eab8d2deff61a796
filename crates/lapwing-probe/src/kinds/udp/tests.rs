//! UDP against scripted and hostile peers: a row for each code, over IPv4 and IPv6.

use lapwing_core::monitor::{Family, Source};

use crate::testkit::{Ask, Closed, Datagrams, FAMILIES, Row, all, fact, phases, verdict};

fn row(name: &str, family: Family, ask: Ask, expected: [&'static str; 2], peer: impl Send + 'static) -> Row {
    Row {
        name: format!("{name} {family:?}"),
        ask,
        verdict: expected[0],
        detail: expected[1],
        peer: Box::new(peer),
    }
}

type Answer = fn(&[u8]) -> Vec<Vec<u8>>;

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn every_answer_and_every_silence() {
    let silent: Answer = |_| Vec::new();
    let echo: Answer = |datagram| vec![datagram.to_vec()];
    let huge: Answer = |_| vec![vec![0xff; 60_000]];
    let many: Answer = |_| vec![b"first".to_vec(), b"pong".to_vec()];
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, answer, options, expected) in [
            ("empty answer", echo, &[][..], ["up", ""]),
            (
                "answer",
                echo,
                &[("send", "ping\\n"), ("expect", "ping\\n")][..],
                ["up", ""],
            ),
            (
                "regex",
                echo,
                &[("send", "\\xff\\x00"), ("expect", "/(?-u)^\\xff/")],
                ["up", ""],
            ),
            ("no expectation", huge, &[("silent", "down")], ["up", ""]),
            (
                "wrong answer",
                echo,
                &[("send", "ping"), ("expect", "pong")],
                ["down udp.mismatch", r#"expected "pong", got "ping""#],
            ),
            (
                "first counts",
                many,
                &[("expect", "pong")],
                ["down udp.mismatch", r#"got "first""#],
            ),
            (
                "garbage",
                huge,
                &[("expect", "pong")],
                ["down udp.mismatch", r"got "],
            ),
            ("silent", silent, &[], ["up", ""]),
            (
                "silent, expected",
                silent,
                &[("expect", "x")],
                ["down timeout.answer", r#"no answer within 200ms, expected "x""#],
            ),
            (
                "silent = down",
                silent,
                &[("silent", "down")],
                ["down timeout.answer", "no answer (open or filtered)"],
            ),
            (
                "silent = up",
                silent,
                &[("silent", "up"), ("expect", "x")],
                ["up", ""],
            ),
            (
                "silent = inconclusive",
                silent,
                &[("silent", "inconclusive")],
                ["inconclusive timeout.answer", "open or filtered"],
            ),
        ] {
            let peer = Datagrams::answer(family, answer).await;
            let mut ask = Ask::new(peer.url("udp")).millis(200);
            for (option, value) in options {
                ask = ask.option(option, *value);
            }
            rows.push(row(name, family, ask, expected, peer));
        }
        for silent in ["up", "down", "inconclusive"] {
            let closed = Closed::new(family);
            let ask = Ask::new(closed.url("udp")).option("silent", silent).millis(200);
            rows.push(row(
                "closed",
                family,
                ask,
                ["down connect.refused", "port unreachable"],
                closed,
            ));
        }
        let peer = Datagrams::silent(family).await;
        let mut ask = Ask::new(peer.url("udp")).millis(200);
        ask.settings.source = Source::Interface("nosuchinterface".to_owned());
        rows.push(row(
            "bad source",
            family,
            ask,
            ["inconclusive ours.source", ""],
            peer,
        ));
    }
    all(rows).await;
}

#[tokio::test]
async fn phases_facts_and_the_datagram() {
    let peer = Datagrams::answer(Family::V6, |_| vec![b"abc".to_vec()]).await;
    let found = Ask::new(format!("{}?send=a\\x00", peer.url("udp")))
        .observe()
        .await;
    assert_eq!(verdict(&found), "up");
    assert_eq!(phases(&found), ["answer"]);
    assert_eq!(fact(&found, "udp.answered"), "true");
    assert_eq!(fact(&found, "udp.bytes"), "3");
    assert_eq!(fact(&found, "udp.peer"), peer.address().to_string());
    assert_eq!(peer.received(), [b"a\0"]);

    let peer = Datagrams::silent(Family::V4).await;
    let found = Ask::new(peer.url("udp")).millis(100).observe().await;
    assert_eq!(fact(&found, "udp.answered"), "false");
    assert_eq!(
        peer.received(),
        [b""],
        "one datagram, and an empty one by default"
    );
}

#[test]
fn option_errors_come_all_at_once() {
    let errors = Ask::new("udp://x:1?send=\\x1&expect=&silent=maybe&expects=x").errors();
    let options: Vec<_> = errors.iter().map(|e| e.option.as_str()).collect();
    assert_eq!(options, ["expects", "send", "expect", "silent"], "{errors:?}");
    let long = Ask::new("udp://x:1").option("send", "x".repeat(65_508)).errors();
    assert!(
        long[0].message.contains("longer than a datagram") && long[0].message.len() < 200,
        "{long:?}"
    );
}
