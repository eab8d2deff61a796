//! `lapwing backup` and `lapwing restore`.

use std::path::PathBuf;

use clap::Args;
use lapwing_core::time::Clock;
use lapwing_store::{DataDir, HISTORY_FILE, History, LEDGER_FILE, Ledger};

use super::{Failure, exit, report::DataArg};
use crate::{clock::SystemClock, config::Environment, out, recorder::full};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lapwing backup /var/backups/lapwing-2026-11-20")]
pub struct BackupArgs {
    /// A new folder for the copy
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lapwing restore /var/backups/lapwing-2026-11-20")]
pub struct RestoreArgs {
    /// A folder that `lapwing backup` has written
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
    #[command(flatten)]
    data: DataArg,
}

pub fn backup(args: &BackupArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let store = |error: &dyn std::error::Error| Failure::usage(full(error));
    let dir = DataDir::read(&folder).map_err(|e| store(&e))?;
    std::fs::create_dir_all(&args.to)
        .map_err(|e| Failure::usage(format!("{} cannot be made: {e}", args.to.display())))?;
    dir.ledger().map_err(|e| store(&e))?.backup(&args.to.join(LEDGER_FILE)).map_err(|e| store(&e))?;
    dir.history().map_err(|e| store(&e))?.backup(&args.to.join(HISTORY_FILE)).map_err(|e| store(&e))?;
    out::print(&format!("{} is copied to {} and verified\n", folder.display(), args.to.display()))?;
    Ok(exit::FINE)
}

pub fn restore(args: &RestoreArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let now = SystemClock::new().now().wall;
    let done = lapwing_store::restore(&args.from, &folder, now).map_err(|e| Failure::usage(full(&e)))?;
    out::print(&format!("{done:?}\n"))?;
    Ok(exit::FINE)
}
