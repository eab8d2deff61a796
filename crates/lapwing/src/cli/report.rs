//! `lapwing report`: outages and uptime from the data folder, beside a running daemon or without one.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use lapwing_api::report::{ReportShape, SeriesRecord};
use lapwing_core::{
    time::{Clock, Wall, parse_duration},
    uptime::{Interval, slices},
};
use lapwing_store::{
    DataDir, History, Wanted,
    story::{self, Story},
};
use lapwing_term::{paint::Paint, report_classic, report_csv, report_html, report_table};

use super::{ConfigArg, Failure, exit, progress::Progress};
pub use crate::records::{name_of, records, split_key};
use crate::{
    clock::SystemClock,
    config::{self, Environment},
    listeners::SOCKET,
    out,
    records::{self, Stretch},
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
    /// Write the report to a new file, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "out")]
    force: bool,
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
    /// For programs
    Json,
    /// One file with bars over time and every outage, fit to send on
    Html,
}

const EXAMPLES: &str = "\
Examples:
  lapwing report                              all monitors, the last 30 days
  lapwing report web --last 7d
  lapwing report --since 2026-11-01 --until 2026-12-01 --format csv > nov.csv
  lapwing report home router --last 90d --format html --out evidence.html

An outage that touches the window is told in its whole length. Times are in the time zone of this machine, but for csv
and json, which are in UTC; another one is chosen with TZ=Europe/Berlin before the command.";

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
    /// Whether somebody said where.
    pub fn is_given(&self) -> bool {
        self.data.is_some() || self.config.config.is_some()
    }

    /// The folder given, or that of the configuration.
    pub fn folder(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        let (folder, warning) = self.find(environment)?;
        if let Some(warning) = warning {
            out::complain(&format!("lapwing: {warning}\n"));
        }
        Ok(folder)
    }

    /// As [`Self::folder`], with what is to be said about it.
    pub fn find(&self, environment: &Environment) -> Result<(PathBuf, Option<String>), Failure> {
        if let Some(data) = &self.data {
            return Ok((data.clone(), None));
        }
        let path = config::locate(self.config.config.as_deref(), environment).map_err(Failure::usage)?;
        match config::store_path(&path, environment) {
            Ok(folder) => Ok((folder, None)),
            Err(mistakes) => in_spite_of(&mistakes, &path, environment),
        }
    }
}

/// The folder of the daemon that runs with this configuration: mistakes that were made since are no reason not to reach
/// it. Without a daemon they are.
fn in_spite_of(
    mistakes: &config::Report,
    path: &Path,
    environment: &Environment,
) -> Result<(PathBuf, Option<String>), Failure> {
    let folder = config::likely_store_path(path, environment);
    if UnixStream::connect(folder.join(SOCKET)).is_err() {
        return Err(Failure::usage(format!(
            "{mistakes}\n`--data FOLDER` says where the data is without a configuration"
        )));
    }
    let warning = format!(
        "{} has mistakes (`lapwing config check` shows them); asking the daemon on {}",
        path.display(),
        folder.display()
    );
    Ok((folder, Some(warning)))
}

pub fn report(args: &ReportArgs, environment: &Environment) -> Result<u8, Failure> {
    let now = SystemClock::new().now().wall;
    let window = window(args, now)?;
    let folder = args.data.folder(environment)?;
    let progress = Progress::begin();
    let ledger = DataDir::read(&folder)
        .and_then(|dir| dir.telling(progress.teller()).ledger())
        .map_err(|e| Failure::stored(&e))?;
    let mut story = story::read(&ledger).map_err(|e| Failure::stored(&e))?;
    progress.work("putting the report together", 0);
    let running = UnixStream::connect(folder.join(SOCKET)).is_ok();
    let newest = newest_observation(&folder, &story).filter(|_| !running);
    if let (Some(seen), Some((_, until))) = (newest, story.runs.last_mut()) {
        // A run that was killed lived at least until its newest observation.
        *until = seen.max(*until);
    }
    let format = if args.json { Format::Json } else { args.format };
    let parts = match format {
        Format::Html => slices(window, &zone()),
        _ => Vec::new(),
    };
    let runs = std::mem::take(&mut story.runs);
    let mut records = records(story);
    select(&mut records, &args.monitors)?;
    let stretch = Stretch {
        window,
        slices: &parts,
        now,
        running,
    };
    let shape = records::report(&records, &runs, &stretch);
    let text = render(&shape, format, args.out.is_none())?;
    drop(progress);
    deliver(args, &text)?;
    Ok(exit::FINE)
}

fn render(shape: &ReportShape, format: Format, on_screen: bool) -> Result<String, Failure> {
    let (paint, width) = if on_screen {
        (out::paint(), out::width())
    } else {
        (Paint::Plain, None)
    };
    Ok(match format {
        Format::Table => report_table::render(shape, &zone(), paint, width),
        Format::Classic => report_classic::render(shape, &zone()),
        Format::Csv => report_csv::render(shape),
        Format::Json => serde_json::to_string_pretty(shape).map_err(anyhow::Error::from)? + "\n",
        Format::Html => report_html::render(shape, &zone()),
    })
}

/// To the file of `--out`, or to standard output.
fn deliver(args: &ReportArgs, text: &str) -> Result<(), Failure> {
    let Some(path) = &args.out else {
        return Ok(out::print(text)?);
    };
    let file = if args.force {
        File::create(path)
    } else {
        File::create_new(path)
    };
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let path = path.display();
        Failure::usage(match error.kind() {
            io::ErrorKind::AlreadyExists => format!("{path} exists already; --force replaces it"),
            _ => format!("{path} cannot be written: {error}"),
        })
    })?;
    Ok(out::print(&format!("{} is written\n", path.display()))?)
}

/// The time zone in which the terminal shows times.
pub fn zone() -> TimeZone {
    TimeZone::system()
}

fn window(args: &ReportArgs, now: Wall) -> Result<Interval, Failure> {
    if let Some(last) = args.last {
        if last.is_zero() {
            return Err(Failure::usage(
                "the window of time is empty: --last must be longer than 0s",
            ));
        }
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
fn newest_observation(folder: &Path, story: &Story) -> Option<Wall> {
    const ENOUGH: usize = 64;
    let history = DataDir::read(folder).and_then(|dir| dir.history()).ok()?;
    let watched = story.series.iter().filter(|(_, s)| s.watched.is_some());
    let wanted: Vec<Wanted> = watched
        .take(ENOUGH)
        .map(|(series, _)| Wanted {
            series: series.clone(),
            count: 1,
            since: Wall(i64::MIN),
        })
        .collect();
    let tails = history.tails(&wanted).ok()?;
    tails.into_iter().flatten().map(|point| point.at).max()
}

/// Keeps those that `wanted` names; all when it names none.
pub fn select(records: &mut Vec<SeriesRecord>, wanted: &[String]) -> Result<(), Failure> {
    records::select(records, wanted).map_err(|unknown| {
        let records::Unknown { name, hint } = unknown;
        Failure::usage(format!("there is no monitor or series \"{name}\"; {hint}"))
    })
}
