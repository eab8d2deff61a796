//! What is watched, piece by piece: lists, details, the past, edits, checks asked for now. `/api/v1` of the local socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    report::OutageShape,
    shapes::{CheckShape, SeriesShape, VERSION},
};

/// The keys of a monitor, as they stand in a configuration: `name`, `target`, `interval`, ….
pub type Keys = serde_json::Map<String, serde_json::Value>;

/// Most entries in one page of a list.
pub const MAX_PAGE: usize = 10_000;
/// Most series of which the past is given at once.
pub const MAX_SERIES: usize = 200;
/// Most buckets, or results, of a series.
pub const MAX_BUCKETS: usize = 2_000;

/// What a list of series is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What needs somebody comes first: down, then by how bad it is; equal ones by name.
    #[default]
    State,
    Name,
    Target,
    /// The newest change of state first.
    Since,
    /// The slowest first.
    Latency,
    /// The highest packet loss first.
    Loss,
}

/// Which series to list: the query of `GET /api/v1/series`. Keys may stand in any order; `state` and `monitor` as often
/// as there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesQuery {
    /// Text that stands in the name, the target or a label (`key=value`), in any case.
    pub search: String,
    /// Only these states; all when there is none.
    pub states: Vec<String>,
    /// Only the series that these names mean; all when there is none.
    pub monitors: Vec<String>,
    pub sort: Sort,
    pub reverse: bool,
    pub offset: usize,
    /// At most [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for SeriesQuery {
    fn default() -> Self {
        Self {
            search: String::new(),
            states: Vec::new(),
            monitors: Vec::new(),
            sort: Sort::default(),
            reverse: false,
            offset: 0,
            limit: 100,
        }
    }
}

/// Some of the series: the answer of `GET /api/v1/series`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesPage {
    pub v: u32,
    /// Of the daemon.
    pub version: String,
    pub at: String,
    /// All that is watched.
    pub total: usize,
    /// How many of it are in each state.
    pub counts: BTreeMap<String, usize>,
    /// How many the query means.
    pub matching: usize,
    pub offset: usize,
    pub series: Vec<SeriesShape>,
}

/// Where a monitor comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// A file of the configuration: changed there, and nowhere else.
    File { file: String, line: usize },
    /// Added while the daemon ran.
    Added { by: String, at: String },
    /// A source of plain heartbeats that was adopted.
    Adopted,
}

/// A monitor, in lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorShape {
    pub name: String,
    pub origin: Origin,
    /// The first of its targets, without options.
    pub target: String,
    /// How many series it has, and in which states they are.
    pub series: usize,
    pub states: BTreeMap<String, usize>,
    /// Between checks while all is well; absent for heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<f64>,
    /// Names of the notifiers that are told.
    #[serde(default)]
    pub notify: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why it is not watched, where it was added and does not fit the configuration; it has no series then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<String>,
}

/// Which monitors to list: the query of `GET /api/v1/monitors`, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorQuery {
    /// As in [`SeriesQuery::search`].
    pub search: String,
    pub offset: usize,
    /// At most [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for MonitorQuery {
    fn default() -> Self {
        Self {
            search: String::new(),
            offset: 0,
            limit: MAX_PAGE,
        }
    }
}

/// Some of the monitors: the answer of `GET /api/v1/monitors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorPage {
    pub v: u32,
    pub total: usize,
    pub matching: usize,
    pub offset: usize,
    pub monitors: Vec<MonitorShape>,
}

/// All about one monitor: the answer of `GET /api/v1/monitors/NAME`, for the name of a monitor or of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorDetails {
    pub v: u32,
    pub at: String,
    pub monitor: MonitorShape,
    /// Its keys as they were given, where it was added while the daemon ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// The series that the name means, at most [`MAX_SERIES`], what needs somebody first.
    pub series: Vec<SeriesShape>,
    /// Outages of these series, newest first, at most 20.
    pub outages: Vec<PastOutage>,
}

/// An outage of one of several series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastOutage {
    pub series: String,
    #[serde(flatten)]
    pub outage: OutageShape,
}

/// Names of monitors and series: the answer of `GET /api/v1/names?prefix=TEXT&limit=N`, in order, each once. Where there
/// are more than were asked for, the last one is chosen so that those given begin with no more in common than all do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesShape {
    pub v: u32,
    pub names: Vec<String>,
    /// There are more than were asked for.
    pub more: bool,
    /// What all begin with, also those that were not asked for.
    #[serde(default)]
    pub common: String,
}

impl NamesShape {
    /// At most `limit` of all names, which are in order.
    pub fn of(all: &[&str], limit: usize) -> Self {
        let begin = |names: &[&str]| {
            let first = names.first().copied().unwrap_or_default();
            names
                .iter()
                .fold(first.len(), |end, name| end.min(shared(first, name).len()))
        };
        let first = all.first().copied().unwrap_or_default();
        let (shown, rest) = all.split_at(limit.saturating_sub(1).min(all.len()));
        let end = begin(shown);
        let last = if all.len() > limit {
            rest.iter().min_by_key(|name| shared(&first[..end], name).len())
        } else {
            rest.first()
        };
        Self {
            v: VERSION,
            names: shown
                .iter()
                .chain(last.filter(|_| limit > 0))
                .map(ToString::to_string)
                .collect(),
            more: all.len() > limit,
            common: first[..begin(all)].to_owned(),
        }
    }
}

/// What both begin with.
pub fn shared<'a>(one: &'a str, other: &str) -> &'a str {
    let mut pairs = one.char_indices().zip(other.chars());
    let differ = pairs.find(|((_, a), b)| a != b);
    &one[..differ.map_or(one.len().min(other.len()), |((at, _), _)| at)]
}

/// A monitor to add: the body of `POST /api/v1/monitors`. The answer is an [`EditedShape`], once it is durable and
/// watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddShape {
    /// With its `name`, and `target` or `targets`.
    pub monitor: Keys,
    /// Who asks; absent: the user whose process sends this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Changes of a monitor that was added: the body of `PATCH /api/v1/monitors/NAME` (as RFC 7396: a key that is null is
/// taken out). `name` cannot change. `DELETE /api/v1/monitors/NAME` removes it. Both answer with an [`EditedShape`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditShape {
    pub set: Keys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What was added, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditedShape {
    pub v: u32,
    /// For people.
    pub text: String,
    pub monitor: String,
    /// Series that it has now.
    pub series: usize,
}

/// What is to be checked at once, whenever it is due: the body of `POST /api/v1/checks`. The answer is a line of
/// [`CheckedShape`] for each series as its result comes; the results count like all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckOrder {
    pub names: Vec<String>,
}

/// A result that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedShape {
    pub series: String,
    /// Results that come in all, this one among them.
    pub of: usize,
    #[serde(flatten)]
    pub check: CheckShape,
}

/// The last results of some series: the answer of `GET /api/v1/tails?series=NAME&count=N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailsShape {
    pub v: u32,
    /// In the order in which they were asked for.
    pub series: Vec<TailShape>,
}

/// The last results of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailShape {
    pub series: String,
    /// Oldest first.
    pub results: Vec<PointShape>,
}

/// One result, as small as it can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointShape {
    pub at: String,
    /// `up`, `degraded`, `down`, `inconclusive`.
    pub state: String,
    /// How long it took; absent where nobody answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// Requests sent and lost, where it sent more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u32>,
}

/// Which stretch of the past: the query of `GET /api/v1/history`, with `series` as often as there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Names, at most [`MAX_SERIES`].
    pub series: Vec<String>,
    /// RFC 3339.
    pub from: String,
    pub to: String,
    /// At most [`MAX_BUCKETS`].
    pub buckets: usize,
}

/// The past in buckets of equal length: the answer of `GET /api/v1/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryShape {
    pub v: u32,
    pub from: String,
    pub to: String,
    pub bucket_s: f64,
    pub series: Vec<SeriesHistory>,
}

/// The past of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesHistory {
    pub series: String,
    /// One each, oldest first; those in which nothing was checked are empty.
    pub buckets: Vec<BucketShape>,
}

/// The checks of one stretch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketShape {
    pub checks: u32,
    pub down: u32,
    pub inconclusive: u32,
    /// Requests sent and lost.
    pub sent: u32,
    pub lost: u32,
    /// Of checks that were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
}

/// A notifier, in `GET /api/v1/notifiers`. `POST /api/v1/notifiers/NAME/test` sends a message by it and answers with a
/// [`DoneShape`](crate::steering::DoneShape) once it is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifierShape {
    pub name: String,
    /// `slack`, `email`, …
    pub r#type: String,
}

/// The answer of `GET /api/v1/notifiers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiersShape {
    pub v: u32,
    pub notifiers: Vec<NotifierShape>,
}

/// What to report: the query of `GET /api/v1/report`, with `monitor` as often as there are names. The answer is a
/// [`ReportShape`](crate::report::ReportShape).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportQuery {
    /// All when there is none.
    pub monitors: Vec<String>,
    /// RFC 3339; absent: 30 days before `until`.
    pub since: Option<String>,
    /// RFC 3339; absent: now.
    pub until: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_begin_with_no_more_than_all_do() {
        for (all, limit, names, common) in [
            (&["a1", "a2"] as &[&str], 2, &["a1", "a2"] as &[&str], "a"),
            (&["h-00", "h-01", "h-02", "h-10"], 2, &["h-00", "h-10"], "h-"),
            (&["h-0", "h-1", "h-2"], 2, &["h-0", "h-1"], "h-"),
            (&["h-1", "h-2", "web"], 2, &["h-1", "web"], ""),
            (&["h-1", "h-10", "h-11", "h-9"], 3, &["h-1", "h-10", "h-9"], "h-"),
            (&["\u{17c}a", "\u{17c}b"], 1, &["\u{17c}a"], "\u{17c}"),
            (&["\u{17c}", "\u{17d}"], 2, &["\u{17c}", "\u{17d}"], ""),
            (&["a"], 0, &[], "a"),
            (&[], 3, &[], ""),
        ] {
            let told = NamesShape::of(all, limit);
            assert_eq!(told.names, names, "{all:?}");
            assert_eq!((told.more, &*told.common), (all.len() > limit, common), "{all:?}");
        }
    }
}
