//! How a run is told: lines for people or JSON, and the summary of it all.

use std::time::Duration;

use lapwing_api::echo::{EchoEvent, EchoLine, EchoShape, EchoSummary, Spread, WayShape};
use lapwing_core::{
    observation::Reason,
    time::{Now, Wall},
};
use lapwing_probe::echo::{Arrival, Book, Jitter, Times, Way};
use lapwing_term::{echo_lines, paint::Paint};

use super::Plan;
use crate::out;

/// What is printed, and how.
pub(super) struct Telling {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) paint: Paint,
}

impl Telling {
    /// Prints what happened. False when nobody reads any more.
    pub(super) fn event(&self, at: Wall, event: EchoEvent) -> anyhow::Result<bool> {
        if self.quiet && !matches!(event, EchoEvent::Summary(_)) {
            return Ok(true);
        }
        let text = if self.json {
            serde_json::to_string(&EchoLine::new(at, event))? + "\n"
        } else {
            echo_lines::event(&event, self.paint)
        };
        Ok(out::print_live(&text)?)
    }
}

/// What both transports keep of a run, beside what came back.
pub(super) struct Run {
    began: Now,
    not_sent: u64,
    not_sent_reason: Option<Reason>,
    pub(super) strangers: u64,
}

impl Run {
    pub(super) fn new(began: Now) -> Self {
        Self {
            began,
            not_sent: 0,
            not_sent_reason: None,
            strangers: 0,
        }
    }

    /// One could not be sent, which is our own fault.
    pub(super) fn not_sent(&mut self, reason: &Reason) -> EchoEvent {
        self.not_sent += 1;
        self.not_sent_reason = Some(reason.clone());
        EchoEvent::not_sent(reason)
    }

    /// The summary of a run over UDP.
    pub(super) fn of_datagrams(&self, plan: &Plan, now: Now, book: &Book) -> EchoEvent {
        let totals = book.totals();
        let lost = book.lost();
        // What is under way may seem to be lost on the way back.
        let directions = book.directions().map(|found| {
            let out = found.out.min(lost);
            (out, found.back.min(lost - out))
        });
        let ways = book.ways();
        let way = |way: &Way, lost: Option<u64>| WayShape {
            lost,
            loss_percent: lost.map(|lost| percent(lost, book.sent())),
            change: spread(&way.changes).unwrap_or(Spread {
                min_ms: 0.0,
                median_ms: 0.0,
                p95_ms: 0.0,
                max_ms: 0.0,
            }),
            jitter_ms: way.jitter.seconds().map(|seconds| round(seconds * 1e3)),
        };
        let summary = EchoSummary {
            late: totals.late,
            duplicates: totals.duplicates,
            reordered: totals.reordered,
            server: book
                .stamped()
                .map(|stamped| if stamped { "lapwing" } else { "plain" }.to_owned()),
            out: ways.map(|(out, _, _)| way(out, directions.map(|(out, _)| out))),
            back: ways.map(|(_, back, _)| way(back, directions.map(|(_, back)| back))),
            lost_unknown: directions.map(|(out, back)| lost - out - back),
            clock_set: ways.map(|(_, _, set)| set),
            ..self.summary(
                plan,
                now,
                [book.sent(), totals.back, lost],
                &totals.rtt,
                totals.jitter,
            )
        };
        EchoEvent::Summary(Box::new(summary))
    }

    /// The summary of a run over TCP; `under_way` when the last message is not back and not yet lost.
    pub(super) fn of_messages(
        &self,
        plan: &Plan,
        now: Now,
        sent: u64,
        under_way: bool,
        times: &Times,
        jitter: Jitter,
    ) -> EchoEvent {
        let lost = sent - times.count() - u64::from(under_way);
        let summary = self.summary(plan, now, [sent, times.count(), lost], times, jitter);
        EchoEvent::Summary(Box::new(EchoSummary {
            transport: "tcp".to_owned(),
            ..summary
        }))
    }

    fn summary(
        &self,
        plan: &Plan,
        now: Now,
        [sent, received, lost]: [u64; 3],
        times: &Times,
        jitter: Jitter,
    ) -> EchoSummary {
        EchoSummary {
            target: plan.target.clone(),
            peer: plan.peer.to_string(),
            transport: "udp".to_owned(),
            bytes: plan.size,
            began: self.began.wall.rfc3339(),
            took_s: now.mono.since(self.began.mono).as_secs_f64(),
            sent,
            received,
            lost,
            loss_percent: percent(lost, sent),
            waiting: sent - received - lost,
            late: 0,
            duplicates: 0,
            reordered: 0,
            strangers: self.strangers,
            not_sent: self.not_sent,
            not_sent_reason: self.not_sent_reason.as_ref().map(Into::into),
            server: None,
            rtt: spread(times),
            jitter_ms: jitter.seconds().map(|seconds| round(seconds * 1e3)),
            out: None,
            back: None,
            lost_unknown: None,
            clock_set: None,
        }
    }
}

/// An echo as it is told.
pub(super) fn shape(plan: &Plan, arrival: &Arrival) -> EchoEvent {
    EchoEvent::Echo(EchoShape {
        seq: arrival.seq,
        bytes: plan.size,
        from: plan.peer.to_string(),
        rtt_ms: millis(arrival.rtt),
        out_change_ms: arrival.change.map(|change| millis(change.out)),
        back_change_ms: arrival.change.map(|change| millis(change.back)),
        duplicate: arrival.duplicate,
        reordered: arrival.reordered,
        late: arrival.late,
    })
}

fn spread(times: &Times) -> Option<Spread> {
    Some(Spread {
        min_ms: millis(times.least()?),
        median_ms: millis(times.quantile(0.5)?),
        p95_ms: millis(times.quantile(0.95)?),
        max_ms: millis(times.most()?),
    })
}

pub(super) fn millis(length: Duration) -> f64 {
    round(length.as_secs_f64() * 1e3)
}

/// To the microsecond, which is what is measured.
fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

fn percent(part: u64, whole: u64) -> f64 {
    (part as f64 * 1e4 / whole.max(1) as f64).round() / 100.0
}
