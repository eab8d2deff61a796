//! `lapwing echo`: the echo server as a command of its own, and the client that measures a line with it.

mod serve;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub enum EchoCommand {
    /// Answer udp-echo:// and tcp-echo:// probes and `echo send`, until stopped
    Serve(serve::ServeArgs),
}

pub fn echo(command: &EchoCommand) -> Result<u8, Failure> {
    match command {
        EchoCommand::Serve(args) => serve::serve(args),
    }
}
