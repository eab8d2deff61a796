//! Locks, full disks, damage, newer files, backups: what befalls files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use lapwing_core::{
    observation::{Observation, Outcome, Reason, Sample},
    time::Wall,
};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::tempdir;

use super::open;
use crate::{
    DataDir, DiskHistory, Guard, HISTORY_FILE, History, Key, LEDGER_FILE, LOCK_FILE, Ledger, LedgerError, Op,
    Row, StoreError, Teller, history::HOUR, restore,
};

const BASE: i64 = 497_000 * HOUR;

fn put(key: &str, value: &[u8]) -> Op {
    Op::Put(Key::from(key), value.to_vec())
}

/// Hours of a few series, folded but for the last one.
fn fill(history: &DiskHistory, series: usize, hours: i64) {
    for minute in 0..hours * 60 {
        let at = Wall(BASE + minute * 60_000_000);
        let outcome = match minute % 9 {
            7 => Outcome::Down(Reason::new("connect.refused", "connection refused")),
            _ => Outcome::Up,
        };
        let took = Duration::from_micros(900 + (minute * 7919 % 1000).unsigned_abs());
        let observation = Observation {
            at,
            took,
            outcome,
            sample: Sample::default(),
        };
        let names: Vec<String> = (0..series).map(|i| format!("series-{i}")).collect();
        let rows: Vec<Row<'_>> = names
            .iter()
            .map(|series| Row {
                series,
                observation: &observation,
                facts: &[],
            })
            .collect();
        history.append(&rows).unwrap();
    }
    history.fold(Wall(BASE + hours * HOUR - 1)).unwrap();
}

#[test]
fn a_second_daemon_is_told_who_holds_the_folder() {
    let dir = tempdir().unwrap();
    let first = DataDir::open(dir.path(), Wall(0)).unwrap();
    let ledger = first.ledger().unwrap();
    drop(first);
    let error = DataDir::open(dir.path(), Wall(0)).unwrap_err();
    let pid = std::process::id();
    assert!(
        matches!(&error, StoreError::Locked { pid: Some(p), .. } if *p == pid),
        "{error}"
    );
    assert!(error.to_string().contains(&format!("process {pid}")));
    drop(ledger);
    assert!(
        DataDir::open(dir.path(), Wall(0)).is_ok(),
        "the last store gave the lock back"
    );
}

#[test]
fn an_owner_whose_lock_file_is_gone_is_not_fresh_and_is_fenced() {
    let dir = tempdir().unwrap();
    let (first, _) = open(dir.path());
    let session = first.session();
    assert!(session.fresh());
    fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
    assert!(!first.session().fresh());
    let (second, _) = open(dir.path());
    let error = first
        .commit(&[Guard::Fence(session.fence)], &[put("a", b"")])
        .unwrap_err();
    assert!(matches!(error, LedgerError::Guard { .. }), "{error}");
    assert!(second.session().fresh() && second.session().fence > session.fence);
}

#[test]
fn the_folder_is_private_and_a_wider_one_is_warned_of() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a/data");
    let data = DataDir::open(&path, Wall(0)).unwrap();
    data.ledger().unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(
        path.join(LEDGER_FILE).metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(data.warnings().is_empty(), "{:?}", data.warnings());
    drop(data);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let data = DataDir::open(&path, Wall(0)).unwrap();
    assert!(data.warnings()[0].contains("chmod 700"));
}

#[test]
fn readers_read_beside_the_daemon_and_write_nothing() {
    let dir = tempdir().unwrap();
    let missing = DataDir::read(&dir.path().join("none")).unwrap_err();
    assert!(matches!(missing, StoreError::Missing { .. }));
    let missing = DataDir::read(dir.path()).unwrap().ledger().unwrap_err();
    assert!(missing.to_string().contains("has the daemon run"), "{missing}");

    let (ledger, history) = open(dir.path());
    let beside = DataDir::read(dir.path()).unwrap();
    let (reader, past) = (beside.ledger().unwrap(), beside.history().unwrap());
    ledger.commit(&[], &[put("a", b"1")]).unwrap();
    fill(&history, 1, 1);
    assert_eq!(reader.get(&Key::from("a")).unwrap().unwrap().value, b"1");
    assert_eq!(past.tail("series-0", 100).unwrap().len(), 60);
    assert!(!reader.session().fresh());
    let error = reader.commit(&[], &[put("a", b"2")]).unwrap_err();
    assert!(
        matches!(error, LedgerError::Store(StoreError::ReadOnly { .. })),
        "{error}"
    );
    assert!(matches!(past.fold(Wall(0)), Err(StoreError::ReadOnly { .. })));
    drop((ledger, history));
    assert_eq!(
        reader.get(&Key::from("a")).unwrap().unwrap().value,
        b"1",
        "also without a daemon"
    );
}

#[test]
fn another_writer_that_does_not_let_go_is_an_error_and_loses_nothing() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.with_writer(|connection| connection.busy_timeout(Duration::ZERO).unwrap());
    let other = Connection::open(dir.path().join(LEDGER_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = ledger.commit(&[], &[put("a", b"1")]).unwrap_err();
    assert!(
        matches!(error, LedgerError::Store(StoreError::Locked { .. })),
        "{error}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ledger.commit(&[], &[put("a", b"1")]).unwrap().0, 1);
}

#[test]
fn a_full_disk_refuses_a_commit_as_a_whole_and_goes_on_when_there_is_room() {
    let dir = tempdir().unwrap();
    let (ledger, history) = open(dir.path());
    ledger.commit(&[], &[put("a", b"before")]).unwrap();
    ledger.with_writer(|c| c.execute_batch("PRAGMA max_page_count=1").unwrap());
    let big = [put("a", b"after"), put("b", &vec![1; 100_000])];
    let error = ledger.commit(&[], &big).unwrap_err();
    assert!(
        matches!(error, LedgerError::Store(StoreError::Full { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("full: nothing was lost"), "{error}");
    assert_eq!(ledger.get(&Key::from("a")).unwrap().unwrap().value, b"before");
    assert_eq!(ledger.get(&Key::from("b")).unwrap(), None);

    assert!(
        !dir.path().join("ballast").exists(),
        "the reserve was freed for the ledger"
    );
    fill(&history, 1, 1);
    assert!(
        dir.path().join("ballast").exists(),
        "and was taken up before the history wrote"
    );

    ledger.with_writer(|c| c.execute_batch("PRAGMA max_page_count=1000000").unwrap());
    assert_eq!(ledger.commit(&[], &big).unwrap().0, 2);
    drop((ledger, history));
    assert_eq!(
        open(dir.path()).0.get(&Key::from("a")).unwrap().unwrap().value,
        b"after"
    );
}

#[test]
fn a_full_disk_refuses_a_batch_as_a_whole() {
    let dir = tempdir().unwrap();
    let history = open(dir.path()).1;
    fill(&history, 2, 1);
    history.with_writer(|c| c.execute_batch("PRAGMA max_page_count=1").unwrap());
    let observation = Observation {
        at: Wall(BASE),
        took: Duration::ZERO,
        outcome: Outcome::Up,
        sample: Sample::default(),
    };
    let names: Vec<String> = (0..5000).map(|i| format!("new-{i}")).collect();
    let rows: Vec<Row<'_>> = names
        .iter()
        .map(|series| Row {
            series,
            observation: &observation,
            facts: &[],
        })
        .collect();
    let error = history.append(&rows).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(history.series().unwrap().len(), 2);
    history.with_writer(|c| c.execute_batch("PRAGMA max_page_count=1000000").unwrap());
    history.append(&rows).unwrap();
    assert_eq!(
        history.series().unwrap().len(),
        5002,
        "the names of the refused batch were given again"
    );
    assert_eq!(history.tail("new-4999", 9).unwrap().len(), 1);
    history.check().unwrap();
}

#[test]
fn newer_files_are_refused_and_left_alone() {
    for (name, application) in [(LEDGER_FILE, "ledger"), (HISTORY_FILE, "history")] {
        let dir = tempdir().unwrap();
        drop(open(dir.path()));
        let path = dir.path().join(name);
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 9)
            .unwrap();
        let before = fs::read(&path).unwrap();
        let data = DataDir::open(dir.path(), Wall(0)).unwrap();
        let reader = DataDir::read(dir.path()).unwrap();
        let errors = match application {
            "ledger" => [data.ledger().unwrap_err(), reader.ledger().unwrap_err()],
            _ => [
                data.history_or_quarantine(Wall(0)).unwrap_err(),
                reader.history().unwrap_err(),
            ],
        };
        for error in errors {
            assert!(
                matches!(
                    error,
                    StoreError::NewerVersion {
                        found: 9,
                        known: 1,
                        ..
                    }
                ),
                "{error}"
            );
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_damaged_ledger_is_an_error_and_a_damaged_history_makes_room_for_a_new_one() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("cut off", |path| fs::write(path, b"").unwrap()),
        ("not a database", |path| {
            fs::write(path, b"PNG and some more bytes").unwrap();
        }),
        ("broken", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 4096]).unwrap();
        }),
        ("still there", |path| {
            fs::rename(path, path.with_extension("elsewhere")).unwrap();
            fs::write(path.with_extension("db-wal"), b"x").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let dir = tempdir().unwrap();
        let (ledger, history) = open(dir.path());
        ledger.commit(&[], &[put("a", b"1")]).unwrap();
        fill(&history, 2, 1);
        drop((ledger, history));
        damage(&dir.path().join(LEDGER_FILE));
        damage(&dir.path().join(HISTORY_FILE));
        let data = DataDir::open(dir.path(), Wall(0)).unwrap();
        let error = data.ledger().unwrap_err();
        assert!(
            error.is_corrupt() && error.to_string().contains(what),
            "{what}: {error}"
        );
        let (history, aside) = data.history_or_quarantine(Wall(0)).unwrap();
        let (aside, error) = aside.unwrap();
        assert!(error.is_corrupt());
        assert!(
            aside
                .to_string_lossy()
                .ends_with("history.db.corrupt-19700101T000000Z"),
            "{}",
            aside.display()
        );
        fill(&history, 1, 1);
        assert_eq!(history.series().unwrap(), ["series-0"]);
    }
}

/// A folder with something in every table and no log beside the files.
fn sound() -> (tempfile::TempDir, [Vec<u8>; 2]) {
    let dir = tempdir().unwrap();
    let (ledger, history) = open(dir.path());
    for i in 0..40u8 {
        ledger
            .commit(&[], &[put(&format!("key-{i}"), &[i; 300]), put("last", &[i])])
            .unwrap();
    }
    fill(&history, 3, 3);
    drop((ledger, history));
    let bytes = [LEDGER_FILE, HISTORY_FILE].map(|name| fs::read(dir.path().join(name)).unwrap());
    (dir, bytes)
}

fn everything(history: &DiskHistory) -> Result<String, StoreError> {
    let mut text = String::new();
    for series in history.series()? {
        let points = history.tail(&series, 10_000)?;
        let rollups = history.rollups(&series, Wall(0), Wall(i64::MAX))?;
        text.push_str(&format!("{series} {points:?} {rollups:?}\n"));
    }
    Ok(text)
}

#[test]
fn damage_anywhere_is_found_or_harmless() {
    let (dir, [ledger_bytes, history_bytes]) = sound();
    let (ledger, history) = open(dir.path());
    let entries = ledger.prefix(&Key::new([])).unwrap();
    let rows = everything(&history).unwrap();
    drop((ledger, history));
    let config = ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let damage = (
        any::<prop::sample::Index>(),
        prop::collection::vec(any::<u8>(), 1..6),
        any::<bool>(),
    );
    let found = std::cell::Cell::new(0);
    proptest!(config, |((at, noise, cut) in damage)| {
        let spoil = |name: &str, bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at..].iter_mut().zip(&noise).for_each(|(byte, noise)| *byte ^= noise);
            }
            for suffix in ["-wal", "-shm"] {
                drop(fs::remove_file(dir.path().join(format!("{name}{suffix}"))));
            }
            fs::write(dir.path().join(name), bytes).unwrap();
        };
        spoil(LEDGER_FILE, &ledger_bytes);
        spoil(HISTORY_FILE, &history_bytes);
        let data = DataDir::open(dir.path(), Wall(0)).unwrap();
        match data.ledger() {
            Ok(ledger) => prop_assert_eq!(&ledger.prefix(&Key::new([])).unwrap(), &entries),
            Err(_) => found.set(found.get() + 1),
        }
        if let Ok(history) = data.history() && history.check().is_ok() {
            // What the check cannot see, such as an index in disorder, is found by whoever reads there.
            match everything(&history) {
                Ok(found) => prop_assert_eq!(found, rows.clone()),
                Err(error) => prop_assert!(error.is_corrupt(), "{}", error),
            }
        }
    });
    assert!(found.get() > 20, "{}", found.get());
}

#[test]
fn backups_are_of_one_moment_while_others_write() {
    let dir = tempdir().unwrap();
    let (ledger, history) = open(&dir.path().join("data"));
    fill(&history, 3, 2);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..u32::MAX {
                let number = n.to_be_bytes();
                ledger
                    .commit(&[], &[put("left", &number), put("right", &number)])
                    .unwrap();
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for n in 0..5 {
            ledger.backup(&dir.path().join(format!("ledger-{n}"))).unwrap();
            history.backup(&dir.path().join(format!("history-{n}"))).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let error = ledger.backup(&dir.path().join("ledger-0")).unwrap_err();
    assert!(
        matches!(error, LedgerError::Store(StoreError::Exists { .. })),
        "{error}"
    );
    for n in 0..5 {
        let back = dir.path().join(format!("back-{n}"));
        for kind in ["ledger", "history"] {
            let restored = restore(
                &dir.path().join(format!("{kind}-{n}")),
                &back,
                Wall(0),
                &Teller::default(),
            )
            .unwrap();
            assert_eq!(restored.files, [back.join(format!("{kind}.db"))]);
        }
        let (copy, past) = open(&back);
        assert_eq!(
            copy.get(&Key::from("left")).unwrap().map(|e| e.value),
            copy.get(&Key::from("right")).unwrap().map(|e| e.value)
        );
        assert_eq!(everything(&past).unwrap(), everything(&history).unwrap());
    }
}

#[test]
fn a_restore_refuses_a_folder_in_use_and_a_bad_backup_and_keeps_what_was() {
    let dir = tempdir().unwrap();
    let (data, saved) = (dir.path().join("data"), dir.path().join("saved"));
    fs::create_dir(&saved).unwrap();
    let (ledger, history) = open(&data);
    ledger.commit(&[], &[put("a", b"old")]).unwrap();
    ledger.backup(&saved.join(LEDGER_FILE)).unwrap();
    history.backup(&saved.join(HISTORY_FILE)).unwrap();
    ledger.commit(&[], &[put("a", b"new")]).unwrap();

    let error = restore(&saved, &data, Wall(0), &Teller::default()).unwrap_err();
    assert!(
        matches!(error, StoreError::Locked { pid: Some(_), .. }),
        "{error}"
    );
    drop((ledger, history));

    let bad = dir.path().join("bad");
    fs::create_dir(&bad).unwrap();
    let bytes = fs::read(saved.join(LEDGER_FILE)).unwrap();
    fs::write(bad.join(LEDGER_FILE), &bytes[..bytes.len() - 4096]).unwrap();
    fs::copy(saved.join(HISTORY_FILE), bad.join(HISTORY_FILE)).unwrap();
    assert!(
        restore(&bad, &data, Wall(0), &Teller::default())
            .unwrap_err()
            .is_corrupt()
    );
    assert!(
        restore(&bad.join(LEDGER_FILE), &data, Wall(0), &Teller::default())
            .unwrap_err()
            .is_corrupt()
    );
    assert!(matches!(
        restore(&dir.path().join("none"), &data, Wall(0), &Teller::default()),
        Err(StoreError::Missing { .. })
    ));
    assert_eq!(
        open(&data).0.get(&Key::from("a")).unwrap().unwrap().value,
        b"new",
        "nothing was touched"
    );

    let restored = restore(&saved, &data, Wall(0), &Teller::default()).unwrap();
    assert_eq!(restored.files.len(), 2);
    assert!(
        restored.kept[0]
            .to_string_lossy()
            .ends_with("ledger.db.before-restore-19700101T000000Z")
    );
    assert_eq!(open(&data).0.get(&Key::from("a")).unwrap().unwrap().value, b"old");

    // What was kept is itself a backup.
    restore(&restored.kept[0], &data, Wall(0), &Teller::default()).unwrap();
    assert_eq!(open(&data).0.get(&Key::from("a")).unwrap().unwrap().value, b"new");
}

#[test]
fn the_size_is_kept_by_dropping_the_oldest_and_the_file_shrinks() {
    let dir = tempdir().unwrap();
    let history = open(dir.path()).1;
    fill(&history, 60, 24);
    let now = Wall(BASE + 24 * HOUR);
    history
        .retain(now, Duration::from_hours(365 * 24), u64::MAX)
        .unwrap();
    let before = history.size().unwrap();
    let rollups = history.rollups("series-1", Wall(0), Wall(i64::MAX)).unwrap();
    assert_eq!(rollups.len(), 24);

    let half = before / 2;
    let done = history.retain(now, Duration::from_hours(365 * 24), half).unwrap();
    assert!(
        done.raw_hours > 0 && done.raw_hours < 24 && done.rollups == 0,
        "{done:?}"
    );
    let size = history.size().unwrap();
    assert!(size <= half, "{size} of {half}");
    let oldest = history.tail("series-1", usize::MAX).unwrap()[0].at;
    assert!(
        oldest.0 >= BASE + done.raw_hours.cast_signed() * HOUR,
        "the oldest went first"
    );
    assert_eq!(
        history.rollups("series-1", Wall(0), Wall(i64::MAX)).unwrap(),
        rollups
    );

    let done = history.retain(now, Duration::from_hours(365 * 24), 1).unwrap();
    assert!(done.rollups > 0, "{done:?}");
    assert!(
        history.size().unwrap() < before / 4,
        "{} of {before}",
        history.size().unwrap()
    );
    history.check().unwrap();
    // The present hour was never folded and is never dropped.
    assert_eq!(history.series().unwrap().len(), 60);
    fill(&history, 2, 1);
    assert_eq!(history.tail("series-1", 1).unwrap().len(), 1);
}

#[test]
fn a_batch_over_the_edge_of_an_hour_is_folded_in_part() {
    let dir = tempdir().unwrap();
    let history = open(dir.path()).1;
    let at = |at: i64| Observation {
        at: Wall(BASE + at),
        took: Duration::from_micros(7),
        outcome: Outcome::Up,
        sample: Sample::default(),
    };
    let [before, after] = [at(HOUR - 1), at(HOUR)];
    let rows = [&before, &after].map(|observation| Row {
        series: "a",
        observation,
        facts: &[],
    });
    history.append(&rows).unwrap();
    assert_eq!(
        history.fold(Wall(BASE + HOUR + 60_000_000)).unwrap().rows,
        0,
        "late rows may still come"
    );
    assert_eq!(history.fold(Wall(BASE + HOUR + 180_000_000)).unwrap().rows, 1);
    assert_eq!(history.fold(Wall(BASE + HOUR + 180_000_000)).unwrap().rows, 0);
    drop(history);
    let history = open(dir.path()).1;
    assert_eq!(history.tail("a", 9).unwrap().len(), 2);
    assert_eq!(history.fold(Wall(BASE + 3 * HOUR)).unwrap().rows, 1);
    assert_eq!(history.tail("a", 9).unwrap().len(), 2);
    history.check().unwrap();
}
