//! Tags that an upstream's HEAD told while their manifest was not stored. Clients resolve a tag with HEAD
//! and then fetch by digest; the tag is remembered here in between, so that it is known when the upstream
//! is gone, and so that the next HEAD need not ask. Losing an entry costs one more HEAD.

use std::time::Duration;

use oci::{Digest, RepositoryName, Tag};

/// How long a client may take from HEAD to GET; longer, and the tag may have moved.
const KEPT: Duration = Duration::from_secs(60);

/// Entries kept at most.
const MOST: u64 = 10_000;

/// Tags of one digest kept; the oldest goes first.
const TAGS: usize = 16;

/// What HEADs told lately.
pub(super) struct NotedTags {
    by_digest: moka::sync::Cache<(RepositoryName, Digest), Vec<Noted>>,
    by_tag: moka::sync::Cache<(RepositoryName, Tag), Facts>,
}

/// A tag as a HEAD told it.
#[derive(Clone)]
pub(super) struct Noted {
    /// The tag.
    pub tag: Tag,
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// What a HEAD told of a tag.
#[derive(Clone)]
pub(super) struct Facts {
    /// The manifest it points at.
    pub digest: Digest,
    /// The manifest's type.
    pub media_type: String,
    /// The manifest's size in bytes.
    pub size: u64,
    /// When, in microseconds since 1970.
    pub at: i64,
}

impl Default for NotedTags {
    fn default() -> Self {
        let by_digest = moka::sync::Cache::builder()
            .max_capacity(MOST)
            .time_to_live(KEPT)
            .build();
        Self {
            by_digest,
            by_tag: moka::sync::Cache::new(MOST),
        }
    }
}

impl NotedTags {
    /// Remembers what `tag` is upstream.
    pub(super) fn note(&self, repository: &RepositoryName, tag: &Tag, facts: Facts) {
        let noted = Noted {
            tag: tag.clone(),
            at: facts.at,
        };
        let key = (repository.clone(), facts.digest);
        let mut tags = self.by_digest.get(&key).unwrap_or_default();
        tags.retain(|other| other.tag != noted.tag);
        tags.push(noted);
        if tags.len() > TAGS {
            tags.remove(0);
        }
        self.by_digest.insert(key, tags);
        self.by_tag.insert((repository.clone(), tag.clone()), facts);
    }

    /// Returns the tags that were noted for `digest`, once.
    pub(super) fn take(&self, repository: &RepositoryName, digest: Digest) -> Vec<Noted> {
        let taken = self.by_digest.remove(&(repository.clone(), digest));
        taken.unwrap_or_default()
    }

    /// Returns what the last HEAD told of `tag`.
    pub(super) fn facts(&self, repository: &RepositoryName, tag: &Tag) -> Option<Facts> {
        self.by_tag.get(&(repository.clone(), tag.clone()))
    }

    /// Forgets what a HEAD told of `tag`: more is known now.
    pub(super) fn forget(&self, repository: &RepositoryName, tag: &Tag) {
        self.by_tag.invalidate(&(repository.clone(), tag.clone()));
    }
}
