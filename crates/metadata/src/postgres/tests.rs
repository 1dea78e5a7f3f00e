//! What only this engine promises.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Engine;
use super::pause::Pause;
use crate::clock::tests::{FakeClock, HOUR, NOON};
use crate::contract::engines::on_postgres::{Schema, in_schema};
use crate::error::{Error, Result};
use crate::sqlite::{Access, Connection};
use crate::{Metadata, PostgresSettings};

/// What a test makes different.
#[derive(Clone, Default)]
pub(crate) struct InTests {
    /// Where the transactions of this handle that begin now stop.
    pub(crate) pause: Arc<Mutex<Option<Arc<Pause>>>>,
    /// The statements that were run.
    pub(crate) seen: Arc<Mutex<BTreeSet<&'static str>>>,
    /// Whether writers do without the guarantee.
    pub(crate) unguarded: bool,
}

impl InTests {
    /// Makes the transactions that begin from now on stop there, or nowhere.
    pub(crate) fn pause(&self, pause: Option<Pause>) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause.map(Arc::new);
    }

    /// Notes a statement.
    pub(crate) fn note(&self, sql: &'static str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(sql);
    }

    /// Returns the statements that were run since this was last asked.
    pub(crate) fn take_seen(&self) -> BTreeSet<&'static str> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns where a transaction that begins now stops.
    pub(crate) fn paused(&self) -> Option<Arc<Pause>> {
        self.pause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

const INSERT: &str = "INSERT INTO repositories (name, kind, created_at) VALUES ($1, 1, 0)";
const COUNT: &str = "SELECT count(*) AS count FROM repositories";
const COUNT_UP: &str = "UPDATE jobs SET epoch = epoch + 1";

async fn open(schema: &Schema) -> Metadata {
    schema.open(FakeClock::at(NOON), InTests::default()).await
}

async fn insert(metadata: &Metadata, name: &str) -> Result<u64> {
    let written = metadata.write(name.to_owned(), |tx, name| {
        Box::pin(async move { tx.execute(INSERT, &[name.as_str().into()]).await })
    });
    written.await
}

async fn count(metadata: &Metadata) -> i64 {
    let counted = metadata.read((), |tx, ()| {
        Box::pin(async move { tx.query_one(COUNT, &[]).await?.expect("a count").i64(0) })
    });
    counted.await.expect("reads")
}

/// Runs a body that fails as the server does with that SQLSTATE.
async fn failing_with(metadata: &Metadata, code: &'static str) -> Result<u64> {
    let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END $$");
    let written = metadata.write(&*sql.leak(), |tx, sql| {
        Box::pin(async move {
            tx.execute(INSERT, &["lost".into()]).await?;
            tx.execute(sql, &[]).await
        })
    });
    written.await
}

#[tokio::test]
async fn what_the_server_says_is_told_as_the_caller_acts_on_it() {
    in_schema(|schema| async move {
        let metadata = open(&schema).await;
        let told = failing_with(&metadata, "53100").await;
        assert!(matches!(told, Err(Error::StorageFull)), "{told:?}");
        let told = failing_with(&metadata, "XX001").await;
        assert!(matches!(told, Err(Error::Corrupt { .. })), "{told:?}");
        for code in ["57014", "P0001"] {
            let told = failing_with(&metadata, code).await;
            assert!(
                matches!(told, Err(Error::Unavailable { .. })),
                "{code}: {told:?}"
            );
        }
        let waits = PostgresSettings {
            limit: Duration::from_millis(500),
            ..schema.settings()
        };
        let engine = Engine::open_at(&waits, FakeClock::at(NOON), InTests::default()).await;
        let impatient = Metadata::on_postgres(engine.expect("opens"));
        for code in ["40001", "40P01"] {
            let told = failing_with(&impatient, code).await;
            assert!(
                matches!(told, Err(Error::Unavailable { .. })),
                "{code}: {told:?}"
            );
        }
        insert(&metadata, "there").await.expect("writes");
        let told = insert(&metadata, "there").await;
        assert!(matches!(told, Err(Error::Conflict { .. })), "{told:?}");
        assert_eq!(count(&metadata).await, 1, "a failed write leaves nothing");
    })
    .await;
}

#[tokio::test]
async fn a_failing_write_leaves_nothing_and_its_session_is_of_use() {
    in_schema(|schema| async move {
        let metadata = open(&schema).await;
        for _ in 0..20 {
            let failed: Result<()> = metadata
                .write((), |tx, ()| {
                    Box::pin(async move {
                        tx.execute(INSERT, &["lost".into()]).await?;
                        Err(Error::unavailable("as asked"))
                    })
                })
                .await;
            failed.expect_err("is told");
            let broken: Result<()> = metadata
                .write((), |tx, ()| {
                    Box::pin(async move {
                        tx.execute(INSERT, &["lost".into()]).await?;
                        panic!("as asked")
                    })
                })
                .await;
            broken.expect_err("is told");
        }
        assert_eq!(count(&metadata).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_swallows_an_error_is_not_committed_as_if_all_were_well() {
    in_schema(|schema| async move {
        let metadata = open(&schema).await;
        let written = metadata.write((), |tx, ()| {
            Box::pin(async move {
                tx.execute(INSERT, &["lost".into()]).await?;
                drop(tx.execute("SELECT nonsense", &[]).await);
                Ok(())
            })
        });
        written.await.expect_err("the first statement is lost too");
        assert_eq!(count(&metadata).await, 0);
    })
    .await;
}

#[tokio::test]
async fn writers_of_the_same_row_all_succeed_each_once() {
    in_schema(|schema| async move {
        let nodes = [open(&schema).await, open(&schema).await];
        let job = crate::NewJob {
            kind: "k".into(),
            unique_key: "u".into(),
            payload: "{}".into(),
        };
        nodes[0].queue_job(job).await.expect("queues");
        let writes = (0..40).map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let up = node.write((), |tx, ()| {
                    Box::pin(async move {
                        // Read first, so that a lost update would show.
                        let row = tx.query_one("SELECT epoch FROM jobs", &[]).await?;
                        let before = row.expect("there is one").i64(0)?;
                        tx.execute(COUNT_UP, &[]).await?;
                        Ok(before)
                    })
                });
                up.await
            })
        });
        let mut seen = BTreeSet::new();
        for write in writes.collect::<Vec<_>>() {
            seen.insert(write.await.expect("ends").expect("writes"));
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            (0..40).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test]
async fn a_write_whose_caller_left_is_committed() {
    in_schema(|schema| async move {
        let in_tests = InTests::default();
        let metadata = schema.open(FakeClock::at(NOON), in_tests.clone()).await;
        let (pause, paused) = Pause::before(1);
        in_tests.pause(Some(pause));
        let left = tokio::spawn({
            let metadata = metadata.clone();
            async move { insert(&metadata, "orphan").await }
        });
        paused.reached.await.expect("it is about to commit");
        in_tests.pause(None);
        left.abort();
        assert!(left.await.expect_err("was aborted").is_cancelled());
        paused.go.send(()).expect("the write goes on");
        // Closing waits for what is under way.
        metadata.close().await;
        let refused = insert(&metadata, "late").await;
        assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
        assert_eq!(count(&open(&schema).await).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_session_that_the_server_ended_is_replaced() {
    in_schema(|schema| async move {
        let clock = FakeClock::at(NOON);
        let metadata = schema.open_as("mine", clock, InTests::default()).await;
        insert(&metadata, "before").await.expect("writes");
        let end = format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = '{}'",
            schema.application("mine")
        );
        let ended = schema.client().await.query(&end, &[]).await.expect("ends");
        assert!(!ended.is_empty());
        insert(&metadata, "after").await.expect("writes");
        assert_eq!(count(&metadata).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_given_up_and_leaves_nothing() {
    in_schema(|schema| async move {
        let in_tests = InTests::default();
        let settings = PostgresSettings {
            limit: Duration::from_millis(300),
            ..schema.settings()
        };
        let engine = Engine::open_at(&settings, FakeClock::at(NOON), in_tests.clone()).await;
        let metadata = Metadata::on_postgres(engine.expect("opens"));
        let (pause, paused) = Pause::before(1);
        in_tests.pause(Some(pause));
        let told = insert(&metadata, "slow").await;
        assert!(matches!(told, Err(Error::Unavailable { .. })), "{told:?}");
        in_tests.pause(None);
        drop(paused);
        assert_eq!(count(&open(&schema).await).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_read_sees_one_state_and_cannot_write() {
    in_schema(|schema| async move {
        let in_tests = InTests::default();
        let reader = schema.open(FakeClock::at(NOON), in_tests.clone()).await;
        let writer = open(&schema).await;
        let (pause, paused) = Pause::before(1);
        in_tests.pause(Some(pause));
        let twice = tokio::spawn(async move {
            let twice = reader.read((), |tx, ()| {
                Box::pin(async move {
                    let before = tx.query_one(COUNT, &[]).await?.expect("a count").i64(0)?;
                    let after = tx.query_one(COUNT, &[]).await?.expect("a count").i64(0)?;
                    Ok((before, after))
                })
            });
            let twice = twice.await;
            let wrote = reader.read((), |tx, ()| {
                Box::pin(async move { tx.execute(INSERT, &["sly".into()]).await })
            });
            (twice, wrote.await)
        });
        paused.reached.await.expect("it has counted once");
        insert(&writer, "meanwhile")
            .await
            .expect("a read stops no write");
        paused.go.send(()).expect("it waits");
        let (twice, wrote) = twice.await.expect("ends");
        assert_eq!(twice.expect("reads"), (0, 0));
        wrote.expect_err("a read cannot write");
        assert_eq!(count(&writer).await, 1);
    })
    .await;
}

#[tokio::test]
async fn nodes_have_the_databases_time_and_go_not_behind_what_was_noted() {
    in_schema(|schema| async move {
        // The process's own clock is far behind, and is not asked.
        let node = Metadata::connect(&schema.settings(), FakeClock::at(0)).await;
        let node = node.expect("connects");
        let now = |node: &Metadata| {
            let node = node.clone();
            async move {
                let told = node.write((), |tx, ()| Box::pin(async move { Ok(tx.now()) }));
                told.await.expect("writes")
            }
        };
        let client = schema.client().await;
        let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT micros FROM clock)";
        let (first, row) = (now(&node).await, client.query_one(clock, &[]).await.expect("tells"));
        let (server, noted): (i64, i64) = (row.get(0), row.get(1));
        assert!((server - first).abs() < HOUR, "{first} is not {server}");
        assert_eq!(noted, first, "the first write notes it");
        assert!(now(&node).await >= first && node.now() >= first);
        let ahead = server + HOUR;
        client.execute("UPDATE clock SET micros = $1", &[&ahead]).await.expect("another node noted it");
        assert_eq!(now(&node).await, ahead);
        let other = Metadata::connect(&schema.settings(), FakeClock::at(0)).await;
        assert!(other.expect("connects").now() >= ahead);
    })
    .await;
}

#[tokio::test]
async fn both_engines_have_the_same_tables_and_columns() {
    in_schema(|schema| async move {
        drop(open(&schema).await);
        let client = schema.client().await;
        let columns = "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text, \
            coalesce(collation_name::text, '') FROM information_schema.columns \
            WHERE table_schema = current_schema()";
        let mut on_postgres = BTreeSet::new();
        for row in client.query(columns, &[]).await.expect("lists") {
            let [table, column, kind, nullable, collation] = [0, 1, 2, 3, 4].map(|index| row.get::<_, String>(index));
            assert_eq!(collation, if kind == "text" { "C" } else { "" }, "{table}.{column} sorts bytewise");
            on_postgres.insert((table, column, kind, nullable == "NO"));
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join(crate::FILE_NAME);
        let mut connection = Connection::open(&file, Access::Write).expect("a new file opens");
        crate::migrate::migrate(&mut connection).expect("migrates");
        let columns = "SELECT t.name, c.name, c.type, c.\"notnull\" OR c.pk > 0 FROM sqlite_schema t \
            JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
        let kind = |kind: &str| match kind {
            "INTEGER" => "bigint",
            "TEXT" => "text",
            "BLOB" => "bytea",
            other => panic!("no type of both engines: {other}"),
        };
        let on_sqlite = connection.query(columns, &[]).expect("lists").into_iter().map(|row| {
            let text = |index| row.text(index).expect("is text").to_owned();
            (text(0), text(1), kind(row.text(2).expect("is text")).to_owned(), row.bool(3).expect("a truth"))
        });
        assert_eq!(on_postgres, on_sqlite.collect());
    })
    .await;
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    in_schema(|schema| async move {
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let schema = schema.clone();
            starts.spawn(async move { open(&schema).await });
        }
        for node in starts.join_all().await {
            assert_eq!(count(&node).await, 0);
        }
        let client = schema.client().await;
        let newer = "UPDATE schema_version SET schema = 1000, min_compatible = 1000";
        client
            .batch_execute(newer)
            .await
            .expect("a newer program was here");
        let refused = Metadata::connect(&schema.settings(), FakeClock::at(NOON)).await;
        let refused = refused.map(drop).expect_err("refuses");
        assert!(
            matches!(refused, Error::TooNew { needs: 1000, .. }),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_wrong_address_tells_nothing_of_itself() {
    let settings = PostgresSettings {
        url: "postgres://user:secret@[".into(),
        sessions: 1,
        limit: Duration::from_secs(1),
    };
    let refused = Metadata::connect(&settings, FakeClock::at(NOON)).await;
    let refused = refused.map(drop).expect_err("is no address").to_string();
    assert!(!refused.contains("secret"), "{refused}");
}
