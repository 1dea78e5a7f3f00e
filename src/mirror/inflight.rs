//! Fetches under way: the first request for a digest leads, every other joins and reads the growing
//! file at its own pace. Bytes are shown as they arrive, but the last ones only after the digest
//! agreed, so that nobody ever completes a wrong body.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use oci::{Digest, RepositoryName};
use tokio::sync::watch;

use super::error::Error;
use crate::content::{ByteStream, GrowingFile};

/// What makes two requests the same fetch. The repository is part of it: knowing a digest gives
/// nothing, each repository's upstream decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FetchKey {
    pub upstream: String,
    pub repository: RepositoryName,
    pub digest: Digest,
}

/// How far a fetch is.
#[derive(Clone)]
struct Progress {
    phase: Phase,
    written: u64,
}

#[derive(Clone)]
enum Phase {
    /// The upstream has not answered yet.
    Asking,
    /// Bytes arrive; none is verified.
    Arriving {
        total: Option<u64>,
        file: GrowingFile,
    },
    /// Verified and stored.
    Whole { size: u64, file: GrowingFile },
    /// Nothing was stored.
    Failed(Arc<Error>),
}

/// The fetches under way.
#[derive(Default)]
pub(super) struct Inflight {
    open: Arc<Mutex<HashMap<FetchKey, watch::Receiver<Progress>>>>,
}

impl Inflight {
    /// Joins the fetch of `key`, or starts it: `lead` runs as a task of its own, which goes on when
    /// every client has hung up.
    pub(super) fn join_or_lead<F, L>(&self, key: FetchKey, lead: L) -> Follower
    where
        L: FnOnce(Lead) -> F,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = open.get(&key) {
            return Follower {
                progress: progress.clone(),
            };
        }
        let (sender, progress) = watch::channel(Progress {
            phase: Phase::Asking,
            written: 0,
        });
        open.insert(key.clone(), progress.clone());
        drop(open);
        let sender = Arc::new(sender);
        let work = lead(Lead {
            sender: Arc::clone(&sender),
        });
        let entry = Entry {
            open: Arc::clone(&self.open),
            key,
        };
        tokio::spawn(async move {
            let outcome = work.await;
            // Who comes now finds the row, or starts anew.
            drop(entry);
            if let Err(error) = outcome {
                sender.send_modify(|progress| progress.phase = Phase::Failed(Arc::new(error)));
            }
        });
        Follower { progress }
    }

    /// Joins the fetch of `key` if there is one.
    pub(super) fn join(&self, key: &FetchKey) -> Option<Follower> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(key).map(|progress| Follower {
            progress: progress.clone(),
        })
    }
}

/// Removes the fetch from the table, also when its task panics.
struct Entry {
    open: Arc<Mutex<HashMap<FetchKey, watch::Receiver<Progress>>>>,
    key: FetchKey,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.key);
    }
}

/// The leading task's way to tell its followers.
#[derive(Clone)]
pub(super) struct Lead {
    sender: Arc<watch::Sender<Progress>>,
}

impl Lead {
    /// Tells that the upstream has answered and will send `total` bytes, if it said so.
    pub(super) fn arriving(&self, total: Option<u64>, file: GrowingFile) {
        self.sender
            .send_modify(|progress| progress.phase = Phase::Arriving { total, file });
    }

    /// Tells that the first `written` bytes can be read.
    pub(super) fn written(&self, written: u64) {
        self.sender
            .send_modify(|progress| progress.written = written);
    }

    /// Tells that the blob is verified and stored.
    pub(super) fn whole(&self, size: u64, file: GrowingFile) {
        self.sender.send_modify(|progress| {
            progress.phase = Phase::Whole { size, file };
            progress.written = size;
        });
    }
}

/// A reader of a fetch under way.
#[derive(Clone)]
pub struct Follower {
    progress: watch::Receiver<Progress>,
}

impl Follower {
    /// Waits for the upstream's answer; returns the size in bytes if it told one.
    ///
    /// # Errors
    /// What the leading request met.
    pub async fn started(&mut self) -> Result<Option<u64>, Arc<Error>> {
        self.wait(|phase| match phase {
            // An empty answer is complete with its headers: it waits for the digest like any last byte.
            Phase::Asking | Phase::Arriving { total: Some(0), .. } | Phase::Failed(_) => None,
            Phase::Arriving { total, .. } => Some(*total),
            Phase::Whole { size, .. } => Some(Some(*size)),
        })
        .await
    }

    /// Waits until the blob is verified and stored; returns its size in bytes.
    ///
    /// # Errors
    /// What the leading request met.
    pub async fn settled(&mut self) -> Result<u64, Arc<Error>> {
        self.wait(|phase| match phase {
            Phase::Asking | Phase::Arriving { .. } | Phase::Failed(_) => None,
            Phase::Whole { size, .. } => Some(*size),
        })
        .await
    }

    /// Waits until `reached` tells something of the phase, or the fetch has failed.
    async fn wait<T>(&mut self, reached: impl Fn(&Phase) -> Option<T>) -> Result<T, Arc<Error>> {
        loop {
            {
                let now = self.progress.borrow_and_update();
                if let Phase::Failed(error) = &now.phase {
                    return Err(Arc::clone(error));
                }
                if let Some(told) = reached(&now.phase) {
                    return Ok(told);
                }
            }
            if self.progress.changed().await.is_err() {
                return Err(Arc::new(lost()));
            }
        }
    }

    /// Returns all bytes; the last are held back until the digest agreed.
    pub fn read_whole(self) -> ByteStream {
        self.read(0, None)
    }

    /// Returns the bytes of `range` as they arrive. A range that is not the whole blob may be served
    /// before verification (law 5); the whole blob may not.
    pub fn read_part(self, range: Range<u64>) -> ByteStream {
        self.read(range.start, Some(range.end))
    }

    fn read(self, offset: u64, end: Option<u64>) -> ByteStream {
        let reading = Reading {
            progress: self.progress,
            offset,
            end,
        };
        Box::pin(futures_util::stream::try_unfold(
            reading,
            |mut reading| async move {
                let bytes = reading.next().await?;
                Ok(bytes.map(|bytes| (bytes, reading)))
            },
        ))
    }
}

struct Reading {
    progress: watch::Receiver<Progress>,
    offset: u64,
    /// Where the asked part ends; none for the whole blob.
    end: Option<u64>,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<bytes::Bytes>> {
        loop {
            let now = self.progress.borrow_and_update().clone();
            let (file, visible) = match now.phase {
                Phase::Asking => (None, 0),
                Phase::Arriving { file, .. } => {
                    let visible = match self.end {
                        Some(end) => now.written.min(end),
                        None => now.written.saturating_sub(1),
                    };
                    (Some(file), visible)
                }
                Phase::Whole { size, file } => {
                    let end = self.end.unwrap_or(size).min(size);
                    if self.offset >= end {
                        return Ok(None);
                    }
                    (Some(file), end)
                }
                Phase::Failed(error) => return Err(io::Error::other(error.to_string())),
            };
            if self.end.is_some_and(|end| self.offset >= end) {
                return Ok(None);
            }
            if let Some(file) = file
                && self.offset < visible
            {
                let bytes = file.read_at(self.offset, visible).await?;
                self.offset += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            if self.progress.changed().await.is_err() {
                return Err(io::Error::other(lost().to_string()));
            }
        }
    }
}

fn lost() -> Error {
    Error::Content(crate::content::Error::Unavailable {
        reason: "the fetch was given up".to_owned(),
    })
}
