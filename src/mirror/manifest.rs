//! A manifest of a mirrored repository: served from here while it is fresh, revalidated with HEAD
//! afterwards, served stale when the upstream is in trouble. A tag only ever points at a manifest that
//! is stored whole, so a moved tag never mixes old and new.

use std::time::{Duration, Instant};

use bytes::Bytes;
use oci::{Algorithm, Digest, Reference, Tag};

use super::blob::{protocol, trouble};
use super::error::{Error, Trouble};
use super::noted_tags::Noted;
use super::remotes::{Mirror, Target};
use crate::content::{self, ManifestRow, ManifestSource, NewManifest};
use crate::policy::freshness::{Freshness, age, freshness};
use crate::upstream::{self, Asking, FetchedManifest, ManifestHead};

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
    /// Since when the upstream has not been asked.
    pub age: Option<Duration>,
}

/// What the last one to ask the upstream met, for those who waited meanwhile.
pub(super) struct LastFailure {
    at: Instant,
    error: upstream::Error,
}

impl Mirror {
    /// Returns the manifest `reference` of `target`.
    ///
    /// # Errors
    /// The upstream's answer when nothing is stored, or storage errors.
    pub async fn manifest(
        &self,
        target: &Target,
        reference: &Reference,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        match reference {
            Reference::Digest(_) => self.by_digest(target, reference, wanted).await,
            Reference::Tag(tag) => self.by_tag(target, tag, wanted).await,
        }
    }

    async fn by_digest(
        &self,
        target: &Target,
        reference: &Reference,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        if let Some(found) = self.stored(target, reference, wanted).await? {
            return Ok(found);
        }
        let key = format!("{}@{reference}", target.repository);
        let waiting_since = Instant::now();
        let mut turn = self.turns.turn(&key).await;
        if let Some(found) = self.stored(target, reference, wanted).await? {
            return Ok(found);
        }
        if let Some(error) = failed_since(turn.as_ref(), waiting_since) {
            return Err(trouble(target, error));
        }
        let answer = self.ask(target, reference, wanted).await;
        if let Err(Error::Upstream(failed)) = &answer {
            *turn = Some(LastFailure {
                at: Instant::now(),
                error: failed.error.clone(),
            });
        }
        answer
    }

    /// Returns the manifest by digest if it is stored and sound.
    async fn stored(
        &self,
        target: &Target,
        reference: &Reference,
        wanted: ManifestWanted,
    ) -> Result<Option<ManifestFound>, Error> {
        let Some(row) = self
            .content
            .manifest_row(&target.repository, reference)
            .await?
        else {
            return Ok(None);
        };
        self.hit(row, wanted).await
    }

    /// Returns the stored manifest of `row`; a damaged one counts as absent, so that it is fetched again.
    async fn hit(
        &self,
        row: ManifestRow,
        wanted: ManifestWanted,
    ) -> Result<Option<ManifestFound>, Error> {
        match self.found(row, wanted, CacheState::Hit).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::Content(content::Error::Damaged { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn by_tag(
        &self,
        target: &Target,
        tag: &Tag,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        let reference = Reference::Tag(tag.clone());
        let repository = &target.repository;
        let known = self.content.manifest_row(repository, &reference).await?;
        if let Some(found) = self.fresh(target, known.as_ref(), wanted).await? {
            return Ok(found);
        }
        let key = format!("{repository}:{tag}");
        let waiting_since = Instant::now();
        let mut turn = self.turns.turn(&key).await;
        // Whoever had the turn before may have asked.
        let known = self.content.manifest_row(repository, &reference).await?;
        if let Some(found) = self.fresh(target, known.as_ref(), wanted).await? {
            return Ok(found);
        }
        let answer = match failed_since(turn.as_ref(), waiting_since) {
            Some(error) => Err(trouble(target, error)),
            None => match &known {
                Some(row) => self.revalidate(target, tag, row, wanted).await,
                None => self.ask(target, &reference, wanted).await,
            },
        };
        let Err(Error::Upstream(failed)) = answer else {
            return answer;
        };
        *turn = Some(LastFailure {
            at: Instant::now(),
            error: failed.error.clone(),
        });
        match known {
            Some(row) if failed.error.is_trouble() => self.stale(row, wanted, failed).await,
            Some(_) if matches!(failed.error, upstream::Error::NotFound) => {
                unless_noted(self.content.forget_tag(&target.repository, tag).await);
                Err(failed.into())
            }
            Some(_) | None => Err(failed.into()),
        }
    }

    /// Returns the manifest of a tag's `row` if the upstream confirmed it recently enough.
    async fn fresh(
        &self,
        target: &Target,
        row: Option<&ManifestRow>,
        wanted: ManifestWanted,
    ) -> Result<Option<ManifestFound>, Error> {
        let Some(row) = row else {
            return Ok(None);
        };
        let lifetime = target.remote.settings.freshness.default;
        let checked = row.tag.as_ref().map_or(0, |tag| tag.checked_at);
        if freshness(self.content.now(), checked, lifetime) == Freshness::Due {
            return Ok(None);
        }
        self.hit(row.clone(), wanted).await
    }

    async fn stale(
        &self,
        row: ManifestRow,
        wanted: ManifestWanted,
        failed: Trouble,
    ) -> Result<ManifestFound, Error> {
        tracing::warn!(upstream = %failed.upstream, error = %failed.error, digest = %row.digest, "serving a stale tag");
        let reason = failed.to_string();
        match self.found(row, wanted, CacheState::Stale { reason }).await {
            Err(Error::Content(content::Error::Damaged { .. })) => Err(failed.into()),
            answer => answer,
        }
    }

    async fn revalidate(
        &self,
        target: &Target,
        tag: &Tag,
        row: &ManifestRow,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        let reference = Reference::Tag(tag.clone());
        let asked_at = self.content.now();
        let asking = target.ask().with_fallback();
        let head = asking.head_manifest(&target.path, &reference).await;
        let head = head.map_err(|error| trouble(target, error))?;
        let Some(now_at) = head.digest else {
            return self
                .fetch(target, asking, &reference, Some(tag), wanted)
                .await;
        };
        if now_at == row.digest {
            let confirmed = self
                .content
                .confirm_tag(&target.repository, tag, &row.digest);
            unless_noted(confirmed.await);
            let again = self
                .found(row.clone(), wanted, CacheState::Revalidated)
                .await;
            if !matches!(again, Err(Error::Content(content::Error::Damaged { .. }))) {
                return again;
            }
        } else {
            let moved = Reference::Digest(now_at);
            if let Some(mut found) = self.stored(target, &moved, wanted).await? {
                let repository = &target.repository;
                let moved = self.content.move_tag(repository, tag, &now_at, asked_at);
                unless_noted(moved.await);
                found.cache = CacheState::Revalidated;
                return Ok(found);
            }
        }
        // By digest: between HEAD and GET the tag may move once more. Where the digest is gone by then,
        // the tag itself is asked: only its own 404 says that there is no such tag.
        let by_digest = Reference::Digest(now_at);
        match self
            .fetch(target, asking, &by_digest, Some(tag), wanted)
            .await
        {
            Err(Error::Upstream(failed)) if matches!(failed.error, upstream::Error::NotFound) => {
                self.fetch(target, asking, &reference, Some(tag), wanted)
                    .await
            }
            answer => answer,
        }
    }

    /// Asks the upstream for something of which nothing is stored. HEAD costs nothing of a rate limit
    /// and is enough for a client's HEAD, unless the upstream leaves out what a client needs.
    async fn ask(
        &self,
        target: &Target,
        reference: &Reference,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        if wanted == ManifestWanted::Facts {
            let asked_at = self.content.now();
            let head = target.ask().head_manifest(&target.path, reference).await;
            let head = head.map_err(|error| trouble(target, error))?;
            if let Some(found) = facts(head, reference) {
                self.remember(target, reference, found.digest, asked_at)
                    .await?;
                return Ok(found);
            }
        }
        let tag = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        self.fetch(target, target.ask(), reference, tag, wanted)
            .await
    }

    /// Keeps what a HEAD told about a tag: for good when its manifest is stored, else until the client
    /// comes for it by digest.
    async fn remember(
        &self,
        target: &Target,
        reference: &Reference,
        digest: Digest,
        asked_at: i64,
    ) -> Result<(), Error> {
        let Reference::Tag(tag) = reference else {
            return Ok(());
        };
        let by_digest = Reference::Digest(digest);
        let repository = &target.repository;
        let stored = self.content.manifest_row(repository, &by_digest).await?;
        if stored.is_some() {
            let moved = self.content.move_tag(repository, tag, &digest, asked_at);
            unless_noted(moved.await);
        } else {
            let noted = Noted {
                tag: tag.clone(),
                at: asked_at,
            };
            self.noted.note(repository, digest, noted);
        }
        Ok(())
    }

    /// Fetches a manifest, checks it, stores it and points `tag` at it.
    async fn fetch(
        &self,
        target: &Target,
        asking: Asking<'_>,
        reference: &Reference,
        tag: Option<&Tag>,
        wanted: ManifestWanted,
    ) -> Result<ManifestFound, Error> {
        let fetched = asking
            .get_manifest(&target.path, reference, self.manifest_limit)
            .await
            .map_err(|error| trouble(target, error))?;
        let digest = verified_digest(target, reference, &fetched)?;
        let content_type = fetched.media_type.as_deref();
        let manifest = self
            .content
            .read_manifest(&fetched.bytes, content_type)
            .await
            .map_err(|error| protocol(target, format!("sent an unusable manifest: {error}")))?;
        let tags = tag.cloned().into_iter().collect();
        let stored = self
            .content
            .put_manifest(NewManifest {
                repository: &target.repository,
                digest,
                bytes: fetched.bytes.clone(),
                manifest: &manifest,
                media_type: &manifest.media_type,
                tags,
                source: ManifestSource::Upstream {
                    name: &target.remote.settings.name,
                },
            })
            .await;
        match stored {
            // It is served all the same; the next pull asks again.
            Err(content::Error::StorageFull) => unless_noted(stored),
            stored => stored?,
        }
        self.apply_noted(target, digest).await?;
        Ok(ManifestFound {
            digest,
            media_type: manifest.media_type,
            size: fetched.bytes.len() as u64,
            bytes: (wanted == ManifestWanted::Bytes).then_some(fetched.bytes),
            cache: CacheState::Miss,
            age: None,
        })
    }

    /// Points the tags that HEADs told of `digest` at it, unless the upstream was asked about one since:
    /// a tag never moves backwards.
    async fn apply_noted(&self, target: &Target, digest: Digest) -> Result<(), Error> {
        let repository = &target.repository;
        for noted in self.noted.take(repository, digest) {
            let by_tag = Reference::Tag(noted.tag.clone());
            let known = self.content.manifest_row(repository, &by_tag).await?;
            let asked_since = known
                .and_then(|row| row.tag)
                .is_some_and(|tag| tag.checked_at >= noted.at);
            if !asked_since {
                let moved = self
                    .content
                    .move_tag(repository, &noted.tag, &digest, noted.at);
                unless_noted(moved.await);
            }
        }
        Ok(())
    }

    async fn found(
        &self,
        row: ManifestRow,
        wanted: ManifestWanted,
        cache: CacheState,
    ) -> Result<ManifestFound, Error> {
        // Also for HEAD: what cannot be served is not said to exist.
        let bytes = self.content.manifest_bytes(&row).await?;
        let bytes = (wanted == ManifestWanted::Bytes).then_some(bytes);
        let confirmed = row
            .tag
            .as_ref()
            .filter(|_| cache != CacheState::Revalidated);
        Ok(ManifestFound {
            digest: row.digest,
            size: row.size,
            bytes,
            cache,
            age: confirmed.and_then(|tag| age(self.content.now(), tag.checked_at)),
            media_type: row.media_type,
        })
    }
}

/// A note that cannot be written (on a full disk, say) does not stop a pull: the next one asks again.
fn unless_noted(noted: Result<(), content::Error>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "could not note what an upstream said");
    }
}

/// Returns what somebody met who asked while we waited in line: asking again at once would only make
/// everybody wait.
fn failed_since(last: Option<&LastFailure>, waiting_since: Instant) -> Option<upstream::Error> {
    last.filter(|failure| failure.at >= waiting_since)
        .map(|failure| failure.error.clone())
}

fn facts(head: ManifestHead, reference: &Reference) -> Option<ManifestFound> {
    let named = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => None,
    };
    let media_type = head.media_type?;
    if !oci::media_type::is_index(&media_type) && !oci::media_type::is_image_manifest(&media_type) {
        return None;
    }
    Some(ManifestFound {
        digest: named.or(head.digest)?,
        media_type,
        size: head.size?,
        bytes: None,
        cache: CacheState::Miss,
        age: None,
    })
}

/// Returns the digest of the fetched bytes, which must be the one asked for, or else the one the
/// upstream told. Without either, sha256.
fn verified_digest(
    target: &Target,
    reference: &Reference,
    fetched: &FetchedManifest,
) -> Result<Digest, Error> {
    let told = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => fetched.digest,
    };
    let algorithm = told.map_or(Algorithm::Sha256, |told| told.algorithm());
    let actual = Digest::of(algorithm, &fetched.bytes);
    match told {
        Some(told) if told != actual => Err(protocol(
            target,
            format!("sent a manifest with digest {actual} for {told}"),
        )),
        Some(_) | None => Ok(actual),
    }
}
