//! Clauses about the lines of jobs.

use super::support::World;
use crate::clock::tests::{HOUR, SECOND};
use crate::{Claim, JOB_LINES_MAX, NewJob, Outcome};

impl World {
    async fn running(&self, unique_key: &str) -> Claim {
        let job = NewJob {
            kind: "gc".into(),
            unique_key: unique_key.into(),
            payload: "{}".into(),
        };
        self.metadata.queue_job(job).await.expect("queues");
        let claimed = self.metadata.claim_job("p", 60 * SECOND, None).await;
        claimed.expect("answers").expect("it is due").claim
    }

    async fn append(&self, claim: Claim, lines: &[&str]) -> u64 {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let appended = self.metadata.append_job_lines(claim, lines).await;
        appended.expect("appends")
    }

    async fn lines(&self, job: i64, from: i64, limit: u32) -> Vec<(i64, String)> {
        let lines = self.metadata.job_lines(job, from, limit).await;
        let lines = lines.expect("reads").into_iter();
        lines.map(|line| (line.position, line.line)).collect()
    }

    async fn end(&self, claim: Claim) {
        let ended = self.metadata.finish_job(claim, Outcome::Done, None).await;
        assert!(ended.expect("answers"));
        self.clock.advance(SECOND);
    }
}

pub(super) async fn lines_are_read_in_their_order_and_in_pages(world: World) {
    let (one, other) = (world.running("a").await, world.running("b").await);
    assert_eq!(world.append(one, &["1", "2"]).await, 2);
    assert_eq!(world.append(other, &["9"]).await, 1);
    assert_eq!(world.append(one, &["3"]).await, 1);
    let first = world.lines(one.id, 0, 2).await;
    assert_eq!(first, [(0, "1".to_owned()), (1, "2".to_owned())]);
    assert_eq!(world.lines(one.id, 2, 2).await, [(2, "3".to_owned())]);
    assert_eq!(world.lines(one.id, 3, 2).await, []);
    assert_eq!(world.lines(other.id, 0, 9).await, [(0, "9".to_owned())]);
}

pub(super) async fn a_job_keeps_so_many_lines_and_no_more(world: World) {
    let claim = world.running("a").await;
    let most = usize::try_from(JOB_LINES_MAX).expect("it fits");
    let many = vec!["x".to_owned(); most - 1];
    let taken = world.metadata.append_job_lines(claim, many).await;
    assert_eq!(taken.expect("appends"), JOB_LINES_MAX - 1);
    assert_eq!(world.append(claim, &["last", "no more"]).await, 1);
    assert_eq!(world.append(claim, &["no more"]).await, 0);
    let last = i64::try_from(most).expect("it fits") - 1;
    let end = world.lines(claim.id, last, 9).await;
    assert_eq!(end, [(last, "last".to_owned())]);
}

pub(super) async fn who_lost_a_job_adds_no_lines_and_forgets_none(world: World) {
    let lost = world.running("a").await;
    assert_eq!(world.append(lost, &["1"]).await, 1);
    world.clock.advance(HOUR);
    let taken = world.metadata.claim_job("q", 60 * SECOND, None).await;
    let taken = taken.expect("answers").expect("its claim has ended").claim;
    assert_eq!(world.append(lost, &["2"]).await, 0);
    assert!(!world.metadata.clear_job_lines(lost).await.expect("answers"));
    assert_eq!(world.lines(lost.id, 0, 9).await, [(0, "1".to_owned())]);
    assert!(
        world
            .metadata
            .clear_job_lines(taken)
            .await
            .expect("answers")
    );
    assert_eq!(world.append(taken, &["anew"]).await, 1);
    assert_eq!(world.lines(lost.id, 0, 9).await, [(0, "anew".to_owned())]);
    world.end(taken).await;
    let after = world.append(taken, &["what was on its way"]).await;
    assert_eq!(after, 1);
}

pub(super) async fn lines_go_with_their_job_and_only_the_last_jobs_keep_theirs(world: World) {
    let mut claims = Vec::new();
    for number in 0..40 {
        let claim = world.running(&number.to_string()).await;
        world.append(claim, &["x"]).await;
        world.end(claim).await;
        claims.push(claim);
    }
    let open = world.running("open").await;
    world.append(open, &["x"]).await;
    let forgotten = world.metadata.forget_jobs(HOUR, 1000).await;
    assert_eq!(forgotten.expect("forgets"), 0);
    for (number, claim) in claims.iter().enumerate() {
        let kept = world.lines(claim.id, 0, 9).await.len();
        assert_eq!(kept, usize::from(number >= 8), "{number}");
    }
    let forgotten = world.metadata.forget_jobs(HOUR, 1).await;
    assert_eq!(forgotten.expect("forgets"), 39);
    for claim in &claims[..39] {
        assert_eq!(world.lines(claim.id, 0, 9).await, []);
    }
    assert_eq!(world.lines(claims[39].id, 0, 9).await.len(), 1);
    world.clock.advance(2 * HOUR);
    let forgotten = world.metadata.forget_jobs(HOUR, 1000).await;
    assert_eq!(forgotten.expect("forgets"), 1);
    assert_eq!(world.lines(claims[39].id, 0, 9).await, []);
    assert_eq!(world.lines(open.id, 0, 9).await.len(), 1);
}
