//! Bytes to messages and back: ICMP, NTP, echo.
//!
//! Invariant: any bytes either parse or give an error. Nothing panics, nothing allocates more than it was given,
//! nothing reads a clock or a socket.

pub mod checksum;
pub mod echo;
pub mod error;
pub mod icmp;
pub mod ntp;
