//! Deleting: what goes, what stays, and where deleting is not allowed.

use serde_json::json;

use crate::support::images::{Algorithm, Recipe, digest_of, index, noise};
use crate::support::server::TestServer;

#[tokio::test]
async fn a_deleted_tag_leaves_its_manifest_and_its_siblings() {
    let server = TestServer::start().await;
    let image = Recipe::image("siblings").build();
    server
        .client()
        .push("team/app", &image, &["v1", "v2"])
        .await;
    server
        .client()
        .delete("/v2/team/app/manifests/v1")
        .await
        .expect_status(202);
    let gone = server.client().get("/v2/team/app/manifests/v1").await;
    gone.expect_error(404, "MANIFEST_UNKNOWN");
    server
        .client()
        .get("/v2/team/app/manifests/v2")
        .await
        .expect_status(200);
    server.client().expect_pull("team/app", &image).await;
    let list = server.client().get("/v2/team/app/tags/list").await;
    assert_eq!(list.texts("tags"), ["v2"]);
}

#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_and_leaves_its_blobs() {
    let server = TestServer::start().await;
    let (image, other) = (
        Recipe::image("goes").build(),
        Recipe::image("stays").build(),
    );
    server
        .client()
        .push("team/app", &image, &["v1", "v2"])
        .await;
    server.client().push("team/app", &other, &["v3"]).await;
    let path = format!("/v2/team/app/manifests/{}", image.top().digest);
    server.client().delete(&path).await.expect_status(202);
    for reference in ["v1", "v2", &image.top().digest] {
        let path = format!("/v2/team/app/manifests/{reference}");
        server.client().head(&path).await.expect_status(404);
    }
    let list = server.client().get("/v2/team/app/tags/list").await;
    assert_eq!(list.texts("tags"), ["v3"]);
    let blob = format!("/v2/team/app/blobs/{}", image.blobs[0].digest);
    server.client().head(&blob).await.expect_status(200);
    server
        .client()
        .delete(&path)
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn deleting_what_is_not_there_is_404() {
    let server = TestServer::start().await;
    server
        .client()
        .push("team/app", &Recipe::image("x").build(), &["v1"])
        .await;
    let nowhere = digest_of(Algorithm::Sha256, b"nowhere");
    for (path, code) in [
        ("manifests/v2".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("manifests/{nowhere}"), "MANIFEST_UNKNOWN"),
        (format!("blobs/{nowhere}"), "BLOB_UNKNOWN"),
    ] {
        let reply = server
            .client()
            .delete(&format!("/v2/team/app/{path}"))
            .await;
        reply.expect_error(404, code);
    }
    let reply = server
        .client()
        .delete(&format!("/v2/nobody/here/blobs/{nowhere}"))
        .await;
    reply.expect_status(404).expect_plain_error();
}

#[tokio::test]
async fn deleting_is_refused_where_the_configuration_does_not_allow_it() {
    let server = TestServer::builder()
        .config(|c| c["storage"]["delete"]["enabled"] = json!(false))
        .start()
        .await;
    let image = Recipe::image("kept").build();
    server.client().push("team/app", &image, &["v1"]).await;
    for path in [
        "manifests/v1".to_owned(),
        format!("manifests/{}", image.top().digest),
        format!("blobs/{}", image.blobs[0].digest),
    ] {
        let reply = server
            .client()
            .delete(&format!("/v2/team/app/{path}"))
            .await;
        reply.expect_error(405, "UNSUPPORTED");
    }
    server.client().expect_pull("team/app", &image).await;
    let location = server.client().start_upload("team/app").await;
    server.client().delete(&location).await.expect_status(204);
}

#[tokio::test]
async fn a_read_only_registry_serves_and_takes_nothing() {
    let mut server = TestServer::start().await;
    let image = Recipe::image("frozen").build();
    server.client().push("team/app", &image, &["v1"]).await;
    let read_only = json!({"readonly": {"enabled": true}});
    server
        .restart_with(|c| c["storage"]["maintenance"] = read_only)
        .await;
    server.client().expect_pull("team/app", &image).await;
    let started = server.client().post("/v2/team/app/blobs/uploads/").await;
    started.expect_error(405, "UNSUPPORTED");
    let put = server
        .client()
        .push_manifest("team/app", "v2", image.top())
        .await;
    put.expect_error(405, "UNSUPPORTED");
    let deleted = server.client().delete("/v2/team/app/manifests/v1").await;
    deleted.expect_error(405, "UNSUPPORTED");
}

#[tokio::test]
async fn a_deleted_blob_can_be_pushed_again() {
    let server = TestServer::start().await;
    let bytes = noise("again", 900);
    for _ in 0..3 {
        let digest = server.client().push_blob("team/app", &bytes).await;
        let path = format!("/v2/team/app/blobs/{digest}");
        assert_eq!(
            server.client().get(&path).await.expect_status(200).body,
            bytes
        );
        server.client().delete(&path).await.expect_status(202);
        server
            .client()
            .get(&path)
            .await
            .expect_error(404, "BLOB_UNKNOWN");
    }
}

#[tokio::test]
async fn a_blob_deleted_in_one_repository_stays_deleted_when_another_pushes_it() {
    let server = TestServer::start().await;
    let bytes = noise("shared", 900);
    let digest = server.client().push_blob("one/app", &bytes).await;
    let path = format!("/v2/one/app/blobs/{digest}");
    server.client().head(&path).await.expect_status(200);
    server.client().delete(&path).await.expect_status(202);
    server.client().push_blob("two/app", &bytes).await;
    server.client().head(&path).await.expect_status(404);
}

#[tokio::test]
async fn a_child_of_an_index_can_be_deleted_and_the_index_stays() {
    let server = TestServer::start().await;
    let children = [Recipe::image("a").build(), Recipe::image("b").build()];
    let many = index(Algorithm::Sha256, &children, &[]);
    server.client().push("team/app", &many, &["v1"]).await;
    let child = format!("/v2/team/app/manifests/{}", children[0].top().digest);
    server.client().delete(&child).await.expect_status(202);
    server.client().get(&child).await.expect_status(404);
    server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
}
