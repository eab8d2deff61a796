//! Which options reach which probe: the keys of a monitor, `kind.key`, the query of a target's URL, `-o` on the command
//! line. What is nearest to the target wins; what reaches no probe is an error.

use std::time::Duration;

use lapwing_core::{
    kind::{KindInfo, OptionError, OptionType, OptionValue, Options, nearest},
    monitor::{Family, ProbeSettings},
    target::{Host, Target},
    time::{parse_duration, short},
};

use super::{
    diagnostic::Place,
    heartbeat, keys,
    monitor::{Families, addresses, families, source},
    value::{GivenOption, Reading},
};

/// What every probe reads, and the families that it makes series of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tuning {
    pub(super) settings: ProbeSettings,
    pub(super) both: bool,
}

impl Tuning {
    pub(super) fn new(settings: ProbeSettings, families: Families) -> Self {
        match families {
            Families::One(family) => Self {
                settings: ProbeSettings { family, ..settings },
                both: false,
            },
            Families::Both => Self { settings, both: true },
        }
    }

    /// Takes options that every probe reads; `most` is the longest timeout allowed. Names that are not such options
    /// are left alone.
    pub(super) fn apply<'o>(
        &mut self,
        given: impl IntoIterator<Item = (&'o str, &'o OptionValue)>,
        most: Option<Duration>,
    ) -> Result<(), Vec<OptionError>> {
        let mut errors = Vec::new();
        let mut connect = None;
        for (name, value) in given {
            if let Err(error) = self.take(name, &value.to_string(), &mut connect) {
                errors.push(error);
            }
        }
        if let Some(most) = most.filter(|most| self.settings.timeout > *most) {
            let timeout = short(self.settings.timeout);
            let message = format!(
                "timeout = \"{timeout}\" is longer than the interval ({})",
                short(most)
            );
            errors.push(
                OptionError::new("timeout", message).hint(format!("write at most \"{}\"", short(most))),
            );
        }
        let timeout = self.settings.timeout;
        if let Some(connect) = connect.filter(|connect| *connect > timeout) {
            let (connect, timeout) = (short(connect), short(timeout));
            let message = format!("connect_timeout = \"{connect}\" is longer than the timeout ({timeout})");
            errors.push(OptionError::new("connect_timeout", message));
        }
        self.settings.connect_timeout = connect.unwrap_or(self.settings.connect_timeout).min(timeout);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn take(&mut self, name: &str, text: &str, connect: &mut Option<Duration>) -> Result<(), OptionError> {
        match name {
            "timeout" => {
                // An untouched connect_timeout goes with it.
                let follows = self.settings.connect_timeout == self.settings.timeout;
                self.settings.timeout = length(name, text)?;
                if follows {
                    self.settings.connect_timeout = self.settings.timeout;
                }
            }
            "connect_timeout" => *connect = Some(length(name, text)?),
            "family" => {
                let word = word(name, text, &["any", "4", "6", "both"])?;
                *self = Self::new(self.settings.clone(), families(word));
            }
            "addresses" => self.settings.addresses = addresses(word(name, text, &["first", "all"])?),
            "source" => self.settings.source = source(text).map_err(|why| OptionError::new(name, why))?,
            _ => {}
        }
        Ok(())
    }

    /// The settings of each series of a target, with the suffix of its family where there are two.
    pub(super) fn series(
        &self,
        host: Option<&Host>,
    ) -> Result<Vec<(Option<&'static str>, ProbeSettings)>, OptionError> {
        let one = |family| ProbeSettings {
            family,
            ..self.settings.clone()
        };
        match host {
            Some(Host::Ip(addr, _)) if !self.settings.family.allows(*addr) => {
                let (is, family) = if addr.is_ipv4() {
                    ("IPv4", "6")
                } else {
                    ("IPv6", "4")
                };
                let message = format!("{addr} is an {is} address, but family = \"{family}\"");
                Err(OptionError::new("", message).hint("family = \"any\" for this monitor"))
            }
            Some(Host::Name(_)) if self.both => {
                Ok(vec![(Some("4"), one(Family::V4)), (Some("6"), one(Family::V6))])
            }
            // An address has one family; so has what the system's resolver is asked.
            _ => Ok(vec![(None, self.settings.clone())]),
        }
    }
}

fn length(name: &str, text: &str) -> Result<Duration, OptionError> {
    let good = parse_duration(text)
        .ok()
        .filter(|length| *length >= Duration::from_millis(1));
    good.ok_or_else(|| {
        let message = format!("{name} = \"{text}\" is not a length of time, like \"500ms\" or \"2s\"");
        OptionError::new(name, message)
    })
}

fn word(name: &str, text: &str, words: &[&'static str]) -> Result<&'static str, OptionError> {
    words.iter().copied().find(|w| *w == text).ok_or_else(|| {
        let error = OptionError::new(name, format!("{name} = \"{text}\" is not known"));
        match nearest(text, words.iter().copied()) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error.hint(format!("it is one of: {}", words.join(", "))),
        }
    })
}

/// The options that reach the targets of one kind.
#[derive(Clone, Debug)]
pub(super) struct KindOptions {
    pub(super) kind: &'static KindInfo,
    pub(super) options: Options,
    /// Options that every probe reads, addressed to this kind.
    pub(super) probe: Options,
    spots: Vec<Spot>,
}

/// Where an option stands.
#[derive(Clone, Debug)]
struct Spot {
    name: String,
    key_at: Place,
    at: Place,
    hidden: bool,
}

impl KindOptions {
    /// Those of the defaults first, then the monitor's; those for all kinds first, then `kind.key`.
    pub(super) fn of(kind: &'static KindInfo, defaults: &[GivenOption], own: &[GivenOption]) -> Self {
        let mut all = Self {
            kind,
            options: Options::default(),
            probe: Options::default(),
            spots: Vec::new(),
        };
        for layer in [defaults, own] {
            for option in layer.iter().filter(|o| o.kind.is_none() && has(kind, &o.name)) {
                all.take(option);
            }
            for option in layer.iter().filter(|o| o.kind.as_deref() == Some(kind.name)) {
                all.take(option);
            }
        }
        all
    }

    fn take(&mut self, option: &GivenOption) {
        let probe = keys::PROBE_KEYS.contains(&option.name.as_str()) && !has(self.kind, &option.name);
        let into = if probe { &mut self.probe } else { &mut self.options };
        into.set(option.name.as_str(), option.value.clone());
        self.spots.retain(|spot| spot.name != option.name);
        let (key_at, at, hidden) = (option.key_at, option.at, option.hidden);
        self.spots.push(Spot {
            name: option.name.clone(),
            key_at,
            at,
            hidden,
        });
    }

    /// Where an error of this option belongs; None when it is not one of these.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let spot = self.spots.iter().find(|spot| spot.name == name)?;
        Some(if has(self.kind, name) || keys::PROBE_KEYS.contains(&name) {
            spot.at
        } else {
            spot.key_at
        })
    }

    /// True when the value of this option must not be shown.
    pub(super) fn hidden(&self, name: &str) -> bool {
        let ty = self.kind.options.iter().find(|o| o.name == name).map(|o| o.ty);
        let secret = matches!(ty, Some(OptionType::Secret | OptionType::Secrets));
        secret || self.spots.iter().any(|spot| spot.name == name && spot.hidden)
    }

    /// Without those that the target's URL gives itself.
    pub(super) fn beside(&self, url: &Options) -> Options {
        let names = self.options.names().filter(|name| url.get(name).is_none());
        names
            .filter_map(|name| Some((name, self.options.get(name)?.clone())))
            .collect()
    }
}

pub(super) fn has(kind: &KindInfo, option: &str) -> bool {
    kind.options.iter().any(|o| o.name == option)
}

/// Takes the options that every probe reads out of a URL's, where the kind has none of that name.
pub(super) fn split_probe(target: &mut Target) -> Options {
    let probe = |name: &str| keys::PROBE_KEYS.contains(&name) && !has(target.kind, name);
    if !target.options.names().any(probe) {
        return Options::default();
    }
    let part = |wanted: bool| -> Options {
        let names = target.options.names().filter(|name| probe(name) == wanted);
        names
            .filter_map(|name| Some((name, target.options.get(name)?.clone())))
            .collect()
    };
    let (taken, left) = (part(true), part(false));
    target.options = left;
    taken
}

pub(super) fn pairs(options: &Options) -> impl Iterator<Item = (&str, &OptionValue)> {
    options
        .names()
        .filter_map(|name| Some((name, options.get(name)?)))
}

/// Tells of the monitor's options that reach none of its targets. `complete` is false when a target could not be read,
/// so that its kind is not known.
pub(super) fn unused(
    reading: &mut Reading<'_>,
    own: &[GivenOption],
    kinds: &[&'static KindInfo],
    complete: bool,
) {
    for option in own {
        match &option.kind {
            Some(kind) if complete && !kinds.iter().any(|k| k.name == kind) => {
                let message = format!(
                    "this monitor has no {kind} target, so {kind}.{} has no effect",
                    option.name
                );
                reading.error(option.key_at, message, None);
            }
            Some(_) => {}
            None if kinds.iter().any(|k| has(k, &option.name)) => {}
            None => unknown(reading, option, kinds, complete),
        }
    }
}

fn unknown(reading: &mut Reading<'_>, option: &GivenOption, kinds: &[&'static KindInfo], complete: bool) {
    let name = option.name.as_str();
    let others: Vec<_> = reading
        .kinds
        .iter()
        .filter(|k| has(k, name))
        .map(|k| k.name)
        .collect();
    if !others.is_empty() {
        if complete {
            let message = format!("{} has no option \"{name}\"", or(kinds));
            reading.error(
                option.key_at,
                message,
                format!("it is an option of {}", others.join(", ")),
            );
        }
        return;
    }
    let options = kinds.iter().flat_map(|k| k.options).map(|o| o.name);
    let known = keys::MONITOR.iter().map(|k| k.name).chain(options);
    let message = if complete {
        format!("neither a monitor nor {} has a key \"{name}\"", or(kinds))
    } else {
        format!("a monitor has no key \"{name}\"")
    };
    let hint = match nearest(name, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "\"lapwing config schema\" lists every key".to_owned(),
    };
    reading.error(option.key_at, message, hint);
}

/// Tells of options in `[defaults]` that no kind has, or that have no default. Those whose kind no monitor uses wait for one.
pub(super) fn check_defaults(reading: &mut Reading<'_>, defaults: &[GivenOption]) {
    heartbeat::check_defaults(reading, defaults);
    for option in defaults {
        let name = option.name.as_str();
        let known = match &option.kind {
            Some(kind) => {
                keys::PROBE_KEYS.contains(&name)
                    || reading.kinds.iter().any(|k| k.name == kind && has(k, name))
            }
            None => reading.kinds.iter().any(|k| has(k, name)),
        };
        if known {
            continue;
        }
        let options = reading
            .kinds
            .iter()
            .filter(|k| option.kind.as_deref().is_none_or(|kind| k.name == kind));
        let options: Vec<_> = options.flat_map(|k| k.options).map(|o| o.name).collect();
        let keys = keys::MONITOR
            .iter()
            .filter(|k| k.in_defaults && option.kind.is_none())
            .map(|k| k.name);
        let (message, known) = match &option.kind {
            Some(kind) => (format!("{kind} has no option \"{name}\""), options),
            None => (
                format!("neither [defaults] nor any kind has a key \"{name}\""),
                keys.chain(options).collect(),
            ),
        };
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "\"lapwing config schema\" lists every key".to_owned(),
        };
        reading.error(option.key_at, message, hint);
    }
}

/// `http`, or `http or icmp`
fn or(kinds: &[&'static KindInfo]) -> String {
    kinds.iter().map(|k| k.name).collect::<Vec<_>>().join(" or ")
}
