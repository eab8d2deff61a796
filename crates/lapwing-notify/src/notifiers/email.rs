//! Mail: a text message for people, or one short line for an SMS gateway. No header ever holds a line break.

use std::time::{Duration, SystemTime};

use lapwing_core::{
    kind::{OptionError, OptionInfo, OptionReader, OptionType},
    observation::clean,
    target::Host,
    time::Wall,
};
use lapwing_net::Net;
use lettre::message::{
    Body, Mailbox, SinglePart,
    header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
};

use crate::{
    BoxFuture, DeliveryError, Dial, Message, Notifier, NotifierInfo, NotifierKind, Receipt,
    delivery::{Handed, within},
    options,
    redact::{Redactor, base64},
    smtp::{Login, Mail, Security, Server},
};

pub(super) const KIND: NotifierKind = NotifierKind { info: &INFO, build };

/// One text message of GSM 03.38.
const SHORT_MAX: usize = 160;
/// Longest line that is sent as it is; RFC 5322 section 2.1.1 ends at 998.
const LINE_MAX: usize = 900;

static INFO: NotifierInfo = NotifierInfo {
    name: "email",
    summary: "mail by SMTP, in full or short enough for an SMS gateway",
    about: "Sends a plain text mail. With tls = starttls nothing is sent before TLS has begun. The Message-ID is the \
            same at every resend, so that mail systems can drop a repetition. format = short sends one line of at \
            most 160 plain characters without subject or signature, for gateways to text messages.",
    options: &[
        OptionInfo {
            name: "server",
            ty: OptionType::Text,
            default: "",
            doc: "The mail server's name or address.",
            example: "\"smtp.example.com\"",
        },
        OptionInfo {
            name: "port",
            ty: OptionType::Integer,
            default: "",
            doc: "Its port. Default: 587 with starttls, 465 with implicit, 25 with none.",
            example: "587",
        },
        OptionInfo {
            name: "tls",
            ty: OptionType::Choice(&["starttls", "implicit", "none"]),
            default: "starttls",
            doc: "When TLS begins. With none, a password travels in the clear.",
            example: "\"implicit\"",
        },
        OptionInfo {
            name: "username",
            ty: OptionType::Text,
            default: "",
            doc: "Who logs in. Without it there is no login.",
            example: "\"lapwing@example.com\"",
        },
        OptionInfo {
            name: "password",
            ty: OptionType::Secret,
            default: "",
            doc: "The password of the login.",
            example: "{ file = \"/etc/lapwing/mail.password\" }",
        },
        OptionInfo {
            name: "from",
            ty: OptionType::Text,
            default: "",
            doc: "The sender. Default: username, where that is an address.",
            example: "\"Lapwing <lapwing@example.com>\"",
        },
        OptionInfo {
            name: "to",
            ty: OptionType::List,
            default: "",
            doc: "The recipients.",
            example: "[\"ops@example.com\"]",
        },
        OptionInfo {
            name: "format",
            ty: OptionType::Choice(&["full", "short"]),
            default: "full",
            doc: "A mail for people, or one line for an SMS gateway.",
            example: "\"short\"",
        },
    ],
    shared: options::MAIL,
    required: &["server", "to"],
    example: "[notify.mail]\ntype = \"email\"\nserver = \"smtp.example.com\"\nusername = \"lapwing@example.com\"\n\
              password = \"${MAIL_PASSWORD}\"\nto = [\"ops@example.com\"]\n",
};

struct Email {
    server: Server,
    deadline: Duration,
    from: Mailbox,
    to: Vec<Mailbox>,
    short: bool,
}

fn build(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Box<dyn Notifier>> {
    let (security, default_port) = match reader.choice("tls") {
        "implicit" => (Security::Implicit, 465),
        "none" => (Security::None, 25),
        _ => (Security::StartTls, 587),
    };
    let port = reader
        .integer("port", 1..=65535)
        .map_or(default_port, |p| p as u16);
    let login = login(reader);
    let from = from(reader);
    let to: Vec<Mailbox> = reader
        .list("to")
        .iter()
        .filter_map(|a| mailbox(reader, "to", a))
        .collect();
    let short = reader.choice("format") == "short";
    let host = reader.text("server").filter(|s| !s.trim().is_empty())?;
    let host = match Host::parse(host.trim()) {
        Ok(host) => host,
        Err(error) => {
            let hint = "the port is an option of its own: port = 587";
            reader.error(OptionError::new("server", format!("server: {error}")).hint(hint));
            return None;
        }
    };
    let redactor = match &login {
        None => Redactor::new(),
        Some(login) => {
            let (name, password) = (&login.username, login.password.expose());
            Redactor::new()
                .secret(password)
                .secret(&base64(format!("\0{name}\0{password}").as_bytes()))
        }
    };
    let connect_timeout = dial.deadline.mul_f64(0.4);
    let server = Server {
        host,
        port,
        security,
        tls: dial.tls(),
        login,
        redactor,
        connect_timeout,
    };
    Some(Box::new(Email {
        server,
        deadline: dial.deadline,
        from: from?,
        to,
        short,
    }))
}

fn login(reader: &mut OptionReader<'_>) -> Option<Login> {
    let username = reader.text("username").filter(|u| !u.is_empty());
    let password = reader.secret("password").filter(|p| !p.is_empty());
    if username.iter().any(|u| u.contains('\0')) || password.iter().any(|p| p.expose().contains('\0')) {
        reader.error(OptionError::new(
            "password",
            "username and password may not hold a NUL character",
        ));
    }
    match (username, password) {
        (Some(username), Some(password)) => Some(Login { username, password }),
        (None, None) => None,
        (Some(_), None) => {
            reader.error(OptionError::new(
                "password",
                "username is given, but password is missing or empty",
            ));
            None
        }
        (None, Some(_)) => {
            reader.error(OptionError::new(
                "username",
                "password is given, but username is missing or empty",
            ));
            None
        }
    }
}

fn from(reader: &mut OptionReader<'_>) -> Option<Mailbox> {
    if let Some(from) = reader.text("from").filter(|f| !f.is_empty()) {
        return mailbox(reader, "from", &from);
    }
    let username = reader.text("username").unwrap_or_default();
    if !username.contains('@') {
        let error = OptionError::new("from", "email needs from, because username is not a mail address");
        reader.error(error.hint("for example: from = \"Lapwing <lapwing@example.com>\""));
        return None;
    }
    mailbox(reader, "from", &username)
}

fn mailbox(reader: &mut OptionReader<'_>, option: &str, text: &str) -> Option<Mailbox> {
    let parsed = text.trim().parse::<Mailbox>().ok();
    let good =
        parsed.filter(|m| !text.chars().any(char::is_control) && AsRef::<str>::as_ref(&m.email).is_ascii());
    if good.is_none() {
        let error = OptionError::new(
            option,
            format!("\"{}\" is not a mail address", text.escape_debug()),
        );
        reader.error(
            error.hint("write name@example.com or Name <name@example.com>; the address itself in ASCII"),
        );
    }
    good
}

impl Email {
    async fn send(&self, message: &Message, net: &Net) -> Result<Receipt, DeliveryError> {
        let data = self.compose(message, net.clock().now().wall)?;
        let to: Vec<String> = self.to.iter().map(|m| m.email.to_string()).collect();
        let mail = Mail {
            from: self.from.email.as_ref(),
            to: &to,
            data,
        };
        let handed = Handed::default();
        let (session, receipt) = within(self.deadline, &self.server.shown(), &handed, async {
            let mut session = self.server.open(net).await?;
            let receipt = session.send(&mail, &handed).await?;
            Ok((session, receipt))
        })
        .await?;
        // Delivered is delivered: the goodbye stands outside the deadline.
        session.quit().await;
        Ok(receipt)
    }

    /// Headers and body. `Date` is now, `Message-ID` is the same for every resend.
    fn compose(&self, message: &Message, now: Wall) -> Result<Vec<u8>, DeliveryError> {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
                c
            } else {
                '-'
            }
        };
        let id: String = message.id.chars().take(100).map(plain).collect();
        let date = SystemTime::UNIX_EPOCH + Duration::from_micros(now.0.max(0) as u64);
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .date(date)
            .message_id(Some(format!("<{id}.lapwing@{}>", self.from.email.domain())))
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let body = if self.short {
            short_line(message)
        } else {
            builder = builder.subject(clean(&message.short, 200));
            full_text(message)
        };
        let built = builder.singlepart(part(body));
        let built = built.map_err(|error| {
            DeliveryError::never("notify.config", format!("the mail cannot be built: {error}"))
        })?;
        Ok(built.formatted())
    }
}

impl Notifier for Email {
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        net: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(self.send(message, net))
    }

    /// Connects, logs in and leaves: no mail is sent.
    fn verify<'a>(&'a self, net: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async {
            let session = within(self.deadline, &self.server.shown(), &Handed::default(), async {
                let mut session = self.server.open(net).await?;
                session.noop().await?;
                Ok(session)
            })
            .await?;
            session.quit().await;
            Ok(Receipt::default())
        })
    }

    /// A mail that a local server takes has not reached anybody yet.
    fn is_local(&self) -> bool {
        false
    }
}

/// Plain text: as it is where every line fits into a mail, else encoded.
fn part(text: String) -> SinglePart {
    let fits = text.is_ascii() && text.lines().all(|line| line.len() <= LINE_MAX);
    if fits {
        let body = Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit);
        return SinglePart::builder().header(ContentType::TEXT_PLAIN).body(body);
    }
    SinglePart::plain(text)
}

fn full_text(message: &Message) -> String {
    let told = message.told().replace('\n', "\r\n");
    let lines = [("Monitor", "series"), ("Target", "target"), ("Message", "id")].map(|(word, field)| {
        let value = message.field(field);
        if value.is_empty() {
            String::new()
        } else {
            format!("{word}: {value}\r\n")
        }
    });
    format!("{told}\r\n\r\n-- \r\n{}", lines.concat())
}

/// One line of at most 160 characters that every telephone shows.
fn short_line(message: &Message) -> String {
    let late = message
        .late
        .map_or_else(String::new, |_| format!(" at {}", message.time()));
    let plain: String = clean(&message.short, 1000)
        .chars()
        .chain(late.chars())
        .map(gsm)
        .collect();
    if plain.len() <= SHORT_MAX {
        return plain;
    }
    format!("{}...", &plain[..SHORT_MAX - 3])
}

/// What stands for `c` in the characters that ASCII and the basic set of GSM 03.38 share.
fn gsm(c: char) -> &'static str {
    const PLAIN: &str =
        " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
    if let Some(at) = PLAIN.find(c) {
        return &PLAIN[at..at + c.len_utf8()];
    }
    match c {
        '[' | '{' => "(",
        ']' | '}' => ")",
        '~' | '–' | '—' | '−' => "-",
        '|' | '\\' => "/",
        '^' | '`' | '´' | '‘' | '’' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '…' => "...",
        '±' => "+-",
        '→' => "->",
        'ä' | 'æ' => "ae",
        'ö' | 'œ' => "oe",
        'ü' => "ue",
        'Ä' | 'Æ' => "Ae",
        'Ö' => "Oe",
        'Ü' => "Ue",
        'ß' => "ss",
        '€' => "EUR",
        'á' | 'à' | 'â' | 'ã' | 'å' => "a",
        'é' | 'è' | 'ê' | 'ë' => "e",
        'í' | 'ì' | 'î' | 'ï' => "i",
        'ó' | 'ò' | 'ô' | 'õ' | 'ø' => "o",
        'ú' | 'ù' | 'û' | 'µ' => "u",
        'ç' => "c",
        'ñ' => "n",
        c if c.is_whitespace() => " ",
        _ => "?",
    }
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
