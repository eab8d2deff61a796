//! Loads in turn, each beside the bare loop at the same rate in the same run.

use std::{path::Path, time::Duration};

use crate::{
    bare::{self, Done},
    daemon::{self, Figures},
    load::{Kind, Load},
    sink::Sink,
    table,
};

/// How long the bare loop runs beside each load.
const BARE: Duration = Duration::from_secs(5);

const COLUMNS: &[&str] = &[
    "kind",
    "series",
    "interval",
    "checks/s wanted",
    "done",
    "CPU µs/check",
    "user",
    "system",
    "bare loop µs",
    "x bare",
    "late p50 ms",
    "p99",
    "RSS MiB",
    "after status",
    "peak",
    "first check ms",
    "all checked s",
    "stop ms",
    "false failures",
    "dropped",
    "threads",
    "fds",
];

/// The loads of the suite.
pub(crate) fn loads() -> Vec<Load> {
    let sizes = [(1_000, 1), (10_000, 10), (100_000, 20)];
    let of = |kind| {
        sizes.map(|(monitors, interval)| Load {
            kind,
            monitors,
            interval: Duration::from_secs(interval),
            separate: false,
        })
    };
    [of(Kind::Tcp), of(Kind::Icmp)].concat()
}

/// Measures each load and prints its row.
pub(crate) fn run(loads: &[Load], window: Duration, lapwing: &Path) -> anyhow::Result<()> {
    let sink = Sink::open()?;
    table::say(&table::head(COLUMNS))?;
    for load in loads {
        let bare = paced(load.kind, load.rate(), BARE, &sink)?;
        let found = daemon::measure(load, window, lapwing, &sink)?;
        table::say(&table::row(&cells(load, &found, &bare)))?;
    }
    Ok(())
}

/// The bare loop of a kind alone.
pub(crate) fn bare(kind: Kind, rate: u32, length: Duration) -> anyhow::Result<()> {
    let sink = Sink::open()?;
    let done = paced(kind, f64::from(rate), length, &sink)?;
    let (user, system) = done.cpu.each(done.checks as f64);
    table::say(&table::head(&[
        "bare loop",
        "checks",
        "checks/s",
        "CPU µs/check",
        "user",
        "system",
    ]))?;
    table::say(&table::row(&[
        kind.name().to_owned(),
        table::count(done.checks as f64),
        table::count(done.checks as f64 / done.took.as_secs_f64()),
        format!("{:.1}", user + system),
        format!("{user:.1}"),
        format!("{system:.1}"),
    ]))?;
    Ok(())
}

fn paced(kind: Kind, rate: f64, length: Duration, sink: &Sink) -> anyhow::Result<Done> {
    match kind {
        Kind::Tcp => bare::tcp(sink.port, rate, length)?.verified(),
        Kind::Icmp => bare::icmp(rate, length)?.verified(),
    }
}

fn cells(load: &Load, found: &Figures, bare: &Done) -> Vec<String> {
    let (user, system) = found.cpu;
    let (bare_user, bare_system) = bare.cpu.each(bare.checks as f64);
    let bare = bare_user + bare_system;
    vec![
        load.kind.name().to_owned(),
        table::count(f64::from(load.monitors)) + if load.separate { " separate" } else { "" },
        format!("{} s", load.interval.as_secs_f64()),
        table::count(load.rate()),
        table::count(found.rate),
        format!("{:.1}", user + system),
        format!("{user:.1}"),
        format!("{system:.1}"),
        format!("{bare:.1}"),
        format!("{:.2}", (user + system) / bare),
        format!("{:.2}", found.late_p50),
        format!("{:.2}", found.late_p99),
        format!("{:.1}", found.idle.rss),
        format!("{:.1}", found.after.rss),
        format!("{:.1}", found.after.peak),
        format!("{:.0}", found.first.as_secs_f64() * 1e3),
        format!("{:.1}", found.all.as_secs_f64()),
        found.stopped.map_or("killed".to_owned(), |took| {
            format!("{:.0}", took.as_secs_f64() * 1e3)
        }),
        found.false_failures.to_string(),
        found.dropped.to_string(),
        found.after.threads.to_string(),
        found.descriptors.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let load = loads()[0];
        let figures = Figures {
            first: Duration::from_millis(12),
            all: Duration::from_secs(1),
            rate: 1000.0,
            cpu: (10.0, 20.0),
            late_p50: 0.5,
            late_p99: 1.0,
            idle: crate::proc::Size::default(),
            after: crate::proc::Size::default(),
            descriptors: 9,
            false_failures: 0,
            dropped: 0,
            stopped: None,
        };
        let cpu = crate::proc::Cpu {
            user: Duration::ZERO,
            system: Duration::from_micros(150),
        };
        let bare = Done {
            checks: 10,
            answered: 10,
            took: Duration::from_secs(1),
            cpu,
        };
        let cells = cells(&load, &figures, &bare);
        assert_eq!(cells.len(), COLUMNS.len());
        assert_eq!(
            cells[..10],
            [
                "tcp", "1,000", "1 s", "1,000", "1,000", "30.0", "10.0", "20.0", "15.0", "2.00"
            ]
        );
    }
}
