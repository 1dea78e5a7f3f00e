//! What a crash or a failure left of uploads: files without a row, rows of mirror fills, and blobs that were published and
//! never committed. The last are found from the upload, which keeps a name of the same file until the commit, so that no
//! start searches the store. Nothing that a row points to is ever deleted here.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use blobstore::{BlobAddress, BlobKey};
use metadata::UploadPurpose;
use oci::UploadId;
use tokio::sync::Notify;

use super::error::Error;
use super::store::Content;

/// The pause before what could not be ended is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What waits to be ended in the background.
#[derive(Default)]
pub(super) struct Leftovers {
    waiting: Mutex<Vec<Leftover>>,
    some: Notify,
}

/// An upload that nobody goes on with.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    /// Its id.
    pub(super) id: UploadId,
    /// Whether it has a row, which goes after its bytes.
    pub(super) row: bool,
    /// Where it was published, once that is known: finding out reads all of it.
    published: Option<Vec<BlobAddress>>,
}

impl Leftover {
    /// Returns an upload without a row.
    pub(super) fn file(id: UploadId) -> Self {
        Self {
            id,
            row: false,
            published: None,
        }
    }

    /// Returns an upload without a row, which was published at `at`.
    pub(super) fn published(id: UploadId, at: BlobAddress) -> Self {
        Self {
            published: Some(vec![at]),
            ..Self::file(id)
        }
    }

    /// Returns an upload with a row.
    pub(super) fn row(id: UploadId) -> Self {
        Self {
            row: true,
            ..Self::file(id)
        }
    }
}

/// What became of bytes that may be nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// They are gone, or a row points to them.
    Done,
    /// Somebody has the digest in hands: ask again later.
    InUse,
}

impl Leftovers {
    /// Has `leftover` ended in the background.
    pub(super) fn add(&self, leftover: Leftover) {
        self.put(vec![leftover]);
        self.some.notify_one();
    }

    fn put(&self, leftovers: Vec<Leftover>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(leftovers);
    }

    fn take(&self) -> Vec<Leftover> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting)
    }
}

impl Content {
    /// Notes what a stopped process left: rows of mirror fills, which end with their process, and files without a row.
    /// [`crate::content::Background`] ends them. Uploads of clients stay and may be resumed. Call it before anything is
    /// served; it reads no file. Returns how many there are.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn note_leftovers(&self) -> Result<usize, Error> {
        let open = self.metadata.open_uploads().await?;
        self.metrics.uploads_open_are(open.len());
        let mut known = HashSet::with_capacity(open.len());
        let mut left = Vec::new();
        for (id, purpose) in open {
            match purpose {
                UploadPurpose::Push => {}
                UploadPurpose::MirrorFill => left.push(Leftover::row(id.clone())),
            }
            known.insert(id);
        }
        let files = self.blocking(|store| store.list_uploads()).await?;
        let nobodys = files.into_iter().filter(|id| !known.contains(id));
        left.extend(nobodys.map(Leftover::file));
        let count = left.len();
        self.leftovers.put(left);
        Ok(count)
    }

    /// Ends whatever is left, and goes on ending what is added; what cannot be ended yet is tried again.
    pub(super) async fn keep_ending_leftovers(&self) {
        loop {
            let mut again = Vec::new();
            for mut leftover in self.leftovers.take() {
                match self.end_leftover(&mut leftover).await {
                    Ok(Settled::Done) => {}
                    Ok(Settled::InUse) => again.push(leftover),
                    Err(error) => {
                        tracing::warn!(upload = %leftover.id, %error, "could not end what is left of an upload");
                        again.push(leftover);
                    }
                }
            }
            if again.is_empty() {
                self.leftovers.some.notified().await;
            } else {
                self.leftovers.put(again);
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }

    /// Removes all that is left of an upload: first the blobs that nothing committed, then its own name, by which they
    /// are found, then its row.
    async fn end_leftover(&self, leftover: &mut Leftover) -> Result<Settled, Error> {
        let published = match leftover.published.take() {
            Some(published) => published,
            None => {
                let id = leftover.id.clone();
                self.blocking(move |store| store.published(&id)).await?
            }
        };
        let settled = self.settle_all(&published).await;
        leftover.published = Some(published);
        if settled? == Settled::InUse {
            return Ok(Settled::InUse);
        }
        let id = leftover.id.clone();
        self.blocking(move |store| store.abort_upload(&id)).await?;
        if leftover.row {
            self.delete_upload_row(&leftover.id).await?;
        }
        Ok(Settled::Done)
    }

    /// Drops the bytes of an upload whose row goes, and the blob it was published as if nothing committed it. What cannot
    /// be dropped now is dropped later.
    pub(super) async fn discard_bytes(&self, id: &UploadId) {
        let mut leftover = Leftover::file(id.clone());
        match self.end_leftover(&mut leftover).await {
            Ok(Settled::Done) => {}
            Ok(Settled::InUse) => self.leftovers.add(leftover),
            Err(error) => {
                tracing::warn!(upload = %id, %error, "could not remove an upload's bytes; trying again");
                self.leftovers.add(leftover);
            }
        }
    }

    /// Settles each of `published`; in use if one of them is.
    pub(super) async fn settle_all(&self, published: &[BlobAddress]) -> Result<Settled, Error> {
        let mut all = Settled::Done;
        for at in published {
            if self.settle(at).await? == Settled::InUse {
                all = Settled::InUse;
            }
        }
        Ok(all)
    }

    /// Deletes the bytes at `at` unless a row, in whatever state, has that place. The caller does not hold the digest.
    pub(super) async fn settle(&self, at: &BlobAddress) -> Result<Settled, Error> {
        // Of most it is known without keeping anybody waiting.
        if self.is_place_taken(at).await? {
            return Ok(Settled::Done);
        }
        let Some(claim) = self.in_use.claim(&BTreeSet::from([at.digest])) else {
            return Ok(Settled::InUse);
        };
        // Whoever held the digest until now may have committed; who wants it from now on waits.
        if self.is_place_taken(at).await? {
            return Ok(Settled::Done);
        }
        let at = at.clone();
        self.blocking(move |store| {
            // Goes with the deletion, also when nobody waits for that any longer.
            let _claim = claim;
            store.delete(&at)
        })
        .await?;
        Ok(Settled::Done)
    }

    async fn is_place_taken(&self, at: &BlobAddress) -> Result<bool, Error> {
        let key = at.key.as_ref().map(BlobKey::as_str);
        Ok(self.metadata.is_place_taken(&at.digest, key).await?)
    }
}

#[cfg(test)]
mod tests;
