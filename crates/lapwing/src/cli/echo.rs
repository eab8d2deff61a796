//! `lapwing echo`: the echo server as a command of its own.

use std::{net::SocketAddr, sync::Arc};

use clap::Subcommand;
use lapwing_link::echo::{EchoServer, EchoSettings};
use lapwing_wire::echo::DEFAULT_PORT;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, exit};
use crate::{clock::SystemClock, out, recorder::full};

#[derive(Debug, Subcommand)]
pub enum EchoCommand {
    /// Answer udp-echo:// and tcp-echo:// probes, until stopped
    #[command(
        after_help = "Example:\n  lapwing echo serve --listen 127.0.0.1:7009 &\n  lapwing check udp-echo://127.0.0.1:7009"
    )]
    Serve {
        /// Address and port, for UDP and TCP
        #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)))]
        listen: SocketAddr,
    },
}

pub fn echo(command: &EchoCommand) -> Result<u8, Failure> {
    let EchoCommand::Serve { listen } = command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = EchoServer::bind(EchoSettings::new(*listen), Arc::new(SystemClock::new()))
            .map_err(|error| Failure::usage(full(&error)))?;
        let counters = server.counters();
        out::complain(&format!(
            "echo server on udp-echo://{0} and tcp-echo://{0}\n",
            server.address()
        ));
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        server
            .serve(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await;
        let counts: Vec<String> = counters
            .all()
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        out::complain(&format!(
            "\nstopped: {}\n",
            if counts.is_empty() {
                "nobody asked".to_owned()
            } else {
                counts.join(", ")
            }
        ));
        Ok(exit::FINE)
    })
}
