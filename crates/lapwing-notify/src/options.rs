//! The options that every notifier has, read once for all of them.

use std::{path::PathBuf, time::Duration};

use lapwing_core::{
    event::EventKind,
    kind::{OptionError, OptionInfo, OptionReader, OptionType, nearest},
    secret::Secret,
    time::parse_duration,
};
use lapwing_net::{HttpSettings, ProxyUrl, TlsSettings};

use crate::delivery::DEADLINE;

const RATE_LIMIT: OptionInfo = OptionInfo {
    name: "rate_limit",
    ty: OptionType::Text,
    default: "",
    doc: "Most messages in a time, as count/time. What is above it is told in one digest.",
    example: "\"10/1m\"",
};
const GIVE_UP: OptionInfo = OptionInfo {
    name: "give_up",
    ty: OptionType::Duration,
    default: "3d",
    doc: "How long a message that cannot be delivered is tried again before it is kept as a dead letter.",
    example: "\"1d\"",
};
const ON: OptionInfo = OptionInfo {
    name: "on",
    ty: OptionType::List,
    default: "",
    doc: "The events that are told here. Default: all but monitoring.",
    example: "[\"down\", \"up\"]",
};
const CA: OptionInfo = OptionInfo {
    name: "ca",
    ty: OptionType::Path,
    default: "",
    doc: "A PEM file whose certificates are trusted instead of the system's.",
    example: "\"/etc/lapwing/ca.pem\"",
};
const PROXY: OptionInfo = OptionInfo {
    name: "proxy",
    ty: OptionType::Secret,
    default: "",
    doc: "A proxy: http://host:port or socks5://host:port, with user:password@ where needed.",
    example: "\"http://proxy.example.com:3128\"",
};

/// Shared by notifiers that speak HTTP.
pub(crate) static WEB: &[OptionInfo] = &[RATE_LIMIT, GIVE_UP, ON, CA, PROXY];
/// Shared by notifiers that speak TLS but know no proxy.
pub(crate) static MAIL: &[OptionInfo] = &[RATE_LIMIT, GIVE_UP, ON, CA];
/// Shared by notifiers that never leave this machine.
pub(crate) static LOCAL: &[OptionInfo] = &[RATE_LIMIT, GIVE_UP, ON];

/// What every notifier has, for the outbox that drives it.
#[derive(Clone, Debug)]
pub struct Common {
    /// At most so many messages in so much time.
    pub rate_limit: Option<(u32, Duration)>,
    /// How long a message is tried.
    pub give_up: Duration,
    /// The events told; None for all but `monitoring`.
    pub on: Option<Vec<EventKind>>,
    pub dial: Dial,
}

/// How a notifier reaches its service.
#[derive(Clone, Debug)]
pub struct Dial {
    pub ca: Option<PathBuf>,
    pub proxy: Option<ProxyUrl>,
    /// The proxy as given: it may hold a password, which no error may repeat.
    pub(crate) proxy_secret: Secret,
    /// How long one try may take.
    pub deadline: Duration,
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            ca: None,
            proxy: None,
            proxy_secret: Secret::default(),
            deadline: DEADLINE,
        }
    }
}

impl Dial {
    pub(crate) fn tls(&self) -> TlsSettings {
        TlsSettings {
            ca: self.ca.clone(),
            ..TlsSettings::default()
        }
    }

    /// Never follows a redirect: it would carry the message, and its secrets, to somebody else.
    pub(crate) fn http(&self) -> HttpSettings {
        HttpSettings {
            tls: self.tls(),
            proxy: self.proxy.clone(),
            resolve_timeout: self.deadline.mul_f64(0.4),
            connect_timeout: self.deadline.mul_f64(0.4),
            max_body: 64 * 1024,
            redirects: 0,
            try_others: true,
            ..HttpSettings::default()
        }
    }
}

/// Reads the shared options, as far as `declared` holds them.
pub(crate) fn read(reader: &mut OptionReader<'_>, declared: &[OptionInfo]) -> Common {
    let declares = |name: &str| declared.iter().any(|o| o.name == name);
    let mut dial = Dial::default();
    if declares("ca") {
        dial.ca = reader.text("ca").filter(|p| !p.is_empty()).map(PathBuf::from);
    }
    if declares("proxy")
        && let Some(text) = reader.secret("proxy")
    {
        match text.expose().parse() {
            Ok(proxy) => (dial.proxy, dial.proxy_secret) = (Some(proxy), text),
            // Its own words hold nothing of the text, which may hold a password.
            Err(error) => reader.error(OptionError::new("proxy", error.to_string())),
        }
    }
    let give_up = reader.duration("give_up").unwrap_or(Duration::from_hours(72));
    Common {
        rate_limit: rate_limit(reader),
        give_up,
        on: events(reader),
        dial,
    }
}

fn rate_limit(reader: &mut OptionReader<'_>) -> Option<(u32, Duration)> {
    let text = reader.text("rate_limit")?;
    let parsed = text.split_once('/').and_then(|(count, per)| {
        let count = count.trim().parse().ok().filter(|c| *c > 0)?;
        Some((count, parse_duration(per).ok().filter(|p| !p.is_zero())?))
    });
    if parsed.is_none() {
        let error = OptionError::new(
            "rate_limit",
            format!("rate_limit = \"{text}\" is not a count and a time"),
        );
        reader.error(error.hint("for example: rate_limit = \"10/1m\", ten messages a minute"));
    }
    parsed
}

fn events(reader: &mut OptionReader<'_>) -> Option<Vec<EventKind>> {
    if !reader.has("on") {
        return None;
    }
    let given = reader.list("on");
    if given.is_empty() {
        let error = OptionError::new("on", "on is empty: nothing would ever be told");
        reader.error(error.hint("leave it out for all events but monitoring"));
    }
    let words = || EventKind::ALL.into_iter().map(EventKind::as_str);
    let mut events = Vec::new();
    for word in &given {
        if let Some(event) = EventKind::parse(word) {
            events.push(event);
            continue;
        }
        let error = OptionError::new("on", format!("there is no event \"{word}\""));
        reader.error(match nearest(word, words()) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error.hint(format!(
                "it is one of: {}",
                words().collect::<Vec<_>>().join(", ")
            )),
        });
    }
    Some(events)
}
