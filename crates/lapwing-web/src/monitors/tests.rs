//! Each route as the client of lapwing-api uses it, over a real socket.

use std::path::Path as FilePath;

use lapwing_api::{
    client::{Client, ClientError},
    monitors::Sort,
    steering::WishWord,
    surface::{Answer as Example, examples, routes},
};

use super::*;
use crate::{router, steering::tests::Fixture};

/// Names that mean something else in a path, a query or a line.
const NAMES: [&str; 8] = [
    "web",
    "web/tcp://127.0.0.1:80?x=1&y#z",
    "50%2Foff",
    "two words",
    "größe 猫",
    "..",
    "a+b;c",
    "\"quoted\\",
];

fn client(fixture: &Fixture) -> Client {
    Client::new(&*fixture.socket)
}

/// A query that uses every key.
fn series_query() -> SeriesQuery {
    SeriesQuery {
        search: "role=db & more".to_owned(),
        states: vec!["down".to_owned(), "failing".to_owned()],
        monitors: NAMES.map(ToOwned::to_owned).to_vec(),
        sort: Sort::Loss,
        reverse: true,
        offset: 7,
        limit: 9,
    }
}

fn history_query() -> HistoryQuery {
    HistoryQuery {
        series: NAMES.map(ToOwned::to_owned).to_vec(),
        from: "2026-11-20T17:00:00Z".to_owned(),
        to: "2026-11-20T18:00:00+01:00".to_owned(),
        buckets: 2,
    }
}

#[tokio::test]
async fn what_is_asked_arrives_and_what_is_said_comes_back() {
    let fixture = Fixture::new(None);
    let client = client(&fixture);
    let names = NAMES.map(ToOwned::to_owned);
    assert_eq!(client.status().await, Ok(examples::status()));
    assert_eq!(client.alive().await, Ok(true));
    assert_eq!(client.series(&series_query()).await, Ok(examples::series()));
    fixture.was_asked(&format!("{:?}", series_query()));
    let monitors = MonitorQuery {
        search: "ü".to_owned(),
        offset: 1,
        limit: 2,
    };
    assert_eq!(client.monitors(&monitors).await, Ok(examples::monitors()));
    fixture.was_asked(&format!("{monitors:?}"));
    assert_eq!(client.names("50%", 3).await, Ok(examples::names()));
    fixture.was_asked("names 50% 3");
    assert_eq!(client.tails(&names, 4).await, Ok(examples::tails()));
    fixture.was_asked(&format!("tails {names:?} 4"));
    assert_eq!(client.history(&history_query()).await, Ok(examples::history()));
    fixture.was_asked(&format!("{:?}", history_query()));
    let report = ReportQuery {
        monitors: names.to_vec(),
        since: Some("2026-11-20T17:00:00+01:00".to_owned()),
        until: None,
    };
    assert_eq!(client.report(&report).await, Ok(examples::report()));
    fixture.was_asked(&format!("{report:?}"));
    assert_eq!(client.notifiers().await, Ok(examples::notifiers()));
    assert_eq!(client.wish(&examples::wish()).await, Ok(examples::done()));
    assert_eq!(fixture.desk.wishes.lock().unwrap()[0].0.wish, WishWord::Pause);
    assert_eq!(client.reload().await, Ok(examples::reload()));
    let restored = client.restore(FilePath::new("/a b/ü.tar")).await;
    assert_eq!(restored, Ok("restored /a b/ü.tar".to_owned()));
}

#[tokio::test]
async fn a_name_may_hold_anything() {
    let fixture = Fixture::new(None);
    let client = client(&fixture);
    let me = fixture.me();
    for name in NAMES {
        assert_eq!(client.monitor(name).await, Ok(examples::details()));
        fixture.was_asked(&format!("monitor {name}"));
        assert_eq!(
            client.edit(name, &examples::edit()).await,
            Ok(examples::changed())
        );
        fixture.was_asked(&format!("edit {name} {:?} {me}", examples::edit()));
        assert_eq!(client.remove(name).await, Ok(examples::removed()));
        fixture.was_asked(&format!("remove {name} {me}"));
        assert_eq!(client.test_notifier(name).await, Ok(examples::tested()));
        fixture.was_asked(&format!("test {name}"));
        let mut add = examples::add();
        add.monitor.insert("name".to_owned(), name.into());
        assert_eq!(client.add(&add).await, Ok(examples::added()));
        fixture.was_asked(&format!("add {add:?} {me}"));
    }
    for seen in [
        client.monitor("").await.map(drop),
        client.edit("", &examples::edit()).await.map(drop),
        client.remove("").await.map(drop),
        client.test_notifier("").await.map(drop),
    ] {
        assert!(
            matches!(seen, Err(ClientError::Refused { status: 400, .. })),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_everywhere() {
    let fixture = Fixture::new(None);
    let client = client(&fixture);
    for (length, fits) in [(MAX_NAME, true), (MAX_NAME + 1, false)] {
        let name = "a".repeat(length);
        let names = vec!["web".to_owned(), name.clone()];
        let mut add = examples::add();
        add.monitor.insert("name".to_owned(), name.clone().into());
        let mut wish = examples::wish();
        wish.names.clone_from(&names);
        let series = SeriesQuery {
            monitors: names.clone(),
            ..SeriesQuery::default()
        };
        let history = HistoryQuery {
            series: names.clone(),
            ..history_query()
        };
        let report = ReportQuery {
            monitors: names.clone(),
            ..ReportQuery::default()
        };
        for (route, seen) in [
            ("details", client.monitor(&name).await.map(drop)),
            ("edit", client.edit(&name, &examples::edit()).await.map(drop)),
            ("remove", client.remove(&name).await.map(drop)),
            ("test", client.test_notifier(&name).await.map(drop)),
            ("add", client.add(&add).await.map(drop)),
            ("wish", client.wish(&wish).await.map(drop)),
            ("series", client.series(&series).await.map(drop)),
            ("names", client.names(&name, 1).await.map(drop)),
            ("tails", client.tails(&names, 1).await.map(drop)),
            ("history", client.history(&history).await.map(drop)),
            ("report", client.report(&report).await.map(drop)),
            ("check", client.check(&names).await.map(drop)),
            ("results", client.results(&names).await.map(drop)),
            ("events", client.events(&names).await.map(drop)),
        ] {
            let refused = matches!(seen, Err(ClientError::Refused { status: 400, .. }));
            assert!(
                seen.is_ok() == fits && refused != fits,
                "{route} {length}: {seen:?}"
            );
        }
    }
}

#[tokio::test]
async fn streams_come_line_by_line_and_end() {
    let fixture = Fixture::new(None);
    let client = client(&fixture);
    let names = NAMES.map(ToOwned::to_owned);
    let mut checked = client.check(&names).await.unwrap();
    fixture.was_asked(&format!("check {names:?}"));
    let mut results = client.results(&names).await.unwrap();
    fixture.was_asked(&format!("results {names:?}"));
    for _ in 0..2 {
        assert_eq!(checked.next().await, Some(Ok(examples::checked())));
        assert_eq!(results.next().await, Some(Ok(examples::result())));
    }
    assert_eq!((checked.next().await, results.next().await), (None, None));
    let mut events = client.events(&["web".to_owned()]).await.unwrap();
    let announce = |number| {
        let event = crate::stream::tests::event("web", number);
        fixture.desk.events.announce(&event);
    };
    for number in [1, 2] {
        announce(number);
        assert_eq!(events.next().await.unwrap().unwrap().text, number.to_string());
    }
    fixture.desk.events.close();
    assert_eq!(events.next().await, None, "the daemon stops in good order");
}

#[tokio::test]
async fn each_refusal_keeps_its_status_and_words() {
    for (why, expected) in [
        (Why::Bad, 400),
        (Why::Unknown, 404),
        (Why::Conflict, 409),
        (Why::Unfit, 422),
        (Why::Crowded, 429),
        (Why::Unable, 503),
    ] {
        let fixture = Fixture::new(Some(Refusal::new(why, "it is so").hint("do this")));
        let client = client(&fixture);
        let names = ["web".to_owned()];
        for (what, seen) in [
            ("series", client.series(&series_query()).await.map(drop)),
            (
                "monitors",
                client.monitors(&MonitorQuery::default()).await.map(drop),
            ),
            ("monitor", client.monitor("web").await.map(drop)),
            ("names", client.names("", 1).await.map(drop)),
            ("add", client.add(&examples::add()).await.map(drop)),
            ("edit", client.edit("web", &examples::edit()).await.map(drop)),
            ("remove", client.remove("web").await.map(drop)),
            ("wish", client.wish(&examples::wish()).await.map(drop)),
            ("reload", client.reload().await.map(drop)),
            ("report", client.report(&ReportQuery::default()).await.map(drop)),
            ("history", client.history(&history_query()).await.map(drop)),
            ("tails", client.tails(&names, 1).await.map(drop)),
            ("notifiers", client.notifiers().await.map(drop)),
            ("test", client.test_notifier("team").await.map(drop)),
            ("events", client.events(&names).await.map(drop)),
            ("results", client.results(&names).await.map(drop)),
            ("check", client.check(&names).await.map(drop)),
        ] {
            let refused = seen.unwrap_err();
            assert!(
                matches!(refused, ClientError::Refused { status, .. } if status == expected),
                "{what}: {refused:?}"
            );
            assert_eq!(refused.to_string(), "it is so; do this", "{what}");
        }
        let stopping = client.status().await.unwrap_err().to_string();
        assert_eq!(stopping, "the daemon is stopping");
        let restore = client.restore(FilePath::new("/x")).await.unwrap_err();
        assert!(
            matches!(restore, ClientError::Refused { status: 409, .. }),
            "{restore:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_hint() {
    let fixture = Fixture::new(None);
    let add = r#"{"monitor":{"name":"web"}}"#;
    for (method, path, body, says) in [
        ("GET", "series?serch=x", "", "serch"),
        ("GET", "series?limit=many", "", "limit=many"),
        ("GET", "series?sort=speed", "", "sort"),
        ("GET", "monitors?state=up", "", "state"),
        ("GET", "monitors/web?deep=1", "", "deep"),
        ("GET", "monitors/%ff", "", "UTF-8"),
        ("GET", "names?count=1", "", "count"),
        ("GET", "tails?count=1", "", "no series"),
        ("GET", "history?series=a", "", "from"),
        ("GET", "report?from=x", "", "from"),
        ("GET", "results?series=a", "", "series"),
        ("GET", "notifiers?x=1", "", "\"x\""),
        ("POST", "notifiers/team/test?x=1", "", "\"x\""),
        ("POST", "monitors?x=1", add, "\"x\""),
        ("POST", "monitors", "web", "JSON"),
        ("POST", "monitors", r#"{"name":"web"}"#, "name"),
        ("POST", "monitors", r#"{"monitor":{},"force":true}"#, "force"),
        ("PATCH", "monitors/web", r#"{"interval":"30s"}"#, "interval"),
        ("PATCH", "monitors/web?x=1", r#"{"set":{}}"#, "\"x\""),
        ("DELETE", "monitors/web?x=1", "", "\"x\""),
        ("POST", "checks", r#"["web"]"#, "JSON"),
        ("POST", "checks?x=1", r#"{"names":["web"]}"#, "\"x\""),
        ("POST", "restore", "{}", "from"),
    ] {
        let (status, error) = fixture.ask(method, &format!("/api/v1/{path}"), body).await;
        assert_eq!(status, 400, "{method} {path}: {error}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains(says), "{path}: {error}");
        assert!(error["hint"].is_string(), "{path}: {error}");
    }
    fixture.was_asked_nothing();
}

#[tokio::test]
async fn a_body_too_long_is_not_held() {
    let fixture = Fixture::new(None);
    let body = format!(r#"{{"names":["{}"]}}"#, "x".repeat(crate::MAX_BODY));
    let (status, error) = fixture.ask("POST", "/api/v1/checks", &body).await;
    assert_eq!(status, 400, "{error}");
    assert!(error["error"].as_str().unwrap().contains("limit"), "{error}");
    fixture.was_asked_nothing();
}

/// The path of a route with a name and a query that it takes.
fn asked(route: &lapwing_api::surface::Route) -> String {
    let pairs = route.query.iter().map(|(key, _)| match *key {
        "offset" | "limit" | "count" | "buckets" => format!("{key}=1"),
        "sort" => "sort=name".to_owned(),
        "state" => "state=up".to_owned(),
        "reverse" => "reverse=true".to_owned(),
        _ => format!("{key}=x"),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    format!("{}?{query}", route.path.replace("NAME", "web"))
}

#[tokio::test]
async fn every_documented_route_answers_as_documented() {
    let fixture = Fixture::new(None);
    fixture.desk.events.close();
    for route in routes() {
        let path = asked(&route);
        let body = route.body.map(|body| body.to_string()).unwrap_or_default();
        if path.starts_with("/api/v1/events") {
            continue; // Nothing happens here; the stream itself is shown above.
        }
        let (status, answer) = fixture.ask(route.method, &path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        match route.answer {
            Example::One(example) => assert_eq!(answer, example, "{path}"),
            Example::Lines(line) => assert!(answer.as_str().unwrap().contains(&line.to_string()), "{path}"),
            Example::Text(_) => assert!(answer.is_string(), "{path}"),
        }
    }
}

#[tokio::test]
async fn nothing_of_it_is_served_outside() {
    let fixture = Fixture::serving(None, router);
    for route in routes() {
        if route.path == "/api/v1/status" {
            continue; // The one that everybody may ask.
        }
        let path = asked(&route);
        let (status, answer) = fixture.ask(route.method, &path, "{}").await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
    let seen = client(&fixture).notifiers().await.unwrap_err();
    assert!(matches!(seen, ClientError::OtherVersion { .. }), "{seen:?}");
}

#[tokio::test]
async fn an_answer_is_kept_by_nobody() {
    let fixture = Fixture::new(None);
    for path in [
        "/api/v1/series",
        "/api/v1/monitors/web",
        "/api/v1/results",
        "/api/v1/status",
    ] {
        let head = fixture.head("GET", path).await;
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
    }
}
