//! Waiting: for a moment, for the word to stop, for a descriptor. Time in suspend counts, steps of the wall clock do not.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use lapwing_core::time::{Clock, Mono};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Due,
    Stop,
    /// The descriptor waited for is readable, or has an error.
    Ready,
}

pub(super) struct Alarm<'a> {
    clock: &'a dyn Clock,
    timer: TimerFd,
    stop: Option<BorrowedFd<'a>>,
    /// Whom to tell during each wait that we still wait, and how often.
    watcher: Option<(Duration, &'a dyn Fn())>,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(clock: &'a dyn Clock, stop: BorrowedFd<'a>) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self {
            clock,
            timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?,
            stop: Some(stop),
            watcher: None,
        })
    }

    pub(super) fn watched(&mut self, every: Duration, alive: &'a dyn Fn()) {
        self.watcher = Some((every, alive));
    }

    /// We are stopping already.
    pub(super) fn no_longer_stops(&mut self) {
        self.stop = None;
    }

    pub(super) fn now(&self) -> Mono {
        self.clock.mono()
    }

    /// Waits until `moment`, or until `other` is ready, or until told to stop.
    pub(super) fn until(&self, moment: Mono, other: Option<BorrowedFd<'_>>) -> io::Result<Woken> {
        loop {
            let left = moment.since(self.clock.mono());
            let mut longest = left;
            if let Some((every, alive)) = self.watcher {
                alive();
                longest = left.min(every);
            }
            let woken = self.once(longest, other)?;
            if woken != Woken::Due || left.is_zero() {
                return Ok(woken);
            }
        }
    }

    fn once(&self, left: Duration, other: Option<BorrowedFd<'_>>) -> io::Result<Woken> {
        let mut patience = PollTimeout::ZERO;
        if !left.is_zero() {
            // Setting it also forgets that it has rung before.
            let ring = Expiration::OneShot(TimeSpec::from_duration(left));
            self.timer.set(ring, TimerSetTimeFlags::empty())?;
            patience = PollTimeout::NONE;
        }
        let watched = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut polled = vec![watched(self.timer.as_fd())];
        polled.extend(self.stop.map(watched));
        polled.extend(other.map(watched));
        match poll(&mut polled, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |at: usize| polled.get(at).and_then(PollFd::any).unwrap_or(false);
        let others_at = 1 + usize::from(self.stop.is_some());
        // What came before the word to stop is still taken.
        Ok(match () {
            () if ready(others_at) => Woken::Ready,
            () if self.stop.is_some() && ready(1) => Woken::Stop,
            () => Woken::Due,
        })
    }
}
