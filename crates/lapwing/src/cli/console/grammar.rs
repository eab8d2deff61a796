//! The commands of the console: those of the program that steer a daemon, and what may follow each of them.
//!
//! It must say nothing of its own about a command: names, flags and their help are those of the command line.

use clap::{Arg, ArgAction, Command};
use lapwing_core::kind::{Address, KindInfo, OptionInfo, OptionType};
use lapwing_term::console::complete::{Choice, Flag, Grammar, Scheme, Values, Verb};

use crate::{
    cli::{self, Failure, STYLES, completions, man},
    config::{self, keys},
};

/// Commands of the program that are commands of the console, in the order of its help.
const SHARED: [&str; 16] = [
    "list", "show", "status", "check", "add", "edit", "remove", "pause", "resume", "ack", "silence",
    "report", "events", "notify", "reload", "top",
];

const MAP: &str = "\
`help COMMAND` or `COMMAND --help` tells all about one. Names with spaces stand in quotes.
Tab completes; Ctrl-R searches what was typed; Ctrl-C clears the line or stops what runs; Ctrl-D leaves.";

/// The command line of the console.
pub(super) fn commands() -> Command {
    let whole = cli::command();
    let shared = SHARED.iter().filter_map(|name| whole.find_subcommand(name));
    let mut commands = Command::new("lapwing")
        .multicall(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .subcommand_required(true)
        .styles(STYLES)
        .max_term_width(110)
        .subcommand_help_heading("Commands")
        .after_help(MAP)
        .subcommands(
            shared
                .cloned()
                .map(fitted)
                .enumerate()
                .map(|(n, sub)| sub.display_order(n)),
        )
        .subcommand(
            Command::new("help")
                .display_order(SHARED.len())
                .about("All about a command, with examples")
                .arg(
                    Arg::new("command")
                        .value_name("COMMAND")
                        .num_args(0..)
                        .action(ArgAction::Append),
                ),
        )
        .subcommand(
            Command::new("quit")
                .display_order(SHARED.len() + 1)
                .visible_alias("exit")
                .about("Leave; the daemon goes on"),
        );
    commands.build();
    commands
}

/// As it is at a prompt: the daemon is known, and it alone proves notifiers.
fn fitted(command: Command) -> Command {
    let command = match command.get_name() {
        "notify" => {
            let test = command.find_subcommand("test").cloned();
            Command::new("notify")
                .about("Prove notifiers")
                .subcommand_required(true)
                .disable_help_subcommand(true)
                .subcommands(test.map(fitted))
        }
        "events" => {
            let about = "What happened; `events off` and `events on` for those that appear by themselves";
            command.about(about)
        }
        _ => command,
    };
    command.mut_args(|arg| {
        let is_known = ["config", "data"].contains(&arg.get_id().as_str());
        arg.hide(is_known)
    })
}

/// Shows the help of a command, or the map of all.
pub(super) fn help(commands: &Command, path: &[String]) -> Result<(), Failure> {
    let mut command = commands;
    for name in path {
        command = man::sub(command, name)?;
    }
    let mut command = command.clone();
    if path.is_empty() {
        command = command.help_template("{subcommands}{after-help}\n");
    }
    Ok(command.print_long_help()?)
}

/// What can be completed.
pub(super) fn grammar(commands: &Command) -> Grammar {
    let of_probes = |key: &&keys::Key| keys::PROBE_KEYS.contains(&key.name);
    let is_own = |key: &&keys::Key| !of_probes(key) && !OWN.contains(&key.name);
    Grammar {
        root: verb(commands),
        schemes: schemes(),
        options: keys::MONITOR.iter().filter(of_probes).map(key).collect(),
        keys: keys::MONITOR.iter().filter(is_own).map(key).collect(),
    }
}

/// Keys that a command line says otherwise, or cannot say.
const OWN: [&str; 4] = ["name", "target", "targets", "hosts"];

fn key(key: &keys::Key) -> Choice {
    Choice {
        name: key.name.to_owned(),
        about: sentence(key.doc),
        values: match key.ty {
            keys::KeyType::Choice(words) => words.iter().map(ToString::to_string).collect(),
            keys::KeyType::Flag => vec!["true".to_owned(), "false".to_owned()],
            _ => vec![bare(key.example)],
        },
    }
}

/// Names of options whose values are secret; headers are as often as not.
pub(super) fn secrets() -> Vec<String> {
    let kinds = config::kinds();
    let options = kinds.iter().flat_map(|kind| kind.options);
    let secret = options.filter(|o| may_be_secret(o.ty));
    secret.map(|option| option.name.to_owned()).collect()
}

fn may_be_secret(ty: OptionType) -> bool {
    matches!(ty, OptionType::Secret | OptionType::Secrets | OptionType::Pairs)
}

fn schemes() -> Vec<Scheme> {
    config::kinds().into_iter().map(scheme).collect()
}

fn scheme(kind: &'static KindInfo) -> Scheme {
    let slashes = if kind.address == Address::Name { "" } else { "//" };
    Scheme {
        prefix: format!("{}:{slashes}", kind.schemes.first().unwrap_or(&kind.name)),
        kind: kind.name.to_owned(),
        about: kind.summary.to_owned(),
        options: kind.options.iter().map(choice).collect(),
    }
}

fn choice(option: &OptionInfo) -> Choice {
    Choice {
        name: option.name.to_owned(),
        about: sentence(option.doc),
        values: match option.ty {
            OptionType::Choice(words) => words.iter().map(ToString::to_string).collect(),
            OptionType::Flag => vec!["true".to_owned(), "false".to_owned()],
            ty if may_be_secret(ty) => Vec::new(),
            _ => vec![bare(option.example)],
        },
    }
}

/// The first sentence: a menu has a line for it.
fn sentence(doc: &str) -> String {
    let end = doc.find(". ").unwrap_or(doc.len());
    doc[..end].trim_end_matches('.').to_owned()
}

/// An example of a configuration as it stands on a command line.
fn bare(example: &str) -> String {
    example.trim_matches('"').to_owned()
}

fn verb(command: &Command) -> Verb {
    let places: Vec<&Arg> = command.get_positionals().collect();
    let repeats = places.last().is_some_and(|arg| {
        let range = arg.get_num_args();
        range.is_some_and(|range| range.max_values() > 1) || matches!(arg.get_action(), ArgAction::Append)
    });
    let flags = command.get_opts().filter(|arg| !arg.is_hide_set());
    let verbs = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    Verb {
        name: command.get_name().to_owned(),
        about: command.get_about().map(ToString::to_string).unwrap_or_default(),
        verbs: verbs.map(verb).collect(),
        flags: flags
            .chain(command.get_arguments().filter(|arg| is_switch(arg)))
            .map(|arg| flag(command, arg))
            .collect(),
        places: places.into_iter().map(|arg| values(command, arg)).collect(),
        repeats,
    }
}

/// A flag without a value, which is not counted among the options.
fn is_switch(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.get_action().takes_values() && !arg.is_hide_set()
}

fn flag(command: &Command, arg: &Arg) -> Flag {
    let long = arg.get_long().map(|name| format!("--{name}"));
    let short = arg.get_short().map(|name| format!("-{name}"));
    Flag {
        names: long.into_iter().chain(short).collect(),
        about: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        value: arg.get_action().takes_values().then(|| values(command, arg)),
        repeats: matches!(arg.get_action(), ArgAction::Append),
    }
}

/// What `events` has at a prompt alone.
fn events() -> Vec<(String, String)> {
    let words = [
        ("on", "Events appear by themselves"),
        ("off", "They no longer do"),
    ];
    words
        .map(|(word, about)| (word.to_owned(), about.to_owned()))
        .into()
}

/// By what the help calls the value.
fn values(command: &Command, arg: &Arg) -> Values {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let words = possible.iter().map(|value| {
            let about = value.get_help().map(ToString::to_string).unwrap_or_default();
            (value.get_name().to_owned(), about)
        });
        return Values::Words(words.collect());
    }
    let examples = |words: &[&str]| {
        Values::Words(
            words
                .iter()
                .map(|word| ((*word).to_owned(), String::new()))
                .collect(),
        )
    };
    let name = arg.get_value_names().and_then(|names| names.first());
    match (name.map_or("", clap::builder::Str::as_str), command.get_name()) {
        ("MONITOR", "events") => Values::WordsOrNames(events()),
        ("NAME" | "MONITOR", command) => Values::Names(completions::which(command)),
        ("NOTIFIER", _) => Values::Notifiers,
        ("TARGET", "check") => Values::NamesAndTargets,
        ("TARGET", _) => Values::Targets,
        ("KEY=VALUE", _) if arg.get_id() == "label" => Values::Labels,
        ("KEY=VALUE", "check") => Values::Options,
        ("KEY=VALUE", _) => Values::Keys,
        ("KEY", _) => examples(&keys::MONITOR.iter().map(|key| key.name).collect::<Vec<_>>()),
        ("DURATION" | "AGE", _) => examples(&["30s", "5m", "30m", "2h", "1d", "7d"]),
        ("TIME", _) => examples(&["18:00"]),
        ("TEXT", _) if arg.get_id() == "search" => Values::Labels,
        ("COMMAND", _) => {
            let names = SHARED.map(|name| (name.to_owned(), String::new()));
            Values::Words(names.to_vec())
        }
        _ => Values::Free,
    }
}

#[cfg(test)]
mod tests {
    use lapwing_api::monitors::NamesShape;
    use lapwing_term::console::complete::{Known, Which, candidates};

    use super::*;

    struct Nobody;

    impl Known for Nobody {
        fn names(&mut self, which: Which, _: &str) -> NamesShape {
            let name = match which {
                Which::All => "web",
                Which::Added => "added",
                Which::Down => "broken",
                Which::Paused => "resting",
            };
            NamesShape::of(&[name], 1)
        }

        fn notifiers(&mut self) -> Vec<String> {
            vec!["ops".to_owned()]
        }

        fn labels(&mut self) -> Vec<String> {
            vec!["team=web".to_owned()]
        }
    }

    fn offered(line: &str) -> Vec<String> {
        let found = candidates(&grammar(&commands()), line, line.len(), &mut Nobody);
        found.into_iter().map(|candidate| candidate.value).collect()
    }

    #[test]
    fn the_commands_are_those_of_the_program() {
        let words = offered("");
        assert_eq!(words[..3], ["list", "show", "status"]);
        for name in [
            "add", "edit", "remove", "pause", "ack", "silence", "notify", "help", "quit",
        ] {
            assert!(words.iter().any(|word| word == name), "{name}: {words:?}");
        }
        let mut commands = commands();
        let bad = commands.try_get_matches_from_mut(["pasue", "web"]).unwrap_err();
        assert!(bad.to_string().contains("'pause'"), "{bad}");
        let help = commands
            .try_get_matches_from_mut(["pause", "--help"])
            .unwrap_err();
        assert!(!help.use_stderr(), "{help}");
        let bare = commands
            .try_get_matches_from_mut(["pause"])
            .unwrap_err()
            .to_string();
        assert!(
            bare.contains("Usage: pause") && !bare.contains("--data"),
            "{bare}"
        );
    }

    #[test]
    fn headers_are_secrets() {
        let known = secrets();
        for (line, expected) in [
            ("check http://h -o 'headers=Accept: x'", true),
            ("check http://h -oheaders=x", true),
            ("check http://h -o method=HEAD", false),
        ] {
            assert_eq!(
                lapwing_term::console::paste::holds_secret(line, &known),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn every_argument_is_completed_by_what_it_is() {
        for (line, expected) in [
            ("pause ", "web"),
            ("remove ", "added"),
            ("edit ", "added"),
            ("ack ", "broken"),
            ("resume ", "resting"),
            ("pause web --fo", "--for"),
            ("pause web --for ", "30m"),
            ("silence web --unt", "--until"),
            ("report web --format c", "csv"),
            ("notify test ", "ops"),
            ("check ", "web"),
            ("check t", "tcp://"),
            ("check heart", "heartbeat:"),
            ("check icmp://h -o c", "count="),
            ("check icmp://h -o family=", "family=both"),
            ("check tcp://h:1 -o family=", "family=any"),
            ("list --search ", "team=web"),
            ("add web tcp", "tcp://"),
            ("add web tcp://h:1 -o int", "interval="),
            ("add web tcp://h:1 --interval ", "30s"),
            ("add web tcp://h:1 --notify ", "ops"),
            ("edit web --unset rem", "remind"),
            ("help pa", "pause"),
            ("events ", "web"),
            ("events o", "off"),
        ] {
            let words = offered(line);
            assert!(words.iter().any(|word| word == expected), "{line}: {words:?}");
        }
        assert!(offered("add ").is_empty() && !offered("check -o ").contains(&"remind=".to_owned()));
        assert!(
            !offered("pause --")
                .iter()
                .any(|flag| flag == "--data" || flag == "--config")
        );
    }
}
