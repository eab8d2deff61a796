//! The only reader of clocks in Lapwing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lapwing_core::time::{Clock, Mono, Now, Wall};
use nix::time::{ClockId, clock_gettime};

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

/// The clock of a sensor: its monotonic side is `CLOCK_BOOTTIME` (clock_gettime(2)), the uptime of this machine with the
/// time spent suspended.
#[derive(Clone, Copy, Debug)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Now {
        Now {
            wall: wall(),
            mono: self.mono(),
        }
    }

    fn mono(&self) -> Mono {
        let read = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
        // Every Linux since 2.6.39 has it.
        Mono(read.unwrap_or_default().as_micros() as u64)
    }
}

/// `CLOCK_MONOTONIC` (clock_gettime(2)), as the service manager reads it. Zero where the system does not tell.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Time that this machine has spent suspended since it booted: `CLOCK_BOOTTIME` minus `CLOCK_MONOTONIC`
/// (clock_gettime(2)). Zero where the system does not tell.
pub fn suspended() -> Duration {
    let read = |id| clock_gettime(id).map(Duration::from);
    match (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC)) {
        (Ok(boot), Ok(mono)) => boot.saturating_sub(mono),
        _ => Duration::ZERO,
    }
}
