//! The five tools that Lapwing replaces, each walked from end to end with the real program on real sockets, in the
//! original's own numbers: where they are long, the program's clock runs faster. Which row of a tool is shown by which
//! test stands in rows.toml, and docs/reference/reference-tools.md is made from it.
//!
//! Never copies a test of another target: rows.toml names that one.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a test that cannot go on has failed"
)]

mod alone;
#[path = "../real_servers/certificates.rs"]
#[expect(dead_code, reason = "another target uses all of it")]
mod certificates;
mod clockwork;
#[path = "../it/kit.rs"]
#[expect(dead_code, reason = "another target uses all of it")]
mod kit;
#[path = "../it/peers.rs"]
#[expect(dead_code, reason = "another target uses all of it")]
mod peers;
mod r1_network_service_monitor;
mod r2_reachability_check;
mod r3_netmonitor;
mod r4_downtime_detector;
mod r5_socket_network_monitoring;
mod services;
mod story;
#[path = "../it/watching.rs"]
#[expect(dead_code, reason = "another target uses all of it")]
mod watching;
