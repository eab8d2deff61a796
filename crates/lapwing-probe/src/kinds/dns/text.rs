//! Answers as text: one canonical form for what a server sent and for what a configuration expects.
//!
//! Names are lower-case without the final dot, the strings of a TXT record are joined, figures are plain.
//! The two sides are compared as text, so both must be made here and nowhere else.

use std::{fmt::Write, net::IpAddr};

use hickory_proto::{
    rr::{
        Name, RData, RecordType,
        rdata::svcb::{SVCB, SvcParamKey},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};

/// The record type of `text`: a mnemonic in any case, or `TYPE65` (RFC 3597, section 5).
/// None for unknown ones, and for those that are no question of one datagram (zone transfers, meta types).
pub(super) fn record_type(text: &str) -> Option<RecordType> {
    use RecordType::{AXFR, IXFR, OPT, SIG, TSIG, ZERO};
    let upper = text.trim().to_ascii_uppercase();
    let kind = match upper.strip_prefix("TYPE").map(str::parse::<u16>) {
        Some(number) => RecordType::from(number.ok()?),
        None => upper.parse().ok()?,
    };
    (!matches!(kind, AXFR | IXFR | OPT | SIG | TSIG | ZERO)).then_some(kind)
}

/// `AAAA`, or `TYPE65280` for a type without a mnemonic.
pub(super) fn type_name(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        kind => kind.to_string(),
    }
}

/// True where a comma does not end an expected answer.
pub(super) fn may_hold_commas(kind: RecordType) -> bool {
    use RecordType::{ANY, CAA, HINFO, HTTPS, NAPTR, SVCB, TXT};
    matches!(kind, ANY | CAA | HINFO | HTTPS | NAPTR | SVCB | TXT)
}

/// A name in its canonical form: ASCII, lower-case, without the final dot; the root is a dot.
pub(super) fn name_text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Reads a name as a person writes it (Unicode too), with or without the final dot.
pub(super) fn read_name(text: &str) -> Option<Name> {
    let mut name = Name::from_str_relaxed(text).ok()?;
    name.set_fqdn(true);
    (!text.is_empty()).then_some(name)
}

/// The canonical form of an answer to a question for `asked`. Answers to ANY carry their type.
pub(super) fn answer_text(asked: RecordType, data: &RData) -> String {
    let text = data_text(data);
    if asked == RecordType::ANY {
        format!("{} {text}", type_name(data.record_type()))
    } else {
        text
    }
}

fn data_text(data: &RData) -> String {
    match data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(a) => a.0.to_string(),
        RData::ANAME(n) => name_text(n),
        RData::CNAME(n) => name_text(n),
        RData::NS(n) => name_text(n),
        RData::PTR(n) => name_text(n),
        RData::MX(mx) => format!("{} {}", mx.preference, name_text(&mx.exchange)),
        RData::SRV(srv) => format!(
            "{} {} {} {}",
            srv.priority,
            srv.weight,
            srv.port,
            name_text(&srv.target)
        ),
        RData::SOA(soa) => {
            let (mname, rname) = (name_text(&soa.mname), name_text(&soa.rname));
            let [refresh, retry, expire] = [soa.refresh, soa.retry, soa.expire].map(i32::cast_unsigned);
            format!(
                "{mname} {rname} {} {refresh} {retry} {expire} {}",
                soa.serial, soa.minimum
            )
        }
        RData::TXT(txt) => lossy(&txt.txt_data.concat()),
        RData::CAA(caa) => format!(
            "{} {} {}",
            caa.flags(),
            caa.tag.to_ascii_lowercase(),
            quoted(&caa.value)
        ),
        RData::NAPTR(n) => {
            let [flags, services, regexp] = [&n.flags, &n.services, &n.regexp].map(|text| quoted(text));
            format!(
                "{} {} {flags} {services} {regexp} {}",
                n.order,
                n.preference,
                name_text(&n.replacement)
            )
        }
        RData::HINFO(h) => format!("{} {}", quoted(&h.cpu), quoted(&h.os)),
        RData::TLSA(t) => tlsa_text(
            t.cert_usage.into(),
            t.selector.into(),
            t.matching.into(),
            &t.cert_data,
        ),
        RData::SMIMEA(t) => tlsa_text(
            t.cert_usage.into(),
            t.selector.into(),
            t.matching.into(),
            &t.cert_data,
        ),
        RData::SSHFP(s) => {
            format!(
                "{} {} {}",
                u8::from(s.algorithm),
                u8::from(s.fingerprint_type),
                hex(&s.fingerprint)
            )
        }
        RData::SVCB(svcb) => svcb_text(svcb),
        RData::HTTPS(https) => svcb_text(&https.0),
        RData::OPENPGPKEY(key) => base64(&key.public_key),
        RData::NULL(null) => unknown(&null.anything),
        RData::Unknown { code, rdata } => raw_text(*code, &rdata.anything),
        RData::OPT(_) => String::new(),
        other => other.to_string(),
    }
}

fn tlsa_text(usage: u8, selector: u8, matching: u8, data: &[u8]) -> String {
    format!("{usage} {selector} {matching} {}", hex(data))
}

/// Types that the parser of messages leaves as bytes.
fn raw_text(kind: RecordType, bytes: &[u8]) -> String {
    match (kind, bytes) {
        (RecordType::DS | RecordType::CDS, [high, low, algorithm, digest, data @ ..]) => {
            let tag = u16::from_be_bytes([*high, *low]);
            format!("{tag} {algorithm} {digest} {}", hex(data))
        }
        (RecordType::DNSKEY | RecordType::CDNSKEY, [high, low, protocol, algorithm, key @ ..]) => {
            let flags = u16::from_be_bytes([*high, *low]);
            format!("{flags} {protocol} {algorithm} {}", base64(key))
        }
        (RecordType::DNAME, bytes) => match Name::read(&mut BinDecoder::new(bytes)) {
            Ok(name) => name_text(&name),
            Err(_) => unknown(bytes),
        },
        (_, bytes) => unknown(bytes),
    }
}

/// RFC 9460, section 2.1; the parameters in alphabetical order, without quotes.
fn svcb_text(svcb: &SVCB) -> String {
    let mut params: Vec<String> = svcb
        .svc_params
        .iter()
        .map(|(key, value)| {
            let key = match key {
                SvcParamKey::Key(number) | SvcParamKey::Unknown(number) => format!("key{number}"),
                key => key.to_string(),
            };
            let value = value.to_string();
            let value = value.trim_matches(['"', ',']);
            if value.is_empty() {
                key
            } else {
                format!("{key}={value}")
            }
        })
        .collect();
    params.sort();
    let mut text = format!("{} {}", svcb.svc_priority, name_text(&svcb.target_name));
    for param in params {
        text.push(' ');
        text.push_str(&param);
    }
    text
}

/// One part of an expected answer.
#[derive(Clone, Copy)]
enum Part {
    Number,
    Name,
    /// A string, with or without quotes; written with them.
    Quoted,
    Word,
    /// Hexadecimal figures to the end, spaces between them allowed.
    Hex,
    /// Base 64 to the end, spaces between allowed.
    Base64,
    /// Service parameters to the end, in any order.
    Params,
}

/// The parts of a type's answers, and an example.
fn shape(kind: RecordType) -> Option<(&'static [Part], &'static str)> {
    use Part::{Base64, Hex, Name, Number, Params, Quoted, Word};
    Some(match kind {
        RecordType::CNAME | RecordType::NS | RecordType::PTR | RecordType::DNAME | RecordType::ANAME => {
            (&[Name], "www.example.com")
        }
        RecordType::MX => (&[Number, Name], "10 mail.example.com"),
        RecordType::SRV => (&[Number, Number, Number, Name], "0 5 5060 sip.example.com"),
        RecordType::SOA => (
            &[Name, Name, Number, Number, Number, Number, Number],
            "ns1.example.com hostmaster.example.com 2026112001 7200 3600 1209600 300",
        ),
        RecordType::CAA => (&[Number, Word, Quoted], "0 issue \"letsencrypt.org\""),
        RecordType::NAPTR => (
            &[Number, Number, Quoted, Quoted, Quoted, Name],
            "100 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.com",
        ),
        RecordType::HINFO => (&[Quoted, Quoted], "\"ARM64\" \"LINUX\""),
        RecordType::TLSA | RecordType::SMIMEA => (&[Number, Number, Number, Hex], "3 1 1 0123456789abcdef"),
        RecordType::DS | RecordType::CDS => (&[Number, Number, Number, Hex], "12345 13 2 0123456789abcdef"),
        RecordType::SSHFP => (&[Number, Number, Hex], "4 2 0123456789abcdef"),
        RecordType::DNSKEY | RecordType::CDNSKEY => {
            (&[Number, Number, Number, Base64], "257 3 13 bGFwd2luZw==")
        }
        RecordType::HTTPS | RecordType::SVCB => (&[Number, Name, Params], "1 . alpn=h2,h3"),
        RecordType::OPENPGPKEY => (&[Base64], "bGFwd2luZw=="),
        _ => return None,
    })
}

/// The canonical form of an expected answer to a question for `asked`, or what is wrong with it.
pub(super) fn expected_text(asked: RecordType, text: &str) -> Result<String, String> {
    if asked != RecordType::ANY {
        return expected_data(asked, text.trim());
    }
    let (kind, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match record_type(kind) {
        Some(kind) => Ok(format!(
            "{} {}",
            type_name(kind),
            expected_data(kind, rest.trim())?
        )),
        None => Err(format!(
            "\"{text}\" does not begin with a record type, like \"A 192.0.2.1\""
        )),
    }
}

fn expected_data(kind: RecordType, text: &str) -> Result<String, String> {
    match kind {
        RecordType::A => match text.parse() {
            Ok(IpAddr::V4(addr)) => Ok(addr.to_string()),
            _ => Err(format!(
                "\"{text}\" is not an IPv4 address, and that is what A records hold"
            )),
        },
        RecordType::AAAA => match text.parse() {
            Ok(IpAddr::V6(addr)) => Ok(addr.to_string()),
            _ => Err(format!(
                "\"{text}\" is not an IPv6 address, and that is what AAAA records hold"
            )),
        },
        RecordType::TXT if text.starts_with('"') => Ok(words(text).concat()),
        RecordType::TXT => Ok(text.to_owned()),
        kind => match shape(kind) {
            Some((parts, example)) => shaped(parts, text).ok_or_else(|| {
                format!(
                    "\"{text}\" is not an answer of type {}; one looks like: {example}",
                    type_name(kind)
                )
            }),
            None => Ok(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        },
    }
}

fn shaped(parts: &[Part], text: &str) -> Option<String> {
    let words = words(text);
    let mut rest = words.as_slice();
    let mut out: Vec<String> = Vec::new();
    for part in parts {
        if let Part::Params = part {
            let mut params = std::mem::take(&mut rest).to_vec();
            params.sort();
            out.extend(params);
            continue;
        }
        let (word, after) = rest.split_first()?;
        rest = after;
        out.push(match part {
            Part::Number => word.parse::<u32>().ok()?.to_string(),
            Part::Name => name_text(&read_name(word)?),
            Part::Quoted => quoted(word.as_bytes()),
            Part::Word => word.to_ascii_lowercase(),
            Part::Hex | Part::Base64 | Part::Params => {
                let all = format!("{word}{}", std::mem::take(&mut rest).concat());
                if matches!(part, Part::Base64) {
                    all
                } else {
                    hex_checked(&all)?
                }
            }
        });
    }
    rest.is_empty().then(|| out.join(" "))
}

fn hex_checked(text: &str) -> Option<String> {
    let fits = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| text.to_ascii_lowercase())
}

/// Words between spaces. Quotes hold spaces together and are taken off; a backslash takes the next character as it is.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut inside) = (Vec::new(), None::<String>, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                inside = !inside;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() && !inside => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", lossy(bytes).replace('\\', "\\\\").replace('"', "\\\""))
}

/// A record whose type we do not know (RFC 3597, section 5).
fn unknown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "\\# 0".to_owned()
    } else {
        format!("\\# {} {}", bytes.len(), hex(bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(chunk.get(i).copied().unwrap_or(0)));
        let group = a << 16 | b << 8 | c;
        for i in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * i) & 63) as usize];
            text.push(if i > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, HINFO, MX, NAPTR, NULL, SOA, SRV, TXT, tlsa};

    use super::*;

    fn name(text: &str) -> Name {
        read_name(text).unwrap()
    }

    fn raw(code: RecordType, bytes: &[u8]) -> RData {
        RData::Unknown {
            code,
            rdata: NULL::with(bytes.to_vec()),
        }
    }

    /// What was sent reads as `canonical`, and so does each way of expecting it.
    fn meet(asked: RecordType, data: &RData, canonical: &str, expected: &str) {
        assert_eq!(answer_text(asked, data), canonical);
        assert_eq!(
            expected_text(asked, expected).as_deref(),
            Ok(canonical),
            "{expected}"
        );
    }

    #[test]
    fn addresses_and_names_meet() {
        let v4 = RData::A(A::new(192, 0, 2, 1));
        meet(RecordType::A, &v4, "192.0.2.1", " 192.0.2.1");
        meet(RecordType::ANY, &v4, "A 192.0.2.1", "a 192.0.2.1");
        let v6 = RData::AAAA(AAAA("2001:db8::1".parse().unwrap()));
        meet(RecordType::AAAA, &v6, "2001:db8::1", "2001:0DB8:0:0::1");
        let cname = RData::CNAME(CNAME(name("bücher.example")));
        meet(
            RecordType::CNAME,
            &cname,
            "xn--bcher-kva.example",
            "Bücher.example.",
        );
        let mx = RData::MX(MX::new(10, name("Mail.Example.com")));
        meet(
            RecordType::MX,
            &mx,
            "10 mail.example.com",
            "10  mail.EXAMPLE.com.",
        );
        meet(RecordType::MX, &RData::MX(MX::new(0, Name::root())), "0 .", "0 .");
        let srv = RData::SRV(SRV::new(1, 2, 3, name("_x.Example.com.")));
        meet(
            RecordType::SRV,
            &srv,
            "1 2 3 _x.example.com",
            "1 2 03 _x.example.com",
        );
        let soa = RData::SOA(SOA::new(name("a.b"), name("c.d"), u32::MAX, -1, 2, 3, 4));
        meet(
            RecordType::SOA,
            &soa,
            "a.b c.d 4294967295 4294967295 2 3 4",
            "A.b. c.D. 4294967295 4294967295 2 3 4",
        );
    }

    #[test]
    fn strings_meet() {
        let txt = RData::TXT(TXT::new(vec!["v=spf1 ".into(), "-all".into()]));
        meet(RecordType::TXT, &txt, "v=spf1 -all", "\"v=spf1 \" \"-all\"");
        meet(RecordType::TXT, &txt, "v=spf1 -all", "v=spf1 -all");
        let caa = RData::CAA(CAA::new_issue(
            false,
            Some(Name::from_ascii("ca.example").unwrap()),
            vec![],
        ));
        meet(
            RecordType::CAA,
            &caa,
            "0 issue \"ca.example\"",
            "0 ISSUE ca.example",
        );
        let hinfo = RData::HINFO(HINFO::new("a\"b".into(), String::new()));
        meet(RecordType::HINFO, &hinfo, r#""a\"b" """#, r#"a\"b """#);
        let boxed = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
        let naptr = NAPTR::new(
            100,
            10,
            boxed("u"),
            boxed("E2U+sip"),
            boxed("!^.*$!sip:x@y!"),
            Name::root(),
        );
        let text = "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:x@y!\" .";
        meet(
            RecordType::NAPTR,
            &RData::NAPTR(naptr),
            text,
            "100 10 u \"E2U+sip\" \"!^.*$!sip:x@y!\" .",
        );
    }

    #[test]
    fn keys_and_unknown_records_meet() {
        use RecordType::{DNAME, DNSKEY, DS, TLSA, Unknown};
        let ds = raw(DS, &[0x30, 0x39, 13, 2, 0xab, 0xcd]);
        meet(DS, &ds, "12345 13 2 abcd", "12345 13 2 AB CD");
        let dnskey = raw(DNSKEY, b"\x01\x01\x03\x0dlapwing");
        meet(DNSKEY, &dnskey, "257 3 13 bGFwd2luZw==", "257 3 13 bGFw d2luZw==");
        let tlsa = tlsa::TLSA::new(3.into(), 1.into(), 1.into(), vec![0xab, 0x0c]);
        meet(TLSA, &RData::TLSA(tlsa), "3 1 1 ab0c", "3 1 1 AB0C");
        meet(DNAME, &raw(DNAME, b"\x01A\x02bc\x00"), "a.bc", "a.bc.");
        meet(
            Unknown(65_280),
            &raw(Unknown(65_280), &[1, 255]),
            "\\# 2 01ff",
            "\\#  2 01ff",
        );
        for cut in [&b"\x01"[..], b"\xc0\x00", b"\x02a"] {
            assert!(answer_text(DS, &raw(DS, cut)).starts_with("\\# "));
            assert!(answer_text(DNAME, &raw(DNAME, cut)).starts_with("\\# "));
        }
    }

    #[test]
    fn service_parameters_in_any_order() {
        // priority 1, root, alpn=h2,h3 (key 1), port=8443 (key 3), key7="ab"
        let bytes = b"\x00\x01\x00\x00\x01\x00\x06\x02h2\x02h3\x00\x03\x00\x02\x20\xfb\x00\x07\x00\x02ab";
        let mut message = vec![
            0,
            1,
            0x80,
            0,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            65,
            0,
            1,
            0,
            0,
            0,
            1,
            0,
            bytes.len() as u8,
        ];
        message.extend(bytes);
        let message = hickory_proto::op::Message::from_vec(&message).unwrap();
        let text = answer_text(RecordType::HTTPS, &message.answers[0].data);
        assert_eq!(text, "1 . alpn=h2,h3 key7=ab port=8443");
        assert_eq!(
            expected_text(RecordType::HTTPS, "1 . port=8443 key7=ab alpn=\"h2,h3\"").unwrap(),
            text
        );
    }

    #[test]
    fn malformed_expectations_say_what_is_right() {
        for (kind, text, hint) in [
            (RecordType::A, "2001:db8::1", "IPv4"),
            (RecordType::AAAA, "example.com", "IPv6"),
            (RecordType::MX, "mail.example.com", "10 mail.example.com"),
            (RecordType::MX, "10 mail.example.com 20", "10 mail.example.com"),
            (RecordType::SRV, "x 1 2 a.b", "5060"),
            (RecordType::CNAME, "a..b", "www.example.com"),
            (RecordType::TLSA, "3 1 1 xyz", "3 1 1"),
            (RecordType::ANY, "192.0.2.1", "A 192.0.2.1"),
        ] {
            let error = expected_text(kind, text).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn base64_pads() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn types_by_name_and_number() {
        assert_eq!(record_type("aaaa"), Some(RecordType::AAAA));
        assert_eq!(record_type("TYPE65"), Some(RecordType::HTTPS));
        assert_eq!(
            record_type("type65280").map(type_name).as_deref(),
            Some("TYPE65280")
        );
        for refused in ["AXFR", "OPT", "TYPE41", "TYPE70000", "", "AA"] {
            assert_eq!(record_type(refused), None, "{refused}");
        }
    }
}
