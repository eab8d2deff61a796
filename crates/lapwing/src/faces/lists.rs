//! Lists and details of what is watched. Only what stands on the page asked for becomes a shape.

use std::collections::BTreeMap;

use lapwing_api::{
    Json,
    monitors::{
        Keys, MAX_PAGE, MAX_SERIES, MonitorDetails, MonitorPage, MonitorQuery, MonitorShape, NamesShape,
        PastOutage, SeriesPage, SeriesQuery, Sort,
    },
    report::OutageShape,
    shapes::{SeriesShape, VERSION},
};
use lapwing_core::{lookout::SeriesView, outage::Outage, state::State, time::Wall};
use lapwing_store::{Ledger, added::Added, book};
use lapwing_web::steering::{Refusal, Why};

use super::{
    Planned,
    view::{Group, View, natural, unknown},
};
use crate::{
    config::{self, LeftOut},
    edits::text,
    recorder::full,
};

/// Outages in the details of a monitor.
const OUTAGES: usize = 20;

/// What needs somebody comes first.
fn urgency(state: State) -> u64 {
    match state {
        State::Down => 0,
        State::Failing => 2,
        State::Degraded => 3,
        State::Inconclusive => 4,
        State::Pending => 5,
        State::Paused => 6,
        State::Up => 8,
    }
}

pub fn series(view: &View, query: &SeriesQuery) -> Result<SeriesPage, Refusal> {
    let among = if query.monitors.is_empty() {
        (0..view.snapshot.series.len() as u32).collect()
    } else {
        view.find(&query.monitors)?
    };
    let words = query.search.trim().to_lowercase();
    let wanted = |position: &u32| {
        let state = view.series(*position).state.as_str();
        (query.states.is_empty() || query.states.iter().any(|word| word == state))
            && view.shows(*position, &words)
    };
    let mut found: Vec<u32> = among.into_iter().filter(wanted).collect();
    let matching = found.len();
    let page = sorted(view, &mut found, query.sort, query.reverse)
        .iter()
        .skip(query.offset)
        .take(query.limit.min(MAX_PAGE));
    Ok(SeriesPage {
        v: VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: view.at.rfc3339(),
        total: view.snapshot.series.len(),
        counts: view.counts.clone(),
        matching,
        offset: query.offset,
        series: page.map(|position| shape(view, *position)).collect(),
    })
}

pub fn monitors(view: &View, planned: &Planned, query: &MonitorQuery) -> MonitorPage {
    let words = query.search.trim().to_lowercase();
    let (groups, left_out) = (&view.index.monitors, planned.origins.left_out());
    let watched = groups.iter().map(Listed::Watched);
    let unwatched = left_out
        .iter()
        .map(|out| Listed::Unwatched(Box::new(unwatched_shape(out))));
    let mut found: Vec<Listed<'_>> = watched
        .chain(unwatched)
        .filter(|one| one.shows(view, &words))
        .collect();
    // Those that are watched are in order.
    if !left_out.is_empty() {
        found.sort_by(|a, b| natural(a.name(), b.name()));
    }
    let matching = found.len();
    let page = found
        .into_iter()
        .skip(query.offset)
        .take(query.limit.min(MAX_PAGE));
    MonitorPage {
        v: VERSION,
        total: groups.len() + left_out.len(),
        matching,
        offset: query.offset,
        monitors: page.map(|one| one.shape(view, planned)).collect(),
    }
}

/// A monitor on a list.
enum Listed<'a> {
    Watched(&'a Group),
    Unwatched(Box<MonitorShape>),
}

impl Listed<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Watched(group) => &group.monitor.name,
            Self::Unwatched(shape) => &shape.name,
        }
    }

    fn shows(&self, view: &View, words: &str) -> bool {
        match self {
            Self::Watched(group) => group.members.iter().any(|position| view.shows(*position, words)),
            Self::Unwatched(shape) => {
                let labels = shape.labels.iter().map(|(key, value)| format!("{key}={value}"));
                let mut texts = [shape.name.clone(), shape.target.clone()]
                    .into_iter()
                    .chain(labels);
                texts.any(|text| text.to_lowercase().contains(words))
            }
        }
    }

    fn shape(self, view: &View, planned: &Planned) -> MonitorShape {
        match self {
            Self::Watched(group) => monitor_shape(view, planned, group),
            Self::Unwatched(shape) => *shape,
        }
    }
}

pub fn names(view: &View, planned: &Planned, prefix: &str, limit: usize) -> NamesShape {
    let begins = |name: &&str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let mut all: Vec<&str> = view
        .index
        .names
        .iter()
        .map(AsRef::as_ref)
        .filter(begins)
        .collect();
    let left_out = planned.origins.left_out();
    if !left_out.is_empty() {
        all.extend(left_out.iter().map(|out| out.added.name.as_str()).filter(begins));
        all.sort_by(|a, b| natural(a, b));
        all.dedup();
    }
    NamesShape::of(&all, limit.min(MAX_PAGE))
}

/// All about the monitor, or the one series, that is called so.
pub fn monitor(
    view: &View,
    planned: &Planned,
    ledger: &dyn Ledger,
    name: &str,
) -> Result<MonitorDetails, Refusal> {
    let mut found = match view.find(&[name.to_owned()]) {
        Ok(found) => found,
        Err(unknown) => {
            let left_out = planned.origins.left_out().iter();
            let out = left_out.rev().find(|out| out.added.name == name);
            return out.map(|out| unwatched(view, out)).ok_or(unknown);
        }
    };
    let owner = |position: &u32| view.series(*position).series.monitor.name.as_str();
    // A monitor may be called as a series of another one: it comes first.
    let itself = found.iter().map(owner).find(|owner| *owner == name);
    let owner = itself.or_else(|| found.first().map(owner));
    let groups = &view.index.monitors;
    let group = groups
        .iter()
        .find(|group| Some(group.monitor.name.as_str()) == owner);
    let group = group.ok_or_else(|| unknown(name, []))?;
    found = sorted(view, &mut found, Sort::State, false).to_vec();
    found.truncate(MAX_SERIES);
    Ok(MonitorDetails {
        v: VERSION,
        at: view.at.rfc3339(),
        monitor: monitor_shape(view, planned, group),
        keys: planned
            .origins
            .added(&group.monitor.name)
            .and_then(|added| keys(added)),
        outages: outages(view, ledger, &found)?,
        series: found.iter().map(|position| shape(view, *position)).collect(),
    })
}

/// The keys of a monitor that was added, as they are kept, but for what may be a secret.
fn keys(added: &Added) -> Option<Keys> {
    let mut keys = text::keys(&added.text).ok()?;
    for (name, value) in &mut keys {
        if config::is_secret(name.rsplit('.').next().unwrap_or(name)) {
            hide(value);
        }
    }
    Some(keys)
}

/// Pairs keep their names: headers hold tokens as often as not.
fn hide(value: &mut Json) {
    match value {
        Json::Object(pairs) => pairs.values_mut().for_each(hide),
        Json::Array(items) => items.iter_mut().for_each(hide),
        _ => *value = Json::from("***"),
    }
}

fn shape(view: &View, position: u32) -> SeriesShape {
    SeriesShape::new(view.series(position), view.at)
}

fn monitor_shape(view: &View, planned: &Planned, group: &Group) -> MonitorShape {
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    for position in &group.members {
        *states.entry(view.series(*position).state).or_default() += 1;
    }
    let monitor = &group.monitor;
    let first = group.members.first().map(|position| view.series(*position));
    MonitorShape {
        name: monitor.name.clone(),
        origin: planned.origins.of(&monitor.name),
        target: first.map_or_else(String::new, |view| view.series.target.clone()),
        series: group.members.len(),
        states: counted(states),
        interval_s: monitor
            .policy
            .beats
            .is_none()
            .then(|| monitor.policy.interval.as_secs_f64()),
        notify: monitor.notify.iter().map(ToString::to_string).collect(),
        labels: monitor.labels.iter().cloned().collect(),
        unwatched: None,
    }
}

/// All about a monitor that was added and is not watched.
fn unwatched(view: &View, out: &LeftOut) -> MonitorDetails {
    MonitorDetails {
        v: VERSION,
        at: view.at.rfc3339(),
        monitor: unwatched_shape(out),
        keys: keys(&out.added),
        outages: Vec::new(),
        series: Vec::new(),
    }
}

fn unwatched_shape(out: &LeftOut) -> MonitorShape {
    let keys = text::keys(&out.added.text).unwrap_or_default();
    let first = keys.get("targets").and_then(|targets| targets.get(0));
    let target = keys.get("target").or(first).and_then(Json::as_str);
    let labels = keys.get("labels").and_then(Json::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    MonitorShape {
        name: out.added.name.clone(),
        origin: config::added_by(&out.added),
        target: target.unwrap_or_default().to_owned(),
        series: 0,
        states: BTreeMap::new(),
        interval_s: None,
        notify: Vec::new(),
        labels: labels.collect(),
        unwatched: Some(out.why.to_string()),
    }
}

/// How many are in each state, for whoever asks.
pub fn counted(states: BTreeMap<State, usize>) -> BTreeMap<String, usize> {
    let word = |(state, count): (State, usize)| (state.to_string(), count);
    states.into_iter().map(word).collect()
}

/// The newest outages of these series: of each no more are read than are told.
fn outages(view: &View, ledger: &dyn Ledger, positions: &[u32]) -> Result<Vec<PastOutage>, Refusal> {
    let mut all: Vec<(u32, Outage)> = Vec::new();
    for position in positions {
        let of = book::newest_outages(ledger, &view.series(*position).series.key, OUTAGES);
        let of = of.map_err(|failed| Refusal::new(Why::Unable, full(&failed)))?;
        all.extend(of.into_iter().map(|outage| (*position, outage)));
    }
    all.sort_by_key(|(_, outage)| std::cmp::Reverse(outage.began));
    all.truncate(OUTAGES);
    let shape = |(position, outage): (u32, Outage)| PastOutage {
        series: view.series(position).series.name.clone(),
        outage: OutageShape::new(&outage, view.at),
    };
    Ok(all.into_iter().map(shape).collect())
}

/// Puts positions in order. What has nothing to sort by comes last, whichever way.
fn sorted<'a>(view: &View, found: &'a mut [u32], sort: Sort, reverse: bool) -> &'a [u32] {
    let name = |position: u32| u64::from(view.index.by_name[position as usize]);
    let place = |position: u32| {
        let place = place(view, position, sort).map(|place| if reverse { u64::MAX - place } else { place });
        (place.is_none(), place, name(position))
    };
    found.sort_by_cached_key(|position| place(*position));
    found
}

fn place(view: &View, position: u32, sort: Sort) -> Option<u64> {
    let seen: &SeriesView = view.series(position);
    let newest = |at: Wall| u64::MAX - at.0.max(0).cast_unsigned();
    Some(match sort {
        Sort::State => urgency(seen.state),
        Sort::Name => u64::from(view.index.by_name[position as usize]),
        Sort::Target => u64::from(view.index.by_target[position as usize]),
        Sort::Since => newest(seen.since),
        Sort::Latency => u64::MAX - seen.last?.1.as_micros() as u64,
        // Shares are never negative: their bits sort as they do.
        Sort::Loss => u64::MAX - seen.loss?.percent().to_bits(),
    })
}
