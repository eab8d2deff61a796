//! `lapwing notify`: prove notifiers, list them, find Telegram chats.

use std::sync::Arc;

use clap::Subcommand;
use lapwing_core::{kind::nearest, time::Clock};
use lapwing_net::Net;
use lapwing_notify::{Built, Message};

use super::{ConfigArg, Failure, exit, run::load};
use crate::{
    clock::SystemClock,
    config::{self, Environment, Loaded},
    out,
};

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test message through a notifier, and say what came of it
    #[command(after_help = "Example:\n  lapwing notify test ops")]
    Test {
        /// Notifiers; all when none is named
        #[arg(value_name = "NOTIFIER")]
        notifiers: Vec<String>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// List the notifiers of the configuration, and the messages that were given up
    #[command(after_help = "Example:\n  lapwing notify list --config /etc/lapwing/")]
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// List the chats and channels that a Telegram bot has seen, with their ids
    #[command(
        after_help = "Example:\n  lapwing notify telegram-chats phone\n\nWrite to the bot, or add it to the channel, first."
    )]
    TelegramChats {
        /// A notifier of type telegram
        notifier: String,
        #[command(flatten)]
        config: ConfigArg,
    },
}

pub fn notify(command: &NotifyCommand, environment: &Environment) -> Result<u8, Failure> {
    let clock = Arc::new(SystemClock::new());
    let net = Net::new(Arc::clone(&clock) as _);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        NotifyCommand::Test { notifiers, config } => {
            let loaded = loaded(config, environment)?;
            runtime.block_on(test(&loaded, notifiers, &net, &*clock))
        }
        NotifyCommand::List { config } => list(&loaded(config, environment)?),
        NotifyCommand::TelegramChats { notifier, config } => {
            let options = telegram_options(config, notifier, environment)?;
            runtime.block_on(telegram_chats(&options, &net))
        }
    }
}

fn loaded(config: &ConfigArg, environment: &Environment) -> Result<Loaded, Failure> {
    let path = config::locate(config.config.as_deref(), environment).map_err(Failure::usage)?;
    load(&path, environment)
}

async fn test(loaded: &Loaded, names: &[String], net: &Net, clock: &dyn Clock) -> Result<u8, Failure> {
    if loaded.notifiers.is_empty() {
        return Err(Failure::usage(
            "the configuration has no notifier: add a [notify.NAME] table",
        ));
    }
    let chosen: Vec<(&str, &Arc<Built>)> = if names.is_empty() {
        loaded
            .notifiers
            .iter()
            .map(|(name, built)| (name.as_str(), built))
            .collect()
    } else {
        names
            .iter()
            .map(|name| find(loaded, name))
            .collect::<Result<_, _>>()?
    };
    // All at once: one that is silent does not hold up the others.
    let trials: Vec<_> = chosen
        .into_iter()
        .map(|(name, built)| {
            let (built, net, message) = (Arc::clone(built), net.clone(), Message::test(clock.now().wall));
            let trial = tokio::spawn(async move { built.notifier.deliver(&message, &net).await });
            (name, trial)
        })
        .collect();
    let mut code = exit::FINE;
    for (name, trial) in trials {
        match trial.await.map_err(anyhow::Error::from)? {
            Ok(receipt) => {
                let note = receipt.note.map_or_else(String::new, |note| format!(" ({note})"));
                out::print(&format!("{name}: delivered{note}\n"))?;
            }
            Err(error) => {
                out::print(&format!("{name}: not delivered: {error} [{}]\n", error.code))?;
                code = exit::DOWN;
            }
        }
    }
    Ok(code)
}

fn find<'a>(loaded: &'a Loaded, name: &'a str) -> Result<(&'a str, &'a Arc<Built>), Failure> {
    match loaded.notifiers.get(name) {
        Some(built) => Ok((name, built)),
        None => {
            let names = || loaded.notifiers.keys().map(String::as_str);
            let hint = nearest(name, names()).map_or_else(
                || format!("there is: {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            Err(Failure::usage(format!("there is no notifier \"{name}\"; {hint}")))
        }
    }
}

fn list(loaded: &Loaded) -> Result<u8, Failure> {
    for (name, built) in &loaded.notifiers {
        let told = loaded
            .plan
            .series
            .iter()
            .filter(|s| s.monitor.notify.iter().any(|n| **n == **name))
            .count();
        out::print(&format!("{name}  {}  tells of {told} series\n", built.info.name))?;
    }
    let letters = lapwing_store::DataDir::read(&loaded.store.path)
        .and_then(|dir| dir.ledger())
        .ok()
        .and_then(|ledger| lapwing_store::book::dead_letters(&ledger).ok())
        .unwrap_or_default();
    if !letters.is_empty() {
        out::print("\nGiven up:\n")?;
    }
    for (row, why) in letters {
        let text = &row.notice.text;
        out::print(&format!(
            "{}  {}  {text}\n    {why}\n",
            row.notice.at.rfc3339(),
            row.notifier
        ))?;
    }
    Ok(exit::FINE)
}

/// The notifier's options without its chat, which is what the user is looking for.
fn telegram_options(
    config: &ConfigArg,
    notifier: &str,
    environment: &Environment,
) -> Result<lapwing_core::kind::Options, Failure> {
    let path = config::locate(config.config.as_deref(), environment).map_err(Failure::usage)?;
    config::notifier_options(&path, environment, notifier).map_err(Failure::usage)
}

async fn telegram_chats(options: &lapwing_core::kind::Options, net: &Net) -> Result<u8, Failure> {
    let chats = lapwing_notify::notifiers::telegram::chats(options, net)
        .await
        .map_err(|error| Failure::usage(error.to_string()))?;
    if chats.is_empty() {
        out::print("The bot has seen no chat yet: write to it, or add it to the channel, and try again.\n")?;
    }
    for chat in chats {
        out::print(&format!("{}  {}  {}\n", chat.id, chat.kind, chat.title))?;
    }
    Ok(exit::FINE)
}
