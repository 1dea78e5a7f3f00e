//! Putting a tag back to where it pointed before. Only digests of the tag's own history count, so that nobody reaches by it
//! what was never here under that name; a manifest that was deleted meanwhile comes back as a push of the same bytes would
//! bring it.

use jiff::Timestamp;
use metadata::{Origin, RepositoryKind, SetTag};
use oci::{Digest, Reference, RepositoryName, Tag};

use super::error::{Error, content_error};
use super::resolve::{Intent, Resolved, resolve};
use super::service::Registry;
use crate::auth::Caller;
use crate::content::{self, ManifestSource, NewManifest};
use crate::mirror::Via;

/// A tag that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredTag {
    /// Where it pointed until now; `None` where it was deleted.
    pub from: Option<Digest>,
    /// Where it points.
    pub to: Digest,
    /// Whether its manifest had been deleted and was put back too.
    pub manifest_restored: bool,
}

/// Why a tag was not put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no history of such a tag.
    #[error("{name} has no history of a tag {tag}")]
    NoHistory {
        /// The repository.
        name: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// The tag was made by its last move.
    #[error("{name}:{tag} pointed nowhere before its last move; name the digest it is to have")]
    NothingBefore {
        /// The repository.
        name: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// The digest is not of this tag's history.
    #[error("{name}:{tag} never pointed to {digest}, as far back as its history goes")]
    NeverThere {
        /// The repository.
        name: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The digest asked for.
        digest: Digest,
    },
    /// What the tag pointed to is no longer here whole.
    #[error("{digest} is gone: {name}:{tag} {}, and {} is no longer stored whole", left(*.since), part(.lost.as_ref()))]
    Gone {
        /// The repository.
        name: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The digest to go back to.
        digest: Digest,
        /// When the tag last left it, in microseconds since 1970.
        since: i64,
        /// What of it is gone, where it is not all.
        lost: Option<Digest>,
    },
    /// As for any other write.
    #[error(transparent)]
    Registry(#[from] Error),
}

impl From<metadata::Error> for RestoreError {
    fn from(error: metadata::Error) -> Self {
        Self::Registry(error.into())
    }
}

fn left(since: i64) -> String {
    match Timestamp::from_second(since.div_euclid(1_000_000)) {
        Ok(time) => format!("left it at {time}"),
        Err(_) => "left it".to_owned(),
    }
}

fn part(lost: Option<&Digest>) -> String {
    lost.map_or_else(|| "it".to_owned(), |lost| format!("its part {lost}"))
}

/// Points a tag to a digest of its history: to `wanted`, or to where it pointed before its last move.
///
/// # Errors
/// [`RestoreError`]: what is not in the history or is gone, and as for pushes a mirrored repository, a read-only server and
/// storage errors.
pub async fn restore_tag(
    registry: &Registry,
    caller: &Caller,
    (name, tag): (&RepositoryName, &Tag),
    wanted: Option<&Digest>,
) -> Result<RestoredTag, RestoreError> {
    let at = writable(registry, name).await?;
    let metadata = registry.metadata();
    let last = metadata.tag_moves(name, tag, None, 1).await?.pop();
    let last = last.ok_or_else(|| RestoreError::NoHistory {
        name: name.clone(),
        tag: tag.clone(),
    })?;
    let digest = wanted.copied().or(last.from);
    let digest = digest.ok_or_else(|| RestoreError::NothingBefore {
        name: name.clone(),
        tag: tag.clone(),
    })?;
    let moved = metadata.last_move_of(name, tag, &digest).await?;
    let moved = moved.ok_or_else(|| RestoreError::NeverThere {
        name: name.clone(),
        tag: tag.clone(),
        digest,
    })?;
    let reference = Reference::Digest(digest);
    let is_here = metadata.manifest(name, &reference).await?.is_some();
    let manifest_restored = if is_here {
        !point(registry, caller, (name, tag), &digest).await?
    } else {
        true
    };
    if manifest_restored {
        registry.refuse_shadowing(&at).await?;
        let put_back = put_back(registry, caller, &at, (tag, &digest)).await;
        put_back.map_err(|trouble| match trouble {
            Trouble::Gone(lost) => RestoreError::Gone {
                name: name.clone(),
                tag: tag.clone(),
                digest,
                since: moved.at,
                lost,
            },
            Trouble::Refused(error) => error.into(),
        })?;
    }
    Ok(RestoredTag {
        from: last.to,
        to: digest,
        manifest_restored,
    })
}

/// Refuses what takes no writes, whatever the configuration now says its name is.
async fn writable(registry: &Registry, name: &RepositoryName) -> Result<Resolved, Error> {
    let at = resolve(registry, name, None, Intent::Write, &Via::none()).await?;
    registry.refuse_unless_writable(&at)?;
    let repository = registry.metadata().repository(name).await?;
    match repository.map(|repository| repository.kind) {
        None => Err(Error::NameUnknown {
            name: name.to_string(),
        }),
        Some(RepositoryKind::Mirror { upstream }) => Err(Error::Mirrored {
            name: name.clone(),
            upstream,
        }),
        Some(RepositoryKind::Local) => Ok(at),
    }
}

/// Points the tag to a manifest that was here a moment ago; false when it no longer is.
async fn point(
    registry: &Registry,
    caller: &Caller,
    (name, tag): (&RepositoryName, &Tag),
    digest: &Digest,
) -> Result<bool, Error> {
    let metadata = registry.metadata();
    let set = SetTag {
        repository: name.clone(),
        tag: tag.clone(),
        digest: *digest,
        by: caller.principal.as_str().to_owned(),
        origin: Origin::Pushed,
        checked_at: metadata.now(),
    };
    Ok(metadata.set_tag(set).await?)
}

/// Why a deleted manifest did not come back.
enum Trouble {
    /// It, or a part of it, is no longer here.
    Gone(Option<Digest>),
    Refused(Error),
}

/// Stores a deleted manifest again from its bytes, with the tag, under the rules for a push.
async fn put_back(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    (tag, digest): (&Tag, &Digest),
) -> Result<(), Trouble> {
    let content = &registry.content;
    let bytes = content.bytes_of_deleted(digest).await;
    let failed = |error| Trouble::Refused(content_error(error, &at.asked, None));
    let bytes = bytes.map_err(failed)?.ok_or(Trouble::Gone(None))?;
    let manifest = content.read_manifest(&bytes, None).await;
    let manifest = manifest.map_err(|error| Trouble::Refused(error.into()))?;
    let new = NewManifest {
        repository: &at.repository,
        digest: *digest,
        bytes,
        manifest: &manifest,
        media_type: &manifest.media_type,
        tags: vec![tag.clone()],
        source: ManifestSource::Push {
            by: caller.principal.as_str(),
            checked: !registry.rules.validation_disabled,
        },
    };
    content
        .put_manifest(new)
        .await
        .map_err(|error| match error {
            content::Error::MissingReferences { first, .. } => {
                Trouble::Gone(first.first().copied())
            }
            error => failed(error),
        })
}
