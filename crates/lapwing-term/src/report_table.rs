//! A report for people: uptime of each series, and its outages.

use std::time::Duration;

use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};
use lapwing_core::{notice::about, time::Hms};

use crate::{
    paint::Paint,
    status_table::{local, trimmed},
};

pub fn render(report: &ReportShape, zone: &TimeZone, paint: Paint) -> String {
    let mut text = format!("{} to {}\n\n", local(&report.from, zone), local(&report.to, zone));
    if report.series.is_empty() {
        return text + "No series is watched, and none was.\n";
    }
    text.push_str(&summary(&report.series, paint));
    text.push_str(&paint.faint(&format!("{}\n", report.formula)));
    let outages: Vec<(&SeriesReport, &OutageShape)> = report
        .series
        .iter()
        .flat_map(|s| s.outages.iter().map(move |o| (s, o)))
        .collect();
    text.push('\n');
    if outages.is_empty() {
        text.push_str("No outages.\n");
    } else {
        text.push_str(&listing(&outages, zone, paint));
    }
    text
}

fn summary(series: &[SeriesReport], paint: Paint) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SERIES", "UPTIME", "DOWN", "UNKNOWN", "OUTAGES", "LONGEST"].map(|h| paint.bold(h)));
    for one in series {
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
            one.longest_outage_s.map_or_else(|| "-".to_owned(), hms),
        ]);
    }
    trimmed(&table)
}

fn listing(outages: &[(&SeriesReport, &OutageShape)], zone: &TimeZone, paint: Paint) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SERIES", "BEGAN", "ENDED", "LENGTH", "±", "REASON"].map(|h| paint.bold(h)));
    for (series, outage) in outages {
        let ended = match (&outage.ended, outage.recovered) {
            (None, _) => paint.state("down", "ongoing"),
            (Some(at), true) => local(at, zone),
            (Some(at), false) => format!("{} (watching ended)", local(at, zone)),
        };
        let sure = outage
            .uncertainty_s
            .map_or_else(|| "unknown".to_owned(), |s| about(span(s)));
        table.add_row([
            series.series.clone(),
            local(&outage.began, zone),
            ended,
            hms(outage.length_s),
            sure,
            format!("{} [{}]", outage.reason.detail, outage.reason.code),
        ]);
    }
    trimmed(&table)
}

/// Cut, not rounded: 99.9996 % of uptime is not 100 %.
fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(
        || "unknown".to_owned(),
        |p| format!("{:.3}%", (p * 1e3).floor() / 1e3),
    )
}

fn hms(seconds: f64) -> String {
    Hms(span(seconds)).to_string()
}

fn span(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}
