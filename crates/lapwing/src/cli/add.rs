//! `lapwing add`: one more monitor for the running daemon.

use clap::Args;
use lapwing_api::monitors::AddShape;

use super::{Failure, edits, exit, local, report::DataArg};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AddArgs {
    /// What it is called
    #[arg(value_name = "NEW-NAME")]
    name: String,
    /// What is watched: URLs, also with ranges and CIDR blocks
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    keys: edits::KeyArgs,
    #[command(flatten)]
    data: DataArg,
    /// What was done, as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing add web https://www.example.com/
  lapwing add web https://example.com/ -o expect_body=ok --notify ops
  lapwing add google http://google.com icmp://google.com --label team=web
  lapwing add office icmp://192.0.2.0/28 -o 'loss={ window = 300, change = 5 }'

It is watched at once, and from then on, also after a restart. Every key of a configuration can be given, and has the same defaults. What needs files (a list of hosts, a secret file) stands in the configuration instead; a secret is a variable of the daemon's environment, '${NAME}'.

`lapwing edit` changes it, `lapwing remove` ends it, `lapwing config export` prints all that were added.";

pub fn add(args: &AddArgs, environment: &Environment) -> Result<u8, Failure> {
    let mut given = args.keys.given()?;
    if given.keys.contains_key("name") {
        return Err(Failure::usage("the name stands behind `lapwing add`, not in -o"));
    }
    given.put("NEW-NAME", "name", args.name.as_str().into())?;
    edits::targets(&mut given, &args.targets)?;
    let order = AddShape {
        monitor: given.keys,
        by: edits::by(environment),
    };
    let folder = args.data.folder(environment)?;
    let done = local::ask(&folder, async |daemon| daemon.add(&order).await)?;
    edits::tell(&done, args.json)?;
    Ok(exit::FINE)
}
