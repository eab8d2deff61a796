//! How many pings a second the ICMP engine does, and what each costs: over loopback, where the kernel answers at once.
//!
//! `cargo run --release -p lapwing-probe --example icmp_rate -- [targets] [rounds] [in flight]`

#![expect(clippy::print_stdout, reason = "the figures are the purpose of this program")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lapwing_core::{
    monitor::ProbeSettings,
    observation::Outcome,
    target::Target,
    time::{Clock, Mono, Now, Wall},
};
use lapwing_net::Net;
use lapwing_probe::{
    Prober, build,
    engine::icmp::{Ask, IcmpEngine, Path},
    kinds::KINDS,
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

struct Machine(Instant);

impl Machine {
    #[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
    fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Machine {
    #[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            wall: Wall(wall.as_micros() as i64),
            mono: self.mono(),
        }
    }

    fn mono(&self) -> Mono {
        Mono(self.0.elapsed().as_micros() as u64)
    }
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f01_0000 + n)
}

/// CPU of this process so far, user and system, in microseconds.
fn cpu() -> (i64, i64) {
    getrusage(UsageWho::RUSAGE_SELF).map_or((0, 0), |u| {
        (
            u.user_time().num_microseconds(),
            u.system_time().num_microseconds(),
        )
    })
}

struct Tally {
    answered: usize,
    rtts: Vec<Duration>,
}

async fn engine_alone(net: &Net, targets: u32, rounds: u32, tasks: u32) -> Tally {
    let engine = net.extension(IcmpEngine::new);
    let mut set = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (engine, net) = (Arc::clone(&engine), net.clone());
        set.spawn(async move {
            let mut rtts = Vec::new();
            for n in (task..targets * rounds).step_by(tasks as usize) {
                let asked = net.clock().mono();
                let round = engine.ping(Ask {
                    to: SocketAddr::new(address(n % targets).into(), 0),
                    packets: 1,
                    spacing: Duration::from_secs(2),
                    until_answered: true,
                    payload: 56,
                    path: Path::default(),
                    asked,
                    deadline: asked + Duration::from_secs(2),
                    tally: Arc::default(),
                });
                rtts.extend(round.await.ok().and_then(|r| r.answers.first().map(|a| a.rtt)));
            }
            rtts
        });
    }
    let rtts = set.join_all().await.concat();
    Tally {
        answered: rtts.len(),
        rtts,
    }
}

async fn whole_probes(net: &Net, targets: u32, rounds: u32, tasks: u32) -> Tally {
    let infos: Vec<_> = KINDS.iter().map(|k| k.info).collect();
    let settings = Arc::new(ProbeSettings::default());
    let probers: Vec<Prober> = (0..targets)
        .filter_map(|n| Target::parse(&format!("icmp://{}", address(n)), &infos).ok())
        .filter_map(|t| {
            let options = t.options.clone();
            build(KINDS, &t, &options, Arc::clone(&settings)).ok()
        })
        .collect();
    let probers = Arc::new(probers);
    let mut set = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (probers, net) = (Arc::clone(&probers), net.clone());
        set.spawn(async move {
            let mut rtts = Vec::new();
            for n in (task..targets * rounds).step_by(tasks as usize) {
                let found = probers[(n % targets) as usize].observe(&net).await;
                if found.outcome == Outcome::Up {
                    rtts.extend(
                        found
                            .sample
                            .phases
                            .iter()
                            .find(|p| p.name == "answer")
                            .map(|p| p.took),
                    );
                }
            }
            rtts
        });
    }
    let rtts = set.join_all().await.concat();
    Tally {
        answered: rtts.len(),
        rtts,
    }
}

fn report(name: &str, clock: &dyn Clock, (start, before): (Mono, (i64, i64)), total: u32, mut tally: Tally) {
    let took = clock.mono().since(start).as_secs_f64();
    let (user, system) = cpu();
    let n = f64::from(total);
    tally.rtts.sort_unstable();
    let quantile = |q: f64| {
        tally
            .rtts
            .get((tally.rtts.len() as f64 * q) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{name}: {:.0} pings/s, {:.2} us CPU each ({:.2} user, {:.2} system), {} of {total} answered, rtt p50 {:?} p99 {:?}",
        n / took,
        (user - before.0 + system - before.1) as f64 / n,
        (user - before.0) as f64 / n,
        (system - before.1) as f64 / n,
        tally.answered,
        quantile(0.5),
        quantile(0.99),
    );
}

fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let (targets, rounds) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(20));
    let tasks = numbers.next().unwrap_or(256);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let clock: Arc<dyn Clock> = Arc::new(Machine::new());
    let net = Net::new(Arc::clone(&clock));
    runtime.block_on(async {
        for _ in 0..2 {
            let begin = (clock.mono(), cpu());
            let tally = tokio::spawn({
                let net = net.clone();
                async move { engine_alone(&net, targets, rounds, tasks).await }
            });
            report(
                "engine alone",
                &*clock,
                begin,
                targets * rounds,
                tally.await.unwrap_or_else(|_| none()),
            );
            let begin = (clock.mono(), cpu());
            let tally = tokio::spawn({
                let net = net.clone();
                async move { whole_probes(&net, targets, rounds, tasks).await }
            });
            report(
                "whole probes",
                &*clock,
                begin,
                targets * rounds,
                tally.await.unwrap_or_else(|_| none()),
            );
        }
    });
    Ok(())
}

fn none() -> Tally {
    Tally {
        answered: 0,
        rtts: Vec::new(),
    }
}
