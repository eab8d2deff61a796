//! What a report is made of: series, outages, unknown times and runs, each key space read once.
//!
//! It decodes what reports tell and nothing else, for a year of many series must be there at once.

use std::collections::BTreeMap;

use lapwing_core::{outage::Outage, state::State, time::Wall, uptime::Interval};
use serde::{Deserialize, Serialize};

use crate::{
    Ledger,
    book::{self, BookError},
    record::{self, Record, StoredWall, UnknownSpan},
    space,
    standing::{OutageRecord, StandingRecord},
};

/// What the ledger knows of all series, watched now or once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// By key.
    pub series: BTreeMap<String, SeriesStory>,
    /// Start and last sign of life of every run of the daemon, oldest first.
    pub runs: Vec<(Wall, Wall)>,
}

/// What the ledger knows of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesStory {
    /// None when it is watched no more.
    pub watched: Option<Watched>,
    /// Oldest first.
    pub outages: Vec<Outage>,
    /// Times in which nothing was known, by their begin.
    pub unknown: Vec<Interval>,
}

/// A series that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What people call it; empty when that was not stored.
    pub name: String,
    pub state: State,
    /// When `state` began.
    pub since: Wall,
    /// The first conclusive check ever.
    pub known_since: Option<Wall>,
}

/// The part of a standing that reports tell. It leaves out what is long: windows of results.
#[derive(Serialize, Deserialize)]
struct WatchedRecord {
    #[serde(default)]
    name: String,
    state: String,
    since: StoredWall,
    #[serde(default)]
    known_since: Option<StoredWall>,
}

impl Record for WatchedRecord {
    const VERSION: u32 = StandingRecord::VERSION;
}

impl From<WatchedRecord> for Watched {
    fn from(it: WatchedRecord) -> Self {
        Self {
            name: it.name,
            // A word of a later version reads as never asked.
            state: State::parse(&it.state).unwrap_or_default(),
            since: it.since.into(),
            known_since: it.known_since.map(Into::into),
        }
    }
}

/// Reads the whole story.
pub fn read(ledger: &dyn Ledger) -> Result<Story, BookError> {
    let mut story = Story {
        runs: book::runs(ledger)?,
        ..Story::default()
    };
    for entry in ledger.prefix(&space::all_series())?.0 {
        if let Some(key) = space::name_in(&entry.key, &space::all_series()) {
            let watched = record::read::<WatchedRecord>(&entry)?;
            story.series.entry(key).or_default().watched = Some(watched.into());
        }
    }
    for entry in ledger.prefix(&space::all_outages())?.0 {
        if let Some((key, _)) = space::series_and_time(&entry.key) {
            let outage = record::read::<OutageRecord>(&entry)?;
            story.series.entry(key).or_default().outages.push(outage.into());
        }
    }
    for entry in ledger.prefix(&space::all_spans())?.0 {
        if let Some((key, from)) = space::series_and_time(&entry.key) {
            let span: UnknownSpan = record::read(&entry)?;
            let to = span.to.map_or(from, Into::into);
            let unknown = Interval { from, to };
            story.series.entry(key).or_default().unknown.push(unknown);
        }
    }
    Ok(story)
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        time::Duration,
    };

    use lapwing_core::{judge::Standing, lookout::Change, observation::Reason, outage::End};

    use super::*;
    use crate::{Change as Changed, Entry, Guard, Key, LedgerError, MemLedger, Op, Revision, Session};

    /// Counts what is read.
    #[derive(Default)]
    struct Counted {
        ledger: MemLedger,
        entries: AtomicUsize,
        ranges: Mutex<Vec<Key>>,
    }

    impl Counted {
        fn ranges(&self) -> MutexGuard<'_, Vec<Key>> {
            self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Ledger for Counted {
        fn commit(&self, guards: &[Guard], ops: &[Op]) -> Result<Revision, LedgerError> {
            self.ledger.commit(guards, ops)
        }

        fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<(Vec<Entry>, Revision), LedgerError> {
            let found = self.ledger.range(from, to, limit)?;
            self.entries.fetch_add(found.0.len(), Relaxed);
            self.ranges().push(from.clone());
            Ok(found)
        }

        fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
            self.entries.fetch_add(1, Relaxed);
            self.ledger.get(key)
        }

        fn changes(&self, since: Revision) -> Result<Vec<Changed>, LedgerError> {
            self.ledger.changes(since)
        }

        fn session(&self) -> Session {
            self.ledger.session()
        }

        fn backup(&self, to: &Path) -> Result<(), LedgerError> {
            self.ledger.backup(to)
        }
    }

    fn outage(began: i64) -> Outage {
        Outage {
            began: Wall(began),
            begin_uncertainty: Some(Duration::from_secs(30)),
            last_up: None,
            reason: Reason::new("connect.refused", "connection refused"),
            evidence: Vec::new(),
            failed_checks: 3,
            reminded: 0,
            end: Some(End {
                at: Wall(began + 9),
                uncertainty: Duration::from_secs(5),
                recovered: true,
            }),
            verdict: None,
            acknowledged: None,
        }
    }

    /// Two series of which the second is watched no more, with `n` outages and unknown times each.
    fn filled(n: i64) -> Counted {
        let counted = Counted::default();
        let (here, gone) = (Arc::<str>::from("here"), Arc::<str>::from("gone"));
        let mut changes = vec![Change::Standing {
            series: Arc::clone(&here),
            name: "Here".to_owned(),
            standing: Box::new(Standing {
                state: State::Inconclusive,
                since: Wall(7),
                known_since: Some(Wall(-3)),
                ..Standing::default()
            }),
        }];
        for nth in 0..n {
            changes.push(Change::Watch {
                started: Wall(nth * 100),
                until: Wall(nth * 100 + 90),
            });
            for series in [&here, &gone] {
                changes.push(Change::Outage {
                    series: Arc::clone(series),
                    outage: Box::new(outage(nth * 100)),
                });
                changes.push(Change::Unknown {
                    series: Arc::clone(series),
                    state: State::Inconclusive,
                    from: Wall(nth * 100 + 50),
                    to: Wall(nth * 100 + 60),
                });
            }
        }
        let mut ops = Vec::new();
        for change in &changes {
            book::operations(change, &mut ops);
        }
        counted.commit(&[], &ops).unwrap();
        counted
    }

    #[test]
    fn everything_comes_back() {
        let story = read(&filled(2)).unwrap();
        let told = |watched| SeriesStory {
            watched,
            outages: vec![outage(0), outage(100)],
            unknown: [50, 150]
                .map(|from| Interval {
                    from: Wall(from),
                    to: Wall(from + 10),
                })
                .into(),
        };
        let here = Watched {
            name: "Here".to_owned(),
            state: State::Inconclusive,
            since: Wall(7),
            known_since: Some(Wall(-3)),
        };
        assert_eq!(story.runs, [(Wall(0), Wall(90)), (Wall(100), Wall(190))]);
        assert_eq!(story.series["here"], told(Some(here)));
        assert_eq!(story.series["gone"], told(None));
        assert_eq!(read(&MemLedger::new()).unwrap(), Story::default());
    }

    #[test]
    fn every_entry_is_read_once() {
        for n in [1, 50] {
            let counted = filled(n);
            read(&counted).unwrap();
            // A run, two outages and two unknown times for each, and a standing.
            assert_eq!(counted.entries.load(Relaxed) as i64, 5 * n + 1);
            assert_eq!(counted.ranges().len(), 4, "as many reads however much there is");
        }
    }
}
