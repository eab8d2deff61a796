//! A report in the layout of the netmonitor script: every change of state, and each outage called out.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};

pub fn render(report: &ReportShape, zone: &TimeZone) -> String {
    report
        .series
        .iter()
        .map(|series| one(series, report, zone))
        .collect::<Vec<_>>()
        .join("\n")
}

fn one(series: &SeriesReport, report: &ReportShape, zone: &TimeZone) -> String {
    let mut text = format!("Report for {}\n", series.series);
    let first_outage = series.outages.first().map(|o| o.began.as_str());
    // Of what lies outside the window, only the begin of an outage that reaches into it is told.
    let first_up = series
        .known_since
        .as_deref()
        .filter(|known| (report.from.as_str()..report.to.as_str()).contains(known))
        .filter(|known| first_outage.is_none_or(|o| *known < o));
    text.extend(first_up.map(|known| entry(known, "up", zone)));
    for outage in &series.outages {
        text.push_str(&entry(&outage.began, "down", zone));
        let length = timedelta(outage.length_s);
        let sure = uncertainty(outage);
        match &outage.ended {
            Some(ended) if outage.recovered => {
                let on = ctime(ended, zone);
                text.push_str(&entry(ended, "up", zone));
                text.push_str(&format!("Outage on {on} lasted {length} ({sure})\n"));
            }
            Some(ended) => {
                let on = ctime(ended, zone);
                text.push_str(&format!("Outage on {on} lasted {length} (end unknown)\n"));
            }
            None => {
                let on = ctime(&outage.began, zone);
                text.push_str(&format!("Ongoing outage on {on} has lasted {length} ({sure})\n"));
            }
        }
    }
    text
}

/// The state changed at that time.
fn entry(at: &str, state: &str, zone: &TimeZone) -> String {
    format!("Entry: {} {state}\n", ctime(at, zone))
}

/// `Sun Dec 20 14:51:19 2020`, as ctime(3) writes it.
fn ctime(rfc3339: &str, zone: &TimeZone) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(at) => at
            .to_zoned(zone.clone())
            .strftime("%a %b %e %H:%M:%S %Y")
            .to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

/// `0:03:26.611862`, `2 days, 0:00:05`, as Python writes a timedelta.
fn timedelta(seconds: f64) -> String {
    let length = Duration::from_micros((seconds.max(0.0) * 1e6).round() as u64);
    let (secs, micros) = (length.as_secs(), length.subsec_micros());
    let days = match secs / 86_400 {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let fraction = if micros == 0 {
        String::new()
    } else {
        format!(".{micros:06}")
    };
    format!(
        "{days}{}:{:02}:{:02}{fraction}",
        secs / 3600 % 24,
        secs / 60 % 60,
        secs % 60
    )
}

fn uncertainty(outage: &OutageShape) -> String {
    match outage.uncertainty_s {
        // An interval is never met to the millisecond: 0.998 s is one second.
        Some(seconds) if seconds >= 0.95 => format!("+/- {:.0}sec", seconds.round()),
        Some(seconds) => format!("+/- {seconds:.1}sec"),
        None => "begin unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{outage, report, series};

    const KNOWN: &str = "2020-12-20T14:51:19.000000Z";

    #[test]
    fn the_layout_of_the_original_to_the_letter() {
        let mut home = series("1.2.3.4");
        home.known_since = Some(KNOWN.to_owned());
        home.outages = vec![
            outage(
                "2020-12-20T15:08:30.000000Z",
                Some("2020-12-20T15:11:56.611862Z"),
                206.611_862,
            ),
            outage("2020-12-20T16:07:14.000000Z", None, 1_278.922_098),
        ];
        let other = series("5.6.7.8");
        let expected = "\
Report for 1.2.3.4
Entry: Sun Dec 20 14:51:19 2020 up
Entry: Sun Dec 20 15:08:30 2020 down
Entry: Sun Dec 20 15:11:56 2020 up
Outage on Sun Dec 20 15:11:56 2020 lasted 0:03:26.611862 (+/- 30sec)
Entry: Sun Dec 20 16:07:14 2020 down
Ongoing outage on Sun Dec 20 16:07:14 2020 has lasted 0:21:18.922098 (+/- 30sec)

Report for 5.6.7.8
";
        assert_eq!(render(&report(vec![home, other]), &TimeZone::UTC), expected);
        assert_eq!(timedelta(2.0 * 86_400.0 + 5.0), "2 days, 0:00:05");
    }

    #[test]
    fn only_the_window_is_told_and_no_up_that_was_not_seen() {
        let mut home = series("home");
        home.known_since = Some(KNOWN.to_owned());
        home.outages = vec![
            outage(
                "2020-12-20T15:08:30.000000Z",
                Some("2020-12-20T15:11:56.611862Z"),
                206.611_862,
            ),
            outage(
                "2020-12-20T16:07:14.000000Z",
                Some("2020-12-20T16:08:14.000000Z"),
                60.0,
            ),
        ];
        home.outages[0].uncertainty_s = None;
        home.outages[1].recovered = false;
        let mut report = report(vec![home]);
        report.from = "2020-12-20T15:10:00.000000Z".to_owned();
        let expected = "\
Report for home
Entry: Sun Dec 20 15:08:30 2020 down
Entry: Sun Dec 20 15:11:56 2020 up
Outage on Sun Dec 20 15:11:56 2020 lasted 0:03:26.611862 (begin unknown)
Entry: Sun Dec 20 16:07:14 2020 down
Outage on Sun Dec 20 16:08:14 2020 lasted 0:01:00 (end unknown)
";
        assert_eq!(render(&report, &TimeZone::UTC), expected);
    }
}
