//! A strip over time as SVG: how each slice of a report's window was spent.
//!
//! Colour is never the only sign: each state has its own pattern, and each part says in words what it shows.

use jiff::{Timestamp, tz::TimeZone};
use lapwing_api::report::SliceShape;

use crate::{report_table::hms, status_table::local};

/// Patterns that all strips of a page share, so that red and grey differ without colour.
pub(super) const PATTERNS: &str = "\
<svg class=\"defs\" aria-hidden=\"true\"><defs>\
<pattern id=\"down\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<rect width=\"6\" height=\"6\" style=\"fill:var(--down)\"/>\
<circle cx=\"3\" cy=\"3\" r=\"1\" style=\"fill:var(--mark)\"/></pattern>\
<pattern id=\"unknown\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<rect width=\"6\" height=\"6\" style=\"fill:var(--unknown)\"/>\
<path d=\"M0 6L6 0\" style=\"stroke:var(--stroke)\"/></pattern></defs></svg>\n";

/// What the patterns and colours mean.
pub(super) const KEY: &str = "\
<p class=\"key\">\
<span><svg aria-hidden=\"true\"><rect class=\"u\" width=\"100%\" height=\"100%\"/></svg>up</span>\
<span><svg aria-hidden=\"true\"><rect class=\"d\" width=\"100%\" height=\"100%\"/></svg>down (dots)</span>\
<span><svg aria-hidden=\"true\"><rect class=\"x\" width=\"100%\" height=\"100%\"/></svg>unknown (stripes)</span></p>\n";

/// The size of a strip in its own units; it is stretched to the width of the page.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 24.0;
/// Least heights of what lasted a moment: an outage of a second must be seen.
const LEAST_DOWN: f64 = 16.0;
const LEAST: f64 = 3.0;

/// Where a slice begins or ends.
pub(super) struct Edge {
    x: f64,
    /// For people.
    pub(super) at: String,
}

/// The places of a report's `edges`.
pub(super) fn edges(edges: &[String], zone: &TimeZone) -> Vec<Edge> {
    let micros = |text: &String| text.parse().map_or(0, Timestamp::as_microsecond);
    let (Some(first), Some(last)) = (edges.first().map(micros), edges.last().map(micros)) else {
        return Vec::new();
    };
    let length = (last - first).max(1) as f64;
    let place = |edge: &String| Edge {
        x: (micros(edge) - first) as f64 * WIDTH / length,
        at: brief(&local(edge, zone)),
    };
    edges.iter().map(place).collect()
}

/// A midnight as its date, a full minute without its seconds: most edges are one.
fn brief(time: &str) -> String {
    let time = time.strip_suffix(" 00:00:00").unwrap_or(time);
    let minute = time.strip_suffix(":00").filter(|_| time.contains(' '));
    minute.unwrap_or(time).to_owned()
}

#[derive(Clone, Copy, PartialEq)]
enum Spent {
    Up,
    Down,
    Unknown,
    Mixed,
}

impl Spent {
    fn of(slice: &SliceShape) -> Self {
        match (slice.up_s > 0.0, slice.down_s > 0.0, slice.unknown_s > 0.0) {
            (_, false, false) => Self::Up,
            (false, true, false) => Self::Down,
            (false, false, true) => Self::Unknown,
            _ => Self::Mixed,
        }
    }
}

/// The strip; `label` is escaped already.
pub(super) fn draw(html: &mut String, label: &str, slices: &[SliceShape], edges: &[Edge]) {
    html.push_str(&format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"group\" aria-label=\"{label}\">"
    ));
    let mut at = 0;
    while at < slices.len().min(edges.len().saturating_sub(1)) {
        let spent = Spent::of(&slices[at]);
        let alike = |slice: &&SliceShape| Spent::of(slice) == spent;
        // What is the same throughout is told once.
        let run = match spent {
            Spent::Mixed => 1,
            _ => slices[at..].iter().take_while(alike).count(),
        };
        let until = (at + run).min(edges.len() - 1);
        part(html, spent, &slices[at], &edges[at], &edges[until]);
        at += run;
    }
    html.push_str("</svg>\n");
}

fn part(html: &mut String, spent: Spent, slice: &SliceShape, from: &Edge, to: &Edge) {
    let words = match spent {
        Spent::Up => "up".to_owned(),
        Spent::Down => "down".to_owned(),
        Spent::Unknown => "unknown".to_owned(),
        Spent::Mixed => shares(slice),
    };
    html.push_str(&format!("<g><title>{} to {}: {words}</title>", from.at, to.at));
    let (x, width) = (from.x, to.x - from.x);
    let mut y = 0.0;
    for (class, height) in heights(slice) {
        html.push_str(&format!(
            "<path class={class} d=\"M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z\"/>"
        ));
        y += height;
    }
    html.push_str("</g>");
}

fn shares(slice: &SliceShape) -> String {
    [
        ("up", slice.up_s),
        ("down", slice.down_s),
        ("unknown", slice.unknown_s),
    ]
    .into_iter()
    .filter(|(_, seconds)| *seconds > 0.0)
    .map(|(word, seconds)| format!("{word} {}", hms(seconds)))
    .collect::<Vec<_>>()
    .join(", ")
}

/// The parts of a slice from the top: class and height.
fn heights(slice: &SliceShape) -> impl Iterator<Item = (char, f64)> {
    let total = (slice.up_s + slice.down_s + slice.unknown_s).max(f64::MIN_POSITIVE);
    let parts = [
        ('d', slice.down_s, LEAST_DOWN),
        ('x', slice.unknown_s, LEAST),
        ('u', slice.up_s, LEAST),
    ];
    let wanted = parts
        .into_iter()
        .filter(|(_, seconds, _)| *seconds > 0.0)
        .map(move |(class, seconds, least)| (class, (seconds * HEIGHT / total).max(least)));
    let sum: f64 = wanted.clone().map(|(_, height)| height).sum();
    wanted.map(move |(class, height)| (class, height * HEIGHT / sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(up_s: f64, down_s: f64, unknown_s: f64) -> SliceShape {
        SliceShape {
            up_s,
            down_s,
            unknown_s,
        }
    }

    #[test]
    fn parts_fill_the_strip_and_a_short_outage_is_seen() {
        for (given, least_down) in [
            (slice(86_399.0, 1.0, 0.0), 9.0),
            (slice(1.0, 86_398.0, 1.0), 15.0),
            (slice(1.0, 1.0, 86_398.0), 8.0),
            (slice(0.0, 5.0, 0.0), 24.0),
        ] {
            let parts: Vec<_> = heights(&given).collect();
            let sum: f64 = parts.iter().map(|(_, height)| height).sum();
            assert!((sum - HEIGHT).abs() < 1e-9, "{parts:?}");
            assert!(
                parts
                    .iter()
                    .all(|(class, height)| *height >= if *class == 'd' { least_down } else { 1.5 }),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn round_times_are_brief() {
        for (time, text) in [
            ("2026-11-03 00:00:00", "2026-11-03"),
            ("2026-11-03 10:00:00", "2026-11-03 10:00"),
            ("2026-11-03 10:20:00", "2026-11-03 10:20"),
            ("2026-11-03 10:20:01", "2026-11-03 10:20:01"),
        ] {
            assert_eq!(brief(time), text);
        }
    }

    #[test]
    fn equal_neighbours_are_one_part() {
        let day = |n: u32| format!("2026-11-{n:02}T00:00:00.000000Z");
        let edges = edges(&(1..=5).map(day).collect::<Vec<_>>(), &TimeZone::UTC);
        let slices = [
            slice(86_400.0, 0.0, 0.0),
            slice(86_400.0, 0.0, 0.0),
            slice(86_340.0, 60.0, 0.0),
            slice(0.0, 0.0, 86_400.0),
        ];
        let mut html = String::new();
        draw(&mut html, "home", &slices, &edges);
        let expected = "\
<svg viewBox=\"0 0 1000 24\" preserveAspectRatio=\"none\" role=\"group\" aria-label=\"home\">\
<g><title>2026-11-01 to 2026-11-03: up</title><path class=u d=\"M0.0 0.0h500.0v24.0h-500.0z\"/></g>\
<g><title>2026-11-03 to 2026-11-04: up 23:59:00, down 00:01:00</title>\
<path class=d d=\"M500.0 0.0h250.0v9.6h-250.0z\"/><path class=u d=\"M500.0 9.6h250.0v14.4h-250.0z\"/></g>\
<g><title>2026-11-04 to 2026-11-05: unknown</title><path class=x d=\"M750.0 0.0h250.0v24.0h-250.0z\"/></g></svg>\n";
        assert_eq!(html, expected);
    }
}
