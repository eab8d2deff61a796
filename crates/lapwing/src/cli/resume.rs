//! `lapwing resume`: the end of a pause.

use clap::Args;
use lapwing_api::steering::WishWord;

use super::{
    Failure,
    wish::{Ask, NamesArgs, ask},
};
use crate::config::Environment;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lapwing resume db\n\nAn outage that was open when it was paused goes on until a check succeeds."
)]
pub struct ResumeArgs {
    #[command(flatten)]
    names: NamesArgs,
}

pub fn resume(args: &ResumeArgs, environment: &Environment) -> Result<u8, Failure> {
    let wish = Ask {
        wish: WishWord::Resume,
        names: &args.names,
        end: None,
        reason: None,
    };
    ask(&wish, environment)
}
