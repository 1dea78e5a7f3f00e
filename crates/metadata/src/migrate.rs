//! Brings a database to the schema of this program. Migrations only add; removal comes a release later, so that an
//! older program may go on with a newer database unless that says otherwise.

use crate::error::{Error, Result};
use crate::sqlite::Connection;

/// One numbered step, applied in one transaction.
pub(crate) struct Migration {
    pub(crate) schema: i64,
    /// The oldest program schema that reads and writes the result correctly.
    pub(crate) min_compatible: i64,
    pub(crate) sql: &'static str,
}

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        schema: 1,
        min_compatible: 1,
        sql: include_str!("../migrations/sqlite/0001_registry.sql"),
    },
    Migration {
        schema: 2,
        min_compatible: 1,
        sql: include_str!("../migrations/sqlite/0002_pulls.sql"),
    },
    Migration {
        schema: 3,
        min_compatible: 1,
        sql: include_str!("../migrations/sqlite/0003_jobs.sql"),
    },
    Migration {
        schema: 4,
        min_compatible: 1,
        sql: include_str!("../migrations/sqlite/0004_upkeep.sql"),
    },
];

/// Returns the schema of this program.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |newest| newest.schema)
}

/// Applies every migration the database does not have yet.
///
/// # Errors
/// [`Error::TooNew`] when the database refuses programs of this schema.
pub(crate) fn migrate(connection: &mut Connection) -> Result<()> {
    apply(connection, MIGRATIONS)
}

fn apply(connection: &mut Connection, migrations: &[Migration]) -> Result<()> {
    let have = migrations.last().map_or(0, |newest| newest.schema);
    for migration in migrations {
        connection.execute("BEGIN IMMEDIATE", &[])?;
        let step = apply_one(connection, migration, have);
        if step.is_err() {
            connection.roll_back()?;
        }
        step?;
    }
    Ok(())
}

/// Applies one step and commits, or finds that it was applied before.
fn apply_one(connection: &mut Connection, migration: &Migration, have: i64) -> Result<()> {
    connection.batch("CREATE TABLE IF NOT EXISTS schema_version (schema INTEGER NOT NULL, min_compatible INTEGER NOT NULL) STRICT")?;
    let stored = connection.query("SELECT schema, min_compatible FROM schema_version", &[])?;
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
        connection.batch(migration.sql)?;
        connection.execute("DELETE FROM schema_version", &[])?;
        let version = [migration.schema.into(), migration.min_compatible.into()];
        connection.execute(
            "INSERT INTO schema_version (schema, min_compatible) VALUES ($1, $2)",
            &version,
        )?;
    }
    connection.execute("COMMIT", &[]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Migration, apply, migrate};
    use crate::error::Error;
    use crate::sqlite::{Access, Connection};

    const FIRST: Migration = Migration {
        schema: 1,
        min_compatible: 1,
        sql: "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1)",
    };
    const ADDS: Migration = Migration {
        schema: 2,
        min_compatible: 1,
        sql: "CREATE TABLE b (x INTEGER)",
    };
    const BREAKS: Migration = Migration {
        schema: 3,
        min_compatible: 3,
        sql: "DROP TABLE a",
    };

    fn connection(directory: &tempfile::TempDir) -> Connection {
        Connection::open(&directory.path().join("test.db"), Access::Write)
            .expect("a new file opens")
    }

    fn version(connection: &mut Connection) -> i64 {
        let rows = connection
            .query("SELECT schema FROM schema_version", &[])
            .expect("the table exists");
        rows[0].i64(0).expect("an integer")
    }

    #[test]
    fn every_migration_is_applied_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut connection = connection(&directory);
        apply(&mut connection, &[FIRST]).expect("applies");
        apply(&mut connection, &[FIRST]).expect("is not applied again");
        apply(&mut connection, &[FIRST, ADDS]).expect("adds");
        assert_eq!(version(&mut connection), 2);
        assert_eq!(
            connection
                .query("SELECT x FROM a", &[])
                .expect("reads")
                .len(),
            1
        );
    }

    #[test]
    fn a_newer_but_compatible_database_is_accepted_as_it_is() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut connection = connection(&directory);
        apply(&mut connection, &[FIRST, ADDS]).expect("applies");
        apply(&mut connection, &[FIRST]).expect("an older program goes on");
        assert_eq!(version(&mut connection), 2);
    }

    #[test]
    fn an_incompatible_database_is_refused_with_both_numbers() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut connection = connection(&directory);
        apply(&mut connection, &[FIRST, ADDS, BREAKS]).expect("applies");
        let refused =
            apply(&mut connection, &[FIRST, ADDS]).expect_err("a program without schema 3");
        assert!(matches!(refused, Error::TooNew { needs: 3, have: 2 }));
        assert_eq!(
            refused.to_string(),
            "the database needs seawall schema 3 or newer, this binary has 2"
        );
        assert!(connection.is_outside_transaction());
    }

    #[test]
    fn a_failing_migration_leaves_nothing() {
        const BROKEN: Migration = Migration {
            schema: 2,
            min_compatible: 1,
            sql: "CREATE TABLE c (x INTEGER); NONSENSE",
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut connection = connection(&directory);
        apply(&mut connection, &[FIRST, BROKEN]).expect_err("nonsense is refused");
        assert_eq!(version(&mut connection), 1);
        connection
            .query("SELECT x FROM c", &[])
            .expect_err("the table was rolled back");
        apply(&mut connection, &[FIRST, ADDS]).expect("a corrected program goes on");
    }

    #[test]
    fn the_shipped_migrations_apply() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut connection = connection(&directory);
        migrate(&mut connection).expect("applies");
        migrate(&mut connection).expect("is idempotent");
    }
}
