//! Adds, changes and removes monitors while the daemon runs: what is asked, tried beside all that is watched, then
//! stored. What does not fit, or cannot be stored, changes nothing.

pub mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use lapwing_api::{
    monitors::{EditedShape, Keys},
    shapes::VERSION,
};
use lapwing_core::{
    heartbeat::Due,
    kind::nearest,
    monitor::{Monitor, Series},
    observation::clean,
    time::{Wall, short},
};
use lapwing_store::{
    Ledger, LedgerError, Revision,
    added::{self, Added},
};
use lapwing_web::steering::{Refusal, Why};

use crate::{
    config::{Environment, LeftOut, Loaded, Unwatched},
    recorder::full,
};

/// What somebody asks for, and who.
#[derive(Debug)]
pub struct Edit {
    pub wanted: Wanted,
    pub by: String,
}

/// A change of what was added.
#[derive(Debug)]
pub enum Wanted {
    Add(Keys),
    /// As RFC 7396: a key that is null is taken out.
    Change {
        name: String,
        set: Keys,
    },
    Remove(String),
}

/// What has become of it, and the configuration that is to run now: None where it is the same.
pub struct Edited {
    pub loaded: Option<Loaded>,
    pub answer: Result<EditedShape, Refusal>,
}

impl From<Refusal> for Edited {
    fn from(refusal: Refusal) -> Self {
        Self {
            loaded: None,
            answer: Err(refusal),
        }
    }
}

/// What an edit is tried beside, and where it is stored.
struct Desk<'d> {
    loaded: &'d Loaded,
    env: &'d Environment,
    ledger: &'d dyn Ledger,
}

/// Tries an edit beside what is loaded, and stores it. Blocks.
pub fn carry_out(loaded: &Loaded, env: &Environment, ledger: &dyn Ledger, edit: Edit, now: Wall) -> Edited {
    let desk = Desk { loaded, env, ledger };
    let done = match edit.wanted {
        Wanted::Add(keys) => desk.add(&keys, edit.by, now),
        Wanted::Change { name, set } => desk.change(&name, set),
        Wanted::Remove(name) => desk.remove(&name),
    };
    done.unwrap_or_else(Edited::from)
}

impl Desk<'_> {
    fn add(&self, keys: &Keys, by: String, now: Wall) -> Result<Edited, Refusal> {
        let Some(name) = keys.get("name").and_then(|name| name.as_str()) else {
            return Err(
                Refusal::new(Why::Bad, "this monitor has no name").hint("for example \"name\": \"web\"")
            );
        };
        free(self.loaded, name)?;
        let draft = Added {
            name: name.to_owned(),
            text: written(keys)?,
            by,
            at: now,
            created: Revision(u64::MAX),
            modified: Revision::default(),
        };
        let next = tried(self.loaded, self.env, draft.clone())?;
        let stored = added::add(self.ledger, name, &draft.text, &draft.by, now);
        Ok(match stored {
            Ok(stored) => done("added", next.settled(stored), name),
            Err(error) => self.unstored("added", name, Some(&draft.text), &error),
        })
    }

    fn change(&self, name: &str, set: Keys) -> Result<Edited, Refusal> {
        if let Some((file, line)) = self.loaded.origins.filed(name) {
            return Err(filed(name, file, line));
        }
        let old = known(self.loaded, name)?;
        if set.get("name").is_some_and(|new| new != name) {
            let text = format!(
                "\"{}\" keeps its name: all that is known of it is kept under it",
                shown(name)
            );
            return Err(
                Refusal::new(Why::Bad, text).hint("add it under the new name, and remove the old one")
            );
        }
        let mut keys = text::keys(&old.text).map_err(|why| Refusal::new(Why::Unable, why))?;
        text::merge(&mut keys, set);
        let draft = Added {
            text: written(&keys)?,
            ..Added::clone(&old)
        };
        if draft.text == old.text {
            let text = format!("nothing to do: {} is like that", shown(name));
            return Ok(Edited {
                loaded: None,
                answer: Ok(shape(name, text, series(self.loaded, name).count())),
            });
        }
        let next = tried(self.loaded, self.env, draft.clone())?;
        Ok(match added::change(self.ledger, &old, &draft.text) {
            Ok(stored) => done("changed", next.settled(stored), name),
            Err(error) => self.unstored("changed", name, Some(&draft.text), &error),
        })
    }

    fn remove(&self, name: &str) -> Result<Edited, Refusal> {
        let old = match (known(self.loaded, name), self.loaded.origins.filed(name)) {
            (Ok(old), _) => old,
            (Err(_), Some((file, line))) => return Err(filed(name, file, line)),
            (Err(unknown), None) => return Err(unknown),
        };
        Ok(match added::remove(self.ledger, &old) {
            Ok(()) => {
                let others = self.loaded.added.iter().filter(|one| one.name != name);
                removed(self.loaded.with(others.cloned().collect(), self.env), name)
            }
            Err(error) => self.unstored("removed", name, None, &error),
        })
    }

    /// What has become of a commit that was not confirmed. Where it may have come to the disk, or somebody else was
    /// there first, what is stored now counts, and is watched. `text` is what was to be stored, None for nothing.
    fn unstored(&self, verb: &str, name: &str, text: Option<&str>, error: &LedgerError) -> Edited {
        let is_unknown = matches!(error, LedgerError::Unknown(_));
        if !is_unknown && !matches!(error, LedgerError::Guard { .. }) {
            return refused(name, error).into();
        }
        let Ok(all) = added::all(self.ledger) else {
            let text = format!(
                "it is not known whether \"{}\" was {verb}: the disk fails",
                shown(name)
            );
            return Refusal::new(Why::Unable, text)
                .hint("`lapwing config export` says what is stored")
                .into();
        };
        let stored = all
            .iter()
            .find(|one| one.name == name)
            .map(|one| one.text.as_str());
        let is_done = is_unknown && stored == text;
        let all: Vec<_> = all.into_iter().map(Arc::new).collect();
        let next = (all != self.loaded.added).then(|| self.loaded.with(all, self.env));
        match next {
            Some(next) if is_done && text.is_none() => removed(next, name),
            Some(next) if is_done => done(verb, next, name),
            next => Edited {
                loaded: next,
                answer: Err(refused(name, error)),
            },
        }
    }
}

/// The configuration without a monitor that was added.
fn removed(next: Loaded, name: &str) -> Edited {
    let series = series(&next, name).count();
    let text = if series == 0 {
        format!("removed {}", shown(name))
    } else {
        format!("removed {}; the one in the files goes on", shown(name))
    };
    Edited {
        loaded: Some(next),
        answer: Ok(shape(name, text, series)),
    }
}

/// The configuration with this monitor in the place of the one of its name, last of all: what it does not go together
/// with came first.
fn tried(loaded: &Loaded, env: &Environment, draft: Added) -> Result<Loaded, Refusal> {
    let name = draft.name.clone();
    let others = loaded.added.iter().filter(|one| one.name != name).cloned();
    let next = loaded.with(others.chain([Arc::new(draft)]).collect(), env);
    match next.origins.left_out().iter().find(|out| out.added.name == name) {
        None => Ok(next),
        Some(LeftOut {
            why: Unwatched::Unfit(report),
            ..
        }) => Err(Refusal::new(Why::Unfit, report.to_string()).hint("nothing was changed")),
        Some(LeftOut {
            why: Unwatched::Filed(file, line),
            ..
        }) => Err(filed(&name, file, *line)),
    }
}

fn written(keys: &Keys) -> Result<String, Refusal> {
    let text = text::toml(keys).map_err(|why| Refusal::new(Why::Bad, why))?;
    if text.len() > added::LONGEST {
        let most = added::LONGEST / 1024;
        return Err(
            Refusal::new(Why::Bad, format!("this monitor is longer than {most} KiB"))
                .hint("write it into a configuration file, or make several of it"),
        );
    }
    Ok(text)
}

/// Whether a monitor of this name can be added.
fn free(loaded: &Loaded, name: &str) -> Result<(), Refusal> {
    if let Some((file, line)) = loaded.origins.filed(name) {
        return Err(filed(name, file, line));
    }
    if known(loaded, name).is_ok() {
        let text = format!("there is a monitor \"{}\" already", shown(name));
        let hint = format!("`lapwing edit {}` changes it", shown(name));
        return Err(Refusal::new(Why::Conflict, text).hint(hint));
    }
    if loaded.added.len() >= added::MOST {
        let text = format!("{} monitors were added, and more cannot be", added::MOST);
        let hint = "take some over into a configuration file: `lapwing config export` writes them";
        return Err(Refusal::new(Why::Crowded, text).hint(hint));
    }
    Ok(())
}

/// The added monitor of this name.
fn known(loaded: &Loaded, name: &str) -> Result<Arc<Added>, Refusal> {
    let found = loaded.added.iter().find(|one| one.name == name);
    found.cloned().ok_or_else(|| {
        let near = nearest(name, loaded.added.iter().map(|one| one.name.as_str()));
        let hint = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "`lapwing config export` prints those that were added".to_owned(),
        };
        Refusal::new(Why::Unknown, format!("no monitor \"{}\" was added", shown(name))).hint(hint)
    })
}

fn filed(name: &str, file: &str, line: usize) -> Refusal {
    let text = format!("\"{}\" is defined in {file}, line {line}", shown(name));
    Refusal::new(Why::Conflict, text).hint("edit it there, then `lapwing reload`")
}

/// Why nothing was stored.
fn refused(name: &str, error: &LedgerError) -> Refusal {
    let text = match error {
        LedgerError::Guard { .. } => {
            let text = format!("somebody else has changed \"{}\" meanwhile", shown(name));
            return Refusal::new(Why::Conflict, text).hint("look at it, and ask again");
        }
        LedgerError::Unknown(_) => format!("\"{}\" cannot be stored: the disk fails", shown(name)),
        error => format!("\"{}\" cannot be stored: {}", shown(name), full(error)),
    };
    Refusal::new(Why::Unable, text).hint("nothing was changed")
}

fn done(verb: &str, loaded: Loaded, name: &str) -> Edited {
    let count = series(&loaded, name).count();
    let monitor = series(&loaded, name)
        .next()
        .map(|series| Arc::clone(&series.monitor));
    let how = monitor.map_or_else(String::new, |monitor| how(&monitor));
    let text = format!("{verb} {}: {count} series{how}", shown(name));
    Edited {
        loaded: Some(loaded),
        answer: Ok(shape(name, text, count)),
    }
}

fn shape(name: &str, text: String, series: usize) -> EditedShape {
    EditedShape {
        v: VERSION,
        text,
        monitor: name.to_owned(),
        series,
    }
}

fn series<'l>(loaded: &'l Loaded, name: &'l str) -> impl Iterator<Item = &'l Arc<Series>> {
    loaded
        .plan
        .series
        .iter()
        .filter(move |series| series.monitor.name == name)
}

/// `, checked every 30s, telling ops`
fn how(monitor: &Monitor) -> String {
    let often = match monitor.policy.beats.as_ref().map(|beats| &beats.due) {
        None => format!("checked every {}", short(monitor.policy.interval)),
        Some(Due::Every(period)) => format!("expected every {}", short(*period)),
        Some(Due::Cron(_)) => "expected at its times".to_owned(),
    };
    let told: Vec<&str> = monitor.notify.iter().map(|name| &**name).collect();
    let told = match told.as_slice() {
        [] => "nobody".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    };
    format!(", {often}, telling {told}")
}

fn shown(name: &str) -> String {
    clean(name, 100)
}
