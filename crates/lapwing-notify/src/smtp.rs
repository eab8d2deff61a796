//! A small SMTP client (RFC 5321, STARTTLS of RFC 3207, AUTH of RFC 4954). Every line it reads is bounded. It never
//! goes on without TLS when TLS was asked for, and never repeats a password that a server repeats.

use std::time::Duration;

use lapwing_core::{
    monitor::{Family, Source},
    observation::Fault,
    secret::Secret,
    target::Host,
    time::short,
};
use lapwing_net::{Moment, Net, TlsSettings, fault_of};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    delivery::{DeliveryError, Handed, Receipt, Retry},
    redact::{Redactor, base64},
};

/// Longest line of a reply; RFC 5321 section 4.5.3.1.5 allows 512.
const LINE_MAX: usize = 4096;
/// Most lines of one reply.
const LINES_MAX: usize = 100;
/// Most addresses of the server that are tried.
const ADDRESSES_MAX: usize = 6;
/// How long we are polite at the end.
const QUIT_MAX: Duration = Duration::from_secs(1);

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// After STARTTLS, or not at all.
    StartTls,
    Implicit,
    None,
}

pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// A mail server and how to speak to it.
pub(crate) struct Server {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) tls: TlsSettings,
    pub(crate) login: Option<Login>,
    pub(crate) redactor: Redactor,
    /// Limit of each connect.
    pub(crate) connect_timeout: Duration,
}

/// What is handed over.
pub(crate) struct Mail<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a [String],
    /// Headers and body.
    pub(crate) data: Vec<u8>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A conversation with a server that has greeted.
pub(crate) struct Session<'a> {
    server: &'a Server,
    shown: String,
    wire: Box<dyn Wire>,
    read: Vec<u8>,
    /// What the server can do, from its answer to EHLO, in upper case.
    extensions: Vec<String>,
    /// How we call ourselves.
    name: String,
}

struct Reply {
    code: u16,
    text: String,
    lines: Vec<String>,
}

impl Server {
    /// `mail.example.com:587`
    pub(crate) fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Connects, begins TLS as configured, and logs in where there is a login.
    pub(crate) async fn open(&self, net: &Net) -> Result<Session<'_>, DeliveryError> {
        let fault = |fault: Fault| DeliveryError::network(&self.shown(), &fault, &self.redactor);
        let stream = self.connect(net).await.map_err(fault)?;
        let name = own_name(&stream);
        let wire: Box<dyn Wire> = Box::new(stream);
        let (shown, read, extensions) = (self.shown(), Vec::new(), Vec::new());
        let mut session = Session {
            server: self,
            shown,
            wire,
            read,
            extensions,
            name,
        };
        if self.security == Security::Implicit {
            session = session.encrypted(net).await?;
        }
        let greeting = session.reply("greeting").await?;
        session.expect("greeting", greeting, 2)?;
        session.hello().await?;
        if self.security == Security::StartTls {
            session = session.start_tls(net).await?;
        }
        if let Some(login) = &self.login {
            session.log_in(login).await?;
        }
        Ok(session)
    }

    async fn connect(&self, net: &Net) -> Result<TcpStream, Fault> {
        let addresses = net.resolve(&self.host, Family::Any).await?;
        let mut last = Fault::ours("ours.resolver", "the server's name has no address");
        for addr in addresses.into_iter().take(ADDRESSES_MAX) {
            let addr = net.socket_address(addr, &self.host, self.port);
            last = match timeout(self.connect_timeout, net.connect(addr, &Source::Any)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::target(
                    "timeout.connect",
                    format!("no connection within {}", short(self.connect_timeout)),
                ),
            };
        }
        Err(last)
    }
}

impl Session<'_> {
    /// Hands over `mail`. Recipients that are refused are told in the receipt, as long as one is accepted.
    /// From the first byte of the mail itself on, `handed` is set.
    pub(crate) async fn send(&mut self, mail: &Mail<'_>, handed: &Handed) -> Result<Receipt, DeliveryError> {
        let reply = self
            .command("MAIL", &format!("MAIL FROM:<{}>", mail.from))
            .await?;
        self.expect("MAIL", reply, 2)?;
        let mut refused = Vec::new();
        for to in mail.to {
            let reply = self.command("RCPT", &format!("RCPT TO:<{to}>")).await?;
            if let Err(error) = self.expect("RCPT", reply, 2) {
                refused.push((to, error));
            }
        }
        if refused.len() == mail.to.len() {
            // One that may pass later is worth trying again.
            let worth = refused
                .iter()
                .position(|(_, e)| e.retry != Retry::Never)
                .unwrap_or(0);
            return Err(refused.swap_remove(worth).1);
        }
        let reply = self.command("DATA", "DATA").await?;
        self.expect("DATA", reply, 3)?;
        handed.set();
        self.write("DATA", &stuffed(&mail.data)).await?;
        let reply = self.reply("end of DATA").await;
        let reply = reply.map_err(|error| error.maybe_arrived(true))?;
        self.expect("end of DATA", reply, 2)?;
        if refused.is_empty() {
            return Ok(Receipt::default());
        }
        let refused: Vec<String> = refused
            .iter()
            .map(|(to, error)| format!("{to} ({error})"))
            .collect();
        Ok(Receipt::noted(format!(
            "delivered, but not to {}",
            refused.join(", ")
        )))
    }

    /// Asks for nothing, to see that the session works.
    pub(crate) async fn noop(&mut self) -> Result<(), DeliveryError> {
        let reply = self.command("NOOP", "NOOP").await?;
        self.expect("NOOP", reply, 2).map(drop)
    }

    /// Says goodbye. What comes of it changes nothing.
    pub(crate) async fn quit(mut self) {
        drop(timeout(QUIT_MAX, self.command("QUIT", "QUIT")).await);
    }

    async fn hello(&mut self) -> Result<(), DeliveryError> {
        let reply = self.command("EHLO", &format!("EHLO {}", self.name)).await?;
        let reply = self.expect("EHLO", reply, 2)?;
        self.extensions = reply.lines.iter().skip(1).map(|l| l.to_uppercase()).collect();
        Ok(())
    }

    async fn start_tls(mut self, net: &Net) -> Result<Self, DeliveryError> {
        if !self.extensions.iter().any(|e| e == "STARTTLS") {
            let message = format!(
                "{} offers no STARTTLS, and without TLS nothing is sent",
                self.shown
            );
            return Err(DeliveryError::backoff("notify.tls", message));
        }
        let reply = self.command("STARTTLS", "STARTTLS").await?;
        self.expect("STARTTLS", reply, 2)?;
        if !self.read.is_empty() {
            // Somebody on the way put words before the handshake (RFC 3207 section 6, CVE-2011-0411).
            let message = format!(
                "{} sent more than the answer to STARTTLS before TLS began",
                self.shown
            );
            return Err(DeliveryError::backoff("notify.protocol", message));
        }
        let mut session = self.encrypted(net).await?;
        session.hello().await?;
        Ok(session)
    }

    async fn encrypted(self, net: &Net) -> Result<Self, DeliveryError> {
        let tls = net.tls(&self.server.tls);
        let tls = tls.map_err(|error| DeliveryError::backoff("notify.config", error.to_string()))?;
        match net.handshake(self.wire, &self.server.host, &tls).await {
            Ok((stream, _)) => Ok(Self {
                wire: Box::new(stream),
                read: Vec::new(),
                extensions: Vec::new(),
                ..self
            }),
            Err(failure) => Err(DeliveryError::network(
                &self.shown,
                &failure.fault,
                &self.server.redactor,
            )),
        }
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), DeliveryError> {
        let offered = |mechanism: &str| {
            let words = self
                .extensions
                .iter()
                .filter_map(|e| e.strip_prefix("AUTH"))
                .flat_map(str::split_whitespace);
            words.map(|w| w.trim_start_matches('=')).any(|w| w == mechanism)
        };
        let (plain, login_word) = (offered("PLAIN"), offered("LOGIN"));
        let (username, password) = (login.username.as_str(), login.password.expose());
        let reply = if plain {
            let token = base64(format!("\0{username}\0{password}").as_bytes());
            self.command("AUTH", &format!("AUTH PLAIN {token}")).await?
        } else if login_word {
            let mut reply = self.command("AUTH", "AUTH LOGIN").await?;
            for word in [username, password] {
                self.expect("AUTH", reply, 3)?;
                reply = self.command("AUTH", &base64(word.as_bytes())).await?;
            }
            reply
        } else {
            let message = format!(
                "{} offers no login with a password (AUTH PLAIN or LOGIN)",
                self.shown
            );
            return Err(DeliveryError::never("notify.auth", message));
        };
        self.expect("AUTH", reply, 2).map(drop)
    }

    /// `reply` when it is of the class wanted (2: done, 3: go on); otherwise what the refusal means.
    fn expect(&self, stage: &'static str, reply: Reply, class: u16) -> Result<Reply, DeliveryError> {
        if reply.code / 100 == class {
            return Ok(reply);
        }
        let quoted = self.server.redactor.quote(&reply.text);
        let message = format!("{} at {stage}: {} {quoted}", self.shown, reply.code);
        Err(match (reply.code, stage) {
            (400..=499, _) => DeliveryError::backoff("notify.unavailable", message),
            (500..=599, "AUTH") | (530 | 534 | 535 | 538, _) => DeliveryError::never("notify.auth", message),
            (500..=599, _) => DeliveryError::never("notify.rejected", message),
            _ => DeliveryError::backoff("notify.protocol", message),
        })
    }

    async fn command(&mut self, stage: &'static str, line: &str) -> Result<Reply, DeliveryError> {
        debug_assert!(!line.contains(['\r', '\n', '\0']), "a command is one line");
        self.write(stage, format!("{line}\r\n").as_bytes()).await?;
        self.reply(stage).await
    }

    async fn write(&mut self, stage: &str, bytes: &[u8]) -> Result<(), DeliveryError> {
        let written = async {
            self.wire.write_all(bytes).await?;
            self.wire.flush().await
        };
        written.await.map_err(|error| lost(&self.shown, stage, &error))
    }

    async fn reply(&mut self, stage: &str) -> Result<Reply, DeliveryError> {
        let mut lines = Vec::new();
        loop {
            let line = self.line(stage).await?;
            let odd = || {
                DeliveryError::backoff(
                    "notify.protocol",
                    format!("{} at {stage}: this is not SMTP", self.shown),
                )
            };
            let code = line
                .get(..3)
                .filter(|c| c.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|c| c.parse().ok());
            let code: u16 = code.ok_or_else(odd)?;
            let more = match line.as_bytes().get(3) {
                Some(b'-') => true,
                Some(b' ') | None => false,
                Some(_) => return Err(odd()),
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if !more {
                return Ok(Reply {
                    code,
                    text: lines.join(" "),
                    lines,
                });
            }
            if lines.len() >= LINES_MAX {
                return Err(odd());
            }
        }
    }

    async fn line(&mut self, stage: &str) -> Result<String, DeliveryError> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.read.len() > LINE_MAX {
                let message = format!("{} at {stage}: a line of the answer is too long", self.shown);
                return Err(DeliveryError::backoff("notify.protocol", message));
            }
            let mut chunk = [0; 1024];
            match self.wire.read(&mut chunk).await {
                Ok(0) => {
                    let message = format!("{} at {stage}: the server closed the connection", self.shown);
                    return Err(DeliveryError::backoff("notify.unreachable", message));
                }
                Ok(count) => self.read.extend_from_slice(&chunk[..count]),
                Err(error) => return Err(lost(&self.shown, stage, &error)),
            }
        }
    }
}

fn lost(shown: &str, stage: &str, error: &std::io::Error) -> DeliveryError {
    let fault = fault_of(error, Moment::Later);
    DeliveryError::backoff(
        "notify.unreachable",
        format!("{shown} at {stage}: {}", fault.reason().detail),
    )
}

/// `data` as it goes over the wire: CRLF everywhere, leading dots doubled, the final dot (RFC 5321 section 4.5.2).
fn stuffed(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 64);
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|b| matches!(b, b'\r' | b'\n'))
            .unwrap_or(rest.len());
        if rest.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        let skip = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = rest.get(end + skip..).unwrap_or_default();
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// The host name where it is a full one, else the address that the server sees (RFC 5321 section 4.1.3).
fn own_name(stream: &TcpStream) -> String {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|n| n.into_string().ok())
        .unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if name.contains('.') && name.bytes().all(plain) {
        return name;
    }
    match stream.local_addr().map(|a| a.ip()) {
        Ok(std::net::IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Ok(ip) => format!("[{ip}]"),
        Err(_) => "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_early() {
        for (data, wire) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n.x\r\n", "..\r\n..x\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"),
            ("", ".\r\n"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n.\r\n"),
        ] {
            assert_eq!(
                String::from_utf8(stuffed(data.as_bytes())).unwrap(),
                wire,
                "{data:?}"
            );
        }
    }
}
