//! A report for people: uptime of each series, and its outages.

use std::time::Duration;

use jiff::tz::TimeZone;
use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};
use lapwing_core::{notice::about, time::Hms};

use crate::{columns::Columns, paint::Paint, status_table::local};

/// How the means are computed.
pub(crate) const MEANS: &str =
    "mtbf = up / outages that began; mttr = mean length of the outages that recovered";

/// `width` is that of the terminal: columns that do not fit are left out. None leaves out none.
pub fn render(report: &ReportShape, zone: &TimeZone, paint: Paint, width: Option<usize>) -> String {
    let mut text = String::new();
    if !report.running {
        text.push_str("No daemon is running on this data folder.\n");
    }
    text.push_str(&format!(
        "{} to {}\n\n",
        local(&report.from, zone),
        local(&report.to, zone)
    ));
    if report.series.is_empty() {
        return text + "No series is watched, and none was.\n";
    }
    text.push_str(&summary(report, paint, width));
    let outages: Vec<(&SeriesReport, &OutageShape)> = report
        .series
        .iter()
        .flat_map(|s| s.outages.iter().map(move |o| (s, o)))
        .collect();
    text.push('\n');
    if outages.is_empty() {
        text.push_str("No outages.\n");
    } else {
        text.push_str(&listing(&outages, zone, paint, width));
    }
    text
}

/// Columns of the summary that always are there; those after them need the room.
const NEEDED: usize = 6;

fn summary(report: &ReportShape, paint: Paint, width: Option<usize>) -> String {
    let titles = &[
        "SERIES", "UPTIME", "DOWN", "UNKNOWN", "OUTAGES", "LONGEST", "MTBF", "MTTR",
    ];
    let mut table = Columns::new(titles);
    let or_none = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), hms);
    for one in &report.series {
        let name = if one.watched {
            one.series.clone()
        } else {
            format!("{} (no longer watched)", one.series)
        };
        table.add(vec![
            name,
            percent(one.uptime_percent),
            hms(one.down_s),
            hms(one.unknown_s),
            one.outages.len().to_string(),
            or_none(one.longest_outage_s),
            or_none(one.mtbf_s),
            or_none(one.mttr_s),
        ]);
    }
    let fits = |columns: &usize| width.is_none_or(|width| table.width(*columns) <= width);
    let shown = if report.series.iter().any(|s| !s.outages.is_empty()) {
        (NEEDED..=titles.len()).rev().find(fits).unwrap_or(NEEDED)
    } else {
        NEEDED
    };
    let mut text = table.render(shown, false, paint) + &paint.faint(&format!("{}\n", report.formula));
    if shown > NEEDED {
        text.push_str(&paint.faint(&format!("{MEANS}\n")));
    }
    text
}

/// The cause, which only heartbeats have, stands in a column of its own where there is room, else below the reason.
fn listing(
    outages: &[(&SeriesReport, &OutageShape)],
    zone: &TimeZone,
    paint: Paint,
    width: Option<usize>,
) -> String {
    let titles = &["SERIES", "BEGAN", "ENDED", "LENGTH", "±", "REASON", "CAUSE"];
    let mut table = Columns::new(titles);
    for (series, outage) in outages {
        table.add(vec![
            series.series.clone(),
            local(&outage.began, zone),
            ended(outage, zone, paint),
            hms(outage.length_s),
            uncertainty(outage),
            format!("{} [{}]", outage.reason.detail, outage.reason.code),
            outage.cause.as_ref().map_or_else(String::new, |c| c.text.clone()),
        ]);
    }
    let fits = width.is_none_or(|width| table.width(titles.len()) <= width);
    let causes = outages.iter().any(|(_, o)| o.cause.is_some());
    let columns = titles.len() - usize::from(!fits || !causes);
    table.render(columns, true, paint)
}

fn ended(outage: &OutageShape, zone: &TimeZone, paint: Paint) -> String {
    match (&outage.ended, outage.recovered) {
        (None, _) => paint.state("down", "ongoing"),
        (Some(at), true) => local(at, zone),
        (Some(at), false) => format!("{} (watching ended)", local(at, zone)),
    }
}

pub(crate) fn uncertainty(outage: &OutageShape) -> String {
    outage
        .uncertainty_s
        .map_or_else(|| "unknown".to_owned(), |s| about(span(s)))
}

/// Cut, not rounded: 99.9996 % of uptime is not 100 %.
pub(crate) fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(
        || "unknown".to_owned(),
        |p| format!("{:.3}%", (p * 1e3).floor() / 1e3),
    )
}

pub(crate) fn hms(seconds: f64) -> String {
    Hms(span(seconds)).to_string()
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn table(width: Option<usize>) -> String {
        render(&samples::home(), &TimeZone::UTC, Paint::Plain, width)
    }

    #[test]
    fn everything_where_it_fits() {
        let expected = "\
2020-12-20 12:28:32 to 2020-12-20 16:28:32

 SERIES  UPTIME   DOWN      UNKNOWN   OUTAGES  LONGEST   MTBF      MTTR
 home    86.245%  00:24:45  01:00:00  2        00:21:18  01:17:37  00:03:26
uptime = up / (up + down), by time; unknown time is left out
mtbf = up / outages that began; mttr = mean length of the outages that recovered

 SERIES  BEGAN                ENDED                LENGTH    ±        REASON                           CAUSE
 home    2020-12-20 15:08:30  2020-12-20 15:11:56  00:03:26  30s      no beat for 3m [heartbeat.late]  line down, sensor kept running (7 beats lost)
 home    2020-12-20 16:07:14  ongoing              00:21:18  unknown  no beat for 3m [heartbeat.late]
";
        assert_eq!(table(None), expected);
        assert_eq!(table(Some(300)), expected);
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns_but_every_cause() {
        let expected = "\
2020-12-20 12:28:32 to 2020-12-20 16:28:32

 SERIES  UPTIME   DOWN      UNKNOWN   OUTAGES  LONGEST   MTBF
 home    86.245%  00:24:45  01:00:00  2        00:21:18  01:17:37
uptime = up / (up + down), by time; unknown time is left out
mtbf = up / outages that began; mttr = mean length of the outages that recovered

 SERIES  BEGAN                ENDED                LENGTH    ±        REASON
 home    2020-12-20 15:08:30  2020-12-20 15:11:56  00:03:26  30s      no beat for 3m [heartbeat.late]
                                                                      line down, sensor kept running (7 beats lost)
 home    2020-12-20 16:07:14  ongoing              00:21:18  unknown  no beat for 3m [heartbeat.late]
";
        assert_eq!(table(Some(74)), expected);
        assert!(table(Some(75)).contains("MTTR\n") && !table(Some(60)).contains("MTBF"));
    }

    #[test]
    fn nothing_to_tell_is_said() {
        let mut report = samples::report(Vec::new());
        report.running = false;
        let text = render(&report, &TimeZone::UTC, Paint::Plain, None);
        assert!(
            text.starts_with("No daemon is running on this data folder.\n2020-12-20 12:28:32 to "),
            "{text}"
        );
        assert!(
            text.ends_with("\n\nNo series is watched, and none was.\n"),
            "{text}"
        );
        let quiet = samples::report(vec![samples::series("home")]);
        let text = render(&quiet, &TimeZone::UTC, Paint::Plain, None);
        assert!(
            text.contains(" home    unknown  00:00:00  04:00:00  0        -\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\n\nNo outages.\n") && !text.contains("MTBF") && !text.contains("mtbf"),
            "{text}"
        );
    }
}
