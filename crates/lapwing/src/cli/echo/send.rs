//! `lapwing echo send`: asks an echo server again and again, says what comes back, and sums it up.

mod tcp;
mod telling;
mod udp;

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use lapwing_core::{
    monitor::Family,
    observation::Fault,
    target::Target,
    time::{Clock, Mono, parse_duration, short},
};
use lapwing_net::Net;
use lapwing_probe::echo::{DATAGRAM_MAX, MESSAGE_MAX};
use lapwing_term::echo_lines;
use lapwing_wire::echo::{DEFAULT_PORT, HEADER_LEN};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::{Failure, exit};
use crate::{clock::SystemClock, config, out};
use telling::Telling;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct SendArgs {
    /// The echo server; its port is 7007 unless given
    #[arg(value_name = "HOST[:PORT]")]
    host: String,
    /// Stop after so many [default: on Ctrl-C]
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// From one to the next: 200ms, 1s, or seconds like 0.2
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Bytes of each
    #[arg(short, long, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// An echo that takes longer is lost; after the last one, so long is waited
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    timeout: Duration,
    /// Over one TCP connection, instead of UDP
    #[arg(long)]
    tcp: bool,
    /// IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "v6")]
    v4: bool,
    /// IPv6 only
    #[arg(short = '6', long = "ipv6")]
    v6: bool,
    /// The summary alone
    #[arg(short, long)]
    quiet: bool,
    /// A line of JSON each, and the summary as the last
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing echo serve                                        on the other machine
  lapwing echo send server.example.com                      until Ctrl-C
  lapwing echo send server.example.com -c 600 -i 100ms -s 1200
  lapwing echo send -q -c 50 --tcp '[2001:db8::7]:7007'
  lapwing echo send --json server.example.com > line.jsonl

Ctrl-\\ (SIGQUIT) shows the summary so far. Against another echo server (RFC 862) there is no loss or delay by direction.
Lapwing's server answers 2,000 datagrams a second to each source unless told otherwise; beyond that they count as lost
on the way out.

Exit codes: 0 something came back, 1 nothing did, 2 usage, or the name cannot be resolved";

/// The least interval: more would measure this machine.
const SHORTEST: Duration = Duration::from_millis(1);

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::try_from_secs_f64);
    let length = match seconds {
        Some(length) => length.map_err(|error| error.to_string())?,
        None => parse_duration(text).map_err(|error| error.to_string())?,
    };
    if length < SHORTEST {
        return Err("it must be 1ms or more".to_owned());
    }
    Ok(length)
}

/// What to send where.
struct Plan {
    net: Net,
    clock: Arc<SystemClock>,
    /// As it was named.
    target: String,
    peer: SocketAddr,
    size: usize,
    count: u64,
    interval: Duration,
    timeout: Duration,
    cookie: u64,
}

pub fn send(args: &SendArgs) -> Result<u8, Failure> {
    let (target, tcp) = target(args)?;
    let sizes = if tcp {
        1..=MESSAGE_MAX
    } else {
        HEADER_LEN..=DATAGRAM_MAX
    };
    if !sizes.contains(&args.size) {
        let (least, most) = (sizes.start(), sizes.end());
        return Err(Failure::usage(format!(
            "--size must be {least} to {most}, not {}",
            args.size
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let plan = plan(args, &target).await?;
        let mut orders = Orders::new()?;
        let telling = Telling {
            json: args.json,
            quiet: args.quiet,
            paint: out::paint(),
        };
        if !args.json {
            let transport = if tcp { "tcp" } else { "udp" };
            let peer = plan.peer.ip().to_string();
            let heading = echo_lines::heading(&plan.target, &peer, transport, plan.size, plan.interval);
            out::print(&heading)?;
        }
        let received = if tcp {
            tcp::run(&plan, &telling, &mut orders).await?
        } else {
            udp::run(&plan, &telling, &mut orders).await?
        };
        Ok(if received > 0 { exit::FINE } else { exit::DOWN })
    })
}

/// The server that was named, and whether it is to be asked over TCP. Every way to write a target will do.
fn target(args: &SendArgs) -> Result<(Target, bool), Failure> {
    let scheme = if args.tcp { "tcp-echo" } else { "udp-echo" };
    let text = &*args.host;
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    let url = if text.contains("://") {
        text.to_owned()
    } else if address.parse::<Ipv6Addr>().is_ok() {
        format!("{scheme}://[{text}]")
    } else {
        format!("{scheme}://{text}")
    };
    let target = Target::parse(&url, &config::kinds()).map_err(|error| {
        let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
        Failure::usage(format!("{}{hint}", error.message))
    })?;
    if !target.scheme.ends_with("-echo") || args.tcp && target.scheme != "tcp-echo" {
        let text = format!("echo send cannot ask {}", target.url);
        return Err(Failure::usage(text));
    }
    if !target.options.is_empty() {
        let text = format!("{text}: options are given as --count, --size, …, not in the address");
        return Err(Failure::usage(text));
    }
    let tcp = target.scheme == "tcp-echo";
    Ok((target, tcp))
}

async fn plan(args: &SendArgs, target: &Target) -> Result<Plan, Failure> {
    let clock = Arc::new(SystemClock::new());
    let net = Net::new(Arc::clone(&clock) as _);
    let family = match (args.v4, args.v6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    };
    let host = target
        .host
        .as_ref()
        .ok_or_else(|| Failure::usage("a host is needed"))?;
    let addresses = net.resolve(host, family).await.map_err(|fault| {
        let (name, why) = (target.host_only(), &fault.reason().detail);
        Failure::usage(if why.contains(&name) {
            why.clone()
        } else {
            format!("{name}: {why}")
        })
    })?;
    let port = target.port.unwrap_or(DEFAULT_PORT);
    let cookie = getrandom::u64().map_err(|error| anyhow::anyhow!("no random number: {error}"))?;
    Ok(Plan {
        peer: net.socket_address(addresses[0], host, port),
        net,
        clock,
        target: target.host_port(),
        size: args.size,
        count: args.count.unwrap_or(u64::MAX),
        interval: args.interval,
        timeout: args.timeout,
        cookie,
    })
}

/// When the next one is due. One that was missed, because this machine slept, is not made up for.
struct Pace {
    due: Mono,
    left: u64,
    interval: Duration,
}

impl Pace {
    fn new(plan: &Plan) -> Self {
        Self {
            due: plan.clock.mono(),
            left: plan.count,
            interval: plan.interval,
        }
    }

    /// None when all were sent.
    fn due(&self) -> Option<Mono> {
        (self.left > 0).then_some(self.due)
    }

    fn sent(&mut self, now: Mono) {
        self.left -= 1;
        self.due = (self.due + self.interval).max(now);
    }
}

/// What a person tells the running command.
enum Order {
    Stop,
    Summary,
}

struct Orders {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Plan {
    /// Why what has not come back in time is lost.
    fn silence(&self) -> Fault {
        let within = short(self.timeout);
        Fault::target("timeout.answer", format!("no echo within {within}"))
    }
}

impl Orders {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next one. May be dropped and called again: none is lost.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.quit.recv() => Order::Summary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_durations_or_seconds() {
        assert_eq!(interval("0.2"), Ok(Duration::from_millis(200)));
        assert_eq!(interval("5"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("200ms"), Ok(Duration::from_millis(200)));
        for bad in ["0", "-1", "100us", "soon", "NaN", "1e99", ""] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pace_does_not_make_up_for_what_it_missed() {
        let second = Duration::from_secs(1);
        let mut pace = Pace {
            due: Mono(0),
            left: 3,
            interval: second,
        };
        pace.sent(Mono(10));
        assert_eq!(
            pace.due(),
            Some(Mono(1_000_000)),
            "a late start delays no later one"
        );
        pace.sent(Mono(9_000_000));
        assert_eq!(pace.due(), Some(Mono(9_000_000)));
        pace.sent(Mono(9_000_000));
        assert_eq!(pace.due(), None);
    }
}
