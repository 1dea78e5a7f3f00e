//! Turns: work on one thing by one task at a time, the others waiting in line. What the last holder
//! left for the next lives only as long as somebody waits, so this is never a cache.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// Size at which dead entries are swept out, so that the map stays about as small as the work under way.
const SWEEP_AT: usize = 256;

/// The lines of waiting tasks, by key; each holder may leave a `T` for those behind it.
pub struct Turns<K, T = ()> {
    open: Mutex<Open<K, T>>,
}

type Open<K, T> = HashMap<K, Weak<tokio::sync::Mutex<T>>>;

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self {
            open: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Eq + Hash + Clone, T: Default> Turns<K, T> {
    /// Waits for the turn of `key`; it ends when the guard is dropped.
    pub async fn turn(&self, key: &K) -> OwnedMutexGuard<T> {
        let line = self.line_of(key);
        line.lock_owned().await
    }

    fn line_of(&self, key: &K) -> Arc<tokio::sync::Mutex<T>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = open.get(key).and_then(Weak::upgrade) {
            return line;
        }
        if open.len() >= SWEEP_AT {
            open.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::new(tokio::sync::Mutex::new(T::default()));
        open.insert(key.clone(), Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::{SWEEP_AT, Turns};

    #[tokio::test]
    async fn what_a_holder_leaves_reaches_only_those_who_wait() {
        let turns: Turns<&str, u32> = Turns::default();
        let mut first = turns.turn(&"a").await;
        let waiting = turns.turn(&"a");
        tokio::pin!(waiting);
        let nothing_yet = futures_util::poll!(waiting.as_mut());
        assert!(nothing_yet.is_pending());
        *first = 7;
        drop(first);
        let second = waiting.await;
        assert_eq!(*second, 7);
        drop(second);
        assert_eq!(
            *turns.turn(&"a").await,
            0,
            "nobody waited, so it starts anew"
        );
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
