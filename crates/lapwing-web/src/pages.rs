//! The status page as plain text, for a browser and for curl.

use std::fmt::Write as _;

use lapwing_api::shapes::{SeriesShape, StatusShape};
use unicode_width::UnicodeWidthStr as _;

/// Most series on the page; the JSON has all of them.
const MAX_ROWS: usize = 2_000;

/// States worst first, then by name; aligned by the columns that characters take.
pub(crate) fn text(status: &StatusShape) -> String {
    let mut page = String::new();
    let total = status.series.len();
    let counts: Vec<String> = status
        .counts
        .iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    let counts = if counts.is_empty() {
        "nothing is watched".to_owned()
    } else {
        counts.join(", ")
    };
    let_it(writeln!(
        page,
        "Lapwing {}   {}   {counts}",
        status.version,
        seconds(&status.at)
    ));
    if let Some(since) = &status.offline_since {
        let_it(writeln!(
            page,
            "OFFLINE since {}: this monitor cannot reach the network.",
            seconds(since)
        ));
    }
    page.push('\n');
    let mut series: Vec<&SeriesShape> = status.series.iter().collect();
    series.sort_by_key(|s| (rank(&s.state), s.series.as_str()));
    let name_width = width(&series, |s| &s.series);
    let target_width = width(&series, |s| &s.target);
    for one in series.iter().take(MAX_ROWS) {
        let line = format!(
            "{:<12} {} {} {:>9}  since {}  {}",
            one.state,
            padded(&one.series, name_width),
            padded(&one.target, target_width),
            one.last_sign(),
            seconds(&one.since),
            one.remarks(&seconds),
        );
        page.push_str(line.trim_end());
        page.push('\n');
    }
    if total > MAX_ROWS {
        let_it(writeln!(
            page,
            "… and {} more: /api/v1/status has all of them.",
            total - MAX_ROWS
        ));
    }
    let troubled = status
        .notifiers
        .iter()
        .filter(|n| n.failures > 0 || n.waiting > 0);
    for notifier in troubled {
        let error = notifier.last_error.as_deref().unwrap_or("no error yet");
        let_it(writeln!(
            page,
            "\nnotifier {}: {} waiting; {error}",
            notifier.name, notifier.waiting
        ));
    }
    page
}

/// Writing to a string cannot fail.
fn let_it(_: std::fmt::Result) {}

fn rank(state: &str) -> usize {
    let order = [
        "down",
        "failing",
        "degraded",
        "inconclusive",
        "paused",
        "pending",
        "up",
    ];
    order.iter().position(|s| *s == state).unwrap_or(order.len())
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

fn width(series: &[&SeriesShape], of: fn(&SeriesShape) -> &str) -> usize {
    series
        .iter()
        .take(MAX_ROWS)
        .map(|s| of(s).width())
        .max()
        .unwrap_or(0)
        .min(60)
}

/// `2026-11-20 14:51:19 UTC` from RFC 3339.
fn seconds(rfc3339: &str) -> String {
    let head: String = rfc3339.chars().take(19).collect();
    format!("{} UTC", head.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use lapwing_api::surface::examples;

    use super::*;

    #[test]
    fn wide_names_and_narrow_ones_stand_in_columns() {
        let mut status = examples::status();
        let one = status.series[0].clone();
        status.series = ["web", "東京", "cafe\u{301}"]
            .map(|name| SeriesShape {
                series: name.to_owned(),
                ..one.clone()
            })
            .into();
        let page = text(&status);
        let columns: Vec<usize> = page
            .lines()
            .filter_map(|line| Some(line.split_once(&one.target)?.0.width()))
            .collect();
        assert_eq!(columns.len(), 3, "{page}");
        assert!(columns.iter().all(|column| *column == columns[0]), "{page}");
    }
}
