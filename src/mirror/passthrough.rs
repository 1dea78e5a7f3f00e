//! Blobs there is no room for: each reader has an upstream stream of its own, hashed from the first byte.
//! Its last bytes are held back until the digest agrees, as everywhere; nothing is kept.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use oci::{Digest, Hasher};

use super::download::{Download, Length, Wanted};
use super::error::{Error, mismatch, trouble};
use super::remotes::Target;
use crate::content::{self, GrowingFile};
use crate::telemetry::Metrics;
use crate::upstream::{BlobBody, Patience};

/// A fetch that is not kept.
#[derive(Clone)]
pub(super) struct Passing {
    /// What is known of the blob's length.
    pub length: Length,
    /// What had arrived, for who has sent some of it; its name is gone.
    pub file: Option<GrowingFile>,
    /// An answer of the upstream from the first byte on, for the first who wants all of it.
    pub spare: Arc<Mutex<Option<BlobBody>>>,
}

impl Passing {
    /// Takes the spare answer, also to give its connection back before another one is asked for.
    fn take_spare(&self) -> Option<BlobBody> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.take()
    }
}

/// One reader's stream.
pub(super) struct Passthrough {
    download: Download,
    /// What is asked of a whole body; a part has no digest.
    check: Option<Check>,
}

struct Check {
    target: Target,
    digest: Digest,
    hasher: Hasher,
    /// The bytes that came last.
    held: Option<Bytes>,
}

impl Passthrough {
    /// Opens the stream of a whole blob for a reader who has the first `sent` bytes.
    ///
    /// # Errors
    /// The upstream's answer, and `Busy` when it has no connection left.
    pub(super) async fn whole(
        target: &Target,
        digest: &Digest,
        passing: &Passing,
        sent: u64,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let wanted = wanted(target, digest, None);
        let body = match passing.take_spare() {
            Some(body) if sent == 0 => body,
            unusable => {
                drop(unusable);
                ask(&wanted, sent).await?
            }
        };
        metrics.passed_through(&target.remote.label);
        let algorithm = digest.algorithm();
        let hasher = match &passing.file {
            Some(file) if sent > 0 => file.hash(algorithm, sent).await.map_err(lost)?,
            _ => Hasher::new(algorithm),
        };
        Ok(Self {
            download: Download::new(wanted, body, sent, passing.length)?,
            check: Some(Check {
                target: target.clone(),
                digest: *digest,
                hasher,
                held: None,
            }),
        })
    }

    /// Opens the stream of the bytes of `range`.
    ///
    /// # Errors
    /// As [`Passthrough::whole`].
    pub(super) async fn part(
        target: &Target,
        digest: &Digest,
        passing: &Passing,
        range: Range<u64>,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let wanted = wanted(target, digest, Some(range.end));
        drop(passing.take_spare());
        let body = ask(&wanted, range.start).await?;
        metrics.passed_through(&target.remote.label);
        let length = Length {
            total: Some(range.end),
            limit: Some(range.end),
            is_confirmed: false,
        };
        Ok(Self {
            download: Download::new(wanted, body, range.start, length)?,
            check: None,
        })
    }

    /// Returns the next bytes; none at the end.
    ///
    /// # Errors
    /// The upstream's trouble, and bytes that do not have the digest.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let bytes = self.download.chunk().await?;
            let Some(check) = &mut self.check else {
                return Ok(bytes);
            };
            let Some(bytes) = bytes else {
                return check.finish();
            };
            check.hasher.update(&bytes);
            if let Some(before) = check.held.replace(bytes) {
                return Ok(Some(before));
            }
        }
    }
}

impl Check {
    fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        let actual = self.hasher.clone().finish();
        let stated = self.digest;
        if actual == stated {
            return Ok(self.held.take());
        }
        Err(mismatch(&self.target, &stated, &actual))
    }
}

fn wanted(target: &Target, digest: &Digest, end: Option<u64>) -> Wanted {
    Wanted {
        target: target.clone(),
        digest: *digest,
        end,
        patience: Patience::AtOnce,
    }
}

async fn ask(wanted: &Wanted, from: u64) -> Result<BlobBody, Error> {
    let body = wanted.ask(from).await;
    body.map_err(|error| trouble(&wanted.target, error))
}

fn lost(error: io::Error) -> Error {
    Error::Content(content::Error::Unavailable {
        reason: error.to_string(),
    })
}
