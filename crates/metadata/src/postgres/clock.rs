//! What time it is when several nodes share a database: the database's clock, never behind a time that was noted in it.
//! Noting takes a row that all would write, so it is done seldom and outside of every transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::session::Told;
use crate::clock::WallClock;

/// How far the noted time may lie behind, in microseconds: so far the time of a node that comes new can go back when the
/// database's clock is set back.
const NOTE_AFTER: i64 = 10 * 1_000_000;

/// Who says what time it is.
pub(crate) enum Time {
    /// The database, to every node alike.
    Database(DatabaseClock),
    /// A clock that a test moves.
    #[cfg(test)]
    Process(crate::clock::SteadyClock),
}

impl Time {
    /// Returns the time of a transaction that begins, in microseconds since 1970.
    pub(crate) fn of_transaction(&self, told: Told) -> i64 {
        match self {
            Self::Database(clock) => clock.of_transaction(told),
            #[cfg(test)]
            Self::Process(clock) => {
                clock.observe(told.noted);
                clock.now()
            }
        }
    }

    /// Returns the time outside of a transaction, in microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        match self {
            Self::Database(clock) => clock.now(),
            #[cfg(test)]
            Self::Process(clock) => clock.now(),
        }
    }
}

/// Returns whether the time `now` of a transaction shall be noted.
pub(crate) fn is_to_be_noted(told: Told, now: i64) -> bool {
    now.saturating_sub(told.noted) >= NOTE_AFTER
}

/// What a process knows of the database's clock.
pub(crate) struct DatabaseClock {
    source: Arc<dyn WallClock>,
    state: Mutex<State>,
}

struct State {
    /// The latest time of a transaction, and the process's monotonic time when it was told.
    latest: i64,
    latest_monotonic: i64,
    /// The latest answer outside of transactions.
    estimate: i64,
}

impl DatabaseClock {
    /// Returns a clock that goes by what `told` says.
    pub(crate) fn new(source: Arc<dyn WallClock>, told: Told) -> Self {
        let latest = told.clock.max(told.noted);
        let latest_monotonic = source.monotonic_micros();
        Self {
            source,
            state: Mutex::new(State {
                latest,
                latest_monotonic,
                estimate: latest,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Three integers, each of which is right by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No estimate counts here: what is stored and compared is the same on every node.
    fn of_transaction(&self, told: Told) -> i64 {
        let mut state = self.state();
        state.latest = state.latest.max(told.clock).max(told.noted);
        state.latest_monotonic = self.source.monotonic_micros();
        state.latest
    }

    /// Goes on from the latest transaction by the process's own clock, without asking the database.
    fn now(&self) -> i64 {
        let mut state = self.state();
        let passed = self.source.monotonic_micros() - state.latest_monotonic;
        let estimate = state.latest.saturating_add(passed.max(0));
        state.estimate = state.estimate.max(estimate);
        state.estimate
    }
}

#[cfg(test)]
mod tests {
    use super::{DatabaseClock, Told, is_to_be_noted};
    use crate::clock::tests::{FakeClock, HOUR, NOON, SECOND};

    fn told(clock: i64, noted: i64) -> Told {
        Told { clock, noted }
    }

    #[test]
    fn the_databases_clock_counts_and_never_goes_back() {
        let clock = DatabaseClock::new(FakeClock::at(0), told(NOON, 0));
        assert_eq!(clock.of_transaction(told(NOON + SECOND, 0)), NOON + SECOND);
        assert_eq!(clock.of_transaction(told(NOON - HOUR, 0)), NOON + SECOND);
        assert_eq!(
            clock.of_transaction(told(NOON - HOUR, NOON + HOUR)),
            NOON + HOUR,
            "another node noted it"
        );
    }

    #[test]
    fn between_transactions_time_goes_on_by_the_process() {
        let process = FakeClock::at(0);
        let clock = DatabaseClock::new(process.clone(), told(NOON, 0));
        process.advance(SECOND);
        assert_eq!(clock.now(), NOON + SECOND);
        // The process was faster than the database; the estimate waits and no transaction hears of it.
        assert_eq!(clock.of_transaction(told(NOON + 1, 0)), NOON + 1);
        assert_eq!(clock.now(), NOON + SECOND);
        process.advance(2 * SECOND);
        assert_eq!(clock.now(), NOON + 1 + 2 * SECOND);
    }

    #[test]
    fn the_time_is_noted_now_and_then() {
        assert!(!is_to_be_noted(told(NOON, NOON), NOON + SECOND));
        assert!(is_to_be_noted(told(NOON, NOON), NOON + 10 * SECOND));
    }
}
