//! The lines of `lapwing echo send --json`: what happens, as it happens, and the summary.

use lapwing_core::{observation::Reason as CoreReason, time::Wall};
use serde::{Deserialize, Serialize};

use crate::shapes::{Reason, VERSION};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EchoLine {
    pub v: u32,
    /// RFC 3339, microseconds, UTC.
    pub at: String,
    #[serde(flatten)]
    pub event: EchoEvent,
}

impl EchoLine {
    pub fn new(at: Wall, event: EchoEvent) -> Self {
        Self {
            v: VERSION,
            at: at.rfc3339(),
            event,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EchoEvent {
    /// The TCP connection was made.
    Connected {
        took_ms: f64,
    },
    Echo(EchoShape),
    /// No echo came in time. When it comes later, an `echo` that is `late` follows.
    Lost {
        seq: u64,
        reason: Reason,
    },
    /// Our own fault: it never left.
    NotSent {
        reason: Reason,
    },
    /// What others said instead of an echo: nobody listens, no echo at all.
    Trouble {
        reason: Reason,
    },
    Summary(Box<EchoSummary>),
}

impl EchoEvent {
    pub fn lost(seq: u64, reason: &CoreReason) -> Self {
        let reason = reason.into();
        Self::Lost { seq, reason }
    }

    pub fn not_sent(reason: &CoreReason) -> Self {
        Self::NotSent {
            reason: reason.into(),
        }
    }

    pub fn trouble(reason: &CoreReason) -> Self {
        Self::Trouble {
            reason: reason.into(),
        }
    }
}

/// An echo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EchoShape {
    pub seq: u64,
    pub bytes: usize,
    /// Address and port.
    pub from: String,
    pub rtt_ms: f64,
    /// How much longer than the quickest of late it took on the way out, and on the way back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_change_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_change_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub reordered: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// All of a run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EchoSummary {
    /// As it was named: `host` or `host:port`.
    pub target: String,
    /// Address and port.
    pub peer: String,
    /// `udp` or `tcp`.
    pub transport: String,
    /// Of each datagram or message.
    pub bytes: usize,
    pub began: String,
    pub took_s: f64,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    /// Of those that were sent.
    pub loss_percent: f64,
    /// Sent, not back, and not yet lost.
    pub waiting: u64,
    /// Received when they had been taken for lost.
    pub late: u64,
    pub duplicates: u64,
    pub reordered: u64,
    /// What came and was no echo of ours.
    pub strangers: u64,
    /// Could not be sent, which is our own fault and no loss.
    pub not_sent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_sent_reason: Option<Reason>,
    /// `lapwing` or `plain` (RFC 862); absent before the first echo, and for tcp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Spread>,
    /// RFC 3550, section 6.4.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    /// Where Lapwing's own server answers: each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<WayShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<WayShape>,
    /// Lost, and nobody can tell where: they were sent after the newest echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_unknown: Option<u64>,
    /// How often a clock was set during the run: changes of delay were measured anew from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_set: Option<u64>,
}

/// How round trips are spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub min_ms: f64,
    pub median_ms: f64,
    pub p95_ms: f64,
    pub max_ms: f64,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayShape {
    /// Absent when the server does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<f64>,
    /// How much longer than the quickest of late.
    pub change: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_flat_object() {
        let echo = EchoShape {
            seq: 3,
            bytes: 64,
            from: "192.0.2.1:7007".to_owned(),
            rtt_ms: 12.5,
            out_change_ms: Some(0.5),
            back_change_ms: None,
            duplicate: false,
            reordered: true,
            late: false,
        };
        let line = EchoLine::new(Wall(0), EchoEvent::Echo(echo));
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"at":"1970-01-01T00:00:00.000000Z","event":"echo","seq":3,"bytes":64,"from":"192.0.2.1:7007","rtt_ms":12.5,"out_change_ms":0.5,"reordered":true}"#
        );
        assert_eq!(serde_json::from_str::<EchoLine>(&text).unwrap(), line);
        let silence = CoreReason::new("timeout.answer", "no echo within 2s");
        let lost = EchoLine::new(Wall(0), EchoEvent::lost(4, &silence));
        let text = serde_json::to_string(&lost).unwrap();
        assert!(
            text.ends_with(
                r#""event":"lost","seq":4,"reason":{"code":"timeout.answer","detail":"no echo within 2s"}}"#
            ),
            "{text}"
        );
    }
}
