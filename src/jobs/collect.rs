//! The job that collects what nothing names any more, at once and with the grace that was asked for. What runs by itself, every
//! `gc.interval`, is the content room's own; both do the same, one at a time.

use oci::Digest;
use serde::Serialize;

use super::failure::Failure;
use super::lines::Lines;
use super::payload::CollectNow;
use crate::content::{CollectRequest, Collected, Content};

/// What is gone, or would be.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Manifest {
        repository: &'a str,
        digest: &'a Digest,
    },
    Blob {
        digest: &'a Digest,
        size: u64,
    },
}

/// Collects; deletes at most `rate` files in a second, 0 being no limit.
pub(super) async fn run(
    content: &Content,
    wanted: &CollectNow,
    rate: u64,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let request = CollectRequest {
        grace: wanted.grace(),
        delete_untagged: wanted.delete_untagged,
        dry_run: wanted.dry_run,
        rate,
    };
    let tally = lines.tally().clone();
    let mut found = |found: Collected<'_>| match found {
        Collected::Manifest { repository, digest } => {
            let repository = repository.as_str();
            lines.tell(&Line::Manifest { repository, digest });
            tally.count(|progress| progress.manifests += 1);
        }
        Collected::Blob { digest, size } => {
            lines.tell(&Line::Blob { digest, size });
            tally.count(|progress| {
                progress.blobs += 1;
                progress.bytes_freed += size;
            });
        }
        Collected::Reviewed(reviewed) => tally.count(|progress| progress.reviewed = reviewed),
    };
    let report = content.collect(&request, &mut found).await?;
    let stored = content.count_blobs().await?;
    let would_go = if wanted.dry_run { report.blobs } else { 0 };
    tally.count(|progress| {
        progress.reviewed = report.reviewed;
        progress.manifests = report.manifests;
        progress.blobs = report.blobs;
        progress.bytes_freed = report.bytes;
        progress.kept = report.postponed;
        progress.remaining = stored.saturating_sub(would_go);
        progress.held_until = report.held_until;
    });
    Ok(())
}
