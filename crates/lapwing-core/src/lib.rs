//! The words and every decision of Lapwing.
//!
//! Invariant: no I/O, no clock, no async, no serde, no logging. Time, randomness and bytes are arguments;
//! decisions come back as values.

pub mod kind;
pub mod monitor;
pub mod observation;
pub mod secret;
pub mod target;
pub mod time;
