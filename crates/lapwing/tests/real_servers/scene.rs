//! The daemon on the near side, all that it tells, and the proof that what it tells is true: the reason, when it began,
//! how long it lasted, and each thing once on every way.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    certificates::Authority,
    inbox::{Inbox, Told, Way},
    place::{Place, Side},
    process::Process,
    sinks::{PASSWORD, Sinks, USER},
};

pub(crate) const LAPWING: &str = env!("CARGO_BIN_EXE_lapwing");

/// From check to check.
pub(crate) const INTERVAL: Duration = Duration::from_millis(400);
/// How long a check may take.
const TIMEOUT: Duration = Duration::from_millis(300);
/// What the machine may add: starting programs, and being busy with other tests.
const SLACK: Duration = Duration::from_secs(1);
/// How long we wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Scene<'a> {
    place: &'a Place,
    inbox: Arc<Inbox>,
    daemon: Process,
    /// Beginnings of the messages that every way must hold in the end, in the order of their series.
    expected: RefCell<Vec<String>>,
    /// How much later than the next check a change may be seen, because an answer from before is still valid.
    pub(crate) stale: Duration,
}

/// A monitor of a configuration.
pub(crate) fn monitor(name: &str, target: &str, options: &str) -> String {
    format!("[[monitor]]\nname = \"{name}\"\ntarget = \"{target}\"\n{options}\n\n")
}

impl<'a> Scene<'a> {
    /// Starts the daemon, and waits until all `monitors` are up.
    pub(crate) fn start(place: &'a Place, authority: &Authority, monitors: &str) -> Self {
        let mut scene = Self::begin(place, authority, monitors);
        scene.wait_until_up();
        scene
    }

    /// Starts the daemon, and waits until it serves.
    pub(crate) fn begin(place: &'a Place, authority: &Authority, monitors: &str) -> Self {
        let inbox = Arc::default();
        let sinks = Sinks::open(place, authority, now(), &inbox);
        let folder = place.folder();
        fs::write(folder.join("mail-ca.pem"), authority.pem()).unwrap();
        private(&folder.join("mail.password"), PASSWORD);
        fs::write(folder.join("lapwing.toml"), configure(&sinks, monitors)).unwrap();
        let mut scene = Self {
            place,
            inbox,
            daemon: daemon(place),
            expected: RefCell::default(),
            stale: Duration::ZERO,
        };
        scene.wait_until("running", |_| true);
        scene
    }

    /// Has the daemon end in good order.
    pub(crate) fn end_daemon(&mut self) {
        let status = self.daemon.end();
        assert!(status.success(), "the daemon ended with {status}");
    }

    /// Ends the daemon as a crash would.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon.stop();
    }

    /// Starts the daemon again, on the data that the last one has left, and waits until it serves.
    pub(crate) fn start_daemon(&mut self) {
        self.daemon = daemon(self.place);
        self.wait_until("running again", |_| true);
    }

    /// Waits until the daemon knows of all that it has told that it has arrived: what a crash would have it tell again.
    pub(crate) fn wait_until_told(&mut self) {
        self.wait_until("done with telling", |status| {
            let notifiers = status["notifiers"].as_array().unwrap();
            notifiers.iter().all(|one| one["waiting"] == 0)
        });
    }

    /// Breaks something, waits until it is told, mends it, waits until that is told, and proves what was told.
    /// `expected` holds the series that fall, and the code of each one's reason: several with `|` where the kernel may say either.
    pub(crate) fn outage(&self, expected: &[(&str, &str)], break_it: impl FnOnce(), mend_it: impl FnOnce()) {
        let broken = during(break_it);
        self.wait_for(expected.iter().map(|(series, _)| format!("DOWN {series}")));
        let mended = during(mend_it);
        self.wait_for(expected.iter().map(|(series, _)| format!("UP {series}")));
        for (series, code) in expected {
            let down = self.newest("down", series);
            let told = down["reason"]["code"].as_str().unwrap_or_default();
            assert!(
                code.split('|').any(|code| code == told),
                "expected {code}: {down:#}"
            );
            assert_eq!(
                (&down["state"], &down["previous"]),
                (&"down".into(), &"failing".into()),
                "{down:#}"
            );
            assert_eq!(
                down["text"].as_str().unwrap().matches("2 checks failed").count(),
                1,
                "{down:#}"
            );
            self.prove_time(time(&down, "since"), broken, &down);
            // Whatever the machine adds: the last success that is told was before the truth.
            let before = time(&down, "since") - seconds(&down, "uncertainty_s");
            assert!(
                before <= broken.1 + self.stale,
                "{before} is after {}: {down:#}",
                broken.1
            );
            let up = self.newest("up", series);
            assert_eq!(
                (&up["state"], &up["since"]),
                (&"up".into(), &down["since"]),
                "{up:#}"
            );
            self.prove_time(time(&up, "ended"), mended, &up);
            self.prove_length(&up, broken, mended);
        }
    }

    /// A change at some time in `span` was seen at `seen` or by a check that was under way, or by the next one.
    fn prove_time(&self, seen: Timestamp, span: (Timestamp, Timestamp), event: &Value) {
        let earliest = span.0 - TIMEOUT;
        let latest = span.1 + INTERVAL + SLACK + self.stale;
        assert!(
            earliest <= seen && seen <= latest,
            "{seen} is not in {earliest} to {latest}: {event:#}"
        );
    }

    /// The true length lies within what is told plus or minus its uncertainty, and what a check takes.
    fn prove_length(&self, up: &Value, broken: (Timestamp, Timestamp), mended: (Timestamp, Timestamp)) {
        let told = seconds(up, "duration_s").as_secs_f64();
        let margin = seconds(up, "uncertainty_s").as_secs_f64();
        let between = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
        let margin_max = (INTERVAL + SLACK + self.stale).as_secs_f64();
        assert!(
            margin <= margin_max,
            "± {margin} s is more than {margin_max} s: {up:#}"
        );
        let error = margin + (TIMEOUT + self.stale).as_secs_f64();
        let (shortest, longest) = (between(broken.1, mended.0), between(broken.0, mended.1));
        assert!(
            told - error <= longest && told + error >= shortest,
            "{told} ± {error} s, in truth {shortest} to {longest} s: {up:#}"
        );
    }

    /// Waits until every way holds these messages as well as all that were expected before.
    pub(crate) fn wait_for(&self, starts: impl Iterator<Item = String>) {
        let mut expected = self.expected.borrow_mut();
        expected.extend(starts);
        let all_told = |told: &[Told]| {
            let complete = Way::ALL.into_iter().all(|way| {
                expected.iter().all(|start| {
                    let wanted = expected.iter().filter(|other| *other == start).count();
                    count(told, way, start) >= wanted
                })
            });
            complete.then_some(())
        };
        let come = self.inbox.wait(PATIENCE, all_told);
        assert!(
            come.is_some(),
            "expected {expected:#?}\ngot {:#?}",
            self.inbox.all()
        );
    }

    /// Waits until every way holds a message that begins and ends so. The subject of a mail has no full stop.
    pub(crate) fn wait_for_text(&self, start: &str, end: &str) {
        let all_told = |told: &[Told]| {
            let complete = Way::ALL.into_iter().all(|way| {
                let fits = |told: &&Told| {
                    told.way == way
                        && told.text.starts_with(start)
                        && told.text.trim_end_matches('.').ends_with(end)
                };
                told.iter().any(|told| fits(&told))
            });
            complete.then_some(())
        };
        let come = self.inbox.wait(PATIENCE, all_told);
        assert!(
            come.is_some(),
            "expected {start} … {end}\ngot {:#?}",
            self.inbox.all()
        );
    }

    /// The newest event of this kind about `series`, as the webhook has it.
    pub(crate) fn newest(&self, kind: &str, series: &str) -> Value {
        let told = self.inbox.all();
        let found = told
            .into_iter()
            .rev()
            .find(|told| told.event["event"] == kind && told.event["series"] == series);
        found.unwrap_or_else(|| panic!("no {kind} of {series}")).event
    }

    /// The body of the mail that came after STARTTLS and a login and has this id.
    pub(crate) fn mail(&self, id: &Value) -> String {
        let told = self.inbox.all();
        let same = |told: &&Told| told.way == Way::SafeMail && told.id.as_deref() == id.as_str();
        let mail = told.iter().find(same);
        mail.unwrap_or_else(|| panic!("no mail {id}: {told:#?}"))
            .body
            .clone()
    }

    /// All events that the webhook has, in their order.
    pub(crate) fn events(&self) -> Vec<Value> {
        let told = self.inbox.all();
        told.into_iter()
            .filter(|told| told.way == Way::Webhook)
            .map(|told| told.event)
            .collect()
    }

    /// The daemon's own view of all series.
    pub(crate) fn status(&self) -> Value {
        // Its socket is a file: this needs no way into the namespace.
        let output = Command::new(LAPWING)
            .args(["status", "--json", "--data"])
            .arg(self.data())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Waits until the daemon's view is `right`.
    pub(crate) fn wait_until(&mut self, what: &str, right: impl Fn(&Value) -> bool) {
        let started = now();
        loop {
            let status = self.status();
            if status["running"] == true && right(&status) {
                return;
            }
            assert!(self.daemon.is_running(), "the daemon has ended");
            assert!(
                now() < started + PATIENCE,
                "not {what} after {PATIENCE:?}: {status:#}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn wait_until_up(&mut self) {
        self.wait_until("all up", |status| {
            let series = status["series"].as_array();
            series.is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["state"] == "up"))
        });
    }

    fn data(&self) -> PathBuf {
        self.place.folder().join("data")
    }

    /// What `lapwing report` prints of the last hour, its times in UTC.
    pub(crate) fn report(&self, format: &str) -> String {
        report(&self.data(), format)
    }

    /// Stops the daemon, and proves that every way holds each message once, in order, and no other.
    pub(crate) fn finish(mut self) {
        self.end_daemon();
        let (told, expected) = (self.inbox.all(), self.expected.borrow());
        for way in Way::ALL {
            let of_way: Vec<&Told> = told.iter().filter(|told| told.way == way).collect();
            let texts: Vec<&str> = of_way.iter().map(|told| &*told.text).collect();
            assert_eq!(
                texts.len(),
                expected.len(),
                "{way:?}: {texts:#?}\nexpected {expected:#?}"
            );
            for series in expected.iter().map(|start| start.split_once(' ').unwrap().1) {
                let about = |start: &&String| start.ends_with(&format!(" {series}"));
                let wanted: Vec<&String> = expected.iter().filter(about).collect();
                let got = of_way
                    .iter()
                    .filter(|told| wanted.iter().any(|start| told.starts(start)));
                let in_order = got
                    .zip(&wanted)
                    .filter(|(told, start)| told.starts(start))
                    .count();
                assert_eq!(
                    in_order,
                    wanted.len(),
                    "{way:?}: {texts:#?}\nexpected in this order {wanted:#?}"
                );
            }
        }
        prove_identity(&told);
    }

    /// As [`Scene::finish`], when `number` messages have come that begin with `start`.
    pub(crate) fn finish_with(self, start: &str, number: usize) {
        self.expected
            .borrow_mut()
            .extend(std::iter::repeat_n(start.to_owned(), number));
        self.finish();
    }

    /// The outages that `lapwing report` knows after the daemon has ended.
    pub(crate) fn finish_with_report(self) -> Value {
        let data = self.data();
        self.finish();
        serde_json::from_str(&report(&data, "json")).unwrap()
    }
}

/// What `lapwing report` prints of the last hour of a data folder, its times in UTC.
pub(crate) fn report(data: &Path, format: &str) -> String {
    let mut report = Command::new(LAPWING);
    report.args(["report", "--format", format, "--last", "1h", "--data"]);
    let output = report.arg(data).env("TZ", "UTC").output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Starts `lapwing run` on the near side, with the configuration in the folder of the place.
fn daemon(place: &Place) -> Process {
    let mut command = place.command(Side::Near, LAPWING);
    command
        .arg("run")
        .arg("--config")
        .arg(place.folder().join("lapwing.toml"));
    Process::start(&mut command, place.folder().join("daemon.log"))
}

/// Writes a file that its owner alone can read.
pub(crate) fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A message is the same on every way: by its id where there is one, else by its text.
fn prove_identity(told: &[Told]) {
    for event in told.iter().filter(|told| told.way == Way::Webhook) {
        assert_eq!(event.event["resent"], false, "{event:?}");
        for way in [Way::Webhook, Way::Mail, Way::SafeMail] {
            let same = told
                .iter()
                .filter(|other| other.way == way && other.id == event.id)
                .count();
            assert_eq!(same, 1, "{way:?} holds {event:?} {same} times");
        }
        let same = told
            .iter()
            .filter(|other| other.way == Way::Slack && other.text == event.text)
            .count();
        assert!(same >= 1, "Slack does not hold {event:?}");
    }
}

fn count(told: &[Told], way: Way, start: &str) -> usize {
    told.iter()
        .filter(|told| told.way == way && told.starts(start))
        .count()
}

fn configure(sinks: &Sinks, monitors: &str) -> String {
    let Sinks {
        http,
        mail,
        safe_mail,
    } = sinks;
    let (interval, timeout) = (INTERVAL.as_millis(), TIMEOUT.as_millis());
    format!(
        r#"
[defaults]
interval = "{interval}ms"
timeout = "{timeout}ms"
failure_threshold = 2

{monitors}
[notify.slack]
type = "slack"
webhook_url = "http://127.0.0.1:{http}/slack"

[notify.hook]
type = "webhook"
url = "http://127.0.0.1:{http}/hook"

[notify.mail]
type = "email"
server = "127.0.0.1"
port = {mail}
tls = "none"
from = "lapwing@lapwing.test"
to = ["ops@lapwing.test"]

[notify.safe_mail]
type = "email"
server = "127.0.0.1"
port = {safe_mail}
tls = "starttls"
ca = "mail-ca.pem"
username = "{USER}"
password = {{ file = "mail.password" }}
from = "lapwing@lapwing.test"
to = ["ops@lapwing.test"]

[web]
listen = "off"

[store]
path = "data"
"#
    )
}

/// The time of the wall clock, which the daemon reads, too.
#[expect(
    clippy::disallowed_methods,
    reason = "the truth that the daemon's times are compared with"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Does `it`, and says between when and when.
pub(crate) fn during(it: impl FnOnce()) -> (Timestamp, Timestamp) {
    let begin = now();
    it();
    (begin, now())
}

pub(crate) fn time(event: &Value, key: &str) -> Timestamp {
    let text = event[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key}: {event:#}"));
    text.parse().unwrap()
}

pub(crate) fn seconds(event: &Value, key: &str) -> Duration {
    let number = event[key].as_f64();
    Duration::from_secs_f64(number.unwrap_or_else(|| panic!("no {key}: {event:#}")))
}

/// What one `lapwing check` on the near side finds. Facts in full.
pub(crate) fn check(place: &Place, options: &[&str], target: &str) -> Value {
    let mut command = place.command(Side::Near, LAPWING);
    command.args(["check", "--json"]);
    for option in options {
        command.args(["-o", option]);
    }
    let output = command.arg(target).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{target}: {error}: {complaint}"))
}
