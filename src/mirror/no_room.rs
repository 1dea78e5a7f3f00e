//! What is known of a full disk: it is believed to be full for a moment, and told once in a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a full disk is believed to be full: filling it again for every reader would ask the upstream
/// twice for each.
const FULL: Duration = Duration::from_secs(1);

/// How often a full disk is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is known of a disk without room.
#[derive(Default)]
pub(super) struct NoRoom {
    met: Mutex<Option<Instant>>,
    told: Mutex<HashMap<Arc<str>, Instant>>,
}

impl NoRoom {
    /// Notes that a fetch of `upstream` found the disk full.
    pub(super) fn met(&self, upstream: &Arc<str>) {
        let now = Instant::now();
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.tell(upstream, now);
    }

    /// Returns whether the disk was full a moment ago.
    pub(super) fn is_recent(&self) -> bool {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.is_some_and(|met| met.elapsed() < FULL)
    }

    /// Tells the operator, once in a while for each upstream.
    pub(super) fn tell(&self, upstream: &Arc<str>, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told
            .get(upstream)
            .is_none_or(|before| now.duration_since(*before) >= TOLD_EVERY);
        if is_due {
            told.insert(Arc::clone(upstream), now);
            tracing::warn!(%upstream, "disk full: passing blobs through");
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::NoRoom;

    #[test]
    fn a_full_disk_is_told_once_a_minute_for_each_upstream() {
        let (full, now) = (NoRoom::default(), Instant::now());
        let (hub, quay): (Arc<str>, Arc<str>) = ("docker.io".into(), "quay.io".into());
        assert!(full.tell(&hub, now));
        assert!(!full.tell(&hub, now + Duration::from_secs(59)));
        assert!(full.tell(&quay, now + Duration::from_secs(59)));
        assert!(full.tell(&hub, now + Duration::from_secs(60)));
    }
}
