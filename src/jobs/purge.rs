//! The job that removes mirrored content an operator no longer wants. What is read meanwhile stays readable.

use super::failure::Failure;
use super::live::Tally;
use super::payload::PurgePattern;
use crate::content::Content;

/// Removes what fits the pattern.
pub(super) async fn run(
    content: &Content,
    wanted: &PurgePattern,
    tally: &Tally,
) -> Result<(), Failure> {
    let report = content.purge(&wanted.glob()?).await?;
    tally.count(|progress| {
        progress.manifests = report.manifests;
        progress.bytes_freed = report.bytes;
        progress.kept = report.kept;
    });
    Ok(())
}
