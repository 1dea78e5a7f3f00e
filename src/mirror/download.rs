//! A blob's body from an upstream, as one piece: a body that breaks is asked for again from where it
//! broke, and what an upstream sends twice or too much is left out. Checks no digest.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use oci::Digest;
use tokio::time::{Instant, timeout_at};

use super::error::{Error, protocol, trouble};
use super::remotes::Target;
use crate::content::ByteStream;
use crate::upstream::{self, BlobBody, Manner, Patience};

/// Attempts that may bring nothing before a broken body is given up.
const FRUITLESS_ATTEMPTS: u32 = 5;

/// Bytes that make an attempt worth another; a few at a time would go on for ever.
const FRUITFUL: u64 = 64 << 10;

/// The wait before the first of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What is known of a body's length, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Length {
    /// What the upstream announced.
    pub total: Option<u64>,
    /// What no honest body exceeds: that, or what a manifest says.
    pub limit: Option<u64>,
    /// Whether a manifest says what the upstream announced.
    pub is_confirmed: bool,
}

impl Length {
    /// Returns what follows from a manifest's and an upstream's word.
    ///
    /// # Errors
    /// When the upstream announces more than the manifest allows, or nothing of what is not empty: an
    /// empty answer is complete before its digest can be checked.
    pub(super) fn new(
        target: &Target,
        digest: &Digest,
        stated: Option<u64>,
        total: Option<u64>,
    ) -> Result<Self, Error> {
        if total == Some(0) && *digest != Digest::of(digest.algorithm(), b"") {
            return Err(protocol(target, "sent nothing".to_owned()));
        }
        if let (Some(stated), Some(sent)) = (stated, total)
            && stated < sent
        {
            let reason = format!("announced {sent} bytes where its manifest says {stated}");
            return Err(protocol(target, reason));
        }
        Ok(Self {
            total,
            limit: total.or(stated),
            is_confirmed: total.is_some() && total == stated,
        })
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Where.
    pub target: Target,
    /// Which blob.
    pub digest: Digest,
    /// Where the part that is asked for ends; none for the blob's end.
    pub end: Option<u64>,
    /// How.
    pub patience: Patience,
}

impl Wanted {
    /// Asks for the bytes from `from` on.
    ///
    /// # Errors
    /// The upstream's answer.
    pub(super) async fn ask(&self, from: u64) -> Result<BlobBody, upstream::Error> {
        self.send(Manner::Plain, from).await
    }

    /// Asks again in the middle of a body.
    async fn ask_again(&self, from: u64) -> Result<BlobBody, upstream::Error> {
        self.send(Manner::Insistently, from).await
    }

    async fn send(&self, manner: Manner, from: u64) -> Result<BlobBody, upstream::Error> {
        let asking = self.target.ask().in_manner(manner);
        let (path, digest, patience) = (&self.target.path, &self.digest, self.patience);
        match self.end {
            None => asking.get_blob(path, digest, from, patience).await,
            Some(end) => {
                let part = from..end;
                asking.get_blob_part(path, digest, part, patience).await
            }
        }
    }

    /// Returns whether it is worth asking once more after `error`.
    fn tries_again(&self, error: &upstream::Error) -> bool {
        let is_refused =
            self.patience == Patience::AtOnce && matches!(error, upstream::Error::Busy { .. });
        error.is_trouble() && !is_refused
    }
}

/// A body under way.
pub(super) struct Download {
    wanted: Wanted,
    length: Length,
    /// When all of it has to be here, however often it is asked for again.
    deadline: Option<Instant>,
    body: Option<Body>,
    /// The offset of the next byte that is given out.
    at: u64,
    /// Bytes the present attempt has brought.
    brought: u64,
    fruitless: u32,
}

struct Body {
    body: BlobBody,
    /// Bytes that come again.
    skip: u64,
}

impl Download {
    /// Goes on from byte `at` with `body`, which an upstream was asked for from there.
    ///
    /// # Errors
    /// When it starts behind that.
    pub(super) fn new(
        wanted: Wanted,
        body: BlobBody,
        at: u64,
        length: Length,
    ) -> Result<Self, Error> {
        let mut download = Self {
            wanted,
            length,
            deadline: body.deadline(),
            body: None,
            at,
            brought: 0,
            fruitless: 0,
        };
        download.accept(body)?;
        Ok(download)
    }

    /// Returns the next bytes; none at the end.
    ///
    /// # Errors
    /// The upstream's answer once it is not worth asking again.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let left = self.left();
            if left == 0 {
                return Ok(None);
            }
            let cause = match &mut self.body {
                Some(body) => match within(self.deadline, body.next()).await {
                    Ok(Some(mut bytes)) => {
                        // An endless body fills no disk; the digest tells whether it lied.
                        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                        self.at += bytes.len() as u64;
                        self.brought += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    Ok(None) => match self.length.total {
                        None => return Ok(None),
                        Some(total) => format!("sent {} of {total} bytes", self.at),
                    },
                    Err(error) => error.to_string(),
                },
                None => "no answer".to_owned(),
            };
            self.resume(cause).await?;
        }
    }

    fn left(&self) -> u64 {
        let ends = [self.length.limit, self.wanted.end];
        let end = ends.into_iter().flatten().min().unwrap_or(u64::MAX);
        end.saturating_sub(self.at)
    }

    async fn resume(&mut self, cause: String) -> Result<(), Error> {
        // The connection is given back before another one is asked for.
        self.body = None;
        self.fruitless = if self.brought >= FRUITFUL {
            0
        } else {
            self.fruitless + 1
        };
        self.brought = 0;
        let target = &self.wanted.target;
        if self.deadline.is_some_and(|end| end <= Instant::now()) {
            return Err(trouble(target, too_late()));
        }
        if self.fruitless >= FRUITLESS_ATTEMPTS {
            let error = upstream::Error::Unavailable { reason: cause };
            return Err(trouble(target, error));
        }
        tracing::debug!(upstream = %target.remote.settings.name, digest = %self.wanted.digest, at = self.at, cause, "resuming a broken body");
        tokio::time::sleep(FIRST_WAIT * 2_u32.pow(self.fruitless)).await;
        match within(self.deadline, self.wanted.ask_again(self.at)).await {
            Ok(again) => self.accept(again),
            Err(error) if self.wanted.tries_again(&error) => Ok(()),
            Err(error) => Err(trouble(target, error)),
        }
    }

    fn accept(&mut self, body: BlobBody) -> Result<(), Error> {
        let Some(skip) = self.at.checked_sub(body.start) else {
            let reason = "answered another range".to_owned();
            return Err(protocol(&self.wanted.target, reason));
        };
        self.body = Some(Body { body, skip });
        Ok(())
    }

    /// Returns the bytes as a stream, and where it leaves why it broke.
    pub(super) fn into_stream(self) -> (ByteStream, Failure) {
        let failure = Failure::default();
        let told = failure.clone();
        let stream = futures_util::stream::try_unfold((self, told), |(mut download, told)| async {
            match download.chunk().await {
                Ok(bytes) => Ok(bytes.map(|bytes| (bytes, (download, told)))),
                Err(error) => {
                    let broken = io::Error::other(error.to_string());
                    told.leave(error);
                    Err(broken)
                }
            }
        });
        (Box::pin(stream), failure)
    }
}

impl Body {
    /// Returns the next bytes that have not come before.
    async fn next(&mut self) -> Result<Option<Bytes>, upstream::Error> {
        loop {
            let Some(mut chunk) = self.body.chunk().await? else {
                return Ok(None);
            };
            let cut = usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
            let rest = chunk.split_off(cut);
            self.skip -= cut as u64;
            if !rest.is_empty() {
                return Ok(Some(rest));
            }
        }
    }
}

/// Returns what `work` comes to, or that it came to nothing before `deadline`.
async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, upstream::Error>>,
) -> Result<T, upstream::Error> {
    match deadline {
        None => work.await,
        Some(deadline) => timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| Err(too_late())),
    }
}

fn too_late() -> upstream::Error {
    upstream::Error::TimedOut {
        reason: "no whole answer in time".to_owned(),
    }
}

/// Why a stream broke; streams themselves carry only a text.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn leave(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Returns what was left, once.
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
