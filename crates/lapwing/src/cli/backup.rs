//! `lapwing backup` and `lapwing restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use lapwing_core::time::Clock;

use super::{Failure, exit, local, progress::Progress, report::DataArg};
use crate::{backup_file, clock::SystemClock, config::Environment, out, recorder::full};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lapwing backup lapwing-2026-11-20.tar\n\nThe daemon may run meanwhile.")]
pub struct BackupArgs {
    /// A new file for the copy: a tar archive with both databases
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lapwing restore lapwing-2026-11-20.tar

A running daemon goes over to the restored data by itself. What was there before is kept beside it.")]
pub struct RestoreArgs {
    /// A file that `lapwing backup` has written
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    data: DataArg,
}

pub fn backup(args: &BackupArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let progress = Progress::begin();
    let size =
        backup_file::backup(&folder, &args.to, &progress.teller()).map_err(|e| Failure::stored(&*e))?;
    drop(progress);
    let kib = size.div_ceil(1024);
    out::print(&format!(
        "{} is copied to {} ({kib} KiB) and verified\n",
        folder.display(),
        args.to.display()
    ))?;
    Ok(exit::FINE)
}

pub fn restore(args: &RestoreArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let progress = Progress::begin();
    progress.work("restored by the daemon", 0);
    let done = match by_the_daemon(&args.from, &folder)? {
        Some(done) => done,
        None => {
            let now = SystemClock::new().now().wall;
            let bad = |e: anyhow::Error| Failure::usage(format!("nothing is restored: {}", full(&*e)));
            let teller = progress.teller();
            backup_file::verify(&args.from, &folder, &teller).map_err(bad)?;
            backup_file::restore(&args.from, &folder, now, &teller).map_err(|e| Failure::usage(full(&*e)))?
        }
    };
    drop(progress);
    out::print(&format!("{done}\n"))?;
    Ok(exit::FINE)
}

/// Has the running daemon restore and begin anew; None when none runs on the folder.
fn by_the_daemon(from: &Path, folder: &Path) -> Result<Option<String>, Failure> {
    let absolute = from
        .canonicalize()
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", from.display())))?;
    local::ask_if_any(folder, async |daemon| daemon.restore(&absolute).await)
}
