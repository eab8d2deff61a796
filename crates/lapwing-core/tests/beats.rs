//! The lookout's rules for beats: what is durable first, who is adopted, what our own line excuses.

use std::{net::IpAddr, sync::Arc, time::Duration};

use lapwing_core::{
    event::EventKind,
    heartbeat::{Beat, BeatRule, Cause, Due, Mark, Proof, Signal, Wait},
    lookout::{Change, Effect, Input, Lookout, Restored},
    monitor::{Adoption, MAX_ADOPTED, Monitor, Plan, Policy, Series},
    observation::{Observation, Outcome, Reason, Sample},
    state::State,
    time::{Mono, Now, Wall},
};

fn at(seconds: u64) -> Now {
    Now {
        wall: Wall((seconds * 1_000_000) as i64),
        mono: Mono(seconds * 1_000_000),
    }
}

fn millis(millis: u64) -> Now {
    Now {
        wall: Wall((millis * 1000) as i64),
        mono: Mono(millis * 1000),
    }
}

fn policy() -> Policy {
    Policy {
        beats: Some(Arc::new(BeatRule {
            due: Due::Every(Duration::from_secs(30)),
            wait: Wait::Grace(Duration::from_secs(30)),
        })),
        ..Policy::default()
    }
}

fn home() -> Arc<Series> {
    series("home", policy(), "heartbeat", true)
}

fn series(name: &str, policy: Policy, kind: &'static str, loopback: bool) -> Arc<Series> {
    Arc::new(Series {
        key: name.into(),
        name: name.to_owned(),
        monitor: Arc::new(Monitor {
            name: name.to_owned(),
            labels: Vec::new(),
            policy,
            notify: Vec::new(),
        }),
        target: format!("{kind}:{name}"),
        kind,
        host: name.to_owned(),
        loopback,
        overlaps: false,
    })
}

fn watching(series: Vec<Arc<Series>>, adopt: Option<Adoption>) -> Lookout {
    let mut lookout = Lookout::new(1, |_| String::new(), Restored::default(), at(1_000));
    let plan = Plan {
        series,
        adopt,
        ..Plan::default()
    };
    lookout.handle(Input::Plan(plan), at(1_000));
    lookout.effects().for_each(drop);
    lookout
}

fn beat(now: Now, seq: u64) -> Box<Beat> {
    Box::new(Beat {
        at: now.wall,
        signal: Signal::Ping,
        proof: Proof::Keyed,
        source: None,
        uptime: None,
        running: None,
        account: None,
        mark: (seq > 0).then(|| Mark {
            seq,
            ..Mark::default()
        }),
        note: None,
    })
}

fn hear(lookout: &mut Lookout, now: Now, seq: u64) {
    let input = Input::Beat {
        series: "home".into(),
        beat: beat(now, seq),
        ticket: Some(seq),
    };
    lookout.handle(input, now);
}

fn state(lookout: &Lookout, name: &str) -> State {
    let view = lookout
        .snapshot()
        .series
        .into_iter()
        .find(|v| v.series.name == name);
    view.expect("watched").state
}

#[test]
fn beats_are_stored_together_and_told_of_after_that() {
    let mut lookout = watching(vec![home()], None);
    hear(&mut lookout, millis(1_001_000), 1);
    let first: Vec<Effect> = lookout.effects().collect();
    let commit = first
        .iter()
        .position(|e| matches!(e, Effect::Commit(c) if c.iter().any(|c| matches!(c, Change::Beats { .. }))));
    let heard = first
        .iter()
        .position(|e| matches!(e, Effect::Heard { ticket: 1 }));
    assert!(
        commit.is_some() && commit < heard,
        "a change of state takes its beat along: {first:?}"
    );

    for (n, ms) in [(2, 1_002_000), (3, 1_002_100), (4, 1_002_240)] {
        hear(&mut lookout, millis(ms), n);
        let early: Vec<Effect> = lookout
            .effects()
            .filter(|e| !matches!(e, Effect::Sample { .. }))
            .collect();
        assert!(early.is_empty(), "{early:?}");
    }
    assert_eq!(lookout.next_wake(), millis(1_002_250).mono);
    lookout.handle(Input::Tick, millis(1_002_250));
    let effects: Vec<Effect> = lookout.effects().collect();
    let [Effect::Commit(changes), heard @ ..] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(
        matches!(&changes[..], [Change::Beats { beats, .. }] if beats.mark.is_some_and(|m| m.seq == 4)),
        "one record for all: {changes:?}"
    );
    let tickets: Vec<u64> = heard
        .iter()
        .filter_map(|e| {
            if let Effect::Heard { ticket } = e {
                Some(*ticket)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(tickets, [2, 3, 4]);
}

#[test]
fn a_stop_stores_what_waits() {
    let mut lookout = watching(vec![home()], None);
    hear(&mut lookout, at(1_001), 1);
    hear(&mut lookout, millis(1_001_010), 2);
    lookout.effects().for_each(drop);
    lookout.handle(Input::Stop, millis(1_001_020));
    assert!(
        lookout
            .effects()
            .any(|e| matches!(e, Effect::Heard { ticket: 2 }))
    );
}

#[test]
fn strangers_are_adopted_up_to_a_limit_and_let_go_with_the_plan() {
    let adoption = Adoption {
        policy: policy(),
        notify: Vec::new(),
        labels: Vec::new(),
    };
    let mut lookout = watching(Vec::new(), Some(adoption.clone()));
    let source = |n: usize| IpAddr::from(std::net::Ipv4Addr::from(0x0A00_0000 + n as u32));
    for n in 0..MAX_ADOPTED + 5 {
        let input = Input::Stranger {
            source: source(n),
            beat: beat(at(1_001), 0),
        };
        lookout.handle(input, at(1_001));
    }
    assert_eq!(lookout.len(), MAX_ADOPTED);
    assert_eq!(state(&lookout, "10.0.0.7"), State::Up);
    let kept = |e: &Effect| match e {
        Effect::Commit(changes) => changes
            .iter()
            .filter(|c| matches!(c, Change::Adopted { kept: true, .. }))
            .count(),
        _ => 0,
    };
    assert_eq!(lookout.effects().map(|e| kept(&e)).sum::<usize>(), MAX_ADOPTED);

    let again = Plan {
        adopt: Some(adoption),
        ..Plan::default()
    };
    lookout.handle(Input::Plan(again), at(1_002));
    assert_eq!(lookout.len(), MAX_ADOPTED, "a new plan that adopts keeps them");
    lookout.handle(Input::Plan(Plan::default()), at(1_003));
    assert!(lookout.is_empty(), "one that does not lets them go");
}

#[test]
fn an_adopted_source_that_is_silent_for_a_month_makes_room() {
    let adoption = Adoption {
        policy: policy(),
        notify: Vec::new(),
        labels: Vec::new(),
    };
    let mut lookout = watching(Vec::new(), Some(adoption));
    let source: IpAddr = "10.0.0.7".parse().expect("address");
    lookout.handle(
        Input::Stranger {
            source,
            beat: beat(at(1_001), 0),
        },
        at(1_001),
    );
    lookout.handle(Input::Tick, at(1_001 + 29 * 86_400));
    assert_eq!(lookout.len(), 1);
    lookout.handle(Input::Tick, at(1_001 + 31 * 86_400));
    assert!(lookout.is_empty());
    let gone = lookout
        .effects()
        .any(|e| matches!(e, Effect::Commit(c) if c.contains(&Change::Adopted { source, kept: false })));
    assert!(gone);
}

#[test]
fn nobody_is_late_while_our_own_line_is_down() {
    let probed = series(
        "web",
        Policy {
            interval: Duration::from_secs(5),
            ..Policy::default()
        },
        "tcp",
        false,
    );
    let mut lookout = watching(vec![home(), probed], None);
    hear(&mut lookout, at(1_001), 1);
    let (mut told, mut unknown) = (Vec::new(), 0);
    for second in 1_002..1_400 {
        let now = at(second);
        lookout.handle(Input::Tick, now);
        for effect in lookout.effects().collect::<Vec<_>>() {
            match effect {
                Effect::Probe { run, .. } => {
                    let outcome = if (1_010..1_300).contains(&second) {
                        Outcome::Inconclusive(Reason::new("ours.no_route", "no route"))
                    } else {
                        Outcome::Up
                    };
                    let observation = Observation {
                        at: now.wall,
                        took: Duration::ZERO,
                        outcome,
                        sample: Sample::default(),
                    };
                    lookout.handle(Input::Observed { run, observation }, now);
                }
                Effect::Announce(event) => told.push((event.kind, second)),
                Effect::Commit(changes) => {
                    unknown += changes
                        .iter()
                        .filter(|c| matches!(c, Change::Unknown { series, state: State::Inconclusive, .. } if &**series == "home"))
                        .count();
                }
                _ => {}
            }
        }
    }
    let kinds: Vec<EventKind> = told.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [EventKind::Offline, EventKind::Online, EventKind::Down],
        "{told:?}"
    );
    // The beat after the cut is waited for, and its grace.
    let down = told[2].1;
    assert!((1_350..=1_365).contains(&down), "{told:?}");
    assert_eq!(unknown, 1);
}

#[test]
fn a_late_word_of_a_boot_corrects_the_stored_outage() {
    let mut lookout = watching(vec![home()], None);
    let mut boot = beat(at(1_001), 0);
    boot.signal = Signal::Boot;
    boot.uptime = Some(Duration::from_secs(5));
    let said = |beat| Input::Beat {
        series: "home".into(),
        beat,
        ticket: None,
    };
    lookout.handle(said(boot), at(1_001));
    lookout.handle(Input::Tick, at(1_100));
    lookout.handle(Input::Tick, at(1_101));
    assert_eq!(state(&lookout, "home"), State::Down);
    lookout.handle(said(beat(at(1_200), 0)), at(1_200));
    let mut boot = beat(at(1_203), 0);
    boot.signal = Signal::Boot;
    boot.uptime = Some(Duration::from_secs(60));
    lookout.handle(said(boot), at(1_203));
    let verdicts: Vec<Cause> = lookout
        .effects()
        .filter_map(|e| {
            if let Effect::Commit(changes) = e {
                Some(changes)
            } else {
                None
            }
        })
        .flatten()
        .filter_map(|c| {
            if let Change::Outage { outage, .. } = c {
                outage.verdict
            } else {
                None
            }
        })
        .map(|v| v.cause)
        .collect();
    assert_eq!(
        verdicts,
        [Cause::Line, Cause::Power],
        "first as it seemed, then as it was"
    );
}

#[test]
fn a_forged_plain_beat_never_speaks_for_a_monitor_that_is_named_like_its_source() {
    let adoption = Adoption {
        policy: policy(),
        notify: Vec::new(),
        labels: Vec::new(),
    };
    let source: IpAddr = "10.0.0.7".parse().expect("address");
    let mut lookout = watching(Vec::new(), Some(adoption.clone()));
    let stranger = |second| Input::Stranger {
        source,
        beat: beat(at(second), 0),
    };
    lookout.handle(stranger(1_001), at(1_001));
    assert_eq!(state(&lookout, "10.0.0.7"), State::Up);
    // It gets a monitor of its own, with a key.
    let mut own = Series::clone(&home());
    own.key = "10.0.0.7\u{1f}heartbeat:10.0.0.7".into();
    own.name = "10.0.0.7".to_owned();
    let plan = Plan {
        series: vec![Arc::new(own)],
        adopt: Some(adoption),
        ..Plan::default()
    };
    lookout.handle(Input::Plan(plan), at(1_010));
    lookout.effects().for_each(drop);
    lookout.handle(stranger(1_020), at(1_020));
    let counted = lookout
        .effects()
        .any(|e| matches!(e, Effect::Sample { .. } | Effect::Announce(_)));
    assert!(!counted, "the forged beat counts nowhere");
    for second in 1_021..1_090 {
        lookout.handle(Input::Tick, at(second));
    }
    assert_eq!(state(&lookout, "10.0.0.7"), State::Down);
    lookout.handle(Input::Tick, at(1_001 + 40 * 86_400));
    assert_eq!(lookout.len(), 1, "and a named monitor is never let go");
}

#[test]
fn losses_of_ours_excuse_a_silence_for_a_while_only() {
    let mut lookout = watching(vec![home()], None);
    hear(&mut lookout, at(1_001), 1);
    let mut down = None;
    for second in 1_002..1_600 {
        // Somebody makes us lose datagrams all the time.
        let from = at(second - 1).wall;
        lookout.handle(Input::Deaf { from }, at(second));
        lookout.handle(Input::Tick, at(second));
        if down.is_none() && state(&lookout, "home") == State::Down {
            down = Some(second);
        }
    }
    assert!(down.is_some_and(|second| second < 1_300), "{down:?}");
}

/// Probes of `web` end as `seen` says, second by second; gives what is announced.
fn run(
    lookout: &mut Lookout,
    seconds: std::ops::Range<u64>,
    seen: &dyn Fn(u64) -> Outcome,
) -> Vec<EventKind> {
    let mut told = Vec::new();
    for second in seconds {
        let now = at(second);
        lookout.handle(Input::Tick, now);
        for effect in lookout.effects().collect::<Vec<_>>() {
            match effect {
                Effect::Probe { run, .. } => {
                    let observation = Observation {
                        at: now.wall,
                        took: Duration::ZERO,
                        outcome: seen(second),
                        sample: Sample::default(),
                    };
                    lookout.handle(Input::Observed { run, observation }, now);
                }
                Effect::Announce(event) => told.push(event.kind),
                _ => {}
            }
        }
    }
    told
}

fn blind(code: &'static str) -> Outcome {
    Outcome::Inconclusive(Reason::new(code, "no"))
}

fn web() -> Arc<Series> {
    let policy = Policy {
        interval: Duration::from_secs(5),
        ..Policy::default()
    };
    series("web", policy, "tcp", false)
}

#[test]
fn a_probe_without_rights_excuses_no_sensor() {
    let mut lookout = watching(vec![home(), web()], None);
    hear(&mut lookout, at(1_001), 1);
    let told = run(&mut lookout, 1_002..1_120, &|_| blind("ours.permission"));
    assert_eq!(told.last(), Some(&EventKind::Down), "{told:?}");
}

#[test]
fn whoever_is_heard_from_outside_proves_the_line() {
    let other = series("other", policy(), "heartbeat", true);
    let mut lookout = watching(vec![home(), other, web()], None);
    hear(&mut lookout, at(1_001), 1);
    let mut told = Vec::new();
    for ten in 0..12 {
        let from = 1_002 + ten * 10;
        let mut beat = beat(at(from), 0);
        beat.source = Some("10.0.0.9".parse().expect("address"));
        let input = Input::Beat {
            series: "other".into(),
            beat,
            ticket: None,
        };
        lookout.handle(input, at(from));
        told.extend(run(&mut lookout, from..from + 10, &|_| blind("ours.no_route")));
    }
    assert!(
        told.contains(&EventKind::Offline) && told.contains(&EventKind::Down),
        "{told:?}"
    );
}

#[test]
fn offline_ends_when_nobody_is_left_to_tell_it() {
    let mut lookout = watching(vec![home(), web()], None);
    hear(&mut lookout, at(1_001), 1);
    run(&mut lookout, 1_002..1_040, &|_| blind("ours.no_route"));
    assert!(lookout.snapshot().offline.is_some());
    let plan = Plan {
        series: vec![home()],
        ..Plan::default()
    };
    lookout.handle(Input::Plan(plan), at(1_040));
    assert!(lookout.snapshot().offline.is_none());
    let told = run(&mut lookout, 1_041..1_200, &|_| Outcome::Up);
    assert_eq!(told, [EventKind::Online, EventKind::Down]);
}

#[test]
fn after_a_pause_that_ran_out_offline_is_found_again() {
    let mut lookout = watching(vec![web()], None);
    let mute = lapwing_core::mute::Mute {
        by: String::new(),
        reason: String::new(),
        since: at(1_001).wall,
        until: Some(at(1_030).wall),
    };
    let input = Input::Wish {
        series: vec!["web".into()],
        wish: lapwing_core::mute::Wish::Pause(mute),
        ticket: None,
    };
    lookout.handle(input, at(1_001));
    let told = run(&mut lookout, 1_002..1_100, &|_| blind("ours.no_route"));
    assert!(told.contains(&EventKind::Offline), "{told:?}");
}

#[test]
fn beats_under_way_when_the_clock_is_set_are_not_an_hour_old() {
    let mut lookout = watching(vec![home()], None);
    hear(&mut lookout, at(1_001), 1);
    let hour = 3_600;
    let stepped = |second: u64| Now {
        wall: at(second + hour).wall,
        mono: at(second).mono,
    };
    lookout.handle(Input::ClockStep(hour as i64 * 1_000_000), stepped(1_010));
    let input = Input::Beat {
        series: "home".into(),
        beat: beat(at(1_009), 2),
        ticket: None,
    };
    lookout.handle(input, stepped(1_010));
    for second in 1_011..1_050 {
        lookout.handle(Input::Tick, stepped(second));
    }
    assert_eq!(state(&lookout, "home"), State::Up);
}
