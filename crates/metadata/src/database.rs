//! The handle of the metadata database. The operations are in the files of their nouns; here is how it is opened,
//! closed and asked for the time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{SteadyClock, WallClock};
use crate::error::{Error, Result};
use crate::migrate::migrate;
use crate::rehearsal;
use crate::sqlite::{Access, Connection, Readers, Writer};
use crate::tx::{BodyFuture, Tx};
use crate::upkeep::{self, Ending};

/// The metadata database. Clones are handles of the same database; dropping the last one closes it.
#[derive(Clone)]
pub struct Metadata {
    open: Arc<Open>,
}

/// The engine below.
enum Open {
    Sqlite(Embedded),
    #[cfg(feature = "postgres")]
    Postgres(Arc<crate::postgres::Engine>),
}

/// An open SQLite file.
struct Embedded {
    writer: Writer,
    readers: Arc<Readers>,
    clock: Arc<SteadyClock>,
    path: PathBuf,
    ending: Arc<Ending>,
}

impl Metadata {
    /// Opens the database file at `path`, creates it when absent and brings it to this program's schema. Blocks.
    ///
    /// # Errors
    /// [`Error::TooNew`] when a newer program made it unreadable for this one, [`Error::Corrupt`] when it is no
    /// database, [`Error::Unavailable`] when it cannot be opened.
    pub fn open(path: &Path, clock: Arc<dyn WallClock>) -> Result<Self> {
        let (connection, clock) = connect(path, clock)?;
        Self::start(connection, path, clock, Ending::default())
    }

    /// The same for the process that owns the database and answers for what it says: until [`Metadata::close`], or
    /// until the last handle is dropped, the database counts as not ended in order. Where the owner before did not,
    /// nothing is reclaimed for `lease_micros` microseconds from now that a local repository ever held, because
    /// somebody may have been told that it exists. Blocks.
    ///
    /// # Errors
    /// As [`Metadata::open`].
    pub fn open_owned(path: &Path, clock: Arc<dyn WallClock>, lease_micros: i64) -> Result<Self> {
        rehearsal::remove_left(path)?;
        let (mut connection, clock) = connect(path, clock)?;
        let hold_until = clock.now().saturating_add(lease_micros);
        connection.execute(upkeep::BEGIN, &[hold_until.into()])?;
        Self::start(connection, path, clock, Ending::of_an_owner())
    }

    /// Opens a copy on which nothing has to last. Blocks.
    pub(crate) fn open_copy(path: &Path, clock: Arc<SteadyClock>) -> Result<Self> {
        let mut connection = Connection::open(path, Access::Write)?;
        connection.batch("PRAGMA synchronous = OFF")?;
        Self::start(connection, path, clock, Ending::default())
    }

    fn start(
        connection: Connection,
        path: &Path,
        clock: Arc<SteadyClock>,
        ending: Ending,
    ) -> Result<Self> {
        let ending = Arc::new(ending);
        let readers = Arc::new(Readers::open(path, clock.clone())?);
        let writer = Writer::start(connection, path, clock.clone(), ending.clone())?;
        Ok(Self {
            open: Arc::new(Open::Sqlite(Embedded {
                writer,
                readers,
                clock,
                path: path.to_owned(),
                ending,
            })),
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

    /// Returns the file and the clock, for a copy; there is none of a PostgreSQL.
    pub(crate) fn source(&self) -> Result<(PathBuf, Arc<SteadyClock>)> {
        match &*self.open {
            Open::Sqlite(file) => Ok((file.path.clone(), file.clock.clone())),
            #[cfg(feature = "postgres")]
            Open::Postgres(_) => Err(Error::unavailable("it is no file that can be copied")),
        }
    }

    /// Takes note that somebody relies, until `until` (microseconds since 1970), on what only this process knows: an
    /// end before that is not in order.
    pub fn rely_on_process(&self, until: i64) {
        match &*self.open {
            Open::Sqlite(file) => file.ending.rely_on_process(until),
            // Nobody owns what several nodes share, so that no end of a process is written down there.
            #[cfg(feature = "postgres")]
            Open::Postgres(_) => {}
        }
    }

    /// Returns the time in microseconds since 1970 by which leases and every stored instant are measured. Never
    /// goes back, not even over a restart.
    pub fn now(&self) -> i64 {
        match &*self.open {
            Open::Sqlite(file) => file.clock.now(),
            #[cfg(feature = "postgres")]
            Open::Postgres(engine) => engine.now(),
        }
    }

    /// Returns how many writes wait for the one writer of SQLite.
    #[cfg(test)]
    pub(crate) fn queued_writes(&self) -> usize {
        match &*self.open {
            Open::Sqlite(file) => file.writer.queued(),
            #[cfg(feature = "postgres")]
            Open::Postgres(_) => 0,
        }
    }

    /// Finishes what is under way, refuses everything after it with [`Error::Closed`] and closes the file.
    pub async fn close(&self) {
        match &*self.open {
            Open::Sqlite(file) => file.readers.close().await,
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
            Open::Sqlite(file) => file.writer.write(input, body).await,
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
            Open::Sqlite(file) => file.readers.run(input, body).await,
            #[cfg(feature = "postgres")]
            Open::Postgres(engine) => engine.read(input, body).await,
        }
    }
}

/// Opens the file, brings it to this program's schema and goes on from its last time.
fn connect(path: &Path, clock: Arc<dyn WallClock>) -> Result<(Connection, Arc<SteadyClock>)> {
    let mut connection = Connection::open(path, Access::Write)?;
    migrate(&mut connection)?;
    let stored = match connection.query("SELECT micros FROM clock", &[])?.first() {
        Some(row) => row.i64(0)?,
        None => return Err(Error::corrupt("the clock has no row")),
    };
    Ok((connection, Arc::new(SteadyClock::resume(clock, stored))))
}

impl Open {
    /// Lets the writer thread finish. Blocks.
    fn close_writer(&self) {
        match self {
            Self::Sqlite(file) => file.writer.close(),
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
