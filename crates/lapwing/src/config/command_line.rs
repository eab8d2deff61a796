//! Targets and options of the command line: the same words and the same code as in a configuration.

use std::{sync::Arc, time::Duration};

use lapwing_core::{
    kind::{HEARTBEAT, KindInfo, OptionError, OptionValue, Options, nearest},
    monitor::{Family, ProbeSettings},
    target::{Target, TargetError, expand_target},
};
use lapwing_probe::{Prober, build, kinds::KINDS};

use super::{
    keys,
    monitor::Families,
    options::{Tuning, has, pairs, split_probe},
};

/// The options of one command, given once and used for each of its targets.
#[derive(Clone, Debug)]
struct TargetOptions {
    given: Vec<Given>,
    base: ProbeSettings,
}

#[derive(Clone, Debug)]
struct Given {
    kind: Option<&'static KindInfo>,
    /// As written: `count`, `icmp.count`.
    written: String,
    name: String,
    value: OptionValue,
}

/// Every kind of target: those that can be asked, and the heartbeat.
pub fn kinds() -> Vec<&'static KindInfo> {
    KINDS.iter().map(|k| k.info).chain([&HEARTBEAT]).collect()
}

/// A target of the command line, ready to be asked.
#[derive(Clone)]
pub struct Check {
    /// The target's URL without options.
    pub target: String,
    pub kind: &'static str,
    pub prober: Prober,
}

/// Reads many targets, ranges and CIDR blocks among them, with the options of one command. The error is a text for
/// people, with a line for each thing that is wrong.
pub fn checks(
    texts: &[String],
    options: &[(String, String)],
    timeout: Option<Duration>,
) -> Result<Vec<Check>, String> {
    let options = TargetOptions::new(options, timeout).map_err(|errors| lines(&errors))?;
    let (mut checks, mut errors, mut seen) = (Vec::new(), Vec::new(), Vec::<&'static KindInfo>::new());
    let kinds = kinds();
    let mut add = |text: &str, errors: &mut Vec<OptionError>| match options.probe(text) {
        Ok((target, prober)) => {
            if !seen.iter().any(|k| k.name == target.kind.name) {
                seen.push(target.kind);
            }
            checks.push(Check {
                target: target.url,
                kind: target.kind.name,
                prober,
            });
        }
        Err(more) => errors.extend(
            more.into_iter()
                .filter(|e| !errors.contains(e))
                .collect::<Vec<_>>(),
        ),
    };
    for text in texts {
        match expand_target(text.trim(), &kinds) {
            Ok(all) => all.iter().for_each(|text| {
                if errors.len() < MOST_ERRORS {
                    add(text, &mut errors);
                }
            }),
            Err(TargetError { message, hint }) => errors.push(OptionError {
                option: String::new(),
                message,
                hint,
            }),
        }
    }
    if errors.is_empty() && !seen.is_empty() {
        errors = options.unused(&seen);
    }
    if errors.is_empty() {
        Ok(checks)
    } else {
        Err(lines(&errors))
    }
}

/// Most errors told of one command.
const MOST_ERRORS: usize = 20;

fn lines(errors: &[OptionError]) -> String {
    let line = |error: &OptionError| match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl TargetOptions {
    /// Reads the options. Each must be one that some kind has, or that every probe reads.
    fn new(options: &[(String, String)], timeout: Option<Duration>) -> Result<Self, Vec<OptionError>> {
        let (mut given, mut errors) = (Vec::new(), Vec::new());
        for (written, value) in options {
            match read(written, value) {
                Ok(option) => given.push(option),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let default = ProbeSettings::default();
        let timeout = timeout.unwrap_or(default.timeout);
        Ok(Self {
            given,
            base: ProbeSettings {
                timeout,
                connect_timeout: timeout,
                ..default
            },
        })
    }

    /// Builds the probe of one target. Options of other kinds are left alone; see [`TargetOptions::unused`].
    fn probe(&self, text: &str) -> Result<(Target, Prober), Vec<OptionError>> {
        let mut target = Target::parse(text, &kinds()).map_err(|error| {
            vec![OptionError {
                option: String::new(),
                message: error.message,
                hint: error.hint,
            }]
        })?;
        if target.kind.name == HEARTBEAT.name {
            let error = OptionError::new("", "a heartbeat is passive: nothing can be asked");
            return Err(vec![error.hint("lapwing status shows when it reported last")]);
        }
        let in_url = split_probe(&mut target);
        let (mut own, mut probe) = (Options::default(), Options::default());
        // Those for all kinds first, so that kind.key wins.
        let addressed = |wanted: bool| self.given.iter().filter(move |g| g.kind.is_some() == wanted);
        for option in addressed(false).chain(addressed(true)) {
            if option.kind.is_some_and(|k| k.name != target.kind.name) {
                continue;
            }
            if has(target.kind, &option.name) {
                own.set(option.name.as_str(), option.value.clone());
            } else if keys::PROBE_KEYS.contains(&option.name.as_str()) {
                probe.set(option.name.as_str(), option.value.clone());
            }
        }
        let mut tuning = Tuning::new(self.base.clone(), Families::One(Family::Any));
        let beside = pairs(&in_url).filter(|(name, _)| probe.get(name).is_none());
        let tuned = tuning.apply(beside.chain(pairs(&probe)), None);
        let both = tuning.both.then(|| {
            let error = OptionError::new(
                "family",
                "family = \"both\" makes two series, which only a monitor has",
            );
            error.hint("check with family=4, then with family=6")
        });
        let mut errors = tuned.err().unwrap_or_default();
        errors.extend(both);
        errors.extend(tuning.series(target.host.as_ref()).err());
        match build(KINDS, &target, &own, Arc::new(tuning.settings)) {
            Ok(prober) if errors.is_empty() => Ok((target, prober)),
            Ok(_) => Err(errors),
            Err(more) => Err(errors.into_iter().chain(more).collect()),
        }
    }

    /// Errors for the options that none of these kinds has.
    fn unused(&self, kinds: &[&'static KindInfo]) -> Vec<OptionError> {
        let reaches = |option: &Given, kind: &KindInfo| {
            option.kind.is_none_or(|k| k.name == kind.name)
                && (has(kind, &option.name) || keys::PROBE_KEYS.contains(&option.name.as_str()))
        };
        let unused = self
            .given
            .iter()
            .filter(|option| !kinds.iter().any(|kind| reaches(option, kind)));
        unused
            .map(|option| {
                let names = kinds.iter().map(|k| k.name).collect::<Vec<_>>().join(" or ");
                match option.kind {
                    Some(kind) => {
                        let message =
                            format!("no target is {}, so {} has no effect", kind.name, option.written);
                        OptionError::new(option.written.as_str(), message)
                    }
                    None => {
                        let message = format!("{names} has no option \"{}\"", option.written);
                        let error = OptionError::new(option.written.as_str(), message);
                        let options = kinds.iter().flat_map(|k| k.options).map(|o| o.name);
                        match nearest(&option.written, options.chain(keys::PROBE_KEYS.iter().copied())) {
                            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                            None => error.hint(format!("it is an option of {}", owners(&option.name))),
                        }
                    }
                }
            })
            .collect()
    }
}

fn read(written: &str, value: &str) -> Result<Given, OptionError> {
    let (kind, name) = match written.split_once('.') {
        None => (None, written),
        Some((kind, name)) => match kinds()
            .into_iter()
            .find(|k| k.name == kind || k.schemes.contains(&kind))
        {
            Some(kind) => (Some(kind), name),
            None => {
                let error = OptionError::new(written, format!("there is no kind \"{kind}\""));
                return Err(match nearest(kind, kinds().iter().map(|k| k.name)) {
                    Some(near) => error.hint(format!("did you mean \"{near}.{name}\"?")),
                    None => error.hint(format!("the kinds are: {}", kind_names())),
                });
            }
        },
    };
    let of = |k: &&'static KindInfo| kind.is_none_or(|kind| kind.name == k.name);
    let known: Vec<_> = kinds()
        .into_iter()
        .filter(of)
        .flat_map(|k| k.options)
        .map(|o| o.name)
        .collect();
    if !known.contains(&name) && !keys::PROBE_KEYS.contains(&name) {
        let owner = kind.map_or("no kind".to_owned(), |k| k.name.to_owned());
        let verb = if kind.is_some() {
            "has no option"
        } else {
            "has an option"
        };
        let error = OptionError::new(written, format!("{owner} {verb} \"{name}\""));
        let near = nearest(name, known.into_iter().chain(keys::PROBE_KEYS.iter().copied()));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error,
        });
    }
    let value = OptionValue::Text(value.to_owned());
    Ok(Given {
        kind,
        written: written.to_owned(),
        name: name.to_owned(),
        value,
    })
}

fn owners(option: &str) -> String {
    kinds()
        .iter()
        .filter(|k| has(k, option))
        .map(|k| k.name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn kind_names() -> String {
    kinds().iter().map(|k| k.name).collect::<Vec<_>>().join(", ")
}
