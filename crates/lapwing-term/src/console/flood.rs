//! Live events on their way to somebody who types: a few are shown, of a flood only how much it is.

use std::collections::BTreeMap;

/// Events of one moment that are shown one by one.
const MOST: usize = 10;

/// The events of one moment.
#[derive(Debug, Default)]
pub struct Flood {
    lines: Vec<String>,
    /// Those that are only counted, by what happened.
    rest: BTreeMap<String, usize>,
}

impl Flood {
    /// Takes an event: its word (`down`, `up`, …) and its line.
    pub fn add(&mut self, event: &str, line: impl FnOnce() -> String) {
        if self.lines.len() < MOST {
            self.lines.push(line());
        } else {
            self.count(event, 1);
        }
    }

    /// Takes events of which only the number is known.
    pub fn count(&mut self, event: &str, number: usize) {
        *self.rest.entry(event.to_owned()).or_default() += number;
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.rest.is_empty()
    }

    /// Whether there is more than is shown.
    pub fn is_over(&self) -> bool {
        !self.rest.is_empty()
    }

    /// What is to be shown of this moment; the next one begins.
    pub fn take(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        let rest = std::mem::take(&mut self.rest);
        let more: usize = rest.values().sum();
        if more > 0 {
            let counts: Vec<String> = rest.iter().map(|(event, n)| format!("{n} {event}")).collect();
            lines.push(format!(
                "… and {more} more events at the same time: {}; `events` and `status` show them",
                counts.join(", ")
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_sum() {
        let mut flood = Flood::default();
        for n in 0..10_000 {
            let event = if n % 2 == 0 { "down" } else { "up" };
            flood.add(event, || format!("event {n}"));
        }
        let shown = flood.take();
        assert_eq!(shown.len(), 11);
        assert_eq!(shown[9], "event 9");
        assert_eq!(
            shown[10],
            "… and 9990 more events at the same time: 4995 down, 4995 up; `events` and `status` show them"
        );
        assert!(flood.is_empty());
        flood.add("up", || "one".to_owned());
        assert_eq!(flood.take(), ["one"]);
    }
}
