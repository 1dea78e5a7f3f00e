//! Request bodies as the registry takes them: a stream of bytes for blobs, one bounded buffer for
//! manifests.

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::CONTENT_LENGTH;

use crate::http::error::Failure;
use crate::http::server::RequestBody;
use crate::registry::ByteStream;

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

/// Reads the whole body, of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut RequestBody,
    limit: u64,
) -> Result<Bytes, Failure> {
    if length(headers).is_some_and(|length| length > limit) {
        return Err(Failure::ManifestTooLarge { limit });
    }
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| Failure::BodyBroken)?;
        if (whole.len() + chunk.len()) as u64 > limit {
            return Err(Failure::ManifestTooLarge { limit });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
