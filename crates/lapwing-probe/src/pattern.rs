//! What an answer must hold: a text, or a regular expression between slashes. Never panics on what a peer sent.

use std::fmt;

use lapwing_core::kind::{OptionError, OptionReader};
use regex::bytes::{Regex, RegexBuilder};

/// A text or a regular expression to be found somewhere in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    shown: String,
}

impl Pattern {
    /// Reads `text` as it stands, or `/regex/`.
    pub(crate) fn plain(text: &str) -> Result<Self, String> {
        match Self::between_slashes(text) {
            Some(regex) => regex,
            None => Self::bytes(text.as_bytes(), text),
        }
    }

    /// Reads `text` with the escapes of [`unescape`], or `/regex/`.
    pub(crate) fn escaped(text: &str) -> Result<Self, String> {
        match Self::between_slashes(text) {
            Some(regex) => regex,
            None => Self::bytes(&unescape(text)?, text),
        }
    }

    /// Reads the option `name` with `read`; an error goes to the reader.
    pub(crate) fn option(
        reader: &mut OptionReader<'_>,
        name: &'static str,
        read: fn(&str) -> Result<Self, String>,
    ) -> Option<Self> {
        let text = reader.text(name)?;
        match read(&text) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                reader.error(OptionError::new(name, format!("{name} = \"{text}\" {message}")));
                None
            }
        }
    }

    pub(crate) fn found_in(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    fn between_slashes(text: &str) -> Option<Result<Self, String>> {
        let inner = text
            .strip_prefix('/')?
            .strip_suffix('/')
            .filter(|inner| !inner.is_empty())?;
        Some(match RegexBuilder::new(inner).size_limit(1 << 20).build() {
            Ok(regex) => Ok(Self {
                regex,
                shown: text.to_owned(),
            }),
            Err(regex::Error::CompiledTooBig(_)) => Err("is too large a regular expression".to_owned()),
            Err(error) => {
                let text = error.to_string();
                let why = text.rsplit("error: ").next().unwrap_or_default().trim();
                Err(format!("is not a regular expression: {why}"))
            }
        })
    }

    fn bytes(bytes: &[u8], shown: &str) -> Result<Self, String> {
        use std::fmt::Write as _;
        if bytes.is_empty() {
            return Err("is empty: every answer would pass".to_owned());
        }
        let mut literal = String::from("(?-u)");
        for byte in bytes {
            let _ = write!(literal, "\\x{byte:02x}");
        }
        match Regex::new(&literal) {
            Ok(regex) => Ok(Self {
                regex,
                shown: format!("\"{shown}\""),
            }),
            Err(_) => Err("is too long".to_owned()),
        }
    }
}

/// As it is written in a configuration: `"220"` or `/^220/`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The bytes that `text` stands for: `\r` `\n` `\t` `\0` `\\` and `\xNN`, everything else as it is (UTF-8).
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let mut chars = rest.chars();
        let byte = match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits = rest
                    .get(1..3)
                    .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
                chars = rest.get(3..).unwrap_or_default().chars();
                byte.ok_or("holds \\x without two hexadecimal digits (as in \\x0d)")?
            }
            Some(other) => {
                return Err(format!(
                    "holds \\{other}; known are \\r \\n \\t \\0 \\\\ and \\xNN"
                ));
            }
            None => return Err("ends in a single \\; write \\\\ for one".to_owned()),
        };
        bytes.push(byte);
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The beginning of what a peer sent, in quotes and with escapes, for an error text.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let mut text = String::from("\"");
    for chunk in bytes[..bytes.len().min(SHOWN)].utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || matches!(c, '"' | '\\') {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text.push('"');
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

/// The first line of what a peer sent, as text.
pub(crate) fn first_line(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let line = bytes
        .split(|b| matches!(b, b'\r' | b'\n'))
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(LONGEST)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(
            unescape(r"EHLO x\r\n\t\0\\\x7F\xff").unwrap(),
            b"EHLO x\r\n\t\0\\\x7f\xff"
        );
        assert_eq!(unescape("grüß").unwrap(), "grüß".as_bytes());
        for (bad, why) in [
            (r"a\", "ends in"),
            (r"\q", r"\q"),
            (r"\x", "hexadecimal"),
            (r"\x0", "hexadecimal"),
            (r"\x0ü", "hexadecimal"),
            (r"\x+1", "hexadecimal"),
        ] {
            assert!(unescape(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn patterns_find() {
        for (pattern, bytes, found) in [
            ("220", &b"220 ready"[..], true),
            ("220", b"500 busy", false),
            ("/^2[0-9]+ /", b"220 ready", true),
            ("/^2[0-9]+ /", b" 220 ready", false),
            (r"/(?-u)\xff\x00/", b"a\xff\x00", true),
            (r"\xff\0", b"a\xff\x00b", true),
            ("a.c", b"abc", false),
            ("/", b"a/b", true),
            ("//", b"a/b", false),
            ("grüß", "x grüß".as_bytes(), true),
        ] {
            assert_eq!(
                Pattern::escaped(pattern).unwrap().found_in(bytes),
                found,
                "{pattern}"
            );
        }
        assert!(Pattern::plain(r"a\q").unwrap().found_in(br"a\q"));
    }

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, why) in [
            ("", "empty"),
            ("/(/", "unclosed group"),
            ("/(a{1000}){1000}/", "too large"),
            (r"\q", r"\q"),
        ] {
            let message = Pattern::escaped(pattern).unwrap_err();
            assert!(
                message.contains(why) && !message.contains('\n'),
                "{pattern}: {message}"
            );
        }
    }

    #[test]
    fn excerpts_are_short_and_clean() {
        assert_eq!(excerpt(b"500 busy\r\n"), r#""500 busy\r\n""#);
        assert_eq!(excerpt("ü\u{1b}[1m\"".as_bytes()), r#""ü\u{1b}[1m\"""#);
        assert_eq!(excerpt(b"\xff\x00"), r#""\xff\u{0}""#);
        assert!(excerpt(&[b'x'; 1000]).ends_with("x\"…"));
        assert_eq!(first_line(b"\r\nSSH-2.0-x\r\nmore"), "SSH-2.0-x");
        assert_eq!(first_line(b""), "");
    }
}
