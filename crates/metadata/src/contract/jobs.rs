//! Clauses about jobs.

use super::support::World;
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::{Claim, ClaimedJob, JobRow, JobState, NewJob, Outcome, Postponed, Tick};

fn job(unique_key: &str) -> NewJob {
    NewJob {
        kind: "warm".into(),
        unique_key: unique_key.into(),
        payload: "{}".into(),
    }
}

fn tick(at: i64) -> Tick {
    Tick {
        schedule: "nightly".into(),
        at,
        job: job(&format!("nightly:{at}")),
    }
}

impl World {
    async fn queue(&self, unique_key: &str) -> JobRow {
        let queued = self.metadata.queue_job(job(unique_key)).await;
        queued.expect("queues")
    }

    async fn claim_for(&self, by: &str) -> Option<ClaimedJob> {
        let claimed = self.metadata.claim_job(by, 60 * SECOND, None).await;
        claimed.expect("answers")
    }

    async fn claimed(&self, by: &str) -> Claim {
        self.claim_for(by).await.expect("a job is due").claim
    }

    async fn finish(&self, claim: Claim) -> bool {
        let finished = self.metadata.finish_job(claim, Outcome::Done, None).await;
        finished.expect("answers")
    }

    async fn job(&self, id: i64) -> Option<JobRow> {
        self.metadata.job(id).await.expect("reads")
    }
}

pub(super) async fn of_many_claimers_each_job_has_one(world: World) {
    for number in 0..8 {
        world.queue(&number.to_string()).await;
    }
    let claimers = (0..24).map(|number| {
        let metadata = world.metadata.clone();
        tokio::spawn(async move {
            metadata
                .claim_job(&format!("p{number}"), SECOND, None)
                .await
        })
    });
    let mut claimed = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        let job = claimer.await.expect("does not panic").expect("answers");
        claimed.extend(job.map(|job| job.claim.id));
    }
    claimed.sort_unstable();
    let unique: std::collections::BTreeSet<_> = claimed.iter().copied().collect();
    assert_eq!(claimed.len(), 8);
    assert_eq!(unique.len(), 8, "{claimed:?}");
}

pub(super) async fn an_ended_claim_is_taken_over_and_its_holder_is_not_heard(world: World) {
    let queued = world.queue("a").await;
    assert_eq!(queued.state, JobState::Queued);
    let lost = world.claimed("one").await;
    world.clock.advance(59 * SECOND);
    assert_eq!(world.claim_for("two").await, None);
    world.clock.advance(SECOND);
    let taken = world.claim_for("two").await.expect("its claim has ended");
    assert_eq!(taken.claim.id, lost.id);
    assert!(taken.claim.epoch > lost.epoch);
    assert_eq!(
        taken.row.started_at,
        Some(NOON),
        "when it first began is kept"
    );
    let hold = world.metadata.hold_job(lost, "{\"x\":1}", HOUR);
    assert!(!hold.await.expect("answers"));
    assert!(!world.finish(lost).await);
    let nothing = Postponed {
        pause_micros: 0,
        progress: None,
        reason: None,
        stalled_since: None,
    };
    let postponed = world.metadata.postpone_job(lost, nothing);
    assert!(!postponed.await.expect("answers"));
    let row = world.job(lost.id).await.expect("is there");
    assert_eq!((row.state, row.progress), (JobState::Running, None));
    assert!(world.finish(taken.claim).await);
    assert!(!world.finish(taken.claim).await, "a job ends once");
}

pub(super) async fn a_held_job_is_not_taken_over(world: World) {
    world.queue("a").await;
    let claim = world.claimed("one").await;
    for step in 0..4 {
        world.clock.advance(50 * SECOND);
        let progress = format!("{{\"x\":{step}}}");
        let held = world.metadata.hold_job(claim, &progress, 60 * SECOND);
        assert!(held.await.expect("answers"));
        assert_eq!(world.claim_for("two").await, None);
    }
    let row = world.job(claim.id).await.expect("is there");
    assert_eq!(row.progress.as_deref(), Some("{\"x\":3}"));
}

pub(super) async fn nobody_takes_a_job_over_from_himself(world: World) {
    world.queue("a").await;
    world.claimed("one").await;
    world.clock.advance(HOUR);
    assert_eq!(world.claim_for("one").await, None);
}

pub(super) async fn the_same_job_is_open_once_and_can_come_again_when_it_ended(world: World) {
    let first = world.queue("a").await;
    assert_eq!(world.queue("a").await.id, first.id);
    let other = world.queue("b").await;
    assert_ne!(other.id, first.id);
    let claim = world.claimed("one").await;
    assert_eq!(claim.id, first.id, "who came first is first");
    let running = world.queue("a").await;
    assert_eq!((running.id, running.state), (first.id, JobState::Running));
    let progress = Some("{\"x\":7}".to_owned());
    let failed = Outcome::Failed("no such image".into());
    let failed = world.metadata.finish_job(claim, failed, progress).await;
    assert!(failed.expect("answers"));
    let again = world.queue("a").await;
    assert!(again.id > other.id);
    let ended = world.job(first.id).await.expect("is kept");
    assert_eq!(ended.state, JobState::Failed);
    assert_eq!(ended.error.as_deref(), Some("no such image"));
    assert_eq!(ended.progress.as_deref(), Some("{\"x\":7}"));
    assert_eq!(ended.finished_at, Some(NOON));
}

pub(super) async fn a_postponed_job_comes_back_after_its_pause(world: World) {
    world.queue("a").await;
    let claim = world.claimed("one").await;
    let postponed = Postponed {
        pause_micros: 30 * SECOND,
        progress: Some("{}".into()),
        reason: Some("waits".into()),
        stalled_since: Some(NOON),
    };
    let put_back = world.metadata.postpone_job(claim, postponed).await;
    assert!(put_back.expect("answers"));
    world.clock.advance(29 * SECOND);
    assert_eq!(world.claim_for("one").await, None);
    world.clock.advance(SECOND);
    let again = world.claim_for("one").await.expect("is due");
    assert!(again.claim.epoch > claim.epoch);
    assert_eq!(again.row.stalled_since, Some(NOON));
    assert_eq!(again.row.error.as_deref(), Some("waits"));
    assert!(world.finish(again.claim).await);
    let done = world.job(claim.id).await.expect("is kept");
    assert_eq!((done.state, done.error), (JobState::Done, None));
}

pub(super) async fn a_start_puts_back_what_a_former_process_ran(world: World) {
    world.queue("a").await;
    world.queue("b").await;
    let former = world.claimed("former").await;
    let own = world.claimed("this").await;
    let released = world.metadata.release_jobs_of_others("this").await;
    assert_eq!(released.expect("answers"), 1);
    assert!(!world.finish(former).await, "the former is not heard");
    let again = world.claim_for("this").await.expect("is due at once");
    assert_eq!(again.claim.id, former.id);
    assert!(again.claim.epoch > former.epoch);
    assert!(world.finish(own).await);
}

pub(super) async fn ended_jobs_are_forgotten_by_age_and_by_number_and_open_ones_never(
    world: World,
) {
    let mut ended = Vec::new();
    for key in ["a", "b", "c", "d"] {
        ended.push(world.queue(key).await.id);
        let claim = world.claimed("one").await;
        assert!(world.finish(claim).await);
        world.clock.advance(HOUR);
    }
    let open = world.queue("open").await.id;
    let forgotten = world.metadata.forget_jobs(4 * HOUR, 2).await;
    assert_eq!(forgotten.expect("answers"), 2, "one by age, one by number");
    let kept = world.metadata.jobs(None, 10).await.expect("reads");
    let kept: Vec<i64> = kept.iter().map(|row| row.id).collect();
    assert_eq!(kept, [open, ended[3], ended[2]]);
    let page = world.metadata.jobs(Some(ended[3]), 1).await;
    assert_eq!(page.expect("reads")[0].id, ended[2]);
}

pub(super) async fn a_tick_becomes_a_job_once(world: World) {
    let handled = |now| world.metadata.schedule_handled_until("nightly", now);
    assert_eq!(handled(NOON).await.expect("answers"), NOON);
    let later = handled(NOON + HOUR).await;
    assert_eq!(later.expect("answers"), NOON, "first seen is first seen");
    let at = NOON + HOUR / 2;
    let taken = world.metadata.take_tick(tick(at)).await.expect("answers");
    let taken = taken.expect("nobody had it");
    let claim = world.claimed("one").await;
    assert_eq!(claim.id, taken.id);
    assert!(world.finish(claim).await);
    for earlier in [at, at - SECOND] {
        let again = world.metadata.take_tick(tick(earlier)).await;
        assert_eq!(again.expect("answers"), None);
    }
    assert_eq!(handled(NOON + HOUR).await.expect("answers"), at);
}

pub(super) async fn a_schedule_followed_by_a_wrong_clock_starts_anew(world: World) {
    let handled = |now| world.metadata.schedule_handled_until("nightly", now);
    let future = NOON + 1000 * HOUR;
    assert_eq!(handled(future).await.expect("answers"), future);
    assert_eq!(handled(future - HOUR).await.expect("answers"), future);
    assert_eq!(handled(NOON).await.expect("answers"), NOON);
    let taken = world.metadata.take_tick(tick(NOON + SECOND)).await;
    assert!(taken.expect("answers").is_some());
}
