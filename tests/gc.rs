//! Collecting: what nothing names any more goes once its grace is over, everything else stays, and whoever was told that
//! something exists can rely on it.

use std::time::Duration;

use seawall::clock::Clock as _;
use serde_json::{Value, json};

use crate::support::images::{
    ALGORITHMS, Algorithm, Blob, Content, OCI_LAYER, Recipe, SBOM, SIGNATURE, digest_of, index,
    noise,
};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Starts a server whose collector runs only when it is asked.
pub(crate) async fn quiet() -> TestServer {
    TestServer::builder()
        .config(|config| config["gc"] = json!({"enabled": false}))
        .start()
        .await
}

/// Asks for a collection, waits for it and returns what it did.
pub(crate) async fn collect(server: &TestServer, asked: &Value) -> Value {
    let reply = server.socket().post("/api/v1/gc/run").json(asked).await;
    let job = reply.expect_status(202).json();
    let id = job["id"].as_i64().unwrap();
    server.ended(id).await;
    let path = format!("/api/v1/jobs/{id}");
    let job = server.socket().get(&path).await.expect_status(200).json();
    assert_eq!(job["state"], "done", "{job}");
    job["progress"].clone()
}

/// Collects what may go at all, and leaves untagged manifests.
pub(crate) async fn at_once(server: &TestServer) -> Value {
    collect(server, &json!({"grace": "0s"})).await
}

/// The same with untagged manifests.
async fn untagged(server: &TestServer) -> Value {
    collect(server, &json!({"grace": "0s", "deleteuntagged": true})).await
}

/// Returns whether the bytes of a digest are on the disk.
pub(crate) fn is_stored(server: &TestServer, digest: &str) -> bool {
    server.stored_blobs().contains_key(digest)
}

pub(crate) fn is_whole(server: &TestServer, content: &Content) -> bool {
    let blobs = content.blobs.iter().map(|blob| &blob.digest);
    let manifests = content.manifests.iter().map(|manifest| &manifest.digest);
    blobs
        .chain(manifests)
        .all(|digest| is_stored(server, digest))
}

/// Deletes the top manifest of `content`.
pub(crate) async fn delete(server: &TestServer, repository: &str, content: &Content) {
    let path = format!("/v2/{repository}/manifests/{}", content.top().digest);
    server.client().delete(&path).await.expect_status(202);
}

#[tokio::test]
async fn an_upload_that_nothing_names_goes_after_its_grace_and_not_before() {
    for algorithm in ALGORITHMS {
        let server = quiet().await;
        let blob = noise("never named", 900);
        let digest = digest_of(algorithm, &blob);
        let client = server.client();
        client.push_blob_as("team/app", &blob, &digest).await;
        server.clock().advance(DAY - Duration::from_secs(1));
        let early = collect(&server, &json!({})).await;
        assert_eq!(early["blobs"], 0, "{early}");
        let path = format!("/v2/team/app/blobs/{digest}");
        client.get(&path).await.expect_status(200);
        server.clock().advance(Duration::from_secs(1));
        let due = collect(&server, &json!({})).await;
        assert_eq!(
            (&due["blobs"], &due["bytesfreed"]),
            (&json!(1), &json!(900))
        );
        client.get(&path).await.expect_error(404, "BLOB_UNKNOWN");
        assert!(!is_stored(&server, &digest));
        client.push_blob_as("team/app", &blob, &digest).await;
        assert_eq!(client.get(&path).await.expect_status(200).body, blob);
    }
}

#[tokio::test]
async fn a_deleted_image_takes_its_layers_along_and_leaves_those_that_others_name() {
    let server = quiet().await;
    let base = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("base", 800));
    let goes = Recipe::image("goes").on(&base).build();
    let stays = Recipe::image("stays").on(&base).build();
    let client = server.client();
    client.push("team/app", &goes, &["v1", "v2"]).await;
    client.push("team/app", &stays, &["v3"]).await;
    client.push("team/other", &goes, &["v1"]).await;
    delete(&server, "team/app", &goes).await;
    server.clock().advance(HOUR);
    at_once(&server).await;
    client.expect_pull("team/app", &stays).await;
    client.expect_pull("team/other", &goes).await;
    let own = format!("/v2/team/app/blobs/{}", goes.blobs[0].digest);
    client.get(&own).await.expect_error(404, "BLOB_UNKNOWN");
    assert!(is_whole(&server, &goes), "another repository has it all");
    delete(&server, "team/other", &goes).await;
    at_once(&server).await;
    let stored = server.stored_blobs();
    assert_eq!(stored.len(), stays.blobs.len() + 1, "{stored:?}");
    assert!(is_whole(&server, &stays));
    client.expect_pull("team/app", &stays).await;
}

#[tokio::test]
async fn untagged_manifests_stay_until_somebody_asks_for_them() {
    let server = quiet().await;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    let client = server.client();
    client.push("team/app", &old, &["latest"]).await;
    client.push("team/app", &new, &["latest"]).await;
    server.clock().advance(DAY);
    let kept = at_once(&server).await;
    assert_eq!((&kept["manifests"], &kept["blobs"]), (&json!(0), &json!(0)));
    client.expect_pull("team/app", &old).await;
    let gone = untagged(&server).await;
    assert_eq!(gone["manifests"], 1, "{gone}");
    let path = format!("/v2/team/app/manifests/{}", old.top().digest);
    client
        .get(&path)
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
    assert!(
        !is_stored(&server, &old.top().digest),
        "its bytes go in the same run"
    );
    client.expect_pull("team/app", &new).await;
}

#[tokio::test]
async fn the_setting_takes_untagged_manifests_without_being_asked() {
    let server = TestServer::builder()
        .config(|config| config["gc"] = json!({"deleteuntagged": true}))
        .start()
        .await;
    let image = Recipe::image("never tagged").build();
    server.client().push("team/app", &image, &[]).await;
    server.clock().advance(DAY + 2 * HOUR);
    server.collector_looks();
    let top = image.top().digest.clone();
    let client = server.client();
    client
        .until("the collector took it", || !is_stored(&server, &top))
        .await;
}

#[tokio::test]
async fn children_of_a_kept_index_and_what_refers_to_what_is_kept_stay() {
    let server = quiet().await;
    let children = [
        Recipe::image("amd64").build(),
        Recipe::image("arm64").build(),
    ];
    let multi = index(Algorithm::Sha256, &children, &[]);
    let signature = Recipe::artifact("signature", SIGNATURE)
        .subject(children[0].top())
        .build();
    let sbom = Recipe::artifact("sbom", SBOM)
        .subject(signature.top())
        .build();
    let client = server.client();
    client.push("team/app", &multi, &["v1"]).await;
    client.push("team/app", &signature, &[]).await;
    client.push("team/app", &sbom, &[]).await;
    server.clock().advance(DAY);
    let kept = untagged(&server).await;
    assert_eq!(kept["manifests"], 0, "{kept}");
    for content in [&multi, &signature, &sbom] {
        client.expect_pull("team/app", content).await;
    }
    delete(&server, "team/app", &multi).await;
    let gone = untagged(&server).await;
    assert_eq!(
        gone["manifests"], 4,
        "both children and both referrers: {gone}"
    );
    assert!(
        server.stored_blobs().is_empty(),
        "{:?}",
        server.stored_blobs()
    );
}

#[tokio::test]
async fn an_emptied_repository_leaves_the_catalog() {
    let server = quiet().await;
    let image = Recipe::image("only").build();
    let client = server.client();
    client.push("team/app", &image, &[]).await;
    let listed = client.get("/v2/_catalog").await.texts("repositories");
    assert_eq!(listed, ["team/app"]);
    server.clock().advance(DAY);
    untagged(&server).await;
    let listed = client.get("/v2/_catalog").await.texts("repositories");
    assert!(listed.is_empty(), "{listed:?}");
    let tags = client.get("/v2/team/app/tags/list").await;
    tags.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn every_answer_that_lets_a_client_skip_an_upload_protects_for_one_lease() {
    let server = quiet().await;
    let client = server.client();
    let blob = noise("relied on", 1000);
    let digest = client.push_blob("team/app", &blob).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let committed = at_once(&server).await;
    assert_eq!(
        (&committed["blobs"], &committed["kept"]),
        (&json!(0), &json!(1))
    );
    server.clock().advance(HOUR);
    client.head(&path).await.expect_status(200);
    at_once(&server).await;
    client.get(&path).await.expect_status(200);
    server.clock().advance(HOUR);
    let mount = format!("/v2/team/other/blobs/uploads/?mount={digest}&from=team/app");
    client.post(&mount).await.expect_status(201);
    at_once(&server).await;
    client.get(&path).await.expect_status(200);
    server.clock().advance(HOUR);
    let gone = at_once(&server).await;
    assert_eq!(gone["blobs"], 1, "both memberships and the bytes: {gone}");
    client.get(&path).await.expect_error(404, "BLOB_UNKNOWN");
    let told = client.head(&path).await;
    assert_eq!(told.status, 404, "it is not said to exist any more");
}

#[tokio::test]
async fn a_manifest_push_protects_what_it_names_and_a_head_the_manifest() {
    let server = quiet().await;
    let image = Recipe::image("pushed").build();
    let client = server.client();
    client.push("team/app", &image, &[]).await;
    let path = format!("/v2/team/app/manifests/{}", image.top().digest);
    untagged(&server).await;
    client.expect_pull("team/app", &image).await;
    server.clock().advance(HOUR);
    client.head(&path).await.expect_status(200);
    untagged(&server).await;
    client.get(&path).await.expect_status(200);
    server.clock().advance(HOUR);
    let gone = untagged(&server).await;
    assert_eq!(gone["manifests"], 1, "{gone}");
    client.head(&path).await.expect_status(404);
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn jumps_of_the_clock_do_not_shorten_a_grace() {
    let server = quiet().await;
    let blob = noise("patient", 500);
    let digest = server.client().push_blob("team/app", &blob).await;
    let wall = server.clock().wall_micros();
    let week = 7 * i64::try_from(DAY.as_micros()).unwrap();
    for jump in [week, -week] {
        server.clock().set_wall(wall + jump);
        let early = collect(&server, &json!({})).await;
        assert_eq!(early["blobs"], 0, "{early}");
        assert!(is_stored(&server, &digest));
    }
    server.clock().set_wall(wall);
    server.clock().advance(DAY);
    let due = collect(&server, &json!({})).await;
    assert_eq!(due["blobs"], 1, "{due}");
}

#[tokio::test]
async fn the_collector_runs_by_itself_unless_it_is_paused() {
    let server = TestServer::start().await;
    let client = server.client();
    let (first, second) = (noise("first", 400), noise("second", 400));
    let digest = client.push_blob("team/app", &first).await;
    let socket = server.socket();
    socket.post("/api/v1/gc/pause").await.expect_status(200);
    server.clock().advance(DAY + 2 * HOUR);
    server.collector_looks();
    // Asked for, it runs all the same: the one that runs by itself would have taken this as well.
    collect(&server, &json!({"grace": "100d"})).await;
    assert!(is_stored(&server, &digest));
    let status = socket.get("/api/v1/gc").await.expect_status(200).json();
    assert_eq!(
        (&status["state"], &status["candidates"]["blobs"]),
        (&json!("paused"), &json!(1))
    );
    socket.post("/api/v1/gc/resume").await.expect_status(200);
    server.clock().advance(2 * HOUR);
    server.collector_looks();
    client
        .until("the collector took it", || !is_stored(&server, &digest))
        .await;
    let later = client.push_blob("team/app", &second).await;
    server.clock().advance(DAY + 2 * HOUR);
    server.collector_looks();
    client
        .until("it goes on", || !is_stored(&server, &later))
        .await;
}

#[tokio::test]
async fn a_dry_run_tells_what_a_run_does_and_does_nothing() {
    let server = quiet().await;
    let client = server.client();
    let multi = index(
        Algorithm::Sha256,
        &[Recipe::image("one").build(), Recipe::image("two").build()],
        &[],
    );
    client.push("team/app", &multi, &[]).await;
    client.push_blob("team/app", &noise("loose", 321)).await;
    server.clock().advance(DAY);
    let before = server.stored_blobs();
    let asked = |dry_run: bool| json!({"grace": "0s", "deleteuntagged": true, "dryrun": dry_run});
    let told = collect(&server, &asked(true)).await;
    assert_eq!(server.stored_blobs(), before);
    client.expect_pull("team/app", &multi).await;
    let left: Vec<String> = std::fs::read_dir(server.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("rehearsal"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let done = collect(&server, &asked(false)).await;
    for number in ["reviewed", "manifests", "blobs", "bytesfreed", "kept"] {
        assert_eq!(told[number], done[number], "{number}: {told} {done}");
    }
    assert_eq!(done["blobs"], before.len());
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn mirrored_content_is_left_to_the_cache() {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder()
        .mirror_of(&upstream)
        .config(|config| config["gc"] = json!({"enabled": false}))
        .start()
        .await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &image).await;
    server.clock().advance(30 * DAY);
    let kept = untagged(&server).await;
    assert_eq!((&kept["reviewed"], &kept["blobs"]), (&json!(0), &json!(0)));
    assert!(is_whole(&server, &image));
}
