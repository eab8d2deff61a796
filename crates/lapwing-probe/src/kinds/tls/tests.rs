//! TLS against scripted and hostile peers: a row for each code, over IPv4 and IPv6.

use std::{io::Write, time::Duration};

use lapwing_core::monitor::{Family, Source};

use super::days_or_hours;
use crate::testkit::{
    Ask, Authority, Certified, Closed, FAMILIES, Full, Peer, Row, Step, all, fact, phases, verdict,
};

fn row(name: &str, family: Family, ask: Ask, expected: [&'static str; 2], peer: impl Send + 'static) -> Row {
    Row {
        name: format!("{name} {family:?}"),
        ask,
        verdict: expected[0],
        detail: expected[1],
        peer: Box::new(peer),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn every_certificate() {
    let authority = Authority::new();
    let loopback = &["localhost", "127.0.0.1", "::1"];
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, certified, options, expected) in [
            ("good", authority.good(), &[][..], ["up", ""]),
            (
                "expires soon",
                authority.issue(loopback, -80, 5),
                &[],
                ["degraded tls.expiring", "certificate expires in 5 days ("],
            ),
            (
                "expires today",
                authority.issue(loopback, -80, 0),
                &[("insecure", "true")],
                ["degraded tls.expiring", "expired 0 minutes ago ("],
            ),
            (
                "soon, but asked less",
                authority.issue(loopback, -80, 5),
                &[("expires_within", "4d")],
                ["up", ""],
            ),
            (
                "soon, but off",
                authority.issue(loopback, -80, 5),
                &[("expires_within", "0s")][..],
                ["up", ""],
            ),
            (
                "asked more",
                authority.good(),
                &[("expires_within", "100d")],
                ["degraded tls.expiring", "in 90 days"],
            ),
            (
                "expired",
                authority.issue(loopback, -80, -3),
                &[],
                ["down tls.expired", "expired"],
            ),
            (
                "expired, insecure",
                authority.issue(loopback, -80, -3),
                &[("insecure", "true")],
                ["degraded tls.expiring", "expired 3 days ago ("],
            ),
            (
                "not yet valid",
                authority.issue(loopback, 3, 90),
                &[],
                ["down tls.not_yet_valid", ""],
            ),
            (
                "wrong name",
                authority.issue(&["other.example"], -1, 90),
                &[],
                ["down tls.name", ""],
            ),
            (
                "its name asked",
                authority.issue(&["other.example"], -1, 90),
                &[("server_name", "other.example")],
                ["up", ""],
            ),
            (
                "its name asked, in short",
                authority.issue(&["other.example"], -1, 90),
                &[("name", "other.example")],
                ["up", ""],
            ),
            (
                "other name asked",
                authority.good(),
                &[("server_name", "other.example")],
                ["down tls.name", "other.example"],
            ),
            (
                "other authority",
                Authority::new().good(),
                &[],
                ["down tls.untrusted", ""],
            ),
            (
                "self-signed",
                Certified::self_signed(),
                &[],
                ["down tls.untrusted", ""],
            ),
            (
                "self-signed, insecure",
                Certified::self_signed(),
                &[("insecure", "true")],
                ["up", ""],
            ),
        ] {
            let peer = Peer::tls(family, &certified, &[], [Step::Hold]).await;
            let mut ask = Ask::new(peer.url("tls")).option("ca", authority.path());
            for (option, value) in options {
                ask = ask.option(option, *value);
            }
            rows.push(row(name, family, ask, expected, peer));
        }
    }
    all(rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn peers_that_do_not_shake_hands() {
    // An authority of our own spares reading those of the system.
    let authority = Authority::new();
    let mut rows = Vec::new();
    for family in FAMILIES {
        // The alerts handshake_failure and protocol_version (RFC 8446 section 6).
        let alert = |code: u8| Step::send([0x15, 3, 3, 0, 2, 2, code]);
        // A record header that announces 16 KiB of handshake, which then never come.
        let huge = Step::send([0x16, 3, 3, 0x40, 0]);
        for (name, script, expected) in [
            (
                "plain text",
                vec![Step::send("SSH-2.0-x\r\n"), Step::Hold],
                ["down tls.protocol", ""],
            ),
            (
                "plain http",
                vec![
                    Step::until("\x01"),
                    Step::send("HTTP/1.1 400 Bad Request\r\n\r\n"),
                ],
                ["down tls.protocol", ""],
            ),
            (
                "silent",
                vec![Step::Hold],
                ["down timeout.tls", "TLS handshake not done within 300ms"],
            ),
            (
                "announces and waits",
                vec![huge, Step::Hold],
                ["down timeout.tls", ""],
            ),
            (
                "drips",
                vec![Step::Drip(vec![0x16, 3, 3, 0x40, 0, 2, 0, 0x3f])],
                ["down timeout.tls", ""],
            ),
            (
                "floods",
                vec![Step::Flood(vec![0x16; 8192])],
                ["down tls.protocol", ""],
            ),
            ("closes", vec![], ["down connect.closed", ""]),
            (
                "closes after the hello",
                vec![Step::until("\x01")],
                ["down connect.closed", ""],
            ),
            ("resets", vec![Step::Reset], ["down connect.reset", ""]),
            (
                "alert handshake_failure",
                vec![Step::until("\x01"), alert(40), Step::Hold],
                ["down tls.alert", ""],
            ),
            (
                "alert protocol_version",
                vec![Step::until("\x01"), alert(70), Step::Hold],
                ["down tls.alert", "protocol_version"],
            ),
        ] {
            let peer = Peer::tcp(family, script).await;
            rows.push(row(
                name,
                family,
                Ask::new(peer.url("tls"))
                    .option("ca", authority.path())
                    .millis(300),
                expected,
                peer,
            ));
        }
        let closed = Closed::new(family);
        let ask = Ask::new(closed.url("tls")).millis(300);
        rows.push(row("refused", family, ask, ["down connect.refused", ""], closed));
        let full = Full::new(family);
        let ask = Ask::new(full.url("tls")).millis(300);
        rows.push(row("full", family, ask, ["down timeout.connect", ""], full));
        let peer = Peer::tcp(family, []).await;
        let mut ask = Ask::new(peer.url("tls"));
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
async fn facts_and_phases_of_good_and_bad() {
    let authority = Authority::new();
    let peer = Peer::tls(Family::V4, &authority.good(), &[], [Step::Hold]).await;
    let found = Ask::new(peer.url("tls"))
        .option("ca", authority.path())
        .observe()
        .await;
    assert_eq!(phases(&found), ["connect", "tls"]);
    let left: i64 = fact(&found, "tls.expires_in").parse().unwrap();
    assert!((90 * 86_400..=90 * 86_400 + 3_600).contains(&left), "{left}");
    let date = fact(&found, "tls.not_after");
    assert!(date.len() == 20 && date.ends_with('Z'), "{date}");
    assert!(fact(&found, "tls.issuer").contains("Lapwing test authority"));
    assert!(fact(&found, "tls.subject").contains("Lapwing test peer"));
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(
            fact(&found, "tls.names").contains(name),
            "{}",
            fact(&found, "tls.names")
        );
    }
    assert_eq!(fact(&found, "tls.protocol"), "TLSv1.3");
    assert!(fact(&found, "tls.cipher").starts_with("TLS13_"));
    assert!(!fact(&found, "tls.serial").is_empty());

    let peer = Peer::tls(
        Family::V4,
        &authority.issue(&["127.0.0.1"], -9, -2),
        &[],
        [Step::Hold],
    )
    .await;
    let found = Ask::new(peer.url("tls"))
        .option("ca", authority.path())
        .observe()
        .await;
    assert_eq!(verdict(&found), "down tls.expired");
    let left: i64 = fact(&found, "tls.expires_in").parse().unwrap();
    assert!((-2 * 86_400 - 100..=-2 * 86_400 + 100).contains(&left), "{left}");
    assert_eq!(fact(&found, "tls.names"), "127.0.0.1");
}

#[tokio::test]
async fn client_certificates() {
    let authority = Authority::new();
    let server = authority.good();
    let one = authority.good().file();
    let (cert, key) = (one.path().display(), one.path().display());
    for paths in [cert.to_string(), format!("{cert},{key}")] {
        let acceptor = server.acceptor(&[], Some(&authority));
        // The server says this only to those who proved who they are.
        let peer = Peer::accepting(Family::V4, acceptor, [Step::send("known")]).await;
        let ask = Ask::new(peer.url("tls"))
            .option("ca", authority.path())
            .option("client_cert", paths);
        assert_eq!(verdict(&ask.observe().await), "up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_our_certificate_is_heard() {
    let authority = Authority::new();
    let mine = authority.good().file();
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, clients, own, expected) in [
            (
                "none",
                &authority,
                None,
                ["down tls.alert", "certificate_required"],
            ),
            (
                "wrong",
                &Authority::new(),
                Some(&mine),
                ["down tls.alert", "peer sent alert"],
            ),
            ("right", &authority, Some(&mine), ["up", ""]),
        ] {
            let acceptor = authority.good().acceptor(&[], Some(clients));
            let peer = Peer::accepting(family, acceptor, [Step::Hold]).await;
            let mut ask = Ask::new(peer.url("tls")).option("ca", authority.path());
            if let Some(own) = own {
                ask = ask.option("client_cert", own.path().to_string_lossy());
            }
            rows.push(row(name, family, ask, expected, peer));
        }
    }
    all(rows).await;
}

#[test]
fn option_errors_come_all_at_once() {
    let errors =
        Ask::new("tls://x:1?ca=/nosuch/ca&client_cert=/nosuch/a,/nosuch/b&expires_within=14&server_name=[")
            .errors();
    let options: Vec<_> = errors.iter().map(|e| e.option.as_str()).collect();
    assert_eq!(
        options,
        ["expires_within", "server_name", "client_cert", "ca"],
        "{errors:?}"
    );
    assert!(errors[3].message.contains("ca: /nosuch/ca: cannot be read"));
    let certificate_alone = Authority::new();
    let ask = Ask::new("tls://x:1").option("client_cert", certificate_alone.path());
    assert!(
        ask.errors()[0].message.contains("no private key in it"),
        "the key is looked for in the same file"
    );
    // What only the first handshake would have found.
    let mut damaged = tempfile::NamedTempFile::new().unwrap();
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    damaged.write_all(text.as_bytes()).unwrap();
    let path = damaged.path().to_string_lossy().into_owned();
    for (kind, option) in [("tls", "ca"), ("https", "ca"), ("tcp", "ca")] {
        let ask = Ask::new(format!("{kind}://x:1")).option(option, path.as_str());
        let errors = ask.errors();
        let found = errors
            .iter()
            .find(|e| e.message.contains("certificate 1 in it is malformed"));
        let found = found.unwrap_or_else(|| panic!("{errors:?}"));
        assert!(
            found.option == option && found.message.contains(&path),
            "{found:?}"
        );
    }
    let (one, two) = (Authority::new().good().file(), Authority::new().good().file());
    let pair = format!("{},{}", one.path().display(), two.path().display());
    let errors = Ask::new("https://x").option("client_cert", pair).errors();
    assert!(
        errors[0].option == "client_cert" && errors[0].message.contains("does not belong"),
        "{errors:?}"
    );
    let errors = Ask::new("tls://x:1?name=a&server_name=b").errors();
    assert_eq!(errors[0].option, "name", "one of them would have no effect");
    let errors = Ask::new("tls://x:1?client_cert=a,b,c").errors();
    assert!(errors[0].message.contains("more than two"));
}

#[test]
fn lengths_for_people() {
    for (seconds, text) in [
        (0, "0 minutes"),
        (90, "1 minute"),
        (7_199, "119 minutes"),
        (7_200, "2 hours"),
        (86_400 * 5, "5 days"),
    ] {
        assert_eq!(days_or_hours(Duration::from_secs(seconds)), text);
    }
}
