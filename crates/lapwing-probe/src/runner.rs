//! Runs any probe: deadline, panic guard, every address in turn, and the observation that comes of it.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use lapwing_core::{
    kind::{OptionError, Options},
    monitor::{Addresses, ProbeSettings},
    observation::{Fault, Observation, Outcome, Reason, Requests, Sample},
    target::{Host, Target},
    time::{Now, measured},
};
use lapwing_net::Net;
use tokio::time::timeout;

use crate::{
    Kind, Probe,
    cx::{Cx, timed_out},
};

/// A wake-up so long after the deadline means that this process stood still: stopped, swapped out, overloaded.
const STALL: Duration = Duration::from_millis(50);
/// For answers that came meanwhile.
const SECOND_LOOK: Duration = Duration::from_millis(50);
/// A stall of this and half the timeout may have kept the request from leaving: nothing is known then.
const STALL_OVER: Duration = Duration::from_millis(250);

/// A probe of one target with all that it needs to run.
#[derive(Clone)]
pub struct Prober {
    probe: Arc<dyn Probe>,
    host: Option<Host>,
    settings: Arc<ProbeSettings>,
}

/// Builds the probe of `target` with the options of its URL and those given beside it (which win).
pub fn build(
    kinds: &'static [Kind],
    target: &Target,
    given: &Options,
    settings: Arc<ProbeSettings>,
) -> Result<Prober, Vec<OptionError>> {
    let kind = kinds.iter().find(|k| k.info.name == target.kind.name);
    let kind = kind.ok_or_else(|| {
        vec![OptionError::new(
            "",
            format!("the kind {} is not built in", target.kind.name),
        )]
    })?;
    let mut options = target.options.clone();
    for name in given.names() {
        if let Some(value) = given.get(name) {
            options.set(name, value.clone());
        }
    }
    let probe = (kind.parse)(target, &options)?;
    Ok(Prober {
        probe: probe.into(),
        host: target.host.clone(),
        settings,
    })
}

impl Prober {
    pub fn settings(&self) -> &ProbeSettings {
        &self.settings
    }

    /// Probes once. Always ends by the deadline, and never panics.
    pub async fn observe(&self, net: &Net) -> Observation {
        let started = net.clock().now();
        let (outcome, sample) = match (&self.host, self.settings.addresses) {
            (Some(host @ Host::Name(_)), Addresses::All) => self.ask_all(net, started, host).await,
            _ => self.ask(net, started, None).await,
        };
        let took = net.clock().mono().since(started.mono);
        Observation {
            at: started.wall,
            took,
            outcome,
            sample,
        }
    }

    async fn ask(&self, net: &Net, started: Now, only: Option<IpAddr>) -> (Outcome, Sample) {
        let cx = Cx::new(net, &self.settings, started, only);
        let mut guarded = CatchPanic(AssertUnwindSafe(self.probe.run(&cx)));
        let mut verdict = timeout(cx.remaining(), &mut guarded).await;
        let late = cx.mono().since(cx.deadline);
        if verdict.is_err() && late > STALL {
            // We stood still ourselves. What came in time waits on the sockets, so look there before judging.
            verdict = timeout(SECOND_LOOK, &mut guarded).await;
        }
        drop(guarded);
        let (sample, degraded, stage) = cx.into_record();
        let fault = match verdict {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(fault))) => Some(fault),
            Ok(Err(panic)) => Some(Fault::ours(
                "ours.panic",
                format!("the probe failed by a defect: {panic}"),
            )),
            Err(_) if late > self.settings.timeout / 2 + STALL_OVER => {
                let text = format!(
                    "this process stood still for {} and cannot judge the answer",
                    measured(late)
                );
                Some(Fault::ours("ours.overload", text))
            }
            Err(_) => Some(timed_out(stage.unwrap_or("answer"), self.settings.timeout)),
        };
        let outcome = match (fault, degraded) {
            (None, None) => Outcome::Up,
            (None, Some(reason)) => Outcome::Degraded(reason),
            (Some(Fault::Target(reason)), _) => Outcome::Down(reason),
            (Some(Fault::Ours(reason)), _) => Outcome::Inconclusive(reason),
        };
        (outcome, sample)
    }

    /// Asks every address of the name. Down when one of them is, and the detail says which.
    async fn ask_all(&self, net: &Net, started: Now, host: &Host) -> (Outcome, Sample) {
        let limit = self.settings.timeout * 4 / 5;
        let resolving = net.resolve_within(host, self.settings.family, limit);
        let resolved = timeout(self.settings.timeout, resolving).await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(Fault::Target(reason))) => return (Outcome::Down(reason), Sample::default()),
            Ok(Err(Fault::Ours(reason))) => return (Outcome::Inconclusive(reason), Sample::default()),
            Err(_) => {
                let reason = timed_out("resolve", self.settings.timeout).reason().clone();
                return (Outcome::Down(reason), Sample::default());
            }
        };
        let mut asks = tokio::task::JoinSet::new();
        for addr in addresses {
            let (prober, net) = (self.clone(), net.clone());
            asks.spawn(async move { (addr, prober.ask(&net, started, Some(addr)).await) });
        }
        let mut results = asks.join_all().await;
        results.sort_by_key(|(addr, _)| *addr);
        merge(results)
    }
}

fn merge(results: Vec<(IpAddr, (Outcome, Sample))>) -> (Outcome, Sample) {
    let count = results.len();
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Down(_) => 3,
        Outcome::Inconclusive(_) => 2,
        Outcome::Degraded(_) => 1,
        Outcome::Up => 0,
    };
    let worst = results
        .iter()
        .map(|(_, (outcome, _))| rank(outcome))
        .max()
        .unwrap_or(0);
    let failed = results
        .iter()
        .filter(|(_, (outcome, _))| rank(outcome) == worst)
        .count();
    let requests = results
        .iter()
        .filter_map(|(_, (_, sample))| sample.requests)
        .reduce(|a, b| Requests {
            sent: a.sent + b.sent,
            lost: a.lost + b.lost,
        });
    let Some((addr, (outcome, mut sample))) = results
        .into_iter()
        .find(|(_, (outcome, _))| rank(outcome) == worst)
    else {
        return (Outcome::Up, Sample::default());
    };
    sample.requests = requests;
    let at = |reason: Reason| Reason {
        detail: lapwing_core::observation::clean(
            &format!("{failed} of {count} addresses: {addr}: {}", reason.detail),
            Reason::DETAIL_MAX,
        ),
        code: reason.code,
    };
    let outcome = match outcome {
        Outcome::Up => Outcome::Up,
        Outcome::Degraded(reason) => Outcome::Degraded(at(reason)),
        Outcome::Down(reason) => Outcome::Down(at(reason)),
        Outcome::Inconclusive(reason) => Outcome::Inconclusive(at(reason)),
    };
    (outcome, sample)
}

/// Turns a panic of the inner future into an error.
struct CatchPanic<F>(AssertUnwindSafe<F>);

impl<F: Future + Unpin> Future for CatchPanic<F> {
    type Output = Result<F::Output, String>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let inner = std::pin::Pin::new(&mut self.0.0);
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.poll(task))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
                std::task::Poll::Ready(Err(text.unwrap_or_else(|| "panic".to_owned())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::Clock;

    use super::*;
    use crate::{Probing, testkit};

    /// Stops the whole thread for a while, as a stopped or overloaded process does, and then finds its answer, or not.
    struct Stalled {
        sleep: Duration,
        answered: bool,
    }

    impl Probe for Stalled {
        fn run<'a>(&'a self, _: &'a Cx<'a>) -> Probing<'a> {
            Box::pin(async {
                std::thread::sleep(self.sleep);
                tokio::task::yield_now().await;
                if self.answered {
                    Ok(())
                } else {
                    std::future::pending().await
                }
            })
        }
    }

    #[tokio::test]
    async fn a_stall_of_ours_is_never_held_against_the_target() {
        for (sleep, answered, expected) in [
            (400, true, "up"),
            (400, false, "inconclusive ours.overload"),
            (0, false, "down timeout.answer"),
            (0, true, "up"),
        ] {
            let timeout = Duration::from_millis(20);
            let settings = ProbeSettings {
                timeout,
                ..ProbeSettings::default()
            };
            let probe = Arc::new(Stalled {
                sleep: Duration::from_millis(sleep),
                answered,
            });
            let prober = Prober {
                probe,
                host: None,
                settings: Arc::new(settings),
            };
            let found = prober.observe(&testkit::net()).await;
            assert_eq!(
                testkit::verdict(&found),
                expected,
                "{sleep} ms, answered: {answered}"
            );
        }
    }

    /// A clock that has run for an hour already.
    struct Aged(testkit::MachineClock);

    impl Clock for Aged {
        fn now(&self) -> Now {
            let mut now = self.0.now();
            now.mono += Duration::from_secs(3600);
            now
        }
    }

    /// With `addresses = "all"` the names are resolved first: what that took is not given again to each address.
    #[tokio::test]
    async fn the_deadline_counts_from_the_start_of_the_whole_check() {
        let settings = ProbeSettings {
            timeout: Duration::from_secs(10),
            ..ProbeSettings::default()
        };
        let probe = Arc::new(Stalled {
            sleep: Duration::ZERO,
            answered: false,
        });
        let prober = Prober {
            probe,
            host: None,
            settings: Arc::new(settings),
        };
        let net = Net::new(Arc::new(Aged(testkit::MachineClock::new())));
        let begun = net.clock().now();
        let mut earlier = begun;
        earlier.mono.0 -= 9_900_000;
        let (outcome, _) = prober.ask(&net, earlier, None).await;
        assert!(matches!(outcome, Outcome::Down(_)), "{outcome:?}");
        assert!(net.clock().mono().since(begun.mono) < Duration::from_secs(5));
    }
}
