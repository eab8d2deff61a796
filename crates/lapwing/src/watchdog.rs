//! Keeps the service manager from restarting us while we work, and only while we work: each time, a sign of life takes
//! the whole way of an alert, through the engine and the ledger's thread to where messages are sent from. A part that
//! hangs, be it in a system call, holds the sign up, and the manager restarts us.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lapwing_core::state::State;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::{engine::Message, manager::Manager};

/// How often the manager hears how many series are in each state; at the start, when much changes, sooner.
const COUNT_EVERY: Duration = Duration::from_secs(10);
const COUNT_FIRST: Duration = Duration::from_secs(1);

/// Tells the manager how things are until the engine ends, or this is aborted.
pub async fn tell(manager: Arc<Manager>, engine: mpsc::Sender<Message>) {
    if manager.listens() {
        tokio::join!(live(&manager, &engine), count(&manager, &engine));
    }
}

/// Three signs in the time that the manager waits for one.
async fn live(manager: &Manager, engine: &mpsc::Sender<Message>) {
    let Some(patience) = manager.watchdog() else {
        return;
    };
    while ask(engine, Message::Sign).await.is_some() {
        manager.alive();
        sleep(patience / 3).await;
    }
}

async fn count(manager: &Manager, engine: &mpsc::Sender<Message>) {
    let mut every = COUNT_FIRST;
    while let Some(counts) = ask(engine, Message::Count).await {
        manager.status(&line(&counts));
        sleep(every).await;
        every = (every * 2).min(COUNT_EVERY);
    }
}

/// None when the engine is gone.
async fn ask<T>(engine: &mpsc::Sender<Message>, question: fn(oneshot::Sender<T>) -> Message) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    engine.send(question(reply)).await.ok()?;
    answer.await.ok()
}

fn line(counts: &BTreeMap<State, usize>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    match parts.as_slice() {
        [] => "watching nothing".to_owned(),
        _ => format!(
            "watching {} series: {}",
            counts.values().sum::<usize>(),
            parts.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_the_states() {
        assert_eq!(line(&BTreeMap::new()), "watching nothing");
        let counts = BTreeMap::from([(State::Up, 2), (State::Down, 1)]);
        assert_eq!(line(&counts), "watching 3 series: 2 up, 1 down");
    }
}
