//! Names for the completion, from the daemon, while somebody types.
//!
//! It must never keep who types waiting for longer than a blink.

use std::{collections::HashMap, time::Duration};

use lapwing_api::{
    client::{Client, ClientError},
    monitors::{MonitorQuery, NamesShape},
};
use lapwing_term::console::complete::{Known, MOST, Which};
use tokio::runtime::Handle;

use crate::cli::completions;

/// Longest time that somebody who types is kept waiting.
const PATIENCE: Duration = Duration::from_millis(250);
/// Monitors whose labels are looked at.
const LABELLED: usize = 1_000;

/// Asks the daemon, and remembers the answers for one line.
pub(super) struct Names {
    client: Client,
    runtime: Handle,
    /// By prefix.
    begun: HashMap<(Which, String), NamesShape>,
    notifiers: Option<Vec<String>>,
    labels: Option<Vec<String>>,
}

impl Names {
    pub(super) fn new(client: Client, runtime: Handle) -> Self {
        Self {
            client,
            runtime,
            begun: HashMap::new(),
            notifiers: None,
            labels: None,
        }
    }

    /// A new line begins: what was known may have changed.
    pub(super) fn forget(&mut self) {
        self.begun.clear();
        self.notifiers = None;
        self.labels = None;
    }

    fn ask<T>(&self, question: impl Future<Output = Result<T, ClientError>>) -> Option<T> {
        let answer = async { tokio::time::timeout(PATIENCE, question).await };
        self.runtime.block_on(answer).ok()?.ok()
    }
}

impl Known for Names {
    fn names(&mut self, which: Which, prefix: &str) -> NamesShape {
        // All that begins with a shorter prefix is enough.
        let mut shorter = prefix.char_indices().map(|(at, _)| &prefix[..at]).chain([prefix]);
        let known = shorter.find_map(|p| {
            let told = self.begun.get(&(which, p.to_owned()));
            told.filter(|told| !told.more || p == prefix)
        });
        if let Some(told) = known {
            let mut told = told.clone();
            told.names.retain(|name| name.starts_with(prefix));
            return told;
        }
        // One more than are shown, for some may stand in the line already.
        let question = completions::begun(&self.client, which, prefix, MOST + 1);
        let Some(told) = self.ask(question) else {
            return NamesShape::of(&[], 0);
        };
        self.begun.insert((which, prefix.to_owned()), told.clone());
        told
    }

    fn notifiers(&mut self) -> Vec<String> {
        if self.notifiers.is_none() {
            let found = self.ask(self.client.notifiers());
            self.notifiers = found.map(|all| all.notifiers.into_iter().map(|one| one.name).collect());
        }
        self.notifiers.clone().unwrap_or_default()
    }

    fn labels(&mut self) -> Vec<String> {
        if self.labels.is_none() {
            let query = MonitorQuery {
                limit: LABELLED,
                ..MonitorQuery::default()
            };
            let found = self.ask(self.client.monitors(&query));
            self.labels = found.map(|page| {
                let all = page.monitors.into_iter().flat_map(|monitor| monitor.labels);
                let mut labels: Vec<String> = all.map(|(key, value)| format!("{key}={value}")).collect();
                labels.sort();
                labels.dedup();
                labels
            });
        }
        self.labels.clone().unwrap_or_default()
    }
}
