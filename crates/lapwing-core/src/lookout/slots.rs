//! When each series is asked, and which of its slots are skipped. It must never start a second probe where one is enough.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use super::{Effect, Lookout, RunId};
use crate::{
    schedule,
    time::{Mono, Now},
};

/// How late a slot may be used that found the probe before still running.
const PATIENCE: Duration = Duration::from_millis(200);

impl Lookout {
    pub(super) fn start_if_due(&mut self, slot: u32, now: Now) {
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        if entry.next_slot > now.mono {
            return;
        }
        let due = entry.next_slot;
        let policy = &entry.series.monitor.policy;
        let step = entry.standing.interval(policy);
        let (next, missed) = if step == policy.interval {
            let on_grid = schedule::next_on_grid(due, entry.hash, step);
            // A stall is not made up for by a burst.
            if on_grid <= now.mono {
                let next = schedule::next_on_grid(now.mono, entry.hash, step);
                (
                    next,
                    now.mono.since(on_grid).as_micros() as u64 / step.as_micros().max(1) as u64 + 1,
                )
            } else {
                (on_grid, 0)
            }
        } else {
            schedule::next_after(due, step, now.mono)
        };
        entry.skipped += missed;
        entry.last_slot = Some(due);
        entry.next_slot = next;
        if !entry.has_room() {
            entry.skipped += u64::from(entry.waiting.replace(due).is_some());
            return;
        }
        self.start(slot, due);
    }

    /// Asks these series now. Their slots stay where they are. A probe under way began before somebody wanted to know, and
    /// is no answer: where there is no room beside it, one more begins when it ends. Nobody asks what is paused or speaks by
    /// itself.
    pub(super) fn check(&mut self, series: &[Arc<str>], now: Now) {
        for key in series {
            let Some(slot) = self.by_key.get(key).copied() else {
                continue;
            };
            let Some(entry) = &mut self.entries[slot as usize] else {
                continue;
            };
            if entry.is_passive() || entry.standing.is_paused() || self.stopped {
                continue;
            }
            if entry.has_room() {
                self.start(slot, now.mono);
            } else {
                entry.wanted = true;
            }
        }
    }

    fn start(&mut self, slot: u32, due: Mono) {
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        self.last_run += 1;
        let run = RunId {
            slot,
            number: self.last_run,
        };
        entry.running.push_back((run.number, None));
        self.out.probes.push(Effect::Probe {
            series: Arc::clone(&entry.series),
            run,
            slot: due,
        });
    }

    /// A probe has ended: a slot that came while it ran is used if that was only a moment ago, else it is skipped.
    /// So a check that needs its whole timeout, which may be as long as the interval, does not cost the next one. What
    /// somebody wants to know begins however long it waited.
    pub(super) fn make_room(&mut self, slot: u32, now: Now) {
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        if !entry.has_room() {
            return;
        }
        let wanted = std::mem::take(&mut entry.wanted).then_some(now.mono);
        let patience = (entry.standing.interval(&entry.series.monitor.policy) / 10).min(PATIENCE);
        let usable = |due: &Mono| !self.stopped && now.mono.since(*due) <= patience;
        let waiting = entry.waiting.take();
        let due = waiting.filter(usable);
        entry.skipped += u64::from(waiting.is_some() && due.is_none());
        if let Some(due) = due.or(wanted).filter(|_| !self.stopped) {
            self.start(slot, due);
        }
    }

    /// Sets the moment at which the series needs attention next.
    pub(super) fn arm(&mut self, slot: u32, now: Now) {
        let Some(entry) = &mut self.entries[slot as usize] else {
            return;
        };
        let tick = entry.standing.next_tick(&entry.series.monitor.policy);
        // A full hour may move with the zone's minutes: never look for it without a pause.
        let tick = tick.map(|due| {
            now.mono
                + if due > now.wall {
                    due.since(now.wall)
                } else {
                    Duration::from_secs(1)
                }
        });
        let at = tick.map_or(entry.next_slot, |t| t.min(entry.next_slot));
        self.last_run += 1;
        entry.wake = self.last_run;
        self.wakes.push(Reverse((at, slot, entry.wake)));
        // Entries that no longer count are dropped when they pile up.
        if self.wakes.len() > 64 + 4 * self.entries.len() {
            let entries = &self.entries;
            self.wakes.retain(|Reverse((_, slot, number))| {
                entries[*slot as usize]
                    .as_ref()
                    .is_some_and(|e| e.wake == *number)
            });
        }
    }
}
