//! The echo server of `[echo]` and `lapwing echo serve`: UDP and TCP on one address.
//!
//! Invariant: a datagram is answered with at most its own length, and a reply is never answered. Sources are limited
//! each and together; the tables that this needs are bounded.

mod sessions;
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
use tokio::net::TcpListener;

/// Tries to find a port that is free for both UDP and TCP, when the port is left to the system.
const PORT_TRIES: usize = 16;

/// What the echo server may do.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub const PER_SOURCE: u32 = 2_000;
    pub const IN_ALL: u32 = 100_000;
    pub const CONNECTIONS: usize = 256;
    pub const IDLE: Duration = Duration::from_mins(1);

    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            plain: Plain::default(),
            per_source: Self::PER_SOURCE,
            in_all: Self::IN_ALL,
            connections: Self::CONNECTIONS,
            idle: Self::IDLE,
        }
    }
}

/// Whether datagrams without Lapwing's mark are answered (RFC 862). They have no direction bit, so that a forged source
/// could make two servers talk to each other (CERT VU#417980).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    Refused,
    /// One a second to each source, after ten at once: enough for a person's test, too little for a loop to live on.
    #[default]
    Guarded,
    /// Like marked ones, and both also to the ports where servers listen that answer anything. For closed networks.
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
    /// Plain datagrams where these are refused.
    pub plain_refused: AtomicU64,
    /// Datagrams from ports where servers listen that answer anything: below 1024, 1900, 5353, 7007, 11211, this
    /// server's own, and 0.
    pub partners_refused: AtomicU64,
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
    pub fn all(&self) -> [(&'static str, u64); 10] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("answered", get(&self.answered)),
            ("not_requests", get(&self.not_requests)),
            ("plain_refused", get(&self.plain_refused)),
            ("partners_refused", get(&self.partners_refused)),
            ("not_to_us", get(&self.not_to_us)),
            ("limited", get(&self.limited)),
            ("send_errors", get(&self.send_errors)),
            ("connections", get(&self.connections)),
            ("connections_refused", get(&self.connections_refused)),
            ("stream_bytes", get(&self.stream_bytes)),
        ]
    }
}

/// The counters of what was not done, and what their numbers are numbers of.
const REFUSALS: [(&str, &str); 7] = [
    ("limited", "beyond the rate limits"),
    ("not_requests", "that are no requests"),
    ("plain_refused", "without Lapwing's mark"),
    ("partners_refused", "from ports where other servers answer"),
    ("not_to_us", "to a broadcast or multicast address"),
    ("send_errors", "whose answer could not be sent"),
    ("connections_refused", "connections too many"),
];

/// What was refused, told once.
#[derive(Debug, Default)]
pub struct Refusals([u64; REFUSALS.len()]);

impl Refusals {
    /// What was refused since the last call, by reason: "12 beyond the rate limits, 3 that are no requests".
    pub fn news(&mut self, counters: &EchoCounters) -> Option<String> {
        let all = counters.all();
        let mut news = Vec::new();
        for (told, (name, text)) in self.0.iter_mut().zip(REFUSALS) {
            let so_far = all
                .iter()
                .find(|(n, _)| *n == name)
                .map_or(0, |(_, value)| *value);
            if so_far > *told {
                news.push(format!("{} {text}", so_far - *told));
            }
            *told = so_far;
        }
        (!news.is_empty()).then(|| news.join(", "))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A server that listens, and answers once it is [served](EchoServer::serve).
pub struct EchoServer {
    udp: udp::Door,
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
            match udp::Door::bind(address) {
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

    /// Answers until `stop` is ready; then closes the sockets and every connection. Dropping the future does, too.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let door = Arc::new(self.udp);
        let _closing = Closing(Arc::clone(&door));
        let port = self.address.port();
        let (settings, clock, counters) = (self.settings.clone(), self.clock, Arc::clone(&self.counters));
        let served = Arc::clone(&door);
        // A thread of its own: it sleeps in the kernel, not in the runtime, and a flood takes nothing from others.
        let mut datagrams =
            tokio::task::spawn_blocking(move || udp::serve(&served, port, &settings, &*clock, &counters));
        tokio::select! {
            () = stop => {}
            () = tcp::serve(&self.tcp, &self.settings, &self.counters) => {}
            // It ends before it is told to only by a bug.
            _ = &mut datagrams => return,
        }
        door.close();
        drop(datagrams.await);
    }
}

/// Ends the thread when the server is dropped.
struct Closing(Arc<udp::Door>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests;
