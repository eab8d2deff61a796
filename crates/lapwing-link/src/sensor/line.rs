//! One datagram and the reply to it, on a socket of its own: that way a new address, interface or translation of ours
//! is taken up with the next beat. Keeps nothing between two beats.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};

use lapwing_core::time::Mono;
use lapwing_wire::heartbeat::LEN;
use nix::{
    cmsg_space, libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::alarm::{Alarm, Woken};

/// What became of a datagram.
pub(super) enum Asked<T> {
    Answered(T),
    /// No answer until the deadline; so many datagrams were none.
    Silent {
        ignored: u32,
    },
    /// Somebody on the way, or the server itself, says that it was not delivered (ICMP).
    Refused(io::Error),
    /// This machine, or its own network, does not deliver it.
    NotSent(io::Error),
    Stopped,
}

/// Sends `datagram` to `to` and waits until `deadline` for something that `accept` takes. The error is that of waiting.
pub(super) fn ask<T>(
    to: SocketAddr,
    datagram: &[u8],
    deadline: Mono,
    accept: impl Fn(&[u8]) -> Option<T>,
    alarm: &Alarm<'_>,
) -> io::Result<Asked<T>> {
    let socket = match send(to, datagram) {
        Ok(socket) => socket,
        Err(error) => return Ok(Asked::NotSent(error)),
    };
    // A byte more than a reply has: a longer datagram is seen to be longer.
    let mut buffer = [0; LEN + 1];
    let mut ignored = 0;
    loop {
        match alarm.until(deadline, Some(socket.as_fd()))? {
            Woken::Due => return Ok(Asked::Silent { ignored }),
            Woken::Stop => return Ok(Asked::Stopped),
            Woken::Ready => {}
        }
        match socket.recv(&mut buffer) {
            Ok(len) => match accept(&buffer[..len]) {
                Some(answer) => return Ok(Asked::Answered(answer)),
                None => ignored += 1,
            },
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) if ours(&socket) => return Ok(Asked::NotSent(error)),
            Err(error) => return Ok(Asked::Refused(error)),
        }
        // Whoever floods us must not keep us here.
        if alarm.now() >= deadline {
            return Ok(Asked::Silent { ignored });
        }
    }
}

fn send(to: SocketAddr, datagram: &[u8]) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(to),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    // Without it, the system keeps all but refused ports to itself (ip(7), ipv6(7)).
    if to.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
    }
    socket.connect(&to.into())?;
    socket.send(datagram)?;
    Ok(socket.into())
}

/// Whether the error of the socket was made here: by the system, or as an ICMP message of our own address, which is how
/// a router that does not answer ARP or neighbour discovery shows.
fn ours(socket: &UdpSocket) -> bool {
    let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut bytes = [0; LEN];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let told = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags);
    let own = socket.local_addr().map(|address| address.ip()).ok();
    told.is_ok_and(|told| {
        told.cmsgs().is_ok_and(|mut messages| {
            messages.any(|message| {
                let (error, offender) = match message {
                    ControlMessageOwned::Ipv4RecvErr(error, offender) => (
                        error,
                        offender.map(|o| IpAddr::from(u32::from_be(o.sin_addr.s_addr).to_be_bytes())),
                    ),
                    ControlMessageOwned::Ipv6RecvErr(error, offender) => {
                        (error, offender.map(|o| IpAddr::from(o.sin6_addr.s6_addr)))
                    }
                    _ => return false,
                };
                // On loopback, the server's address may be our own; a refused port is never our fault.
                let refused = error.ee_errno == libc::ECONNREFUSED as u32;
                error.ee_origin == libc::SO_EE_ORIGIN_LOCAL
                    || !refused && offender.is_some() && offender == own
            })
        })
    })
}
