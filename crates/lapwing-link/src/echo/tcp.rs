//! The TCP half of the echo server: every byte comes back (RFC 862), from a bounded buffer.

use std::{io, net::SocketAddr, sync::Arc, sync::atomic::Ordering, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{EchoCounters, EchoSettings, count};

/// Bytes kept of each connection.
const BUFFER: usize = 16 * 1024;
const BACKLOG: i32 = 128;
/// After an accept that failed, for want of descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Accepts connections; never ends. Dropping the future closes them all.
pub(super) async fn serve(listener: &TcpListener, settings: &EchoSettings, counters: &Arc<EchoCounters>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        if connections.len() >= settings.connections {
            count(&counters.connections_refused);
            continue;
        }
        count(&counters.connections);
        let (idle, counters) = (settings.idle, Arc::clone(counters));
        connections.spawn(async move { echo(stream, idle, &counters).await });
    }
}

/// Sends back what comes, until the peer closes, nothing moves for `idle`, or an error: nobody waits for one here.
async fn echo(mut stream: TcpStream, idle: Duration, counters: &EchoCounters) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(Ok(len @ 1..)) = timeout(idle, stream.read(&mut buffer)).await else {
            return;
        };
        let Ok(Ok(())) = timeout(idle, stream.write_all(&buffer[..len])).await else {
            return;
        };
        counters.stream_bytes.fetch_add(len as u64, Ordering::Relaxed);
    }
}
