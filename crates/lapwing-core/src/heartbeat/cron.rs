//! Cron expressions (crontab(5), five fields; a sixth in front for seconds) in a time zone.

use std::fmt;

use jiff::tz::TimeZone;

use crate::time::Wall;

/// A cron expression that can come true.
#[derive(Clone)]
pub struct Cron {
    text: String,
    schedule: Box<croner::Cron>,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

impl Cron {
    /// Reads an expression: `30 2 * * *`, `*/15 8-18 * * MON-FRI`, `@daily`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > 200 {
            return Err(CronError(
                "a cron expression has at most 200 characters".to_owned(),
            ));
        }
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Disallowed)
            .build();
        let schedule = Box::new(
            parser
                .parse(text)
                .map_err(|e| CronError(format!("\"{text}\" is not a cron expression: {e}")))?,
        );
        let cron = Self {
            text: text.to_owned(),
            schedule,
        };
        // The 30th of February parses, and never comes.
        if cron.next(Wall(1_700_000_000_000_000), &TimeZone::UTC).is_none() {
            return Err(CronError(format!("\"{text}\" names a time that never comes")));
        }
        Ok(cron)
    }

    /// The first time after `after` on the clocks of `zone`.
    pub fn next(&self, after: Wall, zone: &TimeZone) -> Option<Wall> {
        let after = after.timestamp().to_zoned(zone.clone());
        let next = self.schedule.find_next_occurrence(&after, false).ok()?;
        Some(Wall(next.timestamp().as_microsecond()))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({:?})", self.text)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn next_times_follow_the_clocks_of_the_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let nightly = Cron::parse("30 2 * * *").unwrap();
        assert_eq!(
            nightly.next(at("2026-11-20T12:00:00Z"), &berlin),
            Some(at("2026-11-21T01:30:00Z"))
        );
        assert_eq!(
            nightly.next(at("2026-07-20T00:30:00Z"), &berlin),
            Some(at("2026-07-21T00:30:00Z")),
            "after, not at"
        );
        // 02:30 does not exist on the day the clocks go forward: it runs when the gap ends, and once.
        let spring = nightly.next(at("2026-03-28T12:00:00Z"), &berlin).unwrap();
        assert!(
            spring >= at("2026-03-29T01:00:00Z") && spring < at("2026-03-29T02:00:00Z"),
            "{spring:?}"
        );
        assert_eq!(nightly.next(spring, &berlin), Some(at("2026-03-30T00:30:00Z")));
        // It exists twice on the day they go back: one run a day all the same.
        let autumn = nightly.next(at("2026-10-24T12:00:00Z"), &berlin).unwrap();
        assert_eq!(autumn, at("2026-10-25T00:30:00Z"));
        assert_eq!(nightly.next(autumn, &berlin), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn words_seconds_and_nonsense() {
        for good in ["@daily", "*/15 8-18 * * MON-FRI", "0 30 2 * * *", "0 0 29 2 *"] {
            assert!(Cron::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "* * *", "61 * * * *", "0 0 30 2 *", "every day"] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
        assert!(Cron::parse(&"*".repeat(300)).is_err());
    }
}
