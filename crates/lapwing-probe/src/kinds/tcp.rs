//! TCP: connects, and where asked sends and judges what comes back. Never reads more than 64 KiB.

use std::time::Duration;

use lapwing_core::{
    kind::{
        Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options,
    },
    observation::Fault,
    target::{Host, Target},
    time::short,
};
use lapwing_net::{Moment, TlsSettings, fault_of};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::tls;
use crate::{
    Cx, Probe, Probing, Verdict,
    cx::timed_out,
    pattern::{Pattern, excerpt, first_line, unescape},
};

pub(super) static INFO: KindInfo = KindInfo {
    name: "tcp",
    schemes: &["tcp"],
    summary: "Connects to a TCP port; can send a text and judge the answer.",
    about: "Up when the connection is established. With `expect`, up when what the peer sends holds the expected \
        text; a peer that speaks first (SMTP, SSH, FTP) needs no `send`. With `send` alone, up when the text could be \
        sent: the answer is not waited for. With `tls`, all of it happens inside TLS, and the certificate must be \
        good. At most 64 KiB of the answer are read.",
    examples: &[
        "tcp://db.example.com:5432",
        "tcp://mail.example.com:25?expect=220",
        "tcp://cache.example.com:6379?send=PING\\r\\n&expect=PONG",
        "tcp://mail.example.com:465?tls=true&expect=220",
    ],
    address: Address::HostPort { default: None },
    options: &[
        OptionInfo {
            name: "send",
            ty: OptionType::Text,
            default: "",
            doc: "What to send once connected. Escapes: \\r \\n \\t \\0 \\\\ and \\xNN.",
            example: "'PING\\r\\n'",
        },
        OptionInfo {
            name: "expect",
            ty: OptionType::Text,
            default: "",
            doc: "What the answer must hold: a text with the escapes of `send`, or /regex/ (on bytes; (?i) ignores \
                case).",
            example: "\"220\"",
        },
        OptionInfo {
            name: "tls",
            ty: OptionType::Flag,
            default: "false",
            doc: "Speaks TLS from the first byte.",
            example: "true",
        },
        tls::INSECURE,
        tls::CA,
        tls::SERVER_NAME,
        OptionInfo {
            name: "close",
            ty: OptionType::Choice(&["reset", "fin"]),
            default: "reset",
            doc: "How a check that only connects ends the connection: `reset` (RST: cheaper, leaves nothing behind on \
                either side) or `fin` (kinder to services that log resets, but each check leaves a TIME_WAIT entry \
                here for a minute). A check that sent, read or used TLS always ends with a FIN.",
            example: "\"fin\"",
        },
    ],
    facts: &[
        FactInfo {
            name: "tcp.peer",
            unit: "",
            doc: "Address and port that were asked.",
            kept: false,
        },
        FactInfo {
            name: "tcp.banner",
            unit: "",
            doc: "First line of what the peer sent.",
            kept: false,
        },
        tls::FACT_EXPIRES_IN,
        tls::FACT_NOT_AFTER,
        tls::FACT_ISSUER,
        tls::FACT_SUBJECT,
        tls::FACT_NAMES,
        tls::FACT_PROTOCOL,
        tls::FACT_CIPHER,
        tls::FACT_SERIAL,
    ],
    codes: &[CodeInfo {
        code: "tcp.mismatch",
        doc: "The answer does not hold what is expected.",
    }],
    privileges: None,
    overlaps: false,
    owns_query: false,
};

/// Most bytes of an answer that are read.
const LONGEST_ANSWER: usize = 64 * 1024;

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let options = tls::with_server_name(options);
    let mut reader = OptionReader::new(&INFO, &options);
    let send = reader.text("send").map(|text| match unescape(&text) {
        Ok(bytes) => bytes,
        Err(why) => {
            reader.error(OptionError::new("send", format!("send = \"{text}\" {why}")));
            Vec::new()
        }
    });
    let expect = Pattern::option(&mut reader, "expect", Pattern::escaped);
    let with_tls = reader.flag("tls");
    if !with_tls {
        for name in ["insecure", "ca", "server_name"]
            .into_iter()
            .filter(|name| reader.has(name))
            .collect::<Vec<_>>()
        {
            let error = OptionError::new(name, format!("{name} has no effect without tls"));
            reader.error(error.hint("add tls = true"));
        }
    }
    let settings = tls::settings(&mut reader);
    let name = tls::server_name(&mut reader);
    let reset = reader.choice("close") == "reset";
    let (Some(host), Some(port)) = (target.host.clone(), target.port) else {
        return Err(vec![OptionError::new("", "tcp needs a host and a port")]);
    };
    reader.finish()?;
    let tls = with_tls.then(|| (name.unwrap_or_else(|| host.clone()), settings));
    Ok(Box::new(Tcp {
        host,
        port,
        tls,
        send,
        expect,
        reset,
    }))
}

struct Tcp {
    host: Host,
    port: u16,
    /// The server's name and the settings, where TLS is spoken.
    tls: Option<(Host, TlsSettings)>,
    send: Option<Vec<u8>>,
    expect: Option<Pattern>,
    /// How a bare connection ends: with a reset, else a FIN.
    reset: bool,
}

impl Probe for Tcp {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl Tcp {
    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let address = cx.address(&self.host, self.port).await?;
        cx.fact("tcp.peer", address.to_string());
        let connecting = cx.net.connect(address, &cx.settings.source);
        let stream = cx
            .limited("connect", cx.settings.connect_timeout, connecting)
            .await?;
        let talks = self.send.is_some() || self.expect.is_some();
        match &self.tls {
            Some((name, settings)) => {
                let (stream, _) = if talks {
                    tls::handshake(cx, stream, name, settings).await?
                } else {
                    tls::handshake_alone(cx, stream, name, settings).await?
                };
                self.talk(cx, stream).await
            }
            None if talks => self.talk(cx, stream).await,
            None => {
                self.hang_up(&stream);
                Ok(())
            }
        }
    }

    fn hang_up(&self, stream: &TcpStream) {
        if self.reset {
            // Where it cannot be set, the connection ends with a FIN: the check has passed all the same.
            drop(stream.set_zero_linger());
        }
    }

    async fn talk(&self, cx: &Cx<'_>, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Verdict {
        let verdict = self.converse(cx, &mut stream).await;
        if verdict.is_ok() {
            // A close alert inside TLS; the verdict stands whether or not the peer still takes it.
            drop(timeout(cx.before_deadline(), stream.shutdown()).await);
        }
        verdict
    }

    async fn converse(&self, cx: &Cx<'_>, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Verdict {
        if let Some(bytes) = &self.send {
            cx.enter("first_byte");
            let sent = async {
                stream.write_all(bytes).await?;
                stream.flush().await
            };
            sent.await.map_err(|error| fault_of(&error, Moment::Later))?;
        }
        let Some(expect) = &self.expect else {
            cx.leave();
            return Ok(());
        };
        cx.enter("first_byte");
        let mut answer = Vec::with_capacity(1024);
        let heard = timeout(cx.before_deadline(), listen(cx, stream, expect, &mut answer)).await;
        cx.leave();
        if !answer.is_empty() {
            cx.fact("tcp.banner", first_line(&answer));
        }
        let limit = cx.settings.timeout;
        match heard {
            Ok(Ok(Heard::Expected)) => Ok(()),
            Ok(Err(fault)) => Err(fault),
            Ok(Ok(Heard::Closed)) if answer.is_empty() => Err(Fault::target(
                "connect.closed",
                format!("closed without an answer, expected {expect}"),
            )),
            Ok(Ok(Heard::Closed)) => Err(Fault::target(
                "tcp.mismatch",
                format!("expected {expect}, got {}", excerpt(&answer)),
            )),
            Ok(Ok(Heard::TooMuch)) => {
                let got = excerpt(&answer);
                Err(Fault::target(
                    "tcp.mismatch",
                    format!("expected {expect} within the first 64 KiB, got {got}"),
                ))
            }
            Err(_) if answer.is_empty() => Err(timed_out("first_byte", limit)),
            Err(_) => {
                let (limit, got) = (short(limit), excerpt(&answer));
                Err(Fault::target(
                    "timeout.transfer",
                    format!("expected {expect} within {limit}, got {got}"),
                ))
            }
        }
    }
}

enum Heard {
    Expected,
    Closed,
    TooMuch,
}

/// Reads until `expect` is found, the peer closes, or 64 KiB have come.
///
/// Long answers are not searched again for each byte that comes, but when they have grown by an eighth or the peer
/// pauses: a peer that sends byte by byte cannot make us busy.
async fn listen(
    cx: &Cx<'_>,
    stream: &mut (impl AsyncRead + Unpin),
    expect: &Pattern,
    answer: &mut Vec<u8>,
) -> Result<Heard, Fault> {
    const SEARCHED_EACH_TIME: usize = 4096;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut searched = 0;
    let mut paused = false;
    loop {
        let (length, unseen) = (answer.len(), answer.len() - searched);
        if unseen > 0 && (length <= SEARCHED_EACH_TIME || unseen >= length / 8 || paused) {
            if expect.found_in(answer) {
                return Ok(Heard::Expected);
            }
            searched = length;
        }
        paused = false;
        if length == LONGEST_ANSWER {
            let found = searched < length && expect.found_in(answer);
            return Ok(if found { Heard::Expected } else { Heard::TooMuch });
        }
        let mut rest = (&mut *stream).take((LONGEST_ANSWER - length) as u64);
        let reading = rest.read_buf(answer);
        let read = if searched == length {
            reading.await
        } else {
            let Ok(read) = timeout(PAUSE, reading).await else {
                paused = true;
                continue;
            };
            read
        };
        match read {
            Ok(0) => {
                let found = searched < length && expect.found_in(answer);
                return Ok(if found { Heard::Expected } else { Heard::Closed });
            }
            Ok(_) if length == 0 => cx.enter("transfer"),
            Ok(_) => {}
            // A TLS peer that closes without an alert; what came before counts.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(Heard::Closed),
            Err(error) => return Err(fault_of(&error, Moment::Later)),
        }
    }
}

#[cfg(test)]
mod tests;
