//! Tags that are served at once and checked afterwards: why the last check of one failed, so that the next answer says that
//! it is stale, or what the upstream refused. Losing an entry costs one answer without that warning.

use oci::{RepositoryName, Tag};

use super::error::Trouble;
use super::remotes::Target;

/// Entries kept at most.
const MOST: u64 = 10_000;

/// Why tags could not be confirmed.
pub(super) struct Unconfirmed(moka::sync::Cache<(RepositoryName, Tag), Trouble>);

impl Default for Unconfirmed {
    fn default() -> Self {
        Self(moka::sync::Cache::new(MOST))
    }
}

impl Unconfirmed {
    /// Returns why the last check of a tag failed, if it did.
    pub(super) fn why(&self, target: &Target, tag: &Tag) -> Option<Trouble> {
        self.0.get(&key(target, tag))
    }

    /// Remembers why a check failed.
    pub(super) fn note(&self, target: &Target, tag: &Tag, failed: &Trouble) {
        if target.remote.settings.freshness.background {
            self.0.insert(key(target, tag), failed.clone());
        }
    }

    /// Remembers that a check succeeded.
    pub(super) fn forget(&self, target: &Target, tag: &Tag) {
        if target.remote.settings.freshness.background {
            self.0.invalidate(&key(target, tag));
        }
    }
}

fn key(target: &Target, tag: &Tag) -> (RepositoryName, Tag) {
    (target.repository.clone(), tag.clone())
}
