use lapwing_api::shapes::Reason;

use super::*;

pub(super) fn answer(state: &str, rtt: Option<f64>, second: u32) -> ResultShape {
    ResultShape {
        v: 1,
        series: "web".to_owned(),
        at: format!("2026-11-20T14:51:{second:02}.000000Z"),
        state: state.to_owned(),
        reason: (state != "up").then(|| Reason {
            code: "connect.refused".to_owned(),
            detail: "connection refused".to_owned(),
        }),
        rtt_ms: rtt,
        sent: u32::from(state != "inconclusive"),
        lost: u32::from(state == "down"),
    }
}

pub(super) fn event(word: &str, ended: bool) -> EventShape {
    let mut text = format!(
        r#"{{"v":1,"id":"x","event":"{word}","series":"web","state":"down","previous":"up","at":"2026-11-20T14:51:21.000000Z",
            "since":"2026-11-20T14:51:19.000000Z","location":"local","resent":false,"text":"…",
            "reason":{{"code":"connect.refused","detail":"connection refused"}}"#
    );
    if ended {
        text += r#","ended":"2026-11-20T14:54:45.000000Z","duration_s":206.0,"uncertainty_s":1.02"#;
    }
    serde_json::from_str(&(text + "}")).unwrap()
}

pub(super) fn series(state: &str) -> SeriesShape {
    let text = format!(
        r#"{{"series":"web","monitor":"web","target":"tcp://192.0.2.1:80","kind":"tcp","state":"{state}",
            "since":"2026-11-20T14:51:19.000000Z","skipped":0}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn told(watched: &Watched, state: &str) -> String {
    let took = Duration::from_millis(59_800);
    watched.summary(&[series(state)], took, &TimeZone::UTC, Paint::Plain)
}

#[test]
fn a_result_is_a_line() {
    let line = |one: &ResultShape| result(one, &TimeZone::UTC, Paint::Plain);
    assert_eq!(
        line(&answer("up", Some(0.42), 19)),
        "2026-11-20 14:51:19  up      web  0.42 ms\n"
    );
    assert_eq!(
        line(&answer("down", None, 20)),
        "2026-11-20 14:51:20  failed  web  connection refused\n"
    );
    let mut some = answer("up", Some(12.0), 21);
    (some.sent, some.lost) = (5, 2);
    assert_eq!(
        line(&some),
        "2026-11-20 14:51:21  up      web  12.0 ms  2 of 5 lost\n"
    );
}

#[test]
fn the_summary_is_that_of_ping_and_the_outages() {
    let mut watched = Watched::default();
    let changed: Vec<bool> = [
        answer("up", Some(1.0), 0),
        answer("up", Some(3.0), 1),
        answer("down", None, 2),
        answer("inconclusive", None, 3),
        answer("up", Some(2.0), 4),
    ]
    .iter()
    .map(|one| watched.result(one))
    .collect();
    assert_eq!(changed, [true, false, true, true, true]);
    assert_eq!(
        told(&watched, "up"),
        "\n--- web (tcp://192.0.2.1:80): up ---
4 sent in 1m: 3 received, 1 lost (25.00%)
1 could not be asked, which is no loss of the line: connection refused
rtt min/median/p95/max 1.00/2.00/3.00/3.00 ms, jitter 0.18 ms
"
    );
    watched.event(&event("down", false));
    let open = "1 outage:\n  since 2026-11-20 14:51:19, not over: connection refused\n";
    assert!(
        told(&watched, "down").ends_with(open),
        "{}",
        told(&watched, "down")
    );
    watched.event(&event("up", true));
    let over = "1 outage:\n  2026-11-20 14:51:19 to 14:54:45, 00:03:26 ± 1s: connection refused\n";
    assert!(told(&watched, "up").ends_with(over), "{}", told(&watched, "up"));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut watched = Watched::default();
    for n in 0..20_000 {
        watched.result(&answer("up", Some(f64::from(n)), 0));
    }
    let spread = watched.tally("web").unwrap().spread().unwrap();
    let figures = [spread.min_ms, spread.max_ms, spread.median_ms].map(|ms| ms as u32);
    assert_eq!(figures, [0, 19_999, 14_999], "of all, of all, of the last 10,000");
    for _ in 0..=MOST_OUTAGES {
        watched.event(&event("down", false));
        watched.event(&event("up", true));
    }
    let text = told(&watched, "up");
    assert!(text.contains("1000 outages:\n  the newest 20:\n"), "{text}");
    assert!(text.ends_with("1 more outages that were not kept\n"), "{text}");
}

#[test]
fn a_series_without_a_result_is_named_all_the_same() {
    assert_eq!(
        told(&Watched::default(), "pending"),
        "\n--- web (tcp://192.0.2.1:80): pending ---\n"
    );
}
