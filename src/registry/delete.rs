//! Deleting a tag, a manifest or a repository's hold on a blob. Bytes stay until they are collected;
//! membership ends at once.

use oci::{Digest, Reference};

use super::error::{Error, content_error};
use super::resolve::Resolved;
use super::service::Registry;
use crate::auth::Caller;

/// Deletes the tag, or the manifest with all its tags.
///
/// # Errors
/// [`Error::DeleteDisabled`], [`Error::ReadOnly`], [`Error::Mirrored`], [`Error::ManifestUnknown`],
/// storage errors.
pub async fn delete_manifest(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    reference: &Reference,
) -> Result<(), Error> {
    refuse_unless_deletable(registry, at)?;
    let deleted = registry
        .content
        .delete_manifest(&at.repository, reference, caller.principal.as_str())
        .await;
    let deleted = deleted.map_err(|error| content_error(error, &at.asked, None))?;
    if deleted {
        return Ok(());
    }
    Err(Error::ManifestUnknown {
        name: at.asked.to_string(),
        reference: reference.to_string(),
    })
}

/// Ends the repository's hold on the blob.
///
/// # Errors
/// As [`delete_manifest`], and [`Error::BlobUnknown`].
pub async fn delete_blob(
    registry: &Registry,
    _caller: &Caller,
    at: &Resolved,
    digest: &Digest,
) -> Result<(), Error> {
    refuse_unless_deletable(registry, at)?;
    let deleted = registry.content.delete_blob(&at.repository, digest).await;
    if deleted.map_err(|error| content_error(error, &at.asked, None))? {
        return Ok(());
    }
    Err(Error::BlobUnknown {
        name: at.asked.to_string(),
        digest: *digest,
    })
}

fn refuse_unless_deletable(registry: &Registry, at: &Resolved) -> Result<(), Error> {
    registry.refuse_unless_writable(at)?;
    if registry.rules.delete_enabled {
        Ok(())
    } else {
        Err(Error::DeleteDisabled)
    }
}
