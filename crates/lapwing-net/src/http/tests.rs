//! Against peers that follow a script, well-behaved and not, directly and through proxies.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use hickory_proto::op::ResponseCode;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lapwing_core::target::Host;
use tempfile::{TempDir, tempdir};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testkit::{
    ClosedPort, Hand,
    certs::{Authority, file, params},
    code,
    dns::{NameServer, Reply},
    net,
    peer::{Peer, gone, head, reset},
};

/// Stands in every URL and header of these tests; it must not stand in any text of a fault.
const SECRET: &str = "s3cr3t-t0k3n";

fn url(peer: &Peer) -> Url {
    format!("http://{}/{SECRET}?key={SECRET}", peer.addr)
        .parse()
        .unwrap()
}

fn get(url: Url) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url,
        headers: vec![("x-key".to_owned(), SECRET.to_owned())],
        body: Vec::new(),
    }
}

async fn ask(request: &HttpRequest, settings: &HttpSettings) -> Result<HttpResponse, Fault> {
    let asked = net().http(request, settings, &()).await;
    if let Err(fault) = &asked {
        assert!(!fault.to_string().contains("s3cr3t"), "{fault}");
    }
    asked
}

/// A peer that reads a request's head and answers with these bytes, then closes.
async fn answering(bytes: impl Into<Vec<u8>>) -> Peer {
    let bytes = bytes.into();
    Peer::start(move |mut stream, _| {
        let bytes = bytes.clone();
        async move {
            head(&mut stream).await;
            stream.write_all(&bytes).await.unwrap();
        }
    })
    .await
}

/// A peer that answers every request with 200 and what it read, and tells how its connections end.
async fn mirror(local: &str) -> Peer {
    Peer::on(local, |mut stream, _| async move {
        let mut seen = head(&mut stream).await.into_bytes();
        let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
        if let Some(length) = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
        {
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            seen.extend(body);
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(&seen).await.unwrap();
        gone(&mut stream).await;
    })
    .await
}

fn text(response: &HttpResponse) -> String {
    String::from_utf8(response.body.clone()).unwrap()
}

/// Writes down the stages.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn taken(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }

    fn put(&self, note: &str) {
        self.0.lock().unwrap().push(note.to_owned());
    }
}

impl Stages for Notes {
    fn enter(&self, stage: &'static str) {
        self.put(stage);
    }
    fn leave(&self) {
        self.put(".");
    }
    fn certificate(&self, certificate: &Certificate) {
        self.put(&certificate.subject);
    }
}

#[tokio::test]
async fn a_plain_answer_on_both_families() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let peer = mirror(local).await;
        let notes = Notes::default();
        let response = net()
            .http(&get(url(&peer)), &HttpSettings::default(), &notes)
            .await
            .unwrap();
        assert_eq!(
            (response.status, response.version, response.peer),
            (200, "HTTP/1.1", peer.addr)
        );
        assert_eq!(
            (
                response.truncated,
                response.redirects,
                response.certificate.is_none()
            ),
            (false, 0, true)
        );
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "GET /{SECRET}?key={SECRET} HTTP/1.1\r\nx-key: {SECRET}\r\nhost: {}\r\nconnection: close\r\n\
             user-agent: lapwing/{version}\r\n\
             accept: */*\r\naccept-encoding: identity\r\n\r\n",
            peer.addr
        );
        assert_eq!(text(&response), expected);
        assert_eq!(notes.taken(), "connect . first_byte transfer .");
    }
}

#[tokio::test]
async fn requests_are_sent_as_given() {
    let peer = mirror("127.0.0.1:0").await;
    let mut request = get(format!("http://us%20er:p@{}/", peer.addr).parse().unwrap());
    request.method = "POST".to_owned();
    request.body = b"the body".to_vec();
    request.headers = vec![
        ("Host".to_owned(), "other.example".to_owned()),
        ("User-Agent".to_owned(), "me".to_owned()),
    ];
    let seen = text(&ask(&request, &HttpSettings::default()).await.unwrap());
    assert!(
        seen.starts_with("POST / HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nthe body"),
        "{seen}"
    );
    // printf 'us er:p' | base64
    for line in [
        "host: other.example",
        "user-agent: me",
        "content-length: 8",
        "authorization: Basic dXMgZXI6cA==",
    ] {
        assert!(seen.contains(&format!("{line}\r\n")), "{line}: {seen}");
    }
    assert_eq!(
        (seen.matches("host:").count(), seen.matches("user-agent").count()),
        (1, 1)
    );
    for (name, value) in [("bad name", "x"), ("name", "a\r\nb")] {
        request.headers = vec![(name.to_owned(), value.to_owned())];
        let fault = ask(&request, &HttpSettings::default()).await.unwrap_err();
        assert!(matches!(fault, Fault::Ours(_)), "{fault}");
    }
}

#[tokio::test]
async fn every_bad_answer_has_its_code() {
    let many = "x: y\r\n".repeat(101);
    for (bytes, expected) in [
        (String::new(), "peer closed the connection (connect.closed)"),
        (
            "HTTP/1.1 200 O".to_owned(),
            "peer closed the connection (connect.closed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Le".to_owned(),
            "peer closed the connection (connect.closed)",
        ),
        (
            "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(),
            "answer is not HTTP (http.malformed)",
        ),
        (
            "<html>hello</html>".to_owned(),
            "answer is not HTTP (http.malformed)",
        ),
        (
            "HTTP/1.1 abc OK\r\n\r\n".to_owned(),
            "answer is not HTTP (http.malformed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(),
            "answer is not HTTP (http.malformed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_owned(),
            "answer is not HTTP (http.malformed)",
        ),
        (
            "\0\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
            "answer is not HTTP (http.malformed)",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            "answer has a head of more than 64 KiB or 100 fields (http.malformed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
            "peer closed the connection before the answer was complete (connect.closed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc".to_owned(),
            "peer closed the connection before the answer was complete (connect.closed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n".to_owned(),
            "answer is malformed (http.malformed)",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n".to_owned(),
            "answer is malformed (http.malformed)",
        ),
    ] {
        let peer = answering(bytes.clone()).await;
        let fault = ask(&get(url(&peer)), &HttpSettings::default()).await.unwrap_err();
        assert!(matches!(fault, Fault::Target(_)), "{bytes:?}: {fault}");
        assert_eq!(fault.to_string(), expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_first_is_not_http() {
    for wait in [true, false] {
        let peer = Peer::start(move |mut stream, _| async move {
            if wait {
                head(&mut stream).await;
            }
            stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
            gone(&mut stream).await;
        })
        .await;
        let net = net();
        let stream = net.connect(peer.addr, &Source::Any).await.unwrap();
        if !wait {
            stream.readable().await.unwrap();
        }
        let asked = exchange::over_connected(stream, &get(url(&peer))).await;
        let expected = Fault::target("http.malformed", "answer is not HTTP");
        assert_eq!(asked.err(), Some(expected), "waits for the request: {wait}");
    }
}

#[tokio::test]
async fn a_long_head_with_interim_answers_is_taken() {
    let fields = format!("x: {}\r\n", "y".repeat(700)).repeat(80);
    let interim = format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\n");
    let body = "z".repeat(300_000);
    let answer = format!("{interim}HTTP/1.1 200 OK\r\n{fields}Content-Length: 300000\r\n\r\n{body}");
    let peer = answering(answer).await;
    let response = ask(&get(url(&peer)), &HttpSettings::default()).await.unwrap();
    assert_eq!((response.status, response.body.len()), (200, 300_000));
}

#[tokio::test]
async fn resets_at_each_step() {
    for bytes in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let peer = Peer::start(move |mut stream, _| async move {
            head(&mut stream).await;
            stream.write_all(bytes.as_bytes()).await.unwrap();
            reset(stream);
        })
        .await;
        let fault = ask(&get(url(&peer)), &HttpSettings::default()).await.unwrap_err();
        assert_eq!(
            fault,
            Fault::target("connect.reset", "connection reset"),
            "{bytes:?}"
        );
    }
    let closed = ClosedPort::tcp("127.0.0.1:0");
    let request = get(format!("http://{}/{SECRET}", closed.addr).parse().unwrap());
    let fault = ask(&request, &HttpSettings::default()).await.unwrap_err();
    assert_eq!(fault, Fault::target("connect.refused", "connection refused"));
}

#[tokio::test]
async fn endless_answers_are_cut() {
    for (first, again) in [
        (
            "HTTP/1.1 200 OK\r\n",
            "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nx: ",
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
        (
            "HTTP/1.1 200 ",
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
        ("HTTP/1.1 102 Processing\r\n", "\r\nHTTP/1.1 102 Processing\r\n"),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "8\r\nyyyyyyyy\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551000\r\n\r\n",
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
    ] {
        let peer = Peer::start(move |mut stream, _| async move {
            head(&mut stream).await;
            let again = again.repeat(100);
            if stream.write_all(first.as_bytes()).await.is_ok() {
                while stream.write_all(again.as_bytes()).await.is_ok() {}
            }
        })
        .await;
        let settings = HttpSettings {
            max_body: 1000,
            ..HttpSettings::default()
        };
        match ask(&get(url(&peer)), &settings).await {
            Ok(response) => {
                assert_eq!((response.truncated, response.body.len()), (true, 1000), "{first}");
                assert!(response.body.iter().all(|b| *b == b'y'));
            }
            Err(fault) => {
                assert!(!first.ends_with("\r\n\r\n"), "{first}: {fault}");
                assert_eq!(code(&fault), "http.malformed", "{first}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_whole() {
    let peer = answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").await;
    for (max_body, expected) in [
        (3, ("abc", false)),
        (2, ("ab", true)),
        (0, ("", true)),
        (9, ("abc", false)),
    ] {
        let settings = HttpSettings {
            max_body,
            ..HttpSettings::default()
        };
        let response = ask(&get(url(&peer)), &settings).await.unwrap();
        assert_eq!((text(&response).as_str(), response.truncated), expected);
    }
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let peer = Peer::start(|mut stream, _| async move {
        stream.set_nodelay(true).unwrap();
        head(&mut stream).await;
        for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 No\r\nX: 1\r\nX: 2\r\n\r\nnot now" {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    let response = ask(&get(url(&peer)), &HttpSettings::default()).await.unwrap();
    assert_eq!(
        (response.status, response.version, text(&response).as_str()),
        (503, "HTTP/1.0", "not now")
    );
    assert_eq!(response.headers.get_all("x").iter().count(), 2);
}

#[tokio::test]
async fn dropping_closes_everything() {
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let (told, ended) = oneshot::channel();
        let told = Mutex::new(Some(told));
        let (up, connected) = oneshot::channel();
        let up = Mutex::new(Some(up));
        let peer = Peer::start(move |mut stream, _| {
            let (told, up) = (
                told.lock().unwrap().take().unwrap(),
                up.lock().unwrap().take().unwrap(),
            );
            async move {
                stream.read_u8().await.unwrap();
                up.send(()).unwrap();
                gone(&mut stream).await;
                told.send(()).unwrap();
            }
        })
        .await;
        let settings = HttpSettings {
            version,
            ..HttpSettings::default()
        };
        let (request, net) = (get(url(&peer)), net());
        tokio::select! {
            asked = net.http(&request, &settings, &()) => panic!("{asked:?}"),
            sent = connected => sent.unwrap(),
        }
        ended.await.unwrap();
    }
}

#[tokio::test]
async fn a_connect_that_hangs_is_bounded() {
    // A full accept queue: the kernel drops what comes more.
    let queue = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    queue
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    queue.listen(0).unwrap();
    let addr = queue.local_addr().unwrap().as_socket().unwrap();
    let net = net();
    let mut held = Vec::new();
    let limit = Duration::from_millis(100);
    while let Ok(stream) = tokio::time::timeout(limit, net.connect(addr, &Source::Any)).await {
        held.push(stream.unwrap());
    }
    let request = get(format!("http://{addr}/{SECRET}").parse().unwrap());
    let settings = HttpSettings {
        connect_timeout: limit,
        ..HttpSettings::default()
    };
    let fault = ask(&request, &settings).await.unwrap_err();
    assert_eq!(
        fault,
        Fault::target("timeout.connect", "no connection within 100ms")
    );
}

/// A peer whose answers depend on the path: `/303/to` redirects there, everything else is mirrored.
async fn redirecting(location: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) -> Peer {
    let location = Arc::new(location);
    Peer::start(move |mut stream, _| {
        let location = location.clone();
        async move {
            let seen = head(&mut stream).await;
            let path = seen.split(' ').nth(1).unwrap().to_owned();
            let answer = match location(&path) {
                Some((status, to)) => {
                    format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 99\r\n\r\n")
                }
                None => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.len()),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            gone(&mut stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn redirects_follow_the_rules() {
    let peer = redirecting(|path| {
        let status = path.strip_prefix('/')?.parse().ok()?;
        Some((status, "next?a=b#fragment".to_owned()))
    })
    .await;
    let settings = HttpSettings {
        redirects: 1,
        ..HttpSettings::default()
    };
    for (status, method, then) in [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "PUT", "PUT"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ] {
        let mut request = get(format!("http://{}/{status}", peer.addr).parse().unwrap());
        request.method = method.to_owned();
        request
            .headers
            .push(("content-type".to_owned(), "text/plain".to_owned()));
        request
            .headers
            .push(("authorization".to_owned(), "me".to_owned()));
        let response = ask(&request, &settings).await.unwrap();
        let seen = text(&response);
        assert!(
            seen.starts_with(&format!("{then} /next?a=b HTTP/1.1")),
            "{status} {method}: {seen}"
        );
        assert_eq!(seen.contains("content-type"), method == then);
        assert!(
            seen.contains("authorization: me"),
            "the same origin keeps it: {seen}"
        );
        assert_eq!((response.redirects, response.downgraded), (1, false));
        assert_eq!(response.url.path(), "/next");
    }
    // Not followed: the answer itself, with its body.
    let peer = answering("HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 4\r\n\r\nmove").await;
    let response = ask(&get(url(&peer)), &HttpSettings::default()).await.unwrap();
    assert_eq!((response.status, text(&response).as_str()), (302, "move"));
}

#[tokio::test]
async fn what_authorizes_us_stays_at_home() {
    let other = mirror("127.0.0.1:0").await;
    let to = format!("http://user:passw0rd@{}/next", other.addr);
    let peer = redirecting(move |_| Some((302, to.clone()))).await;
    let mut request = get(url(&peer));
    let private = [
        "Authorization",
        "cookie",
        "proxy-authorization",
        "Host",
        "X-Api-Key",
    ];
    let welcome = ["accept-language", "Content-Type", "User-Agent"];
    for name in private.iter().chain(&welcome) {
        request
            .headers
            .push(((*name).to_owned(), format!("value-of-{name}")));
    }
    let settings = HttpSettings {
        redirects: 3,
        ..HttpSettings::default()
    };
    let response = ask(&request, &settings).await.unwrap();
    let seen = text(&response).to_ascii_lowercase();
    assert_eq!(response.peer, other.addr);
    for name in [
        "authorization",
        "cookie",
        "value-of-host",
        "x-api-key",
        "x-key",
        "passw0rd",
    ] {
        assert!(!seen.contains(name), "{name}: {seen}");
    }
    for name in ["accept-language", "content-type", "user-agent"] {
        assert!(
            seen.contains(&format!("{name}: value-of-{name}\r\n")),
            "{name}: {seen}"
        );
    }
    assert_eq!(response.url.as_str(), format!("http://{}/next", other.addr));
}

#[tokio::test]
async fn redirects_end() {
    for (to, detail) in [
        ("/again", "more than 5 redirects"),
        ("ftp://x.example/s3cr3t", "redirect to ftp, which is not followed"),
        ("file:///etc/passwd", "redirect to file, which is not followed"),
        ("http://", "redirect to an address that cannot be read"),
        ("http://[::1", "redirect to an address that cannot be read"),
    ] {
        let peer = redirecting(|_| Some((302, to.to_owned()))).await;
        let settings = HttpSettings {
            redirects: 5,
            ..HttpSettings::default()
        };
        let fault = ask(&get(url(&peer)), &settings).await.unwrap_err();
        assert_eq!(fault, Fault::target("http.redirects", detail), "{to}");
    }
    // Without a location there is nothing to follow.
    let peer = answering("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await;
    let settings = HttpSettings {
        redirects: 5,
        ..HttpSettings::default()
    };
    assert_eq!(ask(&get(url(&peer)), &settings).await.unwrap().status, 302);
}

#[tokio::test]
async fn names_are_resolved_and_every_hop_is_a_stage() {
    let server = NameServer::start(|name, _| match name {
        "a.example" => Reply::Found(&["127.0.0.1"], 60),
        "two.example" => Reply::Found(&["127.0.0.9", "127.0.0.1"], 60),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    let net = Net::with_resolvers(Arc::new(Hand::default()), vec![server.addr]);
    let peer = mirror("127.0.0.1:0").await;
    let port = peer.addr.port();
    let to = format!("http://a.example:{port}/");
    let first = redirecting(move |_| Some((301, to.clone()))).await;
    let settings = HttpSettings {
        redirects: 1,
        family: Family::V4,
        ..HttpSettings::default()
    };
    let notes = Notes::default();
    let request = get(format!("http://a.example:{}/", first.addr.port())
        .parse()
        .unwrap());
    let response = net.http(&request, &settings, &notes).await.unwrap();
    assert!(text(&response).contains(&format!("host: a.example:{port}\r\n")));
    let hop = "resolve connect . first_byte";
    assert_eq!(notes.taken(), format!("{hop} . {hop} transfer ."));
    let gone = get(format!("http://gone.example:{port}/{SECRET}").parse().unwrap());
    assert_eq!(
        code(&net.http(&gone, &settings, &()).await.unwrap_err()),
        "dns.nxdomain"
    );
    // The first address alone, unless all are wanted; or the one that is given.
    let two = get(format!("http://two.example:{port}/").parse().unwrap());
    assert_eq!(
        code(&net.http(&two, &settings, &()).await.unwrap_err()),
        "connect.refused"
    );
    let all = HttpSettings {
        try_others: true,
        ..settings.clone()
    };
    assert_eq!(net.http(&two, &all, &()).await.unwrap().peer, peer.addr);
    let only = HttpSettings {
        only: Some(peer.addr.ip()),
        ..settings
    };
    assert_eq!(net.http(&two, &only, &()).await.unwrap().peer, peer.addr);
}

/// TLS for `localhost` and the addresses of this machine, and settings that trust it.
fn secure(dir: &TempDir, alpn: &[&[u8]]) -> (TlsAcceptor, HttpSettings) {
    let authority = Authority::new();
    let ca: PathBuf = file(dir, "ca.pem", &authority.pem());
    let pair = authority.issue(&params(&["localhost", "127.0.0.1"]));
    let tls = TlsSettings {
        ca: Some(ca),
        ..TlsSettings::default()
    };
    (
        pair.acceptor(alpn),
        HttpSettings {
            tls,
            ..HttpSettings::default()
        },
    )
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!(
        "{} {} {:?} {:?}",
        head.method,
        head.uri,
        head.headers.get("user-agent").is_some(),
        body
    );
    Ok(Response::new(Full::new(Bytes::from(text))))
}

/// A server of HTTP/1 and HTTP/2, over TLS where `acceptor` says so.
async fn real_server(acceptor: Option<TlsAcceptor>, http2: bool) -> Peer {
    Peer::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let service = service_fn(echo);
            let version2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let version1 = hyper::server::conn::http1::Builder::new();
            let Some(acceptor) = acceptor else {
                drop(version2.serve_connection(TokioIo::new(stream), service).await);
                return;
            };
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let io = TokioIo::new(stream);
            if http2 {
                drop(version2.serve_connection(io, service).await);
            } else {
                drop(version1.serve_connection(io, service).await);
            }
        }
    })
    .await
}

#[tokio::test]
async fn https_in_both_versions() {
    let dir = tempdir().unwrap();
    for (alpn, http2, version) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], true, "HTTP/2"),
        (&[b"http/1.1"], false, "HTTP/1.1"),
        (&[], false, "HTTP/1.1"),
    ] {
        let (acceptor, settings) = secure(&dir, alpn);
        let peer = real_server(Some(acceptor), http2).await;
        let port = peer.addr.port();
        let mut request = get(format!("https://localhost:{port}/p?q").parse().unwrap());
        request.method = "POST".to_owned();
        request.body = b"body".to_vec();
        let notes = Notes::default();
        let response = net().http(&request, &settings, &notes).await.unwrap();
        assert_eq!(response.version, version);
        let authority = if http2 {
            format!("https://localhost:{port}")
        } else {
            String::new()
        };
        assert_eq!(text(&response), format!("POST {authority}/p?q true b\"body\""));
        assert_eq!(response.certificate.unwrap().names, ["localhost", "127.0.0.1"]);
        assert_eq!(
            notes.taken(),
            "resolve connect . tls . CN=leaf first_byte transfer ."
        );
    }
}

#[tokio::test]
async fn http2_alone() {
    let settings = |settings: HttpSettings| HttpSettings {
        version: HttpVersion::Http2,
        ..settings
    };
    // Without TLS by prior knowledge.
    let peer = real_server(None, true).await;
    let response = ask(&get(url(&peer)), &settings(HttpSettings::default()))
        .await
        .unwrap();
    assert_eq!((response.status, response.version), (200, "HTTP/2"));
    // A peer that agrees on nothing.
    let dir = tempdir().unwrap();
    let (acceptor, trusting) = secure(&dir, &[]);
    let peer = real_server(Some(acceptor), false).await;
    let request = get(format!("https://{}/{SECRET}", peer.addr).parse().unwrap());
    let fault = ask(&request, &settings(trusting)).await.unwrap_err();
    assert_eq!(fault, Fault::target("http.version", "peer does not speak HTTP/2"));
    // Peers that speak something else, or nothing.
    for (bytes, expected) in [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".as_slice(),
            "http.malformed",
        ),
        (&[0; 64], "http.malformed"),
        (b"", "connect.closed"),
    ] {
        let peer = Peer::start(move |mut stream, _| async move {
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            gone(&mut stream).await;
        })
        .await;
        let fault = ask(&get(url(&peer)), &settings(HttpSettings::default()))
            .await
            .unwrap_err();
        assert_eq!(code(&fault), expected, "{bytes:?}: {fault}");
    }
}

#[tokio::test]
async fn a_bad_certificate_is_shown_and_a_downgrade_noted() {
    let dir = tempdir().unwrap();
    let (acceptor, trusting) = secure(&dir, &[b"http/1.1"]);
    let plain = mirror("127.0.0.1:0").await;
    let to = format!("http://{}/next", plain.addr);
    let peer = Peer::start(move |stream, _| {
        let (acceptor, to) = (acceptor.clone(), to.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            head(&mut stream).await;
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let request = get(format!("https://{}/", peer.addr).parse().unwrap());
    let settings = HttpSettings {
        redirects: 1,
        ..trusting
    };
    let response = ask(&request, &settings).await.unwrap();
    assert!(response.downgraded && response.certificate.is_none());
    let (notes, distrusting) = (Notes::default(), HttpSettings::default());
    let fault = net().http(&request, &distrusting, &notes).await.unwrap_err();
    assert_eq!(code(&fault), "tls.untrusted");
    assert_eq!(notes.taken(), "connect . tls CN=leaf");
    let bad = TlsSettings {
        ca: Some(dir.path().join("none.pem")),
        ..TlsSettings::default()
    };
    let fault = ask(
        &request,
        &HttpSettings {
            tls: bad,
            ..HttpSettings::default()
        },
    )
    .await
    .unwrap_err();
    assert!(
        matches!(fault, Fault::Ours(_)) && fault.to_string().contains("none.pem"),
        "{fault}"
    );
}

fn through(proxy: &str, settings: HttpSettings) -> HttpSettings {
    HttpSettings {
        proxy: Some(proxy.parse().unwrap()),
        ..settings
    }
}

/// Joins the two ends.
async fn join(mut a: TcpStream, to: SocketAddr) {
    let mut b = TcpStream::connect(to).await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut a, &mut b).await);
}

#[tokio::test]
async fn http_proxies_get_the_whole_url() {
    let proxy = mirror("127.0.0.1:0").await;
    let settings = through(&format!("http://u:pw@{}", proxy.addr), HttpSettings::default());
    let request = get("http://target.example/path?q".parse().unwrap());
    let response = ask(&request, &settings).await.unwrap();
    let seen = text(&response);
    assert!(
        seen.starts_with("GET http://target.example/path?q HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("host: target.example\r\n"));
    assert!(seen.contains("proxy-authorization: Basic dTpwdw==\r\n"), "{seen}");
    assert_eq!(response.peer, proxy.addr);
}

#[tokio::test]
async fn connect_proxies_make_tunnels() {
    let dir = tempdir().unwrap();
    let (acceptor, settings) = secure(&dir, &[b"h2"]);
    let server = real_server(Some(acceptor), true).await;
    let to = server.addr;
    let proxy = Peer::start(move |mut stream, _| async move {
        let seen = head(&mut stream).await;
        let good = seen.starts_with("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n");
        let known = seen.contains("Proxy-Authorization: Basic dTpwdw==\r\n");
        let answer = if good && known {
            "HTTP/1.1 200 Fine\r\nx: y\r\n\r\n"
        } else {
            "HTTP/1.1 407 No\r\n\r\n"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        join(stream, to).await;
    })
    .await;
    let request = get(format!("https://localhost/{SECRET}").parse().unwrap());
    let with = through(&format!("http://u:pw@{}", proxy.addr), settings.clone());
    assert_eq!(ask(&request, &with).await.unwrap().version, "HTTP/2");
    let without = through(&format!("http://{}", proxy.addr), settings);
    let fault = ask(&request, &without).await.unwrap_err();
    let expected = format!("proxy {}: the proxy wants another user or password", proxy.addr);
    assert_eq!(fault, Fault::target("http.proxy", expected));
}

/// What comes of an https target behind a proxy that sends these bytes and no more.
async fn behind(scheme: &str, bytes: &[u8]) -> String {
    let answer = bytes.to_vec();
    let proxy = Peer::start(move |mut stream, _| {
        let answer = answer.clone();
        async move {
            // The other side may have seen enough before all is written.
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
            gone(&mut stream).await;
        }
    })
    .await;
    let settings = through(&format!("{scheme}://{}", proxy.addr), HttpSettings::default());
    let request = get(format!("https://target.example/{SECRET}").parse().unwrap());
    let fault = ask(&request, &settings).await.unwrap_err();
    assert!(matches!(fault, Fault::Target(_)));
    fault
        .to_string()
        .strip_prefix(&format!("proxy {}: ", proxy.addr))
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn http_proxies_that_fail() {
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(10_000));
    let no_http = "the proxy does not speak HTTP (http.proxy)";
    for (bytes, text) in [
        (
            "HTTP/1.1 503 Busy\r\n\r\n",
            "the proxy answered 503 to CONNECT (http.proxy)",
        ),
        ("SSH-2.0-x\r\n", no_http),
        ("HTTP/1.1 abc\r\n\r\n", no_http),
        (&endless, no_http),
        (
            "HTTP/1.1 200 OK\r\n",
            "peer closed the connection (connect.closed)",
        ),
    ] {
        assert_eq!(behind("http", bytes.as_bytes()).await, text, "{bytes:.40}");
    }
    let closed = ClosedPort::tcp("127.0.0.1:0");
    let settings = through(&format!("http://{}", closed.addr), HttpSettings::default());
    let fault = ask(&get("http://target.example/".parse().unwrap()), &settings)
        .await
        .unwrap_err();
    assert_eq!(
        fault,
        Fault::target(
            "connect.refused",
            format!("proxy {}: connection refused", closed.addr)
        )
    );
}

#[tokio::test]
async fn socks_proxies_that_fail() {
    let no_socks = "the proxy does not speak SOCKS5 (http.proxy)";
    for (bytes, text) in [
        (b"HTTP/1.1".as_slice(), no_socks),
        (
            &[5, 0x7f],
            "the proxy wants another user or password (http.proxy)",
        ),
        (&[5, 0, 5, 1, 0, 1], "the proxy could not connect (http.proxy)"),
        (
            &[5, 0, 5, 2, 0, 1],
            "the proxy does not allow this connection (http.proxy)",
        ),
        (
            &[5, 0, 5, 3, 0, 1],
            "network unreachable from the proxy (connect.unreachable)",
        ),
        (
            &[5, 0, 5, 4, 0, 1],
            "no route to host from the proxy (connect.unreachable)",
        ),
        (&[5, 0, 5, 5, 0, 1], "connection refused (connect.refused)"),
        (&[5, 0, 5, 0, 0, 9], no_socks),
        (&[5, 0, 4, 0, 0, 1], no_socks),
        (&[5], "peer closed the connection (connect.closed)"),
        (
            &[5, 0, 5, 0, 0, 1, 0],
            "peer closed the connection (connect.closed)",
        ),
    ] {
        assert_eq!(behind("socks5", bytes).await, text, "{bytes:?}");
    }
}

#[tokio::test]
async fn socks_proxies_make_tunnels() {
    let server = mirror("127.0.0.1:0").await;
    let to = server.addr;
    for (host, auth) in [
        ("target.example", "u:pw@"),
        ("192.0.2.1", ""),
        ("[2001:db8::1]", ""),
    ] {
        let target = Host::parse(host).unwrap();
        let mut request = match &target {
            Host::Name(name) => [&[5, 1, 0, 3, name.len() as u8], name.as_bytes()].concat(),
            Host::Ip(IpAddr::V4(addr), _) => [&[5, 1, 0, 1][..], &addr.octets()].concat(),
            Host::Ip(IpAddr::V6(addr), _) => [&[5, 1, 0, 4][..], &addr.octets()].concat(),
        };
        request.extend_from_slice(&80u16.to_be_bytes());
        let wants_user = !auth.is_empty();
        let proxy = Peer::start(move |mut stream, _| {
            let request = request.clone();
            async move {
                let method = if wants_user { 2 } else { 0 };
                expect(&mut stream, &[5, 1, method]).await;
                stream.write_all(&[5, method]).await.unwrap();
                if wants_user {
                    expect(&mut stream, b"\x01\x01u\x02pw").await;
                    stream.write_all(&[1, 0]).await.unwrap();
                }
                expect(&mut stream, &request).await;
                let bound: &[u8] = if wants_user {
                    &[5, 0, 0, 3, 2, b'a', b'b', 0, 1]
                } else {
                    &[5, 0, 0, 1, 0, 0, 0, 0, 0, 1]
                };
                stream.write_all(bound).await.unwrap();
                join(stream, to).await;
            }
        })
        .await;
        let settings = through(&format!("socks5://{auth}{}", proxy.addr), HttpSettings::default());
        let response = ask(&get(format!("http://{host}/path").parse().unwrap()), &settings)
            .await
            .unwrap();
        assert!(text(&response).starts_with("GET /path HTTP/1.1\r\n"));
    }
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, bytes);
}
