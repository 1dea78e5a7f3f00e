//! Why a job could not be queued or looked up. What a job itself met is told in its view.

use super::payload::PayloadError;
use crate::content;

/// A failed call to the jobs room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The work makes no sense; the text is for whoever asked.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The queue is as long as it may be.
    #[error("{most} jobs are queued already; wait until some are done")]
    TooMany {
        /// How many may be queued.
        most: u64,
    },
    /// The disk or the quota under the database is used up.
    #[error("storage is full")]
    StorageFull,
    /// The database's other trouble.
    #[error(transparent)]
    Storage(content::Error),
}

impl From<content::Error> for Error {
    fn from(error: content::Error) -> Self {
        match error {
            content::Error::StorageFull => Self::StorageFull,
            error => Self::Storage(error),
        }
    }
}

impl From<metadata::Error> for Error {
    fn from(error: metadata::Error) -> Self {
        content::Error::from(error).into()
    }
}
