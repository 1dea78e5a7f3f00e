//! `seawall fsck`: rows and files that do not fit each other, names that lead nowhere, and what is left over.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::integrity::{DAMAGES, Operator, Report};
use crate::support::images::{Algorithm, Manifest, OCI_INDEX, Recipe, digest_of, noise};
use crate::support::server::TestServer;

/// Puts bytes where a blob of `digest` lies.
fn place(server: &TestServer, digest: &str, bytes: &[u8]) -> PathBuf {
    let file = server.blob_file(digest);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

/// Leaves a file of an upload that nobody knows.
fn leave_upload(server: &TestServer) -> PathBuf {
    let file = server
        .data()
        .join("uploads/0190c0de-0000-4000-8000-00000000abcd");
    fs::write(&file, "left").unwrap();
    file
}

/// Returns the problem of each place, and what was done.
fn by_path(report: &Report) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = |problem: &Value| {
        let told = (text(&problem["problem"]), text(&problem["action"]));
        (text(&problem["path"]), told)
    };
    let all: BTreeMap<_, _> = report.problems.iter().map(told).collect();
    assert_eq!(all.len(), report.problems.len(), "each once: {report:#?}");
    all
}

fn expected<P: ToString>(told: &[(P, &str, &str)]) -> BTreeMap<String, (String, String)> {
    let owned = |(path, problem, action): &(P, &str, &str)| {
        let told = ((*problem).to_owned(), (*action).to_owned());
        (path.to_string(), told)
    };
    told.iter().map(owned).collect()
}

#[tokio::test]
async fn everything_that_does_not_fit_is_told_and_only_repair_does_something_about_it() {
    for server_runs in [true, false] {
        let mut server = TestServer::start().await;
        let content = Recipe::image("checked").layers(3).build();
        server.client().push("team/app", &content, &["v1"]).await;
        let operator = Operator::new();
        if !server_runs {
            server.stop().await;
        }
        operator.report(&server, &["fsck"]).await.expect_clean();
        // Hashing is not for fsck: what rotted has its size.
        let damages = &DAMAGES[1..];
        let mut told = Vec::new();
        for (blob, (problem, damage)) in content.blobs.iter().zip(damages) {
            let file = server.blob_file(&blob.digest);
            damage(&file);
            told.push((file, *problem, "none", "quarantined"));
        }
        let right = noise("right", 800);
        let right_digest = digest_of(Algorithm::Sha512, &right);
        let right_file = place(&server, &right_digest, &right);
        told.push((right_file.clone(), "norow", "none", "entered"));
        let wrong_digest = digest_of(Algorithm::Sha256, b"something else");
        let wrong_file = place(&server, &wrong_digest, b"wrong");
        told.push((wrong_file.clone(), "norow", "none", "removed"));
        let left = leave_upload(&server);
        told.push((left.clone(), "tempfile", "none", "removed"));
        let with = |told: &[(PathBuf, &'static str, &'static str)]| {
            let shown = told.iter().map(|(file, problem, action)| {
                (file.to_str().unwrap().to_owned(), *problem, *action)
            });
            expected(&shown.collect::<Vec<_>>())
        };
        let before: Vec<_> = told.iter().map(|t| (t.0.clone(), t.1, t.2)).collect();
        let after: Vec<_> = told.iter().map(|t| (t.0.clone(), t.1, t.3)).collect();
        for _ in 0..2 {
            let report = operator.report(&server, &["fsck"]).await;
            assert_eq!((report.code, by_path(&report)), (Some(1), with(&before)));
        }
        let report = operator.report(&server, &["fsck", "--repair"]).await;
        assert_eq!((report.code, by_path(&report)), (Some(1), with(&after)));
        assert!(right_file.exists() && !wrong_file.exists() && !left.exists());
        let report = operator.report(&server, &["fsck", "--repair"]).await;
        assert_eq!(by_path(&report), with(&after[..damages.len()]));
        if !server_runs {
            server.start_again().await;
        }
        server.client().push("team/app", &content, &["v1"]).await;
        server.client().expect_pull("team/app", &content).await;
        operator.report(&server, &["fsck"]).await.expect_clean();
    }
}

#[tokio::test]
async fn bytes_that_are_entered_are_freed_by_the_collector_unless_somebody_wants_them() {
    let server = TestServer::start().await;
    let mut files = Vec::new();
    for seed in ["wanted", "unwanted"] {
        let bytes = noise(seed, 600);
        files.push(place(
            &server,
            &digest_of(Algorithm::Sha256, &bytes),
            &bytes,
        ));
    }
    let operator = Operator::new();
    let report = operator.report(&server, &["fsck", "--repair"]).await;
    assert_eq!((report.code, report.problems.len()), (Some(0), 2));
    operator.report(&server, &["fsck"]).await.expect_clean();
    let image = Recipe::image("wants").build();
    let wanted = noise("wanted", 600);
    let digest = server.client().push_blob("team/app", &wanted).await;
    server.client().push("team/app", &image, &["v1"]).await;
    let listing = Manifest::new(
        Algorithm::Sha256,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": image.blobs[0].descriptor(),
            "layers": [{"mediaType": "application/octet-stream", "digest": digest, "size": 600}],
        }),
    );
    let pushed = server.client().push_manifest("team/app", "v2", &listing);
    pushed.await.expect_status(201);
    server.clock().advance(std::time::Duration::from_secs(7200));
    let collected = operator.types(&server, &["garbage-collect"]).await;
    assert_eq!(collected.code, Some(0), "{collected:#?}");
    assert!(files[0].exists() && !files[1].exists(), "{collected:#?}");
}

#[tokio::test]
async fn a_database_older_than_its_store_loses_nothing() {
    let mut server = TestServer::start().await;
    let content = Recipe::image("kept").build();
    server.client().push("team/app", &content, &["v1"]).await;
    server.stop().await;
    // What a backup from before the last push does not know.
    let lost = &content.blobs[1].digest;
    let database = Connection::open(server.data().join("seawall.db")).unwrap();
    let (_, hex) = lost.split_once(':').unwrap();
    let forget = "DELETE FROM blobs WHERE hex(digest) LIKE '%' || upper(?1)";
    assert_eq!(database.execute(forget, [hex]).unwrap(), 1);
    drop(database);
    let operator = Operator::new();
    let file = server.blob_file(lost);
    let report = operator.report(&server, &["fsck", "--repair"]).await;
    let told = by_path(&report);
    let entered = ("norow".to_owned(), "entered".to_owned());
    assert_eq!(told[file.to_str().unwrap()], entered, "{report:#?}");
    server.start_again().await;
    server.client().expect_pull("team/app", &content).await;
    operator.report(&server, &["fsck"]).await.expect_clean();
    let collected = operator.types(&server, &["garbage-collect", "-m"]).await;
    assert_eq!(collected.code, Some(0), "{collected:#?}");
    server.client().expect_pull("team/app", &content).await;
}

#[tokio::test]
async fn references_that_lead_nowhere_are_told_and_those_to_other_places_are_not() {
    let server = TestServer::start().await;
    let client = server.client();
    let child = Recipe::image("child").build();
    client.push("team/app", &child, &[]).await;
    let index = Manifest::new(
        Algorithm::Sha256,
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [child.top().descriptor()],
        }),
    );
    let pushed = client.push_manifest("team/app", "v1", &index).await;
    pushed.expect_status(201);
    let elsewhere = child.top().changed(Algorithm::Sha256, |manifest| {
        let digest = digest_of(Algorithm::Sha256, b"elsewhere");
        let urls = ["https://example.org/layer"];
        manifest["layers"][0] = json!({
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": digest, "size": 9, "urls": urls,
        });
    });
    let pushed = client
        .push_manifest("team/app", "foreign", &elsewhere)
        .await;
    pushed.expect_status(201);
    let operator = Operator::new();
    operator.report(&server, &["fsck"]).await.expect_clean();
    let gone = format!("/v2/team/app/manifests/{}", child.top().digest);
    client.delete(&gone).await.expect_status(202);
    for arguments in [&["fsck"][..], &["fsck", "--repair"]] {
        let report = operator.report(&server, arguments).await;
        let by = format!("team/app@{}", index.digest);
        let told = expected(&[(by, "dangling", "none")]);
        assert_eq!((report.code, by_path(&report)), (Some(1), told));
        assert_eq!(report.problems[0]["digest"], child.top().digest.as_str());
    }
    client.push("team/app", &child, &[]).await;
    operator.report(&server, &["fsck"]).await.expect_clean();
}

#[tokio::test]
async fn what_the_collector_does_not_know_of_is_told_and_noted() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let loose = client.push_blob("team/app", &noise("loose", 300)).await;
    let content = Recipe::image("tagged").build();
    client.push("team/app", &content, &["v1"]).await;
    let untagged = Recipe::image("untagged").build();
    client.push("team/app", &untagged, &[]).await;
    let operator = Operator::new();
    operator.report(&server, &["fsck"]).await.expect_clean();
    server.stop().await;
    let database = Connection::open(server.data().join("seawall.db")).unwrap();
    let forgotten = database.execute("DELETE FROM gc_candidates", []).unwrap();
    assert!(forgotten >= 2);
    drop(database);
    server.start_again().await;
    let at = |digest: &str| format!("team/app@{digest}");
    let told = |action| {
        expected(&[
            (at(&loose), "unreferenced", action),
            (at(&untagged.top().digest), "unreferenced", action),
        ])
    };
    let report = operator.report(&server, &["fsck"]).await;
    assert_eq!((report.code, by_path(&report)), (Some(1), told("none")));
    let report = operator.report(&server, &["fsck", "--repair"]).await;
    assert_eq!((report.code, by_path(&report)), (Some(0), told("noted")));
    operator.report(&server, &["fsck"]).await.expect_clean();
}

#[tokio::test]
async fn beside_pushes_and_deletes_nothing_is_taken_for_left_over() {
    let server = TestServer::start().await;
    let client = server.client();
    let checking = async {
        for round in 0..8 {
            let report = Operator::new().report(&server, &["fsck", "--repair"]).await;
            assert_eq!(report.problems, [Value::Null; 0], "round {round}");
        }
    };
    let pusher = async |name: &str| {
        for round in 0..10 {
            let content = Recipe::image(&format!("{name} {round}")).build();
            let repository = format!("team/{name}");
            client.push(&repository, &content, &["latest"]).await;
            client.expect_pull(&repository, &content).await;
            let path = format!("/v2/{repository}/manifests/{}", content.top().digest);
            client.delete(&path).await.expect_status(202);
        }
    };
    tokio::join!(checking, pusher("one"), pusher("two"), pusher("three"));
    Operator::new()
        .report(&server, &["fsck"])
        .await
        .expect_clean();
}

#[tokio::test]
async fn the_root_of_another_program_is_left_alone_until_it_was_imported() {
    let mut server = TestServer::start().await;
    server
        .client()
        .push_blob("team/app", &noise("own", 100))
        .await;
    server.stop().await;
    let bytes = noise("adopted", 200);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let file = place(&server, &digest, &bytes);
    let (_, hex) = digest.split_once(':').unwrap();
    let link = format!("docker/registry/v2/repositories/app/_layers/sha256/{hex}/link");
    let link = server.data().join(link);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(link, &digest).unwrap();
    let outcome = Operator::new().types(&server, &["fsck", "--repair"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(outcome.stderr.contains("seawall import"), "{outcome:#?}");
    assert!(file.exists());
}
