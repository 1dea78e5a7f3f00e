//! Hash while writing: one pass over the bytes, off the async threads, with at most one batch being
//! written and one being gathered, so that an upload's memory does not depend on its size. It must
//! never hold a blocking thread while it waits for the network.

use std::io;
use std::sync::Arc;

use blobstore::{Appender, UploadState};
use bytes::Bytes;
use futures_util::StreamExt;
use oci::Hasher;
use tokio::task::JoinHandle;

use super::error::Error;
use super::open::ByteStream;

/// Bytes gathered while the previous batch is written; with the batch in flight this bounds an
/// upload's memory to about twice as much and one network frame.
const BATCH: usize = 256 << 10;

/// Called on a blocking thread with the number of bytes written so far, after each batch.
pub(super) type OnWritten = Arc<dyn Fn(u64) + Send + Sync>;

/// An upload being written.
pub(super) struct Ingest {
    work: Work,
    batch: Vec<Bytes>,
    batched: usize,
    accepted: u64,
    on_written: Option<OnWritten>,
}

/// What covers every byte accepted so far.
pub(super) struct Checkpoint {
    /// Bytes in the upload.
    pub offset: u64,
    /// The hash over them.
    pub hasher: Hasher,
    /// The driver's state.
    pub state: UploadState,
}

/// Why [`Ingest::drain`] came back without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// The body has ended.
    End,
    /// As many bytes as asked for have been taken; there may be more.
    Budget,
}

struct Writer {
    appender: Box<dyn Appender>,
    hasher: Hasher,
    written: u64,
}

/// A batch that is done with: the bytes come back to be freed by the threads that receive bytes, because
/// allocators keep what is freed elsewhere.
struct Written {
    writer: Box<Writer>,
    outcome: blobstore::Result<()>,
    batch: Vec<Bytes>,
}

enum Work {
    Idle(Box<Writer>),
    Running(JoinHandle<Written>),
    /// A write failed or its task was lost: nothing may be written or acknowledged any more.
    Broken,
}

impl Ingest {
    /// Continues an upload that has `offset` bytes, hashed in `hasher`.
    pub(super) fn new(
        appender: Box<dyn Appender>,
        hasher: Hasher,
        offset: u64,
        on_written: Option<OnWritten>,
    ) -> Self {
        Self {
            work: Work::Idle(Box::new(Writer {
                appender,
                hasher,
                written: offset,
            })),
            batch: Vec::new(),
            batched: 0,
            accepted: offset,
            on_written,
        }
    }

    /// Returns the bytes taken so far, written or about to be.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Takes bytes from `body` until it ends or `budget` bytes were taken in this call.
    ///
    /// # Errors
    /// [`Error::BodyBroken`] when the body fails (the bytes before that are kept), storage errors else.
    pub(super) async fn drain(
        &mut self,
        body: &mut ByteStream,
        budget: u64,
    ) -> Result<Drained, Error> {
        let until = self.accepted.saturating_add(budget);
        while self.accepted < until {
            tokio::select! {
                settled = settle(&mut self.work), if self.batched > 0 => {
                    settled?;
                    self.launch();
                }
                next = body.next(), if self.batched < BATCH => match next {
                    Some(Ok(bytes)) => self.push(bytes),
                    Some(Err(error)) => return Err(body_broken(&error)),
                    None => return Ok(Drained::End),
                },
            }
        }
        Ok(Drained::Budget)
    }

    /// Waits until everything taken is written and durable.
    ///
    /// # Errors
    /// Storage errors; after one the ingest is of no more use and nothing may be acknowledged.
    pub(super) async fn flush(&mut self) -> Result<Checkpoint, Error> {
        while self.batched > 0 {
            settle(&mut self.work).await?;
            self.launch();
        }
        settle(&mut self.work).await?;
        let Work::Idle(mut writer) = std::mem::replace(&mut self.work, Work::Broken) else {
            return Err(broken());
        };
        let (writer, state) = tokio::task::spawn_blocking(move || {
            let state = writer.appender.flush();
            (writer, state)
        })
        .await?;
        let checkpoint = Checkpoint {
            offset: writer.written,
            hasher: writer.hasher.clone(),
            state: state?,
        };
        self.work = Work::Idle(writer);
        Ok(checkpoint)
    }

    fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.accepted += bytes.len() as u64;
        self.batched += bytes.len();
        self.batch.push(bytes);
        // An idle writer starts at once: a follower of a slow upstream sees bytes as they arrive.
        self.launch();
    }

    fn launch(&mut self) {
        if self.batched == 0 {
            return;
        }
        let mut writer = match std::mem::replace(&mut self.work, Work::Broken) {
            Work::Idle(writer) => writer,
            busy => {
                self.work = busy;
                return;
            }
        };
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        let on_written = self.on_written.clone();
        self.work = Work::Running(tokio::task::spawn_blocking(move || {
            let outcome = write_batch(&mut writer, &batch);
            if let (Ok(()), Some(report)) = (&outcome, on_written) {
                report(writer.written);
            }
            Written {
                writer,
                outcome,
                batch,
            }
        }));
    }
}

fn write_batch(writer: &mut Writer, batch: &[Bytes]) -> blobstore::Result<()> {
    for bytes in batch {
        writer.hasher.update(bytes);
        writer.appender.write(bytes)?;
        writer.written += bytes.len() as u64;
    }
    Ok(())
}

/// Waits until no batch is being written. Safe to cancel: the handle is only polled by reference.
async fn settle(work: &mut Work) -> Result<(), Error> {
    let Work::Running(task) = work else {
        return match work {
            Work::Idle(_) => Ok(()),
            Work::Running(_) | Work::Broken => Err(broken()),
        };
    };
    let Written {
        writer,
        outcome,
        batch,
    } = match task.await {
        Ok(done) => done,
        Err(lost) => {
            *work = Work::Broken;
            return Err(lost.into());
        }
    };
    drop(batch);
    if let Err(error) = outcome {
        *work = Work::Broken;
        return Err(error.into());
    }
    *work = Work::Idle(writer);
    Ok(())
}

fn broken() -> Error {
    Error::Unavailable {
        reason: "an earlier write of this upload failed".to_owned(),
    }
}

fn body_broken(error: &io::Error) -> Error {
    Error::BodyBroken {
        reason: error.to_string(),
    }
}
