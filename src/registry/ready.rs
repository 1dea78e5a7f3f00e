//! Whether requests can be served: the start is finished and the database answers.

use super::error::Error;
use super::service::Registry;

/// Reads one row of the database, unless the start is not finished yet.
///
/// # Errors
/// [`Error::Preparing`], and storage errors: whatever clients would meet.
pub async fn ready(registry: &Registry) -> Result<(), Error> {
    registry.preparation.check()?;
    let page = metadata::CatalogPage {
        after: None,
        limit: 1,
    };
    registry.metadata().catalog(page).await?;
    Ok(())
}
