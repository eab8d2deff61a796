//! How many datagrams of each session were received, in a table that cannot outgrow its bound.

use std::{net::SocketAddr, time::Duration};

use lapwing_core::time::Mono;

use crate::limit::Bounded;

/// Sessions whose datagrams are counted; further ones are answered without a count.
const SESSIONS: usize = 65_536;
/// A session without a datagram for so long is forgotten when another needs its place.
const SESSION_IDLE: Duration = Duration::from_mins(1);

/// Datagrams received of each session.
pub(super) struct Sessions(Bounded<(SocketAddr, u64), (u32, Mono)>);

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Bounded::new(SESSIONS))
    }

    /// Counts a datagram; gives the number received so far, 0 when the session is not counted. After the highest
    /// number it begins again with 1.
    pub(super) fn count(&mut self, source: SocketAddr, cookie: u64, now: Mono) -> u32 {
        let needed = |session: &(u32, Mono)| now.since(session.1) < SESSION_IDLE;
        match self.0.get((source, cookie), now, || (0, now), needed) {
            Some((count, last)) => {
                *last = now;
                *count = count.checked_add(1).unwrap_or(1);
                *count
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(60_000_000 + ms * 1000)
    }

    #[test]
    fn sessions_count_and_are_bounded() {
        let mut sessions = Sessions::new();
        let source: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        assert_eq!(
            [sessions.count(source, 1, at(0)), sessions.count(source, 1, at(1))],
            [1, 2]
        );
        assert_eq!(
            sessions.count(source, 2, at(1)),
            1,
            "another cookie, another session"
        );
        for cookie in 3..=SESSIONS as u64 {
            assert_eq!(sessions.count(source, cookie, at(1)), 1);
        }
        assert_eq!(sessions.count(source, 0, at(1)), 0, "full");
        assert_eq!(sessions.count(source, 1, at(2)), 3, "known ones go on");
        assert_eq!(sessions.count(source, 0, at(61_000)), 1, "idle ones made room");
    }
}
