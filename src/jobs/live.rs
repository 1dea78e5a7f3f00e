//! How far the jobs of this process are, told while they run; what a heartbeat writes is taken from here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::view::Progress;

/// The jobs this process runs.
#[derive(Default)]
pub(super) struct Live {
    running: Mutex<HashMap<i64, Tally>>,
}

/// What one job has done.
#[derive(Clone, Default)]
pub(super) struct Tally {
    progress: Arc<Mutex<Progress>>,
}

impl Live {
    fn running(&self) -> MutexGuard<'_, HashMap<i64, Tally>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to tell of a job; returns where it counts.
    pub(super) fn begin(&self, id: i64) -> Tally {
        let tally = Tally::default();
        self.running().insert(id, tally.clone());
        tally
    }

    /// Ends to tell of a job.
    pub(super) fn end(&self, id: i64) {
        self.running().remove(&id);
    }

    /// Returns how far a job of this process is.
    pub(super) fn progress(&self, id: i64) -> Option<Progress> {
        self.running().get(&id).map(Tally::now)
    }
}

impl Tally {
    /// Returns what was counted.
    pub(super) fn now(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut progress);
    }
}
