//! Notices when this process did not run: stopped, starved, paused with its machine. A silence that a stall has made is
//! our own fault, never the target's.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapwing_core::{
    observation::{Observation, Outcome, Reason},
    time::{Clock, Mono, short},
};

const TICK: Duration = Duration::from_millis(50);
/// A tick later than this is a stall.
const LATE: Duration = Duration::from_millis(50);

/// The newest stall. A thread of its own looks for them as long as somebody holds this.
#[derive(Debug, Default)]
pub struct Stalls {
    ended_us: AtomicU64,
    length_us: AtomicU64,
}

impl Stalls {
    pub fn watch(clock: Arc<dyn Clock>) -> std::io::Result<Arc<Self>> {
        let stalls = Arc::new(Self::default());
        let watched = Arc::downgrade(&stalls);
        std::thread::Builder::new()
            .name("stalls".to_owned())
            .spawn(move || look(&*clock, &watched))?;
        Ok(stalls)
    }

    /// Turns a silence into our own fault when a stall lies within the probe that began at `started`, and is long
    /// enough to have made it.
    pub fn excuse(&self, seen: &mut Observation, started: Mono, timeout: Duration) {
        let Outcome::Down(reason) = &seen.outcome else {
            return;
        };
        if !reason.code.as_str().starts_with("timeout.") {
            return;
        }
        let length = Duration::from_micros(self.length_us.load(Ordering::Acquire));
        if Mono(self.ended_us.load(Ordering::Acquire)) <= started || length < LATE.max(timeout / 10) {
            return;
        }
        let length = short(Duration::from_millis(length.as_millis() as u64));
        let reason = Reason::new(
            "ours.overload",
            format!("this process did not run for {length} during the check"),
        );
        seen.outcome = Outcome::Inconclusive(reason);
    }
}

fn look(clock: &dyn Clock, watched: &Weak<Stalls>) {
    let mut last = clock.mono();
    loop {
        std::thread::sleep(TICK);
        let Some(stalls) = watched.upgrade() else { return };
        let now = clock.mono();
        let late = now.since(last).saturating_sub(TICK);
        last = now;
        if late > LATE {
            stalls.length_us.store(late.as_micros() as u64, Ordering::Release);
            stalls.ended_us.store(now.0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use lapwing_core::{observation::Sample, time::Wall};

    use super::*;

    fn silence() -> Observation {
        Observation {
            at: Wall(0),
            took: Duration::from_secs(2),
            outcome: Outcome::Down(Reason::new("timeout.connect", "no connection within 2s")),
            sample: Sample::default(),
        }
    }

    #[test]
    fn only_a_silence_with_a_long_stall_in_it_is_excused() {
        let stalls = Stalls {
            ended_us: AtomicU64::new(5_000_000),
            length_us: AtomicU64::new(3_000_000),
        };
        let timeout = Duration::from_secs(2);
        for (started, excused) in [(4_000_000, true), (5_000_000, false), (6_000_000, false)] {
            let mut seen = silence();
            stalls.excuse(&mut seen, Mono(started), timeout);
            assert_eq!(
                matches!(seen.outcome, Outcome::Inconclusive(_)),
                excused,
                "{started}"
            );
        }
        let mut refused = silence();
        refused.outcome = Outcome::Down(Reason::new("connect.refused", "connection refused"));
        stalls.excuse(&mut refused, Mono(4_000_000), timeout);
        assert!(matches!(refused.outcome, Outcome::Down(_)));
        let short = Stalls {
            ended_us: AtomicU64::new(5_000_000),
            length_us: AtomicU64::new(60_000),
        };
        let mut seen = silence();
        short.excuse(&mut seen, Mono(4_000_000), timeout);
        assert!(matches!(seen.outcome, Outcome::Down(_)));
    }
}
