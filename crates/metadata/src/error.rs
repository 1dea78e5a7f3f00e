//! What can go wrong in the metadata database. One variant per thing a caller acts on differently; the results
//! of an operation ("not found", "kind conflict") are its return value and never an error.

use std::sync::Arc;

/// The result of everything that touches the database.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the database did not do what it was asked. Cheap to clone: one failed commit answers many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The row would replace one that exists, such as a second upload with the same id.
    #[error("{what} exists already")]
    Conflict {
        /// The thing that exists.
        what: String,
    },
    /// The disk or the quota below the database is full; nothing was written.
    #[error("the metadata database has no space left")]
    StorageFull,
    /// The database did not answer, or a transaction broke off; trying again may help. Nothing was written, unless the
    /// connection to a PostgreSQL broke in the middle of the commit: then nobody knows.
    #[error("the metadata database is unavailable: {source}")]
    Unavailable {
        /// What the engine said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Stored data is not what this program writes; trying again does not help.
    #[error("the metadata database is corrupt: {what}")]
    Corrupt {
        /// The column or row, and what is wrong with it.
        what: String,
    },
    /// A newer program wrote this database in a way this one would misread.
    #[error("the database needs seawall schema {needs} or newer, this binary has {have}")]
    TooNew {
        /// The oldest schema that may open the database.
        needs: i64,
        /// The schema of this program.
        have: i64,
    },
    /// The database was closed.
    #[error("the metadata database is closed")]
    Closed,
}

impl Error {
    /// Returns [`Error::Unavailable`] with `reason` as its source.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        let source: Box<dyn std::error::Error + Send + Sync> = reason.into().into();
        Self::Unavailable {
            source: Arc::from(source),
        }
    }

    /// Returns [`Error::Corrupt`] about `what`.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}
