//! Scripted HTTP and SMTP peers on loopback, port 0, and what the tests of notifiers share.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::tz::{Offset, TimeZone};
use lapwing_core::{
    kind::{OptionValue, Options},
    time::{Clock, Mono, Now, Wall},
};
use lapwing_net::Net;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::{Built, Message};

/// Everything that ever was an instruction somewhere.
pub(crate) const HOSTILE: &str = "DOWN <!channel> <https://evil|click> & &amp; <b>x</b> @here\r\nBcc: a@b.c\r\n\r\n.\r\nQUIT\0 \
    \u{1b}[31m \u{202e}gpj \u{200b} {text} \" \\ ' $(id) `id` ; | =cmd()";

struct RealClock {
    origin: Instant,
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        Now {
            wall: Wall(wall),
            mono: Mono(self.origin.elapsed().as_micros() as u64),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
pub(crate) fn net() -> Net {
    Net::new(Arc::new(RealClock {
        origin: Instant::now(),
    }))
}

pub(crate) fn message() -> Message {
    Message {
        id: "01JTEST".to_owned(),
        resent: false,
        event: "down".to_owned(),
        monitor: "web".to_owned(),
        series: "web".to_owned(),
        target: "https://www.example.com/health".to_owned(),
        kind: "https".to_owned(),
        host: "www.example.com".to_owned(),
        at: Wall(
            "2026-11-20T13:51:19Z"
                .parse::<jiff::Timestamp>()
                .unwrap()
                .as_microsecond(),
        ),
        zone: TimeZone::fixed(Offset::constant(1)),
        late: None,
        text: "DOWN web (https://www.example.com/health) since 14:51:19: connection refused.".to_owned(),
        short: "DOWN web: connection refused".to_owned(),
        json: "{\"v\":1,\"id\":\"01JTEST\",\"event\":\"down\",\"resent\":false,\"text\":\"DOWN web\"}"
            .to_owned(),
    }
}

pub(crate) fn options<V: ToString>(given: &[(&str, V)]) -> Options {
    given
        .iter()
        .map(|(name, value)| (*name, OptionValue::Text(value.to_string())))
        .collect()
}

pub(crate) fn built<V: ToString>(name: &str, given: &[(&str, V)]) -> Built {
    crate::parse(name, &options(given)).unwrap()
}

/// As [`built`], with a deadline short enough to wait for.
pub(crate) fn hasty<V: ToString>(name: &str, given: &[(&str, V)]) -> Built {
    crate::notifiers::parse_within(name, &options(given), Duration::from_millis(400)).unwrap()
}

/// A port of loopback on which nothing listens.
pub(crate) async fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A request as an HTTP peer saw it.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|l| l.split_once(':'));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }
}

/// An HTTP server that answers each connection with the next line of its script:
/// `STATUS REASON`, `STATUS REASON\nHeader: value`, each with `|body`; `!close`, `!silence` or `!garbage`.
pub(crate) struct Peer {
    port: u16,
    requests: mpsc::UnboundedReceiver<Request>,
}

impl Peer {
    pub(crate) async fn http(script: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::unbounded_channel();
        let script: Vec<String> = script.iter().map(ToString::to_string).collect();
        tokio::spawn(async move {
            for answer in script {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(answer_http(stream, answer, sender.clone()));
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn request(&mut self) -> Request {
        self.requests.recv().await.unwrap()
    }
}

async fn answer_http(stream: tokio::net::TcpStream, answer: String, seen: mpsc::UnboundedSender<Request>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let mut request = Request {
        head,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    request.body.resize(length, 0);
    if stream.read_exact(&mut request.body).await.is_err() {
        return;
    }
    drop(seen.send(request));
    let (head, body) = answer.split_once('|').unwrap_or((&answer, ""));
    let answer = match head {
        "!close" => return,
        "!silence" => std::future::pending().await,
        "!garbage" => "\0\0nonsense\r\n\r\n".to_owned(),
        head => {
            let head = head.replace('\n', "\r\n");
            format!(
                "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        }
    };
    drop(stream.write_all(answer.as_bytes()).await);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    StartTls,
    Implicit,
}

/// An SMTP server for one conversation. `script` replaces its answers: the first entry whose word begins the command
/// (`GREETING` and `.` for the beginning and the end of DATA) gives the answer; `!close` and `!silence` as for HTTP.
pub(crate) struct SmtpPeer {
    pub(crate) port: u16,
    lines: mpsc::UnboundedReceiver<String>,
    ca: tempfile::NamedTempFile,
}

type Script = Vec<(String, String)>;

impl SmtpPeer {
    pub(crate) async fn start(mode: Mode, script: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, lines) = mpsc::unbounded_channel();
        let script: Script = script
            .iter()
            .map(|(word, answer)| ((*word).to_owned(), (*answer).to_owned()))
            .collect();
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(certified.cert.pem().as_bytes()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let mut talk = Talk { script, seen: sender };
            let part = if mode == Mode::StartTls {
                Part::BeforeStartTls
            } else {
                Part::Whole
            };
            if mode == Mode::Implicit {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                drop(talk.converse(stream, Part::Whole).await);
            } else if let Some(stream) = talk.converse(stream, part).await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                drop(talk.converse(stream, Part::AfterStartTls).await);
            }
        });
        Self { port, lines, ca }
    }

    /// Options of a notifier that speaks to this peer.
    pub(crate) fn options(
        &self,
        tls: &'static str,
        more: &[(&'static str, &str)],
    ) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("server", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("tls", tls.to_owned()),
            ("from", "lapwing@example.com".to_owned()),
            ("to", "ops@example.com".to_owned()),
            ("ca", self.ca.path().to_str().unwrap().to_owned()),
        ];
        for (name, value) in more {
            options.retain(|(n, _)| n != name);
            options.push((name, (*value).to_owned()));
        }
        options
    }

    /// Every line that the peer got, after the conversation has ended.
    pub(crate) async fn transcript(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(line) = self.lines.recv().await {
            all.push(line);
        }
        all
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    BeforeStartTls,
    AfterStartTls,
}

struct Talk {
    script: Script,
    seen: mpsc::UnboundedSender<String>,
}

impl Talk {
    /// Gives the stream back when STARTTLS was asked and granted.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: S, part: Part) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if part != Part::AfterStartTls && !self.answer(&mut stream, "GREETING", "220 peer ready").await {
            return None;
        }
        let mut in_data = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end_matches("\r\n").to_owned();
            drop(self.seen.send(line.clone()));
            if in_data && line != "." {
                continue;
            }
            let usual = match line.split(' ').next().unwrap_or_default() {
                "EHLO" if part == Part::BeforeStartTls => "250-peer\r\n250-SIZE 1000\r\n250 STARTTLS",
                "EHLO" => "250-peer\r\n250 AUTH PLAIN LOGIN",
                "STARTTLS" => "220 go on",
                "AUTH" => "235 welcome",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            in_data = line == "DATA" && !self.script.iter().any(|(word, _)| word == "DATA");
            if !self.answer(&mut stream, &line, usual).await {
                return None;
            }
            if line == "STARTTLS" {
                return Some(stream.into_inner());
            }
        }
    }

    async fn answer<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, line: &str, usual: &str) -> bool {
        let scripted = self
            .script
            .iter()
            .position(|(word, _)| line.starts_with(word.as_str()));
        let answer = scripted.map_or_else(|| usual.to_owned(), |at| self.script[at].1.clone());
        match answer.as_str() {
            "!close" => return false,
            "!silence" => std::future::pending().await,
            _ => {}
        }
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_ok() && stream.flush().await.is_ok()
    }
}
