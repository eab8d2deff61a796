//! How Lapwing reaches out: resolver, the one connect gate, TLS configurations, HTTP client with phase stamps.
//!
//! Invariant: an error returned by the call itself before a packet left is ours ([`Fault::Ours`]); one that arrives
//! later on the socket is the target's ([`Fault::Target`]).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lapwing_core::{
    monitor::{Family, Source},
    observation::Fault,
    target::Host,
    time::Clock,
};
use tokio::net::{TcpStream, UdpSocket};

/// The way to the network, shared by all probes and notifiers. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    clock: Arc<dyn Clock>,
}

impl Net {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The addresses of `host` of `family`, first the one to be preferred. Never empty when `Ok`.
    pub async fn resolve(&self, host: &Host, family: Family) -> Result<Vec<IpAddr>, Fault> {
        let _ = (host, family);
        Err(Fault::ours("ours.other", "not built yet"))
    }

    /// `addr` and `port` as a socket address, with the scope of `host`'s zone (`fe80::1%eth0`).
    pub fn socket_address(&self, addr: IpAddr, host: &Host, port: u16) -> SocketAddr {
        let _ = host;
        SocketAddr::new(addr, port)
    }

    /// Opens a TCP connection. Bounded by the caller's deadline.
    pub async fn connect(&self, addr: SocketAddr, source: &Source) -> Result<TcpStream, Fault> {
        let _ = (addr, source);
        Err(Fault::ours("ours.other", "not built yet"))
    }

    /// A UDP socket connected to `addr`, so that ICMP errors arrive on it.
    pub fn udp(&self, addr: SocketAddr, source: &Source) -> Result<UdpSocket, Fault> {
        let _ = (addr, source);
        Err(Fault::ours("ours.other", "not built yet"))
    }
}
