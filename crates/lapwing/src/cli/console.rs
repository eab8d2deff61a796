//! `lapwing console`: the commands of this program at a prompt, attached to one running daemon.
//!
//! It must never do anything that a command of the program would not do, and never run a line that nobody has ended
//! with Enter.

mod editor;
mod grammar;
mod keys;
mod known;
mod live;
mod memory;
mod menu;
mod runner;
mod stop;

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use lapwing_api::monitors::{SeriesPage, SeriesQuery};
use lapwing_term::console::glance::{Glance, greeting};
use tokio::runtime::Runtime;

use self::{
    editor::{Line, LineEditor},
    live::Live,
    runner::{Ran, Runner},
    stop::Stop,
};
use super::{Failure, exit, local, report::DataArg, top::HELLO, watch::is_fit};
use crate::{config::Environment, out};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConsoleArgs {
    /// Run this command and end; may be given again
    #[arg(long, short = 'x', value_name = "LINE")]
    execute: Vec<String>,
    #[command(flatten)]
    data: DataArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing console
  lapwing console --data /var/lib/lapwing
  lapwing console -x 'pause db --for 2h' -x list
  lapwing console < commands.txt             the exit code is that of the worst

At the prompt: Tab completes, the arrows and Ctrl-R bring back what was typed, Ctrl-C clears the line or stops what
runs, Ctrl-D leaves. Events appear above the line as they happen; `events off` keeps them away.";

pub fn console(args: &ConsoleArgs, environment: &Environment) -> Result<u8, Failure> {
    let folder = args.data.folder(environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let first = SeriesQuery {
        states: vec!["down".to_owned()],
        limit: 5,
        ..SeriesQuery::default()
    };
    let first = runtime.block_on(local::client(&folder).with_patience(HELLO).series(&first))?;
    let is_interactive = args.execute.is_empty() && io::stdin().is_terminal();
    let stop = if is_interactive {
        Stop::listen(runtime.handle())?
    } else {
        Stop::default()
    };
    let mut runner = Runner::new(folder, runtime.handle().clone(), is_interactive, stop);
    let ended = if !args.execute.is_empty() {
        all(&mut runner, args.execute.iter().map(|line| Ok(line.clone())))
    } else if is_interactive {
        typed(&mut runner, &runtime, environment, &first)
    } else {
        all(&mut runner, io::stdin().lock().lines())
    };
    runtime.shutdown_background();
    ended
}

/// What a shell gives for a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Runs lines until one of them leaves. Gives the worst of the exit codes.
fn all(runner: &mut Runner, lines: impl Iterator<Item = io::Result<String>>) -> Result<u8, Failure> {
    let mut worst = exit::FINE;
    for line in lines {
        match runner.run(&line?) {
            Ran::Ended(code) => worst = worse(worst, code),
            Ran::Interrupted => return Ok(INTERRUPTED),
            Ran::Leave => break,
        }
    }
    Ok(worst)
}

fn worse(one: u8, other: u8) -> u8 {
    // Degraded or inconclusive (3) is less than down (1).
    let rank = |code: &u8| match *code {
        exit::FINE => 0,
        3 => 1,
        exit::DOWN => 2,
        exit::USAGE => 3,
        _ => 4,
    };
    std::cmp::max_by_key(one, other, rank)
}

/// Somebody sits there and types.
fn typed(
    runner: &mut Runner,
    runtime: &Runtime,
    environment: &Environment,
    first: &SeriesPage,
) -> Result<u8, Failure> {
    let glance = Glance::new(&first.counts);
    let down: Vec<String> = first.series.iter().map(|s| s.series.clone()).collect();
    out::print(&greeting(&first.version, first.total, &glance, &down))?;
    let live = Live::new(runner.client().clone(), glance);
    runner.attach(live.clone());
    let mut editor: Box<dyn LineEditor> = if is_fit() {
        let (editor, screen) = editor::Full::new(runner, &live, environment);
        live.start(runtime, screen);
        Box::new(editor)
    } else {
        live.start(runtime, live::Screen::plain());
        Box::new(editor::Plain::new(runner, live.clone()))
    };
    loop {
        let text = match editor.read() {
            Ok(Line::Text(text)) => text,
            Ok(Line::Cleared) => continue,
            Ok(Line::End) => return Ok(exit::FINE),
            // The terminal went away.
            Err(_) if runner.stop().is_asked() => return Ok(exit::FINE),
            Err(error) => return Err(error.into()),
        };
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines {
            if runner.stop().is_asked() {
                return Ok(exit::FINE);
            }
            if lines.len() > 1 {
                out::print(&format!("{}\n", out::paint().faint(&format!("> {line}"))))?;
            }
            match runner.run(line) {
                Ran::Ended(_) => {}
                Ran::Interrupted => break,
                Ran::Leave => return Ok(exit::FINE),
            }
        }
        live.look_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_exit_code_is_kept() {
        for (codes, expected) in [([0, 3, 1], 1), ([0, 3, 0], 3), ([1, 2, 3], 2), ([2, 70, 1], 70)] {
            assert_eq!(codes.into_iter().fold(0, worse), expected, "{codes:?}");
        }
    }
}
