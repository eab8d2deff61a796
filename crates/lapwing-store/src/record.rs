//! Records: what stands behind a key of the ledger, as JSON with its version in the field `v`.
//!
//! Unknown fields are ignored, so that an older program reads what a newer one added; a newer version is an error
//! that names the key, because its meaning may differ.

use lapwing_core::{observation::Reason, time::Wall};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Entry, Key, Op};

/// A shape that the ledger keeps. It serializes as an object with text keys and has no field `v` of its own.
pub trait Record: Serialize + DeserializeOwned {
    /// Raised when a field changes its meaning, not when one is added.
    const VERSION: u32;

    /// Brings the fields of an older version to those of this one.
    fn upgrade(_from: u32, fields: Value) -> Value {
        fields
    }
}

/// Why an entry could not be read as a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(
        "{key} was written in version {found}, this version of lapwing knows {known}: use a newer lapwing"
    )]
    Newer { key: Key, found: u32, known: u32 },
    #[error("{key} does not hold what it should: {source}")]
    Malformed { key: Key, source: serde_json::Error },
}

#[derive(Serialize)]
struct Written<'a, R> {
    v: u32,
    #[serde(flatten)]
    record: &'a R,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The operation that stores a record.
pub fn put<R: Record>(key: &Key, record: &R) -> Op {
    let json = serde_json::to_vec(&Written {
        v: R::VERSION,
        record,
    })
    .expect("a record is an object with text keys, which always serializes");
    Op::Put(key.clone(), json)
}

/// The record of an entry, upgraded when it is older.
pub fn read<R: Record>(entry: &Entry) -> Result<R, RecordError> {
    let malformed = |source| RecordError::Malformed {
        key: entry.key.clone(),
        source,
    };
    let Version { v } = serde_json::from_slice(&entry.value).map_err(malformed)?;
    if v > R::VERSION {
        return Err(RecordError::Newer {
            key: entry.key.clone(),
            found: v,
            known: R::VERSION,
        });
    }
    if v == R::VERSION {
        return serde_json::from_slice(&entry.value).map_err(malformed);
    }
    let fields = serde_json::from_slice(&entry.value).map_err(malformed)?;
    serde_json::from_value(R::upgrade(v, fields)).map_err(malformed)
}

/// A moment inside a record: microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredWall(pub i64);

impl From<Wall> for StoredWall {
    fn from(wall: Wall) -> Self {
        Self(wall.0)
    }
}

impl From<StoredWall> for Wall {
    fn from(stored: StoredWall) -> Self {
        Self(stored.0)
    }
}

/// A reason inside a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReason {
    pub code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl From<&Reason> for StoredReason {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code.as_str().to_owned(),
            detail: reason.detail.clone(),
        }
    }
}

impl From<StoredReason> for Reason {
    fn from(stored: StoredReason) -> Self {
        Self::stored(stored.code, stored.detail)
    }
}

/// A run of the daemon, under [`crate::space::run`]. What lies between two runs is unknown time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub from: StoredWall,
    /// When it was last known to run; written now and then.
    pub alive: StoredWall,
    /// When it ended in order; absent after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<StoredWall>,
}

impl Record for Run {
    const VERSION: u32 = 1;
}

/// This program is cut off, under `meta/offline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offline {
    pub(crate) since: StoredWall,
    pub(crate) reason: StoredReason,
}

impl Record for Offline {
    const VERSION: u32 = 1;
}

/// Unknown time of a series, under [`crate::space::span`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownSpan {
    pub from: StoredWall,
    /// Absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<StoredWall>,
    /// The state that made it unknown: `paused`, `inconclusive`, `unreachable`, `not-running`.
    pub cause: String,
}

impl Record for UnknownSpan {
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Revision, space};

    fn entry(op: Op) -> Entry {
        let Op::Put(key, value) = op else { panic!("a put") };
        Entry {
            key,
            value,
            created: Revision(1),
            modified: Revision(1),
        }
    }

    #[test]
    fn records_come_back_and_carry_their_version() {
        let run = Run {
            from: StoredWall(5),
            alive: StoredWall(9),
            ended: None,
        };
        let stored = entry(put(&space::run(Wall(5)), &run));
        assert_eq!(stored.value, br#"{"v":1,"from":5,"alive":9}"#);
        assert_eq!(read::<Run>(&stored).unwrap(), run);
    }

    #[test]
    fn unknown_fields_pass_and_newer_versions_do_not() {
        let mut stored = entry(Op::Put(
            Key::from("run/x"),
            br#"{"v":1,"from":5,"alive":9,"mood":"good"}"#.to_vec(),
        ));
        assert!(read::<Run>(&stored).is_ok());
        stored.value = br#"{"v":2,"from":"noon"}"#.to_vec();
        let error = read::<Run>(&stored).unwrap_err();
        assert!(
            matches!(
                error,
                RecordError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("run/x"));
        for bad in [
            &b"{"[..],
            b"",
            b"[]",
            br#"{"from":5}"#,
            br#"{"v":1}"#,
            br#"{"v":-1}"#,
        ] {
            stored.value = bad.to_vec();
            let error = read::<Run>(&stored).unwrap_err();
            assert!(matches!(error, RecordError::Malformed { .. }) && error.to_string().contains("run/x"));
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        total: u32,
    }

    impl Record for Second {
        const VERSION: u32 = 2;

        fn upgrade(from: u32, mut fields: Value) -> Value {
            assert_eq!(from, 1);
            fields["total"] = fields["sum"].take();
            fields
        }
    }

    #[test]
    fn older_records_are_upgraded() {
        let stored = entry(Op::Put(Key::from("meta/x"), br#"{"v":1,"sum":7}"#.to_vec()));
        assert_eq!(read::<Second>(&stored).unwrap(), Second { total: 7 });
    }

    #[test]
    fn reasons_and_moments_convert() {
        let reason = Reason::new("connect.refused", "connection refused");
        assert_eq!(Reason::from(StoredReason::from(&reason)), reason);
        assert_eq!(Wall::from(StoredWall::from(Wall(-3))), Wall(-3));
    }
}
