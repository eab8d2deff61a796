//! Kinds as data: what help, documentation, schema, completion and pages read about a probe kind,
//! and how a kind reads its options.

use std::{fmt, str::FromStr, time::Duration};

use crate::{secret::Secret, time::parse_duration};

mod codes;
mod heartbeat;

pub use self::{codes::SHARED_CODES, heartbeat::HEARTBEAT};

/// Static description of a probe kind. The kind's own file holds it.
#[derive(Debug)]
pub struct KindInfo {
    /// `tcp`
    pub name: &'static str,
    /// URL schemes that select this kind, the usual one first: `icmp`, `ping`.
    pub schemes: &'static [&'static str],
    /// One line.
    pub summary: &'static str,
    /// A few sentences for the reference page: what is up, what is down, what is measured.
    pub about: &'static str,
    /// Example targets, the simplest first.
    pub examples: &'static [&'static str],
    pub address: Address,
    pub options: &'static [OptionInfo],
    pub facts: &'static [FactInfo],
    /// Failure codes that only this kind gives; [`SHARED_CODES`] are added for the reference page.
    pub codes: &'static [CodeInfo],
    /// What the system must allow, where it is more than a socket.
    pub privileges: Option<&'static str>,
    /// True where a slot is used even while an earlier probe still waits (icmp, udp-echo).
    pub overlaps: bool,
    /// True where the whole URL belongs to the request, so that a query holds no options (http, https).
    pub owns_query: bool,
}

/// What stands after `//` in a target of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host without a port (icmp, ntp has a default).
    Host,
    /// A host with a port, which may be left out where there is a default.
    HostPort { default: Option<u16> },
    /// A host with optional port, then a path.
    HostPortPath { default: u16 },
    /// As `HostPortPath`, where the host may be missing: `dns:example.com` asks the system's resolver.
    OptionalHostPortPath { default: u16 },
    /// No host but a name that we give, 1 to 32 characters of `[A-Za-z0-9._-]`: `heartbeat:home`.
    Name,
}

impl Address {
    pub fn default_port(self) -> Option<u16> {
        match self {
            Self::Host | Self::Name => None,
            Self::HostPort { default } => default,
            Self::HostPortPath { default } | Self::OptionalHostPortPath { default } => Some(default),
        }
    }
}

/// An option of a kind.
#[derive(Debug)]
pub struct OptionInfo {
    pub name: &'static str,
    pub ty: OptionType,
    /// As written in a configuration; empty when there is none.
    pub default: &'static str,
    /// One or two sentences, with units.
    pub doc: &'static str,
    /// As written in a configuration.
    pub example: &'static str,
}

/// What an option's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionType {
    Text,
    Flag,
    Integer,
    Number,
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts, or one text with commas.
    List,
    /// A table of names and texts (headers).
    Pairs,
    /// A path to a file.
    Path,
    /// A path to a file that is written.
    Output,
    /// A secret: text, `${ENV}` or `{ file = … }`; never shown.
    Secret,
    /// A secret or a list of them, each `${ENV}` or `{ file = … }` and nothing else; never shown.
    Secrets,
}

/// A fact that a kind reports.
#[derive(Debug)]
pub struct FactInfo {
    pub name: &'static str,
    /// `s`, `ms`, `bytes`, `%`, or empty.
    pub unit: &'static str,
    pub doc: &'static str,
    /// Kept in the history with each observation.
    pub kept: bool,
}

/// A failure code and what it means.
#[derive(Debug)]
pub struct CodeInfo {
    pub code: &'static str,
    pub doc: &'static str,
}

/// The value of an option, as given.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(t) => f.write_str(t),
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// Options given to one target, by name. Later values of a name replace earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options(Vec<(String, OptionValue)>);

impl Options {
    pub fn set(&mut self, name: impl Into<String>, value: OptionValue) {
        let name = name.into();
        self.0.retain(|(n, _)| *n != name);
        self.0.push((name, value));
    }

    pub fn get(&self, name: &str) -> Option<&OptionValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(n, _)| n.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<String>> FromIterator<(S, OptionValue)> for Options {
    fn from_iter<I: IntoIterator<Item = (S, OptionValue)>>(iter: I) -> Self {
        let mut options = Self::default();
        for (name, value) in iter {
            options.set(name, value);
        }
        options
    }
}

/// What is wrong with one option. The reader of the configuration adds the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    /// The option's name; empty when the target itself is wrong.
    pub option: String,
    pub message: String,
    pub hint: Option<String>,
}

impl OptionError {
    pub fn new(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            option: option.into(),
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Reads the options of one target by the types that the kind declares, and collects every error.
///
/// A read option that is missing or wrong yields its default, so that reading goes on; [`OptionReader::finish`]
/// then gives all errors at once, unknown names included.
pub struct OptionReader<'a> {
    owner: &'static str,
    /// Its own options, and those that it shares with its like.
    declared: [&'static [OptionInfo]; 2],
    given: &'a Options,
    errors: Vec<OptionError>,
}

impl<'a> OptionReader<'a> {
    pub fn new(info: &'static KindInfo, given: &'a Options) -> Self {
        Self::of(info.name, [info.options, &[]], given)
    }

    /// A reader for whatever declares options: `owner` stands in the error texts.
    pub fn of(owner: &'static str, declared: [&'static [OptionInfo]; 2], given: &'a Options) -> Self {
        let known = || declared.into_iter().flatten();
        let mut errors = Vec::new();
        for name in given.names() {
            if !known().any(|o| o.name == name) {
                let message = format!("{owner} has no option \"{name}\"");
                let error = OptionError::new(name, message);
                errors.push(match nearest(name, known().map(|o| o.name)) {
                    Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                    None => error.hint(format!("it has: {}", names(known()))),
                });
            }
        }
        Self {
            owner,
            declared,
            given,
            errors,
        }
    }

    /// Adds an error found by the kind itself.
    pub fn error(&mut self, error: OptionError) {
        self.errors.push(error);
    }

    /// True while nothing is wrong with the option.
    pub fn is_good(&self, name: &str) -> bool {
        !self.errors.iter().any(|error| error.option == name)
    }

    /// True when the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.get(name).is_some()
    }

    /// Text as given; the declared default where that is not empty.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let default = self.declared(name).default;
        match self.given.get(name) {
            None => (!default.is_empty()).then(|| default.to_owned()),
            Some(OptionValue::List(_) | OptionValue::Table(_)) => {
                self.wrong(name, "a text").then(String::new)
            }
            Some(value) => Some(value.to_string()),
        }
    }

    /// A secret, as the reader of the configuration resolved it. Nothing of it stands in any error.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// As [`OptionReader::secret`], of one or several.
    pub fn secrets(&mut self, name: &'static str) -> Vec<Secret> {
        let given = match self.given.get(name) {
            None => return Vec::new(),
            Some(OptionValue::List(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let text = |value: &OptionValue| match value {
            OptionValue::Text(text) => Some(Secret::new(text.as_str())),
            _ => None,
        };
        match given.iter().map(text).collect() {
            Some(secrets) => secrets,
            None => {
                self.wrong(name, "a text or a list of texts");
                Vec::new()
            }
        }
    }

    pub fn flag(&mut self, name: &'static str) -> bool {
        let default = self.declared(name).default == "true";
        match self.given.get(name) {
            None => default,
            Some(OptionValue::Bool(v)) => *v,
            Some(OptionValue::Text(t)) if matches!(t.as_str(), "true" | "yes" | "1" | "") => true,
            Some(OptionValue::Text(t)) if matches!(t.as_str(), "false" | "no" | "0") => false,
            Some(_) => self.wrong(name, "true or false"),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, name: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let given: Option<i64> = match self.given.get(name) {
            None => return self.declared(name).default.parse().ok(),
            Some(OptionValue::Int(v)) => Some(*v),
            Some(OptionValue::Text(t)) => t.trim().parse().ok(),
            Some(_) => None,
        };
        if let Some(v) = given.filter(|v| range.contains(v)) {
            return Some(v);
        }
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.wrong(name, &expected).then_some(0)
    }

    /// A number of the declared type that `FromStr` reads, such as f64; negative values are refused.
    pub fn number(&mut self, name: &'static str) -> Option<f64> {
        let given = match self.given.get(name) {
            None => return f64::from_str(self.declared(name).default).ok(),
            Some(OptionValue::Int(v)) => Some(*v as f64),
            Some(OptionValue::Float(v)) => Some(*v),
            Some(OptionValue::Text(t)) => t.trim().parse().ok(),
            Some(_) => None,
        };
        match given.filter(|v| v.is_finite() && *v >= 0.0) {
            Some(v) => Some(v),
            None => self.wrong(name, "a number that is not negative").then_some(0.0),
        }
    }

    pub fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let text = match self.given.get(name) {
            None => return parse_duration(self.declared(name).default).ok(),
            Some(OptionValue::Text(t)) => t.clone(),
            Some(_) => String::new(),
        };
        match parse_duration(&text) {
            Ok(v) => Some(v),
            Err(_) => self
                .wrong(name, "a length of time, like \"500ms\", \"30s\" or \"14d\"")
                .then_some(Duration::ZERO),
        }
    }

    /// One of the declared words; the default when nothing, or something else, is given.
    pub fn choice(&mut self, name: &'static str) -> &'static str {
        let info = self.declared(name);
        let OptionType::Choice(words) = info.ty else {
            return info.default;
        };
        let default = words
            .iter()
            .copied()
            .find(|w| *w == info.default)
            .unwrap_or_default();
        let Some(given) = self.given.get(name) else {
            return default;
        };
        let text = given.to_string();
        if let Some(word) = words.iter().copied().find(|w| *w == text) {
            return word;
        }
        let error = OptionError::new(name, format!("{name} = \"{text}\" is not known"));
        let error = match nearest(&text, words.iter().copied()) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error.hint(format!("it is one of: {}", words.join(", "))),
        };
        self.errors.push(error);
        default
    }

    /// A list of texts; one text is split at commas.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        let default = OptionValue::Text(self.declared(name).default.to_owned());
        match self.given.get(name).unwrap_or(&default) {
            OptionValue::List(items) => items.iter().map(ToString::to_string).collect(),
            OptionValue::Table(_) => {
                self.wrong(name, "a list of texts");
                Vec::new()
            }
            one => {
                let text = one.to_string();
                text.split(',')
                    .map(|t| t.trim().to_owned())
                    .filter(|t| !t.is_empty())
                    .collect()
            }
        }
    }

    /// Names and texts: a table, or texts `Name: value` (one, or a list of them).
    pub fn pairs(&mut self, name: &'static str) -> Vec<(String, String)> {
        let split = |text: &str| {
            text.split_once(':')
                .map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned()))
        };
        let pairs: Option<Vec<_>> = match self.given.get(name) {
            None => Some(Vec::new()),
            Some(OptionValue::Table(pairs)) => {
                Some(pairs.iter().map(|(n, v)| (n.clone(), v.to_string())).collect())
            }
            Some(OptionValue::List(items)) => items.iter().map(|i| split(&i.to_string())).collect(),
            Some(one) => split(&one.to_string()).map(|pair| vec![pair]),
        };
        pairs.unwrap_or_else(|| {
            self.wrong(
                name,
                "a table like { Name = \"value\" } or a text \"Name: value\"",
            );
            Vec::new()
        })
    }

    pub fn finish(self) -> Result<(), Vec<OptionError>> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.errors)
        }
    }

    fn declared(&self, name: &'static str) -> &'static OptionInfo {
        let found = self.declared.into_iter().flatten().find(|o| o.name == name);
        found.unwrap_or_else(|| panic!("{} reads the undeclared option {name}", self.owner))
    }

    /// Records that `name` is not what it should be; false, so that callers read `.then(…)` as "nothing".
    fn wrong(&mut self, name: &'static str, expected: &str) -> bool {
        let given = self.given.get(name).map(ToString::to_string).unwrap_or_default();
        let OptionInfo { example, ty, .. } = self.declared(name);
        // Headers hold tokens as often as not.
        let hidden = matches!(ty, OptionType::Secret | OptionType::Secrets | OptionType::Pairs);
        let shown = if hidden {
            String::new()
        } else {
            format!(" = \"{given}\"")
        };
        let error = OptionError::new(name, format!("{name}{shown} is not {expected}"));
        self.errors.push(if example.is_empty() {
            error
        } else {
            error.hint(format!("for example: {name} = {example}"))
        });
        false
    }
}

/// Nobody mistypes a longer word, in bytes: comparing takes as long as both are long.
const LONGEST_WORD: usize = 256;

/// The candidate nearest to `word` if one is near enough to have been meant; None for a word of more than 256 bytes.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = |c: &str| (c.len().max(word.len()) / 3).max(1);
    let length = word.chars().count();
    candidates
        .into_iter()
        // Words are at least as far from each other as their lengths are.
        .filter(|c| c.chars().count().abs_diff(length) <= allowed(c))
        .map(|c| (strsim::damerau_levenshtein(&word, c), c))
        .filter(|(distance, c)| *distance <= allowed(c))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

fn names<'a>(options: impl Iterator<Item = &'a OptionInfo>) -> String {
    let names: Vec<_> = options.map(|o| o.name).collect();
    if names.is_empty() {
        "none of its own".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static DEMO: KindInfo = KindInfo {
        name: "demo",
        schemes: &["demo"],
        summary: "",
        about: "",
        examples: &[],
        address: Address::Host,
        options: &[
            OptionInfo {
                name: "count",
                ty: OptionType::Integer,
                default: "1",
                doc: "",
                example: "5",
            },
            OptionInfo {
                name: "match",
                ty: OptionType::Choice(&["any", "all"]),
                default: "any",
                doc: "",
                example: "",
            },
            OptionInfo {
                name: "within",
                ty: OptionType::Duration,
                default: "",
                doc: "",
                example: "\"14d\"",
            },
        ],
        facts: &[],
        codes: &[],
        privileges: None,
        overlaps: false,
        owns_query: false,
    };

    #[test]
    fn reads_defaults_and_given() {
        let given = Options::from_iter([("count", OptionValue::Text("7".into()))]);
        let mut reader = OptionReader::new(&DEMO, &given);
        assert_eq!(reader.integer("count", 1..=10), Some(7));
        assert_eq!(reader.choice("match"), "any");
        assert_eq!(reader.duration("within"), None);
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn a_secret_never_stands_in_an_error() {
        static OWN: &[OptionInfo] = &[OptionInfo {
            name: "token",
            ty: OptionType::Secret,
            default: "",
            doc: "",
            example: "",
        }];
        static SHARED: &[OptionInfo] = &[OptionInfo {
            name: "headers",
            ty: OptionType::Pairs,
            default: "",
            doc: "",
            example: "",
        }];
        let list = OptionValue::List(vec![OptionValue::Text("canary".into())]);
        let given = Options::from_iter([("token", list.clone()), ("headers", list)]);
        let mut reader = OptionReader::of("demo", [OWN, SHARED], &given);
        assert!(reader.secret("token").is_none_or(|s| s.is_empty()));
        assert!(reader.pairs("headers").is_empty());
        let errors = reader.finish().unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(!format!("{errors:?}").contains("canary"));
    }

    #[test]
    fn what_was_meant_is_near_and_no_word_is_too_long_to_be_refused_at_once() {
        for (word, meant) in [
            ("wbe2", Some("web2")),
            ("WEB2", Some("web2")),
            ("größee", Some("größe")),
            ("web", Some("web2")),
            ("w", None),
            ("websites", None),
        ] {
            assert_eq!(nearest(word, ["größe", "web2", "mail"]), meant, "{word}");
        }
        let (long, longer) = ("a".repeat(256), "a".repeat(257));
        assert_eq!(nearest(&long, ["b", &longer]), Some(&*longer));
        // A hundred thousand comparisons of such words would take hours.
        let many = std::iter::repeat_n(&*longer, 100_000);
        assert_eq!(nearest(&"a".repeat(60_000), many), None);
        let many = std::iter::repeat_n(&*long, 100_000);
        assert_eq!(nearest("web2", many), None);
    }

    #[test]
    fn collects_every_error() {
        let given = Options::from_iter([
            ("cuont", OptionValue::Int(1)),
            ("match", OptionValue::Text("al".into())),
            ("within", OptionValue::Int(3)),
        ]);
        let mut reader = OptionReader::new(&DEMO, &given);
        reader.choice("match");
        reader.duration("within");
        let errors = reader.finish().unwrap_err();
        assert_eq!(errors.len(), 3);
        assert_eq!(errors[0].hint.as_deref(), Some("did you mean \"count\"?"));
        assert_eq!(errors[1].hint.as_deref(), Some("did you mean \"all\"?"));
    }
}
