//! How a dns target and its options become a question. Finds every error at once, and asks nothing.

use std::net::IpAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RecordType},
};
use lapwing_core::{
    kind::{OptionError, OptionReader, OptionValue, Options, nearest},
    target::Target,
};

use super::{Dns, INFO, Matching, RCODES, Servers, exchange::Question, rcode_name, text};

/// Reads all of it, or gives every error at once.
pub(super) fn read(target: &Target, options: &Options) -> Result<Dns, Vec<OptionError>> {
    let mut reader = OptionReader::new(&INFO, options);
    let kind = read_type(&mut reader);
    let class = match read_word(&mut reader, "class", &["IN", "CH", "HS"]) {
        1 => DNSClass::CH,
        2 => DNSClass::HS,
        _ => DNSClass::IN,
    };
    let tcp = reader.choice("transport") == "tcp";
    let matching = match reader.choice("match") {
        "all" => Matching::All,
        "exact" => Matching::Exact,
        _ => Matching::Any,
    };
    let rcode = ResponseCode::from(0, read_word(&mut reader, "rcode", RCODES) as u8);
    let expect = kind
        .map(|kind| read_expect(&mut reader, kind, options))
        .unwrap_or_default();
    if rcode != ResponseCode::NoError && reader.has("expect") {
        reader.error(
            OptionError::new(
                "expect",
                format!(
                    "expect has no answers to look at with rcode = {}",
                    rcode_name(rcode)
                ),
            )
            .hint("leave out expect, or rcode"),
        );
    }
    let name = read_target_name(&mut reader, target, kind);
    reader.finish()?;
    let kind = kind.unwrap_or(RecordType::A);
    let servers = match &target.host {
        Some(host) => Servers::Given(host.clone(), target.port.unwrap_or(53)),
        None => Servers::System,
    };
    Ok(Dns {
        servers,
        question: Question { name, kind, class },
        tcp,
        expect,
        matching,
        rcode,
    })
}

/// None when it is none, and reported: what depends on it is then not looked at.
fn read_type(reader: &mut OptionReader<'_>) -> Option<RecordType> {
    const TYPES: [&str; 17] = [
        "a", "aaaa", "any", "caa", "cname", "dnskey", "ds", "https", "mx", "naptr", "ns", "ptr", "soa",
        "srv", "svcb", "tlsa", "txt",
    ];
    let given = reader.text("type").unwrap_or_default();
    let kind = text::record_type(&given);
    if kind.is_none() {
        let error = OptionError::new(
            "type",
            format!("type = \"{given}\" is not a record type that can be asked for"),
        );
        reader.error(match nearest(&given, TYPES) {
            Some(near) => error.hint(format!("did you mean \"{}\"?", near.to_ascii_uppercase())),
            None => error.hint("for example: type = \"AAAA\""),
        });
    }
    kind
}

/// The place in `words` of an option's value, in any case (RFC 4501 has no case either); 0 when it is none of them.
fn read_word(reader: &mut OptionReader<'_>, name: &'static str, words: &[&'static str]) -> usize {
    let given = reader.text(name).unwrap_or_default().to_ascii_uppercase();
    words.iter().position(|word| *word == given).unwrap_or_else(|| {
        // Reports the value with the kind's own words.
        reader.choice(name);
        0
    })
}

fn read_expect(reader: &mut OptionReader<'_>, kind: RecordType, options: &Options) -> Vec<String> {
    let mut expect = Vec::new();
    let listed = match options.get("expect") {
        Some(OptionValue::Text(one)) if text::may_hold_commas(kind) => vec![one.clone()],
        _ => reader.list("expect"),
    };
    for given in listed {
        match text::expected_text(kind, &given) {
            Ok(text) => expect.push(text),
            Err(why) => reader.error(OptionError::new("expect", format!("expect: {why}"))),
        }
    }
    expect.sort();
    expect.dedup();
    expect
}

fn read_target_name(reader: &mut OptionReader<'_>, target: &Target, kind: Option<RecordType>) -> Name {
    let path = target.path.strip_prefix('/').unwrap_or(&target.path);
    let Some(text) = percent_decoded(path).filter(|text| !text.is_empty()) else {
        let error = OptionError::new("", format!("\"{}\" lacks the name to ask for", target.url));
        reader.error(error.hint("for example dns://192.0.2.53/www.example.com"));
        return Name::root();
    };
    if let Ok(addr) = text.parse::<IpAddr>() {
        match kind {
            Some(RecordType::PTR) => return Name::from(addr),
            Some(_) => {
                let error = OptionError::new("type", format!("\"{text}\" is an address, not a name"));
                reader.error(error.hint("its reverse name is asked for with type=PTR"));
            }
            None => {}
        }
    }
    text::read_name(&text).unwrap_or_else(|| {
        reader.error(OptionError::new("", format!("\"{text}\" is not a domain name")));
        Name::root()
    })
}

/// The text of a URL path; None when it is not UTF-8 or an escape is cut.
fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
            (digit()? << 4 | digit()?) as u8
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}
