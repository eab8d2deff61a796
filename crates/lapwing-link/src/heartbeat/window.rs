//! Which keyed beats of a sensor are new: sessions, a window of sequence numbers, and how long a beat was on its way.
//!
//! Judging changes nothing; only a beat that was taken moves the window, so that one refused elsewhere is not lost.

use std::time::Duration;

use lapwing_core::{heartbeat::Mark, time::Mono, time::Wall};
use lapwing_wire::heartbeat::Beat;

/// A beat that was longer on its way than this is not a sign of life.
const PATIENCE_US: i64 = 90_000_000;
/// How much slower than ours a sender's clock may run: 500 millionths.
const DRIFT: u64 = 2_000;
/// How far a session or a number may jump. Sessions are seconds since 1970, or one more than the last.
const JUMP: u64 = 1 << 32;
/// A session that has been silent for so many of its periods no longer keeps a former one out.
const CLAIM: u32 = 3;
/// But not before this time.
const CLAIM_MIN: Duration = Duration::from_secs(10);

/// What is known of a sensor's sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    mark: Mark,
    /// Of the 64 numbers up to the newest: bit n is set when `seq - n` was heard.
    heard: u64,
    /// When the sender's process seems to have started on our clock, by the beat that was fastest; and when that was
    /// last found.
    pace: Option<(i64, Mono)>,
    /// Between the newest two beats of the session.
    gap: Duration,
}

/// When a beat arrived, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) wall: Wall,
    pub(super) mono: Mono,
}

/// What a beat is to what was heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// New, with the mark that is to be remembered.
    New(Mark),
    Replayed,
    /// Held up on its way. A session numbered above this one gets its sender out of it, if its clock stood still.
    Delayed(u64),
    /// Of an unknown instance with no newer session than this.
    Stale(u64),
    Superseded,
}

impl Window {
    /// The window as of a stored mark: which of the numbers below it were heard is forgotten, so none counts again.
    pub(super) fn resume(mark: Mark) -> Self {
        Self {
            mark,
            heard: u64::MAX,
            pace: None,
            gap: Duration::ZERO,
        }
    }

    pub(super) fn place(&self, beat: &Beat, arrival: Arrival) -> Place {
        let known = self.mark;
        let seconds = (arrival.wall.0 / 1_000_000).max(0).cast_unsigned();
        if beat.boot > known.boot {
            if beat.boot > known.boot.max(seconds).saturating_add(JUMP) || beat.seq > JUMP {
                return Place::Stale(known.boot);
            }
            let same = beat.instance == known.instance || known == Mark::default();
            return Place::New(Mark {
                boot: beat.boot,
                seq: beat.seq,
                instance: beat.instance,
                former: if same { known.former } else { known.instance },
            });
        }
        if beat.instance != known.instance {
            return if beat.instance == known.former && self.is_claimed(arrival) {
                Place::Superseded
            } else {
                Place::Stale(known.boot)
            };
        }
        let jumps = beat.seq > known.seq.saturating_add(JUMP);
        if beat.boot < known.boot || jumps || self.was_heard(beat.seq) {
            return Place::Replayed;
        }
        if self.is_delayed(beat, arrival) {
            return Place::Delayed(known.boot);
        }
        Place::New(Mark {
            seq: known.seq.max(beat.seq),
            ..known
        })
    }

    /// Remembers a beat that [`Window::place`] found new.
    pub(super) fn take(&mut self, mark: Mark, beat: &Beat, arrival: Arrival) {
        let started = started(beat, arrival);
        if mark.boot > self.mark.boot {
            self.heard = 1;
            self.gap = Duration::ZERO;
            self.pace = Some((started, arrival.mono));
        } else {
            let ahead = mark.seq - self.mark.seq;
            if let Some((_, before)) = self.pace {
                self.gap = arrival.mono.since(before);
            }
            self.heard = shifted(self.heard, ahead) | bit(mark.seq - beat.seq);
            let usual = self.usual(arrival).map_or(started, |usual| usual.min(started));
            self.pace = Some((usual, arrival.mono));
        }
        self.mark = mark;
    }

    /// True while the newest session seems to be alive: two senders with one name must not take turns.
    fn is_claimed(&self, arrival: Arrival) -> bool {
        self.pace.is_some_and(|(_, heard)| {
            let gap = if self.gap.is_zero() {
                CLAIM_MIN * CLAIM
            } else {
                self.gap
            };
            arrival.mono.since(heard) <= (gap * CLAIM).max(CLAIM_MIN)
        })
    }

    fn was_heard(&self, seq: u64) -> bool {
        let behind = self.mark.seq.checked_sub(seq);
        behind.is_some_and(|behind| behind >= 64 || self.heard & bit(behind) != 0)
    }

    /// True when the sender's process seems to have started much later than other beats of the session say, and its
    /// wall clock agrees that the beat is old. Either clock alone may have stood still, with its machine.
    fn is_delayed(&self, beat: &Beat, arrival: Arrival) -> bool {
        let by_running = self
            .usual(arrival)
            .is_some_and(|usual| started(beat, arrival).saturating_sub(usual) > PATIENCE_US);
        let by_wall = arrival.wall.0.abs_diff(beat.time) > PATIENCE_US as u64;
        by_running && by_wall
    }

    /// When the process seems to have started, for a clock that drifted as far as one may since the last beat.
    fn usual(&self, arrival: Arrival) -> Option<i64> {
        let (started, found) = self.pace?;
        let drift = arrival.mono.0.saturating_sub(found.0) / DRIFT;
        Some(started.saturating_add_unsigned(drift))
    }
}

/// When the sender's process started by its own account, µs on our clock.
fn started(beat: &Beat, arrival: Arrival) -> i64 {
    arrival
        .mono
        .0
        .cast_signed()
        .saturating_sub_unsigned(beat.running_us)
}

fn bit(at: u64) -> u64 {
    if at < 64 { 1 << at } else { 0 }
}

fn shifted(bits: u64, by: u64) -> u64 {
    if by < 64 { bits << by } else { 0 }
}

/// When a datagram arrived on the monotonic clock, by its age on the wall clock.
pub(super) fn arrival(stamp: Option<Wall>, now: lapwing_core::time::Now) -> Arrival {
    let wall = stamp.map_or(now.wall, |stamp| stamp.min(now.wall));
    let age: Duration = now.wall.since(wall);
    Arrival {
        wall,
        mono: Mono(now.mono.0.saturating_sub(lapwing_core::time::micros(age))),
    }
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::Now;
    use lapwing_wire::heartbeat::Kind;

    use super::*;

    const START: u64 = 86_400_000_000;
    const SECOND: u64 = 1_000_000;

    /// A sensor and its way to us.
    #[derive(Clone, Copy)]
    struct Sensor {
        boot: u64,
        instance: u64,
        /// Its wall clock, ahead of ours, in seconds.
        ahead: i64,
    }

    const A: Sensor = Sensor {
        boot: 100,
        instance: 0xa,
        ahead: 0,
    };

    impl Sensor {
        /// A beat sent `sent` seconds after its process started, which arrives `late` seconds later.
        fn beat(self, seq: u64, sent: u64, late: u64) -> (Beat, Arrival) {
            let beat = Beat {
                kind: Kind::Beat,
                boot: self.boot,
                seq,
                instance: self.instance,
                time: (sent * SECOND).cast_signed() + self.ahead * 1_000_000,
                uptime_us: 0,
                running_us: sent * SECOND,
                silent_us: 0,
                lost: 0,
                hindrance: 0,
            };
            let arrival = Arrival {
                wall: Wall(((sent + late) * SECOND).cast_signed()),
                mono: Mono(START + (sent + late) * SECOND),
            };
            (beat, arrival)
        }
    }

    /// Judges a beat, and takes it if it is new.
    fn hear(window: &mut Window, (beat, arrival): (Beat, Arrival)) -> Place {
        let place = window.place(&beat, arrival);
        assert_eq!(window.place(&beat, arrival), place, "judging changes nothing");
        if let Place::New(mark) = place {
            window.take(mark, &beat, arrival);
        }
        place
    }

    fn is_new(place: Place) -> bool {
        matches!(place, Place::New(_))
    }

    #[test]
    fn each_number_counts_once_in_any_order() {
        let mut window = Window::default();
        let order = [1, 2, 5, 3, 4, 70, 69, 8, 7, 200, 137, 136];
        let new: Vec<bool> = order
            .iter()
            .map(|seq| is_new(hear(&mut window, A.beat(*seq, 300, 0))))
            .collect();
        // 70 leaves room down to 7, 200 down to 137.
        assert_eq!(
            new,
            [
                true, true, true, true, true, true, true, true, true, true, true, false
            ]
        );
        for seq in order {
            assert_eq!(hear(&mut window, A.beat(seq, 300, 0)), Place::Replayed, "{seq}");
        }
        assert_eq!(window.mark.seq, 200);
        assert_eq!(
            hear(&mut window, A.beat(u64::MAX, 300, 0)),
            Place::Replayed,
            "nobody counts that far"
        );
    }

    #[test]
    fn every_order_of_a_window_agrees_with_a_set() {
        // A naive model: what was heard, and nothing 64 or more below the newest.
        let mut state = 1u64;
        let (mut window, mut heard, mut newest) = (Window::default(), std::collections::HashSet::new(), 0u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let seq = (newest + (state >> 40) % 90).saturating_sub(75).max(1);
            let expected = seq + 64 > newest && heard.insert(seq);
            assert_eq!(is_new(hear(&mut window, A.beat(seq, 300, 0))), expected, "{seq}");
            newest = newest.max(if expected { seq } else { 0 });
        }
        assert!(newest > 1_000);
    }

    #[test]
    fn a_new_session_starts_over_and_remembers_the_former() {
        let mut window = Window::default();
        hear(&mut window, A.beat(9, 10, 0));
        let b = Sensor {
            boot: 101,
            instance: 0xb,
            ..A
        };
        let mark = Mark {
            boot: 101,
            seq: 1,
            instance: 0xb,
            former: 0xa,
        };
        assert_eq!(hear(&mut window, b.beat(1, 0, 0)), Place::New(mark));
        assert_eq!(hear(&mut window, b.beat(1, 0, 0)), Place::Replayed);
        assert_eq!(
            hear(&mut window, A.beat(10, 12, 0)),
            Place::Superseded,
            "the older of two"
        );
        let unknown = Sensor { instance: 0xc, ..A };
        assert_eq!(hear(&mut window, unknown.beat(1, 0, 0)), Place::Stale(101));
        let equal = Sensor { boot: 101, ..unknown };
        assert_eq!(
            hear(&mut window, equal.beat(7, 0, 0)),
            Place::Stale(101),
            "the same number, another process"
        );
        assert!(is_new(hear(&mut window, b.beat(2, 30, 0))));
        assert_eq!(
            hear(&mut window, A.beat(11, 110, 0)),
            Place::Superseded,
            "three periods of silence"
        );
        assert_eq!(
            hear(&mut window, A.beat(12, 130, 0)),
            Place::Stale(101),
            "a session that ended keeps nobody out"
        );
    }

    #[test]
    fn a_stale_sensor_goes_on_above() {
        let mut window = Window::resume(Mark {
            boot: 500,
            seq: 7,
            instance: 0xf,
            former: 0xe,
        });
        assert_eq!(hear(&mut window, A.beat(1, 1, 0)), Place::Stale(500));
        let raised = Sensor { boot: 501, ..A };
        let Place::New(mark) = hear(&mut window, raised.beat(2, 2, 0)) else {
            panic!("it goes on");
        };
        assert_eq!((mark.boot, mark.former), (501, 0xf));
        assert_eq!(
            hear(&mut window, A.beat(1, 1, 0)),
            Place::Replayed,
            "what it sent before, again"
        );
        let again = Sensor { boot: 502, ..A };
        assert!(is_new(hear(&mut window, again.beat(3, 3, 0))));
        assert_eq!(
            window.mark.former, 0xf,
            "the same process has not replaced itself"
        );
    }

    #[test]
    fn a_restart_of_ours_forgets_no_number() {
        let mark = Mark {
            boot: 100,
            seq: 70,
            instance: 0xa,
            former: 0,
        };
        let mut window = Window::resume(mark);
        for seq in [1, 6, 7, 69, 70] {
            assert_eq!(hear(&mut window, A.beat(seq, 300, 0)), Place::Replayed, "{seq}");
        }
        assert!(is_new(hear(&mut window, A.beat(72, 300, 0))));
        assert!(is_new(hear(&mut window, A.beat(71, 300, 0))));
    }

    #[test]
    fn a_beat_that_was_held_up_is_no_sign_of_life() {
        let mut window = Window::default();
        assert!(is_new(hear(&mut window, A.beat(1, 0, 0))));
        assert!(
            is_new(hear(&mut window, A.beat(3, 60, 90))),
            "a minute and a half"
        );
        assert_eq!(hear(&mut window, A.beat(2, 30, 121)), Place::Delayed(100));
        assert_eq!(
            hear(&mut window, A.beat(2, 30, 89)),
            Place::New(Mark {
                boot: 100,
                seq: 3,
                instance: 0xa,
                former: 0
            }),
            "another copy was in time"
        );
        let wrong_clock = Sensor { ahead: -50_000, ..A };
        assert!(
            is_new(hear(&mut window, wrong_clock.beat(4, 400, 0))),
            "wrong, but steady"
        );
        assert_eq!(
            hear(&mut window, wrong_clock.beat(5, 500, 91)),
            Place::Delayed(100)
        );
    }

    #[test]
    fn the_first_way_may_have_been_the_slow_one() {
        let mut window = Window::default();
        assert!(
            is_new(hear(&mut window, A.beat(1, 0, 600))),
            "nothing to compare with"
        );
        assert!(is_new(hear(&mut window, A.beat(20, 600, 1))));
        assert_eq!(
            hear(&mut window, A.beat(2, 30, 600)),
            Place::Delayed(100),
            "the fastest counts"
        );
    }

    #[test]
    fn a_clock_that_stood_still_is_forgiven_where_the_other_is_right() {
        let mut window = Window::default();
        hear(&mut window, A.beat(1, 0, 0));
        // The sender's machine was suspended for an hour, and its clock of the process with it.
        let (mut beat, arrival) = A.beat(2, 4_000, 0);
        beat.running_us -= 3_600 * SECOND;
        assert!(is_new(hear(&mut window, (beat, arrival))));
        // Its wall clock is wrong as well: it is told to begin a session, which counts.
        let (mut beat, arrival) = A.beat(3, 10_000, 0);
        beat.running_us -= 9_000 * SECOND;
        beat.time = 0;
        assert_eq!(hear(&mut window, (beat, arrival)), Place::Delayed(100));
        beat.boot = 101;
        assert!(is_new(hear(&mut window, (beat, arrival))));
        beat.seq = 4;
        assert!(
            is_new(hear(&mut window, (beat, arrival))),
            "and goes on from there"
        );
    }

    #[test]
    fn a_slow_clock_does_not_add_up() {
        // 400 millionths slow for three years, wall clock included.
        let mut window = Window::default();
        for day in 0..1_100u64 {
            let passed = day * 86_400 * SECOND;
            let (mut beat, mut arrival) = A.beat(day + 1, 0, 0);
            beat.running_us = passed - passed / 2_500;
            beat.time = -1_000_000_000_000;
            arrival.mono = Mono(START + passed);
            arrival.wall = Wall(passed.cast_signed());
            assert!(is_new(hear(&mut window, (beat, arrival))), "day {day}");
            arrival.mono = Mono(arrival.mono.0 + 91 * SECOND);
            beat.seq += 1;
            assert_eq!(
                hear(&mut window, (beat, arrival)),
                Place::Delayed(100),
                "day {day}"
            );
        }
    }

    #[test]
    fn numbers_from_the_edge_of_the_world() {
        let mut window = Window::default();
        for (boot, running) in [(1, u64::MAX), (1, 0), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
            let (mut beat, arrival) = A.beat(u64::MAX, 0, 0);
            beat.boot = boot;
            beat.running_us = running;
            beat.time = i64::MIN;
            hear(&mut window, (beat, arrival));
        }
        assert_eq!(
            window.mark,
            Mark::default(),
            "a key holder shuts nobody out by a number"
        );
    }

    #[test]
    fn arrivals_are_dated_back_by_their_age() {
        let now = Now {
            wall: Wall(5_000_000),
            mono: Mono(100),
        };
        for (stamp, wall, mono) in [
            (None, 5_000_000, 100),
            (Some(4_999_990), 4_999_990, 90),
            (Some(5_000_001), 5_000_000, 100),
            (Some(0), 0, 0),
        ] {
            let found = arrival(stamp.map(Wall), now);
            assert_eq!((found.wall, found.mono), (Wall(wall), Mono(mono)));
        }
    }
}
