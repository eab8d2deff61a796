//! What follows from the keys of a monitor and the defaults together: the values that hold, checked against each other.
//! A value of the monitor that breaks a rule is an error; one that is only inherited gives way.

use std::time::Duration;

use jiff::tz::TimeZone;
use lapwing_core::{
    monitor::{DownRule, Family, Policy, ProbeSettings},
    time::short,
};

use super::{
    diagnostic::At,
    monitor::{Families, Given},
    value::Reading,
};

/// What holds for a monitor.
#[derive(Clone, Debug)]
pub(super) struct Effective {
    pub(super) policy: Policy,
    /// With the family left open.
    pub(super) settings: ProbeSettings,
    pub(super) families: Families,
    pub(super) zone_name: Option<String>,
}

/// A limit on another value, and whether the monitor itself gave it.
#[derive(Clone, Copy)]
struct Limit {
    name: &'static str,
    value: Duration,
    own: bool,
}

/// What holds for a monitor with these keys and defaults.
pub(super) fn effective(
    reading: &mut Reading<'_>,
    own: &Given,
    defaults: &Given,
    system: &TimeZone,
) -> Effective {
    let [interval, retry, recovery, timeout, connect] = times(reading, own, defaults);
    let (zone_name, zone) = match own.timezone.as_ref().or(defaults.timezone.as_ref()) {
        Some((name, zone)) => (Some(name.clone()), zone.clone()),
        None => (None, system.clone()),
    };
    let remind = own.remind.as_ref().or(defaults.remind.as_ref());
    let source = own.source.as_ref().or(defaults.source.as_ref());
    let family = own.family.as_ref().or(defaults.family.as_ref());
    Effective {
        policy: Policy {
            interval,
            retry_interval: retry,
            recovery_interval: recovery,
            rule: rule(own, defaults),
            reset_failures: own.reset_failures.or(defaults.reset_failures).unwrap_or_default(),
            loss: own.loss.or(defaults.loss),
            remind: remind.cloned().unwrap_or_default(),
            zone,
            beats: None,
        },
        settings: ProbeSettings {
            timeout,
            connect_timeout: connect,
            family: Family::Any,
            addresses: own.addresses.or(defaults.addresses).unwrap_or_default(),
            source: source.cloned().unwrap_or_default(),
        },
        families: family.map_or(Families::One(Family::Any), |family| family.value),
        zone_name,
    }
}

/// Interval, retry and recovery interval, timeout and connect timeout, none above what limits it.
fn times(reading: &mut Reading<'_>, own: &Given, defaults: &Given) -> [Duration; 5] {
    let interval = own.interval.as_ref().or(defaults.interval.as_ref());
    let interval = Limit {
        name: "interval",
        value: interval.map_or(Policy::default().interval, |interval| interval.value),
        own: own.interval.is_some(),
    };
    let mut bounded = |name, given: fn(&Given) -> &Option<At<Duration>>, limit: Limit, usual| {
        within(reading, name, [given(own), given(defaults)], limit, usual)
    };
    let usual = ProbeSettings::default().timeout.min(interval.value);
    let timeout = bounded("timeout", |g| &g.timeout, interval, usual);
    let connect = bounded("connect_timeout", |g| &g.connect_timeout, timeout, timeout.value);
    let retry = bounded("retry_interval", |g| &g.retry_interval, interval, interval.value);
    let recovery = bounded(
        "recovery_interval",
        |g| &g.recovery_interval,
        interval,
        retry.value,
    );
    [interval, retry, recovery, timeout, connect].map(|limit| limit.value)
}

/// A value that must not be above its limit. An inherited one gives way to a limit that the monitor sets.
fn within(
    reading: &mut Reading<'_>,
    name: &'static str,
    [own, default]: [&Option<At<Duration>>; 2],
    limit: Limit,
    usual: Duration,
) -> Limit {
    let Some(given) = own.as_ref().or(default.as_ref()) else {
        return Limit {
            name,
            value: usual,
            own: limit.own,
        };
    };
    if given.value > limit.value && (own.is_some() || !limit.own) {
        let message = format!(
            "{name} = {} is longer than the {} ({})",
            reading.literal(given.place),
            limit.name,
            short(limit.value)
        );
        reading.error(
            given.place,
            message,
            format!(
                "write at most \"{}\", or a longer {}",
                short(limit.value),
                limit.name
            ),
        );
    }
    Limit {
        name,
        value: given.value.min(limit.value),
        own: own.is_some() || limit.own,
    }
}

/// The rule of the table nearest to the monitor that gives one: a window there outdoes inherited thresholds, and the
/// other way round.
fn rule(own: &Given, defaults: &Given) -> DownRule {
    let thresholds = own.failure_threshold.is_some() || own.recovery_threshold.is_some();
    let window = own.window.as_ref().or(defaults.window.as_ref());
    if let (Some(window), false) = (window, thresholds) {
        return window.value;
    }
    let first =
        |own: &Option<At<u32>>, default: &Option<At<u32>>| own.as_ref().or(default.as_ref()).map(|t| t.value);
    match first(&own.failure_threshold, &defaults.failure_threshold).unwrap_or(3) {
        0 => DownRule::Off,
        failures => DownRule::Consecutive {
            failures,
            successes: first(&own.recovery_threshold, &defaults.recovery_threshold).unwrap_or(1),
        },
    }
}
