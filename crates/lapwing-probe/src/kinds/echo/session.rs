//! One run of `udp-echo`: what was sent, what came back, and what that says about each direction.
//!
//! Invariant: pure bookkeeping; the times are arguments.

use std::time::Duration;

use lapwing_core::{
    observation::Fault,
    time::{Mono, Now},
};
use lapwing_wire::echo::{Datagram, Request, Stamp};

use super::report_times;
use crate::Cx;

/// Echoes that came more than once are told apart up to this many; the rest is only counted.
const COPIES: usize = 4096;

pub(super) struct Session {
    cookie: u64,
    size: usize,
    sent: Vec<Mono>,
    /// By sequence number: whether the echo came.
    back: Vec<bool>,
    echoes: Vec<Echo>,
    duplicates: u32,
    reordered: u32,
    expected: Vec<u8>,
}

/// An echo that came, in the order of arrival, the first copy alone.
struct Echo {
    seq: u32,
    rtt: Duration,
    received: Now,
    stamp: Option<Stamp>,
    /// Further values of the server's counter for this datagram: it received that many copies more.
    copies: Vec<u32>,
}

impl Session {
    pub(super) fn new(cookie: u64, size: usize) -> Self {
        Self {
            cookie,
            size,
            sent: Vec::new(),
            back: Vec::new(),
            echoes: Vec::new(),
            duplicates: 0,
            reordered: 0,
            expected: vec![0; size],
        }
    }

    pub(super) fn sent(&self) -> u32 {
        self.sent.len() as u32
    }

    pub(super) fn lost(&self) -> u32 {
        self.sent() - self.echoes.len() as u32
    }

    /// Writes the next datagram, to leave at `now`.
    pub(super) fn write_next(&self, now: Mono, packet: &mut [u8]) {
        let written = Request {
            cookie: self.cookie,
            seq: self.sent(),
            sent: now.0,
        }
        .write(packet);
        debug_assert!(written.is_ok(), "the option's range allows no shorter datagram");
    }

    pub(super) fn sent_at(&mut self, now: Mono) {
        self.sent.push(now);
        self.back.push(false);
    }

    /// Takes a datagram. Anything but an exact echo is a mismatch.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Now) -> Result<(), Fault> {
        let Some((seq, stamp)) = self.recognise(bytes) else {
            let (have, size) = (bytes.len(), self.size);
            let text = if have == size {
                "what came back is not what was sent".to_owned()
            } else {
                format!("{have} bytes came back that are no echo of the {size} bytes sent")
            };
            return Err(Fault::target("echo.mismatch", text));
        };
        let counted = stamp.map_or(0, |s| s.received);
        if std::mem::replace(&mut self.back[seq as usize], true) {
            self.duplicates += 1;
            let first = self.echoes.iter_mut().find(|echo| echo.seq == seq);
            if let Some(first) = first.filter(|echo| echo.copies.len() < COPIES)
                && counted != first.stamp.map_or(0, |s| s.received)
                && !first.copies.contains(&counted)
            {
                first.copies.push(counted);
            }
            return Ok(());
        }
        if self.echoes.iter().any(|echo| echo.seq > seq) {
            self.reordered += 1;
        }
        let rtt = now.mono.since(self.sent[seq as usize]);
        self.echoes.push(Echo {
            seq,
            rtt,
            received: now,
            stamp,
            copies: Vec::new(),
        });
        Ok(())
    }

    /// The sequence number of the request that `bytes` echo exactly, and what Lapwing's server added to it.
    fn recognise(&mut self, bytes: &[u8]) -> Option<(u32, Option<Stamp>)> {
        let (request, stamp) = match Datagram::parse(bytes).ok()? {
            Datagram::Request(request) => (request, None),
            Datagram::Reply(request, stamp) => (request, Some(stamp)),
        };
        let sent = self.sent.get(request.seq as usize)?;
        let ours = Request {
            cookie: self.cookie,
            seq: request.seq,
            sent: sent.0,
        };
        ours.write(&mut self.expected).ok()?;
        let padding = lapwing_wire::echo::HEADER_LEN..;
        let exact =
            request == ours && bytes.len() == self.size && bytes[padding.clone()] == self.expected[padding];
        exact.then_some((request.seq, stamp))
    }

    pub(super) fn report(&self, cx: &Cx<'_>) {
        let times: Vec<_> = self.echoes.iter().map(|echo| echo.rtt).collect();
        if let Some(first) = times.first() {
            cx.phase("answer", *first);
        }
        report_times(cx, &times);
        if self.sent() > 0 {
            cx.fact("echo.loss", self.percent(self.lost()));
        }
        if let Some(echo) = self.echoes.first() {
            cx.fact(
                "echo.server",
                if echo.stamp.is_some() { "lapwing" } else { "plain" },
            );
        }
        if self.sent() > 1 {
            cx.fact("echo.duplicates", self.duplicates);
            cx.fact("echo.reordered", self.reordered);
        }
        if let Some((out, back)) = self.loss_by_direction() {
            cx.fact("echo.loss_out", self.percent(out));
            cx.fact("echo.loss_back", self.percent(back));
        }
        let stamped = || {
            self.echoes
                .iter()
                .filter_map(|echo| echo.stamp.map(|stamp| (echo, stamp.at)))
        };
        if stamped().count() > 1 {
            // The offset of the two clocks is in every transit time, and so in none of their differences.
            let out = stamped()
                .map(|(echo, at)| (at.wrapping_sub(self.sent[echo.seq as usize].0 as i64)) as f64 / 1e6);
            let back =
                stamped().map(|(echo, at)| (echo.received.mono.0 as i64).wrapping_sub(at) as f64 / 1e6);
            cx.fact("echo.jitter_out", jitter(out));
            cx.fact("echo.jitter_back", jitter(back));
        }
    }

    /// Datagrams lost on the way out and on the way back. The server's counter in the last echo says how many of the
    /// datagrams up to that one it had received; of later ones nobody can tell where they were lost.
    fn loss_by_direction(&self) -> Option<(u32, u32)> {
        let counted = |echo: &&Echo| echo.stamp.is_some_and(|stamp| stamp.received > 0);
        let last = self.echoes.iter().filter(counted).max_by_key(|echo| echo.seq)?;
        let received = last.stamp?.received;
        // Copies that the network made on the way out are in the server's counter, too.
        let copies = self
            .echoes
            .iter()
            .flat_map(|echo| &echo.copies)
            .filter(|count| **count <= received)
            .count();
        let upto = last.seq + 1;
        let arrived = received.saturating_sub(copies as u32).min(upto);
        let back = self.echoes.iter().filter(|echo| echo.seq < upto).count() as u32;
        let out = (upto - arrived).min(upto - back);
        Some((out, upto - back - out))
    }

    fn percent(&self, count: u32) -> f64 {
        f64::from(count) * 100.0 / f64::from(self.sent().max(1))
    }
}

/// Interarrival jitter of transit times in seconds, in the order of arrival (RFC 3550, section 6.4.1).
pub(super) fn jitter(transits: impl Iterator<Item = f64>) -> f64 {
    let mut jitter = 0.0;
    let mut last: Option<f64> = None;
    for transit in transits {
        if let Some(last) = last {
            jitter += ((transit - last).abs() - jitter) / 16.0;
        }
        last = Some(transit);
    }
    jitter
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::Wall;
    use lapwing_wire::echo::answer;

    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            wall: Wall(0),
            mono: Mono(ms * 1000),
        }
    }

    struct Run {
        session: Session,
        packets: Vec<Vec<u8>>,
    }

    impl Run {
        /// `count` datagrams, one each millisecond.
        fn new(count: u64) -> Self {
            let mut session = Session::new(7, 48);
            let mut packets = Vec::new();
            for ms in 0..count {
                let mut packet = vec![0; 48];
                session.write_next(at(ms).mono, &mut packet);
                session.sent_at(at(ms).mono);
                packets.push(packet);
            }
            Self { session, packets }
        }

        /// The echo of `seq` by a server that has received `received`.
        fn echo(&mut self, seq: usize, received: u32) {
            let mut bytes = self.packets[seq].clone();
            answer(&mut bytes, Stamp { received, at: 0 }).unwrap();
            self.session.receive(&bytes, at(100)).unwrap();
        }

        fn loss(&self) -> (u32, Option<(u32, u32)>) {
            (self.session.lost(), self.session.loss_by_direction())
        }
    }

    #[test]
    fn loss_by_direction() {
        let mut run = Run::new(5);
        for (seq, received) in [(0, 1), (2, 2), (4, 4)] {
            run.echo(seq, received); // 1 was lost on the way out, 3 on the way back
        }
        assert_eq!(run.loss(), (2, Some((1, 1))));
        let mut run = Run::new(5);
        run.echo(0, 1);
        run.echo(1, 2);
        assert_eq!(
            run.loss(),
            (3, Some((0, 0))),
            "nobody knows where the last three were lost"
        );
        let mut run = Run::new(2);
        run.echo(1, 0);
        assert_eq!(run.loss(), (1, None), "the server does not count");
        assert_eq!(Run::new(3).loss(), (3, None));
    }

    #[test]
    fn duplicates_and_order() {
        let mut run = Run::new(4);
        run.echo(0, 1);
        run.echo(0, 2); // doubled on the way out: the server counted it twice
        run.echo(2, 4);
        run.echo(2, 4); // doubled on the way back
        run.echo(1, 3); // overtaken
        run.echo(3, 5);
        assert_eq!((run.session.duplicates, run.session.reordered), (2, 1));
        assert_eq!(run.loss(), (0, Some((0, 0))));
    }

    #[test]
    fn only_exact_echoes_count() {
        let mut run = Run::new(2);
        let good = run.packets[0].clone();
        let changed = |index: usize| {
            let mut bytes = good.clone();
            bytes[index] ^= 1;
            bytes
        };
        // Magic, cookie, sequence number, time, padding; longer; shorter; empty.
        let mut wrong: Vec<_> = [0, 8, 19, 31, 47].map(changed).to_vec();
        wrong[2][19] = 9;
        wrong.extend([[good.clone(), vec![0]].concat(), good[..47].to_vec(), Vec::new()]);
        for bytes in wrong {
            let fault = run.session.receive(&bytes, at(9)).unwrap_err();
            assert_eq!(fault.reason().code.as_str(), "echo.mismatch", "{bytes:?}");
        }
        run.session.receive(&good, at(9)).unwrap();
        assert_eq!(
            (run.session.lost(), run.session.loss_by_direction()),
            (1, None),
            "a plain echo server"
        );
    }

    #[test]
    fn jitter_of_the_rfc() {
        assert!(jitter([5.0, 5.0, 5.0].into_iter()).abs() < 1e-12);
        // |D| is 16, then 0: J is 1, then 15/16.
        assert!((jitter([0.0, 16.0, 16.0].into_iter()) - 15.0 / 16.0).abs() < 1e-12);
    }
}
