//! What a shell completes with the scripts of `lapwing completions`, with the real shells and a real daemon; and the
//! manual pages, as their readers see them.

use std::{fs, path::Path, process::Command};

use crate::{
    kit::{Home, Ran},
    peers::Door,
};

/// A folder with the scripts, and monitors of which one has a name that shells must not cut.
fn home(door: &Door) -> Home {
    let url = door.url();
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntargets = [\"{url}\", \"tcp://127.0.0.1:1\"]\n\
         [[monitor]]\nname = \"wide area & more\"\ntarget = \"{url}\"\n\
         [[monitor]]\nname = \"zürich: 東京 'x' 😀\"\ntarget = \"{url}\"\n\
         [[monitor]]\nname = \"db\"\ntarget = \"{url}\"\n\
         [notify.ops]\ntype = \"file\"\npath = \"alerts.log\"\n"
    ));
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]);
        assert!(script.code == 0 && script.err.is_empty(), "{script:?}");
        fs::write(home.path(shell), script.out).unwrap();
    }
    home
}

/// A shell that finds the program under test, and nothing else that is not the system's.
fn shell(home: &Home, program: &str) -> Command {
    let lapwing = Path::new(env!("CARGO_BIN_EXE_lapwing")).parent().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(home.folder())
        .env_clear()
        .env("HOME", home.folder())
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", format!("{}:/usr/bin:/bin", lapwing.display()));
    command
}

/// What bash would offer at the end of `line`.
fn bash(home: &Home, line: &str) -> Vec<String> {
    // As readline calls it: the words without quotes removed, cut at colons too, but not behind an open quote.
    let ask = r#"
        source ./bash
        COMP_LINE=$1 COMP_POINT=${#1}
        open=${1#*[\"]}
        [[ $open == "$1" ]] && open=
        whole=${1%$open}
        read -ra COMP_WORDS <<< "${whole//:/ : }"
        COMP_WORDS[${#COMP_WORDS[@]} - 1]+=$open
        [[ $1 == *[[:space:]] && ! $open ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        complete -p lapwing | grep -q -- '-F _lapwing_live lapwing' || exit 9
        _lapwing_live lapwing "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        [[ ${#COMPREPLY[@]} -eq 0 ]] || printf '%s\n' "${COMPREPLY[@]}""#;
    let ran = Ran::of(shell(home, "bash").args(["--norc", "-c", ask, "bash", line]));
    assert!(ran.code == 0 && ran.err.is_empty(), "{line:?}: {ran:?}");
    ran.out.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn needs_bash_completes_commands_and_the_names_of_a_running_daemon() {
    let door = Door::open();
    let home = home(&door);
    assert_eq!(bash(&home, "lapwing pau"), ["pause"]);
    assert!(
        !bash(&home, "lapwing ").contains(&"reference".to_owned()),
        "it is hidden"
    );
    assert_eq!(bash(&home, "lapwing pause --fo"), ["--for"]);
    assert_eq!(
        bash(&home, "lapwing pause d"),
        [""; 0],
        "there is no daemon, nor was one"
    );

    let daemon = home.start();
    daemon.wait_state("db", "up");
    assert_eq!(bash(&home, "lapwing pause d"), ["db"]);
    assert_eq!(bash(&home, "lapwing pause wi"), [r"wide\ area\ \&\ more"]);
    assert_eq!(bash(&home, r"lapwing pause wide\ ar"), [r"wide\ area\ \&\ more"]);
    assert_eq!(
        bash(&home, "lapwing pause \"wi"),
        ["wide area & more"],
        "readline closes it"
    );
    assert_eq!(bash(&home, "lapwing pause \"wide ar"), ["wide area & more"]);
    assert_eq!(bash(&home, "lapwing pause zü"), [r"zürich:\ 東京\ \'x\'\ 😀"]);
    assert_eq!(bash(&home, r"lapwing pause zürich:\ 東"), [r"\ 東京\ \'x\'\ 😀"]);
    assert_eq!(bash(&home, "lapwing help service un"), ["uninstall"]);
    assert_eq!(
        bash(&home, "lapwing report db --last 7d d"),
        [""; 0],
        "it stands there already"
    );
    assert_eq!(bash(&home, "lapwing notify test o"), ["ops"]);
    assert_eq!(bash(&home, "lapwing check tl"), ["tls://"]);
    assert_eq!(bash(&home, "lapwing check d"), ["db", "dns://"]);
    assert_eq!(
        bash(&home, "lapwing check tls:"),
        ["//"],
        "to bash, a colon ends a word"
    );
    assert_eq!(bash(&home, "lapwing resume d"), [""; 0], "nothing is paused");
    assert_eq!(home.run(&["pause", "db"]).code, 0);
    assert_eq!(bash(&home, "lapwing resume d"), ["db"]);
    daemon.wait_state("web/127.0.0.1:1", "down");
    assert_eq!(bash(&home, "lapwing ack "), ["web", "web/127.0.0.1:1"]);
    daemon.stop();
    assert_eq!(bash(&home, "lapwing report d"), ["db"], "the ledger knows it");
    let elsewhere = format!("lapwing report --data {} d", home.path("nowhere").display());
    assert_eq!(bash(&home, &elsewhere), [""; 0]);
}

#[test]
fn needs_fish_completes_commands_and_the_names_of_a_running_daemon() {
    let door = Door::open();
    let home = home(&door);
    let daemon = home.start();
    daemon.wait_state("db", "up");
    let fish = |line: &str| {
        let ask = format!("source ./fish; complete -C '{line}'");
        let ran = Ran::of(shell(&home, "fish").args(["--no-config", "-c", &ask]));
        assert!(ran.code == 0 && ran.err.is_empty(), "{line:?}: {ran:?}");
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        ran.out.lines().map(first).collect::<Vec<_>>()
    };
    assert_eq!(fish("lapwing pau"), ["pause"]);
    assert_eq!(fish("lapwing pause d"), ["db"]);
    assert_eq!(fish("lapwing pause wi"), ["wide area & more"]);
    assert_eq!(fish(r"lapwing pause wide\\ ar"), ["wide area & more"]);
    assert_eq!(fish("lapwing pause \"wide ar"), ["wide area & more"]);
    assert_eq!(fish("lapwing pause zü"), ["zürich: 東京 \'x\' 😀"]);
    assert_eq!(fish("lapwing notify test o"), ["ops"]);
    assert_eq!(fish("lapwing check tl"), ["tls://"]);
    daemon.stop();
}

/// What zsh makes of `line` and Tab: the words after the name of the program.
fn zsh(home: &Home, line: &str) -> Vec<String> {
    // A terminal for zsh, in zsh: a line is typed and Tab pressed, and the line that came of it is run by `lapwing()`.
    let ask = r#"
        zmodload zsh/zpty
        zpty type zsh -f -i
        zpty -w type 'PS1= RPS1= fpath+=$PWD; autoload -Uz compinit; compinit -u -D; source ./zsh; lapwing() { [[ $1 = completions ]] && { command lapwing "$@"; return }; print -rl -- "$@" > typed; print -- ty""ped }'
        zpty -w type $'print re""ady'
        zpty -r type seen '*ready*'
        zpty -w -n type "$1"$'\t'
        zpty -w -n type $'\n'
        zpty -r type seen '*typed*'
        zpty -d type
        cat typed"#;
    let ran = Ran::of(shell(home, "timeout").args(["20", "zsh", "-f", "-c", ask, "zsh", line]));
    assert_eq!(ran.code, 0, "{line:?}: {ran:?}");
    ran.out.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn needs_zsh_completes_commands_and_the_names_of_a_running_daemon() {
    let door = Door::open();
    let home = home(&door);
    let daemon = home.start();
    daemon.wait_state("db", "up");
    let zsh = |line: &str| zsh(&home, line);
    assert_eq!(zsh("lapwing pau"), ["pause"]);
    assert_eq!(zsh("lapwing pause d"), ["pause", "db"]);
    assert_eq!(zsh("lapwing pause wi"), ["pause", "wide area & more"]);
    assert_eq!(zsh("lapwing pause \"wide ar"), ["pause", "wide area & more"]);
    assert_eq!(zsh("lapwing pause zü"), ["pause", "zürich: 東京 'x' 😀"]);
    assert_eq!(
        zsh(r"lapwing pause zürich:\ 東"),
        ["pause", "zürich: 東京 'x' 😀"]
    );
    assert_eq!(zsh("lapwing notify test o"), ["notify", "test", "ops"]);
    assert_eq!(zsh("lapwing check tl"), ["check", "tls://"]);
    daemon.stop();
}

/// More monitors than a shell is offered.
fn many() -> Home {
    let mut config = String::from("[heartbeat]\nlisten = \"127.0.0.1:0\"\n");
    for n in 0..=1_200 {
        let name = if n < 1_200 {
            format!("host-{n:04}")
        } else {
            "web".to_owned()
        };
        let from = format!("127.1.{}.{}", n / 250, n % 250 + 1);
        config += &format!(
            "[[monitor]]\nname = \"{name}\"\ntarget = \"heartbeat:h{n}\"\nperiod = \"1h\"\nfrom = [\"{from}\"]\n"
        );
    }
    let home = Home::quick(&config);
    for shell in ["bash", "zsh", "fish"] {
        fs::write(home.path(shell), home.run(&["completions", shell]).out).unwrap();
    }
    home
}

#[test]
fn needs_bash_of_many_names_what_is_common_is_completed() {
    let home = many();
    let daemon = home.start();
    let common = |names: &[String]| {
        let is_begun = |end: &usize| names.iter().all(|name| name.starts_with(&names[0][..*end]));
        let end = (0..=names[0].len()).rev().find(is_begun).unwrap();
        names[0][..end].to_owned()
    };
    for (line, expected) in [
        ("lapwing show host-", "host-"),
        ("lapwing show ho", "host-"),
        ("lapwing show ", ""),
    ] {
        let names = bash(&home, line);
        assert_eq!(names.len(), 100, "{line:?}");
        assert_eq!(common(&names), expected, "{line:?}: {names:?}");
        assert_eq!(names[0], "host-0000");
    }
    assert_eq!(bash(&home, "lapwing show host-0").len(), 1_000);
    // One that stands there already is not what keeps bash back.
    let names = bash(&home, "lapwing pause host-1000 host-");
    assert_eq!(common(&names), "host-", "{names:?}");
    daemon.stop();
}

#[test]
fn needs_zsh_needs_fish_of_many_names_what_is_common_is_completed() {
    let home = many();
    let daemon = home.start();
    assert_eq!(zsh(&home, "lapwing show ho"), ["show", "host-"]);
    let ask = "source ./fish; complete -C 'lapwing show ho'";
    let fish = Ran::of(shell(&home, "fish").args(["--no-config", "-c", ask]));
    let found: Vec<&str> = fish.out.lines().collect();
    assert_eq!(
        (found.len(), found[0], found[99]),
        (100, "host-0000", "host-1000")
    );
    daemon.stop();
}

#[test]
fn needs_mandoc_every_command_has_a_manual_page_without_fault() {
    let home = Home::new("");
    let ran = home.run(&["man", "--dir", "pages/man1"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let mut pages: Vec<String> = fs::read_dir(home.path("pages/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in [
        "lapwing.1",
        "lapwing-run.1",
        "lapwing-service-install.1",
        "lapwing-man.1",
    ] {
        assert!(pages.iter().any(|p| p == page), "{page}: {pages:?}");
    }
    assert!(
        !pages.iter().any(|page| page.contains("reference")),
        "it is hidden"
    );
    let mut lint = Command::new("mandoc");
    let lint = lint
        .current_dir(home.path("pages/man1"))
        .args(["-T", "lint", "-W", "error"]);
    let lint = Ran::of(lint.args(&pages));
    assert_eq!((lint.code, lint.out.as_str()), (0, ""), "{lint:?}");

    let printed = home.run(&["man", "service", "install"]).out;
    assert_eq!(printed, home.read("pages/man1/lapwing-service-install.1"));
    let near = home.run(&["man", "service", "instal"]);
    assert_eq!(
        near.refused(),
        "lapwing: lapwing service has no command \"instal\"; did you mean \"install\"?"
    );
}
