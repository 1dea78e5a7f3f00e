//! What is counted of each client's request for a blob, GET or HEAD: exactly one result, and the bytes that were
//! not fetched for it.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::remotes::Target;
use crate::content::ByteStream;
use crate::telemetry::{CacheResult, Kind, Metrics};

/// One client's request. It counts when it is dropped: as a miss, unless something else is known.
pub(super) struct Tally {
    metrics: Metrics,
    upstream: Arc<str>,
    result: CacheResult,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics, target: &Target) -> Self {
        Self {
            metrics: metrics.clone(),
            upstream: Arc::clone(&target.remote.label),
            result: CacheResult::Miss,
        }
    }

    /// Counts a hit.
    pub(super) fn hit(mut self) {
        self.result = CacheResult::Hit;
    }

    /// Counts an error.
    pub(super) fn failed(mut self) {
        self.result = CacheResult::Error;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.metrics
            .mirror_request(&self.upstream, Kind::Blob, self.result);
    }
}

/// Counts bytes that are sent without being fetched.
pub struct Saved {
    metrics: Metrics,
    upstream: Arc<str>,
}

impl Saved {
    /// Returns what counts for the upstream of `target`.
    pub(super) fn of(metrics: &Metrics, target: &Target) -> Self {
        Self {
            metrics: metrics.clone(),
            upstream: Arc::clone(&target.remote.label),
        }
    }

    /// Returns `stream`, whose bytes are counted as they are taken.
    pub fn counting(self, stream: ByteStream) -> ByteStream {
        Box::pin(stream.inspect_ok(move |bytes| {
            self.metrics.bytes_saved(&self.upstream, bytes.len() as u64);
        }))
    }
}
