//! The time that is stored and compared. The process clock may jump; the database's time never goes back and never
//! runs faster than the monotonic clock, so that no lease ends early because an administrator set the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A source of time. The program has one that asks the system, its tests one that they set.
pub trait WallClock: Send + Sync {
    /// Returns microseconds since 1970; may jump in both directions.
    fn wall_micros(&self) -> i64;
    /// Returns microseconds since an arbitrary instant; never goes back.
    fn monotonic_micros(&self) -> i64;
}

/// The steady time of one open database.
pub(crate) struct SteadyClock {
    source: Arc<dyn WallClock>,
    state: Mutex<State>,
}

struct State {
    /// The steady time at which the database was opened, and the monotonic time then.
    opened: i64,
    opened_monotonic: i64,
    /// The last time given out or read from the database, and the monotonic time then.
    last: i64,
    last_monotonic: i64,
}

impl SteadyClock {
    /// Returns a clock that goes on from `stored`, the last time the database recorded.
    pub(crate) fn resume(source: Arc<dyn WallClock>, stored: i64) -> Self {
        let opened = source.wall_micros().max(stored);
        let monotonic = source.monotonic_micros();
        let state = State {
            opened,
            opened_monotonic: monotonic,
            last: opened,
            last_monotonic: monotonic,
        };
        Self {
            source,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is four integers that are assigned together; a panic elsewhere cannot have torn them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time in microseconds since 1970; never less than an earlier answer.
    pub(crate) fn now(&self) -> i64 {
        let mut state = self.state();
        let wall = self.source.wall_micros();
        let monotonic = self.source.monotonic_micros().max(state.last_monotonic);
        let fastest = state
            .opened
            .saturating_add(monotonic - state.opened_monotonic);
        // The wall clock was set back when it is behind the last time. Time goes on at half the monotonic pace until
        // it has caught up: standing still would keep every lease and every fresh tag alive as long as that takes,
        // and the full pace would keep the error for ever.
        let slowest = state
            .last
            .saturating_add((monotonic - state.last_monotonic) / 2);
        let told = wall.max(slowest);
        state.last = told.min(fastest).max(state.last);
        state.last_monotonic = monotonic;
        state.last
    }

    /// Takes note of a time found in the database, which another process may have written.
    pub(crate) fn observe(&self, stored: i64) {
        let mut state = self.state();
        state.last = state.last.max(stored);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::{SteadyClock, WallClock};

    /// A clock that stands still until a test moves it.
    pub(crate) struct FakeClock {
        wall: AtomicI64,
        monotonic: AtomicI64,
    }

    impl FakeClock {
        pub(crate) fn at(wall: i64) -> Arc<Self> {
            Arc::new(Self {
                wall: AtomicI64::new(wall),
                monotonic: AtomicI64::new(5),
            })
        }

        pub(crate) fn advance(&self, micros: i64) {
            self.wall.fetch_add(micros, Ordering::SeqCst);
            self.monotonic.fetch_add(micros, Ordering::SeqCst);
        }

        pub(crate) fn set_wall(&self, micros: i64) {
            self.wall.store(micros, Ordering::SeqCst);
        }
    }

    impl WallClock for FakeClock {
        fn wall_micros(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }

        fn monotonic_micros(&self) -> i64 {
            self.monotonic.load(Ordering::SeqCst)
        }
    }

    pub(crate) const SECOND: i64 = 1_000_000;
    pub(crate) const HOUR: i64 = 3600 * SECOND;
    pub(crate) const NOON: i64 = 1_795_262_400 * SECOND;
    const YEAR_2100: i64 = 4_102_444_800 * SECOND;

    #[test]
    fn without_jumps_the_wall_clock_is_told() {
        let fake = FakeClock::at(NOON);
        let clock = SteadyClock::resume(fake.clone(), 0);
        assert_eq!(clock.now(), NOON);
        fake.advance(HOUR);
        assert_eq!(clock.now(), NOON + HOUR);
    }

    #[test]
    fn a_jump_forward_is_held_back_by_the_monotonic_clock() {
        for jump in [HOUR, YEAR_2100 - NOON] {
            let fake = FakeClock::at(NOON);
            let clock = SteadyClock::resume(fake.clone(), 0);
            fake.advance(SECOND);
            fake.set_wall(NOON + jump);
            assert_eq!(clock.now(), NOON + SECOND);
            fake.advance(SECOND);
            assert_eq!(clock.now(), NOON + 2 * SECOND);
        }
    }

    #[test]
    fn a_jump_back_neither_turns_time_back_nor_stops_it() {
        for target in [NOON - HOUR, 0] {
            let fake = FakeClock::at(NOON);
            let clock = SteadyClock::resume(fake.clone(), 0);
            fake.set_wall(target);
            assert_eq!(clock.now(), NOON);
            fake.advance(2 * SECOND);
            assert_eq!(clock.now(), NOON + SECOND);
            fake.set_wall(NOON + 3 * SECOND);
            fake.advance(SECOND);
            assert_eq!(
                clock.now(),
                NOON + 3 * SECOND,
                "a clock set right is still held back"
            );
        }
    }

    #[test]
    fn after_a_jump_back_the_wall_clock_is_told_again_once_it_has_caught_up() {
        // The same whether anybody asked for the time meanwhile or not.
        for step in [HOUR / 4, HOUR] {
            let fake = FakeClock::at(NOON);
            let clock = SteadyClock::resume(fake.clone(), 0);
            fake.set_wall(NOON - HOUR);
            for _ in 0..2 * HOUR / step {
                fake.advance(step);
                clock.now();
            }
            assert_eq!(clock.now(), NOON + HOUR);
            fake.advance(SECOND);
            assert_eq!(clock.now(), NOON + HOUR + SECOND);
        }
    }

    #[test]
    fn the_stored_time_is_never_undercut_after_a_restart_with_a_wrong_clock() {
        let fake = FakeClock::at(0);
        let clock = SteadyClock::resume(fake.clone(), NOON);
        assert_eq!(clock.now(), NOON);
        fake.advance(2 * SECOND);
        assert_eq!(clock.now(), NOON + SECOND);
        fake.set_wall(YEAR_2100);
        assert_eq!(clock.now(), NOON + 2 * SECOND);
    }

    #[test]
    fn a_later_time_written_by_another_process_counts() {
        let fake = FakeClock::at(NOON);
        let clock = SteadyClock::resume(fake.clone(), 0);
        clock.observe(NOON + HOUR);
        assert_eq!(clock.now(), NOON + HOUR);
        clock.observe(NOON);
        assert_eq!(clock.now(), NOON + HOUR);
    }
}
