//! The past of what is watched: results, buckets, reports. Calls block: run them where they hold up nobody. What one
//! question costs is bounded: too much at once is refused, never half answered.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use lapwing_api::{
    monitors::{
        BucketShape, HistoryQuery, HistoryShape, MAX_BUCKETS, MAX_PAGE, MAX_SERIES, PointShape, ReportQuery,
        SeriesHistory, TailShape, TailsShape,
    },
    report::ReportShape,
    shapes::VERSION,
};
use lapwing_core::{
    monitor::Series,
    observation::clean,
    time::{Wall, micros},
    uptime::Interval,
};
use lapwing_store::{Class, History, Ledger, Point, Rollup, StoreError, Wanted, story};
use lapwing_web::steering::{Refusal, Why};

use super::view::{SPOKEN, View};
use crate::{
    recorder::full,
    records::{self, Stretch, Unknown},
};

const HOUR: i64 = 3_600_000_000;
/// Most hours, over all series, of which single results are read for one answer.
const RAW_HOURS: i64 = 5_000;
/// Most hours, over all series, of which sums are read for one answer.
const SUMMED_HOURS: i64 = 500_000;
/// The window of a report where nobody said another.
const USUAL: Duration = Duration::from_hours(30 * 24);

/// The last results of the series that `names` mean.
pub fn tails(
    view: &View,
    history: &dyn History,
    names: &[String],
    count: usize,
) -> Result<TailsShape, Refusal> {
    let series = few(view, names)?;
    let wanted: Vec<Wanted> = series
        .iter()
        .map(|one| Wanted {
            series: one.key.to_string(),
            count: count.min(MAX_BUCKETS),
            since: Wall(i64::MIN),
        })
        .collect();
    let tails = history.tails(&wanted).map_err(|failed| unread(&failed))?;
    let shape = |(one, points): (&Arc<Series>, Vec<Point>)| TailShape {
        series: one.name.clone(),
        results: points.iter().map(point).collect(),
    };
    Ok(TailsShape {
        v: VERSION,
        series: series.iter().zip(tails).map(shape).collect(),
    })
}

/// The past of the series that the query names, in buckets. Single results older than `raw` are gone.
pub fn history(
    view: &View,
    history: &dyn History,
    raw: Duration,
    query: &HistoryQuery,
) -> Result<HistoryShape, Refusal> {
    let window = window(moment(&query.from)?, moment(&query.to)?)?;
    let series = few(view, &query.series)?;
    let cut = Cut::of(window, query.buckets.clamp(1, MAX_BUCKETS), view.at - raw);
    cut.affordable(series.len())?;
    let past = |one: &Arc<Series>| {
        let buckets = if cut.hourly {
            cut.summed(history, &one.key)
        } else {
            cut.counted(history, &one.key)
        };
        Ok(SeriesHistory {
            series: one.name.clone(),
            buckets: buckets?.into_iter().map(BucketShape::from).collect(),
        })
    };
    let series: Result<_, StoreError> = series.iter().map(past).collect();
    Ok(HistoryShape {
        v: VERSION,
        from: cut.from.rfc3339(),
        to: cut.at(cut.buckets).rfc3339(),
        bucket_s: cut.length as f64 / 1e6,
        series: series.map_err(|failed| unread(&failed))?,
    })
}

/// What `lapwing report` tells, at `now`.
pub fn report(ledger: &dyn Ledger, query: &ReportQuery, now: Wall) -> Result<ReportShape, Refusal> {
    let read = |text: &Option<String>| text.as_deref().map(moment).transpose();
    let to = read(&query.until)?.unwrap_or(now);
    let from = read(&query.since)?.unwrap_or(to - USUAL);
    let stretch = Stretch {
        window: window(from, to)?,
        slices: &[],
        now,
        running: true,
    };
    let mut story = story::read(ledger).map_err(|failed| Refusal::new(Why::Unable, full(&failed)))?;
    let runs = std::mem::take(&mut story.runs);
    let mut found = records::records(story);
    records::select(&mut found, &query.monitors).map_err(|Unknown { name, hint }| {
        let name = clean(&name, SPOKEN);
        Refusal::new(Why::Unknown, format!("there is no monitor or series \"{name}\"")).hint(hint)
    })?;
    if found.len() > MAX_PAGE {
        let text = format!(
            "a report of {} series is too long; at most {MAX_PAGE} go in one",
            found.len()
        );
        return Err(
            Refusal::new(Why::Bad, text).hint("name monitors, or use `lapwing report`, which has no limit")
        );
    }
    Ok(records::report(&found, &runs, &stretch))
}

/// The series that these names mean, no more than may be asked for at once.
fn few(view: &View, names: &[String]) -> Result<Vec<Arc<Series>>, Refusal> {
    if names.is_empty() {
        return Err(Refusal::new(Why::Bad, "no series is named").hint("name at least one"));
    }
    let found = view.find(names)?;
    if found.len() > MAX_SERIES {
        let text = format!(
            "that is the past of {} series; at most {MAX_SERIES} go at once",
            found.len()
        );
        return Err(Refusal::new(Why::Bad, text).hint("ask for some of them at a time"));
    }
    let series = found
        .iter()
        .map(|position| Arc::clone(&view.series(*position).series));
    Ok(series.collect())
}

fn moment(text: &str) -> Result<Wall, Refusal> {
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|at| Wall(at.as_microsecond())).map_err(|_| {
        Refusal::new(Why::Bad, format!("\"{}\" is not a time", clean(text, 64)))
            .hint("times are RFC 3339, like 2026-11-20T18:00:00Z")
    })
}

fn window(from: Wall, to: Wall) -> Result<Interval, Refusal> {
    if from < to {
        return Ok(Interval { from, to });
    }
    Err(Refusal::new(Why::Bad, "the window of time is empty").hint("its begin must lie before its end"))
}

fn unread(failed: &StoreError) -> Refusal {
    Refusal::new(Why::Unable, full(failed))
}

fn point(point: &Point) -> PointShape {
    let many = point.requests.sent > 1;
    let answered = matches!(point.class, Class::Up | Class::Degraded);
    PointShape {
        at: point.at.rfc3339(),
        state: point.class.name().to_owned(),
        ms: answered.then(|| point.took.as_micros() as f64 / 1e3),
        sent: many.then_some(point.requests.sent),
        lost: many.then_some(point.requests.lost),
    }
}

/// How a window is cut into buckets.
struct Cut {
    from: Wall,
    /// Of a bucket, in microseconds.
    length: i64,
    buckets: usize,
    /// Buckets are whole hours, which are summed up already.
    hourly: bool,
}

impl Cut {
    /// At most `buckets`. They are whole hours where they would be as long, and where single results are gone.
    fn of(window: Interval, buckets: usize, oldest: Wall) -> Self {
        let most = buckets as i64;
        let ceil = |span: i64, parts: i64| span / parts + i64::from(span % parts > 0);
        let span = window.to.micros_since(window.from);
        let length = ceil(span, most).max(1);
        if length < HOUR && window.from >= oldest {
            return Self {
                from: window.from,
                length,
                buckets: ceil(span, length) as usize,
                hourly: false,
            };
        }
        let from = Wall(window.from.0.div_euclid(HOUR) * HOUR);
        let hours = ceil(window.to.micros_since(from), HOUR);
        let each = ceil(hours, most);
        Self {
            from,
            length: each * HOUR,
            buckets: ceil(hours, each) as usize,
            hourly: true,
        }
    }

    fn affordable(&self, series: usize) -> Result<(), Refusal> {
        let hours = (self.buckets as i64).saturating_mul(self.length) / HOUR + 1;
        let (most, hint) = if self.hourly {
            (SUMMED_HOURS, "ask for a shorter time, or for fewer series")
        } else {
            (
                RAW_HOURS,
                "ask for buckets of an hour or more, for a shorter time, or for fewer series",
            )
        };
        if hours.saturating_mul(series as i64) <= most {
            return Ok(());
        }
        Err(Refusal::new(Why::Bad, "that is more of the past than is read at once").hint(hint))
    }

    /// The begin of a bucket.
    fn at(&self, bucket: usize) -> Wall {
        Wall(self.from.0 + self.length * bucket as i64)
    }

    fn bucket(&self, at: Wall) -> usize {
        (at.micros_since(self.from) / self.length) as usize
    }

    /// From single results.
    fn counted(&self, history: &dyn History, key: &str) -> Result<Vec<Bucket>, StoreError> {
        let mut buckets = vec![Bucket::default(); self.buckets];
        history.scan(key, self.from, self.at(self.buckets), &mut |point| {
            if let Some(bucket) = buckets.get_mut(self.bucket(point.at)) {
                bucket.count(&point);
            }
            ControlFlow::Continue(())
        })?;
        Ok(buckets)
    }

    /// From sums of hours.
    fn summed(&self, history: &dyn History, key: &str) -> Result<Vec<Bucket>, StoreError> {
        let mut buckets = vec![Bucket::default(); self.buckets];
        for rollup in history.rollups(key, self.from, self.at(self.buckets))? {
            if let Some(bucket) = buckets.get_mut(self.bucket(rollup.hour)) {
                bucket.add(&rollup);
            }
        }
        Ok(buckets)
    }
}

/// What is known of one stretch.
#[derive(Clone, Debug, Default)]
struct Bucket {
    checks: u64,
    down: u64,
    inconclusive: u64,
    sent: u64,
    lost: u64,
    answered: u64,
    sum_us: u64,
    min_us: u64,
    max_us: u64,
}

impl Bucket {
    fn count(&mut self, point: &Point) {
        self.checks += 1;
        self.sent += u64::from(point.requests.sent);
        self.lost += u64::from(point.requests.lost);
        match point.class {
            Class::Up | Class::Degraded => {
                let us = micros(point.took);
                self.answer(1, us, us, us);
            }
            Class::Down => self.down += 1,
            Class::Inconclusive => self.inconclusive += 1,
        }
    }

    fn add(&mut self, rollup: &Rollup) {
        self.checks += rollup.observations();
        self.down += u64::from(rollup.down);
        self.inconclusive += u64::from(rollup.inconclusive);
        self.sent += rollup.sent;
        self.lost += rollup.lost;
        let took = &rollup.took;
        self.answer(took.histogram.count(), took.sum_us, took.min_us, took.max_us);
    }

    fn answer(&mut self, count: u64, sum_us: u64, min_us: u64, max_us: u64) {
        if count == 0 {
            return;
        }
        self.min_us = if self.answered == 0 {
            min_us
        } else {
            self.min_us.min(min_us)
        };
        self.max_us = self.max_us.max(max_us);
        self.answered += count;
        self.sum_us = self.sum_us.saturating_add(sum_us);
    }
}

impl From<Bucket> for BucketShape {
    fn from(of: Bucket) -> Self {
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let ms = |us: f64| (of.answered > 0).then(|| us / 1e3);
        Self {
            checks: number(of.checks),
            down: number(of.down),
            inconclusive: number(of.inconclusive),
            sent: number(of.sent),
            lost: number(of.lost),
            min_ms: ms(of.min_us as f64),
            mean_ms: ms(of.sum_us as f64 / of.answered.max(1) as f64),
            max_ms: ms(of.max_us as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapwing_core::observation::{Observation, Outcome, Reason, Requests, Sample};
    use lapwing_store::{MemHistory, Row};

    use super::*;

    const S: i64 = 1_000_000;

    fn kept(at: i64, ms: u64, outcome: Outcome) -> Observation {
        Observation {
            at: Wall(at),
            took: Duration::from_millis(ms),
            outcome,
            sample: Sample {
                requests: Some(Requests { sent: 2, lost: 1 }),
                ..Sample::default()
            },
        }
    }

    fn filled(seen: &[Observation]) -> MemHistory {
        let history = MemHistory::default();
        let rows: Vec<Row<'_>> = seen
            .iter()
            .map(|observation| Row {
                series: "web",
                observation,
                facts: &[],
            })
            .collect();
        history.append(&rows).unwrap();
        history
    }

    #[test]
    fn buckets_are_never_more_than_asked_for_and_hold_the_whole_window() {
        for (from, span, buckets) in [
            (0, 60 * S, 60),
            (7, 1, 2_000),
            (1_700_000_000 * S, 7 * S + 1, 3),
            (1_700_000_123 * S, 59 * HOUR, 59),
            (1_700_000_123 * S, 59 * HOUR, 60),
            (1_700_000_123 * S, 59 * HOUR, 24),
            (-3 * HOUR - 1, 90 * 24 * HOUR, 2_000),
        ] {
            let window = Interval {
                from: Wall(from),
                to: Wall(from + span),
            };
            for oldest in [Wall(i64::MIN), Wall(i64::MAX)] {
                let cut = Cut::of(window, buckets, oldest);
                assert!(cut.buckets <= buckets, "{from} {span} {buckets}");
                assert!(cut.from <= window.from && cut.at(cut.buckets) >= window.to);
                assert_eq!(cut.hourly, cut.length >= HOUR);
                assert!(!cut.hourly || cut.from.0 % HOUR == 0);
                assert!(cut.hourly || oldest < window.from);
            }
        }
    }

    #[test]
    fn results_and_sums_say_the_same() {
        let down = || Outcome::Down(Reason::new("timeout", "no answer"));
        let ours = || Outcome::Inconclusive(Reason::new("ours.no_route", "no route"));
        let hour = 1_000 * HOUR;
        let history = filled(&[
            kept(hour, 10, Outcome::Up),
            kept(
                hour + S,
                30,
                Outcome::Degraded(Reason::new("tls.expires", "soon")),
            ),
            kept(hour + 2 * S, 900, down()),
            kept(hour + HOUR, 5, ours()),
        ]);
        let window = Interval {
            from: Wall(hour),
            to: Wall(hour + 3 * HOUR),
        };
        let cut = Cut::of(window, 3, Wall(0));
        assert!(cut.hourly);
        let summed = cut.summed(&history, "web").unwrap();
        let counted = cut.counted(&history, "web").unwrap();
        let shapes = |buckets: Vec<Bucket>| buckets.into_iter().map(BucketShape::from).collect::<Vec<_>>();
        assert_eq!(shapes(summed), shapes(counted.clone()));
        let [first, second, third] = &shapes(counted)[..] else {
            panic!("not three buckets")
        };
        assert_eq!((first.checks, first.down, first.sent, first.lost), (3, 1, 6, 3));
        assert_eq!(
            (first.min_ms, first.mean_ms, first.max_ms),
            (Some(10.0), Some(20.0), Some(30.0))
        );
        assert_eq!((second.checks, second.inconclusive, second.mean_ms), (1, 1, None));
        assert_eq!(*third, BucketShape::default());
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        let days = |n: i64| Interval {
            from: Wall(0),
            to: Wall(n * 24 * HOUR),
        };
        let raw = Cut::of(days(2), 2_000, Wall(0));
        assert!(raw.affordable(100).is_ok() && raw.affordable(200).is_err());
        let years = Cut::of(days(3_650), 1_000, Wall(0));
        assert!(years.affordable(5).is_ok() && years.affordable(200).is_err());
        let all = Interval {
            from: Wall(i64::MIN / 40),
            to: Wall(i64::MAX / 40),
        };
        assert!(Cut::of(all, 1, Wall(0)).affordable(1).is_err());
    }
}
