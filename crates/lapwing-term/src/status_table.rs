//! `lapwing status`: counts, and a table of series, worst first.

use jiff::tz::TimeZone;
use lapwing_api::shapes::{SeriesShape, StatusShape};

use crate::{
    columns::{Columns, cut},
    paint::Paint,
};

/// Most rows that a person looks at in a terminal; `--json` has all.
pub const MAX_ROWS: usize = 1_000;

/// `width` is that of the terminal: in a narrow one the targets are left out, and reasons stand below. None is as wide as
/// it takes. Of more than `most` rows the rest is counted.
pub fn render(
    status: &StatusShape,
    zone: &TimeZone,
    paint: Paint,
    all: bool,
    width: Option<usize>,
    most: usize,
) -> String {
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
        let shown = &series[..series.len().min(most)];
        text.push_str(&table(shown, zone, paint, width));
    }
    if series.len() > most {
        text.push_str(&format!(
            "… and {} more; --json has all of them\n",
            series.len() - most
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

fn table(series: &[&SeriesShape], zone: &TimeZone, paint: Paint, width: Option<usize>) -> String {
    let state = |one: &SeriesShape| paint.state(&one.state, &one.state);
    let mut whole = Columns::new(&["STATE", "SERIES", "SINCE", "LAST", "TARGET", "REASON"]);
    let mut short = Columns::new(&["STATE", "SERIES", "SINCE", "LAST", "REASON"]);
    for one in series {
        let (since, reason) = (local(&one.since, zone), reason(one, zone));
        let head = [state(one), one.series.clone(), since, one.last_sign()];
        whole.add([head.to_vec(), vec![one.target.clone(), reason.clone()]].concat());
        short.add([head.to_vec(), vec![reason]].concat());
    }
    let Some(width) = width.filter(|width| whole.width(6) > *width) else {
        return whole.render(6, false, paint);
    };
    if short.width(5) <= width {
        return short.render(5, false, paint);
    }
    if short.width(4) <= width {
        return short.render_narrow(4, width, paint);
    }
    let mut narrow = Columns::new(&["STATE", "SERIES"]);
    let states = series.iter().map(|one| one.state.len()).max().unwrap_or(0).max(5);
    for one in series {
        let since = format!("since {}", local(&one.since, zone));
        let name = cut(&one.series, width.saturating_sub(states + 3));
        narrow.add(vec![state(one), name, since, reason(one, zone)]);
    }
    narrow.render_narrow(2, width, paint)
}

fn reason(one: &SeriesShape, zone: &TimeZone) -> String {
    let remarks = one.remarks(&|at| local(at, zone));
    match one.loss.filter(|loss| *loss > 0.0) {
        Some(loss) => format!("{loss:.2}% loss {remarks}"),
        None => remarks,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> StatusShape {
        let series = |name: &str, state: &str, reason: &str| {
            format!(
                r#"{{"series":"{name}","monitor":"{name}","target":"tcp://192.0.2.1:80","kind":"tcp","state":"{state}",
                    "since":"2026-11-20T14:51:19Z","skipped":0,"reason":{{"code":"x","detail":"{reason}"}}}}"#
            )
        };
        let all = [
            series(
                "東京 😀",
                "down",
                "connection refused by somebody who is far away",
            ),
            series("web", "up", ""),
        ];
        let text = format!(
            r#"{{"v":1,"version":"1","at":"2026-11-20T14:51:20Z","running":true,"counts":{{"down":1,"up":1}},
                "series":[{}],"notifiers":[],"listeners":{{}}}}"#,
            all.join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    fn shown(width: Option<usize>) -> String {
        render(&status(), &TimeZone::UTC, Paint::Plain, true, width, MAX_ROWS)
    }

    #[test]
    fn what_is_more_than_wanted_is_counted() {
        let shown = |most| render(&status(), &TimeZone::UTC, Paint::Plain, true, None, most);
        assert!(shown(1).ends_with("far away\n… and 1 more; --json has all of them\n"));
        assert!(!shown(2).contains("more;"));
    }

    #[test]
    fn it_is_as_wide_as_it_takes() {
        let expected = "\
1 down, 1 up

 STATE  SERIES   SINCE                LAST  TARGET              REASON
 down   東京 😀  2026-11-20 14:51:19  -     tcp://192.0.2.1:80  connection refused by somebody who is far away
 up     web      2026-11-20 14:51:19  -     tcp://192.0.2.1:80
";
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some(110)), expected);
    }

    #[test]
    fn what_a_narrow_terminal_has_no_room_for_stands_below() {
        let expected = "\
1 down, 1 up

 STATE  SERIES   SINCE                LAST  REASON
 down   東京 😀  2026-11-20 14:51:19  -     connection refused by somebody who is far away
 up     web      2026-11-20 14:51:19  -
";
        assert_eq!(shown(Some(100)), expected);
        let expected = "\
1 down, 1 up

 STATE  SERIES   SINCE                LAST
 down   東京 😀  2026-11-20 14:51:19  -
        connection refused by somebody who is far
        away
 up     web      2026-11-20 14:51:19  -
";
        assert_eq!(shown(Some(50)), expected);
        let expected = "\
1 down, 1 up

 STATE  SERIES
 down   東京 😀
        since
        2026-11-20
        14:51:19
        connection
        refused by
        somebody who
        is far away
 up     web
        since
        2026-11-20
        14:51:19
";
        assert_eq!(shown(Some(20)), expected);
    }
}
