//! What an HTTP answer must be to pass: status, headers, body.

use std::{fmt, ops::RangeInclusive};

use hyper::header::HeaderName;
use lapwing_core::{
    kind::{OptionError, OptionReader},
    observation::Fault,
    secret::Secret,
};
use lapwing_net::HttpResponse;

use super::Verdict;
use crate::pattern::{Pattern, excerpt};

/// How much of what a server sent is searched for secrets: far more than an excerpt shows.
const SEARCHED: usize = 64 << 10;

/// All conditions of one probe; every one must hold.
pub(super) struct Conditions {
    status: Statuses,
    headers: Vec<(HeaderName, Option<Pattern>)>,
    body: Option<Pattern>,
}

impl Conditions {
    /// Reads `status`, `expect_header` and `expect_body`.
    pub(super) fn read(reader: &mut OptionReader<'_>) -> Self {
        let status = Statuses::read(reader);
        let mut headers = Vec::new();
        for (name, value) in reader.pairs("expect_header") {
            let Ok(header) = HeaderName::try_from(name.as_str()) else {
                reader.error(OptionError::new(
                    "expect_header",
                    format!("\"{name}\" is not the name of a header"),
                ));
                continue;
            };
            match (!value.is_empty()).then(|| Pattern::plain(&value)).transpose() {
                Ok(pattern) => headers.push((header, pattern)),
                Err(why) => reader.error(OptionError::new(
                    "expect_header",
                    format!("{name}: \"{value}\" {why}"),
                )),
            }
        }
        Self {
            status,
            headers,
            body: Pattern::option(reader, "expect_body", Pattern::plain),
        }
    }

    pub(super) fn wants_body(&self) -> bool {
        self.body.is_some()
    }

    /// `max_body` is how much of the body was asked for; nothing of `secrets` gets into a reason.
    pub(super) fn judge(&self, response: &HttpResponse, max_body: usize, secrets: &[Secret]) -> Verdict {
        if !self.status.contains(response.status) {
            let (is, expected) = (response.status, &self.status);
            return Err(Fault::target(
                "http.status",
                format!("status {is}, expected {expected}"),
            ));
        }
        for (name, pattern) in &self.headers {
            judge_header(response, name, pattern.as_ref(), secrets)?;
        }
        match &self.body {
            Some(expected) if !expected.found_in(&response.body) => Err(if response.truncated {
                let detail = format!(
                    "{expected} is not in the first {} of a longer body",
                    size(max_body)
                );
                Fault::target("http.too_large", detail)
            } else if response.body.is_empty() {
                Fault::target(
                    "body.mismatch",
                    format!("expected {expected}, but the body is empty"),
                )
            } else {
                let got = concealed(&response.body, secrets);
                Fault::target(
                    "body.mismatch",
                    format!("expected {expected}, but the body begins with {got}"),
                )
            }),
            _ => Ok(()),
        }
    }
}

fn judge_header(
    response: &HttpResponse,
    name: &HeaderName,
    pattern: Option<&Pattern>,
    secrets: &[Secret],
) -> Verdict {
    let mut values = response.headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Err(Fault::target(
            "header.mismatch",
            format!("header {name} is missing"),
        ));
    };
    let Some(pattern) = pattern else { return Ok(()) };
    if pattern.found_in(first.as_bytes()) || values.any(|value| pattern.found_in(value.as_bytes())) {
        return Ok(());
    }
    let got = concealed(first.as_bytes(), secrets);
    Err(Fault::target(
        "header.mismatch",
        format!("header {name}: expected {pattern}, got {got}"),
    ))
}

/// The excerpt of what a server sent, without the secrets that it sent back: replaced before it is cut and escaped,
/// because half a secret, or one with an escape in it, would not be recognised any more.
fn concealed(bytes: &[u8], secrets: &[Secret]) -> String {
    let seen = String::from_utf8_lossy(&bytes[..bytes.len().min(SEARCHED)]);
    let mut shown = seen.to_string();
    for secret in secrets {
        shown = secret.redact(&shown);
    }
    // Without a secret the bytes themselves: they are shown as they are, valid text or not.
    if shown == *seen {
        excerpt(bytes)
    } else {
        excerpt(shown.as_bytes())
    }
}

/// A number of bytes as it is written in a configuration.
fn size(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{}MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{}KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}

/// Statuses and ranges of them.
struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    fn read(reader: &mut OptionReader<'_>) -> Self {
        let mut ranges = Vec::new();
        let texts = reader.list("status");
        if texts.is_empty() {
            reader.error(OptionError::new(
                "status",
                "status is empty: no answer would pass",
            ));
        }
        for text in texts {
            match status_range(&text) {
                Some(range) => ranges.push(range),
                None => reader.error(
                    OptionError::new("status", format!("\"{text}\" is not a status or a range of them"))
                        .hint("for example: status = \"200-299,301\""),
                ),
            }
        }
        Self(ranges)
    }

    fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| {
        let text = text.trim();
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|status| digits && *status >= 100)
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to): (u16, u16) = (status(from)?, status(to)?);
    (from <= to).then_some(from..=to)
}
