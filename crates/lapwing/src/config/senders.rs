//! The senders of all heartbeats: none is known by what another is known by, and each can be heard. Nothing of a key
//! stands in any error.

use std::{collections::HashMap, sync::Arc};

use ipnet::IpNet;
use lapwing_core::{heartbeat::BeatRule, secret::Secret};
use lapwing_link::heartbeat::{Roster, RosterError};
use lapwing_wire::heartbeat::SensorId;

use super::{
    Heartbeat,
    diagnostic::{Place, Problem},
    heartbeat::HeartbeatText,
    value::Reading,
};

/// The senders of all monitors, none of them twice.
#[derive(Default)]
pub(super) struct Senders {
    all: Vec<Sender>,
    ids: HashMap<SensorId, Place>,
    networks: HashMap<IpNet, Place>,
    keys: HashMap<String, Place>,
    /// The newest rule: neighbours often have the same.
    rule: Option<Arc<BeatRule>>,
}

pub(super) struct Sender {
    pub(super) id: SensorId,
    pub(super) series: Arc<str>,
    /// Where its target stands.
    pub(super) at: Place,
    pub(super) who: Who,
    /// It has neither a key, nor is it said where it sends from.
    pub(super) open: bool,
}

/// How a sender is known.
pub(super) enum Who {
    Keyed(Vec<Secret>),
    Plain(Vec<IpNet>),
}

impl Senders {
    /// One copy of rules that are the same.
    pub(super) fn shared(&mut self, rule: BeatRule) -> Arc<BeatRule> {
        match &self.rule {
            Some(newest) if **newest == rule => Arc::clone(newest),
            _ => Arc::clone(self.rule.insert(Arc::new(rule))),
        }
    }

    /// Adds a sender unless another is known by the same. `places`: of its keys and of its networks.
    pub(super) fn add(&mut self, reading: &mut Reading<'_>, sender: Sender, [key_at, from_at]: [Place; 2]) {
        let before = reading.count();
        if let Some(first) = self.ids.insert(sender.id, sender.at) {
            let message = format!("heartbeat:{} is the target of two monitors", sender.id);
            twice(
                reading,
                sender.at,
                first,
                message,
                "each sender has a name of its own",
            );
        }
        match &sender.who {
            Who::Keyed(keys) => {
                for key in keys {
                    if let Some(first) = self.keys.insert(key.expose().to_owned(), key_at) {
                        let message = "two heartbeats have the same key".to_owned();
                        twice(
                            reading,
                            key_at,
                            first,
                            message,
                            "\"lapwing sensor keygen\" makes another",
                        );
                    }
                }
            }
            Who::Plain(networks) => {
                let taken = |network: &IpNet| Some((*network, self.networks.insert(*network, from_at)?));
                let taken: Vec<_> = networks.iter().filter_map(taken).collect();
                if let Some((network, first)) = taken.into_iter().next() {
                    let message = if network.prefix_len() == 0 {
                        "two heartbeats without a key are from any address".to_owned()
                    } else {
                        format!("two heartbeats without a key are from {network}")
                    };
                    let hint = "give one of them a key, or other addresses: from = [\"192.0.2.7\"]";
                    twice(reading, from_at, first, message, hint);
                }
            }
        }
        if reading.count() == before {
            self.all.push(sender);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Whether every sender after the first `known` can be heard, and whether adopting has an effect.
    pub(super) fn check(&self, reading: &mut Reading<'_>, text: &HeartbeatText, known: usize) {
        let (udp, http) = (text.udp().is_some(), text.http().is_some());
        let heard = |sender: &Sender| udp || http && matches!(sender.who, Who::Keyed(_));
        if let Some(sender) = self.all[known..].iter().find(|sender| !heard(sender)) {
            let (message, hint) = if http {
                (
                    "this heartbeat has no key, so it cannot report in by HTTP",
                    "give it a key, or let [heartbeat] listen for datagrams: listen = \"0.0.0.0:7777\"",
                )
            } else {
                (
                    "nobody can report in: [heartbeat] does not listen",
                    "write [heartbeat] with listen = \"0.0.0.0:7777\" for sensors, http = \"0.0.0.0:7778\" for pings with curl",
                )
            };
            reading.error(sender.at, message, hint.to_owned());
        }
        let Some(adopt) = text.adopt() else {
            return;
        };
        if !udp {
            let hint = "for example: listen = \"0.0.0.0:7777\"".to_owned();
            reading.error(adopt, "adopt needs listen: unknown senders come by UDP", hint);
        }
        let any: Vec<_> = self
            .networks
            .iter()
            .filter(|(n, _)| n.prefix_len() == 0)
            .collect();
        if let [(_, place), _] = any.as_slice() {
            reading.problem(Problem {
                message: "adopt has no effect: no sender is unknown".to_owned(),
                hint: Some("take it out, or say from = [\"192.0.2.7\"] where it says \"any\"".to_owned()),
                place: adopt,
                also: Some(("this heartbeat is from any address", **place)),
            });
        }
    }

    /// What the listeners must know of all senders.
    pub(super) fn heartbeat(self, reading: &mut Reading<'_>, text: &HeartbeatText) -> Heartbeat {
        let mut roster = Roster::default();
        roster.adopt(text.adopt().is_some());
        let open = self.enter(reading, &mut roster, 0);
        Heartbeat {
            listen: text.udp().map(|(addr, _)| addr),
            http: text.http().map(|(addr, _)| addr),
            roster: Arc::new(roster),
            open,
        }
    }

    /// Puts all after the first `known` on the roster; gives the one that anybody may send.
    pub(super) fn enter(
        &self,
        reading: &mut Reading<'_>,
        roster: &mut Roster,
        known: usize,
    ) -> Option<SensorId> {
        let new = &self.all[known..];
        for sender in new {
            if let Err(error) = sender.enter(roster) {
                reading.error(sender.at, error.to_string(), None);
            }
        }
        new.iter().find(|sender| sender.open).map(|s| s.id)
    }
}

impl Sender {
    fn enter(&self, roster: &mut Roster) -> Result<(), RosterError> {
        let series = || Arc::clone(&self.series);
        match &self.who {
            Who::Keyed(keys) => {
                roster.keyed(self.id.as_str(), series(), keys)?;
                keys.iter().try_for_each(|key| roster.url(key, series()))
            }
            Who::Plain(networks) => networks
                .iter()
                .try_for_each(|network| roster.plain(*network, series())),
        }
    }
}

fn twice(reading: &mut Reading<'_>, place: Place, first: Place, message: String, hint: &str) {
    reading.problem(Problem {
        message,
        hint: Some(hint.to_owned()),
        place,
        also: Some(("it stands here first", first)),
    });
}
