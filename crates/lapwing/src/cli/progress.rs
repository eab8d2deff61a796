//! How far long work is, as one line at the foot of the terminal. Only on standard error, only when that is a terminal,
//! only after a moment; it leaves nothing behind, be it the work's end or a signal's.

use std::{
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike, WeakProgressBar};
use lapwing_core::time::short;
use lapwing_store::{Step, Teller};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use crate::out;

/// Work that is over sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);
const REDRAW_EVERY: Duration = Duration::from_millis(100);
const REDRAWS_A_SECOND: u8 = 10;
/// Kept free at the right: the `^C` that a terminal shows stays on the line, and goes with it.
const MARGIN: usize = 3;
const LONGEST_BAR: usize = 40;
const SHORTEST_BAR: usize = 10;

/// The line of one command. It goes when this is dropped.
pub struct Progress {
    bar: ProgressBar,
    what: Arc<Mutex<&'static str>>,
    /// Standard output is a terminal too: what is printed must not run into the line.
    shared: bool,
}

impl Progress {
    pub fn begin() -> Self {
        let what = Arc::<Mutex<&'static str>>::default();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style(&what));
        if io::stderr().is_terminal() && !is_dumb() {
            let weak = bar.downgrade();
            // It ends with the process; without it there is no line, which is no reason to fail.
            drop(std::thread::Builder::new().spawn(move || accompany(&weak)));
        }
        let shared = io::stdout().is_terminal();
        Self { bar, what, shared }
    }

    /// Other work begins: `total` of it, 0 when nobody knows.
    pub fn work(&self, what: &'static str, total: usize) {
        let total = total as u64;
        set(&self.bar, &self.what, Step { what, done: 0, total });
    }

    /// So many more are done.
    pub fn done(&self, more: usize) {
        self.bar.inc(more as u64);
    }

    /// Lets a store say how far it is.
    pub fn teller(&self) -> Teller {
        let (bar, what) = (self.bar.clone(), Arc::clone(&self.what));
        Teller::new(move |step| set(&bar, &what, step))
    }

    /// Prints to standard output, above the line.
    pub fn print(&self, text: &str) -> io::Result<()> {
        if self.shared {
            self.bar.suspend(|| out::print(text))
        } else {
            out::print(text)
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn set(bar: &ProgressBar, what: &Mutex<&'static str>, step: Step) {
    let before = std::mem::replace(
        &mut *what.lock().unwrap_or_else(PoisonError::into_inner),
        step.what,
    );
    if before != step.what || step.done < bar.position() {
        bar.reset();
    }
    let total = Some(step.total).filter(|total| *total > 0);
    match total {
        _ if bar.length() == total => {}
        Some(total) => bar.set_length(total),
        None => bar.unset_length(),
    }
    bar.set_position(step.done);
}

/// Shows the line once the work takes long, and takes it away before a signal ends the process.
fn accompany(bar: &WeakProgressBar) {
    std::thread::sleep(PATIENCE);
    let Some(shown) = bar.upgrade().filter(|bar| !bar.is_finished()) else {
        return;
    };
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    let screen = Box::new(Foot::default());
    shown.set_draw_target(ProgressDrawTarget::term_like_with_hz(screen, REDRAWS_A_SECOND));
    shown.enable_steady_tick(REDRAW_EVERY);
    drop(shown);
    for signal in signals.forever() {
        if let Some(bar) = bar.upgrade() {
            bar.finish_and_clear();
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        // As if we had never listened: whoever started us sees how we ended.
        drop(emulate_default_handler(signal));
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb")
}

fn style(what: &Arc<Mutex<&'static str>>) -> ProgressStyle {
    let what = Arc::clone(what);
    let write = move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let shown = Shown {
            step: Step {
                what: *what.lock().unwrap_or_else(PoisonError::into_inner),
                done: state.pos(),
                total: state.len().unwrap_or(0),
            },
            per_second: state.per_sec(),
            elapsed: state.elapsed(),
        };
        // The line is a string: it takes everything.
        let _always_fine = text.write_str(&shown.line(columns()));
    };
    ProgressStyle::with_template("{line}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("line", write)
}

/// Columns that the line may take.
fn columns() -> usize {
    out::width_errors().unwrap_or(80).saturating_sub(MARGIN).max(1)
}

/// What the line tells.
struct Shown {
    step: Step,
    per_second: f64,
    elapsed: Duration,
}

impl Shown {
    /// As much as fits: the rate goes first, then the words, then the end, then the bar.
    fn line(&self, width: usize) -> String {
        let Step { what, done, total } = self.step;
        let (rate, end) = (self.rate(), self.end());
        let wordings = match (done, total) {
            (0, 0) => vec![what.to_owned()],
            (_, 0) => vec![
                format!("{done} {what}{rate}"),
                format!("{done} {what}"),
                done.to_string(),
            ],
            _ => vec![
                format!("{done}/{total} {what}{rate}{end}"),
                format!("{done}/{total} {what}{end}"),
                format!("{done}/{total}{end}"),
                format!("{done}/{total}"),
                format!("{}%", done * 100 / total),
            ],
        };
        let before = if total == 0 { 2 } else { 0 };
        let fitting = wordings.iter().find(|text| before + text.len() <= width);
        let text = fitting.map_or("", String::as_str);
        if total == 0 {
            return format!("{} {text}", self.spinner());
        }
        let room = width.saturating_sub(text.len() + 1).min(LONGEST_BAR);
        if room < SHORTEST_BAR {
            return text.to_owned();
        }
        format!("{} {text}", self.bar(room))
    }

    fn bar(&self, width: usize) -> String {
        let (done, total) = (self.step.done.min(self.step.total), self.step.total);
        let inner = width - 2;
        let full = (done as f64 / total as f64 * inner as f64) as usize;
        format!("[{}{}]", "#".repeat(full), ".".repeat(inner - full))
    }

    fn spinner(&self) -> char {
        let turns = ['|', '/', '-', '\\'];
        turns[(self.elapsed.as_millis() / REDRAW_EVERY.as_millis()) as usize % turns.len()]
    }

    fn rate(&self) -> String {
        if self.per_second < 1.0 {
            return String::new();
        }
        format!(", {:.0}/s", self.per_second)
    }

    fn end(&self) -> String {
        let left = self.step.total.saturating_sub(self.step.done);
        let seconds = left as f64 / self.per_second;
        if left == 0 || !(0.0..360_000.0).contains(&seconds) {
            return String::new();
        }
        format!(", {} left", short(Duration::from_secs(seconds.ceil() as u64)))
    }
}

/// The last line of the terminal on standard error. What is drawn goes out in one piece.
#[derive(Debug, Default)]
struct Foot {
    held: Mutex<String>,
}

impl Foot {
    fn hold(&self, text: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push_str(text);
    }

    fn hold_move(&self, count: usize, direction: char) {
        if count > 0 {
            self.hold(&format!("\u{1b}[{count}{direction}"));
        }
    }
}

impl TermLike for Foot {
    fn width(&self) -> u16 {
        columns() as u16
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.hold_move(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.hold_move(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.hold_move(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.hold_move(n, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.hold(text);
        self.hold("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.hold(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.hold("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        out::draw_errors(&held);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(done: u64, total: u64, per_second: f64) -> Shown {
        Shown {
            step: Step {
                what: "checked",
                done,
                total,
            },
            per_second,
            elapsed: Duration::from_millis(700),
        }
    }

    #[test]
    fn a_known_total_has_a_bar_and_what_fits() {
        let half = shown(32_768, 65_536, 1_024.0);
        for (width, line) in [
            (
                200,
                "[###################...................] 32768/65536 checked, 1024/s, 32s left",
            ),
            (60, "[##########..........] 32768/65536 checked, 1024/s, 32s left"),
            (50, "[#####.....] 32768/65536 checked, 1024/s, 32s left"),
            (37, "32768/65536 checked, 1024/s, 32s left"),
            (36, "32768/65536 checked, 32s left"),
            (28, "32768/65536, 32s left"),
            (20, "32768/65536"),
            (17, "32768/65536"),
            (10, "50%"),
            (2, ""),
        ] {
            assert_eq!(half.line(width), line, "{width}");
        }
        for width in 0..120 {
            assert!(half.line(width).len() <= width, "{width}");
        }
        assert_eq!(shown(0, 9, 0.0).line(30), "[................] 0/9 checked");
        assert_eq!(shown(9, 9, 3.0).line(30), "[###########] 9/9 checked, 3/s");
    }

    #[test]
    fn an_unknown_total_has_a_spinner_and_a_count() {
        let some = shown(4_096, 0, 512.0);
        assert_eq!(some.line(80), "\\ 4096 checked, 512/s");
        assert_eq!(some.line(20), "\\ 4096 checked");
        assert_eq!(some.line(8), "\\ 4096");
        assert_eq!(shown(0, 0, 0.0).line(17), "\\ checked");
        assert_eq!(shown(0, 0, 0.0).line(5), "\\ ");
    }

    #[test]
    fn an_end_that_nobody_can_tell_is_not_told() {
        assert_eq!(shown(1, 9, 0.0).end(), "");
        assert_eq!(shown(1, u64::MAX, 0.1).end(), "");
        assert_eq!(shown(9, 9, 1.0).end(), "");
        assert_eq!(shown(1, 4_000, 1.0).end(), ", 1h6m39s left");
        assert_eq!(shown(10, 9, 1.0).line(20), "10/9 checked, 1/s");
    }
}
