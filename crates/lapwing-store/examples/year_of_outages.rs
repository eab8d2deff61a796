//! Writes a data folder that holds a year of outages, for measuring and looking at reports.
//!
//! `cargo run --release -p lapwing-store --example year_of_outages FOLDER [SERIES] [OUTAGES] [SPANS] [RUNS]`
//! OUTAGES and unknown SPANS are those of each series, RUNS those of the daemon. Every tenth series is a heartbeat.

use std::{
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lapwing_core::{
    heartbeat::{Account, Cause, Hindrance, Verdict},
    judge::Standing,
    lookout::Change,
    loss::{LossPolicy, LossWindow},
    observation::{Reason, Requests},
    outage::{End, Outage},
    state::State,
    time::Wall,
};
use lapwing_store::{DataDir, Ledger, book};

const MINUTE: i64 = 60_000_000;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(args.first().ok_or("which folder?")?);
    let number = |at: usize, default: i64| args.get(at).map_or(Ok(default), |text| text.parse());
    let (series, outages, spans, runs) = (number(1, 1_000)?, number(2, 50)?, number(3, 20)?, number(4, 400)?);
    let now = now()?;
    let ledger = DataDir::open(&folder, now)?.ledger()?;
    write(&ledger, &watched(now, runs))?;
    for nth in 0..series {
        write(&ledger, &one(nth, now, outages, spans))?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the year ends when the program is run")]
fn now() -> Result<Wall, Box<dyn Error>> {
    Ok(Wall(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64
    ))
}

fn write(ledger: &dyn Ledger, changes: &[Change]) -> Result<(), Box<dyn Error>> {
    let mut operations = Vec::new();
    for change in changes {
        book::operations(change, &mut operations);
    }
    ledger.commit(&[], &operations)?;
    Ok(())
}

/// Runs that fill the year but for five minutes after each.
fn watched(now: Wall, runs: i64) -> Vec<Change> {
    let run = |nth: i64| Change::Watch {
        started: now.shifted(nth * YEAR / runs - YEAR),
        until: now.shifted((nth + 1) * YEAR / runs - YEAR - 5 * MINUTE),
    };
    (0..runs).map(run).collect()
}

/// A series with outages and unknown times evenly over the year, no two series at the same moments.
fn one(nth: i64, now: Wall, outages: i64, spans: i64) -> Vec<Change> {
    let beats = nth % 10 == 0;
    let (name, target) = if beats {
        (format!("sensor-{nth:05}"), format!("heartbeat:sensor-{nth:05}"))
    } else {
        (format!("web-{nth:05}"), format!("tcp://web-{nth:05}.example:443"))
    };
    let key = Arc::<str>::from(format!(
        "{name}\u{1f}{target}\u{1f}web-{nth:05}.example\u{1f}192.0.2.7"
    ));
    let begin = now.shifted(nth * MINUTE - YEAR);
    let mut changes = vec![Change::Standing {
        series: Arc::clone(&key),
        name,
        standing: Box::new(standing(begin, now)),
    }];
    changes.extend((0..outages).map(|n| Change::Outage {
        series: Arc::clone(&key),
        outage: Box::new(outage(
            begin.shifted(n * YEAR / outages + 2 * MINUTE),
            nth + n,
            beats,
        )),
    }));
    changes.extend((0..spans).map(|n| Change::Unknown {
        series: Arc::clone(&key),
        state: State::Inconclusive,
        from: begin.shifted(n * YEAR / spans),
        to: begin.shifted(n * YEAR / spans + MINUTE),
    }));
    changes
}

/// Up, with a full window of losses.
fn standing(begin: Wall, now: Wall) -> Standing {
    let mut loss = LossWindow::default();
    let policy = LossPolicy {
        window: 300,
        change_milli: 5_000,
        min: 1,
    };
    for request in 0..300 {
        let lost = u32::from(request % 7 == 0);
        loss.observe(&policy, Requests { sent: 1, lost });
    }
    Standing {
        state: State::Up,
        since: now,
        resume: State::Up,
        last_success: Some(now),
        loss,
        seen: Some(now),
        known_since: Some(begin),
        ..Standing::default()
    }
}

/// Seconds to hours long, and seldom, without a success before.
fn outage(began: Wall, mix: i64, beats: bool) -> Outage {
    let length = (10 * 1_000_000) << (mix * 7 % 11);
    let verdict = Verdict {
        cause: Cause::ALL[mix as usize % Cause::ALL.len()],
        silent: Duration::from_micros(length as u64),
        uptime: Some(Duration::from_secs(115)),
        account: Some(Account {
            silent: Duration::from_micros(length as u64),
            lost: mix as u32 % 9,
            hindrance: Hindrance::Unanswered,
        }),
    };
    let (refused, late) = (
        ("connect.refused", "connection refused"),
        ("heartbeat.late", "no beat in time"),
    );
    let (code, detail) = if beats { late } else { refused };
    let sure = mix % 17 != 0;
    Outage {
        began,
        begin_uncertainty: sure.then_some(Duration::from_secs(30)),
        last_up: sure.then(|| began.shifted(-30_000_000)),
        reason: Reason::new(code, detail),
        evidence: if mix % 5 == 0 {
            vec![(
                began.shifted(1_000_000),
                Reason::new("timeout.connect", "no connection within 2s"),
            )]
        } else {
            Vec::new()
        },
        failed_checks: 3,
        reminded: 0,
        end: Some(End {
            at: began.shifted(length),
            uncertainty: Duration::from_secs(5),
            recovered: true,
        }),
        verdict: beats.then_some(verdict),
        acknowledged: None,
    }
}
