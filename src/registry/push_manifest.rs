//! Pushing a manifest: the exact bytes are checked and kept, the references must be here, and the tags
//! move in the same transaction.

use bytes::Bytes;
use oci::{Algorithm, Digest, Reference, Tag};

use super::error::{Error, content_error};
use super::resolve::Resolved;
use super::service::Registry;
use crate::auth::Caller;
use crate::content::{ManifestSource, NewManifest};

/// A manifest as a request brings it.
#[derive(Debug)]
pub struct NewPush<'a> {
    /// The tag or digest it is pushed by.
    pub reference: &'a Reference,
    /// Further tags to point at it.
    pub tags: &'a [Tag],
    /// The type it was sent as.
    pub content_type: Option<&'a str>,
    /// The exact bytes.
    pub bytes: Bytes,
}

/// A manifest that was stored.
#[derive(Debug)]
pub struct PushedManifest {
    /// Its digest.
    pub digest: Digest,
    /// The manifest it refers to, for `OCI-Subject`.
    pub subject: Option<Digest>,
}

/// Stores `push` as a manifest of `at`, and points its tags at it.
///
/// # Errors
/// [`Error::ManifestInvalid`], [`Error::DigestMismatch`], [`Error::MissingReferences`],
/// [`Error::ReferenceSize`], [`Error::Mirrored`], [`Error::Shadows`], [`Error::ReadOnly`], storage
/// errors.
pub async fn push_manifest(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    push: NewPush<'_>,
) -> Result<PushedManifest, Error> {
    registry.refuse_unless_writable(at)?;
    registry.refuse_shadowing(at).await?;
    let bytes = push.bytes;
    let reading = registry.content.read_manifest(&bytes, push.content_type);
    let manifest = reading.await?;
    let (digest, mut all_tags) = match push.reference {
        Reference::Digest(stated) => {
            let actual = Digest::of(stated.algorithm(), &bytes);
            if actual != *stated {
                return Err(Error::DigestMismatch {
                    stated: *stated,
                    actual,
                });
            }
            (actual, Vec::new())
        }
        Reference::Tag(tag) => (Digest::of(Algorithm::Sha256, &bytes), vec![tag.clone()]),
    };
    all_tags.extend_from_slice(push.tags);
    let stored = registry
        .content
        .put_manifest(NewManifest {
            repository: &at.repository,
            digest,
            bytes,
            manifest: &manifest,
            media_type: &manifest.media_type,
            tags: all_tags,
            source: ManifestSource::Push {
                by: caller.principal.as_str(),
                checked: !registry.rules.validation_disabled,
            },
        })
        .await;
    stored.map_err(|error| content_error(error, &at.asked, None))?;
    Ok(PushedManifest {
        digest,
        subject: manifest.subject.map(|subject| subject.digest),
    })
}
