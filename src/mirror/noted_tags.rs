//! Tags that an upstream's HEAD told while their manifest was not stored. Clients resolve a tag with HEAD
//! and then fetch by digest; the tag is remembered here in between, so that it is known when the upstream
//! is gone. Losing an entry costs one more HEAD.

use std::time::Duration;

use oci::{Digest, RepositoryName, Tag};

/// How long a client may take from HEAD to GET; longer, and the tag may have moved.
const KEPT: Duration = Duration::from_secs(60);

/// Entries kept at most.
const MOST: u64 = 10_000;

/// What HEADs told lately.
pub(super) struct NotedTags(moka::sync::Cache<(RepositoryName, Digest), Noted>);

/// A tag as a HEAD told it.
#[derive(Clone)]
pub(super) struct Noted {
    /// The tag.
    pub tag: Tag,
    /// When, in microseconds since 1970.
    pub at: i64,
}

impl Default for NotedTags {
    fn default() -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(MOST)
            .time_to_live(KEPT)
            .build();
        Self(cache)
    }
}

impl NotedTags {
    /// Remembers that `noted` is `digest` upstream.
    pub(super) fn note(&self, repository: &RepositoryName, digest: Digest, noted: Noted) {
        self.0.insert((repository.clone(), digest), noted);
    }

    /// Returns the tag that was noted for `digest`, once.
    pub(super) fn take(&self, repository: &RepositoryName, digest: Digest) -> Option<Noted> {
        self.0.remove(&(repository.clone(), digest))
    }
}
