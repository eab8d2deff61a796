//! An `SQLite` file of ours: made whole or not at all, opened only when it is what it says, copied and set aside.
//!
//! WAL and synchronous=FULL: what was committed survives a power cut. Never on memory maps.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use lapwing_core::time::Wall;
use rusqlite::{Connection, OpenFlags, backup::StepResult, config::DbConfig};

use crate::{StoreError, Teller};

/// What a file of ours holds.
#[derive(Debug)]
pub(super) struct Schema {
    /// `ledger`, `history`
    pub what: &'static str,
    /// `PRAGMA application_id`: tells our files apart, and from those of others.
    pub application: i32,
    /// `PRAGMA user_version`
    pub version: u32,
    /// Pragmas that only work before the first table.
    pub before: &'static str,
    pub create: &'static str,
    /// The statements that lead from version 1 to 2, from 2 to 3, and so on.
    pub migrations: &'static [&'static str],
    /// Pragmas of each writing connection.
    pub tuning: &'static str,
}

/// Writers from 3.7.0 to 3.51.2 could damage the file when the log was reset.
const NEEDED_SQLITE: (i32, &str) = (3_051_003, "3.51.3");
const BUSY: Duration = Duration::from_secs(5);
/// Pages of one MiB.
pub(super) const MIB: u64 = 256;
/// Pages copied between two words to the teller.
const COPY_STEP: i32 = 4_096;
/// Steps of a check between two words to the teller.
const CHECK_STEP: i32 = 16_384;

/// Opens the file for its one writer; makes it when it does not exist, brings an older one up to date.
pub(super) fn open_writer(
    path: &Path,
    schema: &Schema,
    now: Wall,
    teller: &Teller,
) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < NEEDED_SQLITE.0 {
        return Err(StoreError::OldSqlite {
            found: rusqlite::version(),
            needed: NEEDED_SQLITE.1,
        });
    }
    match exists(path)? {
        true => look(path)?,
        false if exists(&beside(path, "-wal"))? => {
            return Err(StoreError::corrupt(
                path,
                "the file is gone, but its log is still there",
            ));
        }
        false => create(path, schema)?,
    }
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = version(&connection, path, schema)?;
    if found > schema.version {
        return Err(StoreError::NewerVersion {
            path: path.to_owned(),
            found,
            known: schema.version,
        });
    }
    let tune = format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=16777216; {}",
        schema.tuning
    );
    connection
        .execute_batch(&tune)
        .map_err(|e| StoreError::sql("open", path, e))?;
    if found < schema.version {
        migrate(&mut connection, path, (schema, found), now, teller)?;
    }
    Ok(connection)
}

/// Opens the file beside its writer, or without one.
pub(super) fn open_reader(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    match open_source(path, schema)? {
        (connection, found) if found == schema.version => Ok(connection),
        (_, found) => Err(StoreError::OlderVersion {
            path: path.to_owned(),
            found,
            known: schema.version,
        }),
    }
}

/// Opens the file to copy it, which an older one may be too. Returns its format.
pub(super) fn open_source(path: &Path, schema: &Schema) -> Result<(Connection, u32), StoreError> {
    if !exists(path)? {
        return Err(StoreError::Missing {
            path: path.to_owned(),
        });
    }
    look(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let (found, known) = (version(&connection, path, schema)?, schema.version);
    if found > known {
        return Err(StoreError::NewerVersion {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok((connection, found))
}

/// What the teller hears of [`quick_check`].
const CHECKING: &str = "verifying the structure of a database";

/// Reads the whole structure of the file and says what is wrong with it.
pub(super) fn quick_check(
    connection: &mut Connection,
    path: &Path,
    teller: &Teller,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::sql("check", path, e);
    let told = teller.clone();
    teller.tell(CHECKING, 0, 0);
    // How far it is nobody knows, only that it goes on.
    let still = move || {
        told.tell(CHECKING, 0, 0);
        false
    };
    connection
        .progress_handler(CHECK_STEP, Some(still))
        .map_err(failed)?;
    let answer = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection
        .progress_handler(0, None::<fn() -> bool>)
        .map_err(failed)?;
    let answer = answer.map_err(failed)?;
    if answer == "ok" {
        Ok(())
    } else {
        Err(StoreError::corrupt(path, answer.replace('\n', " ")))
    }
}

/// Copies a database into a new file, as of one moment, and verifies the copy.
pub(super) fn copy(from: &Connection, to: &Path, teller: &Teller) -> Result<(), StoreError> {
    if exists(to)? {
        return Err(StoreError::Exists { path: to.to_owned() });
    }
    let partial = beside(to, ".partial");
    let copied = copy_into(from, &partial, teller).and_then(|()| {
        fs::rename(&partial, to).map_err(|e| StoreError::io("rename", &partial, e))?;
        sync_folder_of(to)
    });
    if copied.is_err() {
        remove_all(&partial);
    }
    copied
}

fn copy_into(from: &Connection, partial: &Path, teller: &Teller) -> Result<(), StoreError> {
    remove_all(partial);
    make_private(partial)?;
    let failed = |e| StoreError::sql("copy to", partial, e);
    let mut target = connect(partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Open from the first page to the last: the copy is of one moment, and writers are never in its way.
    let moment = from.unchecked_transaction().map_err(failed)?;
    moment
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(failed)?;
    {
        let backup = rusqlite::backup::Backup::new(from, &mut target).map_err(failed)?;
        teller.tell("MiB copied", 0, 0);
        loop {
            match backup.step(COPY_STEP).map_err(failed)? {
                StepResult::Done => break,
                StepResult::More => {
                    let pages = backup.progress();
                    let (left, total) = (pages.remaining.cast_unsigned(), pages.pagecount.cast_unsigned());
                    let done = u64::from(total - left) / MIB;
                    teller.tell("MiB copied", done, u64::from(total) / MIB);
                }
                _ => {
                    return Err(StoreError::Locked {
                        path: partial.to_owned(),
                        pid: None,
                    });
                }
            }
        }
    }
    drop(moment);
    // A copy without log files beside it is one file that can be carried away.
    target
        .execute_batch("PRAGMA journal_mode=DELETE")
        .map_err(failed)?;
    quick_check(&mut target, partial, teller)?;
    target.close().map_err(|(_, e)| failed(e))?;
    File::open(partial)
        .and_then(|f| f.sync_all())
        .map_err(|e| StoreError::io("sync", partial, e))
}

/// Renames a damaged database and its log to `NAME.corrupt-TIME`, so that a new one can begin. Returns the new name.
///
/// Meant for the history: a ledger is never given up without a person's word.
pub fn quarantine(path: &Path, now: Wall) -> Result<PathBuf, StoreError> {
    let aside = free_name(path, &format!(".corrupt-{}", stamp(now)))?;
    for suffix in ["-wal", "-shm", ""] {
        let part = beside(path, suffix);
        if exists(&part)? {
            fs::rename(&part, beside(&aside, suffix)).map_err(|e| StoreError::io("rename", &part, e))?;
        }
    }
    sync_folder_of(path)?;
    Ok(aside)
}

/// Brings the log of a database nobody uses into the file, as far as it is sound.
pub(super) fn write_log_back(path: &Path) {
    if let Ok(connection) = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    }
}

/// `PATH` with `suffix` behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// `PATH.SUFFIX`, counted up where that is taken.
pub(super) fn free_name(path: &Path, suffix: &str) -> Result<PathBuf, StoreError> {
    let mut name = beside(path, suffix);
    let mut count = 1;
    while exists(&name)? {
        count += 1;
        name = beside(path, &format!("{suffix}-{count}"));
    }
    Ok(name)
}

/// A moment inside a file name: `20261120T145119Z`.
pub(super) fn stamp(now: Wall) -> String {
    let digits: String = now
        .rfc3339()
        .chars()
        .take_while(|c| *c != '.')
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    format!("{digits}Z")
}

pub(super) fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(|e| StoreError::io("sync", folder, e))
}

pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|e| StoreError::io("look for", path, e))
}

/// Removes a database that is not one yet, with what `SQLite` may have laid beside it.
pub(super) fn remove_all(path: &Path) {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        drop(fs::remove_file(beside(path, suffix)));
    }
}

fn make_private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map(drop).map_err(|e| StoreError::io("create", path, e))
}

/// Made aside and renamed: a crash leaves no half-made file that would read as an empty ledger.
fn create(path: &Path, schema: &Schema) -> Result<(), StoreError> {
    let fresh = beside(path, ".new");
    remove_all(&fresh);
    make_private(&fresh)?;
    let failed = |e| StoreError::sql("create", &fresh, e);
    let connection = connect(&fresh, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let sql = format!(
        "PRAGMA page_size=4096; {} BEGIN; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
        schema.before, schema.create, schema.application, schema.version
    );
    connection.execute_batch(&sql).map_err(failed)?;
    connection.close().map_err(|(_, e)| failed(e))?;
    File::open(&fresh)
        .and_then(|f| f.sync_all())
        .map_err(|e| StoreError::io("sync", &fresh, e))?;
    fs::rename(&fresh, path).map_err(|e| StoreError::io("rename", &fresh, e))?;
    sync_folder_of(path)
}

/// What `SQLite` would take for a new, empty database is a lost one here.
fn look(path: &Path) -> Result<(), StoreError> {
    let failed = |e| StoreError::io("open", path, e);
    let mut header = [0; 16];
    match File::open(path).map_err(failed)?.read_exact(&mut header) {
        Ok(()) if header == *b"SQLite format 3\0" => Ok(()),
        Ok(()) => Err(StoreError::corrupt(path, "it is not a database")),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StoreError::corrupt(path, "the file is cut off"))
        }
        Err(e) => Err(failed(e)),
    }
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    let failed = |e| StoreError::sql("open", path, e);
    let connection =
        Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
        .map_err(failed)?;
    connection
        .execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;")
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn version(connection: &Connection, path: &Path, schema: &Schema) -> Result<u32, StoreError> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let failed = |e| StoreError::sql("open", path, e);
    if pragma("application_id").map_err(failed)? != i64::from(schema.application) {
        return Err(StoreError::corrupt(
            path,
            format!("it is a database, but not a {} of lapwing", schema.what),
        ));
    }
    let version = pragma("user_version").map_err(failed)?;
    u32::try_from(version)
        .ok()
        .filter(|v| *v > 0)
        .ok_or_else(|| StoreError::corrupt(path, format!("its format number {version} cannot be")))
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    (schema, found): (&Schema, u32),
    now: Wall,
    teller: &Teller,
) -> Result<(), StoreError> {
    let kept = free_name(path, &format!(".v{found}-{}", stamp(now)))?;
    copy(connection, &kept, teller)?;
    let failed = |e| StoreError::sql("convert", path, e);
    let transaction = connection.transaction().map_err(failed)?;
    for step in &schema.migrations[found as usize - 1..] {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", schema.version)
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    tracing::info!(path = %path.display(), from = found, to = schema.version, copy = %kept.display(), "converted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Schema = Schema {
        what: "test",
        application: 7,
        version: 1,
        before: "",
        create: "CREATE TABLE a(x); INSERT INTO a VALUES (1);",
        migrations: &[],
        tuning: "",
    };
    const THIRD: Schema = Schema {
        version: 3,
        create: "",
        migrations: &[
            "ALTER TABLE a ADD COLUMN y DEFAULT 2;",
            "CREATE TABLE b AS SELECT x + y AS z FROM a;",
        ],
        ..FIRST
    };
    const BROKEN: Schema = Schema {
        migrations: &["DELETE FROM a;", "CREATE TABLE a(x);"],
        ..THIRD
    };

    #[test]
    fn an_older_file_is_copied_and_converted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        drop(open_writer(&path, &FIRST, Wall(0), &Teller::default()).unwrap());
        let error = open_reader(&path, &THIRD).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::OlderVersion {
                    found: 1,
                    known: 3,
                    ..
                }
            ),
            "{error}"
        );

        let connection = open_writer(&path, &THIRD, Wall(0), &Teller::default()).unwrap();
        assert_eq!(
            connection
                .query_row("SELECT z FROM b", [], |r| r.get::<_, i64>(0))
                .unwrap(),
            3
        );
        drop(connection);
        assert!(open_reader(&path, &THIRD).is_ok());
        let kept = dir.path().join("t.db.v1-19700101T000000Z");
        assert!(open_reader(&kept, &FIRST).is_ok(), "the copy is what it was");

        let error = open_writer(&path, &FIRST, Wall(0), &Teller::default()).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::NewerVersion {
                    found: 3,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("newer lapwing"));
    }

    #[test]
    fn a_conversion_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        drop(open_writer(&path, &FIRST, Wall(0), &Teller::default()).unwrap());
        assert!(open_writer(&path, &BROKEN, Wall(0), &Teller::default()).is_err());
        let connection = open_writer(&path, &FIRST, Wall(0), &Teller::default()).unwrap();
        assert_eq!(
            connection
                .query_row("SELECT x FROM a", [], |r| r.get::<_, i64>(0))
                .unwrap(),
            1
        );
    }

    #[test]
    fn a_copy_tells_how_far_it_is_and_is_of_one_moment() {
        let dir = tempfile::tempdir().unwrap();
        let (path, to) = (dir.path().join("t.db"), dir.path().join("copy.db"));
        let writer = open_writer(&path, &FIRST, Wall(0), &Teller::default()).unwrap();
        let insert = "INSERT INTO a VALUES (zeroblob(10 << 20))";
        for _ in 0..4 {
            writer.execute(insert, []).unwrap();
        }
        let (tell, told) = std::sync::mpsc::channel();
        let tell = std::sync::Mutex::new((tell, writer));
        let teller = Teller::new(move |step| {
            let told = tell.lock().unwrap();
            told.0.send((step.what, step.done, step.total)).unwrap();
            if step.done == 16 {
                told.1.execute(insert, []).unwrap();
            }
        });
        copy(&open_reader(&path, &FIRST).unwrap(), &to, &teller).unwrap();
        let told: Vec<_> = told.try_iter().filter(|step| step.0 == "MiB copied").collect();
        assert_eq!(
            told,
            [
                ("MiB copied", 0, 0),
                ("MiB copied", 16, 40),
                ("MiB copied", 32, 40)
            ]
        );
        let rows = |path: &Path| {
            let connection = open_reader(path, &FIRST).unwrap();
            let count = connection.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0));
            count.unwrap()
        };
        assert_eq!((rows(&to), rows(&path)), (5, 6));
    }

    #[test]
    fn file_names_hold_the_time() {
        assert_eq!(stamp(Wall(1_795_186_279_000_000)), "20261120T145119Z");
    }

    #[test]
    fn a_file_of_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        drop(open_writer(&path, &FIRST, Wall(0), &Teller::default()).unwrap());
        let error = open_writer(
            &path,
            &Schema {
                application: 8,
                ..FIRST
            },
            Wall(0),
            &Teller::default(),
        )
        .unwrap_err();
        assert!(
            error.is_corrupt() && error.to_string().contains("not a test of lapwing"),
            "{error}"
        );
    }
}
