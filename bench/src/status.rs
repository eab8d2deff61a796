//! Asks the daemon how it does, over its local socket. Reads the few fields that matter and nothing of the series.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The part of `/api/v1/status` that is read here.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) at: jiff::Timestamp,
    counts: BTreeMap<String, u64>,
    pub(crate) engine: Engine,
    #[serde(default)]
    listeners: BTreeMap<String, Listener>,
}

/// What came to a listener of the daemon.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    counts: BTreeMap<String, u64>,
}

impl Listener {
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Engine {
    pub(crate) checks: u64,
    pub(crate) dropped: u64,
    /// Absent where nothing was probed.
    #[serde(default)]
    late: Vec<Late>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Late {
    up_to_ms: f64,
    probes: u64,
}

impl Status {
    /// How many series have this state.
    pub(crate) fn count(&self, state: &str) -> u64 {
        self.counts.get(state).copied().unwrap_or(0)
    }

    /// What came to the heartbeat listener.
    pub(crate) fn heartbeats(&self) -> anyhow::Result<Listener> {
        let found = self.listeners.get("heartbeat").cloned();
        found.context("the daemon has no heartbeat listener")
    }

    /// The lateness that `share` (0 to 1) of the probes kept which started since `earlier`, in milliseconds.
    pub(crate) fn late_since(&self, earlier: &Self, share: f64) -> f64 {
        let before = |late: &Late| {
            let same = |other: &&Late| (other.up_to_ms - late.up_to_ms).abs() < 1e-9;
            earlier
                .engine
                .late
                .iter()
                .find(same)
                .map_or(0, |other| other.probes)
        };
        let since: Vec<(f64, u64)> = self
            .engine
            .late
            .iter()
            .map(|late| (late.up_to_ms, late.probes.saturating_sub(before(late))))
            .collect();
        let total: u64 = since.iter().map(|(_, probes)| probes).sum();
        let mut below = 0;
        for (up_to_ms, probes) in since {
            below += probes;
            if below > 0 && below as f64 >= share * total as f64 {
                return up_to_ms;
            }
        }
        0.0
    }
}

/// The status now; None when nobody listens there yet.
pub(crate) fn ask(socket: &Path) -> anyhow::Result<Option<Status>> {
    get(socket, "/api/v1/status")?
        .map(|answer| parse(&answer))
        .transpose()
}

/// The whole answer to one request; None when nobody listens there yet.
pub(crate) fn get(socket: &Path, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: lapwing\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .with_context(|| format!("no answer to {path} comes"))?;
    Ok(Some(answer))
}

fn parse(answer: &[u8]) -> anyhow::Result<Status> {
    serde_json::from_slice(body(answer)?)
        .context("the daemon's status is of another version than this program")
}

/// What stands behind the head of an answer that is no refusal.
pub(crate) fn body(answer: &[u8]) -> anyhow::Result<&[u8]> {
    const BORDER: &[u8] = b"\r\n\r\n";
    let border = answer.windows(BORDER.len()).position(|bytes| bytes == BORDER);
    let (head, body) = answer.split_at(border.context("the daemon's answer is cut off")?);
    let head = String::from_utf8_lossy(head);
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) != Some("200") {
        bail!("the daemon answers {line:?}");
    }
    Ok(&body[BORDER.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(late: &str) -> Status {
        let body = format!(
            "{{\"v\":1,\"at\":\"2026-01-02T03:04:05.5Z\",\"counts\":{{\"up\":3}},\"series\":[{{}}],\
             \"engine\":{{\"checks\":9,\"running\":0,\"dropped\":1,\"late\":[{late}]}}}}"
        );
        parse(format!("HTTP/1.0 200 OK\r\na: b\r\n\r\n{body}").as_bytes()).unwrap()
    }

    #[test]
    fn the_answer_is_read() {
        let status = status("");
        assert_eq!(
            (status.count("up"), status.count("down"), status.engine.checks),
            (3, 0, 9)
        );
        assert!(status.heartbeats().is_err());
        for bad in [
            "",
            "HTTP/1.0 200 OK\r\n\r\n{}",
            "HTTP/1.0 503 Service Unavailable\r\n\r\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn listeners_are_read() {
        let body = r#"{"at":"2026-01-02T03:04:05Z","counts":{},"engine":{"checks":0,"dropped":0,"late":[]},
            "listeners":{"heartbeat":{"address":"127.0.0.1:7","counts":{"beats":5}}}}"#;
        let status = parse(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).unwrap();
        let found = status.heartbeats().unwrap();
        assert_eq!(
            (found.address.port(), found.count("beats"), found.count("stale")),
            (7, 5, 0)
        );
    }

    #[test]
    fn lateness_counts_the_window_alone() {
        let late = |a: u32, b: u32, c: u32| {
            let one = |up_to: &str, n: u32| format!("{{\"up_to_ms\":{up_to},\"probes\":{n}}}");
            status(&[one("1.0", a), one("1.125", b), one("99.0", c)].join(","))
        };
        let (before, after) = (late(50, 0, 50), late(50, 99, 51));
        let found = [(&before, 0.5), (&before, 0.99), (&before, 1.0), (&after, 0.5)];
        let found = found.map(|(earlier, share)| after.late_since(earlier, share).to_string());
        assert_eq!(found, ["1.125", "1.125", "99", "0"]);
    }
}
