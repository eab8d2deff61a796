//! The only place that prints. A reader that went away ends the program quietly, as it does for other commands.

use std::io::{self, IsTerminal, Write};

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

/// Writes to standard error.
pub fn complain(text: &str) {
    // There is nowhere left to say that this failed.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Colours when standard output is a terminal and `NO_COLOR` (no-color.org) is not set.
pub fn paint() -> Paint {
    if io::stdout().is_terminal() && !no_color() {
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
    io::stderr().is_terminal() && !no_color()
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
}

fn quiet(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
