//! A line an event: as it happens, and as the ledger remembers it.

use jiff::tz::TimeZone;
use lapwing_api::{shapes::EventShape, steering::PastEventShape};
use lapwing_core::{notice::about, time::Hms};
use std::time::Duration;

use crate::{paint::Paint, status_table::local};

/// `2026-11-20 14:51:20  DOWN web (tcp://…) since 14:51:19: connection refused. …`
pub fn live(event: &EventShape, zone: &TimeZone, paint: Paint) -> String {
    let silenced = if event.withheld {
        " (silenced: told to nobody)"
    } else {
        ""
    };
    line(
        &event.at,
        &event.state,
        &format!("{}{silenced}", event.text),
        zone,
        paint,
    )
}

/// `2026-11-20 14:51:19  DOWN web (tcp://…): connection refused`
pub fn past(event: &PastEventShape, zone: &TimeZone, paint: Paint) -> String {
    let (name, reason) = (&event.series, &event.reason.detail);
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    let length = Hms(seconds(event.duration_s.unwrap_or_default()));
    let sure = event.uncertainty_s.filter(|s| *s > 0.0);
    let sure = sure.map_or_else(String::new, |s| format!(" ± {}", about(seconds(s))));
    let text = match event.event.as_str() {
        "down" => {
            let acknowledged = event.acknowledged.as_ref().map_or_else(String::new, |mute| {
                format!("; acknowledged{}", mute.words(&|at| local(at, zone)))
            });
            format!("DOWN {name} ({}): {reason}{acknowledged}", event.target)
        }
        "up" => format!("UP {name} after {length}{sure} down: {reason}"),
        _ => format!("UNWATCHED {name}, down for {length} by then: {reason}"),
    };
    line(&event.at, &event.event, &text, zone, paint)
}

/// The first word in the colour of the state.
fn line(at: &str, state: &str, text: &str, zone: &TimeZone, paint: Paint) -> String {
    let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let at = paint.faint(&local(at, zone));
    format!("{at}  {}{rest}\n", paint.state(state, word))
}

#[cfg(test)]
mod tests {
    use lapwing_api::{shapes::Reason, steering::MuteShape};

    use super::*;

    fn remembered(event: &str) -> PastEventShape {
        let over = event != "down";
        PastEventShape {
            v: 1,
            event: event.to_owned(),
            monitor: "web".to_owned(),
            series: "web".to_owned(),
            target: "tcp://192.0.2.1:80".to_owned(),
            at: "2026-11-20T14:51:19.000000Z".to_owned(),
            since: "2026-11-20T14:51:19.000000Z".to_owned(),
            ended: over.then(|| "2026-11-20T14:54:45.000000Z".to_owned()),
            duration_s: over.then_some(206.6),
            uncertainty_s: over.then_some(30.0),
            reason: Reason {
                code: "connect.refused".to_owned(),
                detail: "connection refused".to_owned(),
            },
            acknowledged: None,
        }
    }

    #[test]
    fn what_is_remembered_is_told_in_a_line() {
        let shown = |event: &PastEventShape| past(event, &TimeZone::UTC, Paint::Plain);
        assert_eq!(
            shown(&remembered("up")),
            "2026-11-20 14:51:19  UP web after 00:03:26 ± 30s down: connection refused\n"
        );
        assert!(shown(&remembered("unwatched")).contains("UNWATCHED web, down for 00:03:26 by then"));
        let mut down = remembered("down");
        down.acknowledged = Some(MuteShape {
            by: "anna".to_owned(),
            reason: String::new(),
            since: down.at.clone(),
            until: None,
        });
        assert_eq!(
            shown(&down),
            "2026-11-20 14:51:19  DOWN web (tcp://192.0.2.1:80): connection refused; acknowledged by anna\n"
        );
        let coloured = past(&down, &TimeZone::UTC, Paint::Colour);
        assert!(coloured.contains("\u{1b}[31;1mDOWN\u{1b}[0m web"), "{coloured:?}");
    }

    #[test]
    fn what_happens_is_told_as_in_the_log() {
        let event: EventShape = serde_json::from_str(
            r#"{"v":1,"id":"x","event":"down","state":"down","previous":"up","at":"2026-11-20T14:51:20.000000Z",
                "location":"local","resent":false,"withheld":true,"text":"DOWN web since 14:51:19."}"#,
        )
        .unwrap();
        assert_eq!(
            live(&event, &TimeZone::UTC, Paint::Plain),
            "2026-11-20 14:51:20  DOWN web since 14:51:19. (silenced: told to nobody)\n"
        );
    }
}
