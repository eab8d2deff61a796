//! `lapwing console`, `list` and `show`: what a person sees who types, and what a script gets.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    kit::{Home, QUICK, Ran},
    peers::Door,
    terminal::Terminal,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lapwing");

/// Three monitors, of which `db` is down; nothing that listens besides.
fn three(web: &Door, db: &Door) -> Home {
    Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\ninterval = \"1s\"\nlabels = {{ team = \"shop\" }}\n\
         [[monitor]]\nname = \"web two\"\ntarget = \"{0}\"\ninterval = \"1s\"\n\
         [[monitor]]\nname = \"db\"\ntarget = \"{}\"\nfailure_threshold = 1\n\
         [notify.ops]\ntype = \"file\"\npath = \"alerts.txt\"\n",
        web.url(),
        db.url()
    ))
}

fn console(home: &Home, columns: u16) -> Terminal<'_> {
    consoles(home, columns, &[""])
}

/// One console after the other, each with variables of its own.
fn consoles<'h>(home: &'h Home, columns: u16, variables: &[&str]) -> Terminal<'h> {
    let one = |variables: &&str| {
        format!(
            "env -u XDG_STATE_HOME -u NO_COLOR HOME=$PWD TZ=UTC {variables} {PROGRAM} console; echo \"ended with $?\""
        )
    };
    let all: Vec<String> = variables.iter().map(one).collect();
    let terminal = Terminal::open(home, columns, &format!("{}; stty -a", all.join("; ")));
    terminal.wait(&[">"]);
    terminal
}

impl Terminal<'_> {
    fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line, and waits for what comes of it.
    #[track_caller]
    fn runs(&self, line: &str, texts: &[&str]) -> String {
        self.types(line);
        self.press(&["Enter"]);
        self.wait(texts)
    }
}

#[test]
fn needs_tmux_console_whole_flow() {
    let (home, mut door) = (Home::quick(""), Door::open());
    let daemon = home.start();
    let terminal = console(&home, 110);
    terminal.wait(&[
        "Lapwing 0.",
        "nothing is watched yet; `add NAME TARGET` begins",
        "lapwing>",
    ]);
    // The service, the host, the interval, each with a little help.
    terminal.types("add shop tc");
    terminal.wait(&["tcp://  ", "tcp-echo://  "]);
    terminal.types("p:");
    terminal.press(&["Tab"]);
    terminal.wait(&["> add shop tcp://"]);
    terminal.types(&format!("{} --int", door.address()));
    terminal.wait(&["--interval  Time between checks"]);
    terminal.press(&["Tab"]);
    terminal.types("200ms -o fail");
    terminal.wait(&["failure_threshold=  "]);
    terminal.press(&["Tab"]);
    terminal.runs("1", &["added shop: 1 series", "NOW MONITORING shop (tcp://"]);
    daemon.wait_state("shop", "up");
    terminal.press(&["C-l"]);
    terminal.runs(
        "list",
        &[" NAME  STATE  TARGET", " shop  up     tcp://", "200ms  added by "],
    );
    terminal.runs("check shop", &["up           shop  tcp://"]);
    door.close();
    terminal.wait(&["DOWN shop (tcp://", "lapwing 1 down>"]);
    terminal.runs("pause shop", &["paused shop until it is resumed", "lapwing>"]);
    terminal.runs("remove shop", &["removed shop"]);
    terminal.press(&["C-l"]);
    terminal.runs("list", &["Nothing is watched."]);
    terminal.press(&["C-d"]);
    let end = terminal.wait(&["ended with 0", " echo "]);
    assert!(!end.contains("-icanon"), "{end}");
    daemon.stop();
}

#[test]
fn needs_tmux_tab_shows_what_may_come_and_quotes_what_must_be() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let terminal = console(&home, 80);
    terminal.wait(&["3 watched, 1 down (db).", "lapwing 1 down>"]);
    // A name that completes to two shows both.
    terminal.types("pause w");
    terminal.wait(&["pause w\n", "web", "'web two'"]);
    terminal.press(&["Tab"]);
    terminal.press(&["Tab"]);
    terminal.press(&["Enter"]);
    terminal.wait(&["> pause 'web two'"]);
    terminal.types("--f");
    terminal.wait(&["--for  For so long"]);
    terminal.press(&["Tab"]);
    terminal.runs("1h", &["> pause 'web two' --for 1h", "paused web two until "]);
    terminal.types("list --search t");
    terminal.wait(&["team=shop"]);
    terminal.press(&["C-c"]);
    terminal.types("check tcp://h:1 -o family=");
    terminal.wait(&["family=both"]);
    terminal.press(&["C-c"]);
    terminal.runs("notify test o", &["no notifier \"o\""]);
    terminal.types("notify test o");
    terminal.press(&["Tab"]);
    terminal.runs("", &["> notify test ops", "ops: delivered"]);
    terminal.runs("lsit", &["unrecognized subcommand 'lsit'", "'list'"]);
    terminal.runs(
        "pause --help",
        &["Usage: pause [OPTIONS] <NAME>...", "lapwing pause db --for 2h"],
    );
    terminal.runs("pause 'web", &["nothing was run: a ' is not closed"]);
    daemon.stop();
}

#[test]
fn needs_tmux_events_appear_above_the_line_and_ctrl_c_stops_what_runs() {
    let (web, mut db) = (Door::open(), Door::open());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "up");
    let terminal = console(&home, 100);
    terminal.wait(&["lapwing>"]);
    terminal.types("pause 'half a li");
    terminal.wait(&["lapwing> pause 'half a li"]);
    db.close();
    let seen = terminal.wait(&["DOWN db (tcp://", "lapwing 1 down> pause 'half a li"]);
    assert!(seen.find("DOWN db") < seen.find("half a li"), "{seen}");
    terminal.tmux(&["resize-window", "-x", "60", "-y", "20"]);
    terminal.types("ne'");
    terminal.wait(&["lapwing 1 down> pause 'half a line'"]);
    terminal.press(&["C-c"]);
    terminal.runs("events off", &["no longer appear by themselves"]);
    db.reopen();
    terminal.wait(&["lapwing>"]);
    let seen = terminal.runs("events --last 1", &["UP db after "]);
    assert_eq!(seen.matches("UP db after").count(), 1, "{seen}");
    terminal.types("events --follow");
    terminal.press(&["Enter"]);
    db.close();
    terminal.wait(&["> events --follow\n", "DOWN db (tcp"]);
    terminal.press(&["C-c"]);
    terminal.wait(&["^C", "lapwing 1 down>"]);
    terminal.runs("list", &["web two"]);
    daemon.stop();
}

#[test]
fn needs_tmux_lines_come_back_by_arrow_and_search_and_secrets_are_not_kept() {
    let (web, db) = (Door::open(), Door::open());
    let home = three(&web, &db);
    let daemon = home.start();
    let terminal = consoles(&home, 80, &["", ""]);
    terminal.runs("list --search web", &[" web "]);
    terminal.runs("show db", &["No outages."]);
    terminal.runs(
        "check tcp://127.0.0.1:1 -o token=hush",
        &["no kind has an option \"token\""],
    );
    terminal.press(&["C-l", "Up", "Up"]);
    terminal.wait(&["> show db"]);
    terminal.press(&["C-c"]);
    terminal.press(&["C-d"]);
    terminal.wait(&["ended with 0", "nothing down."]);
    let file = home.path(".local/state/lapwing/history");
    assert_eq!(fs::read_to_string(&file).unwrap(), "list --search web\nshow db\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    terminal.press(&["C-l", "C-r"]);
    terminal.types("sea");
    terminal.wait(&["(sea)> list --search web"]);
    terminal.press(&["Enter"]);
    terminal.wait(&["lapwing> list --search web"]);
    daemon.stop();
}

#[test]
fn needs_tmux_a_paste_is_cleaned_and_runs_only_with_enter() {
    let (web, db) = (Door::open(), Door::open());
    let home = three(&web, &db);
    let daemon = home.start();
    let terminal = console(&home, 80);
    let paste = |text: &str| {
        terminal.tmux(&["set-buffer", text]);
        terminal.tmux(&["paste-buffer", "-p"]);
    };
    paste("pause \u{1b}[31mweb\u{7}\u{3}\r\nlist --search shop\r\n");
    terminal.wait(&["> pause web\n… list --search shop"]);
    assert!(daemon.series("web").unwrap()["paused"].is_null());
    terminal.press(&["Enter"]);
    terminal.wait(&["paused web until it is resumed", " web   paused"]);
    daemon.stop();
}

#[test]
fn needs_tmux_the_daemon_stops_and_comes_back() {
    let (web, db) = (Door::open(), Door::open());
    let home = three(&web, &db);
    let daemon = home.start();
    let terminal = console(&home, 100);
    terminal.types("list");
    terminal.wait(&["lapwing> list"]);
    daemon.stop();
    terminal.wait(&[
        "The daemon has stopped; this goes on by itself",
        "lapwing no daemon> list",
    ]);
    terminal.runs("", &["no daemon runs on "]);
    terminal.types("half");
    let daemon = home.start();
    terminal.wait(&["The daemon is back.", "lapwing> half"]);
    terminal.press(&["C-c"]);
    terminal.runs("list", &[" web two "]);
    daemon.stop();
}

#[test]
fn needs_tmux_twenty_columns_and_a_dumb_terminal_are_enough() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let terminal = consoles(&home, 20, &["", "TERM=dumb", "NO_COLOR=1"]);
    terminal.wait(&["\n1 down>"]);
    terminal.types("sil");
    terminal.wait(&["1 down> sil\n", "\nsilence"]);
    terminal.press(&["Tab"]);
    terminal.wait(&["1 down> silence"]);
    terminal.press(&["C-c"]);
    terminal.runs("show db", &["\nLast outages\n", "    refused\n1 down>"]);
    terminal.tmux(&["resize-window", "-x", "80", "-y", "20"]);
    terminal.press(&["C-d"]);
    terminal.wait(&["ended with 0\nLapwing", "lapwing 1 down>"]);
    terminal.runs("list", &["lapwing 1 down> list\n NAME     STATE"]);
    terminal.press(&["C-d"]);
    terminal.wait(&["ended with 0\nLapwing"]);
    terminal.wait(&["leaves.\nlapwing 1 down>\n"]);
    terminal.press(&["C-l"]);
    terminal.runs("list", &["lapwing 1 down> list\n NAME     STATE"]);
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(
        !coloured.contains("\u{1b}[31m") && !coloured.contains("\u{1b}[32m"),
        "{coloured:?}"
    );
    daemon.stop();
}

#[test]
fn a_script_gets_plain_lines_and_the_worst_exit_code() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    daemon.wait_state("web", "up");
    let feed = |text: &str| Ran::fed(home.lapwing().arg("console"), text);
    let ran = feed("# a comment\n\nlapwing list --search shop\ncheck web\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.out.starts_with(" NAME  STATE  TARGET") && ran.out.contains("\nup           web  tcp://"),
        "{ran:?}"
    );
    assert!(!ran.out.contains('\u{1b}') && !ran.out.contains("> "), "{ran:?}");
    let ran = feed("check db\nlist\n");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("connection refused") && ran.out.contains(" web two "),
        "{ran:?}"
    );
    let ran = feed("lsit\ncheck db\nquit\nlist\n");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("'list'") && !ran.out.contains("NAME"), "{ran:?}");
    let ran = home.run(&[
        "console",
        "-x",
        "check --json web",
        "-x",
        "check web tcp://127.0.0.1:1",
    ]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.starts_with("{\"series\":\"web\"") && ran.err.contains("\"web\" has no scheme"),
        "{ran:?}"
    );
    assert_eq!(feed("events off").code, 2);
    daemon.stop();
}

#[test]
fn check_takes_the_names_of_a_running_daemon() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let ran = home.run(&["check", "web"]);
    assert!(ran.refused().contains("\"web\" has no scheme"), "{ran:?}");
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let ran = home.run(&["check", "web", "db"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{ran:?}");
    assert!(
        ran.out.contains("up           web  tcp://") && ran.out.contains("connection refused"),
        "{ran:?}"
    );
    let ran = home.run(&["check", "wev"]);
    let said = ran.refused();
    assert!(
        said.contains("did you mean \"web\"?; a target has a scheme, like icmp://wev"),
        "{said}"
    );
    let ran = home.run(&["check", "web", "-o", "family=4"]);
    assert!(ran.refused().contains("as it is configured"), "{ran:?}");
    daemon.stop();
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let home = Home::new(QUICK);
    for args in [
        ["console"].as_slice(),
        &["list"],
        &["show", "web"],
        &["console", "-x", "list"],
    ] {
        let ran = home.run(args);
        let text = ran.refused();
        assert!(
            text.contains("no daemon runs on ") && text.contains("`lapwing run` starts one"),
            "{args:?}: {text}"
        );
    }
}

#[test]
fn a_monitor_is_shown_whole_and_a_wrong_name_is_refused() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let ran = home.run(&["show", "db"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    for text in [
        "db  down\n",
        &format!("\n  target     {}\n", db.url()),
        "\n  every      200ms\n",
        "lapwing.toml:",
        "\n  tells      ops\n",
        "[connect.refused]\n",
        "\nLast outages\n  now        ",
    ] {
        assert!(ran.out.contains(text), "{text:?}: {ran:?}");
    }
    let shape = home.json(&["show", "db", "--json"]);
    assert_eq!(
        (&shape["monitor"]["name"], &shape["series"][0]["state"]),
        (&"db".into(), &"down".into())
    );
    assert_eq!(
        home.json(&["list", "--search", "TEAM=shop", "--json"])["matching"],
        1
    );
    let ran = home.run(&["list", "--search", "nothing"]);
    assert_eq!(ran.out, "None of the 3 monitors fits.\n");
    assert!(home.run(&["show", "dbb"]).refused().contains("\"dbb\""));
    daemon.stop();
}

#[test]
fn needs_root_another_user_is_told_what_to_be() {
    let (web, db) = (Door::open(), Door::open());
    let home = three(&web, &db);
    let daemon = home.start();
    fs::set_permissions(home.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = home.path("data").display().to_string();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            PROGRAM,
            "console",
            "--data",
            &data,
        ])
        .current_dir("/")
        .stdin(std::process::Stdio::null());
    let ran = Ran::of(&mut command);
    assert!(
        ran.refused()
            .contains("run this as the user who runs the daemon, or as root"),
        "{ran:?}"
    );
    daemon.stop();
}
