//! `lapwing status --watch`: the same again and again. In a terminal the new takes the place of the old; elsewhere it
//! follows it, under the time.

use std::{path::Path, time::Duration};

use lapwing_api::shapes::StatusShape;
use lapwing_core::time::{Clock, parse_duration};
use lapwing_term::status_table;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{StatusArgs, look};
use crate::{
    cli::{Failure, exit, report::zone},
    clock::SystemClock,
    out,
};

const FASTEST: Duration = Duration::from_millis(100);
/// Clears nothing: the new text is written over the old one, so that it does not flicker. What is too wide is cut, not
/// wrapped.
const TOP: &str = "\u{1b}[?7l\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K\n";
const REST_OF_SCREEN: &str = "\u{1b}[J\u{1b}[?7h";

/// Seconds, or a length of time with its unit.
pub(super) fn pace(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    let pace = match seconds {
        Some(pace) => pace,
        None => parse_duration(text).map_err(|bad| bad.to_string())?,
    };
    if pace < FASTEST {
        return Err("that is faster than ten times a second".to_owned());
    }
    Ok(pace)
}

/// Shows the status until Ctrl-C; gives the exit code of the last one.
pub(super) fn again(args: &StatusArgs, data: &Path, pace: Duration) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut interrupt = runtime.block_on(async { signal(SignalKind::interrupt()) })?;
    loop {
        let shape = look(data)?;
        if !show(&shape, args)? {
            return Ok(exit::FINE);
        }
        if runtime.block_on(interrupted(&mut interrupt, pace)) {
            return Ok(shape.exit_code());
        }
    }
}

async fn interrupted(interrupt: &mut Signal, pace: Duration) -> bool {
    tokio::select! {
        _ = interrupt.recv() => true,
        () = sleep(pace) => false,
    }
}

/// False when nobody reads any more.
fn show(shape: &StatusShape, args: &StatusArgs) -> Result<bool, Failure> {
    if args.json {
        let line = serde_json::to_string(shape).map_err(anyhow::Error::from)?;
        return Ok(out::print_live(&(line + "\n"))?);
    }
    let now = SystemClock::new().now().wall;
    let at = status_table::local(&now.rfc3339(), &zone());
    let table = status_table::render(shape, &zone(), out::paint(), args.all, out::width(), usize::MAX);
    let text = match out::height() {
        Some(height) => page(&format!("{at}  {table}"), height),
        None => format!("{at}  {table}\n"),
    };
    Ok(out::print_live(&text)?)
}

/// As much of `text` as a terminal of `height` lines holds, over what is there. The last line says how much that is not.
fn page(text: &str, height: usize) -> String {
    let room = height.saturating_sub(1).max(1);
    let count = text.lines().count();
    let fitting = if count > room { room - 1 } else { count };
    let mut page = String::from(TOP);
    for line in text.lines().take(fitting) {
        page.push_str(line);
        page.push_str(REST_OF_LINE);
    }
    if count > fitting {
        page.push_str(&format!("… and {} more lines", count - fitting));
        page.push_str(REST_OF_LINE);
    }
    page + REST_OF_SCREEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_seconds_or_a_duration() {
        assert_eq!(pace("2"), Ok(Duration::from_secs(2)));
        assert_eq!(pace("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(pace("1m"), Ok(Duration::from_secs(60)));
        for bad in ["0", "-1", "50ms", "soon", "NaN", "1e300"] {
            assert!(pace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_never_scrolls() {
        let shown = |text, height| {
            let page = page(text, height);
            let page = page.strip_prefix(TOP).unwrap();
            page.strip_suffix(REST_OF_SCREEN).unwrap().to_owned()
        };
        assert_eq!(shown("a\nb\n", 3), "a\u{1b}[K\nb\u{1b}[K\n");
        assert_eq!(shown("a\nb\nc\n", 3), "a\u{1b}[K\n… and 2 more lines\u{1b}[K\n");
        assert_eq!(shown("a\n", 0), "a\u{1b}[K\n");
    }
}
