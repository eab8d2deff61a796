//! ICMP echo: asks whether a host answers, how fast, and how many answers are missing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lapwing_core::{
    kind::{
        Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options,
    },
    observation::Fault,
    target::{Host, Target},
    time::short,
};
use lapwing_wire::icmp::{COOKIE_LEN, Complaint, PAYLOAD_MAX};

use crate::{
    Cx, Probe, Probing, Verdict,
    engine::icmp::{Ask, IcmpEngine, Path, Refusal, Round, Tally},
};

pub(super) static INFO: KindInfo = KindInfo {
    name: "icmp",
    schemes: &["icmp", "ping"],
    summary: "Sends ICMP echo requests (ping), IPv4 and IPv6.",
    about: "Up when an answer comes in time. With `retry` further requests go out while none has been answered, \
        spaced evenly over the timeout, and the first answer ends the check. With `count` all are sent, within the \
        first half of the timeout, and the share without an answer is measured; then the target is down only when \
        all are lost. An ICMP error about a request (unreachable, time to live exceeded) ends the wait for it. \
        Round-trip times are taken with the kernel's receive stamps.",
    examples: &[
        "icmp://192.0.2.1",
        "icmp://[2001:db8::1]?retry=3",
        "ping://www.example.com?count=5&size=1400&df=true",
    ],
    address: Address::Host,
    options: &[
        OptionInfo {
            name: "retry",
            ty: OptionType::Integer,
            default: "0",
            doc: "Further requests while none has been answered, one each timeout/(retry+1).",
            example: "3",
        },
        OptionInfo {
            name: "count",
            ty: OptionType::Integer,
            default: "1",
            doc: "Requests of each check, all of them sent whatever is answered; measures loss. Not together with \
                retry.",
            example: "5",
        },
        OptionInfo {
            name: "size",
            ty: OptionType::Integer,
            default: "56",
            doc: "Bytes after the ICMP header; at least 8, which hold the cookie that tells our answers from others.",
            example: "1400",
        },
        OptionInfo {
            name: "ttl",
            ty: OptionType::Integer,
            default: "",
            doc: "Time to live (IPv6: hop limit) of the requests; the system's unless given.",
            example: "5",
        },
        OptionInfo {
            name: "df",
            ty: OptionType::Flag,
            default: "false",
            doc: "Forbid fragmentation: a packet too big for the path is then reported, not cut.",
            example: "true",
        },
    ],
    facts: &[
        FactInfo {
            name: "icmp.rtt",
            unit: "s",
            doc: "Round-trip time; the median of several.",
            kept: true,
        },
        FactInfo {
            name: "icmp.rtt_min",
            unit: "s",
            doc: "Shortest round-trip time of several.",
            kept: true,
        },
        FactInfo {
            name: "icmp.rtt_max",
            unit: "s",
            doc: "Longest round-trip time of several.",
            kept: true,
        },
        FactInfo {
            name: "icmp.rtt_mdev",
            unit: "s",
            doc: "Standard deviation of several times.",
            kept: true,
        },
        FactInfo {
            name: "icmp.loss",
            unit: "%",
            doc: "Share of the requests without an answer in time.",
            kept: true,
        },
        FactInfo {
            name: "icmp.ttl",
            unit: "",
            doc: "Time to live that the answer arrived with.",
            kept: false,
        },
        FactInfo {
            name: "icmp.address",
            unit: "",
            doc: "The address that was asked.",
            kept: false,
        },
        FactInfo {
            name: "icmp.duplicates",
            unit: "",
            doc: "Further answers to answered requests, those after the last check included. Missing when none.",
            kept: true,
        },
        FactInfo {
            name: "icmp.late",
            unit: "",
            doc: "Answers to requests of earlier checks that came after their timeout. Missing when none.",
            kept: true,
        },
    ],
    codes: &[
        CodeInfo {
            code: "icmp.unreachable",
            doc: "A router or the host itself reported that it cannot be reached.",
        },
        CodeInfo {
            code: "icmp.ttl_exceeded",
            doc: "The time to live ran out on the way: a routing loop, or a small `ttl`.",
        },
        CodeInfo {
            code: "icmp.too_big",
            doc: "The packet is too big for the path and must not be fragmented (`df`).",
        },
    ],
    privileges: Some(
        "The sysctl net.ipv4.ping_group_range must include the group of the process (most systems allow all), or the \
            process needs CAP_NET_RAW.",
    ),
    overlaps: true,
    owns_query: false,
};

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let mut reader = OptionReader::new(&INFO, options);
    let retry = reader.integer("retry", 0..=100).unwrap_or(0) as u16;
    let count = reader.integer("count", 1..=1000).unwrap_or(1) as u16;
    if reader.has("retry") && reader.has("count") {
        let error = OptionError::new("count", "count and retry exclude each other");
        reader.error(error.hint("retry stops at the first answer, count sends all and measures loss"));
    }
    let payload = reader
        .integer("size", COOKIE_LEN as i64..=PAYLOAD_MAX as i64)
        .unwrap_or(56) as usize;
    let ttl = reader.integer("ttl", 1..=255).map(|ttl| ttl as u8);
    let df = reader.flag("df");
    let Some(host) = target.host.clone() else {
        return Err(vec![OptionError::new("", "icmp needs a host")]);
    };
    if let Host::Ip(address, _) = &host
        && (address.is_unspecified() || address.is_multicast())
    {
        reader.error(OptionError::new(
            "",
            format!("{address} is not the address of one host, so nothing can answer"),
        ));
    }
    reader.finish()?;
    let requests = if count > 1 {
        Requests::All(count)
    } else {
        Requests::UntilAnswered(retry + 1)
    };
    Ok(Box::new(Icmp {
        host,
        requests,
        payload,
        ttl,
        df,
        tally: Arc::default(),
    }))
}

struct Icmp {
    host: Host,
    requests: Requests,
    payload: usize,
    ttl: Option<u8>,
    df: bool,
    tally: Arc<Tally>,
}

#[derive(Clone, Copy)]
enum Requests {
    UntilAnswered(u16),
    All(u16),
}

impl Requests {
    fn number(self) -> u16 {
        match self {
            Self::UntilAnswered(n) | Self::All(n) => n,
        }
    }

    /// From one request to the next, when there is `time` for all of them and their answers.
    fn spacing(self, time: Duration) -> Duration {
        match self {
            Self::UntilAnswered(n) => time / u32::from(n),
            Self::All(n) => time / 2 / u32::from(n.saturating_sub(1).max(1)),
        }
    }
}

impl Probe for Icmp {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl Icmp {
    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let to = cx.address(&self.host, 0).await?;
        let to = match to.ip().to_canonical() {
            ip if ip == to.ip() => to,
            ip => SocketAddr::new(ip, 0),
        };
        cx.fact("icmp.address", to.ip().to_string());
        cx.net.permits(to)?;
        let engine = cx.net.extension(IcmpEngine::new);
        let (asked, time) = (cx.mono(), cx.before_deadline());
        let round = engine.ping(Ask {
            to,
            packets: self.requests.number(),
            spacing: self.requests.spacing(time),
            until_answered: matches!(self.requests, Requests::UntilAnswered(_)),
            payload: self.payload,
            path: Path {
                ttl: self.ttl,
                df: self.df,
                source: cx.settings.source.clone(),
            },
            asked,
            deadline: asked + time,
            tally: Arc::clone(&self.tally),
        });
        self.judge(cx, &round.await?)
    }

    fn judge(&self, cx: &Cx<'_>, round: &Round) -> Verdict {
        cx.requests(round.sent, round.lost);
        cx.fact(
            "icmp.loss",
            f64::from(round.lost) * 100.0 / f64::from(round.sent.max(1)),
        );
        for (name, count) in [
            ("icmp.duplicates", round.duplicates + self.tally.take_duplicates()),
            ("icmp.late", self.tally.take_late()),
        ] {
            if count > 0 {
                cx.fact(name, count);
            }
        }
        if let Some(ttl) = round.ttl {
            cx.fact("icmp.ttl", u32::from(ttl));
        }
        let mut times: Vec<Duration> = round.answers.iter().map(|answer| answer.rtt).collect();
        times.sort_unstable();
        let (Some(least), Some(most)) = (times.first(), times.last()) else {
            return Err(silence(cx, round));
        };
        let median = times[times.len() / 2];
        cx.phase("answer", median);
        cx.fact("icmp.rtt", median.as_secs_f64());
        if times.len() > 1 {
            cx.fact("icmp.rtt_min", least.as_secs_f64());
            cx.fact("icmp.rtt_max", most.as_secs_f64());
            cx.fact("icmp.rtt_mdev", deviation(&times));
        }
        Ok(())
    }
}

/// Why there was no answer.
fn silence(cx: &Cx<'_>, round: &Round) -> Fault {
    if let Some(refusal) = &round.refusal {
        return complaint(refusal);
    }
    let within = short(cx.settings.timeout);
    match round.sent {
        1 => Fault::target(
            "timeout.answer",
            format!("no answer to the echo request within {within}"),
        ),
        n => Fault::target(
            "timeout.answer",
            format!("no answer to {n} echo requests within {within}"),
        ),
    }
}

fn complaint(refusal: &Refusal) -> Fault {
    let words = refusal.complaint.words(refusal.version);
    let from = refusal.from;
    match refusal.complaint {
        Complaint::Unreachable(_) | Complaint::Parameter(_) => {
            Fault::target("icmp.unreachable", format!("{words}, reported by {from}"))
        }
        Complaint::TimeExceeded(_) => {
            Fault::target("icmp.ttl_exceeded", format!("{words}, reported by {from}"))
        }
        Complaint::TooBig(0) => Fault::target("icmp.too_big", format!("{words}, reported by {from}")),
        Complaint::TooBig(mtu) => Fault::target(
            "icmp.too_big",
            format!("{words}, which takes {mtu} bytes, reported by {from}"),
        ),
    }
}

/// Standard deviation in seconds.
fn deviation(times: &[Duration]) -> f64 {
    let n = times.len() as f64;
    let mean = times.iter().map(Duration::as_secs_f64).sum::<f64>() / n;
    let squares: f64 = times.iter().map(|t| (t.as_secs_f64() - mean).powi(2)).sum();
    (squares / n).sqrt()
}

#[cfg(test)]
mod tests;
