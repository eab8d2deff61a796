//! ntp: asks a time server how late it is, several times, and judges the reading of the shortest way.
//!
//! Never sets a clock, and tells no server what our clock says.

mod book;

use std::{io::IoSliceMut, net::Ipv4Addr, os::fd::AsRawFd, time::Duration};

use lapwing_core::{
    kind::{
        Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options,
    },
    observation::Fault,
    target::{Host, Target},
    time::{Mono, Now, Wall, measured, micros, short},
};
use lapwing_net::{Moment, fault_of};
use lapwing_wire::ntp::Packet;
use nix::sys::{
    socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
    time::{TimeSpec, TimeValLike},
};
use tokio::{io::Interest, net::UdpSocket, time::timeout};

use crate::{Cx, Probe, Probing, Verdict, cx::timed_out};

use book::{Book, Reading};

pub(super) static INFO: KindInfo = KindInfo {
    name: "ntp",
    schemes: &["ntp"],
    summary: "Asks a time server for its time and compares it with ours.",
    about: "Sends `samples` client requests, spread over the first half of the timeout, and judges the answer with the \
        shortest way (RFC 5905). Up when the server answers, is synchronized and keeps within the limits. \
        `offset` is measured against the clock of this machine, whose own error counts too; without that option the \
        offset is a fact and never a failure. An answer must repeat a random number of its request, so that nobody \
        beside the path can forge one. A server that limits its clients may answer fewer samples than are asked: \
        then the ones it answers are judged.",
    examples: &[
        "ntp://ntp.example.com",
        "ntp://ntp.example.com?offset=100ms&stratum=3",
        "ntp://[2001:db8::123]?samples=1",
    ],
    address: Address::HostPort { default: Some(123) },
    options: &[
        OptionInfo {
            name: "samples",
            ty: OptionType::Integer,
            default: "4",
            doc: "Requests a probe sends, 1 to 16.",
            example: "1",
        },
        OptionInfo {
            name: "offset",
            ty: OptionType::Duration,
            default: "",
            doc: "Down when the server's clock is further from ours than this, in either direction. Not judged unless given.",
            example: "\"100ms\"",
        },
        OptionInfo {
            name: "stratum",
            ty: OptionType::Integer,
            default: "15",
            doc: "Highest stratum allowed, 1 to 15: the number of servers between this one and a reference clock, plus one.",
            example: "3",
        },
        OptionInfo {
            name: "root_distance",
            ty: OptionType::Duration,
            default: "",
            doc: "Down when the server's own error bound is above this: half of the delay to its reference clock and to \
                us, plus its dispersion. Not judged unless given.",
            example: "\"500ms\"",
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
        name: "ntp.offset",
        unit: "s",
        doc: "The server's clock minus ours.",
        kept: true,
    },
    FactInfo {
        name: "ntp.delay",
        unit: "s",
        doc: "Time on the way, both ways, of the sample judged.",
        kept: true,
    },
    FactInfo {
        name: "ntp.stratum",
        unit: "",
        doc: "1 at a reference clock, 2 behind such a server, and so on.",
        kept: true,
    },
    FactInfo {
        name: "ntp.leap",
        unit: "",
        doc: "none, insert, delete (a second, today) or unknown.",
        kept: false,
    },
    FactInfo {
        name: "ntp.root_distance",
        unit: "s",
        doc: "How far the server's clock can be off at most.",
        kept: false,
    },
    FactInfo {
        name: "ntp.root_delay",
        unit: "s",
        doc: "Delay between the server and its reference clock.",
        kept: false,
    },
    FactInfo {
        name: "ntp.root_dispersion",
        unit: "s",
        doc: "The server's own estimate of its error.",
        kept: false,
    },
    FactInfo {
        name: "ntp.reference_id",
        unit: "",
        doc: "The reference clock's name (stratum 1), else the address of the server's server (for IPv6, a hash of it).",
        kept: false,
    },
    FactInfo {
        name: "ntp.samples",
        unit: "",
        doc: "Answers that gave a reading.",
        kept: false,
    },
    FactInfo {
        name: "ntp.kiss",
        unit: "",
        doc: "The code with which the server asked to be left alone.",
        kept: false,
    },
    FactInfo {
        name: "ntp.ignored",
        unit: "",
        doc: "Datagrams ignored since they answered none of our requests.",
        kept: false,
    },
];

const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "ntp.offset",
        doc: "The server's clock is further from ours than `offset`.",
    },
    CodeInfo {
        code: "ntp.stratum",
        doc: "The server's stratum is above `stratum`.",
    },
    CodeInfo {
        code: "ntp.root_distance",
        doc: "The server's error bound is above `root_distance`.",
    },
    CodeInfo {
        code: "ntp.unsynchronized",
        doc: "The server says that its clock is not synchronized.",
    },
    CodeInfo {
        code: "ntp.kiss",
        doc: "The server asked to be left alone (kiss-o'-death, RFC 5905, section 7.4).",
    },
    CodeInfo {
        code: "ntp.malformed",
        doc: "The server's answer holds impossible times.",
    },
];

/// A kernel stamp that says a datagram waited longer than this is not believed: rather a clock was stepped.
const QUEUED_MAX: Duration = Duration::from_secs(1);

/// Largest part of a datagram that is looked at.
const DATAGRAM_MAX: usize = 512;

struct Ntp {
    host: Host,
    port: u16,
    samples: u32,
    offset: Option<Duration>,
    stratum: u8,
    root_distance: Option<Duration>,
}

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let mut reader = OptionReader::new(&INFO, options);
    let samples = reader.integer("samples", 1..=16).unwrap_or(4) as u32;
    let offset = reader.duration("offset");
    let stratum = reader.integer("stratum", 1..=15).unwrap_or(15) as u8;
    let root_distance = reader.duration("root_distance");
    let host = target.host.clone();
    if host.is_none() {
        reader.error(OptionError::new("", "the host is missing"));
    }
    reader.finish()?;
    let host = host.ok_or_else(Vec::new)?;
    Ok(Box::new(Ntp {
        host,
        port: target.port.unwrap_or(123),
        samples,
        offset,
        stratum,
        root_distance,
    }))
}

impl Probe for Ntp {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(async move {
            let server = cx.address(&self.host, self.port).await?;
            let socket = cx.net.udp(server, &cx.settings.source)?;
            cx.enter("answer");
            let mut round = Round::new(cx, socket);
            let asked = round.ask(self.samples).await;
            cx.leave();
            // A late error of the network does not undo the answers that came before it.
            match asked {
                Err(fault) if round.book.readings.is_empty() => Err(fault),
                _ => self.judge(cx, &round.book),
            }
        })
    }
}

impl Ntp {
    fn judge(&self, cx: &Cx<'_>, book: &Book) -> Verdict {
        if let Some(code) = &book.kiss {
            cx.fact("ntp.kiss", code.as_str());
        }
        let Some(best) = book.best() else {
            return Err(without_reading(cx, book));
        };
        let (offset, distance) = (best.offset, Duration::from_micros(best.root_distance()));
        facts_of_packet(cx, &best.packet);
        facts_of_reading(cx, best);
        cx.fact("ntp.samples", book.readings.len() as u64);
        let off = Duration::from_micros(offset.unsigned_abs());
        if let Some(limit) = self.offset.filter(|limit| off > *limit) {
            let side = if offset > 0 { "ahead" } else { "behind" };
            let detail = format!(
                "clock is {} {side}, expected at most {}",
                seconds(off),
                short(limit)
            );
            return Err(Fault::target("ntp.offset", detail));
        }
        if best.packet.stratum > self.stratum {
            let detail = format!(
                "stratum {}, expected at most {}",
                best.packet.stratum, self.stratum
            );
            return Err(Fault::target("ntp.stratum", detail));
        }
        if let Some(limit) = self.root_distance.filter(|limit| distance > *limit) {
            let detail = format!(
                "root distance {}, expected at most {}",
                seconds(distance),
                short(limit)
            );
            return Err(Fault::target("ntp.root_distance", detail));
        }
        Ok(())
    }
}

/// Why no answer gave a reading.
fn without_reading(cx: &Cx<'_>, book: &Book) -> Fault {
    if let Some(code) = &book.kiss {
        let meaning = match code.as_str() {
            "RATE" => ": the server is asked too often",
            "DENY" | "RSTR" => ": the server refuses this machine",
            _ => "",
        };
        return Fault::target("ntp.kiss", format!("kiss-o'-death {code}{meaning}"));
    }
    if let Some(packet) = &book.unsynchronized {
        facts_of_packet(cx, packet);
        let detail = match (packet.kiss(), packet.stratum) {
            (Some(code), _) => format!("the server's clock is not synchronized ({code})"),
            (None, 1..=15) => "the server's clock is not synchronized (leap alarm)".to_owned(),
            (None, stratum) => format!("the server's clock is not synchronized (stratum {stratum})"),
        };
        return Fault::target("ntp.unsynchronized", detail);
    }
    match book.malformed {
        Some(why) => Fault::target("ntp.malformed", why),
        None => timed_out("answer", cx.settings.timeout),
    }
}

fn facts_of_packet(cx: &Cx<'_>, packet: &Packet) {
    cx.fact("ntp.stratum", u32::from(packet.stratum));
    cx.fact("ntp.leap", packet.leap.name());
    cx.fact("ntp.root_delay", packet.root_delay.micros() as f64 / 1e6);
    cx.fact(
        "ntp.root_dispersion",
        packet.root_dispersion.micros() as f64 / 1e6,
    );
    cx.fact("ntp.reference_id", reference_text(packet));
}

fn facts_of_reading(cx: &Cx<'_>, reading: &Reading) {
    cx.fact("ntp.offset", reading.offset as f64 / 1e6);
    cx.fact("ntp.delay", reading.delay as f64 / 1e6);
    cx.fact("ntp.root_distance", reading.root_distance() as f64 / 1e6);
}

/// Letters at a reference clock, padded with zeros or spaces (RFC 5905, figure 12); else an address.
fn reference_text(packet: &Packet) -> String {
    let id = packet.reference_id;
    let end = id
        .iter()
        .rposition(|b| !matches!(b, 0 | b' '))
        .map_or(0, |last| last + 1);
    let letters = end > 0 && id[..end].iter().all(u8::is_ascii_graphic);
    if packet.stratum <= 1 && letters {
        return id[..end].iter().copied().map(char::from).collect();
    }
    Ipv4Addr::from(id).to_string()
}

/// As a person reads it: `2.30ms`, `1.234s`, `3d2h`.
fn seconds(length: Duration) -> String {
    match length.as_secs() {
        0 => measured(length),
        1..3600 => format!("{:.3}s", length.as_secs_f64()),
        whole => short(Duration::from_secs(whole)),
    }
}

/// The exchange of one probe with its server.
struct Round<'a, 'c> {
    cx: &'a Cx<'c>,
    socket: UdpSocket,
    book: Book,
    buffer: [u8; DATAGRAM_MAX],
    control: Vec<u8>,
}

impl<'a, 'c> Round<'a, 'c> {
    fn new(cx: &'a Cx<'c>, socket: UdpSocket) -> Self {
        // Where the kernel gives no stamps, the time of waking up is taken.
        let _ = setsockopt(&socket, ReceiveTimestampns, &true);
        Self {
            cx,
            socket,
            book: Book::default(),
            buffer: [0; DATAGRAM_MAX],
            control: nix::cmsg_space!(TimeSpec),
        }
    }

    /// Sends all requests and collects their answers, until all are answered, the server wants to be left alone,
    /// or the time is up. Ends before the run is cut off, so that some answers are better than none.
    async fn ask(&mut self, samples: u32) -> Result<(), Fault> {
        let reserve = (self.cx.settings.timeout / 10).min(Duration::from_millis(20));
        let end = Mono(self.cx.deadline.0.saturating_sub(micros(reserve)));
        let start = self.cx.mono();
        let spacing = end.since(start) / (2 * samples);
        while self.book.kiss.is_none() {
            // From the last request on: being late makes no burst.
            let due = self.book.sent.last().map_or(start, |last| last.at.mono + spacing);
            let next = (self.book.sent.len() < samples as usize).then_some(due);
            let now = self.cx.mono();
            if next.is_none() && self.book.lost() == 0 || now >= end {
                break;
            }
            if next.is_some_and(|next| next <= now) {
                self.send().await?;
                continue;
            }
            let until = next.map_or(end, |next| next.min(end));
            // When the time passes, the next request or the end is due.
            if let Ok(result) = timeout(until.since(now), self.receive()).await {
                result?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Fault> {
        let nonce = getrandom::u64();
        let nonce = nonce
            .map_err(|e| Fault::ours("ours.other", format!("this machine gives no random numbers: {e}")))?;
        let nonce = nonce.max(1);
        let first = self.book.sent.is_empty();
        self.book.note(nonce, self.cx.net.clock().now());
        self.count();
        // An error that an earlier request brought back may come out of the call for this one.
        let moment = if first { Moment::Call } else { Moment::Later };
        let sent = self.socket.send(&Packet::request(nonce).to_bytes()).await;
        sent.map(drop).map_err(|e| fault_of(&e, moment))
    }

    async fn receive(&mut self) -> Result<(), Fault> {
        let (buffer, control) = (&mut self.buffer, &mut self.control);
        let fd = self.socket.as_raw_fd();
        // A port where nobody listens makes the socket no more readable: it is an error alone that arrives.
        let taken = self
            .socket
            .async_io(Interest::READABLE | Interest::ERROR, || {
                stamped(fd, buffer, control)
            })
            .await;
        let (count, stamp) = taken.map_err(|e| fault_of(&e, Moment::Later))?;
        let received = arrival(self.cx.net.clock().now(), stamp);
        let ignored = self.book.ignored;
        self.book.take(&self.buffer[..count], received);
        if self.book.ignored > ignored {
            self.cx.fact("ntp.ignored", self.book.ignored);
        }
        self.count();
        Ok(())
    }

    fn count(&self) {
        self.cx
            .requests(self.book.sent.len() as u32, self.book.lost() as u32);
    }
}

/// Receives a datagram, with the wall clock's time at which the kernel had it.
fn stamped(fd: i32, buffer: &mut [u8], control: &mut [u8]) -> std::io::Result<(usize, Option<Wall>)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(fd, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(time) => Some(Wall(time.num_microseconds())),
            _ => None,
        })
    });
    Ok((message.bytes, stamp))
}

/// When a datagram that is in our hands `now` arrived at this machine.
fn arrival(now: Now, stamp: Option<Wall>) -> Mono {
    let queued = stamp.map(|stamp| now.wall.micros_since(stamp));
    match queued.and_then(|micros| u64::try_from(micros).ok()) {
        Some(queued) if Duration::from_micros(queued) <= QUEUED_MAX => {
            Mono(now.mono.0.saturating_sub(queued))
        }
        _ => now.mono,
    }
}

#[cfg(test)]
mod tests;
