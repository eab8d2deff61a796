//! Beats: what comes by itself, and what is made durable before it counts.
//!
//! It must never let a sender be told of a beat that a crash could still undo.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{Change, Effect, Lookout};
use crate::{
    heartbeat::{Beat, BeatStanding, Signal},
    judge::Standing,
    monitor::{Adoption, MAX_ADOPTED, Monitor, Plan, Series},
    observation::{Observation, Outcome, Requests, Sample},
    state::State,
    time::{Mono, Now, Wall},
};

/// Beats are made durable within this time, many of them at once.
const COMMIT_EVERY: Duration = Duration::from_millis(250);
/// How long a beat may be under way from the listener to here.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// Deafness for longer than this is stored.
const WORTH_STORING: Duration = Duration::from_secs(5);
/// From the start of this program until it surely listens.
const BEGINNING: Duration = Duration::from_secs(5);
/// An adopted source that has been silent for so long is let go.
const ADOPTED_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What the lookout knows of listening.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Series whose beats are not stored yet.
    dirty: BTreeSet<u32>,
    /// Tickets of those beats.
    tickets: Vec<u64>,
    /// When they are stored at the latest.
    pub(super) commit_at: Option<Mono>,
    adoption: Option<Adoption>,
    adopted: BTreeSet<IpAddr>,
    /// When somebody outside was last heard.
    outside: Option<Wall>,
    /// When the clock was set last.
    pub(super) stepped: Option<Mono>,
}

impl Ear {
    pub(super) fn new(adopted: Vec<IpAddr>) -> Self {
        Self {
            adopted: adopted.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The beats of the series in `slot` must be stored.
    pub(super) fn remember(&mut self, slot: u32, now: Now) {
        self.dirty.insert(slot);
        self.commit_at.get_or_insert(now.mono + COMMIT_EVERY);
    }
}

/// Puts what was stored of beats to the standings. From `absent` to now nobody listened.
pub(super) fn reunite(
    standings: Vec<(Arc<str>, Standing)>,
    beats: Vec<(Arc<str>, BeatStanding)>,
    absent: Option<Wall>,
    now: Wall,
) -> HashMap<Arc<str>, Standing> {
    let mut standings: HashMap<_, _> = standings.into_iter().collect();
    for (series, mut beats) in beats {
        if let Some(standing) = standings.get_mut(&series) {
            beats.cap(now);
            if let Some(from) = absent {
                beats.waive(from, now + BEGINNING);
            }
            // Only changes of state are stored with the standing.
            standing.seen = standing.seen.max(beats.heard);
            standing.last_success = standing.last_success.max(beats.last);
            standing.beats = Some(Box::new(beats));
        }
    }
    standings
}

impl Lookout {
    pub(super) fn beat(&mut self, series: &Arc<str>, beat: &Beat, ticket: Option<u64>, now: Now) {
        let Some(slot) = self.by_key.get(series).copied() else {
            return;
        };
        let Some(entry) = self.entries[slot as usize].as_mut().filter(|e| e.is_passive()) else {
            return;
        };
        let mut beat = Cow::Borrowed(beat);
        let in_doubt = self.ear.stepped.is_some_and(|at| now.mono.since(at) < IN_FLIGHT);
        if beat.at > now.wall || (in_doubt && now.wall.since(beat.at) > IN_FLIGHT) {
            // It was stamped on the clock before it was set.
            beat.to_mut().at = now.wall;
        }
        let beat = &*beat;
        if beat.source.is_some_and(|source| !source.is_loopback()) {
            self.ear.outside = Some(beat.at);
        }
        let observation = observation(&entry.standing, beat);
        let step = entry.standing.beat(&entry.series.monitor.policy, beat);
        entry.last = Some((beat.at, observation.took));
        if beat.signal != Signal::Start {
            self.out.samples.push(Effect::Sample {
                series: Arc::clone(&entry.series),
                observation: Arc::new(observation),
            });
        }
        self.ear.tickets.extend(ticket);
        self.ear.remember(slot, now);
        self.apply(slot, step, now);
        self.arm(slot, now);
    }

    /// True while silence proves nothing: our own line is down or seems to be, and nobody outside has been heard since.
    pub(super) fn is_deafened(&self, now: Now) -> bool {
        self.line
            .quiet_since(now.wall)
            .is_some_and(|since| self.ear.outside.is_none_or(|heard| heard < since))
    }

    pub(super) fn stranger(&mut self, source: IpAddr, beat: &Beat, now: Now) {
        let Some(adoption) = &self.ear.adoption else {
            return;
        };
        let series = adopted_series(source, adoption);
        let key = Arc::clone(&series.key);
        // A monitor that has this name has its own rules of who may speak for it.
        if self.by_key.contains_key(&key) != self.ear.adopted.contains(&source) {
            return;
        }
        if !self.by_key.contains_key(&key) {
            if self.ear.adopted.len() >= MAX_ADOPTED {
                return;
            }
            self.ear.adopted.insert(source);
            self.out.changes.push(Change::Adopted { source, kept: true });
            let slot = self.admit(series, 1, now);
            self.by_key.insert(Arc::clone(&key), slot);
        }
        self.beat(&key, beat, None, now);
    }

    /// Beats may have been lost on our side from then to now.
    pub(super) fn deaf(&mut self, from: Wall, now: Now) {
        for slot in 0..self.entries.len() {
            let Some(entry) = self.entries[slot].as_mut().filter(|e| e.is_passive()) else {
                continue;
            };
            let Some(beats) = &mut entry.standing.beats else {
                continue;
            };
            if !beats.excuse(&entry.series.monitor.policy, from, now.wall) {
                continue;
            }
            if now.wall.since(from) > WORTH_STORING {
                self.ear.remember(slot as u32, now);
            }
            self.arm(slot as u32, now);
        }
    }

    /// Nobody listened from then to now.
    pub(super) fn waive(&mut self, from: Wall, now: Now) {
        for slot in 0..self.entries.len() {
            let Some(entry) = self.entries[slot].as_mut().filter(|e| e.is_passive()) else {
                continue;
            };
            if let Some(beats) = &mut entry.standing.beats {
                beats.waive(from, now.wall);
                self.ear.remember(slot as u32, now);
                self.arm(slot as u32, now);
            }
        }
    }

    /// Our own line was down from then to now: nobody could be heard, so nothing is known of them.
    pub(super) fn cut_off(&mut self, since: Wall, now: Now) {
        if self.ear.outside.is_some_and(|heard| heard > since) {
            return;
        }
        self.waive(since, now);
        for entry in self.entries.iter().flatten().filter(|e| e.is_passive()) {
            let known = entry.standing.known_since.map(|known| known.max(since));
            if let Some(from) = known.filter(|from| *from < now.wall) {
                self.out.changes.push(Change::Unknown {
                    series: Arc::clone(&entry.series.key),
                    state: State::Inconclusive,
                    from,
                    to: now.wall,
                });
            }
        }
    }

    /// Adds the adopted sources to a plan that still adopts, and lets them go otherwise.
    pub(super) fn keep_adopted(&mut self, plan: &mut Plan) {
        self.ear.adoption = plan.adopt.take();
        let Some(adoption) = &self.ear.adoption else {
            for source in std::mem::take(&mut self.ear.adopted) {
                self.out.changes.push(Change::Adopted { source, kept: false });
            }
            return;
        };
        let named: HashSet<Arc<str>> = plan.series.iter().map(|s| Arc::clone(&s.key)).collect();
        for source in &self.ear.adopted {
            let series = adopted_series(*source, adoption);
            // A monitor that has the name by now takes its place.
            if !named.contains(&series.key) {
                plan.series.push(series);
            }
        }
        self.ear.adopted.retain(|source| {
            let kept = !named.contains(adopted_key(*source).as_str());
            if !kept {
                self.out.changes.push(Change::Adopted {
                    source: *source,
                    kept,
                });
            }
            kept
        });
    }

    /// Lets adopted sources go that have been silent for long: their place is for others.
    pub(super) fn let_strangers_go(&mut self, now: Now) {
        let silent = |source: &IpAddr| {
            let slot = *self.by_key.get(adopted_key(*source).as_str())?;
            let beats = self.entries[slot as usize].as_ref()?.standing.beats.as_ref()?;
            (now.wall.since(beats.heard?) > ADOPTED_KEPT).then_some((*source, slot))
        };
        let gone: Vec<(IpAddr, u32)> = self.ear.adopted.iter().filter_map(silent).collect();
        for (source, slot) in gone {
            self.ear.adopted.remove(&source);
            self.by_key.remove(adopted_key(source).as_str());
            self.out.changes.push(Change::Adopted { source, kept: false });
            self.dismiss(slot, now);
        }
    }

    /// Tells whoever holds this ticket, once what was decided is stored.
    pub(super) fn tell_after_commit(&mut self, ticket: Option<u64>) {
        self.out.heard.extend(ticket);
    }

    /// Stores beats with whatever else is stored now, or when they have waited long enough.
    pub(super) fn commit_beats(&mut self, now: Now) {
        let due = self.ear.commit_at.is_some_and(|at| at <= now.mono);
        if self.ear.dirty.is_empty() || (!due && self.out.changes.is_empty()) {
            return;
        }
        self.ear.commit_at = None;
        for slot in std::mem::take(&mut self.ear.dirty) {
            if let Some(entry) = &self.entries[slot as usize]
                && let Some(beats) = &entry.standing.beats
            {
                self.out.changes.push(Change::Beats {
                    series: Arc::clone(&entry.series.key),
                    beats: beats.clone(),
                });
            }
        }
        self.out.heard.append(&mut self.ear.tickets);
    }
}

/// A beat as history keeps it: how long the job ran, and which beats before it never came.
fn observation(standing: &Standing, beat: &Beat) -> Observation {
    let before = standing.beats.as_deref();
    let started = before.and_then(|b| b.started);
    let outcome = match beat.failure() {
        Some(reason) => Outcome::Down(reason),
        None => Outcome::Up,
    };
    let requests = match (before.and_then(|b| b.mark), beat.mark) {
        // What came while nobody listened was not lost on the way.
        (Some(old), Some(new))
            if old.boot == new.boot && new.seq > old.seq && before.is_some_and(|b| b.deaf.is_empty()) =>
        {
            let sent = u32::try_from(new.seq - old.seq).unwrap_or(u32::MAX);
            Some(Requests { sent, lost: sent - 1 })
        }
        _ => None,
    };
    Observation {
        at: beat.at,
        took: started.map_or(Duration::ZERO, |started| beat.at.since(started)),
        outcome,
        sample: Sample {
            requests,
            ..Sample::default()
        },
    }
}

fn adopted_key(source: IpAddr) -> String {
    format!("{source}\u{1f}heartbeat:{source}")
}

fn adopted_series(source: IpAddr, adoption: &Adoption) -> Arc<Series> {
    Arc::new(Series {
        key: adopted_key(source).into(),
        name: source.to_string(),
        monitor: Arc::new(Monitor {
            name: source.to_string(),
            labels: adoption.labels.clone(),
            policy: adoption.policy.clone(),
            notify: adoption.notify.clone(),
        }),
        target: format!("heartbeat:{source}"),
        kind: "heartbeat",
        host: source.to_string(),
        loopback: true,
        overlaps: false,
    })
}
