//! Kills while a start brings a database of an older version to this one's schema: afterwards it has the old schema or a
//! newer one, nothing between, and everything in it is still there.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::timeout;

use super::{Cycles, moment};
use crate::client::Trouble;
use crate::disk::{Depth, inspect};
use crate::random::Random;
use crate::run::Run;
use crate::server::Setup;
use crate::verify::verify;
use crate::work::Worker;

/// The schemas that were shipped before the present one, as they were.
const SHIPPED: [&str; 3] = [
    include_str!("../../../../crates/metadata/migrations/sqlite/0001_registry.sql"),
    include_str!("../../../../crates/metadata/migrations/sqlite/0002_pulls.sql"),
    include_str!("../../../../crates/metadata/migrations/sqlite/0003_jobs.sql"),
];
const IMAGES: usize = 12;
/// Rows that make migrating last long enough to be hit.
const ROWS: i64 = 20_000;

/// After every so many kills a start without a migration is timed.
const TIMED: usize = 4;

/// Runs the part.
pub(super) async fn run(run: &Run, random: &Random, cycles: usize) -> Result<Cycles, String> {
    let mut random = random.part("migration");
    let setup = run.setup("migration");
    let mut worker = Worker::new("client", &random);
    let server = setup.start().await?;
    let told = |trouble: Trouble| trouble.to_string();
    let client = server.client().map_err(told)?;
    let repository = worker.repository();
    for _ in 0..IMAGES {
        worker
            .push_image(&client, &repository)
            .await
            .map_err(told)?;
        worker.move_tag(&client, &repository).await.map_err(told)?;
    }
    server.stop().await?;
    let newest = setup.home.join("newest.db");
    fs::rename(setup.database(), &newest).map_err(|error| error.to_string())?;

    let mut result = Cycles::default();
    let mut met = [0_usize; 2];
    for schema in 1..=SHIPPED.len() {
        let old = setup.home.join(format!("schema{schema}.db"));
        older(&newest, &old, schema)
            .map_err(|error| format!("schema {schema} cannot be made: {error}"))?;
        lay(&setup, &old)?;
        let whole = setup.start().await?;
        let takes = whole.ready_after;
        whole.kill().await;
        for _ in 0..cycles / SHIPPED.len() {
            lay(&setup, &old)?;
            kill_at(
                &setup,
                moment(&mut random, (Duration::ZERO, takes + takes / 10)),
            )
            .await?;
            result.count += 1;
            let found = stored_schema(&setup).map_err(|error| error.to_string())?;
            met[usize::from(found > i64::try_from(schema).unwrap_or_default())] += 1;
            // The second start goes on with what the first one left; the third has nothing to migrate and is timed.
            let mut server = setup.start().await?;
            if result.count % TIMED == 0 {
                server.kill().await;
                server = setup.start().await?;
                result.restarts.push(server.ready_after);
            }
            let client = server.client().map_err(told)?;
            let mut ledger = worker.ledger().clone();
            let problems = verify(&client, &mut ledger).await;
            result.add(problems);
            let found = inspect(&setup, &client, Depth::Database).await;
            result.add(found.problems);
            server.kill().await;
        }
    }
    if met.contains(&0) {
        let (old, new) = (met[0], met[1]);
        result.add(vec![format!("the kills found {old} times the old schema and {new} times a newer one: they missed the migration")]);
    }
    Ok(result)
}

/// Starts the server and kills it `after` some time, wherever it is then.
async fn kill_at(setup: &Setup, after: Duration) -> Result<(), String> {
    let mut command = setup.command(None).map_err(|error| error.to_string())?;
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    drop(timeout(after, child.wait()).await);
    drop(child.start_kill());
    child
        .wait()
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Puts a copy of the old database in the place of the server's.
fn lay(setup: &Setup, old: &std::path::Path) -> Result<(), String> {
    for end in ["-wal", "-shm"] {
        let file = setup.state.join(format!("seawall.db{end}"));
        // What was closed in order has none.
        drop(fs::remove_file(file));
    }
    fs::copy(old, setup.database())
        .map(drop)
        .map_err(|error| error.to_string())
}

fn stored_schema(setup: &Setup) -> rusqlite::Result<i64> {
    let connection = Connection::open(setup.database())?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(sound, "ok", "after a kill in a migration");
    connection.query_row("SELECT schema FROM schema_version", [], |row| row.get(0))
}

/// Makes a database of `schema` with the rows of `newest`, as far as it has their columns, and many more.
fn older(newest: &std::path::Path, old: &std::path::Path, schema: usize) -> rusqlite::Result<()> {
    // What is left of an earlier run is no part of this one.
    drop(fs::remove_file(old));
    let connection = Connection::open(old)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")?;
    connection.execute_batch("CREATE TABLE schema_version (schema INTEGER NOT NULL, min_compatible INTEGER NOT NULL) STRICT")?;
    connection.execute(
        "INSERT INTO schema_version VALUES (?1, 1)",
        [i64::try_from(schema).unwrap_or_default()],
    )?;
    for sql in &SHIPPED[..schema] {
        connection.execute_batch(sql)?;
    }
    connection.execute("ATTACH ?1 AS newest", [newest.to_string_lossy()])?;
    let names = |sql: &str| -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    };
    for table in names(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )? {
        if table == "schema_version" {
            continue;
        }
        let columns = names(&format!(
            "SELECT '\"' || name || '\"' FROM pragma_table_info('{table}', 'main')"
        ))?
        .join(", ");
        connection.execute_batch(&format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newest.{table}"
        ))?;
    }
    // Digests of no file: they belong to nobody who asks.
    connection.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO main.repository_blobs (repository_id, digest, added_at, added_by, origin)
         SELECT (SELECT min(id) FROM main.repositories), unhex('01' || printf('%064x', i)), 1, 'anonymous', 1 FROM n;
         INSERT INTO main.blobs (digest, size, state, lease_until, created_at)
         SELECT digest, 1, 1, 0, 1 FROM main.repository_blobs WHERE added_at = 1;
         DETACH newest; PRAGMA wal_checkpoint(TRUNCATE)"
    ))
}
