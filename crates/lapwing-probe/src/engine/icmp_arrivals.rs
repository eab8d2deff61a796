//! What arrives on the sockets of the ICMP engine: packets and queued errors, with the kernel's stamps.
//!
//! Invariant: any bytes are survived. What cannot be a reply or an error about an echo request is dropped here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lapwing_core::time::Wall;
use lapwing_wire::icmp::{self, Complaint, Echo, Ipv4, Message, Trust, Version};
use nix::{
    libc,
    sys::{
        socket::{AddressFamily, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrLike, SockaddrStorage},
        time::TimeSpec,
    },
};

use super::icmp_sockets::Mode;

/// Something that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub from: IpAddr,
    /// The kernel's receive stamp; None where the socket gave none.
    pub at: Option<Wall>,
    pub ttl: Option<u8>,
    pub what: Arrived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Reply(Echo),
    Report {
        version: Version,
        complaint: Complaint,
        destination: IpAddr,
        quoted: Echo,
    },
}

/// Reads a packet; the kernel's count of dropped ones goes into `dropped`.
pub(super) fn arrival(
    version: Version,
    mode: Mode,
    message: &RecvMsg<'_, '_, SockaddrStorage>,
    dropped: &mut u32,
) -> Option<Arrival> {
    let bytes = message.iovs().next()?;
    let mut from = message.address.as_ref().and_then(address_of)?;
    let (mut at, mut ttl) = (None, None);
    for control in message.cmsgs().ok()? {
        match control {
            ControlMessageOwned::ScmTimestampns(stamp) => at = Some(wall(stamp)),
            ControlMessageOwned::RxqOvfl(count) => *dropped = count,
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                ttl = Some(hops as u8);
            }
            _ => {}
        }
    }
    let cut = message.flags.contains(MsgFlags::MSG_TRUNC);
    let (icmp, trust) = if version == Version::V4 && mode == Mode::Raw {
        let packet = Ipv4::parse(bytes).ok()?;
        ttl = Some(packet.ttl);
        from = packet.source.into();
        (packet.payload, if cut { Trust::Verified } else { Trust::Verify })
    } else {
        (bytes, Trust::Verified)
    };
    let what = match icmp::parse(version, icmp, trust).ok()? {
        Message::Reply(echo) => Arrived::Reply(echo),
        Message::Report(report) => Arrived::Report {
            version,
            complaint: report.complaint,
            destination: report.destination,
            quoted: report.quoted,
        },
        Message::Request(_) | Message::Other => return None,
    };
    Some(Arrival { from, at, ttl, what })
}

/// An error from the queue of a ping socket: the bytes are the quoted request, the address is where that was going.
pub(super) fn queued_error(version: Version, message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Arrival> {
    let destination = message.address.as_ref().and_then(address_of)?;
    let quoted = icmp::quoted_request(version, message.iovs().next()?)?;
    let (mut at, mut error) = (None, None);
    for control in message.cmsgs().ok()? {
        match control {
            ControlMessageOwned::ScmTimestampns(stamp) => at = Some(wall(stamp)),
            ControlMessageOwned::Ipv4RecvErr(e, offender) => {
                let from = offender.map(|o| IpAddr::V4(Ipv4Addr::from(u32::from_be(o.sin_addr.s_addr))));
                error = Some((e, from));
            }
            ControlMessageOwned::Ipv6RecvErr(e, offender) => {
                error = Some((
                    e,
                    offender.map(|o| IpAddr::V6(Ipv6Addr::from(o.sin6_addr.s6_addr))),
                ));
            }
            _ => {}
        }
    }
    let (error, from) = error?;
    if !matches!(
        error.ee_origin,
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6
    ) {
        return None;
    }
    let complaint = Complaint::of(version, error.ee_type, error.ee_code, error.ee_info)?;
    let what = Arrived::Report {
        version,
        complaint,
        destination,
        quoted,
    };
    Some(Arrival {
        from: from.unwrap_or(destination),
        at,
        ttl: None,
        what,
    })
}

fn address_of(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        AddressFamily::Inet => address.as_sockaddr_in().map(|a| a.ip().into()),
        AddressFamily::Inet6 => address.as_sockaddr_in6().map(|a| a.ip().into()),
        _ => None,
    }
}

fn wall(stamp: TimeSpec) -> Wall {
    Wall(
        stamp
            .tv_sec()
            .saturating_mul(1_000_000)
            .saturating_add(stamp.tv_nsec() / 1000),
    )
}
