//! `lapwing list`: the monitors of the running daemon, and where each comes from.

use clap::Args;
use lapwing_api::monitors::MonitorQuery;
use lapwing_term::monitor_table;

use super::{
    Failure, exit, local,
    report::{DataArg, zone},
};
use crate::{config::Environment, out};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    /// Only those with this text in their name, target or a label (key=value)
    #[arg(long, short, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    data: DataArg,
    /// The whole list as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing list
  lapwing list --search team=web
  lapwing list --json | jq '.monitors[] | select(.origin.from == \"added\").name'

A monitor from a file is changed in that file; one that was added, with `lapwing edit`.";

pub fn list(args: &ListArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let page = local::ask(&folder, async |client| {
        let mut query = MonitorQuery {
            search: args.search.clone().unwrap_or_default(),
            ..MonitorQuery::default()
        };
        let mut page = client.monitors(&query).await?;
        while page.monitors.len() < page.matching {
            query.offset = page.monitors.len();
            let next = client.monitors(&query).await?.monitors;
            if next.is_empty() {
                break;
            }
            page.monitors.extend(next);
        }
        Ok(page)
    })?;
    out::print(&if args.json {
        serde_json::to_string_pretty(&page).map_err(anyhow::Error::from)? + "\n"
    } else {
        monitor_table::render(&page, &zone(), out::paint(), out::width())
    })?;
    Ok(exit::FINE)
}
