//! Who is writing an upload now, so that a writer whose client has gone silent does not keep others out:
//! a cancel ends it at once, another piece once nothing has arrived for a while. What it brought is kept.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use oci::UploadId;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::{Instant, timeout};

use super::open::ByteStream;
use super::turns::Turns;

/// A writer that got no bytes for so long gives way to a client that comes back.
const SILENT: Duration = Duration::from_secs(10);

/// How often those who wait look whether the writer has gone silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a cancel ends whoever got the turn before it.
const CANCEL_EVERY: Duration = Duration::from_millis(50);

/// The time a writer has for its first bytes, however long it waited in line with a silent client.
const FIRST_BYTES: Duration = Duration::from_secs(2);

/// The uploads that are being written.
#[derive(Default)]
pub(super) struct Holders {
    turns: Turns<UploadId>,
    writing: Arc<Mutex<HashMap<UploadId, Arc<Holder>>>>,
}

struct Holder {
    stop: Notify,
    last_bytes: Mutex<Instant>,
}

/// One writer's turn; it ends when this is dropped.
pub(super) struct Turn {
    id: UploadId,
    holder: Arc<Holder>,
    writing: Arc<Mutex<HashMap<UploadId, Arc<Holder>>>>,
    _line: OwnedMutexGuard<()>,
}

impl Holders {
    /// Waits for the upload's turn.
    pub(super) async fn turn(&self, id: &UploadId) -> Turn {
        let silent = |holder: &Holder| holder.silent_for() >= SILENT;
        self.turn_stopping(id, LOOK_EVERY, silent).await
    }

    /// Waits in line, and every so often ends the writer that `condition` is true of.
    async fn turn_stopping(
        &self,
        id: &UploadId,
        every: Duration,
        condition: impl Fn(&Holder) -> bool,
    ) -> Turn {
        let waiting_since = Instant::now();
        // One place in line, kept while looking.
        let mut line = std::pin::pin!(self.turns.turn(id));
        let line = loop {
            match timeout(every, line.as_mut()).await {
                Ok(line) => break line,
                Err(_) => self.stop_if(id, &condition),
            }
        };
        let silent_since = waiting_since.max(Instant::now() - (SILENT - FIRST_BYTES));
        self.begin(id, line, silent_since)
    }

    /// Has the upload's turn if nobody else has it or waits for it.
    pub(super) fn try_turn(&self, id: &UploadId) -> Option<Turn> {
        let line = self.turns.try_turn(id)?;
        Some(self.begin(id, line, Instant::now()))
    }

    fn begin(&self, id: &UploadId, line: OwnedMutexGuard<()>, silent_since: Instant) -> Turn {
        let holder = Arc::new(Holder {
            stop: Notify::new(),
            last_bytes: Mutex::new(silent_since),
        });
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.insert(id.clone(), Arc::clone(&holder));
        Turn {
            id: id.clone(),
            holder,
            writing: Arc::clone(&self.writing),
            _line: line,
        }
    }

    /// Ends whoever writes the upload, and whoever waits before this, then has its turn.
    pub(super) async fn take_over(&self, id: &UploadId) -> Turn {
        self.stop_if(id, |_| true);
        self.turn_stopping(id, CANCEL_EVERY, |_| true).await
    }

    fn stop_if(&self, id: &UploadId, condition: impl Fn(&Holder) -> bool) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = writing.get(id)
            && condition(holder)
        {
            holder.stop.notify_one();
        }
    }
}

impl Holder {
    fn silent_for(&self) -> Duration {
        let last = self
            .last_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.elapsed()
    }

    fn got_bytes(&self) {
        let mut last = self
            .last_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Instant::now();
    }
}

impl Turn {
    /// Returns `body` as this writer gets it: it breaks off when another takes over.
    pub(super) fn watch(&self, body: ByteStream) -> ByteStream {
        let start = (body, Arc::clone(&self.holder));
        Box::pin(futures_util::stream::unfold(
            start,
            |(mut body, holder)| async move {
                let next = tokio::select! {
                    next = body.next() => next?,
                    () = holder.stop.notified() => {
                        Err(io::Error::new(io::ErrorKind::Interrupted, "another request took over"))
                    }
                };
                holder.got_bytes();
                Some((next, (body, holder)))
            },
        ))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use oci::UploadId;

    use super::{ByteStream, Holders, SILENT};

    fn id() -> UploadId {
        UploadId::parse("0f8fad5b-d9cb-469f-a165-70867728950e").expect("an id")
    }

    fn silent_after(bytes: &'static [u8]) -> ByteStream {
        let first = stream::once(async move { Ok(Bytes::from_static(bytes)) });
        Box::pin(first.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_writer_gives_way_and_its_bytes_are_seen() {
        let holders = Holders::default();
        let turn = holders.turn(&id()).await;
        let mut body = turn.watch(silent_after(b"abc"));
        let started = tokio::time::Instant::now();
        let writer = async move {
            let first = body.next().await.expect("bytes").expect("no error");
            let second = body.next().await.expect("an end");
            drop(turn);
            (first, second.is_err())
        };
        let same = id();
        let (seen, _next) = tokio::join!(writer, holders.turn(&same));
        assert_eq!(seen, (Bytes::from_static(b"abc"), true));
        assert!(started.elapsed() >= SILENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancel_does_not_wait_for_a_line_of_silent_writers() {
        let holders = Holders::default();
        let started = tokio::time::Instant::now();
        let write = || async {
            let turn = holders.turn(&id()).await;
            let mut body = turn.watch(silent_after(b""));
            while let Some(Ok(_)) = body.next().await {}
        };
        let writers = futures_util::future::join_all((0..11).map(|_| write()));
        let cancel = async {
            tokio::task::yield_now().await;
            drop(holders.take_over(&id()).await);
            started.elapsed()
        };
        let (_, cancelled_after) = tokio::join!(writers, cancel);
        assert!(cancelled_after < super::LOOK_EVERY, "{cancelled_after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancel_does_not_wait_for_silence() {
        let holders = Holders::default();
        let turn = holders.turn(&id()).await;
        let mut body = turn.watch(silent_after(b""));
        let started = tokio::time::Instant::now();
        let writer = async move {
            while let Some(Ok(_)) = body.next().await {}
            drop(turn);
        };
        tokio::join!(writer, async { drop(holders.take_over(&id()).await) });
        assert!(started.elapsed() < SILENT);
    }
}
