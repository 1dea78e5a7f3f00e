//! Lists of a mirrored repository: tags and referrers are asked of the upstream, and answered from
//! what is known here, with a warning, when it is in trouble.

use oci::{Descriptor, Digest, Manifest, Page, Reference};

use super::blob::trouble;
use super::error::Error;
use super::manifest::{CacheState, ManifestFound, ManifestWanted};
use super::remotes::{Mirror, Target};
use crate::content::fallback_tag;
use crate::upstream;

/// More descriptors than an upstream's whole list may have.
const KNOWN_REFERRERS: usize = 1000;

/// One page of tags.
#[derive(Clone, Debug)]
pub struct TagsFound {
    /// The tags.
    pub tags: Vec<String>,
    /// The `last` of the next page, if there is one.
    pub next: Option<String>,
    /// Why this is the list known here instead of the upstream's.
    pub stale: Option<String>,
}

/// All referrers of a manifest.
#[derive(Clone, Debug)]
pub struct ReferrersFound {
    /// Their descriptors.
    pub descriptors: Vec<Descriptor>,
    /// Why this is the list known here instead of the upstream's.
    pub stale: Option<String>,
}

impl Mirror {
    /// Returns a page of the tags of `target`.
    ///
    /// # Errors
    /// The upstream's answer when no tag is known here, or storage errors.
    pub async fn tags(&self, target: &Target, page: &Page) -> Result<TagsFound, Error> {
        let error = match target.ask().tags(&target.path, page).await {
            Ok(found) => {
                return Ok(TagsFound {
                    tags: found.tags,
                    next: found.next_last,
                    stale: None,
                });
            }
            Err(error) => error,
        };
        if !error.is_trouble() {
            return Err(trouble(target, error));
        }
        // One more than asked for tells whether there is a next page.
        let limit = page.n.map(|n| n.saturating_add(1));
        let known = self
            .content
            .known_tags(&target.repository, page.last.as_deref(), limit)
            .await?;
        let failed = trouble(target, error);
        let Some(mut tags) = known else {
            return Err(failed);
        };
        let next = page.n.and_then(|n| Page::cut(&mut tags, n));
        Ok(TagsFound {
            tags,
            next,
            stale: Some(failed.to_string()),
        })
    }

    /// Returns the referrers of `subject` in `target`: from the upstream's referrers API, or where it
    /// has none from its fallback tag.
    ///
    /// # Errors
    /// The upstream's trouble when no referrer is known here, or storage errors.
    pub async fn referrers(
        &self,
        target: &Target,
        subject: &Digest,
    ) -> Result<ReferrersFound, Error> {
        let error = match target.ask().referrers(&target.path, subject).await {
            Ok(Some(descriptors)) => {
                return Ok(ReferrersFound {
                    descriptors,
                    stale: None,
                });
            }
            Ok(None) => return self.fallback(target, subject).await,
            Err(error) => error,
        };
        let trouble_here = error.is_trouble();
        let failed = trouble(target, error);
        if !trouble_here {
            return Err(failed);
        }
        let known = self
            .content
            .referrers(&target.repository, subject, None, None, KNOWN_REFERRERS)
            .await?;
        if known.is_empty() {
            return Err(failed);
        }
        Ok(ReferrersFound {
            descriptors: known,
            stale: Some(failed.to_string()),
        })
    }

    /// Returns what an index lists; nothing when it cannot be read as one.
    async fn listed(&self, found: &ManifestFound) -> Vec<Descriptor> {
        let Some(bytes) = &found.bytes else {
            return Vec::new();
        };
        let media_type = Some(found.media_type.as_str());
        let index = self.content.read_manifest(bytes, media_type).await;
        index.map_or_else(|_| Vec::new(), Manifest::into_children)
    }

    async fn fallback(&self, target: &Target, subject: &Digest) -> Result<ReferrersFound, Error> {
        let none = ReferrersFound {
            descriptors: Vec::new(),
            stale: None,
        };
        let Some(tag) = fallback_tag(subject) else {
            return Ok(none);
        };
        let index = self
            .manifest(target, &Reference::Tag(tag), ManifestWanted::Bytes)
            .await;
        match index {
            Ok(found) => Ok(ReferrersFound {
                descriptors: self.listed(&found).await,
                stale: match found.cache {
                    CacheState::Stale { reason } => Some(reason),
                    CacheState::Hit | CacheState::Revalidated | CacheState::Miss => None,
                },
            }),
            Err(Error::Upstream(failed)) if matches!(failed.error, upstream::Error::NotFound) => {
                Ok(none)
            }
            Err(error) => Err(error),
        }
    }
}
