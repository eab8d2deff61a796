//! Engines behind kinds that are asked in bulk: pooled sockets, one thread, no task for a packet.
//!
//! An engine hangs on the [`lapwing_net::Net`] that its probes use, and ends with it; nothing is global.

pub mod icmp;
mod icmp_arrivals;
mod icmp_rounds;
mod icmp_sockets;
