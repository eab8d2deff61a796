//! A process that writes is killed at a random moment; what it was told is durable must be there.
//!
//! The test starts its own binary again: the same test function is the child when the variable is set.

use std::{
    io::{BufRead, BufReader, Write},
    ops::ControlFlow,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use lapwing_core::{
    observation::{Observation, Outcome, Sample},
    time::Wall,
};

use crate::{DataDir, DiskLedger, Guard, History, Key, Ledger, Op, Rollup, Row};

const CHILD: &str = "LAPWING_STORE_KILLED_CHILD";
/// Of ten minutes, so that hours end, folds happen, and batches hold rows of two hours.
const STEP: i64 = 600_000_000;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Ok(dir) = std::env::var(CHILD) {
        write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        // Some die in their first steps, some in the middle of folding.
        kill_after(dir.path(), &mut acknowledged, 1 + round * round * 2);
        look(dir.path(), &acknowledged, round % 2 == 0);
    }
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
}

/// Runs a child until `steps` more are acknowledged, then kills it. What it said before it died counts too.
fn kill_after(dir: &Path, acknowledged: &mut Vec<i64>, steps: usize) {
    let enough = acknowledged.len() + steps;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "kill::what_was_acknowledged_survives_kill_9",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // A line that death cut off has no end and says nothing.
        acknowledged.extend(
            line.unwrap()
                .strip_prefix("step ")
                .and_then(|s| s.strip_suffix('.')?.parse::<i64>().ok()),
        );
        if acknowledged.len() >= enough && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    assert_eq!(
        child.wait().unwrap().signal(),
        Some(9),
        "the child ended by itself"
    );
}

fn write_until_killed(dir: &Path) -> ! {
    let dir = DataDir::open(dir, Wall(0)).unwrap();
    let (ledger, history) = (dir.ledger().unwrap(), dir.history().unwrap());
    let fence = Guard::Fence(ledger.session().fence);
    let mut step =
        value(&ledger, "left").max(history.tail("s0", 1).unwrap().last().map_or(0, |p| p.at.0 / STEP));
    loop {
        step += 1;
        let number = step.to_string().into_bytes();
        let ops = [
            Op::Put(Key::from("left"), number.clone()),
            Op::Put(Key::from("right"), number),
        ];
        ledger.commit(std::slice::from_ref(&fence), &ops).unwrap();
        let rows: Vec<(String, Observation)> =
            (0..20).map(|i| (format!("s{i}"), observation(step, i))).collect();
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(series, observation)| Row {
                series,
                observation,
                facts: &[],
            })
            .collect();
        history.append(&rows).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nstep {step}.").unwrap();
        out.flush().unwrap();
        history.fold(Wall(step * STEP)).unwrap();
    }
}

fn observation(step: i64, i: i64) -> Observation {
    Observation {
        at: Wall(step * STEP + i * i * 1_000_000),
        took: Duration::from_micros(step.unsigned_abs()),
        outcome: Outcome::Up,
        sample: Sample::default(),
    }
}

fn value(ledger: &DiskLedger, key: &str) -> i64 {
    let entry = ledger.get(&Key::from(key)).unwrap();
    entry.map_or(0, |e| std::str::from_utf8(&e.value).unwrap().parse().unwrap())
}

/// Looks at what a killed process left, as a reader beside it or as the next daemon would.
fn look(dir: &Path, acknowledged: &[i64], as_reader: bool) {
    let (ledger, history) = if as_reader {
        let dir = DataDir::read(dir).unwrap();
        (dir.ledger().unwrap(), dir.history().unwrap())
    } else {
        let dir = DataDir::open(dir, Wall(0)).unwrap();
        (dir.ledger().unwrap(), dir.history().unwrap())
    };
    ledger.check().unwrap();
    history.check().unwrap();
    let left = value(&ledger, "left");
    assert_eq!(left, value(&ledger, "right"), "half a commit");
    assert!(
        acknowledged.iter().all(|step| *step <= left),
        "{left} of {acknowledged:?}"
    );
    for i in [0, 7, 19] {
        let mut steps = Vec::new();
        let mut each = |point: crate::Point| {
            steps.push(point.took.as_micros() as i64);
            ControlFlow::Continue(())
        };
        history
            .scan(&format!("s{i}"), Wall(0), Wall(i64::MAX), &mut each)
            .unwrap();
        assert!(
            steps.is_sorted_by(|a, b| a < b),
            "rows are doubled or out of order"
        );
        let lost: Vec<&i64> = acknowledged
            .iter()
            .filter(|step| steps.binary_search(step).is_err())
            .collect();
        assert!(lost.is_empty(), "{lost:?} were acknowledged");
        let rolled: u64 = history
            .rollups(&format!("s{i}"), Wall(0), Wall(i64::MAX))
            .unwrap()
            .iter()
            .map(Rollup::observations)
            .sum();
        assert_eq!(rolled, steps.len() as u64, "rollups and rows differ");
    }
}
