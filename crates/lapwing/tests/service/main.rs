//! Lapwing as a service: in a real systemd that boots in a container over this machine's own files, and under a
//! service manager played by the test. Changes nothing on this machine, and reaches no network.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers end the test as the test itself would"
)]

mod hanging_disk;
mod machine;
mod package;
mod story;

use std::time::{Duration, Instant};

/// How long anything may take before a test calls it lost.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[expect(
    clippy::disallowed_methods,
    reason = "a test waits for real processes, with a real deadline"
)]
fn instant() -> Instant {
    Instant::now()
}

/// Looks until `look` gives something; the test fails with `what` when nothing came.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = instant() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(instant() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
