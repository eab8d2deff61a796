//! `lapwing top`: the whole screen for what the running daemon watches.

mod feed;
mod life;
mod screen;

use std::time::Duration;

use clap::Args;
use lapwing_api::{
    client::{Client, ClientError},
    monitors::SeriesQuery,
};

use super::{Failure, edits, exit, report::DataArg, watch::is_fit};
use crate::{config::Environment, listeners::SOCKET};

/// How long the daemon may take for its first answer.
pub(super) const HELLO: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// Begin with the series that have this in their name, target or labels
    #[arg(value_name = "NAME", default_value = "", hide_default_value = true)]
    search: String,
    #[command(flatten)]
    data: DataArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing top                       everything, what needs somebody first
  lapwing top web                   what has \"web\" in its name, target or labels
  lapwing top team=shop             what has this label
  lapwing top --data /var/lib/lapwing

Keys: ? shows all of them. The arrows choose a series, Enter shows its details, / searches, < and > sort, Tab shows one
state alone, p pauses, a acknowledges, s silences, c checks now, q quits. The mouse works too.
Where there is no terminal: lapwing status --watch.";

pub fn top(args: &TopArgs, environment: &Environment) -> Result<u8, Failure> {
    if !is_fit() {
        return Err(Failure::usage(
            "this is no terminal that top can draw on: `lapwing status --watch` shows lines, `lapwing status --json` data",
        ));
    }
    let folder = args.data.folder(environment)?;
    let client = Client::new(folder.join(SOCKET));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // What cannot be reached is said before the screen is taken.
    let query = SeriesQuery {
        limit: 1,
        ..SeriesQuery::default()
    };
    let first = runtime.block_on(client.clone().with_patience(HELLO).series(&query));
    first.map_err(|error| failure(&error))?;
    let ended = runtime.block_on(life::live(client, &args.search, edits::by(environment)));
    runtime.shutdown_background();
    ended.map(|()| exit::FINE)
}

fn failure(error: &ClientError) -> Failure {
    Failure {
        code: match error {
            ClientError::Broken { .. } => exit::INTERNAL,
            _ => exit::USAGE,
        },
        text: error.to_string(),
    }
}
