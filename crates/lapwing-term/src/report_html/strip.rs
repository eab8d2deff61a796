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

/// The strip; `label` is escaped already.
pub(super) fn draw(html: &mut String, label: &str, slices: &[SliceShape], edges: &[Edge]) {
    html.push_str(&format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"group\" aria-label=\"{label}\">"
    ));
    let mut at = 0;
    while at < slices.len().min(edges.len().saturating_sub(1)) {
        let drawn = bands(&slices[at]);
        let alike = slices[at..].iter().take_while(|s| bands(s) == drawn).count();
        // Neighbours that look the same are told together, but for outages of a part of a slice.
        let [down, unknown, up] = drawn;
        let run = if down > 0 && unknown + up > 0 { 1 } else { alike };
        let until = (at + run).min(edges.len() - 1);
        part(html, drawn, &slices[at..until], &edges[at], &edges[until]);
        at = until;
    }
    html.push_str("</svg>\n");
}

fn part(html: &mut String, bands: [u32; 3], slices: &[SliceShape], from: &Edge, to: &Edge) {
    html.push_str(&format!(
        "<g><title>{} to {}: {}</title>",
        from.at,
        to.at,
        words(slices)
    ));
    let mut y = 0.0;
    for (class, band) in ['d', 'x', 'u'].into_iter().zip(bands) {
        if band > 0 {
            let until = (y + f64::from(band) / 10.0).min(HEIGHT);
            html.push_str(&format!(
                "<path class={class} d=\"M{:.0} {y:.1}H{:.0}V{until:.1}H{0:.0}z\"/>",
                from.x, to.x
            ));
            y = until;
        }
    }
    html.push_str("</g>");
}

fn words(slices: &[SliceShape]) -> String {
    let total = |of: fn(&SliceShape) -> f64| slices.iter().map(of).sum::<f64>();
    let spent = [
        ("up", total(|s| s.up_s)),
        ("down", total(|s| s.down_s)),
        ("unknown", total(|s| s.unknown_s)),
    ];
    let mut spent = spent.into_iter().filter(|(_, seconds)| *seconds > 0.0);
    match (spent.next(), spent.next(), spent.next()) {
        (Some((word, _)), None, _) => word.to_owned(),
        parts => [parts.0, parts.1, parts.2]
            .into_iter()
            .flatten()
            .map(|(word, seconds)| format!("{word} {}", hms(seconds)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Heights of what is down, unknown and up in a slice, from the top, in tenths of a unit; they fill the strip.
fn bands(slice: &SliceShape) -> [u32; 3] {
    let total = (slice.up_s + slice.down_s + slice.unknown_s).max(f64::MIN_POSITIVE);
    let band = |seconds: f64, least: f64| {
        if seconds > 0.0 {
            (seconds * HEIGHT / total).max(least)
        } else {
            0.0
        }
    };
    let wanted = [
        band(slice.down_s, LEAST_DOWN),
        band(slice.unknown_s, LEAST),
        band(slice.up_s, LEAST),
    ];
    let sum: f64 = wanted.iter().sum();
    wanted.map(|height| (height * HEIGHT * 10.0 / sum).round() as u32)
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
            (slice(86_399.0, 1.0, 0.0), 90),
            (slice(1.0, 86_398.0, 1.0), 150),
            (slice(1.0, 1.0, 86_398.0), 80),
            (slice(0.0, 5.0, 0.0), 240),
        ] {
            let [down, unknown, up] = bands(&given);
            assert!((239..=241).contains(&(down + unknown + up)), "{given:?}");
            assert!(down >= least_down, "{given:?}");
            assert!(
                [unknown, up].iter().all(|band| *band == 0 || *band >= 15),
                "{given:?}"
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
    fn a_little_unknown_time_every_day_is_told_together() {
        let gap = slice(86_000.0, 0.0, 400.0);
        assert_eq!(bands(&gap), bands(&slice(86_100.0, 0.0, 300.0)));
        assert_eq!(words(&[gap, gap]), "up 47:46:40, unknown 00:13:20");
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
<g><title>2026-11-01 to 2026-11-03: up</title><path class=u d=\"M0 0.0H500V24.0H0z\"/></g>\
<g><title>2026-11-03 to 2026-11-04: up 23:59:00, down 00:01:00</title>\
<path class=d d=\"M500 0.0H750V9.6H500z\"/><path class=u d=\"M500 9.6H750V24.0H500z\"/></g>\
<g><title>2026-11-04 to 2026-11-05: unknown</title><path class=x d=\"M750 0.0H1000V24.0H750z\"/></g></svg>\n";
        assert_eq!(html, expected);
    }
}
