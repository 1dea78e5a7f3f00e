//! A manifest of a mirrored repository: served from here while it is fresh, and asked for by one request on behalf of all
//! who want it. A tag only ever points at a manifest that is stored whole, so a moved tag never mixes old and new.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci::{Digest, Reference, RepositoryName, Tag};

use super::account::{Miss, Told};
use super::error::{Error, Trouble};
use super::flights::Asking;
use super::manifest_fetch::Asker;
use super::missing::Thing;
use super::remotes::{Mirror, Target};
use crate::content::{self, ManifestRow};
use crate::policy::freshness::{Freshness, age, freshness, lifetime};
use crate::telemetry::Kind;
use crate::upstream;

/// What the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestWanted {
    /// The bytes (GET).
    Bytes,
    /// Digest, type and size (HEAD).
    Facts,
}

/// How an answer came about, as told in `Seawall-Cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// From here, without asking.
    Hit,
    /// From here, after the upstream confirmed it.
    Revalidated,
    /// From here, although the upstream could not confirm it.
    Stale {
        /// What is the matter, for the `Warning` header.
        reason: String,
    },
    /// From the upstream.
    Miss,
}

/// A manifest to answer with.
#[derive(Clone, Debug)]
pub struct ManifestFound {
    /// Its digest.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes, when they were asked for.
    pub bytes: Option<Bytes>,
    /// How it came about.
    pub cache: CacheState,
    /// How a miss came about.
    pub miss: Option<Miss>,
    /// Since when the upstream has not been asked.
    pub age: Option<Duration>,
}

/// What makes two requests the same question to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    repository: RepositoryName,
    reference: Reference,
    /// Whether a HEAD is enough, because nothing is stored and nobody wants the bytes.
    facts_only: bool,
}

impl Mirror {
    /// Returns the manifest `reference` of `target`.
    ///
    /// # Errors
    /// [`Error::Refused`], the upstream's answer when nothing is stored, or storage errors.
    pub async fn manifest(
        self: &Arc<Self>,
        target: &Target,
        reference: &Reference,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        let told = Told::begin(target, Kind::Manifest, reference);
        let answer = match target.refuse_unlisted() {
            Ok(()) => self.permitted(target, reference, wanted).await,
            Err(refused) => Err(refused),
        };
        match answer {
            Ok(mut found) => {
                told.found(&found);
                if wanted == ManifestWanted::Facts {
                    found.bytes = None;
                }
                Ok(found)
            }
            Err(error) => {
                told.error(&error);
                Err(error)
            }
        }
    }

    async fn permitted(
        self: &Arc<Self>,
        target: &Target,
        reference: &Reference,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        let repository = &target.repository;
        let known = self.content.manifest_row(repository, reference).await?;
        let cold = known.is_none();
        match (reference, known) {
            (Reference::Digest(_), Some(row)) => {
                if let Some(found) = self.stored(row).await? {
                    return Ok(found);
                }
            }
            (Reference::Tag(tag), Some(row)) => {
                if let Some(found) = self.without_waiting(target, tag, row).await? {
                    return Ok(found);
                }
            }
            (Reference::Digest(_), None) => {
                self.refuse_missing(target, &Thing::Manifest(reference.clone()))?;
            }
            (Reference::Tag(tag), None) => {
                self.refuse_missing(target, &Thing::Manifest(reference.clone()))?;
                if wanted == ManifestWanted::Facts
                    && let Some(found) = self.told_lately(target, tag)
                {
                    return Ok(found);
                }
            }
        }
        let facts_only = cold && wanted == ManifestWanted::Facts;
        self.ask_together(target, reference, facts_only).await
    }

    /// Returns the manifest of a stored tag when nobody has to be asked first: it is fresh, or it is checked afterwards.
    async fn without_waiting(
        self: &Arc<Self>,
        target: &Target,
        tag: &Tag,
        row: ManifestRow,
    ) -> Result<Option<ManifestFound>, Error> {
        let fresh = self.is_fresh(target, tag, &row);
        if !fresh && !target.remote.settings.freshness.background {
            return Ok(None);
        }
        let Some(found) = self.stored(row).await? else {
            return Ok(None);
        };
        if fresh {
            return Ok(Some(found));
        }
        let cache = match self.unconfirmed.why(target, tag) {
            None => CacheState::Hit,
            Some(failed) if failed.error.is_trouble() => CacheState::Stale {
                reason: failed.to_string(),
            },
            // The upstream refuses: its answer is what the client gets.
            Some(_) => return Ok(None),
        };
        self.check_afterwards(target, tag);
        Ok(Some(ManifestFound { cache, ..found }))
    }

    /// Asks the upstream, or waits for the answer to the same question under way.
    async fn ask_together(
        self: &Arc<Self>,
        target: &Target,
        reference: &Reference,
        facts_only: bool,
    ) -> Result<ManifestFound, Error> {
        let mut question = Question::whole(target, reference);
        let thing = Thing::Manifest(reference.clone());
        let joining = || self.joined(target, &thing);
        if facts_only {
            // A GET under way tells more than a HEAD.
            if let Some(outcome) = self.asking.join(&question, joining).await
                && !was_spared(&outcome)
            {
                return shared(outcome);
            }
            question.facts_only = true;
        }
        let asking = || -> Asking<ManifestFound> {
            let (target, reference) = (target.clone(), reference.clone());
            Box::pin(Arc::clone(self).find_out(target, reference, Asker::Client { facts_only }))
        };
        // What was spared was a check that nobody waited for, and no answer for a client.
        let (asked, spared) = (&self.asking, was_spared);
        let answer = asked.ask_unless(question, asking, joining, spared).await;
        if answer.joined {
            shared(answer.outcome)
        } else {
            answer.outcome
        }
    }

    /// Asks about a tag that was served already; nobody waits for it.
    fn check_afterwards(self: &Arc<Self>, target: &Target, tag: &Tag) {
        let reference = Reference::Tag(tag.clone());
        let question = Question::whole(target, &reference);
        let asking = Arc::clone(self).find_out(target.clone(), reference, Asker::Nobody);
        self.asking.start(question, Box::pin(asking));
    }

    /// Tells whether the upstream confirmed the tag of `row` recently enough.
    pub(super) fn is_fresh(&self, target: &Target, tag: &Tag, row: &ManifestRow) -> bool {
        let checked = row.tag.as_ref().map_or(0, |tag| tag.checked_at);
        self.is_fresh_since(target, tag, checked)
    }

    /// Tells whether what the upstream told of the tag at `told` (microseconds since 1970) is fresh.
    fn is_fresh_since(&self, target: &Target, tag: &Tag, told: i64) -> bool {
        let rules = &target.remote.settings.freshness;
        let lifetime = lifetime(tag, &rules.tags, rules.default);
        freshness(self.content.now(), told, lifetime) == Freshness::Fresh
    }

    /// Returns what a HEAD told of a tag, while that is fresh.
    pub(super) fn told_lately(&self, target: &Target, tag: &Tag) -> Option<ManifestFound> {
        let facts = self.noted.facts(&target.repository, tag)?;
        if !self.is_fresh_since(target, tag, facts.at) {
            return None;
        }
        Some(ManifestFound {
            digest: facts.digest,
            media_type: facts.media_type,
            size: facts.size,
            bytes: None,
            cache: CacheState::Hit,
            miss: None,
            age: age(self.content.now(), facts.at),
        })
    }

    /// Returns the manifest of `row` as a hit.
    pub(super) async fn stored(&self, row: ManifestRow) -> Result<Option<ManifestFound>, Error> {
        // Also for HEAD: what cannot be served is not said to exist.
        let bytes = match self.content.manifest_bytes(&row).await {
            Ok(bytes) => bytes,
            Err(content::Error::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let confirmed = row.tag.as_ref().map(|tag| tag.checked_at);
        Ok(Some(ManifestFound {
            digest: row.digest,
            media_type: row.media_type,
            size: row.size,
            bytes: Some(bytes),
            cache: CacheState::Hit,
            miss: None,
            age: confirmed.and_then(|at| age(self.content.now(), at)),
        }))
    }

    /// Returns the stored manifest of `row` although the upstream could not confirm it.
    pub(super) async fn stale(
        &self,
        row: ManifestRow,
        failed: Trouble,
    ) -> Result<ManifestFound, Error> {
        match self.stored(row).await? {
            Some(found) => Ok(ManifestFound {
                cache: CacheState::Stale {
                    reason: failed.to_string(),
                },
                ..found
            }),
            None => Err(failed.into()),
        }
    }
}

/// Marks an answer that somebody else had asked for.
fn shared(outcome: Result<ManifestFound, Error>) -> Result<ManifestFound, Error> {
    let mut found = outcome?;
    found.miss = found.miss.map(|miss| Miss {
        joined: true,
        ..miss
    });
    Ok(found)
}

fn was_spared(outcome: &Result<ManifestFound, Error>) -> bool {
    match outcome {
        Err(Error::Upstream(failed)) => matches!(failed.error, upstream::Error::NoSpare),
        Ok(_) | Err(_) => false,
    }
}

impl Question {
    fn whole(target: &Target, reference: &Reference) -> Self {
        Self {
            repository: target.repository.clone(),
            reference: reference.clone(),
            facts_only: false,
        }
    }
}
