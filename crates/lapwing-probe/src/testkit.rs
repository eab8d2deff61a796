//! Scripted and hostile peers for the tests of kinds, and the way to ask them.
//!
//! Real sockets on loopback, port 0, IPv4 and IPv6. Nothing here may reach beyond this machine.

mod certificates;
mod peer;

pub use certificates::{Authority, Certified};
pub use peer::{Closed, Datagrams, End, Full, Peer, Step};

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lapwing_core::{
    kind::{KindInfo, OptionError, OptionValue, Options, SHARED_CODES},
    monitor::{Family, ProbeSettings},
    observation::{Observation, Outcome},
    target::Target,
    time::{Clock, Mono, Now, Wall},
};
use lapwing_net::Net;

use crate::{Prober, build, kinds::KINDS};

/// How far past its deadline a probe may end.
pub const OVERRUN: Duration = Duration::from_millis(200);

/// Both loopback families: tests run once with each.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The loopback address of `family` with port 0: where peers bind.
pub fn loopback(family: Family) -> SocketAddr {
    let ip: IpAddr = if family == Family::V6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    };
    SocketAddr::new(ip, 0)
}

/// The clocks of this machine.
pub struct MachineClock {
    origin: Instant,
}

impl MachineClock {
    #[expect(clippy::new_without_default, reason = "reading a clock is not a default")]
    #[expect(
        clippy::disallowed_methods,
        reason = "probes of real sockets need a real clock"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for MachineClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "probes of real sockets need a real clock"
    )]
    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            wall: Wall(wall.as_micros() as i64),
            mono: Mono(self.origin.elapsed().as_micros() as u64),
        }
    }
}

/// A real way to the network with a real clock.
pub fn net() -> Net {
    Net::new(Arc::new(MachineClock::new()))
}

/// One question to one target, put together step by step.
pub struct Ask {
    url: String,
    options: Options,
    pub settings: ProbeSettings,
}

impl Ask {
    /// Asks `url`, within 2 s unless said otherwise.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            options: Options::default(),
            settings: ProbeSettings::default(),
        }
    }

    /// Gives an option as text, as `-o name=value` does.
    #[must_use]
    pub fn option(self, name: &str, value: impl Into<String>) -> Self {
        self.value(name, OptionValue::Text(value.into()))
    }

    /// Gives an option as a configuration does.
    #[must_use]
    pub fn value(mut self, name: &str, value: OptionValue) -> Self {
        self.options.set(name, value);
        self
    }

    /// Sets `timeout` and `connect_timeout`.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets `timeout` and `connect_timeout` to so many milliseconds.
    #[must_use]
    pub fn millis(self, timeout: u64) -> Self {
        self.within(Duration::from_millis(timeout))
    }

    /// Asks once, with a [`Net`] of its own, and asserts that the deadline held.
    pub async fn observe(self) -> Observation {
        self.observe_with(&net()).await
    }

    /// Asks once, and asserts that the deadline held and that the kind declares every fact and code it gave.
    pub async fn observe_with(self, net: &Net) -> Observation {
        let timeout = self.settings.timeout;
        let url = self.url.clone();
        let (info, prober) = self.prober();
        let prober = prober.unwrap_or_else(|errors| panic!("{url}: {errors:?}"));
        let observation = prober.observe(net).await;
        let took = observation.took;
        assert!(took <= timeout + OVERRUN, "{url} took {took:?} of {timeout:?}");
        for fact in &observation.sample.facts {
            assert!(
                info.facts.iter().any(|f| f.name == fact.name),
                "{url}: undeclared fact {}",
                fact.name
            );
        }
        if let Some(reason) = observation.outcome.reason() {
            let declared = info
                .codes
                .iter()
                .chain(SHARED_CODES)
                .any(|c| c.code == reason.code.as_str());
            assert!(
                declared,
                "{url}: undeclared code {} ({})",
                reason.code, reason.detail
            );
        }
        observation
    }

    /// The errors of the options; panics when there are none.
    pub fn errors(self) -> Vec<OptionError> {
        let url = self.url.clone();
        match self.prober().1 {
            Ok(_) => panic!("{url}: the options were accepted"),
            Err(errors) => errors,
        }
    }

    fn prober(self) -> (&'static KindInfo, Result<Prober, Vec<OptionError>>) {
        let infos: Vec<_> = KINDS.iter().map(|k| k.info).collect();
        let target = Target::parse(&self.url, &infos).unwrap_or_else(|e| panic!("{}: {e}", self.url));
        (
            target.kind,
            build(KINDS, &target, &self.options, Arc::new(self.settings)),
        )
    }
}

/// `up`, `degraded tls.expiring`, `down connect.refused`, `inconclusive ours.source`.
pub fn verdict(observation: &Observation) -> String {
    let word = match &observation.outcome {
        Outcome::Up => "up",
        Outcome::Degraded(_) => "degraded",
        Outcome::Down(_) => "down",
        Outcome::Inconclusive(_) => "inconclusive",
    };
    match observation.outcome.reason() {
        Some(reason) => format!("{word} {}", reason.code),
        None => word.to_owned(),
    }
}

/// The detail of the reason; empty when up.
pub fn detail(observation: &Observation) -> String {
    observation
        .outcome
        .reason()
        .map(|r| r.detail.clone())
        .unwrap_or_default()
}

/// A fact as text; empty when it is missing.
pub fn fact(observation: &Observation, name: &str) -> String {
    observation
        .sample
        .fact(name)
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The names of the phases, in their order.
pub fn phases(observation: &Observation) -> Vec<&'static str> {
    observation.sample.phases.iter().map(|p| p.name).collect()
}

/// One row of a table of questions and verdicts.
pub struct Row {
    pub name: String,
    pub ask: Ask,
    /// As [`verdict`] writes it.
    pub verdict: &'static str,
    /// What the detail must hold.
    pub detail: &'static str,
    /// Lives as long as the question.
    pub peer: Box<dyn std::any::Any + Send>,
}

/// Asks all rows at once, and fails with every row that went otherwise.
pub async fn all(rows: Vec<Row>) {
    let net = net();
    let mut asks = tokio::task::JoinSet::new();
    for row in rows {
        let net = net.clone();
        asks.spawn(async move {
            let found = row.ask.observe_with(&net).await;
            drop(row.peer);
            let (is, detail) = (verdict(&found), detail(&found));
            let passed = is == row.verdict && detail.contains(row.detail);
            (!passed).then(|| {
                format!(
                    "{}: {is} \"{detail}\", expected {} \"{}\"",
                    row.name, row.verdict, row.detail
                )
            })
        });
    }
    let mut wrong = Vec::new();
    while let Some(result) = asks.join_next().await {
        wrong.extend(result.unwrap_or_else(|e| Some(e.to_string())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
