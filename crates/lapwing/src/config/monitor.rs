//! The keys that `[defaults]` and `[[monitor]]` hold, as written. Knows no rule between the two.

use std::{net::IpAddr, time::Duration};

use jiff::tz::TimeZone;
use lapwing_core::{
    loss::LossPolicy,
    monitor::{Addresses, DownRule, Family, ResetFailures, Source},
    time::short,
};
use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::{At, Place},
    keys::{self, Key, KeyType},
    value::{GivenOption, Node, Reading, nodes},
};

/// Shortest time between two checks of a series.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Longest name of a monitor, in characters.
const LONGEST_NAME: usize = 100;

/// What a table holds; None where it does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) interval: Option<At<Duration>>,
    pub(super) timeout: Option<At<Duration>>,
    pub(super) connect_timeout: Option<At<Duration>>,
    pub(super) retry_interval: Option<At<Duration>>,
    pub(super) recovery_interval: Option<At<Duration>>,
    pub(super) failure_threshold: Option<At<u32>>,
    pub(super) recovery_threshold: Option<At<u32>>,
    pub(super) window: Option<At<DownRule>>,
    pub(super) reset_failures: Option<ResetFailures>,
    pub(super) loss: Option<LossPolicy>,
    pub(super) notify: Option<Vec<At<String>>>,
    pub(super) remind: Option<Vec<Duration>>,
    pub(super) family: Option<At<Families>>,
    pub(super) addresses: Option<Addresses>,
    pub(super) source: Option<Source>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) timezone: Option<(String, TimeZone)>,
    pub(super) options: Vec<GivenOption>,
    /// The shared keys that it gives, and where.
    pub(super) keys: Vec<(&'static str, Place)>,
    /// True when the value of an option could not be read, which is told.
    pub(super) unread: bool,
}

/// A `[[monitor]]` as written.
#[derive(Debug)]
pub(super) struct MonitorText {
    /// Its head.
    pub(super) at: Place,
    pub(super) name: At<String>,
    pub(super) targets: Vec<At<String>>,
    pub(super) hosts: Option<Vec<At<String>>>,
    pub(super) hosts_at: Place,
    pub(super) given: Given,
}

/// The families of a monitor's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    One(Family),
    /// Two series: IPv4 and IPv6.
    Both,
}

/// Reads a `[[monitor]]`. One that lacks something is read on, so that all its errors are told.
pub(super) fn read_monitor(reading: &mut Reading<'_>, header: Place, table: &DeTable<'_>) -> MonitorText {
    let mut given = Given::default();
    let (mut name, mut target, mut targets, mut hosts) = (None, None, None, None);
    let mut hosts_at = header;
    for node in nodes(header.file, table) {
        match (node.key, keys::monitor(node.key)) {
            ("name", Some(key)) => name = Some(read_name(reading, node, key)),
            ("target", Some(key)) => {
                target = Some((node.key_at, reading.text(node, key).map(|t| (t, node.at))));
            }
            ("targets", Some(key)) => targets = Some((node, reading.texts(node, key))),
            ("hosts", Some(key)) => {
                hosts_at = node.at;
                hosts = Some(reading.texts(node, key));
            }
            (_, Some(key)) => given.read(reading, node, key),
            (_, None) => given.read_option(reading, node),
        }
    }
    given.check(reading);
    let hint = "for example: name = \"web\"".to_owned();
    let name = name.unwrap_or_else(|| {
        reading.error(header, "this monitor has no name", hint);
        None
    });
    let targets = match (target, targets) {
        (Some((_, target)), None) => target
            .into_iter()
            .map(|(value, place)| At { value, place })
            .collect(),
        (None, Some((node, targets))) => {
            if targets.is_empty() && matches!(node.value, DeValue::Array(items) if items.is_empty()) {
                reading.error(node.at, "targets is empty: there is nothing to watch", None);
            }
            targets
        }
        (Some((at, _)), Some(_)) => {
            reading.error(
                at,
                "a monitor has either target or targets, not both",
                "put all of them into targets".to_owned(),
            );
            Vec::new()
        }
        (None, None) => {
            let hint = "for example: target = \"icmp://192.0.2.1\"".to_owned();
            reading.error(header, "this monitor has no target", hint);
            Vec::new()
        }
    };
    let name = name.unwrap_or(At {
        value: String::new(),
        place: header,
    });
    MonitorText {
        at: header,
        name,
        targets,
        hosts,
        hosts_at,
        given,
    }
}

/// Reads `[defaults]`.
pub(super) fn read_defaults(reading: &mut Reading<'_>, file: u32, table: &DeTable<'_>) -> Given {
    let mut given = Given::default();
    for node in nodes(file, table) {
        match keys::monitor(node.key) {
            Some(key) if key.in_defaults => given.read(reading, node, key),
            Some(_) => {
                let message = format!("{} belongs to one monitor, so it has no default", node.key);
                reading.error(node.key_at, message, "move it into a [[monitor]]".to_owned());
            }
            None => given.read_option(reading, node),
        }
    }
    given.check(reading);
    given
}

fn read_name(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<At<String>> {
    let name = reading.text(node, key)?;
    let problem = if name.trim().is_empty() {
        "a name needs at least one character".to_owned()
    } else if name.chars().count() > LONGEST_NAME {
        format!("a name has at most {LONGEST_NAME} characters")
    } else if name.contains('/') {
        "a name may not hold \"/\": it stands between the names of a monitor and its series".to_owned()
    } else if name.chars().any(char::is_control) || name.trim() != name {
        "a name may not hold control characters, nor begin or end with a space".to_owned()
    } else if name.contains(turns) {
        "a name may not hold characters that turn the direction of writing: it would be shown as another"
            .to_owned()
    } else if name.starts_with('-') {
        "a name may not begin with \"-\": commands would take it for an option".to_owned()
    } else {
        return Some(At {
            value: name,
            place: node.at,
        });
    };
    reading.error(node.at, problem, "for example: name = \"web\"".to_owned());
    None
}

/// True for what changes the direction in which text is shown (Unicode Standard Annex #9, section 2).
fn turns(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

impl Given {
    /// Reads one of the shared keys.
    fn read(&mut self, reading: &mut Reading<'_>, node: Node<'_>, key: &'static Key) {
        let at = node.at;
        self.keys.push((key.name, node.key_at));
        match key.name {
            "interval" => self.interval = interval(reading, node, key),
            "retry_interval" => self.retry_interval = interval(reading, node, key),
            "recovery_interval" => self.recovery_interval = interval(reading, node, key),
            "timeout" => self.timeout = limit(reading, node, key),
            "connect_timeout" => self.connect_timeout = limit(reading, node, key),
            "failure_threshold" => self.failure_threshold = threshold(reading, node, key),
            "recovery_threshold" => self.recovery_threshold = threshold(reading, node, key),
            "window" => {
                self.window = window(reading, node, key).map(|value| At {
                    value,
                    place: node.key_at,
                });
            }
            "reset_failures" => {
                self.reset_failures = reading.choice(node, key).map(|word| match word {
                    "hourly" => ResetFailures::Hourly,
                    _ => ResetFailures::Never,
                });
            }
            "loss" => self.loss = loss(reading, node, key),
            "notify" => self.notify = Some(reading.texts(node, key)),
            "remind" => self.remind = Some(reminders(reading, node, key)),
            "family" => {
                self.family = reading.choice(node, key).map(|word| At {
                    value: families(word),
                    place: at,
                });
            }
            "addresses" => self.addresses = reading.choice(node, key).map(addresses),
            "source" => {
                if let Some(text) = reading.text(node, key) {
                    match source(&text) {
                        Ok(source) => self.source = Some(source),
                        Err(why) => reading.error(at, why, format!("for example: source = {}", key.example)),
                    }
                }
            }
            "labels" => self.labels = labels(reading, node, key),
            "timezone" => self.timezone = reading.zone(node, key),
            _ => {}
        }
    }

    /// What is no key of a monitor: an option of its kinds, or `kind.option`.
    fn read_option(&mut self, reading: &mut Reading<'_>, node: Node<'_>) {
        if keys::LATER_MONITOR.contains(&node.key) {
            return reading.later(node.key_at, &format!("\"{}\"", node.key));
        }
        let kind = reading
            .kinds
            .iter()
            .copied()
            .find(|k| k.name == node.key || k.schemes.contains(&node.key));
        if let (Some(kind), DeValue::Table(table)) = (kind, node.value) {
            for inner in nodes(node.at.file, table) {
                let ty = kind.options.iter().find(|o| o.name == inner.key).map(|o| o.ty);
                let option = reading.option(inner, ty);
                self.unread |= option.is_none();
                self.options.extend(option.map(|o| GivenOption {
                    kind: Some(kind.name.to_owned()),
                    ..o
                }));
            }
            return;
        }
        let ty = reading
            .kinds
            .iter()
            .flat_map(|k| k.options)
            .find(|o| o.name == node.key)
            .map(|o| o.ty);
        let option = reading.option(node, ty);
        self.unread |= option.is_none();
        self.options.extend(option);
    }

    /// Rules between the keys of one table.
    fn check(&self, reading: &mut Reading<'_>) {
        let thresholds = [
            ("failure_threshold", &self.failure_threshold),
            ("recovery_threshold", &self.recovery_threshold),
        ];
        if self.window.is_some() {
            for (name, place) in thresholds
                .iter()
                .filter_map(|(n, t)| Some((n, t.as_ref()?.place)))
            {
                let hint = "keep one of them: window, or the thresholds".to_owned();
                reading.error(place, format!("{name} has no effect beside window"), hint);
            }
        }
        if let (Some(At { value: 0, .. }), Some(recovery)) =
            (&self.failure_threshold, &self.recovery_threshold)
        {
            let message = "recovery_threshold has no effect: failure_threshold = 0 turns the rule off";
            reading.error(recovery.place, message, "take it out".to_owned());
        }
    }
}

fn interval(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<At<Duration>> {
    let value = reading.duration(node, key)?;
    if value < SHORTEST_INTERVAL {
        let message = format!("{} = {} is too short", key.name, reading.literal(node.at));
        reading.error(
            node.at,
            message,
            format!("it is at least {}", short(SHORTEST_INTERVAL)),
        );
        return None;
    }
    Some(At {
        value,
        place: node.at,
    })
}

fn limit(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<At<Duration>> {
    let value = reading.duration(node, key)?;
    if value < Duration::from_millis(1) {
        let message = format!(
            "{} = {} leaves no time for an answer",
            key.name,
            reading.literal(node.at)
        );
        reading.error(
            node.at,
            message,
            format!("for example: {} = {}", key.name, key.example),
        );
        return None;
    }
    Some(At {
        value,
        place: node.at,
    })
}

fn threshold(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<At<u32>> {
    Some(At {
        value: u32::try_from(reading.integer(node, key)?).ok()?,
        place: node.at,
    })
}

/// The keys of an inline table, by name; unknown ones and missing ones without a default are errors.
fn inner<'d>(
    reading: &mut Reading<'_>,
    node: Node<'d>,
    key: &'static Key,
) -> Option<Vec<(Node<'d>, &'static Key)>> {
    let (KeyType::Table(known), DeValue::Table(table)) = (key.ty, node.value) else {
        reading.wrong(node, key, "a table");
        return None;
    };
    let mut found = Vec::new();
    for entry in nodes(node.at.file, table) {
        match keys::find(known, entry.key) {
            Some(key) => found.push((entry, key)),
            None => reading.unknown(entry, key.name, &known.iter().map(|k| k.name).collect::<Vec<_>>()),
        }
    }
    for missing in known
        .iter()
        .filter(|k| k.default.is_empty() && !table.contains_key(k.name))
    {
        let message = format!("{} lacks {}", key.name, missing.name);
        reading.error(
            node.key_at,
            message,
            format!("for example: {} = {}", key.name, key.example),
        );
    }
    Some(found)
}

fn window(reading: &mut Reading<'_>, node: Node<'_>, key: &'static Key) -> Option<DownRule> {
    let before = reading.count();
    let (mut of, mut fail, mut recover) = (None, None, None);
    for (node, key) in inner(reading, node, key)? {
        let value = reading
            .integer(node, key)
            .and_then(|v| u32::try_from(v).ok())
            .map(|v| (v, node.at));
        match key.name {
            "of" => of = value,
            "fail" => fail = value,
            _ => recover = value,
        }
    }
    if reading.count() > before {
        return None;
    }
    let ((of, _), (fail, fail_at)) = (of?, fail?);
    let (recover, recover_at) = recover.unwrap_or((0, node.key_at));
    let hint = format!("for example: window = {}", key.example);
    if fail > of {
        reading.error(fail_at, format!("of {of} checks, {fail} can never fail"), hint);
    } else if recover >= fail {
        reading.error(
            recover_at,
            format!("recover = {recover} is not less than fail = {fail}"),
            hint,
        );
    }
    Some(DownRule::Window { of, fail, recover })
}

fn loss(reading: &mut Reading<'_>, node: Node<'_>, key: &'static Key) -> Option<LossPolicy> {
    let before = reading.count();
    let mut policy = LossPolicy {
        window: 0,
        change_milli: 5000,
        min: 1,
    };
    let mut min_at = node.key_at;
    for (node, key) in inner(reading, node, key)? {
        match key.name {
            "change" => policy.change_milli = (reading.number(node, key)? * 1000.0).round() as u64,
            "window" => policy.window = u32::try_from(reading.integer(node, key)?).ok()?,
            _ => {
                policy.min = u32::try_from(reading.integer(node, key)?).ok()?;
                min_at = node.at;
            }
        }
    }
    if reading.count() > before {
        return None;
    }
    if policy.min > policy.window {
        let message = format!(
            "a window of {} never holds min = {} requests",
            policy.window, policy.min
        );
        reading.error(min_at, message, "min is at most window".to_owned());
    }
    Some(policy)
}

fn reminders(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Vec<Duration> {
    let times = reading.durations(node, key);
    for pair in times.windows(2) {
        if pair[1].value <= pair[0].value {
            let message = "the times of remind do not ascend";
            reading.error(
                pair[1].place,
                message,
                format!("for example: remind = {}", key.example),
            );
        }
    }
    if let Some(zero) = times.first().filter(|t| t.value.is_zero()) {
        reading.error(
            zero.place,
            "a reminder comes some time after the first message",
            None,
        );
    }
    times.into_iter().map(|t| t.value).collect()
}

fn labels(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Vec<(String, String)> {
    let DeValue::Table(table) = node.value else {
        reading.wrong(node, key, "a table of names and texts");
        return Vec::new();
    };
    let mut labels = Vec::new();
    for label in nodes(node.at.file, table) {
        let named = label.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && label.key.starts_with(|c: char| !c.is_ascii_digit())
            && label.key.len() <= LONGEST_NAME;
        if !named {
            let hint = "letters, digits and _, a letter first; for example: labels = { site = \"berlin\" }"
                .to_owned();
            reading.error(
                label.key_at,
                format!("\"{}\" is not the name of a label", label.key),
                hint,
            );
        }
        let DeValue::String(_) = label.value else {
            let hint = format!("for example: {} = \"berlin\"", label.key);
            reading.error(
                label.at,
                format!("the label {} is not a text in quotes", label.key),
                hint,
            );
            continue;
        };
        if let Some(value) = reading.text(label, key) {
            labels.push((label.key.to_owned(), value));
        }
    }
    labels
}

pub(super) fn families(word: &str) -> Families {
    match word {
        "4" => Families::One(Family::V4),
        "6" => Families::One(Family::V6),
        "both" => Families::Both,
        _ => Families::One(Family::Any),
    }
}

pub(super) fn addresses(word: &str) -> Addresses {
    if word == "all" {
        Addresses::All
    } else {
        Addresses::First
    }
}

/// An address, or the name of an interface (at most 15 bytes on Linux).
pub(super) fn source(text: &str) -> Result<Source, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Source::Address(address));
    }
    let name = !text.is_empty()
        && text.len() <= 15
        && !text.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
    if !name {
        return Err(format!(
            "source = \"{text}\" is neither an address nor the name of an interface"
        ));
    }
    Ok(Source::Interface(text.to_owned()))
}
