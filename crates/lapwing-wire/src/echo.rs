//! Lapwing's echo datagram: what `udp-echo` sends and the echo server of `[echo]` answers.
//!
//! A reply has the length of its request, never more. The direction bit is set in every reply, and a server never
//! answers a datagram that has it set: two servers cannot be made to talk to each other (CERT VU#417980).
//!
//! All integers are big-endian; the padding is free and comes back as it was sent.
//! ```text
//!  0  magic "LWec"       4  version 1       5  flags, 0x80: a reply      6  zero (2 bytes)
//!  8  cookie of the session (8)            16  sequence number (4)
//! 20  datagrams of this session that the server received so far, this one included; 0: not counted (4)
//! 24  sender's time, µs (8)                32  server's time of receipt, µs since 1970; 0 in a request (8)
//! 40  padding
//! ```

use crate::error::WireError;

/// Bytes of the header, and so of the shortest datagram.
pub const HEADER_LEN: usize = 40;
/// The port of the echo server where none is given.
pub const DEFAULT_PORT: u16 = 7007;

const MAGIC: [u8; 4] = *b"LWec";
const VERSION: u8 = 1;
const REPLY: u8 = 0x80;
const WHAT: &str = "Lapwing echo datagram";

/// The header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen at random for each session; a reply without it is not ours.
    pub cookie: u64,
    pub seq: u32,
    /// The sender's time in µs, of a clock of its own; the server only gives it back.
    pub sent: u64,
}

/// What the server adds to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Datagrams of the session received so far, this one included; 0 where the server does not count.
    pub received: u32,
    /// The server's wall clock when the request arrived, µs since 1970-01-01T00:00:00Z.
    pub at: i64,
}

/// A datagram that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    Request(Request),
    Reply(Request, Stamp),
}

impl Request {
    /// Writes the datagram over the whole of `out`: header, then a padding that depends on the position alone.
    pub fn write(&self, out: &mut [u8]) -> Result<(), WireError> {
        let have = out.len();
        let (header, padding) = out
            .split_first_chunk_mut::<HEADER_LEN>()
            .ok_or(WireError::Short {
                what: WHAT,
                need: HEADER_LEN,
                have,
            })?;
        header.fill(0);
        header[..4].copy_from_slice(&MAGIC);
        header[4] = VERSION;
        header[8..16].copy_from_slice(&self.cookie.to_be_bytes());
        header[16..20].copy_from_slice(&self.seq.to_be_bytes());
        header[24..32].copy_from_slice(&self.sent.to_be_bytes());
        for (i, byte) in padding.iter_mut().enumerate() {
            *byte = i as u8;
        }
        Ok(())
    }
}

impl Datagram {
    /// Reads the header; [`is_marked`] tells first whether a datagram claims to be one of these.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(WireError::Short {
            what: WHAT,
            need: HEADER_LEN,
            have: bytes.len(),
        })?;
        let wrong = |field| Err(WireError::Malformed { what: WHAT, field });
        if header[..4] != MAGIC {
            return wrong("magic");
        }
        if header[4] != VERSION {
            return wrong("version");
        }
        if header[5] & !REPLY != 0 || header[6..8] != [0, 0] {
            return wrong("flags");
        }
        let request = Request {
            cookie: u64::from_be_bytes(eight(header, 8)),
            seq: u32::from_be_bytes(four(header, 16)),
            sent: u64::from_be_bytes(eight(header, 24)),
        };
        let stamp = Stamp {
            received: u32::from_be_bytes(four(header, 20)),
            at: i64::from_be_bytes(eight(header, 32)),
        };
        if header[5] & REPLY != 0 {
            return Ok(Self::Reply(request, stamp));
        }
        if stamp.received != 0 || stamp.at != 0 {
            return wrong("stamp");
        }
        Ok(Self::Request(request))
    }
}

/// True when the bytes begin as a datagram of this format does, whatever follows. Others are plain RFC 862 echo.
pub fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Turns a request, in place, into its reply. Refuses what is not a request, replies above all.
pub fn answer(bytes: &mut [u8], stamp: Stamp) -> Result<Request, WireError> {
    let Datagram::Request(request) = Datagram::parse(bytes)? else {
        return Err(WireError::Malformed {
            what: WHAT,
            field: "direction",
        });
    };
    bytes[5] |= REPLY;
    bytes[20..24].copy_from_slice(&stamp.received.to_be_bytes());
    bytes[32..40].copy_from_slice(&stamp.at.to_be_bytes());
    Ok(request)
}

fn four(header: &[u8; HEADER_LEN], at: usize) -> [u8; 4] {
    [header[at], header[at + 1], header[at + 2], header[at + 3]]
}

fn eight(header: &[u8; HEADER_LEN], at: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        cookie: 0x0102_0304_0506_0708,
        seq: 9,
        sent: 0x1112,
    };
    const STAMP: Stamp = Stamp {
        received: 3,
        at: 0x2122,
    };
    const GOLDEN: [u8; 42] = [
        b'L', b'W', b'e', b'c', 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x11, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ];

    #[test]
    fn golden_bytes_and_round_trip() {
        let mut bytes = [0xff; 42];
        REQUEST.write(&mut bytes).unwrap();
        assert_eq!(bytes, GOLDEN);
        assert_eq!(Datagram::parse(&bytes), Ok(Datagram::Request(REQUEST)));
        assert_eq!(answer(&mut bytes, STAMP), Ok(REQUEST));
        assert_eq!(Datagram::parse(&bytes), Ok(Datagram::Reply(REQUEST, STAMP)));
        let mut reply = GOLDEN;
        reply[5] = 0x80;
        reply[23] = 3;
        reply[38..40].copy_from_slice(&[0x21, 0x22]);
        assert_eq!(bytes, reply);
    }

    #[test]
    fn a_reply_is_never_answered() {
        let mut bytes = GOLDEN;
        answer(&mut bytes, STAMP).unwrap();
        let before = bytes;
        assert_eq!(
            answer(&mut bytes, STAMP),
            Err(WireError::Malformed {
                what: WHAT,
                field: "direction"
            })
        );
        assert_eq!(bytes, before);
    }

    #[test]
    fn every_truncation_and_every_wrong_field() {
        for len in 0..HEADER_LEN {
            let error = WireError::Short {
                what: WHAT,
                need: HEADER_LEN,
                have: len,
            };
            assert_eq!(Datagram::parse(&GOLDEN[..len]), Err(error));
            assert!(REQUEST.write(&mut [0; HEADER_LEN][..len]).is_err());
        }
        for (at, field) in [
            (0, "magic"),
            (4, "version"),
            (5, "flags"),
            (7, "flags"),
            (23, "stamp"),
            (39, "stamp"),
        ] {
            let mut bytes = GOLDEN;
            bytes[at] ^= 1;
            assert_eq!(
                Datagram::parse(&bytes),
                Err(WireError::Malformed { what: WHAT, field })
            );
        }
        assert!(is_marked(&GOLDEN) && !is_marked(b"LWe") && !is_marked(b"hello"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>, marked: bool) {
            if marked { bytes.splice(..bytes.len().min(8), GOLDEN[..8].iter().copied()); }
            let before = bytes.clone();
            let parsed = Datagram::parse(&bytes);
            let answered = answer(&mut bytes, STAMP);
            proptest::prop_assert_eq!(answered.is_ok(), matches!(parsed, Ok(Datagram::Request(_))));
            proptest::prop_assert_eq!(bytes.len(), before.len());
            if answered.is_err() { proptest::prop_assert_eq!(bytes, before); }
        }

        #[test]
        fn round_trips(cookie: u64, seq: u32, sent: u64, received: u32, at: i64, len in HEADER_LEN..600) {
            let (request, stamp) = (Request { cookie, seq, sent }, Stamp { received, at });
            let mut bytes = vec![0; len];
            request.write(&mut bytes).unwrap();
            answer(&mut bytes, stamp).unwrap();
            proptest::prop_assert_eq!(Datagram::parse(&bytes), Ok(Datagram::Reply(request, stamp)));
        }
    }
}
