//! Why a job did not end well: what its view tells, or what it waits for.

use super::payload::PayloadError;
use crate::mirror::UpstreamError;
use crate::{content, mirror};

/// What stopped a job.
#[derive(Debug)]
pub(super) enum Failure {
    /// An upstream has nothing to spare for background work now; later it goes on.
    Scarce(String),
    /// It cannot be done.
    Final(String),
}

impl From<mirror::Error> for Failure {
    fn from(error: mirror::Error) -> Self {
        match error {
            mirror::Error::Upstream(failed) => match failed.error {
                UpstreamError::NoSpare
                | UpstreamError::Busy { .. }
                | UpstreamError::RateLimited { .. } => Self::Scarce(failed.to_string()),
                UpstreamError::NotFound
                | UpstreamError::Denied { .. }
                | UpstreamError::Unavailable { .. }
                | UpstreamError::Failing { .. }
                | UpstreamError::TimedOut { .. }
                | UpstreamError::Loop
                | UpstreamError::Protocol { .. } => Self::Final(failed.to_string()),
            },
            error @ (mirror::Error::Refused { .. }
            | mirror::Error::Missing { .. }
            | mirror::Error::Content(_)) => Self::Final(error.to_string()),
        }
    }
}

impl From<content::Error> for Failure {
    fn from(error: content::Error) -> Self {
        Self::Final(error.to_string())
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        Self::Final(error.to_string())
    }
}
