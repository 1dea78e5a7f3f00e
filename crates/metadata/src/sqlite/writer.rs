//! The writer thread. Writes wait in a bounded queue; one transaction takes up to a hundred of them, each in its own
//! savepoint, so that one fsync pays for all. Nobody is answered before the commit has succeeded, and a commit
//! that failed is never tried again: everyone in it is told so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::clock::SteadyClock;
use crate::error::{Error, Result};
use crate::sqlite::{Access, Connection, finish_at_once};
use crate::tx::{BodyFuture, Tx};
use crate::upkeep::{self, Ending};

/// The most writes that share a commit.
const GROUP: usize = 128;
/// Writers beyond this wait for a place, which is what slows clients down when the disk is slow.
const QUEUE: usize = 1024;

/// The writing side of an open database.
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on a connection that is open and migrated.
    pub(crate) fn start(
        connection: Connection,
        path: &Path,
        clock: Arc<SteadyClock>,
        ending: Arc<Ending>,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut worker = Worker {
            tx: Tx::on_sqlite(connection),
            path: path.to_owned(),
            clock,
            ending,
            receiver,
        };
        let thread = std::thread::Builder::new()
            .name("metadata-writer".into())
            .spawn(move || worker.run());
        let thread = thread.map_err(|error| Error::Unavailable {
            source: Arc::new(error),
        })?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `body` in a group commit and returns its answer once that is durable. If the caller goes away, the
    /// write happens all the same.
    pub(crate) async fn write<I, T, F>(&self, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Write {
            input,
            body,
            answer,
            outcome: None,
        });
        queue.send(job).await.map_err(|_| Error::Closed)?;
        drop(queue);
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Returns how many writes wait for the thread.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref();
        queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Refuses new writes, waits until the queued ones are committed and closes the connection. Blocks.
    pub(crate) fn close(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The thread cannot wait for itself, should a write have owned the last handle of the database.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

/// A queued write whose types are forgotten.
trait Job: Send {
    /// Runs the body; an error means that its rows must go.
    fn run(&mut self, tx: &mut Tx) -> Result<()>;
    /// Answers the caller: with what the body returned, or with why the group was lost.
    fn settle(self: Box<Self>, group: Result<()>);
}

struct Write<I, T, F> {
    input: I,
    body: F,
    answer: oneshot::Sender<Result<T>>,
    outcome: Option<Result<T>>,
}

impl<I, T, F> Job for Write<I, T, F>
where
    I: Send + Sync,
    T: Send,
    F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send,
{
    fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            finish_at_once((self.body)(tx, &self.input))
        }));
        let outcome = polled.unwrap_or_else(|_| Err(Error::unavailable("a transaction panicked")));
        let verdict = outcome.as_ref().map(drop).map_err(Error::clone);
        self.outcome = Some(outcome);
        verdict
    }

    fn settle(self: Box<Self>, group: Result<()>) {
        let answer = match (self.outcome, group) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(own)), _) => Err(own),
            (_, Err(lost)) => Err(lost),
            (None, Ok(())) => Err(Error::Closed),
        };
        // A caller that no longer waits is not told; the write stands.
        drop(self.answer.send(answer));
    }
}

struct Worker {
    tx: Tx,
    path: PathBuf,
    clock: Arc<SteadyClock>,
    ending: Arc<Ending>,
    receiver: mpsc::Receiver<Box<dyn Job>>,
}

impl Worker {
    fn run(&mut self) {
        while let Some(first) = self.receiver.blocking_recv() {
            let mut group = Vec::with_capacity(GROUP);
            let committed = self.commit_group(first, &mut group);
            if let Err(error) = &committed {
                self.recover(error);
            }
            for job in group {
                job.settle(committed.clone());
            }
        }
        if self.ending.is_in_order(self.clock.now()) {
            // Where it cannot be written, the next start holds local content back for a while, and no more.
            drop(self.tx.sqlite().execute(upkeep::END, &[]));
        }
        // Nothing is lost without it: the next start would read the log file instead.
        drop(
            self.tx
                .sqlite()
                .query("PRAGMA wal_checkpoint(TRUNCATE)", &[]),
        );
    }

    /// Runs queued writes in one transaction and commits it. Whoever was taken from the queue is in `group`
    /// afterwards, also when the transaction was lost.
    fn commit_group(&mut self, first: Box<dyn Job>, group: &mut Vec<Box<dyn Job>>) -> Result<()> {
        group.push(first);
        if let Err(error) = self.begin() {
            // The queued writes would meet the same trouble one after the other, each waiting as long.
            group.extend(std::iter::from_fn(|| self.receiver.try_recv().ok()).take(GROUP - 1));
            return Err(error);
        }
        loop {
            let job = group
                .last_mut()
                .expect("the group has a member because one was pushed before each turn");
            run_in_savepoint(job.as_mut(), &mut self.tx)?;
            if group.len() == GROUP {
                break;
            }
            let Ok(next) = self.receiver.try_recv() else {
                break;
            };
            group.push(next);
        }
        let now = self.tx.now();
        self.tx.sqlite().execute(
            "UPDATE clock SET micros = $1 WHERE micros < $1",
            &[now.into()],
        )?;
        self.tx.sqlite().execute("COMMIT", &[]).map(drop)
    }

    fn begin(&mut self) -> Result<()> {
        let connection = self.tx.sqlite();
        connection.execute("BEGIN IMMEDIATE", &[])?;
        if let Some(row) = connection.query("SELECT micros FROM clock", &[])?.first() {
            self.clock.observe(row.i64(0)?);
        }
        self.tx.set_now(self.clock.now());
        Ok(())
    }

    /// Makes the connection usable after a lost transaction, by opening a new one where the old one is stuck.
    fn recover(&mut self, error: &Error) {
        let stuck = self.tx.sqlite().roll_back().is_err();
        let suspicious = matches!(error, Error::Unavailable { .. } | Error::Corrupt { .. });
        if !stuck && !suspicious {
            return;
        }
        // When the file cannot be opened now, the old connection answers with its error until it can.
        if let Ok(fresh) = Connection::open(&self.path, Access::Write) {
            self.tx = Tx::on_sqlite(fresh);
        }
    }
}

/// Runs one write so that it leaves all of its rows or none. An error means that the whole transaction is lost.
fn run_in_savepoint(job: &mut dyn Job, tx: &mut Tx) -> Result<()> {
    tx.sqlite().execute("SAVEPOINT one_write", &[])?;
    let verdict = job.run(tx);
    let connection = tx.sqlite();
    if connection.is_outside_transaction() {
        // After some I/O errors SQLite rolls everything back by itself, the neighbours' rows included.
        return verdict.and(Err(Error::unavailable(
            "the database gave up a transaction",
        )));
    }
    if verdict.is_err() {
        connection.execute("ROLLBACK TO one_write", &[])?;
    }
    connection.execute("RELEASE one_write", &[]).map(drop)
}
