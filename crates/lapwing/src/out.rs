//! The only place that prints. A reader that went away ends the program quietly, as it does for other commands.

use std::io::{self, IsTerminal, Write};

use lapwing_core::observation::clean;
use lapwing_term::paint::Paint;
use terminal_size::{Height, Width, terminal_size_of};

/// Writes to standard output. A closed pipe is no error of ours.
pub fn print(text: &str) -> io::Result<()> {
    quiet(write(text))
}

/// As [`print`], for a command that would go on: false when the reader went away.
pub fn print_live(text: &str) -> io::Result<bool> {
    match write(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Also what comes after the last end of a line is shown at once.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes words to standard error. What others have put into them cannot steer the terminal.
pub fn complain(text: &str) {
    draw_errors(&harmless(text));
}

/// Writes to standard error what steers the terminal: nothing in it may come from elsewhere.
pub fn draw_errors(text: &str) {
    // There is nowhere left to say that this failed.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Without control and bidirectional characters, but for ends of lines, and for the colours of a report, which begins
/// with one.
fn harmless(text: &str) -> String {
    let is_coloured = text.starts_with('\u{1b}');
    let lines = text.split('\n').map(|line| {
        let mut parts = line.split('\u{1b}');
        let mut cleaned = clean(parts.next().unwrap_or_default(), usize::MAX);
        for part in parts {
            cleaned.push(if is_coloured && is_colour(part) {
                '\u{1b}'
            } else {
                ' '
            });
            cleaned.push_str(&clean(part, usize::MAX));
        }
        cleaned
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a sequence that sets a colour (ECMA-48, SGR) goes on like this: `[31;1m`.
fn is_colour(text: &str) -> bool {
    let numbers = text.strip_prefix('[').and_then(|rest| rest.split_once('m'));
    numbers.is_some_and(|(numbers, _)| numbers.chars().all(|c| c.is_ascii_digit() || c == ';'))
}

/// Colours when standard output is a terminal that knows them, and `NO_COLOR` (no-color.org) is not set.
pub fn paint() -> Paint {
    if io::stdout().is_terminal() && !is_colourless() {
        Paint::Colour
    } else {
        Paint::Plain
    }
}

/// Columns of the terminal; None when standard output is none.
pub fn width() -> Option<usize> {
    let (Width(columns), _) = terminal_size_of(io::stdout())?;
    Some(columns.into())
}

/// As [`width`], for standard error.
pub fn width_errors() -> Option<usize> {
    let (Width(columns), _) = terminal_size_of(io::stderr())?;
    Some(columns.into())
}

/// Lines of the terminal; None when standard output is none.
pub fn height() -> Option<usize> {
    let (_, Height(lines)) = terminal_size_of(io::stdout())?;
    Some(lines.into())
}

/// As [`paint`], for standard error.
pub fn paint_errors() -> bool {
    io::stderr().is_terminal() && !is_colourless()
}

fn is_colourless() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn quiet(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_do_not_steer_the_terminal() {
        for (text, shown) in [
            ("one\ntwo\n", "one\ntwo\n"),
            ("a\u{1b}]0;pwned\u{7}b\r", "a ]0;pwned b "),
            ("no \u{1b}[31mred\u{9b}2J\u{202e}", "no  [31mred 2J "),
            (
                "\u{1b}[1m\u{1b}[91merror\u{1b}[0m: \u{1b}[2J\u{1b}]0;x\u{7}\n",
                "\u{1b}[1m\u{1b}[91merror\u{1b}[0m:  [2J ]0;x \n",
            ),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }
}
