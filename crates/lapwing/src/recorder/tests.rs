use std::{path::Path, sync::atomic::AtomicBool};

use lapwing_core::{
    event::EventKind,
    heartbeat::BeatStanding,
    id::{Id, Rng},
    lookout::Change,
    state::State,
    time::Wall,
};
use lapwing_store::{Change as Stored, Entry, Guard, MemLedger, Revision, Session};

use super::*;

/// A clock that the test moves.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Now {
        let now = self.0.load(Ordering::Relaxed);
        Now {
            wall: Wall(now as i64),
            mono: Mono(now),
        }
    }
}

/// A ledger that can be made to refuse every commit.
#[derive(Default)]
struct Stubborn {
    ledger: MemLedger,
    refuses: AtomicBool,
}

impl Ledger for Stubborn {
    fn commit(&self, guards: &[Guard], ops: &[Op]) -> Result<Revision, LedgerError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(LedgerError::Compacted { since: Revision(0) });
        }
        self.ledger.commit(guards, ops)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<(Vec<Entry>, Revision), LedgerError> {
        self.ledger.range(from, to, limit)
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.ledger.get(key)
    }

    fn changes(&self, since: Revision) -> Result<Vec<Stored>, LedgerError> {
        self.ledger.changes(since)
    }

    fn session(&self) -> Session {
        self.ledger.session()
    }

    fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        self.ledger.backup(to)
    }
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Outlet for Said {
    fn announce(&self, event: &Arc<Event>) {
        self.0.lock().unwrap().push(event.text.clone());
    }

    fn deliver(&self, delivery: Delivery) {
        self.0.lock().unwrap().push(delivery.number.to_string());
    }

    fn heard(&self, ticket: u64) {
        self.0.lock().unwrap().push(format!("heard {ticket}"));
    }

    fn sign(&self, sign: Sign) {
        let _gone_is_fine = sign.send(());
    }
}

/// A beat that is to be stored, its ticket, and an event behind both.
fn page(ticket: u64) -> Page {
    let event = Event {
        id: Id::new(Wall(0), &mut Rng::new(ticket)),
        kind: EventKind::Up,
        series: None,
        state: State::Up,
        previous: State::Down,
        at: Wall(0),
        since: None,
        duration: None,
        uncertainty: None,
        reason: None,
        reminder: None,
        loss: None,
        ended: None,
        failed_checks: None,
        last_up: None,
        verdict: None,
        mute: None,
        withheld: false,
        text: format!("event {ticket}"),
    };
    let beats = Change::Beats {
        series: format!("sensor {ticket}").into(),
        beats: Box::default(),
    };
    Page::Decisions(vec![
        Effect::Commit(vec![beats]),
        Effect::Heard { ticket },
        Effect::Announce(Arc::new(event)),
    ])
}

#[test]
fn a_sender_is_told_only_when_its_beat_is_durable() {
    let (ledger, clock, said) = (
        Arc::<Stubborn>::default(),
        Arc::<Hand>::default(),
        Said::default(),
    );
    let mut clerk = Clerk {
        ledger: Arc::clone(&ledger) as _,
        clock: Arc::clone(&clock) as _,
        outlet: said.clone(),
        doubt: Doubt::new(clock.now()),
        pending: BTreeMap::new(),
        held: Vec::new(),
        signs: Vec::new(),
    };
    let refuse = |refuses| ledger.refuses.store(refuses, Ordering::Relaxed);

    refuse(true);
    clerk.take(page(1));
    let failing = clerk.commit(None);
    assert!(failing.is_some());
    assert_eq!(said.take(), [""; 0]);
    refuse(false);
    assert_eq!(clerk.commit(failing), None);
    assert_eq!(said.take(), ["heard 1", "event 1"]);

    // An alert goes out at last, although it is not stored. That a beat counts is not said.
    refuse(true);
    clerk.take(page(2));
    let failing = clerk.commit(None);
    clock.0.fetch_add(PATIENCE.as_micros() as u64, Ordering::Relaxed);
    let failing = clerk.commit(failing);
    assert_eq!(said.take(), ["event 2"]);
    refuse(false);
    assert_eq!(clerk.commit(failing), None);
    assert_eq!(said.take(), [""; 0]);
    let stored = book::restore(&*ledger).unwrap().beats;
    let stored: Vec<_> = stored.iter().map(|(series, beats)| (&**series, beats)).collect();
    let nothing = BeatStanding::default();
    assert_eq!(stored, [("sensor 1", &nothing), ("sensor 2", &nothing)]);
}
