//! Records of heartbeats: what is remembered of a sender's beats, and why an outage of one was.
//!
//! One is written for every sender with every group commit, so that nothing stands in it but what is known.

use std::{net::IpAddr, time::Duration};

use lapwing_core::{
    heartbeat::{Account, BeatStanding, Cause, Hindrance, Mark, Proof, Verdict},
    time::micros,
    uptime::Interval,
};
use serde::{Deserialize, Serialize};

use crate::record::{Record, StoredWall};

/// What is remembered of the beats of a series, under [`crate::space::beats`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BeatsRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<StoredWall>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deaf: Vec<(StoredWall, StoredWall)>,
    /// Empty for plain ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    proof: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    /// Session, number in it, instance, the instance before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<[u64; 4]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uptime_us: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    tells_boots: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    stopped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<(StoredWall, AccountRecord)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Record for BeatsRecord {
    const VERSION: u32 = 1;
}

impl From<&BeatStanding> for BeatsRecord {
    fn from(it: &BeatStanding) -> Self {
        Self {
            last: it.last.map(Into::into),
            heard: it.heard.map(Into::into),
            started: it.started.map(Into::into),
            deaf: it
                .deaf
                .iter()
                .map(|span| (span.from.into(), span.to.into()))
                .collect(),
            proof: match it.proof {
                Proof::Plain => "",
                Proof::Url => "url",
                Proof::Keyed => "keyed",
            }
            .to_owned(),
            source: it.source,
            mark: it.mark.map(|m| [m.boot, m.seq, m.instance, m.former]),
            uptime_us: it.uptime.map(micros),
            tells_boots: it.tells_boots,
            stopped: it.stopped,
            account: it.account.map(|(at, account)| (at.into(), account.into())),
            note: it.note.as_deref().map(ToOwned::to_owned),
        }
    }
}

impl From<BeatsRecord> for BeatStanding {
    fn from(it: BeatsRecord) -> Self {
        Self {
            last: it.last.map(Into::into),
            heard: it.heard.map(Into::into),
            started: it.started.map(Into::into),
            deaf: it
                .deaf
                .into_iter()
                .map(|(from, to)| Interval {
                    from: from.into(),
                    to: to.into(),
                })
                .collect(),
            lost: Duration::ZERO,
            // A word of a later version claims nothing here: the next beat tells.
            proof: match it.proof.as_str() {
                "url" => Proof::Url,
                "keyed" => Proof::Keyed,
                _ => Proof::Plain,
            },
            source: it.source,
            mark: it.mark.map(|[boot, seq, instance, former]| Mark {
                boot,
                seq,
                instance,
                former,
            }),
            uptime: it.uptime_us.map(Duration::from_micros),
            tells_boots: it.tells_boots,
            stopped: it.stopped,
            account: it.account.map(|(at, account)| (at.into(), account.into())),
            note: it.note.map(Into::into),
            // It explains a silence of a moment ago: not one before a restart.
            recent: None,
        }
    }
}

/// A sender's account of its own silence.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AccountRecord {
    silent_us: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    lost: u32,
    /// Empty where it sent and nobody answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    hindrance: String,
}

impl From<Account> for AccountRecord {
    fn from(it: Account) -> Self {
        Self {
            silent_us: micros(it.silent),
            lost: it.lost,
            hindrance: match it.hindrance {
                Hindrance::Unanswered => "",
                Hindrance::NoRoute => "no_route",
                Hindrance::NoName => "no_name",
            }
            .to_owned(),
        }
    }
}

impl From<AccountRecord> for Account {
    fn from(it: AccountRecord) -> Self {
        Self {
            silent: Duration::from_micros(it.silent_us),
            lost: it.lost,
            hindrance: match it.hindrance.as_str() {
                "no_route" => Hindrance::NoRoute,
                "no_name" => Hindrance::NoName,
                _ => Hindrance::Unanswered,
            },
        }
    }
}

/// Line or reboot? Part of the record of an outage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VerdictRecord {
    cause: String,
    silent_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uptime_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<AccountRecord>,
}

impl From<Verdict> for VerdictRecord {
    fn from(it: Verdict) -> Self {
        Self {
            cause: it.cause.as_str().to_owned(),
            silent_us: micros(it.silent),
            uptime_us: it.uptime.map(micros),
            account: it.account.map(Into::into),
        }
    }
}

impl VerdictRecord {
    /// The verdict; None when its cause is a word of a later version.
    pub(crate) fn verdict(self) -> Option<Verdict> {
        Some(Verdict {
            cause: Cause::parse(&self.cause)?,
            silent: Duration::from_micros(self.silent_us),
            uptime: self.uptime_us.map(Duration::from_micros),
            account: self.account.map(Into::into),
        })
    }
}

/// A source that was adopted, under [`crate::space::adopted`]: that it is there says all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AdoptedRecord {}

impl Record for AdoptedRecord {
    const VERSION: u32 = 1;
}

/// Zero, false: what a record need not say.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::Wall;

    use super::*;
    use crate::record;

    #[test]
    fn only_what_is_known_is_written() {
        let beats = BeatStanding {
            last: Some(Wall(7)),
            heard: Some(Wall(7)),
            ..BeatStanding::default()
        };
        let crate::Op::Put(_, json) = record::put(&crate::space::beats("home"), &BeatsRecord::from(&beats))
        else {
            panic!("a put")
        };
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"v":1,"last":7,"heard":7}"#);
    }

    #[test]
    fn the_record_of_a_keyed_sensor_is_small() {
        let at = Wall(1_790_000_000_000_000);
        let beats = BeatStanding {
            last: Some(at),
            heard: Some(at),
            proof: Proof::Keyed,
            source: Some([203, 0, 113, 200].into()),
            mark: Some(Mark {
                boot: at.0.cast_unsigned(),
                seq: 1_000_000,
                instance: u64::MAX,
                former: u64::MAX,
            }),
            uptime: Some(Duration::from_secs(1_000_000)),
            tells_boots: true,
            ..BeatStanding::default()
        };
        let size = serde_json::to_vec(&BeatsRecord::from(&beats)).unwrap().len();
        assert!(size < 256, "{size} bytes");
    }

    #[test]
    fn words_of_a_later_version_claim_nothing() {
        let beats: BeatsRecord = serde_json::from_str(
            r#"{"last":7,"proof":"quantum","account":[7,{"silent_us":5,"hindrance":"moon"}],"mood":"good"}"#,
        )
        .unwrap();
        let beats = BeatStanding::from(beats);
        assert_eq!(beats.proof, Proof::Plain);
        assert_eq!(beats.account.unwrap().1.hindrance, Hindrance::Unanswered);
        let verdict: VerdictRecord = serde_json::from_str(r#"{"cause":"gremlins","silent_us":5}"#).unwrap();
        assert_eq!(verdict.verdict(), None);
    }
}
