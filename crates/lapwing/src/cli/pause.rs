//! `lapwing pause`: no probes for a while.

use clap::Args;
use lapwing_api::steering::WishWord;

use super::{
    Failure,
    wish::{Ask, EndArgs, NamesArgs, ReasonArg, ask},
};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PauseArgs {
    #[command(flatten)]
    names: NamesArgs,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    reason: ReasonArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing pause db --for 2h --reason \"new disk\"
  lapwing pause servers/web01.example.com --until 18:00
  lapwing pause db                                     until `lapwing resume db`

Nothing is asked and nothing is told meanwhile; the time counts as unknown, not as up. It survives a restart.";

pub fn pause(args: &PauseArgs, environment: &Environment) -> Result<u8, Failure> {
    let wish = Ask {
        wish: WishWord::Pause,
        names: &args.names,
        end: Some(&args.end),
        reason: Some(&args.reason),
    };
    ask(&wish, environment)
}
