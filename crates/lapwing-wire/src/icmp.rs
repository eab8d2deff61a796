//! ICMP echo and the errors that quote it (RFC 792, RFC 4443), and the IPv4 header before it (RFC 791).
//!
//! Invariant: any bytes either parse or give an error. What is read is a claim of whoever sent it: whether it belongs
//! to a request of ours is decided by address, sequence number and cookie, elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{checksum::internet, error::WireError};

/// Bytes of the ICMP header before the payload.
pub const HEADER_LEN: usize = 8;
/// Bytes of the cookie that begins every payload; the shortest payload that a request has.
pub const COOKIE_LEN: usize = 8;
/// The longest payload that fits an IP packet of 65,535 bytes with a 20-byte header.
pub const PAYLOAD_MAX: usize = 65_535 - 20 - HEADER_LEN;

const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;

/// Which ICMP: the numbers of the types differ, and only that of IPv4 is written with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    V4,
    V6,
}

/// An echo request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    pub id: u16,
    pub seq: u16,
    /// Begins the payload; a reply without it is not ours.
    pub cookie: u64,
}

impl EchoRequest {
    /// Writes the message with a payload of `payload` bytes (at least [`COOKIE_LEN`]) into `out`, and gives its length.
    /// The checksum is written for IPv4; for IPv6 it covers addresses that only the kernel knows, so it fills it in
    /// (RFC 3542, section 3.1).
    pub fn write(&self, version: Version, payload: usize, out: &mut [u8]) -> Result<usize, WireError> {
        let len = HEADER_LEN + payload.max(COOKIE_LEN);
        let have = out.len();
        let Some(message) = out.get_mut(..len) else {
            return Err(WireError::Short {
                what: "buffer for an echo request",
                need: len,
                have,
            });
        };
        message[0] = if version == Version::V4 { 8 } else { 128 };
        message[1] = 0;
        message[2..4].fill(0);
        message[4..6].copy_from_slice(&self.id.to_be_bytes());
        message[6..8].copy_from_slice(&self.seq.to_be_bytes());
        message[8..16].copy_from_slice(&self.cookie.to_be_bytes());
        for (i, byte) in message[16..].iter_mut().enumerate() {
            *byte = i as u8;
        }
        if version == Version::V4 {
            let sum = internet(message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        Ok(len)
    }
}

/// The header fields of an echo message, and the cookie where its payload is long enough to hold one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    pub id: u16,
    pub seq: u16,
    pub cookie: Option<u64>,
    /// Bytes of the payload.
    pub payload: usize,
}

/// What an ICMP error says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// It cannot be delivered; the code says why (RFC 792; RFC 1122, section 3.2.2.1; RFC 4443, section 3.1).
    Unreachable(u8),
    /// It had to be fragmented and must not be. The MTU of the next link, 0 where the router does not say
    /// (RFC 1191, section 4; RFC 4443, section 3.2).
    TooBig(u32),
    /// Its time to live or hop limit ran out on the way (code 0), or its fragments did not come in time (code 1).
    TimeExceeded(u8),
    /// A field of its header is wrong.
    Parameter(u8),
}

impl Complaint {
    /// The complaint of an ICMP error of `kind` and `code`; `word` is the second word of its header.
    /// None when the type is not an error.
    pub fn of(version: Version, kind: u8, code: u8, word: u32) -> Option<Self> {
        Some(match (version, kind, code) {
            (Version::V4, 3, 4) => Self::TooBig(word & 0xffff),
            (Version::V6, 2, _) => Self::TooBig(word),
            (Version::V4, 3, _) | (Version::V6, 1, _) => Self::Unreachable(code),
            (Version::V4, 11, _) | (Version::V6, 3, _) => Self::TimeExceeded(code),
            (Version::V4, 12, _) | (Version::V6, 4, _) => Self::Parameter(code),
            _ => return None,
        })
    }

    /// What it says, as a fragment of a sentence.
    pub fn words(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Unreachable(0), Version::V4) => "network unreachable",
            (Self::Unreachable(1), Version::V4) => "host unreachable",
            (Self::Unreachable(2), Version::V4) => "protocol unreachable",
            (Self::Unreachable(3), Version::V4) | (Self::Unreachable(4), Version::V6) => "port unreachable",
            (Self::Unreachable(5), Version::V4) => "source route failed",
            (Self::Unreachable(6), Version::V4) => "network unknown",
            (Self::Unreachable(7), Version::V4) => "host unknown",
            (Self::Unreachable(9 | 10 | 13), Version::V4) | (Self::Unreachable(1), Version::V6) => {
                "prohibited by a firewall or router"
            }
            (Self::Unreachable(0), Version::V6) => "no route to the address",
            (Self::Unreachable(2), Version::V6) => "beyond the scope of the source address",
            (Self::Unreachable(3), Version::V6) => "address unreachable",
            (Self::Unreachable(5), Version::V6) => "source address failed ingress policy",
            (Self::Unreachable(6), Version::V6) => "route rejects the address",
            (Self::Unreachable(_), _) => "destination unreachable",
            (Self::TooBig(_), _) => "packet too big for the path",
            (Self::TimeExceeded(1), _) => "fragments not reassembled in time",
            (Self::TimeExceeded(_), _) => "time to live exceeded on the way",
            (Self::Parameter(_), _) => "packet rejected as malformed",
        }
    }
}

/// An ICMP error, with the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub complaint: Complaint,
    /// Where the quoted packet was going.
    pub destination: IpAddr,
    /// The quoted echo request. Its cookie is missing where the router quotes only eight bytes (RFC 792).
    pub quoted: Echo,
}

/// An ICMP message that can concern us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Reply(Echo),
    /// Somebody's request; on loopback our own arrive too.
    Request(Echo),
    /// An error about an echo request.
    Report(Report),
    /// Anything else, errors about other packets included.
    Other,
}

/// The part of an IPv4 packet that a raw socket gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    pub ttl: u8,
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Reads the header and skips its options (RFC 791, section 3.1). The payload ends with the bytes given: raw
    /// sockets and quotes give less or other than the header's total length says.
    pub fn parse(packet: &'a [u8]) -> Result<Self, WireError> {
        let what = "IPv4 packet";
        let header = packet.first_chunk::<IPV4_HEADER_LEN>();
        let header = header.ok_or(WireError::Short {
            what,
            need: IPV4_HEADER_LEN,
            have: packet.len(),
        })?;
        if header[0] >> 4 != 4 {
            return Err(WireError::Malformed {
                what,
                field: "version",
            });
        }
        let len = usize::from(header[0] & 0xf) * 4;
        if len < IPV4_HEADER_LEN {
            return Err(WireError::Malformed {
                what,
                field: "header length",
            });
        }
        let payload = packet.get(len..).ok_or(WireError::Short {
            what,
            need: len,
            have: packet.len(),
        })?;
        Ok(Self {
            ttl: header[8],
            protocol: header[9],
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
            payload,
        })
    }
}

/// Whether the checksum of a message was looked at by someone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The kernel verified it, or the message was cut and it cannot be verified.
    Verified,
    /// It came from a raw IPv4 socket: verify it here.
    Verify,
}

/// Reads an ICMP message, from its type on.
pub fn parse(version: Version, message: &[u8], trust: Trust) -> Result<Message, WireError> {
    let what = "ICMP message";
    let (header, body) = message
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(WireError::Short {
            what,
            need: HEADER_LEN,
            have: message.len(),
        })?;
    if version == Version::V4 && trust == Trust::Verify && internet(message) != 0 {
        return Err(WireError::Checksum { what });
    }
    let kind = header[0];
    match (version, kind) {
        (Version::V4, 0) | (Version::V6, 129) => Ok(Message::Reply(echo(*header, body))),
        (Version::V4, 8) | (Version::V6, 128) => Ok(Message::Request(echo(*header, body))),
        _ => {
            let word = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let Some(complaint) = Complaint::of(version, kind, header[1], word) else {
                return Ok(Message::Other);
            };
            let found = match version {
                Version::V4 => quoted_v4(body)?,
                Version::V6 => quoted_v6(body)?,
            };
            Ok(found.map_or(Message::Other, |(destination, quoted)| {
                Message::Report(Report {
                    complaint,
                    destination,
                    quoted,
                })
            }))
        }
    }
}

/// Reads a quoted echo request from its ICMP type on, as the kernel's error queue gives it. None when it is another
/// message or too short for a header.
pub fn quoted_request(version: Version, bytes: &[u8]) -> Option<Echo> {
    let (header, body) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let request = if version == Version::V4 { 8 } else { 128 };
    (header[0] == request).then(|| echo(*header, body))
}

fn echo(header: [u8; HEADER_LEN], body: &[u8]) -> Echo {
    Echo {
        id: u16::from_be_bytes([header[4], header[5]]),
        seq: u16::from_be_bytes([header[6], header[7]]),
        cookie: body
            .first_chunk::<COOKIE_LEN>()
            .map(|cookie| u64::from_be_bytes(*cookie)),
        payload: body.len(),
    }
}

fn quoted_v4(body: &[u8]) -> Result<Option<(IpAddr, Echo)>, WireError> {
    let packet = Ipv4::parse(body)?;
    if packet.protocol != PROTOCOL_ICMP {
        return Ok(None);
    }
    Ok(quoted_request(Version::V4, packet.payload).map(|echo| (packet.destination.into(), echo)))
}

/// Our requests have no extension headers, so a quote that has some is not of ours.
fn quoted_v6(body: &[u8]) -> Result<Option<(IpAddr, Echo)>, WireError> {
    let what = "IPv6 packet";
    let (header, payload) = body
        .split_first_chunk::<IPV6_HEADER_LEN>()
        .ok_or(WireError::Short {
            what,
            need: IPV6_HEADER_LEN,
            have: body.len(),
        })?;
    if header[0] >> 4 != 6 {
        return Err(WireError::Malformed {
            what,
            field: "version",
        });
    }
    if header[6] != PROTOCOL_ICMPV6 {
        return Ok(None);
    }
    let mut destination = [0; 16];
    destination.copy_from_slice(&header[24..40]);
    let destination = IpAddr::V6(Ipv6Addr::from(destination));
    Ok(quoted_request(Version::V6, payload).map(|echo| (destination, echo)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: EchoRequest = EchoRequest {
        id: 0x1234,
        seq: 0x0007,
        cookie: 0x0102_0304_0506_0708,
    };
    const GOLDEN: [u8; 20] = [
        8, 0, 0xd3, 0xac, 0x12, 0x34, 0x00, 0x07, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3,
    ];

    fn written(version: Version, payload: usize) -> Vec<u8> {
        let mut out = [0; 2048];
        let len = REQUEST.write(version, payload, &mut out).unwrap();
        out[..len].to_vec()
    }

    /// An IPv4 packet around `payload`, with `options` bytes of options.
    fn ipv4(payload: &[u8], options: usize) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x40 | (5 + options / 4) as u8;
        packet[8] = 63;
        packet[9] = 1;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 9]);
        packet.extend_from_slice(payload);
        packet
    }

    fn ipv6(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = 58;
        packet[39] = 9;
        packet.extend_from_slice(payload);
        packet
    }

    fn error(kind: u8, code: u8, word: u32, quote: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend_from_slice(&word.to_be_bytes());
        message.extend_from_slice(quote);
        let sum = internet(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    #[test]
    fn golden_request() {
        assert_eq!(written(Version::V4, 12), GOLDEN);
        let v6 = written(Version::V6, 12);
        assert_eq!((v6[0], &v6[2..4], &v6[4..]), (128, &[0, 0][..], &GOLDEN[4..]));
        assert_eq!(
            written(Version::V4, 0).len(),
            HEADER_LEN + COOKIE_LEN,
            "the cookie is always there"
        );
        assert!(REQUEST.write(Version::V4, 12, &mut [0; 19]).is_err());
    }

    #[test]
    fn reply_round_trip() {
        for (version, reply) in [(Version::V4, 0), (Version::V6, 129)] {
            let mut message = written(version, 56);
            message[0] = reply;
            message[2..4].fill(0);
            let sum = internet(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let echo = Echo {
                id: 0x1234,
                seq: 7,
                cookie: Some(REQUEST.cookie),
                payload: 56,
            };
            assert_eq!(parse(version, &message, Trust::Verify), Ok(Message::Reply(echo)));
        }
    }

    #[test]
    fn a_wrong_checksum_is_seen() {
        let mut message = GOLDEN;
        message[0] = 0;
        assert_eq!(
            parse(Version::V4, &message, Trust::Verify),
            Err(WireError::Checksum { what: "ICMP message" })
        );
        assert!(matches!(
            parse(Version::V4, &message, Trust::Verified),
            Ok(Message::Reply(_))
        ));
    }

    #[test]
    fn errors_quote_the_request() {
        let v4 = written(Version::V4, 56);
        let v6 = written(Version::V6, 56);
        for (version, message, complaint, address) in [
            (
                Version::V4,
                error(3, 1, 0, &ipv4(&v4, 0)),
                Complaint::Unreachable(1),
                "10.0.0.9",
            ),
            (
                Version::V4,
                error(3, 4, 1400, &ipv4(&v4, 0)),
                Complaint::TooBig(1400),
                "10.0.0.9",
            ),
            (
                Version::V4,
                error(11, 0, 0, &ipv4(&v4, 8)),
                Complaint::TimeExceeded(0),
                "10.0.0.9",
            ),
            (
                Version::V4,
                error(12, 0, 0, &ipv4(&v4, 40)),
                Complaint::Parameter(0),
                "10.0.0.9",
            ),
            (
                Version::V6,
                error(1, 3, 0, &ipv6(&v6)),
                Complaint::Unreachable(3),
                "::9",
            ),
            (
                Version::V6,
                error(2, 0, 1280, &ipv6(&v6)),
                Complaint::TooBig(1280),
                "::9",
            ),
            (
                Version::V6,
                error(3, 0, 0, &ipv6(&v6)),
                Complaint::TimeExceeded(0),
                "::9",
            ),
            (
                Version::V6,
                error(4, 1, 0, &ipv6(&v6)),
                Complaint::Parameter(1),
                "::9",
            ),
        ] {
            let quoted = Echo {
                id: 0x1234,
                seq: 7,
                cookie: Some(REQUEST.cookie),
                payload: 56,
            };
            let report = Report {
                complaint,
                destination: address.parse().unwrap(),
                quoted,
            };
            assert_eq!(
                parse(version, &message, Trust::Verify),
                Ok(Message::Report(report))
            );
            assert!(!complaint.words(version).is_empty());
        }
    }

    #[test]
    fn a_quote_of_eight_bytes_has_no_cookie() {
        let message = error(3, 0, 0, &ipv4(&written(Version::V4, 56)[..8], 0));
        let Ok(Message::Report(report)) = parse(Version::V4, &message, Trust::Verify) else {
            panic!()
        };
        assert_eq!((report.quoted.seq, report.quoted.cookie), (7, None));
    }

    #[test]
    fn errors_about_other_packets_are_not_ours() {
        let mut udp = ipv4(&[0; 8], 0);
        udp[9] = 17;
        let mut tcp6 = ipv6(&[0; 8]);
        tcp6[6] = 6;
        let reply = ipv4(&[0; 8], 0);
        assert_eq!(
            parse(Version::V4, &error(3, 3, 0, &udp), Trust::Verify),
            Ok(Message::Other)
        );
        assert_eq!(
            parse(Version::V4, &error(3, 3, 0, &reply), Trust::Verify),
            Ok(Message::Other)
        );
        assert_eq!(
            parse(Version::V6, &error(1, 4, 0, &tcp6), Trust::Verify),
            Ok(Message::Other)
        );
        assert_eq!(
            parse(Version::V4, &error(5, 1, 0, &reply), Trust::Verify),
            Ok(Message::Other),
            "redirect"
        );
    }

    #[test]
    fn ipv4_headers() {
        let packet = ipv4(&[1, 2, 3], 12);
        let read = Ipv4::parse(&packet).unwrap();
        assert_eq!(
            (read.ttl, read.source, read.payload),
            (63, Ipv4Addr::new(10, 0, 0, 1), &[1, 2, 3][..])
        );
        for (first, error) in [(0x65, "version"), (0x44, "header length")] {
            let mut packet = packet.clone();
            packet[0] = first;
            assert_eq!(
                Ipv4::parse(&packet),
                Err(WireError::Malformed {
                    what: "IPv4 packet",
                    field: error
                })
            );
        }
        assert!(Ipv4::parse(&packet[..31]).is_err(), "options cut off");
    }

    #[test]
    fn every_truncation_is_an_error_or_says_less() {
        for (version, full) in [
            (Version::V4, error(3, 1, 0, &ipv4(&written(Version::V4, 16), 0))),
            (Version::V6, error(1, 3, 0, &ipv6(&written(Version::V6, 16)))),
        ] {
            let quote = if version == Version::V4 { 28 } else { 48 };
            for len in 0..full.len() {
                match parse(version, &full[..len], Trust::Verified) {
                    Err(WireError::Short { .. }) => assert!(len < quote),
                    Ok(Message::Other) => assert!((quote..quote + 8).contains(&len)),
                    Ok(Message::Report(report)) => {
                        assert_eq!(report.quoted.cookie.is_some(), len >= quote + 16);
                    }
                    other => panic!("{len}: {other:?}"),
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, v6: bool) {
            let version = if v6 { Version::V6 } else { Version::V4 };
            for trust in [Trust::Verified, Trust::Verify] {
                let _ = parse(version, &bytes, trust);
            }
            let _ = (Ipv4::parse(&bytes), quoted_request(version, &bytes));
        }

        #[test]
        fn any_quote_is_survived(kind in 0u8..13, first: u8, mut quote: Vec<u8>, v6: bool) {
            if let Some(byte) = quote.first_mut() { *byte = first & 0xf | if v6 { 0x60 } else { 0x40 }; }
            let version = if v6 { Version::V6 } else { Version::V4 };
            let _ = parse(version, &error(kind, 0, 0, &quote), Trust::Verify);
        }

        #[test]
        fn requests_round_trip(id: u16, seq: u16, cookie: u64, payload in 8usize..1500) {
            let mut out = [0; 2048];
            let request = EchoRequest { id, seq, cookie };
            for version in [Version::V4, Version::V6] {
                let len = request.write(version, payload, &mut out).unwrap();
                let echo = Echo { id, seq, cookie: Some(cookie), payload };
                proptest::prop_assert_eq!(parse(version, &out[..len], Trust::Verify), Ok(Message::Request(echo)));
            }
        }
    }
}
