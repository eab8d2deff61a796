//! The one gate through which every connection and every UDP socket of Lapwing leaves. It never waits longer than its
//! caller: dropping the future closes the socket.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use lapwing_core::{monitor::Source, observation::Fault, target::Host};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

use crate::{
    Net,
    error::{Moment, fault_of, refused},
};

/// Sees the address of every connection and of every UDP socket before a packet leaves, and may refuse it.
pub type Policy = fn(SocketAddr) -> Result<(), Fault>;

impl Net {
    /// `addr` and `port` as a socket address, with the scope of `host`'s zone (`fe80::1%eth0`, RFC 4007 section 11).
    /// A zone that this machine does not have gives no scope, and the connect then fails as ours.
    pub fn socket_address(&self, addr: IpAddr, host: &Host, port: u16) -> SocketAddr {
        match (addr, host) {
            (IpAddr::V6(v6), Host::Ip(_, Some(zone))) => {
                let scope = zone
                    .parse()
                    .ok()
                    .or_else(|| if_nametoindex(zone.as_str()).ok())
                    .unwrap_or(0);
                SocketAddrV6::new(v6, port, 0, scope).into()
            }
            _ => SocketAddr::new(addr, port),
        }
    }

    /// Opens a TCP connection. Bounded by the caller's deadline.
    pub async fn connect(&self, addr: SocketAddr, source: &Source) -> Result<TcpStream, Fault> {
        (self.policy)(addr)?;
        stream(addr, source).await
    }

    /// A UDP socket connected to `addr`, so that ICMP errors arrive on it and strangers' datagrams do not.
    pub fn udp(&self, addr: SocketAddr, source: &Source) -> Result<UdpSocket, Fault> {
        (self.policy)(addr)?;
        datagram(addr, source)
    }
}

/// [`Net::connect`] without the policy: for the name servers of this machine's own configuration alone.
pub(crate) async fn stream(addr: SocketAddr, source: &Source) -> Result<TcpStream, Fault> {
    let stream = begin(addr, source)?;
    finish(stream, addr).await
}

/// Waits until the connection is there.
async fn finish(stream: TcpStream, addr: SocketAddr) -> Result<TcpStream, Fault> {
    stream.writable().await.map_err(|e| fault_of(&e, Moment::Later))?;
    match stream.take_error() {
        Ok(None) if is_own(&stream, addr) => {
            // With a FIN the port would stay taken for a minute, and nobody is there to be told of the end.
            drop(stream.set_zero_linger());
            Err(refused())
        }
        Ok(None) => Ok(stream),
        Ok(Some(error)) | Err(error) => Err(fault_of(&error, Moment::Later)),
    }
}

/// True when the connection leads to itself: nobody listens, and the kernel gave us the very port that we ask as our
/// own (RFC 9293 section 3.5, simultaneous open).
fn is_own(stream: &TcpStream, addr: SocketAddr) -> bool {
    let own = stream.local_addr();
    own.is_ok_and(|own| own.port() == addr.port() && own.ip() == addr.ip())
}

/// [`Net::udp`] without the policy: for the name servers of this machine's own configuration alone.
pub(crate) fn datagram(addr: SocketAddr, source: &Source) -> Result<UdpSocket, Fault> {
    let socket = open(addr, Type::DGRAM, Protocol::UDP, source)?;
    let connected = socket
        .connect(&addr.into())
        .and_then(|()| UdpSocket::from_std(socket.into()));
    connected.map_err(|e| fault_of(&e, Moment::Call))
}

/// The connect call itself; what it returns is seen before a packet left.
fn begin(addr: SocketAddr, source: &Source) -> Result<TcpStream, Fault> {
    let socket = open(addr, Type::STREAM, Protocol::TCP, source)?;
    let called = socket
        .set_tcp_nodelay(true)
        .and_then(|()| match socket.connect(&addr.into()) {
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(()),
            other => other,
        });
    called
        .and_then(|()| TcpStream::from_std(socket.into()))
        .map_err(|e| fault_of(&e, Moment::Call))
}

fn open(addr: SocketAddr, ty: Type, protocol: Protocol, source: &Source) -> Result<Socket, Fault> {
    let socket = Socket::new(
        Domain::for_address(addr),
        ty.nonblocking().cloexec(),
        Some(protocol),
    )
    .map_err(|e| fault_of(&e, Moment::Call))?;
    match source {
        Source::Any => {}
        Source::Address(from) => bind(&socket, *from, addr)?,
        Source::Interface(name) => {
            socket
                .bind_device(Some(name.as_bytes()))
                .map_err(|e| bad_interface(name, &e))?;
        }
    }
    Ok(socket)
}

fn bind(socket: &Socket, from: IpAddr, to: SocketAddr) -> Result<(), Fault> {
    if from.is_ipv4() != to.is_ipv4() {
        let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(Fault::ours(
            "ours.source",
            format!("the source {from} cannot reach an {family} address"),
        ));
    }
    let scope = match to {
        SocketAddr::V6(to) => to.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let local = match from {
        IpAddr::V6(from) if from.is_unicast_link_local() => SocketAddrV6::new(from, 0, 0, scope).into(),
        _ => SocketAddr::new(from, 0),
    };
    socket
        .bind(&local.into())
        .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRNOTAVAIL | Errno::EINVAL) => Fault::ours(
                "ours.source",
                format!("the source {from} is not an address of this machine"),
            ),
            _ => fault_of(&error, Moment::Call),
        })
}

fn bad_interface(name: &str, error: &io::Error) -> Fault {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENODEV | Errno::EINVAL) => Fault::ours(
            "ours.source",
            format!("the source interface {name} does not exist"),
        ),
        _ => fault_of(error, Moment::Call),
    }
}

/// Raises the soft limit of open files to the hard one, and gives the limit that now holds.
///
/// To be called once, at start: the usual soft limit of 1024 is less than a thousand checks at a time need.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::testkit::{ClosedPort, code, net};

    #[tokio::test]
    async fn connects_on_both_families() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(local).await.unwrap();
            let mut stream = net()
                .connect(listener.local_addr().unwrap(), &Source::Any)
                .await
                .unwrap();
            assert!(stream.nodelay().unwrap());
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.write_all(b"hi").await.unwrap();
            let mut got = [0; 2];
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"hi");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_the_targets() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let closed = ClosedPort::tcp(local);
            let fault = net().connect(closed.addr, &Source::Any).await.unwrap_err();
            assert!(matches!(fault, Fault::Target(_)));
            assert_eq!(fault.to_string(), "connection refused (connect.refused)");
        }
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_refused() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let local: SocketAddr = local.parse().unwrap();
            let socket = Socket::new(Domain::for_address(local), Type::STREAM, None).unwrap();
            socket.bind(&local.into()).unwrap();
            let own = socket.local_addr().unwrap();
            // Nobody listens on the port, yet this connects.
            socket.connect(&own).unwrap();
            socket.set_nonblocking(true).unwrap();
            let stream = TcpStream::from_std(socket.into()).unwrap();
            let fault = finish(stream, own.as_socket().unwrap()).await.unwrap_err();
            assert_eq!(fault, Fault::target("connect.refused", "connection refused"));
        }
    }

    #[tokio::test]
    async fn what_this_machine_cannot_do_is_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let address = |text: &str| Source::Address(text.parse().unwrap());
        for (source, detail) in [
            (address("192.0.2.77"), "is not an address of this machine"),
            (address("::1"), "cannot reach an IPv4 address"),
            (
                Source::Interface("nosuch0".to_owned()),
                "interface nosuch0 does not exist",
            ),
        ] {
            let fault = net().connect(here, &source).await.unwrap_err();
            assert_eq!(code(&fault), "ours.source");
            assert!(fault.reason().detail.contains(detail), "{fault}");
            assert_eq!(code(&net().udp(here, &source).unwrap_err()), "ours.source");
        }
        // A link-local address without a zone: the call refuses it.
        let fault = net()
            .connect("[fe80::1]:1".parse().unwrap(), &Source::Any)
            .await
            .unwrap_err();
        assert!(matches!(fault, Fault::Ours(_)), "{fault}");
        // Nothing can be connected to broadcast without permission.
        let fault = net()
            .udp("255.255.255.255:9".parse().unwrap(), &Source::Any)
            .unwrap_err();
        assert!(matches!(fault, Fault::Ours(_)), "{fault}");
    }

    #[tokio::test]
    async fn sources_are_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let stream = net()
            .connect(here, &Source::Address("127.0.0.9".parse().unwrap()))
            .await
            .unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "127.0.0.9");
        net()
            .connect(here, &Source::Interface("lo".to_owned()))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn udp_sees_the_icmp_answer() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let closed = ClosedPort::udp(local);
            let socket = net().udp(closed.addr, &Source::Any).unwrap();
            socket.send(b"?").await.unwrap();
            let error = socket.recv(&mut [0; 9]).await.unwrap_err();
            assert_eq!(code(&fault_of(&error, Moment::Later)), "connect.refused");
        }
    }

    #[tokio::test]
    async fn the_policy_sees_every_address_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let net = net().policy(|addr| match addr.ip() {
            ip if ip.is_loopback() => Err(Fault::ours("ours.permission", "loopback is not allowed")),
            _ => Ok(()),
        });
        assert_eq!(
            code(&net.connect(here, &Source::Any).await.unwrap_err()),
            "ours.permission"
        );
        assert_eq!(code(&net.udp(here, &Source::Any).unwrap_err()), "ours.permission");
    }

    #[tokio::test]
    async fn zones_become_scopes() {
        let net = net();
        let lo = if_nametoindex("lo").unwrap();
        for (host, scope) in [
            ("fe80::1%lo", lo),
            ("fe80::1%7", 7),
            ("fe80::1%nosuch0", 0),
            ("fe80::1", 0),
        ] {
            let host = Host::parse(host).unwrap();
            let Host::Ip(addr, _) = host else { panic!("{host}") };
            let SocketAddr::V6(found) = net.socket_address(addr, &host, 80) else {
                panic!("{host}")
            };
            assert_eq!(found.scope_id(), scope, "{host}");
        }
    }

    #[test]
    fn descriptors_are_raised_to_the_hard_limit() {
        let limit = raise_descriptor_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, limit));
    }
}
