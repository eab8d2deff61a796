//! Small services that answer as they are told: HTTPS, DNS and NTP, each in a thread that ends with the test program.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use lapwing_wire::ntp::{self, Leap, Packet, Short, mode};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{certificates::Authority, peers::own_address};

/// A value that a service answers with; None for silence.
pub(crate) type Said<T> = Arc<Mutex<Option<T>>>;

fn said<T: Copy>(said: &Said<T>) -> Option<T> {
    *said.lock().unwrap()
}

/// A service, and what it says from now on.
pub(crate) struct Service<T> {
    pub(crate) address: SocketAddr,
    said: Said<T>,
}

impl<T: Copy> Service<T> {
    pub(crate) fn say(&self, word: T) {
        *self.said.lock().unwrap() = Some(word);
    }

    pub(crate) fn fall_silent(&self) {
        *self.said.lock().unwrap() = None;
    }
}

/// The time of the wall clock, which the daemon reads, too.
#[expect(
    clippy::disallowed_methods,
    reason = "a certificate is valid now, and an NTP server tells the time"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// HTTPS with a certificate of `authority` for its address; says a status.
pub(crate) fn https(authority: &Authority) -> Service<u16> {
    let ip = own_address();
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let certificate = authority.issue(now(), &[&ip.to_string()], (-1, 90));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(authority.key().serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let (config, status) = (Arc::new(config), Said::<u16>::default());
    let service = Service {
        address: listener.local_addr().unwrap(),
        said: Arc::clone(&status),
    };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, status) = (Arc::clone(&config), Arc::clone(&status));
            thread::spawn(move || drop(answer_https(stream, config, &status)));
        }
    });
    service.say(200);
    service
}

fn answer_https(stream: TcpStream, config: Arc<ServerConfig>, status: &Said<u16>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(session, stream));
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let Some(status) = said(status) else {
        return Ok(());
    };
    let stream = stream.get_mut();
    write!(
        stream,
        "HTTP/1.1 {status} So\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Answers every datagram with what `answer` makes of it.
fn datagrams<T: Copy + Send + 'static>(answer: fn(&[u8], T) -> Vec<u8>, first: T) -> Service<T> {
    let socket = UdpSocket::bind((own_address(), 0)).unwrap();
    let word = Said::<T>::default();
    let service = Service {
        address: socket.local_addr().unwrap(),
        said: Arc::clone(&word),
    };
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(word) = said(&word) {
                drop(socket.send_to(&answer(&buffer[..length], word), from));
            }
        }
    });
    service.say(first);
    service
}

/// DNS: every name has the address it says.
pub(crate) fn dns(first: Ipv4Addr) -> Service<Ipv4Addr> {
    datagrams(answer_dns, first)
}

/// RFC 1035, section 4: the question again, and one A record for it.
fn answer_dns(query: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let counts = [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    [&query[..2], &counts, question, &record, &address.octets()].concat()
}

/// NTP: the right time, from the stratum it says.
pub(crate) fn ntp(first: u8) -> Service<u8> {
    datagrams(answer_ntp, first)
}

fn answer_ntp(request: &[u8], stratum: u8) -> Vec<u8> {
    let asked = Packet::parse(request).unwrap();
    let time = ntp::Timestamp::from_unix_micros(now().as_microsecond());
    let answer = Packet {
        leap: Leap::None,
        version: asked.version,
        mode: mode::SERVER,
        stratum,
        precision: -20,
        root_delay: Short::from_micros(1_000),
        root_dispersion: Short::from_micros(1_000),
        reference_id: [127, 0, 0, 1],
        reference: time,
        origin: asked.transmit,
        receive: time,
        transmit: time,
        ..Packet::default()
    };
    answer.to_bytes().to_vec()
}

/// UDP: answers `pong` to everything.
pub(crate) fn pong() -> Service<()> {
    datagrams(|_, ()| b"pong".to_vec(), ())
}
