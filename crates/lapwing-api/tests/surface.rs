//! The public surface: what each shape looks like, what may be added to it, and what may be missing.

use lapwing_api::{
    Json,
    client::Client,
    monitors::{
        AddShape, CheckOrder, CheckedShape, EditShape, EditedShape, HistoryShape, MonitorDetails,
        MonitorPage, NamesShape, NotifiersShape, SeriesPage, TailsShape,
    },
    report::ReportShape,
    shapes::{EventShape, RestoreShape, StatusShape},
    steering::{DoneShape, ErrorShape, ReloadShape, WishShape},
    surface::{Answer, examples, routes},
    watch::ResultShape,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, json};

/// Every example as it was when this version of the API was given out. Fields may be added here; none may go, change
/// its name or its type.
const PINNED: &str = include_str!("surface.json");

fn told() -> Json {
    let mut told = Map::new();
    for route in routes() {
        let mut one = Map::new();
        if let Some(body) = route.body {
            one.insert("body".to_owned(), body);
        }
        let (key, answer) = match route.answer {
            Answer::One(answer) => ("answer", answer),
            Answer::Lines(line) => ("line", line),
            Answer::Text(_) => ("text", true.into()),
        };
        one.insert(key.to_owned(), answer);
        told.insert(format!("{} {}", route.method, route.path), one.into());
    }
    told.insert("refusal".to_owned(), json!(examples::error()));
    told.into()
}

#[test]
fn each_shape_is_as_it_was() {
    let now = serde_json::to_string_pretty(&told()).unwrap() + "\n";
    let wrong = now
        .lines()
        .zip(PINNED.lines())
        .find(|(now, pinned)| now != pinned);
    assert!(
        now == PINNED,
        "surface.json differs, first at {wrong:?}; all of it is now:\n{now}"
    );
}

/// Reads a shape and writes it again.
fn again<T: Serialize + DeserializeOwned>(json: Json) -> Result<Json, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(json)?)
}

type Again = fn(Json) -> Result<Json, serde_json::Error>;

/// Every shape that the daemon answers with, by its example.
fn answers() -> Vec<(Json, Again)> {
    fn of<T: Serialize + DeserializeOwned>(example: &T) -> (Json, Again) {
        (json!(example), again::<T> as Again)
    }
    vec![
        of::<StatusShape>(&examples::status()),
        of::<SeriesPage>(&examples::series()),
        of::<MonitorPage>(&examples::monitors()),
        of::<MonitorDetails>(&examples::details()),
        of::<NamesShape>(&examples::names()),
        of::<NotifiersShape>(&examples::notifiers()),
        of::<TailsShape>(&examples::tails()),
        of::<HistoryShape>(&examples::history()),
        of::<ReportShape>(&examples::report()),
        of::<EditedShape>(&examples::added()),
        of::<DoneShape>(&examples::done()),
        of::<ReloadShape>(&examples::reload()),
        of::<EventShape>(&examples::event()),
        of::<ResultShape>(&examples::result()),
        of::<CheckedShape>(&examples::checked()),
        of::<ErrorShape>(&examples::error()),
    ]
}

/// Adds a key to every object whose keys are fixed.
fn grown(json: Json) -> Json {
    const FREE: [&str; 7] = [
        "counts",
        "states",
        "labels",
        "keys",
        "phases",
        "facts",
        "listeners",
    ];
    match json {
        Json::Object(fields) => {
            let old = fields.into_iter().map(|(key, value)| {
                let value = if FREE.contains(&key.as_str()) {
                    value
                } else {
                    grown(value)
                };
                (key, value)
            });
            let mut fields: Map<String, Json> = old.collect();
            fields.insert("of_a_later_version".to_owned(), json!({"x": [1]}));
            fields.into()
        }
        Json::Array(all) => all.into_iter().map(grown).collect(),
        other => other,
    }
}

#[test]
fn what_a_later_daemon_adds_is_passed_over() {
    for (example, again) in answers() {
        assert_eq!(again(example.clone()).unwrap(), example);
        let grown = grown(example.clone());
        assert_ne!(grown, example);
        assert_eq!(again(grown).unwrap(), example);
    }
}

#[test]
fn what_does_not_apply_may_be_missing() {
    let bare: [(Json, Again); 9] = [
        (
            json!({"name":"a","origin":{"from":"adopted"},"target":"heartbeat:a","series":1,"states":{"up":1}}),
            again::<lapwing_api::monitors::MonitorShape>,
        ),
        (
            json!({"at":"t","state":"down"}),
            again::<lapwing_api::monitors::PointShape>,
        ),
        (
            json!({"checks":0,"down":0,"inconclusive":0,"sent":0,"lost":0}),
            again::<lapwing_api::monitors::BucketShape>,
        ),
        (
            json!({"v":1,"series":"a","at":"t","state":"down","sent":1,"lost":1}),
            again::<ResultShape>,
        ),
        (
            json!({"v":1,"text":"t","series":1,"new":0,"gone":0}),
            again::<ReloadShape>,
        ),
        (
            json!({"series":"a","monitor":"a","target":"t","kind":"tcp","state":"up","since":"t","skipped":0}),
            again::<lapwing_api::shapes::SeriesShape>,
        ),
        (
            json!({"v":1,"id":"i","event":"online","state":"up","previous":"up","at":"t","location":"local",
                "resent":false,"text":"t"}),
            again::<EventShape>,
        ),
        (
            json!({"v":1,"version":"0","at":"t","running":true,"counts":{},"series":[],"notifiers":[]}),
            again::<StatusShape>,
        ),
        (json!({"error":"no"}), again::<ErrorShape>),
    ];
    for (json, again) in bare {
        let seen = again(json.clone()).unwrap_or_else(|bad| panic!("{json}: {bad}"));
        for (key, value) in json.as_object().unwrap() {
            assert_eq!(seen.get(key), Some(value), "{json}");
        }
    }
}

#[test]
fn an_order_with_a_field_too_many_is_refused() {
    let orders: [(Json, Again); 4] = [
        (json!(examples::add()), again::<AddShape>),
        (json!(examples::edit()), again::<EditShape>),
        (json!(examples::check()), again::<CheckOrder>),
        (json!(examples::wish()), again::<WishShape>),
    ];
    for (mut order, again) in orders {
        assert_eq!(again(order.clone()).unwrap(), order);
        order["surprise"] = true.into();
        assert!(again(order.clone()).is_err(), "{order}");
    }
    let restore = json!(examples::restore());
    assert_eq!(again::<RestoreShape>(restore.clone()).unwrap(), restore);
}

#[test]
fn a_client_may_be_handed_to_other_tasks() {
    fn anywhere<T: Clone + Send + Sync + 'static>(_: T) {}
    fn somewhere<T: Send>(_: T) {}
    let client = Client::new("/nowhere");
    anywhere(client.clone());
    somewhere(async move { client.events(&[]).await?.next().await.transpose() });
}
