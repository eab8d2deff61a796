//! Frames as text, at sizes from a phone's to a wall's, and what keys and the mouse make of them.

use std::collections::BTreeMap;

use lapwing_api::{
    monitors::{BucketShape, MonitorShape, Origin, PastOutage, TailShape},
    report::OutageShape,
    shapes::{LastShape, Reason},
    steering::MuteShape,
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind},
    style::Modifier,
};

use super::*;

const NOW: &str = "2026-11-20T14:51:19.000000Z";

fn now() -> Wall {
    Wall(NOW.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn series(name: &str, state: &str) -> SeriesShape {
    SeriesShape {
        series: name.to_owned(),
        monitor: name.to_owned(),
        target: format!("tcp://{name}.example.com:443"),
        kind: "tcp".to_owned(),
        labels: BTreeMap::new(),
        state: state.to_owned(),
        since: "2026-11-20T14:41:19.000000Z".to_owned(),
        reason: (state == "down").then(|| Reason {
            code: "connect.refused".to_owned(),
            detail: "connection refused".to_owned(),
        }),
        last: Some(LastShape {
            at: "2026-11-20T14:51:18.000000Z".to_owned(),
            total_ms: 12.34,
        }),
        loss: (state == "up").then_some(0.33),
        skipped: 0,
        heartbeat: None,
        paused: (state == "paused").then(|| MuteShape {
            by: "anna".to_owned(),
            reason: "new disk".to_owned(),
            since: NOW.to_owned(),
            until: None,
        }),
        silenced: None,
        acknowledged: None,
    }
}

/// A page of `total` series, of which the first is down and the second paused.
fn page(query: &SeriesQuery, total: usize) -> SeriesPage {
    let series = (query.offset..total.min(query.offset + query.limit)).map(|at| match at {
        0 => series("db", "down"),
        1 => series("東京", "paused"),
        at => series(&format!("web{at:06}"), "up"),
    });
    let states = [("down", 1), ("paused", 1), ("up", total.saturating_sub(2))];
    SeriesPage {
        v: 1,
        version: "1.2.3".to_owned(),
        at: NOW.to_owned(),
        total,
        counts: states.map(|(state, n)| (state.to_owned(), n)).into(),
        matching: total,
        offset: query.offset,
        series: series.collect(),
    }
}

fn event(text: &str) -> EventShape {
    serde_json::from_value(serde_json::json!({
        "v": 1, "id": "01J", "event": "down", "series": "db", "state": "down", "previous": "failing",
        "at": "2026-11-20T14:41:20.000000Z", "location": "local", "resent": false, "text": text,
    }))
    .unwrap()
}

fn details(series: &str) -> MonitorDetails {
    MonitorDetails {
        v: 1,
        at: NOW.to_owned(),
        monitor: MonitorShape {
            name: series.to_owned(),
            origin: Origin::File {
                file: "lapwing.toml".to_owned(),
                line: 12,
            },
            target: String::new(),
            series: 1,
            states: BTreeMap::new(),
            interval_s: Some(30.0),
            notify: vec!["ops".to_owned(), "phone".to_owned()],
            labels: BTreeMap::new(),
            unwatched: None,
        },
        keys: None,
        series: Vec::new(),
        outages: vec![PastOutage {
            series: series.to_owned(),
            outage: OutageShape {
                began: "2026-11-19T10:00:00.000000Z".to_owned(),
                ended: Some("2026-11-19T10:03:26.000000Z".to_owned()),
                ongoing: false,
                length_s: 206.0,
                uncertainty_s: Some(30.0),
                reason: Reason {
                    code: "timeout.connect".to_owned(),
                    detail: "no answer within 2s".to_owned(),
                },
                cause: None,
                failed_checks: 3,
                recovered: true,
                evidence: Vec::new(),
            },
        }],
    }
}

fn history(query: &HistoryQuery) -> HistoryShape {
    let bucket = |at: usize| {
        let ms = 5.0 + (at % 20) as f64;
        let is_down = (10..14).contains(&at);
        BucketShape {
            checks: 2,
            down: if is_down { 2 } else { 0 },
            min_ms: (!is_down).then_some(ms - 2.0),
            mean_ms: (!is_down).then_some(ms),
            max_ms: (!is_down).then_some(ms + 3.0),
            ..BucketShape::default()
        }
    };
    HistoryShape {
        v: 1,
        from: query.from.clone(),
        to: query.to.clone(),
        bucket_s: 1.0,
        series: vec![SeriesHistory {
            series: query.series[0].clone(),
            buckets: (0..query.buckets).map(bucket).collect(),
        }],
    }
}

struct Top {
    model: Model,
    total: usize,
    terminal: Terminal<TestBackend>,
}

impl Top {
    /// One that knows `total` series and has been drawn.
    fn new(width: u16, height: u16, total: usize) -> Self {
        let mut top = Self {
            model: Model::new(TimeZone::UTC, Paint::Colour, now()),
            total,
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
        };
        top.draw();
        top.answer();
        top
    }

    fn draw(&mut self) -> String {
        let model = &mut self.model;
        let frame = self
            .terminal
            .draw(|frame| model.draw(frame.area(), frame.buffer_mut()));
        let buffer = frame.unwrap().buffer.clone();
        let width = usize::from(buffer.area.width).max(1);
        let line = |cells: &[ratatui::buffer::Cell]| {
            let mut text = String::new();
            let mut covered = 0;
            for cell in cells {
                if covered == 0 {
                    text.push_str(cell.symbol());
                }
                covered = pen::width(cell.symbol()).max(covered).saturating_sub(1);
            }
            text.trim_end().to_owned() + "\n"
        };
        buffer.content.chunks(width).map(line).collect()
    }

    /// The daemon answers all that is wanted, until nothing new is.
    fn answer(&mut self) {
        for _ in 0..4 {
            let wants = self.model.wants();
            self.model.took_page(&wants.list, page(&wants.list, self.total));
            let results = |series: &String| TailShape {
                series: series.clone(),
                results: (0..wants.tails.1)
                    .map(|at| PointShape {
                        at: NOW.to_owned(),
                        state: if at % 7 == 3 { "down" } else { "up" }.to_owned(),
                        ms: None,
                        sent: None,
                        lost: None,
                    })
                    .collect(),
            };
            let series = wants.tails.0.iter().map(results).collect();
            self.model.took_tails(TailsShape { v: 1, series });
            if let Some(series) = &wants.details {
                self.model.took_details(series, details(series));
            }
            if let Some(query) = &wants.history {
                self.model.took_history(query, history(query));
            }
            self.draw();
            if self.model.wants() == wants {
                return;
            }
        }
    }

    fn press(&mut self, code: KeyCode) -> Option<Action> {
        let action = self.model.key(code.into());
        self.draw();
        action
    }

    fn typed(&mut self, text: &str) {
        for c in text.chars() {
            assert_eq!(self.press(KeyCode::Char(c)), None);
        }
    }

    fn click(&mut self, column: u16, row: u16) -> Option<Action> {
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row)
    }

    fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> Option<Action> {
        let action = self.model.mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        });
        self.draw();
        action
    }

    /// Where a text stands on the screen.
    #[track_caller]
    fn place(&mut self, text: &str) -> (u16, u16) {
        let screen = self.draw();
        let found = screen
            .lines()
            .enumerate()
            .find_map(|(row, line)| Some((line[..line.find(text)?].chars().count(), row)));
        let (column, row) = found.unwrap_or_else(|| panic!("{text:?} is not there:\n{screen}"));
        (column as u16, row as u16)
    }

    fn selected(&self) -> String {
        self.model.selected().unwrap().series.clone()
    }
}

/// Compares a frame with the file that shows it; `LAPWING_BLESS=1` writes the file anew.
#[track_caller]
fn same(shown: &str, name: &str, expected: &str) {
    if std::env::var_os("LAPWING_BLESS").is_some() {
        let path = format!("{}/src/top/frames/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, shown).unwrap();
    } else {
        assert_eq!(shown, expected, "{name}:\n{shown}");
    }
}

macro_rules! frame {
    ($top:expr, $name:literal) => {
        same(
            &$top.draw(),
            $name,
            include_str!(concat!("frames/", $name, ".txt")),
        )
    };
}

#[test]
fn the_list_fits_every_screen() {
    for (width, height) in [(80, 24), (120, 40), (200, 60), (20, 5)] {
        let mut top = Top::new(width, height, 100_000);
        top.model.event(event(
            "DOWN db (tcp://db.example.com:443) since 14:41:19: connection refused.",
        ));
        match width {
            80 => frame!(top, "list-80x24"),
            120 => frame!(top, "list-120x40"),
            200 => {
                frame!(top, "list-200x60");
            }
            _ => frame!(top, "list-20x5"),
        }
    }
}

#[test]
fn details_fit_beside_below_or_instead_of_the_list() {
    for (width, height) in [(80, 24), (80, 50), (120, 40), (20, 5)] {
        let mut top = Top::new(width, height, 5);
        top.model.event(event(
            "DOWN db (tcp://db.example.com:443) since 14:41:19: connection refused.",
        ));
        top.press(KeyCode::Enter);
        top.answer();
        match (width, height) {
            (80, 24) => frame!(top, "details-80x24"),
            (80, _) => frame!(top, "details-80x50"),
            (120, _) => frame!(top, "details-120x40"),
            _ => frame!(top, "details-20x5"),
        }
        top.press(KeyCode::Esc);
        assert_eq!(top.model.wants().details, None, "{width}x{height}");
    }
}

#[test]
fn all_keys_are_told() {
    let mut top = Top::new(80, 24, 5);
    top.press(KeyCode::Char('?'));
    frame!(top, "keys-80x24");
    top.press(KeyCode::Esc);
    assert!(!top.draw().contains("Shift-Tab"));
}

#[test]
fn no_size_and_no_state_of_things_is_a_defect() {
    let keys = "?\u{1b}//x\u{1b}s2h x\u{1b}llrr>><<]][[0123456789";
    for (width, height) in [
        (0, 0),
        (1, 1),
        (2, 9),
        (20, 5),
        (9, 60),
        (300, 2),
        (119, 33),
        (500, 100),
    ] {
        for total in [0, 3, 700] {
            let mut top = Top::new(width, height, total);
            for c in keys.chars() {
                let code = if c == '\u{1b}' {
                    KeyCode::Esc
                } else {
                    KeyCode::Char(c)
                };
                top.press(code);
                top.answer();
            }
            for code in [
                KeyCode::Enter,
                KeyCode::End,
                KeyCode::PageUp,
                KeyCode::Tab,
                KeyCode::Enter,
            ] {
                top.press(code);
                top.answer();
            }
            top.model.lose("it has stopped".to_owned());
            top.draw();
            for (column, row) in [(0, 0), (width / 2, height / 2), (width, height)] {
                top.click(column, row);
                top.mouse(MouseEventKind::ScrollDown, column, row);
            }
        }
    }
}

#[test]
fn what_is_written_by_a_peer_cannot_act_on_the_terminal() {
    let mut top = Top::new(100, 24, 3);
    let query = top.model.wants().list;
    let mut evil = page(&query, 3);
    evil.series[0].series = "a\u{1b}]0;x\u{7}b\r\n".to_owned();
    evil.series[0].reason = Some(Reason {
        code: "x".to_owned(),
        detail: "\u{1b}[2J\u{9b}31m\u{202e}".to_owned(),
    });
    top.model.took_page(&query, evil);
    top.model.event(event("DOWN \u{1b}c x"));
    top.press(KeyCode::Enter);
    let screen = top.draw();
    assert!(screen.contains("a ]0;x b"), "{screen}");
    assert!(
        screen
            .chars()
            .all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')),
        "{screen}"
    );
}

#[test]
fn a_search_is_live_and_esc_takes_it_back() {
    let mut top = Top::new(80, 24, 100);
    top.press(KeyCode::End);
    top.press(KeyCode::Char('/'));
    top.typed("quit");
    let wants = top.model.wants();
    assert_eq!((wants.list.search.as_str(), wants.list.offset), ("quit", 0));
    assert!(top.draw().contains("search: quit▏"));
    // What belongs to an older search is not shown.
    let old = SeriesQuery {
        search: "qui".to_owned(),
        ..wants.list.clone()
    };
    top.model.took_page(&old, page(&old, 7));
    assert!(!top.model.list.is_fresh);
    top.answer();
    assert!(
        top.draw().contains("100 of 100 series, with \"quit\""),
        "{}",
        top.draw()
    );
    top.press(KeyCode::Backspace);
    assert_eq!(top.press(KeyCode::Enter), None);
    assert_eq!(top.model.wants().list.search, "qui");
    assert_eq!(
        top.press(KeyCode::Char('q')),
        Some(Action::Quit),
        "keys are keys again"
    );
    top.press(KeyCode::Esc);
    assert_eq!(top.model.wants().list.search, "");
    top.model.paste("q\u{1b}");
    assert_eq!(
        top.model.wants().list.search,
        "",
        "there is no line to paste into"
    );
    top.press(KeyCode::Char('/'));
    top.model.paste("we\nb\u{1b}[A");
    assert_eq!(top.model.wants().list.search, "we b [A");
    top.press(KeyCode::Esc);
    assert_eq!(top.model.wants().list.search, "");
}

#[test]
fn the_list_is_sorted_and_filtered_by_keys_and_mouse() {
    let mut top = Top::new(120, 24, 100);
    top.press(KeyCode::Char('>'));
    assert_eq!(top.model.wants().list.sort, Sort::Name);
    top.press(KeyCode::Char('r'));
    assert!(top.model.wants().list.reverse && top.draw().contains("NAME▲"));
    top.press(KeyCode::Char('<'));
    top.press(KeyCode::Char('<'));
    let list = top.model.wants().list;
    assert_eq!(
        (list.sort, list.reverse),
        (Sort::Loss, false),
        "from the first to the last"
    );
    let (column, row) = top.place("LAST");
    top.click(column, row);
    assert_eq!(top.model.wants().list.sort, Sort::Latency);
    top.click(column, row);
    assert!(top.model.wants().list.reverse);
    let (column, row) = top.place("1 paused");
    top.click(column, row);
    assert_eq!(top.model.wants().list.states, ["paused"]);
    top.answer();
    let cell = &top.terminal.backend().buffer()[(column, row)];
    assert!(cell.modifier.contains(Modifier::REVERSED));
    top.click(column, row);
    assert!(top.model.wants().list.states.is_empty());
    top.press(KeyCode::Tab);
    assert_eq!(top.model.wants().list.states, ["down"]);
    top.press(KeyCode::BackTab);
    assert!(top.model.wants().list.states.is_empty());
    top.press(KeyCode::Char('7'));
    assert_eq!(top.model.wants().list.states, ["up"]);
    top.press(KeyCode::Esc);
    assert!(top.model.wants().list.states.is_empty());
}

#[test]
fn a_hundred_thousand_rows_are_a_window() {
    let mut top = Top::new(80, 24, 100_000);
    assert_eq!(top.selected(), "db");
    top.press(KeyCode::End);
    assert!(top.draw().contains("…"), "painted before the daemon has answered");
    let wants = top.model.wants().list;
    assert!(wants.offset > 99_900 && wants.limit < 100, "{wants:?}");
    top.answer();
    assert_eq!(top.selected(), "web099999");
    assert_eq!(
        top.model.wants().list,
        SeriesQuery {
            offset: wants.offset,
            ..wants.clone()
        }
    );
    top.press(KeyCode::PageUp);
    top.press(KeyCode::Up);
    top.answer();
    assert!(top.selected().as_str() < "web099999");
    top.press(KeyCode::Home);
    top.answer();
    top.mouse(MouseEventKind::ScrollDown, 5, 5);
    assert_eq!(top.selected(), "web000003");
    let (column, row) = top.place("web000006");
    top.click(column, row);
    assert_eq!(top.selected(), "web000006");
    assert_eq!(top.model.chart, None);
    top.click(column, row);
    assert!(top.model.chart.is_some(), "the second click opens it");
}

#[test]
fn the_selected_series_stays_selected_when_others_move() {
    let mut top = Top::new(80, 24, 100);
    top.press(KeyCode::Down);
    assert_eq!(top.selected(), "東京");
    let query = top.model.wants().list;
    let mut moved = page(&query, 100);
    moved.series.swap(1, 4);
    top.model.took_page(&query, moved);
    assert_eq!((top.selected().as_str(), top.model.window.cursor), ("東京", 4));
}

fn wish(wish: WishWord, series: &str) -> Action {
    Action::Wish {
        wish,
        series: series.to_owned(),
        until: None,
        reason: None,
    }
}

#[test]
fn nothing_is_done_to_a_row_of_an_older_list() {
    for keys in ["/web\n", "\t", "1", ">", "r", "/x\u{1b}"] {
        let mut top = Top::new(80, 24, 100);
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                c => KeyCode::Char(c),
            };
            assert_eq!(top.press(code), None);
        }
        for act in ["p", "a", "c", "s", "jp", "G2p"] {
            top.typed(act);
            assert!(matches!(top.model.entry, Entry::Keys), "{keys:?} {act}");
            assert!(top.draw().contains(COMING), "{keys:?} {act}");
        }
        top.press(KeyCode::Enter);
        assert_eq!(top.model.chart, None, "{keys:?}");
        let (column, row) = top.place("web000004");
        for _ in 0..2 {
            assert_eq!(top.click(column, row), None);
        }
        assert_eq!((top.model.chart, top.model.window.cursor), (None, 0), "{keys:?}");
        top.answer();
        assert!(!top.draw().contains(COMING));
        assert_eq!(
            top.press(KeyCode::Char('p')),
            Some(wish(WishWord::Pause, "db")),
            "{keys:?}"
        );
    }
}

#[test]
fn a_series_that_leaves_the_list_leaves_its_place_to_nobody() {
    for (width, is_beside) in [(80, false), (160, true)] {
        let mut top = Top::new(width, 24, 100);
        top.press(KeyCode::Down);
        top.press(KeyCode::Down);
        assert_eq!(top.selected(), "web000002");
        if !is_beside {
            top.press(KeyCode::Enter);
        }
        top.answer();
        let query = top.model.wants().list;
        let mut without = page(&query, 100);
        without.series.remove(2);
        top.model.took_page(&query, without.clone());
        for act in ["p", "a", "s", "c"] {
            top.typed(act);
            assert!(matches!(top.model.entry, Entry::Keys));
            assert!(top.draw().contains("web000002 is not in this list any more"));
        }
        assert_eq!(top.model.wants().details.as_deref(), Some("web000002"));
        assert!(
            top.draw().contains("tcp://web000002.example.com"),
            "{}",
            top.draw()
        );
        let buffer = top.terminal.backend().buffer();
        let is_marked = |cell: &ratatui::buffer::Cell| cell.modifier.contains(Modifier::REVERSED);
        assert!(
            !buffer.content[..usize::from(width) * 20]
                .chunks(width.into())
                .any(|line| is_marked(&line[0]))
        );
        // It comes back and is selected as before, wherever it is.
        let mut back = page(&query, 100);
        back.series.swap(2, 7);
        top.model.took_page(&query, back);
        assert_eq!(
            (top.selected().as_str(), top.model.window.cursor),
            ("web000002", 7)
        );
        top.model.took_page(&query, without);
        top.press(KeyCode::Down);
        assert_eq!(top.selected(), "web000008", "the one that stands in its place");
        assert_eq!(
            top.press(KeyCode::Char('p')),
            Some(wish(WishWord::Pause, "web000008"))
        );
    }
}

#[test]
fn an_empty_list_keeps_the_details_that_were_opened() {
    let mut top = Top::new(80, 24, 1);
    top.press(KeyCode::Enter);
    top.answer();
    let query = top.model.wants().list;
    top.model.took_page(&query, page(&query, 0));
    assert!(top.draw().contains("tcp://db.example.com"), "{}", top.draw());
    // The daemon still knows it, and what has become of it.
    let mut known = details("db");
    known.series.push(series("db", "up"));
    top.model.took_details("db", known);
    assert!(top.draw().contains("up since"), "{}", top.draw());
    top.press(KeyCode::Esc);
    assert!(top.draw().contains("nothing matches"));
    assert_eq!(top.press(KeyCode::Char('p')), None);
}

#[test]
fn the_first_row_is_whoever_is_worst_until_somebody_chooses() {
    let worse = |top: &mut Top| {
        let query = top.model.wants().list;
        let mut worse = page(&query, 101);
        worse.series.insert(0, series("worse", "down"));
        top.model.took_page(&query, worse);
        top.draw();
    };
    let mut top = Top::new(80, 24, 100);
    worse(&mut top);
    assert_eq!(top.selected(), "worse");
    let home = |top: &mut Top| drop(top.press(KeyCode::Home));
    let open = |top: &mut Top| drop(top.press(KeyCode::Enter));
    let check = |top: &mut Top| drop(top.press(KeyCode::Char('c')));
    let click = |top: &mut Top| {
        let (column, row) = top.place("db");
        top.click(column, row);
    };
    let wheel = |top: &mut Top| drop(top.mouse(MouseEventKind::ScrollUp, 5, 5));
    let choices: [&dyn Fn(&mut Top); 5] = [&home, &open, &check, &click, &wheel];
    for (at, choose) in choices.into_iter().enumerate() {
        let mut top = Top::new(80, 24, 100);
        choose(&mut top);
        worse(&mut top);
        assert_eq!((top.selected().as_str(), top.model.window.top), ("db", 0), "{at}");
    }
}

#[test]
fn a_row_that_was_not_loaded_is_selected_once_it_is() {
    let mut top = Top::new(80, 24, 100_000);
    top.press(KeyCode::End);
    assert_eq!(top.press(KeyCode::Char('p')), None);
    assert!(top.draw().contains("nothing is selected"));
    top.answer();
    assert!(matches!(&top.model.pick, Pick::Series(name) if name == "web099999"));
}

#[test]
fn what_is_typed_shows_its_end() {
    let mut top = Top::new(40, 10, 5);
    top.press(KeyCode::Char('/'));
    top.typed(&("b".repeat(60) + "東京e"));
    let screen = top.draw();
    let last = screen.lines().last().unwrap();
    assert!(last.starts_with("…bb") && last.ends_with("東京e▏"), "{last}");
    assert_eq!(pen::width(last), 40);
}

#[test]
fn a_daemon_that_is_slow_to_answer_is_said() {
    for (width, expected) in [(20, false), (40, true), (120, true)] {
        let mut top = Top::new(width, 24, 5);
        top.model.unanswered(Some(Duration::from_millis(1_999)));
        assert!(!top.draw().contains("no answer"));
        top.model.unanswered(Some(Duration::from_millis(3_400)));
        assert!(top.draw().contains("no answer for 3s"), "{width}: {}", top.draw());
        assert_eq!(top.draw().contains("1 down"), expected, "{width}");
        top.model.lose("nobody listens".to_owned());
        assert!(!top.draw().contains("no answer"));
        top.model.unanswered(None);
        top.answer();
        assert!(!top.draw().contains("no answer"));
    }
}

#[test]
fn a_long_reason_of_wide_letters_fits_the_details() {
    let mut top = Top::new(80, 24, 3);
    let query = top.model.wants().list;
    let mut wide = page(&query, 3);
    let paused = wide.series[1].paused.as_mut().unwrap();
    paused.reason = format!("{} I {}", "x".repeat(60), "東".repeat(60));
    top.model.took_page(&query, wide);
    top.press(KeyCode::Down);
    top.press(KeyCode::Enter);
    assert!(top.draw().contains("東東東"), "{}", top.draw());
}

#[test]
fn actions_are_for_the_selected_series() {
    let mut top = Top::new(80, 24, 100);
    assert_eq!(top.press(KeyCode::Char('p')), Some(wish(WishWord::Pause, "db")));
    assert_eq!(top.press(KeyCode::Char('a')), Some(wish(WishWord::Ack, "db")));
    assert_eq!(
        top.press(KeyCode::Char('c')),
        Some(Action::Check("db".to_owned()))
    );
    top.press(KeyCode::Down);
    assert_eq!(
        top.press(KeyCode::Char('p')),
        Some(wish(WishWord::Resume, "東京"))
    );
    assert!(top.draw().contains("p resume"));
    top.press(KeyCode::Char('s'));
    top.typed("soon");
    assert!(
        top.draw().contains("silence 東京 for how long, and why: soon▏"),
        "{}",
        top.draw()
    );
    assert_eq!(top.press(KeyCode::Enter), None);
    assert!(top.draw().contains("first how long"));
    top.model
        .key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    top.typed("2h  new disk ");
    let silenced = top.press(KeyCode::Enter);
    assert_eq!(
        silenced,
        Some(Action::Wish {
            wish: WishWord::Silence,
            series: "東京".to_owned(),
            until: Some(now() + Duration::from_hours(2)),
            reason: Some("new disk".to_owned()),
        })
    );
    assert!(top.draw().contains("q quit"));
    top.press(KeyCode::Char('s'));
    assert_eq!(top.press(KeyCode::Esc), None);
    assert_eq!(top.press(KeyCode::Char('q')), Some(Action::Quit));
    let mut none = Top::new(80, 24, 0);
    assert_eq!(none.press(KeyCode::Char('p')), None);
    assert!(none.draw().contains("nothing is selected"));
}

#[test]
fn the_range_of_the_chart_is_chosen() {
    let mut top = Top::new(160, 40, 100);
    let length = |top: &Top| {
        let query = top.model.wants().history.unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        (at(&query.to) - at(&query.from) + 1_800) / 3_600
    };
    assert_eq!(length(&top), 1, "open at once on a wide screen");
    top.press(KeyCode::Right);
    assert_eq!(length(&top), 24);
    top.press(KeyCode::Char('['));
    top.press(KeyCode::Left);
    assert_eq!(length(&top), 1);
    let (column, row) = top.place(" 30d ");
    top.click(column + 1, row);
    assert_eq!(length(&top), 720);
    let query = top.model.wants().history.unwrap();
    assert!(query.buckets > 50 && query.buckets <= lapwing_api::monitors::MAX_BUCKETS);
    top.model.tick(now() + Duration::from_secs(1));
    assert_eq!(
        top.model.wants().history.unwrap(),
        query,
        "it moves by whole buckets"
    );
}

#[test]
fn a_daemon_that_is_gone_is_said_and_its_data_is_old() {
    let mut top = Top::new(80, 24, 100);
    top.model.lose("nobody listens on data/lapwing.sock".to_owned());
    top.model.tick(now() + Duration::from_secs(61));
    top.model.lose("nobody listens on data/lapwing.sock".to_owned());
    frame!(top, "lost-80x24");
    let (column, row) = top.place("db ");
    let cell = &top.terminal.backend().buffer()[(column, row + 2)];
    assert_eq!(cell.fg, ratatui::style::Color::DarkGray);
    top.answer();
    assert!(!top.draw().contains("no daemon"));
}

#[test]
fn without_colours_there_are_none() {
    let mut top = Top::new(120, 40, 100);
    top.model.paint = Paint::Plain;
    top.press(KeyCode::Enter);
    top.answer();
    let buffer = top.terminal.backend().buffer();
    let plain = |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Reset;
    assert!(buffer.content.iter().all(plain));
}

#[test]
fn the_log_holds_the_newest_and_can_be_closed() {
    let mut top = Top::new(80, 30, 100);
    for at in 0..EVENTS + 5 {
        top.model.event(event(&format!("DOWN number{at} is down")));
    }
    assert_eq!(top.model.events.len(), EVENTS);
    let last = format!("number{}", EVENTS + 4);
    assert!(top.draw().contains(&last));
    top.press(KeyCode::Char('l'));
    assert!(!top.draw().contains(&last));
    top.press(KeyCode::Char('l'));
    assert!(top.draw().contains(&last));
}

#[test]
fn a_word_on_what_was_done_goes_by_itself() {
    let mut top = Top::new(80, 24, 100);
    top.model.say("paused db\n", false);
    assert!(top.draw().ends_with("paused db\n"));
    top.model.tick(now() + SAID);
    assert!(top.draw().contains("q quit"));
}
