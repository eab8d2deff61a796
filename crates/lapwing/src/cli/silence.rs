//! `lapwing silence`: measured as always, told to nobody for a while.

use clap::Args;
use lapwing_api::steering::WishWord;

use super::{
    Failure,
    wish::{Ask, EndArgs, NamesArgs, ReasonArg, ask},
};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SilenceArgs {
    #[command(flatten)]
    names: NamesArgs,
    #[command(flatten)]
    until: EndArgs,
    /// End the silence now
    #[arg(long, conflicts_with_all = ["length", "until", "reason"])]
    end: bool,
    #[command(flatten)]
    reason: ReasonArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing silence web db --for 30m --reason deploy
  lapwing silence web --until 06:00
  lapwing silence web --end

Checks go on, and outages are recorded. What is still down at the end is told then; what came and went is not.";

pub fn silence(args: &SilenceArgs, environment: &Environment) -> Result<u8, Failure> {
    if !args.end && !args.until.is_given() {
        return Err(Failure::usage(
            "a silence needs an end, for nobody hears that it is there: --for 2h, --until 18:00, or --end for one that holds",
        ));
    }
    let wish = Ask {
        wish: if args.end {
            WishWord::Unsilence
        } else {
            WishWord::Silence
        },
        names: &args.names,
        end: Some(&args.until),
        reason: Some(&args.reason),
    };
    ask(&wish, environment)
}
