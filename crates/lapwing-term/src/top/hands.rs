//! What keys, mouse and pasted text do.

use lapwing_api::{monitors::Sort, steering::WishWord};
use lapwing_core::{observation::clean, time::parse_duration};
use ratatui::{
    crossterm::event::{
        KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
    },
    layout::Position,
};

use super::{Action, COMING, Entry, Hit, Model, Pick, RANGES, list::ORDERS, view::STATES, window::Window};

/// Longest text that is typed into a line, in bytes.
const LONGEST: usize = 200;
/// Rows that a turn of the wheel moves.
const WHEEL: isize = 3;

impl Model {
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Action::Quit),
                KeyCode::Char('z') => Some(Action::Suspend),
                KeyCode::Char('l') => Some(Action::Redraw),
                KeyCode::Char('u') => {
                    self.edit(String::clear);
                    None
                }
                _ => None,
            };
        }
        match self.entry {
            Entry::Keys => self.command(key.code),
            Entry::Search | Entry::Silence { .. } => self.typed(key.code),
        }
    }

    pub fn mouse(&mut self, mouse: MouseEvent) -> Option<Action> {
        match mouse.kind {
            MouseEventKind::ScrollUp => self.go(|window| window.scroll(-WHEEL)),
            MouseEventKind::ScrollDown => self.go(|window| window.scroll(WHEEL)),
            MouseEventKind::Down(MouseButton::Left) => return self.click(mouse.column, mouse.row),
            _ => {}
        }
        None
    }

    /// Pasted text is text, whatever keys it would be.
    pub fn paste(&mut self, text: &str) {
        let text = clean(text.trim(), LONGEST);
        self.edit(|line| line.push_str(&text));
    }

    fn click(&mut self, column: u16, row: u16) -> Option<Action> {
        let at = Position::new(column, row);
        let hit = self.hits.iter().rev().find(|(place, _)| place.contains(at));
        match hit.map(|(_, hit)| hit.clone())? {
            Hit::Row(_) if !self.list.is_fresh => self.say(COMING, true),
            Hit::Row(row) if row == self.window.cursor && self.selected().is_some() => self.toggle_details(),
            Hit::Row(row) => self.go(|window| window.select(row)),
            Hit::Sort(sort) if sort == self.list.query.sort => return self.command(KeyCode::Char('r')),
            Hit::Sort(sort) => self.sort_by(sort),
            Hit::State(state) => self.filter(&state),
            Hit::Range(range) => self.details.range = range,
            Hit::Key(code) => return self.key(code.into()),
            Hit::Shield => {}
        }
        None
    }

    fn command(&mut self, code: KeyCode) -> Option<Action> {
        let was_help = std::mem::take(&mut self.help);
        match code {
            KeyCode::Char('q' | 'Q') => return Some(Action::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !was_help,
            KeyCode::Esc if was_help => {}
            KeyCode::Esc => self.back(),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.go(|window| window.page(-1)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.go(|window| window.page(1)),
            KeyCode::Home | KeyCode::Char('g') => self.go(Window::home),
            KeyCode::End | KeyCode::Char('G') => self.go(Window::end),
            KeyCode::Enter => self.toggle_details(),
            KeyCode::Left | KeyCode::Char('[') => self.range(-1),
            KeyCode::Right | KeyCode::Char(']') => self.range(1),
            KeyCode::Char('/') => (self.entry, self.said) = (Entry::Search, None),
            KeyCode::Char('<') => self.next_sort(-1),
            KeyCode::Char('>') => self.next_sort(1),
            KeyCode::Char('r') => {
                self.list.query.reverse = !self.list.query.reverse;
                self.list_anew();
            }
            KeyCode::Tab => self.next_filter(1),
            KeyCode::BackTab => self.next_filter(-1),
            KeyCode::Char('0') => self.filter(""),
            KeyCode::Char(digit @ '1'..='7') => {
                let state = digit.to_digit(10).and_then(|at| STATES.get(at as usize - 1));
                if let Some(state) = state {
                    self.filter(state);
                }
            }
            KeyCode::Char('l') => self.log = Some(!self.is_log_open()),
            KeyCode::Char(key @ ('p' | 'a' | 's' | 'c')) => return self.act(key),
            _ => self.help = was_help,
        }
        None
    }

    /// Selects another row: the one that the window stops at.
    fn go(&mut self, to: impl FnOnce(&mut Window)) {
        to(&mut self.window);
        self.pick = Pick::Row;
        self.hold();
    }

    /// Where the selected one has left the list, the row that stands in its place is the next one.
    fn step(&mut self, by: isize) {
        let is_there = by > 0 && self.missing().is_some();
        self.go(|window| window.step(by - isize::from(is_there)));
    }

    fn toggle_details(&mut self) {
        let is_open = self.chart.is_some();
        if is_open {
            self.details.open = Some(false);
        } else if !self.list.is_fresh {
            self.say(COMING, true);
        } else if self.selected().is_some() {
            self.hold();
            self.details.open = Some(true);
        } else {
            self.say_nothing_is_selected();
        }
    }

    fn say_nothing_is_selected(&mut self) {
        let text = match self.missing() {
            Some(name) => format!("{name} is not in this list any more; nothing is selected"),
            None => "nothing is selected".to_owned(),
        };
        self.say(&text, true);
    }

    /// One step back: the details, the search, the filter.
    fn back(&mut self) {
        if self.chart.is_some() && self.details.open == Some(true) {
            self.details.open = Some(false);
        } else if !self.list.query.search.is_empty() {
            self.list.query.search.clear();
            self.list_anew();
        } else if !self.list.query.states.is_empty() {
            self.filter("");
        }
    }

    /// What is to be done to the selected series.
    fn act(&mut self, key: char) -> Option<Action> {
        if !self.list.is_fresh {
            self.say(COMING, true);
            return None;
        }
        self.hold();
        let Some(row) = self.selected() else {
            self.say_nothing_is_selected();
            return None;
        };
        let series = row.series.clone();
        let (is_paused, is_silenced) = (row.paused.is_some(), row.silenced.is_some());
        let wish = match key {
            'c' => return Some(Action::Check(series)),
            'p' if is_paused => WishWord::Resume,
            'p' => WishWord::Pause,
            'a' => WishWord::Ack,
            _ if is_silenced => WishWord::Unsilence,
            _ => {
                let text = String::new();
                self.said = None;
                self.entry = Entry::Silence { series, text };
                return None;
            }
        };
        Some(Action::Wish {
            wish,
            series,
            until: None,
            reason: None,
        })
    }

    fn typed(&mut self, code: KeyCode) -> Option<Action> {
        match code {
            KeyCode::Esc => {
                let was_search = matches!(self.entry, Entry::Search);
                self.entry = Entry::Keys;
                if was_search && !self.list.query.search.is_empty() {
                    self.list.query.search.clear();
                    self.list_anew();
                }
            }
            KeyCode::Enter => return self.entered(),
            KeyCode::Backspace => self.edit(|line| {
                line.pop();
            }),
            KeyCode::Char(c) if !c.is_control() => self.edit(|line| line.push(c)),
            // The list goes on under the search.
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.go(|window| window.page(-1)),
            KeyCode::PageDown => self.go(|window| window.page(1)),
            _ => {}
        }
        None
    }

    fn entered(&mut self) -> Option<Action> {
        let Entry::Silence { series, text } = &self.entry else {
            self.entry = Entry::Keys;
            return None;
        };
        let (length, why) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match parse_duration(length) {
            Ok(length) => {
                let why = why.trim();
                let wish = Action::Wish {
                    wish: WishWord::Silence,
                    series: series.clone(),
                    until: Some(self.now + length),
                    reason: Some(why.to_owned()).filter(|why| !why.is_empty()),
                };
                self.entry = Entry::Keys;
                Some(wish)
            }
            Err(_) => {
                self.say("first how long, such as 30m, 2h or 1d12h, then why", true);
                None
            }
        }
    }

    /// Changes the line that is typed, if there is one.
    fn edit(&mut self, change: impl FnOnce(&mut String)) {
        let line = match &mut self.entry {
            Entry::Keys => return,
            Entry::Search => &mut self.list.query.search,
            Entry::Silence { text, .. } => text,
        };
        change(line);
        line.truncate(line.floor_char_boundary(LONGEST));
        self.said = None;
        if matches!(self.entry, Entry::Search) {
            self.list_anew();
        }
    }

    fn range(&mut self, by: isize) {
        let range = self.details.range.saturating_add_signed(by);
        self.details.range = range.min(RANGES.len() - 1);
        self.hold();
    }

    fn sort_by(&mut self, sort: Sort) {
        (self.list.query.sort, self.list.query.reverse) = (sort, false);
        self.list_anew();
    }

    fn next_sort(&mut self, by: isize) {
        let at = ORDERS.iter().position(|(sort, _)| *sort == self.list.query.sort);
        let next = (at.unwrap_or(0) as isize + by).rem_euclid(ORDERS.len() as isize);
        self.sort_by(ORDERS[next as usize].0);
    }

    /// Shows one state alone; the same again, or none, shows all.
    fn filter(&mut self, state: &str) {
        let wanted = [state].into_iter().filter(|state| !state.is_empty());
        let wanted: Vec<String> = wanted.map(ToOwned::to_owned).collect();
        let is_same = wanted == self.list.query.states;
        self.list.query.states = if is_same { Vec::new() } else { wanted };
        self.list_anew();
    }

    /// Through the states that there are, and all of them.
    fn next_filter(&mut self, by: isize) {
        let mut states = vec![String::new()];
        states.extend(self.counts().into_iter().map(|(state, _)| state));
        let now = self.list.query.states.first().map_or("", String::as_str);
        let at = states.iter().position(|state| state == now).unwrap_or(0);
        let next = (at as isize + by).rem_euclid(states.len() as isize);
        let next = states.swap_remove(next as usize);
        self.filter(&next);
    }
}
