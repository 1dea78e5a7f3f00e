//! When what was last pulled: facts noted in memory, written in batches by one task, so that a plain hit writes nothing.
//! A crash loses the last second of them; when more come than fit, they are dropped and counted, never waited for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metadata::Pull;
use oci::{Digest, RepositoryName, Tag};
use tokio::sync::Notify;

use super::error::Error;
use super::store::Content;

/// Different pulls kept until the next write.
const MOST: usize = 16_384;

/// Pulls written in one transaction.
const BATCH: usize = 100;

/// Somebody pulled a manifest or blob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PullFact {
    /// The repository it is in.
    pub repository: RepositoryName,
    /// What was pulled.
    pub digest: Digest,
    /// The tag it was asked by.
    pub tag: Option<Tag>,
}

/// Pulls that are not written yet, with their last time in microseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    noted: Mutex<HashMap<PullFact, i64>>,
    pub(super) some: Notify,
}

impl Pulls {
    /// Notes a pull; returns false when there is no room for it.
    fn note(&self, fact: PullFact, at: i64) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MOST && !noted.contains_key(&fact) {
            return false;
        }
        let last = noted.entry(fact).or_insert(at);
        *last = at.max(*last);
        drop(noted);
        self.some.notify_one();
        true
    }

    fn take(&self) -> HashMap<PullFact, i64> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *noted)
    }
}

impl Content {
    /// Notes that something was pulled now. Never waits: it is written within a second, or counted as dropped.
    pub fn note_pull(&self, fact: PullFact) {
        if !self.pulls.note(fact, self.metadata.now()) {
            self.metrics.pull_facts_dropped(1);
        }
    }

    /// Writes the pulls that were noted.
    ///
    /// # Errors
    /// Storage errors; what could not be written is dropped and counted.
    pub async fn flush_pulls(&self) -> Result<(), Error> {
        let mut noted: Vec<(PullFact, i64)> = self.pulls.take().into_iter().collect();
        // Neighbours share the look-up of their repository.
        noted.sort_unstable_by(|(a, _), (b, _)| a.repository.as_str().cmp(b.repository.as_str()));
        let mut left = noted.len();
        for batch in noted.chunks(BATCH) {
            let pulls = batch.iter().map(|(fact, at)| Pull {
                repository: fact.repository.clone(),
                digest: fact.digest,
                tag: fact.tag.clone(),
                at: *at,
            });
            if let Err(error) = self.metadata.record_pulls(pulls.collect()).await {
                self.metrics.pull_facts_dropped(left as u64);
                return Err(error.into());
            }
            left -= batch.len();
        }
        Ok(())
    }
}
