//! The lines of `lapwing check`: state, time by phase, facts, and the reason of a failure.

use lapwing_api::shapes::CheckShape;

use crate::paint::Paint;

/// One check. `verbose` adds its facts, a line each.
pub fn lines(check: &CheckShape, paint: Paint, verbose: bool) -> String {
    let phases: Vec<String> = check
        .phases
        .iter()
        .filter_map(|(name, ms)| {
            Some(format!(
                "{} {}",
                name.strip_suffix("_ms")?.replace('_', " "),
                millis(ms.as_f64()?)
            ))
        })
        .collect();
    let state = paint.state(&check.state, &format!("{:<12}", check.state));
    let mut text = format!("{state} {}  {}", check.target, millis(check.total_ms));
    if !phases.is_empty() {
        text.push_str(&paint.faint(&format!("  ({})", phases.join(", "))));
    }
    text.push('\n');
    if let Some(reason) = &check.reason {
        text.push_str(&format!("             {} [{}]\n", reason.detail, reason.code));
    }
    let note = remarks(check);
    if !note.is_empty() {
        text.push_str(&format!("             {note}\n"));
    }
    if verbose {
        for (name, value) in &check.facts {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            text.push_str(&paint.faint(&format!("             {name} = {value}")));
            text.push('\n');
        }
    }
    text
}

/// The facts that a person asks for without asking: loss, answers, offset, expiry.
fn remarks(check: &CheckShape) -> String {
    let number = |name: &str| check.facts.get(name).and_then(serde_json_number);
    let text = |name: &str| {
        check
            .facts
            .get(name)
            .and_then(|v| v.as_str())
            .map(ToOwned::to_owned)
    };
    let mut notes = Vec::new();
    if check
        .facts
        .get("udp.answered")
        .and_then(lapwing_api::Json::as_bool)
        == Some(false)
        && check.state == "up"
    {
        notes.push("no answer (open or filtered)".to_owned());
    }
    if let Some(loss) = number("icmp.loss")
        .or_else(|| number("echo.loss"))
        .filter(|l| *l > 0.0)
    {
        let ways: Vec<String> = [("echo.loss_out", "out"), ("echo.loss_back", "back")]
            .into_iter()
            .filter_map(|(name, way)| Some((number(name).filter(|loss| *loss > 0.0)?, way)))
            .map(|(loss, way)| format!("{loss:.2}% on the way {way}"))
            .collect();
        notes.push(if ways.is_empty() {
            format!("{loss:.2}% loss")
        } else {
            format!("{loss:.2}% loss: {}", ways.join(", "))
        });
    }
    if let Some(status) = number("http.status") {
        notes.push(format!("status {status}"));
    }
    if let Some(answers) = text("dns.answers").filter(|a| !a.is_empty()) {
        notes.push(answers);
    }
    if let Some(offset) = number("ntp.offset") {
        let stratum = number("ntp.stratum").map_or_else(String::new, |s| format!(", stratum {s}"));
        notes.push(format!("offset {:+.3}ms{stratum}", offset * 1e3));
    }
    if let Some(left) = number("tls.expires_in") {
        notes.push(format!(
            "certificate expires in {:.0} days",
            (left / 86_400.0).floor()
        ));
    }
    if let Some(banner) = text("tcp.banner").filter(|b| !b.is_empty()) {
        notes.push(banner);
    }
    notes.join(", ")
}

fn serde_json_number(value: &lapwing_api::Json) -> Option<f64> {
    value.as_f64()
}

/// A time in the unit that a person would choose.
fn millis(ms: f64) -> String {
    lapwing_core::time::measured(std::time::Duration::from_secs_f64((ms / 1e3).max(0.0)))
}
