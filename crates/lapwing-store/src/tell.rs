//! How far long work is, told to whoever asked: the stores call it while they copy, verify, fold and give space back.
//!
//! It never changes what is done, and costs nothing where nobody asked.

use std::{fmt, sync::Arc};

/// How far a piece of long work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is counted and what became of it: `MiB copied`, `hours verified`.
    pub what: &'static str,
    /// Zero when the work begins.
    pub done: u64,
    /// Zero when nobody knows.
    pub total: u64,
}

/// Tells each [`Step`], from any thread. The default tells nobody.
#[derive(Clone, Default)]
pub struct Teller(Option<Arc<dyn Fn(Step) + Send + Sync>>);

/// Steps between two words to the teller, where a step is a row.
const ROWS: u64 = 1_024;

impl Teller {
    pub fn new(tell: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(crate) fn tell(&self, what: &'static str, done: u64, total: u64) {
        if let Some(tell) = &self.0 {
            tell(Step { what, done, total });
        }
    }

    /// As [`Teller::tell`], for rows: now and then, and never for a few.
    pub(crate) fn row(&self, what: &'static str, done: u64, total: u64) {
        if done > 0 && done.is_multiple_of(ROWS) {
            self.tell(what, done, total);
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Teller"
        } else {
            "Teller(nobody)"
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use lapwing_core::{
        observation::{Observation, Outcome, Sample},
        time::Wall,
    };

    use super::*;
    use crate::{DataDir, History, Row};

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn folding_deleting_and_reading_back_tell_how_far_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let told: Arc<Mutex<Vec<Step>>> = Arc::default();
        let hears = Arc::clone(&told);
        let teller = Teller::new(move |step| hears.lock().unwrap_or_else(PoisonError::into_inner).push(step));
        let open = || {
            let dir = DataDir::open(dir.path(), Wall(0)).unwrap();
            dir.telling(teller.clone()).history().unwrap()
        };
        let heard = |wanted: &str| {
            let steps = std::mem::take(&mut *told.lock().unwrap());
            let of = steps.into_iter().filter(|step| step.what == wanted);
            of.map(|step| (step.done, step.total)).collect::<Vec<_>>()
        };
        let seen = |at| Observation {
            at: Wall(at),
            took: Duration::from_millis(1),
            outcome: Outcome::Up,
            sample: Sample::default(),
        };
        let keys: Vec<String> = (0..2_500).map(|n| format!("series-{n}")).collect();
        let history = open();
        for hour in 0..2 {
            let observation = seen(hour * HOUR);
            let row = |key| Row {
                series: key,
                observation: &observation,
                facts: &[],
            };
            let rows: Vec<Row<'_>> = keys.iter().map(|key| row(key)).collect();
            history.append(&rows).unwrap();
        }
        drop(history);
        let history = open();
        assert_eq!(heard("observations read back"), [(0, 0), (2_500, 0)]);
        let now = Wall(10 * HOUR);
        history.fold(now).unwrap();
        assert_eq!(
            heard("hours of series folded"),
            [1_024, 2_048, 3_072, 4_096].map(|n| (n, 5_000))
        );
        history.check().unwrap();
        assert_eq!(heard("hours verified"), [(0, 1), (1, 1)]);
        history.retain(now, Duration::from_hours(1), u64::MAX).unwrap();
        assert_eq!(heard("hours of old observations deleted"), [(0, 0), (1, 0)]);
    }
}
