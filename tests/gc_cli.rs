//! `seawall garbage-collect` and `seawall gc`, the program itself: beside a running server, and where none runs.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::{Outcome, Served, run, seawall};
use crate::support::images::{Algorithm, Content, Recipe, digest_of, noise};
use crate::support::server::TestServer;

const HOUR: Duration = Duration::from_secs(3600);

/// A server with something to collect, and a home for those who talk to it.
struct World {
    server: TestServer,
    home: TempDir,
    /// Tagged: it stays.
    kept: Content,
    /// Its tag moved away: it goes only when untagged manifests are to go.
    untagged: Content,
    /// Its manifest was deleted.
    deleted: Content,
    /// A layer that no manifest followed.
    stray: String,
}

impl World {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let [kept, untagged, deleted] =
            ["kept", "untagged", "deleted"].map(|seed| Recipe::image(seed).build());
        let client = server.client();
        client.push("team/app", &untagged, &["v1"]).await;
        client.push("team/app", &kept, &["v1"]).await;
        client.push("lib/base", &deleted, &["v1"]).await;
        let path = format!("/v2/lib/base/manifests/{}", deleted.top().digest);
        client.delete(&path).await.expect_status(202);
        let stray = client.push_blob("team/app", &noise("stray", 300)).await;
        let world = Self {
            home: tempfile::tempdir().unwrap(),
            server,
            kept,
            untagged,
            deleted,
            stray,
        };
        // Every lease of a push ends.
        world.server.clock().advance(2 * HOUR);
        world
    }

    /// Stops the server, at a time that the next process goes on from.
    async fn stop(&mut self) {
        let last = noise("the last", 10);
        self.server.client().push_blob("lib/last", &last).await;
        self.server.stop().await;
    }

    /// The digests of what nothing names any more.
    fn garbage(&self) -> BTreeSet<String> {
        let mut all = digests(&self.deleted);
        all.insert(self.stray.clone());
        all
    }

    fn stored(&self) -> BTreeSet<String> {
        self.server.stored_blobs().into_keys().collect()
    }

    /// Runs `seawall garbage-collect` with the configuration of the server.
    async fn collect(&self, arguments: &[&str]) -> Outcome {
        let mut command = seawall(self.home.path());
        command.arg("garbage-collect").args(arguments);
        run(command.arg(self.server.config_file())).await
    }

    /// Runs `seawall gc` with the configuration of the server.
    async fn gc(&self, arguments: &[&str]) -> Outcome {
        let mut command = seawall(self.home.path());
        command.arg("gc").args(arguments).arg("--config");
        run(command.arg(self.server.config_file())).await
    }
}

/// Everything an image is made of.
fn digests(content: &Content) -> BTreeSet<String> {
    let blobs = content.blobs.iter().map(|blob| blob.digest.clone());
    let manifests = content.manifests.iter();
    let manifests = manifests.map(|manifest| manifest.digest.clone());
    blobs.chain(manifests).collect()
}

#[track_caller]
fn done(outcome: &Outcome) {
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(outcome.stderr, "", "{outcome:#?}");
}

#[track_caller]
fn failed(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?}: {outcome:#?}");
    }
}

/// What of stdout follows a text, line by line.
fn told(outcome: &Outcome, before: &str) -> BTreeSet<String> {
    let lines = outcome.stdout.lines();
    lines
        .filter_map(|line| line.strip_prefix(before).map(str::to_owned))
        .collect()
}

fn blobs(outcome: &Outcome) -> BTreeSet<String> {
    told(outcome, "blob eligible for deletion: ")
}

fn manifests(outcome: &Outcome) -> BTreeSet<String> {
    told(outcome, "manifest eligible for deletion: ")
}

/// Without the option: what nothing names goes, and untagged manifests stay.
#[track_caller]
fn expect_usual(world: &World, outcome: &Outcome, before: &BTreeSet<String>) {
    done(outcome);
    let garbage = world.garbage();
    assert_eq!(blobs(outcome), garbage);
    assert_eq!(manifests(outcome), BTreeSet::new());
    let last = format!(
        "\n\n{} blobs marked, {} blobs and 0 manifests eligible for deletion\n",
        before.len() - garbage.len(),
        garbage.len()
    );
    assert!(outcome.stdout.ends_with(&last), "{last}{outcome:#?}");
}

#[tokio::test]
async fn beside_a_server_it_frees_what_nothing_names_and_tells_it_as_distribution_does() {
    let world = World::new().await;
    let before = world.stored();
    let outcome = world.collect(&[]).await;
    expect_usual(&world, &outcome, &before);
    assert_eq!(world.stored(), &before - &world.garbage());
    for content in [&world.kept, &world.untagged] {
        let client = world.server.client();
        for blob in &content.blobs {
            let path = format!("/v2/team/app/blobs/{}", blob.digest);
            client.get(&path).await.expect_status(200);
        }
    }
    world
        .server
        .client()
        .expect_pull("team/app", &world.kept)
        .await;
    let again = world.collect(&[]).await;
    done(&again);
    assert_eq!(blobs(&again), BTreeSet::new());
}

#[tokio::test]
async fn where_no_server_runs_it_does_the_same() {
    let mut world = World::new().await;
    world.stop().await;
    let before = world.stored();
    let outcome = world.collect(&[]).await;
    expect_usual(&world, &outcome, &before);
    assert_eq!(world.stored(), &before - &world.garbage());
    world.server.start_again().await;
    world
        .server
        .client()
        .expect_pull("team/app", &world.kept)
        .await;
    let status = world.server.socket().get("/api/v1/gc").await.json();
    assert_eq!(status["helduntil"], json!(null), "it ended in order");
    assert_eq!(status["lastrun"]["blobs"], json!(world.garbage().len()));
}

#[tokio::test]
async fn untagged_manifests_go_when_they_are_to_with_what_only_they_name() {
    for is_running in [true, false] {
        let mut world = World::new().await;
        if !is_running {
            world.stop().await;
        }
        let before = world.stored();
        let outcome = world.collect(&["-m"]).await;
        done(&outcome);
        let untagged = world.untagged.top().digest.clone();
        assert_eq!(manifests(&outcome), BTreeSet::from([untagged]));
        assert_eq!(told(&outcome, "team/app"), BTreeSet::from([String::new()]));
        let gone = &world.garbage() | &digests(&world.untagged);
        assert_eq!(blobs(&outcome), gone);
        assert_eq!(world.stored(), &before - &gone);
    }
}

#[tokio::test]
async fn a_dry_run_deletes_nothing_and_tells_exactly_what_the_run_deletes() {
    for (is_running, options) in [
        (true, &["--delete-untagged"][..]),
        (false, &["--delete-untagged"]),
        (true, &[]),
        (false, &[]),
    ] {
        let mut world = World::new().await;
        if !is_running {
            world.stop().await;
        }
        let before = world.stored();
        let dry = [&["--dry-run"], options].concat();
        let foretold = world.collect(&dry).await;
        done(&foretold);
        assert_eq!(world.stored(), before);
        assert!(!blobs(&foretold).is_empty(), "{foretold:#?}");
        let outcome = world.collect(options).await;
        done(&outcome);
        assert_eq!(foretold.stdout, outcome.stdout);
        assert_eq!(world.stored(), &before - &blobs(&foretold));
    }
}

#[tokio::test]
async fn quiet_it_prints_nothing_and_collects_all_the_same() {
    for is_running in [true, false] {
        let mut world = World::new().await;
        if !is_running {
            world.stop().await;
        }
        let before = world.stored();
        let outcome = world.collect(&["-q"]).await;
        done(&outcome);
        assert_eq!(outcome.stdout, "");
        assert_eq!(world.stored(), &before - &world.garbage());
    }
}

#[tokio::test]
async fn leases_are_respected_although_there_is_no_grace() {
    let mut world = World::new().await;
    let fresh = noise("fresh", 300);
    let digest = world.server.client().push_blob("team/app", &fresh).await;
    let outcome = world.collect(&[]).await;
    done(&outcome);
    assert_eq!(blobs(&outcome), world.garbage());
    assert!(world.stored().contains(&digest));
    world.server.stop().await;
    let outcome = world.collect(&[]).await;
    done(&outcome);
    assert_eq!(blobs(&outcome), BTreeSet::new());
    assert!(world.stored().contains(&digest));
}

/// A configuration of a home's own, for `seawall serve` as a process.
fn configure(home: &TempDir) -> std::path::PathBuf {
    let file = home.path().join("config.yml");
    let root = home.path().join("root");
    let config = json!({
        "version": "0.1",
        "http": {"addr": "127.0.0.1:0"},
        "storage": {"filesystem": {"rootdirectory": root}, "delete": {"enabled": true}},
    });
    fs::write(&file, config.to_string()).unwrap();
    file
}

#[tokio::test]
async fn after_a_server_that_was_killed_it_says_until_when_nothing_goes() {
    let home = tempfile::tempdir().unwrap();
    let file = configure(&home);
    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let stray = noise("stray", 300);
    let digest = served.client().push_blob("team/app", &stray).await;
    served.kill().await;
    let collect = async || {
        let mut command = seawall(home.path());
        run(command.args(["garbage-collect", "-q"]).arg(&file)).await
    };
    let outcome = collect().await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("did not end in order"),
        "{outcome:#?}"
    );
    assert!(outcome.stderr.contains("until 20"), "{outcome:#?}");
    let (_, hex) = digest.split_once(':').unwrap();
    let blobs = home.path().join("root/docker/registry/v2/blobs/sha256");
    assert!(blobs.join(&hex[..2]).join(hex).join("data").exists());
    let again = collect().await;
    assert_eq!(again.stderr, outcome.stderr, "the time does not move");
}

#[tokio::test]
async fn its_configuration_is_found_as_everywhere() {
    let mut world = World::new().await;
    world.stop().await;
    let mut command = seawall(world.home.path());
    command.args(["garbage-collect", "--dry-run"]);
    command.env("REGISTRY_CONFIGURATION_PATH", world.server.config_file());
    let outcome = run(&mut command).await;
    done(&outcome);
    assert_eq!(blobs(&outcome), world.garbage());
}

#[tokio::test]
async fn what_keeps_it_from_working_is_told_in_one_line() {
    let world = World::new().await;
    // The server runs, but nobody can reach it.
    fs::remove_file(world.server.socket_path()).unwrap();
    let outcome = world.collect(&[]).await;
    failed(&outcome, &["another seawall process", "no socket"]);

    let home = tempfile::tempdir().unwrap();
    let file = configure(&home);
    let mut command = seawall(home.path());
    let outcome = run(command.arg("garbage-collect").arg(&file)).await;
    failed(&outcome, &["holds no data of Seawall"]);
    assert!(!home.path().join("root").exists(), "nothing was made");

    let mut command = seawall(home.path());
    let outcome = run(command.args(["garbage-collect", "nothing.yml"])).await;
    failed(&outcome, &["nothing.yml"]);

    for wrong in [&["garbage-collect", "--frob"][..], &["gc"], &["gc", "go"]] {
        let outcome = run(seawall(home.path()).args(wrong)).await;
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    }
}

#[tokio::test]
async fn gc_run_collects_with_the_grace_that_is_asked_for() {
    let world = World::new().await;
    let before = world.stored();
    // Of the configured day two hours are over.
    let outcome = world.gc(&["run", "-q"]).await;
    done(&outcome);
    let said = "removed 0 manifests and 0 blobs";
    assert!(outcome.stdout.contains(said), "{outcome:#?}");
    assert_eq!(world.stored(), before);

    let outcome = world.gc(&["run", "-q", "--grace", "0s", "--dry-run"]).await;
    done(&outcome);
    let would = format!(
        "would remove 0 manifests and {} blobs",
        world.garbage().len()
    );
    assert!(outcome.stdout.contains(&would), "{outcome:#?}");
    assert_eq!(world.stored(), before);

    let arguments = ["run", "-q", "--grace", "1h", "--delete-untagged"];
    let outcome = world.gc(&arguments).await;
    done(&outcome);
    let gone = &world.garbage() | &digests(&world.untagged);
    let did = format!("removed 1 manifests and {} blobs", gone.len());
    assert!(outcome.stdout.contains(&did), "{outcome:#?}");
    assert_eq!(world.stored(), &before - &gone);

    let outcome = world.gc(&["run", "-q", "--grace", "soon"]).await;
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("\"soon\" is not a duration"),
        "{outcome:#?}"
    );
}

#[tokio::test]
async fn gc_run_detached_prints_the_number_of_the_job() {
    let world = World::new().await;
    let outcome = world.gc(&["run", "--grace", "0s", "--detach"]).await;
    done(&outcome);
    let id = outcome.stdout.trim().parse().unwrap();
    let job = world.server.ended(id).await;
    assert_eq!(job.progress.blobs, world.garbage().len() as u64);
    let outcome = world
        .gc(&["run", "-q", "--grace", "0s", "-o", "json"])
        .await;
    done(&outcome);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&told["kind"], &told["state"]),
        (&json!("gc"), &json!("done"))
    );
}

#[tokio::test]
async fn a_pause_lasts_over_a_restart_until_it_is_ended() {
    let mut world = World::new().await;
    let outcome = world.gc(&["pause"]).await;
    done(&outcome);
    assert!(outcome.stdout.contains("paused"), "{outcome:#?}");
    world.server.restart().await;
    let outcome = world.gc(&["status"]).await;
    done(&outcome);
    assert!(outcome.stdout.contains("paused"), "{outcome:#?}");
    // Who asks is not refused.
    let outcome = world.gc(&["run", "-q", "--grace", "0s"]).await;
    done(&outcome);
    let said = format!("{} blobs", world.garbage().len());
    assert!(outcome.stdout.contains(&said), "{outcome:#?}");
    let outcome = world.gc(&["resume"]).await;
    done(&outcome);
    assert!(outcome.stdout.contains("waiting"), "{outcome:#?}");
    let outcome = world.gc(&["status", "-o", "json"]).await;
    done(&outcome);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&told["paused"], &told["state"]),
        (&json!(false), &json!("waiting"))
    );
}

#[tokio::test]
async fn gc_without_a_server_says_what_to_do() {
    let mut world = World::new().await;
    world.server.stop().await;
    let outcome = world.gc(&["status"]).await;
    failed(&outcome, &["no server runs", "seawall serve"]);
    assert_eq!(
        digest_of(Algorithm::Sha256, &noise("stray", 300)),
        world.stray
    );
}
