//! What an error of PostgreSQL means: to the caller, and to the engine, which tries some transactions again.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::error::Error;

/// A transaction that cannot be committed any more.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What the caller is told.
    pub(crate) error: Error,
    /// How many runs from the beginning are worth it before the caller is told, this one included. Nothing of it is left.
    pub(crate) runs: u32,
}

/// Another transaction came in between. Beside one that takes long, the server refuses more than it would have to, so
/// that patience helps; the time a transaction may take is the other bound.
const MET: u32 = 100;

/// A key is there already: the server tells so instead of the above when it compares keys first, and who runs again
/// reads the row.
const THERE: u32 = 4;

impl Failure {
    /// Returns a failure that is told to the caller as it is.
    pub(crate) fn last(error: Error) -> Self {
        Self { error, runs: 1 }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else {
            return Self::last(Error::Unavailable {
                source: Arc::new(error),
            });
        };
        let code = told.code();
        // Without its detail, which quotes values.
        let text = format!("{} ({})", told.message(), code.code());
        if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED
        {
            let error = Error::unavailable(text);
            return Self { error, runs: MET };
        }
        if *code == SqlState::UNIQUE_VIOLATION {
            let what = format!("a row of {}", told.constraint().unwrap_or("that key"));
            let error = Error::Conflict { what };
            return Self { error, runs: THERE };
        }
        Self::last(if *code == SqlState::DISK_FULL {
            Error::StorageFull
        } else if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED {
            Error::corrupt(text)
        } else {
            Error::unavailable(text)
        })
    }
}
