//! How fast the bodies of one upstream come, all together (`limits.bandwidth`): a bucket that fills at that rate
//! and that every chunk empties a little.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much may come at once after a silence: what flows in this time.
const BURST: Duration = Duration::from_millis(250);

/// The bucket of one upstream.
#[derive(Debug)]
pub(super) struct Bandwidth {
    /// Bytes per second; 0 for no limit.
    rate: u64,
    /// When everything taken so far would have come at the rate.
    even: Mutex<Option<Instant>>,
}

impl Bandwidth {
    /// Returns a full bucket that fills with `rate` bytes a second, 0 for no limit.
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate,
            even: Mutex::new(None),
        }
    }

    /// Takes `bytes` out of the bucket and waits until it is no longer overdrawn.
    pub(super) async fn take(&self, bytes: usize) {
        if self.rate == 0 {
            return;
        }
        let due = self.draw(bytes as u64, Instant::now());
        sleep_until(due).await;
    }

    /// Returns when `bytes` more may have come.
    fn draw(&self, bytes: u64, now: Instant) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = even.map_or(earliest, |even| even.max(earliest));
        let until = from + takes;
        *even = Some(until);
        until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::{Instant, advance};

    use super::{BURST, Bandwidth};

    #[tokio::test(start_paused = true)]
    async fn bodies_share_the_rate_after_a_short_burst() {
        let bandwidth = Bandwidth::new(1_000_000);
        let started = Instant::now();
        let body = || async {
            for _ in 0..10 {
                bandwidth.take(100_000).await;
            }
        };
        join_all((0..3).map(|_| body())).await;
        let took = started.elapsed() + BURST;
        assert!(took >= Duration::from_millis(3000), "{took:?}");
        assert!(took < Duration::from_millis(3010), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_saves_up_one_burst_and_no_more() {
        let bandwidth = Bandwidth::new(1000);
        bandwidth.take(250).await;
        advance(Duration::from_secs(60)).await;
        let started = Instant::now();
        bandwidth.take(250).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        bandwidth.take(1000).await;
        assert!(started.elapsed() >= Duration::from_millis(999));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let bandwidth = Bandwidth::new(0);
        let started = Instant::now();
        bandwidth.take(usize::MAX).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
