//! One look at everything, shared by all who ask within the same moment: however many ask, the engine is asked little.
//!
//! Nothing here may change a state. A look is taken anew after whatever a person has changed.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use lapwing_core::{
    kind::nearest,
    lookout::{SeriesView, Snapshot},
    monitor::{Monitor, Series},
    observation::clean,
    state::State,
    time::{Clock, Mono, Wall},
};
use lapwing_web::steering::{Refusal, Why};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use super::lists::counted;
use crate::engine::Message;

/// A look serves this many times as long as it took, so that looking never takes more than a twentieth of the time.
const SERVES: u32 = 20;
/// But never longer than this.
const OLDEST: Duration = Duration::from_secs(1);
/// With fewer series, every question has a look of its own: what somebody has just seen elsewhere is here too.
const MANY: usize = 5_000;
/// A look that nobody has asked for in so long is forgotten: it may hold a hundred thousand series.
const KEPT: Duration = Duration::from_secs(10);

/// Longest part of a name that nothing has which is said back, in bytes.
pub(super) const SPOKEN: usize = 100;

/// Gives looks, and keeps the newest.
pub struct Views {
    engine: mpsc::Sender<Message>,
    clock: Arc<dyn Clock>,
    latest: Arc<Mutex<Latest>>,
    many: usize,
}

#[derive(Default)]
struct Latest {
    view: Option<Arc<View>>,
    /// Until when it serves.
    serves: Mono,
    used: Mono,
    /// A task is there that forgets it.
    sweeper: bool,
}

/// Everything as it was at one moment.
pub struct View {
    pub at: Wall,
    pub snapshot: Snapshot,
    pub index: Arc<Index>,
    /// How many series are in each state.
    pub counts: BTreeMap<String, usize>,
}

/// What changes only with the plan: names in order, and what is searched. Positions are those of the snapshot.
pub struct Index {
    series: Vec<Arc<Series>>,
    /// The place of each series by name, and by target.
    pub by_name: Vec<u32>,
    pub by_target: Vec<u32>,
    /// What a search looks through, in lower case.
    text: Vec<Box<str>>,
    /// By name.
    pub monitors: Vec<Group>,
    /// Of monitors and series, in order, each once.
    pub names: Vec<Box<str>>,
}

/// A monitor and the positions of its series.
pub struct Group {
    pub monitor: Arc<Monitor>,
    pub members: Vec<u32>,
}

impl Views {
    pub fn new(engine: mpsc::Sender<Message>, clock: Arc<dyn Clock>) -> Self {
        Self {
            engine,
            clock,
            latest: Arc::default(),
            many: MANY,
        }
    }

    /// A look that is new enough. Those who ask meanwhile wait for the same one.
    pub async fn look(&self) -> Result<Arc<View>, Refusal> {
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        let asked = self.clock.mono();
        latest.used = asked;
        if let Some(view) = latest.view.as_ref().filter(|_| asked < latest.serves) {
            return Ok(Arc::clone(view));
        }
        if !std::mem::replace(&mut latest.sweeper, true) {
            tokio::spawn(sweep(Arc::clone(&self.latest), Arc::clone(&self.clock)));
        }
        // Whoever asked may give up meanwhile; the next one finds what was begun.
        let taken = tokio::spawn(take(
            latest,
            self.engine.clone(),
            Arc::clone(&self.clock),
            self.many,
        ));
        taken.await.map_err(|_| Refusal::stopping())?
    }

    /// What was looked at has changed: the next look is taken anew.
    pub async fn stale(&self) {
        self.latest.lock().await.serves = Mono(0);
    }
}

/// Takes a new look; the lock makes others wait for it.
async fn take(
    mut latest: OwnedMutexGuard<Latest>,
    engine: mpsc::Sender<Message>,
    clock: Arc<dyn Clock>,
    many: usize,
) -> Result<Arc<View>, Refusal> {
    let asked = clock.mono();
    let (reply, answer) = oneshot::channel();
    let sent = engine.send(Message::Snapshot(reply)).await;
    sent.map_err(|_| Refusal::stopping())?;
    let snapshot = answer.await.map_err(|_| Refusal::stopping())?;
    let (before, at) = (latest.view.clone(), clock.now().wall);
    let build = move || Arc::new(View::new(snapshot, before.as_deref(), at));
    let view = tokio::task::spawn_blocking(build).await;
    let view = view.map_err(|_| Refusal::stopping())?;
    let now = clock.mono();
    if view.snapshot.series.len() >= many {
        latest.serves = asked + (now.since(asked) * SERVES).min(OLDEST);
    }
    latest.used = now;
    latest.view = Some(Arc::clone(&view));
    Ok(view)
}

async fn sweep(latest: Arc<Mutex<Latest>>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(KEPT).await;
        let mut latest = latest.lock().await;
        if clock.mono().since(latest.used) >= KEPT {
            *latest = Latest::default();
            return;
        }
    }
}

impl View {
    fn new(snapshot: Snapshot, before: Option<&Self>, at: Wall) -> Self {
        let mut counts: BTreeMap<State, usize> = BTreeMap::new();
        for view in &snapshot.series {
            *counts.entry(view.state).or_default() += 1;
        }
        let index = before.map(|view| &view.index).filter(|i| i.fits(&snapshot));
        Self {
            at,
            index: index.map_or_else(|| Arc::new(Index::new(&snapshot.series)), Arc::clone),
            snapshot,
            counts: counted(counts),
        }
    }

    pub fn series(&self, position: u32) -> &SeriesView {
        &self.snapshot.series[position as usize]
    }

    /// Positions of the series that `names` mean, in that order, each once: all of a monitor by its name, one by its own.
    pub fn find(&self, names: &[String]) -> Result<Vec<u32>, Refusal> {
        let mut meant: HashMap<&str, Vec<u32>> =
            names.iter().map(|name| (name.as_str(), Vec::new())).collect();
        for (position, view) in (0..).zip(&self.snapshot.series) {
            for name in [&view.series.monitor.name, &view.series.name] {
                if let Some(meant) = meant.get_mut(name.as_str()) {
                    meant.push(position);
                }
            }
        }
        let mut taken = vec![false; self.snapshot.series.len()];
        let mut found = Vec::new();
        for name in names {
            let meant = &meant[name.as_str()];
            if meant.is_empty() {
                return Err(unknown(name, self.index.names.iter().map(AsRef::as_ref)));
            }
            let new = |position: &&u32| !std::mem::replace(&mut taken[**position as usize], true);
            found.extend(meant.iter().filter(new));
        }
        Ok(found)
    }

    /// True where `words`, in lower case, stand in the name, the target or a label.
    pub fn shows(&self, position: u32, words: &str) -> bool {
        self.index.text[position as usize].contains(words)
    }
}

/// What is said of a name that nothing has.
pub fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Refusal {
    let hint = match nearest(name, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "`lapwing status --all` lists them".to_owned(),
    };
    let name = clean(name, SPOKEN);
    Refusal::new(Why::Unknown, format!("there is no monitor or series \"{name}\"")).hint(hint)
}

impl Index {
    fn new(views: &[SeriesView]) -> Self {
        let series: Vec<Arc<Series>> = views.iter().map(|view| Arc::clone(&view.series)).collect();
        let monitors = groups(&series);
        let own = series.iter().map(|s| s.name.as_str());
        let mut names: Vec<&str> = monitors.iter().map(|g| g.monitor.name.as_str()).collect();
        names.extend(own);
        names.sort_unstable_by(|a, b| natural(a, b));
        names.dedup();
        Self {
            by_name: ranks(&series, |s| &s.name),
            by_target: ranks(&series, |s| &s.target),
            text: series.iter().map(|s| text(s)).collect(),
            names: names.into_iter().map(Into::into).collect(),
            monitors,
            series,
        }
    }

    /// True while the plan is the same.
    fn fits(&self, snapshot: &Snapshot) -> bool {
        let same = |(mine, view): (&Arc<Series>, &SeriesView)| Arc::ptr_eq(mine, &view.series);
        self.series.len() == snapshot.series.len() && self.series.iter().zip(&snapshot.series).all(same)
    }
}

fn groups(series: &[Arc<Series>]) -> Vec<Group> {
    let mut members: HashMap<&str, Group> = HashMap::new();
    for (position, one) in (0..).zip(series) {
        let group = members.entry(&one.monitor.name).or_insert_with(|| Group {
            monitor: Arc::clone(&one.monitor),
            members: Vec::new(),
        });
        group.members.push(position);
    }
    let mut groups: Vec<Group> = members.into_values().collect();
    groups.sort_unstable_by(|a, b| natural(&a.monitor.name, &b.monitor.name));
    groups
}

/// The place of each when they are put in the order of `word`.
fn ranks(series: &[Arc<Series>], word: impl Fn(&Series) -> &str) -> Vec<u32> {
    let mut order: Vec<u32> = (0..series.len() as u32).collect();
    order.sort_by(|a, b| natural(word(&series[*a as usize]), word(&series[*b as usize])));
    let mut ranks = vec![0; series.len()];
    for (rank, position) in (0..).zip(order) {
        ranks[position as usize] = rank;
    }
    ranks
}

fn text(series: &Series) -> Box<str> {
    let mut text = format!("{}\n{}", series.name, series.target);
    for (key, value) in &series.monitor.labels {
        text.extend(["\n", key, "=", value]);
    }
    text.to_lowercase().into()
}

/// As people sort: `web2` before `web10`, without regard to case where anything else differs.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let order = match (left.first(), right.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (number(&mut left), number(&mut right));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            (Some(x), Some(y)) => {
                (left, right) = (&left[1..], &right[1..]);
                x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase())
            }
            (None, None) => return a.cmp(b),
            (x, y) => return x.is_some().cmp(&y.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits that `text` begins with; gives them without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    let zeros = number.iter().take_while(|b| **b == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use lapwing_core::time::Now;

    use super::*;

    #[test]
    fn names_sort_as_people_sort_them() {
        let sorted = [
            "10.0.0.9",
            "10.0.0.10",
            "DB",
            "db",
            "db-1",
            "Web",
            "web",
            "web01",
            "web1",
            "web2",
            "web10",
            "web10a",
            "web10b",
            "wéb",
        ];
        for (n, a) in sorted.iter().enumerate() {
            for (m, b) in sorted.iter().enumerate() {
                assert_eq!(natural(a, b), n.cmp(&m), "{a} and {b}");
            }
        }
        assert_eq!(
            natural("99999999999999999999999", "100000000000000000000000"),
            Ordering::Less
        );
    }

    /// A clock that is moved by hand, in microseconds.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Now {
            let at = self.0.fetch_add(1_000, Relaxed);
            Now {
                wall: Wall(at.cast_signed()),
                mono: Mono(at),
            }
        }
    }

    fn snapshot(all: &[Arc<Series>]) -> Snapshot {
        let view = |series: &Arc<Series>| SeriesView {
            series: Arc::clone(series),
            state: State::Up,
            since: Wall(0),
            reason: None,
            outage: None,
            last: None,
            loss: None,
            skipped: 0,
            beats: None,
            due: None,
            mutes: None,
        };
        Snapshot {
            series: all.iter().map(view).collect(),
            notifiers: Vec::new(),
            offline: None,
            started: Wall(0),
        }
    }

    #[tokio::test]
    async fn a_look_outlives_whoever_asked_for_it_and_one_that_failed_costs_no_index() {
        let (sender, mut engine) = mpsc::channel(1);
        let clock = Arc::new(Hand::default());
        let mut views = Views::new(sender, Arc::clone(&clock) as _);
        views.many = 1;
        let all = [crate::hub::tests::series("web", "web")];
        let asked = async |engine: &mut mpsc::Receiver<Message>| match engine.recv().await {
            Some(Message::Snapshot(reply)) => reply,
            other => panic!("{other:?}"),
        };
        // Whoever asked is gone before the engine has answered.
        let reply = tokio::select! {
            biased;
            _ = views.look() => panic!("nobody has answered"),
            reply = asked(&mut engine) => reply,
        };
        assert!(reply.send(snapshot(&all)).is_ok());
        let first = views.look().await.unwrap();
        assert!(engine.is_empty(), "the engine was asked again");
        assert!(first.at > Wall(0));
        // The engine says nothing: no look, but what does not change is kept.
        views.stale().await;
        let (failed, ()) = tokio::join!(views.look(), async { drop(asked(&mut engine).await) });
        assert!(failed.is_err());
        let (second, ()) = tokio::join!(views.look(), async {
            let reply = asked(&mut engine).await;
            assert!(reply.send(snapshot(&all)).is_ok());
        });
        assert!(Arc::ptr_eq(&first.index, &second.unwrap().index));
    }
}
