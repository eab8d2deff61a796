//! The lookout's book: its changes as ledger operations, and what an earlier run has written, read back.

use std::sync::Arc;

use lapwing_core::{
    lookout::{Change, Restored},
    outage::Outage,
    outbox::{Row, RowChange},
    time::Wall,
};

use crate::{
    Ledger, LedgerError, Op,
    record::{self, RecordError, Run, StoredWall, UnknownSpan},
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
        Change::Standing { series, standing } => {
            ops.push(record::put(
                &space::series(series),
                &StandingRecord::from(&**standing),
            ));
        }
        Change::Forget { series } => ops.push(Op::Delete(space::series(series))),
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
        Change::Watch { started, until } => {
            let run = Run {
                from: (*started).into(),
                alive: (*until).into(),
                ended: None,
            };
            ops.push(record::put(&space::run(*started), &run));
        }
        Change::Outbox(RowChange::Put(row)) => {
            ops.push(record::put(
                &space::outbox(&row_name(row.order)),
                &RowRecord::from(row),
            ));
        }
        Change::Outbox(RowChange::Remove(order)) => ops.push(Op::Delete(space::outbox(&row_name(*order)))),
        Change::Outbox(RowChange::Dead(row, why)) => {
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
    let mut rows = Vec::new();
    for entry in ledger.prefix(&space::all_outbox())?.0 {
        rows.extend(record::read::<RowRecord>(&entry)?.row());
    }
    let watch = runs(ledger)?.pop();
    Ok(Restored {
        standings,
        rows,
        watch,
    })
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
