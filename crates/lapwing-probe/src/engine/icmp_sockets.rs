//! The sockets of the ICMP engine: ping sockets where the system allows them, raw sockets otherwise.
//!
//! Invariant: what is handed on was addressed to a socket of ours; whether it answers a request of ours is decided by
//! the rounds, by address, sequence number and cookie.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use lapwing_core::{monitor::Source, observation::Fault};
use lapwing_net::{Moment, fault_of};
use lapwing_wire::icmp::{self, EchoRequest, Version};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, ppoll},
    setsockopt_impl, sockopt_impl,
    sys::{
        eventfd::EventFd,
        socket::{self, MsgFlags, MultiHeaders, SockaddrStorage, setsockopt, sockopt},
        time::TimeSpec,
    },
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::{
    icmp::Path,
    icmp_arrivals::{Arrival, arrival, queued_error},
    icmp_rounds::{SendError, Wire},
};

/// Sockets at most; each distinct path and family has one. The longest unused makes room.
const SOCKETS: usize = 64;
/// Bytes wanted for answers that wait in the kernel: some 10,000 small ones for each socket.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Packets read in one system call.
const READ: usize = 16;
/// Packets read before the deadlines are looked at again, so that a flood cannot hold them up.
const DRAIN: usize = 65_536;
/// Bytes read of a packet; the cookie stands in the first 100, quotes included.
const READ_LEN: usize = 2048;
/// Room for the receive stamp, the drop counter, the hop limit and a queued error.
const CONTROL_LEN: usize = 256;

sockopt_impl!(
    MtuDiscoverV4,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);
sockopt_impl!(
    MtuDiscoverV6,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);

/// All sockets, by family and path.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Slot>>,
    index: HashMap<(Version, Path), usize>,
    readable: Vec<usize>,
    /// Errors taken from a queue while sending; handed on with the next drain.
    pending: Vec<Arrival>,
    packet: Vec<u8>,
    buffers: Vec<u8>,
    /// Packets that the kernel dropped because a receive buffer was full.
    dropped: u64,
    turn: u64,
    force: Option<Mode>,
}

struct Slot {
    socket: Socket,
    key: (Version, Path),
    mode: Mode,
    id: u16,
    /// Rounds that use it.
    users: usize,
    used: u64,
    dropped: u32,
}

/// How the socket was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `SOCK_DGRAM`: the kernel owns the id, and filters and checks for us.
    Ping,
    Raw,
}

impl Sockets {
    /// Opens sockets in this mode alone.
    #[cfg(test)]
    pub(super) fn forced(mode: Mode) -> Self {
        Self {
            force: Some(mode),
            ..Self::default()
        }
    }

    /// Waits until something arrives, the event is written or `patience` has passed. True when the event is written.
    pub(super) fn wait(&mut self, event: &EventFd, patience: Option<Duration>) -> bool {
        self.readable.clear();
        let patience = if self.pending.is_empty() {
            patience
        } else {
            Some(Duration::ZERO)
        };
        let mut fds = vec![PollFd::new(event.as_fd(), PollFlags::POLLIN)];
        let mut indices = Vec::with_capacity(self.slots.len());
        for (i, slot) in self.slots.iter().enumerate() {
            if let Some(slot) = slot {
                fds.push(PollFd::new(slot.socket.as_fd(), PollFlags::POLLIN));
                indices.push(i);
            }
        }
        if ppoll(&mut fds, patience.map(TimeSpec::from_duration), None).is_err() {
            return false; // interrupted: the caller comes back
        }
        for (fd, i) in fds[1..].iter().zip(indices) {
            if fd.any() == Some(true) {
                self.readable.push(i);
            }
        }
        fds[0].any() == Some(true)
    }

    /// Reads what waits on the sockets that were found readable.
    pub(super) fn drain(&mut self, arrivals: &mut Vec<Arrival>) {
        arrivals.append(&mut self.pending);
        self.buffers.resize(READ * READ_LEN, 0);
        for i in std::mem::take(&mut self.readable) {
            let Some(slot) = self.slots[i].as_mut() else {
                continue;
            };
            let before = slot.dropped;
            if slot.mode == Mode::Ping {
                slot.read_errors(arrivals);
            }
            while arrivals.len() < DRAIN && slot.read(&mut self.buffers, arrivals) {}
            self.dropped += u64::from(slot.dropped.wrapping_sub(before));
        }
    }

    fn slot_for_new(&mut self) -> Result<usize, Fault> {
        if let Some(i) = self.slots.iter().position(Option::is_none) {
            return Ok(i);
        }
        if self.slots.len() < SOCKETS {
            self.slots.push(None);
            return Ok(self.slots.len() - 1);
        }
        let idle = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(i, s)| s.as_ref().map(|s| (i, s)));
        let idle = idle
            .filter(|(_, s)| s.users == 0)
            .min_by_key(|(_, s)| s.used)
            .map(|(i, _)| i);
        let full = || format!("more than {SOCKETS} combinations of source, ttl and df are in use at once");
        let i = idle.ok_or_else(|| Fault::ours("ours.descriptors", full()))?;
        if let Some(old) = self.slots[i].take() {
            self.index.remove(&old.key);
        }
        Ok(i)
    }
}

impl Wire for Sockets {
    fn open(&mut self, version: Version, path: &Path) -> Result<usize, Fault> {
        self.turn += 1;
        let key = (version, path.clone());
        let i = if let Some(i) = self.index.get(&key) {
            *i
        } else {
            let slot = Slot::open(key.clone(), self.force)?;
            let i = self.slot_for_new()?;
            self.slots[i] = Some(slot);
            self.index.insert(key, i);
            i
        };
        if let Some(slot) = self.slots[i].as_mut() {
            slot.users += 1;
            slot.used = self.turn;
        }
        Ok(i)
    }

    fn release(&mut self, socket: usize) {
        if let Some(slot) = self.slots.get_mut(socket).and_then(Option::as_mut) {
            slot.users = slot.users.saturating_sub(1);
        }
    }

    fn send(
        &mut self,
        socket: usize,
        to: SocketAddr,
        (seq, cookie): (u16, u64),
        payload: usize,
    ) -> Result<(), SendError> {
        let Some(slot) = self.slots.get_mut(socket).and_then(Option::as_mut) else {
            return Err(SendError::Ours(Fault::ours(
                "ours.other",
                "the socket was closed",
            )));
        };
        self.packet
            .resize(icmp::HEADER_LEN + payload.max(icmp::COOKIE_LEN), 0);
        let request = EchoRequest {
            id: slot.id,
            seq,
            cookie,
        };
        let len = request.write(slot.key.0, payload, &mut self.packet);
        let len = len.map_err(|e| SendError::Ours(Fault::ours("ours.other", e.to_string())))?;
        let address = SockaddrStorage::from(to);
        let mut tries = 0;
        loop {
            let sent = socket::sendto(
                slot.socket.as_raw_fd(),
                &self.packet[..len],
                &address,
                MsgFlags::MSG_DONTWAIT,
            );
            let Err(errno) = sent else { return Ok(()) };
            tries += 1;
            // A ping socket gives the error of an earlier packet, to whatever host, to the next call.
            if errno == Errno::EINTR
                || slot.mode == Mode::Ping && tries <= 3 && slot.read_errors(&mut self.pending)
            {
                continue;
            }
            return Err(send_error(errno, to.ip(), payload));
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn send_error(errno: Errno, to: IpAddr, payload: usize) -> SendError {
    match errno {
        Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => SendError::Busy(Fault::ours(
            "ours.buffers",
            "the kernel has no memory left for the packet",
        )),
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EINVAL => SendError::Ours(
            Fault::ours("ours.no_route", format!("this machine has no route to {to}")),
        ),
        Errno::EACCES | Errno::EPERM => {
            let text = format!(
                "this machine does not permit packets to {to} (firewall, prohibit route or broadcast)"
            );
            SendError::Ours(Fault::ours("ours.permission", text))
        }
        Errno::EMSGSIZE => {
            let text =
                format!("a payload of {payload} bytes does not fit the interface and must not be fragmented");
            SendError::Ours(Fault::ours("ours.other", text))
        }
        other => SendError::Ours(fault_of(&other.into(), Moment::Call)),
    }
}

impl Slot {
    fn open(key: (Version, Path), force: Option<Mode>) -> Result<Self, Fault> {
        let open = |mode| create(key.0, mode);
        let (socket, mode) = match force {
            Some(mode) => (open(mode)?, mode),
            None => match open(Mode::Ping) {
                Ok(socket) => (socket, Mode::Ping),
                Err(fault) if fault.reason().code.as_str() != "ours.permission" => return Err(fault),
                Err(_) => (open(Mode::Raw)?, Mode::Raw),
            },
        };
        // Zero is what broken peers send; every other id is as good as the next.
        let id = (RandomState::new().hash_one(0) as u16).max(1);
        configure(&socket, &key, mode, id)?;
        Ok(Self {
            socket,
            key,
            mode,
            id,
            users: 0,
            used: 0,
            dropped: 0,
        })
    }

    /// Reads one batch; true when there may be more.
    fn read(&mut self, buffers: &mut [u8], arrivals: &mut Vec<Arrival>) -> bool {
        let mut slices: Vec<_> = buffers
            .chunks_mut(READ_LEN)
            .map(|b| [IoSliceMut::new(b)])
            .collect();
        // nix does not restore the lengths that the kernel wrote, so that headers serve for one call only.
        let mut headers =
            MultiHeaders::<SockaddrStorage>::preallocate(READ, Some(Vec::with_capacity(CONTROL_LEN)));
        let fd = self.socket.as_raw_fd();
        let Ok(messages) =
            socket::recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
        else {
            return false;
        };
        let (version, mode) = (self.key.0, self.mode);
        let mut count = 0;
        for message in messages {
            count += 1;
            let found = arrival(version, mode, &message, &mut self.dropped);
            arrivals.extend(found);
        }
        count == READ
    }

    /// Reads the queued ICMP errors of a ping socket; true when there was one.
    fn read_errors(&mut self, arrivals: &mut Vec<Arrival>) -> bool {
        let mut found = false;
        let mut bytes = [0; 256];
        let mut control = [0; 512];
        for _ in 0..DRAIN {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let fd = self.socket.as_raw_fd();
            let Ok(message) = socket::recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags)
            else {
                break;
            };
            found = true;
            arrivals.extend(queued_error(self.key.0, &message));
        }
        found
    }
}

fn create(version: Version, mode: Mode) -> Result<Socket, Fault> {
    let (domain, protocol) = match version {
        Version::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Version::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let ty = if mode == Mode::Ping {
        Type::DGRAM
    } else {
        Type::RAW
    };
    Socket::new(domain, ty.nonblocking(), Some(protocol)).map_err(|e| {
        match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EACCES | Errno::EPERM) => Fault::ours("ours.permission", NOT_PERMITTED),
            // A kernel without ping sockets for the family.
            Some(Errno::EPROTONOSUPPORT) if mode == Mode::Ping => {
                Fault::ours("ours.permission", NOT_PERMITTED)
            }
            _ => fault_of(&e, Moment::Call),
        }
    })
}

/// What a person can do about it.
const NOT_PERMITTED: &str = "this process may not send pings: let the sysctl net.ipv4.ping_group_range include its \
    group, or give it CAP_NET_RAW (setcap cap_net_raw+ep on the program, or AmbientCapabilities=CAP_NET_RAW in its \
    systemd unit)";

fn configure(socket: &Socket, key: &(Version, Path), mode: Mode, id: u16) -> Result<(), Fault> {
    let (version, path) = (key.0, &key.1);
    bind(socket, version, &path.source)?;
    let other = |e: io::Error| fault_of(&e, Moment::Call);
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN; otherwise what the system allows.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(other)?;
    }
    let options = || -> io::Result<()> {
        setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(socket, sockopt::RxqOvfl, &1)?;
        match version {
            Version::V4 => {
                let discover = if path.df {
                    libc::IP_PMTUDISC_PROBE
                } else {
                    libc::IP_PMTUDISC_DONT
                };
                setsockopt(socket, MtuDiscoverV4, &discover)?;
                path.ttl.map_or(Ok(()), |ttl| socket.set_ttl_v4(ttl.into()))?;
                setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
                setsockopt(socket, sockopt::Ipv4RecvErr, &(mode == Mode::Ping))?;
            }
            Version::V6 => {
                let discover = if path.df {
                    libc::IPV6_PMTUDISC_PROBE
                } else {
                    libc::IPV6_PMTUDISC_DONT
                };
                setsockopt(socket, MtuDiscoverV6, &discover)?;
                setsockopt(socket, sockopt::Ipv6DontFrag, &path.df)?;
                path.ttl
                    .map_or(Ok(()), |ttl| socket.set_unicast_hops_v6(ttl.into()))?;
                socket.set_recv_hoplimit_v6(true)?;
                setsockopt(socket, sockopt::Ipv6RecvErr, &(mode == Mode::Ping))?;
            }
        }
        if mode == Mode::Raw {
            socket.attach_filter(&filter(version, id))?;
        }
        Ok(())
    };
    options().map_err(other)
}

fn bind(socket: &Socket, version: Version, source: &Source) -> Result<(), Fault> {
    match source {
        Source::Any => Ok(()),
        Source::Address(address) => {
            if address.is_ipv4() != (version == Version::V4) {
                let text = format!("the source {address} is not of the address family of the target");
                return Err(Fault::ours("ours.source", text));
            }
            socket.bind(&SocketAddr::new(*address, 0).into()).map_err(|e| {
                Fault::ours(
                    "ours.source",
                    format!(
                        "the source {address} cannot be used on this machine: {}",
                        words(&e)
                    ),
                )
            })
        }
        Source::Interface(name) => socket.bind_device(Some(name.as_bytes())).map_err(|e| {
            Fault::ours(
                "ours.source",
                format!("the interface {name} cannot be used: {}", words(&e)),
            )
        }),
    }
}

fn words(error: &io::Error) -> &'static str {
    error
        .raw_os_error()
        .map_or("unknown error", |code| Errno::from_raw(code).desc())
}

/// Lets through replies to our id, and errors that quote a request with it (classic BPF; quotes of our requests have
/// no IP options). A raw IPv4 socket sees the IP header first, an IPv6 one begins with ICMP.
fn filter(version: Version, id: u16) -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE_X: u16 = 0x50;
    const LOAD_HALF_X: u16 = 0x48;
    const HEADER_LEN_TO_X: u16 = 0xb1;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    let equal = |k, yes, no| SockFilter::new(JUMP_EQUAL, yes, no, k);
    let id = u32::from(id);
    let (types, byte, half, quoted) = match version {
        Version::V4 => ([0, 3, 11, 12, 12], LOAD_BYTE_X, LOAD_HALF_X, 8 + 20 + 4),
        Version::V6 => ([129, 1, 2, 3, 4], LOAD_BYTE, LOAD_HALF, 8 + 40 + 4),
    };
    vec![
        // Harmless for IPv6: X is not used there.
        op(HEADER_LEN_TO_X, 0),
        op(byte, 0),
        equal(types[0], 5, 0),
        equal(types[1], 6, 0),
        equal(types[2], 5, 0),
        equal(types[3], 4, 0),
        equal(types[4], 3, 0),
        op(RETURN, 0),
        op(half, 4),
        equal(id, 3, 2),
        op(half, quoted),
        equal(id, 1, 0),
        op(RETURN, 0),
        op(RETURN, u32::MAX),
    ]
}
