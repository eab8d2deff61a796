//! `lapwing show`: all about one monitor.

use std::time::Duration;

use jiff::tz::TimeZone;
use lapwing_api::{
    Json,
    monitors::{MonitorDetails, PastOutage},
    shapes::SeriesShape,
};
use lapwing_core::{
    notice::about,
    observation::clean,
    time::{Hms, measured},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    monitor_table::{every, origin, state},
    paint::Paint,
    status_table::local,
};

/// Cells of the names of the lines.
const NAMES: usize = 10;
/// Fewer cells beside a name are too few.
const NARROW: usize = 20;
/// Longest text in a line, in bytes.
const TEXT: usize = 2_000;

/// `width` is that of the terminal: longer lines go on below, under where they began. None breaks none.
pub fn render(details: &MonitorDetails, zone: &TimeZone, paint: Paint, width: Option<usize>) -> String {
    let monitor = &details.monitor;
    let mut page = Page {
        text: String::new(),
        paint,
        width,
    };
    page.text.push_str(&format!(
        "{}  {}\n",
        paint.bold(&clean(&monitor.name, TEXT)),
        state(monitor, paint)
    ));
    if let Some(why) = &monitor.unwatched {
        page.line(2, "unwatched", why);
    }
    page.line(2, "target", &monitor.target);
    page.line(2, "every", &every(monitor.interval_s));
    page.line(2, "from", &origin(&monitor.origin, zone));
    page.line(2, "tells", &list(&monitor.notify));
    let labels: Vec<String> = monitor.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !labels.is_empty() {
        page.line(2, "labels", &list(&labels));
    }
    if let Some(keys) = &details.keys {
        for (name, value) in keys
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "name" | "target"))
        {
            page.line(2, name, &written(value));
        }
    }
    let is_all = |series: &SeriesShape| series.series == monitor.name && monitor.series == 1;
    for series in &details.series {
        if !is_all(series) {
            page.heading(series);
        }
        page.series(series, zone);
    }
    let more = monitor.series.saturating_sub(details.series.len());
    if more > 0 && details.series.len() > 1 {
        page.text.push_str(&format!(
            "\n… and {more} more series; `list` and `status` have them\n"
        ));
    }
    page.outages(details, zone);
    page.text
}

/// What is being written.
struct Page {
    text: String,
    paint: Paint,
    width: Option<usize>,
}

impl Page {
    /// A name and what it is.
    fn line(&mut self, indent: usize, name: &str, what: &str) {
        let name = clean(name, TEXT);
        let padding = " ".repeat(NAMES.saturating_sub(name.width()) + 1);
        self.text
            .push_str(&format!("{:indent$}{}", "", self.paint.faint(&name)));
        let beside = indent + name.width().max(NAMES) + 1;
        let room = self.width.map(|width| width.saturating_sub(beside));
        // Where there is no room beside the name, there is below it.
        let is_below = room.is_some_and(|room| room < NARROW);
        let begin = if is_below { indent + 2 } else { beside };
        let room = self.width.map(|width| width.saturating_sub(begin).max(1));
        for (n, line) in wrapped(&clean(what, TEXT), room).into_iter().enumerate() {
            if n == 0 && !is_below {
                self.text.push_str(&padding);
            } else {
                self.text.push_str(&format!("\n{:begin$}", ""));
            }
            self.text.push_str(&line);
        }
        self.text.push('\n');
    }

    fn heading(&mut self, series: &SeriesShape) {
        self.text.push_str(&format!(
            "\n{}  {}\n",
            self.paint.bold(&clean(&series.series, TEXT)),
            self.paint.state(&series.state, &series.state)
        ));
        self.line(2, "target", &series.target);
    }

    fn series(&mut self, series: &SeriesShape, zone: &TimeZone) {
        let clock = |at: &str| local(at, zone);
        self.line(2, "since", &clock(&series.since));
        if let Some(reason) = &series.reason {
            self.line(2, "reason", &format!("{} [{}]", reason.detail, reason.code));
        }
        if let Some(last) = &series.last {
            let took = Duration::try_from_secs_f64(last.total_ms / 1e3).unwrap_or_default();
            self.line(2, "last", &format!("{} at {}", measured(took), clock(&last.at)));
        } else if series.heartbeat.is_some() {
            self.line(2, "last", &format!("beat {}", series.last_sign()));
        }
        if let Some(loss) = series.loss {
            self.line(2, "loss", &format!("{loss:.2}%"));
        }
        let muted = [
            ("paused", &series.paused),
            ("silenced", &series.silenced),
            ("taken care", &series.acknowledged),
        ];
        for (word, mute) in muted {
            if let Some(mute) = mute {
                self.line(2, word, mute.words(&clock).trim_start());
            }
        }
        if series.skipped > 0 {
            self.line(
                2,
                "skipped",
                &format!("{} slots that found a check running", series.skipped),
            );
        }
    }

    fn outages(&mut self, details: &MonitorDetails, zone: &TimeZone) {
        if details.outages.is_empty() {
            self.text.push_str("\nNo outages.\n");
            return;
        }
        self.text.push_str("\nLast outages\n");
        for past in &details.outages {
            let text = outage(past, details.series.len() > 1, zone);
            self.line(2, if past.outage.ongoing { "now" } else { "over" }, &text);
        }
    }
}

/// `2026-11-20 14:51:19 for 00:03:26 ± 30s: connection refused`
fn outage(past: &PastOutage, with_name: bool, zone: &TimeZone) -> String {
    let outage = &past.outage;
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    let sure = outage.uncertainty_s.filter(|s| *s > 0.0);
    let sure = sure.map_or_else(String::new, |s| format!(" ± {}", about(seconds(s))));
    let name = if with_name {
        format!("{}: ", past.series)
    } else {
        String::new()
    };
    format!(
        "{name}{} for {}{sure}: {}",
        local(&outage.began, zone),
        Hms(seconds(outage.length_s)),
        outage.reason.detail
    )
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    }
}

/// A text as it is, anything else as JSON.
fn written(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// In lines of at most `room` cells, broken at spaces where there are any.
fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else {
        return vec![text.to_owned()];
    };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let is_first = lines[last].is_empty();
        if is_first || lines[last].width() + 1 + word.width() <= room {
            let space = if is_first { "" } else { " " };
            lines[last].push_str(&format!("{space}{word}"));
        } else {
            lines.push(word.to_owned());
        }
        while let Some(line) = lines.last_mut().filter(|line| line.width() > room) {
            let mut cells = 0;
            let fits = |c: char| {
                cells += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
                cells > room
            };
            let at = line.find(fits).unwrap_or(line.len());
            // One that is wider than the room stands alone.
            let first = line.chars().next().map_or(0, char::len_utf8);
            let rest = line.split_off(at.max(first));
            if rest.is_empty() {
                break;
            }
            lines.push(rest);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use lapwing_api::monitors::{MonitorShape, Origin};

    use super::*;
    use crate::{monitor_table::tests::monitor, samples};

    fn details() -> MonitorDetails {
        let added = Origin::Added {
            by: "anna".to_owned(),
            at: "2026-11-20T14:00:00Z".to_owned(),
        };
        let series: SeriesShape = serde_json::from_str(
            r#"{"series":"web","monitor":"web","target":"tcp://web.example.com:80","kind":"tcp","labels":{},
                "state":"down","since":"2026-11-20T14:51:19Z","reason":{"code":"connect.refused","detail":"connection\u001b refused"},
                "last":{"at":"2026-11-20T14:52:00Z","total_ms":12.3},"loss":2.5,"skipped":0,
                "silenced":{"by":"anna","reason":"deploy","since":"2026-11-20T14:51:19Z","until":"2026-11-20T16:00:00Z"}}"#,
        )
        .unwrap();
        MonitorDetails {
            v: 1,
            at: "2026-11-20T14:53:00Z".to_owned(),
            monitor: MonitorShape {
                labels: [("team".to_owned(), "a".to_owned())].into(),
                ..monitor("web", added, &[("down", 1)])
            },
            keys: Some(
                serde_json::from_str(r#"{"name":"web","target":"x","interval":"30s","count":5}"#).unwrap(),
            ),
            series: vec![series],
            outages: vec![PastOutage {
                series: "web".to_owned(),
                outage: samples::outage("2026-11-20T14:51:19Z", None, 101.0),
            }],
        }
    }

    #[test]
    fn all_about_one_is_aligned() {
        let expected = "\
web  down
  target     tcp://web.example.com:80
  every      1m30s
  from       added by anna 2026-11-20 14:00:00
  tells      ops
  labels     team=a
  interval   30s
  count      5
  since      2026-11-20 14:51:19
  reason     connection  refused [connect.refused]
  last       12.3ms at 2026-11-20 14:52:00
  loss       2.50%
  silenced   by anna until 2026-11-20 16:00:00: deploy

Last outages
  now        2026-11-20 14:51:19 for 00:01:41 ± 30s: no beat for 3m
";
        assert_eq!(render(&details(), &TimeZone::UTC, Paint::Plain, None), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [20, 24, 40, 80] {
            let text = render(&details(), &TimeZone::UTC, Paint::Plain, Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
        }
        assert_eq!(wrapped("東京東京 x", Some(4)), ["東京", "東京", "x"]);
        assert_eq!(wrapped("", Some(4)), [""]);
        assert_eq!(wrapped("東京 é", Some(1)), ["東", "京", "é"]);
    }

    #[test]
    fn no_terminal_is_too_narrow() {
        let mut details = details();
        details.monitor.name = "東京".to_owned();
        details.series[0].target = "🦀 \u{301}東京 I 東é".to_owned();
        for width in 0..20 {
            let text = render(&details, &TimeZone::UTC, Paint::Plain, Some(width));
            assert!(text.contains('🦀') && text.contains('é'), "{width}:\n{text}");
        }
    }

    #[test]
    fn what_never_failed_says_so() {
        let mut details = details();
        details.outages.clear();
        assert!(render(&details, &TimeZone::UTC, Paint::Plain, None).ends_with("\nNo outages.\n"));
    }
}
