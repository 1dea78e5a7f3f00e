//! What jobs found, line by line, for whoever reads it later. Lines are appended in batches by who runs the job, are told in
//! pages, and go with their job; there are never more of them than a list bears.

use crate::database::Metadata;
use crate::error::Result;
use crate::jobs::Claim;
use crate::tx::Tx;

/// Most lines that are kept of one job.
pub const JOB_LINES_MAX: u64 = 100_000;

/// Of how many jobs that ended lines are kept.
const JOBS_WITH_LINES: i64 = 32;

/// A line of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLine {
    /// Its place among the lines of its job, from 0 on.
    pub position: i64,
    /// What was found, as JSON.
    pub line: String,
}

/// Only who has the job writes, and who had it last may still write what it found.
pub(crate) const HELD: &str = "SELECT 1 FROM jobs WHERE id = $1 AND epoch = $2";

pub(crate) const LAST: &str =
    "SELECT position FROM job_lines WHERE job_id = $1 ORDER BY position DESC LIMIT 1";

const APPEND: &str = "INSERT INTO job_lines (job_id, position, line) VALUES ($1, $2, $3)";

const CLEAR: &str = "DELETE FROM job_lines WHERE job_id = $1";

pub(crate) const PAGE: &str = "SELECT position, line FROM job_lines WHERE job_id = $1 AND position >= $2 \
    ORDER BY position LIMIT $3";

const FORGET_OLD: &str =
    "DELETE FROM job_lines WHERE job_id IN (SELECT id FROM jobs WHERE finished_at <= $1)";

const FORGET_MANY: &str = "DELETE FROM job_lines WHERE job_id IN \
    (SELECT id FROM jobs WHERE finished_at IS NOT NULL AND id NOT IN \
        (SELECT id FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT $1))";

const FORGET_LINES: &str = "DELETE FROM job_lines WHERE job_id IN \
    (SELECT id FROM jobs WHERE finished_at IS NOT NULL AND id NOT IN \
        (SELECT j.id FROM jobs j WHERE j.finished_at IS NOT NULL \
            AND EXISTS (SELECT 1 FROM job_lines l WHERE l.job_id = j.id) \
            ORDER BY j.finished_at DESC, j.id DESC LIMIT $1))";

impl Metadata {
    /// Appends lines (JSON each) to the job of `claim`. Returns how many were taken, the first ones: fewer than were given when the job has
    /// [`JOB_LINES_MAX`] of them, none when somebody else has the job or it is gone.
    pub async fn append_job_lines(&self, claim: Claim, lines: Vec<String>) -> Result<u64> {
        self.write((claim, lines), |tx, (claim, lines)| {
            Box::pin(async move {
                let held = [claim.id.into(), claim.epoch.into()];
                if tx.query_one(HELD, &held).await?.is_none() {
                    return Ok(0);
                }
                let last = tx.query_one(LAST, &[claim.id.into()]).await?;
                let next = last.map_or(Ok(0), |row| row.i64(0).map(|last| last + 1))?;
                let room = JOB_LINES_MAX.saturating_sub(next.unsigned_abs());
                let taken = room.min(lines.len() as u64);
                for (position, line) in (next..)
                    .zip(lines)
                    .take(usize::try_from(taken).unwrap_or(0))
                {
                    let row = [claim.id.into(), position.into(), line.as_str().into()];
                    tx.execute(APPEND, &row).await?;
                }
                Ok(taken)
            })
        })
        .await
    }

    /// Forgets the lines of the job of `claim`, which begins anew. Returns false when somebody else has the job; nothing is written then.
    pub async fn clear_job_lines(&self, claim: Claim) -> Result<bool> {
        self.write(claim, |tx, claim| {
            Box::pin(async move {
                let held = [claim.id.into(), claim.epoch.into()];
                if tx.query_one(HELD, &held).await?.is_none() {
                    return Ok(false);
                }
                tx.execute(CLEAR, &[claim.id.into()]).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Returns up to `limit` lines of a job, from the one at `from` on, in their order.
    pub async fn job_lines(&self, job: i64, from: i64, limit: u32) -> Result<Vec<JobLine>> {
        self.read((job, from, limit), |tx, (job, from, limit)| {
            Box::pin(async move {
                let page = [(*job).into(), (*from).into(), i64::from(*limit).into()];
                let rows = tx.query(PAGE, &page).await?;
                let line = |row: &crate::value::Row| {
                    Ok(JobLine {
                        position: row.i64(0)?,
                        line: row.text(1)?.to_owned(),
                    })
                };
                rows.iter().map(line).collect()
            })
        })
        .await
    }
}

/// Forgets the lines of jobs that are about to be forgotten (those that ended before `before`, and all but the last `most`), and of all but
/// the last jobs that have some.
pub(crate) async fn forget(tx: &mut Tx, before: i64, most: u32) -> Result<()> {
    tx.execute(FORGET_OLD, &[before.into()]).await?;
    tx.execute(FORGET_MANY, &[i64::from(most).into()]).await?;
    tx.execute(FORGET_LINES, &[JOBS_WITH_LINES.into()]).await?;
    Ok(())
}
