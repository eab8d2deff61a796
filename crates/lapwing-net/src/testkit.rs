//! What the tests of this crate share: a clock, a network, peers that follow a script, and ports where nobody listens.

pub(crate) mod certs;
pub(crate) mod dns;
pub(crate) mod peer;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lapwing_core::{
    observation::Fault,
    time::{Clock, Mono, Now, Wall},
};

use socket2::{Domain, Socket, Type};

use crate::Net;

/// A clock that tests move; it stands at 2026-11-20T00:00:00Z at first.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) const START: Wall = Wall(1_795_132_800_000_000);

    pub(crate) fn advance(&self, by: std::time::Duration) {
        self.0.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Now {
        let passed = self.0.load(Ordering::SeqCst);
        Now {
            wall: Wall(Self::START.0 + passed as i64),
            mono: Mono(1_000_000 + passed),
        }
    }
}

pub(crate) fn net() -> Net {
    Net::new(Arc::new(Hand::default()))
}

pub(crate) fn code(fault: &Fault) -> &str {
    fault.reason().code.as_str()
}

/// A port of this machine that nobody else gets and nobody listens on.
pub(crate) struct ClosedPort {
    pub(crate) addr: SocketAddr,
    _held: Socket,
}

impl ClosedPort {
    /// Bound, but not listening: connects are reset.
    pub(crate) fn tcp(local: &str) -> Self {
        let local: SocketAddr = local.parse().unwrap();
        let held = Socket::new(Domain::for_address(local), Type::STREAM, None).unwrap();
        held.bind(&local.into()).unwrap();
        Self {
            addr: held.local_addr().unwrap().as_socket().unwrap(),
            _held: held,
        }
    }

    /// Connected to a stranger: datagrams of anybody else are answered by ICMP.
    pub(crate) fn udp(local: &str) -> Self {
        let local: SocketAddr = local.parse().unwrap();
        let held = Socket::new(Domain::for_address(local), Type::DGRAM, None).unwrap();
        held.bind(&local.into()).unwrap();
        held.connect(&SocketAddr::new(local.ip(), 1).into()).unwrap();
        Self {
            addr: held.local_addr().unwrap().as_socket().unwrap(),
            _held: held,
        }
    }
}
