//! The clock of the measurements: this program measures time, so it reads one.

use std::time::{Duration, Instant};

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures time, and nothing of the product is in it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks `done` every `pause` until it says yes. Gives the time that it took, or None after `limit`.
pub(crate) fn wait_for(
    limit: Duration,
    pause: Duration,
    mut done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Option<Duration>> {
    let begun = now();
    while !done()? {
        if begun.elapsed() >= limit {
            return Ok(None);
        }
        std::thread::sleep(pause);
    }
    Ok(Some(begun.elapsed()))
}
