//! A few connections for reading, beside the writer. Each read sees one consistent state of the database.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::clock::SteadyClock;
use crate::error::{Error, Result};
use crate::sqlite::{Access, Connection, finish_at_once};
use crate::tx::{BodyFuture, Tx};

/// More would only wait for the same CPUs and each costs a page cache.
const CONNECTIONS: u32 = 4;

/// The reading side of an open database.
pub(crate) struct Readers {
    path: PathBuf,
    clock: Arc<SteadyClock>,
    slots: Arc<Semaphore>,
    /// Connections nobody uses now. One that failed is dropped and replaced when the next read needs it.
    idle: Mutex<Vec<Tx>>,
}

impl Readers {
    /// Opens the first connection, so that a file that cannot be read is found at the start.
    pub(crate) fn open(path: &Path, clock: Arc<SteadyClock>) -> Result<Self> {
        let first = Tx::on_sqlite(Connection::open(path, Access::Read)?);
        let slots = Arc::new(Semaphore::new(CONNECTIONS as usize));
        Ok(Self {
            path: path.to_owned(),
            clock,
            slots,
            idle: Mutex::new(vec![first]),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Tx>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `body` on a blocking thread inside a read transaction.
    pub(crate) async fn run<I, T, F>(self: &Arc<Self>, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        let slot = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let answer = readers.run_blocking(|tx| finish_at_once(body(tx, &input)));
            drop(slot);
            answer
        });
        task.await
            .map_err(|_| Error::unavailable("a read broke off"))?
    }

    fn run_blocking<T>(&self, read: impl FnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let reused = self.idle().pop();
        let mut tx = match reused {
            Some(tx) => tx,
            None => Tx::on_sqlite(Connection::open(&self.path, Access::Read)?),
        };
        tx.set_now(self.clock.now());
        tx.sqlite().execute("BEGIN", &[])?;
        let answer = read(&mut tx)?;
        tx.sqlite().execute("COMMIT", &[])?;
        // Only a connection on which everything went well is used again.
        self.idle().push(tx);
        Ok(answer)
    }

    /// Waits for the reads under way, refuses new ones and closes the connections.
    pub(crate) async fn close(&self) {
        // An error means that they are closed already.
        if let Ok(all) = self.slots.acquire_many(CONNECTIONS).await {
            self.slots.close();
            drop(all);
        }
        self.idle().clear();
    }
}
