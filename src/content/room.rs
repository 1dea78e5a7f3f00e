//! Room for mirrored content: what the disk and `cache.maxsize` still allow, after what fills under way have announced.
//! A fill that finds none is not refused: its readers are served without storing it. Pushes are not bounded here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oci::Digest;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::disk::Disk;
use super::error::Error;
use super::evict::{EvictReport, EvictRequest};
use super::store::Content;

/// How long who wants to store something mirrored waits for room to be made, at most.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(2);

/// What is freed at least, in bytes, when a push met a full disk.
const LEAST_FREED: u64 = 16 << 20;

/// How large the mirrored content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// Bytes of blobs that only mirrored repositories hold.
    pub bytes: u64,
    /// The most they may be, in bytes; `None` without a bound.
    pub max_bytes: Option<u64>,
}

/// What is known of the room without asking the disk or the database.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    held: Mutex<Held>,
    announced: Arc<Announced>,
    /// Somebody wants mirrored content to be evicted.
    pub(super) wanted: Notify,
}

/// Bytes of blobs that only mirrored repositories hold.
#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// What is counted already and may not be committed yet.
    committing: HashMap<Digest, u64>,
    /// What was stored since a sum began and has not been seen by it.
    unseen: Option<HashMap<Digest, u64>>,
}

/// What fills under way will need.
#[derive(Debug, Default)]
struct Announced(Mutex<Sums>);

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Bytes of all fills under way, as they were announced.
    whole: u64,
    /// Bytes of them that are not on the disk yet.
    missing: u64,
}

/// Room taken for one fill; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    announced: Arc<Announced>,
    whole: u64,
    written: AtomicU64,
}

impl Room {
    /// Notes that `written` bytes of the fill are on the disk.
    pub fn written(&self, written: u64) {
        let written = written.min(self.whole);
        let before = self.written.fetch_max(written, Ordering::Relaxed);
        let mut sums = self.announced.sums();
        sums.missing -= written.saturating_sub(before);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let written = *self.written.get_mut();
        let mut sums = self.announced.sums();
        sums.whole -= self.whole;
        sums.missing -= self.whole - written;
    }
}

impl Announced {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for `bytes` if `fits` says so of what is announced already.
    fn take(self: &Arc<Self>, bytes: u64, fits: impl Fn(Sums) -> bool) -> Option<Room> {
        let mut sums = self.sums();
        if !fits(*sums) {
            return None;
        }
        sums.whole += bytes;
        sums.missing += bytes;
        Some(Room {
            announced: Arc::clone(self),
            whole: bytes,
            written: AtomicU64::new(0),
        })
    }
}

/// A mirrored blob that is counted before it is committed, so that no sum misses it.
pub(super) struct Counted<'a> {
    rooms: &'a Rooms,
    digest: Digest,
    bytes: u64,
}

impl Counted<'_> {
    /// Notes that it is committed.
    pub(super) fn committed(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut held = self.rooms.lock();
        held.committing.remove(&self.digest);
        if self.bytes > 0 {
            held.bytes = held.bytes.saturating_sub(self.bytes);
            if let Some(unseen) = &mut held.unseen {
                unseen.remove(&self.digest);
            }
        }
    }
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held(&self) -> u64 {
        self.lock().bytes
    }

    /// Counts a mirrored blob that is about to be committed; taken back unless the answer hears that it was.
    pub(super) fn count(&self, digest: &Digest, bytes: u64) -> Counted<'_> {
        let mut held = self.lock();
        held.bytes = held.bytes.saturating_add(bytes);
        held.committing.insert(*digest, bytes);
        if let Some(unseen) = &mut held.unseen {
            unseen.insert(*digest, bytes);
        }
        Counted {
            rooms: self,
            digest: *digest,
            bytes,
        }
    }

    /// Counts bytes that were freed.
    pub(super) fn subtract(&self, bytes: u64) {
        let mut held = self.lock();
        held.bytes = held.bytes.saturating_sub(bytes);
    }

    /// Begins a sum over the database; one at a time.
    pub(super) fn begin_sum(&self) {
        let mut held = self.lock();
        held.unseen = Some(held.committing.clone());
    }

    /// Notes that the sum has met a blob.
    pub(super) fn seen(&self, digest: &Digest) {
        if let Some(unseen) = &mut self.lock().unseen {
            unseen.remove(digest);
        }
    }

    /// Replaces the running number by `sum` and what was stored behind its back.
    pub(super) fn settle(&self, sum: u64) {
        let mut held = self.lock();
        let unseen = held.unseen.take().unwrap_or_default();
        held.bytes = unseen
            .values()
            .fold(sum, |all, bytes| all.saturating_add(*bytes));
    }
}

impl Content {
    /// Has evicting begin if there is too little room.
    pub fn ask_for_room(&self) {
        self.rooms.wanted.notify_one();
    }

    /// Makes mirrored content give way to a push of `bytes`, if the disk has no room for them. Waits for it a little; what
    /// cannot be freed the disk itself refuses.
    pub(super) async fn give_way(self: &Arc<Self>, bytes: u64) {
        if bytes == 0 || self.disk.now().await.is_none_or(|disk| disk.free >= bytes) {
            return;
        }
        if let Ok(Err(error)) = timeout(ROOM_PATIENCE, self.evict_for(bytes)).await {
            tracing::warn!(%error, "could not make room for a push");
        }
    }

    /// Makes mirrored content give way after `error`, if that is a full disk: for as much again as the `taken` bytes of the
    /// push that met it, because its client sends it anew without telling how much there is.
    pub(super) fn give_way_after(self: &Arc<Self>, error: &Error, taken: u64) {
        if !matches!(error, Error::StorageFull) {
            return;
        }
        let (content, bytes) = (Arc::clone(self), taken.saturating_mul(2).max(LEAST_FREED));
        tokio::spawn(async move { content.give_way(bytes).await });
    }

    /// Takes room for a mirrored blob of `bytes` (`None`: of unknown size), evicting what was not pulled for longest if
    /// that makes it within `patience`. Hold the answer until the fill is committed or abandoned. `None`: serve this one
    /// without storing it.
    pub async fn take_room(
        self: &Arc<Self>,
        bytes: Option<u64>,
        patience: Duration,
    ) -> Option<Room> {
        let making = self.make_room(bytes.unwrap_or(1));
        let made = timeout(patience, making).await;
        made.unwrap_or_else(|_| {
            tracing::debug!("making room for mirrored content takes too long to wait for it");
            self.ask_for_room();
            None
        })
    }

    async fn make_room(self: &Arc<Self>, bytes: u64) -> Option<Room> {
        let disk = self.disk.now().await;
        if let Some(room) = self.try_room(disk, bytes) {
            return Some(room);
        }
        if self.most_on(disk).is_some_and(|most| bytes > most) {
            return None;
        }
        if let Err(error) = self.evict_for(bytes).await {
            tracing::warn!(%error, "could not make room for mirrored content");
        }
        self.try_room(self.disk.now().await, bytes)
    }

    /// Evicts for a fill of `bytes`. What was begun is finished also when nobody waits for it any longer.
    async fn evict_for(self: &Arc<Self>, bytes: u64) -> Result<EvictReport, Error> {
        let mut last = Arc::clone(&self.evicting).lock_owned().await;
        let content = Arc::clone(self);
        let evicting = tokio::spawn(async move {
            let request = EvictRequest::RoomFor { bytes };
            content.evict_alone(&mut last, request).await
        });
        evicting.await?
    }

    /// Returns how large the mirrored content is, without asking the database.
    pub async fn cache_size(&self) -> CacheSize {
        CacheSize {
            bytes: self.rooms.held(),
            max_bytes: self.most_on(self.disk.lately().await),
        }
    }

    fn try_room(&self, disk: Option<Disk>, bytes: u64) -> Option<Room> {
        let fits = |sums| self.fits(disk, sums, bytes);
        self.rooms.announced.take(bytes, fits)
    }

    fn fits(&self, disk: Option<Disk>, announced: Sums, bytes: u64) -> bool {
        let Some(disk) = disk else {
            // A disk that does not tell is no reason to store nothing: it will say when it is full.
            return true;
        };
        let free = disk.free.saturating_sub(announced.missing);
        let minfree = self.settings.cache.minfree.on(disk.size);
        let most = self.settings.cache.maxsize;
        let bounded = most.is_none_or(|most| self.fits_bound(announced, bytes, most.on(disk.size)));
        bounded && free.saturating_sub(minfree) >= bytes
    }

    fn fits_bound(&self, announced: Sums, bytes: u64, most: u64) -> bool {
        let held = self.rooms.held().saturating_add(announced.whole);
        held.saturating_add(bytes) <= most
    }

    /// Tells whether `cache.maxsize` allows so many bytes more, after what is under way.
    pub(super) async fn is_within_bound(&self, bytes: u64) -> bool {
        let most = self.most_on(self.disk.lately().await);
        let announced = *self.rooms.announced.sums();
        most.is_none_or(|most| self.fits_bound(announced, bytes, most))
    }

    /// Returns `cache.maxsize` in bytes, on `disk`.
    pub(super) fn most_on(&self, disk: Option<Disk>) -> Option<u64> {
        let most = self.settings.cache.maxsize?;
        Some(most.on(disk.map_or(0, |disk| disk.size)))
    }

    /// Returns the bytes that fills under way have announced in all, and those of them that are not on the disk yet.
    pub(super) fn announced(&self) -> (u64, u64) {
        let sums = *self.rooms.announced.sums();
        (sums.whole, sums.missing)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::ROOM_PATIENCE;
    use crate::config::{Cache, Space};
    use crate::content::testing;

    #[tokio::test(start_paused = true)]
    async fn who_wants_room_does_not_wait_for_an_eviction_or_a_purge_that_takes_long() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache {
            maxsize: Some(Space::Bytes(10)),
            ..Cache::default()
        };
        let content = Arc::new(testing::open(directory.path(), cache).0);
        let first = content.take_room(Some(10), ROOM_PATIENCE).await;
        let first = first.expect("there is room");
        let purging = content.evicting.lock().await;
        let began = Instant::now();
        let patience = Duration::from_millis(500);
        assert!(content.take_room(Some(10), patience).await.is_none());
        assert!(began.elapsed() >= patience);
        assert!(began.elapsed() < ROOM_PATIENCE);
        drop(first);
        let second = content.take_room(Some(10), patience).await;
        second.expect("who finds room waits for nobody");
        drop(purging);
    }
}
