//! An empty schema of a PostgreSQL for each clause. The server is named by the environment; a test without it fails,
//! because a suite that is skipped proves nothing.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use crate::clock::tests::{FakeClock, NOON};
use crate::contract::support::World;
use crate::postgres::Engine;
use crate::postgres::tests::InTests;
use crate::{Metadata, PostgresSettings};

/// The environment variable with the address of a database (`host=… user=… dbname=…`) in which schemas may be made and dropped.
const SERVER: &str = "SEAWALL_TEST_POSTGRES";

/// Sessions of one database handle; two handles and those of other tests must fit into the server's.
const SESSIONS: u32 = 6;

/// Returns the address of the server. A test has no configuration to take it from.
#[cfg(test)]
fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} names no PostgreSQL; `e2e/run postgres` starts one and runs this")
    })
}

/// A schema of its own, dropped when the test ends well or badly.
pub(crate) struct Schema {
    name: String,
    server: String,
}

impl Schema {
    /// Makes a schema.
    pub(crate) async fn create() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = server();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("seawall_test_{}_{number}", std::process::id());
        let schema = Self { name, server };
        let made = format!("CREATE SCHEMA {}", schema.name);
        schema
            .client()
            .await
            .batch_execute(&made)
            .await
            .expect("a new schema");
        schema
    }

    /// Returns a session of the test's own, in this schema.
    pub(crate) async fn client(&self) -> Client {
        let config: Config = self.url().parse().expect("an address");
        let (client, connection) = config.connect(NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        client
    }

    fn url(&self) -> String {
        format!("{} options=-csearch_path={}", self.server, self.name)
    }

    /// Returns how this schema is reached.
    pub(crate) fn settings(&self) -> PostgresSettings {
        PostgresSettings {
            url: self.url(),
            sessions: SESSIONS,
            limit: Duration::from_secs(300),
        }
    }

    /// Opens the schema with the clock of the test.
    pub(crate) async fn open(&self, clock: Arc<FakeClock>, in_tests: InTests) -> Metadata {
        let engine = Engine::open_at(&self.settings(), clock, in_tests).await;
        Metadata::on_postgres(engine.expect("the schema opens"))
    }

    /// Opens the schema as [`Schema::open`] does, with sessions that the server knows by [`Schema::application`].
    pub(crate) async fn open_as(
        &self,
        who: &str,
        clock: Arc<FakeClock>,
        in_tests: InTests,
    ) -> Metadata {
        let mut settings = self.settings();
        settings.url = format!(
            "{} application_name={}",
            settings.url,
            self.application(who)
        );
        let engine = Engine::open_at(&settings, clock, in_tests).await;
        Metadata::on_postgres(engine.expect("the schema opens"))
    }

    /// Returns how the server names sessions that were opened as `who`.
    pub(crate) fn application(&self, who: &str) -> String {
        format!("{}_{who}", self.name)
    }

    /// Drops the schema and all that is in it.
    pub(crate) async fn remove(self) {
        let dropped = format!("DROP SCHEMA {} CASCADE", self.name);
        self.client()
            .await
            .batch_execute(&dropped)
            .await
            .expect("is dropped");
    }
}

/// Runs a test in a schema of its own, which is dropped also when the test fails.
pub(crate) async fn in_schema<F>(test: impl FnOnce(Arc<Schema>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let schema = Arc::new(Schema::create().await);
    let ended = tokio::spawn(test(schema.clone())).await;
    if let Ok(schema) = Arc::try_unwrap(schema) {
        schema.remove().await;
    }
    if let Err(failed) = ended {
        std::panic::resume_unwind(failed.into_panic());
    }
}

/// Runs a clause on a database of its own.
pub(crate) async fn run<F>(clause: impl FnOnce(World) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    in_schema(|schema| async move {
        let clock = FakeClock::at(NOON);
        let metadata = schema.open(clock.clone(), InTests::default()).await;
        clause(World {
            metadata: metadata.clone(),
            clock,
        })
        .await;
        metadata.close().await;
    })
    .await;
}
