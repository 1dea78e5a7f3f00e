//! Listing repositories: those with at least one manifest, in Distribution's order.

use oci::Page;

use super::error::Error;
use super::service::Registry;
use crate::auth::Caller;

/// A page of repository names.
#[derive(Debug)]
pub struct CatalogPage {
    /// The names.
    pub names: Vec<String>,
    /// The `last` of the next page, if there is one.
    pub next: Option<String>,
}

/// Returns at most `most` repositories after `page.last`.
///
/// # Errors
/// Storage errors.
pub async fn catalog(
    registry: &Registry,
    _caller: &Caller,
    page: &Page,
    most: u64,
) -> Result<CatalogPage, Error> {
    let asked = metadata::CatalogPage {
        after: page.last.clone(),
        limit: most + 1,
    };
    let names = registry.metadata().catalog(asked).await?;
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let next = cut(&mut names, most);
    Ok(CatalogPage { names, next })
}

/// Cuts a list that was asked for with one more than `most`; returns the last of the page when there
/// is a next one. A page of nothing has no next: it would never end.
pub(super) fn cut(list: &mut Vec<String>, most: u64) -> Option<String> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if list.len() <= most {
        return None;
    }
    list.truncate(most);
    list.last().cloned()
}
