//! The hands of the engine: they carry out probes and say what came of them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapwing_core::{
    lookout::{Input, RunId},
    monitor::Series,
    observation::{Observation, Outcome, Reason, Sample},
    time::Mono,
};
use lapwing_net::Net;
use lapwing_probe::Prober;
use tokio::sync::{Semaphore, mpsc};

use crate::{engine::Message, stalls::Stalls};

/// Runs probes: a task each, as many at once as there are descriptors for.
pub struct Hands {
    pub net: Net,
    pub probers: Arc<HashMap<Arc<str>, Prober>>,
    pub engine: mpsc::Sender<Message>,
    /// Bounds the probes under way; more wait for their turn and start late.
    pub places: Arc<Semaphore>,
    pub meter: Arc<Meter>,
    pub stalls: Arc<Stalls>,
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands")
            .field("probers", &self.probers.len())
            .finish_non_exhaustive()
    }
}

impl Hands {
    /// Starts a probe that was due at `slot`. Its result comes back as an input.
    pub fn probe(&self, series: &Series, run: RunId, slot: Mono) {
        let Some(prober) = self.probers.get(&series.key).cloned() else {
            return;
        };
        let (net, meter) = (self.net.clone(), Arc::clone(&self.meter));
        let (places, stalls) = (Arc::clone(&self.places), Arc::clone(&self.stalls));
        let promise = Promise {
            engine: self.engine.clone(),
            net: net.clone(),
            run: Some(run),
        };
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else {
                return;
            };
            let started = net.clock().mono();
            meter.started(started.since(slot));
            let mut observation = prober.observe(&net).await;
            stalls.excuse(&mut observation, started, prober.settings().timeout);
            meter.ended();
            promise.keep(observation).await;
        });
    }
}

/// A result that the engine waits for. It comes even when the probe's task ends by a defect: a series whose result
/// never came would never be asked again.
struct Promise {
    engine: mpsc::Sender<Message>,
    net: Net,
    run: Option<RunId>,
}

impl Promise {
    async fn keep(mut self, observation: Observation) {
        if let Some(run) = self.run.take() {
            let input = Box::new(Input::Observed { run, observation });
            // An engine that is gone wants no more results.
            drop(self.engine.send(Message::Input(input)).await);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        let observation = Observation {
            at: self.net.clock().now().wall,
            took: Duration::ZERO,
            outcome: Outcome::Inconclusive(Reason::new(
                "ours.panic",
                "the probe ended by a defect of Lapwing",
            )),
            sample: Sample::default(),
        };
        // A full queue is left alone here: a drop cannot wait.
        drop(
            self.engine
                .try_send(Message::Input(Box::new(Input::Observed { run, observation }))),
        );
    }
}

/// Buckets of lateness, in microseconds: each as wide as its value, then eight to a doubling, so that a bound is at
/// most an eighth above what it holds. The last one ends at two minutes and holds everything later.
const BUCKETS: usize = 8 * 25;

/// Counts probes and how late they start.
#[derive(Debug)]
pub struct Meter {
    started: AtomicU64,
    ended: AtomicU64,
    late: [AtomicU64; BUCKETS],
}

impl Default for Meter {
    fn default() -> Self {
        let late = std::array::from_fn(|_| AtomicU64::default());
        Self {
            started: AtomicU64::default(),
            ended: AtomicU64::default(),
            late,
        }
    }
}

impl Meter {
    fn started(&self, late: Duration) {
        self.late[bucket(late)].fetch_add(1, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Probes that have ended since the start.
    pub fn checks(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Probes under way.
    pub fn running(&self) -> u64 {
        self.started.load(Ordering::Relaxed).saturating_sub(self.checks())
    }

    /// How late probes started: upper bounds of buckets in milliseconds, ascending, and the probes in each. Buckets
    /// without a probe are left out.
    pub fn late(&self) -> Vec<(f64, u64)> {
        let counts = self.late.iter().map(|c| c.load(Ordering::Relaxed)).enumerate();
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(n, count)| (bound(n) as f64 / 1e3, count))
            .collect()
    }
}

/// The lateness that `share` (0 to 1) of all starts in `late` kept, as the upper bound of its bucket.
pub fn late_ms(late: &[(f64, u64)], share: f64) -> f64 {
    let total: u64 = late.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    let mut reached = late.iter().filter(|(_, count)| {
        below += count;
        below as f64 >= share * total as f64
    });
    reached.next().map_or(0.0, |(bound, _)| *bound)
}

fn bucket(late: Duration) -> usize {
    let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = us.ilog2() as usize;
    let found = if octave < 3 {
        us as usize
    } else {
        (octave - 2) * 8 + (us >> (octave - 3)) as usize % 8
    };
    found.min(BUCKETS - 1)
}

/// The largest lateness in a bucket, in microseconds.
fn bound(bucket: usize) -> u64 {
    match bucket / 8 {
        0 => bucket as u64,
        octave => ((8 + bucket as u64 % 8 + 1) << (octave - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_value_and_little_more() {
        for us in (0..5_000)
            .chain((0..26).map(|n| 1 << n))
            .chain((3..26).map(|n| (1 << n) - 1))
        {
            let bound = bound(bucket(Duration::from_micros(us)));
            assert!(
                bound >= us && bound <= us.max(1) + us / 8,
                "{us} us in the bucket up to {bound}"
            );
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::from_secs(130)), BUCKETS - 1);
        assert!((100_000_000..140_000_000).contains(&bound(BUCKETS - 1)));
    }

    #[test]
    fn shares_are_those_of_the_starts() {
        let meter = Meter::default();
        assert!(late_ms(&meter.late(), 0.99) <= 0.0);
        for ms in 1..=100 {
            meter.started(Duration::from_millis(ms));
        }
        let late = meter.late();
        for (share, least, most) in [(0.5, 50.0, 57.0), (0.99, 99.0, 112.0), (1.0, 100.0, 113.0)] {
            let found = late_ms(&late, share);
            assert!((least..most).contains(&found), "{share}: {found}");
        }
        meter.ended();
        assert_eq!((meter.checks(), meter.running()), (1, 99));
    }
}
