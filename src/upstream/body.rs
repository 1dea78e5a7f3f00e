//! Bodies of answers: blobs as they arrive, everything else whole and bounded.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::error::Error;

/// Largest buffer that is set aside because an upstream announces a length, in bytes.
const ANNOUNCED_MAX: u64 = 256 * 1024;

/// A blob's bytes while they arrive. Dropping it ends the transfer.
pub struct BlobBody {
    pub(super) response: reqwest::Response,
    /// Offset of the first byte that comes, in bytes: 0 when the upstream ignored the range.
    pub start: u64,
    /// Size of the whole blob in bytes, where the upstream tells it.
    pub total: Option<u64>,
}

impl fmt::Debug for BlobBody {
    /// Leaves out the response, whose URL may be signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("start", &self.start)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl BlobBody {
    /// Returns the next bytes, or `None` at the end of what the upstream sends. A server may
    /// end a range early, so the end is not proof that `total` was reached.
    ///
    /// # Errors
    /// `TimedOut` when nothing came for the mirror's read timeout, `Unavailable` when the
    /// connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| Error::of_transport(&error, "more bytes"))
    }
}

/// Returns the whole body if it has at most `limit` bytes.
///
/// # Errors
/// A protocol error beyond the limit, and those of [`BlobBody::chunk`].
pub(super) async fn read_bounded(
    mut response: reqwest::Response,
    limit: u64,
) -> Result<Bytes, Error> {
    let too_large = || Error::protocol(format!("an answer of more than {limit} bytes"));
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let reserved = usize::try_from(announced.min(ANNOUNCED_MAX)).unwrap_or(0);
    let mut body = BytesMut::with_capacity(reserved);
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| Error::of_transport(&error, "more bytes"))?;
        let Some(chunk) = chunk else {
            return Ok(body.freeze());
        };
        let length = body.len() as u64 + chunk.len() as u64;
        if length > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}
