//! Runs a line of the console: most commands as this very program would, those that ask only the daemon right here.
//!
//! It must never run a line that it has not read whole.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use clap::{ArgMatches, Command};
use lapwing_api::client::{Client, ClientError};
use lapwing_term::console::words;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{self, Child},
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use super::{grammar, live::Live, stop::Stop};
use crate::{
    cli::{self, Failure, exit, local},
    out,
};

/// This program, also when its file has been replaced meanwhile (proc(5)).
const OURSELVES: &str = "/proc/self/exe";
/// Longest time that a command takes to end when the console leaves.
const ENDING: Duration = Duration::from_secs(1);
/// What else asks for help, by habit.
const HELP: [&str; 3] = ["--help", "-h", "?"];

/// What came of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    Ended(u8),
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// The console is to end.
    Leave,
}

pub(super) struct Runner {
    folder: PathBuf,
    client: Client,
    runtime: Handle,
    commands: Command,
    /// Ctrl-C stops a command and not the console.
    is_interactive: bool,
    stop: Stop,
    live: Option<Live>,
}

impl Runner {
    pub(super) fn new(folder: PathBuf, runtime: Handle, is_interactive: bool, stop: Stop) -> Self {
        if is_interactive {
            // From the first listener on, the signal does not end the process.
            let _on_runtime = runtime.enter();
            drop(signal(SignalKind::interrupt()));
        }
        Self {
            client: local::client(&folder),
            folder,
            runtime,
            commands: grammar::commands(),
            is_interactive,
            stop,
            live: None,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn commands(&self) -> &Command {
        &self.commands
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Events appear in between: `events on` and `events off` are for them.
    pub(super) fn attach(&mut self, live: Live) {
        self.live = Some(live);
    }

    /// Runs a line, and says what is wrong with it.
    pub(super) fn run(&mut self, line: &str) -> Ran {
        let read = words::split(line);
        let mut words: Vec<String> = read.words.into_iter().map(|word| word.text).collect();
        if words.first().is_some_and(|word| word == "lapwing") {
            words.remove(0);
        }
        match words.first_mut() {
            Some(word) if HELP.contains(&word.as_str()) => "help".clone_into(word),
            Some(word) if !word.starts_with('#') => {}
            _ => return Ran::Ended(exit::FINE),
        }
        if let Some(quote) = read.open {
            out::complain(&format!("lapwing: nothing was run: a {quote} is not closed\n"));
            return Ran::Ended(exit::USAGE);
        }
        match self.commands.try_get_matches_from_mut(&words) {
            Ok(found) => match self.dispatch(&found, &words) {
                Ok(ran) => ran,
                Err(failure) => {
                    out::complain(&format!("lapwing: {}\n", failure.text.trim_end()));
                    Ran::Ended(failure.code)
                }
            },
            Err(error) => Ran::Ended(cli::misread(error, &words)),
        }
    }

    fn dispatch(&self, found: &ArgMatches, words: &[String]) -> Result<Ran, Failure> {
        let Some((name, given)) = found.subcommand() else {
            return Ok(Ran::Ended(exit::USAGE));
        };
        match name {
            "quit" | "exit" => Ok(Ran::Leave),
            "help" => {
                grammar::help(&self.commands, &texts(given, "command"))?;
                Ok(Ran::Ended(exit::FINE))
            }
            "notify" => match given.subcommand() {
                Some((_, given)) => self.notify(&texts(given, "notifiers")),
                None => Ok(Ran::Ended(exit::USAGE)),
            },
            "events" if words.len() == 2 && matches!(words[1].as_str(), "on" | "off") => {
                self.mute(words[1] == "off")
            }
            _ => self.child(words),
        }
    }

    fn mute(&self, off: bool) -> Result<Ran, Failure> {
        let live = self.live.as_ref().ok_or_else(|| {
            Failure::usage("events appear by themselves only at a prompt; `events --follow` shows them here")
        })?;
        live.mute(off);
        let word = if off { "no longer appear" } else { "appear" };
        out::print(&format!("Events {word} by themselves.\n"))?;
        Ok(Ran::Ended(exit::FINE))
    }

    /// Runs this program with `words`, on the data folder of this console.
    fn child(&self, words: &[String]) -> Result<Ran, Failure> {
        let mut command = process::Command::new(OURSELVES);
        command.arg(&words[0]);
        let takes_data = self
            .commands
            .find_subcommand(&words[0])
            .is_some_and(|command| command.get_arguments().any(|arg| arg.get_id() == "data"));
        if takes_data {
            let mut data = OsString::from("--data=");
            data.push(&self.folder);
            command.arg(data);
        }
        if !self.is_interactive {
            // What we read commands from is not for them.
            command.stdin(Stdio::null());
        }
        command.args(&words[1..]);
        let Some(status) = self.runtime.block_on(self.attend(command))? else {
            return Ok(Ran::Leave);
        };
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(Ran::Ended(u8::try_from(code).unwrap_or(exit::INTERNAL))),
            (None, Some(nix::libc::SIGINT)) => {
                if self.is_interactive {
                    out::print("\n")?;
                }
                Ok(Ran::Interrupted)
            }
            (None, _) => Err(Failure {
                code: exit::INTERNAL,
                text: format!("it ended early: {status}"),
            }),
        }
    }

    /// Waits until it ends. None when the console is to leave: then it has been ended.
    async fn attend(&self, mut command: process::Command) -> io::Result<Option<ExitStatus>> {
        let mut child = command.spawn()?;
        tokio::select! {
            status = child.wait() => return status.map(Some),
            () = self.stop.asked() => {}
        }
        terminate(&child);
        if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(None)
    }

    /// Does what may take long; Ctrl-C stops it.
    fn ask(&self, work: impl Future<Output = Result<u8, Failure>>) -> Result<Ran, Failure> {
        self.runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())
                .ok()
                .filter(|_| self.is_interactive);
            let interrupted = async {
                match &mut interrupt {
                    Some(interrupt) => interrupt.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                code = work => Ok(Ran::Ended(code?)),
                () = self.stop.asked() => Ok(Ran::Leave),
                _ = interrupted => {
                    out::print("\n")?;
                    Ok(Ran::Interrupted)
                }
            }
        })
    }

    /// Has the daemon send a test message by each notifier; all when none is named.
    fn notify(&self, names: &[String]) -> Result<Ran, Failure> {
        self.ask(async {
            let mut names = names.to_vec();
            if names.is_empty() {
                let all = self.client.notifiers().await?;
                names.extend(all.notifiers.into_iter().map(|notifier| notifier.name));
            }
            if names.is_empty() {
                return Err(Failure::usage(
                    "the configuration has no notifier: add a [notify.NAME] table",
                ));
            }
            let mut worst = exit::FINE;
            for name in names {
                match self.client.test_notifier(&name).await {
                    Ok(done) => out::print(&format!("{}\n", done.text))?,
                    Err(error @ ClientError::Refused { .. }) => {
                        out::complain(&format!("lapwing: {error}\n"));
                        worst = exit::DOWN;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(worst)
        })
    }
}

/// Asks a command to end; it may have done so meanwhile.
fn terminate(child: &Child) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _gone = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}

/// The values of an argument that is a list of texts.
fn texts(given: &ArgMatches, name: &str) -> Vec<String> {
    let values = given.try_get_many::<String>(name).ok().flatten();
    values.into_iter().flatten().cloned().collect()
}
