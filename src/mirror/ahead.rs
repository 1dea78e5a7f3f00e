//! Ranges that lie ahead of what has arrived: lazy-pulling clients ask for the end first. Each is fetched
//! in windows that all its readers share; a few are kept in memory at a time, and who finds no place
//! waits for the growing file, as everybody does where the upstream knows no ranges.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use oci::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

use super::remotes::Target;
use crate::upstream::{Error, Patience};

/// How far ahead of the growing file a range must lie: what is nearer is there soon.
const NEAR: u64 = 1 << 20;

/// Bytes of a window.
const WINDOW: u64 = 4 << 20;

/// Windows kept at a time, of all fetches together: 64 MiB.
const PLACES: usize = 16;

/// The memory for windows.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

/// What is fetched ahead in one fetch.
pub(super) struct Ahead {
    places: Places,
    windows: Mutex<HashMap<(u64, u64), Weak<Window>>>,
    /// The upstream has refused: its readers wait for the file.
    is_over: Arc<AtomicBool>,
}

/// A part of a blob in memory, or on its way there. Dropping the last reader's gives it up.
pub(super) struct Window {
    range: Range<u64>,
    bytes: watch::Receiver<Option<Arc<Kept>>>,
    task: AbortHandle,
}

struct Kept {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Drop for Window {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ahead {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            windows: Mutex::default(),
            is_over: Arc::default(),
        }
    }

    /// Returns the window at the beginning of `wanted`, whose bytes are asked for if nobody did; none when
    /// they are to be waited for, because the growing file has `written` bytes or cannot be overtaken.
    pub(super) fn window(
        &self,
        target: &Target,
        digest: &Digest,
        wanted: Range<u64>,
        written: u64,
    ) -> Option<Arc<Window>> {
        if wanted.start < written.saturating_add(NEAR) || self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let range = wanted.start..wanted.end.min(wanted.start + WINDOW);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (range.start, range.end);
        if let Some(window) = windows.get(&key).and_then(Weak::upgrade) {
            return Some(window);
        }
        windows.retain(|_, window| window.strong_count() > 0);
        let (sender, bytes) = watch::channel(None);
        let (target, digest) = (target.clone(), *digest);
        let (places, is_over) = (self.places.clone(), Arc::clone(&self.is_over));
        let part = range.clone();
        let task = tokio::spawn(async move {
            let Ok(place) = places.0.acquire_owned().await else {
                return;
            };
            match fetch(&target, &digest, part).await {
                Ok(bytes) => {
                    let _place = place;
                    sender.send_replace(Some(Arc::new(Kept { bytes, _place })));
                }
                Err(error) => {
                    tracing::debug!(upstream = %target.remote.label, %digest, %error, "no range ahead");
                    is_over.store(true, Ordering::Relaxed);
                }
            }
        });
        let window = Arc::new(Window {
            range,
            bytes,
            task: task.abort_handle(),
        });
        windows.insert(key, Arc::downgrade(&window));
        Some(window)
    }
}

impl Window {
    /// Returns the bytes from `offset` on, at most `most` of them; none while they are not there, or when
    /// they lie elsewhere.
    pub(super) fn read(&self, offset: u64, most: usize) -> Option<Bytes> {
        let kept = self.bytes.borrow().clone()?;
        let from = usize::try_from(offset.checked_sub(self.range.start)?).ok()?;
        let until = kept.bytes.len().min(from.saturating_add(most));
        (from < until).then(|| kept.bytes.slice(from..until))
    }

    /// Returns whether byte `offset` is in it.
    pub(super) fn covers(&self, offset: u64) -> bool {
        self.range.contains(&offset)
    }

    /// Waits until the bytes are there; returns whether they will be.
    pub(super) async fn arrived(&self) -> bool {
        let mut bytes = self.bytes.clone();
        bytes.wait_for(Option::is_some).await.is_ok()
    }
}

/// Returns exactly the bytes of `range`.
async fn fetch(target: &Target, digest: &Digest, range: Range<u64>) -> Result<Bytes, Error> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let unusable = |reason: &str| Error::Protocol {
        reason: reason.to_owned(),
    };
    let (asking, from) = (target.ask(), range.start);
    let mut body = asking
        .get_blob_part(&target.path, digest, range, Patience::Waits)
        .await?;
    if body.start != from {
        return Err(unusable("no ranges"));
    }
    let mut bytes = BytesMut::with_capacity(length);
    while bytes.len() < length {
        let Some(mut chunk) = body.chunk().await? else {
            return Err(unusable("a range that ends early"));
        };
        chunk.truncate(length - bytes.len());
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
