//! The barest responder: one thread that sends back what comes, 64 datagrams with a call each way. No limits, no
//! counters, no look at what it sends.

use std::{
    io::{IoSlice, IoSliceMut, Write as _},
    net::SocketAddr,
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use socket2::{Domain, Socket, Type};

const BATCH: usize = 64;
const ROOM: usize = 2048;

/// Listens, says where, and answers until it is killed.
pub(crate) fn respond(listen: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM.cloexec(), None)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&listen.into())?;
    if let Some(address) = socket.local_addr()?.as_socket() {
        writeln!(std::io::stderr(), "udp-echo://{address}")?;
    }
    serve(&socket)
}

fn serve(socket: &Socket) -> anyhow::Result<()> {
    let mut memory = vec![0; BATCH * ROOM];
    let mut arrivals = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut departures = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    loop {
        let mut rooms: Vec<_> = memory
            .chunks_exact_mut(ROOM)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut arrivals,
            rooms.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
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
            &mut departures,
            &slices,
            &peers,
            [],
            MsgFlags::empty(),
        ));
    }
}
