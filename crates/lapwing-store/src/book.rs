//! The lookout's book: its changes as ledger operations, and what an earlier run has written, read back.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use lapwing_core::{
    lookout::{Change, Restored},
    outage::Outage,
    outbox::{Row, RowChange},
    time::Wall,
};

use crate::{
    Ledger, LedgerError, Op,
    beats::{AdoptedRecord, BeatsRecord},
    record::{self, Offline, RecordError, Run, StoredWall, UnknownSpan},
    space,
    standing::{OutageRecord, RowRecord, StandingRecord, row_name},
};

/// Why the book could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The operations that store `change`.
pub fn operations(change: &Change, ops: &mut Vec<Op>) {
    match change {
        Change::Standing {
            series,
            name,
            standing,
        } => {
            let mut kept = StandingRecord::from(&**standing);
            kept.name.clone_from(name);
            ops.push(record::put(&space::series(series), &kept));
        }
        Change::Forget { series } => {
            ops.push(Op::Delete(space::series(series)));
            ops.push(Op::Delete(space::beats(series)));
        }
        Change::Outage { series, outage } => {
            ops.push(record::put(
                &space::outage(series, outage.began),
                &OutageRecord::from(&**outage),
            ));
        }
        Change::OutageMoved { series, began } => ops.push(Op::Delete(space::outage(series, *began))),
        Change::Unknown {
            series,
            state,
            from,
            to,
        } => {
            let span = UnknownSpan {
                from: (*from).into(),
                to: Some((*to).into()),
                cause: state.to_string(),
            };
            ops.push(record::put(&space::span(series, *from), &span));
        }
        Change::Line(None) => ops.push(Op::Delete(space::meta("offline"))),
        Change::Line(Some((since, reason))) => {
            let line = Offline {
                since: (*since).into(),
                reason: reason.into(),
            };
            ops.push(record::put(&space::meta("offline"), &line));
        }
        Change::Watch { started, until } => {
            let run = Run {
                from: (*started).into(),
                alive: (*until).into(),
                ended: None,
            };
            ops.push(record::put(&space::run(*started), &run));
        }
        Change::Beats { series, beats } => {
            ops.push(record::put(&space::beats(series), &BeatsRecord::from(&**beats)));
        }
        Change::Adopted { source, kept: true } => {
            ops.push(record::put(&space::adopted(*source), &AdoptedRecord {}));
        }
        Change::Adopted { source, kept: false } => ops.push(Op::Delete(space::adopted(*source))),
        Change::Outbox(row) => outbox(row, ops),
    }
}

fn outbox(change: &RowChange, ops: &mut Vec<Op>) {
    match change {
        RowChange::Put(row) => {
            let name = row_name(row.order);
            ops.push(record::put(&space::outbox(&name), &RowRecord::from(row)));
        }
        RowChange::Remove(order) => ops.push(Op::Delete(space::outbox(&row_name(*order)))),
        RowChange::Dead(row, why) => {
            let name = row_name(row.order);
            let mut letter = RowRecord::from(row);
            letter.dead = Some(why.clone());
            ops.push(Op::Delete(space::outbox(&name)));
            ops.push(record::put(&space::dead(&name), &letter));
        }
    }
}

/// What an earlier run has written.
pub fn restore(ledger: &dyn Ledger) -> Result<Restored, BookError> {
    let mut standings = Vec::new();
    for entry in ledger.prefix(&space::all_series())?.0 {
        if let Some(name) = space::name_in(&entry.key, &space::all_series()) {
            let standing: StandingRecord = record::read(&entry)?;
            standings.push((Arc::from(name), standing.into()));
        }
    }
    let mut beats = Vec::new();
    for entry in ledger.prefix(&space::all_beats())?.0 {
        if let Some(name) = space::name_in(&entry.key, &space::all_beats()) {
            beats.push((Arc::from(name), record::read::<BeatsRecord>(&entry)?.into()));
        }
    }
    let mut adopted = Vec::new();
    for entry in ledger.prefix(&space::all_adopted())?.0 {
        let AdoptedRecord {} = record::read(&entry)?;
        let source = space::name_in(&entry.key, &space::all_adopted());
        adopted.extend(source.and_then(|s| s.parse::<IpAddr>().ok()));
    }
    let mut rows = Vec::new();
    for entry in ledger.prefix(&space::all_outbox())?.0 {
        rows.extend(record::read::<RowRecord>(&entry)?.row());
    }
    let watch = runs(ledger)?.pop();
    let mut offline = None;
    if let Some(entry) = ledger.get(&space::meta("offline"))? {
        let line: Offline = record::read(&entry)?;
        offline = Some((line.since.into(), line.reason.into()));
    }
    Ok(Restored {
        standings,
        rows,
        offline,
        watch,
        beats,
        adopted,
    })
}

/// What people call the series that are watched, by key.
pub fn names(ledger: &dyn Ledger) -> Result<BTreeMap<String, String>, BookError> {
    let mut names = BTreeMap::new();
    for entry in ledger.prefix(&space::all_series())?.0 {
        let standing: StandingRecord = record::read(&entry)?;
        if let Some(key) =
            space::name_in(&entry.key, &space::all_series()).filter(|_| !standing.name.is_empty())
        {
            names.insert(key, standing.name);
        }
    }
    Ok(names)
}

/// When this program watched: start and last sign of life of every run, oldest first.
pub fn runs(ledger: &dyn Ledger) -> Result<Vec<(Wall, Wall)>, BookError> {
    let mut runs = Vec::new();
    for entry in ledger.prefix(&space::all_runs())?.0 {
        let run: Run = record::read(&entry)?;
        runs.push((run.from.into(), run.ended.unwrap_or(run.alive).into()));
    }
    Ok(runs)
}

/// The outages of one series, oldest first.
pub fn outages(ledger: &dyn Ledger, series: &str) -> Result<Vec<Outage>, BookError> {
    let mut outages = Vec::new();
    for entry in ledger.prefix(&space::outages_of(series))?.0 {
        outages.push(record::read::<OutageRecord>(&entry)?.into());
    }
    Ok(outages)
}

/// The newest outages of one series, newest first, at most `limit`.
pub fn newest_outages(ledger: &dyn Ledger, series: &str, limit: usize) -> Result<Vec<Outage>, BookError> {
    let newest = ledger.last(&space::outages_of(series), limit)?;
    let read = |entry| Ok(record::read::<OutageRecord>(entry)?.into());
    newest.iter().map(read).collect()
}

/// The outages of all series in one pass, by series and begin: also of series that are watched no more.
pub fn all_outages(ledger: &dyn Ledger) -> Result<Vec<(String, Outage)>, BookError> {
    let mut outages = Vec::new();
    for entry in ledger.prefix(&space::all_outages())?.0 {
        if let Some((series, _)) = space::series_and_time(&entry.key) {
            outages.push((series, record::read::<OutageRecord>(&entry)?.into()));
        }
    }
    Ok(outages)
}

/// The unknown times of all series in one pass: series, state, from, to.
pub fn all_unknown(ledger: &dyn Ledger) -> Result<Vec<(String, String, Wall, Wall)>, BookError> {
    let mut spans = Vec::new();
    for entry in ledger.prefix(&space::all_spans())?.0 {
        if let Some((series, from)) = space::series_and_time(&entry.key) {
            let span: UnknownSpan = record::read(&entry)?;
            spans.push((
                series,
                span.cause,
                from,
                span.to.map_or(from, |StoredWall(to)| Wall(to)),
            ));
        }
    }
    Ok(spans)
}

/// The messages that were given up, oldest first, with the reason.
pub fn dead_letters(ledger: &dyn Ledger) -> Result<Vec<(Row, String)>, BookError> {
    let mut letters = Vec::new();
    for entry in ledger.prefix(&space::all_dead())?.0 {
        let mut letter: RowRecord = record::read(&entry)?;
        let why = letter.dead.take().unwrap_or_default();
        letters.extend(letter.row().map(|row| (row, why)));
    }
    Ok(letters)
}

/// How long a message that was given up is kept.
const DEAD_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How long outages, unknown times and runs are kept: reports reach back as far.
const STORY_KEPT: Duration = Duration::from_secs(5 * 366 * 86_400);

/// Deletes what is too old to be asked for. What is still open is never too old.
pub fn expired(ledger: &dyn Ledger, now: Wall) -> Result<Vec<Op>, BookError> {
    let mut ops = Vec::new();
    for entry in ledger.prefix(&space::all_dead())?.0 {
        let letter = record::read::<RowRecord>(&entry)?.row();
        if letter.is_none_or(|row| now.since(row.notice.at) > DEAD_KEPT) {
            ops.push(Op::Delete(entry.key));
        }
    }
    for entry in ledger.prefix(&space::all_outages())?.0 {
        let outage: Outage = record::read::<OutageRecord>(&entry)?.into();
        if outage.end.is_some_and(|end| now.since(end.at) > STORY_KEPT) {
            ops.push(Op::Delete(entry.key));
        }
    }
    for entry in ledger.prefix(&space::all_spans())?.0 {
        let span: UnknownSpan = record::read(&entry)?;
        if span
            .to
            .is_some_and(|StoredWall(to)| now.since(Wall(to)) > STORY_KEPT)
        {
            ops.push(Op::Delete(entry.key));
        }
    }
    for entry in ledger.prefix(&space::all_runs())?.0 {
        let run: Run = record::read(&entry)?;
        if now.since(run.alive.into()) > STORY_KEPT {
            ops.push(Op::Delete(entry.key));
        }
    }
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use lapwing_core::{
        event::EventKind,
        heartbeat::{Account, BeatStanding, Cause, Hindrance, Mark, Proof, Verdict},
        id::{Id, Rng},
        judge::Standing,
        loss::{LossPolicy, LossWindow},
        mute::{Mute, Mutes},
        observation::{Reason, Requests},
        outage::End,
        outbox::Notice,
        state::State,
        uptime::Interval,
    };

    use super::*;
    use crate::MemLedger;

    fn mute() -> Mute {
        Mute {
            by: "anna".to_owned(),
            reason: "new disk".to_owned(),
            since: Wall(3),
            until: Some(Wall(900)),
        }
    }

    fn outage(began: i64, end: Option<i64>) -> Outage {
        Outage {
            began: Wall(began),
            begin_uncertainty: Some(Duration::from_secs(30)),
            last_up: Some(Wall(began - 30_000_000)),
            reason: Reason::new("connect.refused", "connection refused"),
            evidence: vec![(
                Wall(began + 1),
                Reason::new("timeout.connect", "no connection within 2s"),
            )],
            failed_checks: 3,
            reminded: 1,
            end: end.map(|at| End {
                at: Wall(at),
                uncertainty: Duration::from_secs(5),
                recovered: true,
            }),
            verdict: None,
            acknowledged: Some(Box::new(mute())),
        }
    }

    fn standing() -> Standing {
        let mut loss = LossWindow::default();
        let policy = LossPolicy {
            window: 10,
            change_milli: 5_000,
            min: 1,
        };
        for (sent, lost) in [(5, 0), (2, 2), (4, 1)] {
            assert!(loss.observe(&policy, Requests { sent, lost }).is_some() || lost == 0 || sent == 4);
        }
        Standing {
            state: State::Down,
            since: Wall(7),
            resume: State::Up,
            failures: 4,
            first_failure: Some(Wall(1)),
            last_failure: Some(Wall(6)),
            last_success: Some(Wall(0)),
            success_before: Some(Wall(0)),
            successes: 1,
            first_success: Some(Wall(8)),
            window: [(Wall(1), true), (Wall(2), false)].into(),
            window_before: Some(Wall(-1)),
            recovered_at: Some(Wall(-2)),
            outage: Some(Box::new(outage(1, None))),
            degraded: Some(Box::new((Wall(-5), Reason::new("tls.expiring", "soon")))),
            loss,
            inconclusive: 2,
            reason: Some(Reason::new("connect.refused", "connection refused")),
            seen: Some(Wall(8)),
            known_since: Some(Wall(-100)),
            beats: None,
            mutes: Some(Box::new(Mutes {
                paused: Some(mute()),
                silenced: Some(mute()),
                owed_down: true,
                owed_up: Some(outage(1, Some(9))),
            })),
        }
    }

    fn row(order: u64, at: i64) -> Row {
        let notice = Notice {
            id: Id::new(Wall(at), &mut Rng::new(order)),
            kind: EventKind::Down,
            lane: "web".into(),
            monitor: "web".to_owned(),
            series: "web".to_owned(),
            target: "https://web".to_owned(),
            probe: "https".to_owned(),
            host: "web".to_owned(),
            at: Wall(at),
            text: "DOWN web".to_owned(),
            json: "{}".to_owned(),
        };
        Row {
            order,
            notifier: "ops".into(),
            notice: Arc::new(notice),
            attempts: 2,
            sending: true,
            resent: false,
        }
    }

    fn write(ledger: &MemLedger, changes: &[Change]) {
        let mut ops = Vec::new();
        for change in changes {
            operations(change, &mut ops);
        }
        ledger.commit(&[], &ops).unwrap();
    }

    #[test]
    fn what_is_written_comes_back() {
        let ledger = MemLedger::new();
        let (web, standing) = (Arc::<str>::from("web\u{1f}https://web"), standing());
        write(
            &ledger,
            &[
                Change::Standing {
                    series: Arc::clone(&web),
                    name: "web".to_owned(),
                    standing: Box::new(standing.clone()),
                },
                Change::Outage {
                    series: Arc::clone(&web),
                    outage: Box::new(outage(1, Some(9))),
                },
                Change::Unknown {
                    series: Arc::clone(&web),
                    state: State::Inconclusive,
                    from: Wall(3),
                    to: Wall(4),
                },
                Change::Line(Some((Wall(4), Reason::new("ours.no_route", "no route")))),
                Change::Watch {
                    started: Wall(1),
                    until: Wall(5),
                },
                Change::Watch {
                    started: Wall(7),
                    until: Wall(9),
                },
                Change::Outbox(RowChange::Put(row(11, 1))),
                Change::Outbox(RowChange::Put(row(12, 2))),
                Change::Outbox(RowChange::Remove(11)),
                Change::Outbox(RowChange::Dead(row(13, 3), "refused".to_owned())),
            ],
        );
        let restored = restore(&ledger).unwrap();
        assert_eq!(restored.standings, [(Arc::clone(&web), standing)]);
        assert_eq!(names(&ledger).unwrap()[&*web], "web");
        assert_eq!(restored.rows, [row(12, 2)]);
        assert_eq!(
            restored.offline,
            Some((Wall(4), Reason::new("ours.no_route", "no route")))
        );
        write(&ledger, &[Change::Line(None)]);
        assert_eq!(restore(&ledger).unwrap().offline, None);
        assert_eq!(restored.watch, Some((Wall(7), Wall(9))));
        assert_eq!(outages(&ledger, &web).unwrap(), [outage(1, Some(9))]);
        assert_eq!(
            all_outages(&ledger).unwrap(),
            [(web.to_string(), outage(1, Some(9)))]
        );
        assert_eq!(
            all_unknown(&ledger).unwrap(),
            [(web.to_string(), "inconclusive".to_owned(), Wall(3), Wall(4))]
        );
        assert_eq!(
            dead_letters(&ledger).unwrap(),
            [(row(13, 3), "refused".to_owned())]
        );
        write(&ledger, &[Change::Forget { series: web }]);
        assert!(restore(&ledger).unwrap().standings.is_empty());
    }

    fn beats() -> BeatStanding {
        let account = Account {
            silent: Duration::from_secs(206),
            lost: 7,
            hindrance: Hindrance::NoRoute,
        };
        BeatStanding {
            last: Some(Wall(5)),
            heard: Some(Wall(6)),
            started: Some(Wall(4)),
            deaf: vec![Interval {
                from: Wall(1),
                to: Wall(4),
            }],
            lost: Duration::ZERO,
            proof: Proof::Keyed,
            source: Some("2001:db8::7".parse().unwrap()),
            mark: Some(Mark {
                boot: u64::MAX,
                seq: 2,
                instance: u64::MAX - 1,
                former: 4,
            }),
            uptime: Some(Duration::from_secs(115)),
            tells_boots: true,
            stopped: true,
            account: Some((Wall(6), account)),
            note: Some("disk full \"/\"\n".into()),
            recent: None,
        }
    }

    #[test]
    fn beats_come_back_until_their_series_is_forgotten() {
        let ledger = MemLedger::new();
        let series = ["home", "nas"].map(|name| Arc::<str>::from(format!("{name}\u{1f}heartbeat:{name}")));
        let written = |of: usize, beats: &BeatStanding| Change::Beats {
            series: Arc::clone(&series[of]),
            beats: Box::new(beats.clone()),
        };
        let newer = BeatStanding {
            started: None,
            note: None,
            ..beats()
        };
        write(
            &ledger,
            &[
                written(0, &beats()),
                written(1, &BeatStanding::default()),
                written(1, &newer),
            ],
        );
        let expected = [beats(), newer];
        let expected: Vec<_> = series.iter().cloned().zip(expected).collect();
        assert_eq!(restore(&ledger).unwrap().beats, expected);
        write(
            &ledger,
            &[Change::Forget {
                series: Arc::clone(&series[0]),
            }],
        );
        assert_eq!(restore(&ledger).unwrap().beats, expected[1..]);
    }

    #[test]
    fn adopted_sources_come_back_until_they_are_let_go() {
        let ledger = MemLedger::new();
        let sources: [IpAddr; 2] = ["10.0.0.7", "2001:db8::7"].map(|text| text.parse().unwrap());
        write(
            &ledger,
            &sources.map(|source| Change::Adopted { source, kept: true }),
        );
        assert_eq!(restore(&ledger).unwrap().adopted, sources);
        let let_go = Change::Adopted {
            source: sources[0],
            kept: false,
        };
        write(&ledger, &[let_go]);
        assert_eq!(restore(&ledger).unwrap().adopted, sources[1..]);
    }

    #[test]
    fn an_outage_keeps_its_verdict() {
        let ledger = MemLedger::new();
        let home = Arc::<str>::from("home");
        let told = |cause, began| Outage {
            verdict: Some(Verdict {
                cause,
                silent: Duration::from_secs(206),
                uptime: (cause != Cause::Stopped).then_some(Duration::from_secs(115)),
                account: beats()
                    .account
                    .map(|(_, account)| account)
                    .filter(|_| cause == Cause::Line),
            }),
            ..outage(began, Some(began + 1))
        };
        let outages_told: Vec<Outage> = (1..).zip(Cause::ALL).map(|(n, cause)| told(cause, n)).collect();
        let changes: Vec<Change> = outages_told
            .iter()
            .map(|outage| Change::Outage {
                series: Arc::clone(&home),
                outage: Box::new(outage.clone()),
            })
            .collect();
        write(&ledger, &changes);
        assert_eq!(outages(&ledger, &home).unwrap(), outages_told);
    }

    /// As the versions before heartbeats wrote them.
    #[test]
    fn a_ledger_from_before_heartbeats_reads() {
        let ledger = MemLedger::new();
        let outage = r#"{"v":1,"began":5,"reason":{"code":"connect.refused"},"failed_checks":3,
            "end":{"at":9,"uncertainty_us":1,"recovered":true}}"#;
        let standing = r#"{"v":1,"name":"web","state":"down","since":5,"outage":{"began":5,
            "reason":{"code":"connect.refused"},"failed_checks":3}}"#;
        let put = |key, value: &str| Op::Put(key, value.as_bytes().to_vec());
        ledger
            .commit(
                &[],
                &[
                    put(space::outage("web", Wall(5)), outage),
                    put(space::series("web"), standing),
                ],
            )
            .unwrap();
        assert_eq!(outages(&ledger, "web").unwrap()[0].verdict, None);
        let restored = restore(&ledger).unwrap();
        let (_, standing) = &restored.standings[0];
        assert_eq!(standing.outage.as_ref().unwrap().verdict, None);
        assert_eq!(standing.beats, None);
        assert!(restored.beats.is_empty() && restored.adopted.is_empty());
    }

    #[test]
    fn only_what_is_old_and_over_expires() {
        let ledger = MemLedger::new();
        let web = Arc::<str>::from("web");
        let year = 366 * 86_400_000_000_i64;
        write(
            &ledger,
            &[
                Change::Outage {
                    series: Arc::clone(&web),
                    outage: Box::new(outage(1, Some(9))),
                },
                Change::Outage {
                    series: Arc::clone(&web),
                    outage: Box::new(outage(2, None)),
                },
                Change::Outage {
                    series: Arc::clone(&web),
                    outage: Box::new(outage(3 * year, Some(4 * year))),
                },
                Change::Unknown {
                    series: web,
                    state: State::Inconclusive,
                    from: Wall(3),
                    to: Wall(4),
                },
                Change::Watch {
                    started: Wall(1),
                    until: Wall(5),
                },
                Change::Outbox(RowChange::Dead(row(13, 3), "refused".to_owned())),
                Change::Outbox(RowChange::Dead(row(14, 6 * year - 1), "refused".to_owned())),
            ],
        );
        ledger
            .commit(&[], &expired(&ledger, Wall(6 * year)).unwrap())
            .unwrap();
        assert_eq!(all_outages(&ledger).unwrap().len(), 2);
        assert!(all_unknown(&ledger).unwrap().is_empty() && runs(&ledger).unwrap().is_empty());
        assert_eq!(dead_letters(&ledger).unwrap().len(), 1);
        assert!(expired(&ledger, Wall(6 * year)).unwrap().is_empty());
    }
}
