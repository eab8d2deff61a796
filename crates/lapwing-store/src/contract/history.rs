//! The contract of a history.

use std::{ops::ControlFlow, time::Duration};

use lapwing_core::{
    observation::{Observation, Outcome, Reason, Requests, Sample},
    time::Wall,
};
use proptest::prelude::*;
use tempfile::tempdir;

use super::open;
use crate::{Class, DataDir, History, MemHistory, Point, Row, Wanted, history::HOUR, limits};

const BASE: i64 = 497_000 * HOUR;
const SERIES: [&str; 4] = ["web", "db/tcp", "", "näher"];

#[derive(Clone, Debug)]
struct Kept {
    series: usize,
    observation: Observation,
    facts: Vec<(&'static str, f64)>,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Kept>),
    Fold(Wall),
    Retain(Wall, Duration),
    Reopen,
}

fn moment() -> impl Strategy<Value = Wall> {
    prop_oneof![
        20 => (0..6 * HOUR).prop_map(|t| Wall(BASE + t)),
        // Equal moments, the edges of hours, and clocks that went mad.
        6 => (0i64..6, -1i64..2).prop_map(|(hour, off)| Wall(BASE + hour * HOUR + off)),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, i64::MAX - 1, i64::MAX]).prop_map(Wall),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let reason = (0..3usize, 0..4u8).prop_map(|(code, detail)| {
        let code = ["connect.refused", "http.status", "x"][code];
        Reason::new(
            code,
            if detail == 0 {
                String::new()
            } else {
                format!("detail {detail}")
            },
        )
    });
    prop_oneof![
        3 => Just(Outcome::Up),
        1 => reason.clone().prop_map(Outcome::Degraded),
        2 => reason.clone().prop_map(Outcome::Down),
        1 => reason.prop_map(Outcome::Inconclusive),
    ]
}

fn kept() -> impl Strategy<Value = Kept> {
    let took = prop_oneof![9 => 0u64..3_000_000, 1 => Just(u64::MAX)];
    let requests = prop::option::weighted(0.2, (any::<u32>(), any::<u32>()));
    let fact = (
        prop::sample::select(vec!["icmp.loss", "ntp.offset"]),
        -1e6f64..1e6,
    );
    (
        0..SERIES.len(),
        moment(),
        took,
        outcome(),
        requests,
        prop::collection::vec(fact, 0..3),
    )
        .prop_map(|(series, at, took, outcome, requests, facts)| {
            let requests = requests.map(|(sent, lost)| Requests { sent, lost });
            let sample = Sample {
                requests,
                ..Sample::default()
            };
            Kept {
                series,
                observation: Observation {
                    at,
                    took: Duration::from_micros(took),
                    outcome,
                    sample,
                },
                facts,
            }
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(kept(), 0..30).prop_map(Step::Append),
        3 => moment().prop_map(Step::Fold),
        1 => ((0..6 * HOUR).prop_map(|t| Wall(BASE + t)), (0u64..6 * 3600).prop_map(Duration::from_secs)).prop_map(|(now, raw)| Step::Retain(now, raw)),
        2 => Just(Step::Reopen),
    ]
}

fn append(history: &dyn History, rows: &[Kept]) {
    let rows: Vec<Row<'_>> = rows
        .iter()
        .map(|k| Row {
            series: SERIES[k.series],
            observation: &k.observation,
            facts: &k.facts,
        })
        .collect();
    history.append(&rows).unwrap();
}

fn scan(history: &dyn History, series: &str, from: Wall, to: Wall) -> Vec<Point> {
    let mut points = Vec::new();
    let mut each = |point| {
        points.push(point);
        ControlFlow::Continue(())
    };
    history.scan(series, from, to, &mut each).unwrap();
    points
}

fn same(disk: &dyn History, model: &dyn History) {
    let all = (Wall(i64::MIN), Wall(i64::MAX));
    let some = (Wall(BASE + HOUR / 2), Wall(BASE + 3 * HOUR));
    assert_eq!(disk.series().unwrap(), model.series().unwrap());
    for series in SERIES.into_iter().chain(["never seen"]) {
        for (from, to) in [all, some, (some.1, some.0)] {
            assert_eq!(
                scan(disk, series, from, to),
                scan(model, series, from, to),
                "{series} {from:?} {to:?}"
            );
            assert_eq!(
                disk.rollups(series, from, to).unwrap(),
                model.rollups(series, from, to).unwrap(),
                "{series}"
            );
        }
        for count in [0, 1, 5, 1000] {
            assert_eq!(
                disk.tail(series, count).unwrap(),
                model.tail(series, count).unwrap(),
                "{series} {count}"
            );
        }
    }
    let wanted: Vec<Wanted> = SERIES
        .iter()
        .enumerate()
        .map(|(i, series)| Wanted {
            series: (*series).to_owned(),
            count: i * 3,
            since: Wall(BASE + i as i64 * HOUR),
        })
        .collect();
    assert_eq!(disk.tails(&wanted).unwrap(), model.tails(&wanted).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_disk_is_the_model(steps in prop::collection::vec(step(), 1..14)) {
        let dir = tempdir().unwrap();
        let model = MemHistory::new();
        let mut disk = open(dir.path()).1;
        let beside = DataDir::read(dir.path()).unwrap().history().unwrap();
        for step in &steps {
            match step {
                Step::Append(rows) => [&disk as &dyn History, &model].into_iter().for_each(|h| append(h, rows)),
                Step::Fold(now) => drop(disk.fold(*now).unwrap()),
                Step::Retain(now, raw) => {
                    prop_assert_eq!(disk.retain(*now, *raw, u64::MAX).unwrap(), model.retain(*now, *raw, u64::MAX).unwrap());
                }
                Step::Reopen => {
                    drop(disk);
                    disk = open(dir.path()).1;
                }
            }
            same(&disk, &model);
            same(&beside, &model);
        }
        disk.check().unwrap();
    }
}

fn on_both(test: impl Fn(&dyn History)) {
    let dir = tempdir().unwrap();
    test(&MemHistory::new());
    test(&open(dir.path()).1);
}

fn observed(at: i64, outcome: Outcome) -> Observation {
    Observation {
        at: Wall(at),
        took: Duration::from_millis(3),
        outcome,
        sample: Sample::default(),
    }
}

#[test]
fn details_beyond_the_limit_leave_their_code() {
    on_both(|history| {
        let observations: Vec<Observation> = (0..300)
            .map(|i| {
                observed(
                    BASE + i,
                    Outcome::Down(Reason::new("body.mismatch", format!("saw {i}"))),
                )
            })
            .chain([observed(
                BASE + 300,
                Outcome::Down(Reason::new("body.mismatch", "saw 3")),
            )])
            .chain([observed(
                BASE + 301,
                Outcome::Down(Reason::new("connect.refused", "refused")),
            )])
            .collect();
        let rows: Vec<Row<'_>> = observations
            .iter()
            .map(|observation| Row {
                series: "web",
                observation,
                facts: &[],
            })
            .collect();
        history.append(&rows).unwrap();
        let points = history.tail("web", 302).unwrap();
        let details: Vec<String> = points
            .iter()
            .map(|p| p.reason.as_ref().unwrap().detail.clone())
            .collect();
        assert_eq!(
            details.iter().filter(|d| !d.is_empty()).count(),
            limits::DETAILS_PER_CODE + 2
        );
        assert_eq!((details[255].as_str(), details[256].as_str()), ("saw 255", ""));
        assert_eq!(
            (details[300].as_str(), details[301].as_str()),
            ("saw 3", "refused")
        );
        assert!(
            points
                .iter()
                .take(301)
                .all(|p| p.reason.as_ref().unwrap().code.as_str() == "body.mismatch")
        );
    });
}

#[test]
fn a_scan_stops_when_told() {
    on_both(|history| {
        let observations: Vec<Observation> =
            (0..10).map(|i| observed(BASE + i * HOUR, Outcome::Up)).collect();
        let rows: Vec<Row<'_>> = observations
            .iter()
            .map(|observation| Row {
                series: "web",
                observation,
                facts: &[],
            })
            .collect();
        history.append(&rows).unwrap();
        history.fold(Wall(BASE + 5 * HOUR)).unwrap();
        let mut seen = 0;
        let mut each = |_| {
            seen += 1;
            if seen == 7 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        history.scan("web", Wall(0), Wall(i64::MAX), &mut each).unwrap();
        assert_eq!(seen, 7);
    });
}

#[test]
fn too_many_facts_and_too_long_names_are_cut() {
    on_both(|history| {
        let facts = vec![("loss", 0.5); 100];
        let long = "ä".repeat(2000);
        let observation = observed(BASE, Outcome::Up);
        history
            .append(&[Row {
                series: &long,
                observation: &observation,
                facts: &facts,
            }])
            .unwrap();
        let series = history.series().unwrap();
        assert_eq!(series[0].len(), limits::SERIES_KEY);
        let points = history.tail(&series[0], 2).unwrap();
        assert_eq!(points[0].facts.len(), limits::FACTS_PER_ROW);
        assert_eq!(
            (points[0].class, points[0].requests),
            (Class::Up, Requests { sent: 1, lost: 0 })
        );
    });
}
