//! Checks that are asked for, and results as they come: lines of JSON. Whoever reads too slowly is let go, and told so.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lapwing_api::{monitors::CheckedShape, shapes::CheckShape, steering::ErrorShape, watch::ResultShape};
use lapwing_core::{
    lookout::{Input, Named},
    monitor::Series,
    time::short,
};
use lapwing_web::{
    steering::{Refusal, Why},
    stream::{Lines, NoPlace},
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Faces;
use crate::{
    engine::Message,
    hub::{Followed, Interest},
};

/// A result may be so much later than the timeout of its check.
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
        let patience = found.iter().filter_map(timeout).max().unwrap_or_default() + GRACE;
        let waiting: HashMap<_, _> = found
            .into_iter()
            .map(|named| (Arc::clone(&named.series.key), named.series))
            .collect();
        let keys: HashSet<_> = waiting.keys().cloned().collect();
        let series = keys.iter().cloned().collect();
        // Before they are asked: no result can be missed.
        let followed = self.follow(Interest::Keys(keys))?;
        let input = Box::new(Input::Check { series });
        let sent = self.engine.send(Message::Input(input)).await;
        sent.map_err(|_| Refusal::stopping())?;
        let (lines, body) = Lines::pair(LINES);
        tokio::spawn(checked(followed, waiting, patience, lines));
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

/// Gives the first result of each series that is waited for.
async fn checked(
    mut followed: Followed,
    mut waiting: HashMap<Arc<str>, Arc<Series>>,
    patience: Duration,
    lines: mpsc::Sender<String>,
) {
    let of = waiting.len();
    while !waiting.is_empty() {
        let next = tokio::select! {
            next = tokio::time::timeout(patience, first(&mut followed, &mut waiting)) => next,
            () = lines.closed() => return,
        };
        let shape = match next {
            Ok(Some(shape)) => shape,
            Ok(None) if followed.was_slow() => return drop(lines.send(too_slow()).await),
            // The daemon stops.
            Ok(None) => return,
            Err(_) => return drop(lines.send(missing(&waiting, patience)).await),
        };
        if lines.send(line(&CheckedShape { of, ..shape })).await.is_err() {
            return;
        }
    }
}

async fn first(
    followed: &mut Followed,
    waiting: &mut HashMap<Arc<str>, Arc<Series>>,
) -> Option<CheckedShape> {
    loop {
        let (series, seen) = followed.next().await?;
        if waiting.remove(&series.key).is_some() {
            return Some(CheckedShape {
                series: series.name.clone(),
                of: 0,
                check: CheckShape::new(&series.target, series.kind, &seen),
            });
        }
    }
}

fn missing(waiting: &HashMap<Arc<str>, Arc<Series>>, patience: Duration) -> String {
    let names = listed(waiting.values()).unwrap_or_default();
    line(&ErrorShape {
        error: format!("no result came within {} of: {names}", short(patience)),
        hint: Some("it was paused, changed or removed meanwhile: look at it, and check again".to_owned()),
    })
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
