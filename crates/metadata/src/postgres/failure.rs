//! What an error of PostgreSQL means: to the caller, and to the engine, which tries some transactions again.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::error::Error;

/// A transaction that cannot be committed any more.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What the caller is told.
    pub(crate) error: Error,
    /// Whether the same transaction may succeed when it is run again from its beginning: nothing of it is left.
    pub(crate) again: bool,
}

/// Another transaction came in between. A key that is there already is among it: the database tells so instead when
/// it compares keys before it compares transactions, and who runs again reads the row.
const AGAIN: [SqlState; 3] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::UNIQUE_VIOLATION,
];

impl Failure {
    /// Returns a failure that is told to the caller as it is.
    pub(crate) fn last(error: Error) -> Self {
        Self {
            error,
            again: false,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().cloned();
        let again = code.as_ref().is_some_and(|code| AGAIN.contains(code));
        Self {
            error: translate(error, code.as_ref()),
            again,
        }
    }
}

/// Says what an engine error means to a caller.
fn translate(error: tokio_postgres::Error, code: Option<&SqlState>) -> Error {
    match code {
        Some(code) if *code == SqlState::DISK_FULL => Error::StorageFull,
        Some(code) if *code == SqlState::UNIQUE_VIOLATION => Error::Conflict {
            what: error
                .as_db_error()
                .and_then(|told| told.constraint())
                .map_or_else(
                    || "a row of that key".to_owned(),
                    |constraint| format!("a row of {constraint}"),
                ),
        },
        Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            Error::corrupt(error.to_string())
        }
        Some(_) | None => Error::Unavailable {
            source: Arc::new(error),
        },
    }
}
