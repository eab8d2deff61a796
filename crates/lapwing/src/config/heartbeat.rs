//! Heartbeats: what `[heartbeat]` and the monitors of heartbeats say, and the rules between them. Nothing of a key
//! stands in any error.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use lapwing_core::{
    heartbeat::{BeatRule, Cron, Due, Wait},
    kind::{HEARTBEAT, OptionError, OptionReader, OptionType, Options},
    monitor::{Adoption, DownRule, Monitor, Policy, ResetFailures, Series},
    time::short,
};
use lapwing_wire::heartbeat::SensorId;

use super::{
    diagnostic::{At, Place},
    effective::{Effective, effective},
    file::{Listen, listen},
    keys::Key,
    monitor::{Given, MonitorText, SHORTEST_INTERVAL},
    options::{KindOptions, unused},
    plan::{Found, Planned, Planner, Wanted, series_key},
    senders::{Sender, Who},
    value::{GivenOption, Node, Reading},
};

/// The grace beside a period is the period and this: one lost datagram is no outage.
const SPARE: Duration = Duration::from_secs(10);
/// Longest grace where none is given: what reports so rarely does it by HTTP, where nothing is lost unseen.
const LONGEST_USUAL_GRACE: Duration = Duration::from_hours(1);
/// The grace beside a cron expression.
const CRON_GRACE: Duration = Duration::from_mins(10);
/// Longest time between two beats.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// The new key and the old one.
const MOST_KEYS: usize = 2;

/// Keys of a monitor that mean something without a probe too.
const MEANT: &[&str] = &["notify", "remind", "labels", "timezone"];
/// Options that belong to one monitor.
pub(super) const OWN: &[&str] = &["cron", "from", "key"];
/// What an inherited option gives way to.
const RIVALS: &[(&str, &[&str])] = &[
    ("period", &["cron"]),
    ("grace", &["down_after"]),
    ("down_after", &["grace", "cron"]),
];

/// `[heartbeat]`, as written.
#[derive(Debug, Default)]
pub(super) struct HeartbeatText {
    listen: Option<At<Listen>>,
    http: Option<At<Listen>>,
    adopt: Option<At<bool>>,
    notify: Option<Vec<At<String>>>,
    /// How adopted senders are judged.
    options: Vec<GivenOption>,
}

impl HeartbeatText {
    pub(super) fn read(&mut self, reading: &mut Reading<'_>, node: Node<'_>, key: &'static Key) {
        let place = node.at;
        let at = |value| At { value, place };
        match key.name {
            "listen" => self.listen = listen(reading, node, key).map(at),
            "http" => self.http = listen(reading, node, key).map(at),
            "adopt" => self.adopt = reading.flag(node, key).map(|value| At { value, place }),
            "notify" => self.notify = Some(reading.texts(node, key)),
            _ => self
                .options
                .extend(reading.option(node, Some(OptionType::Duration))),
        }
    }

    /// Where to listen for datagrams, and the place that says so.
    pub(super) fn udp(&self) -> Option<(SocketAddr, Place)> {
        bound(self.listen.as_ref())
    }

    /// Where to listen for pings, and the place that says so.
    pub(super) fn http(&self) -> Option<(SocketAddr, Place)> {
        bound(self.http.as_ref())
    }

    /// The place that says that unknown senders are adopted.
    pub(super) fn adopt(&self) -> Option<Place> {
        let adopt = self.adopt.as_ref().filter(|adopt| adopt.value);
        adopt.map(|adopt| adopt.place)
    }
}

fn bound(listen: Option<&At<Listen>>) -> Option<(SocketAddr, Place)> {
    listen.and_then(|listen| Some((listen.value?, listen.place)))
}

/// The options of a heartbeat: in effect, and by the table and the URL that give them.
struct Said<'s> {
    options: &'s KindOptions,
    own: &'s [GivenOption],
    url: &'s Options,
    at: Place,
}

impl Said<'_> {
    fn gives(&self, name: &str) -> bool {
        gives(self.own, self.url, name)
    }

    fn place(&self, reading: &Reading<'_>, name: &str) -> Place {
        let place = if self.url.get(name).is_some() {
            reading.part(self.at, name)
        } else {
            self.options.place(name)
        };
        place.unwrap_or(self.at)
    }

    fn all(&self) -> Options {
        let mut all = self.options.beside(self.url);
        for name in self.url.names() {
            if let Some(value) = self.url.get(name) {
                all.set(name, value.clone());
            }
        }
        all
    }

    fn tell(&self, reading: &mut Reading<'_>, errors: Vec<OptionError>) {
        for error in errors {
            let place = self.place(reading, &error.option);
            reading.error(place, error.message, error.hint);
        }
    }
}

fn reaches(option: &GivenOption) -> bool {
    match &option.kind {
        None => HEARTBEAT.options.iter().any(|o| o.name == option.name),
        Some(kind) => kind == HEARTBEAT.name,
    }
}

fn gives(own: &[GivenOption], url: &Options, name: &str) -> bool {
    url.get(name).is_some() || own.iter().any(|o| o.name == name && reaches(o))
}

/// The options of a table and its target's URL, and those of the defaults that they leave room for.
fn options(defaults: &[GivenOption], own: &[GivenOption], url: &Options) -> KindOptions {
    let room = |option: &&GivenOption| {
        let rivals = RIVALS.iter().filter(|(name, _)| *name == option.name);
        let mut rivals = rivals.flat_map(|(_, rivals)| *rivals);
        reaches(option) && !rivals.any(|rival| gives(own, url, rival))
    };
    let inherited: Vec<_> = defaults.iter().filter(room).cloned().collect();
    KindOptions::of(&HEARTBEAT, &inherited, own)
}

/// When beats are due and how long one may be missing.
fn rule(reader: &mut OptionReader<'_>, said: &Said<'_>) -> BeatRule {
    let due = due(reader);
    let usual = match &due {
        Due::Every(period) => (*period + SPARE).min(LONGEST_USUAL_GRACE),
        Due::Cron(_) => CRON_GRACE,
    };
    if reader.has("grace") && reader.has("down_after") {
        let error = OptionError::new(
            "down_after",
            "a heartbeat has either grace or down_after, not both",
        );
        reader.error(error.hint("grace counts from when the beat was due, down_after from the last beat"));
    }
    let Some(down_after) = length(reader, "down_after") else {
        let grace = length(reader, "grace").unwrap_or(usual);
        return BeatRule {
            due,
            wait: Wait::Grace(grace),
        };
    };
    let wait = match &due {
        Due::Cron(_) => {
            let message = "down_after counts from the last beat, so it does not go with cron";
            let hint = "write grace: how late a beat may be";
            reader.error(OptionError::new("down_after", message).hint(hint));
            Wait::Grace(usual)
        }
        Due::Every(period) if down_after > *period => Wait::DownAfter(down_after),
        // An inherited value gives way.
        Due::Every(_) if said.gives("period") && !said.gives("down_after") => Wait::Grace(usual),
        Due::Every(period) => {
            let message = format!(
                "down_after = \"{}\" is not longer than the period ({})",
                short(down_after),
                short(*period)
            );
            let hint = format!(
                "it would be down between two beats; for example down_after = \"{}\"",
                short(*period + usual)
            );
            reader.error(OptionError::new("down_after", message).hint(hint));
            Wait::Grace(usual)
        }
    };
    BeatRule { due, wait }
}

fn due(reader: &mut OptionReader<'_>) -> Due {
    if !reader.has("cron") {
        return Due::Every(length(reader, "period").unwrap_or(Policy::default().interval));
    }
    if reader.has("period") {
        let error = OptionError::new("cron", "a heartbeat has either period or cron, not both");
        reader.error(error.hint("keep one of them"));
    }
    let text = reader.text("cron").unwrap_or_default();
    match Cron::parse(&text) {
        Ok(cron) => Due::Cron(cron),
        Err(wrong) => {
            let hint = "minute, hour, day of the month, month, day of the week: \"30 2 * * *\" is every night at 02:30";
            reader.error(OptionError::new("cron", wrong.to_string()).hint(hint));
            Due::Every(Policy::default().interval)
        }
    }
}

/// A length of time within what is of use.
fn length(reader: &mut OptionReader<'_>, name: &'static str) -> Option<Duration> {
    let length = reader.duration(name)?;
    // Zero stands for one that could not be read, which is told.
    let (problem, limit) = if length < SHORTEST_INTERVAL {
        ("short", format!("it is at least {}", short(SHORTEST_INTERVAL)))
    } else if length > LONGEST {
        ("long", format!("it is at most {}", short(LONGEST)))
    } else {
        return Some(length);
    };
    if reader.is_good(name) {
        let message = format!("{name} = \"{}\" is too {problem}", short(length));
        reader.error(OptionError::new(name, message).hint(limit));
    }
    None
}

/// How the sender is known: by its keys, or by where it sends from.
fn who(reader: &mut OptionReader<'_>) -> Who {
    if !reader.has("key") {
        return Who::Plain(networks(reader));
    }
    if reader.has("from") {
        let error = OptionError::new("from", "from has no effect beside key: the key says who it is");
        reader.error(error.hint("take one of them out"));
    }
    let keys = reader.secrets("key");
    let wrong = if keys.len() > MOST_KEYS {
        Some((
            "a heartbeat has at most two keys",
            "the new one, and the old one until its sender has the new one",
        ))
    } else if keys.is_empty() && reader.is_good("key") {
        Some(("key is an empty list", "\"lapwing sensor keygen\" makes a key"))
    } else if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        Some((
            "both keys are the same",
            "\"lapwing sensor keygen\" makes another",
        ))
    } else if !keys.iter().all(|key| is_key(key.expose())) {
        Some((
            "a key has 16 to 128 letters, digits, \".\", \"_\", \"~\" or \"-\", and this one does not",
            "\"lapwing sensor keygen\" makes a good one",
        ))
    } else {
        None
    };
    if let Some((message, hint)) = wrong {
        reader.error(OptionError::new("key", message).hint(hint));
    }
    Who::Keyed(keys)
}

/// Whether a text can be a key: fit for a file, a variable and the address of a ping.
pub fn is_key(key: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
    (16..=128).contains(&key.len()) && key.chars().all(good)
}

fn networks(reader: &mut OptionReader<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    let texts = reader.list("from");
    if texts.is_empty() && reader.is_good("from") {
        let error = OptionError::new("from", "from is empty: nobody could report in");
        reader.error(error.hint("\"any\", or the addresses and networks that the sender has"));
    }
    for text in texts {
        if text == "any" {
            networks.extend([
                IpNet::V4(ipnet::Ipv4Net::default()),
                IpNet::V6(ipnet::Ipv6Net::default()),
            ]);
            continue;
        }
        let address = || text.parse::<IpAddr>().map(|a| IpNet::from(a.to_canonical()));
        match text.parse::<IpNet>().or_else(|_| address()) {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => {
                let message = format!("from = \"{text}\" is neither an address nor a network");
                let hint = "for example from = [\"192.0.2.7\", \"2001:db8::/56\"], or \"any\"";
                reader.error(OptionError::new("from", message).hint(hint));
            }
        }
    }
    networks.sort();
    networks.dedup();
    networks
}

/// How a series with this rule is judged: what belongs to probes has no part in it.
fn policy(policy: &Policy, rule: Arc<BeatRule>) -> Policy {
    let interval = match &rule.due {
        Due::Every(period) => *period,
        Due::Cron(_) => Policy::default().interval,
    };
    Policy {
        interval,
        retry_interval: interval,
        recovery_interval: interval,
        rule: DownRule::Consecutive {
            failures: 1,
            successes: 1,
        },
        reset_failures: ResetFailures::Never,
        loss: None,
        remind: policy.remind.clone(),
        zone: policy.zone.clone(),
        beats: Some(rule),
    }
}

impl Planner<'_> {
    /// Adds the series of a monitor that has a heartbeat among its targets.
    pub(super) fn add_heartbeat(
        &mut self,
        reading: &mut Reading<'_>,
        text: &MonitorText,
        (mut effective, notify): (Effective, Vec<Arc<str>>),
        (found, wanted): (&Found, &Wanted),
    ) -> Planned {
        let before = reading.count();
        alone(reading, text, found, wanted);
        unused(reading, &text.given.options, &[&HEARTBEAT], found.complete);
        let own = &text.given.options;
        let url = &wanted.target.options;
        let options = options(&self.defaults.options, own, url);
        let said = Said {
            options: &options,
            own,
            url,
            at: wanted.at,
        };
        probed(reading, &said, wanted);
        let all = said.all();
        let mut reader = OptionReader::new(&HEARTBEAT, &all);
        let (rule, who) = (self.senders.shared(rule(&mut reader, &said)), who(&mut reader));
        if let Err(errors) = reader.finish() {
            said.tell(reading, errors);
        }
        effective.policy = policy(&effective.policy, rule);
        let monitor = Arc::new(Monitor {
            name: text.name.value.clone(),
            labels: super::plan::labels(self.defaults, &text.given),
            policy: effective.policy.clone(),
            notify,
        });
        let good = reading.count() == before && !text.given.unread;
        if let (true, Ok(id)) = (good, SensorId::parse(&wanted.target.path)) {
            let series = self.push_heartbeat(&monitor, wanted);
            let places = ["key", "from"].map(|name| said.place(reading, name));
            let sender = Sender {
                id,
                series,
                at: wanted.at,
                open: matches!(who, Who::Plain(_)) && !said.gives("from"),
                who,
            };
            self.senders.add(reading, sender, places);
        }
        Planned {
            effective,
            options: vec![options],
            monitor,
        }
    }

    fn push_heartbeat(&mut self, monitor: &Arc<Monitor>, wanted: &Wanted) -> Arc<str> {
        let target = &wanted.target;
        let key: Arc<str> = series_key(&monitor.name, &target.url).into();
        self.series.push(Arc::new(Series {
            key: Arc::clone(&key),
            name: monitor.name.clone(),
            monitor: Arc::clone(monitor),
            target: target.url.clone(),
            kind: HEARTBEAT.name,
            host: target.path.clone(),
            // It tells nothing about our own line.
            loopback: true,
            overlaps: false,
        }));
        key
    }

    /// How unknown senders are judged and told; None where they are refused.
    pub(super) fn adoption(
        &mut self,
        reading: &mut Reading<'_>,
        text: &HeartbeatText,
        system: &TimeZone,
    ) -> Option<Adoption> {
        let Some(at) = text.adopt() else {
            for option in &text.options {
                let message = format!("{} of [heartbeat] has no effect without adopt", option.name);
                let hint = "it is for adopted senders; a monitor has its own".to_owned();
                reading.error(option.key_at, message, hint);
            }
            if let Some(name) = text.notify.iter().flatten().next() {
                reading.error(
                    name.place,
                    "notify of [heartbeat] has no effect without adopt",
                    None,
                );
            }
            return None;
        };
        let url = Options::default();
        let options = options(&self.defaults.options, &text.options, &url);
        let said = Said {
            options: &options,
            own: &text.options,
            url: &url,
            at,
        };
        let all = said.all();
        let mut reader = OptionReader::new(&HEARTBEAT, &all);
        let rule = self.senders.shared(rule(&mut reader, &said));
        if let Err(errors) = reader.finish() {
            said.tell(reading, errors);
        }
        let given = Given {
            notify: text.notify.clone(),
            ..Given::default()
        };
        let base = effective(reading, &given, self.defaults, system);
        Some(Adoption {
            policy: policy(&base.policy, rule),
            notify: self.notify(reading, &given),
            labels: self.defaults.labels.clone(),
        })
    }
}

/// A heartbeat has no target beside it, and none of the keys that say how to ask.
fn alone(reading: &mut Reading<'_>, text: &MonitorText, found: &Found, wanted: &Wanted) {
    if found.wanted.len() > 1 {
        let hint = "give the other targets a monitor of their own".to_owned();
        reading.error(wanted.at, "a heartbeat stands alone in its monitor", hint);
    }
    let hosts = text.hosts.is_some().then_some(("hosts", text.hosts_at));
    let probing = text.given.keys.iter().filter(|(name, _)| !MEANT.contains(name));
    for (name, place) in probing.copied().chain(hosts) {
        no_meaning(reading, place, name);
    }
}

fn no_meaning(reading: &mut Reading<'_>, place: Place, name: &str) {
    let hint = "take it out; period, grace and down_after say when a beat is missing".to_owned();
    reading.error(
        place,
        format!("{name} has no meaning for a heartbeat: nothing is asked"),
        hint,
    );
}

/// Options that every probe reads, in the URL or addressed to the kind; and a key in the URL.
fn probed(reading: &mut Reading<'_>, said: &Said<'_>, wanted: &Wanted) {
    for name in wanted.probe.names() {
        let place = reading.part(wanted.at, name).unwrap_or(wanted.at);
        no_meaning(reading, place, name);
    }
    for name in said.options.probe.names() {
        let place = said.options.place(name).unwrap_or(wanted.at);
        no_meaning(reading, place, name);
    }
    if said.url.get("key").is_some() {
        reading.masks.push(wanted.at);
        let hint = reading.elsewhere(wanted.at, "key");
        reading.error(
            wanted.at,
            "a key does not stand in a target, which is shown and stored",
            hint,
        );
    }
}

/// Tells of options in `[defaults]` that one monitor alone can have, or that no heartbeat reads.
pub(super) fn check_defaults(reading: &mut Reading<'_>, defaults: &[GivenOption]) {
    for option in defaults.iter().filter(|o| reaches(o)) {
        let name = option.name.as_str();
        if OWN.contains(&name) {
            let message = format!("{name} belongs to one monitor, so it has no default");
            reading.error(option.key_at, message, "move it into a [[monitor]]".to_owned());
        } else if super::keys::PROBE_KEYS.contains(&name) {
            no_meaning(reading, option.key_at, name);
        }
    }
}
