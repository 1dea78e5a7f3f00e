//! Listing tags: bytewise order, pages by the last tag seen.

use oci::Page;

use super::error::{Error, mirror_error};
use super::resolve::{Place, Resolved};
use super::service::Registry;
use crate::auth::Caller;
use crate::mirror;
use crate::telemetry::{CacheResult, Kind};

/// The most tags in one answer to a request that names a number.
const MOST: u64 = 10_000;

/// A page of tags.
#[derive(Debug)]
pub struct TagsAnswer {
    /// The tags.
    pub tags: Vec<String>,
    /// The `last` of the next page, if there is one.
    pub next: Option<String>,
    /// Why a mirrored list is the one known here, for the `Warning` header.
    pub stale: Option<String>,
    /// Whether the list is of a mirrored repository.
    pub mirrored: bool,
}

/// Returns how a mirrored list is counted.
pub(super) fn list_result<T>(
    answer: &Result<T, mirror::Error>,
    is_stale: impl Fn(&T) -> bool,
) -> CacheResult {
    match answer {
        Ok(found) if is_stale(found) => CacheResult::Stale,
        Ok(_) => CacheResult::Miss,
        Err(_) => CacheResult::Error,
    }
}

/// Returns a page of the tags of `at`.
///
/// # Errors
/// [`Error::NameUnknown`], the upstream's answer, storage errors.
pub async fn tags(
    registry: &Registry,
    _caller: &Caller,
    at: &Resolved,
    page: &Page,
) -> Result<TagsAnswer, Error> {
    let unknown = || Error::NameUnknown {
        name: at.asked.to_string(),
    };
    if let Place::Mirror { target, .. } = &at.place {
        let found = registry.mirror.tags(target, page).await;
        let result = list_result(&found, |found| found.stale.is_some());
        registry.mirror.count(target, Kind::Tags, result, 0);
        let found = found.map_err(|error| mirror_error(error, &at.asked, unknown))?;
        return Ok(TagsAnswer {
            tags: found.tags,
            next: found.next,
            stale: found.stale,
            mirrored: true,
        });
    }
    let most = page.n.map(|n| n.min(MOST));
    // One more than asked for tells whether there is a next page.
    let tags = registry
        .metadata()
        .tags(
            &at.repository,
            page.last.as_deref(),
            most.map(|most| most + 1),
        )
        .await?;
    let mut tags = tags.ok_or_else(unknown)?;
    let next = most.and_then(|most| Page::cut(&mut tags, most));
    Ok(TagsAnswer {
        tags,
        next,
        stale: None,
        mirrored: false,
    })
}
