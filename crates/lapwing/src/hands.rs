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
    time::Mono,
};
use lapwing_net::Net;
use lapwing_probe::Prober;
use tokio::sync::{Semaphore, mpsc};

use crate::engine::Message;

/// Runs probes: a task each, as many at once as there are descriptors for.
pub struct Hands {
    net: Net,
    probers: Arc<HashMap<Arc<str>, Prober>>,
    engine: mpsc::Sender<Message>,
    places: Arc<Semaphore>,
    meter: Arc<Meter>,
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").field("probers", &self.probers.len()).finish_non_exhaustive()
    }
}

impl Hands {
    /// `places` bounds the probes under way; more wait for their turn and start late.
    pub fn new(
        net: Net,
        probers: Arc<HashMap<Arc<str>, Prober>>,
        engine: mpsc::Sender<Message>,
        places: Arc<Semaphore>,
        meter: Arc<Meter>,
    ) -> Self {
        Self { net, probers, engine, places, meter }
    }

    /// Starts a probe that was due at `slot`. Its result comes back as an input.
    pub fn probe(&self, series: &Series, run: RunId, slot: Mono) {
        let Some(prober) = self.probers.get(&series.key).cloned() else { return };
        let (net, engine, meter) = (self.net.clone(), self.engine.clone(), Arc::clone(&self.meter));
        let places = Arc::clone(&self.places);
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            meter.started(net.clock().mono().since(slot));
            let observation = prober.observe(&net).await;
            meter.ended();
            let input = Box::new(Input::Observed { run, observation });
            // An engine that is gone wants no more results.
            drop(engine.send(Message::Input(input)).await);
        });
    }
}

/// Upper bounds of the lateness buckets, in microseconds.
const BUCKETS: [u64; 12] =
    [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 10_000_000];

/// Counts probes and how late they start.
#[derive(Debug, Default)]
pub struct Meter {
    started: AtomicU64,
    ended: AtomicU64,
    late: [AtomicU64; BUCKETS.len() + 1],
}

impl Meter {
    fn started(&self, late: Duration) {
        let late = late.as_micros() as u64;
        let bucket = BUCKETS.iter().position(|b| late <= *b).unwrap_or(BUCKETS.len());
        self.late[bucket].fetch_add(1, Ordering::Relaxed);
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

    /// The lateness that `share` (0 to 1) of all starts kept, as the upper bound of its bucket, in milliseconds.
    pub fn late_ms(&self, share: f64) -> f64 {
        let counts: Vec<u64> = self.late.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let mut below = 0;
        for (n, count) in counts.iter().enumerate() {
            below += count;
            if total > 0 && below as f64 >= share * total as f64 {
                return BUCKETS.get(n).map_or(f64::INFINITY, |us| *us as f64 / 1e3);
            }
        }
        0.0
    }
}
