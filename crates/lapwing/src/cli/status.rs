//! `lapwing status`: the states of the running daemon, or those that it left behind.

mod again;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::Duration,
};

use clap::Args;
use lapwing_api::{
    client::ClientError,
    shapes::{HeartbeatShape, Reason, SeriesShape, StatusShape, VERSION, counts},
};
use lapwing_core::{
    judge::Standing,
    state::State,
    time::{Clock, Wall},
};
use lapwing_store::{DataDir, StoreError, book};
use lapwing_term::status_table;

use super::{
    Failure, local,
    report::{DataArg, name_of, split_key, zone},
};
use crate::{clock::SystemClock, config::Environment, listeners::SOCKET, out};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    #[command(flatten)]
    data: DataArg,
    /// Show series that are up, too
    #[arg(long, short)]
    all: bool,
    /// The whole status as JSON; with --watch a line each time
    #[arg(long)]
    json: bool,
    /// Show it again every so many seconds, until you stop it
    #[arg(
        long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = again::pace
    )]
    watch: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  lapwing status            what is not up; exit code 1 when something is down
  lapwing status --all
  lapwing status --watch    again and again; Ctrl-C ends it
  lapwing status --json | jq '.series[] | select(.state == \"down\")'";

pub fn status(args: &StatusArgs, environment: &Environment) -> Result<u8, Failure> {
    let data = args.data.folder(environment)?;
    if let Some(pace) = args.watch {
        return again::again(args, &data, pace);
    }
    let shape = look(&data)?;
    if args.json {
        out::print(&(serde_json::to_string_pretty(&shape).map_err(anyhow::Error::from)? + "\n"))?;
    } else {
        let width = out::width();
        let most = width.map_or(usize::MAX, |_| status_table::MAX_ROWS);
        let table = status_table::render(&shape, &zone(), out::paint(), args.all, width, most);
        out::print(&table)?;
    }
    Ok(shape.exit_code())
}

/// The states of the daemon on a data folder; where none runs, those that it left behind.
pub fn look(data: &Path) -> Result<StatusShape, Failure> {
    match local::ask_if_any(data, async |daemon| daemon.status().await)? {
        Some(shape) => Ok(shape),
        None => left_behind(data),
    }
}

/// The states as the ledger has them.
fn left_behind(data: &Path) -> Result<StatusShape, Failure> {
    let ledger = DataDir::read(data)
        .and_then(|dir| dir.ledger())
        .map_err(|error| match error {
            StoreError::Missing { .. } => ClientError::NoDaemon {
                socket: data.join(SOCKET),
            }
            .into(),
            error => Failure::stored(&error),
        })?;
    let restored = book::restore(&ledger).map_err(|e| Failure::stored(&e))?;
    let names = book::names(&ledger).map_err(|e| Failure::stored(&e))?;
    let at = restored
        .watch
        .map_or(SystemClock::new().now().wall, |(_, alive)| alive);
    let beats: HashMap<_, _> = restored.beats.into_iter().collect();
    let mut series: Vec<SeriesShape> = restored
        .standings
        .iter()
        .map(|(key, standing)| SeriesShape {
            heartbeat: beats.get(key).map(|beats| HeartbeatShape::new(beats, None, at)),
            ..shape(key, standing, &names)
        })
        .collect();
    series.sort_by(|a, b| a.series.cmp(&b.series));
    Ok(StatusShape {
        v: VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: at.rfc3339(),
        running: false,
        started: None,
        offline_since: None,
        counts: counts(&series),
        series,
        notifiers: Vec::new(),
        engine: None,
        listeners: BTreeMap::new(),
    })
}

fn shape(key: &str, standing: &Standing, names: &BTreeMap<String, String>) -> SeriesShape {
    let (monitor, target) = split_key(key);
    let since: Wall = match (&standing.outage, standing.state) {
        (Some(outage), State::Down) => outage.began,
        _ => standing.since,
    };
    SeriesShape {
        series: name_of(key, names),
        monitor: monitor.to_owned(),
        target: target.to_owned(),
        kind: target.split(':').next().unwrap_or_default().to_owned(),
        labels: BTreeMap::new(),
        state: standing.state.to_string(),
        since: since.rfc3339(),
        reason: standing.reason.as_ref().map(Reason::from),
        last: None,
        loss: None,
        skipped: 0,
        heartbeat: None,
        paused: None,
        silenced: None,
        acknowledged: None,
    }
    .muted(standing.mutes.as_deref(), standing.outage.as_deref())
}
