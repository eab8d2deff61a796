//! The outbox: notices on their way to somebody. At least once, in order per series and notifier, with backoff,
//! rate limit and digest. Pure: it says what to send and what to store; sending and storing are done elsewhere.
//!
//! It must never lose a notice, and never send one before its row is stored.

mod channel;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::channel::Channel;
use crate::{
    event::EventKind,
    id::{Id, Rng},
    monitor::NotifierPolicy,
    time::{Mono, Now, Wall},
};

/// An event made ready to be carried: what a notifier needs, and nothing that can change.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The event's id: the same on every attempt.
    pub id: Id,
    pub kind: EventKind,
    /// Identity of the series; empty for events about ourselves. Notices of one series stay in order.
    pub lane: Arc<str>,
    pub monitor: String,
    pub series: String,
    pub target: String,
    /// Kind of the target.
    pub probe: String,
    pub host: String,
    /// When it happened.
    pub at: Wall,
    pub text: String,
    /// The event as public JSON.
    pub json: String,
}

/// A notice for one notifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Grows with every row ever made: its key and its place in the order.
    pub order: u64,
    pub notifier: Arc<str>,
    pub notice: Arc<Notice>,
    /// Attempts that ended without delivery.
    pub attempts: u32,
    /// An attempt is under way. Found after a crash, it means that nobody knows whether it arrived.
    pub sending: bool,
    /// An earlier attempt may have arrived.
    pub resent: bool,
}

/// One message to send: a notice, or a digest of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Names this attempt in its receipt.
    pub number: u64,
    pub notifier: Arc<str>,
    /// Oldest first. More than one: a digest of what the rate limit held back.
    pub notices: Vec<Arc<Notice>>,
    /// An earlier attempt may have arrived.
    pub resent: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    Delivered,
    Failed {
        retry: Retry,
        message: String,
        maybe_arrived: bool,
    },
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The receiver refused this message for good.
    Never,
    /// It asked for a pause.
    After(Duration),
    Backoff,
}

/// What to store.
#[derive(Clone, Debug, PartialEq)]
pub enum RowChange {
    Put(Row),
    Remove(u64),
    /// The row could not be delivered and is kept aside with the reason.
    Dead(Row, String),
}

/// How a notifier is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    pub notifier: Arc<str>,
    pub waiting: usize,
    /// Failed attempts in a row.
    pub failures: u32,
    pub last_error: Option<String>,
}

/// All notices under way.
#[derive(Debug, Default)]
pub struct Outbox {
    channels: BTreeMap<Arc<str>, Channel>,
    flights: BTreeMap<u64, Flight>,
    last_order: u64,
    last_number: u64,
    changes: Vec<RowChange>,
}

#[derive(Debug)]
struct Flight {
    notifier: Arc<str>,
    orders: Vec<u64>,
}

/// Rows of one notifier; beyond it the oldest become dead letters.
const MAX_ROWS: usize = 200_000;

impl Outbox {
    /// Takes rows that were stored by an earlier run. Those found `sending` may have arrived.
    pub fn restore(&mut self, rows: Vec<Row>) {
        for mut row in rows {
            self.last_order = self.last_order.max(row.order);
            row.resent |= row.sending;
            row.sending = false;
            let channel = self
                .channels
                .entry(Arc::clone(&row.notifier))
                .or_insert_with(|| Channel::new(orphan(&row)));
            channel.admit(row);
        }
    }

    /// Sets the notifiers there are. Rows of others become dead letters.
    pub fn configure(&mut self, notifiers: &[NotifierPolicy]) {
        for policy in notifiers {
            match self.channels.get_mut(&policy.name) {
                Some(channel) => channel.policy = policy.clone(),
                None => {
                    self.channels
                        .insert(Arc::clone(&policy.name), Channel::new(policy.clone()));
                }
            }
        }
        let gone = |name: &Arc<str>| !notifiers.iter().any(|p| p.name == *name);
        let changes = &mut self.changes;
        self.channels.retain(|name, channel| {
            if gone(name) {
                let rows = channel.take_all();
                let why = format!("the notifier {name} is no longer configured");
                changes.extend(rows.into_iter().map(|row| RowChange::Dead(row, why.clone())));
            }
            !gone(name)
        });
    }

    /// Puts `notice` in the queue of `notifier`. A newer notice of a series replaces its waiting reminders.
    pub fn enqueue(&mut self, notifier: &Arc<str>, notice: &Arc<Notice>) {
        let Some(channel) = self
            .channels
            .get_mut(notifier)
            .filter(|c| c.policy.wants(notice.kind))
        else {
            return;
        };
        self.last_order = (self.last_order + 1).max(notice.at.0.max(0) as u64);
        let order = self.last_order;
        self.changes
            .extend(channel.drop_reminder(&notice.lane).map(RowChange::Remove));
        while channel.waiting() >= MAX_ROWS {
            let Some(row) = channel.drop_oldest() else { break };
            self.changes
                .push(RowChange::Dead(row, "the outbox is full".to_owned()));
        }
        let row = Row {
            order,
            notifier: Arc::clone(notifier),
            notice: Arc::clone(notice),
            attempts: 0,
            sending: false,
            resent: false,
        };
        channel.admit(row.clone());
        self.changes.push(RowChange::Put(row));
    }

    /// What can be sent now. Each row is marked as `sending` in the changes, which must be stored first.
    pub fn deliveries(&mut self, now: Now) -> Vec<Delivery> {
        let mut out = Vec::new();
        for channel in self.channels.values_mut() {
            while let Some(orders) = channel.next_message(now.mono) {
                self.last_number += 1;
                let delivery = channel.launch(self.last_number, &orders, now.mono, &mut self.changes);
                self.flights.insert(
                    self.last_number,
                    Flight {
                        notifier: Arc::clone(&delivery.notifier),
                        orders,
                    },
                );
                out.push(delivery);
            }
        }
        out
    }

    /// Takes the receipt of attempt `number`.
    pub fn receipt(&mut self, number: u64, receipt: &Receipt, now: Now, rng: &mut Rng) {
        let Some(flight) = self.flights.remove(&number) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&flight.notifier) else {
            return;
        };
        channel.settle(receipt, flight.orders.len(), now, rng);
        let split = flight.orders.len() > 1;
        for order in flight.orders {
            let change = match receipt {
                Receipt::Delivered => channel.remove(order).map(|_| RowChange::Remove(order)),
                // A digest that is refused for good may hold one notice that is at fault: they go one by one.
                Receipt::Failed {
                    retry: Retry::Never,
                    message,
                    ..
                } if !split => channel
                    .remove(order)
                    .map(|row| RowChange::Dead(row.failed(false), message.clone())),
                Receipt::Failed { maybe_arrived, .. } => {
                    channel.keep(order, *maybe_arrived).map(RowChange::Put)
                }
            };
            self.changes.extend(change);
        }
        if let Receipt::Failed { message, .. } = receipt {
            for row in channel.expired(now.wall) {
                self.changes.push(RowChange::Dead(row, message.clone()));
            }
        }
    }

    /// The line is back: everybody is tried at once.
    pub fn unblock(&mut self) {
        for channel in self.channels.values_mut() {
            channel.unblock();
        }
    }

    /// When [`Outbox::deliveries`] has something to give, if nothing else happens before.
    pub fn next_wake(&self) -> Option<Mono> {
        self.channels.values().filter_map(Channel::next_wake).min()
    }

    /// Takes what is to be stored.
    pub fn take_changes(&mut self) -> Vec<RowChange> {
        std::mem::take(&mut self.changes)
    }

    pub fn view(&self) -> Vec<ChannelView> {
        self.channels.values().map(Channel::view).collect()
    }

    /// True while an attempt is under way.
    pub fn is_delivering(&self) -> bool {
        !self.flights.is_empty()
    }

    /// True when nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.channels.values().all(|c| c.waiting() == 0)
    }
}

impl Row {
    /// After an attempt without delivery.
    fn failed(mut self, maybe_arrived: bool) -> Self {
        self.attempts += 1;
        self.sending = false;
        self.resent |= maybe_arrived;
        self
    }
}

/// Stands for the notifier of a stored row until the plan says whether it still exists.
fn orphan(row: &Row) -> NotifierPolicy {
    NotifierPolicy {
        name: Arc::clone(&row.notifier),
        on: None,
        rate_limit: None,
        give_up: Duration::from_secs(3 * 86_400),
        local: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rate_limit: Option<(u32, Duration)>) -> NotifierPolicy {
        NotifierPolicy {
            name: "ops".into(),
            on: None,
            rate_limit,
            give_up: Duration::from_secs(3600),
            local: false,
        }
    }

    fn notice(lane: &str, kind: EventKind, n: i64) -> Arc<Notice> {
        Arc::new(Notice {
            id: Id::new(Wall(n * 1000), &mut Rng::new(n as u64)),
            kind,
            lane: lane.into(),
            monitor: lane.to_owned(),
            series: lane.to_owned(),
            target: String::new(),
            probe: String::new(),
            host: String::new(),
            at: Wall(n),
            text: format!("{lane} {n}"),
            json: String::new(),
        })
    }

    fn now(secs: u64) -> Now {
        Now {
            wall: Wall(secs as i64 * 1_000_000),
            mono: Mono(secs * 1_000_000),
        }
    }

    fn texts(deliveries: &[Delivery]) -> Vec<Vec<&str>> {
        deliveries
            .iter()
            .map(|d| d.notices.iter().map(|n| n.text.as_str()).collect())
            .collect()
    }

    fn failed(retry: Retry) -> Receipt {
        Receipt::Failed {
            retry,
            message: "no".to_owned(),
            maybe_arrived: false,
        }
    }

    #[test]
    fn one_series_stays_in_order_and_others_pass() {
        let mut outbox = Outbox::default();
        outbox.configure(&[policy(None)]);
        let ops: Arc<str> = "ops".into();
        for (lane, n) in [("a", 1), ("a", 2), ("b", 3)] {
            outbox.enqueue(&ops, &notice(lane, EventKind::Down, n));
        }
        let first = outbox.deliveries(now(1));
        assert_eq!(texts(&first), [["a 1"], ["b 3"]]);
        assert!(outbox.deliveries(now(1)).is_empty());
        outbox.receipt(first[0].number, &Receipt::Delivered, now(2), &mut Rng::new(1));
        assert_eq!(texts(&outbox.deliveries(now(2))), [["a 2"]]);
    }

    #[test]
    fn retry_after_is_honoured_and_refusals_are_dead_letters() {
        let mut outbox = Outbox::default();
        outbox.configure(&[policy(None)]);
        let ops: Arc<str> = "ops".into();
        outbox.enqueue(&ops, &notice("a", EventKind::Down, 1));
        let first = outbox.deliveries(now(1));
        outbox.receipt(
            first[0].number,
            &failed(Retry::After(Duration::from_secs(30))),
            now(1),
            &mut Rng::new(1),
        );
        assert!(outbox.deliveries(now(30)).is_empty());
        assert_eq!(outbox.next_wake(), Some(Mono(31_000_000)));
        let second = outbox.deliveries(now(31));
        outbox.take_changes();
        outbox.receipt(second[0].number, &failed(Retry::Never), now(32), &mut Rng::new(1));
        assert!(matches!(&outbox.take_changes()[..], [RowChange::Dead(row, _)] if row.attempts == 2));
        assert!(outbox.is_idle());
    }

    #[test]
    fn backoff_grows_and_gives_up() {
        let mut outbox = Outbox::default();
        outbox.configure(&[policy(None)]);
        outbox.enqueue(&"ops".into(), &notice("a", EventKind::Down, 1));
        let (mut at, mut rng, mut attempts) = (0, Rng::new(3), 0);
        while !outbox.is_idle() {
            at = outbox.next_wake().map_or(at, |m| m.0.div_ceil(1_000_000)).max(at);
            for delivery in outbox.deliveries(now(at)) {
                attempts += 1;
                outbox.receipt(delivery.number, &failed(Retry::Backoff), now(at), &mut rng);
            }
            assert!(attempts < 200 && at < 3600 + 601, "attempts {attempts} at {at}");
        }
        assert!(attempts > 8 && at >= 3600);
    }

    #[test]
    fn the_rate_limit_digests_what_it_held_back() {
        let mut outbox = Outbox::default();
        outbox.configure(&[policy(Some((2, Duration::from_secs(60))))]);
        let ops: Arc<str> = "ops".into();
        for n in 1..=6 {
            outbox.enqueue(&ops, &notice(&format!("m{n}"), EventKind::Down, n));
        }
        let first = outbox.deliveries(now(1));
        assert_eq!(texts(&first), [["m1 1"], ["m2 2"]]);
        for delivery in &first {
            outbox.receipt(delivery.number, &Receipt::Delivered, now(2), &mut Rng::new(1));
        }
        assert!(outbox.deliveries(now(60)).is_empty());
        assert_eq!(outbox.next_wake(), Some(Mono(61_000_000)));
        assert_eq!(
            texts(&outbox.deliveries(now(61))),
            [["m3 3", "m4 4", "m5 5", "m6 6"]]
        );
    }

    #[test]
    fn a_crash_while_sending_says_so_and_stale_reminders_go() {
        let mut outbox = Outbox::default();
        outbox.configure(&[policy(None)]);
        let ops: Arc<str> = "ops".into();
        outbox.enqueue(&ops, &notice("a", EventKind::Down, 1));
        outbox.deliveries(now(1));
        let mut stored = BTreeMap::new();
        for change in outbox.take_changes() {
            if let RowChange::Put(row) = change {
                stored.insert(row.order, row);
            }
        }
        let mut again = Outbox::default();
        again.restore(stored.into_values().collect());
        again.configure(&[policy(None)]);
        again.enqueue(&ops, &notice("a", EventKind::Reminder, 2));
        again.enqueue(&ops, &notice("a", EventKind::Up, 3));
        let first = again.deliveries(now(2));
        assert!(first[0].resent && texts(&first) == [["a 1"]]);
        again.receipt(first[0].number, &Receipt::Delivered, now(2), &mut Rng::new(1));
        assert_eq!(texts(&again.deliveries(now(2))), [["a 3"]]);
    }

    #[test]
    fn rows_of_a_removed_notifier_become_dead_letters() {
        let mut outbox = Outbox::default();
        outbox.configure(&[policy(None)]);
        outbox.enqueue(&"ops".into(), &notice("a", EventKind::Down, 1));
        outbox.take_changes();
        outbox.configure(&[]);
        assert!(matches!(&outbox.take_changes()[..], [RowChange::Dead(..)]));
    }
}
