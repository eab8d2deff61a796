//! The barest responder: one thread that sends back what comes, from where it came to, 64 datagrams with a call each
//! way. No limits, no counters, no look at what it sends.

use std::{
    io::{IoSlice, IoSliceMut, Write as _},
    net::SocketAddr,
    os::fd::AsRawFd as _,
};

use nix::{
    cmsg_space, libc,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt},
};
use socket2::{Domain, Socket, Type};

const BATCH: usize = 64;
const ROOM: usize = 2048;

/// Listens, says where, and answers until it is killed.
pub(crate) fn respond(listen: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM.cloexec(), None)?;
    socket.set_recv_buffer_size(4 << 20)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    socket.bind(&listen.into())?;
    if let Some(address) = socket.local_addr()?.as_socket() {
        writeln!(std::io::stderr(), "udp-echo://{address}")?;
    }
    serve(&socket)
}

fn serve(socket: &Socket) -> anyhow::Result<()> {
    let mut memory = vec![0; BATCH * ROOM];
    loop {
        // With the control data that came with each datagram the answer leaves from the address that was asked.
        let control = Some(cmsg_space!(libc::in_pktinfo));
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, control);
        let mut rooms: Vec<_> = memory
            .chunks_exact_mut(ROOM)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let messages = recvmmsg(socket.as_raw_fd(), &mut headers, rooms.iter_mut(), flags, None)?;
        let (peers, lengths): (Vec<_>, Vec<_>) =
            messages.map(|message| (message.address, message.bytes)).unzip();
        let slices: Vec<_> = memory
            .chunks_exact(ROOM)
            .zip(&lengths)
            .map(|(room, length)| [IoSlice::new(&room[..*length])])
            .collect();
        // What is not sent is missed by the load, and the round is void.
        drop(sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            &peers,
            [],
            MsgFlags::empty(),
        ));
    }
}
