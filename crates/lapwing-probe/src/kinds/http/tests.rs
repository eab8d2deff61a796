//! HTTP against scripted and hostile peers: a row for each code, over IPv4 and IPv6.

use lapwing_core::{
    kind::OptionValue,
    monitor::{Family, Source},
};

use crate::testkit::{
    Ask, Authority, Certified, Closed, FAMILIES, Full, Peer, Row, Step, all, detail, fact, phases, verdict,
};

type Options = &'static [(&'static str, &'static str)];

fn row(name: &str, family: Family, ask: Ask, expected: [&'static str; 2], peer: impl Send + 'static) -> Row {
    Row {
        name: format!("{name} {family:?}"),
        ask,
        verdict: expected[0],
        detail: expected[1],
        peer: Box::new(peer),
    }
}

fn with(mut ask: Ask, options: Options) -> Ask {
    for (option, value) in options {
        ask = ask.option(option, *value);
    }
    ask
}

/// Waits for the request, then sends this and closes.
fn answer(text: &str) -> Vec<Step> {
    vec![Step::until("\r\n\r\n"), Step::send(text)]
}

/// Waits for the request, then does this.
fn then(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    std::iter::once(Step::until("\r\n\r\n")).chain(steps).collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain; x\r\nX-Two: a\r\nX-Two: b\r\n\r\nall ok";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn every_answer() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let moved = "HTTP/1.1 301 Moved\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n";
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\nhead{}",
        "x".repeat(2996)
    );
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, text, options, expected) in [
            ("ok", OK, &[][..], ["up", ""]),
            (
                "status",
                busy,
                &[],
                ["down http.status", "status 503, expected 200-299"],
            ),
            (
                "status asked for",
                busy,
                &[("status", "200-299, 503")],
                ["up", ""],
            ),
            (
                "status not asked for",
                OK,
                &[("status", "201,300-599")],
                ["down http.status", "status 200, expected 201, 300-599"],
            ),
            (
                "redirect not followed",
                moved,
                &[("redirects", "0")],
                ["down http.status", "status 301"],
            ),
            (
                "redirect asked for",
                moved,
                &[("redirects", "0"), ("status", "301")],
                ["up", ""],
            ),
            ("redirect for ever", moved, &[], ["down http.redirects", ""]),
            ("body", OK, &[("expect_body", "all o")], ["up", ""]),
            (
                "body by regex",
                OK,
                &[("expect_body", "/^ALL(?-i) /")],
                ["down body.mismatch", "/^ALL(?-i) /"],
            ),
            (
                "body, ignoring case",
                OK,
                &[("expect_body", "/(?i)^ALL/")],
                ["up", ""],
            ),
            (
                "body mismatch",
                OK,
                &[("expect_body", "fine")],
                [
                    "down body.mismatch",
                    "expected \"fine\", but the body begins with \"all o",
                ],
            ),
            (
                "empty body",
                "HTTP/1.1 204 No Content\r\n\r\n",
                &[("expect_body", "ok")],
                ["down body.mismatch", "the body is empty"],
            ),
            (
                "long body, found",
                &long,
                &[("expect_body", "head"), ("max_body", "1KiB")],
                ["up", ""],
            ),
            (
                "long body, not found",
                &long,
                &[("expect_body", "tail"), ("max_body", "1KiB")],
                ["down http.too_large", "\"tail\" is not in the first 1KiB"],
            ),
            ("long body, not asked", &long, &[("max_body", "10")], ["up", ""]),
            (
                "header",
                OK,
                &[("expect_header", "content-type: text/plain")],
                ["up", ""],
            ),
            (
                "header by regex",
                OK,
                &[("expect_header", "X-Two: /^b$/")],
                ["up", ""],
            ),
            ("header present", OK, &[("expect_header", "X-Two:")], ["up", ""]),
            (
                "header missing",
                OK,
                &[("expect_header", "X-Three:")],
                ["down header.mismatch", "header x-three is missing"],
            ),
            (
                "header mismatch",
                OK,
                &[("expect_header", "X-Two: c")],
                ["down header.mismatch", "header x-two: expected \"c\", got \"a\""],
            ),
            (
                "HTTP/1.0 to the end",
                "HTTP/1.0 200 OK\r\n\r\nfine",
                &[("expect_body", "fine")],
                ["up", ""],
            ),
            (
                "chunked",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n",
                &[("expect_body", "fine")],
                ["up", ""],
            ),
        ] {
            let peer = Peer::tcp(family, answer(text)).await;
            rows.push(row(
                name,
                family,
                with(Ask::new(peer.url("http")).millis(400), options),
                expected,
                peer,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn hostile_peers() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = |body: Step| then([Step::send("HTTP/1.1 200 OK\r\n\r\n"), body]);
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, script, options, expected) in [
            (
                "silent",
                then([Step::Hold]),
                &[][..],
                ["down timeout.first_byte", "no answer within 300ms"],
            ),
            ("closes at once", vec![], &[], ["down connect.closed", ""]),
            ("closes", then([]), &[], ["down connect.closed", ""]),
            (
                "resets at once",
                vec![Step::Reset],
                &[],
                ["down connect.reset", ""],
            ),
            ("resets", then([Step::Reset]), &[], ["down connect.reset", ""]),
            (
                "garbage",
                then([Step::send([0xff; 100]), Step::Hold]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "another protocol",
                then([Step::send("SSH-2.0-OpenSSH\r\n"), Step::Hold]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "drips the head",
                then([
                    Step::send("HTTP/1.1 200 OK\r\n"),
                    Step::Drip(b"X-Y: z\r\n".to_vec()),
                ]),
                &[],
                ["down timeout.first_byte", ""],
            ),
            (
                "endless header",
                then([
                    Step::send("HTTP/1.1 200 OK\r\nX: "),
                    Step::Flood(vec![b'y'; 8192]),
                ]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "endless informational",
                then([Step::Flood(b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000))]),
                &[],
                ["down http.malformed", "192 KiB came before the answer's head"],
            ),
            (
                "speaks first",
                vec![Step::send("SSH-2.0-OpenSSH\r\n"), Step::Hold],
                &[],
                ["down http.malformed", "answer is not HTTP"],
            ),
            (
                "endless headers",
                then([
                    Step::send("HTTP/1.1 200 OK\r\n"),
                    Step::Flood(b"X: y\r\n".repeat(1000)),
                ]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "drips the body",
                endless(Step::Drip(b"ab".to_vec())),
                &[],
                ["down timeout.transfer", "not complete within 300ms"],
            ),
            (
                "stops in the body",
                then([
                    Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
                    Step::Hold,
                ]),
                &[],
                ["down timeout.transfer", ""],
            ),
            (
                "ends in the body",
                then([Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")]),
                &[],
                ["down connect.closed", ""],
            ),
            (
                "resets in the body",
                then([
                    Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
                    Step::Reset,
                ]),
                &[],
                ["down connect.reset", ""],
            ),
            (
                "endless body",
                endless(Step::Flood(vec![b'x'; 65_536])),
                &[("max_body", "300kB")],
                ["up", ""],
            ),
            (
                "endless body, not found",
                endless(Step::Flood(vec![b'x'; 65_536])),
                &[("max_body", "300kB"), ("expect_body", "y")],
                ["down http.too_large", "300000 bytes"],
            ),
            (
                "chunk size overflow",
                then([Step::send(format!("{chunked}fffffffffffffffff\r\n")), Step::Hold]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "chunk size not hex",
                then([Step::send(format!("{chunked}zz\r\n")), Step::Hold]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "endless chunk extension",
                then([Step::send(format!("{chunked}1;")), Step::Flood(vec![b'e'; 8192])]),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "two lengths",
                answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "absurd length",
                answer("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab"),
                &[],
                ["down http.malformed", ""],
            ),
            (
                "redirect to a file",
                answer("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
                &[],
                ["down http.redirects", ""],
            ),
            (
                "redirect to nowhere",
                answer("HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"),
                &[],
                ["down http.redirects", ""],
            ),
        ] {
            let peer = Peer::tcp(family, script).await;
            rows.push(row(
                name,
                family,
                with(Ask::new(peer.url("http")).millis(300), options),
                expected,
                peer,
            ));
        }
        let closed = Closed::new(family);
        let ask = Ask::new(closed.url("http")).millis(300);
        rows.push(row("refused", family, ask, ["down connect.refused", ""], closed));
        let full = Full::new(family);
        let ask = Ask::new(full.url("http")).millis(300);
        rows.push(row("full", family, ask, ["down timeout.connect", ""], full));
        let peer = Peer::tcp(family, answer(OK)).await;
        let mut ask = Ask::new(peer.url("http"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn within_tls() {
    let authority = Authority::new();
    let loopback = &["localhost", "127.0.0.1", "::1"];
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, certified, script, options, expected) in [
            ("ok", authority.good(), answer(OK), &[][..], ["up", ""]),
            (
                "expiring",
                authority.issue(loopback, -80, 5),
                answer(OK),
                &[],
                ["degraded tls.expiring", "expires in 5 days"],
            ),
            (
                "expiring, not asked",
                authority.issue(loopback, -80, 5),
                answer(OK),
                &[("expires_within", "1d")][..],
                ["up", ""],
            ),
            (
                "expiring and down",
                authority.issue(loopback, -80, 5),
                answer(OK),
                &[("status", "500")],
                ["down http.status", ""],
            ),
            (
                "expired",
                authority.issue(loopback, -80, -1),
                answer(OK),
                &[],
                ["down tls.expired", ""],
            ),
            (
                "not yet valid",
                authority.issue(loopback, 1, 80),
                answer(OK),
                &[],
                ["down tls.not_yet_valid", ""],
            ),
            (
                "wrong name",
                authority.issue(&["other.example"], -1, 80),
                answer(OK),
                &[],
                ["down tls.name", ""],
            ),
            (
                "self-signed",
                Certified::self_signed(),
                answer(OK),
                &[],
                ["down tls.untrusted", ""],
            ),
            (
                "insecure",
                Certified::self_signed(),
                answer(OK),
                &[("insecure", "true"), ("expect_body", "all o")],
                ["up", ""],
            ),
            (
                "silent",
                authority.good(),
                then([Step::Hold]),
                &[],
                ["down timeout.first_byte", ""],
            ),
            (
                "closes",
                authority.good(),
                then([]),
                &[],
                ["down connect.closed", ""],
            ),
            (
                "no HTTP/2 there",
                authority.good(),
                answer(OK),
                &[("http_version", "2")],
                ["down tls.alert", "no_application_protocol"],
            ),
        ] {
            let peer = Peer::tls(family, &certified, &["http/1.1"], script).await;
            let ask = Ask::new(peer.url("https"))
                .millis(600)
                .option("ca", authority.path());
            rows.push(row(name, family, with(ask, options), expected, peer));
        }
        let plain = Peer::tcp(
            family,
            [Step::send("HTTP/1.1 400 Bad Request\r\n\r\n"), Step::Hold],
        )
        .await;
        let ask = Ask::new(plain.url("https"))
            .option("ca", authority.path())
            .millis(300);
        rows.push(row("plain http", family, ask, ["down tls.protocol", ""], plain));
        let silent = Peer::tcp(family, [Step::Hold]).await;
        let ask = Ask::new(silent.url("https"))
            .option("ca", authority.path())
            .millis(300);
        rows.push(row(
            "silent in the handshake",
            family,
            ask,
            ["down timeout.tls", ""],
            silent,
        ));
    }
    all(rows).await;
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Shakes hands as an HTTP/2 server, waits for the request, then does this.
fn http2(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let start = [
        Step::until("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Step::Send(frame(4, 0, 0, &[])),
    ];
    start.into_iter().chain(steps).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn over_http2() {
    let authority = Authority::new();
    // HEADERS with `:status: 200` (RFC 7541 appendix A, index 8), then DATA.
    let ok = || {
        http2([
            // The request: HEADERS with END_STREAM and END_HEADERS on stream 1.
            Step::until([1, 5, 0, 0, 0, 1]),
            Step::Send([frame(1, 4, 1, &[0x88]), frame(0, 1, 1, b"all ok")].concat()),
            Step::Hold,
        ])
    };
    let go_away = frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]);
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (name, script, options, expected) in [
            ("ok", ok(), &[("expect_body", "all ok")][..], ["up", ""]),
            ("ok, asked for", ok(), &[("http_version", "2")], ["up", ""]),
            (
                "goes away",
                http2([Step::Send(go_away.clone()), Step::Hold]),
                &[],
                [
                    "down http.malformed",
                    "peer refused the HTTP/2 connection: INTERNAL_ERROR",
                ],
            ),
            (
                "goes away, asked",
                http2([
                    Step::until([1, 5, 0, 0, 0, 1]),
                    Step::Send(go_away.clone()),
                    Step::Hold,
                ]),
                &[],
                [
                    "down http.malformed",
                    "peer refused the HTTP/2 connection: INTERNAL_ERROR",
                ],
            ),
            (
                "goes away in order",
                http2([Step::Send(frame(7, 0, 0, &[0; 8])), Step::Hold]),
                &[],
                ["down http.malformed", "peer refused the HTTP/2 connection"],
            ),
            (
                "resets the stream",
                http2([
                    Step::until([1, 5, 0, 0, 0, 1]),
                    // RST_STREAM with REFUSED_STREAM.
                    Step::Send(frame(3, 0, 1, &[0, 0, 0, 7])),
                    Step::Hold,
                ]),
                &[],
                [
                    "down http.malformed",
                    "peer refused the HTTP/2 request: REFUSED_STREAM",
                ],
            ),
            (
                "breaks the rules",
                // DATA on stream 0.
                http2([Step::Send(frame(0, 0, 0, b"x")), Step::Hold]),
                &[],
                [
                    "down http.malformed",
                    "answer is not valid HTTP/2: PROTOCOL_ERROR",
                ],
            ),
            (
                "silent",
                http2([Step::Hold]),
                &[],
                ["down timeout.first_byte", ""],
            ),
        ] {
            let peer = Peer::tls(family, &authority.good(), &["h2", "http/1.1"], script).await;
            let ask = Ask::new(peer.url("https"))
                .millis(600)
                .option("ca", authority.path());
            rows.push(row(name, family, with(ask, options), expected, peer));
        }
        let peer = Peer::tcp(family, ok()).await;
        let ask = Ask::new(peer.url("http"))
            .option("http_version", "2")
            .option("expect_body", "all ok");
        rows.push(row("without TLS", family, ask, ["up", ""], peer));
    }
    all(rows).await;
}

/// Each costs a processor for a while, so each runs over one family. They end long before the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_over_http2() {
    let authority = Authority::new();
    let flood = |frame: Vec<u8>| http2([Step::Flood(frame.repeat(500))]);
    let mut rows = Vec::new();
    for (name, family, script, expected) in [
        (
            "ping flood",
            Family::V4,
            flood(frame(6, 0, 0, &[0; 8])),
            ["down http.malformed", "704 KiB came before"],
        ),
        (
            "settings flood",
            Family::V6,
            flood(frame(4, 0, 0, &[])),
            ["down http.malformed", "704 KiB came before"],
        ),
        (
            "informational flood",
            Family::V6,
            http2([
                Step::until([1, 5, 0, 0, 0, 1]),
                // `:status: 103`, without indexing (RFC 7541 section 6.2.2).
                Step::Flood(frame(1, 4, 1, b"\x08\x03103").repeat(500)),
            ]),
            ["down http.malformed", "704 KiB came before"],
        ),
        (
            "continuation flood",
            Family::V4,
            http2([
                Step::until([1, 5, 0, 0, 0, 1]),
                Step::Send(frame(1, 0, 1, &[0x88])),
                Step::Flood(frame(9, 0, 1, &[0x88; 100]).repeat(100)),
            ]),
            ["down http.malformed", ""],
        ),
        (
            "empty data flood",
            Family::V6,
            http2([
                Step::until([1, 5, 0, 0, 0, 1]),
                Step::Send(frame(1, 4, 1, &[0x88])),
                Step::Flood(frame(0, 0, 1, &[]).repeat(500)),
            ]),
            ["down http.malformed", ""],
        ),
        (
            "garbage",
            Family::V4,
            http2([Step::Flood(vec![0xff; 8192])]),
            ["down http.malformed", ""],
        ),
    ] {
        let peer = Peer::tls(family, &authority.good(), &["h2", "http/1.1"], script).await;
        let ask = Ask::new(peer.url("https"))
            .millis(4000)
            .option("ca", authority.path());
        rows.push(row(name, family, ask, expected, peer));
    }
    all(rows).await;
}

#[tokio::test]
async fn facts_and_phases() {
    let peer = Peer::tcp(Family::V4, answer(OK)).await;
    let found = Ask::new(peer.url("http")).observe().await;
    assert_eq!(phases(&found), ["connect", "first_byte", "transfer"]);
    for (name, value) in [
        ("http.status", "200"),
        ("http.version", "HTTP/1.1"),
        ("http.bytes", "5"),
        ("http.truncated", ""),
        ("http.url", ""),
        ("http.redirects", ""),
    ] {
        assert_eq!(fact(&found, name), value, "{name}");
    }
    assert_eq!(fact(&found, "http.peer"), peer.address().to_string());

    let peer = Peer::tcp(Family::V6, answer(OK)).await;
    for (max_body, truncated) in [("4", "true"), ("5", "")] {
        let found = Ask::new(peer.url("http"))
            .option("max_body", max_body)
            .observe()
            .await;
        assert_eq!(verdict(&found), "up");
        assert_eq!(fact(&found, "http.bytes"), max_body);
        assert_eq!(fact(&found, "http.truncated"), truncated);
    }

    let authority = Authority::new();
    let peer = Peer::tls(Family::V6, &authority.good(), &["http/1.1"], answer(OK)).await;
    let found = Ask::new(peer.url("https"))
        .option("ca", authority.path())
        .observe()
        .await;
    assert_eq!(phases(&found), ["connect", "tls", "first_byte", "transfer"]);
    assert!(!fact(&found, "tls.not_after").is_empty());

    let peer = Peer::tls(Family::V4, &Certified::self_signed(), &[], answer(OK)).await;
    let found = Ask::new(peer.url("https"))
        .option("ca", authority.path())
        .observe()
        .await;
    assert_eq!(verdict(&found), "down tls.untrusted");
    assert!(
        !fact(&found, "tls.names").is_empty(),
        "a bad certificate has facts too"
    );
}

#[tokio::test]
async fn redirects_are_followed_and_credentials_stay_behind() {
    let last = Peer::tcp(Family::V6, answer(OK)).await;
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}/c?d\r\nContent-Length: 0\r\n\r\n",
        last.url("http")
    );
    let near = "HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let first = Peer::turns(Family::V4, vec![answer(near), answer(&elsewhere)]).await;
    let ask = Ask::new(format!("{}/a", first.url("http")))
        .option("auth", "user:canary")
        .option("headers", "X-Api-Key: canary")
        .option("redirects", "2");
    let found = ask.observe().await;
    assert_eq!(verdict(&found), "up", "{}", detail(&found));
    assert_eq!(fact(&found, "http.redirects"), "2");
    assert_eq!(fact(&found, "http.url"), format!("{}/c?d", last.url("http")));
    assert_eq!(fact(&found, "http.peer"), last.address().to_string());
    assert_eq!(first.connections(), 2);
    let (first, last) = (text(&first), text(&last));
    assert_eq!(first.matches("authorization: basic").count(), 2, "{first}");
    assert_eq!(first.matches("x-api-key: canary").count(), 2, "{first}");
    assert!(first.contains("get /b http/1.1"), "{first}");
    assert!(
        last.contains("get /c?d http/1.1") && !last.contains("authorization") && !last.contains("canary"),
        "{last}"
    );
}

#[tokio::test]
async fn one_redirect_too_many() {
    let moved = "HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::turns(Family::V4, vec![answer(moved), answer(moved), answer(OK)]).await;
    let found = Ask::new(peer.url("http"))
        .option("redirects", "1")
        .observe()
        .await;
    assert_eq!(verdict(&found), "down http.redirects");
    assert_eq!(peer.connections(), 2);
}

/// All that came, in lower case.
fn text(peer: &Peer) -> String {
    String::from_utf8_lossy(&peer.received()).to_ascii_lowercase()
}

#[tokio::test]
async fn the_request_is_as_asked() {
    let peer = Peer::tcp(Family::V6, then([Step::until("ping"), Step::send(OK)])).await;
    let headers = OptionValue::Table(vec![
        ("X-Key".to_owned(), OptionValue::Text("v1".to_owned())),
        ("User-Agent".to_owned(), OptionValue::Text("mine".to_owned())),
    ]);
    let ask = Ask::new(format!("{}/a%20b?send=1&expect=2", peer.url("http"))).option("method", "POST");
    let found = ask
        .option("body", "ping")
        .option("auth", "Bearer T0k")
        .value("headers", headers)
        .observe()
        .await;
    assert_eq!(verdict(&found), "up", "{}", detail(&found));
    let request = text(&peer);
    assert!(
        request.starts_with("post /a%20b?send=1&expect=2 http/1.1\r\n"),
        "{request}"
    );
    for line in [
        "x-key: v1",
        "user-agent: mine",
        "authorization: bearer t0k",
        "content-length: 4",
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
    }
    assert!(
        request.contains(&format!("\r\nhost: {}\r\n", peer.address())),
        "{request}"
    );
    assert!(
        !request.contains("mine\r\nuser-agent") && request.matches("user-agent").count() == 1,
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\nping"), "{request}");

    let peer = Peer::tcp(
        Family::V4,
        answer("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
    )
    .await;
    let found = Ask::new(peer.url("http"))
        .option("method", "HEAD")
        .observe()
        .await;
    assert_eq!(verdict(&found), "up", "{}", detail(&found));
}

#[tokio::test]
async fn credentials_stand_nowhere() {
    let denied = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    for script in [
        answer(denied),
        answer("garbage\r\n"),
        vec![],
        vec![Step::Reset],
        answer(OK),
    ] {
        let peer = Peer::tcp(Family::V4, script).await;
        let found = Ask::new(peer.url("http"))
            .option("auth", "user:canary7")
            .option("expect_body", "zz")
            .observe()
            .await;
        let shown = format!("{found:?}");
        assert!(
            !shown.contains("canary7") && !shown.contains("dXNlcjpjYW5hcnk3"),
            "{shown}"
        );
    }
    let errors = Ask::new("http://x")
        .option("auth", "canary7")
        .option("headers", "X: canary7\r\nY: z")
        .errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(!format!("{errors:?}").contains("canary7"));
}

#[tokio::test]
async fn what_a_server_reflects_stays_secret() {
    // The base64 of user:TOPSECRET1.
    const BASIC: &str = "dXNlcjpUT1BTRUNSRVQx";
    let length = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let headers = OptionValue::Table(vec![
        ("X-K".to_owned(), OptionValue::Text("TOPSECRET2".to_owned())),
        ("X-Q".to_owned(), OptionValue::Text("TOP\"SECRET\\3".to_owned())),
    ]);
    // The excerpt of a body ends after 60 bytes: of a secret that lies across its end, no beginning may stand there.
    let across = |secret: &str| length(&format!("{}{secret} and more", "x".repeat(52)));
    for (name, text) in [
        ("auth", length("user:TOPSECRET1")),
        ("password", length("you are TOPSECRET1")),
        ("header", length("you sent TOPSECRET2")),
        ("basic", length(&format!("Authorization: Basic {BASIC}"))),
        ("password across the end", across("TOPSECRET1")),
        ("header across the end", across("TOPSECRET2")),
        ("basic across the end", across(BASIC)),
        ("quoted", length("you sent TOP\"SECRET\\3")),
        (
            "answered header",
            format!("HTTP/1.1 200 OK\r\nX-Seen: TOPSECRET1 TOPSECRET2 {BASIC}\r\nContent-Length: 0\r\n\r\n"),
        ),
    ] {
        let peer = Peer::tcp(Family::V4, answer(&text)).await;
        let mut ask = Ask::new(peer.url("http"))
            .option("auth", "user:TOPSECRET1")
            .value("headers", headers.clone());
        ask = if name == "answered header" {
            ask.option("expect_header", "X-Seen: zz")
        } else {
            ask.option("expect_body", "zz")
        };
        let found = ask.observe().await;
        let expected = ["down body.mismatch", "down header.mismatch"];
        assert!(expected.contains(&verdict(&found).as_str()), "{name}: {found:?}");
        assert!(detail(&found).contains("***"), "{name}: {}", detail(&found));
        shows_none(name, &format!("{found:?}"), BASIC);
    }
    let next = format!(
        "HTTP/1.1 302 Found\r\nLocation: /in?token=TOPSECRET2&was={BASIC}\r\nContent-Length: 0\r\n\r\n"
    );
    let peer = Peer::turns(Family::V4, vec![answer(&next), answer(OK)]).await;
    let found = Ask::new(peer.url("http"))
        .option("auth", "user:TOPSECRET1")
        .option("headers", "X-K: TOPSECRET2")
        .observe()
        .await;
    assert!(fact(&found, "http.url").contains("/in?token=***"), "{found:?}");
    shows_none("redirect", &format!("{found:?}"), BASIC);
}

fn shows_none(name: &str, shown: &str, basic: &str) {
    for part in ["TOPS", "SECRET", &basic[..6], &basic[6..]] {
        assert!(!shown.contains(part), "{name} shows {part}: {shown}");
    }
}

#[test]
fn option_errors_come_all_at_once() {
    let ask = Ask::new("http://x/?method=ignored");
    let bad: Options = &[
        ("method", "GE T"),
        ("status", "200-99,2xx"),
        ("headers", "Transfer-Encoding: chunked"),
        ("expect_body", "/(/"),
        ("expect_header", "a b: c"),
        ("redirects", "51"),
        ("http_version", "3"),
        ("max_body", "1GiB"),
        ("ca", "/nosuch/ca"),
        ("client_cert", "/nosuch/cert"),
        ("expires_within", "14d"),
    ];
    let errors = with(ask, bad).errors();
    for (option, _) in bad {
        assert!(errors.iter().any(|e| e.option == *option), "{option}: {errors:?}");
    }
    assert_eq!(errors.iter().filter(|e| e.option == "status").count(), 2);
    assert!(errors.iter().all(|e| !e.message.contains('\n')), "{errors:?}");
}

#[test]
fn nothing_breaks_out_of_its_place() {
    for (option, value) in [
        ("method", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"),
        ("method", ""),
        ("method", "CONNECT"),
        ("headers", "X\r\nY: z"),
        ("headers", "X: y\r\nZ: z"),
        ("headers", "X: y\0"),
        ("headers", "Content-Length: 0"),
        ("headers", ": empty"),
        ("auth", "Bearer x\r\nY: z"),
        ("auth", ""),
        ("status", ""),
        ("status", "99"),
        ("status", "+20"),
        ("expect_body", ""),
        ("max_body", "18446744073709551616"),
        ("max_body", "99999999999999999999MiB"),
        ("max_body", "-1"),
    ] {
        let errors = Ask::new("https://x").option(option, value).errors();
        assert_eq!(errors.len(), 1, "{option} = {value:?}: {errors:?}");
        assert_eq!(errors[0].option, option);
    }
    let both = Ask::new("http://x")
        .option("auth", "a:b")
        .option("headers", "authorization: x")
        .errors();
    assert_eq!(both[0].option, "auth");
    let head = Ask::new("http://x")
        .option("method", "HEAD")
        .option("expect_body", "x")
        .errors();
    assert_eq!(head[0].option, "expect_body");
}
