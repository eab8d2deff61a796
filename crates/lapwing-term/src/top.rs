//! `lapwing top`: what is known of the daemon and what the person at the keyboard wants of it, as a value, and the frame
//! that shows both.
//!
//! It gets shapes, keys and the time, and gives frames, wants and actions. It never waits, and what a peer wrote never
//! reaches the terminal but as plain text.

mod chart;
mod details;
mod footer;
mod hands;
mod list;
mod pen;
#[cfg(test)]
mod tests;
pub(crate) mod view;
mod window;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::tz::TimeZone;
use lapwing_api::{
    monitors::{
        HistoryQuery, HistoryShape, MonitorDetails, PointShape, SeriesHistory, SeriesPage, SeriesQuery, Sort,
        TailsShape,
    },
    shapes::{EventShape, SeriesShape},
    steering::WishWord,
};
use lapwing_core::time::Wall;
use ratatui::{crossterm::event::KeyCode, layout::Rect};

use self::window::Window;
use crate::paint::Paint;

/// Events that are kept for the log.
const EVENTS: usize = 1_000;
/// How long a word on what was done stays in the footer.
const SAID: Duration = Duration::from_secs(8);
/// Why nothing is done to the rows of an older list.
const COMING: &str = "the list is still coming";
/// An answer that takes longer is missed.
const PATIENCE: Duration = Duration::from_secs(2);
/// The stretches of the past that the details show.
const RANGES: [(&str, u64); 4] = [
    ("1h", 3_600),
    ("24h", 86_400),
    ("7d", 604_800),
    ("30d", 2_592_000),
];
/// Results in a bar, at most.
pub const TAIL: usize = 60;

/// What is shown, and how.
#[derive(Debug)]
pub struct Model {
    zone: TimeZone,
    paint: Paint,
    now: Wall,
    list: List,
    window: Window,
    pick: Pick,
    tails: HashMap<String, Vec<PointShape>>,
    /// Oldest first.
    events: VecDeque<EventShape>,
    details: Details,
    log: Option<bool>,
    entry: Entry,
    help: bool,
    said: Option<Said>,
    /// Since when the daemon does not answer, and what it is instead.
    lost: Option<(Wall, String)>,
    /// How long the daemon has been asked for the list without an answer.
    unanswered: Option<Duration>,
    /// What the mouse can hit in the last frame.
    hits: Vec<(Rect, Hit)>,
    /// The results that fit in a bar of the last frame.
    bar: usize,
    /// Columns that the chart of the last frame had; none where there were no details.
    chart: Option<u16>,
}

/// The rows that were loaded, and of which list they are.
#[derive(Debug, Default)]
struct List {
    /// What the person wants to see; `offset` and `limit` are those of the loaded rows.
    query: SeriesQuery,
    /// False while the rows are those of an older wish.
    is_fresh: bool,
    page: Option<SeriesPage>,
    /// The widest name and target so far: columns grow and do not jump.
    name: usize,
    target: usize,
}

/// Which series is selected. Nothing is ever done to another one than the person can see selected.
#[derive(Debug, Default)]
enum Pick {
    /// The first row, whichever it is: nobody has chosen yet, and worse ones come in at the top.
    #[default]
    First,
    /// The one in the row of the cursor, once that is loaded.
    Row,
    /// This one, wherever it moves. None while it is not in the list.
    Series(String),
}

/// The series of the details pane.
#[derive(Debug, Default)]
struct Details {
    /// None: open where the screen is wide.
    open: Option<bool>,
    range: usize,
    /// The series that was shown last: it stays while the list is on its way, or has it no more.
    row: Option<SeriesShape>,
    monitor: Option<(String, MonitorDetails)>,
    history: Option<(HistoryQuery, SeriesHistory)>,
}

/// What the keys go to.
#[derive(Debug, Default)]
enum Entry {
    #[default]
    Keys,
    Search,
    /// How long, and why, this series is to be silent.
    Silence {
        series: String,
        text: String,
    },
}

/// A word to the person.
#[derive(Debug)]
struct Said {
    text: String,
    is_bad: bool,
    at: Wall,
}

/// What a place of the screen does when it is clicked.
#[derive(Clone, Debug, PartialEq)]
enum Hit {
    Row(usize),
    Sort(Sort),
    State(String),
    Range(usize),
    Key(KeyCode),
    /// Nothing: it lies over what is below.
    Shield,
}

/// What the model cannot do by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Quit,
    /// As Ctrl-Z does.
    Suspend,
    /// Write the whole screen anew.
    Redraw,
    /// Check this series now.
    Check(String),
    Wish {
        wish: WishWord,
        series: String,
        until: Option<Wall>,
        reason: Option<String>,
    },
}

/// What is to be asked of the daemon for the next frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Wants {
    pub list: SeriesQuery,
    /// Series whose last results are shown, and how many of each.
    pub tails: (Vec<String>, usize),
    /// The series of the details.
    pub details: Option<String>,
    pub history: Option<HistoryQuery>,
}

impl Model {
    pub fn new(zone: TimeZone, paint: Paint, now: Wall) -> Self {
        Self {
            zone,
            paint,
            now,
            list: List::default(),
            window: Window::default(),
            pick: Pick::default(),
            tails: HashMap::new(),
            events: VecDeque::new(),
            details: Details::default(),
            log: None,
            entry: Entry::default(),
            help: false,
            said: None,
            lost: None,
            unanswered: None,
            hits: Vec::new(),
            bar: 0,
            chart: None,
        }
    }

    /// Begins with a search.
    pub fn search(&mut self, text: &str) {
        text.clone_into(&mut self.list.query.search);
    }

    pub fn tick(&mut self, now: Wall) {
        self.now = now;
        if self.said.as_ref().is_some_and(|said| now.since(said.at) >= SAID) {
            self.said = None;
        }
    }

    /// What is to be asked now. The rows asked for reach further than the screen, so that a key finds the next ones.
    pub fn wants(&self) -> Wants {
        let mut list = self.list.query.clone();
        (list.offset, list.limit) = self.window.to_load(self.loaded());
        let shown = self.window.shown().filter_map(|index| self.row(index));
        let series = self
            .chart
            .and_then(|_| self.details_name())
            .map(ToOwned::to_owned);
        Wants {
            list,
            tails: if self.bar == 0 {
                (Vec::new(), 0)
            } else {
                (shown.map(|row| row.series.clone()).collect(), self.bar)
            },
            history: series.as_ref().and_then(|series| self.history_of(series)),
            details: series,
        }
    }

    /// Takes the answer to `query`. One that is not wanted any more is left.
    pub fn took_page(&mut self, query: &SeriesQuery, page: SeriesPage) {
        self.lost = None;
        let asked = SeriesQuery {
            offset: self.list.query.offset,
            limit: self.list.query.limit,
            ..query.clone()
        };
        if asked != self.list.query {
            return;
        }
        (self.list.query.offset, self.list.query.limit) = (query.offset, query.limit);
        if !self.list.is_fresh {
            (self.list.name, self.list.target) = (0, 0);
            self.said.take_if(|said| said.text == COMING);
        }
        for row in &page.series {
            self.list.name = self.list.name.max(pen::width(&row.series));
            self.list.target = self.list.target.max(pen::width(&row.target));
        }
        let found = match &self.pick {
            Pick::Series(name) => page.series.iter().position(|row| row.series == *name),
            Pick::First | Pick::Row => None,
        };
        self.window.take(page.matching, found.map(|at| at + page.offset));
        self.list.is_fresh = true;
        self.list.page = Some(page);
        if matches!(self.pick, Pick::Row) {
            self.hold();
        }
    }

    pub fn took_tails(&mut self, tails: TailsShape) {
        self.tails = tails
            .series
            .into_iter()
            .map(|tail| (tail.series, tail.results))
            .collect();
    }

    pub fn took_details(&mut self, series: &str, details: MonitorDetails) {
        self.details.monitor = Some((series.to_owned(), details));
    }

    pub fn took_history(&mut self, query: &HistoryQuery, history: HistoryShape) {
        let one = history.series.into_iter().next();
        self.details.history = one.map(|one| (query.clone(), one));
    }

    pub fn event(&mut self, event: EventShape) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The daemon does not answer.
    pub fn lose(&mut self, why: String) {
        let since = self.lost.take().map_or(self.now, |(since, _)| since);
        self.lost = Some((since, why));
    }

    /// How long the daemon has been asked for the list, if it has not answered yet.
    pub fn unanswered(&mut self, length: Option<Duration>) {
        self.unanswered = length;
    }

    /// A word on what was done, or could not be.
    pub fn say(&mut self, text: &str, is_bad: bool) {
        self.said = Some(Said {
            text: text.trim().to_owned(),
            is_bad,
            at: self.now,
        });
    }

    /// Index of the first loaded row, and how many there are; none when they are of an older wish.
    fn loaded(&self) -> Option<(usize, usize)> {
        let page = self.list.page.as_ref().filter(|_| self.list.is_fresh)?;
        Some((page.offset, page.series.len()))
    }

    fn row(&self, index: usize) -> Option<&SeriesShape> {
        let page = self.list.page.as_ref()?;
        page.series.get(index.checked_sub(page.offset)?)
    }

    fn selected(&self) -> Option<&SeriesShape> {
        let row = self.row(self.window.cursor)?;
        match &self.pick {
            Pick::Series(name) if *name != row.series => None,
            _ => Some(row),
        }
    }

    /// The series that was selected, where the list has it no more.
    fn missing(&self) -> Option<&str> {
        match &self.pick {
            Pick::Series(name) if self.selected().is_none() => Some(name),
            _ => None,
        }
    }

    /// The selected series stays the selected one, wherever it moves.
    fn hold(&mut self) {
        if let Some(row) = self.selected().filter(|_| self.list.is_fresh) {
            self.pick = Pick::Series(row.series.clone());
        }
    }

    /// The series whose details are shown where there is room.
    fn details_name(&self) -> Option<&str> {
        let row = match &self.pick {
            Pick::Series(name) => return Some(name),
            _ if self.list.is_fresh => self.selected(),
            _ => self.details.row.as_ref(),
        };
        row.map(|row| row.series.as_str())
    }

    /// The newest that is known of it.
    fn details_row(&self) -> Option<&SeriesShape> {
        let name = self.details_name()?;
        let monitor = self.details.monitor.as_ref();
        let asked = monitor.map_or(&[][..], |(_, details)| details.series.as_slice());
        let mut rows = self.selected().into_iter().chain(asked).chain(&self.details.row);
        rows.find(|row| row.series == name)
    }

    /// Both ends lie at ends of buckets, so that the chart does not tremble. None where there is no room for one.
    fn history_of(&self, series: &str) -> Option<HistoryQuery> {
        let columns = self.chart.filter(|columns| *columns > 0)?;
        let buckets = usize::from(columns) * 2;
        let length = RANGES[self.details.range].1 as i64 * 1_000_000;
        let bucket = (length / buckets as i64).max(1);
        let to = (self.now.0 / bucket + 1) * bucket;
        Some(HistoryQuery {
            series: vec![series.to_owned()],
            from: Wall(to - bucket * buckets as i64).rfc3339(),
            to: Wall(to).rfc3339(),
            buckets,
        })
    }

    /// What is wanted of the list has changed: it begins anew.
    fn list_anew(&mut self) {
        self.list.is_fresh = false;
        self.window.home();
        self.pick = Pick::First;
    }
}
