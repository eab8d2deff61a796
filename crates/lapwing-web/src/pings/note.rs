//! What came with a ping: the end of its body, as text that can be shown anywhere.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Body;

/// Bytes of a body that are kept: the last ones, for a log says at its end what went wrong.
const KEPT: usize = 10 * 1024;
/// Bytes of a body that are read. The ping counts all the same: a job that talks too much is no job that failed.
const READ: usize = 16 << 20;

/// The end of a body.
#[derive(Debug, Default)]
pub(super) struct Note {
    tail: Vec<u8>,
    cut: bool,
}

/// The body broke off before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BrokenOff;

impl Note {
    /// Reads a body to its end, or as far as anybody needs.
    pub(super) async fn read<B: Body<Data = hyper::body::Bytes> + Unpin>(
        mut body: B,
    ) -> Result<Self, BrokenOff> {
        let mut note = Self::default();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(BrokenOff);
            };
            let Some(data) = frame.data_ref() else { continue };
            read += data.len();
            note.push(data);
            if read > READ {
                break;
            }
        }
        Ok(note)
    }

    fn push(&mut self, data: &[u8]) {
        let data = match data.len().checked_sub(KEPT) {
            Some(over) => {
                self.cut |= over > 0 || !self.tail.is_empty();
                &data[over..]
            }
            None => data,
        };
        let over = (self.tail.len() + data.len()).saturating_sub(KEPT);
        self.cut |= over > 0;
        self.tail.drain(..over);
        self.tail.extend_from_slice(data);
    }

    /// The text; None when there is nothing to read in it. What is no text is replaced: bytes that are no UTF-8 by
    /// U+FFFD, control and bidirectional characters but line feed and tab by spaces.
    pub(super) fn text(&self) -> Option<Arc<str>> {
        let continuation = |b: &&u8| self.cut && **b & 0xC0 == 0x80;
        let half = self.tail.iter().take(3).take_while(continuation).count();
        let text = String::from_utf8_lossy(&self.tail[half..]).replace("\r\n", "\n");
        let mut shown: String = text.trim_end().chars().map(visible).collect();
        // Replacements may be longer than what they replace.
        if let Some(over) = shown.len().checked_sub(KEPT) {
            shown.drain(..shown.ceil_char_boundary(over));
        }
        (!shown.trim().is_empty()).then(|| shown.into())
    }
}

fn visible(c: char) -> char {
    if c == '\n' || c == '\t' {
        return c;
    }
    let mut buffer = [0; 4];
    let cleaned = lapwing_core::observation::clean(c.encode_utf8(&mut buffer), 8);
    cleaned.chars().next().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunks: &[&[u8]]) -> Option<Arc<str>> {
        let mut note = Note::default();
        for chunk in chunks {
            note.push(chunk);
        }
        note.text()
    }

    #[test]
    fn short_bodies_are_kept_whole() {
        for (body, expected) in [
            (&b""[..], None),
            (b" \r\n\t", None),
            (b"\0\x01", None),
            (b"done\n", Some("done")),
            (b"a\tb\r\nc\rd", Some("a\tb\nc d")),
            (b"\x1b[31mred\x07", Some(" [31mred ")),
            (b"caf\xe9", Some("caf\u{FFFD}")),
            ("a\u{202E}b\u{85}c\u{9b}d".as_bytes(), Some("a b c d")),
            ("\u{2713} 3 GB".as_bytes(), Some("\u{2713} 3 GB")),
            (b"\x93\xff", Some("\u{FFFD}\u{FFFD}")),
        ] {
            assert_eq!(text(&[body]).as_deref(), expected, "{body:?}");
        }
    }

    #[test]
    fn of_long_bodies_the_end_is_kept() {
        let long: Vec<u8> = (0..30_000u32).map(|n| b'a' + (n % 26) as u8).collect();
        let end = std::str::from_utf8(&long[long.len() - KEPT..]).unwrap();
        for size in [1, 7, KEPT - 1, KEPT, KEPT + 1, 30_000] {
            let chunks: Vec<&[u8]> = long.chunks(size).collect();
            assert_eq!(text(&chunks).as_deref(), Some(end), "{size}");
        }
    }

    #[test]
    fn a_cut_never_leaves_half_a_character() {
        for shift in 0..4 {
            let mut long = vec![b'x'; shift];
            long.extend("\u{1F426}".repeat(KEPT / 4 + 10).bytes());
            let kept = text(&[&long[..5], &long[5..]]).unwrap();
            assert!(
                kept.len() > KEPT - 4 && kept.chars().all(|c| c == '\u{1F426}'),
                "{shift}"
            );
        }
    }

    #[test]
    fn replacements_do_not_outgrow_the_limit() {
        let kept = text(&[&vec![0xFF; KEPT]]).unwrap();
        assert!(kept.len() <= KEPT && kept.chars().all(|c| c == '\u{FFFD}'));
    }
}
