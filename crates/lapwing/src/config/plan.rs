//! From what is written to what is watched: each monitor's targets, their probes and their series. Reads no files but
//! lists of hosts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::tz::TimeZone;
use lapwing_core::{
    id::stable_hash,
    kind::{HEARTBEAT, KindInfo, OptionError, Options},
    monitor::{Monitor, ProbeSettings, Series},
    target::{MAX_TARGETS, Target, TargetError, bracketed, expand_target},
};
use lapwing_probe::{Prober, build, kinds::KINDS};

use super::{
    diagnostic::{At, Place},
    effective::{Effective, effective},
    hosts::{self, Hosts},
    monitor::{Given, MonitorText},
    names,
    options::{KindOptions, Tuning, pairs, split_probe, unused},
    senders::Senders,
    stored::no_paths_in_url,
    value::Reading,
};

/// Stands between the parts of a series' key.
const BORDER: char = '\u{1f}';
/// Most errors told of one monitor's targets.
const MOST_ERRORS: usize = 20;

/// Longest URL in the key of a series: with the monitor's name it fits what the ledger takes.
const URL_MAX: usize = 500;

/// A URL as part of a key: a long one is cut, and told from others by a hash.
fn identity(url: &str) -> Cow<'_, str> {
    if url.len() <= URL_MAX {
        return Cow::Borrowed(url);
    }
    let head = &url[..url.floor_char_boundary(URL_MAX)];
    Cow::Owned(format!("{head}…{:016x}", stable_hash(url)))
}

/// Identity of a monitor's series, without its family.
pub(super) fn series_key(monitor: &str, url: &str) -> String {
    format!("{monitor}{BORDER}{}", identity(url))
}

/// Makes series and probers of monitors, one monitor at a time.
pub(super) struct Planner<'p> {
    pub(super) defaults: &'p Given,
    system: &'p TimeZone,
    notifiers: &'p [Arc<str>],
    settings: HashMap<ProbeSettings, Arc<ProbeSettings>>,
    pub(super) series: Vec<Arc<Series>>,
    pub(super) probers: HashMap<Arc<str>, Prober>,
    pub(super) senders: Senders,
}

/// What came of a monitor, for those who show it.
pub(super) struct Planned {
    pub(super) effective: Effective,
    pub(super) options: Vec<KindOptions>,
    pub(super) monitor: Arc<Monitor>,
}

/// A target of a monitor, read.
pub(super) struct Wanted {
    pub(super) target: Target,
    /// Options in its URL that every probe reads.
    pub(super) probe: Options,
    pub(super) at: Place,
}

/// Where the targets of a monitor come from.
pub(super) struct Found {
    pub(super) wanted: Vec<Wanted>,
    /// False when one could not be read.
    pub(super) complete: bool,
}

impl<'p> Planner<'p> {
    pub(super) fn new(defaults: &'p Given, system: &'p TimeZone, notifiers: &'p [Arc<str>]) -> Self {
        Self {
            defaults,
            system,
            notifiers,
            settings: HashMap::new(),
            series: Vec::new(),
            probers: HashMap::new(),
            senders: Senders::default(),
        }
    }

    /// Adds the series of a monitor; errors go into `reading`.
    pub(super) fn add(&mut self, reading: &mut Reading<'_>, text: &MonitorText) -> Planned {
        let effective = effective(reading, &text.given, self.defaults, self.system);
        let notify = self.notify(reading, &text.given);
        let found = targets(reading, text);
        different(reading, &found.wanted);
        let heartbeat = found.wanted.iter().find(|w| w.target.kind.name == HEARTBEAT.name);
        if let Some(wanted) = heartbeat {
            return self.add_heartbeat(reading, text, (effective, notify), (&found, wanted));
        }
        let mut kinds: Vec<&'static KindInfo> = Vec::new();
        for wanted in &found.wanted {
            if !kinds.iter().any(|k| k.name == wanted.target.kind.name) {
                kinds.push(wanted.target.kind);
            }
        }
        if !kinds.is_empty() || found.complete {
            unused(reading, &text.given.options, &kinds, found.complete);
        }
        let options = |kind| KindOptions::of(kind, &self.defaults.options, &text.given.options);
        let options: Vec<_> = kinds.into_iter().map(options).collect();
        let monitor = Arc::new(Monitor {
            name: text.name.value.clone(),
            labels: labels(self.defaults, &text.given),
            policy: effective.policy.clone(),
            notify,
        });
        let before = reading.count();
        let base = Tuning::new(effective.settings.clone(), effective.families);
        let names = names::of(&monitor.name, found.wanted.iter().map(|w| &w.target));
        for (wanted, name) in found.wanted.iter().zip(names) {
            let Some(options) = options.iter().find(|o| o.kind.name == wanted.target.kind.name) else {
                continue;
            };
            self.add_target(reading, &monitor, &base, (wanted, options, name));
            if reading.count() - before >= MOST_ERRORS {
                break;
            }
        }
        Planned {
            effective,
            options,
            monitor,
        }
    }

    /// The names in `notify`, or all notifiers.
    pub(super) fn notify(&self, reading: &mut Reading<'_>, own: &Given) -> Vec<Arc<str>> {
        let Some(wanted) = own.notify.as_ref().or(self.defaults.notify.as_ref()) else {
            return self.notifiers.to_vec();
        };
        let mut found: Vec<Arc<str>> = Vec::new();
        for name in wanted {
            match self.notifiers.iter().find(|n| ***n == *name.value) {
                Some(notifier) if !found.contains(notifier) => found.push(Arc::clone(notifier)),
                Some(_) => {}
                None => unknown_notifier(reading, name, self.notifiers),
            }
        }
        found
    }

    fn add_target(
        &mut self,
        reading: &mut Reading<'_>,
        monitor: &Arc<Monitor>,
        base: &Tuning,
        (wanted, options, name): (&Wanted, &KindOptions, String),
    ) {
        let target = &wanted.target;
        match tuned(base, wanted, options, monitor) {
            Ok(tuned) => {
                let series = match tuned.series(target.host.as_ref()) {
                    Ok(series) => series,
                    Err(error) => return tell(reading, wanted, options, vec![error]),
                };
                for (family, settings) in series {
                    let settings = self.shared(settings);
                    let own = (!target.options.is_empty()).then(|| options.beside(&target.options));
                    match build(KINDS, target, own.as_ref().unwrap_or(&options.options), settings) {
                        Ok(prober) => self.push(monitor, target, (&name, family), prober),
                        Err(errors) => return tell(reading, wanted, options, errors),
                    }
                }
            }
            Err(errors) => tell(reading, wanted, options, errors),
        }
    }

    fn push(
        &mut self,
        monitor: &Arc<Monitor>,
        target: &Target,
        (name, family): (&str, Option<&str>),
        prober: Prober,
    ) {
        let mut key = series_key(&monitor.name, &target.url);
        let mut name = name.to_owned();
        if let Some(family) = family {
            key.push(BORDER);
            key.push_str(family);
            name.push('/');
            name.push_str(family);
        }
        let key: Arc<str> = key.into();
        self.probers.insert(Arc::clone(&key), prober);
        self.series.push(Arc::new(Series {
            key,
            name,
            monitor: Arc::clone(monitor),
            target: target.url.clone(),
            kind: target.kind.name,
            host: target.host_only(),
            loopback: target
                .host
                .as_ref()
                .is_some_and(lapwing_core::target::Host::is_loopback),
            overlaps: target.kind.overlaps,
        }));
    }

    /// One copy of equal settings for all probers.
    fn shared(&mut self, settings: ProbeSettings) -> Arc<ProbeSettings> {
        match self.settings.get(&settings) {
            Some(shared) => Arc::clone(shared),
            None => {
                let shared = Arc::new(settings.clone());
                self.settings.insert(settings, Arc::clone(&shared));
                shared
            }
        }
    }
}

/// The settings of a target: the monitor's, then those addressed to its kind, then those in its URL.
fn tuned(
    base: &Tuning,
    wanted: &Wanted,
    options: &KindOptions,
    monitor: &Monitor,
) -> Result<Tuning, Vec<OptionError>> {
    let mut tuned = base.clone();
    if !options.probe.is_empty() || !wanted.probe.is_empty() {
        let beside = pairs(&options.probe).filter(|(name, _)| wanted.probe.get(name).is_none());
        tuned.apply(beside.chain(pairs(&wanted.probe)), Some(monitor.policy.interval))?;
    }
    Ok(tuned)
}

/// Puts the errors of a target's options to their places.
fn tell(reading: &mut Reading<'_>, wanted: &Wanted, options: &KindOptions, errors: Vec<OptionError>) {
    for error in errors {
        let name = error.option.as_str();
        let in_url = wanted.target.options.get(name).is_some() || wanted.probe.get(name).is_some();
        let place = if in_url {
            reading.part(wanted.at, name)
        } else {
            options.place(name)
        };
        reading.error(place.unwrap_or(wanted.at), error.message, error.hint);
    }
}

pub(super) fn unknown_notifier(reading: &mut Reading<'_>, name: &At<String>, known: &[Arc<str>]) {
    let near = lapwing_core::kind::nearest(&name.value, known.iter().map(|n| &**n));
    let hint = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => format!("write [notify.{}] with its type", name.value),
        None => format!("the notifiers are: {}", known.join(", ")),
    };
    reading.error(
        name.place,
        format!("there is no notifier \"{}\"", name.value),
        hint,
    );
}

/// The labels of the defaults and of the monitor; where both give one, the monitor's.
pub(super) fn labels(defaults: &Given, own: &Given) -> Vec<(String, String)> {
    let inherited = defaults
        .labels
        .iter()
        .filter(|(name, _)| !own.labels.iter().any(|(n, _)| n == name));
    inherited.chain(&own.labels).cloned().collect()
}

/// Reads all targets of a monitor, with ranges and hosts filled in.
fn targets(reading: &mut Reading<'_>, text: &MonitorText) -> Found {
    let before = reading.count();
    let mut found = Found {
        wanted: Vec::new(),
        complete: true,
    };
    let hosts = text.hosts.as_ref().map(|hosts| hosts::expand(reading, hosts));
    let good_hosts = reading.count() == before;
    let filled = |target: &At<String>| target.value.contains("{host}");
    let heartbeat = |target: &At<String>| target.value.starts_with(HEARTBEAT.schemes[0]);
    let unused = |target: &At<String>| !filled(target) && !heartbeat(target);
    if hosts.is_some() && !text.targets.is_empty() && text.targets.iter().all(unused) {
        let hint = "for example: target = \"icmp://{host}\"".to_owned();
        reading.error(text.hosts_at, "hosts is given, but no target has {host}", hint);
    }
    for target in &text.targets {
        let count = found.wanted.len();
        match (&hosts, filled(target)) {
            // With wrong hosts, only what is wrong with any host is told.
            (Some(_), true) if !good_hosts => sample(reading, target),
            (Some(hosts), true) if count + hosts.len() <= MAX_TARGETS => {
                fill(reading, &mut found, target, hosts);
            }
            (Some(_), true) => reading.error(
                text.hosts_at,
                format!("this monitor has more than {MAX_TARGETS} targets"),
                "split it over several monitors".to_owned(),
            ),
            (None, true) => {
                let hint = "for example: hosts = [\"10.0.0.0/24\"]".to_owned();
                reading.error(
                    target.place,
                    "the target has {host}, but hosts is not given",
                    hint,
                );
            }
            (_, false) => one(reading, &mut found, target),
        }
    }
    found.complete = reading.count() == before;
    found
}

/// What is wrong with a target whatever the host.
fn sample(reading: &mut Reading<'_>, target: &At<String>) {
    if let Err(error) = Target::parse(&target.value.replace("{host}", "host.example"), &reading.kinds) {
        wrong(reading, target, error);
    }
}

/// Tells what is wrong with a target. A password in its URL is not shown.
fn wrong(reading: &mut Reading<'_>, target: &At<String>, error: TargetError) {
    if target.value.contains('@') {
        reading.masks.push(target.place);
    }
    reading.error(target.place, error.message, error.hint);
}

/// A target with `{host}`, once for each host.
fn fill(reading: &mut Reading<'_>, found: &mut Found, target: &At<String>, hosts: &Hosts) {
    let mut wrong = 0;
    for (number, host) in hosts.iter().enumerate() {
        let text = target.value.replace("{host}", &bracketed(host));
        match parse(reading, &text, hosts.place(number)) {
            Ok(wanted) => found.wanted.push(wanted),
            Err(error) => {
                // What every host makes wrong is the target's fault.
                let neutral = target.value.replace("{host}", "host.example");
                let own = Target::parse(&neutral, &reading.kinds).is_err();
                let place = if own { target.place } else { hosts.place(number) };
                reading.error(place, error.message, error.hint);
                wrong += 1;
                if own || wrong == MOST_ERRORS {
                    return;
                }
            }
        }
    }
}

/// A target without `{host}`, which may be a range.
fn one(reading: &mut Reading<'_>, found: &mut Found, target: &At<String>) {
    let texts = match expand_target(&target.value, &super::kinds()) {
        Ok(texts) if found.wanted.len() + texts.len() <= MAX_TARGETS => texts,
        Ok(_) => {
            let hint = "split it over several monitors".to_owned();
            return reading.error(
                target.place,
                format!("this monitor has more than {MAX_TARGETS} targets"),
                hint,
            );
        }
        Err(error) => return wrong(reading, target, error),
    };
    for text in texts {
        match parse(reading, &text, target.place) {
            Ok(wanted) => found.wanted.push(wanted),
            Err(error) => return wrong(reading, target, error),
        }
    }
}

fn parse(reading: &Reading<'_>, text: &str, at: Place) -> Result<Wanted, TargetError> {
    let mut target = Target::parse(text, &reading.kinds)?;
    if reading.is_added(at.file) {
        no_paths_in_url(&target)?;
    }
    let probe = split_probe(&mut target);
    Ok(Wanted { target, probe, at })
}

/// A target given twice would be two series with one identity.
fn different(reading: &mut Reading<'_>, wanted: &[Wanted]) {
    if wanted.len() < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(wanted.len());
    let twice: Vec<_> = wanted
        .iter()
        .filter(|w| !seen.insert(w.target.url.as_str()))
        .take(MOST_ERRORS)
        .collect();
    for wanted in twice {
        let message = format!("{} stands twice in this monitor", wanted.target.url);
        let hint = if wanted.target.options.is_empty() {
            "take one of them out"
        } else {
            "options do not make another target: use a monitor of its own"
        };
        reading.error(wanted.at, message, hint.to_owned());
    }
}
