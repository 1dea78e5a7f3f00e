//! A reader of a fetch under way. Bytes are shown as they arrive, but the last ones of a whole blob only
//! after the digest agreed, so that nobody ever completes a wrong body.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::Digest;
use tokio::sync::watch;

use super::ahead::{Ahead, Window};
use super::error::{Error, trouble};
use super::inflight::{Phase, Progress};
use super::missing::Thing;
use super::passthrough::{Passing, Passthrough};
use super::remotes::Target;
use super::tally::Tally;
use crate::content::{self, ByteStream, GrowingFile};
use crate::telemetry::Metrics;
use crate::upstream;

/// Bytes given out at a time from a window.
const CHUNK: usize = 256 << 10;

/// What hears how many bytes of a blob have arrived.
pub(super) type Arrived<'a> = dyn Fn(u64) + Send + Sync + 'a;

/// What all readers of a fetch have in common.
pub(super) struct Fetch {
    pub target: Target,
    pub digest: Digest,
    pub metrics: Metrics,
    pub ahead: Ahead,
}

/// A reader of a fetch under way.
pub struct Follower {
    progress: watch::Receiver<Progress>,
    fetch: Arc<Fetch>,
    /// Whether the fetch was begun for it.
    leads: bool,
    pub(super) tally: Option<Tally>,
}

impl Follower {
    pub(super) fn new(progress: watch::Receiver<Progress>, fetch: Arc<Fetch>, leads: bool) -> Self {
        Self {
            progress,
            fetch,
            leads,
            tally: None,
        }
    }

    /// Returns whether the fetch was begun for this reader.
    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Returns whether nothing of the fetch is kept, for want of room.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.progress.borrow().phase, Phase::Passing(_))
    }

    /// Waits for the upstream's answer on behalf of `asker`; returns the size in bytes if it told one. Who joined waits
    /// no longer than the upstream's read timeout, whatever the leading request waits for, and not for itself.
    ///
    /// # Errors
    /// What the leading request met.
    pub(super) async fn started(&mut self, asker: &Target) -> Result<Option<u64>, Error> {
        let (leads, fetch) = (self.leads, Arc::clone(&self.fetch));
        let started = self.wait(|phase| match phase {
            // An empty answer is complete with its headers: it waits for the digest like any last byte.
            Phase::Asking | Phase::Failed(_) => None,
            Phase::Arriving { length, .. } if length.total == Some(0) => None,
            Phase::Arriving { length, .. } => Some(length.total),
            Phase::Passing(passing) => Some(passing.length.total),
            Phase::Whole { size, .. } => Some(Some(*size)),
        });
        if leads {
            return started.await;
        }
        let (thing, limit) = (
            Thing::Blob(fetch.digest),
            asker.remote.settings.timeout.read,
        );
        tokio::select! {
            biased;
            started = started => started,
            looped = asker.led_back(&thing) => Err(looped),
            () = tokio::time::sleep(limit) => Err(timed_out(asker, limit)),
        }
    }

    /// Waits until the blob is verified; returns its size in bytes.
    ///
    /// # Errors
    /// What the leading request met; `StorageFull` when there is no room to keep it.
    pub async fn settled(&mut self) -> Result<u64, Error> {
        self.wait(|phase| match phase {
            Phase::Asking | Phase::Arriving { .. } | Phase::Failed(_) => None,
            Phase::Passing(_) => Some(None),
            Phase::Whole { size, .. } => Some(Some(*size)),
        })
        .await?
        .ok_or(Error::Content(content::Error::StorageFull))
    }

    /// As [`Follower::settled`]; `arrived` hears how many bytes are here, again and again.
    pub(super) async fn settled_telling(&mut self, arrived: &Arrived<'_>) -> Result<u64, Error> {
        let mut progress = self.progress.clone();
        let telling = async {
            loop {
                arrived(progress.borrow_and_update().written);
                if progress.changed().await.is_err() {
                    // The fetch is over; the other side tells how.
                    return std::future::pending::<std::convert::Infallible>().await;
                }
            }
        };
        tokio::select! {
            settled = self.settled() => settled,
            never = telling => match never {},
        }
    }

    /// Waits until the size in bytes is more than the upstream's word, and returns it: until a manifest
    /// agrees or the blob is verified. Of a blob that is not kept it is the upstream's word.
    ///
    /// # Errors
    /// As [`Follower::settled`].
    pub async fn sure_size(&mut self) -> Result<u64, Error> {
        let told = self
            .wait(|phase| match phase {
                Phase::Asking | Phase::Failed(_) => None,
                Phase::Arriving { length, .. } => {
                    length.total.filter(|_| length.is_confirmed).map(Some)
                }
                Phase::Passing(passing) => Some(passing.length.total),
                Phase::Whole { size, .. } => Some(Some(*size)),
            })
            .await;
        let size = told.and_then(|told| told.ok_or(Error::Content(content::Error::StorageFull)));
        if size.is_err()
            && let Some(tally) = self.tally.take()
        {
            tally.failed();
        }
        size
    }

    /// Waits until `reached` tells something of the phase, or the fetch has failed.
    async fn wait<T>(&mut self, reached: impl Fn(&Phase) -> Option<T>) -> Result<T, Error> {
        loop {
            {
                let now = self.progress.borrow_and_update();
                if let Phase::Failed(error) = &now.phase {
                    return Err(error.for_follower());
                }
                if let Some(told) = reached(&now.phase) {
                    return Ok(told);
                }
            }
            if self.progress.changed().await.is_err() {
                return Err(lost());
            }
        }
    }

    /// Returns all bytes; the last are held back until the digest agreed.
    ///
    /// # Errors
    /// Where nothing is kept, what the upstream answers this reader.
    pub async fn read_whole(self) -> Result<ByteStream, Error> {
        self.read(0, None).await
    }

    /// Returns the bytes of `range` as they arrive. A range that is not the whole blob may be served
    /// before verification (law 5); the whole blob may not.
    ///
    /// # Errors
    /// As [`Follower::read_whole`].
    pub async fn read_part(self, range: Range<u64>) -> Result<ByteStream, Error> {
        self.read(range.start, Some(range.end)).await
    }

    async fn read(mut self, offset: u64, end: Option<u64>) -> Result<ByteStream, Error> {
        let tally = self.tally.take();
        let following = Following {
            progress: self.progress,
            fetch: self.fetch,
            is_saving: !self.leads,
            offset,
            end,
            window: None,
        };
        let passing = match &following.progress.borrow().phase {
            Phase::Passing(passing) => Some(passing.clone()),
            _ => None,
        };
        let Some(passing) = passing else {
            return Ok(bytes_of(Reading::Following(following)));
        };
        // Whoever has been sent nothing yet can still be told why not.
        match begin(&following, passing).await {
            Ok(stream) => Ok(stream),
            Err(error) => {
                if let Some(tally) = tally {
                    tally.failed();
                }
                Err(error)
            }
        }
    }
}

/// Returns the bytes of a reader's own stream, the first of which have come.
async fn begin(following: &Following, passing: Passing) -> Result<ByteStream, Error> {
    let mut passthrough = following.pass(passing).await?;
    let first = passthrough.next().await?;
    let rest = bytes_of(Reading::Passing(passthrough));
    let first = futures_util::stream::iter(first.map(Ok));
    Ok(Box::pin(first.chain(rest)))
}

fn bytes_of(reading: Reading) -> ByteStream {
    Box::pin(futures_util::stream::try_unfold(
        reading,
        |mut reading| async move {
            let bytes = reading.next().await?;
            Ok(bytes.map(|bytes| (bytes, reading)))
        },
    ))
}

enum Reading {
    /// From what the leading task brings.
    Following(Following),
    /// From a stream of its own.
    Passing(Box<Passthrough>),
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let following = match self {
                Self::Passing(passthrough) => return passthrough.next().await.map_err(broken),
                Self::Following(following) => following,
            };
            match following.next().await? {
                Next::Bytes(bytes) => return Ok(Some(bytes)),
                Next::End => return Ok(None),
                Next::NotKept(passing) => {
                    let passthrough = following.pass(passing).await.map_err(broken)?;
                    // With what this reader kept open of the file, the disk gets its room back.
                    *self = Self::Passing(passthrough);
                }
            }
        }
    }
}

struct Following {
    progress: watch::Receiver<Progress>,
    fetch: Arc<Fetch>,
    /// Whether what it reads was fetched for somebody else.
    is_saving: bool,
    offset: u64,
    /// Where the asked part ends; none for the whole blob.
    end: Option<u64>,
    window: Option<Arc<Window>>,
}

enum Next {
    Bytes(Bytes),
    End,
    NotKept(Passing),
}

impl Following {
    async fn next(&mut self) -> io::Result<Next> {
        loop {
            if self.end.is_some_and(|end| self.offset >= end) {
                return Ok(Next::End);
            }
            let now = self.progress.borrow_and_update().clone();
            let (file, visible) = match now.phase {
                Phase::Asking => (None, 0),
                Phase::Arriving { file, .. } => {
                    let visible = match self.end {
                        Some(end) => now.written.min(end),
                        None => now.written.saturating_sub(1),
                    };
                    (Some(file), visible)
                }
                Phase::Whole { size, file } => {
                    let end = self.end.unwrap_or(size).min(size);
                    if self.offset >= end {
                        return Ok(Next::End);
                    }
                    (Some(file), end)
                }
                Phase::Passing(passing) => return Ok(Next::NotKept(passing)),
                Phase::Failed(error) => return Err(io::Error::other(error.to_string())),
            };
            if let Some(file) = file
                && self.offset < visible
            {
                return self.read_file(&file, visible).await.map(Next::Bytes);
            }
            if let Some(bytes) = self.read_ahead(now.written) {
                return Ok(Next::Bytes(bytes));
            }
            self.wait().await?;
        }
    }

    async fn read_file(&mut self, file: &GrowingFile, visible: u64) -> io::Result<Bytes> {
        // The leader's bytes have overtaken.
        self.window = None;
        let bytes = file.read_at(self.offset, visible).await?;
        self.offset += bytes.len() as u64;
        if self.is_saving {
            let fetch = &self.fetch;
            let saved = bytes.len() as u64;
            fetch.metrics.bytes_saved(&fetch.target.remote.label, saved);
        }
        Ok(bytes)
    }

    /// Returns bytes that were fetched ahead, and sees to it that there will be some.
    fn read_ahead(&mut self, written: u64) -> Option<Bytes> {
        let end = self.end?;
        let offset = self.offset;
        if !self
            .window
            .as_ref()
            .is_some_and(|window| window.covers(offset))
        {
            let (ahead, fetch) = (&self.fetch.ahead, &self.fetch);
            self.window = ahead.window(&fetch.target, &fetch.digest, offset..end, written);
        }
        let bytes = self.window.as_ref()?.read(offset, CHUNK)?;
        self.offset += bytes.len() as u64;
        Some(bytes)
    }

    /// Waits for the leading task or the window, whichever goes on first.
    async fn wait(&mut self) -> io::Result<()> {
        let window = self.window.clone();
        let window_arrived = async {
            match &window {
                Some(window) => window.arrived().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.progress.changed() => {
                changed.map_err(|_| io::Error::other(lost().to_string()))
            }
            has_arrived = window_arrived => {
                if !has_arrived {
                    self.window = None;
                }
                Ok(())
            }
        }
    }

    /// Opens a stream of its own for this reader, from where it is.
    async fn pass(&self, passing: Passing) -> Result<Box<Passthrough>, Error> {
        let Fetch {
            target,
            digest,
            metrics,
            ..
        } = &*self.fetch;
        let passthrough = match self.end {
            None => Passthrough::whole(target, digest, &passing, self.offset, metrics).await,
            Some(end) => {
                let range = self.offset..end;
                Passthrough::part(target, digest, &passing, range, metrics).await
            }
        };
        Ok(Box::new(passthrough?))
    }
}

fn timed_out(target: &Target, waited: Duration) -> Error {
    let reason = format!(
        "no answer to the request under way in {}s",
        waited.as_secs_f32()
    );
    trouble(target, upstream::Error::TimedOut { reason })
}

fn broken(error: Error) -> io::Error {
    io::Error::other(error.to_string())
}

fn lost() -> Error {
    Error::Content(content::Error::Unavailable {
        reason: "the fetch was given up".to_owned(),
    })
}
