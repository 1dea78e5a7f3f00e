//! The history of tags: who moved what when, and putting a tag back.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::binary::{Outcome, run, seawall};
use crate::support::client::Reply;
use crate::support::images::{Algorithm, Content, Recipe, index};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

const SECOND: Duration = Duration::from_secs(1);

fn image(seed: &str) -> Content {
    Recipe::image(seed).build()
}

async fn history(server: &TestServer, name: &str, tag: &str) -> Vec<Value> {
    let path = format!("/api/v1/repositories/{name}/-/tags/{tag}/history");
    let told = server.socket().get(&path).await.expect_status(200).json();
    told["moves"].as_array().unwrap().clone()
}

async fn restore(server: &TestServer, name: &str, tag: &str, wanted: Value) -> Reply {
    let path = format!("/api/v1/repositories/{name}/-/tags/{tag}/restore");
    server.socket().post(&path).json(&wanted).await
}

async fn points_to(server: &TestServer, tag: &str, content: &Content) {
    let path = format!("/v2/team/app/manifests/{tag}");
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, content.top().bytes);
    assert_eq!(reply.need("content-type"), content.top().media_type);
}

async fn delete(server: &TestServer, reference: &str) {
    let path = format!("/v2/team/app/manifests/{reference}");
    server.client().delete(&path).await.expect_status(202);
}

#[tokio::test]
async fn a_tag_tells_its_moves_the_latest_first_and_in_pages() {
    let server = TestServer::start().await;
    let (one, two) = (image("one"), image("two"));
    let (one_digest, two_digest) = (&one.top().digest, &two.top().digest);
    server.client().push("team/app", &one, &["v1"]).await;
    server.clock().advance(SECOND);
    server.client().push("team/app", &two, &["v1"]).await;
    server.client().push("team/app", &two, &["v1"]).await;
    server.clock().advance(SECOND);
    delete(&server, "v1").await;
    let moves = history(&server, "team/app", "v1").await;
    let told: Vec<Value> = moves
        .iter()
        .map(|one| json!([one["from"], one["to"], one["by"], one["origin"]]))
        .collect();
    let expected = [
        json!([two_digest, null, "anonymous", "pushed"]),
        json!([one_digest, two_digest, "anonymous", "pushed"]),
        json!([null, one_digest, "anonymous", "pushed"]),
    ];
    assert_eq!(told, expected);
    let at = |index: usize| moves[index]["at"].as_i64().unwrap();
    assert_eq!((at(0) - at(1), at(1) - at(2)), (1_000_000, 1_000_000));

    let path = "/api/v1/repositories/team/app/-/tags/v1/history?limit=2";
    let page = server.socket().get(path).await.expect_status(200);
    assert_eq!(page.json()["moves"], json!(moves[..2]));
    let next = page.next_page().unwrap();
    let page = server.socket().get(&next).await.expect_status(200);
    assert_eq!(page.json()["moves"], json!(moves[2..]));
    assert_eq!(page.next_page(), None);
}

#[tokio::test]
async fn a_moved_tag_goes_back_and_forth_and_that_is_history_too() {
    let server = TestServer::start().await;
    let (one, two) = (image("one"), image("two"));
    server.client().push("team/app", &one, &["v1"]).await;
    server.client().push("team/app", &two, &["v1"]).await;
    let told = restore(&server, "team/app", "v1", json!({})).await;
    let expected = json!({
        "repository": "team/app", "tag": "v1", "from": two.top().digest, "to": one.top().digest,
        "manifestrestored": false,
    });
    assert_eq!(told.expect_status(200).json(), expected);
    points_to(&server, "v1", &one).await;
    let wanted = json!({"digest": two.top().digest});
    restore(&server, "team/app", "v1", wanted)
        .await
        .expect_status(200);
    points_to(&server, "v1", &two).await;
    let moves = history(&server, "team/app", "v1").await;
    assert_eq!(moves.len(), 4);
    assert_eq!(moves[0]["by"], "socket:administrator");
    assert_eq!(moves[0]["from"], json!(one.top().digest));
}

#[tokio::test]
async fn a_deleted_tag_comes_back() {
    let mut server = TestServer::start().await;
    let one = image("one");
    server.client().push("team/app", &one, &["v1"]).await;
    delete(&server, "v1").await;
    server.restart().await;
    let told = restore(&server, "team/app", "v1", json!({})).await;
    let told = told.expect_status(200).json();
    assert_eq!(told["from"], Value::Null);
    points_to(&server, "v1", &one).await;
    server.client().expect_pull("team/app", &one).await;
}

#[tokio::test]
async fn a_deleted_image_comes_back_from_its_bytes_as_a_push_would_bring_it() {
    let server = TestServer::start().await;
    let (one, other) = (image("one"), image("other"));
    server.client().push("team/app", &one, &["v1", "v2"]).await;
    server.client().push("team/app", &other, &["v3"]).await;
    delete(&server, &one.top().digest).await;
    let told = restore(&server, "team/app", "v1", json!({})).await;
    assert_eq!(told.expect_status(200).json()["manifestrestored"], true);
    points_to(&server, "v1", &one).await;
    server.client().expect_pull("team/app", &one).await;
    let gone = server.client().get("/v2/team/app/manifests/v2").await;
    gone.expect_error(404, "MANIFEST_UNKNOWN");
    let told = restore(&server, "team/app", "v2", json!({})).await;
    assert_eq!(told.expect_status(200).json()["manifestrestored"], false);
    points_to(&server, "v2", &one).await;
}

#[tokio::test]
async fn an_index_comes_back_with_its_type_and_its_platforms() {
    let server = TestServer::start().await;
    let content = index(Algorithm::Sha256, &[image("amd64"), image("arm64")], &[]);
    server.client().push("team/app", &content, &["v1"]).await;
    delete(&server, &content.top().digest).await;
    restore(&server, "team/app", "v1", json!({}))
        .await
        .expect_status(200);
    points_to(&server, "v1", &content).await;
    server.client().expect_pull("team/app", &content).await;
}

#[tokio::test]
async fn an_image_that_lost_a_layer_is_gone_and_since_when_is_told() {
    let server = TestServer::start().await;
    let one = image("one");
    server.client().push("team/app", &one, &["v1"]).await;
    delete(&server, &one.top().digest).await;
    let layer = &one.blobs[0].digest;
    let path = format!("/v2/team/app/blobs/{layer}");
    server.client().delete(&path).await.expect_status(202);
    let detail = restore(&server, "team/app", "v1", json!({})).await;
    let detail = detail.expect_problem(410);
    let at = history(&server, "team/app", "v1").await[0]["at"]
        .as_i64()
        .unwrap();
    let since = jiff::Timestamp::from_second(at / 1_000_000).unwrap();
    for word in [layer, &one.top().digest, &since.to_string()] {
        assert!(detail.contains(word), "{word}: {detail}");
    }
    let tag = server.client().get("/v2/team/app/manifests/v1").await;
    tag.expect_status(404);
}

#[tokio::test]
async fn what_was_deleted_is_restorable_for_the_grace_and_then_until_it_is_collected() {
    let server = TestServer::start().await;
    let (one, other) = (image("one"), image("other"));
    server.client().push("team/app", &one, &["v1"]).await;
    server.client().push("team/app", &other, &["v2"]).await;
    delete(&server, &one.top().digest).await;
    let collect = async |grace: Option<&str>| {
        let wanted = json!({"grace": grace, "deleteuntagged": true});
        let asked = server.socket().post("/api/v1/gc/run").json(&wanted).await;
        let id = asked.expect_status(202).json()["id"].as_i64().unwrap();
        server.ended(id).await.progress.blobs
    };
    server.clock().advance(Duration::from_secs(23 * 3600));
    assert_eq!(collect(None).await, 0);
    restore(&server, "team/app", "v1", json!({}))
        .await
        .expect_status(200);
    server.client().expect_pull("team/app", &one).await;

    delete(&server, &one.top().digest).await;
    server.clock().advance(Duration::from_secs(25 * 3600));
    assert!(collect(None).await > 0);
    let gone = restore(&server, "team/app", "v1", json!({})).await;
    let detail = gone.expect_problem(410);
    assert!(detail.contains("left it at"), "{detail}");
    points_to(&server, "v2", &other).await;
    // A push of it brings it back, and then the tag goes where it was as ever.
    server.client().push("team/app", &one, &[]).await;
    restore(&server, "team/app", "v1", json!({}))
        .await
        .expect_status(200);
    points_to(&server, "v1", &one).await;
}

#[tokio::test]
async fn only_what_the_tag_itself_pointed_to_can_be_restored() {
    let server = TestServer::start().await;
    let (one, secret) = (image("one"), image("secret"));
    server.client().push("team/app", &one, &["v1"]).await;
    server.client().push("team/secret", &secret, &["v1"]).await;
    server
        .client()
        .push("team/app", &image("two"), &["v2"])
        .await;
    for digest in [&secret.top().digest, &secret.blobs[0].digest] {
        let refused = restore(&server, "team/app", "v1", json!({"digest": digest})).await;
        assert!(refused.expect_problem(404).contains(digest));
    }
    let nothing = restore(&server, "team/app", "v1", json!({})).await;
    assert!(nothing.expect_problem(409).contains("team/app:v1"));
    restore(&server, "team/app", "v9", json!({}))
        .await
        .expect_problem(404);
    restore(&server, "team/none", "v1", json!({}))
        .await
        .expect_problem(404);
    restore(&server, "team/app", "v1", json!({"digest": "sha256:x"}))
        .await
        .expect_problem(400);
    let path = "/api/v1/repositories/team/app/-/tags/v9/history";
    server.socket().get(path).await.expect_problem(404);
    // Over the network nobody learns or moves anything.
    let path = "/api/v1/repositories/team/app/-/tags/v1/restore";
    let stranger = server.client().post(path).json(&json!({}));
    stranger.await.expect_problem(403);
    points_to(&server, "v1", &one).await;
}

#[tokio::test]
async fn a_read_only_server_moves_no_tag() {
    let mut server = TestServer::start().await;
    let (one, two) = (image("one"), image("two"));
    server.client().push("team/app", &one, &["v1"]).await;
    server.client().push("team/app", &two, &["v1"]).await;
    server
        .restart_with(|settings| {
            settings["storage"]["maintenance"] = json!({"readonly": {"enabled": true}});
        })
        .await;
    let refused = restore(&server, "team/app", "v1", json!({})).await;
    assert!(refused.expect_problem(405).contains("read-only"));
    points_to(&server, "v1", &two).await;
    assert_eq!(history(&server, "team/app", "v1").await.len(), 2);
}

#[tokio::test]
async fn a_mirrored_tag_tells_the_moves_of_its_upstream_and_cannot_be_put_back() {
    let upstream = FakeUpstream::start().await;
    let mut server = TestServer::builder().mirror_of(&upstream).start().await;
    let (one, two) = (image("one"), image("two"));
    let path = format!("/v2/{UPSTREAM}/team/app/manifests/v1");
    let pull = async |server: &TestServer| {
        server.clock().advance(Duration::from_secs(120));
        server.client().get(&path).await.expect_status(200);
    };
    upstream.hold("team/app", &one, &["v1"]);
    pull(&server).await;
    pull(&server).await;
    // What only goes from the cache has not moved.
    server.purge("**").await;
    pull(&server).await;
    upstream.hold("team/app", &two, &["v1"]);
    pull(&server).await;
    let name = format!("{UPSTREAM}/team/app");
    let moves = history(&server, &name, "v1").await;
    let told: Vec<Value> = moves
        .iter()
        .map(|one| json!([one["from"], one["to"], one["by"], one["origin"]]))
        .collect();
    let (one, two) = (&one.top().digest, &two.top().digest);
    let expected = [
        json!([one, two, "system:mirror", "mirrored"]),
        json!([null, one, "system:mirror", "mirrored"]),
    ];
    assert_eq!(told, expected);
    let refused = restore(&server, &name, "v1", json!({})).await;
    assert!(refused.expect_problem(405).contains("mirrored"));
    // Also when nobody mirrors it any more.
    server
        .restart_with(|settings| settings["mirrors"] = json!([]))
        .await;
    let refused = restore(&server, &name, "v1", json!({})).await;
    assert!(refused.expect_problem(405).contains("mirrored"));
}

async fn tag(home: &Path, server: &TestServer, arguments: &[&str]) -> Outcome {
    let mut command = seawall(home);
    command.arg("tag").args(arguments).arg("--config");
    run(command.arg(server.config_file())).await
}

#[tokio::test]
async fn the_command_shows_a_history_and_puts_a_tag_back() {
    let server = TestServer::start().await;
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (image("one"), image("two"));
    server.client().push("team/app", &one, &["v1"]).await;
    server.client().push("team/app", &two, &["v1"]).await;
    delete(&server, "v1").await;
    let shown = tag(home.path(), &server, &["history", "team/app:v1"]).await;
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    let rows: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(rows.len(), 4, "{shown:#?}");
    assert!(rows[1].contains("deleted"), "{shown:#?}");
    assert!(rows[2].ends_with(two.top().digest.as_str()), "{shown:#?}");
    let told = tag(
        home.path(),
        &server,
        &["history", "team/app:v1", "-o", "json"],
    )
    .await;
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        told["moves"],
        json!(history(&server, "team/app", "v1").await)
    );

    let done = tag(home.path(), &server, &["restore", "team/app:v1"]).await;
    let said = format!(
        "team/app:v1 points to {} (it was deleted)\n",
        two.top().digest
    );
    assert_eq!((done.code, done.stdout), (Some(0), said));
    let digest = one.top().digest.as_str();
    let done = tag(
        home.path(),
        &server,
        &["restore", "team/app:v1", digest, "-o", "json"],
    )
    .await;
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.code, &told["to"]), (Some(0), &json!(digest)));
    points_to(&server, "v1", &one).await;

    let refused = tag(home.path(), &server, &["restore", "team/app:v7"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("team/app"), "{refused:#?}");
    let misused = tag(home.path(), &server, &["restore", "team/app"]).await;
    assert_eq!(misused.code, Some(2), "{misused:#?}");
}
