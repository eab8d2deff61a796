//! What these stories read and write: the lines of a log with their times, the pace of what comes, a port that
//! never answers.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    time::Duration,
};

use jiff::Timestamp;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};

use crate::{kit::Home, peers::own_address};

/// A check in the log of a daemon at level `debug`.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) at: Timestamp,
    pub(crate) line: String,
}

impl Check {
    pub(crate) fn failed(&self) -> bool {
        self.line.contains(" DEBUG down: ")
    }
}

/// The checks of a series, in order.
pub(crate) fn checks(log: &str, series: &str) -> Vec<Check> {
    let series = format!(" series={series} ");
    let of_it =
        |line: &&str| line.contains(" DEBUG ") && line.contains(&series) && line.contains(" took_ms=");
    let check = |line: &str| Check {
        at: time(line),
        line: line.to_owned(),
    };
    log.lines().filter(of_it).map(check).collect()
}

/// The time that a line of a log begins with.
pub(crate) fn time(line: &str) -> Timestamp {
    let word = line.split(' ').next().unwrap_or_default();
    word.parse().unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Seconds from each to the next, once it is asked at its usual pace: the first two steps lead to its place in the
/// schedule.
pub(crate) fn pace(checks: &[Check]) -> Vec<f64> {
    pauses(checks).split_off(2)
}

/// Seconds from each to the next.
pub(crate) fn pauses(checks: &[Check]) -> Vec<f64> {
    let pause = |pair: &[Check]| pair[0].at.duration_until(pair[1].at).as_secs_f64();
    checks.windows(2).map(pause).collect()
}

/// Proves that `next`, which waits for the next one and gives its time, comes each second, as far as a machine under load
/// can tell: a pace of 0.9 or 1.1 s fails.
#[track_caller]
pub(crate) fn each_second(mut next: impl FnMut() -> Duration) {
    let times = [(); 7].map(|()| next());
    // The first two steps lead to its place in the schedule.
    let took = times[6].saturating_sub(times[2]);
    assert!(
        took.abs_diff(Duration::from_secs(4)) < Duration::from_millis(300),
        "{took:?} for four pauses of a second: {times:?}"
    );
}

/// A file that only its owner may read.
pub(crate) fn private(home: &Home, name: &str, text: &str) {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(home.path(name))
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A port that is there and never answers a connection: its queue is full.
pub(crate) struct Mute {
    pub(crate) address: SocketAddr,
    _listener: OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl Mute {
    pub(crate) fn open() -> Self {
        let listener = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        let [a, b, c, d] = own_address().octets();
        bind(listener.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let name: SockaddrIn = getsockname(listener.as_raw_fd()).unwrap();
        let address = SocketAddr::from((name.ip(), name.port()));
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let waiting: Vec<_> = std::iter::from_fn(connect).take(20).collect();
        assert!(waiting.len() < 20, "its queue has no end");
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }
}
