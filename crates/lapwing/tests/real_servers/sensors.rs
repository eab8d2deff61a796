//! Machines that report in: `lapwing sensor` on one of them, what it says, and the ways in which it falls silent.

use std::{
    cell::RefCell,
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    place::{Place, Side},
    process::Process,
    scene::{LAPWING, now},
};

/// From beat to beat.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// How long we wait for something that must be said.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sensor and the machine on which it runs. The machine keeps its folder for the state over every start.
pub(crate) struct Sensor<'a> {
    place: &'a Place,
    side: Side,
    name: &'static str,
    args: Vec<String>,
    process: RefCell<Option<Process>>,
}

impl<'a> Sensor<'a> {
    /// A sensor with a key of its own, in a file beside the daemon's configuration, as `lapwing sensor keygen` makes it.
    pub(crate) fn keyed(place: &'a Place, side: Side, name: &'static str, server: &str) -> Self {
        let key = place.folder().join(format!("{name}.key"));
        let mut keygen = Command::new(LAPWING);
        keygen.args(["sensor", "keygen", "--out"]).arg(&key);
        let made = keygen.stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = key.display().to_string();
        let args = ["--server", server, "--id", name, "--key-file", &key];
        Self::new(place, side, name, &args)
    }

    /// A sensor without a key, by the configuration of the original's.
    pub(crate) fn plain(place: &'a Place, side: Side, name: &'static str, server: &str) -> Self {
        let file = place.folder().join(format!("{name}.json"));
        let original = serde_json::json!({ "server": server, "port": 7777 });
        fs::write(&file, original.to_string()).unwrap();
        Self::new(place, side, name, &["--config", &file.display().to_string()])
    }

    fn new(place: &'a Place, side: Side, name: &'static str, args: &[&str]) -> Self {
        let sensor = Self {
            place,
            side,
            name,
            args: args.iter().map(ToString::to_string).collect(),
            process: RefCell::default(),
        };
        sensor.start();
        sensor
    }

    /// The monitor that this sensor reports to, down when it was last heard 3 s ago.
    pub(crate) fn monitor(name: &str, who: &str) -> String {
        let period = PERIOD.as_secs();
        format!(
            "[[monitor]]\nname = \"{name}\"\ntarget = \"heartbeat:{name}\"\nperiod = \"{period}s\"\ndown_after = \"3s\"\n{who}\n"
        )
    }

    /// As [`Sensor::monitor`], of a sensor with a key.
    pub(crate) fn keyed_monitor(name: &str) -> String {
        Self::monitor(name, &format!("key = {{ file = \"{name}.key\" }}"))
    }

    /// Starts it as the machine's service manager would.
    pub(crate) fn start(&self) {
        let command = self.place.command(self.side, LAPWING);
        self.start_by(command);
    }

    /// Starts it on the same machine, which has booted a second ago.
    pub(crate) fn start_after_boot(&self) {
        let text = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: u64 = text.split('.').next().unwrap().parse().unwrap();
        let offset = format!("-{}", uptime.saturating_sub(1));
        let mut command = self.place.command(self.side, "unshare");
        command.args(["--time", "--boottime", &offset, "--fork", "--kill-child", LAPWING]);
        self.start_by(command);
    }

    fn start_by(&self, mut command: Command) {
        let folder = self.place.folder();
        command.args(["sensor", "--verbose", "--period"]);
        command.arg(format!("{}s", PERIOD.as_secs())).args(&self.args);
        command
            .arg("--state")
            .arg(folder.join(format!("{}-state", self.name)));
        command.env_remove("LAPWING_SENSOR_KEY");
        let log = folder.join(format!("{}.log", self.name));
        *self.process.borrow_mut() = Some(Process::start(&mut command, log));
    }

    /// Ends it without a word, as a crash would.
    pub(crate) fn kill(&self) {
        self.process.borrow_mut().as_mut().unwrap().stop();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&self) {
        let status = self.process.borrow_mut().as_mut().unwrap().end();
        assert!(status.success(), "the sensor ended with {status}");
    }

    /// How many lines of all that it has said hold `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        let said = self.process.borrow().as_ref().unwrap().said();
        said.lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until `more` further lines hold `text`, and so for as many beats.
    pub(crate) fn wait_for(&self, more: usize, text: &str) {
        let (until, started) = (self.count(text) + more, now());
        while self.count(text) < until {
            assert!(
                now() < started + PATIENCE,
                "{} has not said {more} times: {text}",
                self.name
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a script does once a second, until this value goes.
pub(crate) struct Script(Process);

impl Script {
    /// On the far side.
    pub(crate) fn start(place: &Place, line: &str) -> Self {
        let mut command = place.command(Side::Far, "sh");
        command.args(["-c", &format!("while :; do {line}; sleep 1; done")]);
        Self(Process::start(&mut command, place.folder().join("script.log")))
    }

    pub(crate) fn stop(mut self) {
        self.0.stop();
    }
}

/// The line of a script that sends a datagram by netcat from each of these addresses. Not with `-w0`, by which netcat
/// also ends when what it shall send is not there yet.
pub(crate) fn netcat(sources: &[&str], text: &str) -> String {
    crate::place::need("nc");
    let one = |source: &&str| format!("printf '%s' '{text}' | nc -u -q0 -s {source} 10.77.0.1 7777");
    sources.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The line of a script that pings for a job by curl, and says the status of the answer.
pub(crate) fn curl(path: &str, body: Option<&str>) -> String {
    crate::place::need("curl");
    let body = body.map_or(String::new(), |body| format!("--data-raw '{body}' "));
    format!("curl -sS -m 10 -o /dev/null -w '%{{http_code}}' {body}http://10.77.0.1:7778/ping/{path}")
}

/// Runs a line of a script once, on the far side. Gives what it said.
pub(crate) fn once(place: &Place, line: &str) -> String {
    place.run(Side::Far, "sh", &["-c", line])
}
