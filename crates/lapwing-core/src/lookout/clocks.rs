//! What the clocks say has happened: the wall clock was set, or nobody ran for a while.

use std::sync::Arc;

use super::{Change, Lookout};
use crate::{
    time::{Now, Wall},
    uptime::Interval,
};

impl Lookout {
    /// The wall clock was set: all times of running stories move with it, so that lengths stay what they are.
    pub(super) fn clock_step(&mut self, by: i64, now: Now) {
        let before = now.wall.shifted(by.saturating_neg());
        let span = Interval {
            from: self.born,
            to: before,
        };
        self.born = self.born.shifted(by);
        self.forget_running();
        for slot in 0..self.entries.len() {
            let Some(entry) = &mut self.entries[slot] else {
                continue;
            };
            let stood = entry.standing.outage.as_ref().map(|o| o.began);
            entry.standing.shift(by, span);
            if let (Some(began), Some(outage)) = (stood, &entry.standing.outage)
                && began != outage.began
            {
                let series = &entry.series.key;
                self.out.changes.push(Change::OutageMoved {
                    series: Arc::clone(series),
                    began,
                });
                let outage = outage.clone();
                self.out.changes.push(Change::Outage {
                    series: Arc::clone(series),
                    outage,
                });
            }
            // Stored with its high-water mark: what history holds from before the step is never judged again.
            self.out.changes.push(entry.stored());
            if entry.is_passive() {
                self.ear.remember(slot as u32, now);
            }
            self.arm(slot as u32, now);
        }
        self.ear.stepped = Some(now.mono);
        self.line.shift(by);
        // The time before the step stays as it was told on the old clock; from here on the new one counts.
        let (started, until) = (self.watch.0, before.max(self.watch.0));
        self.out.changes.push(Change::Watch { started, until });
        self.watch = (now.wall, now.wall);
        self.out.changes.push(Change::Watch {
            started: now.wall,
            until: now.wall,
        });
    }

    /// Nobody watched between `from` and now: that time is unknown for every series.
    pub(super) fn slept(&mut self, from: Wall, now: Now) {
        self.waive(from, now);
        self.forget_running();
        let until = from.max(self.watch.0);
        self.out.changes.push(Change::Watch {
            started: self.watch.0,
            until,
        });
        self.watch = (now.wall, now.wall);
        self.out.changes.push(Change::Watch {
            started: now.wall,
            until: now.wall,
        });
    }

    /// Probes under way have waited through a sleep, or carry times of a clock that was set: nobody can judge them.
    /// Their results are not wanted, and the next slot asks again.
    fn forget_running(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.forget_running();
        }
    }
}
