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
    let next = Page::cut(&mut names, most);
    Ok(CatalogPage { names, next })
}
