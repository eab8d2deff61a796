//! What people ask for: pauses, acknowledgements, silences.

use std::{collections::HashMap, sync::Arc};

use super::{Entry, Lookout};
use crate::{monitor::Series, mute::Wish, time::Now};

/// A series that somebody named, and what can be asked of it.
#[derive(Clone, Debug)]
pub struct Named {
    pub series: Arc<Series>,
    pub down: bool,
    pub paused: bool,
    pub silenced: bool,
}

/// A name that means nothing here, and what there is instead.
#[derive(Clone, Debug)]
pub struct Unknown {
    pub name: String,
    pub known: Vec<Arc<Series>>,
}

impl Named {
    /// Whether `wish` changes anything here.
    pub fn heeds(&self, wish: &Wish) -> bool {
        match wish {
            Wish::Pause(_) | Wish::Silence(_) => true,
            Wish::Resume => self.paused,
            Wish::Acknowledge(_) => self.down,
            Wish::Unsilence => self.silenced,
        }
    }
}

impl Lookout {
    /// The series that `names` mean, each once: all of a monitor by its name, one by its own.
    pub fn find(&self, names: &[String]) -> Result<Vec<Named>, Unknown> {
        let mut met: HashMap<&str, bool> = names.iter().map(|name| (name.as_str(), false)).collect();
        let mut found = Vec::new();
        for entry in self.entries.iter().flatten() {
            let series = &entry.series;
            let mut named = false;
            for name in [&series.monitor.name, &series.name] {
                if let Some(met) = met.get_mut(name.as_str()) {
                    (*met, named) = (true, true);
                }
            }
            if named {
                found.push(entry.named());
            }
        }
        match names.iter().find(|name| !met[name.as_str()]) {
            None => Ok(found),
            Some(name) => Err(Unknown {
                name: name.clone(),
                known: self
                    .entries
                    .iter()
                    .flatten()
                    .map(|e| Arc::clone(&e.series))
                    .collect(),
            }),
        }
    }

    pub(super) fn wish(&mut self, series: &[Arc<str>], wish: &Wish, ticket: Option<u64>, now: Now) {
        for key in series {
            let Some(slot) = self.by_key.get(key).copied() else {
                continue;
            };
            let Some(entry) = &mut self.entries[slot as usize] else {
                continue;
            };
            let was_paused = entry.standing.is_paused();
            let step = entry.standing.wish(wish, now.wall);
            match wish {
                Wish::Pause(_) => {
                    entry.forget_running();
                    entry.next_slot = entry.first_slot(now.mono, 1);
                }
                Wish::Resume if was_paused => entry.next_slot = entry.first_slot(now.mono, series.len()),
                Wish::Resume | Wish::Acknowledge(_) | Wish::Silence(_) | Wish::Unsilence => {}
            }
            self.apply(slot, step, now);
            self.arm(slot, now);
        }
        self.recount(now);
        self.tell_after_commit(ticket);
    }
}

impl Entry {
    fn named(&self) -> Named {
        Named {
            series: Arc::clone(&self.series),
            down: self.standing.outage.is_some(),
            paused: self.standing.is_paused(),
            silenced: self.standing.is_silenced(),
        }
    }
}
