//! The local API, asked over the socket of a real daemon with the typed client: lists, details, checks, results, the
//! past, reports, notifiers.

use std::{future::Future, net::UdpSocket, time::Duration};

use lapwing_api::{
    client::{Client, ClientError, Lines},
    monitors::{
        BucketShape, HistoryQuery, HistoryShape, MonitorQuery, Origin, ReportQuery, SeriesPage, SeriesQuery,
        Sort, TailsShape,
    },
    shapes::VERSION,
    steering::{WishShape, WishWord},
};
use lapwing_core::time::Wall;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::{
    kit::{Daemon, Home, PATIENCE},
    peers::{Door, HttpSink},
};

fn client(home: &Home) -> Client {
    Client::new(home.path("data/lapwing.sock"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes in time")
}

async fn next<T: DeserializeOwned>(lines: &mut Lines<T>) -> T {
    soon(lines.next()).await.expect("a line").unwrap()
}

/// How the daemon refuses.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, status: u16) -> String {
    match answer {
        Err(ClientError::Refused { status: said, error }) if said == status => error.sentence(),
        other => panic!("not refused with {status}: {other:?}"),
    }
}

fn names(page: &SeriesPage) -> Vec<&str> {
    page.series.iter().map(|one| one.series.as_str()).collect()
}

async fn wish(client: &Client, wish: WishWord, names: &[&str]) {
    let wish = WishShape {
        wish,
        names: words(names),
        by: None,
        reason: None,
        until: None,
        zone: None,
    };
    client.wish(&wish).await.unwrap();
}

/// Rarely asked by themselves: doors that are open and closed, names with blanks and numbers, one that reports in.
struct Calm {
    home: Home,
    daemon: Daemon,
    client: Client,
    _doors: [Door; 2],
}

impl Calm {
    fn start(more: &str) -> Self {
        let (doors, closed) = ([Door::open(), Door::open()], Door::closed());
        let (up, too, down) = (doors[0].url(), doors[1].url(), closed.url());
        let home = Home::new(&format!(
            "[defaults]\ninterval = \"1h\"\ntimeout = \"500ms\"\nfailure_threshold = 1\n[web]\nlisten = \"off\"\n\
             [[monitor]]\nname = \"web10\"\ntarget = \"{up}\"\n\
             [[monitor]]\nname = \"web2\"\ntarget = \"{up}\"\nlabels = {{ room = \"Cellar\" }}\n\
             [[monitor]]\nname = \"my line\"\ntarget = \"{up}\"\n\
             [[monitor]]\nname = \"pair\"\ntargets = [\"{up}\", \"{too}\"]\n\
             [[monitor]]\nname = \"gone\"\ntarget = \"{down}\"\n\
             [[monitor]]\nname = \"nas\"\ntarget = \"heartbeat:nas\"\nperiod = \"1h\"\ngrace = \"1h\"\n\
             [heartbeat]\nlisten = \"127.0.0.1:0\"\n{more}"
        ));
        let daemon = home.start();
        daemon.wait("everything is asked once", || {
            let status = daemon.status();
            let asked = |s: &&serde_json::Value| s.get("last").is_some();
            let asked = status["series"].as_array().unwrap().iter().filter(asked).count();
            (asked == 6).then_some(())
        });
        Self {
            client: client(&home),
            home,
            daemon,
            _doors: doors,
        }
    }

    async fn page(&self, query: SeriesQuery) -> SeriesPage {
        self.client.series(&query).await.unwrap()
    }
}

#[tokio::test]
async fn series_are_found_sorted_and_paged() {
    let calm = Calm::start("");
    wish(&calm.client, WishWord::Pause, &["web10"]).await;
    let all = calm.page(SeriesQuery::default()).await;
    assert_eq!((all.total, all.matching, all.v), (7, 7, VERSION));
    assert_eq!((all.counts["paused"], all.counts["pending"]), (1, 1));
    // What needs somebody comes first, and what a person has just changed is seen.
    assert_eq!(names(&all)[0], "gone");
    let states: Vec<&str> = all.series.iter().map(|one| one.state.as_str()).collect();
    assert_eq!(states[..3], ["down", "pending", "paused"], "{states:?}");
    let by = |sort| SeriesQuery {
        sort,
        ..SeriesQuery::default()
    };
    let by_name = calm.page(by(Sort::Name)).await;
    let sorted = names(&by_name);
    assert_eq!(
        (sorted[..3].to_vec(), sorted[5..].to_vec()),
        (vec!["gone", "my line", "nas"], vec!["web2", "web10"])
    );
    let second = SeriesQuery {
        reverse: true,
        offset: 1,
        limit: 2,
        ..by(Sort::Name)
    };
    let page = calm.page(second).await;
    assert_eq!(
        (names(&page), page.matching, page.offset),
        (vec!["web2", sorted[4]], 7, 1)
    );
    // What was never asked has no latency, and comes last whichever way.
    for reverse in [false, true] {
        let page = calm
            .page(SeriesQuery {
                reverse,
                ..by(Sort::Latency)
            })
            .await;
        assert_eq!(names(&page)[6], "nas");
    }
    for (search, states, monitors, found) in [
        ("ROOM=cell", &[][..], &[][..], &["web2"][..]),
        ("", &["down", "pending"], &[], &["gone", "nas"]),
        ("line", &["down"], &[], &[]),
        ("", &[], &["my line", "pair"], &["my line", sorted[3], sorted[4]]),
        ("web", &[], &["web2", "gone"], &["web2"]),
    ] {
        let query = SeriesQuery {
            search: search.to_owned(),
            states: words(states),
            monitors: words(monitors),
            ..by(Sort::Name)
        };
        assert_eq!(
            names(&calm.page(query).await),
            found,
            "{search} {states:?} {monitors:?}"
        );
    }
    let unknown = SeriesQuery {
        monitors: words(&["wbe2"]),
        ..SeriesQuery::default()
    };
    let said = refused(calm.client.series(&unknown).await, 404);
    assert_eq!(
        said,
        "there is no monitor or series \"wbe2\"; did you mean \"web2\"?"
    );
}

#[tokio::test]
async fn monitors_and_names_are_told() {
    let calm = Calm::start("");
    let page = calm.client.monitors(&MonitorQuery::default()).await.unwrap();
    let listed: Vec<&str> = page.monitors.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(listed, ["gone", "my line", "nas", "pair", "web2", "web10"]);
    let pair = &page.monitors[3];
    assert_eq!(
        (pair.series, pair.states["up"], pair.interval_s),
        (2, 2, Some(3600.0))
    );
    assert_eq!(page.monitors[2].interval_s, None);
    let Origin::File { file, line } = &pair.origin else {
        panic!("{pair:?}")
    };
    assert!(file.ends_with("lapwing.toml") && *line == 17, "{file} {line}");
    let cellar = MonitorQuery {
        search: "cellar".to_owned(),
        ..MonitorQuery::default()
    };
    let found = calm.client.monitors(&cellar).await.unwrap();
    assert_eq!(
        (found.total, found.matching, &*found.monitors[0].name),
        (6, 1, "web2")
    );

    let gone = calm.client.monitor("gone").await.unwrap();
    assert_eq!((gone.series.len(), gone.outages.len(), gone.keys), (1, 1, None));
    assert!(gone.outages[0].outage.ongoing && gone.outages[0].outage.reason.code == "connect.refused");
    assert_eq!(
        calm.client.monitor("my line").await.unwrap().monitor.name,
        "my line"
    );
    let pair = calm.client.monitor("pair").await.unwrap();
    assert_eq!(pair.series.len(), 2);
    let one = calm.client.monitor(&pair.series[0].series).await.unwrap();
    assert_eq!((one.series.len(), &*one.monitor.name), (1, "pair"));
    let said = refused(calm.client.monitor("my lime").await, 404);
    assert_eq!(
        said,
        "there is no monitor or series \"my lime\"; did you mean \"my line\"?"
    );

    let names = calm.client.names("WEB", 1).await.unwrap();
    assert_eq!((names.names, names.more), (words(&["web2"]), true));
    let names = calm.client.names("pair", 10).await.unwrap();
    assert_eq!((names.names.len(), names.more), (3, false));
    assert!(calm.client.names("x", 10).await.unwrap().names.is_empty());
}

#[tokio::test]
async fn a_check_comes_at_once_and_counts() {
    let calm = Calm::start("");
    let mut lines = calm
        .client
        .check(&words(&["my line", "pair", "gone"]))
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let checked = next(&mut lines).await;
        assert_eq!(checked.of, 4);
        seen.push((checked.series, checked.check.state));
    }
    assert!(soon(lines.next()).await.is_none());
    seen.sort();
    assert_eq!(seen[0], ("gone".to_owned(), "down".to_owned()));
    assert_eq!(seen[1], ("my line".to_owned(), "up".to_owned()));
    // It is kept like all others, a second later at most.
    let tails = tails(&calm.client, &["my line"], 2).await;
    assert_eq!(tails.series[0].results.len(), 2);

    wish(&calm.client, WishWord::Pause, &["web2"]).await;
    for (named, status, says) in [
        (
            &["web2", "gone"][..],
            409,
            "what is paused is not checked: web2; nothing was checked: resume it first",
        ),
        (
            &["nas"],
            409,
            "heartbeats report in by themselves and cannot be checked: nas; nothing was checked: leave them out",
        ),
        (
            &["gonne"],
            404,
            "there is no monitor or series \"gonne\"; did you mean \"gone\"?",
        ),
        (&[], 400, "no monitor is named; name at least one"),
    ] {
        assert_eq!(refused(calm.client.check(&words(named)).await, status), says);
    }
}

#[tokio::test]
async fn a_check_that_never_comes_back_ends_with_a_word() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let slow = format!(
        "[[monitor]]\nname = \"slow\"\ntarget = \"udp://{}\"\nexpect = \"x\"\ninterval = \"400ms\"\ntimeout = \"300ms\"\n",
        silent.local_addr().unwrap()
    );
    let home = Home::quick(&slow);
    let _daemon = home.start();
    let client = client(&home);
    let mut lines = client.check(&words(&["slow"])).await.unwrap();
    // Its result is given up; the pause waits for the ledger, and may come too late.
    wish(&client, WishWord::Pause, &["slow"]).await;
    match soon(lines.next()).await {
        Some(Ok(checked)) => assert_eq!(checked.check.state, "down"),
        Some(told) => {
            let said = refused(told, 200);
            assert!(
                said.starts_with("no result came within 5s600ms of: slow; "),
                "{said}"
            );
        }
        None => panic!("not a word"),
    }
}

#[tokio::test]
async fn results_come_to_all_who_follow() {
    let door = Door::open();
    let monitors =
        ["a", "b b"].map(|name| format!("[[monitor]]\nname = \"{name}\"\ntarget = \"{}\"\n", door.url()));
    let home = Home::quick(&monitors.concat());
    let daemon = home.start();
    let client = client(&home);
    let mut all = client.results(&[]).await.unwrap();
    let mut one = client.results(&words(&["b b"])).await.unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut one).await.series, "b b");
    }
    let mut met = std::collections::BTreeSet::new();
    while met.len() < 2 {
        let result = next(&mut all).await;
        assert_eq!((result.v, &*result.state), (VERSION, "up"));
        met.insert(result.series);
    }
    let said = refused(client.results(&words(&["c"])).await.map(|_| ()), 404);
    assert!(said.starts_with("there is no monitor or series \"c\""), "{said}");
    // The end of the daemon ends both in good order.
    let stopped = tokio::task::spawn_blocking(move || daemon.stop());
    for lines in [&mut all, &mut one] {
        while let Some(line) = soon(lines.next()).await {
            line.unwrap();
        }
    }
    soon(stopped).await.unwrap();
}

/// As soon as `count` results of each of `series` are kept.
async fn tails(client: &Client, series: &[&str], count: usize) -> TailsShape {
    let kept = async {
        loop {
            let tails = client.tails(&words(series), count).await.unwrap();
            if tails.series.iter().all(|one| one.results.len() >= count) {
                return tails;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(kept).await
}

fn past(series: &[&str], from: &str, to: &str, buckets: usize) -> HistoryQuery {
    HistoryQuery {
        series: words(series),
        from: from.to_owned(),
        to: to.to_owned(),
        buckets,
    }
}

fn sum(history: &HistoryShape, of: fn(&BucketShape) -> u32) -> u32 {
    history.series[0].buckets.iter().map(of).sum()
}

#[tokio::test]
async fn the_past_is_told_after_a_restart() {
    let (door, closed) = (Door::open(), Door::closed());
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"my line\"\ntarget = \"{}\"\n[[monitor]]\nname = \"gone\"\ntarget = \"{}\"\n",
        door.url(),
        closed.url()
    ));
    let daemon = home.start();
    let client = client(&home);
    let before = tails(&client, &["my line", "gone"], 5).await;
    let [line, gone] = &before.series[..] else {
        panic!("{before:?}")
    };
    assert!(line.series == "my line" && line.results.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert!(
        line.results
            .iter()
            .all(|one| one.state == "up" && one.ms.is_some() && one.sent.is_none())
    );
    assert!(
        gone.results
            .iter()
            .all(|one| one.state == "down" && one.ms.is_none())
    );
    daemon.stop();
    let daemon = home.start();
    // What was seen before is there still, at full count, in small buckets and in whole hours.
    let first: Wall = at(&line.results[0].at);
    let last: Wall = at(&line.results[4].at);
    let window = (first.rfc3339(), Wall(last.0 + 1).rfc3339());
    let small = client
        .history(&past(&["my line"], &window.0, &window.1, 10))
        .await
        .unwrap();
    assert_eq!(
        (
            small.from.as_str(),
            sum(&small, |b| b.checks),
            sum(&small, |b| b.down)
        ),
        (&*window.0, 5, 0)
    );
    assert!(small.series[0].buckets.len() <= 10 && small.bucket_s > 0.0);
    let (long_ago, soon) = (
        Wall(first.0 - 86_400_000_000).rfc3339(),
        Wall(last.0 + 60_000_000).rfc3339(),
    );
    let hours = client
        .history(&past(&["gone"], &long_ago, &soon, 10))
        .await
        .unwrap();
    assert!(hours.series[0].buckets.len() <= 10 && hours.bucket_s >= 3600.0);
    let checks = sum(&hours, |b| b.checks);
    assert!(checks >= 5 && sum(&hours, |b| b.down) == checks, "{hours:?}");
    past_refusals(&client, &window.0, &soon).await;
    drop(daemon);
}

async fn past_refusals(client: &Client, from: &str, to: &str) {
    for (query, status, says) in [
        (past(&["my lime"], from, to, 10), 404, "did you mean \"my line\"?"),
        (past(&["gone"], to, from, 10), 400, "the window of time is empty"),
        (past(&["gone"], "yesterday", to, 10), 400, "is not a time"),
        (
            past(&["gone"], "2000-01-01T00:00:00Z", "9000-01-01T00:00:00Z", 10),
            400,
            "more of the past than is read at once",
        ),
    ] {
        let said = refused(client.history(&query).await, status);
        assert!(said.contains(says), "{said}");
    }
}

fn at(text: &str) -> Wall {
    let at: jiff::Timestamp = text.parse().unwrap();
    Wall(at.as_microsecond())
}

#[tokio::test]
async fn a_report_is_what_the_command_tells() {
    let calm = Calm::start("");
    let query = ReportQuery {
        monitors: words(&["gone", "pair"]),
        ..ReportQuery::default()
    };
    let report = calm.client.report(&query).await.unwrap();
    assert!(report.running && report.series.len() == 3);
    let command = calm.home.json(&["report", "gone", "pair", "--json"]);
    let told: Vec<_> = report
        .series
        .iter()
        .map(|one| (&*one.series, one.outages.len()))
        .collect();
    let same = |(one, (series, outages)): (&serde_json::Value, &(&str, usize))| {
        one["series"] == *series && one["outages"].as_array().unwrap().len() == *outages
    };
    assert!(
        command["series"].as_array().unwrap().iter().zip(&told).all(same),
        "{command}"
    );
    assert!(told.contains(&("gone", 1)));
    let since = ReportQuery {
        since: Some("2026-01-02T00:00:00Z".to_owned()),
        until: Some("2026-01-01T00:00:00Z".to_owned()),
        ..ReportQuery::default()
    };
    assert!(refused(calm.client.report(&since).await, 400).contains("empty"));
    let unknown = ReportQuery {
        monitors: words(&["gonne"]),
        ..ReportQuery::default()
    };
    assert!(refused(calm.client.report(&unknown).await, 404).ends_with("did you mean \"gone\"?"));
}

/// Two tests of a notifier that never answers are under way, and whoever asked has left: a third one is refused.
async fn crowded(client: &Client, mute: &TcpListener) {
    let mut held = Vec::new();
    while held.len() < 2 {
        tokio::select! {
            answer = client.test_notifier("mute") => panic!("{answer:?}"),
            connection = soon(mute.accept()) => held.push(connection.unwrap()),
        }
    }
    let said = refused(soon(client.test_notifier("mute")).await, 429);
    assert_eq!(
        said,
        "as many notifiers are being tested as may at once; try again when those tests have ended"
    );
}

#[tokio::test]
async fn a_notifier_is_proved_and_a_bad_one_tells_no_secret() {
    let (sink, closed) = (HttpSink::open(), Door::closed());
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let calm = Calm::start(&format!(
        "[notify.good]\ntype = \"slack\"\nwebhook_url = \"{}\"\n\
         [notify.bad]\ntype = \"slack\"\nwebhook_url = \"http://{}/s3cret\"\n\
         [notify.mute]\ntype = \"slack\"\nwebhook_url = \"http://{}/\"\non = [\"up\"]\n",
        sink.url("/hook"),
        closed.address(),
        mute.local_addr().unwrap()
    ));
    let list = calm.client.notifiers().await.unwrap().notifiers;
    let list: Vec<_> = list.iter().map(|one| (&*one.name, &*one.r#type)).collect();
    assert_eq!(list, [("bad", "slack"), ("good", "slack"), ("mute", "slack")]);
    let done = soon(calm.client.test_notifier("good")).await.unwrap();
    assert_eq!(done.text, "good: delivered");
    let told = sink.wait_accepted("/hook", 1);
    assert!(
        told.iter()
            .any(|request| request.body.contains("TEST: Lapwing can reach you here"))
    );
    let said = refused(soon(calm.client.test_notifier("bad")).await, 503);
    assert!(
        said.starts_with("bad: not delivered: ") && !said.contains("s3cret"),
        "{said}"
    );
    crowded(&calm.client, &mute).await;
    let said = refused(calm.client.test_notifier("goood").await, 404);
    assert_eq!(said, "there is no notifier \"goood\"; did you mean \"good\"?");
    assert!(!calm.daemon.stop().contains("s3cret"));
}
