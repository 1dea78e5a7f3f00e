//! Why a mirrored pull cannot be answered. The upstream's own answer is kept, so that the client is
//! told the truth; only the upstream's configured name is ever shown.

use std::time::Duration;

use oci::{Digest, RepositoryName};

use super::remotes::Target;
use crate::policy::repositories::Refusal;
use crate::{content, upstream};

/// A failed pull through a mirror.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream's refusal or trouble.
    #[error(transparent)]
    Upstream(#[from] Trouble),
    /// The mirror's `allow` and `deny` lists refuse the repository; the upstream is not asked.
    #[error("{repository} may not be pulled from {upstream}: {why}")]
    Refused {
        /// The configured name of the upstream.
        upstream: String,
        /// The repository's name there.
        repository: RepositoryName,
        /// Which list, which pattern.
        why: Refusal,
    },
    /// The upstream said a moment ago that it has no such thing, and is not asked again.
    #[error("{upstream} said {} s ago that it has no such thing", told.as_secs())]
    Missing {
        /// The configured name of the upstream.
        upstream: String,
        /// How long ago.
        told: Duration,
    },
    /// Storing or reading here failed.
    #[error(transparent)]
    Content(#[from] content::Error),
}

impl Error {
    /// Returns a follower's own copy of what its leader met.
    pub fn for_follower(&self) -> Self {
        match self {
            Self::Upstream(trouble) => Self::Upstream(trouble.clone()),
            Self::Refused {
                upstream,
                repository,
                why,
            } => Self::Refused {
                upstream: upstream.clone(),
                repository: repository.clone(),
                why: why.clone(),
            },
            Self::Missing { upstream, told } => Self::Missing {
                upstream: upstream.clone(),
                told: *told,
            },
            Self::Content(content::Error::StorageFull) => {
                Self::Content(content::Error::StorageFull)
            }
            Self::Content(content::Error::Damaged { digest }) => {
                Self::Content(content::Error::Damaged { digest: *digest })
            }
            Self::Content(other) => Self::Content(content::Error::Unavailable {
                reason: other.to_string(),
            }),
        }
    }

    /// Returns the failure of those who waited for a task that is gone.
    pub(super) fn given_up() -> Self {
        Self::Content(content::Error::Unavailable {
            reason: "the question was given up".to_owned(),
        })
    }

    /// Tells whether the upstream says, or said lately, that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Upstream(trouble) => matches!(trouble.error, upstream::Error::NotFound),
            Self::Missing { .. } => true,
            Self::Refused { .. } | Self::Content(_) => false,
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

/// Returns that the upstream of `target` sent other content than `stated`, and says so in the log: a digest that does not
/// agree is never an accident to be passed over.
pub(super) fn mismatch(target: &Target, stated: &Digest, actual: &Digest) -> Error {
    let upstream = &*target.remote.label;
    tracing::error!(upstream, repository = %target.repository, %stated, %actual, "upstream sent other content than asked for");
    protocol(
        target,
        format!("sent content with digest {actual} for {stated}"),
    )
}
