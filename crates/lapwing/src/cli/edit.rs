//! `lapwing edit`: other keys for a monitor that was added.

use clap::Args;
use lapwing_api::monitors::EditShape;
use serde_json::Value;

use super::{Failure, check::pair, edits, exit, local, report::DataArg};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EditArgs {
    /// The monitor; it must have been added by `lapwing add`
    #[arg(value_name = "NAME")]
    name: String,
    /// A key that changes, as in a configuration
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = pair, required_unless_present = "unset")]
    option: Vec<(String, String)>,
    /// A key that is taken out, so that the default holds
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    data: DataArg,
    /// What was done, as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing edit web -o interval=10s -o notify=ops,mail
  lapwing edit web -o target=https://www.example.com/health --unset expect_body
  lapwing edit web -o labels.team=shop --unset labels.old

All other keys stay. While the target is the same, so do its state, its outage and its history. A monitor of a configuration file is changed there.";

pub fn edit(args: &EditArgs, environment: &Environment) -> Result<u8, Failure> {
    let mut set = edits::keys(&args.option)?;
    // One takes the place of the other.
    for (one, other) in [("target", "targets"), ("targets", "target")] {
        if set.get(one).is_some_and(|given| !given.is_null()) && !set.contains_key(other) {
            set.insert(other.to_owned(), Value::Null);
        }
    }
    for key in &args.unset {
        edits::put(&mut set, key, Value::Null)?;
    }
    let order = EditShape {
        set,
        by: edits::by(environment),
    };
    let folder = args.data.folder(environment)?;
    let done = local::ask(&folder, async |daemon| daemon.edit(&args.name, &order).await)?;
    edits::tell(&done, args.json)?;
    Ok(exit::FINE)
}
