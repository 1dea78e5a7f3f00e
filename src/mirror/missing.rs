//! What an upstream said lately that it does not have, so that it is not asked for the same again and again. Believed for
//! the mirror's `freshness.negative`, for the same thing of the same repository only, and forgotten as soon as it is found.

use std::time::Duration;

use oci::{Digest, Reference, RepositoryName};

use super::error::{Error, trouble};
use super::remotes::{Mirror, Target};
use crate::policy::freshness::{Freshness, age, freshness};
use crate::upstream;

/// Entries kept at most; losing one costs a request.
const MOST: u64 = 10_000;

/// What may be missing in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    /// A manifest, by tag or digest.
    Manifest(Reference),
    /// A blob.
    Blob(Digest),
    /// The repository, as its list of tags tells.
    Tags,
    /// The referrers API of a digest.
    Referrers(Digest),
}

/// When what was told to be missing, in microseconds since 1970.
pub(super) struct Missing(moka::sync::Cache<(RepositoryName, Thing), i64>);

impl Default for Missing {
    fn default() -> Self {
        Self(moka::sync::Cache::new(MOST))
    }
}

impl Missing {
    fn told(&self, repository: &RepositoryName, thing: &Thing) -> Option<i64> {
        self.0.get(&(repository.clone(), thing.clone()))
    }
}

impl Mirror {
    /// Refuses what the upstream said it does not have, as long as that is believed.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub(super) fn refuse_missing(&self, target: &Target, thing: &Thing) -> Result<(), Error> {
        let Some(told) = self.missing.told(&target.repository, thing) else {
            return Ok(());
        };
        let now = self.content.now();
        match freshness(now, told, target.remote.settings.freshness.negative) {
            Freshness::Fresh => Err(Error::Missing {
                upstream: target.remote.settings.name.clone(),
                told: age(now, told).unwrap_or(Duration::ZERO),
            }),
            Freshness::Due => Ok(()),
        }
    }

    /// Forgets that `thing` was missing: it came by another way.
    pub(super) fn found_after_all(&self, target: &Target, thing: Thing) {
        self.missing
            .0
            .invalidate(&(target.repository.clone(), thing));
    }

    /// Remembers whether `thing` was found: every answer of the upstream about it passes here.
    pub(super) fn heard_of<T>(
        &self,
        target: &Target,
        thing: Thing,
        answer: Result<T, upstream::Error>,
    ) -> Result<T, Error> {
        match answer {
            Ok(found) => {
                self.found_after_all(target, thing);
                Ok(found)
            }
            Err(error) => {
                let error = trouble(target, error);
                self.note_missing(target, thing, &error);
                Err(error)
            }
        }
    }

    /// Remembers that the upstream says it does not have `thing`, if that is what `error` tells.
    pub(super) fn note_missing(&self, target: &Target, thing: Thing, error: &Error) {
        let believed = target.remote.settings.freshness.negative > Duration::ZERO;
        let Error::Upstream(said) = error else {
            return;
        };
        if believed && matches!(said.error, upstream::Error::NotFound) {
            let key = (target.repository.clone(), thing);
            self.missing.0.insert(key, self.content.now());
        }
    }
}
