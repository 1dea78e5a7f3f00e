//! The collector over the management API: who may, what it says, what a run tells, and what a restart leaves of it.

use std::time::Duration;

use seawall::jobs::{JobKind, JobState};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::images::{Recipe, noise};
use crate::support::server::TestServer;

const HOUR: Duration = Duration::from_secs(3600);
const DAY_MICROS: i64 = 86_400_000_000;

/// Starts a run and returns the job as it was told.
async fn start(server: &TestServer, request: &Value) -> Value {
    let asked = server.socket().post("/api/v1/gc/run").json(request);
    let reply = asked.await.expect_status(202);
    let job = reply.json();
    assert_eq!(reply.location(), format!("/api/v1/jobs/{}", job["id"]));
    job
}

fn id(job: &Value) -> i64 {
    job["id"].as_i64().unwrap()
}

async fn status(client: &Client) -> Value {
    client.get("/api/v1/gc").await.expect_status(200).json()
}

/// Pushes layers that no manifest follows, and lets their leases end.
async fn with_strays(count: usize) -> (TestServer, Vec<String>) {
    let server = TestServer::start().await;
    let mut strays = Vec::new();
    for number in 0..count {
        let bytes = noise(&format!("stray {number}"), 100 + number);
        strays.push(server.client().push_blob("team/app", &bytes).await);
    }
    server.clock().advance(2 * HOUR);
    strays.sort_unstable();
    (server, strays)
}

#[tokio::test]
async fn the_network_learns_and_does_nothing() {
    let server = TestServer::start().await;
    let client = server.client();
    client.get("/api/v1/gc").await.expect_problem(403);
    client.get("/api/v1/jobs/1/lines").await.expect_problem(403);
    for path in ["/api/v1/gc/run", "/api/v1/gc/pause", "/api/v1/gc/resume"] {
        let asked = client.post(path).json(&json!({}));
        asked.await.expect_problem(403);
    }
    assert_eq!(status(&server.socket()).await["paused"], json!(false));
    assert_eq!(server.jobs().list(10, None).await.unwrap(), []);
}

#[tokio::test]
async fn the_status_of_a_new_server_is_this() {
    let server = TestServer::start().await;
    let expected = json!({
        "state": "waiting",
        "enabled": true,
        "paused": false,
        "grace": DAY_MICROS,
        "interval": DAY_MICROS / 24,
        "candidates": {"blobs": 0, "manifests": 0, "untagged": 0, "oldest": null},
        "helduntil": null,
        "heldrepositories": {"count": 0, "names": []},
        "lastrun": null,
    });
    assert_eq!(status(&server.socket()).await, expected);
    let disabled = TestServer::builder()
        .config(|config| config["gc"] = json!({"enabled": false}))
        .start()
        .await;
    let told = status(&disabled.socket()).await;
    assert_eq!(
        (&told["state"], &told["enabled"]),
        (&json!("disabled"), &json!(false))
    );
}

#[tokio::test]
async fn the_last_run_is_told_also_after_a_restart() {
    let (mut server, strays) = with_strays(2).await;
    let before = status(&server.socket()).await;
    assert_eq!(before["candidates"]["blobs"], json!(2));
    assert!(before["candidates"]["oldest"].is_i64(), "{before}");
    let job = start(&server, &json!({"grace": "1h", "deleteuntagged": true})).await;
    let ended = server.ended(id(&job)).await;
    assert_eq!((ended.state, ended.kind), (JobState::Done, JobKind::Gc));
    for _ in 0..2 {
        let told = status(&server.socket()).await;
        assert_eq!(told["candidates"]["blobs"], json!(0));
        let last = &told["lastrun"];
        assert!(last["startedat"].as_i64() <= last["finishedat"].as_i64());
        let mut last = last.clone();
        for moment in ["startedat", "finishedat"] {
            last.as_object_mut().unwrap().remove(moment);
        }
        let expected = json!({
            "grace": DAY_MICROS / 24, "deleteuntagged": true, "reviewed": 2,
            "manifests": 0, "blobs": 2, "bytesfreed": 201, "kept": 0,
        });
        assert_eq!(last, expected);
        server.restart().await;
    }
    for stray in strays {
        assert!(!server.stored_blobs().contains_key(&stray));
    }
}

#[tokio::test]
async fn what_a_run_found_is_read_in_pages() {
    let (server, strays) = with_strays(3).await;
    let job = start(&server, &json!({"grace": "0s"})).await;
    server.ended(id(&job)).await;
    let socket = server.socket();
    let lines = format!("/api/v1/jobs/{}/lines", job["id"]);
    let mut found = Vec::new();
    let mut page = Some(format!("{lines}?limit=2"));
    let mut pages = 0;
    let mut next = json!(null);
    while let Some(path) = page {
        let reply = socket.get(&path).await.expect_status(200);
        page = reply.next_page();
        let told = reply.json();
        next = told["next"].clone();
        for line in told["lines"].as_array().unwrap() {
            assert_eq!(line["kind"], json!("blob"));
            assert!(line["size"].as_u64() >= Some(100), "{line}");
            found.push(line["digest"].as_str().unwrap().to_owned());
        }
        pages += 1;
    }
    assert_eq!((pages, &next), (2, &json!(3)));
    found.sort_unstable();
    assert_eq!(found, strays);
    // Where more would stand.
    let rest = socket.get(&format!("{lines}?cursor={next}")).await;
    assert_eq!(rest.json(), json!({"lines": [], "next": 3}));
    socket
        .get("/api/v1/jobs/4711/lines")
        .await
        .expect_problem(404);
    socket
        .get(&format!("{lines}?limit=0"))
        .await
        .expect_problem(400);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = TestServer::start().await;
    let ask = async |request: Value| {
        let asked = server.socket().post("/api/v1/gc/run").json(&request);
        asked.await.expect_problem(400)
    };
    let told = ask(json!({"grace": "soon"})).await;
    assert!(told.contains("soon"), "{told}");
    ask(json!({"grace": "-1h"})).await;
    ask(json!({"grace": 0})).await;
    let told = ask(json!({"dry-run": true})).await;
    assert!(told.contains("dry-run"), "{told}");
    assert_eq!(server.jobs().list(10, None).await.unwrap(), []);
    let told = server.socket().get("/api/v1/gc/run").await;
    told.expect_problem(405);
}

#[tokio::test]
async fn running_twice_does_no_harm() {
    let (server, strays) = with_strays(2).await;
    let image = Recipe::image("kept").build();
    server.client().push("team/app", &image, &["v1"]).await;
    for count in [2, 0] {
        let job = start(&server, &json!({"grace": "0s"})).await;
        let ended = server.ended(id(&job)).await;
        assert_eq!((ended.state, ended.progress.blobs), (JobState::Done, count));
        let left = ended.progress.remaining;
        assert_eq!(left, server.stored_blobs().len() as u64);
    }
    server.client().expect_pull("team/app", &image).await;
    assert_eq!(strays.len(), 2);
}

#[tokio::test]
async fn a_run_goes_on_after_a_restart_and_keeps_what_it_told() {
    let (mut server, strays) = with_strays(3).await;
    // A file a second: it is still at it when the server stops.
    server
        .restart_with(|config| config["gc"] = json!({"rate": 1, "enabled": false}))
        .await;
    let job = start(&server, &json!({"grace": "0s"})).await;
    let jobs = server.jobs().clone();
    loop {
        let job = jobs.get(id(&job)).await.unwrap().unwrap();
        assert_ne!(job.state, JobState::Done, "{job:?}");
        if job.progress.blobs > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    server
        .restart_with(|config| config["gc"] = json!({"rate": 0, "enabled": false}))
        .await;
    let ended = server.ended(id(&job)).await;
    assert_eq!(ended.state, JobState::Done);
    assert!(server.stored_blobs().is_empty());
    let lines = format!("/api/v1/jobs/{}/lines", job["id"]);
    let told = server.socket().get(&lines).await.json();
    let told = told["lines"].as_array().unwrap();
    let mut told: Vec<_> = told
        .iter()
        .map(|line| line["digest"].as_str().unwrap().to_owned())
        .collect();
    told.sort_unstable();
    assert_eq!(told, strays);
}

#[tokio::test]
async fn metrics_tell_how_the_collector_stands() {
    let (server, _) = with_strays(2).await;
    let socket = server.socket();
    let job = start(&server, &json!({"grace": "0s"})).await;
    server.ended(id(&job)).await;
    let paused = socket.post("/api/v1/gc/pause").json(&json!({}));
    paused.await.expect_status(200);
    let text = socket.get("/metrics").await.expect_status(200).text();
    for line in [
        "seawall_gc_enabled 1",
        "seawall_gc_paused 1",
        "seawall_gc_running 0",
        "seawall_gc_reclaimed_blobs_total 2",
        "seawall_gc_reclaimed_bytes_total 201",
        r#"seawall_gc_candidates{kind="blob"} 0"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let last = "seawall_gc_last_run_timestamp_seconds ";
    let last = text.lines().find_map(|line| line.strip_prefix(last));
    assert!(last.unwrap().parse::<u64>().unwrap() > 0);
}
