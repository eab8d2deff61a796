//! The lookout's own rules: slots, stopping, plans that change.

use std::{sync::Arc, time::Duration};

use lapwing_core::{
    event::EventKind,
    heartbeat::{BeatRule, Due, Wait},
    lookout::{Change, Effect, Input, Lookout, Restored, RunId},
    monitor::{DownRule, Monitor, NotifierPolicy, Plan, Policy, Series},
    mute::{Mute, Wish},
    observation::{Observation, Outcome, Reason, Sample},
    time::{Mono, Now, Wall},
};

const START: u64 = 1_000_000_000;

fn at(millis: u64) -> Now {
    Now {
        wall: Wall((millis * 1000) as i64),
        mono: Mono(START + millis * 1000),
    }
}

fn series(name: &str, policy: Policy) -> Arc<Series> {
    let monitor = Monitor {
        name: name.to_owned(),
        labels: Vec::new(),
        policy,
        notify: vec!["ops".into()],
    };
    Arc::new(Series {
        key: name.into(),
        name: name.to_owned(),
        monitor: Arc::new(monitor),
        target: format!("tcp://{name}:80"),
        kind: "tcp",
        host: name.to_owned(),
        loopback: true,
        overlaps: false,
    })
}

fn plan(series: Vec<Arc<Series>>) -> Plan {
    let ops = NotifierPolicy {
        name: "ops".into(),
        on: None,
        rate_limit: None,
        give_up: Duration::from_secs(60),
        local: true,
    };
    Plan {
        series,
        notifiers: vec![ops],
        zone: None,
        adopt: None,
    }
}

fn lookout(series: Vec<Arc<Series>>) -> Lookout {
    let mut lookout = Lookout::new(1, |_| String::new(), Restored::default(), at(0));
    lookout.handle(Input::Plan(plan(series)), at(0));
    lookout
}

fn probes(lookout: &mut Lookout) -> Vec<RunId> {
    let probe = |effect| {
        if let Effect::Probe { run, .. } = effect {
            Some(run)
        } else {
            None
        }
    };
    lookout.effects().filter_map(probe).collect()
}

fn seen(now: Now, up: bool) -> Observation {
    let outcome = if up {
        Outcome::Up
    } else {
        Outcome::Down(Reason::new("connect.refused", "connection refused"))
    };
    Observation {
        at: now.wall,
        took: Duration::ZERO,
        outcome,
        sample: Sample::default(),
    }
}

/// Ticks until a probe begins; gives when, and which.
fn next_probe(lookout: &mut Lookout, from: u64) -> (u64, RunId) {
    for millis in from..from + 60_000 {
        lookout.handle(Input::Tick, at(millis));
        if let [run] = probes(lookout)[..] {
            return (millis, run);
        }
    }
    panic!("no probe within a minute");
}

/// Two checks later a series is on its grid.
fn probe_on_grid(lookout: &mut Lookout) -> (u64, RunId) {
    let mut from = 0;
    for _ in 0..2 {
        let (begun, run) = next_probe(lookout, from);
        answer(lookout, run, true, begun, begun + 10);
        from = begun + 11;
    }
    next_probe(lookout, from)
}

fn every(interval: Duration) -> Policy {
    Policy {
        interval,
        retry_interval: interval,
        recovery_interval: interval,
        ..Policy::default()
    }
}

#[test]
fn a_check_that_needs_the_whole_interval_does_not_cost_the_next_one() {
    let mut lookout = lookout(vec![series("a", every(Duration::from_secs(1)))]);
    let (begun, run) = probe_on_grid(&mut lookout);
    // The next slot comes while it runs, and it ends 3 ms later.
    lookout.handle(Input::Tick, at(begun + 1000));
    assert_eq!(probes(&mut lookout), []);
    lookout.handle(
        Input::Observed {
            run,
            observation: seen(at(begun), true),
        },
        at(begun + 1003),
    );
    let [late] = probes(&mut lookout)[..] else {
        panic!("the slot was lost")
    };
    // Half an interval late is too late: the slot is skipped and counted, and the grid goes on.
    lookout.handle(Input::Tick, at(begun + 2000));
    lookout.handle(
        Input::Observed {
            run: late,
            observation: seen(at(begun + 1003), true),
        },
        at(begun + 2500),
    );
    assert_eq!(probes(&mut lookout), []);
    assert_eq!(lookout.snapshot().series[0].skipped, 1);
    assert_eq!(next_probe(&mut lookout, begun + 2501).0, begun + 3000);
}

#[test]
fn stopping_ends_however_much_is_due() {
    let all = (0..100)
        .map(|n| series(&format!("m{n}"), every(Duration::from_millis(100))))
        .collect();
    let mut lookout = lookout(all);
    lookout.handle(Input::Stop, at(50_000));
    let stored = lookout.effects().any(|effect| {
        matches!(effect, Effect::Commit(changes) if changes.iter().filter(|c| matches!(c, Change::Standing { .. })).count() >= 100)
    });
    assert!(stored, "every standing is stored at the end");
    lookout.handle(Input::Tick, at(60_000));
    assert_eq!(probes(&mut lookout), []);
}

#[test]
fn a_changed_plan_keeps_states_and_judges_by_the_new_policy() {
    let mut lookout = lookout(vec![series("a", every(Duration::from_secs(1)))]);
    let mut now = 0;
    for _ in 0..2 {
        let (begun, run) = next_probe(&mut lookout, now);
        now = begun + 1;
        lookout.handle(
            Input::Observed {
                run,
                observation: seen(at(begun), false),
            },
            at(now),
        );
    }
    lookout.effects().for_each(drop);
    let strict = Policy {
        rule: DownRule::Consecutive {
            failures: 2,
            successes: 1,
        },
        ..every(Duration::from_secs(1))
    };
    lookout.handle(
        Input::Plan(plan(vec![series("a", strict), series("b", Policy::default())])),
        at(now),
    );
    // The streak of two goes on: the third failure is the second that the new rule asks for, and more.
    let (begun, run) = loop {
        let (begun, run) = next_probe(&mut lookout, now);
        now = begun + 1;
        lookout.handle(
            Input::Observed {
                run,
                observation: seen(at(begun), false),
            },
            at(now),
        );
        let told: Vec<_> = lookout
            .effects()
            .filter_map(|e| {
                if let Effect::Announce(event) = e {
                    Some(event.kind)
                } else {
                    None
                }
            })
            .collect();
        if told.contains(&EventKind::Down) {
            break (begun, run);
        }
        assert!(now < 10_000, "never told");
    };
    assert!(begun < 4_000);
    // Its result is no longer wanted once the series is gone, and its outage ends with the watch.
    lookout.handle(Input::Plan(plan(Vec::new())), at(now + 5_000));
    let ended = lookout.effects().any(|effect| {
        matches!(effect, Effect::Commit(changes) if changes.iter().any(|c| matches!(c, Change::Outage { outage, .. } if outage.end.is_some_and(|e| !e.recovered))))
    });
    assert!(ended && lookout.is_empty());
    lookout.handle(
        Input::Observed {
            run,
            observation: seen(at(now), true),
        },
        at(now + 6_000),
    );
    assert!(lookout.effects().all(|e| !matches!(e, Effect::Announce(_))));
}

fn check(lookout: &mut Lookout, names: &[&str], now: u64) -> Vec<RunId> {
    let series = names.iter().map(|name| Arc::from(*name)).collect();
    lookout.handle(Input::Check { series }, at(now));
    probes(lookout)
}

fn answer(lookout: &mut Lookout, run: RunId, up: bool, begun: u64, now: u64) {
    let observation = seen(at(begun), up);
    lookout.handle(Input::Observed { run, observation }, at(now));
}

#[test]
fn a_check_that_is_asked_for_comes_at_once_and_moves_no_slot() {
    let mut lookout = lookout(vec![series("a", every(Duration::from_secs(10)))]);
    let (begun, run) = probe_on_grid(&mut lookout);
    answer(&mut lookout, run, true, begun, begun + 10);
    for n in 1..=5 {
        let asked = begun + n * 1_000;
        let [run] = check(&mut lookout, &["a", "gone"], asked)[..] else {
            panic!("not one probe")
        };
        answer(&mut lookout, run, true, asked, asked + 10);
        lookout.handle(Input::Tick, at(asked + 20));
        assert_eq!(probes(&mut lookout), []);
    }
    assert_eq!(next_probe(&mut lookout, begun + 5_100).0, begun + 10_000);
    assert_eq!(lookout.snapshot().series[0].skipped, 0);
}

#[test]
fn what_began_before_the_question_is_no_answer() {
    let mut lookout = lookout(vec![series("a", every(Duration::from_secs(10)))]);
    let (begun, run) = probe_on_grid(&mut lookout);
    // However often it is asked: one more begins, and only when the one under way has ended.
    assert_eq!(check(&mut lookout, &["a"], begun + 5), []);
    assert_eq!(check(&mut lookout, &["a"], begun + 900), []);
    answer(&mut lookout, run, false, begun, begun + 1_000);
    let [run] = probes(&mut lookout)[..] else {
        panic!("not one probe")
    };
    answer(&mut lookout, run, true, begun + 1_000, begun + 1_010);
    assert_eq!(probes(&mut lookout), []);
    // One that serves a slot as well is not followed by another.
    let (begun, run) = next_probe(&mut lookout, begun + 1_011);
    assert_eq!(check(&mut lookout, &["a"], begun + 5), []);
    lookout.handle(Input::Tick, at(begun + 10_000));
    answer(&mut lookout, run, true, begun, begun + 10_050);
    let [run] = probes(&mut lookout)[..] else {
        panic!("not one probe")
    };
    answer(&mut lookout, run, true, begun + 10_050, begun + 10_060);
    assert_eq!(probes(&mut lookout), []);
    assert_eq!(lookout.snapshot().series[0].skipped, 0);
}

#[test]
fn probes_that_may_overlap_begin_at_once_when_asked_for_and_are_bounded() {
    let one = series("a", every(Duration::from_secs(10)));
    let overlapping = Series {
        overlaps: true,
        ..(*one).clone()
    };
    let mut lookout = lookout(vec![Arc::new(overlapping)]);
    let (begun, first) = next_probe(&mut lookout, 0);
    let asked: Vec<RunId> = (1..=70)
        .flat_map(|n| check(&mut lookout, &["a"], begun + n))
        .collect();
    assert_eq!(asked.len(), 63);
    answer(&mut lookout, first, true, begun, begun + 100);
    assert_eq!(probes(&mut lookout).len(), 1);
    for run in asked {
        answer(&mut lookout, run, true, begun + 70, begun + 101);
    }
    assert_eq!(probes(&mut lookout), []);
}

#[test]
fn a_check_that_is_asked_for_is_judged_like_all_others() {
    let policy = Policy {
        retry_interval: Duration::from_secs(1),
        recovery_interval: Duration::from_secs(1),
        ..every(Duration::from_secs(60))
    };
    let mut lookout = lookout(vec![series("a", policy)]);
    let (begun, run) = next_probe(&mut lookout, 0);
    answer(&mut lookout, run, true, begun, begun);
    lookout.effects().for_each(drop);
    let mut kinds = Vec::new();
    for n in 1..=3 {
        let asked = begun + n * 10;
        let runs = check(&mut lookout, &["a"], asked);
        let run = *runs.first().expect("a probe");
        answer(&mut lookout, run, false, asked, asked + 1);
        for effect in lookout.effects() {
            match effect {
                Effect::Announce(event) => kinds.push((n, event.kind)),
                Effect::Probe { .. } => panic!("another probe"),
                _ => {}
            }
        }
    }
    assert_eq!(kinds, [(3, EventKind::Down)]);
    // It is down now: asked again as such.
    let (recovers, _) = next_probe(&mut lookout, begun + 31);
    assert!(recovers <= begun + 1_040, "{begun} {recovers}");
}

#[test]
fn nobody_checks_what_is_paused_or_reports_in_by_itself_or_after_the_end() {
    let beats = Policy {
        beats: Some(Arc::new(BeatRule {
            due: Due::Every(Duration::from_secs(10)),
            wait: Wait::Grace(Duration::from_secs(10)),
        })),
        ..Policy::default()
    };
    let probed = || series("a", every(Duration::from_secs(60)));
    let mut lookout = lookout(vec![probed(), series("home", beats)]);
    assert_eq!(check(&mut lookout, &["a", "home"], 0).len(), 1);
    assert_eq!(check(&mut lookout, &["a"], 0), []);
    // What was under way is dropped by the pause, with what was wanted, and nothing begins in it.
    let pause = Wish::Pause(Mute {
        by: "anna".to_owned(),
        reason: String::new(),
        since: at(1).wall,
        until: None,
    });
    let wish = |wish, now, lookout: &mut Lookout| {
        let (series, ticket) = (vec!["a".into()], None);
        lookout.handle(Input::Wish { series, wish, ticket }, at(now));
    };
    wish(pause, 1, &mut lookout);
    assert_eq!(check(&mut lookout, &["a"], 2), []);
    wish(Wish::Resume, 3, &mut lookout);
    lookout.effects().for_each(drop);
    let again = check(&mut lookout, &["a"], 4);
    assert_eq!(again.len(), 1);
    answer(&mut lookout, again[0], true, 4, 5);
    assert_eq!(probes(&mut lookout), []);
    lookout.handle(Input::Stop, at(6));
    lookout.effects().for_each(drop);
    assert_eq!(check(&mut lookout, &["a"], 7), []);
}
