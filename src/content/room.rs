//! Room for mirrored content: what the disk and `cache.maxsize` still allow, after what fills under way have announced.
//! A fill that finds none is not refused: its readers are served without storing it. Pushes are not bounded here.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::evict::EvictRequest;
use super::store::Content;

/// How large the mirrored content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// Bytes of blobs that only mirrored repositories hold.
    pub bytes: u64,
    /// The most they may be, in bytes; `None` without a bound.
    pub max_bytes: Option<u64>,
}

/// A disk, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    pub(super) size: u64,
    pub(super) free: u64,
}

/// What is known of the room without asking the disk or the database.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// Bytes of blobs that only mirrored repositories hold.
    held: AtomicU64,
    /// Every byte that was ever added to `held` by a commit, so that a sum taken meanwhile can be corrected.
    added: AtomicU64,
    announced: Arc<Announced>,
    /// Somebody wants mirrored content to be evicted.
    pub(super) wanted: Notify,
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
    fn sums(&self) -> std::sync::MutexGuard<'_, Sums> {
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

impl Rooms {
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts a mirrored blob that was stored.
    pub(super) fn add(&self, bytes: u64) {
        self.added.fetch_add(bytes, Ordering::Relaxed);
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that were freed.
    pub(super) fn subtract(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        // The closure always gives a value, so the update cannot fail.
        let _ = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Returns a mark to give to [`Rooms::settle`] with a sum that was begun after it.
    pub(super) fn mark(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    /// Replaces the running number by a sum from the database; what was stored since `mark` may be missing in it.
    pub(super) fn settle(&self, sum: u64, mark: u64) {
        let since = self.added.load(Ordering::Relaxed).saturating_sub(mark);
        self.held
            .store(sum.saturating_add(since), Ordering::Relaxed);
    }
}

impl Content {
    /// Tells whether a mirrored blob of `bytes` (`None`: of unknown size) may be stored now: `cache.minfree` stays free and
    /// `cache.maxsize` is kept, after what is under way. When not, evicting begins; serve this one without storing it.
    pub fn has_room_for(&self, bytes: Option<u64>) -> bool {
        let fits = self.fits(self.rooms.announced.sums().to_owned(), bytes.unwrap_or(1));
        if !fits {
            self.rooms.wanted.notify_one();
        }
        fits
    }

    /// Takes room for a mirrored blob of `bytes` (`None`: of unknown size), evicting what was not pulled for longest if
    /// that makes it. Hold the answer until the fill is committed or abandoned. `None`: serve this one without storing it.
    pub async fn take_room(&self, bytes: Option<u64>) -> Option<Room> {
        let bytes = bytes.unwrap_or(1);
        if let Some(room) = self.try_room(bytes) {
            return Some(room);
        }
        if self.most().is_some_and(|most| bytes > most) {
            return None;
        }
        if let Err(error) = self.evict(EvictRequest::RoomFor { bytes }).await {
            tracing::warn!(%error, "could not make room for mirrored content");
        }
        self.try_room(bytes)
    }

    /// Returns how large the mirrored content is, without asking the database.
    pub fn cache_size(&self) -> CacheSize {
        CacheSize {
            bytes: self.rooms.held(),
            max_bytes: self.most(),
        }
    }

    fn try_room(&self, bytes: u64) -> Option<Room> {
        self.rooms
            .announced
            .take(bytes, |sums| self.fits(sums, bytes))
    }

    fn fits(&self, announced: Sums, bytes: u64) -> bool {
        let Some(disk) = disk(&self.settings.root) else {
            // A disk that does not tell is no reason to store nothing: it will say when it is full.
            return true;
        };
        let free = disk.free.saturating_sub(announced.missing);
        let minfree = self.settings.cache.minfree.on(disk.size);
        let bounded = self.settings.cache.maxsize.is_none_or(|most| {
            let held = self.rooms.held().saturating_add(announced.whole);
            held.saturating_add(bytes) <= most.on(disk.size)
        });
        bounded && free.saturating_sub(minfree) >= bytes
    }

    /// Returns `cache.maxsize` in bytes.
    pub(super) fn most(&self) -> Option<u64> {
        let most = self.settings.cache.maxsize?;
        let size = disk(&self.settings.root).map_or(0, |disk| disk.size);
        Some(most.on(size))
    }

    /// Returns the bytes that fills under way have announced in all, and those of them that are not on the disk yet.
    pub(super) fn announced(&self) -> (u64, u64) {
        let sums = *self.rooms.announced.sums();
        (sums.whole, sums.missing)
    }
}

/// Returns the disk that `directory` lies on, if it tells.
pub(super) fn disk(directory: &Path) -> Option<Disk> {
    let told = rustix::fs::statvfs(directory).ok()?;
    Some(Disk {
        size: told.f_blocks.saturating_mul(told.f_frsize),
        free: told.f_bavail.saturating_mul(told.f_frsize),
    })
}
