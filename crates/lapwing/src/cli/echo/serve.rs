//! `lapwing echo serve`: the echo server alone, with its counters.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use lapwing_core::time::parse_duration;
use lapwing_link::echo::{EchoCounters, EchoServer, EchoSettings, Plain, Refusals};
use lapwing_wire::echo::DEFAULT_PORT;
use tokio::signal::unix::{SignalKind, signal};

use super::super::{Failure, exit};
use crate::{clock::SystemClock, out, recorder::full};

/// How often refusals are told, at most.
const TELL_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Address, for UDP and TCP; [::] is IPv6 and IPv4. Its port is 7007 unless given
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value_t = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)), value_parser = listen)]
    listen: SocketAddr,
    /// Datagrams answered each second, from one source (an IPv4 address or an IPv6 /64)
    #[arg(long, value_name = "RATE", default_value_t = EchoSettings::PER_SOURCE, value_parser = rate)]
    per_source: u32,
    /// Datagrams answered each second, in all
    #[arg(long, value_name = "RATE", default_value_t = EchoSettings::IN_ALL, value_parser = rate)]
    in_all: u32,
    /// Datagrams of other programs, which carry no mark that says question or answer
    #[arg(long, value_enum, default_value_t = PlainArg::Guarded)]
    plain: PlainArg,
    /// TCP connections at once
    #[arg(long, value_name = "NUMBER", default_value_t = EchoSettings::CONNECTIONS)]
    connections: usize,
    /// A TCP connection without a byte for so long is closed
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = idle)]
    idle: Duration,
    /// Counters as JSON on standard output, at the end and on SIGUSR1
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lapwing echo serve                         port 7007, for all who can reach it
  lapwing echo serve --listen '[::]:7007'    IPv6, too
  lapwing echo serve --listen 127.0.0.1:7009 --plain refused
and on the other machine:
  lapwing echo send server.example.com
  lapwing check udp-echo://server.example.com

A datagram is answered with as many bytes as came, and never to a port where other servers answer (below 1024, 1900,
5353, 7007, 11211). What a limit refuses is lost on its way there, to the sender. SIGUSR1 shows the counters; a line a
minute at most says what was refused, and why.";

/// Words of the command line for [`Plain`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlainArg {
    /// Not answered
    Refused,
    /// One a second to each source, after ten at once
    Guarded,
    /// Like others, and both also to ports where other servers answer: in closed networks only
    Allowed,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Ok((ip, DEFAULT_PORT).into()),
        Err(_) => {
            Err("write an address of this machine, like 0.0.0.0, 127.0.0.1:7007 or [::]:7007".to_owned())
        }
    }
}

fn rate(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("nothing would be answered: it must be 1 or more".to_owned()),
        Ok(rate) => Ok(rate),
        Err(_) => Err("it must be a number, like 2000".to_owned()),
    }
}

fn idle(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("it leaves no time for a byte".to_owned()),
        Ok(length) => Ok(length),
        Err(error) => Err(error.to_string()),
    }
}

impl ServeArgs {
    fn settings(&self) -> EchoSettings {
        EchoSettings {
            listen: self.listen,
            plain: match self.plain {
                PlainArg::Refused => Plain::Refused,
                PlainArg::Guarded => Plain::Guarded,
                PlainArg::Allowed => Plain::Allowed,
            },
            per_source: self.per_source,
            in_all: self.in_all,
            connections: self.connections,
            idle: self.idle,
        }
    }
}

pub fn serve(args: &ServeArgs) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = EchoServer::bind(args.settings(), Arc::new(SystemClock::new()))
            .map_err(|error| Failure::usage(full(&error)))?;
        let counters = server.counters();
        let address = server.address();
        out::complain(&format!(
            "echo server on udp-echo://{address} and tcp-echo://{address}\n"
        ));
        let stop = until_told(&counters, args.json)?;
        server.serve(stop).await;
        if args.json {
            out::print(&json(&counters)?)?;
        } else {
            out::complain(&format!("\nstopped: {}\n", text(&counters)));
        }
        Ok(exit::FINE)
    })
}

/// Ends when the program is told to. Until then it shows the counters when asked, and what was refused now and then.
fn until_told(
    counters: &Arc<EchoCounters>,
    as_json: bool,
) -> Result<impl Future<Output = ()> + use<>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut asked = signal(SignalKind::user_defined1())?;
    let counters = Arc::clone(counters);
    Ok(async move {
        let mut refusals = Refusals::default();
        let mut minute = tokio::time::interval(TELL_EVERY);
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = asked.recv() => show(&counters, as_json),
                _ = minute.tick() => {
                    if let Some(news) = refusals.news(&counters) {
                        out::complain(&format!("not answered: {news}\n"));
                    }
                }
            }
        }
    })
}

fn show(counters: &EchoCounters, as_json: bool) {
    match json(counters) {
        // Whoever no longer reads has no use for an error either.
        Ok(line) if as_json => drop(out::print(&line)),
        _ => out::complain(&format!("so far: {}\n", text(counters))),
    }
}

/// The counters that moved.
fn text(counters: &EchoCounters) -> String {
    let counts: Vec<String> = counters
        .all()
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    if counts.is_empty() {
        "nobody asked".to_owned()
    } else {
        counts.join(", ")
    }
}

fn json(counters: &EchoCounters) -> anyhow::Result<String> {
    let all: serde_json::Map<_, _> = counters
        .all()
        .into_iter()
        .map(|(name, n)| (name.to_owned(), n.into()))
        .collect();
    Ok(serde_json::to_string(&all)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:7007"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("::", "[::]:7007"),
            ("[::1]", "[::1]:7007"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(listen(text), Ok(address.parse().unwrap()));
        }
        for bad in ["", "localhost", "127.0.0.1:", "127.0.0.1:70000", "7007"] {
            assert!(listen(bad).unwrap_err().contains("127.0.0.1:7007"), "{bad}");
        }
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        assert_eq!(rate("1"), Ok(1));
        assert!(rate("0").unwrap_err().contains("1 or more"));
        assert!(rate("-1").is_err() && rate("much").is_err());
    }
}
