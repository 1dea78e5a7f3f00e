//! What is counted and told of each client's request for a blob: exactly one result, and for every miss
//! the reason.

use std::sync::Arc;
use std::time::Instant;

use futures_util::TryStreamExt;
use oci::Digest;

use super::remotes::Target;
use crate::content::ByteStream;
use crate::telemetry::{CacheResult, Kind, Metrics};

/// Why a blob was not simply here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NotStored,
    Damaged,
    Joined,
    NoRoom,
}

impl Reason {
    /// Returns the word in the log.
    fn as_str(self) -> &'static str {
        match self {
            Self::NotStored => "not stored",
            Self::Damaged => "damaged",
            Self::Joined => "joined",
            Self::NoRoom => "no room",
        }
    }
}

/// One client's request. It counts when it is dropped: as a miss, unless something else is known.
pub(super) struct Tally {
    metrics: Metrics,
    upstream: Arc<str>,
    result: CacheResult,
    since: Instant,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics, target: &Target) -> Self {
        Self {
            metrics: metrics.clone(),
            upstream: Arc::clone(&target.remote.label),
            result: CacheResult::Miss,
            since: Instant::now(),
        }
    }

    /// Counts a hit; returns what counts its bytes.
    pub(super) fn hit(mut self) -> Saved {
        self.result = CacheResult::Hit;
        Saved {
            metrics: self.metrics.clone(),
            upstream: Arc::clone(&self.upstream),
        }
    }

    /// Counts an error.
    pub(super) fn failed(mut self) {
        self.result = CacheResult::Error;
    }

    /// Tells why a miss was one, once the upstream has answered.
    pub(super) fn tell_miss(&self, target: &Target, digest: &Digest, reason: Reason) {
        let (upstream, reason) = (&*self.upstream, reason.as_str());
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(upstream, repository = %target.repository, %digest, reason, millis, "blob miss");
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
    /// Returns `stream`, whose bytes are counted as they are taken.
    pub fn counting(self, stream: ByteStream) -> ByteStream {
        Box::pin(stream.inspect_ok(move |bytes| {
            self.metrics.bytes_saved(&self.upstream, bytes.len() as u64);
        }))
    }
}
