//! The other side: a port that opens and closes, services that take messages and answer what they are told.
//!
//! Every peer has a loopback address of its own, so that a port that is closed for a while is taken by nobody else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::kit::{instant, wait};

/// An address of 127.0.0.0/8 that no other peer of this process has, and hardly one of another process.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id() % 10_000;
    Ipv4Addr::from((127 << 24) | (1 << 23) | (process << 9) | (n & 511))
}

/// A TCP port: open, a connection succeeds; closed, it is refused.
pub(crate) struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Door {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            listener: Some(listener),
        }
    }

    pub(crate) fn closed() -> Self {
        let mut door = Self::open();
        door.close();
        door
    }

    pub(crate) fn close(&mut self) {
        self.listener = None;
    }

    pub(crate) fn reopen(&mut self) {
        self.listener = Some(TcpListener::bind(self.address).unwrap());
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What a sink answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status with a body.
    Status(u16, String),
    /// 429 with `Retry-After`, in seconds.
    RetryAfter(u32),
    /// Nothing, while the other side waits.
    Silence,
    /// 200, with the headers of the request as the body.
    Reflection,
    /// A status after a while.
    Slow(Duration),
}

impl Answer {
    pub(crate) fn status(code: u16) -> Self {
        Self::Status(code, String::new())
    }
}

/// A request that a sink has read whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The status that it was answered with; 0 for none.
    pub(crate) answered: u16,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// The texts of messages to a chat.
pub(crate) fn texts(requests: &[Request]) -> Vec<String> {
    let text = |r: &Request| r.json()["text"].as_str().unwrap().to_owned();
    requests.iter().map(text).collect()
}

#[derive(Default)]
struct Book {
    answer: Option<Answer>,
    requests: Vec<Request>,
    /// Silent connections, kept open.
    held: Vec<TcpStream>,
}

/// An HTTP server that keeps what it is sent and answers as told.
pub(crate) struct HttpSink {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    server: Option<Server>,
}

impl HttpSink {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        let mut sink = Self {
            address: listener.local_addr().unwrap(),
            book: Arc::default(),
            server: None,
        };
        sink.serve(listener);
        sink
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, answer: Answer) {
        self.book.lock().unwrap().answer = Some(answer);
    }

    /// Refuses connections until it is reopened.
    pub(crate) fn close(&mut self) {
        self.server = None;
    }

    pub(crate) fn reopen(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.serve(listener);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.book.lock().unwrap().requests.clone()
    }

    /// The requests to a path that were accepted.
    pub(crate) fn accepted(&self, path: &str) -> Vec<Request> {
        let taken = |r: &Request| r.path == path && (200..300).contains(&r.answered);
        self.requests().into_iter().filter(taken).collect()
    }

    /// Waits for `count` accepted requests to a path.
    #[track_caller]
    pub(crate) fn wait_accepted(&self, path: &str, count: usize) -> Vec<Request> {
        let found = crate::kit::look(|| Some(self.accepted(path)).filter(|r| r.len() >= count));
        found.unwrap_or_else(|| {
            panic!(
                "not {count} messages on {path}; there came: {:#?}",
                self.requests()
            )
        })
    }

    /// Waits for `count` requests, whatever they were answered with.
    pub(crate) fn wait_requests(&self, count: usize) -> Vec<Request> {
        wait("requests", || Some(self.requests()).filter(|r| r.len() >= count))
    }

    fn serve(&mut self, listener: TcpListener) {
        let book = Arc::clone(&self.book);
        self.server = Some(Server::start(listener, move |stream| {
            drop(serve_http(stream, &book));
        }));
    }
}

fn serve_http(mut stream: TcpStream, book: &Mutex<Book>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request {
        path,
        head,
        body: String::new(),
        answered: 0,
        at: instant(),
    };
    let length = request
        .header("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    let answer = book
        .lock()
        .unwrap()
        .answer
        .clone()
        .unwrap_or_else(|| Answer::status(200));
    let (code, extra, text) = match answer {
        Answer::Status(code, text) => (code, String::new(), text),
        Answer::RetryAfter(seconds) => (429, format!("Retry-After: {seconds}\r\n"), String::new()),
        Answer::Reflection => {
            let headers = request.head.split_once("\r\n").map_or("", |(_, headers)| headers);
            (200, String::new(), headers.to_owned())
        }
        Answer::Slow(pause) => {
            std::thread::sleep(pause);
            (200, String::new(), String::new())
        }
        Answer::Silence => {
            let mut book = book.lock().unwrap();
            book.requests.push(request);
            book.held.push(stream);
            return Ok(());
        }
    };
    request.answered = code;
    let length = text.len();
    // Noted first: who has the answer must find the request here.
    book.lock().unwrap().requests.push(request);
    write!(
        stream,
        "HTTP/1.1 {code} So\r\n{extra}Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}

/// A mail server without TLS that takes every mail.
pub(crate) struct SmtpSink {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<String>>>,
    _server: Server,
}

impl SmtpSink {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let copy = Arc::clone(&mails);
        let server = Server::start(listener, move |stream| drop(serve_smtp(stream, &copy)));
        Self {
            address,
            mails,
            _server: server,
        }
    }

    pub(crate) fn wait_mails(&self, count: usize) -> Vec<String> {
        wait("mails", || {
            Some(self.mails.lock().unwrap().clone()).filter(|m| m.len() >= count)
        })
    }
}

fn serve_smtp(mut stream: TcpStream, mails: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 sink ESMTP\r\n")?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let verb = line.trim().to_uppercase();
        line.clear();
        if verb == "DATA" {
            stream.write_all(b"354 go on\r\n")?;
            let mut mail = String::new();
            while reader.read_line(&mut line)? > 0 && line != ".\r\n" {
                mail.push_str(&line);
                line.clear();
            }
            line.clear();
            mails.lock().unwrap().push(mail);
        }
        let answer = match verb.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-sink\r\n250 AUTH PLAIN LOGIN\r\n",
            "AUTH" => "235 fine\r\n",
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => "250 fine\r\n",
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Accepts until it is dropped; then connections are refused.
struct Server {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let closing: Arc<AtomicBool> = Arc::default();
        let (flag, serve) = (Arc::clone(&closing), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let serve = Arc::clone(&serve);
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream));
                }
            }
        });
        Self {
            address,
            closing,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // A connection of our own wakes it.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
