//! Transactions on PostgreSQL: each runs on a session of its own, and again from its beginning when another one came in
//! between. Nobody is answered before the commit has succeeded.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Config;

use super::clock::{DatabaseClock, Time, is_to_be_noted};
use super::failure::Failure;
use super::schema::migrate;
use super::session::{Begin, Session, Told};
use super::sessions::Sessions;
use super::settings::PostgresSettings;
use crate::clock::WallClock;
use crate::error::{Error, Result};
use crate::tx::{BodyFuture, Tx};

/// The longest pause before the second run; it doubles for each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A migration may rewrite a large table.
const MIGRATION: Duration = Duration::from_secs(3600);

const NOTE: &str = "UPDATE clock SET micros = $1 WHERE micros < $1";

/// An open database.
pub(crate) struct Engine {
    sessions: Sessions,
    time: Time,
    limit: Duration,
    #[cfg(test)]
    pub(crate) in_tests: super::tests::InTests,
}

/// An open transaction, and what the database said about the time when it began.
struct Open {
    tx: Tx,
    told: Told,
}

impl Engine {
    /// Connects to the database and brings it to this program's schema.
    pub(crate) async fn open(
        settings: &PostgresSettings,
        clock: Arc<dyn WallClock>,
    ) -> Result<Arc<Self>> {
        let (sessions, told) = prepare(settings).await?;
        Ok(Arc::new(Self {
            sessions,
            time: Time::Database(DatabaseClock::new(clock, told)),
            limit: settings.limit,
            #[cfg(test)]
            in_tests: super::tests::InTests::default(),
        }))
    }

    /// Opens a database whose time a test tells.
    #[cfg(test)]
    pub(crate) async fn open_at(
        settings: &PostgresSettings,
        clock: Arc<dyn WallClock>,
        in_tests: super::tests::InTests,
    ) -> Result<Arc<Self>> {
        let (sessions, told) = prepare(settings).await?;
        let clock = crate::clock::SteadyClock::resume(clock, told.noted);
        Ok(Arc::new(Self {
            sessions,
            time: Time::Process(clock),
            limit: settings.limit,
            in_tests,
        }))
    }

    /// Returns the time outside of a transaction.
    pub(crate) fn now(&self) -> i64 {
        self.time.now()
    }

    /// Waits for what is under way, refuses everything after it and closes the sessions.
    pub(crate) async fn close(&self) {
        self.sessions.close().await;
    }

    /// Runs `body` in a transaction and returns its answer once that is durable. If the caller goes away, the write
    /// happens all the same.
    pub(crate) async fn write<I, T, F>(self: &Arc<Self>, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        self.run(self.writing(), input, body).await
    }

    /// Runs `body` on one state of the database.
    pub(crate) async fn read<I, T, F>(self: &Arc<Self>, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        self.run(Begin::Read, input, body).await
    }

    async fn run<I, T, F>(self: &Arc<Self>, begin: Begin, input: I, body: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a I) -> BodyFuture<'a, T> + Send + 'static,
    {
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let end = Instant::now() + engine.limit;
            let slot = within(end, engine.sessions.slot()).await?;
            let mut attempt = 1;
            let answer = loop {
                let failure = match within(end, engine.begin(begin)).await {
                    Err(error) => break Err(error),
                    Ok(mut open) => {
                        // A panic drops the session, and the server forgets what was done on it.
                        let answer = within(end, body(&mut open.tx, &input)).await;
                        match within_failure(end, engine.end(begin, open, answer)).await {
                            Ok(answer) => break Ok(answer),
                            Err(failure) => failure,
                        }
                    }
                };
                if attempt >= failure.runs {
                    break Err(failure.error);
                }
                let pause = pause_after(attempt);
                if Instant::now() + pause >= end {
                    break Err(failure.error);
                }
                sleep(pause).await;
                attempt += 1;
            };
            drop(slot);
            answer
        });
        task.await
            .map_err(|_| Error::unavailable("a transaction broke off"))?
    }

    /// Opens a transaction on a session that works.
    async fn begin(&self, begin: Begin) -> Result<Open> {
        // The server may have ended what nobody used.
        while let Some(mut session) = self.sessions.reuse() {
            if let Ok(told) = session.begin(begin).await {
                return Ok(self.opened(session, told));
            }
        }
        let mut session = self.sessions.connect().await?;
        let told = session.begin(begin).await?;
        Ok(self.opened(session, told))
    }

    fn opened(&self, session: Session, told: Told) -> Open {
        #[cfg(test)]
        let session = session.as_in_test(&self.in_tests);
        let mut tx = Tx::on_postgres(session);
        tx.set_now(self.time.of_transaction(told));
        Open { tx, told }
    }

    /// Commits what succeeded and rolls back what did not.
    async fn end<T>(
        &self,
        begin: Begin,
        open: Open,
        answer: Result<T>,
    ) -> std::result::Result<T, Failure> {
        let Open { tx, told } = open;
        let now = tx.now();
        let mut session = tx.into_postgres();
        // A failed statement spoils the transaction, whatever the body made of it: COMMIT would roll back and say well.
        let outcome = match (session.failed().cloned(), answer) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(Failure::last(error)),
            (None, Ok(answer)) => match session.commit().await {
                Ok(()) => Ok(answer),
                Err(error) => Err(session.failed().cloned().unwrap_or(Failure::last(error))),
            },
        };
        if session.is_closed() {
            return outcome;
        }
        let usable = match &outcome {
            Ok(_) if begin != Begin::Read && is_to_be_noted(told, now) => {
                // Nothing is lost without it but the reach of a guard, and the next write tries again.
                session.execute(NOTE, &[now.into()]).await.is_ok()
            }
            Ok(_) => true,
            Err(_) => session.roll_back().await.is_ok(),
        };
        if usable {
            self.sessions.give_back(session);
        }
        outcome
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "its twin in tests asks the engine")]
    fn writing(&self) -> Begin {
        Begin::Write
    }

    #[cfg(test)]
    fn writing(&self) -> Begin {
        if self.in_tests.unguarded {
            Begin::Unguarded
        } else {
            Begin::Write
        }
    }
}

/// Opens the sessions, migrates and asks for the time.
async fn prepare(settings: &PostgresSettings) -> Result<(Sessions, Told)> {
    let config: Config = settings.url.parse().map_err(|_| {
        // Its own words quote the address, which may hold a password.
        Error::unavailable("the address of the database is none")
    })?;
    let mut session = Session::connect(&config, MIGRATION).await?;
    migrate(&mut session).await?;
    let sessions = Sessions::new(config, settings.limit, settings.sessions.max(1));
    let mut session = sessions.connect().await?;
    let told = session.begin(Begin::Read).await?;
    session.roll_back().await?;
    sessions.give_back(session);
    Ok((sessions, told))
}

/// Returns a random part of the pause after so many runs, so that two that met do not meet again.
fn pause_after(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << (attempt - 1).min(10))
        .min(LONGEST_PAUSE);
    let dice = RandomState::new().hash_one(attempt) % 1000;
    longest.mul_f64(dice as f64 / 1000.0)
}

async fn within<T>(end: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout_at(end, work)
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("a transaction took too long")))
}

async fn within_failure<T>(
    end: Instant,
    work: impl Future<Output = std::result::Result<T, Failure>>,
) -> std::result::Result<T, Failure> {
    timeout_at(end, work).await.unwrap_or_else(|_| {
        Err(Failure::last(Error::unavailable(
            "a transaction took too long",
        )))
    })
}
