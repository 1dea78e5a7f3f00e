//! Jobs: work that goes on without anybody waiting for it. Each is claimed by one statement, for a time and with an
//! epoch, so that no two run the same one and nobody who lost a claim is heard any more.

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::job_lines;
use crate::tx::Tx;
use crate::value::{Row, Value};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for somebody to run it.
    Queued,
    /// Somebody runs it.
    Running,
    /// It did what it was to do.
    Done,
    /// It gave up.
    Failed,
}

impl JobState {
    fn code(self) -> i64 {
        match self {
            Self::Queued => 1,
            Self::Running => 2,
            Self::Done => 3,
            Self::Failed => 4,
        }
    }

    fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Queued),
            2 => Some(Self::Running),
            3 => Some(Self::Done),
            4 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A job to be done.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What kind of work it is.
    pub kind: String,
    /// What makes two jobs the same: of these only one is queued or running.
    pub unique_key: String,
    /// The work, as JSON.
    pub payload: String,
}

/// A job as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Its id; later jobs have higher ones.
    pub id: i64,
    /// What kind of work it is.
    pub kind: String,
    /// The work, as JSON.
    pub payload: String,
    /// How far it is.
    pub state: JobState,
    /// What it has done so far, as JSON.
    pub progress: Option<String>,
    /// Why it failed, or what it waits for.
    pub error: Option<String>,
    /// Since when it brings nothing, in microseconds since 1970.
    pub stalled_since: Option<i64>,
    /// When it was queued, in microseconds since 1970.
    pub created_at: i64,
    /// When it was first claimed, in microseconds since 1970.
    pub started_at: Option<i64>,
    /// When it was done or failed, in microseconds since 1970.
    pub finished_at: Option<i64>,
}

/// The right to run a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub id: i64,
    /// Counts its claims.
    pub epoch: i64,
}

/// A job and the right to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedJob {
    /// The right.
    pub claim: Claim,
    /// The job.
    pub row: JobRow,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// With this reason.
    Failed(String),
}

/// A job that is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postponed {
    /// How long nobody shall claim it, in microseconds.
    pub pause_micros: i64,
    /// What it has done so far, as JSON.
    pub progress: Option<String>,
    /// What it waits for.
    pub reason: Option<String>,
    /// Since when it brings nothing, in microseconds since 1970.
    pub stalled_since: Option<i64>,
}

/// The time at which a schedule wants a job.
#[derive(Clone, Debug)]
pub struct Tick {
    /// The schedule.
    pub schedule: String,
    /// The time, in microseconds since 1970.
    pub at: i64,
    /// The job.
    pub job: NewJob,
}

macro_rules! columns {
    () => {
        "id, kind, payload, state, progress, error, stalled_since, created_at, started_at, finished_at, epoch"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO jobs (kind, unique_key, payload, state, run_after, created_at) \
     VALUES ($1, $2, $3, 1, $4, $4) \
     ON CONFLICT (unique_key) WHERE state IN (1, 2) DO NOTHING RETURNING ",
    columns!()
);

pub(crate) const OPEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM jobs WHERE unique_key = $1 AND state IN (1, 2)"
);

/// Asked first, so that a server without work writes nothing.
pub(crate) const DUE: &str = "SELECT 1 FROM jobs WHERE state IN (1, 2) AND run_after <= $2 \
    AND (state = 1 OR (claimed_until <= $2 AND claimed_by <> $1)) AND (kind = $3 OR $3 IS NULL) LIMIT 1";

const QUEUED: &str = "SELECT count(*) FROM jobs WHERE state = 1";

/// Nobody takes a job over from himself: a process knows what it runs, however long its heartbeat took.
pub(crate) const CLAIM: &str = concat!(
    "UPDATE jobs SET state = 2, claimed_by = $1, claimed_until = $3, epoch = epoch + 1, \
        started_at = coalesce(started_at, $2) \
     WHERE id = (SELECT id FROM jobs \
        WHERE state IN (1, 2) AND run_after <= $2 \
            AND (state = 1 OR (claimed_until <= $2 AND claimed_by <> $1)) AND (kind = $4 OR $4 IS NULL) \
        ORDER BY run_after, id LIMIT 1) \
     RETURNING ",
    columns!()
);

const HEARTBEAT: &str = "UPDATE jobs SET claimed_until = $3, progress = $4 \
    WHERE id = $1 AND epoch = $2 AND state = 2";

const FINISH: &str = "UPDATE jobs SET state = $3, progress = coalesce($4, progress), error = $5, finished_at = $6, \
        claimed_by = NULL, claimed_until = NULL, stalled_since = NULL \
    WHERE id = $1 AND epoch = $2 AND state = 2";

const POSTPONE: &str = "UPDATE jobs SET state = 1, run_after = $3, progress = coalesce($4, progress), error = $5, \
        stalled_since = $6, claimed_by = NULL, claimed_until = NULL \
    WHERE id = $1 AND epoch = $2 AND state = 2";

const RELEASE: &str = "UPDATE jobs SET state = 1, claimed_by = NULL, claimed_until = NULL \
    WHERE state = 2 AND claimed_by <> $1";

const FORGET_OLD: &str = "DELETE FROM jobs WHERE finished_at <= $1";

const FORGET_MANY: &str = "DELETE FROM jobs WHERE finished_at IS NOT NULL AND id NOT IN \
    (SELECT id FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT $1)";

pub(crate) const JOB: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1");

pub(crate) const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2"
);

const HANDLED: &str = "SELECT handled_until FROM schedules WHERE name = $1";

const FIRST_SEEN: &str = "INSERT INTO schedules (name, handled_until) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET handled_until = excluded.handled_until WHERE schedules.handled_until > $3";

/// How far a schedule may have been followed beyond the present, in microseconds.
const WRONG_CLOCK: i64 = 3600 * 1_000_000;

const TICKED: &str =
    "UPDATE schedules SET handled_until = $2 WHERE name = $1 AND handled_until < $2";

impl Metadata {
    /// Queues a job, unless the same one is queued or running: then that is returned.
    pub async fn queue_job(&self, job: NewJob) -> Result<JobRow> {
        self.write(job, |tx, job| Box::pin(queue(tx, job))).await
    }

    /// Claims the job (of `kind`, if one is given) that has been due for longest for `micros` microseconds: a queued one, or one whose claim by
    /// someone else has ended.
    pub async fn claim_job(
        &self,
        by: &str,
        micros: i64,
        kind: Option<&str>,
    ) -> Result<Option<ClaimedJob>> {
        let input = (by.to_owned(), micros, kind.map(str::to_owned));
        let due = self.read(input.clone(), |tx, (by, _, kind)| {
            Box::pin(async move {
                let asked = [by.as_str().into(), tx.now().into(), kind.as_deref().into()];
                Ok(tx.query_one(DUE, &asked).await?.is_some())
            })
        });
        if !due.await? {
            return Ok(None);
        }
        self.write(input, |tx, (by, micros, kind)| {
            Box::pin(async move {
                let now = tx.now();
                let until = now.saturating_add(*micros);
                let claimed = [
                    by.as_str().into(),
                    now.into(),
                    until.into(),
                    kind.as_deref().into(),
                ];
                let row = tx.query_one(CLAIM, &claimed).await?;
                row.map(|row| claimed_job(&row)).transpose()
            })
        })
        .await
    }

    /// Returns how many jobs are queued.
    pub async fn queued_jobs(&self) -> Result<u64> {
        self.read((), |tx, ()| {
            Box::pin(async move {
                let row = tx.query_one(QUEUED, &[]).await?;
                row.map_or(Ok(0), |row| row.u64(0))
            })
        })
        .await
    }

    /// Extends a claim to `micros` microseconds from now and notes the progress (JSON). Returns false when somebody
    /// else has the job; nothing is written then.
    pub async fn hold_job(&self, claim: Claim, progress: &str, micros: i64) -> Result<bool> {
        self.write(
            (claim, progress.to_owned(), micros),
            |tx, (claim, progress, micros)| {
                Box::pin(async move {
                    let until = tx.now().saturating_add(*micros);
                    let held = [
                        claim.id.into(),
                        claim.epoch.into(),
                        until.into(),
                        progress.as_str().into(),
                    ];
                    Ok(tx.execute(HEARTBEAT, &held).await? > 0)
                })
            },
        )
        .await
    }

    /// Ends a job. Returns false when somebody else has it; nothing is written then.
    pub async fn finish_job(
        &self,
        claim: Claim,
        outcome: Outcome,
        progress: Option<String>,
    ) -> Result<bool> {
        self.write(
            (claim, outcome, progress),
            |tx, (claim, outcome, progress)| {
                Box::pin(async move {
                    let (state, error) = match outcome {
                        Outcome::Done => (JobState::Done, None),
                        Outcome::Failed(reason) => (JobState::Failed, Some(reason.as_str())),
                    };
                    let ended: [Value; 6] = [
                        claim.id.into(),
                        claim.epoch.into(),
                        state.code().into(),
                        progress.as_deref().into(),
                        error.into(),
                        tx.now().into(),
                    ];
                    Ok(tx.execute(FINISH, &ended).await? > 0)
                })
            },
        )
        .await
    }

    /// Puts a job back into the queue. Returns false when somebody else has it; nothing is written then.
    pub async fn postpone_job(&self, claim: Claim, postponed: Postponed) -> Result<bool> {
        self.write((claim, postponed), |tx, (claim, postponed)| {
            Box::pin(async move {
                let run_after = tx.now().saturating_add(postponed.pause_micros);
                let put_back: [Value; 6] = [
                    claim.id.into(),
                    claim.epoch.into(),
                    run_after.into(),
                    postponed.progress.as_deref().into(),
                    postponed.reason.as_deref().into(),
                    postponed.stalled_since.into(),
                ];
                Ok(tx.execute(POSTPONE, &put_back).await? > 0)
            })
        })
        .await
    }

    /// Puts every running job back that is not claimed by `by`, whatever time its claim has left, and returns how
    /// many: for the start of the only process that uses this database.
    pub async fn release_jobs_of_others(&self, by: &str) -> Result<u64> {
        self.write(by.to_owned(), |tx, by| {
            Box::pin(async move { tx.execute(RELEASE, &[by.as_str().into()]).await })
        })
        .await
    }

    /// Forgets jobs that ended `micros` microseconds ago or earlier, and all but the last `most` that ended, with their lines.
    pub async fn forget_jobs(&self, micros: i64, most: u32) -> Result<u64> {
        self.write((micros, most), |tx, (micros, most)| {
            Box::pin(async move {
                let before = tx.now().saturating_sub(*micros);
                job_lines::forget(tx, before, *most).await?;
                let old = tx.execute(FORGET_OLD, &[before.into()]).await?;
                let many = tx.execute(FORGET_MANY, &[i64::from(*most).into()]).await?;
                Ok(old + many)
            })
        })
        .await
    }

    /// Returns a job.
    pub async fn job(&self, id: i64) -> Result<Option<JobRow>> {
        self.read(id, |tx, id| {
            Box::pin(async move {
                let row = tx.query_one(JOB, &[(*id).into()]).await?;
                row.map(|row| job_row(&row)).transpose()
            })
        })
        .await
    }

    /// Returns up to `limit` jobs, the latest first, of those with an id below `before`.
    pub async fn jobs(&self, before: Option<i64>, limit: u32) -> Result<Vec<JobRow>> {
        self.read((before, limit), |tx, (before, limit)| {
            Box::pin(async move {
                let page = [before.unwrap_or(i64::MAX).into(), i64::from(*limit).into()];
                tx.query(LIST, &page).await?.iter().map(job_row).collect()
            })
        })
        .await
    }

    /// Returns the time after which the ticks of a schedule count, in microseconds since 1970. One that was never
    /// seen counts from `now` on, and so does one that was followed further than an hour beyond it: by a clock that
    /// was wrong.
    pub async fn schedule_handled_until(&self, schedule: &str, now: i64) -> Result<i64> {
        let latest = now.saturating_add(WRONG_CLOCK);
        let known = self.read(schedule.to_owned(), |tx, name| {
            Box::pin(async move { tx.query_one(HANDLED, &[name.as_str().into()]).await })
        });
        if let Some(row) = known.await?
            && row.i64(0)? <= latest
        {
            return row.i64(0);
        }
        self.write(
            (schedule.to_owned(), now, latest),
            |tx, (name, now, latest)| {
                Box::pin(async move {
                    let seen = [name.as_str().into(), (*now).into(), (*latest).into()];
                    tx.execute(FIRST_SEEN, &seen).await?;
                    let row = tx.query_one(HANDLED, &[name.as_str().into()]).await?;
                    row.ok_or_else(|| Error::corrupt("a schedule has no row"))?
                        .i64(0)
                })
            },
        )
        .await
    }

    /// Queues the job of a tick and notes that the schedule was followed so far, both or neither. Returns nothing
    /// when that tick or a later one was taken before.
    pub async fn take_tick(&self, tick: Tick) -> Result<Option<JobRow>> {
        self.write(tick, |tx, tick| {
            Box::pin(async move {
                let ticked = [tick.schedule.as_str().into(), tick.at.into()];
                if tx.execute(TICKED, &ticked).await? == 0 {
                    return Ok(None);
                }
                queue(tx, &tick.job).await.map(Some)
            })
        })
        .await
    }
}

async fn queue(tx: &mut Tx, job: &NewJob) -> Result<JobRow> {
    let columns = [
        job.kind.as_str().into(),
        job.unique_key.as_str().into(),
        job.payload.as_str().into(),
        tx.now().into(),
    ];
    if let Some(row) = tx.query_one(INSERT, &columns).await? {
        return job_row(&row);
    }
    let same = tx
        .query_one(OPEN, &[job.unique_key.as_str().into()])
        .await?;
    job_row(&same.ok_or_else(|| Error::corrupt("a job is there and is not"))?)
}

fn claimed_job(row: &Row) -> Result<ClaimedJob> {
    let claim = Claim {
        id: row.i64(0)?,
        epoch: row.i64(10)?,
    };
    let row = job_row(row)?;
    Ok(ClaimedJob { claim, row })
}

fn job_row(row: &Row) -> Result<JobRow> {
    Ok(JobRow {
        id: row.i64(0)?,
        kind: row.text(1)?.to_owned(),
        payload: row.text(2)?.to_owned(),
        state: row.code(3, JobState::from_code)?,
        progress: row.opt_text(4)?.map(str::to_owned),
        error: row.opt_text(5)?.map(str::to_owned),
        stalled_since: row.opt_i64(6)?,
        created_at: row.i64(7)?,
        started_at: row.opt_i64(8)?,
        finished_at: row.opt_i64(9)?,
    })
}
