//! One SQLite connection: its settings, its statements and what its errors mean.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ErrorCode, InterruptHandle, OpenFlags};

use crate::error::{Error, Result};
use crate::value::{Row, Value};

/// What a connection may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Reading a file as it is, and changing it where nobody else uses it: nothing of it is set or created.
    Copy,
}

/// An open connection.
pub(crate) struct Connection {
    inner: rusqlite::Connection,
}

/// Long enough for another process (an offline command) to finish a transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than the statements of all operations, so that none is ever prepared twice.
const CACHED_STATEMENTS: usize = 160;

impl Connection {
    /// Opens the database file; a writer creates it when it is absent.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if access == Access::Write {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let inner = rusqlite::Connection::open_with_flags(path, flags).map_err(translate)?;
        inner.busy_timeout(BUSY_TIMEOUT).map_err(translate)?;
        inner.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        // Without it SQLite plans a statement with a partial index again whenever a parameter is bound.
        inner
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(translate)?;
        let settings = match access {
            // The WAL file is cut back after a burst, else it keeps its largest size for ever.
            Access::Write => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; \
                 PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384;"
            }
            Access::Read => "PRAGMA query_only = ON; PRAGMA cache_size = -8192;",
            Access::Copy => {
                "PRAGMA trusted_schema = OFF; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;"
            }
        };
        inner.execute_batch(settings).map_err(translate)?;
        let mut connection = Self { inner };
        if access == Access::Write {
            connection.require_wal()?;
        }
        Ok(connection)
    }

    /// Refuses a file on which SQLite kept another journal: there, readers and the writer would stop each other.
    fn require_wal(&mut self) -> Result<()> {
        let rows = self.query("PRAGMA journal_mode", &[])?;
        match rows.first() {
            Some(row) if row.text(0)? == "wal" => Ok(()),
            _ => Err(Error::unavailable(
                "its filesystem does not support a write-ahead log",
            )),
        }
    }

    /// Returns what breaks off the statement that runs on another thread.
    pub(crate) fn interrupt_handle(&self) -> InterruptHandle {
        self.inner.get_interrupt_handle()
    }

    /// Runs statements without parameters or results, such as a migration.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<()> {
        self.inner.execute_batch(sql).map_err(translate)
    }

    /// Returns whether no transaction is open, for instance because SQLite ended it after an I/O error.
    pub(crate) fn is_outside_transaction(&self) -> bool {
        self.inner.is_autocommit()
    }

    /// Ends the open transaction without keeping anything; harmless when there is none.
    pub(crate) fn roll_back(&mut self) -> Result<()> {
        if self.is_outside_transaction() {
            Ok(())
        } else {
            self.execute("ROLLBACK", &[]).map(drop)
        }
    }

    /// Returns every row of a statement.
    pub(crate) fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>> {
        let mut statement = self.inner.prepare_cached(sql).map_err(translate)?;
        bind(&mut statement, params)?;
        let columns: Arc<str> = Arc::from(column_names(&statement));
        let count = statement.column_count();
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(translate)? {
            let values =
                (0..count).map(|index| owned(row.get_ref(index).map_err(translate)?, &columns));
            found.push(Row::new(
                values.collect::<Result<Vec<Value>>>()?,
                columns.clone(),
            ));
        }
        Ok(found)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64> {
        let mut statement = self.inner.prepare_cached(sql).map_err(translate)?;
        bind(&mut statement, params)?;
        let changed = statement.raw_execute().map_err(translate)?;
        Ok(changed as u64)
    }
}

/// Binds `$k` to the k-th parameter. SQLite takes `$k` for a name and numbers parameters by first appearance.
fn bind(statement: &mut CachedStatement<'_>, params: &[Value]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let number = statement
            .parameter_name(index)
            .and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let value = number.and_then(|number| params.get(number.checked_sub(1)?));
        let value = value
            .ok_or_else(|| Error::unavailable(format!("SQL parameter {index} has no value")))?;
        statement
            .raw_bind_parameter(index, borrowed(value))
            .map_err(translate)?;
    }
    Ok(())
}

fn borrowed(value: &Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Int(value) => ValueRef::Integer(*value),
        Value::Text(value) => ValueRef::Text(value.as_bytes()),
        Value::Blob(value) => ValueRef::Blob(value),
    })
}

fn owned(value: ValueRef<'_>, columns: &str) -> Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Blob(value) => Value::Blob(value.to_vec()),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => {
                return Err(Error::corrupt(format!(
                    "a text among {columns} is not UTF-8"
                )));
            }
        },
        ValueRef::Real(_) => {
            return Err(Error::corrupt(format!(
                "a value among {columns} is a fraction"
            )));
        }
    })
}

fn column_names(statement: &CachedStatement<'_>) -> String {
    let mut names = String::with_capacity(128);
    for name in statement.column_names() {
        if !names.is_empty() {
            names.push(',');
        }
        names.push_str(name);
    }
    names
}

/// Says what an engine error means to a caller.
fn translate(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::StorageFull,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::corrupt(error.to_string())
        }
        Some(_) | None => Error::Unavailable {
            source: Arc::new(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::{Access, Connection};
    use crate::value::Value;

    #[test]
    fn a_statement_is_planned_once_however_often_its_parameters_change() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("test.db");
        let mut connection = Connection::open(&file, Access::Write).expect("a new file opens");
        crate::migrate::migrate(&mut connection).expect("migrates");
        let sql = crate::blobs::BLOB;
        for name in ["a", "b", "c"] {
            let params = [name.into(), Value::Blob(name.as_bytes().to_vec())];
            connection.query(sql, &params).expect("reads");
        }
        let statement = connection.inner.prepare_cached(sql).expect("is cached");
        assert_eq!(
            statement.get_status(StatementStatus::Run),
            3,
            "it is the same statement"
        );
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
