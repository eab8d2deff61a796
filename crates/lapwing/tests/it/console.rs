//! `lapwing console`, `list` and `show`: what a person sees who types, and what a script gets.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    kit::{Home, QUICK, Ran, look, wait},
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

    /// Clears the line. Of keys that come in one batch with Ctrl-C the editor drops those behind it, so nothing may be
    /// typed before the prompt is empty.
    #[track_caller]
    fn clears(&self) {
        self.press(&["C-c"]);
        self.rests();
    }

    /// Leaves nothing but an empty prompt on the screen.
    #[track_caller]
    fn wipes(&self) {
        self.press(&["C-l"]);
        self.wait_for("a bare screen", |screen| {
            screen.lines().count() == 1 && screen.ends_with('>')
        });
    }

    /// Waits for an empty prompt.
    #[track_caller]
    fn rests(&self) {
        self.wait_for("an empty prompt", |screen| screen.ends_with('>'));
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) {
        let seen = look(|| Some(self.screen()).filter(|screen| is_there(screen.trim())));
        assert!(seen.is_some(), "not {what}:\n{}", self.screen());
    }

    /// Presses Tab, and waits until the menu shows `word` as chosen: keys that come in one batch choose the first.
    #[track_caller]
    fn chooses(&self, word: &str) {
        self.press(&["Tab"]);
        wait(word, || (self.reversed() == word).then_some(()));
    }

    /// What stands on the screen in reverse.
    fn reversed(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p", "-e"]);
        let (mut text, mut is_reversed) = (String::new(), false);
        for piece in screen.split("\u{1b}[").skip(1) {
            let (style, shown) = piece.split_once('m').unwrap();
            for part in style.split(';') {
                is_reversed = part == "7" || is_reversed && part != "0";
            }
            text.extend(shown.chars().filter(|_| is_reversed));
        }
        text
    }

    /// The console that runs now.
    fn console(&self) -> Pid {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        child(Pid::from_raw(shell.trim().parse().unwrap()))
    }

    /// Types a line, and waits for what comes of it and for the prompt: before that, Ctrl-D is not for the console.
    #[track_caller]
    fn runs(&self, line: &str, texts: &[&str]) -> String {
        self.types(line);
        self.press(&["Enter"]);
        let seen = self.wait(texts);
        self.rests();
        seen
    }
}

/// The process that `parent` has started and waits for.
#[track_caller]
fn child(parent: Pid) -> Pid {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let first = || {
        fs::read_to_string(&children)
            .unwrap()
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    Pid::from_raw(wait("a child", first))
}

/// Also of one that nobody has asked about yet.
#[track_caller]
fn gone(process: Pid) {
    let name = format!("/proc/{process}/cmdline");
    wait("the end of a process", || {
        fs::read(&name).unwrap_or_default().is_empty().then_some(())
    });
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
    terminal.wipes();
    terminal.runs(
        "list",
        &[" NAME  STATE  TARGET", " shop  up     tcp://", "200ms  added by "],
    );
    terminal.runs("check shop", &["up           shop  tcp://"]);
    door.close();
    terminal.wait(&["DOWN shop (tcp://", "lapwing 1 down>"]);
    terminal.runs("pause shop", &["paused shop until it is resumed", "lapwing>"]);
    terminal.runs("remove shop", &["removed shop"]);
    terminal.wipes();
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
    terminal.chooses("web");
    terminal.chooses("'web two'");
    terminal.press(&["Enter"]);
    terminal.wait(&["> pause 'web two'"]);
    terminal.types("--f");
    terminal.wait(&["--for  For so long"]);
    terminal.press(&["Tab"]);
    terminal.runs("1h", &["> pause 'web two' --for 1h", "paused web two until "]);
    terminal.types("list --search t");
    terminal.wait(&["team=shop"]);
    terminal.clears();
    terminal.types("check tcp://h:1 -o family=");
    terminal.wait(&["family=both"]);
    terminal.clears();
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
    terminal.clears();
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
    terminal.wait(&["^C"]);
    terminal.rests();
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
    terminal.wipes();
    terminal.press(&["Up", "Up"]);
    terminal.wait(&["> show db"]);
    terminal.clears();
    terminal.press(&["C-d"]);
    terminal.wait(&["ended with 0", "nothing down."]);
    let file = home.path(".local/state/lapwing/history");
    assert_eq!(fs::read_to_string(&file).unwrap(), "list --search web\nshow db\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    terminal.wipes();
    terminal.press(&["C-r"]);
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
    terminal.clears();
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
    terminal.clears();
    terminal.runs("show db", &["\nLast outages\n", "    refused\n1 down>"]);
    terminal.tmux(&["resize-window", "-x", "80", "-y", "20"]);
    terminal.press(&["C-d"]);
    terminal.wait(&["ended with 0\nLapwing", "lapwing 1 down>"]);
    terminal.runs("list", &["lapwing 1 down> list\n NAME     STATE"]);
    terminal.press(&["C-d"]);
    terminal.wait(&["ended with 0\nLapwing"]);
    terminal.wait(&["leaves.\nlapwing 1 down>\n"]);
    terminal.wipes();
    // The same menus, without colours.
    terminal.types("pause w");
    terminal.wait(&["> pause w\nweb ", "'web two'"]);
    terminal.chooses("web");
    terminal.chooses("'web two'");
    terminal.press(&["Enter"]);
    terminal.wait(&["> pause 'web two'"]);
    terminal.types("--f");
    terminal.wait(&["--for  For so long"]);
    terminal.clears();
    terminal.wipes();
    terminal.runs("list", &["lapwing 1 down> list\n NAME     STATE"]);
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(
        ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[90m"]
            .iter()
            .all(|colour| !coloured.contains(colour)),
        "{coloured:?}"
    );
    daemon.stop();
}

#[test]
fn needs_tmux_tab_completes_the_whole_word_under_the_cursor() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let terminal = console(&home, 100);
    terminal.rests();
    terminal.types("show db --json");
    terminal.wait(&["> show db --json"]);
    terminal.press(&["Home", "Right", "Right"]);
    terminal.press(&["Tab"]);
    // The cursor is behind the word now.
    terminal.types("X");
    terminal.wait(&["> showX db --json"]);
    terminal.press(&["BSpace"]);
    terminal.press(&["End"]);
    terminal.types(" ev");
    terminal.wait(&["> show db --json ev"]);
    terminal.clears();
    terminal.types("events o");
    terminal.wait(&["on   Events appear", "off  They no longer do"]);
    terminal.clears();
    terminal.runs("?", &["notify ", "Ctrl-D"]);
    daemon.stop();
}

#[test]
fn needs_tmux_of_many_names_what_is_common_is_completed() {
    let one = |n: usize| {
        let from = format!("127.1.{}.{}", n / 250, n % 250 + 1);
        format!(
            "[[monitor]]\nname = \"host-{n:04}\"\ntarget = \"heartbeat:h{n}\"\nperiod = \"1h\"\nfrom = [\"{from}\"]\n"
        )
    };
    let home = Home::quick(
        &("[heartbeat]\nlisten = \"127.0.0.1:0\"\n".to_owned() + &(0..1_200).map(one).collect::<String>()),
    );
    let file = home.path(".local/state/lapwing/history");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    symlink(home.path("elsewhere"), &file).unwrap();
    let daemon = home.start();
    let terminal = console(&home, 80);
    terminal.wait(&["what you type is not kept: ", "it is a symbolic link"]);
    terminal.rests();
    terminal.wipes();
    terminal.types("show host-0");
    terminal.wait(&["> show host-0\n", "… and more"]);
    terminal.chooses("host-0000");
    terminal.wait(&["> show host-0\n"]);
    terminal.clears();
    terminal.wipes();
    terminal.types("show ho");
    terminal.wait(&["> show ho\n"]);
    terminal.press(&["Tab"]);
    terminal.wait(&["> show host-\n"]);
    terminal.clears();
    terminal.wipes();
    // Nothing was added, is down or is paused: nothing is offered.
    for line in [
        "remove host",
        "ack host",
        "resume host",
        "add sh",
        "list --interval 12",
    ] {
        terminal.types(line);
        terminal.press(&["Tab"]);
        // The line runs with the next Enter: no menu takes it.
        terminal.press(&["Enter"]);
        terminal.wait(&[&format!("> {line}\n")]);
        terminal.rests();
        assert!(!terminal.scrolled().contains("NO RECORDS"), "{line}");
        terminal.wipes();
    }
    assert!(!home.path("elsewhere").exists());
    daemon.stop();
}

#[test]
fn needs_tmux_a_signal_ends_the_console_and_what_runs_in_it() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let terminal = consoles(&home, 100, &["A=1", "A=2", "A=3", "A=4", "TERM=dumb"]);
    let ended = |times: usize| {
        let seen = || terminal.scrolled().matches("ended with 0").count() == times;
        wait("the end of a console", || seen().then_some(()));
    };
    for (times, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGHUP), (3, Signal::SIGQUIT)] {
        terminal.rests();
        terminal.types("half a line");
        terminal.wait(&["> half a line"]);
        kill(terminal.console(), signal).unwrap();
        ended(times);
        terminal.rests();
    }
    terminal.types("events --follow");
    terminal.press(&["Enter"]);
    let console = terminal.console();
    let follows = child(console);
    kill(console, Signal::SIGTERM).unwrap();
    ended(4);
    gone(follows);
    terminal.rests();
    kill(terminal.console(), Signal::SIGTERM).unwrap();
    let end = terminal.wait(&[" echo "]);
    assert!(!end.contains("-icanon"), "{end}");
    daemon.stop();
}

#[test]
fn needs_tmux_the_console_ends_with_its_terminal() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    daemon.wait_state("db", "down");
    let terminal = console(&home, 80);
    terminal.rests();
    let console = terminal.console();
    terminal.tmux(&["kill-server"]);
    gone(console);
    daemon.stop();
}

#[test]
fn a_script_whose_command_is_interrupted_runs_no_more() {
    let (web, db) = (Door::open(), Door::closed());
    let home = three(&web, &db);
    let daemon = home.start();
    // Tests that run in the background of a shell are deaf to it, and what they start would be too.
    let mut console = home.through(&["env", "--default-signal=INT"]);
    console.args(["console", "-x", "events --follow", "-x", "list"]);
    let console = console.stdout(Stdio::piped()).spawn().unwrap();
    let process = Pid::from_raw(i32::try_from(console.id()).unwrap());
    kill(child(process), Signal::SIGINT).unwrap();
    let ran = console.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(130), "{ran:?}");
    assert!(
        !String::from_utf8_lossy(&ran.stdout).contains("TARGET"),
        "{ran:?}"
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
    let help = feed("help").out;
    assert!(help.contains("notify") && help.contains("Ctrl-D"), "{help}");
    for asked in ["--help", "-h", "?", "lapwing --help"] {
        let ran = feed(asked);
        assert_eq!((ran.code, &ran.out), (0, &help), "{asked}: {ran:?}");
    }
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
        .stdin(Stdio::null());
    let ran = Ran::of(&mut command);
    assert!(
        ran.refused()
            .contains("run this as the user who runs the daemon, or as root"),
        "{ran:?}"
    );
    daemon.stop();
}
