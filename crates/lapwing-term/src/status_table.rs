//! `lapwing status`: counts, and a table of series, worst first.

use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use lapwing_api::shapes::{SeriesShape, StatusShape};

use crate::paint::Paint;

/// Most rows of the table; `--json` has all.
const MAX_ROWS: usize = 1_000;

pub fn render(status: &StatusShape, zone: &TimeZone, paint: Paint, all: bool) -> String {
    let counts: Vec<String> = status
        .counts
        .iter()
        .map(|(state, n)| paint.state(state, &format!("{n} {state}")))
        .collect();
    let mut text = if counts.is_empty() {
        "Nothing is watched.\n".to_owned()
    } else {
        counts.join(", ") + "\n"
    };
    if !status.running {
        text.push_str("No daemon is running on this data folder: these are the states it left behind.\n");
    }
    if let Some(since) = &status.offline_since {
        text.push_str(&format!(
            "OFFLINE since {}: this monitor cannot reach the network.\n",
            local(since, zone)
        ));
    }
    let mut series: Vec<&SeriesShape> = status
        .series
        .iter()
        .filter(|s| all || s.state != "up" || s.is_muted())
        .collect();
    series.sort_by_key(|s| (rank(&s.state), s.series.as_str()));
    if !series.is_empty() {
        text.push('\n');
        text.push_str(&table(&series, zone, paint));
    }
    if series.len() > MAX_ROWS {
        text.push_str(&format!(
            "… and {} more; --json has all of them\n",
            series.len() - MAX_ROWS
        ));
    }
    for notifier in status.notifiers.iter().filter(|n| n.failures > 0) {
        let error = notifier.last_error.as_deref().unwrap_or("it does not say why");
        text.push_str(&format!(
            "notifier {} fails ({} waiting): {error}\n",
            notifier.name, notifier.waiting
        ));
    }
    text
}

fn table(series: &[&SeriesShape], zone: &TimeZone, paint: Paint) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["STATE", "SERIES", "SINCE", "LAST", "TARGET", "REASON"].map(|h| paint.bold(h)));
    for one in series.iter().take(MAX_ROWS) {
        let mut reason = one.remarks(&|at| local(at, zone));
        if let Some(loss) = one.loss.filter(|l| *l > 0.0) {
            reason = format!("{loss:.2}% loss {reason}");
        }
        table.add_row([
            paint.state(&one.state, &one.state),
            one.series.clone(),
            local(&one.since, zone),
            one.last_sign(),
            one.target.clone(),
            reason,
        ]);
    }
    trimmed(&table)
}

/// The table without the spaces that it leaves at line ends.
pub(crate) fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

pub(crate) fn rank(state: &str) -> usize {
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

/// `2026-11-20 14:51:19` in `zone`; the text itself when it is no time.
pub fn local(rfc3339: &str, zone: &TimeZone) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(at) => at
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}
