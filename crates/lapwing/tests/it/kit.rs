//! What every test here uses: a folder with a configuration, commands run in it, and a daemon that is watched through
//! what it says. Never waits for a time, only for things to be seen, with a deadline.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long anything may take before a test calls it lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The monotonic clock, for deadlines and for distances between what was seen.
#[expect(
    clippy::disallowed_methods,
    reason = "a test waits for real processes, with a real deadline"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Looks until `look` gives something. None when nothing came within [`PATIENCE`].
pub(crate) fn look<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = instant() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if instant() >= until {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// As [`look`], and a test that fails with `what` when nothing came.
pub(crate) fn wait<T>(what: &str, find: impl FnMut() -> Option<T>) -> T {
    look(find).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// A folder of a test's own, with its configuration.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

/// The start of every configuration: short times, and nothing on the fixed ports of the defaults.
pub(crate) const QUICK: &str = "\
[defaults]
interval = \"200ms\"
timeout = \"200ms\"
timezone = \"UTC\"
[web]
listen = \"off\"
";

impl Home {
    /// A folder with `config` as `lapwing.toml`, after [`QUICK`].
    pub(crate) fn quick(config: &str) -> Self {
        Self::new(&format!("{QUICK}{config}"))
    }

    pub(crate) fn new(config: &str) -> Self {
        let home = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        home.configure(config);
        home
    }

    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("lapwing.toml"), config).unwrap();
    }

    /// Changes the configuration as an editor would.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = self.read("lapwing.toml");
        assert!(
            text.contains(from),
            "{from:?} is not in the configuration:\n{text}"
        );
        self.configure(&text.replacen(from, to, 1));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the folder; empty when it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Lines of a file of the folder.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(ToOwned::to_owned).collect()
    }

    /// The program, to be run in the folder, seeing nothing of the developer's own environment.
    pub(crate) fn lapwing(&self) -> Command {
        self.through(&[])
    }

    /// As [`Home::lapwing`], started by `before` and its arguments: `setpriv …`, `unshare …`.
    pub(crate) fn through(&self, before: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_lapwing");
        let mut command = match before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("LAPWING_")
                || [
                    "STATE_DIRECTORY",
                    "CREDENTIALS_DIRECTORY",
                    "NO_COLOR",
                    "SUDO_USER",
                ]
                .contains(&&*text)
            {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.folder())
            .env("HOME", self.folder())
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.lapwing().args(args))
    }

    /// Runs a command that prints JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(args);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}\n{ran:?}"))
    }

    pub(crate) fn start(&self) -> Daemon {
        self.start_as(self.lapwing().arg("run"))
    }

    /// Starts a daemon that shows every check in its log.
    pub(crate) fn start_debug(&self) -> Daemon {
        self.start_as(self.lapwing().env("LAPWING_LOG", "debug").arg("run"))
    }

    /// Starts a daemon and waits until it says that it watches.
    pub(crate) fn start_as(&self, command: &mut Command) -> Daemon {
        let daemon = Daemon::spawn(command, self.path("data/lapwing.sock"));
        daemon.wait_log("watching ");
        daemon
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Feeds `input` to the command.
    pub(crate) fn fed(command: &mut Command, input: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Self::from(child.wait_with_output().unwrap())
    }

    /// The last words of a command that was refused: exit code 2, one line on standard error, nothing else.
    #[track_caller]
    pub(crate) fn refused(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (2, ""), "{self:?}");
        let text = self.err.strip_suffix('\n').unwrap_or(&self.err);
        assert!(!text.contains('\n') && !text.is_empty(), "not one line: {self:?}");
        assert!(!text.contains("panicked") && !text.contains('\u{1b}'), "{self:?}");
        text
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output
            .status
            .code()
            .unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        Self {
            code,
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// A running daemon; it is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    socket: PathBuf,
}

impl Daemon {
    pub(crate) fn spawn(command: &mut Command, socket: PathBuf) -> Self {
        Self::spawn_to(command, Stdio::piped(), socket)
    }

    /// As [`Daemon::spawn`], with a standard output of its own.
    pub(crate) fn spawn_to(command: &mut Command, out: Stdio, socket: PathBuf) -> Self {
        let mut child = command.stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log: Arc<Mutex<String>> = Arc::default();
        let copy = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut held = Vec::new();
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                held.extend_from_slice(&buffer[..count]);
                *copy.lock().unwrap() = String::from_utf8_lossy(&held).into_owned();
            }
        });
        Self {
            child,
            log,
            reader: Some(reader),
            socket,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// As the free function, with the log when nothing came.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, find: impl FnMut() -> Option<T>) -> T {
        match look(find) {
            Some(found) => found,
            None => panic!("not within {PATIENCE:?}: {what}; the log:\n{}", self.log()),
        }
    }

    /// Waits until the log says `text`, and gives the line.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) -> String {
        self.wait(text, || {
            self.log()
                .lines()
                .find(|line| line.contains(text))
                .map(ToOwned::to_owned)
        })
    }

    /// How many lines of the log hold `text`.
    pub(crate) fn count_log(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// The status, over the local socket; None while nobody answers there.
    pub(crate) fn try_status(&self) -> Option<Value> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.wait("the status", || self.try_status())
    }

    /// One series of the status; None when it is not watched.
    #[track_caller]
    pub(crate) fn series(&self, name: &str) -> Option<Value> {
        let status = self.status();
        status["series"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["series"] == name)
            .cloned()
    }

    /// Waits until a series is in a state.
    #[track_caller]
    pub(crate) fn wait_state(&self, series: &str, state: &str) -> Value {
        self.wait(&format!("{series} is {state}"), || {
            self.series(series).filter(|s| s["state"] == state)
        })
    }

    /// Waits until `count` more checks have ended: long enough for anything that would be wrong to show.
    #[track_caller]
    pub(crate) fn wait_checks(&self, count: u64) {
        let checks = |status: &Value| status["engine"]["checks"].as_u64().unwrap();
        let until = checks(&self.status()) + count;
        self.wait("more checks", || (checks(&self.status()) >= until).then_some(()));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Has the configuration read again and waits for the word on it that comes `nth`, counted from 1.
    #[track_caller]
    pub(crate) fn reload(&self, word: &str, nth: usize) {
        self.signal(Signal::SIGHUP);
        self.wait(word, || (self.count_log(word) >= nth).then_some(()));
    }

    /// Ends in good order, and gives the whole log.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let (status, log) = self.ended();
        assert!(
            status.success() && log.contains("stopped in good order"),
            "{status}\n{log}"
        );
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    /// Ends at once, as a crash would.
    pub(crate) fn kill9(mut self) -> String {
        self.signal(Signal::SIGKILL);
        self.ended().1
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let status = look(|| self.child.try_wait().unwrap());
        let Some(status) = status else {
            panic!("it does not end; the log:\n{}", self.log())
        };
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Digits as 0, so that texts with times can be compared.
pub(crate) fn shape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect()
}

/// `14:51:19` of an RFC 3339 time in UTC.
pub(crate) fn clock(rfc3339: &Value) -> String {
    rfc3339.as_str().unwrap()[11..19].to_owned()
}
