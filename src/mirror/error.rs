//! Why a mirrored pull cannot be answered. The upstream's own answer is kept, so that the client is
//! told the truth; only the upstream's configured name is ever shown.

use super::remotes::Target;
use crate::{content, upstream};

/// A failed pull through a mirror.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream's refusal or trouble.
    #[error(transparent)]
    Upstream(#[from] Trouble),
    /// Storing or reading here failed.
    #[error(transparent)]
    Content(#[from] content::Error),
}

impl Error {
    /// Returns a follower's own copy of what its leader met.
    pub fn for_follower(&self) -> Self {
        match self {
            Self::Upstream(trouble) => Self::Upstream(trouble.clone()),
            Self::Content(content::Error::StorageFull) => {
                Self::Content(content::Error::StorageFull)
            }
            Self::Content(other) => Self::Content(content::Error::Unavailable {
                reason: other.to_string(),
            }),
        }
    }
}

/// What an upstream said, and which one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{upstream} {error}")]
pub struct Trouble {
    /// The configured name of the upstream.
    pub upstream: String,
    /// What it said.
    pub error: upstream::Error,
}

/// Returns what the upstream of `target` said.
pub(super) fn trouble(target: &Target, error: upstream::Error) -> Error {
    Error::Upstream(Trouble {
        upstream: target.remote.settings.name.clone(),
        error,
    })
}

/// Returns that the upstream of `target` gave an answer that cannot be used.
pub(super) fn protocol(target: &Target, reason: String) -> Error {
    trouble(target, upstream::Error::Protocol { reason })
}
