//! Adds, changes and removes monitors while the daemon runs: what is asked, tried beside all that is watched, then
//! stored. What does not fit, or cannot be stored, changes nothing.

pub mod text;

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

/// What has become of it: the configuration that is to run now, None where nothing has changed.
pub struct Edited {
    pub loaded: Option<Loaded>,
    pub shape: EditedShape,
}

/// Tries an edit beside what is loaded, and stores it. Blocks.
pub fn carry_out(
    loaded: &Loaded,
    env: &Environment,
    ledger: &dyn Ledger,
    edit: Edit,
    now: Wall,
) -> Result<Edited, Refusal> {
    match edit.wanted {
        Wanted::Add(keys) => add(loaded, env, ledger, (&keys, edit.by), now),
        Wanted::Change { name, set } => change(loaded, env, ledger, &name, set),
        Wanted::Remove(name) => remove(loaded, env, ledger, &name),
    }
}

fn add(
    loaded: &Loaded,
    env: &Environment,
    ledger: &dyn Ledger,
    (keys, by): (&Keys, String),
    now: Wall,
) -> Result<Edited, Refusal> {
    let Some(name) = keys.get("name").and_then(|name| name.as_str()) else {
        return Err(Refusal::new(Why::Bad, "this monitor has no name").hint("for example \"name\": \"web\""));
    };
    free(loaded, name)?;
    let draft = Added {
        name: name.to_owned(),
        text: written(keys)?,
        by,
        at: now,
        created: Revision(u64::MAX),
        modified: Revision::default(),
    };
    let next = tried(loaded, env, draft.clone())?;
    let stored = match added::add(ledger, name, &draft.text, &draft.by, now) {
        Err(LedgerError::Unknown(_)) => reread(ledger, name, &draft.text)?,
        stored => stored.map_err(|error| unstored(name, &error))?,
    };
    Ok(done("added", next.settled(stored), name))
}

fn change(
    loaded: &Loaded,
    env: &Environment,
    ledger: &dyn Ledger,
    name: &str,
    set: Keys,
) -> Result<Edited, Refusal> {
    if let Some((file, line)) = loaded.origins.filed(name) {
        return Err(filed(name, file, line));
    }
    let old = known(loaded, name)?;
    if set.get("name").is_some_and(|new| new != name) {
        let text = format!(
            "\"{}\" keeps its name: all that is known of it is kept under it",
            shown(name)
        );
        return Err(Refusal::new(Why::Bad, text).hint("add it under the new name, and remove the old one"));
    }
    let mut keys = text::keys(&old.text).map_err(|why| Refusal::new(Why::Unable, why))?;
    text::merge(&mut keys, set);
    let draft = Added {
        text: written(&keys)?,
        ..Added::clone(&old)
    };
    if draft.text == old.text {
        let mut same = done("", loaded.clone(), name);
        same.loaded = None;
        same.shape.text = format!("nothing to do: {} is like that", shown(name));
        return Ok(same);
    }
    let next = tried(loaded, env, draft.clone())?;
    let stored = match added::change(ledger, &old, &draft.text) {
        Err(LedgerError::Unknown(_)) => reread(ledger, name, &draft.text)?,
        stored => stored.map_err(|error| unstored(name, &error))?,
    };
    Ok(done("changed", next.settled(stored), name))
}

fn remove(loaded: &Loaded, env: &Environment, ledger: &dyn Ledger, name: &str) -> Result<Edited, Refusal> {
    let old = match (known(loaded, name), loaded.origins.filed(name)) {
        (Ok(old), _) => old,
        (Err(_), Some((file, line))) => return Err(filed(name, file, line)),
        (Err(unknown), None) => return Err(unknown),
    };
    match added::remove(ledger, &old) {
        Err(LedgerError::Unknown(_)) if gone(ledger, name) => {}
        removed => removed.map_err(|error| unstored(name, &error))?,
    }
    let others = loaded.added.iter().filter(|one| one.name != name);
    let next = loaded.with(others.cloned().collect(), env);
    let series = series(&next, name).count();
    let text = if series == 0 {
        format!("removed {}", shown(name))
    } else {
        format!("removed {}; the one in the files goes on", shown(name))
    };
    Ok(Edited {
        loaded: Some(next),
        shape: shape(name, text, series),
    })
}

/// The configuration with this monitor in the place of the one of its name, last of all: what it does not go together
/// with came first.
fn tried(loaded: &Loaded, env: &Environment, draft: Added) -> Result<Loaded, Refusal> {
    let name = draft.name.clone();
    let others = loaded.added.iter().filter(|one| one.name != name).cloned();
    let next = loaded.with(others.chain([Arc::new(draft)]).collect(), env);
    match next.left_out.iter().find(|out| out.name == name) {
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

fn unstored(name: &str, error: &LedgerError) -> Refusal {
    if let LedgerError::Guard { .. } = error {
        let text = format!("somebody else has changed \"{}\" meanwhile", shown(name));
        return Refusal::new(Why::Conflict, text).hint("look at it, and ask again");
    }
    let text = format!("\"{}\" cannot be stored: {}", shown(name), full(error));
    Refusal::new(Why::Unable, text).hint("nothing was changed")
}

/// Nobody knows whether a commit came to the disk: what is there now counts.
fn reread(ledger: &dyn Ledger, name: &str, text: &str) -> Result<Added, Refusal> {
    let all = added::all(ledger).unwrap_or_default();
    let found = all.into_iter().find(|one| one.name == name && one.text == text);
    found.ok_or_else(|| {
        let text = format!("\"{}\" cannot be stored: the disk fails", shown(name));
        Refusal::new(Why::Unable, text).hint("nothing was changed")
    })
}

fn gone(ledger: &dyn Ledger, name: &str) -> bool {
    added::all(ledger).is_ok_and(|all| all.iter().all(|one| one.name != name))
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
        shape: shape(name, text, count),
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
