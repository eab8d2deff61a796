//! `lapwing completions`: scripts for shells, and what these ask while somebody types: names, targets, kinds.
//!
//! While somebody types it must be quick, and silent about every error.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use clap::{Arg, Args, Command, Parser, ValueEnum, ValueHint};
use clap_complete::{generate, shells};
use lapwing_api::{
    client::{Client, ClientError},
    monitors::{MAX_PAGE, MonitorQuery, MonitorShape, NamesShape, Origin, SeriesQuery, shared},
    shapes::SeriesShape,
};
use lapwing_term::console::complete::Which;

use super::{Failure, exit, local, report::DataArg, status};
use crate::{
    config::{self, Environment},
    out,
};

const BASH: &str = include_str!("completions/lapwing.bash");
const ZSH: &str = include_str!("completions/lapwing.zsh");
const FISH: &str = include_str!("completions/lapwing.fish");

/// Longest time that somebody who types is kept waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most words that are offered: more is nothing to choose from.
const MOST: usize = 1_000;
/// Of more than that, so many are offered.
const FEW: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell that the script is for
    shell: Shell,
    /// An unfinished command line: what may stand for its last word
    #[arg(last = true, hide = true)]
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

const EXAMPLES: &str = "\
Examples:
  lapwing completions bash > ~/.local/share/bash-completion/completions/lapwing
  lapwing completions zsh > ~/.zfunc/_lapwing
  lapwing completions fish > ~/.config/fish/completions/lapwing.fish

They work in every new shell then. Bash wants the package bash-completion for it; without, write
`source <(lapwing completions bash)` into ~/.bashrc. Zsh wants `fpath+=~/.zfunc` in ~/.zshrc, before `compinit`.
The Debian package has brought all three along.

Names of monitors come from the running daemon, or from what it left behind.";

pub fn completions(args: &CompletionsArgs, environment: &Environment) -> Result<u8, Failure> {
    if args.words.is_empty() {
        out::print(&script(args.shell))?;
        return Ok(exit::FINE);
    }
    let (sender, found) = channel();
    let (words, environment) = (args.words.clone(), environment.clone());
    thread::spawn(move || sender.send(offers(&words, &environment)));
    let found = found.recv_timeout(PATIENCE).unwrap_or_default();
    out::print(
        &found
            .iter()
            .flat_map(|word| [word.as_str(), "\n"])
            .collect::<String>(),
    )?;
    Ok(exit::FINE)
}

/// The command line without what is hidden, complete in every part.
pub fn visible() -> Command {
    let whole = super::command();
    let mut command = Command::new("lapwing")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommands(whole.get_subcommands().filter(|c| !c.is_hide_set()).cloned());
    if let Some(about) = whole.get_about() {
        command = command.about(about.clone());
    }
    if let Some(after) = whole.get_after_help() {
        command = command.after_help(after.clone());
    }
    command.build();
    command
}

fn script(shell: Shell) -> String {
    let mut command = visible();
    let asking: Vec<String> = command
        .get_subcommands()
        .filter(|c| asks(c))
        .map(|c| c.get_name().to_owned())
        .collect();
    let (made, ours) = match shell {
        Shell::Bash => (made(shells::Bash, &mut command), BASH),
        Shell::Zsh => (made(shells::Zsh, &mut marked(command)), ZSH),
        Shell::Fish => (made(shells::Fish, &mut command), FISH),
    };
    match shell {
        Shell::Bash => made.replace("complete -F _lapwing ", "complete -F _lapwing_live ") + ours,
        Shell::Zsh => {
            // The line as it is before _arguments cuts it; ours stands before the last lines, which run it all.
            let words =
                "_lapwing() {\n    local -a lapwing_words=(\"${(@Q)words[1,CURRENT-1]}\" \"${(Q)PREFIX}\")";
            made.replacen("_lapwing() {", words, 1)
                .replace(":_email_addresses'", ":_lapwing_live'")
                .replacen("if [ \"$funcstack", &format!("{ours}\nif [ \"$funcstack"), 1)
        }
        Shell::Fish => made + &ours.replace("@COMMANDS@", &asking.join(" ")),
    }
}

fn made(shell: impl clap_complete::Generator, command: &mut Command) -> String {
    let mut text = Vec::new();
    generate(shell, command, "lapwing", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// With a mark that the script of zsh shows on every argument for which we are asked; no argument takes an email address.
fn marked(command: Command) -> Command {
    let command = command.mut_args(|arg| match source(&arg) {
        Some(_) => arg.value_hint(ValueHint::EmailAddress),
        None => arg,
    });
    command.mut_subcommands(marked)
}

/// Whether one of its arguments is completed by asking us.
fn asks(command: &Command) -> bool {
    command.get_arguments().any(|arg| source(arg).is_some()) || command.get_subcommands().any(asks)
}

/// Where the words for an argument come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Monitors,
    Notifiers,
    Targets,
    Kinds,
    Commands,
}

/// By what the help calls the value.
fn source(arg: &Arg) -> Option<Source> {
    let name = arg.get_value_names()?.first()?.as_str();
    Some(match (name, arg.is_positional()) {
        ("NAME" | "MONITOR", true) => Source::Monitors,
        ("NOTIFIER", _) => Source::Notifiers,
        ("TARGET" | "HOST|TARGET", true) => Source::Targets,
        ("KIND", _) => Source::Kinds,
        ("COMMAND", true) => Source::Commands,
        _ => return None,
    })
}

/// What may stand for the last of `words`.
fn offers(words: &[String], environment: &Environment) -> Vec<String> {
    let root = visible();
    let Some((last, before)) = words.split_last() else {
        return Vec::new();
    };
    let Some((command, source)) = place(&root, last, before) else {
        return Vec::new();
    };
    // Heartbeats are heard, not asked for.
    let kinds = config::kinds().into_iter().map(|kind| kind.name);
    let kinds = kinds.filter(|kind| *kind != "heartbeat");
    let clean = |word: &String| !word.contains(char::is_control);
    let fits = |word: &String| word.starts_with(last) && !before.contains(word) && clean(word);
    let told = match source {
        Source::Monitors => data(words, environment).and_then(|f| names(&f, which(command), last).ok()),
        Source::Targets if command == "check" => running(words, environment, last),
        _ => None,
    };
    let common = told
        .as_ref()
        .filter(|told| told.more)
        .map(|told| told.common.clone());
    let names = told.into_iter().flat_map(|told| told.names);
    let found: BTreeSet<String> = match source {
        Source::Kinds => kinds.map(ToOwned::to_owned).collect(),
        Source::Commands => commands(&root, before),
        Source::Targets => kinds.map(|kind| format!("{kind}://")).chain(names).collect(),
        Source::Monitors => names.collect(),
        Source::Notifiers => data(words, environment).map_or_else(BTreeSet::new, |folder| notifiers(&folder)),
    };
    let mut found: Vec<String> = found.into_iter().filter(fits).collect();
    if let Some(common) = common {
        hold_back(&mut found, &common, last);
    }
    found
}

/// Names that a daemon can check now.
fn running(words: &[String], environment: &Environment, last: &str) -> Option<NamesShape> {
    let folder = data(words, environment)?;
    let asked = local::ask_if_any(&folder, async |daemon| all_names(daemon, last).await);
    asked.ok().flatten()
}

/// Commands below those that `help` and `man` already have.
fn commands(root: &Command, before: &[String]) -> BTreeSet<String> {
    let mut named = before.iter().skip(2).filter(|word| !word.starts_with('-'));
    let command = named.try_fold(root, |command, name| command.find_subcommand(name));
    let below = command.into_iter().flat_map(Command::get_subcommands);
    below.map(|command| command.get_name().to_owned()).collect()
}

fn notifiers(folder: &Path) -> BTreeSet<String> {
    let asked = local::ask_if_any(folder, async |daemon| daemon.notifiers().await);
    let all = asked.ok().flatten().map(|answer| answer.notifiers);
    all.into_iter().flatten().map(|notifier| notifier.name).collect()
}

/// Whose names a command can be used for.
pub(super) fn which(command: &str) -> Which {
    match command {
        "edit" | "remove" => Which::Added,
        "ack" => Which::Down,
        "resume" => Which::Paused,
        _ => Which::All,
    }
}

/// Names that begin with `last`: those of the daemon, or those that it left behind.
fn names(folder: &Path, which: Which, last: &str) -> Result<NamesShape, Failure> {
    let asked = local::ask_if_any(folder, async |daemon| match which {
        Which::All => all_names(daemon, last).await,
        _ => begun(daemon, which, last, MOST).await,
    });
    Ok(match asked? {
        Some(names) => names,
        None => chosen(&status::look(folder)?.series, which, last, MOST),
    })
}

/// Names that begin with `prefix`: at most `most`, or the first few where there are more.
pub(super) async fn begun(
    daemon: &Client,
    which: Which,
    prefix: &str,
    most: usize,
) -> Result<NamesShape, ClientError> {
    let state = match which {
        Which::All => return daemon.names(prefix, most).await,
        Which::Added => {
            let query = MonitorQuery {
                search: prefix.to_owned(),
                ..MonitorQuery::default()
            };
            let found = daemon.monitors(&query).await?.monitors;
            let added = |monitor: &&MonitorShape| matches!(monitor.origin, Origin::Added { .. });
            let added = found.iter().filter(added).map(|monitor| monitor.name.as_str());
            return Ok(few(added, prefix, most));
        }
        Which::Down => "down",
        Which::Paused => "paused",
    };
    let query = SeriesQuery {
        search: prefix.to_owned(),
        states: vec![state.to_owned()],
        limit: MAX_PAGE,
        ..SeriesQuery::default()
    };
    let page = daemon.series(&query).await?;
    Ok(chosen(&page.series, which, prefix, most))
}

/// Only monitors when there are too many.
async fn all_names(daemon: &Client, last: &str) -> Result<NamesShape, ClientError> {
    let found = daemon.names(last, MOST).await?;
    if !found.more {
        return Ok(found);
    }
    let query = MonitorQuery {
        search: last.to_owned(),
        limit: MOST,
        ..MonitorQuery::default()
    };
    let page = daemon.monitors(&query).await?;
    let monitors = page.monitors.iter().map(|monitor| monitor.name.as_str());
    let monitors = few(monitors, last, MOST);
    if page.matching <= MOST && !monitors.names.is_empty() {
        return Ok(monitors);
    }
    daemon.names(last, FEW).await
}

/// Monitors and series that are meant; only monitors when there are too many.
fn chosen(series: &[SeriesShape], which: Which, prefix: &str, most: usize) -> NamesShape {
    let wanted = |series: &&SeriesShape| match which {
        Which::Paused => series.paused.is_some(),
        Which::Down => series.state == "down" && series.acknowledged.is_none(),
        Which::All | Which::Added => true,
    };
    let wanted = || series.iter().filter(wanted);
    let monitors = few(wanted().map(|s| s.monitor.as_str()), prefix, most);
    let all = wanted().flat_map(|s| [s.series.as_str(), s.monitor.as_str()]);
    let all = few(all, prefix, most);
    if all.more && !monitors.more && !monitors.names.is_empty() {
        monitors
    } else {
        all
    }
}

/// Of names in any order, those that begin with `prefix`; the first few where there are more than `most`.
fn few<'a>(names: impl Iterator<Item = &'a str>, prefix: &str, most: usize) -> NamesShape {
    let all: BTreeSet<&str> = names.filter(|name| name.starts_with(prefix)).collect();
    let all: Vec<&str> = all.into_iter().collect();
    NamesShape::of(&all, if all.len() > most { FEW } else { most })
}

/// Adds what keeps a shell from completing more than all begin with, where these are not all.
fn hold_back(found: &mut Vec<String>, common: &str, last: &str) {
    let mut words = found.iter().map(String::as_str);
    let shown = words.next().map_or("", |first| words.fold(first, shared));
    let begun = if common.starts_with(last) { common } else { last };
    if shown.len() > begun.len() && !begun.is_empty() {
        found.push(begun.to_owned());
    }
}

/// The command that is being written, and where the words for its last argument come from.
fn place<'c>(root: &'c Command, last: &str, before: &[String]) -> Option<(&'c str, Source)> {
    let (mut command, mut given, mut open) = (root, 0, None);
    for word in before.iter().skip(1) {
        if open.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            open = option(command, word);
        } else if let Some(sub) = command.find_subcommand(word) {
            (command, given) = (sub, 0);
        } else {
            given += 1;
        }
    }
    let arg = match open {
        Some(option) => option,
        None if last.starts_with('-') => return None,
        None => positional(command, given)?,
    };
    Some((command.get_name(), source(arg)?))
}

/// The option that `word` begins, when its value is the next word.
fn option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let is_named = |arg: &&Arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg
            .get_short()
            .is_some_and(|short| word[1..] == short.to_string()),
    };
    let needs_value = |arg: &&Arg| arg.get_num_args().is_some_and(|range| range.min_values() > 0);
    command.get_arguments().find(is_named).filter(needs_value)
}

/// The argument that comes after so many.
fn positional(command: &Command, given: usize) -> Option<&Arg> {
    let all: Vec<&Arg> = command.get_positionals().collect();
    let last = all.last().filter(|arg| {
        let range = arg.get_num_args();
        range.is_some_and(|range| range.max_values() > 1)
    });
    all.get(given).or(last).copied()
}

/// The data folder of the command that is being written.
fn data(words: &[String], environment: &Environment) -> Option<PathBuf> {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        data: DataArg,
    }
    let mut line = vec![OsString::from("lapwing")];
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if ["--data", "--config", "-c"].contains(&word.as_str()) {
            line.push(word.into());
            line.push(words.next().map(|path| at_home(path, environment))?);
        } else if word.starts_with("--data=") || word.starts_with("--config=") {
            line.push(word.into());
        }
    }
    let (folder, _) = Line::try_parse_from(line).ok()?.data.find(environment).ok()?;
    Some(folder)
}

/// A path as the shell will give it to the command: `~/` is the user's home.
fn at_home(path: &str, environment: &Environment) -> OsString {
    match (path.strip_prefix("~/"), environment.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest).into_os_string(),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_for(line: &str, expected: Option<(&str, Source)>) {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        let (last, before) = words.split_last().unwrap();
        assert_eq!(place(&visible(), last, before), expected, "{line}");
    }

    #[test]
    fn the_last_word_is_known_by_those_before_it() {
        for (line, expected) in [
            ("lapwing pause ", Some(("pause", Source::Monitors))),
            ("lapwing pause db --for 2h we", Some(("pause", Source::Monitors))),
            ("lapwing pause --for ", None),
            ("lapwing pause --f", None),
            ("lapwing pause --json ", Some(("pause", Source::Monitors))),
            ("lapwing report -c /x.toml ", Some(("report", Source::Monitors))),
            ("lapwing notify test ", Some(("test", Source::Notifiers))),
            ("lapwing notify ", None),
            ("lapwing check --kind ", Some(("check", Source::Kinds))),
            ("lapwing check a b ", Some(("check", Source::Targets))),
            ("lapwing watch h ", Some(("watch", Source::Targets))),
            ("lapwing help service ", Some(("help", Source::Commands))),
            ("lapwing status ", None),
            ("lapwing nonsense ", None),
            ("lapwing", None),
        ] {
            is_for(line, expected);
        }
    }

    #[test]
    fn schemes_are_completed_without_a_daemon() {
        let words = ["lapwing", "check", "tl"].map(ToOwned::to_owned);
        assert_eq!(offers(&words, &Environment::default()), ["tls://"]);
        let words = ["lapwing", "help", "service", "un"].map(ToOwned::to_owned);
        assert_eq!(offers(&words, &Environment::default()), ["uninstall"]);
    }

    #[test]
    fn of_many_names_a_shell_completes_only_what_all_begin_with() {
        let all: Vec<String> = (0..10_000).map(|n| format!("host-{n:05}")).collect();
        let all = || all.iter().map(String::as_str);
        let told = few(all(), "host-00", MOST);
        assert_eq!((told.names.len(), told.more), (1_000, false));
        let told = few(all(), "host-0", MOST);
        assert_eq!(
            (told.names.len(), told.more, &*told.common),
            (FEW, true, "host-0")
        );
        for (words, common, last, added) in [
            (["host-00", "host-01"], "host-0", "h", None),
            (["host-00", "host-00x"], "host-0", "h", Some("host-0")),
            (["web-00", "web-01"], "", "w", Some("w")),
            (["web-00", "web-01"], "", "", None),
        ] {
            let mut found = words.map(ToOwned::to_owned).to_vec();
            hold_back(&mut found, common, last);
            assert_eq!(found.get(2).map(String::as_str), added, "{words:?}");
        }
    }

    #[test]
    fn every_script_asks_us_and_tells_nothing_hidden() {
        for (shell, word) in [
            (Shell::Bash, "completions bash --"),
            (Shell::Zsh, "completions zsh --"),
            (Shell::Fish, "completions fish --"),
        ] {
            let script = script(shell);
            assert!(script.contains(word) && !script.contains("email"), "{script}");
            assert!(
                !script.contains("_reference") && !script.contains("@COMMANDS@"),
                "{script}"
            );
        }
        let zsh = script(Shell::Zsh);
        assert!(zsh.matches(":_lapwing_live'").count() >= 7, "{zsh}");
        assert!(zsh.contains("lapwing_words=("), "{zsh}");
    }
}
