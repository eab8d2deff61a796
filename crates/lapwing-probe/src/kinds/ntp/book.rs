//! What was asked and what came back. Pure: bytes and times go in, readings come out.
//!
//! An answer counts only when it repeats a random number that nobody beside the path can know, once.

use lapwing_core::time::{Mono, Now, micros};
use lapwing_wire::ntp::{Leap, Packet, Timestamp, mode};

/// How much longer than the whole exchange a server may claim to have worked: the coarsest clocks tick every 16 ms.
const TICK_MICROS: i64 = 20_000;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// What was sent as transmit timestamp, never zero.
    pub(super) nonce: u64,
    pub(super) at: Now,
    pub(super) answered: bool,
}

/// A server's clock as one exchange shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// The server's clock minus ours, in microseconds.
    pub(super) offset: i64,
    /// Time on the way, both ways, in microseconds.
    pub(super) delay: u64,
    pub(super) packet: Packet,
}

impl Reading {
    /// From the times of one exchange (RFC 5905, section 8), or why they cannot be.
    ///
    /// Our time of receipt is that of sending plus what passed on the monotonic clock, so that a step of our wall
    /// clock in between changes nothing.
    pub(super) fn new(sent: Now, received: Mono, packet: Packet) -> Result<Self, &'static str> {
        if packet.receive.is_zero() || packet.transmit.is_zero() {
            return Err("the answer lacks the server's time");
        }
        let passed = micros(received.since(sent.mono)) as i64;
        let worked = packet.transmit.micros_since(packet.receive);
        if worked < 0 {
            return Err("the answer was sent before its request came, by the server's own clock");
        }
        if worked > passed.saturating_add(TICK_MICROS) {
            return Err("the server claims more time for its answer than has passed");
        }
        let ours = Timestamp::from_unix_micros(sent.wall.0);
        let there = packet.receive.micros_since(ours);
        let back = packet
            .transmit
            .micros_since(Timestamp::from_unix_micros(sent.wall.0.saturating_add(passed)));
        Ok(Self {
            offset: i64::midpoint(there, back),
            delay: (passed - worked).max(0) as u64,
            packet,
        })
    }

    /// How far the server's clock can be off at most, in microseconds: half of all delay to the reference clock,
    /// and the dispersion that the server states (RFC 5905, section 11.2, without our own share).
    pub(super) fn root_distance(&self) -> u64 {
        u64::midpoint(self.packet.root_delay.micros(), self.delay) + self.packet.root_dispersion.micros()
    }
}

/// All requests of a probe, and what came of them.
#[derive(Default)]
pub(super) struct Book {
    pub(super) sent: Vec<Sent>,
    pub(super) readings: Vec<Reading>,
    /// The code of a kiss-o'-death: not to be asked any more.
    pub(super) kiss: Option<String>,
    pub(super) unsynchronized: Option<Packet>,
    pub(super) malformed: Option<&'static str>,
    /// Datagrams that answer none of the requests.
    pub(super) ignored: u32,
}

impl Book {
    /// Notes a request before it is sent.
    pub(super) fn note(&mut self, nonce: u64, at: Now) {
        self.sent.push(Sent {
            nonce,
            at,
            answered: false,
        });
    }

    pub(super) fn lost(&self) -> usize {
        self.sent.iter().filter(|sent| !sent.answered).count()
    }

    /// The reading with the shortest way: queues on the way can only have falsified it least (RFC 5905, section 10).
    pub(super) fn best(&self) -> Option<&Reading> {
        self.readings.iter().min_by_key(|reading| reading.delay)
    }

    /// Takes a datagram that arrived at `received`.
    pub(super) fn take(&mut self, bytes: &[u8], received: Mono) {
        let Some((packet, sent)) = self.answer_in(bytes) else {
            self.ignored = self.ignored.saturating_add(1);
            return;
        };
        match packet.kiss() {
            // Not yet synchronized, or just stepped: a state of its clock, not a wish to be left alone.
            Some("INIT" | "STEP") | None if is_unsynchronized(&packet) => self.unsynchronized = Some(packet),
            Some(code) => self.kiss = Some(code.to_owned()),
            None => match Reading::new(sent, received, packet) {
                Ok(reading) => self.readings.push(reading),
                Err(why) => self.malformed = Some(why),
            },
        }
    }

    /// The packet and the request that it answers; marks the request, so that a repetition finds none.
    fn answer_in(&mut self, bytes: &[u8]) -> Option<(Packet, Now)> {
        let packet = Packet::parse(bytes).ok()?;
        let from_server = packet.mode == mode::SERVER && matches!(packet.version, 3 | 4);
        if !from_server || packet.origin.is_zero() {
            return None;
        }
        let sent = self
            .sent
            .iter_mut()
            .find(|sent| !sent.answered && sent.nonce == packet.origin.0)?;
        sent.answered = true;
        Some((packet, sent.at))
    }
}

fn is_unsynchronized(packet: &Packet) -> bool {
    packet.leap == Leap::Unknown || !(1..=15).contains(&packet.stratum)
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::Wall;
    use lapwing_wire::ntp::Short;
    use proptest::prelude::*;

    use super::*;

    const NONCE: u64 = 0x0123_4567_89ab_cdef;
    const SENT: Now = Now {
        wall: Wall(1_800_000_000_000_000),
        mono: Mono(5_000_000),
    };

    fn after(micros: u64) -> Mono {
        Mono(SENT.mono.0 + micros)
    }

    /// A good answer of a server that is `ahead`, received `there` after our sending and sent `worked` later.
    fn answer(ahead: i64, there: i64, worked: i64) -> Packet {
        let stamp = |after: i64| Timestamp::from_unix_micros(SENT.wall.0 + ahead + after);
        Packet {
            version: 4,
            mode: mode::SERVER,
            stratum: 2,
            origin: Timestamp(NONCE),
            receive: stamp(there),
            transmit: stamp(there + worked),
            ..Packet::default()
        }
    }

    fn asked() -> Book {
        let mut book = Book::default();
        book.note(NONCE, SENT);
        book
    }

    #[test]
    fn offset_and_delay() {
        for (ahead, there, worked, back, offset, delay) in [
            (0, 10_000, 100, 10_000, 0, 20_000),
            (1_234_567, 10_000, 0, 10_000, 1_234_567, 20_000),
            (-3_000_000, 10_000, 500, 10_000, -3_000_000, 20_000),
            (0, 30_000, 0, 10_000, 10_000, 40_000), // a longer way there reads as half of the difference
            (0, 5, 15_000, -14_999, 7_502, 0),      // a coarse clock: never a negative delay
        ] {
            let received = after((there + worked + back) as u64);
            let reading = Reading::new(SENT, received, answer(ahead, there, worked)).unwrap();
            assert_eq!((reading.offset, reading.delay), (offset, delay));
        }
    }

    #[test]
    fn the_end_of_the_era_does_not_matter() {
        let rollover = 2_085_978_496_000_000;
        let sent = Now {
            wall: Wall(rollover - 500),
            mono: SENT.mono,
        };
        let stamp = Timestamp::from_unix_micros(rollover + 1_000_000);
        let packet = Packet {
            receive: stamp,
            transmit: stamp,
            ..answer(0, 0, 0)
        };
        let reading = Reading::new(sent, after(1000), packet).unwrap();
        assert_eq!((reading.offset, reading.delay), (1_000_000, 1000));
    }

    #[test]
    fn impossible_times() {
        let zero = Timestamp(0);
        for packet in [
            Packet {
                receive: zero,
                ..answer(0, 1, 1)
            },
            Packet {
                transmit: zero,
                ..answer(0, 1, 1)
            },
            answer(0, 10, -1),
            answer(0, 10, 100_000),
        ] {
            assert!(Reading::new(SENT, after(20), packet).is_err());
            let mut book = asked();
            book.take(&packet.to_bytes(), after(20));
            assert!(book.malformed.is_some() && book.readings.is_empty());
        }
    }

    #[test]
    fn the_shortest_way_is_the_best() {
        let mut book = Book::default();
        for (nonce, there) in [(1, 30_000), (2, 10_000), (3, 20_000)] {
            book.note(nonce, SENT);
            let packet = Packet {
                origin: Timestamp(nonce),
                ..answer(0, there, 0)
            };
            book.take(&packet.to_bytes(), after(there as u64 + 5_000));
        }
        assert_eq!(book.best().map(|best| best.delay), Some(15_000));
    }

    #[test]
    fn root_distance_adds_up() {
        let packet = Packet {
            root_delay: Short(0x1_0000),
            root_dispersion: Short(0x4000),
            ..answer(0, 10_000, 0)
        };
        let reading = Reading::new(SENT, after(20_000), packet).unwrap();
        assert_eq!(reading.root_distance(), 500_000 + 10_000 + 250_000);
    }

    #[test]
    fn only_answers_to_a_request_count_and_only_once() {
        let good = answer(0, 10, 0);
        let kiss = Packet {
            stratum: 0,
            reference_id: *b"DENY",
            leap: Leap::Unknown,
            ..good
        };
        let mut book = asked();
        let forged = [
            Packet {
                origin: Timestamp(NONCE ^ 1),
                ..good
            },
            Packet {
                origin: Timestamp(0),
                ..good
            },
            Packet {
                origin: Timestamp::from_unix_micros(SENT.wall.0),
                ..good
            },
            Packet {
                origin: Timestamp(0),
                ..kiss
            },
            Packet {
                origin: Timestamp(1),
                ..kiss
            },
            Packet {
                mode: mode::CLIENT,
                ..good
            },
            Packet { mode: 5, ..good },
            Packet { version: 2, ..good },
            Packet { version: 5, ..good },
        ];
        for packet in forged {
            book.take(&packet.to_bytes(), after(20));
        }
        book.take(&good.to_bytes()[..47], after(20));
        assert_eq!((book.ignored, book.readings.len(), book.lost()), (10, 0, 1));
        assert!(book.kiss.is_none() && book.unsynchronized.is_none());
        book.take(&good.to_bytes(), after(20));
        book.take(&good.to_bytes(), after(30));
        book.take(&kiss.to_bytes(), after(30));
        assert_eq!((book.ignored, book.readings.len(), book.lost()), (12, 1, 0));
        assert!(book.kiss.is_none());
    }

    #[test]
    fn a_zero_origin_answers_nothing_even_if_it_were_asked() {
        let mut book = Book::default();
        book.note(0, SENT);
        book.take(
            &Packet {
                origin: Timestamp(0),
                ..answer(0, 10, 0)
            }
            .to_bytes(),
            after(20),
        );
        assert_eq!((book.readings.len(), book.ignored), (0, 1));
    }

    #[test]
    fn of_a_million_forgeries_none_is_used() {
        let mut book = asked();
        let mut guess = NONCE;
        for _ in 0..1_000_000 {
            // Numerical Recipes' generator: its period is longer than the loop, so that it never comes back to the nonce.
            guess = guess
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            book.take(
                &Packet {
                    origin: Timestamp(guess),
                    ..answer(0, 10, 0)
                }
                .to_bytes(),
                after(20),
            );
        }
        assert_eq!((book.ignored, book.readings.len()), (1_000_000, 0));
    }

    #[test]
    fn stratum_zero_is_a_kiss_or_an_unsynchronized_clock() {
        for (reference_id, kiss) in [
            (*b"RATE", Some("RATE")),
            (*b"DENY", Some("DENY")),
            (*b"INIT", None),
            (*b"STEP", None),
            ([0; 4], None),
        ] {
            let mut book = asked();
            let packet = Packet {
                stratum: 0,
                leap: Leap::Unknown,
                reference_id,
                ..answer(0, 1, 0)
            };
            book.take(&packet.to_bytes(), after(20));
            assert_eq!(book.kiss.as_deref(), kiss);
            assert_eq!(book.unsynchronized.is_some(), kiss.is_none());
        }
        for packet in [
            Packet {
                stratum: 16,
                ..answer(0, 1, 0)
            },
            Packet {
                leap: Leap::Unknown,
                ..answer(0, 1, 0)
            },
        ] {
            let mut book = asked();
            book.take(&packet.to_bytes(), after(20));
            assert!(book.unsynchronized.is_some() && book.readings.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(mut bytes in proptest::collection::vec(any::<u8>(), 48..70), first in 0x1b_u8..0x26, took in any::<u64>()) {
            bytes[0] = first;
            bytes[24..32].copy_from_slice(&NONCE.to_be_bytes());
            let mut book = asked();
            book.take(&bytes, Mono(took));
            for reading in &book.readings {
                let _ = reading.root_distance();
            }
            prop_assert!(book.readings.len() <= 1);
        }
    }
}
