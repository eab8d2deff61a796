//! The whole lookout in a simulated world: virtual time, one seed. Targets fail, the line goes, receivers refuse, answers
//! come late and out of order, people check, pause, acknowledge and silence, the clock is set, and the process is killed
//! between any two effects.
//!
//! What must hold: every outage that is stored is told as down exactly once and as up exactly once after it, in order;
//! a message twice only when it is marked; nothing is left in the outbox; times are in order. No sensor is told of a beat
//! that a crash could undo, none is down while it is heard, and none is silent for long without being down.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use lapwing_core::{
    event::{Event, EventKind},
    heartbeat::{Beat, BeatRule, BeatStanding, Due, Mark, Proof, Signal, Wait},
    id::Rng,
    judge::Standing,
    lookout::{Change, Effect, Input, Lookout, Restored, RunId},
    monitor::{DownRule, Monitor, NotifierPolicy, Plan, Policy, ResetFailures, Series},
    mute::{Mute, Wish},
    observation::{Observation, Outcome, Reason, Sample},
    outage::Outage,
    outbox::{Delivery, Receipt, Retry, Row, RowChange},
    time::{Mono, Now, Wall},
};

const SECOND: u64 = 1_000_000;
const SERIES: usize = 6;
/// Series that nobody asks, behind those that are asked.
const SENSORS: usize = 3;
const PERIOD: u64 = 30 * SECOND;
const GRACE: u64 = 60 * SECOND;

/// The line's return shows at the latest after so long, in which every target was probed.
const NOTICED: u64 = 45 * SECOND;

/// Seeds run on every test; `LAPWING_SIM_SEEDS` asks for more.
#[expect(
    clippy::disallowed_methods,
    reason = "a long night's run is asked for from outside"
)]
fn seeds() -> u64 {
    std::env::var("LAPWING_SIM_SEEDS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(60)
}

#[test]
fn nothing_is_lost_and_nothing_is_told_twice() {
    let (mut told, mut silences) = (0, 0);
    for seed in 0..seeds() {
        let mut world = World::new(seed);
        world.run();
        told += world.check();
        silences += world.sensor_downs;
    }
    assert!(
        told > 500,
        "the world is too quiet to prove anything: {told} messages"
    );
    assert!(
        silences > 100,
        "the sensors are too loud to prove anything: {silences} silences"
    );
}

/// What is durable.
#[derive(Default)]
struct Disk {
    standings: BTreeMap<Arc<str>, Standing>,
    beats: BTreeMap<Arc<str>, BeatStanding>,
    outages: BTreeMap<(Arc<str>, i64), Outage>,
    rows: BTreeMap<u64, Row>,
    dead: Vec<Row>,
    watch: Option<(Wall, Wall)>,
    offline: Option<(Wall, Reason)>,
}

/// A message as a receiver got it.
#[derive(Clone)]
struct Got {
    id: String,
    kind: EventKind,
    lane: Arc<str>,
    resent: bool,
}

enum Coming {
    Answer(RunId, Observation),
    Receipt(u64, Receipt),
    /// Of which sensor.
    Beat(usize),
}

/// A sensor, as the world knows it.
#[derive(Clone, Copy, Default)]
struct Sensor {
    /// Its newest beat that arrived while somebody listened: number and when.
    seq: u64,
    heard: u64,
    /// The newest that it was told of.
    acknowledged: u64,
    silent_until: u64,
    /// Times we could not have known better: crashes, clock steps, our own line.
    excused: u64,
    down: bool,
}

struct World {
    seed: u64,
    rng: Rng,
    mono: u64,
    wall_offset: i64,
    lookout: Lookout,
    /// Grows with each life: what an earlier life started does not come back to this one.
    life: u64,
    coming: BinaryHeap<std::cmp::Reverse<(u64, u64)>>,
    parcels: HashMap<u64, (u64, Coming)>,
    next_parcel: u64,
    disk: Disk,
    history: Vec<(Arc<str>, Observation, u64)>,
    got: HashMap<Arc<str>, Vec<Got>>,
    /// Until when: target down, own line down, receiver refuses.
    down_until: [u64; SERIES],
    sensors: [Sensor; SENSORS],
    sensor_downs: u32,
    line_until: u64,
    refuse_until: u64,
    crashes: u32,
    calm: bool,
    /// Somebody silences now and then: what begins and ends in a silence is told to nobody.
    silences: bool,
    /// The targets that were silenced at some time.
    silenced: BTreeSet<Arc<str>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Now {
            wall: Wall(1_790_000_000_000_000),
            mono: Mono(SECOND),
        };
        let lookout = Lookout::new(
            seed,
            |event| event.kind.as_str().to_owned(),
            Restored::default(),
            now,
        );
        let mut world = Self {
            seed,
            rng: Rng::new(seed),
            mono: SECOND,
            wall_offset: 1_790_000_000_000_000 - SECOND as i64,
            lookout,
            life: 0,
            coming: BinaryHeap::new(),
            parcels: HashMap::new(),
            next_parcel: 0,
            disk: Disk::default(),
            history: Vec::new(),
            got: HashMap::new(),
            down_until: [0; SERIES],
            sensors: [Sensor::default(); SENSORS],
            sensor_downs: 0,
            line_until: 0,
            refuse_until: 0,
            crashes: 0,
            calm: false,
            silences: seed % 4 == 3,
            silenced: BTreeSet::new(),
        };
        world.lookout.handle(Input::Plan(plan(seed)), now);
        for sensor in 0..SENSORS {
            world.post(sensor as u64 * SECOND, Coming::Beat(sensor));
        }
        world
    }

    fn now(&self) -> Now {
        Now {
            wall: Wall(self.mono as i64 + self.wall_offset),
            mono: Mono(self.mono),
        }
    }

    fn run(&mut self) {
        let stormy = 4 * 3600 * SECOND;
        let end = stormy + 4 * 3600 * SECOND;
        while self.mono < end {
            self.calm = self.mono >= stormy;
            if !self.calm {
                self.weather();
            }
            self.carry_out();
            let wake = self.lookout.next_wake().0;
            let parcel = self.coming.peek().map_or(u64::MAX, |r| r.0.0);
            self.mono = wake.min(parcel).max(self.mono + 1);
            let now = self.now();
            while self.coming.peek().is_some_and(|r| r.0.0 <= self.mono) {
                let Some(std::cmp::Reverse((_, number))) = self.coming.pop() else {
                    break;
                };
                let Some((life, what)) = self.parcels.remove(&number) else {
                    continue;
                };
                if life != self.life && !matches!(what, Coming::Beat(_)) {
                    continue;
                }
                let input = match what {
                    Coming::Beat(sensor) => match self.beat(sensor) {
                        Some(input) => input,
                        None => continue,
                    },
                    Coming::Answer(run, observation) => Input::Observed { run, observation },
                    Coming::Receipt(delivery, receipt) => Input::Receipt { delivery, receipt },
                };
                self.lookout.handle(input, now);
            }
            self.lookout.handle(Input::Tick, now);
        }
        self.carry_out();
    }

    fn weather(&mut self) {
        let chance = |rng: &mut Rng, one_in: u64| rng.below(one_in) == 0;
        if chance(&mut self.rng, 60) {
            let victim = self.rng.below(SERIES as u64) as usize;
            self.down_until[victim] = self.mono + self.rng.below(900) * SECOND;
        }
        if chance(&mut self.rng, 120) {
            let victim = self.rng.below(SENSORS as u64) as usize;
            self.sensors[victim].silent_until = self.mono + self.rng.below(600) * SECOND;
        }
        if chance(&mut self.rng, 900) {
            self.line_until = self.mono + self.rng.below(600) * SECOND;
        }
        if chance(&mut self.rng, 400) {
            self.refuse_until = self.mono + self.rng.below(1800) * SECOND;
        }
        if chance(&mut self.rng, 2_000) {
            let step = self.rng.below(7_200 * SECOND) as i64 - 3_600 * SECOND as i64;
            self.wall_offset += step;
            self.excuse();
            let now = self.now();
            self.lookout.handle(Input::ClockStep(step), now);
        }
        if chance(&mut self.rng, 60) {
            let input = self.asked();
            let now = self.now();
            self.lookout.handle(input, now);
        }
        if chance(&mut self.rng, 700) {
            self.crash();
        }
    }

    /// What people ask for: always of targets, for the sensors' silences are counted here.
    fn asked(&mut self) -> Input {
        let first = self.rng.below(SERIES as u64);
        let last = first + self.rng.below(SERIES as u64 - first);
        let name = |n: u64| Arc::<str>::from(format!("m{n}"));
        let mut series: Vec<_> = (first..=last).map(name).collect();
        let since = self.now().wall;
        let until = Wall(since.0 + (self.rng.below(1_200) * SECOND) as i64);
        let mute = Mute {
            by: "anna".to_owned(),
            reason: String::new(),
            since,
            until: Some(until),
        };
        let wish = match self.rng.below(8) {
            0 => Wish::Pause(mute),
            1 => Wish::Resume,
            2 => Wish::Acknowledge(mute),
            3 if self.silences => {
                // Of the other half of the targets every outage must be told, in these worlds too.
                let half = self.seed / 4 % 2;
                series = (first..=last).filter(|n| n % 2 == half).map(name).collect();
                self.silenced.extend(series.iter().cloned());
                Wish::Silence(mute)
            }
            4 => Wish::Unsilence,
            _ => return Input::Check { series },
        };
        Input::Wish {
            series,
            wish,
            ticket: None,
        }
    }

    /// Carries effects out one by one; the process may be killed before any of them.
    fn carry_out(&mut self) {
        let effects: Vec<Effect> = self.lookout.effects().collect();
        for effect in effects {
            if !self.calm && self.rng.below(1_500) == 0 {
                self.crash();
                return;
            }
            match effect {
                Effect::Probe { series, run, .. } => self.probe(&series, run),
                Effect::Sample { series, observation } => {
                    self.history
                        .push((Arc::clone(&series.key), (*observation).clone(), self.mono));
                }
                Effect::Commit(changes) => changes.into_iter().for_each(|c| self.disk.apply(c)),
                Effect::Announce(event) => self.announced(&event),
                Effect::Heard { ticket } => self.acknowledged(ticket),
                Effect::Deliver(delivery) => self.deliver(&delivery),
            }
        }
    }

    /// A sensor sends; gives what arrives, when somebody listens.
    fn beat(&mut self, index: usize) -> Option<Input> {
        let late = self.rng.below(SECOND);
        self.post(PERIOD - SECOND / 2 + late, Coming::Beat(index));
        let silent = self.mono < self.sensors[index].silent_until || self.mono < self.line_until;
        if self.mono < self.line_until {
            self.excuse();
        }
        if silent {
            return None;
        }
        let (mono, at) = (self.mono, self.now().wall);
        let sensor = &mut self.sensors[index];
        let missing = mono - sensor.heard.max(sensor.excused);
        assert!(
            sensor.down || sensor.heard == 0 || missing < PERIOD + GRACE + 7 * SECOND,
            "seed {}: s{index} was silent for {} s, and nobody said so",
            self.seed,
            missing / SECOND
        );
        sensor.seq += 1;
        sensor.heard = mono;
        let mark = Mark {
            boot: 1,
            seq: sensor.seq,
            ..Mark::default()
        };
        let beat = Beat {
            at,
            signal: Signal::Ping,
            proof: Proof::Keyed,
            source: None,
            uptime: Some(Duration::from_micros(mono)),
            running: Some(Duration::from_micros(mono)),
            account: None,
            mark: Some(mark),
            note: None,
        };
        Some(Input::Beat {
            series: format!("s{index}").into(),
            beat: Box::new(beat),
            ticket: Some(index as u64 | sensor.seq << 8),
        })
    }

    /// What is told to a sensor must be durable already.
    fn acknowledged(&mut self, ticket: u64) {
        let (index, seq) = ((ticket & 0xff) as usize, ticket >> 8);
        let series: Arc<str> = format!("s{index}").into();
        let durable = self
            .disk
            .beats
            .get(&series)
            .and_then(|b| b.mark)
            .map_or(0, |m| m.seq);
        assert!(
            durable >= seq,
            "seed {}: s{index} was told of beat {seq}, but {durable} is stored",
            self.seed
        );
        self.sensors[index].acknowledged = seq;
    }

    fn announced(&mut self, event: &Event) {
        // That the line is back shows at the next probes: until then nobody could be heard.
        if event.kind == EventKind::Online && self.mono < self.line_until + NOTICED {
            self.excuse();
        }
        let Some(index) = event
            .series
            .as_ref()
            .and_then(|s| s.name.strip_prefix('s')?.parse::<usize>().ok())
        else {
            return;
        };
        let sensor = &mut self.sensors[index];
        match event.kind {
            EventKind::Down => {
                let missing = self.mono - sensor.heard;
                assert!(
                    missing + SECOND >= PERIOD + GRACE,
                    "seed {}: s{index} is down {} s after its last beat: {}",
                    self.seed,
                    missing / SECOND,
                    event.text
                );
                sensor.down = true;
                self.sensor_downs += 1;
            }
            EventKind::Up => sensor.down = false,
            _ => {}
        }
    }

    /// What happens now keeps us from knowing about sensors; their silence counts anew.
    fn excuse(&mut self) {
        let now = self.mono;
        self.sensors.iter_mut().for_each(|s| s.excused = now);
    }

    fn probe(&mut self, series: &Series, run: RunId) {
        let index: usize = series.name[1..].parse().expect("m0 to m5");
        let at = self.now().wall;
        let took = 1_000 + self.rng.below(1_900_000);
        let outcome = if self.mono < self.line_until {
            // We know that we are cut off, even where no sensor tried meanwhile.
            self.excuse();
            Outcome::Inconclusive(Reason::new("ours.no_route", "no route"))
        } else if self.mono < self.down_until[index] || (!self.calm && self.rng.below(40) == 0) {
            Outcome::Down(Reason::new("connect.refused", "connection refused"))
        } else {
            Outcome::Up
        };
        let observation = Observation {
            at,
            took: Duration::from_micros(took),
            outcome,
            sample: Sample::default(),
        };
        self.post(took, Coming::Answer(run, observation));
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let took = 1_000 + self.rng.below(3 * SECOND);
        let refused = self.mono < self.refuse_until || self.mono < self.line_until;
        // Sometimes it arrives and the answer is lost.
        let lost_answer = !refused && !self.calm && self.rng.below(50) == 0;
        if !refused {
            let inbox = self.got.entry(Arc::clone(&delivery.notifier)).or_default();
            for notice in &delivery.notices {
                let lane = Arc::clone(&notice.lane);
                inbox.push(Got {
                    id: notice.id.to_string(),
                    kind: notice.kind,
                    lane,
                    resent: delivery.resent,
                });
            }
        }
        let receipt = if refused || lost_answer {
            let retry = if self.rng.below(3) == 0 {
                Retry::After(Duration::from_secs(20))
            } else {
                Retry::Backoff
            };
            Receipt::Failed {
                retry,
                message: "no".to_owned(),
                maybe_arrived: lost_answer,
            }
        } else {
            Receipt::Delivered
        };
        self.post(took, Coming::Receipt(delivery.number, receipt));
    }

    fn post(&mut self, after: u64, what: Coming) {
        self.next_parcel += 1;
        self.parcels.insert(self.next_parcel, (self.life, what));
        self.coming
            .push(std::cmp::Reverse((self.mono + after, self.next_parcel)));
    }

    /// Kill -9 and a start some time later. Effects not carried out are gone; history lost its last second.
    fn crash(&mut self) {
        self.crashes += 1;
        self.life += 1;
        let durable = self.mono.saturating_sub(SECOND);
        self.history.retain(|(_, _, kept)| *kept <= durable);
        self.mono += self.rng.below(120) * SECOND;
        self.excuse();
        let now = self.now();
        for (index, sensor) in self.sensors.iter_mut().enumerate() {
            let series: Arc<str> = format!("s{index}").into();
            let beats = self.disk.beats.get(&series);
            let stored = beats.and_then(|b| b.mark).map_or(0, |m| m.seq);
            assert!(
                stored >= sensor.acknowledged,
                "seed {}: a beat that was acknowledged is lost",
                self.seed
            );
            if stored < sensor.seq {
                // A beat that was not acknowledged may be forgotten.
                sensor.heard = 0;
            }
            sensor.down = self
                .disk
                .standings
                .get(&series)
                .is_some_and(|s| s.outage.is_some());
        }
        let restored = Restored {
            standings: self
                .disk
                .standings
                .iter()
                .map(|(k, s)| (Arc::clone(k), s.clone()))
                .collect(),
            rows: self.disk.rows.values().cloned().collect(),
            beats: self
                .disk
                .beats
                .iter()
                .map(|(k, b)| (Arc::clone(k), b.clone()))
                .collect(),
            adopted: Vec::new(),
            offline: self.disk.offline.clone(),
            watch: self.disk.watch,
        };
        self.lookout = Lookout::new(
            self.seed + self.life,
            |event| event.kind.as_str().to_owned(),
            restored,
            now,
        );
        self.lookout.handle(Input::Plan(plan(self.seed)), now);
        for (series, seen) in self.lookout.replay_from() {
            let newer = |o: &Observation| seen.is_none_or(|seen| o.at > seen);
            let tail: Vec<_> = self
                .history
                .iter()
                .filter(|(k, o, _)| *k == series.key && newer(o))
                .cloned()
                .collect();
            for (series, observation, _) in tail {
                self.lookout.handle(Input::Replayed { series, observation }, now);
            }
        }
    }

    /// Checks what must hold at the end; gives how many messages were told.
    fn check(&self) -> usize {
        let seed = self.seed;
        assert!(self.lookout.is_quiet(), "seed {seed}: messages are left");
        assert!(
            self.disk.rows.is_empty(),
            "seed {seed}: rows are left on the disk"
        );
        assert!(self.disk.dead.is_empty(), "seed {seed}: dead letters");
        for ((series, began), outage) in &self.disk.outages {
            assert_eq!(*began, outage.began.0, "seed {seed}: {series}");
            let end = outage
                .end
                .unwrap_or_else(|| panic!("seed {seed}: {series}: an outage never ended"));
            assert!(
                end.at >= outage.began,
                "seed {seed}: {series}: ended before it began"
            );
        }
        let mut total = 0;
        for (notifier, inbox) in &self.got {
            let sensors = (0..SENSORS).map(|n| format!("s{n}"));
            for lane in (0..SERIES).map(|n| format!("m{n}")).chain(sensors) {
                let lane: Arc<str> = lane.into();
                total += self.check_lane(notifier, &lane, inbox);
            }
            self.check_line(notifier, inbox);
        }
        total
    }

    /// Being cut off is told in pairs, too.
    fn check_line(&self, notifier: &str, inbox: &[Got]) {
        let mut offline = false;
        let mut seen: Vec<&str> = Vec::new();
        for got in inbox.iter().filter(|g| g.lane.is_empty()) {
            if seen.contains(&got.id.as_str()) {
                continue;
            }
            seen.push(&got.id);
            let was = std::mem::replace(&mut offline, got.kind == EventKind::Offline);
            assert_ne!(
                was, offline,
                "seed {} to {notifier}: {:?} twice",
                self.seed, got.kind
            );
        }
        assert!(
            !offline,
            "seed {} to {notifier}: the end of being cut off was never told",
            self.seed
        );
    }

    fn check_lane(&self, notifier: &str, lane: &Arc<str>, inbox: &[Got]) -> usize {
        let place = format!(
            "seed {} ({} crashes): {lane} to {notifier}",
            self.seed, self.crashes
        );
        let mut seen: Vec<&Got> = Vec::new();
        for got in inbox.iter().filter(|g| g.lane == *lane) {
            match seen.iter().find(|s| s.id == got.id) {
                Some(_) => assert!(got.resent, "{place}: {:?} came twice without saying so", got.kind),
                None => seen.push(got),
            }
        }
        // Down and up alternate, reminders lie between, and every stored outage is there.
        let mut down = false;
        for got in &seen {
            match got.kind {
                EventKind::Down => assert!(!std::mem::replace(&mut down, true), "{place}: down twice"),
                EventKind::Up => assert!(std::mem::replace(&mut down, false), "{place}: up without down"),
                EventKind::Reminder => assert!(down, "{place}: a reminder without an outage"),
                _ => {}
            }
        }
        assert!(!down, "{place}: the last outage was never told as up");
        let downs = seen.iter().filter(|g| g.kind == EventKind::Down).count();
        let outages = self.disk.outages.keys().filter(|(key, _)| key == lane).count();
        if self.silenced.contains(lane) {
            assert!(downs <= outages, "{place}: an outage told that is not stored");
        } else {
            assert_eq!(downs, outages, "{place}: outages told and stored");
        }
        seen.len()
    }
}

impl Disk {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Standing { series, standing, .. } => drop(self.standings.insert(series, *standing)),
            Change::Beats { series, beats } => drop(self.beats.insert(series, *beats)),
            Change::Adopted { .. } => unreachable!("nobody adopts here"),
            Change::Forget { series } => drop(self.standings.remove(&series)),
            Change::Outage { series, outage } => drop(self.outages.insert((series, outage.began.0), *outage)),
            Change::OutageMoved { series, began } => drop(self.outages.remove(&(series, began.0))),
            Change::Unknown { from, to, .. } => assert!(from < to),
            Change::Line(line) => self.offline = line,
            Change::Watch { started, until } => {
                assert!(started <= until);
                self.watch = Some((started, until));
            }
            Change::Outbox(RowChange::Put(row)) => drop(self.rows.insert(row.order, row)),
            Change::Outbox(RowChange::Remove(order)) => drop(self.rows.remove(&order)),
            Change::Outbox(RowChange::Dead(row, _)) => {
                self.rows.remove(&row.order);
                self.dead.push(row);
            }
        }
    }
}

fn sensor(n: usize) -> Arc<Series> {
    let rule = BeatRule {
        due: Due::Every(Duration::from_micros(PERIOD)),
        wait: Wait::Grace(Duration::from_micros(GRACE)),
    };
    let policy = Policy {
        beats: Some(Arc::new(rule)),
        remind: vec![Duration::from_secs(60), Duration::from_secs(300)],
        ..Policy::default()
    };
    let monitor = Arc::new(Monitor {
        name: format!("s{n}"),
        labels: Vec::new(),
        policy,
        notify: vec!["ops".into(), "phone".into()],
    });
    Arc::new(Series {
        key: format!("s{n}").into(),
        name: format!("s{n}"),
        monitor,
        target: format!("heartbeat:s{n}"),
        kind: "heartbeat",
        host: format!("s{n}"),
        loopback: true,
        overlaps: false,
    })
}

fn plan(seed: u64) -> Plan {
    let series = (0..SERIES).map(|n| {
        let rule = match (seed as usize + n) % 3 {
            0 => DownRule::Consecutive {
                failures: 3,
                successes: 1,
            },
            1 => DownRule::Consecutive {
                failures: 1,
                successes: 2,
            },
            _ => DownRule::Window {
                of: 6,
                fail: 3,
                recover: 1,
            },
        };
        let policy = Policy {
            interval: Duration::from_secs(30),
            retry_interval: Duration::from_secs(10),
            recovery_interval: Duration::from_secs(5),
            rule,
            reset_failures: if n % 2 == 0 {
                ResetFailures::Hourly
            } else {
                ResetFailures::Never
            },
            remind: vec![Duration::from_secs(60), Duration::from_secs(300)],
            ..Policy::default()
        };
        let notify = vec!["ops".into(), "phone".into()];
        let monitor = Arc::new(Monitor {
            name: format!("m{n}"),
            labels: Vec::new(),
            policy,
            notify,
        });
        Arc::new(Series {
            key: format!("m{n}").into(),
            name: format!("m{n}"),
            monitor,
            target: format!("tcp://m{n}:80"),
            kind: "tcp",
            host: format!("m{n}"),
            loopback: false,
            overlaps: n == 0,
        })
    });
    let notifier = |name: &str, rate_limit| NotifierPolicy {
        name: name.into(),
        on: None,
        rate_limit,
        give_up: Duration::from_secs(3 * 86_400),
        local: false,
    };
    let limit = Some((3, Duration::from_secs(60)));
    Plan {
        series: series.chain((0..SENSORS).map(sensor)).collect(),
        notifiers: vec![notifier("ops", None), notifier("phone", limit)],
        zone: None,
        adopt: None,
    }
}
