//! How fast background work may go, so that whoever waits for an answer does not notice it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A number of units per second. What was not used is not saved up.
#[derive(Debug)]
pub(super) struct Pace {
    /// 0 for no limit.
    rate: u64,
    spent: Spent,
}

/// What was spent by all who keep one pace together.
#[derive(Clone, Debug)]
pub(super) struct Spent(
    /// When the next unit may be spent.
    Arc<Mutex<Instant>>,
);

impl Default for Spent {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pace {
    /// Returns a pace of `rate` units per second; 0 is no limit.
    pub(super) fn of(rate: u64) -> Self {
        Self::together(rate, &Spent::default())
    }

    /// Returns a pace of `rate` units per second for all of `spent` together; 0 is no limit.
    pub(super) fn together(rate: u64, spent: &Spent) -> Self {
        Self {
            rate,
            spent: spent.clone(),
        }
    }

    /// Returns no limit.
    pub(super) fn unlimited() -> Self {
        Self::of(0)
    }

    /// Counts `units` that were spent, and returns when more may be.
    pub(super) async fn spent(&mut self, units: u64) {
        if self.rate == 0 {
            return;
        }
        let cost = Duration::from_secs_f64(units as f64 / self.rate as f64);
        let next = {
            let Spent(next) = &self.spent;
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = Instant::now().max(*next) + cost;
            *next
        };
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Pace, Spent};

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept_and_idle_time_is_not_saved_up() {
        let mut pace = Pace::of(1000);
        let start = Instant::now();
        for _ in 0..10 {
            pace.spent(500).await;
        }
        assert_eq!(start.elapsed().as_secs(), 5);
        advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        pace.spent(2000).await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_keep_a_pace_together_are_no_faster_than_one() {
        let spent = Spent::default();
        let walk = || async {
            let mut pace = Pace::together(1000, &spent);
            for _ in 0..10 {
                pace.spent(500).await;
            }
        };
        let start = Instant::now();
        tokio::join!(walk(), walk());
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let start = Instant::now();
        Pace::unlimited().spent(u64::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
