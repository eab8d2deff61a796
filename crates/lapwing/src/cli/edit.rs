//! `lapwing edit`: other keys for a monitor that was added.

use std::path::Path;

use clap::{ArgGroup, Args};
use lapwing_api::monitors::EditShape;
use serde_json::Value;

use super::{Failure, edits, exit, local, report::DataArg};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = "lapwing edit [OPTIONS] <NAME> -o <KEY=VALUE> | --unset <KEY>")]
#[command(group = ArgGroup::new("change").args(["option", "interval", "notify", "label", "unset"]).required(true).multiple(true))]
pub struct EditArgs {
    /// The monitor; it must have been added by `lapwing add`
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    keys: edits::KeyArgs,
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
  lapwing edit web --interval 10s --notify ops --notify mail
  lapwing edit web -o target=https://www.example.com/health --unset expect_body
  lapwing edit web --label team=shop --unset labels.old

All other keys stay. While the target is the same, so do its state, its outage and its history. A monitor of a configuration file is changed there.";

pub fn edit(args: &EditArgs, environment: &Environment) -> Result<u8, Failure> {
    let mut given = args.keys.given()?;
    for key in &args.unset {
        given.put(&format!("--unset {key}"), key, Value::Null)?;
    }
    let mut set = given.keys;
    // One takes the place of the other.
    for (one, other) in [("target", "targets"), ("targets", "target")] {
        if set.get(one).is_some_and(|given| !given.is_null()) && !set.contains_key(other) {
            set.insert(other.to_owned(), Value::Null);
        }
    }
    let folder = args.data.folder(environment)?;
    are_set(args, &folder)?;
    let order = EditShape {
        set,
        by: edits::by(environment),
    };
    let done = local::ask(&folder, async |daemon| daemon.edit(&args.name, &order).await)?;
    edits::tell(&done, args.json)?;
    Ok(exit::FINE)
}

/// What cannot be asked, as of a monitor that was not added, the edit itself is told.
fn are_set(args: &EditArgs, folder: &Path) -> Result<(), Failure> {
    if args.unset.is_empty() {
        return Ok(());
    }
    let about = local::ask(folder, async |daemon| Ok(daemon.monitor(&args.name).await.ok()))?;
    let about = about.filter(|about| about.monitor.name == args.name);
    let Some(keys) = about.and_then(|about| about.keys) else {
        return Ok(());
    };
    args.unset.iter().try_for_each(|key| edits::is_set(&keys, key))
}
