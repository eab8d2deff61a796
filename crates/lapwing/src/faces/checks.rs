//! Checks that are asked for, and results as they come: lines of JSON. Whoever reads too slowly is let go, and told so.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use lapwing_api::{monitors::CheckedShape, shapes::CheckShape, steering::ErrorShape, watch::ResultShape};
use lapwing_core::{
    lookout::{Input, Named},
    monitor::Series,
    observation::Observation,
    time::short,
};
use lapwing_web::{
    steering::{Refusal, Why},
    stream::{Lines, NoPlace},
};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Faces;
use crate::{
    engine::Message,
    hub::{Followed, Interest},
};

/// A result may be so much later than the timeouts of its check and of one that is under way.
const GRACE: Duration = Duration::from_secs(5);
/// Lines on their way to the connection; what waits behind them waits as results.
const LINES: usize = 64;
/// Most names in a sentence.
const SPOKEN: usize = 5;

impl Faces {
    pub(super) async fn follow_results(&self, names: Vec<String>) -> Result<Lines, Refusal> {
        if !names.is_empty() {
            self.find(&names).await?;
        }
        let followed = self.follow(Interest::Names(names.into_iter().collect()))?;
        let (lines, body) = Lines::pair(LINES);
        tokio::spawn(results(followed, lines));
        Ok(body)
    }

    pub(super) async fn check_now(&self, names: Vec<String>) -> Result<Lines, Refusal> {
        if names.is_empty() {
            return Err(Refusal::new(Why::Bad, "no monitor is named").hint("name at least one"));
        }
        let found = self.find(&names).await?;
        refuse(&found)?;
        let planned = self.planned();
        let timeout = |named: &Named| Some(planned.probers.get(&named.series.key)?.settings().timeout);
        let patience = found.iter().filter_map(timeout).max().unwrap_or_default() * 2 + GRACE;
        let left: BTreeMap<_, _> = found
            .into_iter()
            .map(|named| (Arc::clone(&named.series.key), named.series))
            .collect();
        // Before they are asked: no result can be missed. What began before this moment is no answer.
        let followed = self.follow(Interest::First {
            keys: left.keys().cloned().collect(),
            since: self.clock.now().wall,
        })?;
        // Whoever reads slowly holds up nobody: each line has its place.
        let (lines, body) = Lines::pair(left.len().max(1));
        let asking = Asking {
            engine: self.engine.clone(),
            places: Arc::clone(&self.checks),
            of: left.len(),
            asked: HashMap::new(),
            left,
            followed,
            lines,
            patience,
        };
        tokio::spawn(asking.run());
        Ok(body)
    }

    fn follow(&self, interest: Interest) -> Result<Followed, Refusal> {
        self.hub.follow(interest).map_err(|why| match why {
            NoPlace::Closed => Refusal::stopping(),
            NoPlace::Full => {
                Refusal::new(Why::Crowded, "as many programs follow results as may").hint("end one of them")
            }
        })
    }
}

/// Nobody asks what reports in by itself, or what is paused.
fn refuse(found: &[Named]) -> Result<(), Refusal> {
    let names = |unfit: fn(&Named) -> bool| {
        let series = found
            .iter()
            .filter(|named| unfit(named))
            .map(|named| &named.series);
        listed(series)
    };
    if let Some(names) = names(|named| named.series.monitor.policy.beats.is_some()) {
        let text = format!("heartbeats report in by themselves and cannot be checked: {names}");
        return Err(Refusal::new(Why::Conflict, text).hint("nothing was checked: leave them out"));
    }
    if let Some(names) = names(|named| named.paused) {
        let text = format!("what is paused is not checked: {names}");
        return Err(Refusal::new(Why::Conflict, text).hint("nothing was checked: resume it first"));
    }
    Ok(())
}

/// `web, db, …`; None for none.
fn listed<'a>(series: impl Iterator<Item = &'a Arc<Series>>) -> Option<String> {
    let mut names: Vec<&str> = series.map(|series| series.name.as_str()).collect();
    names.sort_unstable();
    let more = if names.len() > SPOKEN { ", …" } else { "" };
    names.truncate(SPOKEN);
    (!names.is_empty()).then(|| names.join(", ") + more)
}

async fn results(mut followed: Followed, lines: mpsc::Sender<String>) {
    loop {
        let next = tokio::select! {
            next = followed.next() => next,
            // Whoever went away makes room at once.
            () = lines.closed() => return,
        };
        let Some((series, seen)) = next else { break };
        if lines.send(line(&ResultShape::new(&series, &seen))).await.is_err() {
            return;
        }
    }
    if followed.was_slow() {
        drop(lines.send(too_slow()).await);
    }
}

/// Series that somebody wants to know about: asked few at a time, so that what is due is not held up.
struct Asking {
    engine: mpsc::Sender<Message>,
    /// Shared by all who ask.
    places: Arc<Semaphore>,
    of: usize,
    /// To be asked.
    left: BTreeMap<Arc<str>, Arc<Series>>,
    /// Each keeps its place until its result is there, also when whoever wanted it is gone.
    asked: HashMap<Arc<str>, (Arc<Series>, OwnedSemaphorePermit)>,
    followed: Followed,
    lines: mpsc::Sender<String>,
    /// How long a result may take.
    patience: Duration,
}

impl Asking {
    async fn run(mut self) {
        while !(self.left.is_empty() && self.asked.is_empty()) {
            tokio::select! {
                place = Arc::clone(&self.places).acquire_owned(), if !self.left.is_empty() => {
                    let Ok(place) = place else { return };
                    if self.ask_next(place).await.is_none() {
                        return;
                    }
                }
                seen = self.followed.next() => match seen {
                    Some((series, seen)) => self.tell(&series, &seen),
                    // The daemon stops.
                    None => return,
                },
                // Nobody wants to know any more.
                () = self.lines.closed(), if !self.left.is_empty() => self.left.clear(),
                () = tokio::time::sleep(self.patience), if !self.asked.is_empty() => {
                    return drop(self.lines.try_send(self.missing()));
                }
            }
        }
    }

    /// None when the engine is gone.
    async fn ask_next(&mut self, place: OwnedSemaphorePermit) -> Option<()> {
        let (key, series) = self.left.pop_first()?;
        let input = Box::new(Input::Check {
            series: vec![Arc::clone(&key)],
        });
        self.asked.insert(key, (series, place));
        self.engine.send(Message::Input(input)).await.ok()
    }

    fn tell(&mut self, series: &Series, seen: &Observation) {
        self.asked.remove(&series.key);
        self.left.remove(&series.key);
        let shape = CheckedShape {
            series: series.name.clone(),
            of: self.of,
            check: CheckShape::new(&series.target, series.kind, seen),
        };
        drop(self.lines.try_send(line(&shape)));
    }

    fn missing(&self) -> String {
        let asked = self.asked.values().map(|(series, _)| series);
        let names = listed(asked.chain(self.left.values())).unwrap_or_default();
        line(&ErrorShape {
            error: format!("no result came within {} of: {names}", short(self.patience)),
            hint: Some("it was paused, changed or removed meanwhile: look at it, and check again".to_owned()),
        })
    }
}

fn too_slow() -> String {
    line(&ErrorShape {
        error: "these results were read too slowly: what came after the line above is left out".to_owned(),
        hint: Some("ask again, and read faster or name the monitors that matter".to_owned()),
    })
}

fn line(shape: &impl Serialize) -> String {
    serde_json::to_string(shape).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lapwing_core::{
        observation::{Outcome, Sample},
        time::Wall,
    };

    use super::*;
    use crate::hub::{Hub, tests::series};

    const ASKED_AT: Wall = Wall(5);

    struct Desk {
        hub: Hub,
        engine: mpsc::Receiver<Message>,
        body: Option<Lines>,
        places: Arc<Semaphore>,
        task: tokio::task::JoinHandle<()>,
        all: BTreeMap<Arc<str>, Arc<Series>>,
    }

    impl Desk {
        fn asking(of: usize, places: usize, patience: Duration) -> Self {
            let all: BTreeMap<_, _> = (0..of)
                .map(|n| series("m", &format!("{n:02}")))
                .map(|one| (Arc::clone(&one.key), one))
                .collect();
            let (hub, places) = (Hub::default(), Arc::new(Semaphore::new(places)));
            let (sender, engine) = mpsc::channel(of);
            let (lines, body) = Lines::pair(of);
            let keys = all.keys().cloned().collect();
            let asking = Asking {
                engine: sender,
                places: Arc::clone(&places),
                of,
                left: all.clone(),
                asked: HashMap::new(),
                followed: hub
                    .follow(Interest::First {
                        keys,
                        since: ASKED_AT,
                    })
                    .unwrap(),
                lines,
                patience,
            };
            Self {
                hub,
                engine,
                body: Some(body),
                places,
                task: tokio::spawn(asking.run()),
                all,
            }
        }

        /// The next that is asked.
        async fn asked(&mut self) -> Arc<Series> {
            let Some(Message::Input(input)) = self.engine.recv().await else {
                panic!("nothing is asked")
            };
            match *input {
                Input::Check { series } if series.len() == 1 => Arc::clone(&self.all[&series[0]]),
                other => panic!("{other:?}"),
            }
        }

        fn answer(&self, series: &Arc<Series>, at: Wall) {
            let seen = Observation {
                at,
                took: Duration::ZERO,
                outcome: Outcome::Up,
                sample: Sample::default(),
            };
            self.hub.show(series, &Arc::new(seen));
        }
    }

    /// Lets the task do all that it can.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn few_are_asked_at_once_and_the_next_as_results_come() {
        let mut desk = Desk::asking(9, 2, Duration::from_secs(60));
        let first = desk.asked().await;
        let _second = desk.asked().await;
        // What began before it was asked for is no answer, and makes no room.
        desk.answer(&first, Wall(ASKED_AT.0 - 1));
        settle().await;
        assert!(desk.engine.is_empty());
        desk.answer(&first, ASKED_AT);
        let third = desk.asked().await;
        settle().await;
        assert!(desk.engine.is_empty());
        // One that was due anyway is an answer too, and is not asked again.
        let due = Arc::clone(desk.all.last_key_value().unwrap().1);
        desk.answer(&due, ASKED_AT);
        desk.answer(&third, ASKED_AT);
        for _ in 0..5 {
            let next = desk.asked().await;
            assert_ne!(next.key, due.key);
            desk.answer(&next, ASKED_AT);
        }
        settle().await;
        assert!(desk.engine.is_empty() && !desk.task.is_finished());
    }

    #[tokio::test]
    async fn nobody_is_asked_for_one_who_left_and_places_are_kept_until_the_results_come() {
        let mut desk = Desk::asking(9, 2, Duration::from_secs(60));
        let under_way = [desk.asked().await, desk.asked().await];
        desk.body = None;
        settle().await;
        assert_eq!(
            (desk.places.available_permits(), desk.task.is_finished()),
            (0, false)
        );
        for one in &under_way {
            desk.answer(one, ASKED_AT);
        }
        (&mut desk.task).await.unwrap();
        assert_eq!(desk.places.available_permits(), 2);
        assert!(desk.engine.recv().await.is_none(), "another one was asked");
    }

    #[tokio::test]
    async fn what_never_comes_gives_its_place_back() {
        let mut desk = Desk::asking(3, 2, Duration::from_millis(10));
        let (_, _) = (desk.asked().await, desk.asked().await);
        (&mut desk.task).await.unwrap();
        assert_eq!(desk.places.available_permits(), 2);
    }
}
