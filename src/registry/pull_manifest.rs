//! Pulling a manifest, and asking whether it exists. The stored bytes and type are served as they are;
//! an index answers with a child only for a client that names no index type.

use std::time::Duration;

use bytes::Bytes;
use metadata::LeaseOf;
use oci::{Digest, Reference, media_type};

use super::error::{Error, content_error, mirror_error};
use super::resolve::{Place, Resolved, Rule};
use super::service::{Found, Registry};
use crate::auth::Caller;
use crate::content::{self, PullFact};
use crate::mirror::{CacheState, ManifestFound, ManifestWanted, Miss, Target, UpstreamError};
use crate::policy::negotiation::Accepted;
use crate::telemetry::{CacheResult, Kind};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ManifestRequest<'a> {
    /// The tag or digest.
    pub reference: &'a Reference,
    /// The bytes, or only the facts.
    pub wanted: ManifestWanted,
    /// The types the client named.
    pub accepted: &'a Accepted,
}

/// A manifest to answer with.
#[derive(Debug)]
pub struct ManifestAnswer {
    /// Its digest: the one asked for, or the one its tag was pushed by.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes, when they were asked for.
    pub bytes: Option<Bytes>,
    /// How a mirrored one came about.
    pub cache: Option<CacheState>,
    /// How it came to be fetched, if it was; a child may be where its index was here.
    pub miss: Option<Miss>,
    /// Since when a mirrored one was not confirmed.
    pub age: Option<Duration>,
}

impl ManifestAnswer {
    fn result(&self) -> CacheResult {
        if self.miss.is_some() {
            return CacheResult::Miss;
        }
        let cache = self.cache.as_ref();
        cache.map_or(CacheResult::Hit, CacheState::result)
    }

    /// Returns how many bytes are sent that were not fetched for this request.
    fn saved(&self) -> u64 {
        let fetched = self.miss.is_some_and(|miss| !miss.joined);
        match &self.bytes {
            Some(bytes) if !fetched => bytes.len() as u64,
            Some(_) | None => 0,
        }
    }
}

/// Returns the manifest of `at` that `request` asks for.
///
/// # Errors
/// [`Error::ManifestUnknown`], [`Error::NameUnknown`], the upstream's answer, storage errors.
pub async fn pull_manifest(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    request: ManifestRequest<'_>,
) -> Result<ManifestAnswer, Error> {
    let answer = negotiated(registry, caller, at, request).await;
    if let Place::Mirror { target, .. } = &at.place {
        let (result, saved) = match &answer {
            Ok(answer) => (answer.result(), answer.saved()),
            Err(_) => (CacheResult::Error, 0),
        };
        let mirror = &registry.mirror;
        mirror.count(target, Kind::Manifest, result, saved);
        if let Ok(answer) = &answer
            && let Some(cache) = &answer.cache
            && request.wanted == ManifestWanted::Bytes
        {
            mirror.prefetch_after(target, &answer.digest, &answer.media_type, cache);
        }
    }
    answer
}

async fn negotiated(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    request: ManifestRequest<'_>,
) -> Result<ManifestAnswer, Error> {
    let ManifestRequest {
        reference,
        wanted,
        accepted,
    } = request;
    let answer = one_manifest(registry, caller, at, reference, wanted).await?;
    if wanted == ManifestWanted::Bytes {
        note_pull(registry, at, answer.digest, Some(reference));
    }
    let by_tag = matches!(reference, Reference::Tag(_));
    let mismatch = accepted.names_others_only(&answer.media_type);
    if !by_tag || !mismatch || !media_type::is_index(&answer.media_type) {
        return Ok(answer);
    }
    let index = match &answer.bytes {
        Some(bytes) => bytes.clone(),
        None => {
            let by_digest = Reference::Digest(answer.digest);
            let whole = one_manifest(registry, caller, at, &by_digest, ManifestWanted::Bytes);
            whole.await?.bytes.unwrap_or_default()
        }
    };
    let media_type = Some(answer.media_type.as_str());
    let Ok(index) = registry.content.read_manifest(&index, media_type).await else {
        return Ok(answer);
    };
    let Some(child) = accepted.fitting_child(&index) else {
        return Ok(answer);
    };
    let child = Reference::Digest(child.digest);
    match one_manifest(registry, caller, at, &child, wanted).await {
        // How fresh the tag is decides how fresh the answer is.
        Ok(found) => {
            if wanted == ManifestWanted::Bytes {
                note_pull(registry, at, found.digest, None);
            }
            Ok(ManifestAnswer {
                cache: answer.cache,
                age: answer.age,
                ..found
            })
        }
        Err(Error::ManifestUnknown { .. }) => Ok(answer),
        Err(error) => Err(error),
    }
}

/// Notes that a client got the manifest, for what is evicted last.
fn note_pull(registry: &Registry, at: &Resolved, digest: Digest, reference: Option<&Reference>) {
    let tag = match reference {
        Some(Reference::Tag(tag)) => Some(tag.clone()),
        Some(Reference::Digest(_)) | None => None,
    };
    registry.content.note_pull(PullFact {
        repository: at.repository.clone(),
        digest,
        tag,
    });
}

async fn one_manifest(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    reference: &Reference,
    wanted: ManifestWanted,
) -> Result<ManifestAnswer, Error> {
    match &at.place {
        Place::Local => local(registry, caller, at, reference, wanted).await,
        Place::Mirror { target, rule } => {
            let found = registry.mirror.manifest(target, reference, wanted).await;
            match found {
                Ok(found) => Ok(answer(found)),
                Err(error) => {
                    let error = mirror_error(error, &at.asked, || unknown(at, reference));
                    if *rule == Rule::Default && wanted == ManifestWanted::Facts {
                        return Err(beside_pushes(registry, target, at, reference, error).await?);
                    }
                    Err(error)
                }
            }
        }
    }
}

async fn local(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    reference: &Reference,
    wanted: ManifestWanted,
) -> Result<ManifestAnswer, Error> {
    let Some(row) = registry
        .metadata()
        .manifest(&at.repository, reference)
        .await?
    else {
        return Err(if registry.is_local(&at.repository).await? {
            unknown(at, reference)
        } else {
            Error::NameUnknown {
                name: at.asked.to_string(),
            }
        });
    };
    let bytes = registry.content.manifest_bytes(&row).await;
    let bytes = match bytes {
        // A damaged manifest is not there: who pushes it again repairs it.
        Err(content::Error::Damaged { .. }) => return Err(unknown(at, reference)),
        bytes => bytes.map_err(|error| content_error(error, &at.asked, None))?,
    };
    let bytes = match wanted {
        ManifestWanted::Bytes => Some(bytes),
        ManifestWanted::Facts => {
            let found = Found {
                repository: &at.repository,
                digest: &row.digest,
                of: LeaseOf::Manifest,
                lease_until: row.lease_until,
            };
            if !registry.lease(caller, at, found).await? {
                return Err(unknown(at, reference));
            }
            None
        }
    };
    Ok(ManifestAnswer {
        digest: row.digest,
        media_type: row.media_type,
        size: row.size,
        bytes,
        cache: None,
        miss: None,
        age: None,
    })
}

/// Before a push, clients ask for the tag. Where nothing of the name was ever mirrored, an upstream
/// that refuses or cannot be asked must not stop the push: to the asker the manifest is unknown.
async fn beside_pushes(
    registry: &Registry,
    target: &Target,
    at: &Resolved,
    reference: &Reference,
    error: Error,
) -> Result<Error, Error> {
    let warning = if let Error::Upstream {
        upstream,
        error: said,
    } = &error
        // A loop is a mistake in the configuration that somebody has to learn of.
        && !matches!(said, UpstreamError::Loop)
        && (matches!(said, UpstreamError::Denied { .. }) || said.is_trouble())
    {
        format!("{upstream}: {said}")
    } else if let Error::Refused { upstream, why, .. } = &error {
        format!("{upstream}: {why}")
    } else {
        return Ok(error);
    };
    let mirrored = registry.metadata();
    if mirrored.has_ever_mirrored(&target.repository).await? {
        return Ok(error);
    }
    tracing::warn!(warning, repository = %at.asked, "answering 404 for an upstream that was not asked or did not answer");
    Ok(Error::UnknownBesideUpstream {
        name: at.asked.to_string(),
        reference: reference.to_string(),
        warning,
    })
}

fn answer(found: ManifestFound) -> ManifestAnswer {
    ManifestAnswer {
        digest: found.digest,
        media_type: found.media_type,
        size: found.size,
        bytes: found.bytes,
        cache: Some(found.cache),
        miss: found.miss,
        age: found.age,
    }
}

fn unknown(at: &Resolved, reference: &Reference) -> Error {
    Error::ManifestUnknown {
        name: at.asked.to_string(),
        reference: reference.to_string(),
    }
}
