//! The program from outside: the real binary in a folder of its own, its log, its answers, and what others hear of it.
//!
//! Nothing here may look into the program other than a user could; what lies on the disk is read with its own readers.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a test that cannot go on has failed"
)]

mod added;
mod api;
mod bad_input;
mod commands;
mod completions;
mod console;
mod delivery;
mod docs;
mod echo;
mod heartbeats;
mod import;
mod kit;
mod lifecycle;
mod own_fault;
mod pages;
mod peers;
mod progress;
mod reload;
mod report;
mod secrets;
mod sensor;
mod steering;
mod terminal;
mod top;
mod transcripts;
mod unprivileged;
mod watch;
mod watching;
