//! Bodies of answers: blobs as they arrive, everything else whole and bounded.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::bandwidth::Bandwidth;
use super::error::Error;
use super::slots::Slot;
use crate::telemetry::{Kind, Metrics};

/// Largest buffer that is set aside because an upstream announces a length, in bytes.
const ANNOUNCED_MAX: u64 = 256 * 1024;

/// What a body has to keep to while it arrives.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) upstream: Arc<str>,
    pub(super) metrics: Metrics,
    pub(super) bandwidth: Arc<Bandwidth>,
    /// When all of it has to be here (`timeout.total`).
    pub(super) deadline: Option<Instant>,
    pub(super) endpoint: usize,
    pub(super) kind: Kind,
}

/// An answer whose body has not been read yet.
pub(super) struct Received {
    response: reqwest::Response,
    terms: Terms,
    /// Held until the body is here or given up.
    pub(super) slot: Option<Slot>,
    bytes: u64,
}

impl fmt::Debug for Received {
    /// Leaves out the response, whose URL may be signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Received {
    /// Takes an answer whose body keeps to `terms`.
    pub(super) fn new(response: reqwest::Response, terms: Terms) -> Self {
        Self {
            response,
            terms,
            slot: None,
            bytes: 0,
        }
    }

    /// Returns the status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// `TimedOut` or `Unavailable`.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let response = &mut self.response;
        let terms = &self.terms;
        let paced = async {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| Error::of_transport(&error, "more bytes"))?;
            let length = chunk.as_ref().map_or(0, Bytes::len);
            terms.bandwidth.take(length).await;
            Ok(chunk)
        };
        let chunk = match terms.deadline {
            Some(deadline) => timeout_at(deadline, paced).await.unwrap_or_else(|_| {
                Err(Error::TimedOut {
                    reason: "no whole answer in time".to_owned(),
                })
            }),
            None => paced.await,
        }?;
        let length = chunk.as_ref().map_or(0, Bytes::len) as u64;
        let metrics = &terms.metrics;
        metrics.upstream_bytes(&terms.upstream, terms.kind, length);
        self.bytes += length;
        Ok(chunk)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let terms = &self.terms;
            let (upstream, kind) = (&*terms.upstream, terms.kind.as_str());
            let (endpoint, bytes) = (terms.endpoint, self.bytes);
            tracing::debug!(upstream, endpoint, kind, bytes, "upstream body ended");
        }
    }
}

/// A blob's bytes while they arrive. Dropping it ends the transfer.
pub struct BlobBody {
    pub(super) received: Received,
    /// Offset of the first byte that comes, in bytes: 0 when the upstream ignored the range.
    pub start: u64,
    /// Size of the whole blob in bytes, where the upstream tells it.
    pub total: Option<u64>,
}

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("start", &self.start)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl BlobBody {
    /// Returns when all of it has to be here (`timeout.total`), if there is such a time.
    pub fn deadline(&self) -> Option<Instant> {
        self.received.terms.deadline
    }

    /// Returns the next bytes, or `None` at the end of what the upstream sends. A server may
    /// end a range early, so the end is not proof that `total` was reached.
    ///
    /// # Errors
    /// `TimedOut` when nothing came for the mirror's read timeout or not all of it within its total one,
    /// `Unavailable` when the connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.received.chunk().await
    }
}

/// Returns the whole body if it has at most `limit` bytes.
///
/// # Errors
/// A protocol error beyond the limit, and those of [`BlobBody::chunk`].
pub(super) async fn read_bounded(mut received: Received, limit: u64) -> Result<Bytes, Error> {
    let too_large = || Error::protocol(format!("an answer of more than {limit} bytes"));
    let announced = received.response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let reserved = usize::try_from(announced.min(ANNOUNCED_MAX)).unwrap_or(0);
    let mut body = BytesMut::with_capacity(reserved);
    loop {
        let Some(chunk) = received.chunk().await? else {
            return Ok(body.freeze());
        };
        let length = body.len() as u64 + chunk.len() as u64;
        if length > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}
