//! Tags that an upstream's HEAD told while their manifest was not stored. Clients resolve a tag with HEAD
//! and then fetch by digest; the tag is remembered here in between, so that it is known when the upstream
//! is gone. Losing an entry costs one more HEAD.

use std::time::Duration;

use oci::{Digest, RepositoryName, Tag};

/// How long a client may take from HEAD to GET; longer, and the tag may have moved.
const KEPT: Duration = Duration::from_secs(60);

/// Entries kept at most.
const MOST: u64 = 10_000;

/// Tags of one digest kept; the oldest goes first.
const TAGS: usize = 16;

/// What HEADs told lately.
pub(super) struct NotedTags(moka::sync::Cache<(RepositoryName, Digest), Vec<Noted>>);

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
        let key = (repository.clone(), digest);
        let mut tags = self.0.get(&key).unwrap_or_default();
        tags.retain(|other| other.tag != noted.tag);
        tags.push(noted);
        if tags.len() > TAGS {
            tags.remove(0);
        }
        self.0.insert(key, tags);
    }

    /// Returns the tags that were noted for `digest`, once.
    pub(super) fn take(&self, repository: &RepositoryName, digest: Digest) -> Vec<Noted> {
        let taken = self.0.remove(&(repository.clone(), digest));
        taken.unwrap_or_default()
    }
}
