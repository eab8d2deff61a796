//! A new plan: what is watched from now on, what goes on as it was, what is let go.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{Change, Entry, Lookout};
use crate::{
    event::EventKind,
    id::stable_hash,
    judge::Standing,
    monitor::{Plan, Series},
    state::State,
    time::{Mono, Now, Wall},
};

impl Lookout {
    pub(super) fn plan(&mut self, mut plan: Plan, now: Now) {
        self.keep_adopted(&mut plan);
        self.zone = plan.zone.unwrap_or(TimeZone::UTC);
        self.notifiers = plan.notifiers.iter().map(|n| Arc::clone(&n.name)).collect();
        self.outbox.configure(&plan.notifiers);
        let count = plan.series.len();
        self.entries
            .reserve_exact(count.saturating_sub(self.entries.len()));
        let mut kept: HashMap<Arc<str>, u32> = HashMap::with_capacity(count);
        for series in plan.series {
            let key = Arc::clone(&series.key);
            let slot = match self.by_key.remove(&key) {
                Some(slot) => {
                    self.replan(slot, series, now);
                    slot
                }
                None => self.admit(series, count, now),
            };
            kept.insert(key, slot);
        }
        let gone: Vec<u32> = std::mem::replace(&mut self.by_key, kept).into_values().collect();
        for slot in gone {
            self.dismiss(slot, now);
        }
        // What an earlier run watched and this plan does not: its open outages end where its knowledge ended.
        for (series, mut standing) in std::mem::take(&mut self.restored) {
            let known_until = standing.seen.unwrap_or(standing.since);
            self.forget(series, &mut standing, known_until);
        }
        self.recount(now);
    }

    /// An unchanged or edited series goes on: same standing, same place in the schedule.
    pub(super) fn replan(&mut self, slot: u32, series: Arc<Series>, now: Now) {
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        let reschedule = entry.series.monitor.policy != series.monitor.policy;
        entry.series = series;
        if reschedule {
            entry.reschedule(now.mono);
        }
        self.arm(slot, now);
    }

    pub(super) fn admit(&mut self, series: Arc<Series>, count: usize, now: Now) -> u32 {
        let restored = self.restored.remove(&series.key);
        let new = restored.is_none();
        let hash = stable_hash(&series.key);
        let mut entry = Entry {
            standing: restored.unwrap_or_else(|| Standing::new(now.wall)),
            hash,
            last_slot: None,
            next_slot: Mono(u64::MAX),
            running: VecDeque::new(),
            waiting: None,
            wanted: false,
            asked: false,
            last: None,
            skipped: 0,
            wake: 0,
            blind: false,
            series,
        };
        entry.next_slot = entry.first_slot(now.mono, count);
        if new {
            let mut event = self.event(EventKind::Monitoring, Some(&entry), now);
            event.state = State::Pending;
            self.tell(event, Some(&entry.series));
            self.out.changes.push(entry.stored());
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[slot as usize] = Some(Box::new(entry));
        self.arm(slot, now);
        slot
    }

    pub(super) fn dismiss(&mut self, slot: u32, now: Now) {
        let Some(mut entry) = self.entries[slot as usize].take() else {
            return;
        };
        self.free.push(slot);
        self.forget(Arc::clone(&entry.series.key), &mut entry.standing, now.wall);
    }

    pub(super) fn forget(&mut self, series: Arc<str>, standing: &mut Standing, at: Wall) {
        if let Some(outage) = standing.retire(at) {
            self.out.changes.push(Change::Outage {
                series: Arc::clone(&series),
                outage: Box::new(outage),
            });
        }
        if standing.state.is_unknown() && at > standing.since {
            let (state, from) = (standing.state, standing.since);
            self.out.changes.push(Change::Unknown {
                series: Arc::clone(&series),
                state,
                from,
                to: at,
            });
        }
        self.out.changes.push(Change::Forget { series });
    }

    pub(super) fn recount(&mut self, now: Now) {
        for entry in self.entries.iter_mut().flatten() {
            entry.blind = entry.tells_of_line() && entry.is_blind();
        }
        let network = self
            .entries
            .iter()
            .flatten()
            .filter(|e| e.tells_of_line())
            .count();
        let blind = self.entries.iter().flatten().filter(|e| e.blind).count();
        self.line.recount(network, blind);
        if let Some(line) = self.line.forget(now.wall) {
            self.tell_line(line, now);
        }
    }
}
