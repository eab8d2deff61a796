//! The UDP half of the echo server. Answers come from the address that was asked.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    sync::atomic::AtomicU64,
};

use lapwing_core::time::Clock;
use lapwing_wire::echo::{Stamp, answer, is_marked};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg,
        sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use super::{
    EchoCounters, EchoSettings, Plain, count,
    limit::{Limits, Sessions},
};

/// Longest datagram, and so longest answer.
const BUFFER: usize = 65_536;
/// Datagrams answered before other tasks have their turn.
const TURN: usize = 64;
const RECEIVE_BUFFER: usize = 4 << 20;

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    if address.is_ipv6() {
        // [::] takes IPv4 as well, whose destination comes mapped in the same control message.
        socket.set_only_v6(false)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Answers datagrams; never ends.
pub(super) async fn serve(
    socket: &UdpSocket,
    port: u16,
    settings: &EchoSettings,
    clock: &dyn Clock,
    counters: &EchoCounters,
) {
    let mut desk = Desk {
        port,
        plain: settings.plain,
        limits: Limits::new(settings.per_source, settings.in_all),
        sessions: Sessions::new(),
    };
    let mut buffer = vec![0; BUFFER];
    loop {
        for _ in 0..TURN {
            let Ok(arrived) = socket
                .async_io(Interest::READABLE, || receive(socket, &mut buffer))
                .await
            else {
                // Errors of earlier answers (ICMP) arrive here; they concern nobody.
                continue;
            };
            let Some(arrived) = arrived else {
                count(&counters.not_to_us);
                continue;
            };
            let datagram = &mut buffer[..arrived.len];
            match desk.decide(datagram, arrived.from, clock) {
                Ok(()) => {
                    // An answer that does not fit the send buffer is a lost datagram.
                    let sent = send(socket, datagram, &arrived);
                    count(if sent.is_ok() {
                        &counters.answered
                    } else {
                        &counters.send_errors
                    });
                }
                Err(refused) => count(refused.counter(counters)),
            }
        }
        tokio::task::yield_now().await;
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
    Limited,
}

impl Refused {
    fn counter(self, counters: &EchoCounters) -> &AtomicU64 {
        match self {
            Self::NotARequest => &counters.not_requests,
            Self::Plain => &counters.plain_refused,
            Self::Limited => &counters.limited,
        }
    }
}

impl Desk {
    /// Turns a request into its answer, in place, or says why there is none. What a limit refuses is not counted as
    /// received either: to the sender it is lost on its way.
    fn decide(&mut self, datagram: &mut [u8], from: SocketAddr, clock: &dyn Clock) -> Result<(), Refused> {
        let now = clock.now();
        if !is_marked(datagram) {
            let guarded = from.port() < 1024 || [1900, 5353, 11_211, self.port].contains(&from.port());
            let refused = self.plain == Plain::Refused || self.plain == Plain::Guarded && guarded;
            if refused || from.port() == 0 {
                return Err(Refused::Plain);
            }
            return if self.limits.allow(from.ip(), now.mono) {
                Ok(())
            } else {
                Err(Refused::Limited)
            };
        }
        let request = match lapwing_wire::echo::Datagram::parse(datagram) {
            Ok(lapwing_wire::echo::Datagram::Request(request)) if from.port() != 0 => request,
            _ => return Err(Refused::NotARequest),
        };
        if !self.limits.allow(from.ip(), now.mono) {
            return Err(Refused::Limited);
        }
        let received = self.sessions.count(from, request.cookie, now.mono);
        let stamped = answer(
            datagram,
            Stamp {
                received,
                at: now.wall.0,
            },
        );
        stamped.map(drop).map_err(|_| Refused::NotARequest)
    }
}

struct Arrived {
    len: usize,
    from: SocketAddr,
    peer: SockaddrStorage,
    /// Where it was sent to, which is where the answer comes from.
    to: Option<IpAddr>,
    interface: u32,
}

/// Reads one datagram. None when it was sent to a multicast or broadcast address, or its source cannot be answered.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<Arrived>> {
    let mut control = [0; 256];
    let mut slices = [IoSliceMut::new(buffer)];
    let fd = socket.as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let Some((peer, from)) = message.address.and_then(|peer| Some((peer, source(&peer)?))) else {
        return Ok(None);
    };
    let (mut to, mut interface, mut ours) = (None, 0, true);
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let header = IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into());
                let local = IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into());
                ours = header == local;
                to = Some(local);
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = IpAddr::V6(info.ipi6_addr.s6_addr.into());
                ours = !address.to_canonical().is_multicast() && !is_broadcast(address.to_canonical());
                to = Some(address);
                interface = info.ipi6_ifindex;
            }
            _ => {}
        }
    }
    let arrived = Arrived {
        len: message.bytes,
        from,
        peer,
        to,
        interface,
    };
    Ok((ours && !from.ip().is_multicast() && !from.ip().is_unspecified()).then_some(arrived))
}

/// The broadcast addresses of subnets come to a mapped socket without a sign of it; the kernel refuses to send from
/// them, so that they are not answered either.
fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

fn source(peer: &SockaddrStorage) -> Option<SocketAddr> {
    match peer.family()? {
        AddressFamily::Inet => peer
            .as_sockaddr_in()
            .map(|a| SocketAddr::new(a.ip().into(), a.port())),
        AddressFamily::Inet6 => peer
            .as_sockaddr_in6()
            .map(|a| SocketAddr::new(a.ip().to_canonical(), a.port())),
        _ => None,
    }
}

fn send(socket: &UdpSocket, bytes: &[u8], arrived: &Arrived) -> Result<usize, Errno> {
    let slices = [IoSlice::new(bytes)];
    let (fd, peer) = (socket.as_raw_fd(), Some(&arrived.peer));
    let (v4, v6);
    let control = match arrived.to {
        Some(IpAddr::V4(to)) => {
            let address = libc::in_addr {
                s_addr: u32::from(to).to_be(),
            };
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: address,
                ipi_addr: address,
            };
            vec![ControlMessage::Ipv4PacketInfo(&v4)]
        }
        Some(IpAddr::V6(to)) => {
            // A link-local address is one only together with its interface.
            let index = if to.is_unicast_link_local() {
                arrived.interface
            } else {
                0
            };
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: to.octets() },
                ipi6_ifindex: index,
            };
            vec![ControlMessage::Ipv6PacketInfo(&v6)]
        }
        None => Vec::new(),
    };
    sendmsg(fd, &slices, &control, MsgFlags::MSG_DONTWAIT, peer)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lapwing_core::time::{Mono, Now, Wall};
    use lapwing_wire::echo::{Datagram, Request};

    use super::*;

    #[derive(Default)]
    struct Hand(Mutex<u64>);

    impl Clock for Hand {
        fn now(&self) -> Now {
            let now = *self.0.lock().unwrap();
            Now {
                wall: Wall(now as i64 + 7),
                mono: Mono(now),
            }
        }
    }

    fn desk(plain: Plain) -> Desk {
        Desk {
            port: 7007,
            plain,
            limits: Limits::new(5, 1000),
            sessions: Sessions::new(),
        }
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::new([10, 0, 0, 1].into(), port)
    }

    fn request(seq: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        Request {
            cookie: 1,
            seq,
            sent: 2,
        }
        .write(&mut bytes)
        .unwrap();
        bytes
    }

    #[test]
    fn requests_are_stamped_and_replies_dropped() {
        let clock = Hand::default();
        let mut desk = desk(Plain::Guarded);
        for seq in 0..2 {
            let mut bytes = request(seq);
            assert_eq!(
                desk.decide(&mut bytes, from(53), &clock),
                Ok(()),
                "the mark makes any port safe"
            );
            let stamp = Stamp {
                received: seq + 1,
                at: 7,
            };
            assert_eq!(
                Datagram::parse(&bytes),
                Ok(Datagram::Reply(
                    Request {
                        cookie: 1,
                        seq,
                        sent: 2
                    },
                    stamp
                ))
            );
            assert_eq!(
                desk.decide(&mut bytes, from(5000), &clock),
                Err(Refused::NotARequest),
                "a reply"
            );
        }
        let mut bad_version = request(0);
        bad_version[4] = 9;
        for mut bytes in [request(0)[..39].to_vec(), bad_version] {
            assert_eq!(
                desk.decide(&mut bytes, from(5000), &clock),
                Err(Refused::NotARequest)
            );
        }
        assert_eq!(
            desk.decide(&mut request(0), from(0), &clock),
            Err(Refused::NotARequest)
        );
    }

    #[test]
    fn plain_datagrams_and_their_ports() {
        let clock = Hand::default();
        for (plain, port, expected) in [
            (Plain::Guarded, 5000, Ok(())),
            (Plain::Guarded, 1024, Ok(())),
            (Plain::Guarded, 7, Err(Refused::Plain)),
            (Plain::Guarded, 1023, Err(Refused::Plain)),
            (Plain::Guarded, 1900, Err(Refused::Plain)),
            (Plain::Guarded, 5353, Err(Refused::Plain)),
            (Plain::Guarded, 11_211, Err(Refused::Plain)),
            (Plain::Guarded, 7007, Err(Refused::Plain)),
            (Plain::Refused, 5000, Err(Refused::Plain)),
            (Plain::Allowed, 7, Ok(())),
            (Plain::Allowed, 0, Err(Refused::Plain)),
        ] {
            let mut bytes = b"hello".to_vec();
            assert_eq!(
                desk(plain).decide(&mut bytes, from(port), &clock),
                expected,
                "{plain:?} {port}"
            );
            assert_eq!(bytes, b"hello");
        }
    }

    #[test]
    fn what_is_limited_is_not_counted() {
        let clock = Hand::default();
        let mut desk = desk(Plain::Guarded);
        let answered = (0..9)
            .filter(|seq| desk.decide(&mut request(*seq), from(5000), &clock).is_ok())
            .count();
        assert_eq!(answered, 5);
        assert_eq!(
            desk.decide(&mut request(9), from(5000), &clock),
            Err(Refused::Limited)
        );
        *clock.0.lock().unwrap() = 1_000_000;
        let mut bytes = request(10);
        desk.decide(&mut bytes, from(5000), &clock).unwrap();
        assert!(matches!(
            Datagram::parse(&bytes),
            Ok(Datagram::Reply(_, Stamp { received: 6, .. }))
        ));
    }
}
