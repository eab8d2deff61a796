//! `lapwing reload`: the running daemon reads its configuration again.

use clap::Args;

use super::{Failure, exit, local, report::DataArg};
use crate::{config::Environment, out};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lapwing config check && lapwing reload

States, outages and the schedule of what has not changed stay as they are. A configuration with mistakes changes
nothing, and every mistake is shown. Exit code 2 when something could not be applied.")]
pub struct ReloadArgs {
    #[command(flatten)]
    data: DataArg,
    /// What was applied, as JSON
    #[arg(long)]
    json: bool,
}

pub fn reload(args: &ReloadArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let applied = local::ask(&folder, async |daemon| daemon.reload().await)?;
    if args.json {
        out::print(&(serde_json::to_string(&applied).map_err(anyhow::Error::from)? + "\n"))?;
    } else {
        let lines = [vec![applied.text], applied.notes].concat();
        out::print(&(lines.join("\n") + "\n"))?;
    }
    for refused in &applied.refused {
        out::complain(&format!("lapwing: {refused}\n"));
    }
    Ok(if applied.refused.is_empty() {
        exit::FINE
    } else {
        exit::USAGE
    })
}
