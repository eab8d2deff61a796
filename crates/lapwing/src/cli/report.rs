//! `lapwing report`: outages and uptime from the data folder, beside a running daemon or without one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use lapwing_api::report::{ReportShape, SeriesRecord};
use lapwing_core::{
    kind::nearest,
    lookout::Restored,
    outage::Outage,
    time::{Clock, Wall, parse_duration},
    uptime::Interval,
};
use lapwing_store::{DataDir, DiskLedger, History, Wanted, book};
use lapwing_term::{report_classic, report_csv, report_table};

use super::{ConfigArg, Failure, exit};
use crate::{
    clock::SystemClock,
    config::{self, Environment},
    listeners::SOCKET,
    out,
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// Monitors or series to report; all when none is named
    #[arg(value_name = "MONITOR")]
    monitors: Vec<String>,
    /// Begin: a date, an RFC 3339 time, or an age such as 7d
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    since: Option<String>,
    /// End [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    until: Option<String>,
    /// The last so long [default: 30d]
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    last: Option<std::time::Duration>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// The layout of the netmonitor script
    Classic,
    /// A line an outage
    Csv,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  lapwing report                              all monitors, the last 30 days
  lapwing report web --last 7d
  lapwing report --since 2026-11-01 --until 2026-12-01 --format csv > november.csv";

/// Which data folder.
#[derive(Debug, Args)]
pub struct DataArg {
    #[command(flatten)]
    config: ConfigArg,
    /// Data folder [default: that of the configuration]
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    data: Option<PathBuf>,
}

impl DataArg {
    /// The folder given, or that of the configuration.
    pub fn folder(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let path = config::locate(self.config.config.as_deref(), environment).map_err(Failure::usage)?;
        config::store_path(&path, environment).map_err(Failure::usage)
    }
}

pub fn report(args: &ReportArgs, environment: &Environment) -> Result<u8, Failure> {
    let now = SystemClock::new().now().wall;
    let window = window(args, now)?;
    let folder = args.data.folder(environment)?;
    let store = |e: &dyn std::error::Error| Failure::usage(crate::recorder::full(e));
    let ledger = DataDir::read(&folder)
        .and_then(|dir| dir.ledger())
        .map_err(|e| store(&e))?;
    let mut records = records(&ledger).map_err(|e| store(&e))?;
    select(&mut records, &args.monitors)?;
    let running = std::os::unix::net::UnixStream::connect(folder.join(SOCKET)).is_ok();
    let mut runs = book::runs(&ledger).map_err(|e| store(&e))?;
    if let (false, Some((_, until))) = (running, runs.last_mut()) {
        // A run that was killed lived at least until its newest observation.
        *until = newest_observation(&folder, &ledger).map_or(*until, |seen| seen.max(*until));
    }
    let shape = ReportShape::new(&records, window, &unwatched(&runs, now, running), now);
    let format = if args.json { Format::Json } else { args.format };
    let text = match format {
        Format::Table => {
            let idle = if running {
                ""
            } else {
                "No daemon is running on this data folder.\n"
            };
            format!("{idle}{}", report_table::render(&shape, &zone(), out::paint()))
        }
        Format::Classic => report_classic::render(&shape, &zone()),
        Format::Csv => report_csv::render(&shape),
        Format::Json => serde_json::to_string_pretty(&shape).map_err(anyhow::Error::from)? + "\n",
    };
    out::print(&text)?;
    Ok(exit::FINE)
}

/// The time zone in which the terminal shows times.
pub fn zone() -> TimeZone {
    TimeZone::system()
}

/// Monitor and target of a stored key.
pub fn split_key(key: &str) -> (&str, &str) {
    let (monitor, rest) = key.split_once('\u{1f}').unwrap_or((key, ""));
    (monitor, rest.split('\u{1f}').next().unwrap_or_default())
}

fn window(args: &ReportArgs, now: Wall) -> Result<Interval, Failure> {
    if let Some(last) = args.last {
        return Ok(Interval {
            from: now - last,
            to: now,
        });
    }
    let read = |text: &Option<String>| text.as_deref().map(|t| moment(t, now)).transpose();
    let to = read(&args.until)?.unwrap_or(now);
    let from = read(&args.since)?.unwrap_or(to - std::time::Duration::from_secs(30 * 86_400));
    if from >= to {
        return Err(Failure::usage(
            "the window of time is empty: --since must lie before --until",
        ));
    }
    Ok(Interval { from, to })
}

/// An RFC 3339 time, a date or local time, or an age.
fn moment(text: &str, now: Wall) -> Result<Wall, Failure> {
    if let Ok(age) = parse_duration(text) {
        return Ok(now - age);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Wall(at.as_microsecond()));
    }
    let local = text
        .parse::<jiff::civil::DateTime>()
        .ok()
        .and_then(|at| at.to_zoned(zone()).ok());
    local
        .map(|at| Wall(at.timestamp().as_microsecond()))
        .ok_or_else(|| {
            Failure::usage(format!(
                "\"{text}\" is not a time: write 2026-11-20, 2026-11-20T14:51:19Z, or an age like 7d"
            ))
        })
}

/// When the newest observation was made, as far as a few series tell: they all end together.
fn newest_observation(folder: &Path, ledger: &DiskLedger) -> Option<Wall> {
    const ENOUGH: usize = 64;
    let history = DataDir::read(folder).and_then(|dir| dir.history()).ok()?;
    let wanted: Vec<Wanted> = book::names(ledger)
        .ok()?
        .into_keys()
        .take(ENOUGH)
        .map(|series| Wanted {
            series,
            count: 1,
            since: Wall(i64::MIN),
        })
        .collect();
    let tails = history.tails(&wanted).ok()?;
    tails.into_iter().flatten().map(|point| point.at).max()
}

/// Times in which the daemon did not run: before its first run, between runs, and after the last unless it runs now.
fn unwatched(runs: &[(Wall, Wall)], now: Wall, running: bool) -> Vec<Interval> {
    let mut gaps = Vec::new();
    let mut from = Wall(i64::MIN);
    for (started, until) in runs {
        gaps.push(Interval { from, to: *started });
        from = *until;
    }
    if !running || runs.is_empty() {
        gaps.push(Interval { from, to: now });
    }
    gaps
}

fn records(ledger: &DiskLedger) -> Result<Vec<SeriesRecord>, book::BookError> {
    let Restored { standings, .. } = book::restore(ledger)?;
    let names = book::names(ledger)?;
    let mut by_key: BTreeMap<String, SeriesRecord> = BTreeMap::new();
    for (key, standing) in &standings {
        let record = by_key
            .entry(key.to_string())
            .or_insert_with(|| record(key, &names));
        record.watched = true;
        record.known_since = standing.known_since;
        if standing.state.is_unknown() {
            record.unknown.push(Interval {
                from: standing.since,
                to: Wall(i64::MAX),
            });
        }
    }
    for (key, outage) in book::all_outages(ledger)? {
        let record = by_key.entry(key.clone()).or_insert_with(|| record(&key, &names));
        known_from(record, &outage);
        record.outages.push(outage);
    }
    for (key, _, from, to) in book::all_unknown(ledger)? {
        let record = by_key.entry(key.clone()).or_insert_with(|| record(&key, &names));
        record.unknown.push(Interval { from, to });
    }
    let mut records: Vec<SeriesRecord> = by_key.into_values().collect();
    for gone in records.iter_mut().filter(|r| !r.watched) {
        // Nothing is known of it after the last that was told.
        let told = gone.outages.iter().filter_map(|o| o.end).map(|end| end.at).max();
        let from = told.or(gone.known_since).unwrap_or(Wall(i64::MIN));
        gone.unknown.push(Interval {
            from,
            to: Wall(i64::MAX),
        });
    }
    records.sort_by(|a, b| (!a.watched, &a.series).cmp(&(!b.watched, &b.series)));
    Ok(records)
}

/// A series that is watched no more is known from its first outage at least.
fn known_from(record: &mut SeriesRecord, outage: &Outage) {
    let first = outage.last_up.unwrap_or(outage.began);
    if !record.watched && record.known_since.is_none_or(|known| first < known) {
        record.known_since = Some(first);
    }
}

/// What people call a series; one that is watched no more by its monitor and target.
pub fn name_of(key: &str, names: &BTreeMap<String, String>) -> String {
    let (monitor, target) = split_key(key);
    names
        .get(key)
        .cloned()
        .unwrap_or_else(|| format!("{monitor} ({target})"))
}

fn record(key: &str, names: &BTreeMap<String, String>) -> SeriesRecord {
    let (monitor, target) = split_key(key);
    SeriesRecord {
        series: name_of(key, names),
        monitor: monitor.to_owned(),
        target: target.to_owned(),
        watched: false,
        known_since: None,
        outages: Vec::new(),
        unknown: Vec::new(),
    }
}

fn select(records: &mut Vec<SeriesRecord>, wanted: &[String]) -> Result<(), Failure> {
    for name in wanted {
        if !records.iter().any(|r| r.series == *name || r.monitor == *name) {
            let near = nearest(
                name,
                records
                    .iter()
                    .flat_map(|r| [r.series.as_str(), r.monitor.as_str()]),
            );
            let hint = near.map_or_else(
                || "lapwing status --all lists them".to_owned(),
                |n| format!("did you mean \"{n}\"?"),
            );
            return Err(Failure::usage(format!(
                "there is no monitor or series \"{name}\"; {hint}"
            )));
        }
    }
    if !wanted.is_empty() {
        records.retain(|r| wanted.iter().any(|name| r.series == *name || r.monitor == *name));
    }
    Ok(())
}
