//! The contract of a ledger.

use std::{sync::Arc, thread};

use proptest::prelude::*;
use tempfile::tempdir;

use super::open;
use crate::{Change, Entry, Guard, Key, Ledger, LedgerError, MemLedger, Op, Revision};

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Asked>, Vec<Op>),
    Range(Key, Key, usize),
    Changes(u64),
    Reopen,
}

/// A guard whose numbers are known only when it is used.
#[derive(Clone, Debug)]
enum Asked {
    Absent(Key),
    /// Of the revision that the key has, or so many more.
    Revision(Key, u64),
    Fence(bool),
}

fn key() -> impl Strategy<Value = Key> {
    let names = [&b""[..], b"a", b"a\0", b"ab", b"b", &[255], &[255, 255]];
    prop::sample::select(names.map(<[u8]>::to_vec).to_vec()).prop_map(Key::new)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(k, v)| Op::Put(k, v)),
        1 => key().prop_map(Op::Delete),
    ]
}

fn guard() -> impl Strategy<Value = Asked> {
    prop_oneof![
        key().prop_map(Asked::Absent),
        (key(), prop_oneof![3 => Just(0), 1 => 1u64..3]).prop_map(|(k, n)| Asked::Revision(k, n)),
        prop::bool::weighted(0.9).prop_map(Asked::Fence),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let guards = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(guard(), 1..3)];
    prop_oneof![
        8 => (guards, prop::collection::vec(op(), 0..5)).prop_map(|(g, o)| Step::Commit(g, o)),
        2 => (key(), key(), 0usize..9).prop_map(|(from, to, limit)| Step::Range(from, to, limit)),
        2 => (0u64..20).prop_map(Step::Changes),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, PartialEq)]
enum Answer {
    Revision(Revision),
    GuardFailed(usize),
    Compacted,
    Entries(Vec<Entry>, Revision),
    Changes(Vec<Change>),
}

fn ask(ledger: &dyn Ledger, step: &Step) -> Answer {
    let answer = match step {
        Step::Commit(guards, ops) => {
            let guards: Vec<Guard> = guards.iter().map(|asked| guard_now(ledger, asked)).collect();
            ledger.commit(&guards, ops).map(Answer::Revision)
        }
        Step::Range(from, to, limit) => ledger.range(from, to, *limit).map(|(e, r)| Answer::Entries(e, r)),
        Step::Changes(since) => ledger.changes(Revision(*since)).map(Answer::Changes),
        Step::Reopen => ledger
            .range(&Key::new([]), &Key::END, usize::MAX)
            .map(|(e, r)| Answer::Entries(e, r)),
    };
    match answer {
        Ok(answer) => answer,
        Err(LedgerError::Guard { index, .. }) => Answer::GuardFailed(index),
        Err(LedgerError::Compacted { .. }) => Answer::Compacted,
        Err(other) => panic!("{other}"),
    }
}

fn guard_now(ledger: &dyn Ledger, asked: &Asked) -> Guard {
    match asked {
        Asked::Absent(key) => Guard::KeyAbsent(key.clone()),
        Asked::Revision(key, more) => {
            let now = ledger.get(key).unwrap().map_or(0, |e| e.modified.0);
            Guard::ModRevision(key.clone(), Revision(now + more))
        }
        Asked::Fence(right) => Guard::Fence(ledger.session().fence + u64::from(!right)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_disk_is_the_model(steps in prop::collection::vec(step(), 1..25)) {
        let dir = tempdir().unwrap();
        let model = MemLedger::new();
        let (mut disk, _) = open(dir.path());
        for step in &steps {
            if matches!(step, Step::Reopen) {
                let before = disk.session();
                drop(disk);
                disk = open(dir.path()).0;
                prop_assert!(disk.session().fence > before.fence, "each owner has its own fence");
            }
            prop_assert_eq!(ask(&disk, step), ask(&model, step));
        }
        prop_assert_eq!(ask(&disk, &Step::Reopen), ask(&model, &Step::Reopen));
        disk.check().unwrap();
    }
}

pub(super) fn on_both(test: impl Fn(&dyn Ledger)) {
    let dir = tempdir().unwrap();
    test(&MemLedger::new());
    test(&open(dir.path()).0);
}

fn put(key: &str, value: &[u8]) -> Op {
    Op::Put(Key::from(key), value.to_vec())
}

#[test]
fn a_failed_guard_writes_nothing_and_is_named() {
    on_both(|ledger| {
        ledger.commit(&[], &[put("a", b"1")]).unwrap();
        let guards = [
            Guard::ModRevision(Key::from("a"), Revision(1)),
            Guard::KeyAbsent(Key::from("a")),
        ];
        let error = ledger
            .commit(&guards, &[put("a", b"2"), put("b", b"2")])
            .unwrap_err();
        assert!(matches!(error, LedgerError::Guard { index: 1, .. }));
        assert_eq!(
            error.to_string(),
            "nothing was written, for it does not hold that a is absent"
        );
        assert_eq!(ledger.prefix(&Key::new([])).unwrap().0.len(), 1);
        assert_eq!(ledger.get(&Key::from("a")).unwrap().unwrap().value, b"1");
    });
}

#[test]
fn the_last_operation_on_a_key_counts_and_nothing_makes_no_revision() {
    on_both(|ledger| {
        let revision = ledger
            .commit(&[], &[put("a", b"1"), Op::Delete(Key::from("a")), put("a", b"2")])
            .unwrap();
        assert_eq!(ledger.changes(Revision(0)).unwrap().len(), 1);
        assert_eq!(
            ledger.commit(&[], &[Op::Delete(Key::from("b"))]).unwrap(),
            revision
        );
        assert_eq!(ledger.commit(&[], &[]).unwrap(), revision);
    });
}

#[test]
fn what_is_too_long_is_refused_as_a_whole() {
    on_both(|ledger| {
        let long_key = Op::Put(Key::new(vec![b'x'; Key::MAX + 1]), Vec::new());
        let long_value = put("b", &vec![0; (1 << 20) + 1]);
        for bad in [long_key, long_value] {
            let error = ledger.commit(&[], &[put("a", b""), bad]).unwrap_err();
            assert!(matches!(error, LedgerError::TooLong { .. }), "{error}");
        }
        assert_eq!(ledger.get(&Key::from("a")).unwrap(), None);
        ledger
            .commit(
                &[],
                &[
                    put("b", &vec![7; 1 << 20]),
                    Op::Put(Key::new(vec![1; Key::MAX]), vec![]),
                ],
            )
            .unwrap();
        assert_eq!(ledger.get(&Key::from("b")).unwrap().unwrap().value.len(), 1 << 20);
    });
}

#[test]
fn old_changes_are_dropped_by_whole_revisions() {
    on_both(|ledger| {
        for first in (0..12_000u32).step_by(3000) {
            let ops: Vec<Op> = (first..first + 3000).map(|i| put(&i.to_string(), b"")).collect();
            ledger.commit(&[], &ops).unwrap();
        }
        // The first revision is there in part only, so that it is not there.
        assert!(matches!(
            ledger.changes(Revision(0)),
            Err(LedgerError::Compacted { .. })
        ));
        assert_eq!(ledger.changes(Revision(1)).unwrap().len(), 9000);
        assert_eq!(ledger.changes(Revision(4)).unwrap(), []);
        let from_the_future = ledger.changes(Revision(5)).unwrap_err();
        assert!(matches!(from_the_future, LedgerError::Compacted { .. }));
    });
}

#[test]
fn pages_of_a_range_join_without_gap_or_overlap() {
    on_both(|ledger| {
        let ops: Vec<Op> = (0..100).map(|i| put(&format!("k{i:03}"), b"")).collect();
        ledger.commit(&[], &ops).unwrap();
        let (mut from, mut keys) = (Key::from("k"), Vec::new());
        loop {
            let page = ledger.range(&from, &Key::from("k").after_prefix(), 7).unwrap().0;
            let Some(last) = page.last() else { break };
            from = last.key.next();
            keys.extend(page.into_iter().map(|e| e.key.to_string()));
        }
        assert_eq!(keys, (0..100).map(|i| format!("k{i:03}")).collect::<Vec<_>>());
        for (prefix, limit, found) in [
            ("k", 3, &["k099", "k098", "k097"][..]),
            ("k01", 2, &["k019", "k018"]),
            ("k001", 9, &["k001"]),
            ("k", 0, &[]),
            ("l", 9, &[]),
        ] {
            let last = ledger.last(&Key::from(prefix), limit).unwrap();
            let last: Vec<String> = last.into_iter().map(|e| e.key.to_string()).collect();
            assert_eq!(last, found, "{prefix} {limit}");
        }
    });
}

#[test]
fn of_many_who_want_the_same_key_one_wins() {
    let dir = tempdir().unwrap();
    let ledgers: [Arc<dyn Ledger>; 2] = [Arc::new(MemLedger::new()), Arc::new(open(dir.path()).0)];
    for ledger in ledgers {
        let contenders: Vec<_> = (0..40u8)
            .map(|i| {
                let ledger = Arc::clone(&ledger);
                let key = Key::from("own");
                thread::spawn(move || {
                    ledger
                        .commit(&[Guard::KeyAbsent(key.clone())], &[Op::Put(key, vec![i])])
                        .is_ok()
                })
            })
            .collect();
        let won = contenders
            .into_iter()
            .map(|c| c.join().unwrap())
            .filter(|won| *won)
            .count();
        assert_eq!(won, 1);
    }
}

#[test]
fn a_former_owner_is_fenced_off() {
    let ledger = MemLedger::new();
    let old = ledger.session();
    let new = ledger.take_over();
    assert!(
        ledger
            .commit(&[Guard::Fence(old.fence)], &[put("a", b"")])
            .is_err()
    );
    assert!(
        new.fresh()
            && ledger
                .commit(&[Guard::Fence(new.fence)], &[put("a", b"")])
                .is_ok()
    );
}
