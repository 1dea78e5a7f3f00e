//! The job that hashes stored blobs again. Stopped, it goes on where it was; what is damaged and mirrored is fetched again
//! if it is to repair.

use std::sync::Arc;

use super::failure::Failure;
use super::lines::Lines;
use super::payload::ScrubBlobs;
use crate::content::{Action, Content, Problem, ScrubRequest};
use crate::mirror::{Mirror, Refetched};

/// Hashes the blobs, reading at most `rate` bytes in a second, 0 being no limit. Without a `mirror` nothing is fetched.
pub(super) async fn run(
    content: &Content,
    mirror: Option<&Arc<Mirror>>,
    wanted: &ScrubBlobs,
    rate: u64,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let repositories = wanted.glob();
    if repositories.is_none() {
        let (_, bytes) = content.live_blobs().await?;
        lines.tally().count(|progress| progress.bytes_total = bytes);
    }
    let request = ScrubRequest {
        repositories,
        repair: wanted.repair,
        rate,
    };
    let mut scrub = content.scrub(request).await?;
    let tally = lines.tally().clone();
    let mut checked = |bytes| {
        tally.count(|progress| {
            progress.checked += 1;
            progress.bytes_done += bytes;
        });
    };
    while let Some(mut problem) = scrub.next(&mut checked).await? {
        if let Some(mirror) = mirror
            && wanted.repair
            && problem.action == Action::Quarantined
            && fetch_again(content, mirror, &problem).await?
        {
            problem.action = Action::Fetched;
        }
        tally.count(|progress| progress.problems += u64::from(!problem.action.solves()));
        lines.tell(&problem);
    }
    Ok(())
}

/// Fetches what is damaged again, wherever it is mirrored from; tells whether it is right now.
async fn fetch_again(
    content: &Content,
    mirror: &Arc<Mirror>,
    problem: &Problem,
) -> Result<bool, Failure> {
    let Some(digest) = &problem.digest else {
        return Ok(false);
    };
    for (repository, is_manifest) in content.mirrored_holders(digest).await? {
        let what = if is_manifest {
            Refetched::Manifest
        } else {
            Refetched::Blob
        };
        let fetched = Box::pin(mirror.refetch(&repository, digest, what)).await;
        if let Err(error) = fetched {
            tracing::warn!(%repository, %digest, %error, "could not fetch damaged content again");
        }
        if content.has_bytes(digest).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
