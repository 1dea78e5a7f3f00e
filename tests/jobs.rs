//! Work in the background: on a schedule, one at a time, over restarts, and with little left of a rate limit.

use std::time::Duration;

use seawall::jobs::{Error, JobState, JobView, Payload, PurgePattern};
use serde_json::json;

use crate::mirror_warm::{asked_for, image, run, start, warm, world};
use crate::support::gate::Gate;
use crate::support::images::Content;
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn the_same_warming_runs_once_at_a_time() {
    let (upstream, server) = world().await;
    upstream.hold("team/app", &image("a"), &["v1"]);
    let gate = Gate::closed();
    upstream.next(Kind::ManifestGet, Fault::Silence(gate.clone()));
    let first = start(&server, warm(&["team/app:v1"], &[])).await;
    gate.reached().await;
    let second = start(&server, warm(&["team/app:v1"], &[])).await;
    assert_eq!(second.id, first.id);
    gate.open();
    assert_eq!(server.ended(first.id).await.state, JobState::Done);
    let third = start(&server, warm(&["team/app:v1"], &[])).await;
    assert_ne!(third.id, first.id);
    let ids: Vec<i64> = server
        .jobs()
        .list(10, None)
        .await
        .unwrap()
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(ids, [third.id, first.id]);
}

/// A mirror that warms `team/app:v1` at three o'clock, and when its clock is moved.
async fn nightly() -> (FakeUpstream, TestServer, Content) {
    let upstream = FakeUpstream::start().await;
    let content = image("nightly");
    upstream.hold("team/app", &content, &["v1"]);
    let image = format!("{UPSTREAM}/team/app:v1");
    let server = TestServer::builder()
        .mirror_of(&upstream)
        .config(|config| config["warm"] = json!([{"schedule": "0 3 * * *", "images": [image]}]))
        .start()
        .await;
    (upstream, server, content)
}

/// Waits until `count` jobs have ended.
async fn until_ended(server: &TestServer, count: usize) -> Vec<JobView> {
    loop {
        let jobs = server.jobs().list(100, None).await.unwrap();
        if jobs.len() == count {
            for job in &jobs {
                server.ended(job.id).await;
            }
            return server.jobs().list(100, None).await.unwrap();
        }
        assert!(jobs.len() < count, "{jobs:?}");
        server.client().get("/v2/").await.expect_status(200);
    }
}

#[tokio::test]
async fn a_scheduled_warming_runs_when_its_time_comes() {
    let (upstream, server, content) = nightly().await;
    assert_eq!(server.jobs().list(10, None).await.unwrap(), []);
    assert_eq!(upstream.total(), 0);
    server.clock().advance(DAY);
    server.jobs().wake();
    let jobs = until_ended(&server, 1).await;
    assert_eq!(jobs[0].state, JobState::Done);
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &content).await;
}

#[tokio::test]
async fn after_days_without_a_server_a_schedule_runs_once() {
    let (_upstream, mut server, _) = nightly().await;
    server.clock().advance(DAY);
    server.jobs().wake();
    until_ended(&server, 1).await;
    server.stop().await;
    server.clock().advance(5 * DAY);
    server.start_again().await;
    until_ended(&server, 2).await;
    server.restart().await;
    assert_eq!(until_ended(&server, 2).await.len(), 2, "a start is no tick");
}

#[tokio::test]
async fn a_warming_goes_on_after_a_restart() {
    let (upstream, mut server) = world().await;
    let content = image("a");
    upstream.hold("team/app", &content, &["v1"]);
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(100, gate.clone()));
    let job = start(&server, warm(&["team/app:v1"], &[])).await;
    gate.reached().await;
    assert_eq!(
        server.jobs().get(job.id).await.unwrap().unwrap().state,
        JobState::Running
    );
    server.restart().await;
    let ended = server.ended(job.id).await;
    assert_eq!((ended.state, ended.error), (JobState::Done, None));
    assert_eq!(ended.started_at, Some(job.created_at));
    gate.open();
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &content).await;
}

#[tokio::test]
async fn the_job_of_a_killed_server_goes_on_at_the_next_start() {
    let (upstream, mut server) = world().await;
    let content = image("a");
    upstream.hold("team/app", &content, &["v1"]);
    let job = run(&server, warm(&["team/app:v1"], &[])).await;
    // It has done nothing yet.
    server.evict_down_to(0).await;
    server.stop().await;
    let database = rusqlite::Connection::open(server.data().join("seawall.db")).unwrap();
    // What a process leaves that had no time to put it back.
    let left = "UPDATE jobs SET state = 2, claimed_by = 'former', claimed_until = 1 << 62, finished_at = NULL";
    assert_eq!(database.execute(left, []).unwrap(), 1);
    drop(database);
    server.start_again().await;
    let ended = server.ended(job.id).await;
    assert_eq!((ended.state, ended.error), (JobState::Done, None));
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &content).await;
}

#[tokio::test]
async fn jobs_that_only_another_version_knows_do_not_end_the_list() {
    let (upstream, mut server) = world().await;
    upstream.hold("team/app", &image("a"), &["v1"]);
    let oldest = run(&server, warm(&["team/app:v1"], &[])).await;
    server.stop().await;
    let database = rusqlite::Connection::open(server.data().join("seawall.db")).unwrap();
    let unknown = "INSERT INTO jobs (kind, unique_key, payload, state, run_after, created_at, finished_at) \
        SELECT 'later', 'later', '{}', 3, created_at, created_at, finished_at FROM jobs LIMIT 1";
    for _ in 0..5 {
        assert_eq!(database.execute(unknown, []).unwrap(), 1);
    }
    drop(database);
    server.start_again().await;
    let latest = run(&server, warm(&["team/app:v1"], &[])).await;
    let ids = async |limit, before| -> Vec<i64> {
        let listed = server.jobs().list(limit, before).await.unwrap();
        listed.iter().map(|job| job.id).collect()
    };
    assert_eq!(ids(2, None).await, [latest.id, oldest.id]);
    assert_eq!(ids(1, None).await, [latest.id]);
    assert_eq!(ids(1, Some(latest.id)).await, [oldest.id]);
    assert_eq!(ids(5, Some(oldest.id)).await, [0; 0]);
}

/// An upstream with three requests left, of which a client's pull of `team/first:v1` learned.
async fn scarce() -> (FakeUpstream, TestServer) {
    let (upstream, server) = world().await;
    for repository in ["team/first", "team/app", "team/other"] {
        upstream.hold(repository, &image(repository), &["v1"]);
    }
    upstream.plan().ratelimit = Some((100, 3));
    let first = format!("/v2/{UPSTREAM}/team/first/manifests/v1");
    server.client().get(&first).await.expect_status(200);
    (upstream, server)
}

/// Waits until a job says what it waits for.
async fn until_waiting(server: &TestServer, id: i64) -> JobView {
    loop {
        let job = server.jobs().get(id).await.unwrap().unwrap();
        if job.state == JobState::Queued && job.error.is_some() {
            return job;
        }
        server.client().get("/v2/").await.expect_status(200);
    }
}

#[tokio::test]
async fn with_little_left_of_a_rate_limit_a_warming_waits_and_clients_pull() {
    let (upstream, server) = scarce().await;
    let job = start(&server, warm(&["team/app:v1"], &[])).await;
    let waiting = until_waiting(&server, job.id).await;
    let told = waiting.error.unwrap();
    assert!(told.contains("nothing to spare"), "{told}");
    assert_eq!(asked_for(&upstream, "team/app"), 0);
    let other = format!("{UPSTREAM}/team/other");
    server
        .client()
        .expect_pull(&other, &image("team/other"))
        .await;
    // A new window has begun; the next client's request tells.
    upstream.plan().ratelimit = Some((100, 90));
    upstream.hold("team/first", &image("new"), &["v2"]);
    let first = format!("/v2/{UPSTREAM}/team/first/manifests/v2");
    server.client().get(&first).await.expect_status(200);
    server.clock().advance(Duration::from_secs(61));
    server.jobs().wake();
    let ended = server.ended(job.id).await;
    assert_eq!((ended.state, ended.error), (JobState::Done, None));
    upstream.die().await;
    let app = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&app, &image("team/app")).await;
}

#[tokio::test]
async fn a_warming_that_gets_nowhere_for_an_hour_gives_up() {
    let (upstream, server) = scarce().await;
    let job = start(&server, warm(&["team/app:v1"], &[])).await;
    until_waiting(&server, job.id).await;
    server.clock().advance(Duration::from_secs(3601));
    server.jobs().wake();
    let ended = server.ended(job.id).await;
    assert_eq!(ended.state, JobState::Failed);
    assert!(ended.error.unwrap().contains("60 minutes"));
    assert_eq!(asked_for(&upstream, "team/app"), 0);
}

#[tokio::test]
async fn an_upstream_that_is_down_fails_a_warming_at_once() {
    let (upstream, server) = world().await;
    upstream.die().await;
    for _ in 0..2 {
        let job = run(&server, warm(&["team/app:v1"], &[])).await;
        assert_eq!(job.state, JobState::Failed);
        let told = job.error.unwrap();
        assert!(told.contains(UPSTREAM), "{told}");
        assert!(!told.contains("127.0.0.1"), "{told}");
    }
}

#[tokio::test]
async fn a_purge_does_not_wait_for_images_and_images_do_not_pile_up() {
    let (upstream, server) = world().await;
    let gate = Gate::closed();
    upstream.always(Kind::ManifestGet, Fault::Silence(gate.clone()));
    let mut queued = 0;
    let refused = loop {
        let image = format!("team/app:v{queued}");
        match server.jobs().start(warm(&[&image], &[])).await {
            Ok(_) => queued += 1,
            Err(error) => break error,
        }
        assert!(queued < 2000, "the queue has an end");
    };
    assert!(matches!(refused, Error::TooMany { .. }), "{refused}");
    let pattern = PurgePattern::new("**".to_owned()).unwrap();
    let purge = start(&server, Payload::Purge(pattern)).await;
    assert_eq!(server.ended(purge.id).await.state, JobState::Done);
    gate.open();
}
