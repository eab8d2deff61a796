//! Peers that do what their script says, whatever the other end wants.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapwing_core::monitor::Family;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinHandle,
};

use super::{certificates::Certified, loopback};

/// What a scripted peer does next. At the end of the script it closes as [`Step::Close`] does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes one at a time, again and again, with pauses.
    Drip(Vec<u8>),
    /// Sends these bytes again and again, as fast as they are taken.
    Flood(Vec<u8>),
    /// Reads until these bytes have come.
    Await(Vec<u8>),
    /// Keeps the connection open and silent until the other end closes.
    Hold,
    /// Closes the sending direction (FIN, after a TLS close alert), then reads to the end.
    Close,
    /// Resets the connection (RST).
    Reset,
}

impl Step {
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }

    pub fn until(bytes: impl AsRef<[u8]>) -> Self {
        Self::Await(bytes.as_ref().to_vec())
    }
}

/// How the other end left a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

#[derive(Default)]
struct Seen {
    bytes: Mutex<Vec<u8>>,
    connections: Mutex<usize>,
    end: watch::Sender<Option<End>>,
}

/// A scripted TCP or TLS peer. It listens as long as it lives.
pub struct Peer {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Peer {
    /// A TCP peer that runs `script` with every connection.
    pub async fn tcp(family: Family, script: impl Into<Vec<Step>>) -> Self {
        Self::start(family, None, vec![script.into()]).await
    }

    /// A TCP peer that runs the first script with its first connection, and so on; the last one serves all others.
    pub async fn turns(family: Family, scripts: Vec<Vec<Step>>) -> Self {
        Self::start(family, None, scripts).await
    }

    /// A TLS peer with `certified`, speaking `alpn`, that runs `script` within every connection.
    pub async fn tls(
        family: Family,
        certified: &Certified,
        alpn: &[&str],
        script: impl Into<Vec<Step>>,
    ) -> Self {
        Self::start(family, Some(certified.acceptor(alpn, None)), vec![script.into()]).await
    }

    /// As [`Peer::tls`], with an acceptor of the caller's.
    pub async fn accepting(
        family: Family,
        acceptor: tokio_rustls::TlsAcceptor,
        script: impl Into<Vec<Step>>,
    ) -> Self {
        Self::start(family, Some(acceptor), vec![script.into()]).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `scheme://address`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// All bytes that came so far, on all connections (inside TLS: decrypted).
    pub fn received(&self) -> Vec<u8> {
        lock(&self.seen.bytes).clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        *lock(&self.seen.connections)
    }

    /// Waits until the other end has left a connection, and says how.
    pub async fn ended(&self) -> End {
        let mut end = self.seen.end.subscribe();
        let end = end.wait_for(Option::is_some).await.map(|end| *end);
        end.ok().flatten().expect("the sender lives in self")
    }

    async fn start(
        family: Family,
        acceptor: Option<tokio_rustls::TlsAcceptor>,
        scripts: Vec<Vec<Step>>,
    ) -> Self {
        let listener = TcpListener::bind(loopback(family))
            .await
            .expect("loopback is there");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(listener, acceptor, scripts, Arc::clone(&seen)));
        Self { address, seen, task }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    scripts: Vec<Vec<Step>>,
    seen: Arc<Seen>,
) {
    let mut connections = tokio::task::JoinSet::new();
    for turn in 0.. {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        *lock(&seen.connections) += 1;
        let script = scripts.get(turn).or(scripts.last()).cloned().unwrap_or_default();
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            let end = match acceptor {
                None => play(stream, &script, &seen).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => play(stream, &script, &seen).await,
                    Err(error) => end_of(&error),
                },
            };
            seen.end.send_replace(Some(end));
        });
    }
}

/// A connection that can be reset, with TLS or without.
trait Line: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Line for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Line for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// One connection: the line, what came on it, and how much of that the script has used up.
struct Played<'a, L> {
    line: L,
    heard: Vec<u8>,
    used: usize,
    seen: &'a Seen,
}

async fn play(line: impl Line, script: &[Step], seen: &Seen) -> End {
    let mut played = Played {
        line,
        heard: Vec::new(),
        used: 0,
        seen,
    };
    for step in script.iter().chain([&Step::Close]) {
        match played.step(step).await {
            Ok(()) if matches!(step, Step::Reset | Step::Close) => return End::Fin,
            Ok(()) => {}
            Err(error) => return end_of(&error),
        }
    }
    End::Fin
}

fn end_of(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
        _ => End::Fin,
    }
}

impl<L: Line> Played<'_, L> {
    async fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Send(bytes) => {
                self.line.write_all(bytes).await?;
                self.line.flush().await
            }
            Step::Drip(bytes) => loop {
                for byte in bytes {
                    self.line.write_all(&[*byte]).await?;
                    self.line.flush().await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            },
            Step::Flood(bytes) => loop {
                self.line.write_all(bytes).await?;
            },
            Step::Await(wanted) => self.hear(wanted).await,
            Step::Hold => {
                while self.receive().await? > 0 {}
                Err(ErrorKind::UnexpectedEof.into())
            }
            Step::Close => {
                self.line.shutdown().await?;
                while self.receive().await? > 0 {}
                Ok(())
            }
            Step::Reset => socket2::SockRef::from(self.line.tcp()).set_linger(Some(Duration::ZERO)),
        }
    }

    async fn hear(&mut self, wanted: &[u8]) -> io::Result<()> {
        loop {
            let found = self.heard[self.used..]
                .windows(wanted.len())
                .position(|w| w == wanted);
            if let Some(at) = found {
                self.used += at + wanted.len();
                return Ok(());
            }
            if self.receive().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let count = self.line.read(&mut buffer).await?;
        self.heard.extend_from_slice(&buffer[..count]);
        lock(&self.seen.bytes).extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// A UDP peer that answers each datagram with the datagrams that its script makes of it.
pub struct Datagrams {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Datagrams {
    pub async fn answer<F>(family: Family, mut script: F) -> Self
    where
        F: FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    {
        let socket = UdpSocket::bind(loopback(family))
            .await
            .expect("loopback is there");
        let address = socket.local_addr().expect("a bound socket has an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
                lock(&seen).push(buffer[..count].to_vec());
                for datagram in script(&buffer[..count]) {
                    // A prober that left already answers with ICMP errors; the script goes on.
                    drop(socket.send_to(&datagram, from).await);
                }
            }
        });
        Self {
            address,
            received,
            task,
        }
    }

    /// A peer that takes datagrams and never answers.
    pub async fn silent(family: Family) -> Self {
        Self::answer(family, |_| Vec::new()).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `scheme://address`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// All datagrams that came so far.
    pub fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.received).clone()
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A TCP and UDP port where nothing answers: connecting is refused, datagrams come back as ICMP port unreachable.
///
/// The port stays taken (bound, never listening; a UDP socket connected elsewhere), so that no other test gets it.
pub struct Closed {
    address: SocketAddr,
    _sockets: [socket2::Socket; 2],
}

impl Closed {
    pub fn new(family: Family) -> Self {
        use socket2::{Domain, Socket, Type};
        let start = loopback(family);
        for _ in 0..100 {
            let tcp = Socket::new(Domain::for_address(start), Type::STREAM, None).expect("a socket");
            tcp.bind(&start.into()).expect("loopback is there");
            let address = tcp
                .local_addr()
                .ok()
                .and_then(|a| a.as_socket())
                .expect("a bound socket has an address");
            let udp = Socket::new(Domain::for_address(start), Type::DGRAM, None).expect("a socket");
            if udp.bind(&address.into()).is_ok() {
                udp.connect(&address.into())
                    .expect("connecting a UDP socket sends nothing");
                return Self {
                    address,
                    _sockets: [tcp, udp],
                };
            }
        }
        panic!("no port is free for TCP and UDP");
    }

    /// `scheme://address`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}

/// A TCP port that listens but takes no connection: its queue is full, so that the kernel drops every SYN.
pub struct Full {
    address: SocketAddr,
    _sockets: Vec<socket2::Socket>,
}

impl Full {
    pub fn new(family: Family) -> Self {
        use socket2::{Domain, Socket, Type};
        let start = loopback(family);
        let stream = || Socket::new(Domain::for_address(start), Type::STREAM, None).expect("a socket");
        let listener = stream();
        listener.bind(&start.into()).expect("loopback is there");
        listener.listen(0).expect("a bound socket listens");
        let address = listener
            .local_addr()
            .ok()
            .and_then(|a| a.as_socket())
            .expect("a bound socket has an address");
        let mut sockets = vec![listener];
        loop {
            let filler = stream();
            let taken = filler
                .connect_timeout(&address.into(), Duration::from_millis(100))
                .is_ok();
            if !taken {
                return Self {
                    address,
                    _sockets: sockets,
                };
            }
            sockets.push(filler);
        }
    }

    /// `scheme://address`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
