//! Those whom the daemon tells: an HTTP server and two mail servers on the near side's loopback.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value;

use crate::{
    certificates::Authority,
    inbox::{Inbox, Told, Way},
    place::{Place, Side},
};

/// Who must log in before mail is taken after STARTTLS.
pub(crate) const USER: &str = "alerts@lapwing.test";
pub(crate) const PASSWORD: &str = "pa55word";
/// Both as AUTH PLAIN has them (RFC 4616): a NUL before each, in base64.
const LOGIN: &str = "AGFsZXJ0c0BsYXB3aW5nLnRlc3QAcGE1NXdvcmQ=";

/// Ports on 127.0.0.1.
pub(crate) struct Sinks {
    pub(crate) http: u16,
    pub(crate) mail: u16,
    pub(crate) safe_mail: u16,
}

impl Sinks {
    /// They put what they are told into `inbox`, until the test program ends.
    pub(crate) fn open(place: &Place, authority: &Authority, now: Timestamp, inbox: &Arc<Inbox>) -> Self {
        let tls = tls(authority, now);
        Self {
            http: serve(place, inbox, take_request),
            mail: serve(place, inbox, |stream, inbox| take_mail(&stream, None, inbox)),
            safe_mail: serve(place, inbox, move |stream, inbox| {
                take_mail(&stream, Some(&tls), inbox)
            }),
        }
    }
}

/// A conversation that ends early is the daemon's business: it tells again.
type Served = std::io::Result<()>;

fn serve(
    place: &Place,
    inbox: &Arc<Inbox>,
    talk: impl Fn(TcpStream, &Inbox) -> Served + Send + Sync + 'static,
) -> u16 {
    let listener = place.inside(Side::Near, || TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let (talk, inbox) = (Arc::new(talk), Arc::clone(inbox));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (talk, inbox) = (Arc::clone(&talk), Arc::clone(&inbox));
            thread::spawn(move || {
                let limited = stream.set_read_timeout(Some(Duration::from_secs(20)));
                drop(limited.and_then(|()| talk(stream, &inbox)));
            });
        }
    });
    port
}

/// One request, answered with 200 once it is in the inbox.
fn take_request(stream: TcpStream, inbox: &Inbox) -> Served {
    let mut stream = BufReader::new(stream);
    let first = line(&mut stream)?;
    let mut length = 0;
    loop {
        let header = line(&mut stream)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    let word = |key: &str| body[key].as_str().map(str::to_owned);
    let text = word("text").unwrap_or_default();
    inbox.put(if first.starts_with("POST /slack ") {
        Told {
            way: Way::Slack,
            text,
            id: None,
            event: Value::Null,
            to: String::new(),
            body: String::new(),
        }
    } else {
        Told {
            way: Way::Webhook,
            text,
            id: word("id"),
            event: body,
            to: String::new(),
            body: String::new(),
        }
    });
    stream
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A session of RFC 5321; with `tls`, no mail is taken before STARTTLS (RFC 3207) and a login (RFC 4954).
fn take_mail(stream: &TcpStream, tls: Option<&Arc<ServerConfig>>, inbox: &Inbox) -> Served {
    let mut wire: BufReader<Box<dyn Wire>> = BufReader::new(Box::new(stream.try_clone()?));
    let (mut safe, mut known) = (false, false);
    answer(&mut wire, "220 mail.lapwing.test ready")?;
    loop {
        let command = line(&mut wire)?;
        let verb = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" if tls.is_some() && !safe => answer(&mut wire, "250-mail.lapwing.test\r\n250 STARTTLS")?,
            "EHLO" if safe => answer(&mut wire, "250-mail.lapwing.test\r\n250 AUTH PLAIN")?,
            "EHLO" => answer(&mut wire, "250 mail.lapwing.test")?,
            "STARTTLS" if let Some(config) = tls => {
                answer(&mut wire, "220 begin")?;
                let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
                wire = BufReader::new(Box::new(StreamOwned::new(connection, stream.try_clone()?)));
                safe = true;
            }
            "AUTH" if safe => {
                known = command == format!("AUTH PLAIN {LOGIN}");
                answer(&mut wire, if known { "235 welcome" } else { "535 wrong" })?;
            }
            "MAIL" if tls.is_some() && !(safe && known) => {
                answer(&mut wire, "530 STARTTLS and a login first")?;
            }
            "DATA" => {
                answer(&mut wire, "354 go on")?;
                inbox.put(mail(&mut wire, if safe { Way::SafeMail } else { Way::Mail })?);
                answer(&mut wire, "250 taken")?;
            }
            "QUIT" => return answer(&mut wire, "221 bye"),
            _ => answer(&mut wire, "250 ok")?,
        }
    }
}

/// Reads a mail: its subject, the id of the message, to whom it is addressed, and its body.
fn mail(wire: &mut impl BufRead, way: Way) -> std::io::Result<Told> {
    let (mut headers, mut in_body, mut body) = (Vec::<String>::new(), false, String::new());
    loop {
        let line = line(wire)?;
        match line.strip_prefix(' ') {
            _ if line == "." => break,
            _ if in_body => {
                body.push_str(line.strip_prefix('.').unwrap_or(&line));
                body.push('\n');
            }
            _ if line.is_empty() => in_body = true,
            Some(more) if !headers.is_empty() => {
                let last = headers.last_mut().unwrap();
                last.push(' ');
                last.push_str(more);
            }
            _ => headers.push(line),
        }
    }
    let header = |name: &str| headers.iter().find_map(|h| h.strip_prefix(name)).map(str::trim);
    let id = header("Message-ID:").and_then(|id| id.strip_prefix('<')?.split_once(".lapwing@"));
    let quoted = header("Content-Transfer-Encoding:") == Some("quoted-printable");
    Ok(Told {
        way,
        text: header("Subject:").unwrap_or_default().to_owned(),
        id: id.map(|(id, _)| id.to_owned()),
        event: Value::Null,
        to: header("To:").unwrap_or_default().to_owned(),
        body: if quoted { unquoted(&body) } else { body },
    })
}

/// The text that was written as quoted-printable (RFC 2045, section 6.7).
fn unquoted(body: &str) -> String {
    let whole = body.replace("=\n", "");
    let mut parts = whole.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if from.take(100_000).read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn answer(wire: &mut BufReader<Box<dyn Wire>>, text: &str) -> Served {
    wire.get_mut().write_all(format!("{text}\r\n").as_bytes())?;
    wire.get_mut().flush()
}

fn tls(authority: &Authority, now: Timestamp) -> Arc<ServerConfig> {
    let certificate = authority.issue(now, &["127.0.0.1"], (-1, 90));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(authority.key().serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.unwrap())
}
