//! The message as a notifier gets it: everything a sink may want to say, already decided and rendered.

use std::{borrow::Cow, time::Duration};

use jiff::{Zoned, tz::TimeZone};
use lapwing_core::{
    observation::clean,
    time::{Hms, Wall},
};

/// Longest text that leaves this house, in bytes. A digest of a mass outage is cut there.
pub(crate) const TEXT_MAX: usize = 16 * 1024;

/// Names that templates of notifiers may use: `{text}`.
pub const FIELDS: &[&str] = &[
    "id", "event", "monitor", "series", "target", "kind", "KIND", "host", "date", "time", "at", "text",
    "short",
];

/// A notice, rendered, on its way to one notifier.
#[derive(Clone, Debug)]
pub struct Message {
    /// Stable over every resend: the idempotency key of receivers that can tell one from the other.
    pub id: String,
    /// It may have arrived before: the last try ended without an answer that we kept.
    pub resent: bool,
    /// `down`, `up`, `reminder`, `loss`, …
    pub event: String,
    pub monitor: String,
    pub series: String,
    pub target: String,
    /// The kind of the probe: `icmp`.
    pub kind: String,
    pub host: String,
    /// When it happened.
    pub at: Wall,
    /// The zone in which people read times.
    pub zone: TimeZone,
    /// How long it waited, when that is worth a word.
    pub late: Option<Duration>,
    /// What a person reads.
    pub text: String,
    /// The same in one short line: the subject of a mail, a text message.
    pub short: String,
    /// The event's JSON.
    pub json: String,
}

impl Message {
    /// A message that proves a notifier, and says that it does.
    pub fn test(at: Wall) -> Self {
        let text = "TEST: Lapwing can reach you here.";
        let id = format!("test-{}", at.0);
        let json = serde_json::json!({
            "v": 1, "id": &id, "event": "test", "at": at.rfc3339(), "resent": false, "text": text,
        });
        Self {
            id,
            resent: false,
            event: "test".to_owned(),
            monitor: "test".to_owned(),
            series: "test".to_owned(),
            target: String::new(),
            kind: "test".to_owned(),
            host: "test".to_owned(),
            at,
            zone: TimeZone::UTC,
            late: None,
            text: text.to_owned(),
            short: "TEST from Lapwing".to_owned(),
            json: json.to_string(),
        }
    }

    /// The day it happened, in its zone: `2026-11-20`.
    pub fn date(&self) -> String {
        self.zoned().strftime("%Y-%m-%d").to_string()
    }

    /// The time of day it happened, in its zone: `14:51:19`.
    pub fn time(&self) -> String {
        self.zoned().strftime("%H:%M:%S").to_string()
    }

    /// The text for people, with what they must know of its way: that it is late, that it may be a repetition.
    /// Control and bidirectional characters are gone, line breaks stay.
    pub fn told(&self) -> String {
        let text = clean_lines(&self.text, TEXT_MAX);
        let late = self.late.map_or_else(String::new, |late| {
            let (date, time) = (self.date(), self.time());
            format!(
                " (This happened on {date} at {time}; it could not be sent for {}.)",
                Hms(late)
            )
        });
        format!("{text}{late}{}", if self.resent { " (resent)" } else { "" })
    }

    /// The event's JSON, in which `resent` is told as it is now. Nowhere but as that key can `"resent":false` stand:
    /// within a JSON string its quotes would be escaped.
    pub fn payload(&self) -> Cow<'_, str> {
        if self.resent {
            Cow::Owned(self.json.replace("\"resent\":false", "\"resent\":true"))
        } else {
            Cow::Borrowed(&self.json)
        }
    }

    /// The value of a field of [`FIELDS`], on one line, without control characters; empty for any other name.
    pub fn field(&self, name: &str) -> String {
        let text = match name {
            "id" => &self.id,
            "event" => &self.event,
            "monitor" => &self.monitor,
            "series" => &self.series,
            "target" => &self.target,
            "kind" => &self.kind,
            "KIND" => return clean(&self.kind.to_uppercase(), TEXT_MAX),
            "host" => &self.host,
            "date" => return self.date(),
            "time" => return self.time(),
            "at" => return self.at.rfc3339(),
            "text" => return clean(&self.told(), TEXT_MAX),
            "short" => &self.short,
            _ => return String::new(),
        };
        clean(text, TEXT_MAX)
    }

    fn zoned(&self) -> Zoned {
        self.at.timestamp().to_zoned(self.zone.clone())
    }
}

/// As [`clean`], but line breaks stay.
pub(crate) fn clean_lines(text: &str, max: usize) -> String {
    let cut = clean_cut(text, max);
    cut.lines()
        .map(|line| clean(line, max))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `text`, or its beginning with `…` when it is longer than `max` bytes.
fn clean_cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = (0..=max.saturating_sub(3))
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// `text`, or its beginning with `…` when it is longer than `max` UTF-16 units, which is how chat services count.
pub(crate) fn cut_utf16(text: &str, max: usize) -> Cow<'_, str> {
    let mut units = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        units += c.len_utf16();
        if units <= max.saturating_sub(1) {
            end = at + c.len_utf8();
        }
        if units > max {
            return Cow::Owned(format!("{}…", &text[..end]));
        }
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    #[test]
    fn says_that_it_is_late_and_resent() {
        let mut message = testkit::message();
        assert_eq!(message.told(), message.text);
        message.late = Some(Duration::from_secs(206));
        message.resent = true;
        let told = message.told();
        assert!(
            told.ends_with(
                "(This happened on 2026-11-20 at 14:51:19; it could not be sent for 00:03:26.) (resent)"
            ),
            "{told}"
        );
        assert!(message.payload().contains("\"resent\":true"));
    }

    #[test]
    fn times_are_told_in_the_zone() {
        let mut message = testkit::message();
        message.at = Wall(message.at.0 + 10 * 3_600_000_000);
        assert_eq!(
            (message.date(), message.time()),
            ("2026-11-21".to_owned(), "00:51:19".to_owned())
        );
    }

    #[test]
    fn every_field_has_a_value() {
        let message = testkit::message();
        for name in FIELDS {
            assert!(!message.field(name).is_empty(), "{name}");
        }
        assert_eq!(message.field("nonsense"), "");
    }

    #[test]
    fn cuts_keep_whole_characters() {
        assert_eq!(cut_utf16("a😀b", 4), "a😀b");
        assert_eq!(cut_utf16("a😀b", 3), "a…");
        assert_eq!(clean_lines("a\r\nb\0c\u{202e}d", 100), "a\nb c d");
        let long = clean_lines(&"ä".repeat(100), 50);
        assert!(long.len() <= 50 && long.ends_with('…'), "{long}");
    }
}
