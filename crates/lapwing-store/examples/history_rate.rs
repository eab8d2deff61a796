//! Measures the history on this machine's disk: rows a second, bytes a row, scan and start-up time.
//!
//! `cargo run --release -p lapwing-store --example history_rate [SERIES] [HOURS] [INTERVAL_S] [BATCH] [FOLDER]`
//! BATCH rows are one durable append; 0 makes it what one second brings.

use std::{
    error::Error,
    io::{Write, stdout},
    num::ParseIntError,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lapwing_core::{
    observation::{Observation, Outcome, Reason, Sample},
    time::Wall,
};
use lapwing_store::{DataDir, DiskHistory, History, Row, Wanted};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};

const HOUR: i64 = 3_600_000_000;
const BASE: i64 = 497_000 * HOUR;

struct Plan {
    series: usize,
    hours: i64,
    interval: i64,
    batch: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan::read(&args)?;
    let made = std::env::temp_dir().join(format!("history-rate-{}", std::process::id()));
    let folder = args.get(4).map_or_else(|| made.clone(), PathBuf::from);
    measure(&plan, &folder, &mut stdout().lock())?;
    if folder == made {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

impl Plan {
    fn read(args: &[String]) -> Result<Self, ParseIntError> {
        let number = |at: usize, default: i64| args.get(at).map_or(Ok(default), |text| text.parse());
        let (series, interval) = (number(0, 10_000)? as usize, number(2, 30)? * 1_000_000);
        let batch = match number(3, 0)? {
            0 => (series as i64 * 1_000_000 / interval).max(1),
            given => given,
        };
        Ok(Self {
            series,
            hours: number(1, 24)?,
            interval,
            batch: batch as usize,
        })
    }
}

fn measure(plan: &Plan, folder: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = (0..plan.series).map(|i| format!("series-{i}/tcp")).collect();
    let history = DataDir::open(folder, Wall(0))?.history()?;
    let (rows, append_s, fold_s, worst_ms) = fill(&history, plan, &names)?;
    let (total, cpu) = (append_s + fold_s, cpu_s()? * 1e6 / rows as f64);
    writeln!(
        out,
        "{rows} rows of {} series, {} a batch",
        plan.series, plan.batch
    )?;
    writeln!(
        out,
        "{:.0} rows/s, folds included; {cpu:.2} us CPU/row, making them included",
        rows as f64 / total
    )?;
    writeln!(
        out,
        "append {append_s:.2} s, fold {fold_s:.2} s (the longest {worst_ms:.0} ms)"
    )?;
    let end = Wall(BASE + plan.hours * HOUR);
    let (_, took) = timed(|| history.retain(end, Duration::from_hours(1 << 20), u64::MAX))?;
    writeln!(out, "retention that drops nothing {:.1} ms", took * 1e3)?;
    scans(&history, plan, &names, out)?;
    drop(history);
    let (history, took) = timed(|| DataDir::open(folder, Wall(0))?.history())?;
    writeln!(
        out,
        "open again {:.0} ms, {:.2} bytes/row",
        took * 1e3,
        history.size()? as f64 / rows as f64
    )?;
    for count in [1, 30] {
        let ask = |series: &String| Wanted {
            series: series.clone(),
            count,
            since: Wall(0),
        };
        let wanted: Vec<Wanted> = names.iter().map(ask).collect();
        let (tails, took) = timed(|| history.tails(&wanted))?;
        let got: usize = tails.iter().map(Vec::len).sum();
        writeln!(
            out,
            "tails of {} series, {count} each: {got} rows in {:.0} ms",
            plan.series,
            took * 1e3
        )?;
    }
    Ok(writeln!(out, "{}", memory())?)
}

/// Appends in batches and folds when an hour is over. Returns rows, append and fold seconds, longest fold.
fn fill(
    history: &DiskHistory,
    plan: &Plan,
    names: &[String],
) -> Result<(u64, f64, f64, f64), Box<dyn Error>> {
    let (mut rows, mut append_s, mut fold_s, mut worst) = (0, 0.0, 0.0, 0f64);
    let mut noise = 0x9E37_79B9_7F4A_7C15u64;
    let batch = plan.batch;
    for tick in 0..plan.hours * HOUR / plan.interval {
        let start = BASE + tick * plan.interval;
        for (first, part) in names.chunks(batch).enumerate() {
            let made: Vec<Observation> = (0..part.len())
                .map(|i| observation(start, first * batch + i, plan, &mut noise))
                .collect();
            let batch: Vec<Row<'_>> = part
                .iter()
                .zip(&made)
                .map(|(series, observation)| Row {
                    series,
                    observation,
                    facts: &[],
                })
                .collect();
            append_s += timed(|| history.append(&batch))?.1;
            rows += batch.len() as u64;
        }
        let (_, took) = timed(|| history.fold(Wall(start)))?;
        fold_s += took;
        worst = worst.max(took * 1e3);
    }
    Ok((rows, append_s, fold_s, worst))
}

/// A probe that starts up to a millisecond late and takes 2 to 34 ms, with one failure in a thousand.
fn observation(start: i64, series: usize, plan: &Plan, noise: &mut u64) -> Observation {
    *noise ^= *noise << 13;
    *noise ^= *noise >> 7;
    *noise ^= *noise << 17;
    let phase = series as i64 * plan.interval / plan.series as i64;
    let outcome = match *noise % 1000 {
        0 => Outcome::Down(Reason::new("connect.refused", "connection refused")),
        _ => Outcome::Up,
    };
    Observation {
        at: Wall(start + phase + ((*noise >> 16) % 1000).cast_signed()),
        took: Duration::from_micros(2000 + series as u64 % 30_000 + (*noise >> 32) % 2000),
        outcome,
        sample: Sample::default(),
    }
}

fn scans(
    history: &DiskHistory,
    plan: &Plan,
    names: &[String],
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let (from, to) = (
        Wall(BASE + (plan.hours - 24).max(0) * HOUR),
        Wall(BASE + plan.hours * HOUR),
    );
    let (mut times, mut rows) = (Vec::new(), 0);
    for i in 0..50 {
        let series = &names[i * 199 % names.len()];
        rows = 0;
        let mut each = |_| {
            rows += 1;
            ControlFlow::Continue(())
        };
        times.push(timed(|| history.scan(series, from, to, &mut each))?.1 * 1e3);
    }
    times.sort_by(f64::total_cmp);
    writeln!(
        out,
        "scan of the last 24 h of a series: {rows} rows, median {:.3} ms, worst {:.3} ms",
        times[25], times[49]
    )?;
    let (rollups, took) = timed(|| history.rollups(&names[0], from, to))?;
    writeln!(out, "{} rollups in {:.3} ms", rollups.len(), took * 1e3)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock itself")]
fn timed<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
    let start = Instant::now();
    let done = run()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

/// User and system time of this process.
fn cpu_s() -> Result<f64, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The line of the kernel about the most memory that the process had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("no figure for memory")
        .to_owned()
}
