//! `lapwing events`: what happened, and what happens.

use clap::Args;
use lapwing_api::{
    shapes::EventShape,
    steering::{ErrorShape, PastEventShape},
};
use lapwing_store::{DataDir, story};
use lapwing_term::event_lines;

use super::{
    Failure, exit, local,
    report::{self, DataArg, zone},
};
use crate::{config::Environment, out, recorder::full};

/// Begins and ends of outages that are shown unless somebody says how many.
const LAST: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EventsArgs {
    /// Monitors or series; all when none is named
    #[arg(value_name = "MONITOR")]
    monitors: Vec<String>,
    /// Show what happens from now on, until the daemon stops or you do
    #[arg(long, short)]
    follow: bool,
    /// So many of the remembered begins and ends of outages [default: 20, with --follow none]
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,
    /// A line of JSON each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArg,
}

const EXAMPLES: &str = "\
Examples:
  lapwing events                         the last begins and ends of outages
  lapwing events web --last 100
  lapwing events --follow                everything as it happens; Ctrl-C ends it
  lapwing events --follow --json | jq -r 'select(.event == \"down\") | .series'";

pub fn events(args: &EventsArgs, environment: &Environment) -> Result<u8, Failure> {
    if !args.follow {
        past(args, args.last.unwrap_or(LAST), environment)?;
        return Ok(exit::FINE);
    }
    let folder = args.data.folder(environment)?;
    let wanted: Vec<String> = args
        .monitors
        .iter()
        .map(|name| format!("monitor={}", encoded(name)))
        .collect();
    // First the ear, then the memory: nothing is missed between them.
    let mut lines = local::Lines::open(&folder, &format!("/api/v1/events?{}", wanted.join("&")))?;
    if let Some(last) = args.last {
        past(args, last, environment)?;
    }
    loop {
        let line = lines.next()?;
        if !out::print_live(&shown(&line, args.json)?)? {
            return Ok(exit::FINE);
        }
    }
}

/// A line of the stream as it is printed.
fn shown(line: &str, json: bool) -> Result<String, Failure> {
    let event: EventShape = match serde_json::from_str(line) {
        Ok(event) => event,
        Err(unreadable) => {
            let error = serde_json::from_str::<ErrorShape>(line);
            return Err(error.map_or_else(|_| local::other_version(&unreadable), local::refusal));
        }
    };
    Ok(if json {
        format!("{line}\n")
    } else {
        event_lines::live(&event, &zone(), out::paint())
    })
}

/// Prints the last so many begins and ends of outages, from the ledger.
fn past(args: &EventsArgs, count: usize, environment: &Environment) -> Result<(), Failure> {
    let folder = args.data.folder(environment)?;
    let store = |e: &dyn std::error::Error| Failure::usage(full(e));
    let ledger = DataDir::read(&folder)
        .and_then(|dir| dir.ledger())
        .map_err(|e| store(&e))?;
    let mut records = report::records(story::read(&ledger).map_err(|e| store(&e))?);
    report::select(&mut records, &args.monitors)?;
    let mut text = String::new();
    for event in PastEventShape::last(&records, count) {
        text += &if args.json {
            serde_json::to_string(&event).map_err(anyhow::Error::from)? + "\n"
        } else {
            event_lines::past(&event, &zone(), out::paint())
        };
    }
    Ok(out::print(&text)?)
}

/// As a query holds it (RFC 3986, section 2.1).
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let bytes = name.bytes();
    bytes
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_fits_into_a_query() {
        assert_eq!(encoded("web-1"), "web-1");
        assert_eq!(encoded("a/b&c=d ü"), "a%2Fb%26c%3Dd%20%C3%BC");
    }

    #[test]
    fn the_last_words_of_a_stream_are_a_failure() {
        let slow = shown(r#"{"error":"too slow","hint":"be quick"}"#, true).unwrap_err();
        assert_eq!(
            (slow.code, slow.text.as_str()),
            (exit::USAGE, "too slow; be quick")
        );
        let other = shown("[]", true).unwrap_err();
        assert!(other.text.contains("another version"), "{other:?}");
    }
}
