//! As many echo requests as come back: a fixed number is under way, and each answer makes room for the next request.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg},
};
use socket2::SockRef;

use crate::{bare::Done, clock, load::target, proc::Cpu};

/// Requests under way: no more than fit the receive buffer that every system allows.
const WINDOW: usize = 128;
const BATCH: usize = 32;
/// How long an answer may take before it is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// The header of Lapwing's echo datagram: magic, version and flags, cookie, sequence number, … up to the padding.
const HEADER: usize = 40;
const COOKIE: &[u8; 8] = b"measured";

/// Sends requests of `size` bytes to `port` for `length`, in turn to so many `addresses` of this machine, and takes the
/// answers. Fails when one is lost.
pub(super) fn run(port: u16, size: usize, addresses: u32, length: Duration) -> anyhow::Result<Done> {
    ensure!((HEADER..=1472).contains(&size), "a size must be 40 to 1472");
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let mut load = Load {
        socket,
        port,
        addresses,
        size,
        requests: vec![0; BATCH * size],
        answers: vec![0; BATCH * 2048],
        out: MultiHeaders::preallocate(BATCH, None),
        back: MultiHeaders::preallocate(BATCH, None),
        waiting: vec![None; WINDOW],
        under_way: 0,
        next: 0,
        heard: clock::now(),
    };
    let (begun, before) = (clock::now(), Cpu::of_thread()?);
    while begun.elapsed() < length {
        while WINDOW - load.under_way >= BATCH {
            load.send()?;
        }
        load.receive()?;
    }
    while load.under_way > 0 {
        load.receive()?;
    }
    let answered = u64::from(load.next);
    Ok(Done {
        checks: answered,
        answered,
        took: begun.elapsed(),
        cpu: Cpu::of_thread()?.since(before),
    })
}

struct Load {
    socket: UdpSocket,
    port: u16,
    addresses: u32,
    size: usize,
    requests: Vec<u8>,
    answers: Vec<u8>,
    out: MultiHeaders<SockaddrStorage>,
    back: MultiHeaders<SockaddrStorage>,
    /// The requests under way, each in the place that its number gives it.
    waiting: Vec<Option<u32>>,
    under_way: usize,
    next: u32,
    /// When an answer came last.
    heard: Instant,
}

impl Load {
    fn send(&mut self) -> anyhow::Result<()> {
        let mut peers = [None; BATCH];
        for (request, peer) in self.requests.chunks_exact_mut(self.size).zip(&mut peers) {
            let address = SocketAddrV4::new(target(self.next % self.addresses), self.port);
            *peer = Some(SockaddrStorage::from(address));
            let place = &mut self.waiting[self.next as usize % WINDOW];
            ensure!(place.is_none(), "an answer is overdue: a datagram was lost");
            *place = Some(self.next);
            request[..8].copy_from_slice(b"LWec\x01\0\0\0");
            request[8..16].copy_from_slice(COOKIE);
            request[16..20].copy_from_slice(&self.next.to_be_bytes());
            self.next += 1;
        }
        let slices: Vec<_> = self
            .requests
            .chunks_exact(self.size)
            .map(|r| [IoSlice::new(r)])
            .collect();
        sendmmsg(
            self.socket.as_raw_fd(),
            &mut self.out,
            &slices,
            peers,
            [],
            MsgFlags::empty(),
        )?;
        self.under_way += BATCH;
        Ok(())
    }

    /// Takes the answers that have come.
    fn receive(&mut self) -> anyhow::Result<()> {
        let since = &mut self.heard;
        let mut rooms: Vec<_> = self
            .answers
            .chunks_exact_mut(2048)
            .map(|r| [IoSliceMut::new(r)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let came: Vec<(usize, Option<SockaddrStorage>)> = match recvmmsg(
            self.socket.as_raw_fd(),
            &mut self.back,
            rooms.iter_mut(),
            flags,
            None,
        ) {
            Ok(messages) => messages.map(|message| (message.bytes, message.address)).collect(),
            Err(Errno::EAGAIN) => {
                // Whoever sleeps here is woken for every single answer, and then is slower than the responder.
                let idle = clock::now().duration_since(*since);
                ensure!(idle < PATIENCE, "{} datagrams were lost", self.under_way);
                std::thread::yield_now();
                return Ok(());
            }
            Err(error) => return Err(error).context("the responder cannot be reached"),
        };
        *since = clock::now();
        for (answer, (length, from)) in self.answers.chunks_exact(2048).zip(came) {
            let number = u32::from_be_bytes([answer[16], answer[17], answer[18], answer[19]]);
            let place = &mut self.waiting[number as usize % WINDOW];
            let asked = SocketAddrV4::new(target(number % self.addresses), self.port);
            let ours = length == self.size
                && answer[..4] == *b"LWec"
                && answer[8..16] == *COOKIE
                && from == Some(SockaddrStorage::from(asked));
            ensure!(ours && *place == Some(number), "an answer is not what was asked");
            *place = None;
            self.under_way -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_counted_and_what_is_lost_is_an_error() {
        let server = UdpSocket::bind((target(0), 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let answering = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let mut left = 100_000;
            while left > 0 {
                let (length, from) = server.recv_from(&mut buffer).unwrap();
                if length == 41 {
                    return;
                }
                server.send_to(&buffer[..length], from).unwrap();
                left -= 1;
            }
        });
        let done = run(port, 64, 1, Duration::from_millis(50)).unwrap();
        assert!(
            done.answered >= WINDOW as u64 && done.took < Duration::from_secs(5),
            "{done:?}"
        );
        let error = run(port, 41, 1, Duration::from_millis(50)).unwrap_err();
        assert!(
            error.to_string().contains("lost") || error.to_string().contains("reached"),
            "{error}"
        );
        answering.join().unwrap();
    }
}
