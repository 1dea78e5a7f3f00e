//! Telling the moves of a tag: of any repository here, mirrored ones included, where the moves are the upstream's as they were
//! seen from here.

use metadata::Origin;
use oci::{Digest, Reference, RepositoryName, Tag};

use super::error::Error;
use super::service::Registry;
use crate::auth::Caller;

/// A move of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMove {
    /// Its place in the history; later moves have higher ones.
    pub id: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Who did it, as `realm:subject` or `anonymous`.
    pub by: String,
    /// How the tag came to point there.
    pub origin: &'static str,
    /// Where it pointed before; `None` when it was made.
    pub from: Option<Digest>,
    /// Where it points since; `None` when it was deleted.
    pub to: Option<Digest>,
}

impl From<metadata::TagMove> for TagMove {
    fn from(moved: metadata::TagMove) -> Self {
        Self {
            id: moved.id,
            at: moved.at,
            by: moved.by,
            origin: match moved.origin {
                Origin::Pushed => "pushed",
                Origin::Mirrored => "mirrored",
                Origin::Imported => "imported",
                Origin::Mounted => "mounted",
            },
            from: moved.from,
            to: moved.to,
        }
    }
}

/// Returns up to `limit` moves of a tag, the latest first, of those before the move `before`. A tag that was there before
/// moves were kept has none.
///
/// # Errors
/// [`Error::ManifestUnknown`] for a tag that neither is there nor ever was, storage errors.
pub async fn tag_history(
    registry: &Registry,
    _caller: &Caller,
    (repository, tag): (&RepositoryName, &Tag),
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<TagMove>, Error> {
    let metadata = registry.metadata();
    let moves = metadata.tag_moves(repository, tag, before, limit).await?;
    if moves.is_empty() && before.is_none() {
        let reference = Reference::Tag(tag.clone());
        if metadata.manifest(repository, &reference).await?.is_none() {
            return Err(Error::ManifestUnknown {
                name: repository.to_string(),
                reference: tag.to_string(),
            });
        }
    }
    Ok(moves.into_iter().map(TagMove::from).collect())
}
