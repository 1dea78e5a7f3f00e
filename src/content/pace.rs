//! How fast background work may go, so that whoever waits for an answer does not notice it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A number of units per second. What was not used is not saved up.
#[derive(Debug)]
pub(super) struct Pace {
    /// 0 for no limit.
    rate: u64,
    /// When the next unit may be spent.
    next: Instant,
}

impl Pace {
    /// Returns a pace of `rate` units per second; 0 is no limit.
    pub(super) fn of(rate: u64) -> Self {
        Self {
            rate,
            next: Instant::now(),
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
        self.next = self.next.max(Instant::now()) + cost;
        sleep_until(self.next).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::Pace;

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
    async fn without_a_limit_nothing_waits() {
        let start = Instant::now();
        Pace::unlimited().spent(u64::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
