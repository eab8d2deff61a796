//! UDP: sends one datagram and judges what comes back, or that nothing does. Never sends twice.

use lapwing_core::{
    kind::{
        Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options,
    },
    observation::Fault,
    target::{Host, Target},
    time::short,
};
use lapwing_net::{Moment, fault_of};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    Cx, Probe, Probing, Verdict,
    pattern::{Pattern, excerpt, unescape},
};

pub(super) static INFO: KindInfo = KindInfo {
    name: "udp",
    schemes: &["udp"],
    summary: "Sends a UDP datagram and judges the answer, or its absence.",
    about: "Up when an answer comes (with `expect`: when it holds the expected text), down when the peer's machine \
        reports that nothing listens on the port (ICMP port unreachable). Silence can mean an open port that had \
        nothing to say, or a filter: it is down when `expect` is given, otherwise up with the fact \
        `udp.answered = false`; `silent` overrides that. A silent peer takes the whole timeout. Services that \
        answer only well-formed questions need a fitting `send`; for DNS and NTP there are kinds of their own.",
    examples: &[
        "udp://192.0.2.1:514",
        "udp://192.0.2.1:514?silent=inconclusive",
        "udp://game.example.com:27015?send=\\xff\\xff\\xff\\xffTSource+Engine+Query\\0&expect=/./",
    ],
    address: Address::HostPort { default: None },
    options: &[
        OptionInfo {
            name: "send",
            ty: OptionType::Text,
            default: "",
            doc: "What the datagram holds; empty unless given. Escapes: \\r \\n \\t \\0 \\\\ and \\xNN.",
            example: "'ping\\n'",
        },
        OptionInfo {
            name: "expect",
            ty: OptionType::Text,
            default: "",
            doc: "What the answer must hold: a text with the escapes of `send`, or /regex/ (on bytes; (?i) ignores \
                case). The first datagram that comes back is judged.",
            example: "\"pong\"",
        },
        OptionInfo {
            name: "silent",
            ty: OptionType::Choice(&["up", "down", "inconclusive"]),
            default: "",
            doc: "What silence means. Unless given: down with `expect`, else up.",
            example: "\"down\"",
        },
    ],
    facts: &[
        FactInfo {
            name: "udp.peer",
            unit: "",
            doc: "Address and port that were asked.",
            kept: false,
        },
        FactInfo {
            name: "udp.answered",
            unit: "",
            doc: "Whether an answer came.",
            kept: true,
        },
        FactInfo {
            name: "udp.bytes",
            unit: "bytes",
            doc: "Length of the answer.",
            kept: false,
        },
    ],
    codes: &[CodeInfo {
        code: "udp.mismatch",
        doc: "The answer does not hold what is expected.",
    }],
    privileges: None,
    overlaps: false,
    owns_query: false,
};

/// Largest payload of an unfragmented UDP datagram over IPv4 (RFC 768, RFC 791).
const LONGEST_SEND: usize = 65_507;

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let mut reader = OptionReader::new(&INFO, options);
    let text = reader.text("send").unwrap_or_default();
    let send = unescape(&text).and_then(|bytes| {
        let fits = bytes.len() <= LONGEST_SEND;
        if fits {
            Ok(bytes)
        } else {
            Err("is longer than a datagram (65507 bytes)".to_owned())
        }
    });
    let send = send.unwrap_or_else(|why| {
        let shown = text.get(..40).unwrap_or(&text);
        reader.error(OptionError::new("send", format!("send = \"{shown}\" {why}")));
        Vec::new()
    });
    let expect = Pattern::option(&mut reader, "expect", Pattern::escaped);
    let silent = match reader.choice("silent") {
        "up" => Silence::Up,
        "down" => Silence::Down,
        "inconclusive" => Silence::Inconclusive,
        _ if expect.is_some() => Silence::Down,
        _ => Silence::Up,
    };
    let (Some(host), Some(port)) = (target.host.clone(), target.port) else {
        return Err(vec![OptionError::new("", "udp needs a host and a port")]);
    };
    reader.finish()?;
    Ok(Box::new(Udp {
        host,
        port,
        send,
        expect,
        silent,
    }))
}

struct Udp {
    host: Host,
    port: u16,
    send: Vec<u8>,
    expect: Option<Pattern>,
    silent: Silence,
}

#[derive(Clone, Copy)]
enum Silence {
    Up,
    Down,
    Inconclusive,
}

impl Probe for Udp {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl Udp {
    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let address = cx.address(&self.host, self.port).await?;
        cx.fact("udp.peer", address.to_string());
        let socket = cx.net.udp(address, &cx.settings.source)?;
        cx.enter("answer");
        let answer = timeout(cx.before_deadline(), self.exchange(&socket)).await;
        cx.leave();
        match answer {
            Ok(Ok(bytes)) => self.judge(cx, &bytes),
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                cx.fact("udp.answered", false);
                self.silence(cx)
            }
        }
    }

    async fn exchange(&self, socket: &UdpSocket) -> Result<Vec<u8>, Fault> {
        socket
            .send(&self.send)
            .await
            .map_err(|error| fault(&error, Moment::Call))?;
        let mut buffer = vec![0; 65_536];
        let count = socket
            .recv(&mut buffer)
            .await
            .map_err(|error| fault(&error, Moment::Later))?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn judge(&self, cx: &Cx<'_>, answer: &[u8]) -> Verdict {
        cx.fact("udp.answered", true);
        cx.fact("udp.bytes", answer.len() as u64);
        match &self.expect {
            Some(expect) if !expect.found_in(answer) => Err(Fault::target(
                "udp.mismatch",
                format!("expected {expect}, got {}", excerpt(answer)),
            )),
            _ => Ok(()),
        }
    }

    fn silence(&self, cx: &Cx<'_>) -> Verdict {
        let limit = short(cx.settings.timeout);
        let detail = match &self.expect {
            Some(expect) => format!("no answer within {limit}, expected {expect}"),
            None => format!("no answer (open or filtered) within {limit}"),
        };
        match self.silent {
            Silence::Up => Ok(()),
            Silence::Down => Err(Fault::target("timeout.answer", detail)),
            Silence::Inconclusive => Err(Fault::ours("timeout.answer", detail)),
        }
    }
}

/// The fault of a socket error. A refusal is an ICMP port unreachable, whatever call reports it.
fn fault(error: &std::io::Error, moment: Moment) -> Fault {
    if error.kind() == std::io::ErrorKind::ConnectionRefused {
        return Fault::target("connect.refused", "port unreachable: nothing listens there");
    }
    fault_of(error, moment)
}

#[cfg(test)]
mod tests;
