//! dns: asks a name server one question and compares the answer with what is expected.
//!
//! Never resolves the asked name by other means: what this server says is what is judged.

mod exchange;
mod options;
mod text;

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use lapwing_core::{
    kind::{Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionType, Options},
    observation::Fault,
    target::{Host, Target},
    time::short,
};

use crate::{Cx, Probe, Probing, Verdict};

use exchange::{Answer, Exchange, Question};

pub(super) static INFO: KindInfo = KindInfo {
    name: "dns",
    schemes: &["dns"],
    summary: "Asks a name server and compares its answer.",
    about: "Asks one question over UDP (over TCP when the answer is too long) and is up when the response code is the \
            expected one and there are records of the asked type that match `expect`. Without a server in the target \
            the servers of /etc/resolv.conf are asked in their order; when all of them stay silent that is our own \
            fault, while the silence of a server in the target is that server's. Answers are compared in one \
            form: names lower-case without the final dot, TXT strings joined, MX as \"10 mail.example.com\", \
            SRV as \"priority weight port target\". An address as the name with type PTR asks for its reverse name.",
    examples: &[
        "dns:www.example.com",
        "dns://192.0.2.53/www.example.com?type=AAAA&expect=2001:db8::80",
        "dns://192.0.2.53:5353/example.com?type=MX&match=exact&expect=10+mail.example.com",
        "dns://[2001:db8::53]/192.0.2.80?type=PTR&expect=www.example.com",
        "dns://192.0.2.53/gone.example.com?rcode=NXDOMAIN",
    ],
    address: Address::OptionalHostPortPath { default: 53 },
    options: &[
        OptionInfo {
            name: "type",
            ty: OptionType::Text,
            default: "A",
            doc: "The record type: A, AAAA, CAA, CNAME, DNSKEY, DS, HTTPS, MX, NAPTR, NS, PTR, SOA, SRV, SVCB, TLSA, TXT, \
                  ANY and others, or a number like TYPE65. With ANY the answers carry their type: \"A 192.0.2.1\".",
            example: "\"AAAA\"",
        },
        OptionInfo {
            name: "class",
            ty: OptionType::Choice(&["IN", "CH", "HS"]),
            default: "IN",
            doc: "The class: IN, or CH for questions like version.bind.",
            example: "\"CH\"",
        },
        OptionInfo {
            name: "transport",
            ty: OptionType::Choice(&["udp", "tcp"]),
            default: "udp",
            doc: "How to ask. With udp, an answer that is too long is fetched over TCP.",
            example: "\"tcp\"",
        },
        OptionInfo {
            name: "expect",
            ty: OptionType::List,
            default: "",
            doc: "Expected answers. Without any, every answer of the asked type will do. One text is split at commas, save \
                for types whose answers may hold some (ANY, CAA, HINFO, HTTPS, NAPTR, SVCB, TXT).",
            example: "[\"192.0.2.80\", \"192.0.2.81\"]",
        },
        OptionInfo {
            name: "match",
            ty: OptionType::Choice(&["any", "all", "exact"]),
            default: "any",
            doc: "any: one of the expected answers has come; all: each of them has; exact: each of them and no other.",
            example: "\"exact\"",
        },
        OptionInfo {
            name: "rcode",
            ty: OptionType::Choice(RCODES),
            default: "NOERROR",
            doc: "The expected response code. NXDOMAIN checks that a name does not exist. With another code than \
                  NOERROR the records are not looked at.",
            example: "\"NXDOMAIN\"",
        },
    ],
    facts: FACTS,
    codes: CODES,
    privileges: None,
    overlaps: false,
    owns_query: false,
};

const FACTS: &[FactInfo] = &[
    FactInfo {
        name: "dns.answers",
        unit: "",
        doc: "The records of the asked type, sorted.",
        kept: false,
    },
    FactInfo {
        name: "dns.count",
        unit: "",
        doc: "How many there are.",
        kept: false,
    },
    FactInfo {
        name: "dns.rcode",
        unit: "",
        doc: "The response code.",
        kept: false,
    },
    FactInfo {
        name: "dns.ttl",
        unit: "s",
        doc: "The shortest TTL among them.",
        kept: false,
    },
    FactInfo {
        name: "dns.authoritative",
        unit: "",
        doc: "The server answers for the zone itself (AA).",
        kept: false,
    },
    FactInfo {
        name: "dns.ad",
        unit: "",
        doc: "The server has verified the answer by DNSSEC (AD).",
        kept: false,
    },
    FactInfo {
        name: "dns.transport",
        unit: "",
        doc: "udp or tcp, whichever brought the answer.",
        kept: false,
    },
    FactInfo {
        name: "dns.server",
        unit: "",
        doc: "The server that answered.",
        kept: false,
    },
    FactInfo {
        name: "dns.ignored",
        unit: "",
        doc: "Messages ignored since they did not answer this question.",
        kept: false,
    },
];

const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "dns.rcode",
        doc: "The server answered with an unexpected response code.",
    },
    CodeInfo {
        code: "dns.mismatch",
        doc: "The answers are not the expected ones.",
    },
    CodeInfo {
        code: "dns.malformed",
        doc: "The server's answer is not a DNS message.",
    },
];

/// Response codes by number (RFC 6895, section 2.3), as far as a server gives them to a query.
const RCODES: &[&str] = &[
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE",
];

/// Aliases followed from the asked name to the records.
const ALIASES_MAX: usize = 16;

/// Values named in a reason; of more only the number is said.
const NAMED_MAX: usize = 8;

struct Dns {
    servers: Servers,
    question: Question,
    tcp: bool,
    expect: Vec<String>,
    matching: Matching,
    rcode: ResponseCode,
}

enum Servers {
    /// The one in the target.
    Given(Host, u16),
    /// Those that this machine's configuration names.
    System,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matching {
    Any,
    All,
    Exact,
}

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    Ok(Box::new(options::read(target, options)?))
}

impl Probe for Dns {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(async move {
            let mut exchange = Exchange::new(cx, &self.question, self.tcp);
            let answer = match &self.servers {
                Servers::Given(host, port) => {
                    let server = cx.address(host, *port).await?;
                    exchange.ask(server, self.rcode).await?
                }
                Servers::System => {
                    let servers = cx.net.name_servers()?;
                    self.ask_in_turn(cx, &mut exchange, servers).await?
                }
            };
            cx.leave();
            self.judge(cx, &answer)
        })
    }
}

impl Dns {
    /// Asks the system's servers until one has something to say. One that cannot tell (SERVFAIL, REFUSED, NOTIMP) is heard
    /// only when no other can; the silence of all is ours.
    async fn ask_in_turn(
        &self,
        cx: &Cx<'_>,
        exchange: &mut Exchange<'_, '_>,
        mut servers: Vec<SocketAddr>,
    ) -> Result<Answer, Fault> {
        // Ends before the run is cut off at its deadline: that would read as the target's silence.
        let reserve = (cx.settings.timeout / 20).min(Duration::from_millis(50));
        servers.retain(|server| cx.settings.family.allows(server.ip()));
        let (mut unable, mut silent) = (None, Vec::new());
        for (asked, server) in servers.iter().copied().enumerate() {
            let share = cx.remaining().saturating_sub(reserve) / (servers.len() - asked) as u32;
            match tokio::time::timeout(share, exchange.ask(server, self.rcode)).await {
                Ok(Ok(answer)) if answer.message.metadata.response_code == self.rcode || is_able(&answer) => {
                    return Ok(answer);
                }
                Ok(Ok(answer)) => {
                    unable.get_or_insert(answer);
                }
                Ok(Err(fault)) => silent.push(format!("{}: {}", server.ip(), fault.reason().detail)),
                Err(_) => silent.push(format!(
                    "{}: no answer within {}",
                    server.ip(),
                    short(rounded(share))
                )),
            }
        }
        if silent.is_empty() {
            silent.push("none has an address of the wanted family".to_owned());
        }
        let none = || {
            Fault::ours(
                "ours.resolver",
                format!("no configured resolver answered ({})", silent.join("; ")),
            )
        };
        unable.ok_or_else(none)
    }

    fn judge(&self, cx: &Cx<'_>, answer: &Answer) -> Verdict {
        let message = &answer.message;
        let code = message.metadata.response_code;
        cx.fact("dns.server", answer.server.to_string());
        cx.fact("dns.transport", answer.transport);
        cx.fact("dns.rcode", rcode_name(code));
        cx.fact("dns.authoritative", message.metadata.authoritative);
        cx.fact("dns.ad", message.metadata.authentic_data);
        if code != self.rcode {
            return Err(self.unexpected_code(code));
        }
        if code != ResponseCode::NoError {
            return Ok(());
        }
        let records = answering(&self.question, &message.answers);
        let mut found: Vec<String> = records
            .iter()
            .map(|r| text::answer_text(self.question.kind, &r.data))
            .collect();
        found.sort();
        found.dedup();
        cx.fact("dns.count", found.len() as u64);
        if let Some(ttl) = records.iter().map(|r| r.ttl).min() {
            cx.fact("dns.ttl", ttl);
        }
        if found.is_empty() {
            return Err(self.no_data(message));
        }
        cx.fact("dns.answers", found.join(", "));
        self.compare(&found)
    }

    fn unexpected_code(&self, code: ResponseCode) -> Fault {
        let name = text::name_text(&self.question.name);
        let (stable, mut detail) = match code {
            ResponseCode::NXDomain => ("dns.nxdomain", format!("{name} does not exist (NXDOMAIN)")),
            ResponseCode::ServFail => (
                "dns.servfail",
                format!("the server could not answer for {name} (SERVFAIL)"),
            ),
            ResponseCode::Refused => (
                "dns.refused",
                format!("the server refused to answer for {name} (REFUSED)"),
            ),
            code => ("dns.rcode", format!("response code {}", rcode_name(code))),
        };
        if self.rcode != ResponseCode::NoError || stable == "dns.rcode" {
            detail = format!("{detail}, expected {}", rcode_name(self.rcode));
        }
        Fault::target(stable, detail)
    }

    fn no_data(&self, message: &Message) -> Fault {
        let name = text::name_text(&self.question.name);
        let kind = match self.question.kind {
            RecordType::ANY => String::new(),
            kind => text::type_name(kind) + " ",
        };
        let referral = message.answers.is_empty()
            && !message.metadata.authoritative
            && message
                .authorities
                .iter()
                .any(|r| r.record_type() == RecordType::NS);
        let why = if referral {
            ": the server refers to other servers"
        } else {
            ""
        };
        Fault::target("dns.nodata", format!("{name} has no {kind}record{why}"))
    }

    fn compare(&self, found: &[String]) -> Verdict {
        if self.expect.is_empty() {
            return Ok(());
        }
        let has = |wanted: &String| found.binary_search(wanted).is_ok();
        let (passed, how) = match self.matching {
            Matching::Any => (self.expect.iter().any(has), "one of "),
            Matching::All => (self.expect.iter().all(has), "all of "),
            Matching::Exact => (self.expect == found, "exactly "),
        };
        if passed {
            return Ok(());
        }
        let how = if self.expect.len() > 1 || self.matching == Matching::Exact {
            how
        } else {
            ""
        };
        Err(Fault::target(
            "dns.mismatch",
            format!("expected {how}{}, got {}", listed(&self.expect), listed(found)),
        ))
    }
}

/// False for the codes after which a resolver of the system asks the next server.
fn is_able(answer: &Answer) -> bool {
    use ResponseCode::{NotImp, Refused, ServFail};
    !matches!(answer.message.metadata.response_code, ServFail | NotImp | Refused)
}

/// The records that answer `question`: of its type and class, at its name or where aliases lead from it.
fn answering<'m>(question: &Question, answers: &'m [Record]) -> Vec<&'m Record> {
    let mut owners = vec![&question.name];
    for _ in 0..ALIASES_MAX {
        let last = owners[owners.len() - 1];
        let alias = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(name) if record.name.eq_ignore_root(last) => Some(&name.0),
            _ => None,
        });
        match alias {
            Some(name) if !owners.iter().any(|owner| owner.eq_ignore_root(name)) => owners.push(name),
            _ => break,
        }
    }
    let of_type = |r: &Record| question.kind == RecordType::ANY || r.record_type() == question.kind;
    let fits = |r: &&Record| {
        of_type(r)
            && r.dns_class == question.class
            && owners.iter().any(|owner| owner.eq_ignore_root(&r.name))
    };
    answers.iter().filter(fits).collect()
}

fn rcode_name(code: ResponseCode) -> String {
    let number = u16::from(code);
    let known = RCODES.get(usize::from(number)).map(ToString::to_string);
    known.unwrap_or_else(|| {
        if number == 16 {
            "BADVERS".to_owned()
        } else {
            format!("RCODE{number}")
        }
    })
}

fn listed(values: &[String]) -> String {
    let more = values.len().saturating_sub(NAMED_MAX);
    let named = values[..values.len() - more].join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

/// To whole milliseconds, as a person reads it.
fn rounded(length: Duration) -> Duration {
    Duration::from_millis(length.as_millis() as u64)
}

#[cfg(test)]
mod tests;
