//! Lapwing: uptime and network monitoring in one binary.
//!
//! The binary reads the command line and the configuration, wires the crates together, and owns the engine loop.

#![expect(unreachable_pub, reason = "in a binary, pub says: for the other modules")]

mod backup_file;
mod cli;
mod clock;
mod config;
mod courier;
mod daemon;
mod ear;
mod edits;
mod engine;
mod faces;
mod hands;
mod hub;
mod listeners;
mod manager;
mod out;
mod progress;
mod recorder;
mod records;
mod stalls;
mod telemetry;
mod watchdog;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
