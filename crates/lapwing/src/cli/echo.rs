//! `lapwing echo`: the echo server as a command of its own, and the client that measures a line with it.

mod send;
mod serve;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub enum EchoCommand {
    /// Answer udp-echo:// and tcp-echo:// probes and `echo send`, until stopped
    Serve(serve::ServeArgs),
    /// Measure a line: loss, delay and jitter, by direction with Lapwing's own server
    Send(send::SendArgs),
}

pub fn echo(command: &EchoCommand) -> Result<u8, Failure> {
    match command {
        EchoCommand::Serve(args) => serve::serve(args),
        EchoCommand::Send(args) => send::send(args),
    }
}
