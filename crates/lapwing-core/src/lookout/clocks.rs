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
        let span = Interval {
            from: self.watch.0,
            to: now.wall.shifted(by.saturating_neg()),
        };
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
            self.arm(slot as u32, now);
        }
        self.line.shift(by);
        // The running watch is told on the new clock; the time before the step stays as it was stored.
        self.watch = (now.wall, now.wall);
        self.out.changes.push(Change::Watch {
            started: now.wall,
            until: now.wall,
        });
    }

    /// Nobody watched between `from` and now: that time is unknown for every series.
    pub(super) fn slept(&mut self, from: Wall, now: Now) {
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
}
