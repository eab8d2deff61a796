//! NTP packets (RFC 5905): the 48-byte header and its time formats.
//!
//! Invariant: any bytes either parse or give an error; nothing panics, and parsing allocates nothing.

/// Length of the header in bytes. Extension fields and a MAC may follow it; they are not read.
pub const HEADER_LEN: usize = 48;

/// The version that requests carry.
pub const VERSION: u8 = 4;

/// Seconds from 1900-01-01 (NTP era 0) to 1970-01-01.
const UNIX_OFFSET: i64 = 2_208_988_800;

/// Why bytes are not an NTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an NTP packet has at least {HEADER_LEN} bytes, this one has {0}")]
pub struct TooShort(pub usize);

/// A 64-bit NTP timestamp: seconds and fractions of 2^-32 s since the start of an era (RFC 5905, section 6).
///
/// An era lasts 136 years and is not part of the value: differences are right as long as the two times lie
/// less than 68 years apart, whatever the eras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_micros(micros: i64) -> Self {
        let seconds = micros.div_euclid(1_000_000).wrapping_add(UNIX_OFFSET) as u32;
        let fraction = ((micros.rem_euclid(1_000_000) as u64) << 32).div_ceil(1_000_000);
        Self((seconds as u64) << 32 | fraction)
    }

    /// Microseconds since 1970-01-01T00:00:00Z, in the era that brings it nearest to `near` (of the same unit).
    pub const fn unix_micros_near(self, near: i64) -> i64 {
        near.saturating_add(self.micros_since(Self::from_unix_micros(near)))
    }

    /// Microseconds from `earlier` to here, negative when `earlier` lies later. Right within 68 years.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        let difference = self.0.wrapping_sub(earlier.0) as i64;
        ((difference as i128 * 1_000_000 + (1 << 31)) >> 32) as i64
    }

    /// Zero means "not known" in every field.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A 32-bit NTP short: seconds and fractions of 2^-16 s (RFC 5905, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Short(pub u32);

impl Short {
    /// From microseconds; what is longer than the format holds (18 hours) becomes its longest.
    pub const fn from_micros(micros: u64) -> Self {
        let value = ((micros as u128) << 16).div_ceil(1_000_000);
        Self(if value > u32::MAX as u128 {
            u32::MAX
        } else {
            value as u32
        })
    }

    pub const fn micros(self) -> u64 {
        (self.0 as u64 * 1_000_000) >> 16
    }
}

/// The leap indicator (RFC 5905, figure 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leap {
    #[default]
    None,
    /// The last minute of the day has 61 seconds.
    Insert,
    /// The last minute of the day has 59 seconds.
    Delete,
    /// Alarm: the clock was never synchronized.
    Unknown,
}

impl Leap {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Unknown => "unknown",
        }
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::None,
            1 => Self::Insert,
            2 => Self::Delete,
            _ => Self::Unknown,
        }
    }
}

/// The association modes that a client meets (RFC 5905, figure 10).
pub mod mode {
    pub const CLIENT: u8 = 3;
    pub const SERVER: u8 = 4;
}

/// The header of an NTP packet (RFC 5905, figure 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    pub leap: Leap,
    /// 0 to 7.
    pub version: u8,
    /// 0 to 7, see [`mode`].
    pub mode: u8,
    /// 0 in a kiss-o'-death, 1 at a reference clock, 2 to 15 behind others, 16 unsynchronized.
    pub stratum: u8,
    /// Logarithm to base 2 of seconds.
    pub poll: i8,
    /// Logarithm to base 2 of seconds.
    pub precision: i8,
    pub root_delay: Short,
    pub root_dispersion: Short,
    pub reference_id: [u8; 4],
    pub reference: Timestamp,
    /// The request's transmit timestamp, bit by bit.
    pub origin: Timestamp,
    pub receive: Timestamp,
    pub transmit: Timestamp,
}

impl Packet {
    /// A client's request that gives nothing away: all zero but version, mode and `nonce` as transmit timestamp.
    /// The server repeats the nonce as origin, which proves that its answer is one to this request.
    pub const fn request(nonce: u64) -> Self {
        let zero = Timestamp(0);
        Self {
            leap: Leap::None,
            version: VERSION,
            mode: mode::CLIENT,
            stratum: 0,
            poll: 0,
            precision: 0,
            root_delay: Short(0),
            root_dispersion: Short(0),
            reference_id: [0; 4],
            reference: zero,
            origin: zero,
            receive: zero,
            transmit: Timestamp(nonce),
        }
    }

    /// Reads the header; what follows it is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, TooShort> {
        let (header, _) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(TooShort(bytes.len()))?;
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let stamp = |at: usize| Timestamp(u64::from(word(at)) << 32 | u64::from(word(at + 4)));
        Ok(Self {
            leap: Leap::from_bits(header[0] >> 6),
            version: header[0] >> 3 & 7,
            mode: header[0] & 7,
            stratum: header[1],
            poll: header[2].cast_signed(),
            precision: header[3].cast_signed(),
            root_delay: Short(word(4)),
            root_dispersion: Short(word(8)),
            reference_id: [header[12], header[13], header[14], header[15]],
            reference: stamp(16),
            origin: stamp(24),
            receive: stamp(32),
            transmit: stamp(40),
        })
    }

    /// The header as it is sent. Bits of `version` and `mode` above the third are cut off.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = (self.leap as u8) << 6 | (self.version & 7) << 3 | self.mode & 7;
        bytes[1] = self.stratum;
        bytes[2] = self.poll.cast_unsigned();
        bytes[3] = self.precision.cast_unsigned();
        bytes[4..8].copy_from_slice(&self.root_delay.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.root_dispersion.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.reference_id);
        for (at, stamp) in [
            (16, self.reference),
            (24, self.origin),
            (32, self.receive),
            (40, self.transmit),
        ] {
            bytes[at..at + 8].copy_from_slice(&stamp.0.to_be_bytes());
        }
        bytes
    }

    /// The kiss code of a kiss-o'-death such as `RATE` or `DENY`: stratum 0 and four capital letters or digits
    /// in the reference id (RFC 5905, section 7.4).
    pub fn kiss(&self) -> Option<&str> {
        let code = std::str::from_utf8(&self.reference_id).ok()?;
        let fits = code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        (self.stratum == 0 && fits).then_some(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer of a stratum 2 server, laid out by hand from figure 8.
    const ANSWER: [u8; HEADER_LEN] = [
        0x64, 0x02, 0x06, 0xe9, // leap 1, version 4, mode 4; stratum 2; poll 6; precision -23
        0x00, 0x00, 0x80, 0x00, // root delay 0.5 s
        0x00, 0x01, 0x00, 0x00, // root dispersion 1 s
        192, 0, 2, 1, // reference id
        0xe8, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // reference
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, // origin
        0x83, 0xaa, 0x7e, 0x80, 0x80, 0x00, 0x00, 0x00, // receive: 1970-01-01T00:00:00.5Z
        0x83, 0xaa, 0x7e, 0x81, 0x00, 0x00, 0x00, 0x00, // transmit: 1970-01-01T00:00:01Z
    ];

    #[test]
    fn golden_answer() {
        let packet = Packet::parse(&ANSWER).unwrap();
        assert_eq!(packet.leap, Leap::Insert);
        assert_eq!(
            (packet.version, packet.mode, packet.stratum),
            (4, mode::SERVER, 2)
        );
        assert_eq!((packet.poll, packet.precision), (6, -23));
        assert_eq!(
            (packet.root_delay.micros(), packet.root_dispersion.micros()),
            (500_000, 1_000_000)
        );
        assert_eq!(packet.reference_id, [192, 0, 2, 1]);
        assert_eq!(packet.origin, Timestamp(0x0123_4567_89ab_cdef));
        assert_eq!(packet.receive.unix_micros_near(0), 500_000);
        assert_eq!(packet.transmit.micros_since(packet.receive), 500_000);
        assert_eq!(packet.to_bytes(), ANSWER);
    }

    #[test]
    fn golden_request() {
        let mut expected = [0; HEADER_LEN];
        expected[0] = 0x23;
        expected[40..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Packet::request(0x0102_0304_0506_0708).to_bytes(), expected);
    }

    #[test]
    fn every_truncation_is_an_error_and_what_follows_is_not_read() {
        for len in 0..HEADER_LEN {
            assert_eq!(Packet::parse(&ANSWER[..len]), Err(TooShort(len)));
        }
        let mut longer = ANSWER.to_vec();
        longer.extend([0xff; 20]);
        assert_eq!(Packet::parse(&longer), Packet::parse(&ANSWER));
    }

    #[test]
    fn eras_are_bridged() {
        // Era 0 ends at 2036-02-07T06:28:16Z.
        let rollover = 2_085_978_496_000_000;
        let (before, after) = (
            Timestamp::from_unix_micros(rollover - 1_000_000),
            Timestamp::from_unix_micros(rollover),
        );
        assert_eq!((before.0 >> 32, after.0), (0xffff_ffff, 0));
        assert_eq!(after.micros_since(before), 1_000_000);
        assert_eq!(before.micros_since(after), -1_000_000);
        assert_eq!(before.unix_micros_near(rollover + 5), rollover - 1_000_000);
        assert_eq!(
            Timestamp::from_unix_micros(rollover + 7).unix_micros_near(rollover - 9),
            rollover + 7
        );
    }

    #[test]
    fn shorts_convert_and_saturate() {
        for (micros, value) in [
            (0, 0),
            (1_000_000, 0x1_0000),
            (500_000, 0x8000),
            (u64::MAX, u32::MAX),
        ] {
            assert_eq!(Short::from_micros(micros), Short(value));
        }
        assert_eq!(Short(u32::MAX).micros(), 65_535_999_984);
    }

    #[test]
    fn kiss_codes() {
        let kiss = |stratum, reference_id: [u8; 4]| Packet {
            stratum,
            reference_id,
            ..Packet::default()
        };
        assert_eq!(kiss(0, *b"RATE").kiss(), Some("RATE"));
        assert_eq!(kiss(1, *b"RATE").kiss(), None);
        assert_eq!(kiss(0, [0; 4]).kiss(), None);
        assert_eq!(kiss(0, *b"\xff\x1b[m").kiss(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            match Packet::parse(&bytes) {
                Ok(packet) => {
                    prop_assert_eq!(&packet.to_bytes()[..], &bytes[..HEADER_LEN]);
                    let _ = (packet.kiss(), packet.root_delay.micros(), packet.root_dispersion.micros());
                    let _ = packet.transmit.micros_since(packet.receive);
                    let _ = packet.transmit.unix_micros_near(i64::MAX);
                }
                Err(TooShort(len)) => prop_assert!(len < HEADER_LEN),
            }
        }

        #[test]
        fn times_round_trip(micros in -60_000_000_000_000_000i64..60_000_000_000_000_000, off in -2_000_000_000_000_000i64..2_000_000_000_000_000) {
            let stamp = Timestamp::from_unix_micros(micros);
            prop_assert_eq!(stamp.unix_micros_near(micros + off), micros);
        }

        #[test]
        fn shorts_round_trip(micros in 0u64..65_000_000_000) {
            prop_assert!(Short::from_micros(micros).micros().abs_diff(micros) <= 16);
        }
    }
}
