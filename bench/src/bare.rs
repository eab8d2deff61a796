//! The barest loops that do the same checks: one thread, no scheduler, no judgement, no memory of anything. What they
//! cost is the kernel's share, which nothing that checks can avoid.

use std::{
    io::{ErrorKind, Read as _},
    net::{SocketAddr, SocketAddrV4},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::{clock, load::target, proc::Cpu};

/// Checks under way at most.
const AT_ONCE: usize = 256;
/// Targets that are asked in turn.
const TARGETS: u32 = 100_000;
/// How long the last answers may take.
const LAST: Duration = Duration::from_secs(1);

/// What a loop did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) checks: u64,
    pub(crate) answered: u64,
    pub(crate) took: Duration,
    pub(crate) cpu: Cpu,
}

/// When checks are due.
struct Pace {
    begun: Instant,
    /// Checks each second; 0: always due.
    rate: f64,
    length: Duration,
    started: u64,
}

impl Pace {
    fn new(rate: f64, length: Duration) -> Self {
        Self {
            begun: clock::now(),
            rate,
            length,
            started: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.length
    }

    /// How many checks are due now.
    fn due(&self) -> u64 {
        if self.is_over() {
            0
        } else if self.rate == 0.0 {
            AT_ONCE as u64
        } else {
            ((self.begun.elapsed().as_secs_f64() * self.rate) as u64).saturating_sub(self.started)
        }
    }

    /// The number of the next target.
    fn next(&mut self) -> u32 {
        self.started += 1;
        (self.started % u64::from(TARGETS)) as u32
    }
}

/// TCP: a socket for each check, non-blocking connect, epoll, ended by a reset.
pub(crate) fn tcp(port: u16, rate: f64, length: Duration) -> anyhow::Result<Done> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut events = [EpollEvent::empty(); AT_ONCE];
    let mut sockets: Vec<Option<Socket>> = Vec::new();
    let (mut under_way, mut answered) = (0, 0);
    let before = Cpu::of_thread()?;
    let mut pace = Pace::new(rate, length);
    while under_way > 0 || !pace.is_over() {
        for _ in 0..pace.due().min((AT_ONCE - under_way) as u64) {
            let socket = connect(SocketAddrV4::new(target(pace.next()), port).into())?;
            let place = socket.as_raw_fd() as usize;
            epoll.add(
                &socket,
                EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT, place as u64),
            )?;
            sockets.resize_with(sockets.len().max(place + 1), || None);
            sockets[place] = Some(socket);
            under_way += 1;
        }
        let ready = epoll.wait(&mut events, EpollTimeout::from(1_u8))?;
        for event in &events[..ready] {
            sockets[event.data() as usize] = None;
            under_way -= 1;
            answered += u64::from(
                !event
                    .events()
                    .intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP),
            );
        }
        if pace.begun.elapsed() > length + LAST {
            break;
        }
    }
    let took = pace.begun.elapsed();
    Ok(Done {
        checks: pace.started,
        answered,
        took,
        cpu: Cpu::of_thread()?.since(before),
    })
}

/// A socket that resets when it is dropped, on its way to `address`.
fn connect(address: SocketAddr) -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
            Err(error.into())
        }
        _ => Ok(socket),
    }
}

/// ICMP: one raw socket, 56 bytes of payload, sends and receives one by one.
pub(crate) fn icmp(rate: f64, length: Duration) -> anyhow::Result<Done> {
    let raw = Type::RAW.nonblocking().cloexec();
    let mut socket = Socket::new(Domain::IPV4, raw, Some(Protocol::ICMPV4))
        .context("a raw socket is not allowed: run this as root or with CAP_NET_RAW")?;
    let id = (std::process::id() % 0x1_0000) as u16;
    socket.attach_filter(&only_replies(id))?;
    socket.set_recv_buffer_size(4 << 20)?;
    let mut answer = [0; 256];
    let mut answered = 0;
    let before = Cpu::of_thread()?;
    let mut pace = Pace::new(rate, length);
    while answered < pace.started || !pace.is_over() {
        let free = (AT_ONCE as u64).saturating_sub(pace.started - answered);
        for _ in 0..pace.due().min(free) {
            let to = SocketAddrV4::new(target(pace.next()), 0);
            socket.send_to(&request(id, pace.started as u16), &SocketAddr::from(to).into())?;
        }
        loop {
            match socket.read(&mut answer) {
                Ok(_) => answered += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if pace.begun.elapsed() > length + LAST {
            break;
        }
        if pace.due() == 0 || pace.started - answered >= AT_ONCE as u64 {
            poll(
                &mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
                PollTimeout::from(1_u8),
            )?;
        }
    }
    let took = pace.begun.elapsed();
    Ok(Done {
        checks: pace.started,
        answered,
        took,
        cpu: Cpu::of_thread()?.since(before),
    })
}

/// An echo request with its checksum (RFC 792, RFC 1071).
fn request(id: u16, sequence: u16) -> [u8; 64] {
    let mut packet = [0; 64];
    packet[0] = 8;
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    let checksum = !packet.chunks_exact(2).fold(0_u16, |sum, pair| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([pair[0], pair[1]]));
        sum + u16::from(carry)
    });
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Lets echo replies with this id through (bpf(4)); what comes is an IPv4 header of 20 bytes and the message.
fn only_replies(id: u16) -> [SockFilter; 6] {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 20),
        SockFilter::new(JUMP_EQUAL, 0, 3, 0),
        SockFilter::new(LOAD_HALF, 0, 0, 24),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(id)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

impl Done {
    /// That every check was answered: a loop that lost some has not done the work.
    pub(crate) fn verified(self) -> anyhow::Result<Self> {
        let Self { checks, answered, .. } = self;
        ensure!(
            checks > 0 && checks == answered,
            "the bare loop lost {} of {checks} checks",
            checks - answered
        );
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;

    #[test]
    fn every_connect_is_answered() {
        let sink = Sink::open().unwrap();
        let done = tcp(sink.port, 2_000.0, Duration::from_millis(200))
            .unwrap()
            .verified()
            .unwrap();
        assert!((1..=400).contains(&done.checks), "{done:?}");
        let full = tcp(sink.port, 0.0, Duration::from_millis(50))
            .unwrap()
            .verified()
            .unwrap();
        assert!(full.checks > 0 && !full.cpu.total().is_zero(), "{full:?}");
    }

    #[test]
    fn a_closed_port_is_no_answer() {
        let closed = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let done = tcp(port, 1_000.0, Duration::from_millis(20)).unwrap();
        assert!(done.checks > 0 && done.answered == 0, "{done:?}");
        assert!(done.verified().is_err());
    }

    #[test]
    fn needs_root_every_ping_is_answered() {
        let done = icmp(2_000.0, Duration::from_millis(200))
            .unwrap()
            .verified()
            .unwrap();
        assert!((1..=400).contains(&done.checks), "{done:?}");
    }
}
