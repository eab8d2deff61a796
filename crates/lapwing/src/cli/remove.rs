//! `lapwing remove`: monitors that were added are watched no more.

use clap::Args;

use super::{Failure, edits, exit, local, report::DataArg};
use crate::{config::Environment, out};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RemoveArgs {
    /// Monitors; they must have been added by `lapwing add`
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    data: DataArg,
    /// What was done, as JSON, a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing remove web
  lapwing remove web db office

An outage that goes on ends with the watch, and its past stays in reports. A monitor of a configuration file is taken out there. Exit code 2 when one of several could not be removed.";

pub fn remove(args: &RemoveArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let mut code = exit::FINE;
    for name in &args.names {
        match local::ask(&folder, async |daemon| daemon.remove(name).await) {
            Ok(done) => edits::tell(&done, args.json)?,
            Err(failed) if args.names.len() == 1 => return Err(failed),
            Err(failed) => {
                out::complain(&format!("lapwing: {}\n", failed.text));
                code = failed.code;
            }
        }
    }
    Ok(code)
}
