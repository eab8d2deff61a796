//! The other side of the TCP checks: accepts and closes, on every address of this machine. Sends nothing.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listener with a thread of its own, for as long as this program runs.
pub(crate) struct Sink {
    pub(crate) port: u16,
    accepted: Arc<AtomicU64>,
}

impl Sink {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        socket.listen(BACKLOG).context("no port can be listened on")?;
        let listener = TcpListener::from(socket);
        let port = listener.local_addr()?.port();
        let accepted = Arc::<AtomicU64>::default();
        let count = Arc::clone(&accepted);
        std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || {
                loop {
                    // A connection that was reset while it waited is one that was made.
                    drop(listener.accept());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })?;
        Ok(Self { port, accepted })
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}
