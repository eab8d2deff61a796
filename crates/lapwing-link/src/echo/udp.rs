//! The UDP half of the echo server: a thread of its own, which reads what has come in batches and answers from the
//! address that was asked. Never answers with more bytes than came, nor a reply.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use lapwing_core::time::{Clock, Now};
use lapwing_wire::echo::{DEFAULT_PORT, Datagram, Stamp, answer, is_marked};
use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg,
        sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{EchoCounters, EchoSettings, Plain, count, sessions::Sessions};
use crate::{
    answer::{Way, source},
    limit::Limits,
};

/// Datagrams read with one call.
const BATCH: usize = 64;
/// Room for the longest datagram (65,535 bytes), and a little more: rooms of a power of two would all share the same
/// few lines of the processor's cache.
const ROOM: usize = 65_536 + 256;
/// Longest datagram, and so the most that is sent with one call (RFC 768, RFC 791).
const LONGEST: usize = 65_507;
/// Most segments of one call that every Linux takes (UDP_MAX_SEGMENTS).
const SEGMENTS: usize = 64;
/// Longest datagram that is sent as a segment: it fits every link (RFC 8200, section 5).
const SEGMENT: usize = 1280 - 40 - 8;
const BUFFER: usize = 4 << 20;
/// How long the thread may sleep when the word that it shall end does not wake it.
const SLEEP: Duration = Duration::from_secs(1);
/// After an error that may last, so that it does not spin.
const PAUSE: Duration = Duration::from_millis(10);

/// The socket, and whether it is to be served any longer.
pub(super) struct Door {
    socket: Socket,
    closed: AtomicBool,
}

impl Door {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.cloexec(),
            Some(Protocol::UDP),
        )?;
        // More than the system's limit (net.core.rmem_max) is for those with CAP_NET_ADMIN.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            socket.set_recv_buffer_size(BUFFER)?;
        }
        socket.set_send_buffer_size(BUFFER)?;
        socket.set_read_timeout(Some(SLEEP))?;
        if address.is_ipv6() {
            // [::] takes IPv4 as well, whose destination comes mapped in the same control message.
            socket.set_only_v6(false)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        socket.bind(&address.into())?;
        Ok(Self {
            socket,
            closed: AtomicBool::new(false),
        })
    }

    /// Ends [`serve`], soon.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // A socket without a peer gives an error (ENOTCONN), and Linux wakes its reader all the same.
        drop(self.socket.shutdown(Shutdown::Read));
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Answers datagrams, on the calling thread, until the door is closed.
pub(super) fn serve(
    door: &Door,
    port: u16,
    settings: &EchoSettings,
    clock: &dyn Clock,
    counters: &EchoCounters,
) {
    let mut desk = Desk::new(port, settings);
    let mut memory = vec![0; BATCH * ROOM];
    let mut headers = headers();
    let mut sender = Sender { in_segments: true };
    loop {
        let received = receive(door, &mut memory, &mut headers);
        if door.is_closed() {
            return;
        }
        let arrived = match received {
            Ok(arrived) => arrived,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(_) => {
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        let now = clock.now();
        let mut answers = Vec::with_capacity(arrived.len());
        for (arrived, room) in arrived.iter().zip(memory.chunks_exact_mut(ROOM)) {
            if !arrived.is_for_us {
                count(&counters.not_to_us);
                continue;
            }
            let datagram = &mut room[..arrived.len];
            match desk.decide(datagram, arrived.from, now) {
                Ok(()) => answers.push((arrived, &*datagram)),
                Err(refused) => count(refused.counter(counters)),
            }
        }
        for row in answers.chunk_by(belong_together) {
            let sent = sender.send(&door.socket, row);
            counters.answered.fetch_add(sent as u64, Ordering::Relaxed);
            // What does not fit the send buffer is a lost datagram.
            let failed = row.len() - sent;
            counters.send_errors.fetch_add(failed as u64, Ordering::Relaxed);
        }
        if arrived.iter().any(|arrived| arrived.to.is_none()) {
            // A header that came back short of its destination stays short: recvmmsg(2) takes the length from it.
            headers = self::headers();
        }
    }
}

/// What is answered, and how.
struct Desk {
    port: u16,
    plain: Plain,
    limits: Limits,
    sessions: Sessions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NotARequest,
    Plain,
    Partner,
    Limited,
}

impl Refused {
    fn counter(self, counters: &EchoCounters) -> &AtomicU64 {
        match self {
            Self::NotARequest => &counters.not_requests,
            Self::Plain => &counters.plain_refused,
            Self::Partner => &counters.partners_refused,
            Self::Limited => &counters.limited,
        }
    }
}

impl Desk {
    fn new(port: u16, settings: &EchoSettings) -> Self {
        Self {
            port,
            plain: settings.plain,
            limits: Limits::new(settings.per_source, settings.in_all),
            sessions: Sessions::new(),
        }
    }

    /// Turns a request into its answer, in place, or says why there is none. What a limit refuses is not counted as
    /// received either: to the sender it is lost on its way.
    fn decide(&mut self, datagram: &mut [u8], from: SocketAddr, now: Now) -> Result<(), Refused> {
        if from.port() == 0 || self.plain != Plain::Allowed && self.is_partner(from.port()) {
            return Err(Refused::Partner);
        }
        if !is_marked(datagram) {
            let allowed = match self.plain {
                Plain::Refused => return Err(Refused::Plain),
                Plain::Guarded => self.limits.allow_slowly(from.ip(), now.mono),
                Plain::Allowed => self.limits.allow(from.ip(), now.mono),
            };
            return allowed.then_some(()).ok_or(Refused::Limited);
        }
        let Ok(Datagram::Request(request)) = Datagram::parse(datagram) else {
            return Err(Refused::NotARequest);
        };
        if !self.limits.allow(from.ip(), now.mono) {
            return Err(Refused::Limited);
        }
        let received = self.sessions.count(from, request.cookie, now.mono);
        let at = now.wall.0;
        let stamped = answer(datagram, Stamp { received, at });
        stamped.map(drop).map_err(|_| Refused::NotARequest)
    }

    /// Ports where servers listen that answer anything, with more than they got (chargen, DNS, NTP, SSDP, mDNS,
    /// memcached) or for ever (other echo servers). No system gives them to a client.
    fn is_partner(&self, port: u16) -> bool {
        port < 1024 || [1900, 5353, 11_211, DEFAULT_PORT, self.port].contains(&port)
    }
}

/// A datagram that has come.
struct Arrived {
    len: usize,
    from: SocketAddr,
    peer: SockaddrStorage,
    /// Where it was sent to, which is where the answer comes from.
    to: Option<IpAddr>,
    interface: u32,
    /// False for one that was sent to a multicast or broadcast address, or whose source is no address of one machine.
    is_for_us: bool,
}

fn headers() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH, Some(cmsg_space!(libc::in6_pktinfo)))
}

/// Waits for a datagram, and takes those that have come with it, each into its room of `memory`.
fn receive(
    door: &Door,
    memory: &mut [u8],
    headers: &mut MultiHeaders<SockaddrStorage>,
) -> Result<Vec<Arrived>, Errno> {
    let mut rooms: Vec<[IoSliceMut<'_>; 1]> = memory
        .chunks_exact_mut(ROOM)
        .map(|room| [IoSliceMut::new(room)])
        .collect();
    let messages = recvmmsg(
        door.socket.as_raw_fd(),
        headers,
        rooms.iter_mut(),
        MsgFlags::MSG_WAITFORONE,
        None,
    )?;
    if door.is_closed() {
        // What a closed socket gives has no source to be read.
        return Ok(Vec::new());
    }
    Ok(messages.map(|message| read(&message)).collect())
}

fn read(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Arrived {
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    let peer = message.address.unwrap_or_else(|| nobody.into());
    let from = source(&peer).unwrap_or(nobody);
    let mut arrived = Arrived {
        len: message.bytes,
        from,
        peer,
        to: None,
        interface: 0,
        is_for_us: !from.ip().is_multicast() && !from.ip().is_unspecified(),
    };
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let header = IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into());
                let local = IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into());
                arrived.is_for_us &= header == local;
                arrived.to = Some(local);
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = IpAddr::V6(info.ipi6_addr.s6_addr.into());
                let plain = address.to_canonical();
                arrived.is_for_us &= !plain.is_multicast() && !is_broadcast(plain);
                arrived.to = Some(address);
                arrived.interface = info.ipi6_ifindex;
            }
            _ => {}
        }
    }
    arrived
}

/// The broadcast addresses of subnets come to a mapped socket without a sign of it; the kernel refuses to send from
/// them, so that they are not answered either.
fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

/// An answer: to whom, and what.
type Answer<'a> = (&'a Arrived, &'a [u8]);

/// Whether two answers go the same way and have the same length.
fn belong_together((a, a_bytes): &Answer<'_>, (b, b_bytes): &Answer<'_>) -> bool {
    (a.from, a.to, a.interface) == (b.from, b.to, b.interface) && a_bytes.len() == b_bytes.len()
}

struct Sender {
    /// Whether the kernel cuts one buffer into many datagrams (UDP_SEGMENT in udp(7)): most of the cost of a datagram
    /// is its way through the kernel, and so it is paid once for many.
    in_segments: bool,
}

impl Sender {
    /// Sends answers that belong together. Gives how many left.
    fn send(&mut self, socket: &Socket, row: &[Answer<'_>]) -> usize {
        let len = row[0].1.len();
        let mut sent = 0;
        for part in row.chunks((LONGEST / len.max(1)).clamp(1, SEGMENTS)) {
            sent += if self.send_in_segments(socket, part) {
                part.len()
            } else {
                part.iter()
                    .filter(|(to, bytes)| send(socket, to, &[IoSlice::new(bytes)], None).is_ok())
                    .count()
            };
        }
        sent
    }

    fn send_in_segments(&mut self, socket: &Socket, part: &[Answer<'_>]) -> bool {
        let (to, bytes) = part[0];
        if !self.in_segments || part.len() == 1 || !(1..=SEGMENT).contains(&bytes.len()) {
            return false;
        }
        let slices: Vec<_> = part.iter().map(|(_, bytes)| IoSlice::new(bytes)).collect();
        let sent = send(socket, to, &slices, Some(bytes.len() as u16));
        if let Err(Errno::EINVAL | Errno::EIO | Errno::ENOPROTOOPT) = sent {
            // This kernel or this link cannot.
            self.in_segments = false;
        }
        sent.is_ok()
    }
}

/// Sends one datagram, or as many as there are segments of that length in `slices`.
fn send(socket: &Socket, to: &Arrived, slices: &[IoSlice<'_>], segment: Option<u16>) -> Result<usize, Errno> {
    let way = Way::of(to.to, to.interface);
    let (fd, flags, peer) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT, Some(&to.peer));
    match (
        way.control(),
        segment.as_ref().map(ControlMessage::UdpGsoSegments),
    ) {
        (Some(way), Some(segment)) => sendmsg(fd, slices, &[way, segment], flags, peer),
        (way, segment) => sendmsg(fd, slices, way.or(segment).as_slice(), flags, peer),
    }
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::{Mono, Wall};
    use lapwing_wire::echo::Request;

    use super::*;

    /// The wall clock is 7 µs ahead.
    fn at(us: u64) -> Now {
        Now {
            wall: Wall(us as i64 + 7),
            mono: Mono(us),
        }
    }

    fn desk(plain: Plain) -> Desk {
        let settings = EchoSettings {
            plain,
            per_source: 5,
            in_all: 1000,
            ..EchoSettings::new(([0, 0, 0, 0], 7008).into())
        };
        Desk::new(7008, &settings)
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::new([10, 0, 0, 1].into(), port)
    }

    const REQUEST: Request = Request {
        cookie: 1,
        seq: 3,
        sent: 2,
    };

    fn request() -> Vec<u8> {
        let mut bytes = vec![0; 64];
        REQUEST.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn requests_are_stamped_and_replies_dropped() {
        let mut desk = desk(Plain::Refused);
        for received in 1..=2 {
            let mut bytes = request();
            assert_eq!(desk.decide(&mut bytes, from(5000), at(0)), Ok(()));
            let stamp = Stamp { received, at: 7 };
            assert_eq!(Datagram::parse(&bytes), Ok(Datagram::Reply(REQUEST, stamp)));
            let reply = bytes.clone();
            assert_eq!(
                desk.decide(&mut bytes, from(5000), at(0)),
                Err(Refused::NotARequest)
            );
            assert_eq!(bytes, reply);
        }
        let mut bad_version = request();
        bad_version[4] = 9;
        for mut bytes in [request()[..39].to_vec(), bad_version] {
            assert_eq!(
                desk.decide(&mut bytes, from(5000), at(0)),
                Err(Refused::NotARequest)
            );
        }
    }

    #[test]
    fn partners_for_loops_and_reflection_are_refused_whatever_they_send() {
        for (port, partner) in [
            (7, true),
            (53, true),
            (1023, true),
            (1024, false),
            (1900, true),
            (5000, false),
            (5353, true),
            (7006, false),
            (7007, true), // other servers like this one
            (7008, true), // itself
            (11_211, true),
            (65_535, false),
        ] {
            for bytes in [request(), b"hello".to_vec()] {
                let decided = |plain| desk(plain).decide(&mut bytes.clone(), from(port), at(0));
                let expected = if partner { Err(Refused::Partner) } else { Ok(()) };
                assert_eq!(decided(Plain::Guarded), expected, "{port}");
                assert_eq!(decided(Plain::Allowed), Ok(()), "{port}");
            }
        }
        for plain in [Plain::Refused, Plain::Guarded, Plain::Allowed] {
            assert_eq!(
                desk(plain).decide(&mut request(), from(0), at(0)),
                Err(Refused::Partner)
            );
        }
    }

    #[test]
    fn plain_datagrams_are_refused_or_come_back_as_they_are() {
        for (plain, expected) in [
            (Plain::Refused, Err(Refused::Plain)),
            (Plain::Guarded, Ok(())),
            (Plain::Allowed, Ok(())),
        ] {
            for text in ["hello", ""] {
                let mut bytes = text.as_bytes().to_vec();
                assert_eq!(desk(plain).decide(&mut bytes, from(5000), at(0)), expected);
                assert_eq!(bytes, text.as_bytes());
            }
        }
    }

    /// Whoever forges one datagram from one of two servers to the other has them talk to each other, until a limit
    /// takes that datagram away.
    #[test]
    fn two_servers_that_are_set_on_each_other_fall_silent() {
        let (a, b) = (
            SocketAddr::from(([10, 0, 0, 1], 7008)),
            SocketAddr::from(([10, 0, 0, 2], 7009)),
        );
        let server = |port| Desk::new(port, &EchoSettings::new(SocketAddr::from(([0, 0, 0, 0], port))));
        let mut servers = [(server(7008), b), (server(7009), a)];
        let mut datagram = b"for ever?".to_vec();
        // A tenth of a second each way.
        let answers = (0..10_000u64)
            .take_while(|n| {
                let (desk, from) = &mut servers[(*n % 2) as usize];
                desk.decide(&mut datagram, *from, at(n * 100_000)).is_ok()
            })
            .count();
        assert!(answers < 50, "{answers}");
    }

    #[test]
    fn what_is_limited_is_not_counted() {
        let mut desk = desk(Plain::Guarded);
        let answered = (0..9)
            .filter(|_| desk.decide(&mut request(), from(5000), at(0)).is_ok())
            .count();
        assert_eq!(answered, 5);
        assert_eq!(
            desk.decide(&mut request(), from(5000), at(0)),
            Err(Refused::Limited)
        );
        let mut bytes = request();
        desk.decide(&mut bytes, from(5000), at(1_000_000)).unwrap();
        assert!(matches!(
            Datagram::parse(&bytes),
            Ok(Datagram::Reply(_, Stamp { received: 6, .. }))
        ));
    }
}
