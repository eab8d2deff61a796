//! A report for people: uptime of each series, and its outages.

use std::time::Duration;

use comfy_table::{ColumnConstraint, Table, presets};
use jiff::tz::TimeZone;
use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};
use lapwing_core::{notice::about, time::Hms};

use crate::{
    paint::Paint,
    status_table::{local, trimmed},
};

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

/// Columns of the summary that give way first.
const SPARE: [usize; 2] = [7, 6];

fn summary(report: &ReportShape, paint: Paint, width: Option<usize>) -> String {
    let mut table = titled(
        &[
            "SERIES", "UPTIME", "DOWN", "UNKNOWN", "OUTAGES", "LONGEST", "MTBF", "MTTR",
        ],
        paint,
    );
    let or_none = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), hms);
    for one in &report.series {
        let name = if one.watched {
            one.series.clone()
        } else {
            format!("{} (no longer watched)", one.series)
        };
        table.add_row([
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
    let mut hidden = 0;
    let means = report.series.iter().any(|s| !s.outages.is_empty());
    while hidden < SPARE.len() && !(means && fits(&table, width)) {
        hide(&mut table, SPARE[hidden]);
        hidden += 1;
    }
    let mut text = trimmed(&table) + &paint.faint(&format!("{}\n", report.formula));
    if hidden < SPARE.len() {
        text.push_str(&paint.faint(&format!("{MEANS}\n")));
    }
    text
}

fn listing(
    outages: &[(&SeriesReport, &OutageShape)],
    zone: &TimeZone,
    paint: Paint,
    width: Option<usize>,
) -> String {
    let table = outage_table(outages, zone, paint, true);
    if fits(&table, width) || outages.iter().all(|(_, o)| o.cause.is_none()) {
        trimmed(&table)
    } else {
        trimmed(&outage_table(outages, zone, paint, false))
    }
}

/// With the cause in a column of its own, which only heartbeats need, or below the reason.
fn outage_table(
    outages: &[(&SeriesReport, &OutageShape)],
    zone: &TimeZone,
    paint: Paint,
    wide: bool,
) -> Table {
    let cause_column = wide && outages.iter().any(|(_, o)| o.cause.is_some());
    let titles = ["SERIES", "BEGAN", "ENDED", "LENGTH", "±", "REASON", "CAUSE"];
    let mut table = titled(&titles[..titles.len() - usize::from(!cause_column)], paint);
    for (series, outage) in outages {
        let mut reason = format!("{} [{}]", outage.reason.detail, outage.reason.code);
        let cause = outage.cause.as_ref().map_or("", |c| c.text.as_str());
        if !cause_column && !cause.is_empty() {
            reason = format!("{reason}\n{cause}");
        }
        let mut row = vec![
            series.series.clone(),
            local(&outage.began, zone),
            ended(outage, zone, paint),
            hms(outage.length_s),
            uncertainty(outage),
            reason,
        ];
        if cause_column {
            row.push(cause.to_owned());
        }
        table.add_row(row);
    }
    table
}

fn ended(outage: &OutageShape, zone: &TimeZone, paint: Paint) -> String {
    match (&outage.ended, outage.recovered) {
        (None, _) => paint.state("down", "ongoing"),
        (Some(at), true) => local(at, zone),
        (Some(at), false) => format!("{} (watching ended)", local(at, zone)),
    }
}

fn titled(titles: &[&str], paint: Paint) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.iter().map(|title| paint.bold(title)));
    table
}

fn hide(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
}

fn fits(table: &Table, width: Option<usize>) -> bool {
    let shown = table
        .column_iter()
        .zip(table.column_max_content_widths())
        .filter(|(column, _)| !column.is_hidden());
    // A space on either side of each; the last one is trimmed.
    let needed = shown.map(|(_, content)| usize::from(content) + 2).sum::<usize>();
    width.is_none_or(|width| needed <= width + 1)
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
