//! The lines of `lapwing echo send`: one for each echo, as ping has it, and the summary.

use std::time::Duration;

use lapwing_api::echo::{EchoEvent, EchoShape, EchoSummary, Spread, WayShape};
use lapwing_core::time::short;

use crate::paint::Paint;

/// What is sent where, before anything is.
pub fn heading(target: &str, peer: &str, transport: &str, bytes: usize, interval: Duration) -> String {
    let every = short(interval);
    format!("echo to {target} ({peer}), {transport}, {bytes} bytes every {every}\n")
}

/// What happened, in one line; of a summary, all of it.
pub fn event(event: &EchoEvent, paint: Paint) -> String {
    match event {
        EchoEvent::Connected { took_ms } => format!("connected in {} ms\n", ms(*took_ms)),
        EchoEvent::Echo(echo) => one(echo, paint),
        EchoEvent::Lost { seq, reason } => {
            paint.state("down", &format!("seq={seq} lost: {}", reason.detail)) + "\n"
        }
        EchoEvent::NotSent { reason } => {
            paint.state("inconclusive", &format!("not sent: {}", reason.detail)) + "\n"
        }
        EchoEvent::Trouble { reason } => paint.state("degraded", &reason.detail) + "\n",
        EchoEvent::Summary(summary) => self::summary(summary, paint),
    }
}

fn one(echo: &EchoShape, paint: Paint) -> String {
    let host = echo.from.rsplit_once(':').map_or(&*echo.from, |(host, _)| host);
    let mut text = format!(
        "{} bytes from {host}: seq={} rtt={} ms",
        echo.bytes,
        echo.seq,
        ms(echo.rtt_ms)
    );
    if let (Some(out), Some(back)) = (echo.out_change_ms, echo.back_change_ms) {
        text.push_str(&paint.faint(&format!("  out +{} back +{} ms", ms(out), ms(back))));
    }
    for (is, word) in [
        (echo.duplicate, "duplicate"),
        (echo.reordered && !echo.duplicate, "out of order"),
        (echo.late, "late"),
    ] {
        if is {
            text.push_str(&paint.state("degraded", &format!(" ({word})")));
        }
    }
    text.push('\n');
    text
}

fn summary(run: &EchoSummary, paint: Paint) -> String {
    let mut text = format!(
        "\n--- {} ({}), {}, {} bytes ---\n",
        run.target, run.peer, run.transport, run.bytes
    );
    text.push_str(&counts(run, paint));
    text.push_str(&directions(run));
    if run.not_sent > 0 {
        let why = run.not_sent_reason.as_ref().map_or("", |reason| &*reason.detail);
        text.push_str(&format!(
            "{} not sent, which is no loss of the line: {why}\n",
            run.not_sent
        ));
    }
    if run.strangers > 0 {
        text.push_str(&format!("{} came that were no echo of ours\n", run.strangers));
    }
    if let Some(rtt) = &run.rtt {
        let jitter = run
            .jitter_ms
            .map_or_else(String::new, |jitter| format!(", jitter {} ms", ms(jitter)));
        text.push_str(&format!(
            "rtt min/median/p95/max {}/{} ms{jitter}\n",
            ms(rtt.min_ms),
            spread(rtt, "")
        ));
    }
    if let (Some(out), Some(back)) = (&run.out, &run.back) {
        text.push_str(&way("out: ", out));
        text.push_str(&way("back:", back));
        text.push_str(&paint.faint(
            "delay change: how much longer than the quickest of late, each way; the clocks need not agree",
        ));
        text.push('\n');
    }
    if run.clock_set.is_some_and(|times| times > 0) {
        text.push_str("a clock was set during the run: delay changes are measured anew from then on\n");
    }
    text
}

fn counts(run: &EchoSummary, paint: Paint) -> String {
    let took = short(if run.took_s < 10.0 {
        Duration::from_millis((run.took_s * 1e3).round() as u64)
    } else {
        Duration::from_secs(run.took_s.round() as u64)
    });
    let mut text = format!("{} sent in {took}: {} received", run.sent, run.received);
    if run.late > 0 {
        text.push_str(&format!(" ({} of them late)", run.late));
    }
    let lost = format!("{} lost ({:.2}%)", run.lost, run.loss_percent);
    text.push_str(", ");
    text.push_str(&if run.lost > 0 {
        paint.state("down", &lost)
    } else {
        lost
    });
    if run.transport == "udp" {
        let duplicates = if run.duplicates == 1 {
            "duplicate"
        } else {
            "duplicates"
        };
        text.push_str(&format!(
            ", {} {duplicates}, {} out of order",
            run.duplicates, run.reordered
        ));
    }
    if run.waiting > 0 {
        text.push_str(&format!(", {} under way", run.waiting));
    }
    text.push('\n');
    text
}

/// Where packets were lost, when some were.
fn directions(run: &EchoSummary) -> String {
    let lost = |way: &Option<WayShape>| way.and_then(|way| Some((way.lost?, way.loss_percent?)));
    let (Some(out), Some(back)) = (lost(&run.out), lost(&run.back)) else {
        return String::new();
    };
    let unknown = run.lost_unknown.unwrap_or_default();
    if out.0 + back.0 + unknown == 0 {
        return String::new();
    }
    let mut text = format!(
        "lost on the way out {} ({:.2}%), on the way back {} ({:.2}%)",
        out.0, out.1, back.0, back.1
    );
    if unknown > 0 {
        text.push_str(&format!(", after the last echo {unknown}"));
    }
    text.push('\n');
    text
}

fn way(name: &str, way: &WayShape) -> String {
    let jitter = way
        .jitter_ms
        .map_or_else(String::new, |jitter| format!(", jitter {} ms", ms(jitter)));
    format!(
        "{name} delay change median/p95/max {} ms{jitter}\n",
        spread(&way.change, "+")
    )
}

fn spread(spread: &Spread, sign: &str) -> String {
    [spread.median_ms, spread.p95_ms, spread.max_ms]
        .map(|value| format!("{sign}{}", ms(value)))
        .join("/")
}

/// Milliseconds with three digits that matter.
pub(crate) fn ms(value: f64) -> String {
    let decimals = match value {
        v if v < 0.0995 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> EchoShape {
        EchoShape {
            seq: 3,
            bytes: 56,
            from: "203.0.113.5:7007".to_owned(),
            rtt_ms: 12.34,
            out_change_ms: None,
            back_change_ms: None,
            duplicate: false,
            reordered: false,
            late: false,
        }
    }

    fn run() -> EchoSummary {
        EchoSummary {
            target: "echo.example.com".to_owned(),
            peer: "203.0.113.5:7007".to_owned(),
            transport: "udp".to_owned(),
            bytes: 64,
            began: String::new(),
            took_s: 1000.25,
            sent: 1000,
            received: 1000,
            lost: 0,
            loss_percent: 0.0,
            waiting: 0,
            late: 0,
            duplicates: 0,
            reordered: 0,
            strangers: 0,
            not_sent: 0,
            not_sent_reason: None,
            server: Some("plain".to_owned()),
            rtt: Some(Spread {
                min_ms: 11.21,
                median_ms: 12.0,
                p95_ms: 18.91,
                max_ms: 230.4,
            }),
            jitter_ms: Some(1.2),
            out: None,
            back: None,
            lost_unknown: None,
            clock_set: None,
        }
    }

    #[test]
    fn a_line_each() {
        let line = |echo: EchoShape| event(&EchoEvent::Echo(echo), Paint::Plain);
        assert_eq!(line(echo()), "56 bytes from 203.0.113.5: seq=3 rtt=12.3 ms\n");
        assert_eq!(
            line(EchoShape {
                out_change_ms: Some(0.1),
                back_change_ms: Some(0.0),
                from: "[2001:db8::1]:7007".to_owned(),
                late: true,
                reordered: true,
                ..echo()
            }),
            "56 bytes from [2001:db8::1]: seq=3 rtt=12.3 ms  out +0.10 back +0.000 ms (out of order) (late)\n"
        );
        assert_eq!(
            line(EchoShape {
                duplicate: true,
                reordered: true,
                ..echo()
            }),
            "56 bytes from 203.0.113.5: seq=3 rtt=12.3 ms (duplicate)\n"
        );
        let lost = EchoEvent::Lost {
            seq: 7,
            reason: lapwing_api::shapes::Reason {
                code: "timeout.answer".to_owned(),
                detail: "no echo within 2s".to_owned(),
            },
        };
        assert_eq!(event(&lost, Paint::Plain), "seq=7 lost: no echo within 2s\n");
    }

    #[test]
    fn a_summary_without_a_loss_is_short() {
        assert_eq!(
            event(&EchoEvent::Summary(Box::new(run())), Paint::Plain),
            "\n--- echo.example.com (203.0.113.5:7007), udp, 64 bytes ---\n\
             1000 sent in 16m40s: 1000 received, 0 lost (0.00%), 0 duplicates, 0 out of order\n\
             rtt min/median/p95/max 11.2/12.0/18.9/230 ms, jitter 1.20 ms\n"
        );
    }

    #[test]
    fn a_summary_with_everything() {
        let way = |lost, percent| WayShape {
            lost: Some(lost),
            loss_percent: Some(percent),
            change: Spread {
                min_ms: 0.0,
                median_ms: 0.1,
                p95_ms: 6.1,
                max_ms: 210.0,
            },
            jitter_ms: Some(0.9),
        };
        let run = EchoSummary {
            received: 983,
            lost: 16,
            loss_percent: 1.6,
            waiting: 1,
            late: 2,
            duplicates: 1,
            reordered: 4,
            strangers: 5,
            not_sent: 6,
            not_sent_reason: Some(lapwing_api::shapes::Reason {
                code: "ours.no_route".to_owned(),
                detail: "this machine has no route to the address".to_owned(),
            }),
            out: Some(way(12, 1.2)),
            back: Some(way(3, 0.3)),
            lost_unknown: Some(1),
            clock_set: Some(1),
            ..run()
        };
        assert_eq!(
            summary(&run, Paint::Plain),
            "\n--- echo.example.com (203.0.113.5:7007), udp, 64 bytes ---\n\
             1000 sent in 16m40s: 983 received (2 of them late), 16 lost (1.60%), 1 duplicate, 4 out of order, 1 under way\n\
             lost on the way out 12 (1.20%), on the way back 3 (0.30%), after the last echo 1\n\
             6 not sent, which is no loss of the line: this machine has no route to the address\n\
             5 came that were no echo of ours\n\
             rtt min/median/p95/max 11.2/12.0/18.9/230 ms, jitter 1.20 ms\n\
             out:  delay change median/p95/max +0.10/+6.10/+210 ms, jitter 0.90 ms\n\
             back: delay change median/p95/max +0.10/+6.10/+210 ms, jitter 0.90 ms\n\
             delay change: how much longer than the quickest of late, each way; the clocks need not agree\n\
             a clock was set during the run: delay changes are measured anew from then on\n"
        );
    }
}
