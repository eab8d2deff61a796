//! The daemon against real servers of the distribution, each broken in every way that an administrator knows.
//!
//! Each test has two network namespaces of its own, joined by a pair of virtual links: the daemon and those whom it
//! tells live in the near one, what it watches in the far one. Nothing leaves them. A test that cannot run for want of
//! root or of a program fails and says so; `cargo xtask test --partial` leaves it out by its name.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, and the place says what it was"
)]

mod certificates;
mod inbox;
mod needs_root_needs_ip;
mod place;
mod process;
mod scene;
mod sensors;
mod servers;
mod sinks;
