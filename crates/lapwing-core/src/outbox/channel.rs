//! The queue of one notifier: a lane for each series, in order; rate limit, digest, backoff.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{ChannelView, Delivery, Receipt, Retry, Row, RowChange};
use crate::{
    event::EventKind,
    id::Rng,
    monitor::NotifierPolicy,
    time::{Mono, Now, Wall, micros},
};

/// Attempts of one notifier under way at once.
const MAX_IN_FLIGHT: usize = 4;
/// Notices in one digest, and bytes of their texts: every receiver shows as much.
const MAX_DIGEST: usize = 100;
const MAX_DIGEST_TEXT: usize = 3_000;
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) policy: NotifierPolicy,
    rows: BTreeMap<u64, Row>,
    lanes: HashMap<Arc<str>, Lane>,
    /// The oldest row of each lane that is not busy: what may go next.
    heads: BTreeSet<u64>,
    in_flight: usize,
    blocked_until: Mono,
    failures: u32,
    last_error: Option<String>,
    /// When the messages of the running rate-limit period went out.
    sent: VecDeque<Mono>,
    /// The limit has held something back: what waits goes out as digests until nothing waits.
    held: bool,
    /// So many notices of a refused digest go one by one.
    singles: usize,
}

/// The rows of one series, oldest first.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<u64>,
    busy: bool,
    /// The waiting reminder, which anything newer replaces.
    reminder: Option<u64>,
}

impl Channel {
    pub(super) fn new(policy: NotifierPolicy) -> Self {
        Self {
            policy,
            rows: BTreeMap::new(),
            lanes: HashMap::new(),
            heads: BTreeSet::new(),
            in_flight: 0,
            blocked_until: Mono(0),
            failures: 0,
            last_error: None,
            sent: VecDeque::new(),
            held: false,
            singles: 0,
        }
    }

    /// Rows that are not delivered, those under way included.
    pub(super) fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Takes a row whose order is larger than that of every other row of its lane.
    pub(super) fn admit(&mut self, row: Row) {
        let lane = self.lanes.entry(Arc::clone(&row.notice.lane)).or_default();
        if row.notice.kind == EventKind::Reminder {
            lane.reminder = Some(row.order);
        }
        if lane.queue.is_empty() && !lane.busy {
            self.heads.insert(row.order);
        }
        lane.queue.push_back(row.order);
        self.rows.insert(row.order, row);
    }

    /// Drops the waiting reminder of a series; gives its order.
    pub(super) fn drop_reminder(&mut self, lane: &Arc<str>) -> Option<u64> {
        let stale = self.lanes.get_mut(lane)?.reminder.take()?;
        if self.rows.get(&stale)?.sending {
            return None;
        }
        self.remove(stale).map(|row| row.order)
    }

    pub(super) fn drop_oldest(&mut self) -> Option<Row> {
        let oldest = self.rows.values().find(|r| !r.sending)?.order;
        self.remove(oldest)
    }

    /// Takes everything out: the notifier is gone.
    pub(super) fn take_all(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows).into_values().collect()
    }

    /// Takes a row out; its lane goes on with the next.
    pub(super) fn remove(&mut self, order: u64) -> Option<Row> {
        let row = self.rows.remove(&order)?;
        self.heads.remove(&order);
        let Some(lane) = self.lanes.get_mut(&row.notice.lane) else {
            return Some(row);
        };
        if let Some(place) = lane.queue.iter().position(|o| *o == order) {
            lane.queue.remove(place);
        }
        if row.sending {
            lane.busy = false;
        }
        match lane.queue.front() {
            None if !lane.busy => drop(self.lanes.remove(&row.notice.lane)),
            Some(next) if !lane.busy => drop(self.heads.insert(*next)),
            _ => {}
        }
        Some(row)
    }

    /// A row stays for another attempt, at its place. Gives it as it is to be stored.
    pub(super) fn keep(&mut self, order: u64, maybe_arrived: bool) -> Option<Row> {
        let row = self.rows.get_mut(&order)?;
        *row = row.clone().failed(maybe_arrived);
        if let Some(lane) = self.lanes.get_mut(&row.notice.lane) {
            lane.busy = false;
            self.heads.extend(lane.queue.front());
        }
        Some(row.clone())
    }

    /// Takes out every row that has waited too long.
    pub(super) fn expired(&mut self, now: Wall) -> Vec<Row> {
        let give_up = self.policy.give_up;
        let late = |row: &&Row| !row.sending && now.since(row.notice.at) >= give_up;
        let orders: Vec<u64> = self.rows.values().filter(late).map(|r| r.order).collect();
        orders
            .into_iter()
            .filter_map(|order| self.remove(order))
            .collect()
    }

    /// The rows of the next message that may go out now.
    pub(super) fn next_message(&mut self, now: Mono) -> Option<Vec<u64>> {
        if now < self.blocked_until || self.in_flight >= self.most_in_flight() {
            return None;
        }
        let first = *self.heads.first()?;
        if !self.within_limit(now) {
            self.held = true;
            return None;
        }
        if self.held && self.singles == 0 {
            let orders = self.digest();
            self.held = orders.len() > 1;
            return Some(orders);
        }
        self.singles = self.singles.saturating_sub(1);
        Some(vec![first])
    }

    pub(super) fn launch(
        &mut self,
        number: u64,
        orders: &[u64],
        now: Mono,
        changes: &mut Vec<RowChange>,
    ) -> Delivery {
        let mut notices = Vec::with_capacity(orders.len());
        let mut resent = false;
        for order in orders {
            let Some(row) = self.rows.get_mut(order) else {
                continue;
            };
            row.sending = true;
            resent |= row.resent;
            self.heads.remove(order);
            if let Some(lane) = self.lanes.get_mut(&row.notice.lane) {
                lane.busy = true;
            }
            notices.push(Arc::clone(&row.notice));
            changes.push(RowChange::Put(row.clone()));
        }
        self.in_flight += 1;
        if self.policy.rate_limit.is_some() {
            self.sent.push_back(now);
        }
        Delivery {
            number,
            notifier: Arc::clone(&self.policy.name),
            notices,
            resent,
        }
    }

    /// Takes the receipt of a message of `count` notices.
    pub(super) fn settle(&mut self, receipt: &Receipt, count: usize, now: Now, rng: &mut Rng) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match receipt {
            Receipt::Delivered => {
                self.failures = 0;
                self.last_error = None;
                self.blocked_until = Mono(0);
            }
            Receipt::Failed { retry, message, .. } => {
                self.last_error = Some(message.clone());
                let pause = match retry {
                    Retry::Never => {
                        self.singles += if count > 1 { count } else { 0 };
                        return;
                    }
                    Retry::After(pause) => (*pause).clamp(Duration::from_secs(1), LONGEST_PAUSE),
                    Retry::Backoff => {
                        let longest = FIRST_BACKOFF
                            .saturating_mul(1 << self.failures.min(10))
                            .min(LONGEST_BACKOFF);
                        // Full jitter, but never so short that it is no pause.
                        Duration::from_micros(500_000 + rng.below(micros(longest)))
                    }
                };
                self.failures = self.failures.saturating_add(1);
                self.blocked_until = self.blocked_until.max(now.mono + pause);
            }
        }
    }

    pub(super) fn unblock(&mut self) {
        self.blocked_until = Mono(0);
    }

    pub(super) fn next_wake(&self) -> Option<Mono> {
        if self.in_flight >= self.most_in_flight() || self.heads.is_empty() {
            return None;
        }
        let limited = match (self.policy.rate_limit, self.sent.front()) {
            (Some((count, per)), Some(first)) if self.sent.len() >= count as usize => *first + per,
            _ => Mono(0),
        };
        Some(self.blocked_until.max(limited))
    }

    pub(super) fn view(&self) -> ChannelView {
        ChannelView {
            notifier: Arc::clone(&self.policy.name),
            waiting: self.rows.len(),
            failures: self.failures,
            last_error: self.last_error.clone(),
        }
    }

    /// After a failure one attempt at a time feels the way.
    fn most_in_flight(&self) -> usize {
        if self.failures > 0 { 1 } else { MAX_IN_FLIGHT }
    }

    /// The oldest rows of lanes that are not busy, as many as one message shows.
    fn digest(&self) -> Vec<u64> {
        let free = |row: &&Row| self.lanes.get(&row.notice.lane).is_some_and(|lane| !lane.busy);
        let (mut orders, mut size) = (Vec::new(), 0);
        for row in self.rows.values().filter(free).take(MAX_DIGEST) {
            size += row.notice.text.len() + 1;
            if size > MAX_DIGEST_TEXT && !orders.is_empty() {
                break;
            }
            orders.push(row.order);
        }
        orders
    }

    fn within_limit(&mut self, now: Mono) -> bool {
        let Some((count, per)) = self.policy.rate_limit else {
            return true;
        };
        while self.sent.front().is_some_and(|at| now.since(*at) >= per) {
            self.sent.pop_front();
        }
        self.sent.len() < count as usize
    }
}
