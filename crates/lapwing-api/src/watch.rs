//! What `lapwing watch` shows: each result as it comes. It must stay small, for there may be thousands a second.

use lapwing_core::{
    monitor::Series,
    observation::{Observation, Value},
    time::Wall,
};
use serde::{Deserialize, Serialize};

use crate::shapes::{Reason, VERSION, state_of};

/// One result of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultShape {
    pub v: u32,
    pub series: String,
    /// When it was asked.
    pub at: String,
    /// `up`, `degraded`, `down`, `inconclusive`: what this one found, whatever is judged of it.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The round trip where one was measured, else how long the check took. Absent where nobody answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Requests sent and lost; none of ours that never left.
    pub sent: u32,
    pub lost: u32,
}

impl ResultShape {
    pub fn new(series: &Series, seen: &Observation) -> Self {
        let requests = seen.requests();
        let answered = seen.outcome.is_success();
        Self {
            v: VERSION,
            series: series.name.clone(),
            at: Wall::rfc3339(seen.at),
            state: state_of(&seen.outcome).to_string(),
            reason: seen.outcome.reason().map(Reason::from),
            rtt_ms: answered.then(|| round_trip(seen)),
            sent: requests.map_or(0, |r| r.sent),
            lost: requests.map_or(0, |r| r.lost),
        }
    }
}

/// In milliseconds: as the kind measured it, else the connect alone where nothing else was done, else all of it.
fn round_trip(seen: &Observation) -> f64 {
    let measured = ["icmp.rtt", "echo.rtt"]
        .into_iter()
        .find_map(|name| match seen.sample.fact(name) {
            Some(Value::Float(seconds)) => Some(seconds * 1e3),
            _ => None,
        });
    let phases = &seen.sample.phases;
    let connect = phases.last().filter(|phase| phase.name == "connect");
    let took = connect.map_or(seen.took, |phase| phase.took);
    measured.unwrap_or(took.as_micros() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use lapwing_core::{
        monitor::{Monitor, Policy},
        observation::{Fact, Outcome, Phase, Reason as CoreReason, Requests, Sample},
    };

    use super::*;

    fn series() -> Series {
        Series {
            key: "web".into(),
            name: "web".to_owned(),
            monitor: Arc::new(Monitor {
                name: "web".to_owned(),
                labels: Vec::new(),
                policy: Policy::default(),
                notify: Vec::new(),
            }),
            target: "tcp://192.0.2.1:80".to_owned(),
            kind: "tcp",
            host: "192.0.2.1".to_owned(),
            loopback: false,
            overlaps: false,
        }
    }

    fn seen(outcome: Outcome, sample: Sample) -> ResultShape {
        let seen = Observation {
            at: Wall(0),
            took: Duration::from_millis(20),
            outcome,
            sample,
        };
        ResultShape::new(&series(), &seen)
    }

    #[test]
    fn the_round_trip_is_that_of_the_kind() {
        let phase = |name, ms| Phase {
            name,
            took: Duration::from_millis(ms),
        };
        let of = |phases: Vec<Phase>, facts| {
            let sample = Sample {
                phases,
                facts,
                requests: None,
            };
            seen(Outcome::Up, sample).rtt_ms
        };
        let fact = Fact {
            name: "icmp.rtt",
            value: Value::Float(0.0125),
        };
        assert_eq!(of(vec![phase("connect", 5)], vec![fact]), Some(12.5));
        assert_eq!(
            of(vec![phase("resolve", 9), phase("connect", 5)], vec![]),
            Some(5.0)
        );
        assert_eq!(
            of(vec![phase("connect", 5), phase("transfer", 9)], vec![]),
            Some(20.0)
        );
    }

    #[test]
    fn only_what_was_sent_counts() {
        let why = || CoreReason::new("timeout.answer", "no answer");
        let lost = seen(Outcome::Down(why()), Sample::default());
        assert_eq!((lost.sent, lost.lost, lost.rtt_ms), (1, 1, None));
        let ours = seen(Outcome::Inconclusive(why()), Sample::default());
        assert_eq!(
            (ours.sent, ours.lost, ours.state.as_str()),
            (0, 0, "inconclusive")
        );
        let requests = Some(Requests { sent: 5, lost: 2 });
        let some = Sample {
            requests,
            ..Sample::default()
        };
        let some = seen(Outcome::Up, some);
        assert_eq!((some.sent, some.lost), (5, 2));
    }
}
