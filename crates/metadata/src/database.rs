//! The handle of the metadata database. The operations are in the files of their nouns; here is how it is opened,
//! closed and asked for the time.

use std::path::Path;
use std::sync::Arc;

use crate::clock::{SteadyClock, WallClock};
use crate::error::{Error, Result};
use crate::migrate::migrate;
use crate::sqlite::{Access, Connection, Readers, Writer};
use crate::tx::{BodyFuture, Tx};

/// The metadata database. Clones are handles of the same database; dropping the last one closes it.
#[derive(Clone)]
pub struct Metadata {
    open: Arc<Open>,
}

/// The engine below and what it needs.
enum Open {
    Sqlite {
        writer: Writer,
        readers: Arc<Readers>,
        clock: Arc<SteadyClock>,
    },
    #[cfg(feature = "postgres")]
    Postgres(Arc<crate::postgres::Engine>),
}

impl Metadata {
    /// Opens the database file at `path`, creates it when absent and brings it to this program's schema. Blocks.
    ///
    /// # Errors
    /// [`Error::TooNew`] when a newer program made it unreadable for this one, [`Error::Corrupt`] when it is no
    /// database, [`Error::Unavailable`] when it cannot be opened.
    pub fn open(path: &Path, clock: Arc<dyn WallClock>) -> Result<Self> {
        Self::open_on(Connection::open(path, Access::Write)?, path, clock)
    }

    /// Opens a database file without waiting for the disk, which a test does not read after a power cut.
    #[cfg(test)]
    pub(crate) fn open_in_a_hurry(path: &Path, clock: Arc<dyn WallClock>) -> Result<Self> {
        let mut connection = Connection::open(path, Access::Write)?;
        connection.batch("PRAGMA synchronous = OFF")?;
        Self::open_on(connection, path, clock)
    }

    fn open_on(mut connection: Connection, path: &Path, clock: Arc<dyn WallClock>) -> Result<Self> {
        migrate(&mut connection)?;
        let stored = match connection.query("SELECT micros FROM clock", &[])?.first() {
            Some(row) => row.i64(0)?,
            None => return Err(Error::corrupt("the clock has no row")),
        };
        let clock = Arc::new(SteadyClock::resume(clock, stored));
        let readers = Arc::new(Readers::open(path, clock.clone())?);
        let writer = Writer::start(connection, path, clock.clone())?;
        Ok(Self {
            open: Arc::new(Open::Sqlite {
                writer,
                readers,
                clock,
            }),
        })
    }

    /// Connects to a PostgreSQL that several nodes may share and brings it to this program's schema. `clock` is asked only
    /// how much time passes between two transactions; what time it is, the database says.
    ///
    /// # Errors
    /// [`Error::TooNew`] when a newer program made it unreadable for this one, [`Error::Unavailable`] when it cannot
    /// be reached or cannot serve.
    #[cfg(feature = "postgres")]
    pub async fn connect(
        settings: &crate::PostgresSettings,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self> {
        let engine = crate::postgres::Engine::open(settings, clock).await?;
        Ok(Self::on_postgres(engine))
    }

    /// Returns a handle of an open PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn on_postgres(engine: Arc<crate::postgres::Engine>) -> Self {
        Self {
            open: Arc::new(Open::Postgres(engine)),
        }
    }

    /// Returns the time in microseconds since 1970 by which leases and every stored instant are measured. Never
    /// goes back, not even over a restart.
    pub fn now(&self) -> i64 {
        match &*self.open {
            Open::Sqlite { clock, .. } => clock.now(),
            #[cfg(feature = "postgres")]
            Open::Postgres(engine) => engine.now(),
        }
    }

    /// Returns how many writes wait for the one writer of SQLite.
    #[cfg(test)]
    pub(crate) fn queued_writes(&self) -> usize {
        match &*self.open {
            Open::Sqlite { writer, .. } => writer.queued(),
            #[cfg(feature = "postgres")]
            Open::Postgres(_) => 0,
        }
    }

    /// Finishes what is under way, refuses everything after it with [`Error::Closed`] and closes the file.
    pub async fn close(&self) {
        match &*self.open {
            Open::Sqlite { readers, .. } => readers.close().await,
            #[cfg(feature = "postgres")]
            Open::Postgres(engine) => engine.close().await,
        }
        let open = self.open.clone();
        // Waits for the writer thread; should the wait break off, the thread finishes all the same.
        drop(tokio::task::spawn_blocking(move || open.close_writer()).await);
    }

    /// Runs `body` in a transaction and returns once it is durable. On an error none of its rows are left. `body`
    /// is a retryable function of `input` without side effects.
    pub(crate) async fn write<I, T, F>(&self, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        match &*self.open {
            Open::Sqlite { writer, .. } => writer.write(input, body).await,
            #[cfg(feature = "postgres")]
            Open::Postgres(engine) => engine.write(input, body).await,
        }
    }

    /// Runs `body` on one consistent state of the database.
    pub(crate) async fn read<I, T, F>(&self, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        match &*self.open {
            Open::Sqlite { readers, .. } => readers.run(input, body).await,
            #[cfg(feature = "postgres")]
            Open::Postgres(engine) => engine.read(input, body).await,
        }
    }
}

impl Open {
    /// Lets the writer thread finish. Blocks.
    fn close_writer(&self) {
        match self {
            Self::Sqlite { writer, .. } => writer.close(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {}
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close_writer();
    }
}
