//! What only this engine promises.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::pause::Pause;

/// What a test makes different.
#[derive(Clone, Default)]
pub(crate) struct InTests {
    /// Where the transactions of this handle that begin now stop.
    pub(crate) pause: Arc<Mutex<Option<Arc<Pause>>>>,
    /// The statements that were run.
    pub(crate) seen: Arc<Mutex<BTreeSet<&'static str>>>,
    /// Whether writers do without the guarantee.
    pub(crate) unguarded: bool,
}

impl InTests {
    /// Makes the transactions that begin from now on stop there, or nowhere.
    pub(crate) fn pause(&self, pause: Option<Pause>) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause.map(Arc::new);
    }

    /// Notes a statement.
    pub(crate) fn note(&self, sql: &'static str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(sql);
    }

    /// Returns the statements that were run since this was last asked.
    pub(crate) fn take_seen(&self) -> BTreeSet<&'static str> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns where a transaction that begins now stops.
    pub(crate) fn paused(&self) -> Option<Arc<Pause>> {
        self.pause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
