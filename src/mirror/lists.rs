//! Lists of a mirrored repository: tags and referrers are asked of the upstream, by one request on behalf of all who ask at
//! once, and answered from what is known here, with a warning, when it is in trouble.

use std::sync::Arc;

use oci::{Descriptor, Digest, Manifest, Page, Reference, RepositoryName};

use super::account::{Miss, MissReason, Told};
use super::error::Error;
use super::manifest::{CacheState, ManifestFound, ManifestWanted};
use super::missing::Thing;
use super::remotes::{Mirror, Target};
use crate::content::fallback_tag;
use crate::telemetry::Kind;
use crate::upstream::{self, Manner};

/// More descriptors than an upstream's whole list may have.
const KNOWN_REFERRERS: usize = 1000;

/// Memory for the lists of referrers that upstreams told last, in bytes.
const TOLD_BYTES: u64 = 32 << 20;

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

/// What makes two requests for tags the same question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TagsPageOf {
    repository: RepositoryName,
    n: Option<u64>,
    last: Option<String>,
}

/// What makes two requests for referrers the same question.
pub(super) type ReferrersOf = (RepositoryName, Digest);

/// The referrers that upstreams told last, for when they are gone. Losing one costs an answer during an outage.
pub(super) struct ToldReferrers(moka::sync::Cache<ReferrersOf, Arc<Vec<Descriptor>>>);

impl Default for ToldReferrers {
    fn default() -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(TOLD_BYTES)
            .weigher(|_: &ReferrersOf, told: &Arc<Vec<Descriptor>>| weight(told))
            .build();
        Self(cache)
    }
}

/// Returns about how many bytes a list takes.
fn weight(told: &[Descriptor]) -> u32 {
    let bytes: usize = told
        .iter()
        .map(|descriptor| {
            let annotations = descriptor.annotations.iter();
            let noted: usize = annotations
                .map(|(key, value)| key.len() + value.len())
                .sum();
            let artifact_type = descriptor.artifact_type.as_ref().map_or(0, String::len);
            let data = descriptor.data.as_ref().map_or(0, |data| data.len());
            512 + noted + artifact_type + data
        })
        .sum();
    u32::try_from(bytes.saturating_add(512)).unwrap_or(u32::MAX)
}

impl Mirror {
    /// Returns a page of the tags of `target`.
    ///
    /// # Errors
    /// [`Error::Refused`], the upstream's answer when no tag is known here, or storage errors.
    pub async fn tags(self: &Arc<Self>, target: &Target, page: &Page) -> Result<TagsFound, Error> {
        let reference = page.last.as_deref().unwrap_or("tags");
        let told = Told::begin(target, Kind::Tags, &reference);
        let answer = self.tags_together(target, page).await;
        told.listed(answer, |found| found.stale.as_deref())
    }

    async fn tags_together(
        self: &Arc<Self>,
        target: &Target,
        page: &Page,
    ) -> Result<(TagsFound, bool), Error> {
        target.refuse_unlisted()?;
        self.refuse_missing(target, &Thing::Tags)?;
        let question = TagsPageOf {
            repository: target.repository.clone(),
            n: page.n,
            last: page.last.clone(),
        };
        let (mirror, asked, page) = (Arc::clone(self), target.clone(), page.clone());
        let asking = async move { mirror.ask_tags(&asked, &page).await };
        let joining = || self.joined(target, &Thing::Tags);
        let answer = self.listing.ask(question, Box::pin(asking), joining).await;
        Ok((answer.outcome?, answer.joined))
    }

    async fn ask_tags(&self, target: &Target, page: &Page) -> Result<TagsFound, Error> {
        let repository = &target.repository;
        let any = self.content.known_tags(repository, None, Some(1)).await?;
        let asking = target.ask().in_manner(if any.is_some() {
            Manner::WithFallback
        } else {
            Manner::Plain
        });
        let answer = asking.tags(&target.path, page).await;
        let failed = match self.heard_of(target, Thing::Tags, answer) {
            Ok(found) => {
                return Ok(TagsFound {
                    tags: found.tags,
                    next: found.next_last,
                    stale: None,
                });
            }
            Err(Error::Upstream(failed)) if failed.error.is_trouble() => failed,
            Err(error) => return Err(error),
        };
        // One more than asked for tells whether there is a next page.
        let limit = page.n.map(|n| n.saturating_add(1));
        let known = self
            .content
            .known_tags(repository, page.last.as_deref(), limit)
            .await?;
        let Some(mut tags) = known else {
            return Err(failed.into());
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
    /// [`Error::Refused`], the upstream's trouble when nothing is known here, or storage errors.
    pub async fn referrers(
        self: &Arc<Self>,
        target: &Target,
        subject: &Digest,
    ) -> Result<ReferrersFound, Error> {
        let told = Told::begin(target, Kind::Referrers, subject);
        let answer = self.referrers_together(target, subject).await;
        told.listed(answer, |found| found.stale.as_deref())
    }

    async fn referrers_together(
        self: &Arc<Self>,
        target: &Target,
        subject: &Digest,
    ) -> Result<(ReferrersFound, bool), Error> {
        target.refuse_unlisted()?;
        let question = (target.repository.clone(), *subject);
        let (mirror, asked, subject) = (Arc::clone(self), target.clone(), *subject);
        let asking = async move { mirror.ask_referrers(&asked, &subject).await };
        let thing = Thing::Referrers(subject);
        let joining = || self.joined(target, &thing);
        let answer = self
            .referring
            .ask(question, Box::pin(asking), joining)
            .await;
        Ok((answer.outcome?, answer.joined))
    }

    async fn ask_referrers(
        self: &Arc<Self>,
        target: &Target,
        subject: &Digest,
    ) -> Result<ReferrersFound, Error> {
        let api = Thing::Referrers(*subject);
        if self.refuse_missing(target, &api).is_err() {
            return self.fallback(target, subject).await;
        }
        let known = self.known_referrers(target, subject).await?;
        let asking = target.ask().in_manner(if known.is_some() {
            Manner::WithFallback
        } else {
            Manner::Plain
        });
        let answer = match asking.referrers(&target.path, subject).await {
            Ok(Some(descriptors)) => Ok(descriptors),
            Ok(None) => Err(upstream::Error::NotFound),
            Err(error) => Err(error),
        };
        let failed = match self.heard_of(target, api, answer) {
            Ok(descriptors) => {
                let told = Arc::new(descriptors.clone());
                let key = (target.repository.clone(), *subject);
                self.told.0.insert(key, told);
                return Ok(ReferrersFound {
                    descriptors,
                    stale: None,
                });
            }
            Err(error) if error.is_not_found() => return self.fallback(target, subject).await,
            Err(Error::Upstream(failed)) if failed.error.is_trouble() => failed,
            Err(error) => return Err(error),
        };
        match known {
            Some(descriptors) => Ok(ReferrersFound {
                descriptors,
                stale: Some(failed.to_string()),
            }),
            None => Err(failed.into()),
        }
    }

    /// Returns the referrers known here: those the upstream told last, and stored manifests with that subject. None when
    /// nothing is known, which is not the same as no referrers.
    async fn known_referrers(
        &self,
        target: &Target,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let stored = self
            .content
            .referrers(&target.repository, subject, None, None, KNOWN_REFERRERS)
            .await?;
        let told = self.told.0.get(&(target.repository.clone(), *subject));
        let Some(told) = told else {
            return Ok((!stored.is_empty()).then_some(stored));
        };
        let mut known = told.to_vec();
        for descriptor in stored {
            if !known.iter().any(|other| other.digest == descriptor.digest) {
                known.push(descriptor);
            }
        }
        Ok(Some(known))
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

    async fn fallback(
        self: &Arc<Self>,
        target: &Target,
        subject: &Digest,
    ) -> Result<ReferrersFound, Error> {
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
            Err(error) if error.is_not_found() => Ok(none),
            Err(error) => Err(error),
        }
    }
}

impl Told<'_> {
    /// Tells how a list came about, and returns it.
    fn listed<T>(
        &self,
        answer: Result<(T, bool), Error>,
        stale: impl Fn(&T) -> Option<&str>,
    ) -> Result<T, Error> {
        let (found, joined) = answer.inspect_err(|error| self.error(error))?;
        match stale(&found) {
            Some(reason) => self.stale(reason),
            None => self.miss(Miss {
                reason: MissReason::List,
                joined,
            }),
        }
        Ok(found)
    }
}
