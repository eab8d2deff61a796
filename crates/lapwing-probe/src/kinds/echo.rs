//! UDP and TCP echo: sends marked bytes and validates exactly what comes back (RFC 862, or Lapwing's echo server).
//!
//! Invariant: only an exact echo of a request of this very run counts as an answer.

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lapwing_core::{
    kind::{
        Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options,
    },
    observation::Fault,
    target::{Host, Target},
    time::short,
};
use lapwing_net::{Moment, fault_of};
use lapwing_wire::echo::{DEFAULT_PORT, HEADER_LEN};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    Cx, Probe, Probing, Verdict,
    echo::{Baseline, Book, DATAGRAM_MAX, Jitter, MESSAGE_MAX, Times, bounce, fill},
};

const COUNT: OptionInfo = OptionInfo {
    name: "count",
    ty: OptionType::Integer,
    default: "1",
    doc: "Messages of each check.",
    example: "20",
};
const CODES: &[CodeInfo] = &[CodeInfo {
    code: "echo.mismatch",
    doc: "What came back is not what was sent, so no echo server answers there.",
}];

pub(super) static UDP: KindInfo = KindInfo {
    name: "udp-echo",
    schemes: &["udp-echo"],
    summary: "Sends datagrams to an echo server and validates what comes back.",
    about: "Up when an exact echo comes back in time; with `count` all are sent within the first half of the timeout, \
        and the target is down only when all are lost. Any echo server of RFC 862 will do. Lapwing's own \
        (`lapwing echo serve`) also tells how many datagrams it received, and when: loss and jitter are then \
        measured for each direction.",
    examples: &[
        "udp-echo://192.0.2.1",
        "udp-echo://echo.example.com:7007?count=20&size=1200",
    ],
    address: Address::HostPort {
        default: Some(DEFAULT_PORT),
    },
    options: &[
        COUNT,
        OptionInfo {
            name: "size",
            ty: OptionType::Integer,
            default: "64",
            doc: "Bytes of each datagram, from 40 to 65507.",
            example: "1200",
        },
    ],
    facts: &[
        FactInfo {
            name: "echo.peer",
            unit: "",
            doc: "Address and port that were asked.",
            kept: false,
        },
        FactInfo {
            name: "echo.server",
            unit: "",
            doc: "`lapwing` or `plain` (RFC 862).",
            kept: false,
        },
        FactInfo {
            name: "echo.rtt",
            unit: "s",
            doc: "Round-trip time; the median of several.",
            kept: true,
        },
        FactInfo {
            name: "echo.rtt_min",
            unit: "s",
            doc: "Shortest round-trip time of several.",
            kept: true,
        },
        FactInfo {
            name: "echo.rtt_max",
            unit: "s",
            doc: "Longest round-trip time of several.",
            kept: true,
        },
        FactInfo {
            name: "echo.loss",
            unit: "%",
            doc: "Share of the datagrams without an echo in time.",
            kept: true,
        },
        FactInfo {
            name: "echo.loss_out",
            unit: "%",
            doc: "Share lost on the way to the server.",
            kept: true,
        },
        FactInfo {
            name: "echo.loss_back",
            unit: "%",
            doc: "Share lost on the way back. Datagrams after the last echo count in neither direction.",
            kept: true,
        },
        FactInfo {
            name: "echo.duplicates",
            unit: "",
            doc: "Echoes that came more than once.",
            kept: true,
        },
        FactInfo {
            name: "echo.reordered",
            unit: "",
            doc: "Echoes overtaken by later ones (RFC 4737).",
            kept: true,
        },
        FactInfo {
            name: "echo.jitter",
            unit: "s",
            doc: "Interarrival jitter of the round trip (RFC 3550, section 6.4.1).",
            kept: true,
        },
        FactInfo {
            name: "echo.jitter_out",
            unit: "s",
            doc: "Jitter of the way to the server.",
            kept: true,
        },
        FactInfo {
            name: "echo.jitter_back",
            unit: "s",
            doc: "Jitter of the way back.",
            kept: true,
        },
        FactInfo {
            name: "echo.change_out",
            unit: "s",
            doc: "How much longer than the quickest of late a datagram took on its way to the server; the median of \
                several. The clocks need not agree.",
            kept: true,
        },
        FactInfo {
            name: "echo.change_back",
            unit: "s",
            doc: "The same on the way back.",
            kept: true,
        },
    ],
    codes: CODES,
    privileges: None,
    overlaps: true,
    owns_query: false,
};

pub(super) static TCP: KindInfo = KindInfo {
    name: "tcp-echo",
    schemes: &["tcp-echo"],
    summary: "Sends bytes over TCP to an echo server and validates what comes back.",
    about: "Up when every message came back unchanged. Messages follow each other on one connection, each sent when \
        the one before has come back. Any echo server of RFC 862 will do, Lapwing's own (`lapwing echo serve`) too.",
    examples: &[
        "tcp-echo://192.0.2.1",
        "tcp-echo://echo.example.com:7?count=5&size=65536",
    ],
    address: Address::HostPort {
        default: Some(DEFAULT_PORT),
    },
    options: &[
        COUNT,
        OptionInfo {
            name: "size",
            ty: OptionType::Integer,
            default: "64",
            doc: "Bytes of each message, from 1 to 1048576.",
            example: "65536",
        },
    ],
    facts: &[
        FactInfo {
            name: "echo.peer",
            unit: "",
            doc: "Address and port that were asked.",
            kept: false,
        },
        FactInfo {
            name: "echo.rtt",
            unit: "s",
            doc: "Until a message was back; the median of several.",
            kept: true,
        },
        FactInfo {
            name: "echo.rtt_min",
            unit: "s",
            doc: "Shortest of several.",
            kept: true,
        },
        FactInfo {
            name: "echo.rtt_max",
            unit: "s",
            doc: "Longest of several.",
            kept: true,
        },
        FactInfo {
            name: "echo.jitter",
            unit: "s",
            doc: "Jitter of several (RFC 3550, section 6.4.1).",
            kept: true,
        },
    ],
    codes: CODES,
    privileges: None,
    overlaps: false,
    owns_query: false,
};

pub(super) fn parse_udp(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let echo = Echo::parse(&UDP, target, options, HEADER_LEN..=DATAGRAM_MAX)?;
    Ok(Box::new(UdpEcho {
        echo,
        baseline: Mutex::default(),
    }))
}

pub(super) fn parse_tcp(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    Ok(Box::new(TcpEcho(Echo::parse(
        &TCP,
        target,
        options,
        1..=MESSAGE_MAX,
    )?)))
}

struct Echo {
    host: Host,
    port: u16,
    count: u32,
    size: usize,
    cookies: RandomState,
    runs: AtomicU64,
}

impl Echo {
    fn parse(
        info: &'static KindInfo,
        target: &Target,
        options: &Options,
        sizes: std::ops::RangeInclusive<usize>,
    ) -> Result<Self, Vec<OptionError>> {
        let mut reader = OptionReader::new(info, options);
        let count = reader.integer("count", 1..=1000).unwrap_or(1) as u32;
        let sizes = *sizes.start() as i64..=*sizes.end() as i64;
        let size = reader.integer("size", sizes).unwrap_or(64) as usize;
        let Some(host) = target.host.clone() else {
            return Err(vec![OptionError::new("", format!("{} needs a host", info.name))]);
        };
        reader.finish()?;
        let port = target.port.unwrap_or(DEFAULT_PORT);
        Ok(Self {
            host,
            port,
            count,
            size,
            cookies: RandomState::new(),
            runs: AtomicU64::new(0),
        })
    }

    /// A cookie that nobody else can guess, another for each run.
    fn cookie(&self) -> u64 {
        self.cookies.hash_one(self.runs.fetch_add(1, Ordering::Relaxed))
    }
}

fn silence(cx: &Cx<'_>, sent: u32) -> Fault {
    let within = short(cx.settings.timeout);
    match sent {
        1 => Fault::target("timeout.answer", format!("no echo within {within}")),
        n => Fault::target(
            "timeout.answer",
            format!("no echo of {n} messages within {within}"),
        ),
    }
}

struct UdpEcho {
    echo: Echo,
    /// The quickest ways of late, and the server that they led to.
    baseline: Mutex<Option<(SocketAddr, Baseline)>>,
}

impl Probe for UdpEcho {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl UdpEcho {
    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let address = cx.address(&self.echo.host, self.echo.port).await?;
        cx.fact("echo.peer", address.to_string());
        let socket = cx.net.udp(address, &cx.settings.source)?;
        let baseline = self.baseline().filter(|(server, _)| *server == address);
        let baseline = baseline.map_or_else(Baseline::default, |(_, baseline)| baseline);
        let mut book = Book::new(self.echo.cookie(), self.echo.size).against(baseline);
        let result = self.exchange(cx, &socket, &mut book).await;
        *self.baseline() = Some((address, book.baseline()));
        let (sent, lost) = (book.sent() as u32, book.unanswered() as u32);
        if sent > 0 {
            cx.requests(sent, lost);
            report(cx, &book);
        }
        match result {
            Err(fault) => Err(fault),
            Ok(()) if lost == sent => Err(silence(cx, sent)),
            Ok(()) => Ok(()),
        }
    }

    fn baseline(&self) -> MutexGuard<'_, Option<(SocketAddr, Baseline)>> {
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all datagrams and takes what comes back, until all are back or the time is over.
    async fn exchange(&self, cx: &Cx<'_>, socket: &UdpSocket, book: &mut Book) -> Result<(), Fault> {
        let time = cx.before_deadline();
        let start = cx.mono();
        let end = start + time;
        let spacing = time / 2 / self.echo.count.saturating_sub(1).max(1);
        let mut buffer = vec![0; DATAGRAM_MAX + 1];
        let mut packet = vec![0; self.echo.size];
        loop {
            let now = cx.mono();
            let sent = book.sent() as u32;
            let due = (sent < self.echo.count).then(|| start + spacing * sent);
            if due.is_some_and(|due| due <= now) {
                book.write_next(now, &mut packet);
                match socket.send(&packet).await {
                    Ok(_) => {
                        book.sent_at(now);
                    }
                    // An ICMP error about an earlier datagram arrives with the next call.
                    Err(e) if sent > 0 => return Err(fault_of(&e, Moment::Later)),
                    Err(e) => return Err(fault_of(&e, Moment::Call)),
                }
                continue;
            }
            if now >= end || due.is_none() && book.unanswered() == 0 {
                return Ok(());
            }
            let patience = due.unwrap_or(end).min(end).since(now);
            match timeout(patience, socket.recv(&mut buffer)).await {
                Err(_) => {}
                Ok(Ok(len)) => {
                    let arrival = book.receive(&buffer[..len], cx.net.clock().now());
                    let arrival = arrival.map_err(crate::echo::Mismatch::fault)?;
                    if let Some(arrival) = arrival.filter(|_| book.totals().back == 1) {
                        cx.phase("answer", arrival.rtt);
                    }
                }
                Ok(Err(e)) => return Err(fault_of(&e, Moment::Later)),
            }
        }
    }
}

/// The facts of a run in which something was sent.
fn report(cx: &Cx<'_>, book: &Book) {
    let totals = book.totals();
    let percent = |count: u64| count as f64 * 100.0 / book.sent() as f64;
    report_times(cx, &totals.rtt, totals.jitter);
    cx.fact("echo.loss", percent(book.unanswered()));
    if let Some(stamped) = book.stamped() {
        cx.fact("echo.server", if stamped { "lapwing" } else { "plain" });
    }
    if book.sent() > 1 {
        cx.fact("echo.duplicates", totals.duplicates);
        cx.fact("echo.reordered", totals.reordered);
    }
    if let Some(lost) = book.directions() {
        cx.fact("echo.loss_out", percent(lost.out));
        cx.fact("echo.loss_back", percent(lost.back));
    }
    if let Some((out, back, _)) = book.ways() {
        for (jitter, change, way) in [
            ("echo.jitter_out", "echo.change_out", out),
            ("echo.jitter_back", "echo.change_back", back),
        ] {
            if let Some(seconds) = way.jitter.seconds() {
                cx.fact(jitter, seconds);
            }
            if let Some(length) = way.changes.quantile(0.5) {
                cx.fact(change, length.as_secs_f64());
            }
        }
    }
}

struct TcpEcho(Echo);

impl Probe for TcpEcho {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl TcpEcho {
    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let address = cx.address(&self.0.host, self.0.port).await?;
        cx.fact("echo.peer", address.to_string());
        let connect = cx.net.connect(address, &cx.settings.source);
        let mut stream = cx
            .limited("connect", cx.settings.connect_timeout, connect)
            .await?;
        cx.enter("answer");
        let mut times = (Times::default(), Jitter::default());
        let exchange = timeout(cx.before_deadline(), self.exchange(cx, &mut stream, &mut times)).await;
        cx.leave();
        let back = times.0.count() as u32;
        cx.requests(self.0.count, self.0.count - back);
        report_times(cx, &times.0, times.1);
        match exchange {
            Ok(result) => result,
            Err(_) if back == 0 => Err(silence(cx, 1)),
            Err(_) => {
                let (count, within) = (self.0.count, short(cx.settings.timeout));
                let text = format!("only {back} of {count} messages came back within {within}");
                Err(Fault::target("timeout.answer", text))
            }
        }
    }

    async fn exchange(
        &self,
        cx: &Cx<'_>,
        stream: &mut TcpStream,
        (times, jitter): &mut (Times, Jitter),
    ) -> Result<(), Fault> {
        let cookie = self.0.cookie();
        let mut message = vec![0; self.0.size];
        let mut buffer = vec![0; self.0.size];
        for seq in 0..u64::from(self.0.count) {
            let start = cx.mono();
            fill(&mut message, cookie, seq, start);
            bounce(stream, &message, &mut buffer).await?;
            let rtt = cx.mono().since(start);
            times.add(rtt);
            jitter.add(rtt.as_secs_f64());
        }
        Ok(())
    }
}

fn report_times(cx: &Cx<'_>, times: &Times, jitter: Jitter) {
    let (Some(middle), Some(least), Some(most)) = (times.quantile(0.5), times.least(), times.most()) else {
        return;
    };
    cx.fact("echo.rtt", middle.as_secs_f64());
    if let Some(jitter) = jitter.seconds() {
        cx.fact("echo.rtt_min", least.as_secs_f64());
        cx.fact("echo.rtt_max", most.as_secs_f64());
        cx.fact("echo.jitter", jitter);
    }
}

#[cfg(test)]
mod tests;
