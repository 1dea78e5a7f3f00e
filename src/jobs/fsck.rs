//! The job that compares rows with files. Stopped, it begins anew: it is quick, and what it did is done.

use super::failure::Failure;
use super::lines::Lines;
use super::payload::CompareAll;
use crate::content::{Content, FsckRequest};

/// Compares; what has to be hashed is read at most at `rate` bytes in a second, 0 being no limit.
pub(super) async fn run(
    content: &Content,
    wanted: &CompareAll,
    rate: u64,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let request = FsckRequest {
        repair: wanted.repair,
        rate,
    };
    let mut fsck = content.fsck(request).await?;
    let tally = lines.tally().clone();
    let mut checked = |_| tally.count(|progress| progress.checked += 1);
    while let Some(problem) = fsck.next(&mut checked).await? {
        tally.count(|progress| progress.problems += u64::from(!problem.action.solves()));
        lines.tell(&problem);
    }
    Ok(())
}
