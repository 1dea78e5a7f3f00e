//! What time it is. Every stored or compared instant comes from here through the database's own
//! guard (`metadata::Metadata::now`), so that a jumping system clock shortens no lease; tests plug in [`Fake`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use metadata::WallClock as Clock;

/// Returns a duration in microseconds, as instants are stored and compared.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// The system's wall clock, and a monotonic clock that starts when it is made.
#[derive(Debug)]
pub struct System {
    started: Instant,
}

impl System {
    /// Returns the system clock; its monotonic part counts from now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for System {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else asks"
    )]
    fn wall_micros(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64)
    }

    fn monotonic_micros(&self) -> i64 {
        self.started.elapsed().as_micros() as i64
    }
}

/// A clock that moves only when a test moves it.
#[derive(Debug)]
pub struct Fake {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl Fake {
    /// Returns a clock that stands at `wall` microseconds since the Unix epoch.
    pub fn at(wall: i64) -> Self {
        Self {
            wall: AtomicI64::new(wall),
            monotonic: AtomicI64::new(0),
        }
    }

    /// Lets `by` pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let micros = micros(by);
        self.wall.fetch_add(micros, Ordering::SeqCst);
        self.monotonic.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the wall clock to `wall` microseconds since the Unix epoch, as an administrator does; no time passes.
    pub fn set_wall(&self, wall: i64) {
        self.wall.store(wall, Ordering::SeqCst);
    }
}

impl Clock for Fake {
    fn wall_micros(&self) -> i64 {
        self.wall.load(Ordering::SeqCst)
    }

    fn monotonic_micros(&self) -> i64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}
