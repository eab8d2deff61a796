//! Against peers that are no daemon, or a bad one. Each route is tested where it is served.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    task::JoinHandle,
};

use super::*;

/// One that gives every request the same bytes.
struct Peer {
    _folder: TempDir,
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// After the bytes it closes the connection, or holds it.
    fn answering(bytes: impl Into<Vec<u8>>, hold: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let bytes = bytes.into();
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                // Whoever has read enough is gone.
                drop(stream.write_all(&bytes).await);
                if hold {
                    held.push(stream);
                }
            }
        });
        Self {
            _folder: folder,
            socket,
            task,
        }
    }

    fn client(&self) -> Client {
        Client::new(&*self.socket)
    }

    fn bounded(&self, change: impl Fn(Bounds) -> Bounds) -> Client {
        Client {
            limits: LIMITS.each(change),
            ..self.client()
        }
    }

    /// Who soon has enough of silence.
    fn hasty(&self) -> Client {
        let silence = Duration::from_millis(50);
        self.bounded(|bounds| Bounds { silence, ..bounds })
    }

    /// One that begins like this and then gives a byte every now and then, for ever.
    fn dripping(start: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let start = start.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut next = stream.write_all(start.as_bytes()).await;
                while next.is_ok() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    next = stream.write_all(b" ").await;
                }
            }
        });
        Self {
            _folder: folder,
            socket,
            task,
        }
    }
}

/// Asks what has limits of its own: each in turn.
async fn each_sort(client: &Client) -> [Option<ClientError>; 9] {
    let wish = crate::surface::examples::wish();
    let history = HistoryQuery {
        series: vec!["web".to_owned()],
        from: String::new(),
        to: String::new(),
        buckets: 1,
    };
    [
        client.notifiers().await.err(),
        client.status().await.err(),
        client.wish(&wish).await.err(),
        client.remove("web").await.err(),
        client.reload().await.err(),
        client.test_notifier("team").await.err(),
        client.history(&history).await.err(),
        client.report(&ReportQuery::default()).await.err(),
        client.restore(Path::new("/x")).await.err(),
    ]
}

fn head(status: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n")
}

fn whole(status: &str, body: &str) -> String {
    head(status, body.len()) + body
}

/// A stream of these lines, chunked; cut off where `ended` is false.
fn stream(lines: &str, ended: bool) -> String {
    let end = if ended { "0\r\n\r\n" } else { "" };
    format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{lines}\r\n{end}",
        lines.len()
    )
}

const RESULT: &str =
    r#"{"v":1,"series":"web","at":"2026-11-20T18:00:00.000000Z","state":"up","sent":1,"lost":0}"#;

#[test]
fn any_name_fits_into_a_path_and_a_query() {
    assert_eq!(target(&["monitors", "web-1"], &[]), "/api/v1/monitors/web-1");
    let name = "a/b&c=d?#% ü.";
    let encoded = "a%2Fb%26c%3Dd%3F%23%25%20%C3%BC.";
    assert_eq!(
        target(&["notifiers", name, "test"], &[]),
        format!("/api/v1/notifiers/{encoded}/test")
    );
    let pairs = [("monitor", name.to_owned()), ("limit", "3".to_owned())];
    assert_eq!(
        target(&["x"], &pairs),
        format!("/api/v1/x?monitor={encoded}&limit=3")
    );
}

#[tokio::test]
async fn without_a_daemon_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let nobody = Client::new(&*socket).status().await.unwrap_err();
    assert_eq!(
        nobody,
        ClientError::NoDaemon {
            socket: socket.clone()
        }
    );
    let words = nobody.to_string();
    let expected = format!(
        "no daemon runs on {}: `lapwing run` starts one here",
        folder.path().display()
    );
    assert!(words.starts_with(&expected), "{words}");
    // The file that a killed daemon leaves behind.
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(Client::new(&*socket).reload().await.unwrap_err(), nobody);
}

#[tokio::test]
async fn a_socket_that_may_not_be_opened() {
    let peer = Peer::answering(whole("200 OK", "{}"), false);
    let folder = peer.socket.parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap();
    let seen = peer.client().notifiers().await.unwrap_err();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    // Whoever may do everything gets through.
    if !matches!(seen, ClientError::OtherVersion { .. }) {
        assert!(matches!(seen, ClientError::Denied { .. }), "{seen:?}");
    }
    let denied = ClientError::Denied {
        socket: "/x/socket".into(),
    };
    assert_eq!(
        denied.to_string(),
        "/x/socket cannot be reached: Permission denied (os error 13); run this as the user who runs the daemon, or as root"
    );
}

#[tokio::test]
async fn a_path_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let far = folder.path().join("x".repeat(200));
    let seen = Client::new(far).alive().await.unwrap_err().to_string();
    assert!(seen.starts_with("the daemon cannot be reached: "), "{seen}");
}

#[tokio::test]
async fn a_daemon_of_another_version() {
    for (answer, why) in [
        (
            whole("404 Not Found", "There is nothing here.\n"),
            "it does not know what it is asked",
        ),
        (
            whole("404 Not Found", r#"{"message":"no"}"#),
            "it does not know what it is asked",
        ),
        (
            whole("405 Method Not Allowed", ""),
            "it does not know what it is asked",
        ),
        (
            whole("200 OK", r#"{"v":2,"notifiers":"none"}"#),
            "invalid type: string \"none\"",
        ),
        (whole("200 OK", "ok\n"), "expected value"),
        (whole("200 OK", ""), "EOF while parsing"),
        (
            whole("500 Internal Server Error", "oh\u{1b}[31m"),
            "500 Internal Server Error: oh",
        ),
    ] {
        let seen = Peer::answering(answer, false)
            .client()
            .notifiers()
            .await
            .unwrap_err();
        assert!(
            matches!(&seen, ClientError::OtherVersion { why: told } if told.starts_with(why)),
            "{seen:?}"
        );
        let words = seen.to_string();
        assert!(
            words.contains("restart it") && !words.contains('\u{1b}'),
            "{words:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_words() {
    let body = r#"{"error":"there is no monitor \"wep\"","hint":"did you mean \"web\"?","more":1}"#;
    let peer = Peer::answering(whole("404 Not Found", body), false);
    for seen in [
        peer.client().monitor("wep").await.map(drop).unwrap_err(),
        peer.client().check(&[]).await.map(drop).unwrap_err(),
        peer.client().events(&[]).await.map(drop).unwrap_err(),
        peer.client()
            .restore(Path::new("/x"))
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(
            matches!(seen, ClientError::Refused { status: 404, .. }),
            "{seen:?}"
        );
        assert_eq!(
            seen.to_string(),
            "there is no monitor \"wep\"; did you mean \"web\"?"
        );
    }
    let report = ErrorShape {
        error: "one\ntwo".to_owned(),
        hint: Some("mend it".to_owned()),
    };
    assert_eq!(report.sentence(), "one\ntwo\nmend it");
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    for (bytes, what) in [
        (String::new(), "no answer"),
        ("HTTP/1.1 200 OK\r\n".to_owned(), "no answer"),
        (head("200 OK", 100) + "{", "nothing more"),
    ] {
        let peer = Peer::answering(bytes, true);
        let seen = peer.hasty().monitors(&MonitorQuery::default()).await.unwrap_err();
        let socket = peer.socket.display();
        assert_eq!(
            seen.to_string(),
            format!("the daemon does not answer: {socket}: {what} came within 50ms")
        );
    }
    let (peer, nothing) = (Peer::answering("", true), Vec::new());
    for seen in [
        peer.hasty().check(&nothing).await.map(drop),
        peer.hasty().results(&nothing).await.map(drop),
    ] {
        let seen = seen.unwrap_err().to_string();
        assert!(seen.ends_with("no answer came within 50ms"), "{seen}");
    }
    // A stream is silent while nothing happens.
    let peer = Peer::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true);
    let mut events = peer.hasty().events(&nothing).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn each_sort_of_question_has_its_own_patience() {
    let peer = Peer::answering("", true);
    let after = |silence: u64| Bounds {
        silence: Duration::from_millis(silence),
        ..GLANCE
    };
    let client = Client {
        limits: Limits {
            glance: after(21),
            status: after(22),
            change: after(23),
            reload: after(24),
            delivery: after(25),
            history: after(26),
            report: after(27),
            restore: after(28),
            line: LIMITS.line,
        },
        ..peer.client()
    };
    let expected = [21, 22, 23, 23, 24, 25, 26, 27, 28];
    for (seen, ms) in each_sort(&client).await.into_iter().zip(expected) {
        let seen = seen.unwrap().to_string();
        assert!(
            seen.ends_with(&format!("no answer came within {ms}ms")),
            "{ms}: {seen}"
        );
    }
}

#[tokio::test]
async fn who_asks_may_have_less_patience() {
    let peer = Peer::answering("", true);
    let client = peer.client().with_patience(Duration::from_millis(20));
    let mut seen = Vec::from(each_sort(&client).await);
    seen.push(client.alive().await.err());
    seen.push(client.events(&[]).await.err());
    for one in seen {
        let one = one.unwrap().to_string();
        assert!(one.ends_with("answer came within 20ms"), "{one}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_has_a_deadline() {
    let whole = Duration::from_millis(100);
    for status in ["200 OK", "404 Not Found"] {
        let peer = Peer::dripping(&head(status, 1_000_000));
        let client = peer.bounded(|bounds| Bounds { whole, ..bounds });
        let mut seen = vec![client.series(&SeriesQuery::default()).await.err()];
        if status != "200 OK" {
            seen.push(client.events(&[]).await.err());
        }
        for one in seen {
            let one = one.unwrap().to_string();
            assert!(
                one.ends_with("no whole answer came within 100ms"),
                "{status}: {one}"
            );
        }
    }
    let drips = Peer::dripping("HTTP/1.1 200 OK\r\nx:");
    let seen = drips.hasty().status().await.unwrap_err().to_string();
    assert!(seen.ends_with("no answer came within 50ms"), "{seen}");
}

#[tokio::test]
async fn a_socket_of_something_else() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.7\r\n",
        "220 mail ESMTP\r\n",
        "\0\u{1}\u{2}garbage\r\n\r\n",
    ] {
        let peer = Peer::answering(bytes, false);
        let seen = peer.client().events(&[]).await.map(drop).unwrap_err();
        assert!(matches!(seen, ClientError::Foreign { .. }), "{seen:?}");
        let expected = format!("what listens on {} is no Lapwing daemon (", peer.socket.display());
        assert!(seen.to_string().starts_with(&expected), "{seen}");
    }
    // One that speaks first.
    let peer = Peer::dripping("220 mail ESMTP\r\n");
    let seen = peer.hasty().status().await.unwrap_err();
    assert!(matches!(seen, ClientError::Foreign { .. }), "{seen:?}");
}

#[tokio::test]
async fn an_answer_cut_short() {
    for bytes in [
        head("200 OK", 100) + "{\"v\":1",
        head("409 Conflict", 100) + "{\"err",
    ] {
        let seen = Peer::answering(bytes, false)
            .client()
            .notifiers()
            .await
            .unwrap_err();
        let words = seen.to_string();
        assert!(
            words.starts_with("the daemon ended its answer early: "),
            "{words}"
        );
    }
    let seen = Peer::answering("", false).client().notifiers().await.unwrap_err();
    assert!(
        seen.to_string().starts_with("the daemon does not answer: "),
        "{seen}"
    );
}

#[tokio::test]
async fn an_answer_without_end() {
    let peer = Peer::answering(whole("200 OK", &" ".repeat(5000)), false);
    let mut client = peer.bounded(|bounds| Bounds {
        bytes: 4999,
        ..bounds
    });
    let endless = format!(
        "the daemon answers without end: {}: more than 4999 bytes came",
        peer.socket.display()
    );
    for seen in each_sort(&client).await {
        assert_eq!(seen.unwrap().to_string(), endless);
    }
    // Two of them may be longer.
    client.limits = LIMITS.each(|bounds| Bounds {
        bytes: if bounds.bytes == GLANCE.bytes { 4999 } else { 5000 },
        ..bounds
    });
    let expected = [true, false, true, true, true, true, true, false, true];
    for (seen, is_endless) in each_sort(&client).await.into_iter().zip(expected) {
        assert_eq!(seen.unwrap().to_string() == endless, is_endless);
    }
}

#[tokio::test]
async fn a_stream_that_ends() {
    let two = format!("{RESULT}\n{RESULT}\n");
    let results = |bytes: String| async move {
        let peer = Peer::answering(bytes, false);
        let mut lines = peer.client().results(&[]).await.unwrap();
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await {
            seen.push(line.map(|result| result.series));
        }
        assert!(lines.next().await.is_none(), "nothing follows the end");
        seen
    };
    let web = || Ok("web".to_owned());
    assert_eq!(results(stream(&two, true)).await, [web(), web()]);
    let cut = results(stream(&two, false)).await;
    assert_eq!(cut[..2], [web(), web()]);
    assert!(
        matches!(
            &cut[2..],
            [Err(ClientError::Broken {
                what: "ended its answer early",
                ..
            })]
        ),
        "{cut:?}"
    );
    let half = results(stream(&format!("{RESULT}\n{}", &RESULT[..20]), true)).await;
    let words = half[1].as_ref().unwrap_err().to_string();
    assert_eq!(
        words,
        "the daemon ended its answer early: its last line is not whole"
    );
    let told = results(stream(
        &format!("{RESULT}\n{{\"error\":\"too slow\",\"hint\":\"be quick\"}}\n{RESULT}\n"),
        true,
    ))
    .await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1].as_ref().unwrap_err().to_string(), "too slow; be quick");
    for (text, ended) in [
        ("[]\n", true),
        ("{\"v\":2}\n", true),
        ("{\"v\":2}", true),
        ("{\"v\":2}", false),
    ] {
        let other = results(stream(text, ended)).await;
        assert!(
            matches!(&other[..], [Err(ClientError::OtherVersion { .. })]),
            "{text} {other:?}"
        );
    }
}

#[tokio::test]
async fn a_line_comes_as_it_was_written() {
    let line = RESULT.replace("\"v\":1", "\"v\":1,\"later\":true");
    let peer = Peer::answering(stream(&format!("{line}\n"), true), false);
    let mut lines = peer.client().results(&[]).await.unwrap();
    let (result, text) = lines.next_line().await.unwrap().unwrap();
    assert_eq!((result.series.as_str(), text), ("web", line));
}

#[tokio::test]
async fn a_line_without_end() {
    let peer = Peer::answering(stream(&"x".repeat(LIMITS.line + 1), false), true);
    let mut lines = peer.client().results(&[]).await.unwrap();
    let seen = lines.next().await.unwrap().unwrap_err().to_string();
    assert!(seen.contains("(a line has no end)"), "{seen}");
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn a_stream_may_be_left_and_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (go_on, mut goes_on) = tokio::sync::mpsc::channel::<()>(1);
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        let text = self::stream(&format!("{RESULT}\n"), false);
        let middle = text.len() - 50;
        stream.write_all(&text.as_bytes()[..middle]).await.unwrap();
        goes_on.recv().await.unwrap();
        stream.write_all(&text.as_bytes()[middle..]).await.unwrap();
        // Whoever drops the stream ends the connection.
        assert_eq!(stream.read(&mut head).await.unwrap(), 0);
    });
    let mut lines = Client::new(&*socket).results(&[]).await.unwrap();
    let half = tokio::time::timeout(Duration::from_millis(50), lines.next()).await;
    assert!(half.is_err(), "half a line is none");
    go_on.send(()).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().series, "web");
    drop(lines);
    tokio::time::timeout(Duration::from_secs(20), peer)
        .await
        .unwrap()
        .unwrap();
}
