//! Monitors that were added while the daemon ran: read by the same code as those of the files, beside what the files
//! said when they were read last. One that does not fit is left out and told; it never touches the others.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use jiff::tz::TimeZone;
use lapwing_api::monitors;
use lapwing_core::{
    monitor::{Plan, Series},
    observation::clean,
    time::Wall,
};
use lapwing_link::heartbeat::Roster;
use lapwing_probe::Prober;
use lapwing_store::added::Added;

use super::{
    Environment, Heartbeat, Loaded, Report,
    diagnostic::{Source, line_starts},
    file,
    heartbeat::HeartbeatText,
    monitor::{Given, MonitorText},
    plan::Planner,
    value::{Reading, Unshown},
};

/// What the files said: monitors can be added beside it without reading them again.
pub(super) struct Files {
    pub(super) plan: Plan,
    pub(super) probers: Arc<HashMap<Arc<str>, Prober>>,
    pub(super) heartbeat: Heartbeat,
    pub(super) defaults: Given,
    pub(super) system: TimeZone,
    pub(super) notifiers: Vec<Arc<str>>,
    pub(super) listens: HeartbeatText,
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) unshown: Unshown,
    pub(super) origins: Arc<Origins>,
}

/// An added monitor that is not watched.
#[derive(Clone, Debug)]
pub struct LeftOut {
    pub added: Arc<Added>,
    pub why: Unwatched,
}

/// Why an added monitor is not watched.
#[derive(Clone, Debug)]
pub enum Unwatched {
    /// A file has one of this name, which holds: the file and the line.
    Filed(String, usize),
    Unfit(Report),
}

impl fmt::Display for Unwatched {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filed(file, line) => write!(f, "{file}, line {line}, has one of that name"),
            Self::Unfit(report) => match report.diagnostics() {
                [] => f.write_str("it does not fit the configuration"),
                [first] => f.write_str(&first.message),
                [first, more @ ..] => write!(f, "{} (and {} more)", first.message, more.len()),
            },
        }
    }
}

/// What came of an added monitor: while its text is the same, others are edited without reading it again, or a file
/// that the defaults name for it.
struct Part {
    added: Arc<Added>,
    series: Vec<Arc<Series>>,
    probers: Vec<(Arc<str>, Prober)>,
    /// Senders are known together: a heartbeat is always read again.
    is_heartbeat: bool,
}

/// What came of all that are watched, by name.
#[derive(Clone, Default)]
pub(super) struct Parts(HashMap<String, Arc<Part>>);

impl Parts {
    /// What came of this one, where it need not be read again.
    fn kept(&self, added: &Added) -> Option<&Arc<Part>> {
        let part = self.0.get(&added.name)?;
        (!part.is_heartbeat && part.added.text == added.text).then_some(part)
    }
}

/// Where each monitor comes from.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// File and line of its head, by name.
    files: Arc<HashMap<String, (Arc<str>, usize)>>,
    added: BTreeMap<String, Arc<Added>>,
    left_out: Vec<LeftOut>,
}

impl Origins {
    pub(super) fn of_files(sources: &[Arc<Source>], monitors: &[MonitorText]) -> Self {
        let files: Vec<(Arc<str>, Vec<u32>)> = sources
            .iter()
            .map(|s| (s.path.display().to_string().into(), line_starts(&s.text)))
            .collect();
        let place = |monitor: &MonitorText| {
            let (file, lines) = files.get(monitor.at.file as usize)?;
            let line = lines.partition_point(|start| *start <= monitor.at.start);
            Some((monitor.name.value.clone(), (Arc::clone(file), line)))
        };
        Self {
            files: Arc::new(monitors.iter().filter_map(place).collect()),
            ..Self::default()
        }
    }

    /// The file and the line of a monitor that stands in one.
    pub fn filed(&self, monitor: &str) -> Option<(&str, usize)> {
        let (file, line) = self.files.get(monitor)?;
        Some((file, *line))
    }

    /// A monitor that was added and is watched.
    pub fn added(&self, monitor: &str) -> Option<&Arc<Added>> {
        self.added.get(monitor)
    }

    /// The monitors that were added and are not watched.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Where the monitor of this name comes from, for whoever asks.
    pub fn of(&self, monitor: &str) -> monitors::Origin {
        match (self.added(monitor), self.filed(monitor)) {
            (Some(added), _) => added_by(added),
            (None, Some((file, line))) => monitors::Origin::File {
                file: file.to_owned(),
                line,
            },
            (None, None) => monitors::Origin::Adopted,
        }
    }
}

/// Who added it, and when, for whoever asks.
pub fn added_by(added: &Added) -> monitors::Origin {
    monitors::Origin::Added {
        by: added.by.clone(),
        at: Wall::rfc3339(added.at),
    }
}

impl Loaded {
    /// The same files with these added monitors, instead of those that there are. Of two that do not go together, the
    /// later one is left out. One whose text is the same as before stays as it is.
    pub fn with(&self, added: Vec<Arc<Added>>, env: &Environment) -> Self {
        let files = &*self.files;
        let mut left_out = Vec::new();
        let mut fit = Vec::new();
        for one in &added {
            match files.origins.filed(&one.name) {
                Some((file, line)) => left_out.push(LeftOut {
                    added: Arc::clone(one),
                    why: Unwatched::Filed(file.to_owned(), line),
                }),
                None => fit.push(Arc::clone(one)),
            }
        }
        let watched = loop {
            match files.watched(&fit, &self.parts, env) {
                Ok(watched) => break watched,
                Err(unfit) => {
                    fit.retain(|one| !unfit.iter().any(|out| Arc::ptr_eq(&out.added, one)));
                    left_out.extend(unfit);
                }
            }
        };
        let by_name = fit.into_iter().map(|one| (one.name.clone(), one));
        Self {
            plan: watched.plan,
            probers: watched.probers,
            // Where it listens may not be what the files say: what could not be opened stays as it was.
            heartbeat: Heartbeat {
                listen: self.heartbeat.listen,
                http: self.heartbeat.http,
                ..watched.heartbeat
            },
            origins: Arc::new(Origins {
                files: Arc::clone(&files.origins.files),
                added: by_name.collect(),
                left_out,
            }),
            parts: Arc::new(watched.parts),
            added,
            ..self.clone()
        }
    }
}

impl Loaded {
    /// The same, with an added monitor as it is stored.
    pub fn settled(mut self, stored: Added) -> Self {
        let stored = Arc::new(stored);
        self.added.retain(|one| one.name != stored.name);
        self.added.push(Arc::clone(&stored));
        self.added.sort_by_key(|one| one.created);
        Arc::make_mut(&mut self.origins)
            .added
            .insert(stored.name.clone(), stored);
        self
    }
}

/// What is watched when monitors are added.
struct Watched {
    plan: Plan,
    probers: Arc<HashMap<Arc<str>, Prober>>,
    heartbeat: Heartbeat,
    parts: Parts,
}

impl Files {
    /// These monitors beside the files, or those among them that do not fit. What is in `before` is not read again.
    fn watched(
        &self,
        added: &[Arc<Added>],
        before: &Parts,
        env: &Environment,
    ) -> Result<Watched, Vec<LeftOut>> {
        let (mut parts, heartbeat) = self.read(added, before, env)?;
        let mut plan = self.plan.clone();
        let mut probers = Arc::clone(&self.probers);
        if !added.is_empty() {
            let probers = Arc::make_mut(&mut probers);
            for one in added {
                let kept = || before.kept(one).map(Arc::clone);
                let Some(part) = parts.0.get(&one.name).map(Arc::clone).or_else(kept) else {
                    continue;
                };
                plan.series.extend(part.series.iter().cloned());
                probers.extend(part.probers.iter().cloned());
                parts.0.insert(one.name.clone(), part);
            }
        }
        Ok(Watched {
            plan,
            probers,
            heartbeat,
            parts,
        })
    }

    /// What comes of those that are not in `before`, and all heartbeats.
    fn read(
        &self,
        added: &[Arc<Added>],
        before: &Parts,
        env: &Environment,
    ) -> Result<(Parts, Heartbeat), Vec<LeftOut>> {
        let new: Vec<_> = added.iter().filter(|one| before.kept(one).is_none()).collect();
        if new.is_empty() {
            return Ok((Parts::default(), self.heartbeat.clone()));
        }
        let texts = new.iter().map(|added| {
            Arc::new(Source {
                path: PathBuf::from(format!("added monitor \"{}\"", clean(&added.name, 100))),
                text: added.text.clone(),
            })
        });
        let sources: Vec<_> = self.sources.iter().cloned().chain(texts).collect();
        let files = self.sources.len();
        let mut reading = Reading::beside(env, (&sources, files), self.unshown.clone());
        let mut planner = Planner::new(&self.defaults, &self.system, &self.notifiers);
        let (mut roster, mut open, mut unfit) = (None, self.heartbeat.open, Vec::new());
        let mut parts = Parts::default();
        for (file, one) in (files as u32..).zip(new) {
            let known = planner.senders.count();
            if let Some(monitor) = file::read_added(&mut reading, file) {
                if !reading.failed() && monitor.name.value != one.name {
                    let hint = "it is written as it is: variables cannot stand in it".to_owned();
                    let message = "the name of an added monitor cannot come from elsewhere";
                    reading.error(monitor.name.place, message, hint);
                }
                planner.add(&mut reading, &monitor);
            }
            let is_heartbeat = planner.senders.count() > known;
            if is_heartbeat {
                let roster = roster.get_or_insert_with(|| Roster::clone(&self.heartbeat.roster));
                planner.senders.check(&mut reading, &self.listens, known);
                open = open.or(planner.senders.enter(&mut reading, roster, known));
            }
            unfit.extend(reading.report().map(|report| LeftOut {
                added: Arc::clone(one),
                why: Unwatched::Unfit(report),
            }));
            let part = Part {
                added: Arc::clone(one),
                series: std::mem::take(&mut planner.series),
                probers: planner.probers.drain().collect(),
                is_heartbeat,
            };
            parts.0.insert(one.name.clone(), Arc::new(part));
        }
        if !unfit.is_empty() {
            return Err(unfit);
        }
        let mut heartbeat = Heartbeat {
            open,
            ..self.heartbeat.clone()
        };
        if let Some(roster) = roster {
            heartbeat.roster = Arc::new(roster);
        }
        Ok((parts, heartbeat))
    }
}
