//! The configuration changes while the daemon runs: it is read again, or a monitor is added, changed or removed. What is
//! wrong changes nothing, and no state is forgotten.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};

use anyhow::Context;
use lapwing_api::{monitors::EditedShape, shapes::VERSION, steering::ReloadShape};
use lapwing_core::{lookout::Input, time::Clock};
use lapwing_store::{Ledger, added};
use lapwing_web::steering::{Refusal, Why};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{Daemon, Desk, count, planned, told};
use crate::{
    config::{self, Loaded, Unwatched},
    edits::{self, Edit},
    engine::Message,
    listeners::Listeners,
    recorder::full,
};

/// What the service manager shows until a configuration is applied again.
const NOT_APPLIED: &str = "; the changed configuration is not applied, the log says why";

impl Daemon {
    /// Reads the configuration again and applies it. A bad one changes nothing: its report is given.
    pub(super) async fn reload(
        &mut self,
        desk: &Desk,
        listeners: &mut Listeners,
    ) -> Result<ReloadShape, String> {
        self.manager.reloading();
        let read = match self.read_again().await {
            Ok(loaded) => {
                let (notes, refused) = left_out(&loaded);
                let mut applied = self.apply(loaded, desk, listeners).await;
                applied.notes.extend(notes);
                applied.refused.extend(refused);
                Ok(applied)
            }
            Err(report) => Err(report),
        };
        match &read {
            Ok(applied) => info!("{}", applied.text),
            Err(report) => {
                let gap = if report.contains('\n') { "\n" } else { " " };
                error!("the changed configuration is not applied:{gap}{report}");
            }
        }
        self.manager.note(if read.is_ok() { "" } else { NOT_APPLIED });
        self.manager.ready();
        read
    }

    async fn read_again(&self) -> Result<Loaded, String> {
        let (path, environment) = (self.path.clone(), self.environment.clone());
        let added = self.loaded.added.clone();
        let loading = tokio::task::spawn_blocking(move || {
            config::load(&path, &environment).map(|loaded| loaded.with(added, &environment))
        });
        match loading.await {
            Ok(loaded) => loaded.map_err(|report| report.to_string().trim_end().to_owned()),
            Err(bug) => Err(full(&bug)),
        }
    }

    /// Watches what was added too.
    pub(super) fn add_what_was_added(&mut self, ledger: &dyn Ledger) -> anyhow::Result<()> {
        let stored = added::all(ledger).context("the ledger cannot be read")?;
        let stored = stored.into_iter().map(Arc::new).collect();
        self.loaded = self.loaded.with(stored, &self.environment);
        left_out(&self.loaded);
        Ok(())
    }

    /// Adds, changes or removes a monitor. The answer comes when it is stored and the engine knows it.
    pub(super) async fn edit(
        &mut self,
        edit: Edit,
        desk: &Desk,
        listeners: &mut Listeners,
    ) -> Result<EditedShape, Refusal> {
        let (loaded, environment) = (self.loaded.clone(), self.environment.clone());
        let (ledger, now, by) = (Arc::clone(&desk.ledger), self.clock.now().wall, edit.by.clone());
        let work = move || edits::carry_out(&loaded, &environment, &*ledger, edit, now);
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|bug| Refusal::new(Why::Unable, full(&bug)))?;
        let Some(loaded) = done.loaded else {
            return done.answer;
        };
        self.apply(loaded, desk, listeners).await;
        let shape = done.answer?;
        info!(by, "{}", shape.text);
        let (reply, taken) = oneshot::channel();
        drop(desk.queue.send(Message::Ping(reply)).await);
        if taken.await.is_err() {
            let text = format!("{}; this is stored, but the daemon is stopping", shape.text);
            return Err(Refusal::new(Why::Unable, text).hint("it holds from its next start on"));
        }
        Ok(shape)
    }

    async fn apply(&mut self, mut loaded: Loaded, desk: &Desk, listeners: &mut Listeners) -> ReloadShape {
        let mut notes = Vec::new();
        if loaded.store != self.loaded.store {
            let kept = self.loaded.store.path.display();
            let note = format!("changes of [store] are applied at the next start; the data stays in {kept}");
            warn!("{note}");
            notes.push(note);
            loaded.store = self.loaded.store.clone();
        }
        self.log.apply(&loaded.log);
        *desk.told.write().unwrap_or_else(PoisonError::into_inner) = told(&loaded);
        *desk.planned.write().unwrap_or_else(PoisonError::into_inner) = planned(&loaded);
        let (moved, refused) = listeners.rebind(&loaded, &self.clock).await;
        let refused = refused.iter().map(|failed| full(&**failed));
        let refused: Vec<String> = refused
            .map(|failed| format!("{failed}; it stays as it was"))
            .collect();
        for error in &refused {
            error!(%error, "a listener of the changed configuration cannot be opened; the rest is applied");
        }
        for line in &moved {
            info!("{line}");
        }
        notes.extend(moved);
        let plan = loaded.plan.clone();
        let (new, gone) = (beyond(&self.loaded, &loaded), beyond(&loaded, &self.loaded));
        let series = plan.series.len();
        // The engine is gone only when everything ends.
        drop(
            desk.queue
                .send(Message::Hands(Box::new(desk.hands(&loaded))))
                .await,
        );
        drop(desk.queue.send(Message::Input(Box::new(Input::Plan(plan)))).await);
        // Behind the plan: a beat of a new sender finds its series.
        desk.rosters.replace(Arc::clone(&loaded.heartbeat.roster));
        // A life after a restore opens what is open now, not what was refused.
        listeners.opened(&mut loaded);
        self.loaded = loaded;
        ReloadShape {
            v: VERSION,
            text: applied(series, new, gone),
            series,
            new,
            gone,
            notes,
            refused,
        }
    }
}

fn applied(series: usize, new: usize, gone: usize) -> String {
    let mut text = format!(
        "configuration applied: watching {}",
        count(series, "series", "series")
    );
    if new > 0 {
        text.push_str(&format!(", {new} of them new"));
    }
    if gone > 0 {
        text.push_str(&format!("; {gone} no longer watched"));
    }
    text
}

/// How many series of `after` are not in `before`.
fn beyond(before: &Loaded, after: &Loaded) -> usize {
    let known: HashSet<&str> = before.plan.series.iter().map(|s| &*s.key).collect();
    let series = after.plan.series.iter();
    series.filter(|s| !known.contains(&*s.key)).count()
}

/// Tells of the added monitors that are not watched: of those that a file has too, and of those that do not fit.
fn left_out(loaded: &Loaded) -> (Vec<String>, Vec<String>) {
    let (mut notes, mut refused) = (Vec::new(), Vec::new());
    for out in loaded.origins.left_out() {
        let name = &out.added.name;
        match &out.why {
            Unwatched::Filed(file, line) => {
                let note = format!(
                    "the monitor \"{name}\" that was added is not watched, for {file}, line {line}, has one of that name: `lapwing remove {name}` forgets it"
                );
                warn!("{note}");
                notes.push(note);
            }
            Unwatched::Unfit(report) => {
                let text = format!("the monitor \"{name}\" that was added is left out:\n{report}");
                error!("{text}");
                refused.push(text);
            }
        }
    }
    (notes, refused)
}
