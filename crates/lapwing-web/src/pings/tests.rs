use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinHandle,
};

use super::*;

const KEY: &str = "known-key-0123456789";

/// Knows one key, and keeps what is handed in.
#[derive(Debug, Default)]
struct Book {
    pings: Mutex<Vec<Ping>>,
    /// Answers that nothing counts.
    closed: bool,
}

impl Pings for Book {
    fn admit(&self, key: &str, _source: IpAddr) -> Admission {
        match key {
            KEY => Admission::Known("job".into()),
            "too-often-012345" => Admission::Limited,
            _ => Admission::Unknown,
        }
    }

    fn ping(&self, ping: Ping) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        self.pings.lock().unwrap().push(ping);
        Box::pin(async { !self.closed })
    }
}

struct Fixture {
    address: SocketAddr,
    book: Arc<Book>,
    counters: Arc<PingCounters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Book::default(), LIMITS).await
    }

    async fn with(book: Book, limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (book, counters) = (Arc::new(book), Arc::<PingCounters>::default());
        let server = Server {
            pings: Arc::clone(&book) as _,
            counters: Arc::clone(&counters),
            sources: Sources::default(),
            limits,
        };
        let task = tokio::spawn(serve_as(Arc::new(server), listener, stopped));
        Self {
            address,
            book,
            counters,
            stop,
            task,
        }
    }

    /// Sends bytes and gives all that comes back.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses need not read all.
        drop(stream.write_all(bytes).await);
        rest(&mut stream).await
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> String {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    fn seen(&self) -> Vec<Ping> {
        std::mem::take(&mut self.book.pings.lock().unwrap())
    }

    fn counted(&self) -> Vec<(&'static str, u64)> {
        self.counters.all().into_iter().filter(|(_, n)| *n > 0).collect()
    }
}

/// All that comes until the other side ends; a reset is an end too.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

#[track_caller]
fn assert_answer(answer: &str, status: u16, text: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, text, "{answer}");
}

#[tokio::test]
async fn pings_are_handed_in_and_answered() {
    let fixture = Fixture::new().await;
    for (method, suffix, body, signal, note) in [
        ("GET", "", "", Signal::Ping, None),
        ("POST", "", "3 GB\n", Signal::Ping, Some("3 GB")),
        ("PUT", "/", "x", Signal::Ping, Some("x")),
        ("GET", "/start?rid=7f3c&x=/fail", "", Signal::Start, None),
        ("POST", "/fail", "disk full", Signal::Fail, Some("disk full")),
        ("GET", "/3", "", Signal::Exit(3), None),
    ] {
        let answer = fixture
            .ask(method, &format!("/ping/{KEY}{suffix}"), body.as_bytes())
            .await;
        assert_answer(&answer, 200, "OK");
        assert!(
            answer.contains("connection: close") && !answer.contains(KEY),
            "{answer}"
        );
        let expected = Ping {
            series: "job".into(),
            signal,
            source: Ipv4Addr::LOCALHOST.into(),
            note: note.map(Into::into),
        };
        assert_eq!(fixture.seen(), [expected], "{method} {suffix}");
    }
    let answer = fixture.ask("HEAD", &format!("/ping/{KEY}"), b"").await;
    assert_answer(&answer, 200, "");
    assert_eq!(fixture.seen().len(), 1, "HEAD counts as well");
    let chunked = format!(
        "POST /ping/{KEY} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    );
    assert_answer(&fixture.send(chunked.as_bytes()).await, 200, "OK");
    assert_eq!(fixture.seen()[0].note.as_deref(), Some("abcde"));
    assert_eq!(fixture.counted(), [("counted", 8)]);
}

#[tokio::test]
async fn what_is_no_ping_of_ours_changes_nothing() {
    let fixture = Fixture::new().await;
    for (method, path, status, text) in [
        ("GET", "/ping/unknown-key-01234".to_owned(), 404, "unknown key"),
        (
            "POST",
            "/ping/unknown-key-01234/fail".to_owned(),
            404,
            "unknown key",
        ),
        (
            "GET",
            "/ping/%6bnown-key-0123456789".to_owned(),
            404,
            "unknown key",
        ),
        (
            "GET",
            format!("/ping/{KEY}/256"),
            400,
            "after the key comes nothing, start, fail or an exit status from 0 to 255",
        ),
        (
            "DELETE",
            format!("/ping/{KEY}"),
            405,
            "a ping is a GET, HEAD, POST or PUT",
        ),
        (
            "GET",
            "/ping/too-often-012345".to_owned(),
            429,
            "too many unknown keys from this address",
        ),
    ] {
        let answer = fixture.ask(method, &path, b"").await;
        assert_answer(&answer, status, text);
        assert_eq!(
            answer.contains("allow: GET, HEAD, POST, PUT"),
            status == 405,
            "{answer}"
        );
        assert_eq!(answer.contains("retry-after: 10"), status == 429, "{answer}");
    }
    let answer = fixture.ask("GET", "/", b"").await;
    assert!(
        answer.starts_with("HTTP/1.1 404 ") && answer.contains("/ping/KEY"),
        "{answer}"
    );
    assert_eq!(fixture.seen(), []);
    assert_eq!(
        fixture.counted(),
        [("unknown_key", 3), ("limited", 1), ("not_a_ping", 3)]
    );
}

#[tokio::test]
async fn a_ping_that_does_not_count_is_not_confirmed() {
    let book = Book {
        closed: true,
        ..Book::default()
    };
    let fixture = Fixture::with(book, LIMITS).await;
    let answer = fixture.ask("GET", &format!("/ping/{KEY}"), b"").await;
    assert_answer(&answer, 503, "not recorded, try again");
    assert_eq!(fixture.counted(), [("not_counted", 1)]);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let fixture = Fixture::new().await;
    let path = format!("/ping/{KEY}");
    let mut log = vec![b'.'; 1 << 20];
    log[(1 << 20) - 5..].copy_from_slice(b"ended");
    assert_answer(&fixture.ask("POST", &path, &log).await, 200, "OK");
    let note = fixture.seen().remove(0).note.unwrap();
    assert!(
        note.len() == 10 * 1024 && note.ends_with("ended"),
        "the end counts"
    );
    // The server reads no further than anybody needs, and the ping counts.
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        1u64 << 40
    );
    let log = vec![b'.'; (16 << 20) + 1];
    let answer = fixture.send(&[head.as_bytes(), &log].concat()).await;
    assert_answer(&answer, 200, "OK");
    assert_eq!(fixture.counted(), [("counted", 2)]);
}

#[tokio::test]
async fn garbage_is_cut_off() {
    let fixture = Fixture::new().await;
    let long = format!("GET /ping/{KEY}?{} HTTP/1.1\r\n\r\n", "x".repeat(40_000));
    let header = format!("GET /ping/{KEY} HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        long.as_bytes(),
        header.as_bytes(),
    ] {
        let answer = fixture.send(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(fixture.seen(), []);
    assert_eq!(fixture.counted(), [("cut_off", 5)]);
}

#[tokio::test]
async fn slow_clients_lose_their_place() {
    let limits = Limits {
        head: Duration::from_millis(50),
        body: Duration::from_millis(50),
        whole: Duration::from_millis(500),
        connections: 1,
        ..LIMITS
    };
    let fixture = Fixture::with(Book::default(), limits).await;
    let half = format!("POST /ping/{KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhal");
    for (bytes, answer) in [("", ""), ("GET /pi", ""), (half.as_str(), "HTTP/1.1 408")] {
        let mut slow = TcpStream::connect(fixture.address).await.unwrap();
        slow.write_all(bytes.as_bytes()).await.unwrap();
        // There is one place: the next client waits until the slow one has lost it.
        let good = fixture.ask("GET", &format!("/ping/{KEY}"), b"").await;
        assert_answer(&good, 200, "OK");
        assert!(rest(&mut slow).await.starts_with(answer), "{bytes}");
        assert_eq!(fixture.seen().len(), 1, "{bytes}");
    }
}

#[tokio::test]
async fn one_source_cannot_take_every_place() {
    let limits = Limits {
        per_source: 2,
        ..LIMITS
    };
    let fixture = Fixture::with(Book::default(), limits).await;
    let held = [
        TcpStream::connect(fixture.address).await.unwrap(),
        TcpStream::connect(fixture.address).await.unwrap(),
    ];
    let mut third = TcpStream::connect(fixture.address).await.unwrap();
    assert_eq!(rest(&mut third).await, "", "closed at once");
    let other = TcpSocket::new_v4().unwrap();
    other.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    let mut other = other.connect(fixture.address).await.unwrap();
    let request = format!("GET /ping/{KEY} HTTP/1.1\r\nHost: x\r\n\r\n");
    other.write_all(request.as_bytes()).await.unwrap();
    assert_answer(&rest(&mut other).await, 200, "OK");
    assert_eq!(fixture.seen()[0].source, IpAddr::from([127, 0, 0, 2]));
    drop(held);
}

#[tokio::test]
async fn it_stops_and_closes_its_port() {
    let fixture = Fixture::new().await;
    let idle = TcpStream::connect(fixture.address).await.unwrap();
    drop(idle);
    fixture.stop.send(true).unwrap();
    fixture.task.await.unwrap();
    assert!(TcpStream::connect(fixture.address).await.is_err());
}

#[test]
fn a_v6_source_is_its_slash_64() {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(network(parse("2001:db8:0:1:2:3:4:5")), parse("2001:db8:0:1::"));
    assert_eq!(network(parse("10.1.2.3")), parse("10.1.2.3"));
}
