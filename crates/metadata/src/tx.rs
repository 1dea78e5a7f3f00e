//! One transaction, as the operations see it. The same SQL text serves every engine; which engine runs it is hidden
//! here. An operation must never do anything but SQL in its transaction: no network, no files, no waiting.

use std::future::Future;
use std::pin::Pin;

use crate::error::Result;
#[cfg(feature = "postgres")]
use crate::postgres::Session;
use crate::sqlite::Connection;
use crate::value::{Row, Value};

/// What a transaction body returns. Bodies are retryable functions of their input.
pub(crate) type BodyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// An open transaction.
pub(crate) struct Tx {
    engine: Engine,
    now: i64,
}

/// The engines a transaction can run on.
enum Engine {
    Sqlite(Connection),
    #[cfg(feature = "postgres")]
    Postgres(Session),
}

impl Tx {
    /// Returns a handle for transactions on `connection`, which it owns so that `&mut Tx` may cross threads.
    pub(crate) fn on_sqlite(connection: Connection) -> Self {
        Self {
            engine: Engine::Sqlite(connection),
            now: 0,
        }
    }

    /// Returns a handle for the transaction that is open on `session`.
    #[cfg(feature = "postgres")]
    pub(crate) fn on_postgres(session: Session) -> Self {
        Self {
            engine: Engine::Postgres(session),
            now: 0,
        }
    }

    /// Returns the connection below; for the engine that made this transaction on it.
    pub(crate) fn sqlite(&mut self) -> &mut Connection {
        match &mut self.engine {
            Engine::Sqlite(connection) => connection,
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => {
                unreachable!("no session is SQLite's because each engine asks only what it made")
            }
        }
    }

    /// Returns the session below; for the engine that made this transaction on it.
    #[cfg(feature = "postgres")]
    pub(crate) fn into_postgres(self) -> Session {
        match self.engine {
            Engine::Postgres(session) => session,
            Engine::Sqlite(_) => unreachable!(
                "no connection is PostgreSQL's because each engine asks only what it made"
            ),
        }
    }

    /// Sets the time of the transaction that begins.
    pub(crate) fn set_now(&mut self, now: i64) {
        self.now = now;
    }

    /// Returns the time of this transaction in microseconds since 1970; the same however often it is asked.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// Returns every row of a statement; `$1` in `sql` is the first of `params`.
    pub(crate) async fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>> {
        match &mut self.engine {
            Engine::Sqlite(connection) => connection.query(sql, params),
            #[cfg(feature = "postgres")]
            Engine::Postgres(session) => session.query(sql, params).await,
        }
    }

    /// Returns the first row of a statement, if there is one.
    pub(crate) async fn query_one(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64> {
        match &mut self.engine {
            Engine::Sqlite(connection) => connection.execute(sql, params),
            #[cfg(feature = "postgres")]
            Engine::Postgres(session) => session.execute(sql, params).await,
        }
    }
}
