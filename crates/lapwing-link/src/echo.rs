//! The echo server of `[echo]` and `lapwing echo serve`: UDP and TCP on one address.
//!
//! Invariant: a datagram is answered with at most its own length, and a reply is never answered. Sources are limited
//! each and together; the tables that this needs are bounded.

mod limit;
mod tcp;
mod udp;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapwing_core::time::Clock;
use tokio::net::{TcpListener, UdpSocket};

/// Tries to find a port that is free for both UDP and TCP, when the port is left to the system.
const PORT_TRIES: usize = 16;

/// What the echo server may do.
#[derive(Clone, Debug)]
pub struct EchoSettings {
    /// Port 0: any that is free for both.
    pub listen: SocketAddr,
    pub plain: Plain,
    /// Datagrams answered each second, from one source (an IPv4 address or an IPv6 /64).
    pub per_source: u32,
    /// Datagrams answered each second, in all.
    pub in_all: u32,
    /// TCP connections at once; further ones are closed at once.
    pub connections: usize,
    /// A TCP connection without a byte for so long is closed.
    pub idle: Duration,
}

impl EchoSettings {
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            plain: Plain::default(),
            per_source: 2_000,
            in_all: 100_000,
            connections: 256,
            idle: Duration::from_mins(1),
        }
    }
}

/// Whether datagrams without Lapwing's mark are answered (RFC 862). They have no direction bit, so that a forged source
/// could make two servers talk to each other (CERT VU#417980).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    Refused,
    /// Not to ports where servers listen that answer anything: below 1024, 1900, 5353, 11211, and this server's own.
    #[default]
    Guarded,
    /// To every port. For closed networks.
    Allowed,
}

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    #[error("the echo server cannot listen on {protocol} {address}: {source}")]
    Listen {
        protocol: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
}

/// What the server did so far.
#[derive(Debug, Default)]
pub struct EchoCounters {
    pub answered: AtomicU64,
    /// Datagrams that were replies already, or marked and malformed.
    pub not_requests: AtomicU64,
    /// Plain datagrams refused for their source port, or altogether.
    pub plain_refused: AtomicU64,
    /// Datagrams to a multicast or broadcast address.
    pub not_to_us: AtomicU64,
    /// Datagrams beyond a rate limit.
    pub limited: AtomicU64,
    /// Answers that the system did not send.
    pub send_errors: AtomicU64,
    pub connections: AtomicU64,
    /// Connections closed at once because there were too many.
    pub connections_refused: AtomicU64,
    pub stream_bytes: AtomicU64,
}

impl EchoCounters {
    /// Names and values, for metrics.
    pub fn all(&self) -> [(&'static str, u64); 9] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("answered", get(&self.answered)),
            ("not_requests", get(&self.not_requests)),
            ("plain_refused", get(&self.plain_refused)),
            ("not_to_us", get(&self.not_to_us)),
            ("limited", get(&self.limited)),
            ("send_errors", get(&self.send_errors)),
            ("connections", get(&self.connections)),
            ("connections_refused", get(&self.connections_refused)),
            ("stream_bytes", get(&self.stream_bytes)),
        ]
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A server that listens, and answers once it is [served](EchoServer::serve).
pub struct EchoServer {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
    settings: EchoSettings,
    clock: Arc<dyn Clock>,
    counters: Arc<EchoCounters>,
}

impl EchoServer {
    /// Binds UDP and TCP to the same address and port. Needs a tokio runtime.
    pub fn bind(settings: EchoSettings, clock: Arc<dyn Clock>) -> Result<Self, EchoError> {
        let mut tries = if settings.listen.port() == 0 {
            PORT_TRIES
        } else {
            1
        };
        loop {
            let (tcp, address) = tcp::listen(settings.listen).map_err(|source| EchoError::Listen {
                protocol: "TCP",
                address: settings.listen,
                source,
            })?;
            tries -= 1;
            match udp::bind(address) {
                Ok(udp) => {
                    let counters = Arc::default();
                    return Ok(Self {
                        udp,
                        tcp,
                        address,
                        settings,
                        clock,
                        counters,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                Err(source) => {
                    return Err(EchoError::Listen {
                        protocol: "UDP",
                        address,
                        source,
                    });
                }
            }
        }
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn counters(&self) -> Arc<EchoCounters> {
        Arc::clone(&self.counters)
    }

    /// Answers until `stop` is ready; then closes the sockets and every connection.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let datagrams = udp::serve(
            &self.udp,
            self.address.port(),
            &self.settings,
            &*self.clock,
            &self.counters,
        );
        let streams = tcp::serve(&self.tcp, &self.settings, &self.counters);
        tokio::select! {
            () = stop => {}
            () = datagrams => {}
            () = streams => {}
        }
    }
}

#[cfg(test)]
mod tests;
