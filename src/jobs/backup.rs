//! The job that copies the database. A copy that is broken off leaves nothing, and begun again it begins anew.

use super::failure::Failure;
use super::live::Tally;
use crate::content::Content;

/// Makes a copy.
pub(super) async fn run(content: &Content, tally: &Tally) -> Result<(), Failure> {
    let report = content.back_up().await?;
    tracing::info!(
        name = report.name,
        bytes = report.bytes,
        removed = report.removed,
        "copied the database"
    );
    tally.count(|progress| {
        progress.bytes_done = report.bytes;
        progress.bytes_total = report.bytes;
    });
    Ok(())
}
