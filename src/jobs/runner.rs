//! Runs jobs, a few at a time: claims, holds the claim while it works, records how it ended. A process that is
//! stopped puts its jobs back; what a killed one ran is put back at the next start.

use std::sync::Arc;
use std::time::Duration;

use metadata::{Claim, ClaimedJob, Outcome, Postponed};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::ending::{Before, Ending, ending};
use super::failure::Failure;
use super::lines::{Earlier, Lines};
use super::live::Tally;
use super::payload::Payload;
use super::service::{Inner, Jobs};
use super::view::{JobKind, Progress};
use super::{backup, collect, export_links, fsck, purge, schedule, scrub, warm};
use crate::content;

/// Jobs that run at the same time; one more, if it makes room: who needs room does not wait for what takes it.
const AT_ONCE: usize = 2;

/// How often the runner looks for due work that nobody told it of.
const LOOK: Duration = Duration::from_secs(30);

/// How long a claim lasts, and how often it is extended.
const CLAIM_MICROS: i64 = 90 * 1_000_000;
const HOLD: Duration = Duration::from_secs(15);

/// How long an ended job is kept, and how many are.
const KEPT_MICROS: i64 = 7 * 86_400 * 1_000_000;
const KEPT: u32 = 1000;

/// The runner of a server.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops: jobs are put back where they are, and go on after the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the runner of jobs broke off");
        }
    }
}

impl Jobs {
    /// Begins to run jobs and to follow the schedules, with those that are due now. To be called once, by the only
    /// process that uses the database.
    pub async fn run(&self) -> Running {
        let inner = Arc::clone(&self.inner);
        match inner.metadata.release_jobs_of_others(&inner.name).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "going on with the jobs of a former process"),
            Err(error) => {
                tracing::error!(%error, "could not take over the jobs of a former process");
            }
        }
        schedule::follow(&inner).await;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(inner, stopped));
        Running { stop, task }
    }

    /// Looks for due jobs and schedules now, instead of within half a minute.
    pub fn wake(&self) {
        self.inner.woken.notify_one();
    }
}

async fn work(inner: Arc<Inner>, mut stopped: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        schedule::follow(&inner).await;
        while running.len() <= AT_ONCE {
            let makes_room = running.len() == AT_ONCE;
            match claim(&inner, makes_room).await {
                Ok(Some(job)) => {
                    running.spawn(run_one(Arc::clone(&inner), job, stopped.clone()));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not look for jobs");
                    break;
                }
            }
        }
        tokio::select! {
            () = told_to_stop(&mut stopped) => break,
            () = inner.woken.notified() => {}
            Some(_) = running.join_next() => {}
            _ = look.tick() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// A job of this process.
#[derive(Clone, Copy)]
struct Claimed {
    claim: Claim,
    /// None for what another version queued.
    kind: Option<JobKind>,
}

/// Claims a due job, or, of those that make room, one. On a full disk only the latter are claimed, through the reserve: others are none the
/// better for it.
async fn claim(inner: &Inner, makes_room: bool) -> Result<Option<ClaimedJob>, content::Error> {
    let claim = |only: Option<JobKind>| {
        let only = only.map(JobKind::name);
        inner.metadata.claim_job(&inner.name, CLAIM_MICROS, only)
    };
    if makes_room {
        for kind in JobKind::all().filter(|kind| kind.makes_room()) {
            if let Some(job) = inner.write(Some(kind), || claim(Some(kind))).await? {
                return Ok(Some(job));
            }
        }
        return Ok(None);
    }
    match claim(None).await {
        Err(metadata::Error::StorageFull) => {
            let Some(kind) = waiting_to_make_room(inner).await? else {
                return Err(content::Error::StorageFull);
            };
            inner.write(Some(kind), || claim(Some(kind))).await
        }
        claimed => Ok(claimed?),
    }
}

/// Returns the kind of a job that waits and makes room, if there is one.
async fn waiting_to_make_room(inner: &Inner) -> Result<Option<JobKind>, metadata::Error> {
    let jobs = inner.metadata.jobs(None, KEPT).await?;
    let waits = jobs
        .iter()
        .filter(|job| job.state == metadata::JobState::Queued);
    Ok(waits
        .filter_map(|job| JobKind::from_name(&job.kind))
        .find(|kind| kind.makes_room()))
}

/// Runs a claimed job to its end, to a stop, or until the claim is lost.
async fn run_one(inner: Arc<Inner>, job: ClaimedJob, mut stopped: watch::Receiver<bool>) {
    let ClaimedJob { claim, row } = job;
    let claimed = Claimed {
        claim,
        kind: JobKind::from_name(&row.kind),
    };
    tracing::info!(job = claim.id, kind = row.kind, "running a job");
    let before = Before {
        progress: row
            .progress
            .as_deref()
            .map_or_else(Progress::default, Progress::from_row),
        stalled_since: row.stalled_since,
    };
    let tally = inner.live.begin(claim.id);
    // A task of its own, so that a panic in it ends one job only; it is aborted when it is dropped.
    let mut task = JoinSet::new();
    let (its_inner, its_tally, payload) = (Arc::clone(&inner), tally.clone(), row.payload);
    task.spawn(async move { perform(&its_inner, claim, &payload, &its_tally).await });
    let stopping = stopped.clone();
    tokio::select! {
        Some(ended) = task.join_next() => {
            let broke_off = |_| Err(Failure::Final("the job broke off".to_owned()));
            let ended = ended.unwrap_or_else(broke_off);
            let ending = ending(ended, before, tally.now(), inner.metadata.now());
            record(&inner, claimed, &ending, &tally, stopping).await;
        }
        () = hold(&inner, claim, &tally) => {
            tracing::warn!(job = claim.id, "somebody else took a job over");
        }
        () = told_to_stop(&mut stopped) => {
            drop(task);
            let put_back = Ending::Later(Postponed {
                pause_micros: 0,
                progress: Some(tally.now().max_of(before.progress).to_row()),
                reason: None,
                stalled_since: before.stalled_since,
            });
            // What cannot be written now is put back at the next start.
            if let Err(error) = write(&inner, claimed, &put_back, &tally).await {
                tracing::warn!(job = claim.id, %error, "could not put a job back");
            }
        }
    }
    inner.live.end(claim.id);
}

/// Waits until the runner is told to stop, or is gone.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn perform(inner: &Inner, claim: Claim, payload: &str, tally: &Tally) -> Result<(), Failure> {
    match Payload::from_row(payload)? {
        Payload::Warm(images) => warm::run(&inner.mirror, &inner.content, &images, tally).await,
        Payload::Purge(pattern) => purge::run(&inner.content, &pattern, tally).await,
        Payload::Scrub(wanted) => {
            // What an earlier run found is found again, or was mended.
            let mut lines = Lines::of_job(&inner.metadata, claim, tally, Earlier::Forgotten);
            let (mirror, rate) = (Some(&inner.mirror), inner.settings.scrub.rate);
            let done = scrub::run(&inner.content, mirror, &wanted, rate, &mut lines).await;
            lines.finish().await;
            done
        }
        Payload::Fsck(wanted) => {
            let mut lines = Lines::of_job(&inner.metadata, claim, tally, Earlier::Forgotten);
            let rate = inner.settings.scrub.rate;
            let done = fsck::run(&inner.content, &wanted, rate, &mut lines).await;
            lines.finish().await;
            done
        }
        Payload::Backup(_) => backup::run(&inner.content, tally).await,
        Payload::Collect(wanted) => {
            let earlier = if wanted.dry_run {
                Earlier::Forgotten
            } else {
                // What an earlier run told of is gone.
                Earlier::Kept
            };
            let mut lines = Lines::of_job(&inner.metadata, claim, tally, earlier);
            let rate = inner.settings.gc.rate;
            let done = collect::run(&inner.content, &wanted, rate, &mut lines).await;
            lines.finish().await;
            done
        }
        Payload::ExportLinks => {
            let mut lines = Lines::of_job(&inner.metadata, claim, tally, Earlier::Forgotten);
            let done = export_links::run(&inner.content, &mut lines).await;
            lines.finish().await;
            done
        }
    }
}

/// Extends the claim again and again; returns when it is lost.
async fn hold(inner: &Inner, claim: Claim, tally: &Tally) {
    let mut beat = tokio::time::interval(HOLD);
    beat.tick().await;
    loop {
        beat.tick().await;
        let progress = tally.now().to_row();
        match inner
            .metadata
            .hold_job(claim, &progress, CLAIM_MICROS)
            .await
        {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(job = claim.id, %error, "could not extend the claim of a job");
            }
        }
    }
}

/// Writes down how a job ended, as often as it takes: a job whose end is not known would run for ever.
async fn record(
    inner: &Inner,
    claimed: Claimed,
    ending: &Ending,
    tally: &Tally,
    mut stopped: watch::Receiver<bool>,
) {
    let Claimed { claim, .. } = claimed;
    loop {
        match write(inner, claimed, ending, tally).await {
            Ok(true) => return told(claim, ending),
            Ok(false) => {
                tracing::warn!(job = claim.id, "somebody else took a job over");
                return;
            }
            Err(error) => {
                tracing::warn!(job = claim.id, %error, "could not write how a job ended");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(HOLD) => {}
            () = told_to_stop(&mut stopped) => return,
        }
    }
}

fn told(claim: Claim, ending: &Ending) {
    match ending {
        Ending::Over(Outcome::Done) => tracing::info!(job = claim.id, "a job is done"),
        Ending::Over(Outcome::Failed(reason)) => {
            tracing::warn!(job = claim.id, reason, "a job failed");
        }
        Ending::Later(postponed) => {
            let reason = postponed.reason.as_deref();
            tracing::info!(job = claim.id, reason, "a job waits");
        }
    }
}

/// Writes an ending; false when somebody else has the job.
async fn write(
    inner: &Inner,
    claimed: Claimed,
    ending: &Ending,
    tally: &Tally,
) -> Result<bool, content::Error> {
    let Claimed { claim, kind } = claimed;
    match ending {
        Ending::Later(postponed) => {
            let put_back = || inner.metadata.postpone_job(claim, postponed.clone());
            inner.write(kind, put_back).await
        }
        Ending::Over(outcome) => {
            let progress = Some(tally.now().to_row());
            let finish = || {
                let metadata = &inner.metadata;
                metadata.finish_job(claim, outcome.clone(), progress.clone())
            };
            let finished = inner.write(kind, finish).await?;
            if let Err(error) = inner.metadata.forget_jobs(KEPT_MICROS, KEPT).await {
                tracing::debug!(%error, "could not forget old jobs");
            }
            Ok(finished)
        }
    }
}
