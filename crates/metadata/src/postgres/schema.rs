//! Brings a PostgreSQL to the schema of this program, one step after the other and one process at a time.

use super::session::Session;
use crate::error::{Error, Result};
use crate::migrate::Migration;

/// The same steps as on SQLite, with the same numbers.
const MIGRATIONS: &[Migration] = &[
    Migration {
        schema: 1,
        min_compatible: 1,
        sql: include_str!("../../migrations/postgres/0001_registry.sql"),
    },
    Migration {
        schema: 2,
        min_compatible: 1,
        sql: include_str!("../../migrations/postgres/0002_pulls.sql"),
    },
    Migration {
        schema: 3,
        min_compatible: 1,
        sql: include_str!("../../migrations/postgres/0003_jobs.sql"),
    },
    Migration {
        schema: 4,
        min_compatible: 1,
        sql: include_str!("../../migrations/postgres/0004_upkeep.sql"),
    },
];

/// The number is nobody else's; processes that migrate at the same time wait for each other.
const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock(7311442); \
    CREATE TABLE IF NOT EXISTS schema_version (schema BIGINT NOT NULL, min_compatible BIGINT NOT NULL)";

/// Applies every migration the database does not have yet.
///
/// # Errors
/// [`Error::TooNew`] when the database refuses programs of this schema.
pub(super) async fn migrate(session: &mut Session) -> Result<()> {
    apply(session, MIGRATIONS).await
}

async fn apply(session: &mut Session, migrations: &[Migration]) -> Result<()> {
    let have = migrations.last().map_or(0, |newest| newest.schema);
    for migration in migrations {
        let step = apply_one(session, migration, have).await;
        if step.is_err() {
            session.roll_back().await?;
        }
        step?;
    }
    Ok(())
}

/// Applies one step and commits, or finds that it was applied before.
async fn apply_one(session: &mut Session, migration: &Migration, have: i64) -> Result<()> {
    session.batch(BEGIN).await?;
    let stored = session
        .query("SELECT schema, min_compatible FROM schema_version", &[])
        .await?;
    let schema = match stored.first() {
        Some(row) if row.i64(1)? > have => {
            return Err(Error::TooNew {
                needs: row.i64(1)?,
                have,
            });
        }
        Some(row) => row.i64(0)?,
        None => 0,
    };
    if schema < migration.schema {
        session.batch(migration.sql).await?;
        session.execute("DELETE FROM schema_version", &[]).await?;
        let version = [migration.schema.into(), migration.min_compatible.into()];
        session
            .execute(
                "INSERT INTO schema_version (schema, min_compatible) VALUES ($1, $2)",
                &version,
            )
            .await?;
    }
    session.batch("COMMIT").await
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;

    #[test]
    fn both_engines_take_the_same_steps() {
        let numbers = |migrations: &[crate::migrate::Migration]| {
            let number = |step: &crate::migrate::Migration| (step.schema, step.min_compatible);
            migrations.iter().map(number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(MIGRATIONS), numbers(crate::migrate::MIGRATIONS));
    }
}
