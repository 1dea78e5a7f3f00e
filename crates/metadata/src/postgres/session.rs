//! One session on the server: its settings, its statements and the transaction that is open on it.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement};

use super::failure::Failure;
use super::values;
use crate::error::{Error, Result};
use crate::value::{Row, Value};

/// The oldest server that is known to serve, as PostgreSQL writes versions.
const OLDEST: i64 = 13_00_00;
/// The first server that ends a transaction of itself when it takes too long.
const ENDS_TRANSACTIONS: i64 = 17_00_00;

/// How a transaction begins. The time is asked for in the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// One that writes.
    Write,
    /// One that reads one state.
    Read,
    /// One that writes without the guarantee; only to show that tests notice.
    #[cfg(test)]
    Unguarded,
}

impl Begin {
    fn sql(self) -> &'static str {
        macro_rules! begin {
            ($mode:literal) => {
                concat!(
                    "BEGIN ISOLATION LEVEL ",
                    $mode,
                    "; SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT micros FROM clock)"
                )
            };
        }
        match self {
            Self::Write => begin!("SERIALIZABLE"),
            Self::Read => begin!("REPEATABLE READ READ ONLY"),
            #[cfg(test)]
            Self::Unguarded => begin!("READ COMMITTED"),
        }
    }
}

/// What the database says about the time when a transaction begins, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Its own clock.
    pub(crate) clock: i64,
    /// The last time that was noted.
    pub(crate) noted: i64,
}

/// An open session.
pub(crate) struct Session {
    client: Client,
    /// What was prepared before; the server keeps it as long as the session is open.
    statements: HashMap<&'static str, Statement>,
    /// Why the open transaction cannot be committed any more.
    failed: Option<Failure>,
    #[cfg(test)]
    in_tests: Option<(
        super::tests::InTests,
        Option<std::sync::Arc<super::pause::Pause>>,
    )>,
}

impl Session {
    /// Connects. The task that moves the bytes ends with the session.
    pub(crate) async fn connect(config: &Config, limit: Duration) -> Result<Self> {
        let (client, connection) = config
            .connect(NoTls)
            .await
            .map_err(|error| Failure::from(error).error)?;
        // What the connection dies of is told to whoever uses the session next.
        tokio::spawn(async move { drop(connection.await) });
        let mut session = Self {
            client,
            statements: HashMap::new(),
            failed: None,
            #[cfg(test)]
            in_tests: None,
        };
        session.settle(limit).await?;
        Ok(session)
    }

    /// Refuses a server that keeps other bytes than it is given, and sets what every session needs.
    async fn settle(&mut self, limit: Duration) -> Result<()> {
        let version: i64 = self
            .show("SHOW server_version_num")
            .await?
            .parse()
            .unwrap_or(0);
        if version < OLDEST {
            return Err(Error::unavailable("its server is older than PostgreSQL 13"));
        }
        if self.show("SHOW server_encoding").await? != "UTF8" {
            return Err(Error::unavailable("its encoding is not UTF8"));
        }
        let millis = limit.as_millis();
        let mut settings = format!(
            "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
             SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis};"
        );
        if version >= ENDS_TRANSACTIONS {
            settings.push_str(&format!(" SET transaction_timeout = {millis};"));
        }
        self.batch(&settings).await
    }

    async fn show(&mut self, sql: &str) -> Result<String> {
        let rows = self.simple(sql).await?;
        let shown = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        shown
            .flatten()
            .ok_or_else(|| Error::unavailable(format!("{sql} has no answer")))
    }

    /// Returns whether the connection is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Returns why the open transaction cannot be committed, if a statement failed in it.
    pub(crate) fn failed(&self) -> Option<&Failure> {
        self.failed.as_ref()
    }

    /// Opens a transaction.
    pub(crate) async fn begin(&mut self, begin: Begin) -> Result<Told> {
        self.failed = None;
        let rows = self.simple(begin.sql()).await?;
        let mut numbers = rows
            .into_iter()
            .flatten()
            .flatten()
            .map(|text| text.parse());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(clock)), Some(Ok(noted))) => Ok(Told { clock, noted }),
            _ => Err(Error::corrupt("the clock has no row")),
        }
    }

    /// Commits the open transaction. It was not committed when this fails, but for a connection that broke: then nobody knows.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        #[cfg(test)]
        self.wait_in_tests("COMMIT").await;
        self.batch("COMMIT").await
    }

    /// Ends the open transaction without keeping anything.
    pub(crate) async fn roll_back(&mut self) -> Result<()> {
        self.batch("ROLLBACK").await
    }

    /// Runs statements without parameters or results, such as a migration.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| self.fail(error.into()))
    }

    /// Returns the rows of statements without parameters, as text.
    async fn simple(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self.client.simple_query(sql).await;
        let messages = messages.map_err(|error| self.fail(error.into()))?;
        let row = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|index| row.get(index).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// Returns every row of a statement.
    pub(crate) async fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>> {
        let statement = self.statement(sql).await?;
        let bound = bound(&statement, params).map_err(|failure| self.fail(failure))?;
        let found = self.client.query(&statement, &bound).await;
        let found = found.map_err(|error| self.fail(error.into()))?;
        values::rows(&statement, &found)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64> {
        let statement = self.statement(sql).await?;
        let bound = bound(&statement, params).map_err(|failure| self.fail(failure))?;
        let changed = self.client.execute(&statement, &bound).await;
        changed.map_err(|error| self.fail(error.into()))
    }

    async fn statement(&mut self, sql: &'static str) -> Result<Statement> {
        #[cfg(test)]
        self.wait_in_tests(sql).await;
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let prepared = self.client.prepare(sql).await;
        let prepared = prepared.map_err(|error| self.fail(error.into()))?;
        self.statements.insert(sql, prepared.clone());
        Ok(prepared)
    }

    /// Remembers the first failure: what follows in a lost transaction only tells that it is lost.
    fn fail(&mut self, failure: Failure) -> Error {
        let error = failure.error.clone();
        self.failed.get_or_insert(failure);
        error
    }

    /// Returns the session for a transaction that begins now and does what the test asks.
    #[cfg(test)]
    pub(crate) fn as_in_test(mut self, in_tests: &super::tests::InTests) -> Self {
        self.in_tests = Some((in_tests.clone(), in_tests.paused()));
        self
    }

    #[cfg(test)]
    async fn wait_in_tests(&self, sql: &'static str) {
        let Some((in_tests, pause)) = &self.in_tests else {
            return;
        };
        in_tests.note(sql);
        if let Some(pause) = pause {
            pause.before_a_statement(sql).await;
        }
    }
}

/// Returns as many parameters as the statement has. Callers may share a longer list among statements.
fn bound<'a>(
    statement: &Statement,
    params: &'a [Value],
) -> std::result::Result<Vec<&'a (dyn ToSql + Sync)>, Failure> {
    let wanted = statement.params().len();
    let Some(params) = params.get(..wanted) else {
        return Err(Failure::last(Error::unavailable(format!(
            "SQL parameter {wanted} has no value"
        ))));
    };
    Ok(params
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect())
}
