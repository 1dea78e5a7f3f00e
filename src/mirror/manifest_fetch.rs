//! Asking the upstream for a manifest, once for all who wait: HEAD where it is enough, which costs nothing of a rate limit,
//! else GET. What is in trouble is answered from what is stored; every answer is remembered.

use std::sync::Arc;

use oci::{Algorithm, Digest, Reference, Tag};

use super::account::{Miss, MissReason};
use super::error::{Error, protocol};
use super::manifest::{CacheState, ManifestFound};
use super::missing::Thing;
use super::noted_tags::{Facts, Noted};
use super::remotes::{Mirror, Target};
use crate::content::{self, ManifestRow, ManifestSource, NewManifest};
use crate::upstream::{self, FetchedManifest, ManifestHead, Manner};

/// For whom the upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// For clients, who wait.
    Client {
        /// Whether a HEAD is enough.
        facts_only: bool,
    },
    /// To know: the tag was served already.
    Nobody,
}

/// What to fetch, and how.
#[derive(Clone, Copy)]
struct Errand<'a> {
    target: &'a Target,
    reference: &'a Reference,
    /// The tag that will point at what comes.
    tag: Option<&'a Tag>,
    manner: Manner,
    reason: MissReason,
}

/// What is stored.
enum Stored {
    /// Nothing.
    Absent,
    /// A manifest that can be served.
    Sound(ManifestFound),
    /// A damaged one, which counts as absent, so that it is fetched again.
    Damaged,
}

impl Mirror {
    /// Finds out what `reference` is; runs as a task of its own.
    pub(super) async fn find_out(
        self: Arc<Self>,
        target: Target,
        reference: Reference,
        asker: Asker,
    ) -> Result<ManifestFound, Error> {
        // Whoever asked before may have finished between the look of the client and this task.
        let repository = &target.repository;
        let known = self.content.manifest_row(repository, &reference).await?;
        match &reference {
            Reference::Digest(_) => {
                let reason = match self.look(known).await? {
                    Stored::Sound(found) => return Ok(found),
                    Stored::Damaged => MissReason::Damaged,
                    Stored::Absent => MissReason::NotStored,
                };
                let errand = Errand {
                    target: &target,
                    reference: &reference,
                    tag: None,
                    manner: Manner::Plain,
                    reason,
                };
                self.ask(errand, asker).await
            }
            Reference::Tag(tag) => self.find_tag(&target, tag, known, asker).await,
        }
    }

    async fn find_tag(
        &self,
        target: &Target,
        tag: &Tag,
        known: Option<ManifestRow>,
        asker: Asker,
    ) -> Result<ManifestFound, Error> {
        let reference = Reference::Tag(tag.clone());
        let mut errand = Errand {
            target,
            reference: &reference,
            tag: Some(tag),
            manner: match (asker, &known) {
                (Asker::Nobody, _) => Manner::InBackground,
                (Asker::Client { .. }, Some(_)) => Manner::WithFallback,
                (Asker::Client { .. }, None) => Manner::Plain,
            },
            reason: MissReason::NeverAsked,
        };
        let answer = match &known {
            None if self.may_be_stored(target, tag, asker).await? => {
                self.compare(errand, tag, None).await
            }
            None => self.ask(errand, asker).await,
            Some(row) => {
                if self.is_fresh(target, tag, row) {
                    match self.stored(row.clone()).await? {
                        Some(found) => return Ok(found),
                        None => errand.manner = Manner::Plain,
                    }
                }
                self.compare(errand, tag, Some(row)).await
            }
        };
        let failed = match answer {
            Err(Error::Upstream(failed)) => failed,
            answer => {
                self.unconfirmed.forget(target, tag);
                return answer;
            }
        };
        if known.is_some() {
            self.unconfirmed.note(target, tag, &failed);
        }
        match known {
            Some(row)
                if failed.error.is_trouble()
                    && !matches!(failed.error, upstream::Error::NoSpare) =>
            {
                self.stale(row, failed).await
            }
            known => {
                if matches!(failed.error, upstream::Error::NotFound) {
                    self.noted.forget(&target.repository, tag);
                    if known.is_some() {
                        unless_noted(self.content.forget_tag(&target.repository, tag).await);
                    }
                }
                Err(failed.into())
            }
        }
    }

    async fn look(&self, row: Option<ManifestRow>) -> Result<Stored, Error> {
        match row {
            Some(row) => {
                let sound = self.stored(row).await?;
                Ok(sound.map_or(Stored::Damaged, Stored::Sound))
            }
            None => Ok(Stored::Absent),
        }
    }

    /// Tells whether a tag that is not known here may point at a manifest that is, so that HEAD, which costs nothing of a
    /// rate limit, may spare the GET: something of the repository is stored, and no HEAD told lately what is not stored.
    async fn may_be_stored(&self, target: &Target, tag: &Tag, asker: Asker) -> Result<bool, Error> {
        let wants_facts = asker == (Asker::Client { facts_only: true });
        if wants_facts || self.told_lately(target, tag).is_some() {
            return Ok(false);
        }
        let any = self.content.known_tags(&target.repository, None, Some(1));
        let any = any.await?;
        Ok(any.is_some())
    }

    /// Asks by HEAD what a tag is, and fetches only what is not stored. `row` is what the tag was.
    async fn compare(
        &self,
        errand: Errand<'_>,
        tag: &Tag,
        row: Option<&ManifestRow>,
    ) -> Result<ManifestFound, Error> {
        let repository = &errand.target.repository;
        let asked_at = self.content.now();
        let Some(now_at) = self.head(errand).await?.and_then(|head| head.digest) else {
            let reason = row.map_or(errand.reason, |_| MissReason::Untold);
            return self.fetch(Errand { reason, ..errand }).await;
        };
        let by_digest = Reference::Digest(now_at);
        let known = match row {
            Some(row) if row.digest == now_at => {
                let confirmed = self.content.confirm_tag(repository, tag, &now_at);
                unless_noted(confirmed.await);
                Some(row.clone())
            }
            Some(_) | None => self.content.manifest_row(repository, &by_digest).await?,
        };
        let has_moved = row.is_none_or(|row| row.digest != now_at);
        let reason = match self.look(known).await? {
            Stored::Sound(found) => {
                if has_moved {
                    let moved = self.content.move_tag(repository, tag, &now_at, asked_at);
                    unless_noted(moved.await);
                }
                return Ok(revalidated(found));
            }
            Stored::Damaged | Stored::Absent if !has_moved => MissReason::Damaged,
            Stored::Damaged | Stored::Absent => row.map_or(errand.reason, |_| MissReason::Moved),
        };
        // By digest: between HEAD and GET the tag may move once more. Where the digest is gone by then,
        // the tag itself is asked: only its own 404 says that there is no such tag.
        let moved = Errand {
            reference: &by_digest,
            reason,
            ..errand
        };
        match self.fetch(moved).await {
            Err(error) if error.is_not_found() => self.fetch(Errand { reason, ..errand }).await,
            answer => answer,
        }
    }

    /// Asks the upstream for something of which nothing is stored. HEAD is enough for a client's HEAD, unless the upstream
    /// leaves out what a client needs.
    async fn ask(&self, errand: Errand<'_>, asker: Asker) -> Result<ManifestFound, Error> {
        if asker == (Asker::Client { facts_only: true }) {
            let asked_at = self.content.now();
            if let Some(head) = self.head(errand).await?
                && let Some(facts) = facts(head, errand.reference, asked_at)
            {
                if let Some(tag) = errand.tag {
                    self.remember(errand.target, tag, &facts).await?;
                }
                return Ok(ManifestFound {
                    digest: facts.digest,
                    media_type: facts.media_type,
                    size: facts.size,
                    bytes: None,
                    cache: CacheState::Miss,
                    miss: Some(errand.miss()),
                    age: None,
                });
            }
        }
        self.fetch(errand).await
    }

    /// Returns what the upstream's HEAD tells; nothing where it cannot answer one, though it may answer GET.
    async fn head(&self, errand: Errand<'_>) -> Result<Option<ManifestHead>, Error> {
        let Errand {
            target, reference, ..
        } = errand;
        let asking = target.ask().in_manner(errand.manner);
        match asking.head_manifest(&target.path, reference).await {
            Err(upstream::Error::Protocol { .. }) => Ok(None),
            answer => {
                let thing = Thing::Manifest(reference.clone());
                self.heard_of(target, thing, answer).map(Some)
            }
        }
    }

    /// Keeps what a HEAD told about a tag: for good when its manifest is stored, else until the client
    /// comes for it by digest.
    async fn remember(&self, target: &Target, tag: &Tag, facts: &Facts) -> Result<(), Error> {
        let by_digest = Reference::Digest(facts.digest);
        let repository = &target.repository;
        let stored = self.content.manifest_row(repository, &by_digest).await?;
        if stored.is_some() {
            let moved = self
                .content
                .move_tag(repository, tag, &facts.digest, facts.at);
            unless_noted(moved.await);
        } else {
            self.noted.note(repository, tag, facts.clone());
        }
        Ok(())
    }

    /// Fetches a manifest, checks it, stores it and points the errand's tag at it.
    async fn fetch(&self, errand: Errand<'_>) -> Result<ManifestFound, Error> {
        let Errand {
            target, reference, ..
        } = errand;
        let answer = target
            .ask()
            .in_manner(errand.manner)
            .get_manifest(&target.path, reference, self.manifest_limit)
            .await;
        let fetched = self.heard_of(target, Thing::Manifest(reference.clone()), answer)?;
        let digest = verified_digest(target, reference, &fetched)?;
        let content_type = fetched.media_type.as_deref();
        let manifest = self
            .content
            .read_manifest(&fetched.bytes, content_type)
            .await
            .map_err(|error| protocol(target, format!("sent an unusable manifest: {error}")))?;
        let stored = self
            .content
            .put_manifest(NewManifest {
                repository: &target.repository,
                digest,
                bytes: fetched.bytes.clone(),
                manifest: &manifest,
                media_type: &manifest.media_type,
                tags: errand.tag.cloned().into_iter().collect(),
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
        self.found_after_all(target, Thing::Manifest(Reference::Digest(digest)));
        if let Some(tag) = errand.tag {
            self.noted.forget(&target.repository, tag);
        }
        self.apply_noted(target, digest).await?;
        Ok(ManifestFound {
            digest,
            media_type: manifest.media_type,
            size: fetched.bytes.len() as u64,
            bytes: Some(fetched.bytes),
            cache: CacheState::Miss,
            miss: Some(errand.miss()),
            age: None,
        })
    }

    /// Points the tags that HEADs told of `digest` at it, unless the upstream was asked about one since:
    /// a tag never moves backwards.
    async fn apply_noted(&self, target: &Target, digest: Digest) -> Result<(), Error> {
        let repository = &target.repository;
        for Noted { tag, at } in self.noted.take(repository, digest) {
            let by_tag = Reference::Tag(tag.clone());
            let known = self.content.manifest_row(repository, &by_tag).await?;
            let asked_since = known
                .and_then(|row| row.tag)
                .is_some_and(|tag| tag.checked_at >= at);
            if !asked_since {
                let moved = self.content.move_tag(repository, &tag, &digest, at);
                unless_noted(moved.await);
            }
        }
        Ok(())
    }
}

impl Errand<'_> {
    fn miss(&self) -> Miss {
        Miss {
            reason: self.reason,
            joined: false,
        }
    }
}

/// A note that cannot be written (on a full disk, say) does not stop a pull: the next one asks again.
fn unless_noted(noted: Result<(), content::Error>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "could not note what an upstream said");
    }
}

fn revalidated(found: ManifestFound) -> ManifestFound {
    ManifestFound {
        cache: CacheState::Revalidated,
        age: None,
        ..found
    }
}

fn facts(head: ManifestHead, reference: &Reference, at: i64) -> Option<Facts> {
    let named = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => None,
    };
    let media_type = head.media_type?;
    if !oci::media_type::is_index(&media_type) && !oci::media_type::is_image_manifest(&media_type) {
        return None;
    }
    Some(Facts {
        digest: named.or(head.digest)?,
        media_type,
        size: head.size?,
        at,
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
