//! Whether requests can be served: the database answers.

use super::error::Error;
use super::service::Registry;

/// Reads one row of the database.
///
/// # Errors
/// Storage errors: whatever clients would meet.
pub async fn ready(registry: &Registry) -> Result<(), Error> {
    let page = metadata::CatalogPage {
        after: None,
        limit: 1,
    };
    registry.metadata().catalog(page).await?;
    Ok(())
}
