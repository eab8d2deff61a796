//! Live events on their way to somebody who types: a few are shown, of a flood only how much it is.

use std::collections::BTreeMap;

use crate::top::view::grouped;

/// Events of one moment that are shown one by one.
const MOST: usize = 10;

/// The events of one moment.
#[derive(Debug, Default)]
pub struct Flood {
    /// What matters most comes first.
    lines: Vec<(Rank, String)>,
    /// Those that are only counted.
    rest: BTreeMap<Rank, usize>,
}

/// How much an event matters, the least number most, and its word (`down`, `up`, …).
type Rank = (u8, String);

fn rank(event: &str) -> Rank {
    let place = match event {
        "down" => 0,
        "up" => 1,
        "monitoring" => 3,
        _ => 2,
    };
    (place, event.to_owned())
}

impl Flood {
    /// Takes an event: its word and its line.
    pub fn add(&mut self, event: &str, line: impl FnOnce() -> String) {
        let rank = rank(event);
        let behind = self.lines.partition_point(|(other, _)| other.0 <= rank.0);
        if behind == MOST {
            return self.count(event, 1);
        }
        self.lines.insert(behind, (rank, line()));
        if self.lines.len() > MOST
            && let Some((rank, _)) = self.lines.pop()
        {
            *self.rest.entry(rank).or_default() += 1;
        }
    }

    /// Takes events of which only the number is known.
    pub fn count(&mut self, event: &str, number: usize) {
        *self.rest.entry(rank(event)).or_default() += number;
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
        let shown = std::mem::take(&mut self.lines);
        let mut lines: Vec<String> = shown.into_iter().map(|(_, line)| line).collect();
        let rest = std::mem::take(&mut self.rest);
        let more: usize = rest.values().sum();
        if more > 0 {
            let counts = rest
                .iter()
                .map(|((_, event), n)| format!("{} {event}", grouped(*n)));
            lines.push(format!(
                "… and {} more events at the same time: {}; `events` and `status` show them",
                grouped(more),
                counts.collect::<Vec<_>>().join(", ")
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
            flood.add("down", || format!("event {n}"));
        }
        let shown = flood.take();
        assert_eq!(shown.len(), 11);
        assert_eq!((&*shown[0], &*shown[9]), ("event 0", "event 9"));
        assert_eq!(
            shown[10],
            "… and 9,990 more events at the same time: 9,990 down; `events` and `status` show them"
        );
        assert!(flood.is_empty());
        flood.add("up", || "one".to_owned());
        assert_eq!(flood.take(), ["one"]);
    }

    #[test]
    fn what_went_down_is_not_hidden_by_what_is_new() {
        let mut flood = Flood::default();
        for event in ["monitoring", "paused", "up", "down"] {
            for n in 0..3_000 {
                flood.add(event, || format!("{event} {n}"));
            }
        }
        let shown = flood.take();
        assert_eq!((&*shown[0], &*shown[9]), ("down 0", "down 9"));
        assert!(
            shown[10].contains(": 2,990 down, 3,000 up, 3,000 paused, 3,000 monitoring;"),
            "{shown:?}"
        );
        flood.add("monitoring", || "new".to_owned());
        flood.add("down", || "worse".to_owned());
        assert_eq!(flood.take(), ["worse", "new"]);
    }
}
