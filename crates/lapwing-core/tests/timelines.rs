//! Timelines as data: what happens, second by second, and what is told. Each file in `timelines/` is one story.

#![expect(clippy::disallowed_methods, reason = "the stories lie in files")]

use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use lapwing_core::{
    event::Event,
    heartbeat::{Account, Beat, BeatRule, BeatStanding, Cron, Due, Hindrance, Proof, Signal, Wait},
    lookout::{Effect, Input, Lookout, Restored},
    loss::LossPolicy,
    monitor::{DownRule, Monitor, NotifierPolicy, Plan, Policy, ResetFailures, Series},
    observation::{Observation, Outcome, Reason, Sample},
    time::{Mono, Now, Wall, parse_duration},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What the story shows.
    about: String,
    /// The wall clock at second 0.
    start: jiff::Timestamp,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    policy: Keys,
    /// Beats from a second to another, every so many seconds. With them the target is a heartbeat, and never asked.
    #[serde(default)]
    beats: Vec<(u64, u64, u64)>,
    /// Single beats: `SECOND SIGNAL [uptime=S] [running=S] [silent=S] [lost=N] [noroute] [: what came with it]`.
    #[serde(default)]
    said: Vec<String>,
    /// Seconds in which our socket loses what arrives.
    #[serde(default)]
    deaf: Vec<(u64, u64)>,
    /// What the target answers from a second on: `up`, `down`, `late` (inconclusive), `degraded`.
    #[serde(default)]
    truth: Vec<(u64, String)>,
    /// Set the wall clock by so many seconds at a second.
    #[serde(default)]
    clock: Vec<(u64, i64)>,
    /// Killed at the first second, started again at the other.
    #[serde(default)]
    crash: Vec<(u64, u64)>,
    until: u64,
    /// Lines `second: text`.
    told: Vec<String>,
    /// Seconds at which probes begin, where the story is about the schedule.
    #[serde(default)]
    probes: Option<Vec<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Keys {
    interval: Option<String>,
    retry_interval: Option<String>,
    recovery_interval: Option<String>,
    failure_threshold: Option<u32>,
    recovery_threshold: Option<u32>,
    window: Option<(u32, u32, u32)>,
    #[serde(default)]
    reset_failures: String,
    #[serde(default)]
    remind: Vec<String>,
    loss: Option<(u32, u64, u32)>,
    period: Option<String>,
    cron: Option<String>,
    grace: Option<String>,
    down_after: Option<String>,
}

#[test]
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timelines");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("folder")
        .map(|f| f.expect("file").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the stories are gone");
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let story: Story = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let (told, probes) = Teller::new(&story).play();
        if told != story.told || story.probes.as_ref().is_some_and(|p| *p != probes) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            write!(
                wrong,
                "\n== {name}: {}\ntold:\n  {}\nprobes: {probes:?}",
                story.about,
                told.join("\n  ")
            )
            .expect("string");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

struct Teller<'a> {
    story: &'a Story,
    lookout: Lookout,
    stored: Store,
    /// The last seconds' observations are lost in a crash.
    history: Vec<Observation>,
    told: Vec<String>,
    probes: Vec<u64>,
    wall_step: i64,
}

#[derive(Default)]
struct Store {
    standing: Option<lapwing_core::judge::Standing>,
    beats: Option<BeatStanding>,
    watch: Option<(Wall, Wall)>,
    offline: Option<(Wall, Reason)>,
}

fn plan(story: &Story) -> Plan {
    let keys = &story.policy;
    let duration = |text: &Option<String>| text.as_ref().map(|t| parse_duration(t).expect("duration"));
    let interval = duration(&keys.interval).unwrap_or(Duration::from_secs(30));
    let retry_interval = duration(&keys.retry_interval).unwrap_or(interval);
    let zone = jiff::tz::TimeZone::get(story.timezone.as_deref().unwrap_or("UTC")).expect("zone");
    let rule = match (keys.window, keys.failure_threshold.unwrap_or(3)) {
        (Some((of, fail, recover)), _) => DownRule::Window { of, fail, recover },
        (None, 0) => DownRule::Off,
        (None, failures) => DownRule::Consecutive {
            failures,
            successes: keys.recovery_threshold.unwrap_or(1),
        },
    };
    let policy = Policy {
        interval,
        retry_interval,
        recovery_interval: duration(&keys.recovery_interval).unwrap_or(retry_interval),
        rule,
        reset_failures: if keys.reset_failures == "hourly" {
            ResetFailures::Hourly
        } else {
            ResetFailures::Never
        },
        loss: keys.loss.map(|(window, change, min)| LossPolicy {
            window,
            change_milli: change * 1000,
            min,
        }),
        remind: keys
            .remind
            .iter()
            .map(|t| parse_duration(t).expect("duration"))
            .collect(),
        zone: zone.clone(),
        beats: beat_rule(keys),
    };
    let passive = policy.beats.is_some();
    let monitor = Arc::new(Monitor {
        name: if passive { "home" } else { "web" }.to_owned(),
        labels: Vec::new(),
        policy,
        notify: vec!["ops".into()],
    });
    let series = Series {
        key: "web".into(),
        name: monitor.name.clone(),
        monitor,
        target: if passive { "heartbeat:home" } else { "https://web" }.to_owned(),
        kind: if passive { "heartbeat" } else { "https" },
        host: "web".to_owned(),
        loopback: passive,
        overlaps: false,
    };
    let ops = NotifierPolicy {
        name: "ops".into(),
        on: None,
        rate_limit: None,
        give_up: Duration::from_secs(1),
        local: true,
    };
    Plan {
        series: vec![Arc::new(series)],
        notifiers: vec![ops],
        zone: Some(zone),
        adopt: None,
    }
}

fn beat_rule(keys: &Keys) -> Option<Arc<BeatRule>> {
    let duration = |text: &Option<String>| text.as_ref().map(|t| parse_duration(t).expect("duration"));
    let due = match (&keys.cron, duration(&keys.period)) {
        (Some(cron), _) => Due::Cron(Cron::parse(cron).expect("cron")),
        (None, Some(period)) => Due::Every(period),
        (None, None) => return None,
    };
    let wait = match duration(&keys.down_after) {
        Some(wait) => Wait::DownAfter(wait),
        None => Wait::Grace(duration(&keys.grace)?),
    };
    Some(Arc::new(BeatRule { due, wait }))
}

/// Reads a line of `said`.
fn said(line: &str, at: Wall) -> (u64, Beat) {
    let (words, note) = match line.split_once(':') {
        Some((words, note)) => (words, Some(note.trim().into())),
        None => (line, None),
    };
    let mut words = words.split_whitespace();
    let second = words.next().expect("second").parse().expect("second");
    let mut beat = beat(at + Duration::from_secs(second));
    beat.note = note;
    let mut account = Account {
        silent: Duration::ZERO,
        lost: 0,
        hindrance: Hindrance::Unanswered,
    };
    for word in words {
        let (word, number) = word.split_once('=').unwrap_or((word, "0"));
        let number: u64 = number.parse().expect("number");
        let length = Duration::from_secs(number);
        match word {
            "ping" => {}
            "boot" => beat.signal = Signal::Boot,
            "stop" => beat.signal = Signal::Stop,
            "start" => beat.signal = Signal::Start,
            "fail" => beat.signal = Signal::Fail,
            "exit" => beat.signal = Signal::Exit(number as u8),
            "uptime" => beat.uptime = Some(length),
            "running" => beat.running = Some(length),
            "silent" => account.silent = length,
            "lost" => account.lost = number as u32,
            "noroute" => account.hindrance = Hindrance::NoRoute,
            other => panic!("{other}"),
        }
    }
    beat.account = (!account.silent.is_zero()).then_some(account);
    (second, beat)
}

fn beat(at: Wall) -> Beat {
    Beat {
        at,
        signal: Signal::Ping,
        proof: Proof::Keyed,
        source: None,
        uptime: None,
        running: None,
        account: None,
        mark: None,
        note: None,
    }
}

impl<'a> Teller<'a> {
    fn new(story: &'a Story) -> Self {
        let now = Now {
            wall: Wall(story.start.as_microsecond()),
            mono: Mono(1_000_000_000),
        };
        let mut lookout = Lookout::new(1, |_| String::new(), Restored::default(), now);
        lookout.handle(Input::Plan(plan(story)), now);
        Self {
            story,
            lookout,
            stored: Store::default(),
            history: Vec::new(),
            told: Vec::new(),
            probes: Vec::new(),
            wall_step: 0,
        }
    }

    fn now(&self, second: u64, millis: u64) -> Now {
        let us = (second * 1000 + millis) as i64 * 1000;
        Now {
            wall: Wall(self.story.start.as_microsecond() + us + self.wall_step * 1_000_000),
            mono: Mono(1_000_000_000 + us as u64),
        }
    }

    fn play(mut self) -> (Vec<String>, Vec<u64>) {
        for second in 0..self.story.until {
            for (_, by) in self.story.clock.iter().filter(|(at, _)| *at == second) {
                self.wall_step += by;
                let now = self.now(second, 0);
                self.lookout.handle(Input::ClockStep(by * 1_000_000), now);
            }
            if self
                .story
                .crash
                .iter()
                .any(|(killed, started)| (*killed..*started).contains(&second))
            {
                continue;
            }
            if let Some((killed, _)) = self.story.crash.iter().find(|(_, started)| *started == second) {
                self.restart(*killed, second);
            }
            self.listen(second);
            // A tick a tenth of a second is finer than any interval of the stories.
            for tenth in 0..10 {
                let now = self.now(second, tenth * 100);
                self.lookout.handle(Input::Tick, now);
                self.hands(second, now);
            }
        }
        (self.told, self.probes)
    }

    /// What is heard at this second.
    fn listen(&mut self, second: u64) {
        let now = self.now(second, 0);
        if self
            .story
            .deaf
            .iter()
            .any(|(from, to)| (*from..*to).contains(&second))
        {
            let from = now.wall - Duration::from_secs(1);
            return self.lookout.handle(Input::Deaf { from }, now);
        }
        let regular = self.story.beats.iter();
        let mut heard: Vec<Beat> = regular
            .filter(|(from, to, every)| {
                (*from..*to).contains(&second) && (second - from).is_multiple_of(*every)
            })
            .map(|_| beat(now.wall))
            .collect();
        let lines = self
            .story
            .said
            .iter()
            .map(|line| said(line, now.wall - Duration::from_secs(second)));
        heard.extend(lines.filter(|(at, _)| *at == second).map(|(_, beat)| beat));
        for beat in heard {
            let input = Input::Beat {
                series: "web".into(),
                beat: Box::new(beat),
                ticket: None,
            };
            self.lookout.handle(input, now);
            self.hands(second, now);
        }
    }

    fn hands(&mut self, second: u64, now: Now) {
        loop {
            let effects: Vec<Effect> = self.lookout.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Probe { run, .. } => {
                        self.probes.push(second);
                        let observation = Observation {
                            // Whole seconds keep the stories readable.
                            at: self.now(second, 0).wall,
                            took: Duration::from_millis(5),
                            outcome: self.truth(second),
                            sample: Sample::default(),
                        };
                        self.lookout.handle(Input::Observed { run, observation }, now);
                    }
                    Effect::Sample { observation, .. } => self.history.push((*observation).clone()),
                    Effect::Commit(changes) => self.commit(changes),
                    Effect::Announce(event) => self.tell(second, &event),
                    Effect::Heard { .. } => {}
                    Effect::Deliver(delivery) => {
                        let receipt = lapwing_core::outbox::Receipt::Delivered;
                        self.lookout.handle(
                            Input::Receipt {
                                delivery: delivery.number,
                                receipt,
                            },
                            now,
                        );
                    }
                }
            }
        }
    }

    fn tell(&mut self, second: u64, event: &Event) {
        if event.kind != lapwing_core::event::EventKind::Monitoring {
            self.told.push(format!("{second}: {}", event.text));
        }
    }

    fn commit(&mut self, changes: Vec<lapwing_core::lookout::Change>) {
        use lapwing_core::lookout::Change;
        for change in changes {
            match change {
                Change::Standing { standing, .. } => self.stored.standing = Some(*standing),
                Change::Beats { beats, .. } => self.stored.beats = Some(*beats),
                Change::Line(line) => self.stored.offline = line,
                Change::Watch { started, until } => self.stored.watch = Some((started, until)),
                _ => {}
            }
        }
    }

    /// Killed and started again: what is stored, then what history knows, which is all but the last second.
    fn restart(&mut self, killed: u64, second: u64) {
        let now = self.now(second, 0);
        let standings = self
            .stored
            .standing
            .clone()
            .map(|s| (Arc::from("web"), s))
            .into_iter()
            .collect();
        let restored = Restored {
            standings,
            rows: Vec::new(),
            beats: self
                .stored
                .beats
                .clone()
                .map(|b| (Arc::from("web"), b))
                .into_iter()
                .collect(),
            adopted: Vec::new(),
            offline: self.stored.offline.clone(),
            watch: self.stored.watch,
        };
        self.lookout = Lookout::new(second, |_| String::new(), restored, now);
        self.lookout.handle(Input::Plan(plan(self.story)), now);
        let durable = self.now(killed, 0).wall - Duration::from_secs(1);
        let asked = plan(self.story).series[0].monitor.policy.beats.is_none();
        for observation in self.history.iter().filter(|o| asked && o.at <= durable) {
            let input = Input::Replayed {
                series: "web".into(),
                observation: observation.clone(),
            };
            self.lookout.handle(input, now);
        }
        self.hands(second, now);
    }

    fn truth(&self, second: u64) -> Outcome {
        let word = self
            .story
            .truth
            .iter()
            .rev()
            .find(|(from, _)| *from <= second)
            .map_or("up", |(_, w)| w.as_str());
        match word {
            "up" => Outcome::Up,
            "down" => Outcome::Down(Reason::new("connect.refused", "connection refused")),
            "degraded" => Outcome::Degraded(Reason::new("tls.expiring", "certificate expires in 5 days")),
            "late" => Outcome::Inconclusive(Reason::new("ours.no_route", "no route to the network")),
            other => panic!("{other}"),
        }
    }
}
