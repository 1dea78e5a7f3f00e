//! Fetches under way: the first request for a digest leads, every other joins and reads the growing
//! file at its own pace. The leading task belongs to nobody and goes on when every client has hung up.
//!
//! ```text
//!              the upstream answers, and there is room
//!   Asking ──────────────────────────────────────────▶ Arriving
//!    │ │ │                                              │ │ │
//!    │ │ └─ it is stored by now ──▶ Whole ◀─ the digest ┘ │ │
//!    │ │                                     agrees       │ │
//!    │ └─── the upstream answers, ▶ Passing ◀─ the disk ──┘ │
//!    │      and there is no room               is full      │
//!    │                                                      │
//!    └───── no answer, a refusal, ▶ Failed ◀─ it breaks ────┘
//!           or one that cannot be             for good, or the
//!           used                              digest differs
//! ```
//!
//! Whole, Passing and Failed are ends; trouble with storage is Failed. The fetch leaves the table at the same time: who comes
//! later finds what is stored, or begins anew.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use oci::{Digest, RepositoryName};
use tokio::sync::watch;

use super::download::Length;
use super::error::Error;
use super::follower::{Fetch, Follower};
use super::passthrough::Passing;
use super::remotes::Target;
use crate::content::GrowingFile;

/// What makes two requests the same fetch. The repository is part of it: knowing a digest gives
/// nothing, each repository's upstream decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FetchKey {
    pub upstream: String,
    pub repository: RepositoryName,
    pub digest: Digest,
}

impl FetchKey {
    /// Returns the key of `digest` of `target`.
    pub(super) fn new(target: &Target, digest: &Digest) -> Self {
        Self {
            upstream: target.remote.settings.name.clone(),
            repository: target.repository.clone(),
            digest: *digest,
        }
    }
}

/// How far a fetch is.
#[derive(Clone)]
pub(super) struct Progress {
    pub phase: Phase,
    /// Bytes of the growing file that can be read.
    pub written: u64,
}

#[derive(Clone)]
pub(super) enum Phase {
    /// The upstream has not answered yet.
    Asking,
    /// Bytes arrive; none is verified.
    Arriving { length: Length, file: GrowingFile },
    /// Verified.
    Whole { size: u64, file: GrowingFile },
    /// There is no room to keep it: every reader goes on by itself.
    Passing(Passing),
    /// Nothing was stored.
    Failed(Arc<Error>),
}

/// The fetches under way.
#[derive(Default)]
pub(super) struct Inflight {
    open: Arc<Mutex<Open>>,
}

type Open = HashMap<FetchKey, Under>;

#[derive(Clone)]
struct Under {
    progress: watch::Receiver<Progress>,
    fetch: Arc<Fetch>,
}

impl Under {
    fn follower(&self, leads: bool) -> Follower {
        Follower::new(self.progress.clone(), Arc::clone(&self.fetch), leads)
    }
}

impl Inflight {
    /// Joins the fetch of `key`, or starts it as `fetch` describes: `lead` runs as a task of its own.
    pub(super) fn join_or_lead<F, L>(
        &self,
        key: FetchKey,
        fetch: impl FnOnce() -> Fetch,
        lead: L,
    ) -> Follower
    where
        L: FnOnce(Lead) -> F,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under) = open.get(&key) {
            return under.follower(false);
        }
        let (sender, progress) = watch::channel(Progress {
            phase: Phase::Asking,
            written: 0,
        });
        let under = Under {
            progress,
            fetch: Arc::new(fetch()),
        };
        open.insert(key.clone(), under.clone());
        drop(open);
        let sender = Arc::new(sender);
        let entry = Entry::new(Arc::clone(&self.open), key, &under.fetch);
        let work = lead(Lead {
            sender: Arc::clone(&sender),
        });
        tokio::spawn(async move {
            let outcome = work.await;
            // Who comes now finds the row, or starts anew.
            drop(entry);
            if let Err(error) = outcome {
                sender.send_modify(|progress| progress.phase = Phase::Failed(Arc::new(error)));
            }
        });
        under.follower(true)
    }

    /// Joins the fetch of `key` if there is one.
    pub(super) fn join(&self, key: &FetchKey) -> Option<Follower> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(key).map(|under| under.follower(false))
    }
}

/// Removes the fetch from the table and from the count, also when its task panics.
struct Entry {
    open: Arc<Mutex<Open>>,
    key: FetchKey,
    fetch: Arc<Fetch>,
}

impl Entry {
    fn new(open: Arc<Mutex<Open>>, key: FetchKey, fetch: &Arc<Fetch>) -> Self {
        let fetch = Arc::clone(fetch);
        fetch.metrics.inflight(&fetch.target.remote.label, 1);
        Self { open, key, fetch }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.key);
        drop(open);
        let fetch = &self.fetch;
        fetch.metrics.inflight(&fetch.target.remote.label, -1);
    }
}

/// The leading task's way to tell its followers.
#[derive(Clone)]
pub(super) struct Lead {
    sender: Arc<watch::Sender<Progress>>,
}

impl Lead {
    /// Tells that the upstream has answered and how much it will send.
    pub(super) fn arriving(&self, length: Length, file: GrowingFile) {
        self.tell(Phase::Arriving { length, file });
    }

    /// Tells that the first `written` bytes can be read.
    pub(super) fn written(&self, written: u64) {
        self.sender
            .send_modify(|progress| progress.written = written);
    }

    /// Tells that the blob is verified.
    pub(super) fn whole(&self, size: u64, file: GrowingFile) {
        self.sender.send_modify(|progress| {
            progress.phase = Phase::Whole { size, file };
            progress.written = size;
        });
    }

    /// Tells that there is no room for the blob.
    pub(super) fn passing(&self, passing: Passing) {
        self.tell(Phase::Passing(passing));
    }

    fn tell(&self, phase: Phase) {
        self.sender.send_modify(|progress| progress.phase = phase);
    }
}
