//! What a probe found: reasons, facts, phases, outcomes.

use std::{borrow::Cow, fmt, time::Duration};

use crate::time::Wall;

/// A stable, public failure code such as `connect.refused`. Additive, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(Cow<'static, str>);

impl Code {
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// A code read back from storage.
    pub fn stored(code: String) -> Self {
        Self(Cow::Owned(code))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a target did not pass, or why we could not ask it.
///
/// `detail` is a sentence fragment that a person reads on its own: lower case, no full stop, at most
/// [`Reason::DETAIL_MAX`] bytes, control characters removed ("connection refused", "status 503, expected 200-299").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub code: Code,
    pub detail: String,
}

impl Reason {
    /// Longest detail kept, in bytes. What a peer sends can be longer; nobody reads more.
    pub const DETAIL_MAX: usize = 300;

    pub fn new(code: &'static str, detail: impl AsRef<str>) -> Self {
        Self {
            code: Code::new(code),
            detail: clean(detail.as_ref(), Self::DETAIL_MAX),
        }
    }

    /// A reason read back from storage.
    pub fn stored(code: String, detail: String) -> Self {
        Self {
            code: Code::stored(code),
            detail,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

/// Why something could not be done on the network, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The target did not pass. Reads as down.
    Target(Reason),
    /// We could not ask: an error before a packet left. Reads as inconclusive, never as down.
    Ours(Reason),
}

impl Fault {
    pub fn target(code: &'static str, detail: impl AsRef<str>) -> Self {
        Self::Target(Reason::new(code, detail))
    }

    pub fn ours(code: &'static str, detail: impl AsRef<str>) -> Self {
        Self::Ours(Reason::new(code, detail))
    }

    pub fn reason(&self) -> &Reason {
        match self {
            Self::Target(reason) | Self::Ours(reason) => reason,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl std::error::Error for Fault {}

/// Text from elsewhere, made fit to be shown: control and bidirectional characters become spaces,
/// and what is longer than `max` bytes ends in `…`.
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if out.len() + c.len_utf8() > max.saturating_sub(3) && text.len() > max {
            out.push('…');
            break;
        }
        let hidden = c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
        out.push(if hidden { ' ' } else { c });
    }
    out
}

/// The value of a fact. Units stand in the kind's [`crate::kind::FactInfo`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Text(v) => f.write_str(v),
        }
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}
impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::Int(i64::try_from(v).unwrap_or(i64::MAX))
    }
}
impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::Int(i64::from(v))
    }
}
impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::Float(v)
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(clean(&v, 1024))
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(clean(v, 1024))
    }
}

/// A named value that a probe found, such as `tls.expires_in` or `ntp.offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub name: &'static str,
    pub value: Value,
}

/// How long one stage of a probe took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    pub name: &'static str,
    pub took: Duration,
}

/// Requests that a probe sent and that stayed unanswered. Kinds that do not count send one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    pub sent: u32,
    pub lost: u32,
}

/// The measured part of a probe, filled as far as the probe came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub phases: Vec<Phase>,
    pub facts: Vec<Fact>,
    /// Given by kinds that send several requests; otherwise one request, lost when the probe failed.
    pub requests: Option<Requests>,
}

impl Sample {
    pub fn fact(&self, name: &str) -> Option<&Value> {
        self.facts.iter().find(|f| f.name == name).map(|f| &f.value)
    }
}

/// The verdict of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target passed.
    Up,
    /// It answered, but something about it needs attention. Counts as a success.
    Degraded(Reason),
    /// It did not pass: the target's fault.
    Down(Reason),
    /// We could not ask: our own fault. Never counted against the target.
    Inconclusive(Reason),
}

impl Outcome {
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Up | Self::Degraded(_))
    }

    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Up => None,
            Self::Degraded(r) | Self::Down(r) | Self::Inconclusive(r) => Some(r),
        }
    }
}

/// One probe of one series: when it began, how long it took, what it found.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When the probe began.
    pub at: Wall,
    pub took: Duration,
    pub outcome: Outcome,
    pub sample: Sample,
}

impl Observation {
    /// Requests sent and lost, by the rule of [`Sample::requests`]. None when inconclusive.
    pub fn requests(&self) -> Option<Requests> {
        match &self.outcome {
            Outcome::Inconclusive(_) => None,
            Outcome::Down(_) => Some(self.sample.requests.unwrap_or(Requests { sent: 1, lost: 1 })),
            Outcome::Up | Outcome::Degraded(_) => {
                Some(self.sample.requests.unwrap_or(Requests { sent: 1, lost: 0 }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_cleaned_and_bounded() {
        assert_eq!(
            Reason::new("x.y", "a\u{1b}[31mb\r\nc\u{202e}d").detail,
            "a [31mb  c d"
        );
        let long = Reason::new("x.y", "ä".repeat(1000)).detail;
        assert!(long.len() <= Reason::DETAIL_MAX && long.ends_with('…'));
    }
}
