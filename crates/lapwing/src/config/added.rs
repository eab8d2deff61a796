//! Monitors that were added while the daemon ran: read by the same code as those of the files, beside what the files
//! said when they were read last. One that does not fit is left out and told; it never touches the others.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use jiff::tz::TimeZone;
use lapwing_api::monitors;
use lapwing_core::{monitor::Plan, observation::clean, time::Wall};
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
    pub name: String,
    pub why: Unwatched,
}

/// Why an added monitor is not watched.
#[derive(Clone, Debug)]
pub enum Unwatched {
    /// A file has one of this name, which holds: the file and the line.
    Filed(String, usize),
    Unfit(Report),
}

/// Where each monitor comes from.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// File and line of its head, by name.
    files: Arc<HashMap<String, (Arc<str>, usize)>>,
    added: BTreeMap<String, Arc<Added>>,
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
            added: BTreeMap::new(),
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

    /// Where the monitor of this name comes from, for whoever asks.
    pub fn of(&self, monitor: &str) -> monitors::Origin {
        match (self.added(monitor), self.filed(monitor)) {
            (Some(added), _) => monitors::Origin::Added {
                by: added.by.clone(),
                at: Wall::rfc3339(added.at),
            },
            (None, Some((file, line))) => monitors::Origin::File {
                file: file.to_owned(),
                line,
            },
            (None, None) => monitors::Origin::Adopted,
        }
    }
}

impl Loaded {
    /// The same files with these added monitors, instead of those that there are. Of two that do not go together, the
    /// later one is left out.
    pub fn with(&self, added: Vec<Arc<Added>>, env: &Environment) -> Self {
        let files = &*self.files;
        let mut left_out = Vec::new();
        let mut fit = Vec::new();
        for one in &added {
            match files.origins.filed(&one.name) {
                Some((file, line)) => left_out.push(LeftOut {
                    name: one.name.clone(),
                    why: Unwatched::Filed(file.to_owned(), line),
                }),
                None => fit.push(Arc::clone(one)),
            }
        }
        let watched = loop {
            match files.watched(&fit, env) {
                Ok(watched) => break watched,
                Err(unfit) => {
                    fit.retain(|one| !unfit.iter().any(|out| out.name == one.name));
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
            }),
            added,
            left_out,
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
}

impl Files {
    /// These monitors beside the files, or those among them that do not fit.
    fn watched(&self, added: &[Arc<Added>], env: &Environment) -> Result<Watched, Vec<LeftOut>> {
        if added.is_empty() {
            return Ok(Watched {
                plan: self.plan.clone(),
                probers: Arc::clone(&self.probers),
                heartbeat: self.heartbeat.clone(),
            });
        }
        let texts = added.iter().map(|added| {
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
        for (file, one) in (files as u32..).zip(added) {
            let known = planner.senders.count();
            if let Some(monitor) = file::read_added(&mut reading, file) {
                if !reading.failed() && monitor.name.value != one.name {
                    let hint = "it is written as it is: variables cannot stand in it".to_owned();
                    let message = "the name of an added monitor cannot come from elsewhere";
                    reading.error(monitor.name.place, message, hint);
                }
                planner.add(&mut reading, &monitor);
            }
            if planner.senders.count() > known {
                let roster = roster.get_or_insert_with(|| Roster::clone(&self.heartbeat.roster));
                planner.senders.check(&mut reading, &self.listens, known);
                open = open.or(planner.senders.enter(&mut reading, roster, known));
            }
            unfit.extend(reading.report().map(|report| LeftOut {
                name: one.name.clone(),
                why: Unwatched::Unfit(report),
            }));
        }
        if !unfit.is_empty() {
            return Err(unfit);
        }
        let mut probers = HashMap::clone(&self.probers);
        probers.extend(planner.probers);
        let mut plan = self.plan.clone();
        plan.series.extend(planner.series);
        let mut heartbeat = Heartbeat {
            open,
            ..self.heartbeat.clone()
        };
        if let Some(roster) = roster {
            heartbeat.roster = Arc::new(roster);
        }
        Ok(Watched {
            plan,
            probers: Arc::new(probers),
            heartbeat,
        })
    }
}
