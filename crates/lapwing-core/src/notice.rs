//! The default texts: what a person reads when something happened.

use std::time::Duration;

use jiff::{Zoned, tz::TimeZone};

use crate::{
    event::{Event, EventKind},
    loss::LossChange,
    time::{Hms, Wall, short},
};

/// The message of an event. Times are in `zone`; a time of another day than the event's is given with its date.
pub fn text(event: &Event, zone: &TimeZone) -> String {
    let name = event.series.as_ref().map_or("", |s| s.name.as_str());
    let target = event.series.as_ref().map_or("", |s| s.target.as_str());
    let clock = |at: Wall| clock(at, event.at, zone);
    let since = clock(event.since.unwrap_or(event.at));
    let reason = event
        .reason
        .as_ref()
        .map_or("no reason known", |r| r.detail.as_str());
    let length = Hms(event.duration.unwrap_or_default());
    match event.kind {
        EventKind::Down => {
            let last_up = |seen: &str, never: &str| match event.last_up {
                Some(at) => format!("{seen} {}", clock(at)),
                None => never.to_owned(),
            };
            let evidence = match event.failed_checks {
                Some(1) => format!("1 check failed; {}", last_up("last seen up", "never seen up")),
                Some(n) => format!("{n} checks failed; {}", last_up("last seen up", "never seen up")),
                None => last_up("Last beat", "It was never well before"),
            };
            format!("DOWN {name} ({target}) since {since}: {reason}. {evidence}.")
        }
        EventKind::Up => {
            let ended = clock(event.ended.unwrap_or(event.at));
            let reason = event.verdict.map_or_else(|| reason.to_owned(), |v| v.text());
            let sure = event
                .uncertainty
                .filter(|u| event.failed_checks.is_some() || !u.is_zero())
                .map_or_else(String::new, |u| format!(" ± {}", about(u)));
            let unsure = if event.uncertainty.is_none() {
                " Its begin is uncertain: it was never seen up before."
            } else {
                ""
            };
            format!("UP {name} after {length}{sure} down ({since} to {ended}): {reason}.{unsure}")
        }
        EventKind::Reminder => {
            let last = match event.reminder {
                Some(reminder) if reminder.last => " This is the last reminder; you will hear when it is up.",
                _ => "",
            };
            format!("STILL DOWN {name} for {length} (since {since}): {reason}.{last}")
        }
        EventKind::Loss => loss(name, event.loss.as_ref()),
        EventKind::Degraded => format!("DEGRADED {name} ({target}) since {since}: {reason}."),
        EventKind::Cleared => {
            format!(
                "CLEARED {name} after {length} degraded ({since} to {}): {reason}.",
                clock(event.at)
            )
        }
        EventKind::Monitoring => format!("NOW MONITORING {name} ({target})."),
        EventKind::Paused => format!("PAUSED {name}{}.", wish(event, zone)),
        EventKind::Resumed => format!("RESUMED {name}."),
        EventKind::Acknowledged => format!("ACKNOWLEDGED {name}, down since {since}{}.", wish(event, zone)),
        EventKind::Silenced => format!("SILENCED {name}{}.", wish(event, zone)),
        EventKind::Unsilenced => format!("TOLD AGAIN {name}: the silence is over."),
        EventKind::Offline => {
            format!(
                "OFFLINE since {since}: this monitor cannot reach the network ({reason}). States are unknown until it can."
            )
        }
        EventKind::Online => format!(
            "ONLINE again after {length} ({since} to {}). It had been: {reason}.",
            clock(event.at)
        ),
    }
}

/// ` by anna until 14:00:00: new disk`.
fn wish(event: &Event, zone: &TimeZone) -> String {
    let Some(mute) = &event.mute else {
        return String::new();
    };
    let mut text = String::new();
    if !mute.by.is_empty() {
        text.push_str(&format!(" by {}", mute.by));
    }
    if let Some(until) = mute.until {
        text.push_str(&format!(" until {}", clock(until, event.at, zone)));
    }
    if !mute.reason.is_empty() {
        text.push_str(&format!(": {}", mute.reason));
    }
    text
}

fn loss(name: &str, change: Option<&LossChange>) -> String {
    let Some(LossChange { from, to }) = change else {
        return format!("LOSS {name}.");
    };
    let verb = if to.percent() > from.percent() {
        "rose"
    } else {
        "fell"
    };
    let (from, percent) = (from.percent(), to.percent());
    format!(
        "LOSS {name} {verb} from {from:.2}% to {percent:.2}% ({} of {}).",
        to.lost, to.held
    )
}

/// `14:51:19`, or with its date when that is not the day of `today`.
pub fn clock(at: Wall, today: Wall, zone: &TimeZone) -> String {
    let (at, today) = (zoned(at, zone), zoned(today, zone));
    let format = if at.date() == today.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    at.strftime(format).to_string()
}

/// `at` on the clocks of `zone`.
pub fn zoned(at: Wall, zone: &TimeZone) -> Zoned {
    at.timestamp().to_zoned(zone.clone())
}

/// An uncertainty, rounded to what a person needs: whole seconds from one second on.
pub fn about(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        return short(Duration::from_millis((length.as_secs_f64() * 1e3).ceil() as u64));
    }
    short(Duration::from_secs(length.as_secs_f64().round() as u64))
}
