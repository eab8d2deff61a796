//! Pauses, silences, acknowledgements: what is asked, what is told, and what is owed at the end.

use std::{sync::Arc, time::Duration};

use lapwing_core::{
    event::{Event, EventKind},
    heartbeat::{Beat, BeatRule, Due, Proof, Signal, Wait},
    lookout::{Change, Effect, Input, Lookout, Restored},
    monitor::{DownRule, Monitor, NotifierPolicy, Plan, Policy, Series},
    mute::{Mute, Wish},
    observation::{Observation, Outcome, Reason, Sample},
    outbox::Receipt,
    state::State,
    time::{Mono, Now, Wall},
};

fn at(second: u64) -> Now {
    Now {
        wall: Wall((second * 1_000_000) as i64),
        mono: Mono(second * 1_000_000),
    }
}

fn plan(policy: Policy, kind: &'static str) -> Plan {
    let series = Series {
        key: "web".into(),
        name: "web".to_owned(),
        monitor: Arc::new(Monitor {
            name: "web".to_owned(),
            labels: Vec::new(),
            policy,
            notify: vec!["ops".into()],
        }),
        target: format!("{kind}:web"),
        kind,
        host: "web".to_owned(),
        loopback: true,
        overlaps: false,
    };
    let ops = NotifierPolicy {
        name: "ops".into(),
        on: None,
        rate_limit: None,
        give_up: Duration::from_secs(60),
        local: true,
    };
    Plan {
        series: vec![Arc::new(series)],
        notifiers: vec![ops],
        ..Plan::default()
    }
}

fn probed() -> Plan {
    let second = Duration::from_secs(1);
    let policy = Policy {
        interval: second,
        retry_interval: second,
        recovery_interval: second,
        rule: DownRule::Consecutive {
            failures: 1,
            successes: 1,
        },
        remind: [10, 20, 30, 40, 50].map(Duration::from_secs).to_vec(),
        ..Policy::default()
    };
    plan(policy, "tcp")
}

/// A series in the hands of a test: down from time to time, asked once a second.
struct World {
    lookout: Lookout,
    plan: Plan,
    second: u64,
    down: Vec<(u64, u64)>,
    probes: Vec<u64>,
    /// What reached the notifier.
    told: Vec<(u64, EventKind)>,
    shown: Vec<(u64, Arc<Event>)>,
    unknown: Vec<(State, u64, u64)>,
    standing: Option<lapwing_core::judge::Standing>,
}

impl World {
    fn new(plan: Plan, down: &[(u64, u64)]) -> Self {
        let mut lookout = Lookout::new(1, |_| String::new(), Restored::default(), at(100));
        lookout.handle(Input::Plan(plan.clone()), at(100));
        Self {
            lookout,
            plan,
            second: 100,
            down: down.to_vec(),
            probes: Vec::new(),
            told: Vec::new(),
            shown: Vec::new(),
            unknown: Vec::new(),
            standing: None,
        }
    }

    fn until(&mut self, second: u64) -> &mut Self {
        while self.second < second {
            self.second += 1;
            self.lookout.handle(Input::Tick, at(self.second));
            self.carry_out();
        }
        self
    }

    fn wish(&mut self, wish: Wish) -> &mut Self {
        let input = Input::Wish {
            series: vec!["web".into()],
            wish,
            ticket: Some(7),
        };
        self.lookout.handle(input, at(self.second));
        self.carry_out();
        self
    }

    fn carry_out(&mut self) {
        let now = at(self.second);
        loop {
            let effects: Vec<Effect> = self.lookout.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Probe { run, .. } => {
                        self.probes.push(self.second);
                        let down = self
                            .down
                            .iter()
                            .any(|(from, to)| (*from..*to).contains(&self.second));
                        let refused = || Outcome::Down(Reason::new("connect.refused", "connection refused"));
                        let observation = Observation {
                            at: now.wall,
                            took: Duration::ZERO,
                            outcome: if down { refused() } else { Outcome::Up },
                            sample: Sample::default(),
                        };
                        self.lookout.handle(Input::Observed { run, observation }, now);
                    }
                    Effect::Deliver(delivery) => {
                        let kinds = delivery.notices.iter().map(|n| (self.second, n.kind));
                        self.told.extend(kinds);
                        let input = Input::Receipt {
                            delivery: delivery.number,
                            receipt: Receipt::Delivered,
                        };
                        self.lookout.handle(input, now);
                    }
                    Effect::Announce(event) => self.shown.push((self.second, event)),
                    Effect::Commit(changes) => changes.into_iter().for_each(|c| self.store(c)),
                    Effect::Sample { .. } | Effect::Heard { .. } => {}
                }
            }
        }
    }

    fn store(&mut self, change: Change) {
        let second = |at: Wall| at.0 as u64 / 1_000_000;
        match change {
            Change::Standing { standing, .. } => self.standing = Some(*standing),
            Change::Unknown { state, from, to, .. } => self.unknown.push((state, second(from), second(to))),
            _ => {}
        }
    }

    /// Stopped and started again with what is stored.
    fn restart(&mut self) -> &mut Self {
        let restored = Restored {
            standings: self
                .standing
                .clone()
                .map(|s| ("web".into(), s))
                .into_iter()
                .collect(),
            ..Restored::default()
        };
        self.lookout = Lookout::new(2, |_| String::new(), restored, at(self.second));
        self.lookout
            .handle(Input::Plan(self.plan.clone()), at(self.second));
        self.carry_out();
        self
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.told.iter().map(|(_, kind)| *kind).collect()
    }

    fn state(&self) -> State {
        self.lookout.snapshot().series[0].state
    }
}

fn mute(since: u64, until: Option<u64>) -> Mute {
    Mute {
        by: "anna".to_owned(),
        reason: "new disk".to_owned(),
        since: at(since).wall,
        until: until.map(|s| at(s).wall),
    }
}

use EventKind::{Down, Reminder, Up};

#[test]
fn a_pause_asks_nothing_and_is_unknown_time() {
    let mut world = World::new(probed(), &[(125, 128)]);
    world
        .until(120)
        .wish(Wish::Pause(mute(120, Some(130))))
        .until(129);
    assert_eq!(world.state(), State::Paused);
    assert!(world.probes.iter().all(|s| *s <= 120), "{:?}", world.probes);
    world.until(140);
    assert_eq!(world.state(), State::Up, "it ends by itself");
    assert!(world.probes.contains(&132), "{:?}", world.probes);
    assert!(world.told.is_empty(), "{:?}", world.told);
    let (state, from, to) = world.unknown[1];
    assert_eq!((state, from), (State::Paused, 120));
    assert!((130..=131).contains(&to));
    let texts: Vec<&str> = world.shown.iter().map(|(_, e)| e.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "NOW MONITORING web (tcp:web).",
            "PAUSED web by anna until 00:02:10: new disk.",
            "RESUMED web."
        ]
    );
}

#[test]
fn a_pause_survives_a_restart_and_an_outage_survives_a_pause() {
    let mut world = World::new(probed(), &[(110, 160)]);
    world
        .until(115)
        .wish(Wish::Pause(mute(115, None)))
        .until(125)
        .restart()
        .until(140);
    assert_eq!(world.state(), State::Paused);
    assert!(world.probes.iter().all(|s| *s <= 115), "{:?}", world.probes);
    world.wish(Wish::Resume).until(145);
    assert_eq!(world.state(), State::Down);
    world.until(170);
    assert_eq!(
        world
            .kinds()
            .iter()
            .filter(|k| **k != Reminder)
            .collect::<Vec<_>>(),
        [&Down, &Up]
    );
}

#[test]
fn what_a_silence_held_back_is_told_at_its_end_if_it_lasts() {
    let mut world = World::new(probed(), &[(110, 150)]);
    world
        .until(105)
        .wish(Wish::Silence(mute(105, Some(130))))
        .until(129);
    assert_eq!(
        (world.state(), world.kinds()),
        (State::Down, vec![]),
        "measured, not told"
    );
    assert!(world.shown.iter().any(|(_, e)| e.kind == Down && e.withheld));
    world.until(160);
    assert_eq!(world.told.first(), Some(&(130, Down)));
    assert_eq!(world.kinds().last(), Some(&Up));
}

#[test]
fn what_begins_and_ends_in_a_silence_is_never_told() {
    let mut world = World::new(probed(), &[(110, 115)]);
    world
        .until(105)
        .wish(Wish::Silence(mute(105, None)))
        .until(120)
        .restart()
        .wish(Wish::Unsilence)
        .until(140);
    assert_eq!(world.kinds(), []);
}

#[test]
fn the_end_of_a_told_outage_is_told_after_the_silence() {
    let mut world = World::new(probed(), &[(110, 118), (120, 150)]);
    world
        .until(112)
        .wish(Wish::Silence(mute(112, None)))
        .until(125)
        .restart()
        .until(126)
        .wish(Wish::Unsilence);
    assert_eq!(
        world.kinds(),
        [Down, Up, Down],
        "the old one's end first, then what lasts"
    );
}

#[test]
fn an_acknowledgement_stops_the_reminders_of_its_outage_alone() {
    let mut world = World::new(probed(), &[(110, 165), (170, 185)]);
    world
        .until(122)
        .wish(Wish::Acknowledge(mute(122, None)))
        .until(168);
    assert_eq!(world.kinds(), [Down, Reminder, Up]);
    world.until(200);
    assert_eq!(
        world.kinds(),
        [Down, Reminder, Up, Down, Reminder, Up],
        "the next outage is nobody's yet"
    );
    let ack = world
        .shown
        .iter()
        .find(|(_, e)| e.kind == EventKind::Acknowledged);
    assert_eq!(
        ack.map(|(_, e)| e.text.as_str()),
        Some("ACKNOWLEDGED web, down since 00:01:50 by anna: new disk.")
    );
}

#[test]
fn an_acknowledgement_that_runs_out_lets_reminders_come_again() {
    let mut world = World::new(probed(), &[(110, 200)]);
    world
        .until(112)
        .wish(Wish::Acknowledge(mute(112, Some(135))))
        .until(155);
    assert_eq!(world.told, [(110, Down), (140, Reminder), (150, Reminder)]);
}

#[test]
fn a_paused_heartbeat_is_not_late() {
    let policy = Policy {
        beats: Some(Arc::new(BeatRule {
            due: Due::Every(Duration::from_secs(10)),
            wait: Wait::Grace(Duration::from_secs(10)),
        })),
        ..Policy::default()
    };
    let mut world = World::new(plan(policy, "heartbeat"), &[]);
    let beat = |second: u64| Input::Beat {
        series: "web".into(),
        beat: Box::new(Beat {
            at: at(second).wall,
            signal: Signal::Ping,
            proof: Proof::Plain,
            source: None,
            uptime: None,
            running: None,
            account: None,
            mark: None,
            note: None,
        }),
        ticket: None,
    };
    world.lookout.handle(beat(101), at(101));
    world
        .until(105)
        .wish(Wish::Pause(mute(105, Some(200))))
        .until(210);
    assert_eq!((world.state(), world.kinds()), (State::Up, vec![]));
    // 16 s of the 20 were left when the pause began.
    world.until(217);
    assert_eq!(world.kinds(), [Down]);
}

#[test]
fn a_name_means_a_monitor_or_a_series_and_each_once() {
    let names = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut plan = probed();
    let web = Arc::clone(&plan.series[0]);
    for host in ["a", "b"] {
        let mut series = Series::clone(&web);
        series.key = host.into();
        series.name = format!("web/{host}");
        plan.series.push(Arc::new(series));
    }
    let mut world = World::new(plan, &[(110, 150)]);
    world.until(120).wish(Wish::Pause(mute(120, None)));
    let find = |words: &[&str]| {
        let found = world.lookout.find(&names(words));
        found.map(|found| found.iter().map(|n| n.series.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(find(&["web/b"]).unwrap(), ["web/b"]);
    assert_eq!(find(&["web/a", "web", "web"]).unwrap().len(), 3);
    let unknown = find(&["web/a", "wbe"]).unwrap_err();
    assert_eq!((unknown.name.as_str(), unknown.known.len()), ("wbe", 3));

    let found = world.lookout.find(&names(&["web"])).unwrap();
    for named in found {
        let paused = &*named.series.key == "web";
        assert_eq!((named.paused, named.silenced), (paused, false), "{named:?}");
        assert!(named.heeds(&Wish::Silence(mute(120, None))));
        assert_eq!(named.heeds(&Wish::Resume), paused);
        assert!(!named.heeds(&Wish::Unsilence));
        assert_eq!(named.heeds(&Wish::Acknowledge(mute(120, None))), named.down);
    }
}
