//! Why a job could not be queued or looked up. What a job itself met is told in its view.

use super::payload::PayloadError;

/// A failed call to the jobs room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The work makes no sense; the text is for whoever asked.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The database's trouble.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}
