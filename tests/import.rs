//! Adopting the root of a Distribution registry by command: what is taken, what is tolerated, what is told and held, and that
//! doing it again does nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::{Outcome, run, seawall};
use crate::support::distribution::{Root, remove, write};
use crate::support::images::{ALGORITHMS, Algorithm, Content, Manifest, Recipe, digest_of, index};
use crate::support::server::TestServer;

/// A root in a directory of the test's own.
struct World {
    home: TempDir,
    root: Root,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = Root::at(&home.path().join("root"));
        Self { home, root }
    }

    async fn command(&self, arguments: &[&str]) -> Outcome {
        let mut command = seawall(self.home.path());
        run(command.arg("import").arg(self.root.path()).args(arguments)).await
    }

    /// Imports and returns what the command tells.
    async fn import(&self, arguments: &[&str]) -> Value {
        let outcome = self.command(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:#?}"))
    }

    /// Collects without grace, where no server runs.
    async fn collect(&self, arguments: &[&str]) -> Outcome {
        let file = self.home.path().join("collect.yml");
        let text = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": self.root.path()}},
        });
        fs::write(&file, text.to_string()).unwrap();
        let mut command = seawall(self.home.path());
        run(command.arg("garbage-collect").args(arguments).arg(file)).await
    }

    fn database(&self) -> Connection {
        Connection::open(self.root.path().join("seawall.db")).unwrap()
    }

    /// Returns what the database holds of a question with one column, printed.
    fn ask(&self, sql: &str) -> Vec<String> {
        let database = self.database();
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Returns the repositories that are held.
    fn held(&self) -> Vec<String> {
        self.ask("SELECT name FROM repositories WHERE held_since IS NOT NULL ORDER BY name")
    }

    /// Returns the digests that may be collected, as hex without their algorithm.
    fn candidates(&self) -> Vec<String> {
        self.ask("SELECT repository_id || ' ' || kind || ' ' || lower(substr(hex(digest), 3)) FROM gc_candidates ORDER BY 1")
    }

    /// Returns everything the database holds.
    fn everything(&self) -> Vec<String> {
        let tables = self.ask("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('clock', 'imports', 'upkeep', 'sqlite_sequence') ORDER BY name");
        let mut all = Vec::new();
        for table in tables {
            let database = self.database();
            let mut rows = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = rows.column_count();
            let mut rows = rows.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let cells: Vec<String> = (0..columns)
                    .map(|column| format!("{:?}", row.get_ref(column).unwrap()))
                    .collect();
                all.push(format!("{table} {}", cells.join(" ")));
            }
        }
        all.sort();
        all
    }

    /// Serves what was imported.
    async fn serve(self) -> (TestServer, TempDir) {
        let from = self.root.path().to_owned();
        let fill = move |data: &Path| fs::rename(&from, data).unwrap();
        (TestServer::builder().over(fill).start().await, self.home)
    }
}

fn hex(digest: &str) -> &str {
    digest.split_once(':').unwrap().1
}

fn platforms(seed: &str) -> Content {
    let children = ["amd64", "arm64"].map(|name| Recipe::image(&format!("{seed}-{name}")).build());
    index(Algorithm::Sha256, &children, &[])
}

#[tokio::test]
async fn repositories_below_each_other_shared_layers_and_indexes_are_pulled_as_they_were() {
    let world = World::new();
    let base = Recipe::image("base").build();
    let app = Recipe::image("app").on(&base.blobs[1]).build();
    let multi = platforms("multi");
    world.root.push("team", &base, &["1", "latest"]);
    world.root.push("team/app", &app, &["1"]);
    world.root.push("team/app/multi", &multi, &["all"]);
    let report = world.import(&[]).await;
    let blobs = base.blobs.len() + app.blobs.len() - 1 + multi.blobs.len() + 1 + 1 + 3;
    assert_eq!(
        [
            &report["repositories"],
            &report["tags"],
            &report["manifests"],
            &report["blobs"]
        ],
        [&json!(3), &json!(4), &json!(5), &json!(blobs)],
        "{report}"
    );
    assert_eq!(report["unusable"], json!([]));
    let (server, _home) = world.serve().await;
    for (repository, content, tag) in [
        ("team", &base, "latest"),
        ("team/app", &app, "1"),
        ("team/app/multi", &multi, "all"),
    ] {
        server.client().expect_pull(repository, content).await;
        let by_tag = server
            .client()
            .get(&format!("/v2/{repository}/manifests/{tag}"))
            .await
            .expect_status(200);
        assert_eq!(by_tag.need("docker-content-digest"), content.top().digest);
    }
    let catalog = server.client().get("/v2/_catalog").await.json();
    assert_eq!(
        catalog["repositories"],
        json!(["team", "team/app", "team/app/multi"])
    );
    let tags = server.client().get("/v2/team/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["1", "latest"]));
    let elsewhere = format!("/v2/team/blobs/{}", multi.blobs[0].digest);
    server
        .client()
        .get(&elsewhere)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn layers_of_either_algorithm_are_pulled_by_the_digest_they_were_pushed_by() {
    for algorithm in ALGORITHMS {
        let world = World::new();
        let image = Recipe::image("either").algorithm(algorithm).build();
        for blob in &image.blobs {
            world.root.push_blob("team/app", &blob.digest, &blob.bytes);
        }
        let manifest = Manifest::new(Algorithm::Sha256, image.top().json.clone());
        world.root.push_manifest("team/app", &manifest.bytes);
        world.root.point("team/app", "1", &manifest.digest);
        let dry = world.import(&["--dry-run"]).await;
        let report = world.import(&[]).await;
        assert_eq!(dry, report, "the dry run told what was done");
        let again = world.import(&[]).await;
        assert_eq!(again["blobs"], report["blobs"]);
        assert_eq!(again["bytes"], report["bytes"]);
        let pulled = Content {
            blobs: image.blobs.clone(),
            manifests: vec![manifest],
        };
        let (server, _home) = world.serve().await;
        server.client().expect_pull("team/app", &pulled).await;
    }
}

#[tokio::test]
async fn what_crashes_and_other_programs_leave_is_passed_over() {
    let world = World::new();
    let image = Recipe::image("whole").build();
    let root = &world.root;
    root.push("team/app", &image, &["1", "2"]);
    let top = &image.top().digest;
    // Emptied by a crash: what the path says holds.
    fs::write(root.layer("team/app", &image.blobs[0].digest), "").unwrap();
    fs::write(root.layer("team/app", &image.blobs[1].digest), [0; 71]).unwrap();
    fs::write(root.revision("team/app", top), "").unwrap();
    fs::write(root.current("team/app", "2"), "").unwrap();
    // Never finished, foreign, or not for us.
    let tag = root.tag("team/app", "3");
    write(
        &tag.join("index/sha256").join(hex(top)).join("link"),
        top.as_bytes(),
    );
    let layer = root.layer("team/app", &image.blobs[0].digest);
    write(&layer.with_file_name("link.0c8f.tmp"), b"sha256:");
    write(&root.blob(top).with_file_name("data.0c8f.tmp"), b"{");
    write(
        &root.repository("team/app").join("_uploads/0c8f/data"),
        b"part",
    );
    write(
        &root
            .repository("team/app")
            .join("_layers/sha256/lost+found/x"),
        b"x",
    );
    let signatures = root.revision("team/app", top).with_file_name("signatures");
    write(&signatures.join("sha256/00/link"), b"sha256:00");
    write(&root.repository("README"), b"a file");
    let gone = digest_of(Algorithm::Sha256, b"collected by Distribution");
    write(&root.layer("team/app", &gone), gone.as_bytes());

    let report = world.import(&[]).await;
    assert_eq!(report["unusable"], json!([]));
    assert_eq!(
        [&report["tags"], &report["manifests"]],
        [&json!(2), &json!(1)]
    );
    assert_eq!(world.held(), [""; 0]);
    let (server, _home) = world.serve().await;
    server.client().expect_pull("team/app", &image).await;
    let second = server.client().get("/v2/team/app/manifests/2").await;
    assert_eq!(second.need("docker-content-digest"), top);
    let tags = server.client().get("/v2/team/app/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["1", "2"]));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_its_path_and_reason() {
    let world = World::new();
    let root = &world.root;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    root.push("a/moved", &old, &["1"]);
    root.push("a/moved", &new, &["1"]);
    fs::write(root.current("a/moved", "1"), "").unwrap();
    let first = br#"{"schemaVersion":1,"name":"a/legacy","fsLayers":[]}"#;
    let first = root.push_manifest("a/legacy", first);
    root.point("a/legacy", "1", &first);
    root.push("a/missing", &old, &["1"]);
    let missing = root.push_manifest("a/missing", b"{}");
    fs::remove_file(root.blob(&missing)).unwrap();
    let wrong = root.push_manifest("a/wrong", b"{ }");
    fs::write(root.blob(&wrong), "{}").unwrap();
    root.push("a/Upper", &new, &["1"]);
    write(
        &root.layer("a/other", &old.blobs[0].digest),
        new.blobs[0].digest.as_bytes(),
    );

    let report = world.import(&[]).await;
    let told = report["unusable"].as_array().unwrap();
    let repositories = "docker/registry/v2/repositories";
    for (path, reason) in [
        (
            "a/moved/_manifests/tags/1/current/link".to_owned(),
            "names several manifests",
        ),
        (
            format!("a/legacy/_manifests/revisions/sha256/{}/link", hex(&first)),
            "schema version 1",
        ),
        (
            "a/legacy/_manifests/tags/1/current/link".to_owned(),
            "cannot be used",
        ),
        (
            format!(
                "a/missing/_manifests/revisions/sha256/{}/link",
                hex(&missing)
            ),
            "bytes are missing",
        ),
        (
            format!("a/wrong/_manifests/revisions/sha256/{}/link", hex(&wrong)),
            "do not have its digest",
        ),
        ("a/Upper".to_owned(), "is invalid"),
        (
            format!("a/other/_layers/sha256/{}/link", hex(&old.blobs[0].digest)),
            "not the digest of its path",
        ),
    ] {
        let path = format!("{repositories}/{path}");
        let one = told.iter().find(|one| one["path"] == path.as_str());
        let one = one.unwrap_or_else(|| panic!("{path} is not told: {report:#}"));
        assert!(one["reason"].as_str().unwrap().contains(reason), "{one}");
    }
    assert_eq!(told.len(), 7, "{report:#}");
    let text = world.command(&["--dry-run"]).await;
    assert!(text.stdout.contains("7 cannot be used"), "{text:#?}");
    assert!(text.stdout.contains("schema version 1"), "{text:#?}");
    assert_eq!(
        world.held(),
        ["a/legacy", "a/missing", "a/moved", "a/other", "a/wrong"]
    );
    let (server, _home) = world.serve().await;
    server.client().expect_pull("a/moved", &old).await;
    server.client().expect_pull("a/moved", &new).await;
    server.client().expect_pull("a/missing", &old).await;
}

#[tokio::test]
async fn a_repository_is_held_until_what_is_unusable_is_mended_and_other_idle_blobs_are_candidates()
{
    let world = World::new();
    let root = &world.root;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    root.push("held", &old, &["1"]);
    root.push("held", &new, &["1"]);
    fs::write(root.current("held", "1"), "").unwrap();
    let first = root.push_manifest("held", br#"{"schemaVersion":1}"#);
    root.push("sound", &new, &["1"]);
    root.push_blob("sound", &digest_of(Algorithm::Sha256, b"idle"), b"idle");
    let orphan = root.put_blob(b"linked nowhere");
    world.import(&[]).await;
    assert_eq!(world.held(), ["held"]);
    let candidates = world.candidates();
    let idle = hex(&digest_of(Algorithm::Sha256, b"idle")).to_owned();
    assert!(
        candidates.contains(&format!("0 1 {}", hex(&orphan))),
        "{candidates:?}"
    );
    assert!(
        candidates
            .iter()
            .any(|one| one.ends_with(&format!(" 1 {idle}")))
    );
    let held = world.ask("SELECT lower(substr(hex(l.digest), 3)) FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE r.name = 'held'");
    assert!(
        held.contains(&hex(&first).to_owned()),
        "the bytes of what cannot be used are held: {held:?}"
    );

    write(&root.current("held", "1"), new.top().digest.as_bytes());
    remove(root.revision("held", &first).parent().unwrap());
    let report = world.import(&[]).await;
    assert_eq!(report["unusable"], json!([]));
    assert_eq!(world.held(), [""; 0]);
    let woken = world.ask("SELECT CAST(max(not_before) AS TEXT) FROM gc_candidates");
    assert_eq!(woken, ["0"]);
}

#[tokio::test]
async fn what_cannot_be_used_is_given_up_by_force() {
    let world = World::new();
    let root = &world.root;
    root.push("held", &Recipe::image("image").build(), &["1"]);
    root.push_manifest("held", br#"{"schemaVersion":1}"#);
    world.import(&[]).await;
    assert_eq!(world.held(), ["held"]);
    world
        .database()
        .execute("UPDATE gc_candidates SET not_before = 99", [])
        .unwrap();
    world.import(&["--force"]).await;
    assert_eq!(world.held(), [""; 0]);
    let woken = world
        .ask("SELECT CAST(max(not_before) AS TEXT) FROM gc_candidates WHERE repository_id > 0");
    assert_eq!(woken, ["0"], "it is looked at again");
}

#[tokio::test]
async fn nothing_idle_is_collected_while_it_is_not_known_what_a_directory_links() {
    let world = World::new();
    let root = &world.root;
    let image = Recipe::image("image").build();
    root.push("Upper", &image, &["1"]);
    root.push("sound", &Recipe::image("sound").build(), &["1"]);
    // Idle in a repository that is sound, and needed by the directory that nobody can read.
    for blob in &image.blobs {
        root.push_blob("sound", &blob.digest, &blob.bytes);
    }
    world.import(&[]).await;
    assert_eq!(world.candidates(), [""; 0]);
    let mut command = seawall(world.home.path());
    let checked = run(command
        .arg("fsck")
        .arg("--data")
        .arg(root.path())
        .arg("--repair"))
    .await;
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    assert_eq!(world.candidates(), [""; 0], "{checked:#?}");
    let collected = world.collect(&["-m"]).await;
    assert_eq!(collected.code, Some(0), "{collected:#?}");
    for blob in &image.blobs {
        assert!(root.blob(&blob.digest).exists());
    }
    world.import(&["--force"]).await;
    let noted = world.candidates();
    for blob in &image.blobs {
        let noted = noted.iter().filter(|one| one.ends_with(hex(&blob.digest)));
        assert_eq!(noted.count(), 1);
    }
    world.import(&[]).await;
    assert_eq!(world.candidates(), noted, "what was given up stays so");
}

#[tokio::test]
async fn nothing_is_collected_until_an_import_that_broke_off_came_to_its_end() {
    for was_imported in [false, true] {
        let world = World::new();
        let root = &world.root;
        root.push("a", &Recipe::image("first").build(), &["1"]);
        if was_imported {
            world.import(&[]).await;
        }
        // Idle in the first, and needed by the last alone.
        let image = Recipe::image("last").build();
        for blob in &image.blobs {
            root.push_blob("a", &blob.digest, &blob.bytes);
        }
        root.push("z", &image, &["1"]);
        let torn = root.tag("z", "2");
        write(&torn.join("current/link"), b"");
        symlink("index", torn.join("index")).unwrap();
        let broken_off = world.command(&[]).await;
        assert_eq!(broken_off.code, Some(1), "{broken_off:#?}");
        for arguments in [&["-d"][..], &[]] {
            let refused = world.collect(arguments).await;
            assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
            assert!(refused.stderr.contains("or not to the end"), "{refused:#?}");
        }
        remove(&torn);
        // The server goes on with it before it answers, also where an earlier one came to its end.
        let (server, _home) = world.serve().await;
        server.client().until_ready().await;
        server.client().expect_pull("z", &image).await;
        server
            .client()
            .expect_pull("a", &Recipe::image("first").build())
            .await;
    }
}

#[tokio::test]
async fn importing_again_changes_nothing() {
    let world = World::new();
    let root = &world.root;
    root.push("team/app", &platforms("multi"), &["1", "2"]);
    root.push_manifest("team/old", br#"{"schemaVersion":1}"#);
    root.put_blob(b"linked nowhere");
    let first = world.import(&[]).await;
    assert!(first["changed"].as_u64() > Some(0));
    let before = world.everything();
    let dry = world.import(&["--dry-run"]).await;
    let mut second = world.import(&[]).await;
    assert_eq!(dry, second);
    assert_eq!(second["changed"], json!(0));
    assert_eq!(world.everything(), before);
    second["changed"] = first["changed"].clone();
    assert_eq!(second, first);
    let text = world.command(&[]).await;
    assert!(text.stdout.contains("nothing is new"), "{text:#?}");
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let world = World::new();
    world
        .root
        .push("team/app", &Recipe::image("image").build(), &["1"]);
    let report = world.import(&["--dry-run"]).await;
    assert_eq!(
        [&report["tags"], &report["manifests"]],
        [&json!(1), &json!(1)]
    );
    let names: Vec<_> = fs::read_dir(world.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["docker"]);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_in_one_line() {
    let world = World::new();
    fs::create_dir_all(world.root.path()).unwrap();
    let outcome = world.command(&[]).await;
    assert_eq!((outcome.code, outcome.stderr.lines().count()), (Some(1), 1));
    assert!(outcome.stderr.contains("holds no registry"), "{outcome:#?}");
    let mut command = seawall(world.home.path());
    let outcome = run(command.args(["import", "nowhere"])).await;
    assert_eq!((outcome.code, outcome.stderr.lines().count()), (Some(1), 1));
}

#[tokio::test]
async fn a_configuration_names_the_root_and_what_is_here_from_elsewhere_is_left_alone() {
    let world = World::new();
    let image = Recipe::image("image").build();
    world.root.push("team/app", &image, &["1"]);
    world.import(&[]).await;
    let before = world.everything();
    let file = world.home.path().join("config.yml");
    let root = world.root.path();
    let text = json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": root}},
        "proxy": {"remoteurl": "http://127.0.0.1:1"},
    });
    fs::write(&file, text.to_string()).unwrap();
    let mut command = seawall(world.home.path());
    let outcome = run(command
        .arg("import")
        .arg(&file)
        .args(["-o", "json", "--force"]))
    .await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let told = &report["unusable"][0];
    assert_eq!(told["path"], "docker/registry/v2/repositories/team/app");
    assert!(told["reason"].as_str().unwrap().contains("another origin"));
    assert_eq!(report["repositories"], json!(0));
    assert_eq!(world.everything(), before);
}
