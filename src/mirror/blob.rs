//! A blob of a mirrored repository: stored, arriving, or to be fetched. A broken upstream body is
//! resumed with Range; a body that does not hash to its digest is never stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci::Digest;

use super::error::{Error, Trouble};
use super::inflight::{FetchKey, Follower, Lead};
use super::remotes::{Mirror, Target};
use crate::content::{self, ByteStream, Content, Fill, StoredBlob};
use crate::upstream;

/// Attempts that may bring nothing before a broken body is given up.
const FRUITLESS_ATTEMPTS: u32 = 5;

/// Bytes that make an attempt worth another; a few at a time would go on for ever.
const FRUITFUL: u64 = 64 << 10;

/// The wait before the first of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Where a mirrored blob was found.
pub enum BlobFound {
    /// Whole and stored here.
    Stored(StoredBlob),
    /// On its way.
    Arriving {
        /// The reader.
        follower: Follower,
        /// The size in bytes, if the upstream told it.
        total: Option<u64>,
    },
}

impl Mirror {
    /// Returns the blob `digest` of `target`, fetching it if it is not stored.
    ///
    /// # Errors
    /// The upstream's answer, or storage errors.
    pub async fn blob(&self, target: &Target, digest: &Digest) -> Result<BlobFound, Error> {
        target.refuse_unlisted()?;
        if let Some(stored) = self.stored_blob(target, digest).await? {
            return Ok(BlobFound::Stored(stored));
        }
        let key = fetch_key(target, digest);
        let (content, fetched) = (Arc::clone(&self.content), target.clone());
        let digest = *digest;
        let mut follower = self.inflight.join_or_lead(key, |lead| async move {
            fetch(&content, &fetched, &digest, &lead).await
        });
        match follower.started().await {
            Ok(total) => Ok(BlobFound::Arriving { follower, total }),
            Err(error) => Err(error.for_follower()),
        }
    }

    /// Returns the size in bytes of the blob `digest` of `target`, from here or from the upstream's
    /// HEAD; `None` when the upstream does not say.
    ///
    /// # Errors
    /// The upstream's answer, or storage errors.
    pub async fn blob_size(&self, target: &Target, digest: &Digest) -> Result<Option<u64>, Error> {
        target.refuse_unlisted()?;
        if let Some(stored) = self.stored_blob(target, digest).await? {
            return Ok(Some(stored.size()));
        }
        if let Some(mut follower) = self.inflight.join(&fetch_key(target, digest)) {
            return follower
                .started()
                .await
                .map_err(|error| error.for_follower());
        }
        let head = target.ask().head_blob(&target.path, digest).await;
        Ok(head.map_err(|error| trouble(target, error))?.size)
    }

    /// Returns the blob if its bytes are here and it is known to belong to the repository. Bytes that
    /// another repository brought are shared only after the upstream said that they belong here.
    async fn stored_blob(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<StoredBlob>, Error> {
        let repository = &target.repository;
        if let Some(stored) = self.content.mirrored_blob(repository, digest).await? {
            return Ok(Some(stored));
        }
        if !self.content.has_bytes(digest).await? {
            return Ok(None);
        }
        let head = target.ask().head_blob(&target.path, digest).await;
        match head {
            Ok(_) => Ok(self.content.adopt_blob(repository, digest).await?),
            Err(upstream::Error::NotFound) => Err(trouble(target, upstream::Error::NotFound)),
            // Some answer HEAD of what they send on GET with an error: the GET tells as well.
            Err(_) => Ok(None),
        }
    }
}

fn fetch_key(target: &Target, digest: &Digest) -> FetchKey {
    FetchKey {
        upstream: target.remote.settings.name.clone(),
        repository: target.repository.clone(),
        digest: *digest,
    }
}

/// Fetches the blob into the store; runs as a task of its own.
async fn fetch(
    content: &Content,
    target: &Target,
    digest: &Digest,
    lead: &Lead,
) -> Result<(), Error> {
    // Whoever led before may have finished between our look and our lead.
    let repository = &target.repository;
    if let Some(stored) = content.mirrored_blob(repository, digest).await? {
        lead.whole(stored.size(), stored.as_arrived());
        return Ok(());
    }
    let body = target.ask().get_blob(&target.path, digest, 0).await;
    let body = body.map_err(|error| trouble(target, error))?;
    let stated = content.stated_size(&target.repository, digest).await?;
    let total = match (stated, body.total) {
        (Some(stated), Some(sent)) if stated < sent => {
            let reason = format!("announced {sent} bytes where its manifest says {stated}");
            return Err(protocol(target, reason));
        }
        (_, sent) => sent,
    };
    let limit = total.or(stated);
    let teller = lead.clone();
    let (mut fill, file) = content
        .begin_fill(
            &target.repository,
            digest,
            Arc::new(move |written| teller.written(written)),
        )
        .await?;
    lead.arriving(total, file.clone());
    if let Err(error) = receive(target, digest, body, &mut fill, Length { total, limit }).await {
        content.abandon_fill(fill).await;
        tracing::warn!(upstream = %target.remote.settings.name, repository = %target.repository, %digest, %error, "could not fetch a blob");
        return Err(error);
    }
    let upstream = &target.remote.settings.name;
    match content.commit_fill(fill, upstream).await {
        Ok(size) => {
            lead.whole(size, file);
            Ok(())
        }
        Err(content::Error::DigestMismatch { stated, actual }) => {
            tracing::error!(upstream, repository = %target.repository, %stated, %actual, "upstream sent other content than asked for");
            Err(protocol(
                target,
                format!("sent content with digest {actual} for {stated}"),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is known of a body's length, in bytes.
#[derive(Clone, Copy)]
struct Length {
    /// What the upstream announced.
    total: Option<u64>,
    /// What no honest body exceeds: that, or what a manifest says.
    limit: Option<u64>,
}

impl Length {
    fn fits(self, received: u64) -> bool {
        self.total.is_none_or(|total| received == total)
    }
}

/// Takes the whole body into `fill`, asking again from where a broken one stopped.
async fn receive(
    target: &Target,
    digest: &Digest,
    body: upstream::BlobBody,
    fill: &mut Fill,
    length: Length,
) -> Result<(), Error> {
    let mut body = Some(body);
    let mut fruitless = 0;
    loop {
        let before = fill.accepted();
        let cause = match body.take() {
            Some(body) => match fill.take(bytes_of(body, before, length.limit)).await {
                Ok(()) if length.fits(fill.accepted()) => return Ok(()),
                Ok(()) => format!("sent {} of {:?} bytes", fill.accepted(), length.total),
                Err(content::Error::BodyBroken { reason }) => reason,
                Err(error) => return Err(error.into()),
            },
            None => "no answer".to_owned(),
        };
        let brought = fill.accepted() - before;
        fruitless = if brought >= FRUITFUL {
            0
        } else {
            fruitless + 1
        };
        if fruitless >= FRUITLESS_ATTEMPTS {
            let error = upstream::Error::Unavailable { reason: cause };
            return Err(trouble(target, error));
        }
        tracing::debug!(upstream = %target.remote.settings.name, %digest, at = fill.accepted(), cause, "resuming a broken body");
        tokio::time::sleep(FIRST_WAIT * 2_u32.pow(fruitless)).await;
        let asking = target.ask().insistently();
        match asking.get_blob(&target.path, digest, fill.accepted()).await {
            Ok(again) if again.start <= fill.accepted() => body = Some(again),
            Ok(_) => return Err(protocol(target, "answered another range".to_owned())),
            Err(error) if error.is_trouble() => body = None,
            Err(error) => return Err(trouble(target, error)),
        }
    }
}

/// Returns the body from byte `from` on, leaving out what an upstream sends again that ignores Range, and
/// everything behind `limit`: an endless body fills no disk, and the digest tells whether it lied.
fn bytes_of(body: upstream::BlobBody, from: u64, limit: Option<u64>) -> ByteStream {
    let skip = from.saturating_sub(body.start);
    let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(from));
    Box::pin(futures_util::stream::try_unfold(
        (body, skip, left),
        |(mut body, mut skip, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            loop {
                let Some(mut chunk): Option<Bytes> =
                    body.chunk().await.map_err(std::io::Error::other)?
                else {
                    return Ok(None);
                };
                let cut = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
                let mut rest = chunk.split_off(cut);
                skip -= cut as u64;
                rest.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                if !rest.is_empty() {
                    let left = left - rest.len() as u64;
                    return Ok(Some((rest, (body, skip, left))));
                }
            }
        },
    ))
}

pub(super) fn trouble(target: &Target, error: upstream::Error) -> Error {
    Error::Upstream(Trouble {
        upstream: target.remote.settings.name.clone(),
        error,
    })
}

pub(super) fn protocol(target: &Target, reason: String) -> Error {
    trouble(target, upstream::Error::Protocol { reason })
}
