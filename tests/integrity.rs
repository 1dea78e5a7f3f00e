//! Bytes that are not what their digest says: never served whole, found by `seawall scrub`, gone for everybody until the
//! right bytes come by a push, from an upstream, or from a disk that was mended.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use seawall::jobs::JobState;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::{Outcome, run, seawall};
use crate::support::images::{Content, OCI_MANIFEST, Recipe, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::Kind;

/// A way in which a file can be no longer what it was, and what it is told as.
pub(crate) type Damage = (&'static str, fn(&Path));

pub(crate) const DAMAGES: [Damage; 4] = [
    ("digest", flip),
    ("size", truncate),
    ("size", grow),
    ("missing", |file| fs::remove_file(file).unwrap()),
];

/// Changes one bit in the middle.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn truncate(file: &Path) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(5).unwrap();
}

fn grow(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes.push(b'!');
    fs::write(file, bytes).unwrap();
}

/// A home for those who type commands, beside the server of a story.
pub(crate) struct Operator(TempDir);

impl Operator {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Runs a command with the configuration of the server, which may be stopped.
    pub(crate) async fn types(&self, server: &TestServer, arguments: &[&str]) -> Outcome {
        let mut command = seawall(self.0.path());
        command.args(arguments).arg("--config");
        run(command.arg(server.config_file())).await
    }

    /// Runs a command for its report.
    pub(crate) async fn report(&self, server: &TestServer, arguments: &[&str]) -> Report {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        let outcome = self.types(server, &arguments).await;
        let report: Value = serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{error}: {outcome:#?}"));
        let fields = report.as_object().unwrap();
        let fields: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(fields, ["checked", "problems"]);
        Report {
            code: outcome.code,
            checked: report["checked"].as_u64().unwrap(),
            problems: report["problems"].as_array().unwrap().clone(),
        }
    }
}

/// What a program reads of a command.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) code: Option<i32>,
    pub(crate) checked: u64,
    pub(crate) problems: Vec<Value>,
}

impl Report {
    /// Returns what is told of each digest, as the problem and what was done.
    pub(crate) fn by_digest(&self) -> BTreeMap<String, (String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let told = |problem: &Value| {
            let told = (text(&problem["problem"]), text(&problem["action"]));
            (text(&problem["digest"]), told)
        };
        let all: BTreeMap<_, _> = self.problems.iter().map(told).collect();
        assert_eq!(all.len(), self.problems.len(), "each once: {self:#?}");
        all
    }

    #[track_caller]
    pub(crate) fn expect_clean(&self) {
        assert_eq!((self.code, self.problems.as_slice()), (Some(0), &[][..]));
    }
}

/// Damages a blob of `content` in each way; returns their digests with what is wrong with them.
fn damage(server: &TestServer, content: &Content) -> BTreeMap<String, String> {
    let damaged = content.blobs.iter().zip(DAMAGES);
    let damage = |(blob, (problem, damage)): (&crate::support::images::Blob, Damage)| {
        damage(&server.blob_file(&blob.digest));
        (blob.digest.clone(), problem.to_owned())
    };
    let damaged: BTreeMap<_, _> = damaged.map(damage).collect();
    assert_eq!(damaged.len(), DAMAGES.len(), "the story needs four blobs");
    damaged
}

fn each_with(
    damaged: &BTreeMap<String, String>,
    action: &str,
) -> BTreeMap<String, (String, String)> {
    let with = |(digest, problem): (&String, &String)| {
        (digest.clone(), (problem.clone(), action.to_owned()))
    };
    damaged.iter().map(with).collect()
}

#[tokio::test]
async fn before_any_scrub_a_file_of_the_wrong_size_is_never_served_and_a_push_repairs_it() {
    for (problem, lose) in &DAMAGES[1..] {
        let server = TestServer::start().await;
        let client = server.client();
        let bytes = noise("lost", 50_000);
        let digest = client.push_blob("team/app", &bytes).await;
        client.push_blob("team/app", &noise("sound", 10)).await;
        let path = format!("/v2/team/app/blobs/{digest}");
        lose(&server.blob_file(&digest));
        for _ in 0..2 {
            let reply = client.get(&path).await;
            reply.expect_error(404, "BLOB_UNKNOWN");
            client.head(&path).await.expect_status(404);
            let part = client.get(&path).header("range", "bytes=0-3").await;
            part.expect_error(404, "BLOB_UNKNOWN");
        }
        let report = Operator::new().report(&server, &["scrub"]).await;
        let told = BTreeMap::from([(digest.clone(), (*problem).to_owned())]);
        assert_eq!(report.by_digest(), each_with(&told, "quarantined"));
        client.push_blob("team/app", &bytes).await;
        let reply = client.get(&path).await.expect_status(200);
        assert!(reply.body == bytes, "{problem}");
        Operator::new()
            .report(&server, &["scrub"])
            .await
            .expect_clean();
    }
}

/// As after the import of a file that a crash had cut: file and row agree, and both are wrong.
#[tokio::test]
async fn a_push_of_the_right_bytes_repairs_a_blob_that_was_recorded_cut() {
    let server = TestServer::start().await;
    let client = server.client();
    let image = Recipe::image("cut").build();
    let is_config = |digest: &str| image.top().json["config"]["digest"] == digest;
    let (configs, layers): (Vec<_>, Vec<_>) =
        image.blobs.iter().partition(|blob| is_config(&blob.digest));
    let bytes = &layers[0].bytes;
    let digest = client.push_blob("team/app", bytes).await;
    fs::write(server.blob_file(&digest), &bytes[..10]).unwrap();
    let database = Connection::open(server.data().join("seawall.db")).unwrap();
    let cut = database.execute("UPDATE blobs SET size = 10", []);
    assert_eq!(cut, Ok(1));
    // Clients ask first, and do not upload what exists.
    let path = format!("/v2/team/app/blobs/{digest}");
    client.head(&path).await.expect_status(200);
    for other in configs.iter().chain(&layers[1..]) {
        client.push_blob("team/app", &other.bytes).await;
    }
    let refused = client.push_manifest("team/app", "v1", image.top()).await;
    refused.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    client.head(&path).await.expect_status(404);
    client.push_blob("team/app", bytes).await;
    let reply = client.get(&path).await.expect_status(200);
    assert!(reply.body == bytes);
    let pushed = client.push_manifest("team/app", "v1", image.top()).await;
    pushed.expect_status(201);
    let scrubbed = Operator::new().report(&server, &["scrub"]).await;
    scrubbed.expect_clean();
}

#[tokio::test]
async fn a_scrub_finds_every_damage_and_what_it_finds_is_served_no_more() {
    for server_runs in [true, false] {
        let mut server = TestServer::start().await;
        let content = Recipe::image("scrubbed").layers(5).build();
        server.client().push("team/app", &content, &["v1"]).await;
        let operator = Operator::new();
        let stored = server.stored_blobs().len() as u64;
        if !server_runs {
            server.stop().await;
        }
        let sound = operator.report(&server, &["scrub"]).await;
        sound.expect_clean();
        assert_eq!(sound.checked, stored);
        let damaged = damage(&server, &content);
        for _ in 0..2 {
            // The second time it is told of what the first quarantined.
            let report = operator.report(&server, &["scrub"]).await;
            assert_eq!(report.code, Some(1), "{report:#?}");
            assert_eq!(report.by_digest(), each_with(&damaged, "quarantined"));
            assert_eq!(report.checked, stored);
            for problem in &report.problems {
                let file = server.blob_file(problem["digest"].as_str().unwrap());
                assert_eq!(problem["path"], file.to_str().unwrap());
            }
        }
        if !server_runs {
            server.start_again().await;
        }
        let client = server.client();
        for blob in &content.blobs {
            let path = format!("/v2/team/app/blobs/{}", blob.digest);
            if damaged.contains_key(&blob.digest) {
                client.head(&path).await.expect_status(404);
                let reply = client.get(&path).await;
                reply.expect_error(404, "BLOB_UNKNOWN");
                let single = format!(
                    "/v2/other/app/blobs/uploads/?mount={}&from=team/app",
                    blob.digest
                );
                client.post(&single).await.expect_status(202);
            } else {
                client.get(&path).await.expect_status(200);
            }
        }
        let again = client.push_manifest("team/app", "v2", content.top()).await;
        let refused = again.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
        assert!(damaged.keys().any(|digest| refused.text().contains(digest)));
        client.push("team/app", &content, &["v1"]).await;
        client.expect_pull("team/app", &content).await;
        if !server_runs {
            server.stop().await;
        }
        operator.report(&server, &["scrub"]).await.expect_clean();
    }
}

#[tokio::test]
async fn people_read_what_is_wrong_and_where() {
    let server = TestServer::start().await;
    let bytes = noise("told", 2000);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let operator = Operator::new();
    let outcome = operator.types(&server, &["scrub", "-q"]).await;
    assert_eq!(outcome.stdout, "checked 1 blobs, nothing is wrong\n");
    let file = server.blob_file(&digest);
    flip(&file);
    let outcome = operator.types(&server, &["scrub", "-q"]).await;
    let expected = format!(
        "digest {digest} {} (quarantined)\nchecked 1 blobs, found 1 problems, 1 remain\n",
        file.display()
    );
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(1), &*expected)
    );
}

#[tokio::test]
async fn a_manifest_that_rotted_is_unknown_and_a_push_of_it_brings_its_tag_back() {
    let server = TestServer::start().await;
    let client = server.client();
    let content = Recipe::image("rotten").build();
    client.push("team/app", &content, &["v1"]).await;
    let top = content.top();
    flip(&server.blob_file(&top.digest));
    let report = Operator::new().report(&server, &["scrub"]).await;
    let expected = ("digest".to_owned(), "quarantined".to_owned());
    assert_eq!(
        report.by_digest(),
        BTreeMap::from([(top.digest.clone(), expected)])
    );
    for reference in ["v1", &top.digest] {
        let path = format!("/v2/team/app/manifests/{reference}");
        let reply = client.get(&path).await;
        reply.expect_error(404, "MANIFEST_UNKNOWN");
        client.head(&path).await.expect_status(404);
    }
    let pushed = client.push_manifest("team/app", &top.digest, top).await;
    pushed.expect_status(201);
    let reply = client.get("/v2/team/app/manifests/v1").await;
    assert_eq!(reply.expect_status(200).body, top.bytes);
}

#[tokio::test]
async fn only_the_repositories_that_are_asked_for_are_hashed() {
    let server = TestServer::start().await;
    let client = server.client();
    let base = client.push_blob("team/app", &noise("base", 400)).await;
    client.push_blob("team/other", &noise("base", 400)).await;
    let one = client.push_blob("team/other", &noise("one", 400)).await;
    let two = client.push_blob("stranger/app", &noise("two", 400)).await;
    for digest in [&base, &one, &two] {
        flip(&server.blob_file(digest));
    }
    let operator = Operator::new();
    let arguments = ["scrub", "--repository", "team/*"];
    for _ in 0..2 {
        let report = operator.report(&server, &arguments).await;
        let found: Vec<String> = report.by_digest().into_keys().collect();
        let mut expected = vec![base.clone(), one.clone()];
        expected.sort();
        assert_eq!(found, expected);
    }
    let path = format!("/v2/stranger/app/blobs/{two}");
    client.get(&path).await.expect_status(200);
    let outcome = operator
        .types(&server, &["scrub", "--repository", "team/["])
        .await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("--repository"), "{outcome:#?}");
}

/// A mirror of an image, pulled once.
async fn mirrored() -> (FakeUpstream, TestServer, Content, String) {
    let upstream = FakeUpstream::start().await;
    let content = Recipe::image("mirrored").layers(4).build();
    upstream.hold("team/app", &content, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &content).await;
    (upstream, server, content, name)
}

#[tokio::test]
async fn what_is_damaged_and_mirrored_counts_as_not_cached() {
    let (upstream, server, content, name) = mirrored().await;
    let damaged = damage(&server, &content);
    flip(&server.blob_file(&content.top().digest));
    let report = Operator::new().report(&server, &["scrub"]).await;
    assert_eq!(report.problems.len(), damaged.len() + 1);
    let asked = upstream.count(Kind::BlobGet);
    server.client().expect_pull(&name, &content).await;
    assert_eq!(upstream.count(Kind::BlobGet), asked + damaged.len());
    upstream.die().await;
    server.client().expect_pull(&name, &content).await;
    Operator::new()
        .report(&server, &["scrub"])
        .await
        .expect_clean();
}

#[tokio::test]
async fn repair_fetches_what_is_mirrored_again() {
    for server_runs in [true, false] {
        let (upstream, mut server, content, name) = mirrored().await;
        let local = noise("local", 900);
        let local_digest = server.client().push_blob("own/app", &local).await;
        if !server_runs {
            server.stop().await;
        }
        let mut damaged = damage(&server, &content);
        let top = &content.top().digest;
        flip(&server.blob_file(top));
        damaged.insert(top.clone(), "digest".to_owned());
        flip(&server.blob_file(&local_digest));
        let operator = Operator::new();
        let mut expected = each_with(&damaged, "fetched");
        let lost = ("digest".to_owned(), "quarantined".to_owned());
        expected.insert(local_digest.clone(), lost);
        let report = operator.report(&server, &["scrub", "--repair"]).await;
        assert_eq!((report.code, report.by_digest()), (Some(1), expected));
        upstream.die().await;
        if !server_runs {
            server.start_again().await;
        }
        server.client().expect_pull(&name, &content).await;
        server.client().push_blob("own/app", &local).await;
        let again = operator.report(&server, &["scrub", "--repair"]).await;
        again.expect_clean();
    }
}

#[tokio::test]
async fn with_its_upstream_down_what_is_damaged_stays_quarantined_until_it_is_back() {
    let (upstream, server, content, name) = mirrored().await;
    upstream.die().await;
    let damaged = damage(&server, &content);
    let operator = Operator::new();
    let report = operator.report(&server, &["scrub", "--repair"]).await;
    assert_eq!(report.by_digest(), each_with(&damaged, "quarantined"));
    assert_eq!(report.code, Some(1));
    upstream.come_back().await;
    server.let_upstreams_rest();
    let report = operator.report(&server, &["scrub", "--repair"]).await;
    assert_eq!(report.by_digest(), each_with(&damaged, "fetched"));
    assert_eq!(report.code, Some(0));
    upstream.die().await;
    server.client().expect_pull(&name, &content).await;
}

#[tokio::test]
async fn what_is_right_again_is_served_again_once_it_was_looked_at() {
    let server = TestServer::start().await;
    let client = server.client();
    let bytes = noise("mended", 3000);
    let digest = client.push_blob("team/app", &bytes).await;
    let (file, path) = (
        server.blob_file(&digest),
        format!("/v2/team/app/blobs/{digest}"),
    );
    let aside = file.with_file_name("aside");
    fs::rename(&file, &aside).unwrap();
    client.head(&path).await.expect_status(404);
    fs::rename(&aside, &file).unwrap();
    let operator = Operator::new();
    let told = BTreeMap::from([(digest, "missing".to_owned())]);
    let report = operator.report(&server, &["scrub"]).await;
    assert_eq!(report.by_digest(), each_with(&told, "quarantined"));
    client.head(&path).await.expect_status(404);
    let report = operator.report(&server, &["scrub", "--repair"]).await;
    assert_eq!(report.by_digest(), each_with(&told, "restored"));
    assert_eq!(report.code, Some(0));
    let reply = client.get(&path).await.expect_status(200);
    assert!(reply.body == bytes);
    operator.report(&server, &["scrub"]).await.expect_clean();
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_damages_nothing() {
    let server = TestServer::start().await;
    let client = server.client();
    let content = Recipe::image("away").build();
    client.push("team/app", &content, &["v1"]).await;
    let blobs = server.data().join("docker/registry/v2/blobs");
    let (disk, away) = (blobs.join("sha256"), blobs.join("away"));
    fs::rename(&disk, &away).unwrap();
    for blob in &content.blobs {
        let path = format!("/v2/team/app/blobs/{}", blob.digest);
        client
            .get(&path)
            .await
            .expect_status(503)
            .expect_plain_error();
        client.head(&path).await.expect_status(503);
    }
    for command in ["scrub", "fsck"] {
        let outcome = Operator::new().types(&server, &[command, "--repair"]).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
        assert!(
            outcome.stderr.contains("is its disk mounted"),
            "{outcome:#?}"
        );
    }
    fs::rename(&away, &disk).unwrap();
    client.expect_pull("team/app", &content).await;
    Operator::new()
        .report(&server, &["scrub"])
        .await
        .expect_clean();
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_not_given_up() {
    let server = TestServer::start().await;
    let client = server.client();
    let bytes = noise("unreadable", 3000);
    let digest = client.push_blob("team/app", &bytes).await;
    let (file, path) = (
        server.blob_file(&digest),
        format!("/v2/team/app/blobs/{digest}"),
    );
    let aside = file.with_file_name("aside");
    fs::rename(&file, &aside).unwrap();
    // The disk answers, but not with a file.
    fs::create_dir(&file).unwrap();
    client
        .get(&path)
        .await
        .expect_status(503)
        .expect_plain_error();
    let told = BTreeMap::from([(digest, "unreadable".to_owned())]);
    for command in ["scrub", "fsck"] {
        let report = Operator::new().report(&server, &[command]).await;
        assert_eq!(report.by_digest(), each_with(&told, "none"), "{command}");
        assert_eq!(report.code, Some(1));
    }
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    let reply = client.get(&path).await.expect_status(200);
    assert!(reply.body == bytes);
}

#[tokio::test]
async fn a_scrub_on_a_schedule_runs_when_its_time_comes_and_repairs_what_is_mirrored() {
    let upstream = FakeUpstream::start().await;
    let content = Recipe::image("weekly").layers(4).build();
    upstream.hold("team/app", &content, &["v1"]);
    let mut server = TestServer::builder()
        .mirror_of(&upstream)
        .config(|config| config["scrub"] = json!({"schedule": "0 4 * * 0"}))
        .start()
        .await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &content).await;
    let damaged = damage(&server, &content);
    assert_eq!(server.jobs().list(10, None).await.unwrap(), []);
    server.clock().advance(Duration::from_secs(7 * 86_400));
    server.jobs().wake();
    let job = loop {
        let jobs = server.jobs().list(10, None).await.unwrap();
        if let Some(job) = jobs.first() {
            break server.ended(job.id).await;
        }
        server.client().get("/v2/").await.expect_status(200);
    };
    assert_eq!((job.state, job.error), (JobState::Done, None));
    assert_eq!((job.kind.name(), job.progress.problems), ("scrub", 0));
    let lines = format!("/api/v1/jobs/{}/lines", job.id);
    let told = server.socket().get(&lines).await.expect_status(200).json();
    let told = Report {
        code: None,
        checked: job.progress.checked,
        problems: told["lines"].as_array().unwrap().clone(),
    };
    assert_eq!(told.by_digest(), each_with(&damaged, "fetched"));
    upstream.die().await;
    server.client().expect_pull(&name, &content).await;
    server.restart().await;
    let jobs = server.jobs().list(10, None).await.unwrap();
    assert_eq!(jobs.len(), 1, "a start is no tick");
}

#[tokio::test]
async fn a_scrub_that_was_broken_off_goes_on_where_it_was() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let before = client.push_blob("team/app", &noise("before", 500)).await;
    let after = client.push_blob("team/app", &noise("after", 500)).await;
    let operator = Operator::new();
    operator.report(&server, &["scrub"]).await.expect_clean();
    server.stop().await;
    // What a process leaves that was killed when it had hashed one of them.
    let database = Connection::open(server.data().join("seawall.db")).unwrap();
    let left = "INSERT INTO scrubs (scope, began_at) SELECT '', max(checked_at) - 1 FROM blobs";
    assert_eq!(database.execute(left, []).unwrap(), 1);
    let unhashed = "UPDATE blobs SET checked_at = 0 WHERE hex(digest) LIKE '%' || upper(?1)";
    let (_, hex) = after.split_once(':').unwrap();
    assert_eq!(database.execute(unhashed, [hex]).unwrap(), 1);
    drop(database);
    for digest in [&before, &after] {
        flip(&server.blob_file(digest));
    }
    server.start_again().await;
    let report = operator.report(&server, &["scrub"]).await;
    let found: Vec<String> = report.by_digest().into_keys().collect();
    assert_eq!(found, std::slice::from_ref(&after));
    assert_eq!(report.checked, 2, "what was right counts as looked at");
    let report = operator.report(&server, &["scrub"]).await;
    assert_eq!(report.by_digest().len(), 2, "the next one begins anew");
}

#[tokio::test]
async fn scrubbing_gives_way_to_the_rate_that_is_set() {
    let server = TestServer::builder()
        .config(|config| config["scrub"] = json!({"rate": "200kB"}))
        .start()
        .await;
    for seed in ["a", "b", "c"] {
        server
            .client()
            .push_blob("team/app", &noise(seed, 40_000))
            .await;
    }
    let begun = std::time::Instant::now();
    let report = Operator::new().report(&server, &["scrub"]).await;
    report.expect_clean();
    // 120 kB, less the last slice, which nothing waits for any more.
    assert!(begun.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn metrics_tell_what_is_quarantined_and_what_was_hashed() {
    let server = TestServer::start().await;
    let client = server.client();
    let digest = client.push_blob("team/app", &noise("counted", 1000)).await;
    client.push_blob("team/app", &noise("sound", 500)).await;
    flip(&server.blob_file(&digest));
    Operator::new().report(&server, &["scrub"]).await;
    let text = server.socket().get("/metrics").await.expect_status(200);
    let text = text.text();
    for line in [
        "seawall_blobs_quarantined 1",
        "seawall_scrub_bytes_total 500",
        "seawall_scrub_blobs_total 1",
        "seawall_scrub_problems_total 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    assert!(!text.contains(&digest));
}

#[tokio::test]
async fn the_api_refuses_what_it_does_not_understand() {
    let server = TestServer::start().await;
    let socket = server.socket();
    for (path, body) in [
        ("/api/v1/scrub", json!({"repository": "team/["})),
        ("/api/v1/scrub", json!({"repositories": "team/*"})),
        ("/api/v1/fsck", json!({"repository": "team/*"})),
    ] {
        socket.post(path).json(&body).await.expect_problem(400);
    }
    for path in ["/api/v1/scrub", "/api/v1/fsck"] {
        let job = socket.post(path).json(&json!({})).await.expect_status(202);
        let id = job.json()["id"].as_i64().unwrap();
        assert_eq!(server.ended(id).await.state, JobState::Done);
        // Over the network only administrators may.
        let refused = server.client().post(path).json(&json!({})).await;
        refused.expect_problem(403);
    }
}

#[tokio::test]
async fn pulls_and_pushes_go_on_while_everything_is_hashed_again_and_again() {
    let server = TestServer::start().await;
    let client = server.client();
    let base = Recipe::image("base").build();
    client.push("team/app", &base, &["v0"]).await;
    let scrubbing = async {
        for _ in 0..6 {
            let operator = Operator::new();
            let report = operator.report(&server, &["scrub", "--repair"]).await;
            report.expect_clean();
        }
    };
    let pushing = async {
        for round in 0..12 {
            let content = Recipe::image(&format!("round {round}"))
                .on(&base.blobs[0])
                .build();
            client.push("team/app", &content, &["latest"]).await;
            client.expect_pull("team/app", &content).await;
            if round % 3 == 0 {
                let path = format!("/v2/team/app/manifests/{}", content.top().digest);
                client.delete(&path).await.expect_status(202);
            }
        }
    };
    tokio::join!(scrubbing, pushing);
    client.expect_pull("team/app", &base).await;
    let accept = client.get("/v2/team/app/manifests/v0");
    accept
        .header("accept", OCI_MANIFEST)
        .await
        .expect_status(200);
}
