//! `lapwing run`: the daemon.

use std::sync::Arc;

use clap::Args;
use lapwing_net::Net;
use tokio::runtime::Builder;

use super::{ConfigArg, Failure, exit};
use crate::{
    clock::SystemClock,
    config::{self, Environment, Loaded},
    daemon::Daemon,
    out, recorder, telemetry,
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Prove every notifier first, and refuse to run when one is not valid
    #[arg(long)]
    verify_notifiers: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing run                                     with ./lapwing.toml or /etc/lapwing/
  lapwing run --config /etc/lapwing/ --verify-notifiers

SIGHUP applies a changed configuration; SIGTERM and Ctrl-C stop in good order.
LAPWING_LOG=debug shows every check.";

pub fn run(args: &RunArgs, environment: &Environment) -> Result<u8, Failure> {
    let path = config::locate(args.config.config.as_deref(), environment).map_err(Failure::usage)?;
    let loaded = load(&path, environment)?;
    let log = telemetry::init(&loaded.log)?;
    let clock = Arc::new(SystemClock::new());
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let net = Net::new(Arc::clone(&clock) as _);
        if args.verify_notifiers {
            verify(&loaded, &net).await?;
        }
        let environment = environment.clone();
        Daemon { loaded, path, environment, clock, net, log }.run().await.map_err(refused)
    })?;
    Ok(exit::FINE)
}

/// The configuration, or all that is wrong with it.
pub fn load(path: &std::path::Path, environment: &Environment) -> Result<Loaded, Failure> {
    config::load(path, environment).map_err(|report| Failure::usage(report.render(out::paint_errors())))
}

/// What keeps the daemon from starting can be mended by whoever started it.
fn refused(error: anyhow::Error) -> Failure {
    let text = recorder::full(&*error);
    let mendable = error.chain().any(|cause| {
        cause.downcast_ref::<lapwing_store::StoreError>().is_some() || cause.downcast_ref::<std::io::Error>().is_some()
    });
    Failure { code: if mendable { exit::USAGE } else { exit::INTERNAL }, text }
}

async fn verify(loaded: &Loaded, net: &Net) -> Result<(), Failure> {
    let mut bad = String::new();
    for (name, built) in loaded.notifiers.iter() {
        match built.notifier.verify(net).await {
            Ok(_) => tracing::info!("notifier {name} is valid"),
            Err(error) => bad.push_str(&format!("\n  {name}: {error} [{}]", error.code)),
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::usage(format!("these notifiers are not valid:{bad}"))) }
}
