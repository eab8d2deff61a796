//! What the API offers, route by route, with an example of each body and answer: the data of its documentation.
//!
//! It must never describe a shape in words of its own: the examples are the shapes.

pub mod examples;

use serde::Serialize;

use crate::{
    Json,
    monitors::{MAX_BUCKETS, MAX_PAGE, MAX_SERIES, MonitorQuery, SeriesQuery},
    queries::{NamesQuery, TailsQuery},
};

/// One thing that can be asked.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: &'static str,
    /// `NAME` stands for a name, percent-encoded.
    pub path: &'static str,
    pub about: &'static str,
    /// Keys of the query and what they mean.
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Json>,
    pub answer: Answer,
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Answer {
    One(Json),
    /// A line each, as things happen.
    Lines(Json),
    /// A sentence for people.
    Text(&'static str),
}

/// The statuses of refusals, whose body is an [`ErrorShape`](crate::steering::ErrorShape).
pub const REFUSALS: [(u16, &str); 6] = [
    (400, "What is asked for makes no sense, or cannot be read."),
    (404, "Nothing has that name."),
    (409, "It does not fit how things are."),
    (422, "The configuration, or a monitor, has mistakes."),
    (429, "Too many do the same."),
    (503, "The daemon is stopping, or cannot store anything."),
];

/// All of it, in the order in which it is best read.
pub fn routes() -> Vec<Route> {
    [lists(), past(), changes(), streams()].concat()
}

fn lists() -> Vec<Route> {
    let page = |limit| {
        [
            ("offset", "how many to leave out at the front [0]".to_owned()),
            ("limit", format!("how many at most, up to {MAX_PAGE} [{limit}]")),
        ]
    };
    let search = (
        "search",
        "text that stands in the name, the target or a label (`key=value`), in any case".to_owned(),
    );
    let chosen = [
        search.clone(),
        ("state", "only this state; as often as there are [all]".to_owned()),
        ("monitor", "only the series that this name means; as often as there are [all]".to_owned()),
        (
            "sort",
            "`state` (what needs somebody first), `name`, `target`, `since` (the newest change first), `latency` (the slowest first) or `loss` (the highest first) [state]".to_owned(),
        ),
        ("reverse", "`true`: the other way round".to_owned()),
    ];
    vec![
        get("/api/v1/status", "Everything at a glance.", &examples::status()),
        get("/api/v1/series", "Some of the series.", &examples::series())
            .asking(chosen)
            .asking(page(SeriesQuery::default().limit)),
        get(
            "/api/v1/monitors",
            "Some of the monitors, in the order of their names.",
            &examples::monitors(),
        )
        .asking([search])
        .asking(page(MonitorQuery::default().limit)),
        get(
            "/api/v1/monitors/NAME",
            "All about the monitor, or the one series, with this name. `keys` are there where it was added while the daemon ran.",
            &examples::details(),
        ),
        get(
            "/api/v1/names",
            "Names of monitors and series, in order, each once.",
            &examples::names(),
        )
        .asking([
            ("prefix", "what they begin with".to_owned()),
            (
                "limit",
                format!("how many at most, up to {MAX_PAGE} [{}]", NamesQuery::LIMIT),
            ),
        ]),
        get(
            "/api/v1/notifiers",
            "What people can be told by.",
            &examples::notifiers(),
        ),
    ]
}

fn past() -> Vec<Route> {
    let series = || {
        [(
            "series",
            format!("a name; as often as there are, up to {MAX_SERIES}"),
        )]
    };
    let time = "RFC 3339";
    vec![
        get(
            "/api/v1/tails",
            "The last results of some series, oldest first.",
            &examples::tails(),
        )
        .asking(series())
        .asking([(
            "count",
            format!("how many of each, up to {MAX_BUCKETS} [{}]", TailsQuery::COUNT),
        )]),
        get(
            "/api/v1/history",
            "The past of some series in buckets of equal length, oldest first.",
            &examples::history(),
        )
        .asking(series())
        .asking([
            ("from", format!("{time}; needed")),
            ("to", format!("{time}; needed")),
            ("buckets", format!("how many, up to {MAX_BUCKETS} [60]")),
        ]),
        get(
            "/api/v1/report",
            "Outages and uptime over a window of time.",
            &examples::report(),
        )
        .asking([
            ("monitor", "a name; as often as there are [all]".to_owned()),
            ("since", format!("{time} [30 days before `until`]")),
            ("until", format!("{time} [now]")),
        ]),
    ]
}

fn changes() -> Vec<Route> {
    vec![
        change(
            "POST",
            "/api/v1/monitors",
            "Adds a monitor; comes back when that is durable and it is watched. Its keys are those of a [[monitor]] in the configuration.",
            &examples::added(),
        )
        .sending(&examples::add()),
        change(
            "PATCH",
            "/api/v1/monitors/NAME",
            "Changes keys of a monitor that was added (RFC 7396: a key that is null is taken out).",
            &examples::changed(),
        )
        .sending(&examples::edit()),
        change(
            "DELETE",
            "/api/v1/monitors/NAME",
            "Removes a monitor that was added.",
            &examples::removed(),
        ),
        change(
            "POST",
            "/api/v1/wishes",
            "Does a wish (`pause`, `resume`, `ack`, `silence`, `unsilence`); comes back when that is durable. Without `by` it is the user whose process asks; `until` is RFC 3339.",
            &examples::done(),
        )
        .sending(&examples::wish()),
        change(
            "POST",
            "/api/v1/notifiers/NAME/test",
            "Sends a message; comes back when it is delivered.",
            &examples::tested(),
        ),
        change(
            "POST",
            "/api/v1/reload",
            "Reads the configuration again and applies it. One with mistakes changes nothing.",
            &examples::reload(),
        ),
        Route {
            answer: Answer::Text("copy.tar is restored to /var/lib/lapwing"),
            ..change(
                "POST",
                "/api/v1/restore",
                "Begins anew on the data of a backup.",
                &Json::Null,
            )
            .sending(&examples::restore())
        },
    ]
}

fn streams() -> Vec<Route> {
    let named = || [("monitor", "a name; as often as there are [all]".to_owned())];
    vec![
        get(
            "/api/v1/events",
            "Events from now on, until the daemon stops.",
            &examples::event(),
        )
        .asking(named())
        .line_by_line(),
        get(
            "/api/v1/results",
            "Results from now on, until the daemon stops.",
            &examples::result(),
        )
        .asking(named())
        .line_by_line(),
        change(
            "POST",
            "/api/v1/checks",
            "Checks at once, whenever it is due: the results as they come. They count like all others.",
            &examples::checked(),
        )
        .sending(&examples::check())
        .line_by_line(),
    ]
}

fn get(path: &'static str, about: &'static str, answer: &impl Serialize) -> Route {
    change("GET", path, about, answer)
}

fn change(method: &'static str, path: &'static str, about: &'static str, answer: &impl Serialize) -> Route {
    Route {
        method,
        path,
        about,
        query: Vec::new(),
        body: None,
        answer: Answer::One(json(answer)),
    }
}

impl Route {
    fn asking(mut self, keys: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.query.extend(keys);
        self
    }

    fn sending(mut self, body: &impl Serialize) -> Self {
        self.body = Some(json(body));
        self
    }

    fn line_by_line(self) -> Self {
        let answer = match self.answer {
            Answer::One(one) => Answer::Lines(one),
            other => other,
        };
        Self { answer, ..self }
    }
}

/// A shape is always JSON.
fn json(shape: &impl Serialize) -> Json {
    serde_json::to_value(shape).unwrap_or_default()
}
