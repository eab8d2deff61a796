//! A report in the layout of the netmonitor script: every change of state, and each outage called out.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};

pub fn render(report: &ReportShape, zone: &TimeZone) -> String {
    report
        .series
        .iter()
        .map(|series| one(series, zone))
        .collect::<Vec<_>>()
        .join("\n")
}

fn one(series: &SeriesReport, zone: &TimeZone) -> String {
    let mut text = format!("Report for {}\n", series.series);
    let first_outage = series.outages.first().map(|o| o.began.as_str());
    if let Some(known) = series
        .known_since
        .as_deref()
        .filter(|known| first_outage.is_none_or(|o| *known < o))
    {
        text.push_str(&format!("Entry: {} up\n", ctime(known, zone)));
    }
    for outage in &series.outages {
        text.push_str(&format!("Entry: {} down\n", ctime(&outage.began, zone)));
        let length = timedelta(outage.length_s);
        let sure = uncertainty(outage);
        match &outage.ended {
            Some(ended) => {
                let ended = ctime(ended, zone);
                text.push_str(&format!(
                    "Entry: {ended} up\nOutage on {ended} lasted {length} ({sure})\n"
                ));
            }
            None => {
                let began = ctime(&outage.began, zone);
                text.push_str(&format!(
                    "Ongoing outage on {began} has lasted {length} ({sure})\n"
                ));
            }
        }
    }
    text
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
    use lapwing_api::{report::OutageShape, shapes::Reason};

    use super::*;

    fn outage(began: &str, ended: Option<&str>, length_s: f64) -> OutageShape {
        OutageShape {
            began: began.to_owned(),
            ended: ended.map(ToOwned::to_owned),
            length_s,
            uncertainty_s: Some(30.0),
            reason: Reason {
                code: "heartbeat.late".to_owned(),
                detail: "late".to_owned(),
            },
            failed_checks: 1,
            recovered: true,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn the_layout_of_the_original_to_the_letter() {
        let report = ReportShape {
            v: 1,
            from: String::new(),
            to: String::new(),
            formula: String::new(),
            series: vec![SeriesReport {
                series: "1.2.3.4".to_owned(),
                monitor: String::new(),
                target: String::new(),
                watched: true,
                known_since: Some("2020-12-20T14:51:19Z".to_owned()),
                uptime_percent: None,
                up_s: 0.0,
                down_s: 0.0,
                unknown_s: 0.0,
                longest_outage_s: None,
                outages: vec![
                    outage(
                        "2020-12-20T15:08:30Z",
                        Some("2020-12-20T15:11:56.611862Z"),
                        206.611_862,
                    ),
                    outage("2020-12-20T16:07:14Z", None, 1_278.922_098),
                ],
            }],
        };
        let expected = "\
Report for 1.2.3.4
Entry: Sun Dec 20 14:51:19 2020 up
Entry: Sun Dec 20 15:08:30 2020 down
Entry: Sun Dec 20 15:11:56 2020 up
Outage on Sun Dec 20 15:11:56 2020 lasted 0:03:26.611862 (+/- 30sec)
Entry: Sun Dec 20 16:07:14 2020 down
Ongoing outage on Sun Dec 20 16:07:14 2020 has lasted 0:21:18.922098 (+/- 30sec)
";
        assert_eq!(render(&report, &TimeZone::UTC), expected);
        assert_eq!(timedelta(2.0 * 86_400.0 + 5.0), "2 days, 0:00:05");
    }
}
