//! The words and every decision of Lapwing.
//!
//! Invariant: no I/O, no clock, no async, no serde, no logging. Time, randomness and bytes are arguments;
//! decisions come back as values.

pub mod event;
pub mod heartbeat;
pub mod id;
pub mod judge;
pub mod kind;
pub mod lookout;
pub mod loss;
pub mod monitor;
pub mod mute;
pub mod notice;
pub mod observation;
pub mod outage;
pub mod outbox;
pub mod schedule;
pub mod secret;
pub mod selfcheck;
pub mod state;
pub mod target;
pub mod time;
pub mod uptime;
