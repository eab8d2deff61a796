//! One value of every shape, for the documentation and for tests. It must never hold more than a reader needs to see.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    Json,
    monitors::{
        AddShape, BucketShape, CheckOrder, CheckedShape, EditShape, EditedShape, HistoryShape, Keys,
        MonitorDetails, MonitorPage, MonitorShape, NamesShape, NotifierShape, NotifiersShape, Origin,
        PastOutage, PointShape, SeriesHistory, SeriesPage, TailShape, TailsShape,
    },
    report::{OutageShape, ReportShape, SeriesReport},
    shapes::{
        CheckShape, EngineShape, EventShape, LastShape, NotifierShape as NotifierStatus, Reason,
        RestoreShape, SeriesShape, StatusShape, VERSION,
    },
    steering::{DoneShape, ErrorShape, ReloadShape, WishShape, WishWord},
    watch::ResultShape,
};

/// Of the daemon.
const PROGRAM: &str = "0.1.0";

fn at(time: &str) -> String {
    format!("2026-11-20T{time}.000000Z")
}

fn web() -> String {
    "web".to_owned()
}

fn keys(json: Json) -> Keys {
    match json {
        Json::Object(keys) => keys,
        _ => Keys::new(),
    }
}

fn counted(states: &[(&str, usize)]) -> BTreeMap<String, usize> {
    states
        .iter()
        .map(|(state, n)| ((*state).to_owned(), *n))
        .collect()
}

fn labels() -> BTreeMap<String, String> {
    [("role".to_owned(), "shop".to_owned())].into()
}

fn refused() -> Reason {
    Reason {
        code: "connect.refused".to_owned(),
        detail: "connection refused".to_owned(),
    }
}

pub fn one_series() -> SeriesShape {
    SeriesShape {
        series: web(),
        monitor: web(),
        target: "tcp://127.0.0.1:8080".to_owned(),
        kind: "tcp".to_owned(),
        labels: labels(),
        state: "down".to_owned(),
        since: at("17:52:03"),
        reason: Some(refused()),
        last: Some(LastShape {
            at: at("17:59:58"),
            total_ms: 0.21,
        }),
        loss: Some(2.5),
        skipped: 0,
        heartbeat: None,
        paused: None,
        silenced: None,
        acknowledged: None,
    }
}

pub fn status() -> StatusShape {
    StatusShape {
        v: VERSION,
        version: PROGRAM.to_owned(),
        at: at("18:00:00"),
        running: true,
        started: Some(at("08:00:00")),
        offline_since: None,
        counts: counted(&[("down", 1)]),
        series: vec![one_series()],
        notifiers: vec![NotifierStatus {
            name: "team".to_owned(),
            waiting: 0,
            failures: 0,
            last_error: None,
        }],
        engine: Some(EngineShape {
            checks: 36_000,
            running: 1,
            late_p50_ms: 0.5,
            late_p99_ms: 2.0,
            dropped: 0,
            late: Vec::new(),
        }),
        listeners: BTreeMap::new(),
    }
}

pub fn series() -> SeriesPage {
    SeriesPage {
        v: VERSION,
        version: PROGRAM.to_owned(),
        at: at("18:00:00"),
        total: 3,
        counts: counted(&[("down", 1), ("up", 2)]),
        matching: 1,
        offset: 0,
        series: vec![one_series()],
    }
}

fn monitor(origin: Origin) -> MonitorShape {
    MonitorShape {
        name: web(),
        origin,
        target: "tcp://127.0.0.1:8080".to_owned(),
        series: 1,
        states: counted(&[("down", 1)]),
        interval_s: Some(10.0),
        notify: vec!["team".to_owned()],
        labels: labels(),
        unwatched: None,
    }
}

fn unwatched() -> MonitorShape {
    let added = Origin::Added {
        by: "anna".to_owned(),
        at: at("09:00:00"),
    };
    MonitorShape {
        name: "shop".to_owned(),
        series: 0,
        states: counted(&[]),
        interval_s: None,
        notify: Vec::new(),
        unwatched: Some("there is no notifier \"team\"".to_owned()),
        ..monitor(added)
    }
}

pub fn monitors() -> MonitorPage {
    let from_file = Origin::File {
        file: "/etc/lapwing/lapwing.toml".to_owned(),
        line: 12,
    };
    MonitorPage {
        v: VERSION,
        total: 3,
        matching: 2,
        offset: 0,
        monitors: vec![unwatched(), monitor(from_file)],
    }
}

pub fn details() -> MonitorDetails {
    let added = Origin::Added {
        by: "anna".to_owned(),
        at: at("09:00:00"),
    };
    MonitorDetails {
        v: VERSION,
        at: at("18:00:00"),
        monitor: monitor(added),
        keys: Some(keys(
            json!({"name": "web", "target": "tcp://127.0.0.1:8080", "interval": "10s"}),
        )),
        series: vec![one_series()],
        outages: vec![PastOutage {
            series: web(),
            outage: outage(),
        }],
    }
}

fn outage() -> OutageShape {
    OutageShape {
        began: at("17:52:03"),
        ended: None,
        ongoing: true,
        length_s: 477.0,
        uncertainty_s: Some(10.0),
        reason: refused(),
        cause: None,
        failed_checks: 48,
        recovered: false,
        evidence: Vec::new(),
    }
}

pub fn names() -> NamesShape {
    NamesShape {
        v: VERSION,
        names: vec![web(), "web/admin".to_owned()],
        more: false,
        common: web(),
    }
}

pub fn add() -> AddShape {
    AddShape {
        monitor: keys(json!({"name": "web", "target": "tcp://127.0.0.1:8080", "interval": "10s"})),
        by: Some("anna".to_owned()),
    }
}

pub fn edit() -> EditShape {
    EditShape {
        set: keys(json!({"interval": "30s", "labels": null})),
        by: None,
    }
}

fn edited(text: &str, series: usize) -> EditedShape {
    EditedShape {
        v: VERSION,
        text: text.to_owned(),
        monitor: web(),
        series,
    }
}

pub fn added() -> EditedShape {
    edited("added web: 1 series", 1)
}

pub fn changed() -> EditedShape {
    edited("changed web: 1 series", 1)
}

pub fn removed() -> EditedShape {
    edited("removed web", 0)
}

pub fn check() -> CheckOrder {
    CheckOrder { names: vec![web()] }
}

pub fn checked() -> CheckedShape {
    CheckedShape {
        series: web(),
        of: 1,
        check: CheckShape {
            v: VERSION,
            target: "tcp://127.0.0.1:8080".to_owned(),
            kind: "tcp".to_owned(),
            state: "up".to_owned(),
            reason: None,
            total_ms: 0.34,
            phases: keys(json!({"connect_ms": 0.34})),
            facts: keys(json!({"tcp.peer": "127.0.0.1:8080"})),
            at: at("18:00:00"),
        },
    }
}

pub fn result() -> ResultShape {
    ResultShape {
        v: VERSION,
        series: web(),
        at: at("18:00:00"),
        state: "up".to_owned(),
        reason: None,
        rtt_ms: Some(0.34),
        sent: 1,
        lost: 0,
    }
}

pub fn tails() -> TailsShape {
    let point = |time, state: &str, ms| PointShape {
        at: at(time),
        state: state.to_owned(),
        ms,
        sent: None,
        lost: None,
    };
    TailsShape {
        v: VERSION,
        series: vec![TailShape {
            series: web(),
            results: vec![
                point("17:59:48", "down", None),
                point("17:59:58", "up", Some(0.34)),
            ],
        }],
    }
}

pub fn history() -> HistoryShape {
    let bucket = BucketShape {
        checks: 180,
        down: 3,
        inconclusive: 0,
        sent: 180,
        lost: 3,
        min_ms: Some(0.2),
        mean_ms: Some(0.3),
        max_ms: Some(4.1),
    };
    HistoryShape {
        v: VERSION,
        from: at("17:00:00"),
        to: at("18:00:00"),
        bucket_s: 1800.0,
        series: vec![SeriesHistory {
            series: web(),
            buckets: vec![BucketShape::default(), bucket],
        }],
    }
}

pub fn report() -> ReportShape {
    ReportShape {
        v: VERSION,
        version: PROGRAM.to_owned(),
        at: at("18:00:00"),
        running: true,
        from: at("17:00:00"),
        to: at("18:00:00"),
        formula: lapwing_core::uptime::FORMULA.to_owned(),
        edges: Vec::new(),
        series: vec![SeriesReport {
            series: web(),
            monitor: web(),
            target: "tcp://127.0.0.1:8080".to_owned(),
            watched: true,
            known_since: Some(at("09:00:00")),
            uptime_percent: Some(86.75),
            up_s: 3123.0,
            down_s: 477.0,
            unknown_s: 0.0,
            longest_outage_s: Some(477.0),
            mtbf_s: Some(3123.0),
            mttr_s: None,
            outages: vec![outage()],
            slices: Vec::new(),
        }],
    }
}

pub fn notifiers() -> NotifiersShape {
    NotifiersShape {
        v: VERSION,
        notifiers: vec![NotifierShape {
            name: "team".to_owned(),
            r#type: "slack".to_owned(),
        }],
    }
}

pub fn tested() -> DoneShape {
    DoneShape {
        v: VERSION,
        text: "team: delivered".to_owned(),
        series: Vec::new(),
    }
}

pub fn wish() -> WishShape {
    WishShape {
        wish: WishWord::Pause,
        names: vec![web()],
        by: Some("anna".to_owned()),
        reason: Some("new disk".to_owned()),
        until: Some("2026-11-20T20:00:00Z".to_owned()),
        zone: Some("Europe/Berlin".to_owned()),
    }
}

pub fn done() -> DoneShape {
    DoneShape {
        v: VERSION,
        text: "paused web until 21:00:00".to_owned(),
        series: vec![web()],
    }
}

pub fn reload() -> ReloadShape {
    ReloadShape {
        v: VERSION,
        text: "configuration applied: watching 3 series, 1 of them new".to_owned(),
        series: 3,
        new: 1,
        gone: 0,
        notes: Vec::new(),
        refused: Vec::new(),
    }
}

pub fn restore() -> RestoreShape {
    RestoreShape {
        from: "/var/backups/lapwing.tar".to_owned(),
    }
}

pub fn event() -> EventShape {
    EventShape {
        v: VERSION,
        id: "01KAHB7M80000000000000000A".to_owned(),
        event: "down".to_owned(),
        monitor: Some(web()),
        series: Some(web()),
        target: Some("tcp://127.0.0.1:8080".to_owned()),
        kind: Some("tcp".to_owned()),
        labels: labels(),
        state: "down".to_owned(),
        previous: "failing".to_owned(),
        at: at("17:52:23"),
        since: Some(at("17:52:03")),
        ended: None,
        duration_s: Some(20.0),
        uncertainty_s: Some(10.0),
        reason: Some(refused()),
        cause: None,
        reminder: None,
        loss: None,
        mute: None,
        withheld: false,
        location: "local".to_owned(),
        resent: false,
        text: "web is down".to_owned(),
    }
}

pub fn error() -> ErrorShape {
    ErrorShape {
        error: "there is no monitor or series \"wep\"".to_owned(),
        hint: Some("did you mean \"web\"?".to_owned()),
    }
}
