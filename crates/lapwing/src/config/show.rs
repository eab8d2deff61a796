//! The configuration in effect, as TOML that reads back the same: defaults filled in, secrets as `***`.

use std::{fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

use lapwing_core::{
    heartbeat::{Due, Wait},
    kind::{KindInfo, OptionType, OptionValue},
    monitor::{Addresses, DownRule, Family, Monitor, Policy, ResetFailures, Source},
    time::short,
};
use lapwing_link::echo::{EchoSettings, Plain};
use toml::Value;

use super::{
    Loaded, LogFormat,
    effective::Effective,
    file::{FilePlan, size_text},
    keys,
    monitor::Families,
    notify::NotifierText,
    options::pairs,
    plan::Planned,
};

const HIDDEN: &str = "\"***\"";

/// What only the reader knows: what is written, and what of it must not be shown.
pub(super) struct Parts {
    monitors: Vec<String>,
    notifiers: Vec<String>,
}

impl Parts {
    pub(super) fn of(file: &FilePlan, planned: &[Planned]) -> Self {
        let monitors = file.monitors.iter().zip(planned).map(|(text, planned)| {
            let targets: Vec<_> = text.targets.iter().map(|t| t.value.as_str()).collect();
            let hosts: Option<Vec<_>> = text
                .hosts
                .as_ref()
                .map(|h| h.iter().map(|h| h.value.as_str()).collect());
            monitor(planned, &targets, hosts.as_deref())
        });
        Self {
            monitors: monitors.collect(),
            notifiers: file.notifiers.iter().map(notifier).collect(),
        }
    }
}

pub(super) fn toml(loaded: &Loaded, parts: &Parts) -> String {
    let mut out = Lines(format!("# In effect, from {}\n", loaded.source.display()));
    out.table("[web]");
    out.text("listen", &listen(loaded.web));
    out.table("[store]");
    out.text("path", &loaded.store.path.to_string_lossy());
    out.text("raw", &short(loaded.store.raw));
    out.text("max_size", &size_text(loaded.store.max_size));
    echo(&mut out, loaded.echo.as_ref());
    heartbeat(&mut out, loaded);
    out.table("[log]");
    out.text("level", &loaded.log.level.as_str().to_lowercase());
    let format = match loaded.log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
        LogFormat::Journald => "journald",
    };
    out.text("format", format);
    for part in parts.notifiers.iter().chain(&parts.monitors) {
        out.0.push('\n');
        out.0.push_str(part);
    }
    out.0
}

fn listen(addr: Option<SocketAddr>) -> String {
    addr.map_or("off".to_owned(), |addr| addr.to_string())
}

fn echo(out: &mut Lines, settings: Option<&EchoSettings>) {
    out.table("[echo]");
    out.text("listen", &listen(settings.map(|s| s.listen)));
    let Some(settings) = settings else { return };
    out.put("per_source", &settings.per_source.to_string());
    out.put("in_all", &settings.in_all.to_string());
    let plain = match settings.plain {
        Plain::Guarded => "guarded",
        Plain::Refused => "refused",
        Plain::Allowed => "allowed",
    };
    out.text("plain", plain);
}

fn heartbeat(out: &mut Lines, loaded: &Loaded) {
    out.table("[heartbeat]");
    out.text("listen", &listen(loaded.heartbeat.listen));
    out.text("http", &listen(loaded.heartbeat.http));
    out.put("adopt", &loaded.plan.adopt.is_some().to_string());
    if let Some(adopt) = &loaded.plan.adopt {
        beats(out, &adopt.policy);
        out.put("notify", &list(adopt.notify.iter().map(|n| &**n)));
    }
}

/// When beats are due, and how long one may be missing; false where nobody reports in.
fn beats(out: &mut Lines, policy: &Policy) -> bool {
    let Some(rule) = policy.beats.as_deref() else {
        return false;
    };
    match &rule.due {
        Due::Every(period) => out.text("period", &short(*period)),
        Due::Cron(cron) => out.text("cron", cron.as_str()),
    }
    match rule.wait {
        Wait::Grace(grace) => out.text("grace", &short(grace)),
        Wait::DownAfter(down_after) => out.text("down_after", &short(down_after)),
    }
    true
}

fn notifier(text: &NotifierText) -> String {
    let mut out = Lines(format!("[notify.{}]\n", key(&text.name)));
    out.text("type", text.info.name);
    for option in &text.options {
        let ty = text
            .info
            .all_options()
            .find(|o| o.name == option.name)
            .map(|o| o.ty);
        let hidden = option.hidden || matches!(ty, Some(OptionType::Secret | OptionType::Secrets));
        out.put(&option.name, &value(&option.value, ty, hidden));
    }
    out.0
}

fn monitor(planned: &Planned, targets: &[&str], hosts: Option<&[&str]>) -> String {
    let (monitor, effective) = (&planned.monitor, &planned.effective);
    let mut out = Lines("[[monitor]]\n".to_owned());
    out.text("name", &monitor.name);
    match targets {
        [target] => out.text("target", target),
        targets => out.put("targets", &list(targets.iter().copied())),
    }
    if let Some(hosts) = hosts {
        out.put("hosts", &list(hosts.iter().copied()));
    }
    let passive = beats(&mut out, &effective.policy);
    if !passive {
        schedule(&mut out, effective);
        judgement(&mut out, &effective.policy);
    }
    told(&mut out, monitor, effective);
    for options in &planned.options {
        let alone = planned.options.len() == 1;
        // When beats are due stands there already.
        let shown = |(name, _): &(&str, _)| !passive || matches!(*name, "from" | "key");
        let mut own: Vec<_> = pairs(&options.options).filter(shown).collect();
        own.sort_by_key(|(name, _)| *name);
        for (name, given) in own {
            let ty = options.kind.options.iter().find(|o| o.name == name).map(|o| o.ty);
            let plain = alone && keys::monitor(name).is_none();
            out.put(
                &address(options.kind, name, plain),
                &value(given, ty, options.hidden(name)),
            );
        }
        for (name, given) in pairs(&options.probe) {
            out.put(
                &address(options.kind, name, false),
                &value(given, None, options.hidden(name)),
            );
        }
    }
    out.0
}

fn address(kind: &KindInfo, name: &str, plain: bool) -> String {
    if plain {
        name.to_owned()
    } else {
        format!("{}.{name}", kind.name)
    }
}

fn schedule(out: &mut Lines, effective: &Effective) {
    let (policy, settings) = (&effective.policy, &effective.settings);
    for (name, length) in [
        ("interval", policy.interval),
        ("timeout", settings.timeout),
        ("connect_timeout", settings.connect_timeout),
        ("retry_interval", policy.retry_interval),
        ("recovery_interval", policy.recovery_interval),
    ] {
        out.text(name, &short(length));
    }
    let family = match effective.families {
        Families::Both => "both",
        Families::One(Family::Any) => "any",
        Families::One(Family::V4) => "4",
        Families::One(Family::V6) => "6",
    };
    out.text("family", family);
    out.text(
        "addresses",
        if settings.addresses == Addresses::All {
            "all"
        } else {
            "first"
        },
    );
    match &settings.source {
        Source::Any => {}
        Source::Address(addr) => out.text("source", &addr.to_string()),
        Source::Interface(name) => out.text("source", name),
    }
}

fn judgement(out: &mut Lines, policy: &Policy) {
    match policy.rule {
        DownRule::Off => out.put("failure_threshold", "0"),
        DownRule::Consecutive { failures, successes } => {
            out.put("failure_threshold", &failures.to_string());
            out.put("recovery_threshold", &successes.to_string());
        }
        DownRule::Window { of, fail, recover } => {
            out.put(
                "window",
                &format!("{{ of = {of}, fail = {fail}, recover = {recover} }}"),
            );
        }
    }
    out.text(
        "reset_failures",
        if policy.reset_failures == ResetFailures::Hourly {
            "hourly"
        } else {
            "never"
        },
    );
    if let Some(loss) = &policy.loss {
        let change = loss.change_milli as f64 / 1000.0;
        out.put(
            "loss",
            &format!(
                "{{ window = {}, change = {change}, min = {} }}",
                loss.window, loss.min
            ),
        );
    }
}

fn told(out: &mut Lines, monitor: &Arc<Monitor>, effective: &Effective) {
    let policy = &effective.policy;
    out.put("notify", &list(monitor.notify.iter().map(|n| &**n)));
    let times: Vec<_> = policy.remind.iter().map(|t: &Duration| short(*t)).collect();
    out.put("remind", &list(times.iter().map(String::as_str)));
    if !monitor.labels.is_empty() {
        let labels: Vec<_> = monitor
            .labels
            .iter()
            .map(|(n, v)| format!("{} = {}", key(n), quoted(v)))
            .collect();
        out.put("labels", &format!("{{ {} }}", labels.join(", ")));
    }
    let zone = effective.zone_name.as_deref().or_else(|| policy.zone.iana_name());
    if let Some(zone) = zone {
        out.text("timezone", zone);
    }
}

/// The value of an option as TOML. Pairs keep their names: headers hold tokens as often as not.
fn value(given: &OptionValue, ty: Option<OptionType>, hidden: bool) -> String {
    let pairs = matches!(ty, Some(OptionType::Pairs));
    match given {
        OptionValue::Table(entries) if pairs || !hidden => {
            let shown = |v: &OptionValue| {
                if pairs {
                    HIDDEN.to_owned()
                } else {
                    value(v, None, hidden)
                }
            };
            let entries: Vec<_> = entries
                .iter()
                .map(|(n, v)| format!("{} = {}", key(n), shown(v)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        _ if hidden || pairs => HIDDEN.to_owned(),
        OptionValue::Text(text) => quoted(text),
        OptionValue::List(items) => {
            let items: Vec<_> = items.iter().map(|item| value(item, None, false)).collect();
            format!("[{}]", items.join(", "))
        }
        OptionValue::Float(number) => Value::Float(*number).to_string(),
        plain => plain.to_string(),
    }
}

struct Lines(String);

impl Lines {
    fn table(&mut self, head: &str) {
        self.0.push('\n');
        self.0.push_str(head);
        self.0.push('\n');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.put(name, &quoted(text));
    }

    fn put(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name} = {value}");
    }
}

fn list<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    format!("[{}]", texts.map(quoted).collect::<Vec<_>>().join(", "))
}

/// A text as TOML, with its dollars kept from being read as variables.
pub fn quoted(text: &str) -> String {
    let text = if text.contains("${") || text.contains("$$") {
        text.replace('$', "$$")
    } else {
        text.to_owned()
    };
    Value::String(text).to_string()
}

/// A name as a TOML key.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare {
        name.to_owned()
    } else {
        Value::String(name.to_owned()).to_string()
    }
}
