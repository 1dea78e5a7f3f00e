//! Request bodies as the registry takes them: a stream of bytes for blobs, one bounded buffer for
//! manifests.

use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_LENGTH;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::error::Failure;
use crate::http::server::RequestBody;
use crate::registry::ByteStream;

/// The step in which bodies take their share of the budget, in bytes.
const STEP: usize = 128 << 10;

/// Returns the bytes of `body` as they arrive.
pub(super) fn stream(body: RequestBody) -> ByteStream {
    Box::pin(futures_util::stream::unfold(body, |mut body| async move {
        let chunk = body.chunk().await?;
        Some((chunk, body))
    }))
}

/// Returns the announced length of the body in bytes; `None` for a chunked one.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(hyper::header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A whole body, and its share of what all bodies may take; kept until the body is done with.
pub(super) struct Whole {
    /// The bytes.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads the whole body, of at most `limit` bytes, within `budget` (KiB that all such bodies share).
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut RequestBody,
    limit: u64,
    budget: &Arc<Semaphore>,
) -> Result<Whole, Failure> {
    if length(headers).is_some_and(|length| length > limit) {
        return Err(Failure::ManifestTooLarge { limit });
    }
    let mut whole = Vec::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    // What most manifests have is given to everybody, whatever large ones take.
    let mut granted = STEP;
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| Failure::BodyBroken)?;
        if (whole.len() + chunk.len()) as u64 > limit {
            return Err(Failure::ManifestTooLarge { limit });
        }
        // Taken as bytes arrive, so that clients who announce much and send nothing keep nobody out.
        while granted < whole.len() + chunk.len() {
            let more = Arc::clone(budget)
                .try_acquire_many_owned(STEP as u32 / 1024)
                .map_err(|_| Failure::Busy)?;
            granted += STEP;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
        }
        // Exactly: growing by doubling would take twice what was granted.
        whole.reserve_exact(granted.min(limit as usize) - whole.len());
        whole.extend_from_slice(&chunk);
    }
    Ok(Whole {
        bytes: whole.into(),
        _share: share,
    })
}
