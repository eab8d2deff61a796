//! Every command that stands in the README and the guides is run as it stands there, and what a page shows is what comes
//! of it. A page that has a command or an output of which no scenario knows fails, and so does a scenario that outlived
//! its page.
//!
//! Each page has a machine of its own: a network namespace in which the addresses of the guides live, and a folder. It
//! must never reach a real network.

mod daily;
mod lines;
mod reports_in;
mod tells;

use std::{
    fs::{self, File},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    kit::{Home, Ran, look, wait},
    pages::{Block, parts, root},
};

/// A network that has all that the guides name, and a `/etc` that may be written to.
const MACHINE: &str = r"
    set -e
    ip link set lo up
    for address in 192.0.2.1 192.168.1.1 1.1.1.1 9.9.9.9 203.0.113.5; do ip address add $address dev lo; done
    mount --make-rprivate /
    mount -t tmpfs tmpfs etc
    mkdir etc/upper etc/work
    mount -t overlay overlay -o lowerdir=/etc,upperdir=etc/upper,workdir=etc/work /etc
    {
        echo 127.0.0.1 localhost
        echo 127.0.0.1 monitor.example.com server.example.com example.com db.example.com
        echo 127.0.0.1 pool.ntp.org www.google.com www.example.com smtp.example.com shop.example.com
    } > /etc/hosts
    echo nameserver 127.0.0.1 > /etc/resolv.conf
";

/// The order of `sudo`, and of `cargo run`, on this machine.
const SUDO: &str = "#!/bin/sh\nexec \"$@\"\n";
const CARGO: &str =
    "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] || exit 99\nshift 3\nexec lapwing \"$@\"\n";

/// Tells what a page says by what really happens.
struct Page {
    name: &'static str,
    home: Home,
    blocks: Vec<Block>,
    /// Command lines and shown outputs that no scenario has come by yet.
    commands: Vec<String>,
    shown: Vec<String>,
    /// What `export` has set.
    exported: String,
    /// Programs that run beside the commands.
    beside: Vec<Beside>,
}

struct Beside {
    process: Child,
    group: Pid,
    out: String,
}

/// Runs the scenario of a page on a machine of its own.
fn page(name: &'static str, scenario: fn(&mut Page)) {
    let told = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let mut page = Page::open(name);
        scenario(&mut page);
        page.close();
    })
    .join();
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

/// As it is typed, without the remark behind it.
fn typed(line: &str) -> &str {
    line.split(" #").next().unwrap_or_default().trim()
}

impl Page {
    fn open(name: &'static str) -> Self {
        let home = Home::new("");
        fs::remove_file(home.path("lapwing.toml")).unwrap();
        for folder in ["etc", "bin", "target/release", ".cargo/bin"] {
            fs::create_dir_all(home.path(folder)).unwrap();
        }
        let ran = Ran::of(
            Command::new("sh")
                .args(["-c", MACHINE])
                .current_dir(home.folder()),
        );
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        let lapwing = env!("CARGO_BIN_EXE_lapwing");
        for link in ["bin/lapwing", "target/release/lapwing"] {
            std::os::unix::fs::symlink(lapwing, home.path(link)).unwrap();
        }
        for (program, text) in [("sudo", SUDO), ("cargo", CARGO)] {
            let path = home.path("bin").join(program);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let blocks = parts(&root().join(name)).0;
        let of = |language: &'static str| blocks.iter().filter(move |b| b.language == language);
        let commands = of("sh").flat_map(|block| {
            if block.text.starts_with("#!") {
                return vec![block.text.trim_end().to_owned()];
            }
            let lines = block.text.lines().map(typed).filter(|line| !line.is_empty());
            lines.map(ToOwned::to_owned).collect()
        });
        let (commands, shown) = (
            commands.collect(),
            of("text").map(|block| block.text.clone()).collect(),
        );
        Self {
            name,
            home,
            commands,
            shown,
            blocks,
            exported: String::new(),
            beside: Vec::new(),
        }
    }

    /// Writes the configuration of the page that has `part` in it.
    fn configure(&self, part: &str) {
        self.configure_with(part, &[]);
    }

    /// As [`Page::configure`], with other values in some places.
    #[track_caller]
    fn configure_with(&self, part: &str, changes: &[(&str, &str)]) {
        let mut found = self.blocks.iter().filter(|block| block.language == "toml");
        let Some(block) = found.find(|block| block.text.contains(part)) else {
            panic!("{}: no configuration has {part:?}", self.name)
        };
        fs::write(
            self.home.path("lapwing.toml"),
            changed(&block.text, changes, self.name),
        )
        .unwrap();
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.home.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Takes a command line of the page, so that it is known to be told. It may be asked for again.
    #[track_caller]
    fn take(&mut self, line: &str) {
        let before = self.commands.len();
        self.commands.retain(|command| command != line);
        let stands = before > self.commands.len() || self.stands(line);
        assert!(stands, "{}: no command {line:?}", self.name);
    }

    /// Whether a line of the page's blocks is, or ends with, `line`.
    fn stands(&self, line: &str) -> bool {
        let mut lines = self.blocks.iter().flat_map(|block| block.text.lines());
        lines.any(|own| typed(own).ends_with(line))
    }

    fn command(&self, line: &str, changes: &[(&str, &str)]) -> Command {
        let line = changed(line, changes, self.name);
        // Tests that run in the background of a shell are deaf to Ctrl-C, and what they start would be too.
        let mut command = Command::new("env");
        let bin = self.home.path("bin");
        command
            .args([
                "--default-signal=INT",
                "bash",
                "-c",
                &format!("{}{line}", self.exported),
            ])
            .current_dir(self.home.folder())
            .env_clear()
            .env("HOME", self.home.folder())
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the page, which is to succeed.
    #[track_caller]
    fn run(&mut self, line: &str) -> Ran {
        self.run_with(line, &[], 0)
    }

    /// Runs a command of the page with other values in some places, to its end with this exit code.
    #[track_caller]
    fn run_with(&mut self, line: &str, changes: &[(&str, &str)], code: i32) -> Ran {
        self.take(line);
        let ran = Ran::of(&mut self.command(line, changes));
        assert_eq!(ran.code, code, "{}: {line}: {ran:?}", self.name);
        if line.starts_with("export ") {
            self.exported += &format!("{}\n", changed(line, changes, self.name));
        }
        ran
    }

    /// Starts a command of the page and waits until it says `seen`. It runs until the page ends.
    #[track_caller]
    fn start(&mut self, line: &str, seen: &str) -> usize {
        self.start_with(line, &[], seen)
    }

    #[track_caller]
    fn start_with(&mut self, line: &str, changes: &[(&str, &str)], seen: &str) -> usize {
        self.take(line);
        let number = self.beside.len();
        let out = format!("out-{number}");
        let file = File::create(self.home.path(&out)).unwrap();
        let mut command = self.command(line, changes);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let process = command.process_group(0).spawn().unwrap();
        let group = Pid::from_raw(process.id() as i32);
        self.beside.push(Beside {
            process,
            group,
            out: out.clone(),
        });
        self.wait(&out, seen);
        number
    }

    /// Runs what no page says, and what is to succeed.
    #[track_caller]
    fn run_of_the_tests(&mut self, line: &str) -> Ran {
        let ran = Ran::of(&mut self.command(line, &[]));
        assert_eq!(ran.code, 0, "{}: {line}: {ran:?}", self.name);
        ran
    }

    /// Starts what no page says.
    #[track_caller]
    fn start_of_the_tests(&mut self, line: &str, seen: &str) -> usize {
        self.commands.push(line.to_owned());
        self.start(line, seen)
    }

    /// Waits until a series is in a state.
    #[track_caller]
    fn wait_state(&self, name: &str, state: &str) {
        wait(&format!("{name} is {state}"), || {
            let status = self.home.json(&["status", "--json"]);
            let all = status["series"].as_array()?;
            let there = all
                .iter()
                .any(|one| one["series"] == name && one["state"] == state);
            there.then_some(())
        });
    }

    /// Waits until so many series are up, and no other is there.
    #[track_caller]
    fn wait_up(&self, count: usize) {
        wait("all are up", || {
            let up = serde_json::json!({ "up": count });
            (self.home.json(&["status", "--json"])["counts"] == up).then_some(())
        });
    }

    /// Waits until `text` stands so many times in the alerts of today.
    #[track_caller]
    fn wait_alert(&self, text: &str, count: usize) {
        wait(text, || {
            let file = fs::read_dir(self.home.path("alerts")).ok()?.next()?;
            let told = fs::read_to_string(file.ok()?.path()).ok()?;
            (told.matches(text).count() >= count).then_some(())
        });
    }

    /// Runs the script of the page.
    #[track_caller]
    fn run_script(&mut self, changes: &[(&str, &str)]) {
        let scripts = |command: &&String| command.starts_with("#!");
        let script = self.commands.iter().find(scripts).unwrap().clone();
        self.run_with(&script, changes, 0);
    }

    /// Waits until a file of the folder has `text`.
    #[track_caller]
    fn wait(&self, file: &str, text: &str) {
        let found = look(|| self.home.read(file).contains(text).then_some(()));
        let has = self.home.read(file);
        assert!(
            found.is_some(),
            "{}: {text:?} is not in {file}:\n{has}",
            self.name
        );
    }

    fn signal(&self, number: usize, signal: Signal) {
        killpg(self.beside[number].group, signal).unwrap();
    }

    /// Ends a started command with Ctrl-C, and gives all that it said.
    #[track_caller]
    fn stop(&mut self, number: usize) -> String {
        self.signal(number, Signal::SIGINT);
        let beside = &mut self.beside[number];
        let ended = look(|| beside.process.try_wait().unwrap());
        assert!(ended.is_some(), "{}: it does not end", self.name);
        let out = beside.out.clone();
        self.home.read(&out)
    }

    /// Runs a command of the page until it has said `seen`, and gives what it said.
    #[track_caller]
    fn until(&mut self, line: &str, seen: &str) -> String {
        let number = self.start(line, seen);
        self.stop(number)
    }

    /// Names why a command of the page is not run here.
    #[track_caller]
    fn not_run(&mut self, line: &str, _why: &str) {
        self.take(line);
    }

    /// The shown output that has `part` is what `text` says: each of its lines stands there too, but for times, lengths,
    /// addresses, ports and other figures.
    #[track_caller]
    fn shows(&mut self, part: &str, text: &str) {
        let real: Vec<String> = text.lines().map(mask).collect();
        let shown = self.take_shown(part);
        let not_so = |line: &&str| !line.trim().is_empty() && !real.contains(&mask(line));
        let wrong: Vec<&str> = shown.lines().filter(not_so).collect();
        assert!(
            wrong.is_empty(),
            "{}: it does not say\n{}\nbut\n{text}",
            self.name,
            wrong.join("\n")
        );
    }

    /// The shown output that has `part` is exactly this.
    #[track_caller]
    fn shows_exactly(&mut self, part: &str, text: &str) {
        let shown = self.take_shown(part);
        assert_eq!(shown, text, "{}", self.name);
    }

    /// Names why a shown output cannot come of a command here.
    #[track_caller]
    fn not_shown(&mut self, part: &str, _why: &str) {
        self.take_shown(part);
    }

    #[track_caller]
    fn take_shown(&mut self, part: &str) -> String {
        let found = self.shown.iter().position(|text| text.contains(part));
        let Some(found) = found else {
            panic!("{}: nothing shown has {part:?}", self.name)
        };
        self.shown.remove(found)
    }

    /// Everything on the page has been told.
    fn close(self) {
        let untold = [self.commands.as_slice(), self.shown.as_slice()].concat();
        assert!(
            untold.is_empty(),
            "{}: no scenario knows\n{}",
            self.name,
            untold.join("\n")
        );
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.beside.clear();
        // So that the folder can be removed.
        let unmount = "umount --lazy /etc etc";
        let mut command = Command::new("sh");
        drop(
            command
                .args(["-c", unmount])
                .current_dir(self.home.folder())
                .status(),
        );
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // It may just have ended.
            if killpg(self.group, Signal::SIGKILL).is_ok() {
                drop(self.process.wait());
            }
        }
    }
}

/// Waits until so many are connected to the daemon.
#[track_caller]
fn wait_connected(count: usize) {
    wait("all follow", || {
        // Of this network; 03 is connected.
        let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        let there = |line: &&str| line.contains(" 03 ") && line.ends_with("/lapwing.sock");
        (sockets.lines().filter(there).count() >= count).then_some(())
    });
}

#[track_caller]
fn changed(text: &str, changes: &[(&str, &str)], page: &str) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{page}: {from:?} is not in {text}");
        text.replace(from, to)
    })
}

/// A line with its figures as `#`, times and units of time included, and a blank between its words.
fn mask(line: &str) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let words = line.split_whitespace().map(|word| {
        if DAYS.contains(&word) || MONTHS.split(' ').any(|month| month == word) {
            return "#".to_owned();
        }
        let mut masked = String::new();
        for c in word.chars() {
            match c {
                '0'..='9' if masked.ends_with('#') => {}
                '0'..='9' => {
                    // 17:16:32, 127.0.0.1:80, 2026-11-20 and 1.5 are a figure each.
                    let joined = masked.strip_suffix([':', '.', '-', 'T']).map(str::len);
                    match joined.filter(|end| masked[..*end].ends_with('#')) {
                        Some(end) => masked.truncate(end),
                        None => masked.push('#'),
                    }
                }
                _ => masked.push(c),
            }
        }
        for unit in ["#µs", "#ms", "#m", "#h"] {
            masked = masked.replace(unit, "#s");
        }
        masked.replace("#s#s", "#s")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The pages that have commands, each with its test.
const PAGES: &[&str] = &[
    "README.md",
    "docs/guide/adding.md",
    "docs/guide/configuration.md",
    "docs/guide/cron-jobs.md",
    "docs/guide/from-netmonitor.md",
    "docs/guide/home-line.md",
    "docs/guide/is-it-my-provider.md",
    "docs/guide/list-of-services.md",
    "docs/guide/measure-a-line.md",
    "docs/guide/notifiers.md",
    "docs/guide/packet-loss.md",
    "docs/guide/ports-with-slack.md",
    "docs/guide/run-as-a-service.md",
    "docs/guide/sensors.md",
    "docs/guide/steering.md",
    "docs/guide/telegram.md",
    "docs/guide/top.md",
    "docs/guide/troubleshooting.md",
    "docs/guide/understanding-down.md",
];

#[test]
fn every_page_with_commands_has_its_scenario() {
    let scenarios: String = ["daily", "lines", "reports_in", "tells"]
        .iter()
        .map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/transcripts/{file}.rs")))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for page in PAGES {
        assert!(scenarios.contains(&format!("page(\"{page}\"")), "{page}");
    }
    let told = |path: &Path| PAGES.iter().any(|page| root().join(page) == path);
    let has_commands = |path: &Path| parts(path).0.iter().any(|block| block.language == "sh");
    let mut all = crate::pages::files(&root().join("docs/guide"), "md", false);
    all.push(root().join("README.md"));
    for path in all.iter().filter(|path| has_commands(path)) {
        assert!(told(path), "{}", path.display());
    }
}

#[test]
fn figures_do_not_count_and_words_do() {
    assert_eq!(
        mask("2026-11-20 17:16:32  1.5ms  tcp://127.0.0.1:80."),
        "# # #s tcp://#."
    );
    assert_eq!(
        mask("2026-11-20T17:21:59.271869Z  INFO 12 sent"),
        "#Z INFO # sent"
    );
    assert_ne!(mask("1 lost"), mask("1 sent"));
}
