//! What `pause`, `resume`, `ack` and `silence` have in common: whom they name, until when, and who asks.

use clap::Args;
use jiff::{Timestamp, Zoned, civil, tz::TimeZone};
use lapwing_api::steering::{WishShape, WishWord};
use lapwing_core::time::{Clock, Wall, parse_duration};

use super::{
    Failure, exit, local,
    report::{DataArg, zone},
};
use crate::{clock::SystemClock, config::Environment, out};

#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Monitors (with all their series) or single series
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    data: DataArg,
    /// What was done, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct EndArgs {
    /// For so long, such as 2h or 1d12h
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
    length: Option<std::time::Duration>,
    /// Until a time of day (18:00), a date, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReasonArg {
    /// Why, for those who see it
    #[arg(long, short, value_name = "TEXT")]
    reason: Option<String>,
}

/// Something to ask of the daemon.
pub struct Ask<'a> {
    pub wish: WishWord,
    pub names: &'a NamesArgs,
    pub end: Option<&'a EndArgs>,
    pub reason: Option<&'a ReasonArg>,
}

pub fn ask(ask: &Ask<'_>, environment: &Environment) -> Result<u8, Failure> {
    let until = match ask.end {
        Some(end) => end.moment(SystemClock::new().now().wall, &zone())?,
        None => None,
    };
    let wish = WishShape {
        wish: ask.wish,
        names: ask.names.names.clone(),
        // Behind sudo it is that person; else the daemon sees by itself who asks.
        by: environment
            .get("SUDO_USER")
            .filter(|name| !name.is_empty())
            .map(ToOwned::to_owned),
        reason: ask.reason.and_then(|r| r.reason.clone()),
        until: until.map(Wall::rfc3339),
        // As the end was meant, it is told.
        zone: until.and_then(|_| zone_name()),
    };
    let folder = ask.names.data.folder(environment)?;
    let done = local::ask(&folder, async |daemon| daemon.wish(&wish).await)?;
    if ask.names.json {
        out::print(&(serde_json::to_string(&done).map_err(anyhow::Error::from)? + "\n"))?;
    } else {
        out::print(&format!("{}\n", done.text))?;
    }
    Ok(exit::FINE)
}

/// The name of the time zone in which this terminal shows times; None where it has none.
pub fn zone_name() -> Option<String> {
    zone().iana_name().map(ToOwned::to_owned)
}

impl EndArgs {
    pub fn is_given(&self) -> bool {
        self.length.is_some() || self.until.is_some()
    }

    fn moment(&self, now: Wall, zone: &TimeZone) -> Result<Option<Wall>, Failure> {
        if let Some(length) = self.length {
            return Ok(Some(now + length));
        }
        let Some(text) = &self.until else { return Ok(None) };
        let zoned = now.timestamp().to_zoned(zone.clone());
        match coming(text, &zoned) {
            Some(at) => Ok(Some(Wall(at.as_microsecond()))),
            None => Err(Failure::usage(format!(
                "\"{text}\" is not a time: write 18:00, 2026-11-20, 2026-11-20T18:00 or 2026-11-20T18:00:00Z"
            ))),
        }
    }
}

/// A time of day is the next one that comes.
fn coming(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let local = |at: civil::DateTime| Some(at.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    // A date is a date and time too, and no time of day.
    if text.contains('-') {
        return local(text.parse().ok()?);
    }
    let time: civil::Time = text.parse().ok()?;
    let today = local(now.date().to_datetime(time))?;
    if today > now.timestamp() {
        return Some(today);
    }
    local(now.date().tomorrow().ok()?.to_datetime(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_written_as_people_do() {
        let now: Zoned = "2026-10-24T17:30:00+02:00[Europe/Berlin]".parse().unwrap();
        for (text, expected) in [
            ("18:00", Some("2026-10-24T16:00:00Z")),
            ("17:30", Some("2026-10-25T16:30:00Z")),
            ("06:15:30", Some("2026-10-25T05:15:30Z")),
            ("2026-11-20", Some("2026-11-19T23:00:00Z")),
            ("2026-11-20T18:00", Some("2026-11-20T17:00:00Z")),
            ("2026-11-20 18:00", Some("2026-11-20T17:00:00Z")),
            ("2026-11-20T18:00:00Z", Some("2026-11-20T18:00:00Z")),
            ("2026-11-20T18:00:00+05:30", Some("2026-11-20T12:30:00Z")),
            ("tomorrow", None),
            ("25:00", None),
            ("2026-02-30", None),
            ("", None),
        ] {
            let found = coming(text, &now).map(|at| at.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }
}
