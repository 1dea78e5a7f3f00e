//! Serving the root of a Distribution registry: it is adopted before anything is answered, goes on after a stop or a kill,
//! and what Seawall changed since stays changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::binary::{Served, run, seawall};
use crate::support::client::Client;
use crate::support::distribution::Root;
use crate::support::images::{Algorithm, Content, Manifest, Recipe};
use crate::support::server::TestServer;
use crate::support::upstream::FakeUpstream;

/// Imports again, as the command does it where no server runs.
async fn import(server: &TestServer, arguments: &[&str]) -> Value {
    let mut command = seawall(&server.data());
    let command = command.arg("import").arg(server.data()).args(arguments);
    let outcome = run(command.args(["-o", "json"])).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

async fn digest_at(client: &Client, path: &str) -> Option<String> {
    let reply = client.head(path).await;
    (reply.status == 200).then(|| reply.need("docker-content-digest").to_owned())
}

#[tokio::test]
async fn while_it_is_imported_the_server_lives_says_so_and_answers_nothing_else() {
    let image = Recipe::image("image").build();
    let expected = image.clone();
    let mut server = TestServer::builder()
        .over(move |root| {
            Root::at(root).push("team/app", &image, &["1"]);
            // Lists no blobs until it is taken away.
            symlink("loop", root.join("docker/registry/v2/blobs/sha256/zz")).unwrap();
            symlink("zz", root.join("docker/registry/v2/blobs/sha256/loop")).unwrap();
        })
        .start()
        .await;
    let loops = server.data().join("docker/registry/v2/blobs/sha256/zz");
    for _ in 0..2 {
        server.client().get("/livez").await.expect_status(200);
        let ready = server.client().get("/readyz").await.expect_status(503);
        assert_eq!(ready.need("retry-after"), "5");
        assert!(ready.text().contains("importing"), "{ready:#?}");
        for path in ["/v2/", "/v2/team/app/manifests/1", "/v2/_catalog"] {
            let refused = server.client().get(path).await;
            let refused = refused.expect_error(503, "UNAVAILABLE");
            assert_eq!(refused.need("retry-after"), "5");
            assert!(refused.text().contains("importing"), "{refused:#?}");
        }
        let pushed = server.client().post("/v2/a/blobs/uploads/").await;
        pushed.expect_error(503, "UNAVAILABLE");
        let told = server
            .socket()
            .get("/api/v1/jobs")
            .await
            .expect_problem(503);
        assert!(told.contains("importing"), "{told}");
        // A stop in the middle is none: the next start goes on.
        server.restart().await;
    }
    fs::remove_file(loops).unwrap();
    server.client().until_ready().await;
    server.client().expect_pull("team/app", &expected).await;
    server.socket().get("/api/v1/jobs").await.expect_status(200);
    server.restart().await;
    server.client().expect_pull("team/app", &expected).await;
}

#[tokio::test]
async fn a_kill_in_the_middle_is_gone_on_from() {
    const TAGS: usize = 400;
    let home = tempfile::tempdir().unwrap();
    let root = Root::at(&home.path().join("root"));
    let image = Recipe::image("image").build();
    root.push("team/app", &image, &[]);
    for number in 0..TAGS {
        let manifest = image.top().changed(Algorithm::Sha256, |json| {
            json["annotations"] = json!({"number": number.to_string()});
        });
        let digest = root.push_manifest("team/app", &manifest.bytes);
        root.point("team/app", &number.to_string(), &digest);
    }
    let serve = || {
        let mut command = seawall(home.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(root.path());
        command
    };
    // Each kill comes a little later into the import.
    for looks in 0..4 {
        let served = Served::start(&mut serve()).await;
        for _ in 0..looks * 3 {
            served.client().get("/readyz").await;
        }
        served.kill().await;
    }
    let served = Served::start(&mut serve()).await;
    served.client().until_ready().await;
    let tags = served.client().get("/v2/team/app/tags/list").await;
    assert_eq!(tags.json()["tags"].as_array().unwrap().len(), TAGS);
    served.client().expect_pull("team/app", &image).await;
    served.kill().await;
    let mut command = seawall(home.path());
    let again = run(command.arg("import").arg(root.path()).args(["-o", "json"])).await;
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        [&again["tags"], &again["changed"]],
        [&json!(TAGS), &json!(0)]
    );
}

#[tokio::test]
async fn what_was_deleted_or_moved_since_comes_back_by_force_alone() {
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    let (first, second) = (old.clone(), new.clone());
    let mut server = TestServer::builder()
        .over(move |root| {
            let root = Root::at(root);
            root.push("team/app", &first, &["moved", "deleted", "untagged"]);
            root.push("team/app", &second, &["other"]);
        })
        .start()
        .await;
    server.client().until_ready().await;
    let client = server.client().clone();
    let path = |tag: &str| format!("/v2/team/app/manifests/{tag}");
    client
        .push_manifest("team/app", "moved", new.top())
        .await
        .expect_status(201);
    client.delete(&path("untagged")).await.expect_status(202);
    client
        .delete(&path(&new.top().digest))
        .await
        .expect_status(202);
    client
        .push_manifest("team/app", "moved", old.top())
        .await
        .expect_status(201);
    client
        .push_manifest("team/app", "deleted", new.top())
        .await
        .expect_status(201);
    server.stop().await;
    assert_eq!(import(&server, &[]).await["changed"], json!(0));
    server.start_again().await;
    let client = server.client().clone();
    assert_eq!(
        digest_at(&client, &path("moved")).await.as_ref(),
        Some(&old.top().digest)
    );
    assert_eq!(
        digest_at(&client, &path("deleted")).await.as_ref(),
        Some(&new.top().digest)
    );
    assert_eq!(digest_at(&client, &path("untagged")).await, None);
    assert_eq!(digest_at(&client, &path("other")).await, None);
    server.stop().await;
    import(&server, &["--force"]).await;
    server.start_again().await;
    let client = server.client();
    for tag in ["moved", "deleted", "untagged"] {
        assert_eq!(
            digest_at(client, &path(tag)).await.as_ref(),
            Some(&old.top().digest)
        );
    }
    assert_eq!(
        digest_at(client, &path("other")).await.as_ref(),
        Some(&new.top().digest)
    );
}

#[tokio::test]
async fn links_that_distribution_wrote_after_a_rollback_are_taken() {
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    let first = old.clone();
    let mut server = TestServer::builder()
        .over(move |root| Root::at(root).push("team/app", &first, &["moved", "kept"]))
        .start()
        .await;
    server.client().until_ready().await;
    server.stop().await;
    let root = Root::at(&server.data());
    root.push("team/app", &new, &["moved", "made"]);
    root.push("team/second", &new, &["1"]);
    let report = import(&server, &[]).await;
    assert!(report["changed"].as_u64() > Some(0), "{report}");
    server.start_again().await;
    let client = server.client();
    client.expect_pull("team/app", &new).await;
    client.expect_pull("team/second", &new).await;
    for (tag, content) in [("moved", &new), ("made", &new), ("kept", &old)] {
        let path = format!("/v2/team/app/manifests/{tag}");
        assert_eq!(
            digest_at(client, &path).await.as_ref(),
            Some(&content.top().digest)
        );
    }
}

#[tokio::test]
async fn an_import_beside_a_running_server_is_refused_and_a_dry_run_is_not() {
    let image = Recipe::image("image").build();
    let server = TestServer::builder()
        .over(move |root| Root::at(root).push("team/app", &image, &["1"]))
        .start()
        .await;
    server.client().until_ready().await;
    let command = |arguments: &[&str]| {
        let mut command = seawall(&server.data());
        command.arg("import").arg(server.data()).args(arguments);
        command
    };
    let refused = run(&mut command(&[])).await;
    assert_eq!((refused.code, refused.stderr.lines().count()), (Some(1), 1));
    assert!(refused.stderr.contains("a server runs"), "{refused:#?}");
    let looked = run(&mut command(&["--dry-run", "-o", "json"])).await;
    let looked: Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(
        [&looked["tags"], &looked["changed"]],
        [&json!(1), &Value::Null]
    );
}

/// A root that a proxy of `upstream` left, and the server that takes it over.
async fn proxy(upstream: &FakeUpstream, image: &Content) -> TestServer {
    let (url, image) = (upstream.url(), image.clone());
    TestServer::builder()
        .config(move |settings| settings["proxy"] = json!({"remoteurl": url}))
        .over(move |root| {
            Root::at(root).push("team/app", &image, &["1"]);
            fs::write(root.join("scheduler-state.json"), "{}").unwrap();
        })
        .start()
        .await
}

#[tokio::test]
async fn the_root_of_a_proxy_is_mirrored_content_whose_tags_are_asked_for_again() {
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &new, &["1"]);
    let server = proxy(&upstream, &old).await;
    server.client().until_ready().await;
    let tag = "/v2/team/app/manifests/1";
    let asked = server.client().get(tag).await.expect_status(200);
    assert_eq!(asked.need("docker-content-digest"), new.top().digest);
    let refused = server.client().post("/v2/team/app/blobs/uploads/").await;
    refused.expect_error(405, "UNSUPPORTED");
    assert!(server.cache_bytes().await > 0, "it counts as cached");
}

#[tokio::test]
async fn the_root_of_a_proxy_is_served_without_its_upstream() {
    let image = Recipe::image("image").build();
    let upstream = FakeUpstream::dead();
    let server = proxy(&upstream, &image).await;
    server.client().until_ready().await;
    server.client().expect_pull("team/app", &image).await;
    let stale = server.client().get("/v2/team/app/manifests/1").await;
    assert_eq!(
        stale.clone().expect_status(200).need("seawall-cache"),
        "stale"
    );
    let catalog = server.client().get("/v2/_catalog").await.json();
    assert_eq!(catalog["repositories"], json!(["team/app"]));
}

#[tokio::test]
async fn an_image_of_many_years_is_served_although_one_of_its_manifests_is_of_the_first_schema() {
    let image = Recipe::image("image").docker().build();
    let expected = image.clone();
    let server = TestServer::builder()
        .over(move |root| {
            let root = Root::at(root);
            root.push("team/app", &image, &["2"]);
            let first = Manifest::new(Algorithm::Sha256, json!({"schemaVersion": 1}));
            let digest = root.push_manifest("team/app", &first.bytes);
            root.point("team/app", "1", &digest);
        })
        .start()
        .await;
    server.client().until_ready().await;
    server.client().expect_pull("team/app", &expected).await;
    let first = server.client().get("/v2/team/app/manifests/1").await;
    first.expect_error(404, "MANIFEST_UNKNOWN");
}

/// Seawall's own data is not taken for a registry that was never imported.
#[tokio::test]
async fn a_root_without_link_files_is_served_at_once() {
    let server = TestServer::builder()
        .over(|root: &Path| fs::create_dir_all(root.join("docker/registry/v2/blobs")).unwrap())
        .start()
        .await;
    server.client().get("/readyz").await.expect_status(200);
}

#[tokio::test]
async fn repositories_that_are_held_are_told_by_name_and_in_number() {
    let server = TestServer::builder()
        .over(|root| {
            let root = Root::at(root);
            root.push("team/app", &Recipe::image("image").build(), &["1"]);
            root.push_manifest("team/old", br#"{"schemaVersion":1}"#);
        })
        .start()
        .await;
    server.client().until_ready().await;
    let told = server.socket().get("/api/v1/gc").await.json();
    assert_eq!(
        told["heldrepositories"],
        json!({"count": 1, "names": ["team/old"]})
    );
    let metrics = server.socket().get("/metrics").await.text();
    assert!(
        metrics.contains("\nseawall_gc_held_repositories 1\n"),
        "{metrics}"
    );
}
