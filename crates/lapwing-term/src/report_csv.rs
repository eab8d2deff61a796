//! A report as CSV (RFC 4180): a line an outage.

use lapwing_api::report::ReportShape;

pub fn render(report: &ReportShape) -> String {
    let mut text =
        "series,target,began,ended,length_s,uncertainty_s,code,reason,failed_checks,recovered\r\n".to_owned();
    for series in &report.series {
        for outage in &series.outages {
            let fields = [
                series.series.clone(),
                series.target.clone(),
                outage.began.clone(),
                outage.ended.clone().unwrap_or_default(),
                format!("{:.6}", outage.length_s),
                outage
                    .uncertainty_s
                    .map_or_else(String::new, |s| format!("{s:.6}")),
                outage.reason.code.clone(),
                outage.reason.detail.clone(),
                outage.failed_checks.to_string(),
                outage.recovered.to_string(),
            ];
            text.push_str(&fields.map(|f| field(&f)).join(","));
            text.push_str("\r\n");
        }
    }
    text
}

/// Quoted where it must be. What a spreadsheet would take for a formula gets an apostrophe before it.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
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
            ("", ""),
        ] {
            assert_eq!(field(given), written);
        }
    }
}
