//! Mounting a blob from another repository instead of uploading it. A miss is not an error: the
//! client uploads then, and learns nothing about the other repository.

use oci::{Digest, RepositoryName};

use super::error::Error;
use super::resolve::Resolved;
use super::service::Registry;
use crate::auth::{Caller, authorize};
use crate::clock::micros;

/// Makes the blob `digest` of `from` (or, without `from`, of any repository that `caller` may pull)
/// part of `at`. Returns whether it was found.
///
/// # Errors
/// [`Error::Mirrored`], [`Error::Shadows`], [`Error::ReadOnly`], storage errors.
pub async fn mount_blob(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    digest: &Digest,
    from: Option<&Resolved>,
) -> Result<bool, Error> {
    registry.refuse_unless_writable(at)?;
    registry.refuse_shadowing(at).await?;
    let sources = match from {
        // Under its plain name too: blobs that were pushed before the name's first manifest lie there.
        Some(from) if from.asked == from.repository => vec![from.asked.clone()],
        Some(from) => vec![from.asked.clone(), from.repository.clone()],
        None => {
            let holders = registry
                .metadata()
                .find_mount_source(digest, &at.repository)
                .await?;
            holders
                .into_iter()
                .filter(|name| may_pull(caller, name))
                .collect()
        }
    };
    for source in sources {
        if mount(registry, caller, at, digest, source).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn mount(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    digest: &Digest,
    source: RepositoryName,
) -> Result<bool, Error> {
    // Only what can be served is mounted; a miss makes the client send it, which repairs it.
    let sound = registry.content.find_blob(&source, digest).await;
    if !matches!(sound, Ok(Some(_))) {
        return Ok(false);
    }
    let outcome = registry
        .metadata()
        .mount_blob(metadata::Mount {
            from: source,
            to: at.repository.clone(),
            digest: *digest,
            by: caller.principal.as_str().to_owned(),
            lease_micros: micros(registry.rules.lease),
        })
        .await?;
    match outcome {
        metadata::MountOutcome::Mounted { .. } => Ok(true),
        metadata::MountOutcome::NotFound => Ok(false),
    }
}

fn may_pull(caller: &Caller, name: &RepositoryName) -> bool {
    let wanted = [(oci::Resource::Repository(name.clone()), oci::Action::Pull)];
    authorize(caller, &wanted)
}
