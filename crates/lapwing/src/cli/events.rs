//! `lapwing events`: what happened, and what happens.

use std::path::Path;

use clap::Args;
use lapwing_api::steering::PastEventShape;
use lapwing_store::{DataDir, story};
use lapwing_term::event_lines;

use super::{
    Failure, exit, local, number,
    report::{self, DataArg, zone},
};
use crate::{config::Environment, out};

/// Begins and ends of outages that are shown unless somebody says how many.
const LAST: u32 = 20;
const MOST: u32 = 1_000_000;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EventsArgs {
    /// Monitors or series; all when none is named
    #[arg(value_name = "MONITOR")]
    monitors: Vec<String>,
    /// Show what happens from now on, until the daemon stops or you do
    #[arg(long, short)]
    follow: bool,
    /// So many of the remembered begins and ends of outages [default: 20, with --follow none]
    #[arg(long, short = 'n', value_name = "N", value_parser = number(0..=MOST))]
    last: Option<u32>,
    /// A line of JSON each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing events                        the last begins and ends of outages
  lapwing events web --last 100
  lapwing events --follow               everything as it happens; Ctrl-C ends it
  lapwing events --follow --json | jq -r 'select(.event == \"down\") | .series'";

pub fn events(args: &EventsArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    if !args.follow {
        past(args, args.last.unwrap_or(LAST), &folder)?;
        return Ok(exit::FINE);
    }
    // First the ear, then the memory: nothing is missed between them.
    let mut events = local::Events::open(&folder, &args.monitors)?;
    if let Some(last) = args.last {
        past(args, last, &folder)?;
    }
    loop {
        let (event, line) = events.next()?;
        let shown = if args.json {
            line + "\n"
        } else {
            event_lines::live(&event, &zone(), out::paint())
        };
        if !out::print_live(&shown)? {
            return Ok(exit::FINE);
        }
    }
}

/// Prints the last so many begins and ends of outages, from the ledger.
fn past(args: &EventsArgs, count: u32, folder: &Path) -> Result<(), Failure> {
    let ledger = DataDir::read(folder)
        .and_then(|dir| dir.ledger())
        .map_err(|e| Failure::stored(&e))?;
    let mut records = report::records(story::read(&ledger).map_err(|e| Failure::stored(&e))?);
    report::select(&mut records, &args.monitors)?;
    let mut text = String::new();
    for event in PastEventShape::last(&records, count as usize) {
        text += &if args.json {
            serde_json::to_string(&event).map_err(anyhow::Error::from)? + "\n"
        } else {
            event_lines::past(&event, &zone(), out::paint())
        };
    }
    Ok(out::print(&text)?)
}
