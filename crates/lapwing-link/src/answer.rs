//! Answers to datagrams: who sent one, and the address that its answer leaves from. An answer never leaves from another
//! address than the one that was asked.

use std::net::{IpAddr, SocketAddr};

use nix::{
    libc,
    sys::socket::{AddressFamily, ControlMessage, SockaddrLike, SockaddrStorage},
};

/// Who sent a datagram; an IPv4 address is never written as IPv6.
pub(crate) fn source(peer: &SockaddrStorage) -> Option<SocketAddr> {
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

/// The address that an answer leaves from, for the kernel.
pub(crate) enum Way {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
    /// As the kernel likes.
    Any,
}

impl Way {
    /// `from` is where the datagram was sent to; `interface` where it came in.
    pub(crate) fn of(from: Option<IpAddr>, interface: u32) -> Self {
        match from {
            Some(IpAddr::V4(to)) => {
                let address = libc::in_addr {
                    s_addr: u32::from(to).to_be(),
                };
                Self::V4(libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: address,
                    ipi_addr: address,
                })
            }
            Some(IpAddr::V6(to)) => {
                // A link-local address is one only together with its interface.
                let index = if to.is_unicast_link_local() { interface } else { 0 };
                Self::V6(libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: to.octets() },
                    ipi6_ifindex: index,
                })
            }
            None => Self::Any,
        }
    }

    pub(crate) fn control(&self) -> Option<ControlMessage<'_>> {
        match self {
            Self::V4(info) => Some(ControlMessage::Ipv4PacketInfo(info)),
            Self::V6(info) => Some(ControlMessage::Ipv6PacketInfo(info)),
            Self::Any => None,
        }
    }
}
