//! When beats were lost on our side: gathered, and told at a bounded rate.
//!
//! A sender must not be able to bring it about without really filling the buffer: every deadline moves by it.

use std::{
    fs,
    io::{self, ErrorKind},
    time::Duration,
};

use lapwing_core::time::{Mono, Wall};

/// Between two words about beats that were lost on our side.
const DEAF_EVERY: Duration = Duration::from_millis(250);
/// The system's counters for the network namespace of this thread (proc_pid_net(5)).
const V4: &str = "/proc/thread-self/net/snmp";
const V6: &str = "/proc/thread-self/net/snmp6";
/// What counts datagrams that found no room. Those with a wrong checksum are not among them.
const NO_ROOM: [&str; 2] = ["RcvbufErrors", "MemErrors"];

/// Beats lost on our side that have not been told yet.
pub(super) struct Deafness {
    since: Option<Wall>,
    /// Since when the socket may have dropped datagrams for want of room. Its own counter also has those that it
    /// dropped for their checksum, which anybody can send.
    dropped: Option<Wall>,
    /// When it may be told again.
    next: Mono,
    /// Datagrams without room on this machine at the last look; none if that cannot be read.
    overflows: Option<u64>,
}

impl Deafness {
    pub(super) fn new() -> Self {
        Self {
            since: None,
            dropped: None,
            next: Mono::default(),
            overflows: overflows(),
        }
    }

    pub(super) fn since(&mut self, from: Wall) {
        self.since = earlier(self.since, Some(from));
    }

    /// As [`Deafness::since`], if it turns out that there was no room.
    pub(super) fn dropped(&mut self, from: Wall) {
        self.dropped = earlier(self.dropped, Some(from));
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.since.or(self.dropped).map(|_| self.next)
    }

    pub(super) fn due(&mut self, now: Mono) -> Option<Wall> {
        if self.next().is_none_or(|next| now < next) {
            return None;
        }
        self.next = now + DEAF_EVERY;
        let dropped = self.dropped.take().filter(|_| self.has_overflowed());
        earlier(self.since.take(), dropped)
    }

    /// True when datagrams found no room since the last look, or when nobody knows.
    fn has_overflowed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.overflows, overflows());
        before.is_none() || before != self.overflows
    }
}

fn earlier(a: Option<Wall>, b: Option<Wall>) -> Option<Wall> {
    a.into_iter().chain(b).min()
}

/// Datagrams that found no room, of all sockets.
fn overflows() -> Option<u64> {
    let v4 = in_snmp(&fs::read_to_string(V4).ok()?)?;
    let v6 = match fs::read_to_string(V6) {
        Ok(text) => in_snmp6(&text)?,
        Err(error) if is_missing(&error) => 0,
        Err(_) => return None,
    };
    Some(v4.wrapping_add(v6))
}

/// A system without IPv6 has no such file.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// A line of names, and one of values.
fn in_snmp(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    sum(names.split_whitespace().zip(values.split_whitespace()))
}

/// A name and a value on each line.
fn in_snmp6(text: &str) -> Option<u64> {
    let udp = text.lines().filter_map(|line| line.strip_prefix("Udp6"));
    sum(udp.filter_map(|line| line.split_once(char::is_whitespace)))
}

fn sum<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Option<u64> {
    let found = fields.filter(|(name, _)| NO_ROOM.contains(name));
    let values: Vec<u64> = found
        .map(|(_, value)| value.trim().parse().ok())
        .collect::<Option<_>>()?;
    values.into_iter().reduce(u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_counters_are_found_by_name() {
        let snmp = "Tcp: InErrs RcvbufErrors\nTcp: 1 2\n\
            Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
            Udp: 10 20 30 40 50 60 70 80 90\n\
            UdpLite: InDatagrams RcvbufErrors\nUdpLite: 3 4\n";
        assert_eq!(in_snmp(snmp), Some(140));
        assert_eq!(
            in_snmp("Udp: RcvbufErrors\nUdp: 18446744073709551615\n"),
            Some(u64::MAX)
        );
        let snmp6 = "Ip6InReceives                   \t1\n\
            Udp6InErrors                    \t2\n\
            Udp6RcvbufErrors                \t3\n\
            Udp6SndbufErrors                \t4\n\
            Udp6MemErrors                   \t5\n\
            UdpLite6RcvbufErrors            \t6\n";
        assert_eq!(in_snmp6(snmp6), Some(8));
        for broken in [
            "",
            "Udp: RcvbufErrors\n",
            "Udp: InErrors\nUdp: 1\n",
            "Udp: RcvbufErrors\nUdp: -1\n",
            "Udp: RcvbufErrors\nUdp:\n",
        ] {
            assert_eq!(in_snmp(broken), None, "{broken:?}");
        }
        for broken in [
            "",
            "Udp6RcvbufErrors\n",
            "Udp6RcvbufErrors x\n",
            "Udp6InErrors 1\n",
        ] {
            assert_eq!(in_snmp6(broken), None, "{broken:?}");
        }
        assert!(overflows().is_some(), "of this system");
    }

    #[test]
    fn it_is_told_four_times_a_second_from_its_earliest_moment() {
        let mut deafness = Deafness::new();
        let at = |ms: u64| Mono(60_000_000 + ms * 1000);
        assert_eq!((deafness.next(), deafness.due(at(0))), (None, None));
        deafness.since(Wall(7));
        deafness.since(Wall(9));
        assert_eq!(deafness.due(at(0)), Some(Wall(7)));
        deafness.since(Wall(8));
        assert_eq!((deafness.next(), deafness.due(at(249))), (Some(at(250)), None));
        assert_eq!((deafness.due(at(250)), deafness.next()), (Some(Wall(8)), None));
        // Where the system's counters cannot be read, the socket's is believed.
        deafness.overflows = None;
        deafness.dropped(Wall(5));
        deafness.since(Wall(6));
        assert_eq!(deafness.due(at(500)), Some(Wall(5)));
    }
}
