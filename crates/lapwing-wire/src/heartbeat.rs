//! Heartbeats as datagrams: what `lapwing sensor` sends, what the listener answers, and the plain words of the
//! netmonitor script. Nothing here decides whether a beat counts; a MAC is compared in constant time.
//!
//! A keyed datagram always has 120 bytes, a reply too; all integers are big-endian.
//! ```text
//!   0  magic "LWhb"       4  version 1       5  flags       6  zero (2)
//!      flags of a request: 0 beat, 1 boot, 2 stop; of a reply: 0x80 heard, 0x81 stale, 0x82 superseded
//!   8  session number, larger at each start of the sender (8)      16  sequence number, from 1 (8)
//!  24  random for each start of the sender (8)                     32  wall clock, µs since 1970 (8)
//!  40  uptime of the machine, µs (8); of a stale reply: the newest session number that the server knows
//!  48  the process has been running for, µs (8)
//!  56  since the last acknowledged beat, µs, when more than a period passed, else 0 (8)
//!  64  beats not acknowledged in that time (4)    68  hindrance: 0 unanswered, 1 no route, 2 no name    69  zero (3)
//!  72  sensor id, zero padded (32)
//! 104  the first 16 bytes of HMAC-SHA256 (RFC 2104) over bytes 0 to 103 under the sensor's key
//! ```
//! In a reply, bytes 40 to 71 are zero but for the one field named.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::WireError;

/// Bytes of every keyed datagram, request or reply.
pub const LEN: usize = 120;
/// The port of the heartbeat listener where none is given.
pub const DEFAULT_PORT: u16 = 7777;
/// Longest plain datagram.
pub const PLAIN_MAX: usize = 80;

const MAGIC: [u8; 4] = *b"LWhb";
const VERSION: u8 = 1;
const REPLY: u8 = 0x80;
const HINDRANCE_MAX: u8 = 2;
const ID_AT: usize = 72;
const ID_LEN: usize = 32;
/// The MAC covers all bytes before this one.
const MAC_AT: usize = 104;
const BOOT_TEXT_MAX: usize = 64;
const WHAT: &str = "keyed heartbeat";

/// Who sends: the NAME of `heartbeat:NAME`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorId([u8; ID_LEN]);

/// Why a text is no sensor id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sensor id has 1 to 32 characters, each a letter, a digit, \".\", \"_\" or \"-\"")]
pub struct BadSensorId;

impl SensorId {
    pub fn parse(text: &str) -> Result<Self, BadSensorId> {
        let mut field = [0; ID_LEN];
        field
            .get_mut(..text.len())
            .ok_or(BadSensorId)?
            .copy_from_slice(text.as_bytes());
        Self::read(field)
            .filter(|id| id.as_str() == text)
            .ok_or(BadSensorId)
    }

    /// From the zero padded field of a datagram.
    fn read(field: [u8; ID_LEN]) -> Option<Self> {
        let len = field.iter().position(|byte| *byte == 0).unwrap_or(ID_LEN);
        let (text, padding) = field.split_at(len);
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        (len > 0 && text.iter().all(fits) && padding.iter().all(|byte| *byte == 0)).then_some(Self(field))
    }

    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(ID_LEN);
        str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl std::fmt::Display for SensorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for SensorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SensorId({self})")
    }
}

/// What a sensor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All is well.
    Beat,
    /// All is well, and its machine has booted.
    Boot,
    /// It ends in good order.
    Stop,
}

/// A request: one beat of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub kind: Kind,
    /// The number of the sender's session: larger at each start of its process.
    pub boot: u64,
    /// The number of the beat in its session, from 1.
    pub seq: u64,
    /// Random for each start of the process.
    pub instance: u64,
    /// The sender's wall clock, µs since 1970-01-01T00:00:00Z.
    pub time: i64,
    /// For how long its machine has been running, suspend included.
    pub uptime_us: u64,
    /// For how long its process has been running, suspend included.
    pub running_us: u64,
    /// Since the last acknowledged beat; 0 when that is not longer than a period.
    pub silent_us: u64,
    /// Beats that were not acknowledged in that time.
    pub lost: u32,
    /// What kept it from being heard: 0 nobody answered, 1 no route, 2 no name.
    pub hindrance: u8,
}

/// What the listener says to a beat with a valid MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It counts, and that is on disk.
    Heard,
    /// Its session number is lower than one heard before; the sensor goes on above `newest`.
    Stale { newest: u64 },
    /// A second sensor with the same id took over.
    Superseded,
}

/// A reply. It repeats the session, number and instance of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub answer: Answer,
    pub boot: u64,
    pub seq: u64,
    pub instance: u64,
    /// The server's wall clock, µs since 1970-01-01T00:00:00Z.
    pub time: i64,
}

/// True when the bytes begin as a keyed heartbeat does, of whatever version.
pub fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// True when the bytes claim to be a version of the format that this program does not know. Its length may differ.
pub fn is_other_version(bytes: &[u8]) -> bool {
    is_marked(bytes) && bytes.get(MAGIC.len()).is_some_and(|version| *version != VERSION)
}

/// True for a reply. Of bytes that [`peek`] accepts.
pub fn is_reply(bytes: &[u8]) -> bool {
    bytes.get(5).is_some_and(|flags| flags & REPLY != 0)
}

/// All checks but that of the MAC, in no more than a few comparisons. Tells whose key is to be tried.
pub fn peek(bytes: &[u8]) -> Result<SensorId, WireError> {
    let wrong = |field| Err(WireError::Malformed { what: WHAT, field });
    if is_other_version(bytes) {
        return wrong("version");
    }
    let whole = whole(bytes)?;
    if !is_marked(whole) {
        return wrong("magic");
    }
    let reply = is_reply(whole);
    if whole[5] & !REPLY > 2 || whole[6..8] != [0, 0] {
        return wrong("flags");
    }
    if number(whole, 16) == 0 {
        return wrong("sequence number");
    }
    let stale = whole[5] == REPLY | 1;
    if reply && (!stale && number(whole, 40) != 0 || whole[48..69].iter().any(|byte| *byte != 0)) {
        return wrong("account");
    }
    if whole[68] > HINDRANCE_MAX || whole[69..72] != [0, 0, 0] {
        return wrong("hindrance");
    }
    SensorId::read(array(whole, ID_AT)).map_or(wrong("sensor id"), Ok)
}

/// True when the MAC was made with this key. Takes the same time whatever is wrong.
pub fn verify(bytes: &[u8], key: &[u8]) -> bool {
    whole(bytes).is_ok_and(|whole| {
        let (text, mac) = whole.split_at(MAC_AT);
        mac_of(text, key).verify_truncated_left(mac).is_ok()
    })
}

impl Beat {
    pub fn write(&self, id: &SensorId, key: &[u8]) -> [u8; LEN] {
        let flags = match self.kind {
            Kind::Beat => 0,
            Kind::Boot => 1,
            Kind::Stop => 2,
        };
        let mut out = head(flags, self.boot, self.seq, self.instance, self.time);
        put(&mut out, 40, self.uptime_us);
        put(&mut out, 48, self.running_us);
        put(&mut out, 56, self.silent_us);
        out[64..68].copy_from_slice(&self.lost.to_be_bytes());
        out[68] = self.hindrance.min(HINDRANCE_MAX);
        sign(out, id, key)
    }

    /// Reads a request; refuses a reply. Whether it is genuine, only [`verify`] tells.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        peek(bytes)?;
        let whole = whole(bytes)?;
        let kind = match whole[5] {
            0 => Kind::Beat,
            1 => Kind::Boot,
            2 => Kind::Stop,
            _ => return Err(DIRECTION),
        };
        Ok(Self {
            kind,
            boot: number(whole, 8),
            seq: number(whole, 16),
            instance: number(whole, 24),
            time: number(whole, 32).cast_signed(),
            uptime_us: number(whole, 40),
            running_us: number(whole, 48),
            silent_us: number(whole, 56),
            lost: u32::from_be_bytes(array(whole, 64)),
            hindrance: whole[68],
        })
    }
}

impl Reply {
    pub fn write(&self, id: &SensorId, key: &[u8]) -> [u8; LEN] {
        let (flags, newest) = match self.answer {
            Answer::Heard => (0, 0),
            Answer::Stale { newest } => (1, newest),
            Answer::Superseded => (2, 0),
        };
        let mut out = head(REPLY | flags, self.boot, self.seq, self.instance, self.time);
        put(&mut out, 40, newest);
        sign(out, id, key)
    }

    /// Reads a reply; refuses a request. Whether it is genuine, only [`verify`] tells.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        peek(bytes)?;
        let whole = whole(bytes)?;
        let answer = match whole[5] ^ REPLY {
            0 => Answer::Heard,
            1 => Answer::Stale {
                newest: number(whole, 40),
            },
            2 => Answer::Superseded,
            _ => return Err(DIRECTION),
        };
        Ok(Self {
            answer,
            boot: number(whole, 8),
            seq: number(whole, 16),
            instance: number(whole, 24),
            time: number(whole, 32).cast_signed(),
        })
    }
}

/// A datagram of the netmonitor script. It proves nothing, so it is never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// `PING`: all is well.
    Ping,
    /// `BOOT` and the uptime of the machine; see [`uptime`].
    Boot(&'a str),
}

impl<'a> Plain<'a> {
    /// `PING`, or `BOOT` with at most 64 printable ASCII characters; white space and NUL at the end are not part of it.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > PLAIN_MAX {
            return None;
        }
        let text = str::from_utf8(bytes)
            .ok()?
            .trim_end_matches(['\r', '\n', '\0', ' ']);
        if text == "PING" {
            return Some(Self::Ping);
        }
        let rest = text.strip_prefix("BOOT")?;
        let printable = rest.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        (rest.len() <= BOOT_TEXT_MAX && printable).then_some(Self::Boot(rest))
    }
}

/// The uptime that a `BOOT` gives, when it is a number of seconds like `93.52`; at most 136 years.
pub fn uptime(text: &str) -> Option<Duration> {
    let text = text.trim_matches(' ');
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| decimal)?;
    (seconds <= f64::from(u32::MAX)).then(|| Duration::from_secs_f64(seconds))
}

const DIRECTION: WireError = WireError::Malformed {
    what: WHAT,
    field: "direction",
};

/// The bytes, if they are as many as a datagram has.
fn whole(bytes: &[u8]) -> Result<&[u8; LEN], WireError> {
    let have = bytes.len();
    let short = WireError::Short {
        what: WHAT,
        need: LEN,
        have,
    };
    let long = WireError::Malformed {
        what: WHAT,
        field: "length",
    };
    bytes
        .try_into()
        .map_err(|_| if have < LEN { short } else { long })
}

fn head(flags: u8, boot: u64, seq: u64, instance: u64, time: i64) -> [u8; LEN] {
    let mut out = [0; LEN];
    out[..4].copy_from_slice(&MAGIC);
    out[4] = VERSION;
    out[5] = flags;
    put(&mut out, 8, boot);
    put(&mut out, 16, seq);
    put(&mut out, 24, instance);
    put(&mut out, 32, time.cast_unsigned());
    out
}

fn sign(mut out: [u8; LEN], id: &SensorId, key: &[u8]) -> [u8; LEN] {
    out[ID_AT..MAC_AT].copy_from_slice(&id.0);
    let mac = mac_of(&out[..MAC_AT], key).finalize().into_bytes();
    out[MAC_AT..].copy_from_slice(&mac[..LEN - MAC_AT]);
    out
}

fn mac_of(text: &[u8], key: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

fn put(out: &mut [u8; LEN], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn number(whole: &[u8; LEN], at: usize) -> u64 {
    u64::from_be_bytes(array(whole, at))
}

fn array<const N: usize>(whole: &[u8; LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&whole[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef";
    const BEAT: Beat = Beat {
        kind: Kind::Boot,
        boot: 0x0102_0304_0506_0708,
        seq: 9,
        instance: 0x1112_1314_1516_1718,
        time: 0x2122_2324_2526_2728,
        uptime_us: 0x3132,
        running_us: 0x4142,
        silent_us: 0x5152,
        lost: 0x6162_6364,
        hindrance: 2,
    };
    const REPLY_STALE: Reply = Reply {
        answer: Answer::Stale { newest: 0x8182 },
        boot: BEAT.boot,
        seq: BEAT.seq,
        instance: BEAT.instance,
        time: 0x7172_7374_7576_7778,
    };
    // The MACs are those of `openssl dgst -sha256 -mac HMAC -macopt key:0123456789abcdef`.
    const GOLDEN_BEAT: [u8; LEN] = *b"\
        LWhb\x01\x01\0\0\
        \x01\x02\x03\x04\x05\x06\x07\x08\
        \0\0\0\0\0\0\0\x09\
        \x11\x12\x13\x14\x15\x16\x17\x18\
        \x21\x22\x23\x24\x25\x26\x27\x28\
        \0\0\0\0\0\0\x31\x32\
        \0\0\0\0\0\0AB\
        \0\0\0\0\0\0QR\
        abcd\x02\0\0\0\
        home-1.a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \x1f\xbb\x90\x06\x8eAN\x8aLg\x5c\x1b\xf2\x7e\xf3j";
    const GOLDEN_REPLY: [u8; LEN] = *b"\
        LWhb\x01\x81\0\0\
        \x01\x02\x03\x04\x05\x06\x07\x08\
        \0\0\0\0\0\0\0\x09\
        \x11\x12\x13\x14\x15\x16\x17\x18\
        qrstuvwx\
        \0\0\0\0\0\0\x81\x82\
        \0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\
        home-1.a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \x02\x058B\xe6\xb2\x12w\xa0Vz\x0a\xe2O\x40r";

    fn id() -> SensorId {
        SensorId::parse("home-1.a").unwrap()
    }

    fn wrong(field: &'static str) -> WireError {
        WireError::Malformed { what: WHAT, field }
    }

    #[test]
    fn golden_bytes_and_round_trip() {
        assert_eq!(BEAT.write(&id(), KEY), GOLDEN_BEAT);
        assert_eq!(REPLY_STALE.write(&id(), KEY), GOLDEN_REPLY);
        assert_eq!(Beat::parse(&GOLDEN_BEAT), Ok(BEAT));
        assert_eq!(Reply::parse(&GOLDEN_REPLY), Ok(REPLY_STALE));
        for bytes in [GOLDEN_BEAT, GOLDEN_REPLY] {
            assert_eq!(peek(&bytes), Ok(id()));
            assert!(verify(&bytes, KEY) && is_marked(&bytes));
        }
        assert!(is_reply(&GOLDEN_REPLY) && !is_reply(&GOLDEN_BEAT));
    }

    #[test]
    fn the_directions_are_not_mixed() {
        assert_eq!(Beat::parse(&GOLDEN_REPLY), Err(wrong("direction")));
        assert_eq!(Reply::parse(&GOLDEN_BEAT), Err(wrong("direction")));
    }

    #[test]
    fn the_mac_covers_every_byte() {
        for golden in [GOLDEN_BEAT, GOLDEN_REPLY] {
            for at in 0..LEN {
                let mut bytes = golden;
                bytes[at] ^= 0x40;
                assert!(!verify(&bytes, KEY), "byte {at}");
            }
            assert!(!verify(&golden, b"0123456789abcdeg"));
            assert!(!verify(&golden, b""));
            assert!(!verify(&golden[..LEN - 1], KEY));
        }
    }

    #[test]
    fn every_truncation_and_every_wrong_field() {
        for have in 0..LEN {
            let short = WireError::Short {
                what: WHAT,
                need: LEN,
                have,
            };
            assert_eq!(Beat::parse(&GOLDEN_BEAT[..have]), Err(short));
            assert_eq!(Reply::parse(&GOLDEN_REPLY[..have]), Err(short));
        }
        let mut long = GOLDEN_BEAT.to_vec();
        long.push(0);
        assert_eq!(peek(&long), Err(wrong("length")));
        for (golden, at, value, field) in [
            (GOLDEN_BEAT, 0, b'l', "magic"),
            (GOLDEN_BEAT, 4, 2, "version"),
            (GOLDEN_BEAT, 5, 3, "flags"),
            (GOLDEN_BEAT, 5, 0x40, "flags"),
            (GOLDEN_REPLY, 5, 0x83, "flags"),
            (GOLDEN_BEAT, 6, 1, "flags"),
            (GOLDEN_BEAT, 7, 1, "flags"),
            (GOLDEN_BEAT, 23, 0, "sequence number"),
            (GOLDEN_REPLY, 5, 0x80, "account"),
            (GOLDEN_REPLY, 5, 0x82, "account"),
            (GOLDEN_REPLY, 48, 1, "account"),
            (GOLDEN_REPLY, 63, 1, "account"),
            (GOLDEN_REPLY, 67, 1, "account"),
            (GOLDEN_REPLY, 68, 1, "account"),
            (GOLDEN_BEAT, 68, 3, "hindrance"),
            (GOLDEN_BEAT, 69, 1, "hindrance"),
            (GOLDEN_REPLY, 71, 1, "hindrance"),
            (GOLDEN_BEAT, 72, 0, "sensor id"),
            (GOLDEN_BEAT, 73, b'/', "sensor id"),
            (GOLDEN_BEAT, 74, 0, "sensor id"),
            (GOLDEN_REPLY, 103, b'a', "sensor id"),
        ] {
            let mut bytes = golden;
            bytes[at] = value;
            assert_eq!(peek(&bytes), Err(wrong(field)), "byte {at}");
            assert_eq!(Beat::parse(&bytes), Err(wrong(field)), "byte {at}");
            assert_eq!(Reply::parse(&bytes), Err(wrong(field)), "byte {at}");
        }
    }

    #[test]
    fn another_version_may_have_another_length() {
        for bytes in [&b"LWhb\x02"[..], &[b"LWhb\x09".as_slice(), &[0; 200]].concat()] {
            assert!(is_other_version(bytes));
            assert_eq!(peek(bytes), Err(wrong("version")));
        }
        assert!(!is_other_version(b"LWhb") && !is_other_version(&GOLDEN_BEAT) && !is_other_version(b"PING"));
    }

    #[test]
    fn sensor_ids() {
        let longest = "abcdefghijklmnopqrstuvwxyz.-_789";
        for good in ["a", "Home-1_b.C", longest] {
            assert_eq!(SensorId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "ä",
            "a\0",
            "\0",
            "abcdefghijklmnopqrstuvwxyz.-_7890",
        ] {
            assert_eq!(SensorId::parse(bad), Err(BadSensorId), "{bad:?}");
        }
        assert_eq!(format!("{:?} {}", id(), id()), "SensorId(home-1.a) home-1.a");
    }

    #[test]
    fn a_hindrance_unknown_to_the_format_is_not_written() {
        let odd = Beat { hindrance: 9, ..BEAT };
        assert_eq!(Beat::parse(&odd.write(&id(), KEY)), Ok(BEAT));
    }

    #[test]
    fn plain_words() {
        let sixty_four = "x".repeat(64);
        let long = format!("BOOT{sixty_four}");
        for (text, expected) in [
            ("PING", Some(Plain::Ping)),
            ("PING\r\n", Some(Plain::Ping)),
            ("PING \n\0", Some(Plain::Ping)),
            ("BOOT", Some(Plain::Boot(""))),
            ("BOOT93.52\n", Some(Plain::Boot("93.52"))),
            ("BOOTup 3 days", Some(Plain::Boot("up 3 days"))),
            (&long, Some(Plain::Boot(&sixty_four))),
            (&format!("{long}x"), None),
            (&format!("PING{}", " ".repeat(76)), Some(Plain::Ping)),
            (&format!("PING{}", " ".repeat(77)), None),
            ("", None),
            ("ping", None),
            (" PING", None),
            ("PINGS", None),
            ("BOO", None),
            ("BOOT1\n2", None),
            ("BOOT\x1b[2J", None),
            ("BOOT1µ", None),
        ] {
            assert_eq!(Plain::parse(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(Plain::parse(b"BOOT\xff"), None);
    }

    #[test]
    fn uptimes_are_decimal_seconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("93.52", Some(93_520)),
            (" 93.52 ", Some(93_520)),
            ("4294967295", Some(4_294_967_295_000)),
            ("4294967296", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("+1", None),
            ("1e5", None),
            ("inf", None),
            ("nan", None),
            ("1.2.3", None),
            ("0x10", None),
            ("12 13", None),
            ("93,5", None),
        ] {
            assert_eq!(uptime(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>, marked: bool, full: bool) {
            if full { bytes.resize(LEN, 0); }
            if marked { bytes.splice(..bytes.len().min(8), GOLDEN_BEAT[..8].iter().copied()); }
            let (beat, reply) = (Beat::parse(&bytes), Reply::parse(&bytes));
            proptest::prop_assert_eq!(peek(&bytes).is_ok(), beat.is_ok() || reply.is_ok());
            proptest::prop_assert!(!verify(&bytes, KEY));
            let _ = Plain::parse(&bytes);
        }

        #[test]
        fn round_trips(
            kind in 0..3usize, boot: u64, seq in 1..=u64::MAX, instance: u64, time: i64,
            times: [u64; 3], lost: u32, hindrance in 0..3u8, id in "[A-Za-z0-9._-]{1,32}", key: Vec<u8>,
        ) {
            let id = SensorId::parse(&id).unwrap();
            let beat = Beat {
                kind: [Kind::Beat, Kind::Boot, Kind::Stop][kind],
                boot, seq, instance, time,
                uptime_us: times[0], running_us: times[1], silent_us: times[2],
                lost, hindrance,
            };
            let bytes = beat.write(&id, &key);
            proptest::prop_assert_eq!((peek(&bytes), Beat::parse(&bytes)), (Ok(id), Ok(beat)));
            proptest::prop_assert!(verify(&bytes, &key));
            let answer = [Answer::Heard, Answer::Stale { newest: times[0] }, Answer::Superseded][kind];
            let reply = Reply { answer, boot, seq, instance, time };
            let bytes = reply.write(&id, &key);
            proptest::prop_assert_eq!((peek(&bytes), Reply::parse(&bytes)), (Ok(id), Ok(reply)));
            proptest::prop_assert!(verify(&bytes, &key));
        }

        #[test]
        fn any_text_has_an_uptime_or_none(text: String) {
            let _ = uptime(&text);
        }
    }
}
