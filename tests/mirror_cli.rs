//! `seawall mirror`, the program itself, against a running server.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::binary::{Outcome, Served, run, seawall};
use crate::support::gate::Gate;
use crate::support::images::{Content, Recipe};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

/// A server that mirrors an upstream, and a home for those who talk to it.
struct World {
    upstream: FakeUpstream,
    server: TestServer,
    home: TempDir,
}

impl World {
    async fn new() -> Self {
        let upstream = FakeUpstream::start().await;
        let server = TestServer::builder().mirror_of(&upstream).start().await;
        let home = tempfile::tempdir().unwrap();
        Self {
            upstream,
            server,
            home,
        }
    }

    fn hold(&self, repository: &str, tag: &str) -> Content {
        let content = Recipe::image(repository).build();
        self.upstream.hold(repository, &content, &[tag]);
        content
    }

    /// Runs `seawall mirror` with the configuration of the server.
    async fn mirror(&self, arguments: &[&str]) -> Outcome {
        let config = self.server.config_file();
        let mut command = seawall(self.home.path());
        command.arg("mirror").args(arguments).arg("--config");
        run(command.arg(config)).await
    }
}

fn mirror(home: &Path, arguments: &[&str]) -> Command {
    let mut command = seawall(home);
    command.arg("mirror").args(arguments);
    command
}

#[track_caller]
fn failed(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    let lines = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("seawall: "));
    assert_eq!(lines.count(), 1, "{outcome:#?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?}: {outcome:#?}");
    }
}

#[tokio::test]
async fn warm_fetches_an_image_so_that_it_is_served_with_the_upstream_down() {
    let world = World::new().await;
    let content = world.hold("team/app", "1.0");
    let image = format!("{UPSTREAM}/team/app:1.0");
    let outcome = world.mirror(&["warm", &image]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let blobs = content.blobs.len();
    let said = format!("images 1, layers {blobs}, ");
    assert!(outcome.stdout.starts_with(&said), "{outcome:#?}");
    // Not on a terminal: lines, and not many.
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(!lines.is_empty() && lines.len() < 10, "{outcome:#?}");
    assert!(lines[0].starts_with("images "), "{outcome:#?}");

    world.upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    world.server.client().expect_pull(&name, &content).await;
}

#[tokio::test]
async fn warm_takes_a_name_without_a_mirror_as_the_server_does() {
    let world = World::new().await;
    world.hold("team/app", "latest");
    let outcome = world.mirror(&["warm", "--quiet", "team/app"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(outcome.stderr, "", "{outcome:#?}");
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told_with_its_name() {
    let world = World::new().await;
    world.hold("team/app", "1.0");
    let image = format!("{UPSTREAM}/team/app:2.0");
    let outcome = world.mirror(&["warm", "-q", &image]).await;
    failed(&outcome, &["failed", "team/app:2.0"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_told_before_anything_is_started() {
    let world = World::new().await;
    let outcome = world.mirror(&["warm", "-q", "No/Image"]).await;
    failed(&outcome, &["No/Image"]);
    let outcome = world
        .mirror(&["warm", "-q", "a/b", "--platform", "x"])
        .await;
    failed(&outcome, &["x"]);
    let jobs = world.server.socket().get("/api/v1/jobs").await;
    assert_eq!(jobs.expect_status(200).json(), json!({"jobs": []}));
}

#[tokio::test]
async fn a_detached_warm_prints_the_number_of_its_job() {
    let world = World::new().await;
    world.hold("team/app", "1.0");
    let image = format!("{UPSTREAM}/team/app:1.0");
    let outcome = world.mirror(&["warm", "--detach", &image]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let id: i64 = outcome.stdout.trim().parse().unwrap();
    let job = world.server.ended(id).await;
    assert_eq!(job.error, None);
}

#[tokio::test]
async fn a_warmed_image_that_is_purged_is_fetched_anew() {
    let world = World::new().await;
    let content = world.hold("team/app", "1.0");
    let image = format!("{UPSTREAM}/team/app:1.0");
    world.mirror(&["warm", "-q", &image]).await;
    let fetched = world.upstream.count(Kind::BlobGet);
    assert_eq!(fetched, content.blobs.len());

    let nothing = world.mirror(&["purge", "other.example/**:*"]).await;
    assert_eq!(nothing.stdout, "removed 0 manifests, freed 0 B\n");
    let outcome = world.mirror(&["purge", &format!("{UPSTREAM}/**:*")]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let told = &outcome.stdout;
    assert!(
        told.starts_with("removed 1 manifests, freed "),
        "{outcome:#?}"
    );
    assert!(!told.contains("freed 0 B"), "{outcome:#?}");

    let name = format!("{UPSTREAM}/team/app");
    world.server.client().expect_pull(&name, &content).await;
    assert_eq!(world.upstream.count(Kind::BlobGet), 2 * fetched);
}

#[tokio::test]
async fn a_purge_says_what_it_had_to_leave() {
    let world = World::new().await;
    let content = world.hold("team/app", "1.0");
    let client = world.server.client();
    let name = format!("/v2/{UPSTREAM}/team/app");
    let tag = format!("{name}/manifests/1.0");
    client.get(&tag).await.expect_status(200);
    let gate = Gate::closed();
    world
        .upstream
        .next(Kind::BlobGet, Fault::StallAt(100, gate.clone()));
    let layer = &content.blobs[1];
    let mut pulling = client
        .get(&format!("{name}/blobs/{}", layer.digest))
        .begin()
        .await;
    let mut read = pulling.read_at_least(1).await;
    let outcome = world.mirror(&["purge", &format!("{UPSTREAM}/**")]).await;
    assert_eq!(
        outcome.stdout,
        "removed 0 manifests, freed 0 B; 1 manifests or blobs stay, in use or leased\n",
        "{outcome:#?}"
    );
    gate.open();
    read.extend(pulling.rest().await.expect("the body is whole"));
    assert_eq!(read, layer.bytes);
}

#[tokio::test]
async fn json_is_what_the_server_says() {
    let world = World::new().await;
    world.hold("team/app", "1.0");
    let image = format!("{UPSTREAM}/team/app:1.0");
    let warmed = world.mirror(&["warm", "-q", "-o", "json", &image]).await;
    let job: Value = serde_json::from_str(&warmed.stdout).unwrap();
    assert_eq!(
        (&job["kind"], &job["state"]),
        (&json!("warm"), &json!("done"))
    );

    let outcome = world.mirror(&["status", "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let said = world.server.socket().get("/api/v1/mirrors").await;
    assert_eq!(shown, said.json());
    let text = world.mirror(&["status"]).await.stdout;
    let row = text.lines().nth(1).unwrap_or_default();
    assert!(row.starts_with(&format!("{UPSTREAM} ")), "{text}");
    assert!(text.lines().last().unwrap().starts_with("cache "), "{text}");
}

#[tokio::test]
async fn without_a_server_one_line_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let data = data.to_str().unwrap();
    let outcome = run(&mut mirror(home.path(), &["status", "--data", data])).await;
    failed(
        &outcome,
        &["no server runs", data, "seawall serve", "--data"],
    );

    let url = "http://127.0.0.1:1";
    let outcome = run(&mut mirror(home.path(), &["status", "--server", url])).await;
    failed(&outcome, &["does not answer"]);
}

#[tokio::test]
async fn over_the_network_the_refusal_is_told_and_the_token_sent() {
    let world = World::new().await;
    let url = world.server.url("");
    let asked = ["status", "--server", &url, "--token", "t"];
    let outcome = run(&mut mirror(world.home.path(), &asked)).await;
    failed(&outcome, &["403", "administrator"]);

    // A registry that knows no management API, and writes down what it is asked.
    let other = world.upstream.url();
    world.upstream.always(Kind::Other, Fault::status(404));
    let file = world.home.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let ways: [(&[&str], _); 3] = [
        (&["--token", "given"], Some("Bearer given")),
        (
            &["--tokenfile", file.to_str().unwrap()],
            Some("Bearer from-file"),
        ),
        (&[], None),
    ];
    for (token, sent) in ways {
        let asked = [&["status", "--server", &other], token].concat();
        let outcome = run(&mut mirror(world.home.path(), &asked)).await;
        failed(&outcome, &["no management API"]);
        let seen = world.upstream.seen(Kind::Other).pop().unwrap();
        assert_eq!(seen.path, "/api/v1/mirrors");
        assert_eq!(seen.authorization.as_deref(), sent);
    }
    assert_eq!(world.upstream.count(Kind::Other), 3);
}

#[tokio::test]
async fn a_killed_server_leaves_a_socket_that_hinders_nobody() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let data = data.to_str().unwrap().to_owned();
    let serve = || {
        let mut command = seawall(home.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data", &data]);
        command
    };
    Served::start(&mut serve()).await.kill().await;
    assert!(Path::new(&data).join("seawall.sock").exists());
    let outcome = run(&mut mirror(home.path(), &["status", "--data", &data])).await;
    failed(&outcome, &["no server runs"]);
    let mut served = Served::start(&mut serve()).await;
    let outcome = run(&mut mirror(home.path(), &["status", "--data", &data])).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stdout.contains("docker.io"), "{outcome:#?}");
    served.terminate();
    assert_eq!(served.exit_code().await, Some(0));
    assert!(!Path::new(&data).join("seawall.sock").exists());
}

#[tokio::test]
async fn a_data_directory_with_a_very_long_path_has_a_socket_too() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("d".repeat(100)).join("e".repeat(100));
    let data = data.to_str().unwrap();
    let mut command = seawall(home.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data", data]);
    let served = Served::start(&mut command).await;
    let outcome = run(&mut mirror(home.path(), &["status", "--data", data])).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?} {}", served.screen());
}
