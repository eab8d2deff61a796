//! Quotes what others say without ever repeating a secret of ours that they repeat.

use lapwing_core::{observation::clean, secret::Secret};
use lapwing_net::Url;

/// Shorter pieces of a secret are not looked for: they stand in ordinary words.
const PIECE_MIN: usize = 4;
/// Most bytes of a foreign text that are quoted.
const QUOTE_MAX: usize = 160;

/// Knows the secrets of one notifier, in the forms in which they travel.
#[derive(Default)]
pub(crate) struct Redactor(Vec<Secret>);

impl Redactor {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A token or password, raw, percent-encoded (found by decoding) and in Base64.
    #[must_use]
    pub(crate) fn secret(mut self, text: &str) -> Self {
        self.add(text);
        self.add(&base64(text.as_bytes()));
        self
    }

    /// A URL of which everything but scheme, host and user name is secret.
    #[must_use]
    pub(crate) fn url(mut self, url: &Url) -> Self {
        self = self.secret(url.as_str());
        let path = url.path_segments().into_iter().flatten().map(str::to_owned);
        let query = url.query_pairs().map(|(_, value)| value.into_owned());
        let pieces: Vec<String> = path
            .chain(query)
            .filter(|piece| piece.len() >= 2 * PIECE_MIN)
            .collect();
        for piece in pieces {
            self = self.secret(&percent_decode(&piece));
        }
        if let Some(password) = url.password() {
            self = self.secret(&percent_decode(password));
            self.add(&base64(
                format!("{}:{}", percent_decode(url.username()), percent_decode(password)).as_bytes(),
            ));
        }
        self.add(url.path().trim_matches('/'));
        self
    }

    /// `text` in one line of bounded length, or a word on why it is withheld.
    pub(crate) fn quote(&self, text: &str) -> String {
        if self.repeats(text) {
            return "the answer is withheld because it repeats a secret".to_owned();
        }
        clean(text.trim(), QUOTE_MAX).trim().to_owned()
    }

    /// True when `text` holds a secret in any form in which it travels.
    pub(crate) fn repeats(&self, text: &str) -> bool {
        let plain: String = percent_decode(text).replace('\\', "");
        self.0
            .iter()
            .any(|secret| text.contains(secret.expose()) || plain.contains(secret.expose()))
    }

    fn add(&mut self, piece: &str) {
        if piece.len() >= PIECE_MIN {
            self.0.push(Secret::new(piece));
        }
    }
}

/// Base64 with padding (RFC 4648 section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let index = (word >> (18 - 6 * i) & 63) as usize;
            out.push(if i <= chunk.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    out
}

/// `text` with `%41` read as `A`; what is not such a triple stays.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        let byte = hex
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        let coded = byte.filter(|_| bytes[at] == b'%');
        out.push(coded.unwrap_or(bytes[at]));
        at += if coded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_vectors_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_repeated_secret_is_withheld_in_every_form() {
        let url = Url::parse("https://h/services/T0/can%20ary-77?key=otherword").unwrap();
        let redactor = Redactor::new().secret("hunter/22").url(&url);
        for leak in [
            "x hunter/22 y",
            "x hunter%2F22",
            "x hunter\\/22",
            "aHVudGVyLzIy",
            "can ary-77",
            "can%20ary-77",
            "otherword",
            "services/T0",
        ] {
            assert!(redactor.quote(leak).contains("withheld"), "{leak}");
        }
        assert_eq!(redactor.quote(" no_service\r\n100%\u{1b} "), "no_service  100%");
        assert_eq!(redactor.quote("%é%zz%"), "%é%zz%");
    }
}
