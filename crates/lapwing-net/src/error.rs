//! Whose fault an error of the system is, and what it is called. Never puts more than the error's own words in a text.

use std::io::{self, ErrorKind};

use lapwing_core::observation::Fault;
use nix::errno::Errno;

/// When an error of a socket was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The call itself returned it, before a packet left.
    Call,
    /// It arrived on the socket later, so something out there caused it.
    Later,
}

/// The fault that `error` means at `moment`.
///
/// Want of descriptors or memory is ours whenever it is seen; refused and reset are the peer's whenever they are seen
/// (on loopback the call itself returns them). An error that nobody knows is ours: it never makes a target down.
pub fn fault_of(error: &io::Error, moment: Moment) -> Fault {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return crate::tls::protocol_fault(tls);
    }
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else {
        return by_kind(error);
    };
    match errno {
        Errno::ECONNREFUSED => refused(),
        Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE => {
            Fault::target("connect.reset", "connection reset")
        }
        Errno::EMFILE => Fault::ours("ours.descriptors", "this process has no file descriptor left"),
        Errno::ENFILE => Fault::ours("ours.descriptors", "this machine has no file descriptor left"),
        Errno::ENOBUFS | Errno::ENOMEM => {
            Fault::ours("ours.buffers", "the kernel has no memory left for the packet")
        }
        _ => match moment {
            Moment::Call => at_call(errno),
            Moment::Later => later(errno),
        },
    }
}

fn at_call(errno: Errno) -> Fault {
    match errno {
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN => {
            Fault::ours("ours.no_route", "this machine has no route to the address")
        }
        Errno::EADDRNOTAVAIL => Fault::ours(
            "ours.no_address",
            "this machine has no usable source address or port",
        ),
        Errno::EADDRINUSE => Fault::ours("ours.no_address", "this machine has no free source port"),
        Errno::EAFNOSUPPORT => Fault::ours(
            "ours.no_address",
            "this machine does not speak this address family",
        ),
        Errno::EAGAIN => Fault::ours(
            "ours.buffers",
            "the kernel has no resources left for the connection",
        ),
        Errno::EACCES | Errno::EPERM => {
            Fault::ours("ours.permission", "this machine does not permit the packet")
        }
        other => unknown(other),
    }
}

fn later(errno: Errno) -> Fault {
    match errno {
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => Fault::target("connect.unreachable", "no route to host"),
        Errno::ENETUNREACH => Fault::target("connect.unreachable", "network unreachable"),
        Errno::ENOPROTOOPT | Errno::EPROTO => {
            Fault::target("connect.unreachable", "protocol not reachable on the host")
        }
        // ICMPv6 "administratively prohibited" arrives as EACCES (linux/net/ipv6/icmp.c).
        Errno::EACCES => Fault::target("connect.unreachable", "a firewall on the way prohibits it"),
        Errno::ETIMEDOUT => Fault::target("timeout.connect", "connection timed out"),
        Errno::ENETDOWN => Fault::ours("ours.no_route", "the network interface went down"),
        Errno::EPERM => Fault::ours("ours.permission", "this machine does not permit the packet"),
        other => unknown(other),
    }
}

fn by_kind(error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::WriteZero => closed(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Fault::target("connect.reset", "connection reset")
        }
        ErrorKind::ConnectionRefused => refused(),
        _ => Fault::ours("ours.other", error.to_string()),
    }
}

fn unknown(errno: Errno) -> Fault {
    Fault::ours("ours.other", format!("{} ({errno:?})", errno.desc()))
}

/// Nobody listens.
pub(crate) fn refused() -> Fault {
    Fault::target("connect.refused", "connection refused")
}

/// The peer ended the connection in order, but too early.
pub(crate) fn closed() -> Fault {
    Fault::target("connect.closed", "peer closed the connection")
}

/// `fault` with `place` before its text.
pub(crate) fn at(place: impl std::fmt::Display, fault: Fault) -> Fault {
    let put = |reason: &mut lapwing_core::observation::Reason| {
        let text = format!("{place}: {}", reason.detail);
        reason.detail =
            lapwing_core::observation::clean(&text, lapwing_core::observation::Reason::DETAIL_MAX);
    };
    let mut fault = fault;
    match &mut fault {
        Fault::Target(reason) | Fault::Ours(reason) => put(reason),
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_an_owner() {
        use Moment::{Call, Later};
        for (errno, moment, ours, code) in [
            (Errno::ECONNREFUSED, Call, false, "connect.refused"),
            (Errno::ECONNREFUSED, Later, false, "connect.refused"),
            (Errno::ECONNRESET, Call, false, "connect.reset"),
            (Errno::EPIPE, Later, false, "connect.reset"),
            (Errno::ENETUNREACH, Call, true, "ours.no_route"),
            (Errno::ENETUNREACH, Later, false, "connect.unreachable"),
            (Errno::EHOSTUNREACH, Call, true, "ours.no_route"),
            (Errno::EHOSTUNREACH, Later, false, "connect.unreachable"),
            (Errno::EADDRNOTAVAIL, Call, true, "ours.no_address"),
            (Errno::EAFNOSUPPORT, Call, true, "ours.no_address"),
            (Errno::EMFILE, Call, true, "ours.descriptors"),
            (Errno::ENFILE, Call, true, "ours.descriptors"),
            (Errno::EMFILE, Later, true, "ours.descriptors"),
            (Errno::ENOBUFS, Call, true, "ours.buffers"),
            (Errno::ENOMEM, Later, true, "ours.buffers"),
            (Errno::EACCES, Call, true, "ours.permission"),
            (Errno::EACCES, Later, false, "connect.unreachable"),
            (Errno::EPERM, Call, true, "ours.permission"),
            (Errno::EPERM, Later, true, "ours.permission"),
            (Errno::EINVAL, Call, true, "ours.other"),
            (Errno::EINVAL, Later, true, "ours.other"),
            (Errno::ETIMEDOUT, Later, false, "timeout.connect"),
            (Errno::ENETDOWN, Later, true, "ours.no_route"),
        ] {
            let fault = fault_of(&io::Error::from_raw_os_error(errno as i32), moment);
            assert_eq!(fault.reason().code.as_str(), code, "{errno:?} {moment:?}");
            assert_eq!(matches!(fault, Fault::Ours(_)), ours, "{errno:?} {moment:?}");
        }
    }

    #[test]
    fn errors_without_a_number() {
        for (error, code) in [
            (io::Error::from(ErrorKind::UnexpectedEof), "connect.closed"),
            (io::Error::from(ErrorKind::ConnectionReset), "connect.reset"),
            (io::Error::other("odd"), "ours.other"),
            (
                io::Error::other(rustls::Error::AlertReceived(
                    rustls::AlertDescription::CertificateRequired,
                )),
                "tls.alert",
            ),
        ] {
            assert_eq!(fault_of(&error, Moment::Later).reason().code.as_str(), code);
        }
    }
}
