//! `lapwing list`: a line a monitor.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;
use lapwing_api::monitors::{MonitorPage, MonitorShape, Origin};
use lapwing_core::{observation::clean, time::short};

use crate::{
    columns::{Columns, cut},
    paint::Paint,
    status_table::{local, rank},
};

/// Longest text in a cell, in bytes.
const CELL: usize = 200;
/// Longest text of why one is not watched, in bytes.
const WHY: usize = 1_000;

/// `width` is that of the terminal: what has no room stands below. None is as wide as it takes.
pub fn render(page: &MonitorPage, zone: &TimeZone, paint: Paint, width: Option<usize>) -> String {
    if page.total == 0 {
        return "Nothing is watched. `lapwing add NAME TARGET` begins, or a [[monitor]] in the configuration.\n"
            .to_owned();
    }
    if page.matching == 0 {
        return format!("None of the {} monitors fits.\n", page.total);
    }
    let mut text = table(&page.monitors, zone, paint, width);
    let more = page.matching.saturating_sub(page.offset + page.monitors.len());
    if more > 0 {
        text.push_str(&format!("… and {more} more; --search TEXT narrows it down\n"));
    }
    for monitor in &page.monitors {
        if let Some(why) = &monitor.unwatched {
            let (name, why) = (clean(&monitor.name, CELL), clean(why, WHY));
            text.push_str(&format!("{name} is not watched: {why}\n"));
        }
    }
    text
}

fn table(monitors: &[MonitorShape], zone: &TimeZone, paint: Paint, width: Option<usize>) -> String {
    let mut whole = Columns::new(&["NAME", "STATE", "TARGET", "EVERY", "FROM"]);
    let mut short = Columns::new(&["NAME", "STATE", "EVERY", "FROM"]);
    for one in monitors {
        let head = [clean(&one.name, CELL), state(one, paint)];
        let tail = [every(one.interval_s), origin(&one.origin, zone)];
        whole.add([&head[..], &[target(one)], &tail].concat());
        short.add([&head[..], &tail, &[target(one)]].concat());
    }
    let Some(width) = width.filter(|width| whole.width(5) > *width) else {
        return whole.render(5, false, paint);
    };
    if short.width(4) <= width {
        return short.render_narrow(4, width, paint);
    }
    let states = monitors.iter().map(|one| state(one, Paint::Plain).len()).max();
    let room = width.saturating_sub(states.unwrap_or(0).max("STATE".len()) + 3);
    let mut narrow = Columns::new(&["STATE", "NAME"]);
    for one in monitors {
        let name = cut(&clean(&one.name, CELL), room);
        let every = one
            .interval_s
            .map_or_else(String::new, |s| format!("every {}", every(Some(s))));
        let from = origin(&one.origin, zone);
        narrow.add(vec![state(one, paint), name, target(one), every, from]);
    }
    narrow.render_narrow(2, width, paint)
}

/// In which states its series are, or that none is watched.
pub(crate) fn state(monitor: &MonitorShape, paint: Paint) -> String {
    match monitor.unwatched {
        None => states(&monitor.states, paint),
        Some(_) => paint.state("unwatched", "unwatched"),
    }
}

/// `up`, or `2 up, 1 down` where there are several series.
fn states(states: &BTreeMap<String, usize>, paint: Paint) -> String {
    let mut sorted: Vec<(&String, &usize)> = states.iter().collect();
    sorted.sort_by_key(|(state, _)| rank(state));
    let is_one = sorted.iter().map(|(_, count)| **count).sum::<usize>() == 1;
    let words = sorted.into_iter().map(|(state, count)| {
        let word = if is_one {
            state.clone()
        } else {
            format!("{count} {state}")
        };
        paint.state(state, &word)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn target(monitor: &MonitorShape) -> String {
    let more = monitor.series.saturating_sub(1);
    let target = clean(&monitor.target, CELL);
    if more == 0 {
        target
    } else {
        format!("{target} and {more} more")
    }
}

pub(crate) fn every(interval_s: Option<f64>) -> String {
    let length = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    interval_s.map_or_else(|| "-".to_owned(), |s| short(length(s)))
}

/// Where it is to be changed.
pub(crate) fn origin(origin: &Origin, zone: &TimeZone) -> String {
    match origin {
        Origin::File { file, line } => format!("{}:{line}", clean(file, CELL)),
        Origin::Added { by, at } if by.is_empty() => format!("added {}", local(at, zone)),
        Origin::Added { by, at } => format!("added by {} {}", clean(by, CELL), local(at, zone)),
        Origin::Adopted => "adopted heartbeats".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn monitor(name: &str, origin: Origin, states: &[(&str, usize)]) -> MonitorShape {
        MonitorShape {
            name: name.to_owned(),
            origin,
            target: format!("tcp://{name}.example.com:80"),
            series: states.iter().map(|(_, count)| count).sum(),
            states: states.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect(),
            interval_s: Some(90.0),
            notify: vec!["ops".to_owned()],
            labels: BTreeMap::new(),
            unwatched: None,
        }
    }

    fn page() -> MonitorPage {
        let file = Origin::File {
            file: "lapwing.toml".to_owned(),
            line: 12,
        };
        let added = Origin::Added {
            by: "anna".to_owned(),
            at: "2026-11-20T14:51:19Z".to_owned(),
        };
        MonitorPage {
            v: 1,
            total: 9,
            matching: 5,
            offset: 0,
            monitors: vec![
                monitor("db", file, &[("down", 1)]),
                monitor("we\u{1b}b", added, &[("down", 1), ("up", 2)]),
            ],
        }
    }

    #[test]
    fn a_line_a_monitor_as_wide_as_there_is_room() {
        let shown = |width| render(&page(), &TimeZone::UTC, Paint::Plain, width);
        let whole = [
            " NAME  STATE         TARGET                                EVERY  FROM",
            " db    down          tcp://db.example.com:80               1m30s  lapwing.toml:12",
            " we b  1 down, 2 up  tcp://we b.example.com:80 and 2 more  1m30s  added by anna 2026-11-20 14:51:19",
            "… and 3 more; --search TEXT narrows it down",
        ];
        assert_eq!(shown(None).lines().collect::<Vec<_>>(), whole);
        let short = [
            " NAME  STATE         EVERY  FROM",
            " db    down          1m30s  lapwing.toml:12",
            "       tcp://db.example.com:80",
            " we b  1 down, 2 up  1m30s  added by anna 2026-11-20 14:51:19",
            "       tcp://we b.example.com:80 and 2 more",
            "… and 3 more; --search TEXT narrows it down",
        ];
        assert_eq!(shown(Some(80)).lines().collect::<Vec<_>>(), short);
        let narrow = [
            " STATE         NAME",
            " down          db",
            "               tcp://db.example.com:80",
            "               every 1m30s",
            "               lapwing.toml:12",
            " 1 down, 2 up  we b",
            "               tcp://we b.example.com:80",
            "               and 2 more",
            "               every 1m30s",
            "               added by anna 2026-11-20",
            "               14:51:19",
            "… and 3 more; --search TEXT narrows it down",
        ];
        assert_eq!(shown(Some(40)).lines().collect::<Vec<_>>(), narrow);
    }

    #[test]
    fn what_is_not_watched_says_why() {
        let mut page = page();
        let told = &mut page.monitors[1];
        (told.series, told.states) = (0, BTreeMap::new());
        told.unwatched = Some("there is no\u{1b} notifier \"ops\"".to_owned());
        let shown = render(&page, &TimeZone::UTC, Paint::Plain, None);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[2].starts_with(" we b  unwatched  tcp://"), "{shown}");
        assert_eq!(
            lines.last(),
            Some(&"we b is not watched: there is no  notifier \"ops\"")
        );
    }

    #[test]
    fn nothing_is_said_in_words() {
        let mut page = page();
        page.matching = 0;
        assert_eq!(
            render(&page, &TimeZone::UTC, Paint::Plain, None),
            "None of the 9 monitors fits.\n"
        );
        page.total = 0;
        assert!(render(&page, &TimeZone::UTC, Paint::Plain, None).starts_with("Nothing is watched."));
    }
}
