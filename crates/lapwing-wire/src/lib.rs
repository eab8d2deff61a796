//! Bytes to messages and back: ICMP, NTP, heartbeats, echo.
//!
//! Invariant: any bytes either parse or give an error. Nothing panics, nothing allocates more than it was given,
//! nothing reads a clock or a socket.

pub mod checksum;
pub mod echo;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod heartbeat;
pub mod icmp;
pub mod ntp;
