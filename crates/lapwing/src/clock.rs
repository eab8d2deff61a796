//! The only reader of clocks in Lapwing.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lapwing_core::time::{Clock, Mono, Now, Wall};

/// The system's clocks. The monotonic origin lies a day before the start, so that slots before "now" have room.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

const HEAD_START_US: u64 = 86_400_000_000;

impl SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place where clocks are read"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now {
            wall: wall(),
            mono: self.mono(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place where clocks are read"
    )]
    fn mono(&self) -> Mono {
        Mono(HEAD_START_US + Instant::now().duration_since(self.origin).as_micros() as u64)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where clocks are read"
)]
fn wall() -> Wall {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Wall(since.as_micros() as i64),
        Err(before) => Wall(-(before.duration().as_micros() as i64)),
    }
}

/// Time that this machine has spent suspended since it booted: `CLOCK_BOOTTIME` minus `CLOCK_MONOTONIC`
/// (clock_gettime(2)). Zero where the system does not tell.
pub fn suspended() -> std::time::Duration {
    use nix::time::{ClockId, clock_gettime};
    let read = |id| clock_gettime(id).map(std::time::Duration::from);
    match (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC)) {
        (Ok(boot), Ok(mono)) => boot.saturating_sub(mono),
        _ => std::time::Duration::ZERO,
    }
}
