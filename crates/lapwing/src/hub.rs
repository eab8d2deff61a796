//! Hands every result to all who follow results. It is called from the engine's turn: it must never wait, and costs next to
//! nothing while nobody follows. A follower that is too slow is let go.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use lapwing_core::{monitor::Series, observation::Observation, time::Wall};
use lapwing_web::stream::NoPlace;
use tokio::sync::mpsc;

/// Results that wait for one follower of all that comes.
const WAITING: usize = 16_384;
const FOLLOWERS: usize = 64;

/// Which results somebody wants.
#[derive(Debug)]
pub enum Interest {
    /// Of the monitors and series with these names; all when there is none.
    Names(HashSet<String>),
    /// The first of each of the series with these keys, of probes that began at `since` or later.
    First { keys: HashSet<Arc<str>>, since: Wall },
}

#[derive(Debug)]
pub struct Hub {
    followers: AtomicUsize,
    /// None once it is closed.
    places: Mutex<Option<Vec<Place>>>,
    waiting: usize,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            followers: AtomicUsize::default(),
            places: Mutex::new(Some(Vec::new())),
            waiting: WAITING,
        }
    }
}

pub type Result = (Arc<Series>, Arc<Observation>);

#[derive(Debug)]
struct Place {
    results: mpsc::Sender<Result>,
    interest: Interest,
    slow: Arc<AtomicBool>,
}

/// The results of one who follows.
#[derive(Debug)]
pub struct Followed {
    results: mpsc::Receiver<Result>,
    slow: Arc<AtomicBool>,
}

impl Hub {
    /// Hands on a result. Never waits.
    pub fn show(&self, series: &Arc<Series>, seen: &Arc<Observation>) {
        if self.followers.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(places) = &mut *self.places() {
            places.retain_mut(|place| place.take(series, seen));
            self.followers.store(places.len(), Ordering::Relaxed);
        }
    }

    /// Results from now on.
    pub fn follow(&self, interest: Interest) -> std::result::Result<Followed, NoPlace> {
        let mut places = self.places();
        let places = places.as_mut().ok_or(NoPlace::Closed)?;
        places.retain(|place| !place.results.is_closed());
        if places.len() >= FOLLOWERS {
            return Err(NoPlace::Full);
        }
        let waiting = match &interest {
            Interest::Names(_) => self.waiting,
            // Each has its place: whoever reads them is never too slow.
            Interest::First { keys, .. } => keys.len().max(1),
        };
        let (sender, results) = mpsc::channel(waiting);
        let slow = Arc::<AtomicBool>::default();
        places.push(Place {
            results: sender,
            interest,
            slow: Arc::clone(&slow),
        });
        self.followers.store(places.len(), Ordering::Relaxed);
        Ok(Followed { results, slow })
    }

    /// Nothing more comes: everybody who follows reads to the end.
    pub fn close(&self) {
        *self.places() = None;
        self.followers.store(0, Ordering::Relaxed);
    }

    fn places(&self) -> MutexGuard<'_, Option<Vec<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// False when it no longer follows.
    fn take(&mut self, series: &Arc<Series>, seen: &Arc<Observation>) -> bool {
        if !self.interest.takes(series, seen) {
            return true;
        }
        let sent = self.results.try_send((Arc::clone(series), Arc::clone(seen)));
        let full = matches!(sent, Err(mpsc::error::TrySendError::Full(_)));
        self.slow.fetch_or(full, Ordering::AcqRel);
        sent.is_ok() && !self.interest.is_over()
    }
}

impl Interest {
    fn takes(&mut self, series: &Series, seen: &Observation) -> bool {
        match self {
            Self::Names(names) => {
                names.is_empty() || names.contains(&series.monitor.name) || names.contains(&series.name)
            }
            Self::First { keys, since } => seen.at >= *since && keys.remove(&series.key),
        }
    }

    /// True when nothing more is wanted.
    fn is_over(&self) -> bool {
        matches!(self, Self::First { keys, .. } if keys.is_empty())
    }
}

impl Followed {
    /// The next result; None when nothing more comes.
    pub async fn next(&mut self) -> Option<Result> {
        self.results.recv().await
    }

    /// True when it read too slowly: what came after the last result is left out.
    pub fn was_slow(&self) -> bool {
        self.slow.load(Ordering::Acquire)
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use lapwing_core::{
        monitor::{Monitor, Policy},
        observation::{Outcome, Sample},
        time::Wall,
    };

    use super::*;

    pub fn series(monitor: &str, name: &str) -> Arc<Series> {
        Arc::new(Series {
            key: name.into(),
            name: name.to_owned(),
            monitor: Arc::new(Monitor {
                name: monitor.to_owned(),
                labels: Vec::new(),
                policy: Policy::default(),
                notify: Vec::new(),
            }),
            target: "tcp://a:1".to_owned(),
            kind: "tcp",
            host: "a".to_owned(),
            loopback: true,
            overlaps: false,
        })
    }

    fn seen() -> Arc<Observation> {
        seen_at(1)
    }

    fn seen_at(at: i64) -> Arc<Observation> {
        Arc::new(Observation {
            at: Wall(at),
            took: Duration::ZERO,
            outcome: Outcome::Up,
            sample: Sample::default(),
        })
    }

    async fn names(mut followed: Followed) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((series, _)) = followed.next().await {
            names.push(series.name.clone());
        }
        names
    }

    #[tokio::test]
    async fn everybody_gets_what_they_asked_for() {
        let hub = Hub::default();
        let (web, db) = (series("web", "web/tcp"), series("db", "db"));
        hub.show(&web, &seen());
        let follow = |interest| hub.follow(interest).unwrap();
        let word = |word: &str| Interest::Names(HashSet::from([word.to_owned()]));
        let asked = [
            (Interest::Names(HashSet::new()), vec!["web/tcp", "db"]),
            (word("web"), vec!["web/tcp"]),
            (word("web/tcp"), vec!["web/tcp"]),
            (word("other"), vec![]),
        ];
        let asked = asked.map(|(interest, expected)| (follow(interest), expected));
        hub.show(&web, &seen());
        hub.show(&db, &seen());
        hub.close();
        for (followed, expected) in asked {
            assert!(!followed.was_slow());
            assert_eq!(names(followed).await, expected);
        }
        assert_eq!(hub.follow(word("web")).unwrap_err(), NoPlace::Closed);
    }

    #[tokio::test]
    async fn a_first_result_comes_once_however_many_there_are_and_never_from_before() {
        let hub = Hub {
            waiting: 2,
            ..Hub::default()
        };
        let all: Vec<_> = (0..5).map(|n| series("m", &n.to_string())).collect();
        let keys = all.iter().map(|one| Arc::clone(&one.key)).collect();
        let since = Wall(7);
        let mut followed = hub.follow(Interest::First { keys, since }).unwrap();
        for at in [6, 7, 8] {
            for one in &all {
                hub.show(one, &seen_at(at));
            }
        }
        for one in &all {
            let (series, seen) = followed.next().await.unwrap();
            assert_eq!((&series.name, seen.at), (&one.name, since));
        }
        assert!(followed.next().await.is_none() && !followed.was_slow());
        assert_eq!(hub.followers.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn one_who_is_slow_is_let_go_and_one_who_left_makes_room() {
        let hub = Hub {
            waiting: 2,
            ..Hub::default()
        };
        let all = || Interest::Names(HashSet::new());
        let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| hub.follow(all()).unwrap()).collect();
        assert_eq!(hub.follow(all()).unwrap_err(), NoPlace::Full);
        followers.truncate(1);
        let _new = hub.follow(all()).unwrap();
        for _ in 0..3 {
            hub.show(&series("a", "a"), &seen());
        }
        let slow = followers.pop().unwrap();
        assert!(slow.was_slow());
        assert_eq!(names(slow).await.len(), 2);
        assert_eq!(hub.followers.load(Ordering::Relaxed), 0);
    }
}
