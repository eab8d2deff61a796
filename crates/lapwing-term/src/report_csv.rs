//! A report as CSV (RFC 4180): a line an outage.

use std::borrow::Cow;

use lapwing_api::report::{OutageShape, ReportShape, SeriesReport};

/// New columns come at the end, so that whoever reads the old ones by place goes on.
const HEAD: &str =
    "series,target,began,ended,length_s,uncertainty_s,code,reason,failed_checks,recovered,cause,cause_text";

pub fn render(report: &ReportShape) -> String {
    let mut text = format!("{HEAD}\r\n");
    for series in &report.series {
        for outage in &series.outages {
            text.push_str(&line(series, outage));
        }
    }
    text
}

fn line(series: &SeriesReport, outage: &OutageShape) -> String {
    let (cause, cause_text) = outage
        .cause
        .as_ref()
        .map_or(("", ""), |c| (c.kind.as_str(), c.text.as_str()));
    let fields = [
        field(&series.series),
        field(&series.target),
        field(&outage.began),
        field(outage.ended.as_deref().unwrap_or_default()),
        format!("{:.6}", outage.length_s).into(),
        outage
            .uncertainty_s
            .map_or_else(String::new, |s| format!("{s:.6}"))
            .into(),
        field(&outage.reason.code),
        field(&outage.reason.detail),
        outage.failed_checks.to_string().into(),
        outage.recovered.to_string().into(),
        field(cause),
        field(cause_text),
    ];
    fields.join(",") + "\r\n"
}

/// Quoted where it must be. What a spreadsheet would take for a formula gets an apostrophe before it.
fn field(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if formula { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{mark}{}\"", text.replace('"', "\"\"")).into()
    } else if formula {
        format!("{mark}{text}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_quoted_and_formulas_defused() {
        for (given, written) in [
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "'=1+1"),
            ("-1,\"2\"", "\"'-1,\"\"2\"\"\""),
            ("", ""),
        ] {
            assert_eq!(field(given), written);
        }
    }
}
