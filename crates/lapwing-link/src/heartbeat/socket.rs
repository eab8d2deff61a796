//! The listener's socket: datagrams in batches, each with its time and the way back; replies from the address that was
//! asked. Reads and sends, and judges nothing.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use lapwing_core::time::Wall;
use lapwing_wire::heartbeat::LEN;
use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, cmsg_space, recvmmsg,
            sendmsg, setsockopt, sockopt,
        },
        time::{TimeSpec, TimeValLike},
    },
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::answer::{Way, source};

/// Wanted: what arrives while this process does not run waits here.
pub const RECEIVE_BUFFER: usize = 4 << 20;
/// Datagrams read by one call of the system.
const BATCH: usize = 64;
/// Bytes read of a datagram. A longer one is none of ours, whatever follows.
const SLOT: usize = 128;
const CONTROL: usize = cmsg_space::<libc::in6_pktinfo>()
    + cmsg_space::<libc::in_pktinfo>()
    + cmsg_space::<TimeSpec>()
    + cmsg_space::<u32>();

/// The way back to a sender: its address, and the address of ours that it sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    peer: SockaddrStorage,
    local: Option<IpAddr>,
    interface: u32,
}

/// A datagram that arrived.
pub(super) struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) from: SocketAddr,
    /// When the system received it.
    pub(super) stamp: Option<Wall>,
    pub(super) route: Route,
}

pub(super) struct HeartbeatSocket {
    socket: Socket,
    address: SocketAddr,
    receive_buffer: usize,
}

impl HeartbeatSocket {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        // Beyond the limit of the system only with privileges.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        if address.is_ipv6() {
            // [::] takes IPv4 as well, whose destination comes mapped in the same control message.
            socket.set_only_v6(false)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        // The system gives twice what it is asked for, and needs the other half itself (socket(7)).
        let receive_buffer = socket.recv_buffer_size()? / 2;
        Ok(Self {
            socket,
            address,
            receive_buffer,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Sends a reply. One that does not fit the send buffer is a lost datagram.
    pub(super) fn send(&self, reply: &[u8; LEN], route: &Route) -> Result<(), Errno> {
        let way = Way::of(route.local, route.interface);
        let slices = [IoSlice::new(reply)];
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg(fd, &slices, way.control().as_slice(), flags, Some(&route.peer)).map(drop)
    }
}

impl AsFd for HeartbeatSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for one batch.
pub(super) struct Batch(Vec<u8>);

impl Batch {
    pub(super) fn new() -> Self {
        Self(vec![0; BATCH * SLOT])
    }

    /// Reads what has arrived, at most one batch; `Errno::EAGAIN` when nothing has. Hands each datagram to `each`, with
    /// how many the system has dropped before it since the socket was opened. Gives how many there were.
    pub(super) fn read(
        &mut self,
        socket: &HeartbeatSocket,
        mut each: impl FnMut(Datagram<'_>, u32),
    ) -> Result<usize, Errno> {
        // Made anew each time: a call shortens the lengths in it to what it found, and nothing restores them.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(vec![0; CONTROL]));
        let mut slots: Vec<[IoSliceMut<'_>; 1]> = self
            .0
            .chunks_exact_mut(SLOT)
            .map(|slot| [IoSliceMut::new(slot)])
            .collect();
        let fd = socket.socket.as_raw_fd();
        let messages = recvmmsg(fd, &mut headers, &mut slots, MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for message in messages {
            count += 1;
            let (datagram, dropped) = read(&message);
            if let Some(datagram) = datagram {
                each(datagram, dropped);
            }
        }
        Ok(count)
    }
}

/// A datagram with its control messages, and how many were dropped before it.
fn read<'a>(message: &RecvMsg<'a, 'a, SockaddrStorage>) -> (Option<Datagram<'a>>, u32) {
    let (mut stamp, mut dropped, mut local, mut interface) = (None, 0, None, 0);
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::ScmTimestampns(time) => stamp = Some(Wall(time.num_microseconds())),
            ControlMessageOwned::RxqOvfl(total) => dropped = total,
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                local = Some(IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let to = IpAddr::V6(info.ipi6_addr.s6_addr.into());
                // From a group nothing can be sent.
                local = (!to.to_canonical().is_multicast()).then_some(to);
                interface = info.ipi6_ifindex;
            }
            _ => {}
        }
    }
    let Some((peer, from)) = message.address.and_then(|peer| Some((peer, source(&peer)?))) else {
        return (None, dropped);
    };
    let datagram = Datagram {
        bytes: message.iovs().next().unwrap_or_default(),
        from,
        stamp,
        route: Route {
            peer,
            local,
            interface,
        },
    };
    (Some(datagram), dropped)
}
