//! The judge against the sentences of the specification: every short string of results, every small policy.

use std::time::Duration;

use lapwing_core::{
    judge::{Happening, Standing},
    monitor::{DownRule, Policy},
    observation::{Observation, Outcome, Reason, Sample},
    state::State,
    time::Wall,
};

/// One outage as the specification tells it: begin, last success before, declared at, end, last failure.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    began: i64,
    last_up: Option<i64>,
    declared: i64,
    ended: Option<i64>,
    last_failure: i64,
}

/// Results at 0, 1, 2, … as letters: S success, F failure, I inconclusive.
fn naive(rule: DownRule, results: &[u8]) -> (Vec<Told>, State) {
    let mut told: Vec<Told> = Vec::new();
    let mut known: Vec<(i64, bool)> = Vec::new();
    for (at, letter) in (0i64..).zip(results) {
        if *letter == b'I' {
            continue;
        }
        known.push((at, *letter == b'F'));
        let open = told.last().is_some_and(|t| t.ended.is_none());
        if open {
            close(rule, &known, &mut told);
        } else {
            declare(rule, &known, &mut told);
        }
    }
    let state = match (results.last(), known.last(), told.last()) {
        (Some(b'I'), ..) => State::Inconclusive,
        (_, _, Some(t)) if t.ended.is_none() => State::Down,
        (_, Some((_, true)), _) => State::Failing,
        (_, Some((_, false)), _) => State::Up,
        (_, None, _) => State::Pending,
    };
    (told, state)
}

fn declare(rule: DownRule, known: &[(i64, bool)], told: &mut Vec<Told>) {
    let ended = told.last().and_then(|t| t.ended).unwrap_or(-1);
    let began = match rule {
        DownRule::Off => None,
        DownRule::Consecutive { failures, .. } => {
            let streak: Vec<_> = known.iter().rev().take_while(|(_, failed)| *failed).collect();
            (streak.len() >= failures as usize)
                .then(|| streak.last().map(|(at, _)| *at))
                .flatten()
        }
        DownRule::Window { of, fail, .. } => {
            let held = &known[known.len().saturating_sub(of as usize)..];
            let failed: Vec<i64> = held.iter().filter(|(_, f)| *f).map(|(at, _)| *at).collect();
            let newest_failed = known.last().is_some_and(|(_, f)| *f);
            (newest_failed && failed.len() >= fail as usize)
                .then(|| failed.into_iter().find(|at| *at > ended))
                .flatten()
        }
    };
    if let (Some(began), Some((declared, _))) = (began, known.last()) {
        let last_up = known
            .iter()
            .rev()
            .find(|(at, f)| !f && *at < began)
            .map(|(at, _)| *at);
        told.push(Told {
            began,
            last_up,
            declared: *declared,
            ended: None,
            last_failure: *declared,
        });
    }
}

fn close(rule: DownRule, known: &[(i64, bool)], told: &mut [Told]) {
    let Some(outage) = told.last_mut() else { return };
    let since: Vec<_> = known.iter().filter(|(at, _)| *at > outage.declared).collect();
    let last_failure = known
        .iter()
        .rev()
        .find(|(_, f)| *f)
        .map_or(outage.declared, |(at, _)| *at);
    outage.last_failure = last_failure;
    let successes = since.iter().rev().take_while(|(_, f)| !f).count();
    let over = match rule {
        DownRule::Off => false,
        DownRule::Consecutive {
            successes: wanted, ..
        } => successes >= wanted as usize,
        DownRule::Window { of, recover, .. } => {
            let held = &known[known.len().saturating_sub(of as usize)..];
            successes > 0 && held.iter().filter(|(_, f)| *f).count() <= recover as usize
        }
    };
    if over {
        outage.ended = known
            .iter()
            .find(|(at, f)| !f && *at > last_failure)
            .map(|(at, _)| *at);
    }
}

fn observation(at: i64, letter: u8) -> Observation {
    let reason = Reason::new("connect.refused", "connection refused");
    let outcome = match letter {
        b'S' => Outcome::Up,
        b'F' => Outcome::Down(reason),
        _ => Outcome::Inconclusive(Reason::new("ours.no_route", "no route")),
    };
    Observation {
        at: Wall(at),
        took: Duration::ZERO,
        outcome,
        sample: Sample::default(),
    }
}

fn judged(rule: DownRule, results: &[u8]) -> (Vec<Told>, State) {
    let policy = Policy {
        rule,
        ..Policy::default()
    };
    let mut standing = Standing::new(Wall(-1));
    let mut told: Vec<Told> = Vec::new();
    for (at, letter) in (0i64..).zip(results) {
        let step = standing.observe(&policy, &observation(at, *letter));
        for happening in step.happenings {
            match happening {
                Happening::Down => {
                    let outage = standing.outage.as_ref().expect("declared");
                    let last_up = outage.last_up.map(|w| w.0);
                    assert_eq!(
                        outage.begin_uncertainty,
                        last_up.map(|up| Duration::from_micros((outage.began.0 - up) as u64))
                    );
                    told.push(Told {
                        began: outage.began.0,
                        last_up,
                        declared: at,
                        ended: None,
                        last_failure: at,
                    });
                }
                Happening::Up(outage) => {
                    let end = outage.end.expect("ended");
                    let last = told.last_mut().expect("declared before");
                    last.ended = Some(end.at.0);
                    last.last_failure = end.at.0 - end.uncertainty.as_micros() as i64;
                }
                other => panic!("{other:?}"),
            }
        }
        if let (Some(last), Some(failure), true) =
            (told.last_mut(), standing.last_failure, standing.is_down())
        {
            last.last_failure = failure.0;
        }
    }
    (told, standing.state)
}

fn rules() -> Vec<DownRule> {
    let mut rules = vec![DownRule::Off];
    for failures in 1..=3 {
        for successes in 1..=3 {
            rules.push(DownRule::Consecutive { failures, successes });
        }
    }
    for of in 1..=4 {
        for fail in 1..=of {
            for recover in 0..fail {
                rules.push(DownRule::Window { of, fail, recover });
            }
        }
    }
    rules
}

#[test]
fn every_short_string_of_results_under_every_small_rule() {
    const LENGTH: u32 = 9;
    for rule in rules() {
        for code in 0..3u32.pow(LENGTH) {
            let results: Vec<u8> = (0..LENGTH)
                .map(|i| b"SFI"[(code / 3u32.pow(i) % 3) as usize])
                .collect();
            let (expected, got) = (naive(rule, &results), judged(rule, &results));
            assert_eq!(got, expected, "{rule:?} {}", String::from_utf8_lossy(&results));
        }
    }
}
