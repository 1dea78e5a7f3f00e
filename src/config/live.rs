//! A typed value of the configuration that may be replaced while the server runs.
//! Long-lived parts read a snapshot once per request or job step and never keep one.

use std::sync::{Arc, PoisonError, RwLock};

/// A shared value; clones see each other's replacements.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// Returns a live value that begins as `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// Returns the value as it is now; later replacements do not change what was returned.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value for every reader to come.
    pub fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Live;

    #[test]
    fn a_snapshot_stays_while_clones_see_the_replacement() {
        let live = Live::new(1);
        let clone = live.clone();
        let before = live.get();
        live.replace(2);
        assert_eq!((*before, *clone.get()), (1, 2));
    }
}
