//! Pulling a blob, and asking whether it exists. A stored blob and one that is still arriving answer
//! alike; "exists" protects the digest first.

use std::ops::Range;

use metadata::LeaseOf;
use oci::Digest;

use super::error::{Error, content_error, mirror_error};
use super::resolve::{Place, Resolved, Rule};
use super::service::{Found, Registry};
use crate::auth::Caller;
use crate::content::{self, ByteStream, PullFact, StoredBlob};
use crate::mirror::{self, BlobFound, CacheState, Follower, Saved, Target};

/// A blob to answer with.
pub struct BlobAnswer {
    digest: Digest,
    /// Its size in bytes, if it is known.
    pub size: Option<u64>,
    /// How a mirrored one came about.
    pub cache: Option<CacheState>,
    source: Source,
}

enum Source {
    /// Here; what is sent of a mirrored one is counted.
    Stored(StoredBlob, Option<Saved>),
    Arriving(Follower),
}

impl BlobAnswer {
    /// Returns all bytes.
    ///
    /// # Errors
    /// What the upstream answers this reader, where nothing can be stored.
    pub async fn read_whole(self, at: &Resolved) -> Result<ByteStream, Error> {
        match self.source {
            Source::Stored(blob, saved) => Ok(counted(saved, blob.read(0..blob.size()))),
            Source::Arriving(follower) => {
                let read = follower.read_whole().await;
                read.map_err(|error| gone(error, at, &self.digest))
            }
        }
    }

    /// Returns the bytes of `range`, which must lie within the size.
    ///
    /// # Errors
    /// As [`BlobAnswer::read_whole`].
    pub async fn read_part(self, at: &Resolved, range: Range<u64>) -> Result<ByteStream, Error> {
        let follower = match self.source {
            Source::Stored(blob, saved) => return Ok(counted(saved, blob.read(range))),
            Source::Arriving(follower) => follower,
        };
        // A part that is the whole is held back like the whole.
        let read = if self.size.is_some_and(|size| range == (0..size)) {
            follower.read_whole().await
        } else {
            follower.read_part(range).await
        };
        read.map_err(|error| gone(error, at, &self.digest))
    }

    /// Waits until the size is more than an upstream's word, and returns it in bytes. Asked before a client
    /// is told that a part lies outside the blob.
    ///
    /// # Errors
    /// What became of a blob that was arriving.
    pub async fn verified_size(&mut self, at: &Resolved) -> Result<u64, Error> {
        match &mut self.source {
            Source::Stored(blob, _) => Ok(blob.size()),
            Source::Arriving(follower) => {
                let size = follower.sure_size().await;
                let size = size.map_err(|error| gone(error, at, &self.digest))?;
                self.size = Some(size);
                Ok(size)
            }
        }
    }

    fn stored(digest: &Digest, blob: StoredBlob, saved: Option<Saved>) -> Self {
        Self {
            digest: *digest,
            size: Some(blob.size()),
            cache: saved.is_some().then_some(CacheState::Hit),
            source: Source::Stored(blob, saved),
        }
    }
}

fn counted(saved: Option<Saved>, stream: ByteStream) -> ByteStream {
    match saved {
        Some(saved) => saved.counting(stream),
        None => stream,
    }
}

/// Says what became of a blob that the upstream had.
fn gone(error: mirror::Error, at: &Resolved, digest: &Digest) -> Error {
    mirror_error(error, &at.asked, || unknown(at, digest))
}

/// Returns the blob `digest` of `at`.
///
/// # Errors
/// [`Error::BlobUnknown`], the upstream's answer, storage errors.
pub async fn pull_blob(
    registry: &Registry,
    _caller: &Caller,
    at: &Resolved,
    digest: &Digest,
) -> Result<BlobAnswer, Error> {
    let Some(target) = mirror_to_ask(registry, at, digest).await? else {
        let found = registry.content.find_blob(&at.asked, digest).await;
        let found = found.map_err(|error| content_error(error, &at.asked, None))?;
        return found
            .map(|blob| BlobAnswer::stored(digest, blob, None))
            .ok_or_else(|| unknown(at, digest));
    };
    let found = registry.mirror.blob(target, digest).await;
    if found.is_ok() {
        registry.content.note_pull(PullFact {
            repository: target.repository.clone(),
            digest: *digest,
            tag: None,
        });
    }
    match found.map_err(|error| mirror_error(error, &at.asked, || unknown(at, digest)))? {
        BlobFound::Stored { blob, saved } => Ok(BlobAnswer::stored(digest, blob, Some(saved))),
        BlobFound::Arriving { follower, total } => Ok(BlobAnswer {
            digest: *digest,
            size: total,
            cache: Some(CacheState::Miss),
            source: Source::Arriving(follower),
        }),
    }
}

/// Returns the size in bytes of the blob `digest` of `at`, if it is known, and protects the blob for a
/// caller who may skip its upload because of this answer.
///
/// # Errors
/// As [`pull_blob`].
pub async fn head_blob(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    digest: &Digest,
) -> Result<Option<u64>, Error> {
    let target = mirror_to_ask(registry, at, digest).await?;
    // Where a push may take over a mirrored name, "exists" upstream would make it skip what it has to bring.
    let target = target.filter(|target| !(is_default(at) && target.remote.settings.shadow));
    if let Some(target) = target {
        let size = registry.mirror.blob_size(target, digest).await;
        return size.map_err(|error| mirror_error(error, &at.asked, || unknown(at, digest)));
    }
    let row = registry.metadata().blob(&at.asked, digest).await?;
    let row = row.ok_or_else(|| unknown(at, digest))?;
    // "Exists" makes clients skip the upload, so it is only said of a blob that can be served.
    match registry.content.open_blob(digest, &row).await {
        Ok(_) => {}
        // A damaged blob is not there: the push that asks uploads it again and repairs it.
        Err(content::Error::Damaged { .. }) => return Err(unknown(at, digest)),
        Err(error) => return Err(content_error(error, &at.asked, None)),
    }
    let found = Found {
        repository: &at.asked,
        digest,
        of: LeaseOf::Blob,
        lease_until: row.lease_until,
    };
    if registry.lease(caller, at, found).await? {
        Ok(Some(row.size))
    } else {
        Err(unknown(at, digest))
    }
}

/// Returns the upstream to pull from, or none when the blob is local or the upstream must not be
/// asked: beside pushes a blob request goes there only for a repository that was mirrored from it
/// before, so that a push neither learns from a stranger's repository nor tells it its digests.
async fn mirror_to_ask<'a>(
    registry: &Registry,
    at: &'a Resolved,
    digest: &Digest,
) -> Result<Option<&'a Target>, Error> {
    let (target, rule) = match &at.place {
        Place::Local => return Ok(None),
        Place::Mirror { target, rule } => (target, *rule),
    };
    if rule != Rule::Default {
        return Ok(Some(target));
    }
    // Blobs pushed before the first manifest of a name are reachable under it.
    let pushed = registry.metadata().blob(&at.asked, digest).await?;
    if pushed.is_some() {
        return Ok(None);
    }
    let mirrored = registry.metadata();
    let mirrored = mirrored.has_ever_mirrored(&target.repository).await?;
    Ok(mirrored.then_some(target))
}

fn is_default(at: &Resolved) -> bool {
    match &at.place {
        Place::Local => false,
        Place::Mirror { rule, .. } => *rule == Rule::Default,
    }
}

fn unknown(at: &Resolved, digest: &Digest) -> Error {
    Error::BlobUnknown {
        name: at.asked.to_string(),
        digest: *digest,
    }
}
