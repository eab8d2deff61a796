//! `lapwing show`: all about one monitor.

use clap::Args;
use lapwing_term::details;

use super::{
    Failure, exit, local,
    report::{DataArg, zone},
};
use crate::{config::Environment, out};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ShowArgs {
    /// A monitor (with all its series) or a single series
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    data: DataArg,
    /// All of it as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing show web
  lapwing show web --json | jq '.outages[0]'";

pub fn show(args: &ShowArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let found = local::ask(&folder, async |client| client.monitor(&args.name).await)?;
    out::print(&if args.json {
        serde_json::to_string_pretty(&found).map_err(anyhow::Error::from)? + "\n"
    } else {
        details::render(&found, &zone(), out::paint(), out::width())
    })?;
    Ok(exit::FINE)
}
