//! Long work of the daemon (folding, deleting, giving space back, verifying at the start): the log says every ten
//! seconds how far it is, and the service manager hears that a start or stop goes on. Never a bar: a daemon has no eyes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapwing_core::time::{Clock, Mono};
use lapwing_store::{Step, Teller};
use tracing::info;

use crate::manager::Manager;

/// Work that is over sooner is not worth a line.
const LONG: Duration = Duration::from_secs(5);
const LOG_EVERY: Duration = Duration::from_secs(10);
const MANAGER_EVERY: Duration = Duration::from_secs(1);
/// After so long a silence, the same work is another one.
const SILENCE: Duration = Duration::from_mins(1);

/// Tells the log and, while the daemon starts or stops, the service manager.
pub fn teller(clock: Arc<dyn Clock>, manager: Arc<Manager>) -> Teller {
    let pace = Mutex::new(Pace::default());
    Teller::new(move |step| {
        let due = pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .due(step, clock.mono());
        if due.log {
            info!("still at work: {}", text(step));
        }
        if due.manager {
            manager.goes_on(&text(step));
        }
    })
}

/// `12/340 MiB copied`, or as much of it as is known.
pub fn text(step: Step) -> String {
    let Step { what, done, total } = step;
    match (done, total) {
        (0, 0) => what.to_owned(),
        (_, 0) => format!("{done} {what}"),
        _ => format!("{done}/{total} {what}"),
    }
}

/// Who is to hear of a step.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    log: bool,
    manager: bool,
}

/// What is under way, by what is counted.
#[derive(Default)]
struct Pace {
    works: BTreeMap<&'static str, Work>,
    manager: Option<Mono>,
}

struct Work {
    since: Mono,
    seen: Mono,
    done: u64,
    logged: Option<Mono>,
}

impl Pace {
    fn due(&mut self, step: Step, now: Mono) -> Due {
        let work = self.works.entry(step.what).or_insert_with(|| Work::begin(now));
        if work.is_another(step, now) {
            *work = Work::begin(now);
        }
        (work.seen, work.done) = (now, step.done);
        let log =
            now.since(work.since) >= LONG && work.logged.is_none_or(|last| now.since(last) >= LOG_EVERY);
        if log {
            work.logged = Some(now);
        }
        // What is over within a second is none of its business.
        let last = *self.manager.get_or_insert(now);
        let manager = now.since(last) >= MANAGER_EVERY;
        if manager {
            self.manager = Some(now);
        }
        Due { log, manager }
    }
}

impl Work {
    fn begin(now: Mono) -> Self {
        Self {
            since: now,
            seen: now,
            done: 0,
            logged: None,
        }
    }

    fn is_another(&self, step: Step, now: Mono) -> bool {
        let again = step.done < self.done || (step.done == self.done && step.done > 0);
        again || now.since(self.seen) >= SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(done: u64, total: u64) -> Step {
        Step {
            what: "MiB copied",
            done,
            total,
        }
    }

    #[test]
    fn a_step_says_as_much_as_is_known() {
        assert_eq!(text(step(12, 340)), "12/340 MiB copied");
        assert_eq!(text(step(0, 340)), "0/340 MiB copied");
        assert_eq!(text(step(12, 0)), "12 MiB copied");
        assert_eq!(text(step(0, 0)), "MiB copied");
    }

    #[test]
    fn the_log_hears_of_long_work_every_ten_seconds_and_the_manager_every_second() {
        let mut pace = Pace::default();
        let mut logged = Vec::new();
        let mut told = 0;
        for tenth in 0..320 {
            let due = pace.due(step(tenth, 320), Mono(tenth * 100_000));
            logged.extend(due.log.then_some(tenth));
            told += usize::from(due.manager);
        }
        assert_eq!(logged, [50, 150, 250]);
        assert_eq!(told, 31);
    }

    #[test]
    fn work_that_begins_anew_is_not_long_yet() {
        let mut pace = Pace::default();
        let second = |n: u64| Mono(n * 1_000_000);
        assert!(!pace.due(step(1, 9), second(0)).log);
        assert!(pace.due(step(2, 9), second(6)).log);
        // Less than before, as much as before, or after a long silence: it is other work.
        assert!(!pace.due(step(1, 9), second(17)).log);
        assert!(!pace.due(step(1, 9), second(28)).log);
        assert!(!pace.due(step(2, 9), second(88)).log);
        // A check tells nothing but that it goes on.
        let mut pace = Pace::default();
        assert!(!pace.due(step(0, 0), second(0)).log);
        assert!(pace.due(step(0, 0), second(5)).log);
        // One work does not hide another.
        let other = Step {
            what: "hours folded",
            ..step(0, 0)
        };
        assert!(!pace.due(other, second(6)).log);
    }
}
