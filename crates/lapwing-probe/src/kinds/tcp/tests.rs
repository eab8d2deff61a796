//! TCP against scripted and hostile peers: a row for each code, over IPv4 and IPv6.

use std::time::Duration;

use lapwing_core::{
    monitor::{Family, Source},
    observation::Observation,
};

use crate::testkit::{
    Ask, Authority, Certified, Closed, End, FAMILIES, Full, Peer, Row, Step, all, detail, fact, phases,
    verdict,
};

fn row(name: &str, family: Family, ask: Ask, expected: &[&'static str; 2], peer: impl Send + 'static) -> Row {
    Row {
        name: format!("{name} {family:?}"),
        ask,
        verdict: expected[0],
        detail: expected[1],
        peer: Box::new(peer),
    }
}

/// Rows of a peer that runs a script: name, script, options, verdict, detail.
type Script = (
    &'static str,
    Vec<Step>,
    &'static [(&'static str, &'static str)],
    [&'static str; 2],
);

#[expect(clippy::too_many_lines, reason = "one table")]
fn conversations() -> Vec<Script> {
    let mut late = vec![b'x'; 64 * 1024];
    late.extend_from_slice(b"220");
    let busy = || Step::send("500 busy\r\n");
    vec![
        ("connects", vec![Step::Hold], &[], ["up", ""]),
        ("connects, fin", vec![Step::Hold], &[("close", "fin")], ["up", ""]),
        (
            "banner",
            vec![Step::send("220 ready\r\n"), Step::Hold],
            &[("expect", "220")],
            ["up", ""],
        ),
        (
            "banner and close",
            vec![Step::send("220 ready\r\n")],
            &[("expect", "/^220/")],
            ["up", ""],
        ),
        (
            "banner in pieces",
            vec![Step::Drip(b"220 ready\r\n".to_vec())],
            &[("expect", "ready\\r\\n220")],
            ["up", ""],
        ),
        (
            "asked and answered",
            vec![Step::until("PING\r\n"), Step::send("+PONG\r\n"), Step::Hold],
            &[("send", "PING\\r\\n"), ("expect", "+PONG\\r\\n")],
            ["up", ""],
        ),
        (
            "sent without expect",
            vec![Step::Hold],
            &[("send", "x\\x00")],
            ["up", ""],
        ),
        (
            "binary",
            vec![Step::send([0xff, 0x00]), Step::Hold],
            &[("expect", "\\xff\\0")],
            ["up", ""],
        ),
        (
            "last byte that counts",
            vec![Step::send(&late[3..]), Step::Hold],
            &[("expect", "x220")],
            ["up", ""],
        ),
        (
            "other answer",
            vec![busy()],
            &[("expect", "220")],
            ["down tcp.mismatch", r#"expected "220", got "500 busy\r\n""#],
        ),
        (
            "other answer, open",
            vec![busy(), Step::Hold],
            &[("expect", "/^220/")],
            [
                "down timeout.transfer",
                r#"expected /^220/ within 300ms, got "500 busy\r\n""#,
            ],
        ),
        (
            "closes",
            vec![],
            &[("expect", "220")],
            ["down connect.closed", "closed without an answer"],
        ),
        (
            "closes after the question",
            vec![Step::until("hi")],
            &[("send", "hi"), ("expect", "220")],
            ["down connect.closed", ""],
        ),
        (
            "resets",
            vec![Step::Reset],
            &[("expect", "220")],
            ["down connect.reset", "reset"],
        ),
        (
            "resets after the question",
            vec![Step::until("hi"), Step::Reset],
            &[("send", "hi"), ("expect", "220")],
            ["down connect.reset", ""],
        ),
        (
            "silent",
            vec![Step::Hold],
            &[("expect", "220")],
            ["down timeout.first_byte", "no answer within 300ms"],
        ),
        (
            "drips for ever",
            vec![Step::Drip(b"ab".to_vec())],
            &[("expect", "/c$/")],
            ["down timeout.transfer", "got \"ab"],
        ),
        (
            "floods",
            vec![Step::Flood(vec![0x1b; 8192])],
            &[("expect", "220")],
            ["down tcp.mismatch", "within the first 64 KiB"],
        ),
        (
            "too late",
            vec![Step::send(&late), Step::Hold],
            &[("expect", "220")],
            ["down tcp.mismatch", "64 KiB"],
        ),
        (
            "garbage for TLS",
            vec![Step::send("220 not TLS\r\n"), Step::Hold],
            &[("tls", "true")],
            ["down tls.protocol", ""],
        ),
        (
            "silence for TLS",
            vec![Step::Hold],
            &[("tls", "true")],
            ["down timeout.tls", ""],
        ),
        (
            "no TLS at all",
            vec![],
            &[("tls", "true")],
            ["down connect.closed", ""],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_and_every_silence() {
    let authority = Authority::new();
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, script, options, expected) in conversations() {
            let peer = Peer::tcp(family, script).await;
            let mut ask = Ask::new(peer.url("tcp")).millis(300);
            for (option, value) in options {
                ask = ask.option(option, *value);
            }
            if options.contains(&("tls", "true")) {
                ask = ask.option("ca", authority.path());
            }
            rows.push(row(name, family, ask, &expected, peer));
        }
        let closed = Closed::new(family);
        let ask = Ask::new(closed.url("tcp")).millis(300);
        rows.push(row(
            "refused",
            family,
            ask,
            &["down connect.refused", "refused"],
            closed,
        ));
        let full = Full::new(family);
        let ask = Ask::new(full.url("tcp")).millis(300);
        rows.push(row(
            "full",
            family,
            ask,
            &["down timeout.connect", "no connection within 300ms"],
            full,
        ));
        let full = Full::new(family);
        let mut ask = Ask::new(full.url("tcp")).millis(2000);
        ask.settings.connect_timeout = Duration::from_millis(200);
        rows.push(row(
            "full, limited",
            family,
            ask,
            &["down timeout.connect", "no connection within 200ms"],
            full,
        ));
        let peer = Peer::tcp(family, []).await;
        let mut ask = Ask::new(peer.url("tcp")).millis(300);
        ask.settings.source = Source::Interface("nosuchinterface".to_owned());
        rows.push(row(
            "bad source",
            family,
            ask,
            &["inconclusive ours.source", ""],
            peer,
        ));
    }
    all(rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn inside_tls() {
    let authority = Authority::new();
    let mut rows = Vec::new();
    for family in FAMILIES {
        let banner = || vec![Step::send("220 ready\r\n"), Step::Hold];
        let good = || authority.good();
        let other = || authority.issue(&["other.example"], -1, 90);
        for (name, certified, script, options, expected) in [
            ("good", good(), vec![Step::Hold], &[][..], ["up", ""]),
            (
                "good with banner",
                good(),
                banner(),
                &[("expect", "220")][..],
                ["up", ""],
            ),
            (
                "asked",
                good(),
                vec![Step::until("hi"), Step::send("yes")],
                &[("send", "hi"), ("expect", "yes")],
                ["up", ""],
            ),
            (
                "mismatch",
                good(),
                vec![Step::send("no")],
                &[("expect", "220")],
                ["down tcp.mismatch", "got \"no\""],
            ),
            (
                "wrong name",
                other(),
                banner(),
                &[("expect", "220")],
                ["down tls.name", ""],
            ),
            (
                "other name",
                other(),
                banner(),
                &[("expect", "220"), ("server_name", "other.example")],
                ["up", ""],
            ),
            (
                "other name, short",
                other(),
                vec![Step::Hold],
                &[("name", "other.example")],
                ["up", ""],
            ),
            (
                "self-signed",
                Certified::self_signed(),
                banner(),
                &[],
                ["down tls.untrusted", ""],
            ),
            (
                "insecure",
                Certified::self_signed(),
                banner(),
                &[("insecure", "true"), ("expect", "220")],
                ["up", ""],
            ),
        ] {
            let peer = Peer::tls(family, &certified, &[], script).await;
            let mut ask = Ask::new(peer.url("tcp"))
                .option("tls", "true")
                .option("ca", authority.path());
            for (option, value) in options {
                ask = ask.option(option, *value);
            }
            rows.push(row(name, family, ask, &expected, peer));
        }
        // The refusal of a client without a certificate comes after the handshake.
        for (name, option) in [("refused, bare", "close"), ("refused, asked", "expect")] {
            let acceptor = good().acceptor(&[], Some(&authority));
            let peer = Peer::accepting(family, acceptor, banner()).await;
            let ask = Ask::new(peer.url("tcp")).option("tls", "true");
            let ask = ask.option("ca", authority.path()).option(option, "fin");
            rows.push(row(
                name,
                family,
                ask,
                &["down tls.alert", "certificate_required"],
                peer,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn phases_and_facts() {
    let peer = Peer::tcp(
        Family::V4,
        [Step::send("\r\n220 \u{1b}[1mready\r\nmore"), Step::Hold],
    )
    .await;
    let found = Ask::new(peer.url("tcp")).option("expect", "more").observe().await;
    assert_eq!(phases(&found), ["connect", "first_byte", "transfer"]);
    assert_eq!(fact(&found, "tcp.peer"), peer.address().to_string());
    assert_eq!(fact(&found, "tcp.banner"), "220  [1mready");

    let authority = Authority::new();
    let peer = Peer::tls(Family::V6, &authority.good(), &[], [Step::Hold]).await;
    let ask = Ask::new(peer.url("tcp"))
        .option("tls", "true")
        .option("ca", authority.path());
    let found = ask.observe().await;
    assert_eq!(phases(&found), ["connect", "tls"], "{found:?}");
    assert_eq!(fact(&found, "tls.protocol"), "TLSv1.3");
}

#[tokio::test]
async fn a_bare_connect_ends_as_asked_and_a_conversation_with_a_fin() {
    for (options, end) in [
        (&[][..], End::Reset),
        (&[("close", "reset")][..], End::Reset),
        (&[("close", "fin")], End::Fin),
        (&[("send", "hi")], End::Fin),
    ] {
        let peer = Peer::tcp(Family::V4, [Step::Hold]).await;
        let mut ask = Ask::new(peer.url("tcp"));
        for (option, value) in options {
            ask = ask.option(option, *value);
        }
        let found = ask.observe().await;
        assert_eq!(verdict(&found), "up");
        assert_eq!(peer.ended().await, end, "{options:?}");
    }
}

#[tokio::test]
async fn what_is_sent_arrives_as_written() {
    let peer = Peer::tcp(Family::V4, [Step::Hold]).await;
    let found: Observation = Ask::new(format!("{}?send=a\\r\\n\\xff%20b\\\\", peer.url("tcp")))
        .observe()
        .await;
    assert_eq!(verdict(&found), "up", "{}", detail(&found));
    peer.ended().await;
    assert_eq!(peer.received(), b"a\r\n\xff b\\");
}

#[test]
fn option_errors_come_all_at_once() {
    let ask = Ask::new(
        "tcp://x:1?send=\\q&expect=/(/&close=rst&insecure=true&ca=/nosuch/file&server_name=a%20b&tsl=true",
    );
    let errors = ask.errors();
    let of = |option: &str| {
        errors
            .iter()
            .filter(|e| e.option == option)
            .map(|e| e.message.clone())
            .collect::<Vec<_>>()
    };
    assert!(of("send")[0].contains("holds \\q"), "{errors:?}");
    assert!(of("expect")[0].contains("unclosed group"), "{errors:?}");
    assert!(of("close")[0].contains("rst"), "{errors:?}");
    assert!(of("insecure")[0].contains("without tls"), "{errors:?}");
    assert_eq!(of("ca").len(), 2, "without tls, and not readable: {errors:?}");
    assert_eq!(
        of("server_name").len(),
        2,
        "without tls, and not a name: {errors:?}"
    );
    assert!(
        errors
            .iter()
            .any(|e| e.option == "tsl" && e.hint.as_deref() == Some("did you mean \"tls\"?"))
    );
}
