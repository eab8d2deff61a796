//! The server on loopback, both protocols, both families.

use std::time::{Instant, SystemTime};

use lapwing_core::time::{Mono, Now, Wall};
use lapwing_wire::echo::{Datagram, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::*;

const FAMILIES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];
const LONG: Duration = Duration::from_secs(5);

struct Machine(Instant);

impl Machine {
    #[expect(clippy::disallowed_methods, reason = "the test needs a clock that moves")]
    fn clock() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Machine {
    #[expect(clippy::disallowed_methods, reason = "the test needs a clock that moves")]
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Now {
            wall: Wall(wall.as_micros() as i64),
            mono: Mono(self.0.elapsed().as_micros() as u64),
        }
    }
}

struct Running {
    address: SocketAddr,
    counters: Arc<EchoCounters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn start(listen: &str, change: impl FnOnce(&mut EchoSettings)) -> Running {
    let mut settings = EchoSettings::new(listen.parse().unwrap());
    change(&mut settings);
    let server = EchoServer::bind(settings, Machine::clock()).unwrap();
    let (address, counters) = (server.address(), server.counters());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(async move {
        let _ = stopped.await;
    }));
    Running {
        address,
        counters,
        stop,
        task,
    }
}

impl Running {
    fn counted(&self, name: &str) -> u64 {
        self.counters
            .all()
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
            .unwrap()
    }

    /// Waits until these counters have these values: an answer is counted a moment after it was sent.
    async fn wait_counted(&self, expected: &[(&str, u64)]) {
        let all_counted = async {
            while expected.iter().any(|(name, value)| self.counted(name) != *value) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let come = timeout(LONG, all_counted).await;
        assert!(
            come.is_ok(),
            "expected {expected:?}, got {:?}",
            self.counters.all()
        );
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(LONG, self.task).await.expect("it stops").unwrap();
    }
}

async fn client(to: SocketAddr) -> UdpSocket {
    let from: SocketAddr = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }
        .parse()
        .unwrap();
    let socket = UdpSocket::bind(from).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn ask(socket: &UdpSocket, bytes: &[u8]) -> Vec<u8> {
    socket.send(bytes).await.unwrap();
    let mut buffer = vec![0; 65_536];
    let len = timeout(LONG, socket.recv(&mut buffer))
        .await
        .expect("an answer")
        .unwrap();
    buffer.truncate(len);
    buffer
}

fn request(seq: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Request {
        cookie: 5,
        seq,
        sent: 6,
    }
    .write(&mut bytes)
    .unwrap();
    bytes
}

#[tokio::test]
async fn datagrams_come_back() {
    for family in FAMILIES {
        let server = start(family, |_| {});
        let socket = client(server.address).await;
        for (seq, len) in [(0, 40), (1, 1400), (2, 60_000)] {
            let reply = ask(&socket, &request(seq, len)).await;
            assert_eq!(reply.len(), len);
            let Ok(Datagram::Reply(echoed, stamp)) = Datagram::parse(&reply) else {
                panic!("{family}")
            };
            assert_eq!((echoed.seq, stamp.received), (seq, seq + 1));
            assert!(stamp.at > 1_700_000_000_000_000);
        }
        assert_eq!(ask(&socket, b"plain").await, b"plain");
        assert_eq!(ask(&socket, b"").await, b"");
        // A reply of ours is dropped: the next answer is that to the datagram after it.
        let reply = ask(&socket, &request(3, 64)).await;
        socket.send(&reply).await.unwrap();
        assert_eq!(ask(&socket, b"after").await, b"after");
        server.wait_counted(&[("answered", 7), ("not_requests", 1)]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_burst_comes_back_datagram_by_datagram() {
    for listen in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        // What has come before it is served is answered at once: as one, where datagrams are of the same length.
        let server = EchoServer::bind(EchoSettings::new(listen.parse().unwrap()), Machine::clock()).unwrap();
        let (mut address, counters) = (server.address(), server.counters());
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::new(127, 9, 8, 7).into());
        }
        let lengths: Vec<usize> = [vec![64; 40], vec![1232; 3], vec![2000; 3], vec![64]].concat();
        let clients = [client(address).await, client(address).await];
        for (seq, len) in lengths.iter().enumerate() {
            clients[0].send(&request(seq as u32, *len)).await.unwrap();
        }
        for seq in 0..10 {
            clients[1].send(&request(seq, 64)).await.unwrap();
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        let server = Running {
            address,
            counters,
            stop,
            task,
        };
        for (client, lengths) in [(&clients[0], &lengths[..]), (&clients[1], &[64; 10])] {
            let mut buffer = vec![0; 65_536];
            for (seq, len) in lengths.iter().enumerate() {
                let got = timeout(LONG, client.recv(&mut buffer))
                    .await
                    .expect("an answer")
                    .unwrap();
                assert_eq!(got, *len, "{listen} {seq}");
                let Ok(Datagram::Reply(echoed, stamp)) = Datagram::parse(&buffer[..got]) else {
                    panic!("{listen} {seq}")
                };
                assert_eq!((echoed.seq, stamp.received), (seq as u32, seq as u32 + 1));
            }
        }
        server.wait_counted(&[("answered", 57), ("send_errors", 0)]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn answers_come_from_the_address_that_was_asked() {
    let server = start("0.0.0.0:0", |_| {});
    for asked in ["127.0.0.1", "127.5.6.7"] {
        let socket = client(SocketAddr::new(asked.parse().unwrap(), server.address.port())).await;
        assert_eq!(
            ask(&socket, b"who").await,
            b"who",
            "a connected socket takes no other source"
        );
    }
    server.stop().await;
    let both = start("[::]:0", |_| {});
    for asked in ["127.5.6.7", "::1"] {
        let socket = client(SocketAddr::new(asked.parse().unwrap(), both.address.port())).await;
        assert_eq!(ask(&socket, b"who").await, b"who", "{asked}");
    }
    both.stop().await;
}

#[tokio::test]
async fn broadcasts_are_not_answered() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let server = start(listen, |_| {});
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.set_broadcast(true).unwrap();
        let port = server.address.port();
        // The broadcast address of 127.0.0.0/8 stays on loopback.
        socket.send_to(b"all", ("127.255.255.255", port)).await.unwrap();
        socket.send_to(b"one", ("127.0.0.1", port)).await.unwrap();
        let mut buffer = [0; 16];
        let (len, _) = timeout(LONG, socket.recv_from(&mut buffer))
            .await
            .expect("an answer")
            .unwrap();
        assert_eq!(&buffer[..len], b"one", "{listen}");
        // What was sent to the broadcast address of a subnet comes to [::] without a sign of it, and cannot be answered.
        let refused = if listen.starts_with('[') {
            "send_errors"
        } else {
            "not_to_us"
        };
        server.wait_counted(&[("answered", 1), (refused, 1)]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_flood_is_limited() {
    // A token in a second: the test is over before another comes, or at most one has come.
    let server = start("127.0.0.1:0", |settings| settings.per_source = 1);
    let socket = client(server.address).await;
    let mut refusals = Refusals::default();
    assert_eq!(refusals.news(&server.counters), None);
    ask(&socket, &request(0, 64)).await;
    for seq in 1..=200 {
        socket.send(&request(seq, 64)).await.unwrap();
    }
    let all_seen = async {
        while server.counted("answered") + server.counted("limited") < 201 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, all_seen).await.expect("all are counted");
    let limited = server.counted("limited");
    assert!(limited >= 195, "{limited}");
    assert_eq!(
        refusals.news(&server.counters),
        Some(format!("{limited} beyond the rate limits"))
    );
    assert_eq!(refusals.news(&server.counters), None, "told once");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_ends() {
    let server = start("127.0.0.1:0", |_| {});
    let socket = client(server.address).await;
    ask(&socket, b"there").await;
    server.task.abort();
    assert!(server.task.await.unwrap_err().is_cancelled());
    // Its thread gives the port back.
    let free = async {
        while UdpSocket::bind(server.address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, free).await.expect("the port is free again");
}

#[tokio::test]
async fn streams_come_back() {
    for family in FAMILIES {
        let server = start(family, |_| {});
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        let (mut reader, mut writer) = stream.split();
        let mut back = vec![0; sent.len()];
        let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
        written.unwrap();
        read.unwrap();
        assert!(back == sent);
        writer.shutdown().await.unwrap();
        assert_eq!(
            timeout(LONG, reader.read(&mut back)).await.unwrap().unwrap(),
            0,
            "closed after us"
        );
        assert_eq!(server.counted("stream_bytes"), 300_000);
        server.stop().await;
    }
}

#[tokio::test]
async fn too_many_and_idle_streams_are_closed() {
    let server = start("127.0.0.1:0", |settings| {
        settings.connections = 1;
        settings.idle = Duration::from_millis(200);
    });
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"x").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(
        timeout(LONG, second.read(&mut byte)).await.unwrap().unwrap_or(0),
        0,
        "refused"
    );
    assert_eq!(
        timeout(LONG, first.read(&mut byte)).await.unwrap().unwrap(),
        0,
        "idle"
    );
    assert_eq!(
        (
            server.counted("connections"),
            server.counted("connections_refused")
        ),
        (1, 1)
    );
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(b"y").await.unwrap();
    timeout(LONG, third.read_exact(&mut byte)).await.unwrap().unwrap();
    server.stop().await;
    assert_eq!(
        timeout(LONG, third.read(&mut byte)).await.unwrap().unwrap_or(0),
        0,
        "closed by the stop"
    );
}

#[tokio::test]
async fn a_port_in_use_is_one_sentence() {
    let server = start("127.0.0.1:0", |_| {});
    let error = EchoServer::bind(EchoSettings::new(server.address), Machine::clock())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("the echo server cannot listen on TCP 127.0.0.1:"),
        "{error}"
    );
    let udp_only = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = EchoSettings::new(udp_only.local_addr().unwrap());
    let error = EchoServer::bind(taken, Machine::clock())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("the echo server cannot listen on UDP 127.0.0.1:"),
        "{error}"
    );
    server.stop().await;
}
