//! Bytes that are not what their row says. Whoever meets them has the row quarantined, so that the blob exists to nobody until
//! a push, a fill or a repair brings the right bytes; a disk that is not there, or cannot be read, damages nothing.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use blobstore::{BlobFile, BlobStore, ErrorKind};
use metadata::CheckedBlob;
use oci::{Digest, Hasher};
use rustix::fs::{Advice, fadvise};
use rustix::io::{pread, retry_on_intr};

use super::error::Error;
use super::pace::Pace;
use super::store::{Content, address};

/// Bytes that are hashed at a time: large enough for a disk, and short enough to stop after.
const SLICE: usize = 1 << 20;

/// What can be wrong with stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There are none.
    Missing,
    /// They are more or fewer than the row says.
    Size,
    /// They do not have their digest.
    Digest,
}

/// How closely bytes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// How many there are.
    Size,
    /// All of them.
    Bytes,
}

/// What a look at bytes told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// They are right, as far as was looked.
    Right,
    /// They are not.
    Damaged(Damage),
    /// They are there, and what they are cannot be told: the reason, for the log only.
    Unreadable(String),
}

impl Damage {
    const ALL: [Self; 3] = [Self::Missing, Self::Size, Self::Digest];

    /// Returns the word it is stored and told by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size => "size",
            Self::Digest => "digest",
        }
    }

    /// Returns the damage of a quarantined row; what another version wrote is told as a wrong digest.
    pub(super) fn of_row(text: Option<&str>) -> Self {
        let known = |damage: &Self| Some(damage.name()) == text;
        Self::ALL.into_iter().find(known).unwrap_or(Self::Digest)
    }
}

impl Content {
    /// Looks once more at the bytes of `digest`, with which something was found wrong, and quarantines them if it still is.
    /// Returns what the reader is to be told.
    pub(super) async fn met_damage(&self, digest: &Digest, look: Look) -> Error {
        let damaged = Error::Damaged { digest: *digest };
        let row = match self.metadata.live_blob(digest).await {
            Ok(Some(row)) => row,
            Ok(None) => {
                tracing::debug!(%digest, "blob was reclaimed before it was opened");
                return damaged;
            }
            Err(error) => return error.into(),
        };
        match self.look_at(&row, look, &mut Pace::unlimited()).await {
            Ok(Seen::Damaged(damage)) => {
                if let Err(error) = self.quarantine(&row, damage).await {
                    tracing::warn!(%digest, %error, "could not quarantine a damaged blob");
                }
                damaged
            }
            // It was replaced meanwhile.
            Ok(Seen::Right) => damaged,
            Ok(Seen::Unreadable(reason)) => Error::Unavailable { reason },
            Err(error) => error,
        }
    }

    /// Looks at the bytes of `digest`, of which somebody says that there are more or fewer, and quarantines them if they are
    /// wrong: an import enters a file that a crash had cut as it is. What was hashed before is not hashed again, so that
    /// wrong manifests keep no disk busy. Returns whether they were wrong.
    pub(super) async fn is_damaged_after_all(&self, digest: &Digest) -> Result<bool, Error> {
        let Some(row) = self.metadata.live_blob(digest).await? else {
            return Ok(false);
        };
        if row.checked_at > 0 {
            return Ok(false);
        }
        match self
            .look_at(&row, Look::Bytes, &mut Pace::unlimited())
            .await?
        {
            Seen::Right => {
                let right = vec![(row.id, row.revision)];
                self.metadata.note_checked(right).await?;
                Ok(false)
            }
            Seen::Damaged(damage) => self.quarantine(&row, damage).await,
            Seen::Unreadable(reason) => Err(Error::Unavailable { reason }),
        }
    }

    /// Quarantines the blob of `row`, of whose bytes that was seen. Returns whether it did: what was replaced or deleted
    /// meanwhile is not damaged.
    pub(super) async fn quarantine(
        &self,
        row: &CheckedBlob,
        damage: Damage,
    ) -> Result<bool, Error> {
        let quarantine = || {
            let metadata = &self.metadata;
            metadata.quarantine(row.id, row.revision, damage.name())
        };
        let done = self.with_reserve(quarantine).await?;
        if done {
            tracing::error!(digest = %row.digest, damage = damage.name(), "a stored blob is damaged and no longer served");
            self.manifests.invalidate(&row.digest);
            self.count_quarantined().await;
        }
        Ok(done)
    }

    /// Makes a quarantined blob live again, whose bytes were found right. Returns whether it did.
    pub(super) async fn lift_quarantine(&self, row: &CheckedBlob) -> Result<bool, Error> {
        let lift = || self.metadata.lift_quarantine(row.id, row.revision);
        let done = self.with_reserve(lift).await?;
        if done {
            tracing::info!(digest = %row.digest, "a quarantined blob is right again");
            self.count_quarantined().await;
        }
        Ok(done)
    }

    /// Tells the metrics how many blobs are quarantined.
    pub(super) async fn count_quarantined(&self) {
        match self.metadata.count_quarantined().await {
            Ok(blobs) => self.metrics.integrity().quarantined(blobs),
            Err(error) => tracing::debug!(%error, "could not count quarantined blobs"),
        }
    }

    /// Looks at the bytes of `row`; `pace` says how fast they are read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store is not there at all: that says nothing about them.
    pub(super) async fn look_at(
        &self,
        row: &CheckedBlob,
        look: Look,
        pace: &mut Pace,
    ) -> Result<Seen, Error> {
        let (store, root) = (Arc::clone(&self.store), self.settings.root.clone());
        let at = row.clone();
        let opened = tokio::task::spawn_blocking(move || open_to_look(store.as_ref(), &root, &at));
        let blob = match opened.await?? {
            Ok(blob) => blob,
            Err(seen) => return Ok(seen),
        };
        if look == Look::Size {
            return Ok(Seen::Right);
        }
        Ok(match hash(blob.file, &row.digest, row.size, pace).await? {
            Ok(Some(digest)) if digest == row.digest => Seen::Right,
            Ok(_) => Seen::Damaged(Damage::Digest),
            Err(error) => Seen::Unreadable(error.to_string()),
        })
    }
}

/// Opens the bytes of `row` if they are as many as it says; else returns what was seen. Blocks.
///
/// # Errors
/// As [`Content::look_at`].
pub(super) fn open_to_look(
    store: &dyn BlobStore,
    root: &Path,
    row: &CheckedBlob,
) -> Result<Result<BlobFile, Seen>, Error> {
    let at = address(&row.digest, row.key.as_deref())?;
    Ok(match store.open(&at) {
        Ok(blob) if blob.size == row.size => Ok(blob),
        Ok(_) => Err(Seen::Damaged(Damage::Size)),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Seen::Unreadable(error.to_string()))
        }
        Err(_) if is_store_there(&root.join(at.path())) => Err(Seen::Damaged(Damage::Missing)),
        Err(_) => return Err(absent(&row.digest)),
    })
}

/// Tells whether the store has a place for the algorithm of the blob that would lie at `path`. It never loses that by
/// deletions; what has none is the empty directory where its disk should be.
fn is_store_there(path: &Path) -> bool {
    // Above the file, its digest's directory and the shard.
    path.ancestors().nth(3).is_some_and(Path::is_dir)
}

fn absent(digest: &Digest) -> Error {
    let algorithm = digest.algorithm().as_str();
    Error::Unavailable {
        reason: format!(
            "the store has no directory for any {algorithm} blob: is its disk mounted?"
        ),
    }
}

/// Returns the digest of the `size` bytes of `file`; none when there are not that many any more. What the page cache kept of
/// the file is read from the disk instead, and nothing of it is left there: what clients read meanwhile stays.
pub(super) async fn hash(
    file: File,
    digest: &Digest,
    size: u64,
    pace: &mut Pace,
) -> Result<io::Result<Option<Digest>>, Error> {
    let mut hashing = Hashing {
        file,
        hasher: Hasher::new(digest.algorithm()),
        buffer: Vec::new(),
    };
    hashing.forget_pages(0);
    loop {
        let (back, read) = tokio::task::spawn_blocking(move || {
            let read = hashing.slice(size);
            (hashing, read)
        })
        .await?;
        hashing = back;
        match read {
            Err(error) => return Ok(Err(error)),
            Ok(0) => {
                let is_whole = hashing.hasher.hashed() == size;
                return Ok(Ok(is_whole.then(|| hashing.hasher.finish())));
            }
            Ok(read) => pace.spent(read).await,
        }
    }
}

struct Hashing {
    file: File,
    hasher: Hasher,
    buffer: Vec<u8>,
}

impl Hashing {
    /// Hashes the next slice of at most `size` bytes in all and returns how many there were. Blocks.
    fn slice(&mut self, size: u64) -> io::Result<u64> {
        let offset = self.hasher.hashed();
        let left = usize::try_from(size - offset).unwrap_or(SLICE);
        self.buffer.resize(left.min(SLICE), 0);
        if self.buffer.is_empty() {
            return Ok(0);
        }
        let read = retry_on_intr(|| pread(&self.file, &mut self.buffer, offset))?;
        self.hasher.update(&self.buffer[..read]);
        self.forget_pages(offset);
        Ok(read as u64)
    }

    /// Takes the file's pages from `offset` on out of the page cache; a file system that cannot is none the worse for it.
    fn forget_pages(&self, offset: u64) {
        // No length: up to the end.
        let _ = fadvise(&self.file, offset, None, Advice::DontNeed);
    }
}
