//! Turns: work on one thing by one task at a time, the others waiting in line. A line
//! lives only as long as somebody is in it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// Size at which dead entries are swept out, so that the map stays about as small as the work under way.
const SWEEP_AT: usize = 256;

/// The lines of waiting tasks, by key.
pub(super) struct Turns<K> {
    open: Mutex<Open<K>>,
}

type Open<K> = HashMap<K, Weak<tokio::sync::Mutex<()>>>;

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self {
            open: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Waits for the turn of `key`; it ends when the guard is dropped.
    pub(super) async fn turn(&self, key: &K) -> OwnedMutexGuard<()> {
        let line = self.line_of(key);
        line.lock_owned().await
    }

    /// Takes the turn of `key` if nobody has it or waits for it.
    pub(super) fn try_turn(&self, key: &K) -> Option<OwnedMutexGuard<()>> {
        self.line_of(key).try_lock_owned().ok()
    }

    fn line_of(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = open.get(key).and_then(Weak::upgrade) {
            return line;
        }
        if open.len() >= SWEEP_AT {
            open.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::new(tokio::sync::Mutex::new(()));
        open.insert(key.clone(), Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::{SWEEP_AT, Turns};

    #[tokio::test]
    async fn one_holds_the_turn_of_a_thing_and_others_wait() {
        let turns: Turns<&str> = Turns::default();
        let first = turns.turn(&"a").await;
        let waiting = turns.turn(&"a");
        tokio::pin!(waiting);
        let nothing_yet = futures_util::poll!(waiting.as_mut());
        assert!(nothing_yet.is_pending());
        assert!(turns.try_turn(&"a").is_none());
        drop(turns.turn(&"b").await);
        drop(first);
        assert!(turns.try_turn(&"a").is_none(), "it is the waiting one's");
        drop(waiting.await);
        assert!(turns.try_turn(&"a").is_some());
    }

    #[tokio::test]
    async fn finished_work_does_not_pile_up() {
        let turns: Turns<usize> = Turns::default();
        for key in 0..SWEEP_AT * 4 {
            drop(turns.turn(&key).await);
        }
        let open = turns.open.lock().expect("not poisoned").len();
        assert!(open <= SWEEP_AT);
    }
}
