//! A report as one HTML file that is fit to send on: it loads nothing, runs nothing, and reads as well on paper.
//!
//! Names and reasons come from outside: all text goes through [`escaped`].

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};
use lapwing_core::observation::clean;

use crate::report_table::{MEANS, hms, percent, uncertainty};

mod strip;

const STYLE: &str = include_str!("report_html/style.css");
/// Of so many series, each has its strip; of more, those that had an outage.
const ALL_STRIPS: usize = 100;
/// So many monitors are named in the title.
const NAMED: usize = 6;

pub fn render(report: &ReportShape, zone: &TimeZone) -> String {
    let page = Page {
        report,
        zone,
        edges: strip::edges(&report.edges, zone),
    };
    let mut html = String::with_capacity(64 << 10);
    page.head(&mut html);
    if report.series.is_empty() {
        html.push_str("<p class=\"verdict\">No series is watched, and none was.</p>\n");
    } else {
        page.verdict(&mut html);
        page.summary(&mut html);
        page.strips(&mut html);
        page.outages(&mut html);
        page.how_to_read(&mut html);
    }
    page.foot(&mut html);
    html
}

struct Page<'a> {
    report: &'a ReportShape,
    zone: &'a TimeZone,
    edges: Vec<strip::Edge>,
}

impl Page<'_> {
    fn head(&self, html: &mut String) {
        let report = self.report;
        let title = self.title();
        let (from, to) = (self.time(&report.from), self.time(&report.to));
        let long = if report.series.len() > ALL_STRIPS {
            " class=\"long\""
        } else {
            ""
        };
        html.push_str(&format!(
            "<!DOCTYPE html>\n<html lang=\"en\"{long}>\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"generator\" content=\"lapwing {version}\">\n\
             <title>{title}, {from} to {to}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{patterns}\
             <header>\n<h1>{title}</h1>\n<p>{from} to {to}</p>\n\
             <p class=\"faint\">Times in {zone}. Made {at} by Lapwing {version}.</p>\n</header>\n<main>\n",
            version = escaped(&report.version),
            patterns = strip::PATTERNS,
            zone = self.zone_name(),
            at = self.time(&report.at),
        ));
        if !report.running {
            html.push_str(
                "<p class=\"note\">No daemon was watching when this report was made: \
                 what came after its end is unknown.</p>\n",
            );
        }
    }

    fn title(&self) -> String {
        let mut monitors: Vec<&str> = self.report.series.iter().map(|s| s.monitor.as_str()).collect();
        monitors.sort_unstable();
        monitors.dedup();
        match monitors.len() {
            0 => "Outages and uptime".to_owned(),
            1..=NAMED => format!("Outages and uptime: {}", escaped(&monitors.join(", "))),
            many => format!("Outages and uptime of {many} monitors"),
        }
    }

    fn verdict(&self, html: &mut String) {
        let series = &self.report.series;
        let outages = || series.iter().flat_map(|s| &s.outages);
        let (all, ongoing) = (outages().count(), outages().filter(|o| o.ongoing).count());
        let hit = series.iter().filter(|s| !s.outages.is_empty()).count();
        let counted = match (all, series.len()) {
            (0, _) => "No outages.".to_owned(),
            (_, 1) => format!("{}.", number(all, "outage")),
            (_, of) => format!("{} in {hit} of {of} series.", number(all, "outage")),
        };
        let lasting = match ongoing {
            0 => String::new(),
            1 => " <strong class=\"ongoing\">1 is ongoing.</strong>".to_owned(),
            more => format!(" <strong class=\"ongoing\">{more} are ongoing.</strong>"),
        };
        html.push_str(&format!("<p class=\"verdict\">{counted}{lasting}</p>\n"));
    }

    fn summary(&self, html: &mut String) {
        html.push_str(
            "<h2>Summary</h2>\n<table class=\"summary\">\n<thead><tr><th>Series</th>\
             <th>Uptime</th><th>Down</th>\
             <th>Unknown</th><th>Outages</th>\
             <th>Longest</th><th>MTBF</th>\
             <th>MTTR</th></tr></thead>\n<tbody>\n",
        );
        for (place, one) in self.report.series.iter().enumerate() {
            let name = escaped(&one.series);
            let name = if one.outages.is_empty() {
                format!("<bdi>{name}</bdi>")
            } else {
                format!("<a href=\"#s{place}\"><bdi>{name}</bdi></a>")
            };
            let gone = if one.watched {
                ""
            } else {
                " <small>no longer watched</small>"
            };
            let lasts = one.outages.iter().any(|o| o.ongoing);
            let lasts = if lasts {
                " <strong class=\"ongoing\">DOWN</strong>"
            } else {
                ""
            };
            html.push_str(&format!("<tr><td>{name}{gone}{lasts}</td>"));
            for figure in [
                percent(one.uptime_percent),
                hms(one.down_s),
                hms(one.unknown_s),
                one.outages.len().to_string(),
                or_none(one.longest_outage_s),
                or_none(one.mtbf_s),
                or_none(one.mttr_s),
            ] {
                html.push_str(&format!("<td>{figure}</td>"));
            }
            html.push_str("</tr>\n");
        }
        html.push_str(&format!(
            "</tbody>\n</table>\n<p class=\"faint\">{}. {MEANS}. Lengths are hours:minutes:seconds.</p>\n",
            escaped(&self.report.formula)
        ));
    }

    fn strips(&self, html: &mut String) {
        let series = &self.report.series;
        let shown =
            |s: &&SeriesReport| !s.slices.is_empty() && (series.len() <= ALL_STRIPS || !s.outages.is_empty());
        if !series.iter().any(|s| shown(&s)) {
            return;
        }
        html.push_str("<h2>Over time</h2>\n");
        html.push_str(strip::KEY);
        if series.len() > ALL_STRIPS {
            html.push_str("<p class=\"faint\">Only the series that had an outage.</p>\n");
        }
        self.axis(html);
        for one in series.iter().filter(shown) {
            let (name, uptime) = (escaped(&one.series), percent(one.uptime_percent));
            html.push_str(&format!(
                "<div class=\"strip\"><p><bdi>{name}</bdi><span>{uptime}</span></p>"
            ));
            let label = format!("{name}: uptime {uptime}, {}", number(one.outages.len(), "outage"));
            strip::draw(html, &label, &one.slices, &self.edges);
            html.push_str("</div>\n");
        }
        self.axis(html);
    }

    fn axis(&self, html: &mut String) {
        let ends = [self.edges.first(), self.edges.last()];
        let ends = ends.map(|edge| edge.map_or("", |e| e.at.as_str()));
        html.push_str(&format!(
            "<p class=\"axis\"><span>{}</span><span>{}</span></p>\n",
            ends[0], ends[1]
        ));
    }

    fn outages(&self, html: &mut String) {
        let series = self.report.series.iter().enumerate();
        let hit: Vec<_> = series.filter(|(_, s)| !s.outages.is_empty()).collect();
        if hit.is_empty() {
            return;
        }
        html.push_str("<h2>Outages</h2>\n");
        let checks = if self.has_checks() {
            "<th>Failed checks</th>"
        } else {
            ""
        };
        for (place, one) in hit {
            html.push_str(&format!(
                "<section id=\"s{place}\">\n<h3><bdi>{}</bdi></h3>\n<p class=\"faint\"><bdi>{}</bdi></p>\n{}\
                 <table class=\"outages\">\n<thead><tr><th>Began</th><th>Ended</th>\
                 <th>Length</th><th>±</th>\
                 <th>Cause and reason</th>{checks}</tr>\
                 </thead>\n<tbody>\n",
                escaped(&one.series),
                escaped(&one.target),
                causes(one),
            ));
            for outage in &one.outages {
                self.outage(html, outage);
            }
            html.push_str("</tbody>\n</table>\n</section>\n");
        }
    }

    fn outage(&self, html: &mut String, outage: &OutageShape) {
        let ended = match (&outage.ended, outage.recovered) {
            (None, _) => "<strong class=\"ongoing\">ONGOING</strong>".to_owned(),
            (Some(at), true) => self.time(at),
            (Some(at), false) => format!("{} <small>watching ended</small>", self.time(at)),
        };
        html.push_str(&format!(
            "<tr><td>{}</td><td>{ended}</td><td>{}</td>\
             <td>{}</td><td>",
            self.time(&outage.began),
            hms(outage.length_s),
            uncertainty(outage),
        ));
        if let Some(cause) = &outage.cause {
            html.push_str(&format!(
                "<span class=\"cause\">{}</span><br>",
                escaped(&cause.text)
            ));
        }
        let reason =
            |detail: &str, code: &str| format!("{} <small>{}</small>", escaped(detail), escaped(code));
        html.push_str(&reason(&outage.reason.detail, &outage.reason.code));
        for change in &outage.evidence {
            let then = reason(&change.reason.detail, &change.reason.code);
            html.push_str(&format!(
                "<br><small>from {}:</small> {then}",
                self.time(&change.at)
            ));
        }
        html.push_str("</td>");
        if self.has_checks() {
            html.push_str(&format!("<td>{}</td>", outage.failed_checks));
        }
        html.push_str("</tr>\n");
    }

    fn how_to_read(&self, html: &mut String) {
        html.push_str("<h2>How to read this</h2>\n<dl>\n");
        html.push_str(UPTIME);
        if self.has_checks() {
            html.push_str(CHECKS);
        }
        if self.report.series.iter().any(is_heartbeat) {
            html.push_str(BEATS);
        }
        html.push_str(STRIPS);
        if self
            .report
            .series
            .iter()
            .flat_map(|s| &s.outages)
            .any(|o| o.cause.is_some())
        {
            html.push_str(CAUSES);
        }
        html.push_str("</dl>\n");
    }

    /// Whether any series is one that is asked.
    fn has_checks(&self) -> bool {
        !self.report.series.iter().all(is_heartbeat)
    }

    fn foot(&self, html: &mut String) {
        html.push_str(&format!(
            "</main>\n<footer><p class=\"faint\">Lapwing {}, report of {}. The same figures for programs: \
             <code>lapwing report --format json</code>.</p></footer>\n</body>\n</html>\n",
            escaped(&self.report.version),
            self.time(&self.report.at)
        ));
    }

    /// With the abbreviation of the zone, for a clock that is set back shows an hour twice.
    fn time(&self, rfc3339: &str) -> String {
        match rfc3339.parse::<jiff::Timestamp>() {
            Ok(at) => at
                .to_zoned(self.zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S %Z")
                .to_string(),
            Err(_) => escaped(rfc3339),
        }
    }

    fn zone_name(&self) -> String {
        self.zone.iana_name().map_or_else(
            || "the local time of the machine that made this".to_owned(),
            escaped,
        )
    }
}

const UPTIME: &str = "\
<dt>Uptime</dt><dd>Weighted by time over known time alone. Unknown time (the monitor did not run, was paused, or could \
not reach the network itself) counts neither as up nor as down, and is shown on its own.</dd>
";

const CHECKS: &str = "\
<dt>± (uncertainty) of what is checked</dt><dd>A target is checked now and then, not all the time. An outage is counted \
from the first check that failed to the first that passed again. It may have begun as early as right after the last \
good check before, and ended as early as right after the last failed one. ± is the larger of these two gaps: the true \
length lies within it of the length shown. It is unknown where the target was never seen up before.</dd>
<dt>Failed checks</dt><dd>How many checks in a row had failed when the outage was declared. Of a heartbeat there are \
none.</dd>
";

const BEATS: &str = "\
<dt>± (uncertainty) of heartbeats</dt><dd>A heartbeat is not checked: it reports in, and is missed. An outage begins \
when the beat that did not come was due, or when a job said that it failed, and ends with the first beat that came \
again. ± is the time from one beat to the next, for between two beats nobody knows. It is 0 where beats are due at \
fixed times, and where a job said itself what became of it.</dd>
";

const STRIPS: &str = "\
<dt>MTBF and MTTR</dt><dd>Mean time between failures, and mean time to repair.</dd>
<dt>The strips</dt><dd>Each part says what it shows when pointed at. A part that holds several states is divided by \
their shares; an outage is drawn large enough to be seen, however short it was.</dd>
";

const CAUSES: &str = "\
<dt>Cause</dt><dd>A sensor that was silent says afterwards how long its machine has been running, and what became of the \
beats that it sent meanwhile. <b>line</b>: the sensor kept running, so the line between was down. <b>network</b>: the \
sensor's own machine had no network. <b>restart</b>, <b>power</b>: its machine started anew. <b>sensor</b>: its program \
did not run. <b>stopped</b>: it was stopped on purpose.</dd>
";

fn is_heartbeat(series: &SeriesReport) -> bool {
    series.target.starts_with("heartbeat:")
}

/// How often each cause was found; nothing where none was.
fn causes(series: &SeriesReport) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for cause in series.outages.iter().filter_map(|o| o.cause.as_ref()) {
        *counts.entry(&cause.kind).or_default() += 1;
    }
    if counts.is_empty() {
        return String::new();
    }
    let told: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{} {count}", escaped(kind)))
        .collect();
    format!("<p>Causes: {}</p>\n", told.join(", "))
}

fn number(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

fn or_none(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), hms)
}

/// Text as HTML shows it, within elements and within quotes; what would steer the page or its direction is gone.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in clean(text, usize::MAX).chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use lapwing_api::{report::EvidenceShape, shapes::Reason};

    use super::*;
    use crate::samples;

    fn page(report: &ReportShape) -> String {
        render(report, &TimeZone::UTC)
    }

    #[test]
    fn a_home_line_is_told_in_full() {
        let html = page(&samples::home());
        for told in [
            "<h1>Outages and uptime: home</h1>",
            "<p>2020-12-20 12:28:32 UTC to 2020-12-20 16:28:32 UTC</p>",
            "Times in UTC. Made 2020-12-20 16:28:32 UTC by Lapwing 1.2.3.",
            "2 outages. <strong class=\"ongoing\">1 is ongoing.</strong>",
            "<a href=\"#s0\"><bdi>home</bdi></a> <strong class=\"ongoing\">DOWN</strong>",
            "<td>86.245%</td><td>00:24:45</td><td>01:00:00</td>\
             <td>2</td><td>00:21:18</td><td>01:17:37</td>\
             <td>00:03:26</td>",
            "uptime = up / (up + down), by time; unknown time is left out. mtbf = ",
            "<title>2020-12-20 12:28:32 to 2020-12-20 13:28:32: unknown</title>",
            "<title>2020-12-20 14:28:32 to 2020-12-20 15:28:32: up 00:56:33, down 00:03:26</title>",
            "<p>Causes: line 1</p>",
            "<tr><td>2020-12-20 15:08:30 UTC</td><td>2020-12-20 15:11:56 UTC</td>\
             <td>00:03:26</td><td>30s</td><td>\
             <span class=\"cause\">line down, sensor kept running (7 beats lost)</span><br>\
             no beat for 3m <small>heartbeat.late</small></td></tr>",
            "<td><strong class=\"ongoing\">ONGOING</strong></td><td>00:21:18</td>\
             <td>unknown</td>",
            "<dt>Cause</dt>",
        ] {
            assert!(html.contains(told), "{told}\n{html}");
        }
        assert!(!html.contains("class=\"note\""), "a daemon runs");
    }

    #[test]
    fn checks_are_told_only_where_something_is_checked() {
        let mut report = samples::home();
        let told = |report: &ReportShape| {
            let html = page(report);
            let checks = [
                "<th>Failed checks</th>",
                "<td>1</td></tr>",
                "<dt>Failed checks</dt>",
                "of what is checked",
            ];
            let checks = checks.map(|text| html.contains(text));
            assert!(checks.iter().all(|told| *told == checks[0]), "{html}");
            (checks[0], html.contains("of heartbeats"))
        };
        assert_eq!(told(&report), (false, true));
        let mut web = report.series[0].clone();
        web.target = "https://web.example.com".to_owned();
        report.series.push(web);
        assert_eq!(told(&report), (true, true));
        report.series.remove(0);
        assert_eq!(told(&report), (true, false));
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        let html = page(&samples::home());
        for word in [
            "<script",
            "<link",
            "<img",
            "url(http",
            "@import",
            "src=",
            "href=\"http",
            "onclick",
            "javascript:",
        ] {
            assert!(!html.contains(word), "{word}");
        }
        assert!(html.contains("default-src 'none'"));
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        let evil = "<script>alert(\"1\")</script>'&\u{202e}\u{7}\u{2066}";
        let shown = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;";
        let mut report = samples::home();
        let series = &mut report.series[0];
        (series.series, series.monitor, series.target) = (evil.into(), evil.into(), evil.into());
        let reason = Reason {
            code: evil.to_owned(),
            detail: evil.to_owned(),
        };
        let outage = &mut series.outages[0];
        outage.evidence.push(EvidenceShape {
            at: evil.to_owned(),
            reason: reason.clone(),
        });
        outage.reason = reason;
        outage.began = evil.to_owned();
        outage.ended = Some(evil.to_owned());
        let cause = outage.cause.as_mut().unwrap();
        (cause.kind, cause.text) = (evil.into(), evil.into());
        report.formula = evil.to_owned();
        let html = page(&report);
        assert!(
            !html.contains("<script") && !html.contains(['\u{202e}', '\u{7}', '\u{2066}']),
            "{html}"
        );
        // Two titles, summary, strip and its label, heading, target, cause in both forms, three reasons, times.
        assert_eq!(html.matches(shown).count(), 17, "{html}");
        assert!(!html.replace(shown, "").contains("alert"), "{html}");
    }

    #[test]
    fn of_many_series_only_those_with_outages_have_details() {
        let mut home = samples::home();
        let broken = home.series.remove(0);
        let mut quiet = samples::series("quiet");
        quiet.slices = broken.slices.clone();
        let of = |count: usize| {
            let mut report = home.clone();
            report.series = vec![broken.clone()];
            report.series.resize(count, quiet.clone());
            page(&report)
        };
        let (few, many) = (of(ALL_STRIPS), of(ALL_STRIPS + 1));
        let strips = |html: &str| html.matches("<svg viewBox").count();
        assert_eq!((strips(&few), strips(&many)), (100, 1));
        for html in [few, many] {
            assert!(
                html.matches("<section").count() == 1 && html.contains(" in 1 of 10"),
                "{html}"
            );
        }
    }

    #[test]
    fn nothing_to_tell_is_said() {
        let mut report = samples::report(Vec::new());
        report.running = false;
        let html = page(&report);
        assert!(
            html.contains("No series is watched, and none was.") && html.contains("class=\"note\""),
            "{html}"
        );
        let quiet = page(&samples::report(vec![samples::series("home")]));
        assert!(quiet.contains("<p class=\"verdict\">No outages.</p>"), "{quiet}");
        assert!(
            !quiet.contains("<h2>Outages")
                && !quiet.contains("<h2>Over time")
                && !quiet.contains("<dt>Cause"),
            "{quiet}"
        );
        assert!(quiet.contains("<td>unknown</td>"), "{quiet}");
    }
}
