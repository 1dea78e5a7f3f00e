//! How many requests to an upstream are under way at once, bodies included (`limits.connections`).
//!
//! Blobs take long, so they leave an eighth, and at least one, to everything else: a tag is answered while every
//! large layer of an image arrives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::asking::Patience;
use super::error::Error;
use crate::telemetry::Kind;

/// When somebody who found no place is told to come again, in seconds.
const RETRY_AFTER_SECS: u64 = 1;

/// The places of one upstream.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    blobs: Arc<Semaphore>,
    longest: Duration,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _of_blobs: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl Slots {
    /// Returns `connections` places; nobody waits longer than `longest` for one.
    pub(super) fn new(connections: usize, longest: Duration) -> Self {
        let connections = connections.min(Semaphore::MAX_PERMITS);
        let kept = if connections > 1 {
            (connections / 8).max(1)
        } else {
            0
        };
        Self {
            all: Arc::new(Semaphore::new(connections)),
            blobs: Arc::new(Semaphore::new(connections - kept)),
            longest,
        }
    }

    /// Returns a place for a request of this kind.
    ///
    /// # Errors
    /// `Busy` when none became free in time.
    pub(super) async fn take(&self, kind: Kind, patience: Patience) -> Result<Slot, Error> {
        let place = match patience {
            Patience::Waits => timeout(self.longest, self.wait(kind)).await.ok().flatten(),
            Patience::AtOnce => self.at_once(kind),
        };
        place.ok_or(Error::Busy {
            retry_after_secs: RETRY_AFTER_SECS,
        })
    }

    fn of_blobs(&self, kind: Kind) -> Option<&Arc<Semaphore>> {
        (kind == Kind::Blob).then_some(&self.blobs)
    }

    async fn wait(&self, kind: Kind) -> Option<Slot> {
        let of_blobs = match self.of_blobs(kind) {
            Some(blobs) => Some(Arc::clone(blobs).acquire_owned().await.ok()?),
            None => None,
        };
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Slot {
            _of_blobs: of_blobs,
            _of_all: of_all,
        })
    }

    fn at_once(&self, kind: Kind) -> Option<Slot> {
        let of_blobs = match self.of_blobs(kind) {
            Some(blobs) => Some(Arc::clone(blobs).try_acquire_owned().ok()?),
            None => None,
        };
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Slot {
            _of_blobs: of_blobs,
            _of_all: of_all,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Error, Kind, Patience, Slots};

    const BUSY: Error = Error::Busy {
        retry_after_secs: 1,
    };

    /// Returns how many blobs get a place at once, and how many manifests after them.
    async fn places(connections: usize) -> (usize, usize) {
        let slots = Slots::new(connections, Duration::from_secs(30));
        let mut taken = Vec::new();
        let mut counts = [0, 0];
        for (index, kind) in [Kind::Blob, Kind::Manifest].into_iter().enumerate() {
            while let Ok(slot) = slots.take(kind, Patience::AtOnce).await {
                taken.push(slot);
                counts[index] += 1;
            }
        }
        (counts[0], counts[1])
    }

    #[tokio::test]
    async fn blobs_leave_an_eighth_and_at_least_one_to_the_rest() {
        assert_eq!(places(32).await, (28, 4));
        assert_eq!(places(9).await, (8, 1));
        assert_eq!(places(2).await, (1, 1));
        assert_eq!(places(1).await, (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_next_place_or_is_told_in_time_that_there_is_none() {
        let slots = Slots::new(1, Duration::from_secs(5));
        let first = slots.take(Kind::Blob, Patience::Waits).await;
        let first = first.expect("a place because nobody else is there");
        let started = Instant::now();
        let none = slots.take(Kind::Manifest, Patience::Waits).await;
        assert_eq!(none.expect_err("the only place is taken"), BUSY);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        let waiting = slots.take(Kind::Manifest, Patience::Waits);
        let leaving = async { drop(first) };
        let (waited, ()) = tokio::join!(waiting, leaving);
        waited.expect("the place that became free");
        assert_eq!(started.elapsed(), Duration::from_secs(5));
    }
}
