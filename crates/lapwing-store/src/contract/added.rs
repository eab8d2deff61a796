//! Monitors that were added, on both ledgers.

use lapwing_core::time::Wall;
use tempfile::tempdir;

use super::{ledger::on_both, open};
use crate::{LedgerError, Op, added, space};

#[test]
fn what_was_added_comes_back_in_its_order() {
    on_both(|ledger| {
        assert_eq!(added::all(ledger).unwrap(), []);
        let web = added::add(ledger, "web", "text\n\"ü\u{1b}\"", "anna", Wall(7)).unwrap();
        let db = added::add(ledger, "db", "", "", Wall(-3)).unwrap();
        assert_eq!(added::all(ledger).unwrap(), [web.clone(), db.clone()]);
        let changed = added::change(ledger, &web, "other").unwrap();
        assert_eq!(
            (changed.text.as_str(), changed.by.as_str(), changed.at),
            ("other", "anna", Wall(7))
        );
        assert_eq!(added::all(ledger).unwrap(), [changed.clone(), db.clone()]);
        added::remove(ledger, &changed).unwrap();
        assert_eq!(added::all(ledger).unwrap(), [db]);
        let again = added::add(ledger, "web", "third", "", Wall(9)).unwrap();
        assert_eq!(added::all(ledger).unwrap()[1], again);
    });
}

#[test]
fn of_two_changes_at_once_the_second_is_told() {
    on_both(|ledger| {
        let seen = added::add(ledger, "web", "one", "", Wall(1)).unwrap();
        let twice = added::add(ledger, "web", "two", "", Wall(2)).unwrap_err();
        assert!(matches!(twice, LedgerError::Guard { .. }), "{twice}");
        let newer = added::change(ledger, &seen, "newer").unwrap();
        for late in [
            added::change(ledger, &seen, "late").map(drop),
            added::remove(ledger, &seen),
        ] {
            assert!(matches!(late, Err(LedgerError::Guard { .. })), "{late:?}");
        }
        assert_eq!(added::all(ledger).unwrap(), std::slice::from_ref(&newer));
        added::remove(ledger, &newer).unwrap();
        let gone = added::remove(ledger, &newer).unwrap_err();
        assert!(matches!(gone, LedgerError::Guard { .. }), "{gone}");
    });
}

#[test]
fn the_longest_text_fits_and_outlives_the_process() {
    let dir = tempdir().unwrap();
    // Every byte of the worst text takes six in the record.
    let (name, text) = ("ü".repeat(100), "\u{1}".repeat(added::LONGEST));
    let kept = added::add(&open(dir.path()).0, &name, &text, "anna", Wall(1)).unwrap();
    assert_eq!(added::all(&open(dir.path()).0).unwrap(), [kept]);
}

#[test]
fn what_a_newer_version_wrote_is_named() {
    on_both(|ledger| {
        let newer = Op::Put(space::added("web"), br#"{"v":2,"text":7}"#.to_vec());
        ledger.commit(&[], &[newer]).unwrap();
        let error = added::all(ledger).unwrap_err().to_string();
        assert!(
            error.contains("monitor/web") && error.contains("newer lapwing"),
            "{error}"
        );
    });
}
