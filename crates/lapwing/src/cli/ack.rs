//! `lapwing ack`: somebody takes care of an outage.

use clap::Args;
use lapwing_api::steering::WishWord;

use super::{
    Failure,
    wish::{Ask, EndArgs, NamesArgs, ReasonArg, ask},
};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AckArgs {
    #[command(flatten)]
    names: NamesArgs,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    reason: ReasonArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing ack db --reason \"on my way\"    no more reminders of this outage
  lapwing ack db --for 4h                reminders go on after four hours

You still hear when it is up. The next outage is told as always.";

pub fn ack(args: &AckArgs, environment: &Environment) -> Result<u8, Failure> {
    let wish = Ask {
        wish: WishWord::Ack,
        names: &args.names,
        end: Some(&args.end),
        reason: Some(&args.reason),
    };
    ask(&wish, environment)
}
