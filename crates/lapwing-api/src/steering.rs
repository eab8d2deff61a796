//! What the running daemon is asked to do, what it answers, and how it refuses: `/api/v1` of the local socket.

use lapwing_core::{mute::Mute, outage::Outage, time::Wall};
use serde::{Deserialize, Serialize};

use crate::{
    report::SeriesRecord,
    shapes::{Reason, VERSION, seconds},
};

/// What somebody asks for, of some monitors: the body of `POST /api/v1/wishes`. The answer is a [`DoneShape`], once
/// what was asked for is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WishShape {
    pub wish: WishWord,
    /// A monitor's name means all its series, a series' name that one.
    pub names: Vec<String>,
    /// Who asks; absent: the user whose process sends this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, for those who see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends by itself: RFC 3339. Not of `resume` and `unsilence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The time zone of the times in the answer's text: a name like `Europe/Berlin`. Absent: that of the monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishWord {
    /// No probes; the time counts as unknown.
    Pause,
    Resume,
    /// No reminders of the outage that there is.
    Ack,
    /// Measured, and told to nobody; at its end what is down is told.
    Silence,
    Unsilence,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneShape {
    pub v: u32,
    /// For people.
    pub text: String,
    /// The series for which something has changed; none where there was nothing to do.
    pub series: Vec<String>,
}

/// The answer of `POST /api/v1/reload`: the configuration was read again and applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadShape {
    pub v: u32,
    /// For people.
    pub text: String,
    /// Series that are watched now, and how many of them are new and are watched no more.
    pub series: usize,
    pub new: usize,
    pub gone: usize,
    /// What else has changed, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What could not be applied and stays as it was, a sentence each.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// Why something was not done: the body of every answer of 400 and above, and the last line of a stream that ends early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorShape {
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A pause, silence or acknowledgement that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MuteShape {
    pub by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub since: String,
    /// Absent: until it is taken back, or until the outage ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl From<&Mute> for MuteShape {
    fn from(mute: &Mute) -> Self {
        Self {
            by: mute.by.clone(),
            reason: mute.reason.clone(),
            since: mute.since.rfc3339(),
            until: mute.until.map(Wall::rfc3339),
        }
    }
}

impl MuteShape {
    /// ` by anna until 14:00: new disk`, with times as `clock` writes them.
    pub fn words(&self, clock: &dyn Fn(&str) -> String) -> String {
        let mut text = String::new();
        if !self.by.is_empty() {
            text.push_str(&format!(" by {}", self.by));
        }
        if let Some(until) = &self.until {
            text.push_str(&format!(" until {}", clock(until)));
        }
        if !self.reason.is_empty() {
            text.push_str(&format!(": {}", self.reason));
        }
        text
    }
}

/// Begin or end of an outage, as the ledger remembers it: a line of `lapwing events --json`. Its keys are those of an
/// event; what was told when it happened is not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastEventShape {
    pub v: u32,
    /// `down`, `up`, or `unwatched`: it was still down when it was no longer watched.
    pub event: String,
    pub monitor: String,
    pub series: String,
    pub target: String,
    /// When the outage began or ended.
    pub at: String,
    /// When the outage began.
    pub since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Of the whole outage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty_s: Option<f64>,
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<MuteShape>,
}

impl PastEventShape {
    /// The last `count` begins and ends of outages, oldest first.
    pub fn last(records: &[SeriesRecord], count: usize) -> Vec<Self> {
        let mut moments: Vec<(Wall, bool, &SeriesRecord, &Outage)> = Vec::new();
        for record in records {
            for outage in &record.outages {
                moments.push((outage.began, false, record, outage));
                moments.extend(outage.end.map(|end| (end.at, true, record, outage)));
            }
        }
        moments.sort_by_key(|(at, is_end, record, _)| (*at, *is_end, record.series.as_str()));
        let older = moments.len().saturating_sub(count);
        let newest = moments.into_iter().skip(older);
        newest
            .map(|(at, is_end, record, outage)| Self::new(at, is_end, record, outage))
            .collect()
    }

    fn new(at: Wall, is_end: bool, record: &SeriesRecord, outage: &Outage) -> Self {
        let end = outage.end.filter(|_| is_end);
        let event = match end {
            None => "down",
            Some(end) if end.recovered => "up",
            Some(_) => "unwatched",
        };
        Self {
            v: VERSION,
            event: event.to_owned(),
            monitor: record.monitor.clone(),
            series: record.series.clone(),
            target: record.target.clone(),
            at: at.rfc3339(),
            since: outage.began.rfc3339(),
            ended: end.map(|end| end.at.rfc3339()),
            duration_s: end.map(|end| seconds(end.at.since(outage.began))),
            uncertainty_s: end.and(outage.uncertainty()).map(seconds),
            reason: Reason::from(&outage.reason),
            acknowledged: outage.acknowledged.as_deref().map(MuteShape::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lapwing_core::{observation::Reason as CoreReason, outage::End};
    use serde_json::json;

    use super::*;

    const S: i64 = 1_000_000;

    fn mute() -> Mute {
        Mute {
            by: "anna".to_owned(),
            reason: "new disk".to_owned(),
            since: Wall(S),
            until: Some(Wall(60 * S)),
        }
    }

    #[test]
    fn a_wish_is_read_whole_or_not_at_all() {
        let read = |text: &str| serde_json::from_str::<WishShape>(text);
        let wish = read(r#"{"wish":"unsilence","names":["web"]}"#).unwrap();
        assert_eq!((wish.wish, wish.names.len()), (WishWord::Unsilence, 1));
        for bad in [
            r#"{"wish":"unsilence"}"#,
            r#"{"wish":"sleep","names":["web"]}"#,
            r#"{"wish":"pause","names":["web"],"for":"2h"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mute_says_who_and_until_when() {
        let shape = MuteShape::from(&mute());
        let expected = json!({
            "by": "anna", "reason": "new disk",
            "since": "1970-01-01T00:00:01.000000Z", "until": "1970-01-01T00:01:00.000000Z",
        });
        assert_eq!(serde_json::to_value(&shape).unwrap(), expected);
        assert_eq!(
            shape.words(&|at| at[11..16].to_owned()),
            " by anna until 00:01: new disk"
        );
        let bare = MuteShape {
            until: None,
            reason: String::new(),
            ..shape
        };
        assert_eq!(bare.words(&ToOwned::to_owned), " by anna");
    }

    fn outage(began: i64, end: Option<(i64, bool)>) -> Outage {
        Outage {
            began: Wall(began * S),
            begin_uncertainty: Some(Duration::from_secs(2)),
            last_up: None,
            reason: CoreReason::new("connect.refused", "connection refused"),
            evidence: Vec::new(),
            failed_checks: 1,
            reminded: 0,
            end: end.map(|(at, recovered)| End {
                at: Wall(at * S),
                uncertainty: Duration::from_secs(1),
                recovered,
            }),
            verdict: None,
            acknowledged: Some(Box::new(mute())),
        }
    }

    #[test]
    fn what_was_is_told_in_the_order_in_which_it_happened() {
        let record = |series: &str, outages| SeriesRecord {
            series: series.to_owned(),
            monitor: series.to_owned(),
            target: format!("tcp://{series}:1"),
            watched: true,
            known_since: None,
            outages,
            unknown: Vec::new(),
        };
        let records = [
            record("a", vec![outage(10, Some((40, true))), outage(50, None)]),
            record("b", vec![outage(20, Some((45, false)))]),
        ];
        let told = PastEventShape::last(&records, 4);
        let seen: Vec<_> = told
            .iter()
            .map(|e| (e.event.as_str(), e.series.as_str()))
            .collect();
        assert_eq!(
            seen,
            [("down", "b"), ("up", "a"), ("unwatched", "b"), ("down", "a")]
        );
        assert_eq!(
            (told[1].duration_s, told[1].uncertainty_s),
            (Some(30.0), Some(2.0))
        );
        assert_eq!((told[3].ended.as_deref(), told[3].duration_s), (None, None));
        assert_eq!(PastEventShape::last(&records, 99).len(), 5);
    }
}
