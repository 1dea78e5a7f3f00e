//! What only this engine promises.

use std::sync::{Arc, Mutex, PoisonError};

use super::pause::Pause;

/// What a test makes different.
#[derive(Clone, Default)]
pub(crate) struct InTests {
    /// Where the transactions of this handle that begin now stop.
    pub(crate) pause: Arc<Mutex<Option<Arc<Pause>>>>,
    /// Whether writers do without the guarantee.
    pub(crate) unguarded: bool,
}

impl InTests {
    /// Makes the transactions that begin from now on stop there, or nowhere.
    pub(crate) fn pause(&self, pause: Option<Pause>) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause.map(Arc::new);
    }

    /// Returns where a transaction that begins now stops.
    pub(crate) fn paused(&self) -> Option<Arc<Pause>> {
        self.pause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
