//! `lapwing run`: the daemon.

use std::{path::Path, sync::Arc};

use clap::Args;
use lapwing_net::Net;
use tokio::runtime::Builder;

use super::{ConfigArg, Failure, exit};
use crate::{
    clock::SystemClock,
    config::{self, Environment, Loaded},
    daemon::Daemon,
    manager::Manager,
    out, recorder, telemetry,
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Write a starter configuration first when none is there (./lapwing.toml, or where --config says)
    #[arg(long)]
    starter: bool,
    /// Prove every notifier first, and refuse to run when one is not valid
    #[arg(long)]
    verify_notifiers: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing run --starter            try it: writes ./lapwing.toml where none is
  lapwing run                      with ./lapwing.toml or /etc/lapwing/
  lapwing run --config /etc/lapwing/ --verify-notifiers

SIGHUP applies a changed configuration; SIGTERM and Ctrl-C stop in good order.
LAPWING_LOG=debug shows every check.";

pub fn run(args: &RunArgs, environment: &Environment) -> Result<u8, Failure> {
    if args.starter {
        start_with(args.config.config.as_deref(), environment)?;
    }
    let path = config::locate(args.config.config.as_deref(), environment).map_err(Failure::usage)?;
    let loaded = load(&path, environment)?;
    let log = telemetry::init(&loaded.log)?;
    let clock = Arc::new(SystemClock::new());
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let net = Net::new(Arc::clone(&clock) as _);
        if args.verify_notifiers {
            verify(&loaded, &net).await?;
        }
        let environment = environment.clone();
        let manager = Arc::new(Manager::of(&environment));
        Daemon {
            loaded,
            path,
            environment,
            clock,
            net,
            log,
            manager,
        }
        .run()
        .await
        .map_err(|error| refused(&error))
    });
    // A delivery that hangs in a system call (a file on a dead network disk) does not hold the end up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended.map(|()| exit::FINE)
}

/// Writes the starter unless a configuration is there. What is there is never touched.
fn start_with(explicit: Option<&Path>, environment: &Environment) -> Result<(), Failure> {
    // A configuration that $LAPWING_CONFIG names and that is missing is a mistake, which is told in a moment.
    let named = || {
        environment
            .get("LAPWING_CONFIG")
            .is_some_and(|value| !value.is_empty())
    };
    let there = match explicit {
        Some(path) => path.exists(),
        None => named() || config::locate(None, environment).is_ok(),
    };
    if there {
        return Ok(());
    }
    let path = explicit.map_or_else(|| config::default_path(environment), Path::to_owned);
    // What `config init` says to do next is what happens here.
    super::config::init(&path, false, &mut std::io::sink())?;
    out::complain(&format!(
        "Wrote the starter configuration {}: change it as you like\n",
        path.display()
    ));
    Ok(())
}

/// The configuration, or all that is wrong with it.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Failure> {
    config::load(path, environment).map_err(|report| Failure::usage(report.render(out::paint_errors())))
}

/// What keeps the daemon from starting can be mended by whoever started it.
fn refused(error: &anyhow::Error) -> Failure {
    let text = recorder::full(&**error);
    let mendable = error.chain().any(|cause| {
        cause.downcast_ref::<lapwing_store::StoreError>().is_some()
            || cause.downcast_ref::<std::io::Error>().is_some()
    });
    Failure {
        code: if mendable { exit::USAGE } else { exit::INTERNAL },
        text,
    }
}

async fn verify(loaded: &Loaded, net: &Net) -> Result<(), Failure> {
    let trials: Vec<_> = loaded
        .notifiers
        .iter()
        .map(|(name, built)| {
            let (built, net) = (Arc::clone(built), net.clone());
            (
                name,
                tokio::spawn(async move { built.notifier.verify(&net).await }),
            )
        })
        .collect();
    let mut bad = String::new();
    for (name, trial) in trials {
        match trial.await.map_err(anyhow::Error::from)? {
            Ok(_) => tracing::info!("notifier {name} is valid"),
            Err(error) => bad.push_str(&format!("\n  {name}: {error} [{}]", error.code)),
        }
    }
    if bad.is_empty() {
        Ok(())
    } else {
        Err(Failure::usage(format!("these notifiers are not valid:{bad}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_is_written_once_and_never_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lapwing.toml");
        let environment = Environment::of(folder.path(), [("HOME", "/nonexistent")]);
        start_with(Some(&path), &environment).unwrap();
        config::load(&path, &environment).unwrap();
        std::fs::write(&path, "mine").unwrap();
        start_with(Some(&path), &environment).unwrap();
        start_with(None, &environment).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_missing_configuration_that_the_environment_names_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment::of(folder.path(), [("LAPWING_CONFIG", "/nonexistent/lapwing.toml")]);
        start_with(None, &environment).unwrap();
        assert!(!folder.path().join("lapwing.toml").exists());
    }
}
