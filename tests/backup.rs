//! Copies of the database: made beside everything else, put back, and what that does to nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use seawall::jobs::{JobState, JobView};

use crate::support::binary::{Outcome, run, seawall};
use crate::support::images::{Content, Recipe, noise};
use crate::support::server::TestServer;
use crate::support::small_disk::SmallDisk;

const DAY: Duration = Duration::from_secs(86_400);

fn image(seed: &str) -> Content {
    Recipe::image(seed).build()
}

/// A server and a home for those who type commands.
struct World {
    server: TestServer,
    home: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Value)) -> Self {
        Self {
            server: TestServer::builder().config(change).start().await,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    async fn command(&self, arguments: &[&str]) -> Outcome {
        let mut command = seawall(self.home.path());
        command.args(arguments).arg("--config");
        run(command.arg(self.server.config_file())).await
    }

    async fn back_up(&self, name: &str) {
        let done = self.command(&["backup", name]).await;
        assert_eq!(done.code, Some(0), "{done:#?}");
    }

    /// Stops the server, puts a copy in place and starts it again.
    async fn restore(&mut self, name: &str) -> Outcome {
        self.server.stop().await;
        let done = self.command(&["restore", name]).await;
        assert_eq!(done.code, Some(0), "{done:#?}");
        self.server.start_again().await;
        done
    }

    fn backups(&self) -> Vec<String> {
        names_in(&self.server.data().join("backups"))
    }

    async fn job(&self) -> JobView {
        let asked = self.server.socket().post("/api/v1/backup").json(&json!({}));
        let started = asked.await.expect_status(202);
        let id = started.json()["id"].as_i64().unwrap();
        assert_eq!(started.need("location"), format!("/api/v1/jobs/{id}"));
        assert_eq!(started.json()["kind"], "backup");
        self.server.ended(id).await
    }

    async fn pull_tag(&self, tag: &str, content: &Content) {
        let path = format!("/v2/team/app/manifests/{tag}");
        let reply = self.server.client().get(&path).await.expect_status(200);
        assert_eq!(reply.body, content.top().bytes);
        self.server.client().expect_pull("team/app", content).await;
    }

    /// Collects everything that nothing keeps, with a grace of none.
    async fn collect(&self) -> JobView {
        let wanted = json!({"grace": "0s", "deleteuntagged": true});
        let asked = self.server.socket().post("/api/v1/gc/run").json(&wanted);
        let id = asked.await.expect_status(202).json()["id"]
            .as_i64()
            .unwrap();
        let job = self.server.ended(id).await;
        assert_eq!(job.state, JobState::Done, "{job:?}");
        job
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_acknowledged_before_a_backup_is_pulled_again_after_its_restore() {
    let mut world = World::new().await;
    let mut acknowledged = Vec::new();
    let (done, client) = (
        Arc::new(AtomicBool::new(false)),
        world.server.client().clone(),
    );
    let is_done = Arc::clone(&done);
    // Somebody pushes all the time; what was acknowledged when the copy began is counted below.
    let pushing = tokio::spawn(async move {
        let mut pushed = 0;
        while !is_done.load(Ordering::SeqCst) {
            let content = image(&format!("beside {pushed}"));
            client
                .push("team/beside", &content, &[&format!("t{pushed}")])
                .await;
            pushed += 1;
        }
        pushed
    });
    for round in 0..3 {
        let content = image(&format!("round {round}"));
        let tag = format!("v{round}");
        world
            .server
            .client()
            .push("team/app", &content, &[&tag])
            .await;
        acknowledged.push((tag, content));
        world.back_up("copy.db").await;
    }
    done.store(true, Ordering::SeqCst);
    let pushed = pushing.await.unwrap();
    assert!(pushed > 0, "nothing went on beside the copies");
    let about = fs::metadata(world.file("copy.db")).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert!(
        !names_in(world.home.path())
            .iter()
            .any(|name| name.contains("partial"))
    );

    world
        .server
        .client()
        .push("team/app", &image("later"), &["later"])
        .await;
    let told = world.restore("copy.db").await;
    assert!(told.stderr.contains("seawall fsck --repair"), "{told:#?}");
    for (tag, content) in &acknowledged {
        world.pull_tag(tag, content).await;
    }
    let later = world
        .server
        .client()
        .get("/v2/team/app/manifests/later")
        .await;
    later.expect_error(404, "MANIFEST_UNKNOWN");
    // Of what came beside, each image is there whole or not at all.
    for number in 0..pushed {
        let path = format!("/v2/team/beside/manifests/t{number}");
        if world.server.client().get(&path).await.status == 200 {
            let content = image(&format!("beside {number}"));
            world
                .server
                .client()
                .expect_pull("team/beside", &content)
                .await;
        }
    }
    // And what is missing is pushed again as if it never was.
    let later = image("later");
    world
        .server
        .client()
        .push("team/app", &later, &["later"])
        .await;
    world.pull_tag("later", &later).await;
}

#[tokio::test]
async fn a_backup_and_its_restore_are_told_to_programs_and_the_replaced_database_is_kept() {
    let mut world = World::new().await;
    let (one, two) = (image("one"), image("two"));
    world.server.client().push("team/app", &one, &["v1"]).await;
    world.server.stop().await;
    // Without a server too.
    let made = world.command(&["backup", "copy.db", "-o", "json"]).await;
    assert_eq!(made.code, Some(0), "{made:#?}");
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let bytes = fs::metadata(world.file("copy.db")).unwrap().len();
    assert_eq!(
        (&made["file"], &made["bytes"]),
        (&json!("copy.db"), &json!(bytes))
    );
    world.server.start_again().await;
    world.server.client().push("team/app", &two, &["v2"]).await;
    world.server.stop().await;
    let told = world.command(&["restore", "copy.db", "-o", "json"]).await;
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["asof"], made["asof"]);
    let replaced = told["replaced"].as_str().unwrap().to_owned();
    assert!(replaced.contains("seawall.db.replaced."), "{replaced}");
    world.server.start_again().await;
    world.pull_tag("v1", &one).await;
    // The way back.
    world.restore(&replaced).await;
    world.pull_tag("v1", &one).await;
    world.pull_tag("v2", &two).await;
}

#[tokio::test]
async fn a_restore_is_refused_beside_a_server_and_of_what_is_no_backup() {
    let mut world = World::new().await;
    let one = image("one");
    world.server.client().push("team/app", &one, &["v1"]).await;
    world.back_up("copy.db").await;
    let refused = async |world: &World, name: &str, words: &[&str]| {
        let told = world.command(&["restore", name]).await;
        assert_eq!(
            (told.code, told.stdout.as_str()),
            (Some(1), ""),
            "{told:#?}"
        );
        for word in words {
            assert!(told.stderr.contains(word), "{word}: {told:#?}");
        }
    };
    refused(&world, "copy.db", &["stop"]).await;
    world.server.stop().await;
    let whole = fs::read(world.file("copy.db")).unwrap();
    fs::write(world.file("half.db"), &whole[..whole.len() / 2]).unwrap();
    refused(&world, "half.db", &["half.db", "damaged"]).await;
    fs::write(world.file("page.html"), "<html>".repeat(10_000)).unwrap();
    refused(&world, "page.html", &["no database of Seawall"]).await;
    let foreign = rusqlite::Connection::open(world.file("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE tags (x)").unwrap();
    drop(foreign);
    refused(&world, "foreign.db", &["no database of Seawall"]).await;
    let newer = world.file("newer.db");
    fs::copy(world.file("copy.db"), &newer).unwrap();
    let newer = rusqlite::Connection::open(newer).unwrap();
    newer
        .execute_batch("UPDATE schema_version SET schema = 99, min_compatible = 99")
        .unwrap();
    drop(newer);
    refused(&world, "newer.db", &["needs seawall schema 99"]).await;
    refused(&world, "none.db", &["there is no file none.db"]).await;
    refused(&world, ".", &["is no file"]).await;
    assert!(
        !names_in(&world.server.data())
            .iter()
            .any(|name| name.contains("restor"))
    );
    world.server.start_again().await;
    world.pull_tag("v1", &one).await;
}

#[tokio::test]
async fn a_backup_goes_nowhere_where_it_would_do_harm() {
    let world = World::new().await;
    let database = world.server.data().join("seawall.db");
    for (target, word) in [
        (database.to_str().unwrap(), "the database itself"),
        ("/dev/null", "no regular file"),
        ("nowhere/copy.db", "nowhere/copy.db"),
    ] {
        let refused = world.command(&["backup", target]).await;
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        assert!(refused.stderr.contains(word), "{refused:#?}");
    }
    let empty = seawall(world.home.path())
        .args(["backup", "copy.db", "--data", "empty"])
        .output()
        .await
        .unwrap();
    assert_eq!(empty.status.code(), Some(1));
    assert!(!world.file("empty").exists(), "nothing was made");
    world
        .server
        .client()
        .push("team/app", &image("one"), &["v1"])
        .await;
}

#[tokio::test]
async fn the_server_copies_into_its_store_keeps_the_newest_and_takes_none_for_a_blob() {
    let mut world = World::with(|config| config["backup"] = json!({"keep": 2})).await;
    let metric = "seawall_backup_last_success_timestamp_seconds";
    let last = async |world: &World| {
        let metrics = world.server.socket().get("/metrics").await.text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(metric))
            .map(str::trim);
        line.unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(last(&world).await, 0);
    let one = image("one");
    world.server.client().push("team/app", &one, &["v1"]).await;
    let blobs = world.server.stored_blobs();
    let mut made = Vec::new();
    for _ in 0..3 {
        let job = world.job().await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Done, None));
        let newest = world.backups().pop().unwrap();
        let bytes = fs::metadata(world.server.data().join("backups").join(&newest)).unwrap();
        assert_eq!(job.progress.bytes_done, bytes.len());
        assert_eq!(bytes.permissions().mode() & 0o777, 0o600);
        made.push(newest);
        world.server.clock().advance(DAY);
    }
    assert_eq!(world.backups(), made[1..]);
    assert_eq!(world.server.stored_blobs(), blobs);
    world.server.client().expect_pull("team/app", &one).await;
    let at = last(&world).await;
    assert!(at > 0);
    world.server.restart().await;
    assert_eq!(last(&world).await, at, "a restart forgets no backup");
    let copy = world.server.data().join("backups").join(&made[2]);
    world.restore(copy.to_str().unwrap()).await;
    world.pull_tag("v1", &one).await;
    // The job that was running in its own copy does not run again.
    let jobs = world.server.socket().get("/api/v1/jobs").await.json();
    let states: Vec<&Value> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["state"])
        .collect();
    assert_eq!(states, ["failed", "done", "done"]);
    assert_eq!(world.backups(), made[1..]);
    let stranger = world
        .server
        .client()
        .post("/api/v1/backup")
        .json(&json!({}));
    stranger.await.expect_problem(403);
}

#[tokio::test]
async fn a_schedule_copies_once_for_each_of_its_times() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("elsewhere");
    let world = World::with(|config| {
        config["backup"] = json!({"schedule": "0 3 * * *", "destination": target});
    })
    .await;
    world
        .server
        .client()
        .push("team/app", &image("one"), &["v1"])
        .await;
    let jobs = async || {
        let told = world.server.socket().get("/api/v1/jobs").await.json();
        told["jobs"].as_array().unwrap().clone()
    };
    assert_eq!(jobs().await, Vec::<Value>::new());
    // One that is being made has another name until it is whole.
    let copies = || {
        let mut names = names_in(&target);
        names.retain(|name| name.starts_with("seawall-"));
        names.len()
    };
    for day in 1..=2 {
        world.server.clock().advance(DAY);
        world.server.jobs().wake();
        world
            .server
            .client()
            .until("the copy is made", || copies() == day)
            .await;
        world.server.jobs().wake();
        assert_eq!(jobs().await.len(), day, "once a day");
    }
    assert_eq!(world.backups(), Vec::<String>::new());
}

#[tokio::test]
async fn on_a_full_disk_a_backup_fails_and_leaves_nothing_and_takes_no_room() {
    let home = tempfile::tempdir().unwrap();
    let Some(served) = SmallDisk::start(home.path(), "").await else {
        return;
    };
    let one = image("one");
    served.client().push("team/app", &one, &["v1"]).await;
    // Some room is left, so that the job itself can be written down.
    let blob = noise(
        "filling",
        usize::try_from(served.free()).unwrap() - (4 << 20),
    );
    served.client().push_blob("team/app", &blob).await;
    let free = served.free();
    let job = async || {
        let asked = served.socket().post("/api/v1/backup").json(&json!({}));
        let id = asked.await.expect_status(202).json()["id"].clone();
        loop {
            let job = served
                .socket()
                .get(&format!("/api/v1/jobs/{id}"))
                .await
                .json();
            if job["state"] == "done" || job["state"] == "failed" {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    let failed = job().await;
    assert_eq!(
        (&failed["state"], &failed["error"]),
        (&json!("failed"), &json!("storage is full"))
    );
    let backups = served.seen("root/backups");
    assert_eq!(names_in(&backups), Vec::<String>::new());
    assert!(served.free() + (1 << 20) > free);
    served.client().expect_pull("team/app", &one).await;
    served
        .client()
        .push("team/app", &image("two"), &["v2"])
        .await;
}

#[tokio::test]
async fn an_older_backup_brings_nothing_to_harm() {
    let mut world = World::with(|config| config["gc"] = json!({"lease": "1h"})).await;
    let (kept, deleted, later) = (image("kept"), image("deleted"), image("later"));
    world
        .server
        .client()
        .push("team/app", &kept, &["kept"])
        .await;
    world
        .server
        .client()
        .push("team/app", &deleted, &["deleted"])
        .await;
    // In the copy it is about to be collected.
    let path = "/v2/team/app/manifests/deleted";
    world.server.client().delete(path).await.expect_status(202);
    world.back_up("copy.db").await;
    world.server.clock().advance(2 * DAY);
    assert!(world.collect().await.progress.blobs > 0);
    world
        .server
        .client()
        .push("team/app", &later, &["later"])
        .await;
    // The same content again: the row of the copy that names its old file is of no use, and does no harm.
    world
        .server
        .client()
        .push("team/app", &deleted, &["deleted"])
        .await;
    let stored = world.server.stored_blobs();

    world.restore("copy.db").await;
    world.pull_tag("kept", &kept).await;
    // Somebody may have been told something that this database does not know: for a lease nothing goes.
    let held = world.collect().await;
    assert_eq!(held.progress.blobs, 0, "{held:?}");
    assert!(held.progress.held_until.is_some(), "{held:?}");
    assert_eq!(world.server.stored_blobs(), stored);
    world.server.clock().advance(DAY);
    world.collect().await;
    world.pull_tag("kept", &kept).await;
    // What the copy does not know, or knows wrongly, is there after its next push.
    for (tag, content) in [("deleted", &deleted), ("later", &later)] {
        world
            .server
            .client()
            .push("team/app", content, &[tag])
            .await;
        world.pull_tag(tag, content).await;
    }
    world.collect().await;
    for (tag, content) in [("kept", &kept), ("deleted", &deleted), ("later", &later)] {
        world.pull_tag(tag, content).await;
    }
}

#[tokio::test]
async fn after_an_older_backup_fsck_and_pushes_mend_what_it_does_not_know() {
    let mut world = World::new().await;
    let (kept, gone, later) = (image("kept"), image("gone"), image("later"));
    let client = world.server.client().clone();
    client.push("team/app", &kept, &["kept"]).await;
    client.push("team/app", &gone, &["gone"]).await;
    world.back_up("copy.db").await;
    // After the copy one image is deleted and collected, and another one comes.
    let path = format!("/v2/team/app/manifests/{}", gone.top().digest);
    client.delete(&path).await.expect_status(202);
    world.server.clock().advance(2 * DAY);
    assert!(world.collect().await.progress.blobs > 0);
    client.push("team/app", &later, &["later"]).await;

    world.server.stop().await;
    let told = world.command(&["restore", "copy.db"]).await;
    assert_eq!(told.code, Some(0), "{told:#?}");
    let mended = world.command(&["fsck", "--repair", "-o", "json"]).await;
    assert_eq!(mended.code, Some(1), "something is gone: {mended:#?}");
    let report: Value = serde_json::from_str(&mended.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    let about = |digest: &str, problem: &str| {
        let mut those = problems.iter().filter(|one| one["digest"] == digest);
        those.any(|one| one["problem"] == problem)
    };
    for blob in &gone.blobs {
        assert!(about(&blob.digest, "missing"), "{report:#}");
    }
    for blob in &later.blobs {
        assert!(about(&blob.digest, "norow"), "{report:#}");
    }
    world.server.start_again().await;
    world.pull_tag("kept", &kept).await;
    // What is gone is unknown to clients, so that they send it again; what came later is not sent for nothing.
    for blob in &gone.blobs {
        let path = format!("/v2/team/app/blobs/{}", blob.digest);
        world.server.client().head(&path).await.expect_status(404);
    }
    for (tag, content) in [("gone", &gone), ("later", &later)] {
        world
            .server
            .client()
            .push("team/app", content, &[tag])
            .await;
        world.pull_tag(tag, content).await;
    }
    world.server.clock().advance(2 * DAY);
    world.collect().await;
    for (tag, content) in [("kept", &kept), ("gone", &gone), ("later", &later)] {
        world.pull_tag(tag, content).await;
    }
    world.server.stop().await;
    let clean = world.command(&["fsck"]).await;
    assert_eq!(clean.code, Some(0), "{clean:#?}");
}
