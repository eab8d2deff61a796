//! What a running probe knows and records.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapwing_core::{
    monitor::ProbeSettings,
    observation::{Fact, Fault, Phase, Reason, Requests, Sample, Value},
    target::Host,
    time::{Mono, Now},
};
use lapwing_net::Net;

use crate::{BoxFuture, Verdict};

/// The future of one probe run.
pub type Probing<'a> = BoxFuture<'a, Verdict>;

/// One run of a probe: its deadline, its way to the network, and the record of what it found so far.
///
/// The record survives when the run is cut off at its deadline: the open stage then names the timeout.
pub struct Cx<'a> {
    pub net: &'a Net,
    pub settings: &'a ProbeSettings,
    pub started: Now,
    /// The run is ended here from outside; probes that space or collect answers end themselves before.
    pub deadline: Mono,
    /// Set where every address of a name is asked in turn: the probe then resolves to this one.
    pub only: Option<IpAddr>,
    track: Mutex<Track>,
}

#[derive(Default)]
struct Track {
    open: Option<(&'static str, Mono)>,
    sample: Sample,
    degraded: Option<Reason>,
}

impl<'a> Cx<'a> {
    pub fn new(net: &'a Net, settings: &'a ProbeSettings, started: Now, only: Option<IpAddr>) -> Self {
        let deadline = started.mono + settings.timeout;
        Self {
            net,
            settings,
            started,
            deadline,
            only,
            track: Mutex::default(),
        }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Mono {
        self.net.clock().mono()
    }

    /// Time left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.mono())
    }

    /// Time left until shortly before the deadline: for probes that end themselves to say what they found.
    pub fn before_deadline(&self) -> Duration {
        let margin = (self.settings.timeout / 20).min(Duration::from_millis(5));
        self.remaining().saturating_sub(margin)
    }

    /// Opens a stage (`resolve`, `connect`, `tls`, `first_byte`, `transfer`, `answer`) and closes the one before it.
    /// A stage entered again adds to its time.
    pub fn enter(&self, stage: &'static str) {
        let now = self.mono();
        let mut track = self.track();
        track.close(now);
        track.open = Some((stage, now));
    }

    /// Closes the open stage.
    pub fn leave(&self) {
        let now = self.mono();
        self.track().close(now);
    }

    /// The open stage, if any.
    pub fn stage(&self) -> Option<&'static str> {
        self.track().open.map(|(stage, _)| stage)
    }

    /// Records a stage whose time was measured otherwise (kernel stamps).
    pub fn phase(&self, name: &'static str, took: Duration) {
        self.track().add(name, took);
    }

    /// Records a fact; a later value of the same name replaces the earlier.
    pub fn fact(&self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        let facts = &mut self.track().sample.facts;
        match facts.iter_mut().find(|f| f.name == name) {
            Some(fact) => fact.value = value,
            None => facts.push(Fact { name, value }),
        }
    }

    /// Records how many requests were sent and how many stayed unanswered.
    pub fn requests(&self, sent: u32, lost: u32) {
        self.track().sample.requests = Some(Requests { sent, lost });
    }

    /// The target passed, but needs attention. The first such reason stands.
    pub fn degraded(&self, reason: Reason) {
        self.track().degraded.get_or_insert(reason);
    }

    /// How long names may take: four fifths of what is left, so that silence of the resolvers, which is ours, is known
    /// before the deadline.
    pub fn resolve_limit(&self) -> Duration {
        self.remaining() * 4 / 5
    }

    /// The addresses of `host` that this run may ask, by family and `addresses`; names are resolved in the stage
    /// `resolve`. Never empty.
    pub async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Fault> {
        if let Some(only) = self.only {
            return Ok(vec![only]);
        }
        if let Host::Name(_) = host {
            self.enter("resolve");
        }
        let found = self
            .net
            .resolve_within(host, self.settings.family, self.resolve_limit())
            .await;
        self.leave();
        found
    }

    /// The first address of `host` with `port`.
    pub async fn address(&self, host: &Host, port: u16) -> Result<SocketAddr, Fault> {
        let addresses = self.addresses(host).await?;
        Ok(self.net.socket_address(addresses[0], host, port))
    }

    /// Runs `work` in `stage`, for at most `limit` (and never past the deadline, which the runner watches).
    /// When the limit passes: a `timeout.<stage>` of the target.
    pub async fn limited<T>(
        &self,
        stage: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.enter(stage);
        let result = if limit < self.remaining() {
            match tokio::time::timeout(limit, work).await {
                Ok(result) => result,
                Err(_) => Err(timed_out(stage, limit)),
            }
        } else {
            work.await
        };
        self.leave();
        result
    }

    /// Takes the record; the runner calls it when the run has ended.
    pub(crate) fn into_record(self) -> (Sample, Option<Reason>, Option<&'static str>) {
        let now = self.mono();
        let mut track = self.track.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stage = track.open.map(|(stage, _)| stage);
        track.close(now);
        (track.sample, track.degraded, stage)
    }

    fn track(&self) -> MutexGuard<'_, Track> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Track {
    fn close(&mut self, now: Mono) {
        if let Some((stage, since)) = self.open.take() {
            self.add(stage, now.since(since));
        }
    }

    fn add(&mut self, name: &'static str, took: Duration) {
        match self.sample.phases.iter_mut().find(|p| p.name == name) {
            Some(phase) => phase.took += took,
            None => self.sample.phases.push(Phase { name, took }),
        }
    }
}

/// The reason of a run that ended at its deadline, or of a stage that ended at its limit.
pub(crate) fn timed_out(stage: &str, limit: Duration) -> Fault {
    let limit = lapwing_core::time::short(limit);
    match stage {
        "resolve" => Fault::target("timeout.resolve", format!("name not resolved within {limit}")),
        "connect" => Fault::target("timeout.connect", format!("no connection within {limit}")),
        "tls" => Fault::target("timeout.tls", format!("TLS handshake not done within {limit}")),
        "first_byte" => Fault::target(
            "timeout.first_byte",
            format!("connected, but no answer within {limit}"),
        ),
        "transfer" => Fault::target("timeout.transfer", format!("answer not complete within {limit}")),
        _ => Fault::target("timeout.answer", format!("no answer within {limit}")),
    }
}
