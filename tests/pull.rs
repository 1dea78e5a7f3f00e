//! Pulling: manifests and blobs come back as they went in, with the headers clients decide by.

use serde_json::json;

use crate::support::images::{
    ALGORITHMS, Algorithm, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Recipe,
    digest_of, docker_list, index, noise,
};
use crate::support::server::TestServer;

#[tokio::test]
async fn the_base_endpoint_answers_with_the_api_version() {
    let server = TestServer::start().await;
    for path in ["/v2/", "/v2"] {
        let reply = server.client().get(path).await.expect_status(200);
        assert_eq!(
            reply.need("docker-distribution-api-version"),
            "registry/2.0"
        );
        assert!(reply.json().is_object());
    }
    server.client().head("/v2/").await.expect_status(200);
}

#[tokio::test]
async fn an_image_comes_back_byte_for_byte_by_digest() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("whole").algorithm(algorithm).build();
        server.client().push("team/app", &image, &[]).await;
        server.client().expect_pull("team/app", &image).await;
    }
}

#[tokio::test]
async fn a_tag_answers_with_the_digest_it_was_pushed_by() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("tagged").algorithm(algorithm).build();
        let tag = algorithm.name();
        server.client().push("team/app", &image, &[tag]).await;
        let path = format!("/v2/team/app/manifests/{tag}");
        let got = server.client().get(&path).await.expect_status(200);
        assert_eq!(got.need("docker-content-digest"), image.top().digest);
        assert_eq!(got.body, image.top().bytes);
        let head = server.client().head(&path).await.expect_status(200);
        assert_eq!(head.need("docker-content-digest"), image.top().digest);
    }
}

#[tokio::test]
async fn head_of_a_manifest_tells_what_get_sends() {
    let server = TestServer::start().await;
    let image = Recipe::image("head").build();
    server.client().push("team/app", &image, &["v1"]).await;
    for reference in ["v1", &image.top().digest] {
        let path = format!("/v2/team/app/manifests/{reference}");
        let get = server.client().get(&path).await.expect_status(200);
        let head = server.client().head(&path).await.expect_status(200);
        assert!(head.body.is_empty());
        for header in [
            "content-type",
            "content-length",
            "docker-content-digest",
            "etag",
        ] {
            assert_eq!(head.need(header), get.need(header), "{header}");
        }
        assert_eq!(head.need("content-type"), OCI_MANIFEST);
        assert_eq!(
            head.need("content-length"),
            image.top().bytes.len().to_string()
        );
        assert_eq!(head.need("etag"), format!("\"{}\"", image.top().digest));
        assert_eq!(head.need("docker-distribution-api-version"), "registry/2.0");
    }
}

#[tokio::test]
async fn head_of_a_blob_tells_what_get_sends() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("blob", 5000);
        let digest = digest_of(algorithm, &bytes);
        server
            .client()
            .push_blob_as("team/app", &bytes, &digest)
            .await;
        let path = format!("/v2/team/app/blobs/{digest}");
        let get = server.client().get(&path).await.expect_status(200);
        let head = server.client().head(&path).await.expect_status(200);
        assert_eq!(get.body, bytes);
        assert!(head.body.is_empty());
        for reply in [get, head] {
            assert_eq!(reply.need("content-type"), "application/octet-stream");
            assert_eq!(reply.need("content-length"), "5000");
            assert_eq!(reply.need("docker-content-digest"), digest);
            assert_eq!(reply.need("etag"), format!("\"{digest}\""));
            assert_eq!(reply.need("accept-ranges"), "bytes");
        }
    }
}

#[tokio::test]
async fn what_the_client_has_already_is_not_sent_again() {
    let server = TestServer::start().await;
    let image = Recipe::image("etag").build();
    server.client().push("team/app", &image, &["v1"]).await;
    let manifest = &image.top().digest;
    let blob = &image.blobs[0].digest;
    for (path, digest) in [
        ("/v2/team/app/manifests/v1".to_owned(), manifest),
        (format!("/v2/team/app/manifests/{manifest}"), manifest),
        (format!("/v2/team/app/blobs/{blob}"), blob),
    ] {
        for matching in [
            format!("\"{digest}\""),
            digest.clone(),
            format!("W/\"{digest}\""),
            format!("\"other\", \"{digest}\""),
            "*".to_owned(),
        ] {
            let call = server
                .client()
                .get(&path)
                .header("if-none-match", &matching);
            let reply = call.await.expect_status(304);
            assert!(reply.body.is_empty(), "{matching}");
        }
        let call = server
            .client()
            .get(&path)
            .header("if-none-match", "\"other\"");
        call.await.expect_status(200);
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_and_404() {
    let server = TestServer::start().await;
    let image = Recipe::image("there").build();
    server.client().push("team/app", &image, &["v1"]).await;
    let client = server.client();
    let nowhere = digest_of(Algorithm::Sha256, b"nowhere");
    let reply = client.get("/v2/team/app/manifests/v2").await;
    reply.expect_error(404, "MANIFEST_UNKNOWN");
    let by_digest = client
        .get(&format!("/v2/team/app/manifests/{nowhere}"))
        .await;
    by_digest.expect_error(404, "MANIFEST_UNKNOWN");
    let blob = client.get(&format!("/v2/team/app/blobs/{nowhere}")).await;
    assert!(
        blob.clone()
            .expect_error(404, "BLOB_UNKNOWN")
            .text()
            .contains(&nowhere)
    );
    for path in ["manifests/v2".to_owned(), format!("blobs/{nowhere}")] {
        let head = client.head(&format!("/v2/team/app/{path}")).await;
        assert!(head.expect_status(404).body.is_empty());
    }
    let elsewhere = client
        .get("/v2/nobody/here/manifests/v1")
        .await
        .expect_status(404);
    let code = elsewhere.expect_plain_error().error_code();
    assert!(
        ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"].contains(&code.as_str()),
        "{code}"
    );
}

#[tokio::test]
async fn knowing_a_digest_gives_nothing_in_another_repository() {
    let server = TestServer::start().await;
    let image = Recipe::image("private").build();
    server.client().push("team/app", &image, &["v1"]).await;
    server
        .client()
        .push("other/app", &Recipe::image("else").build(), &["v1"])
        .await;
    let manifest = format!("/v2/other/app/manifests/{}", image.top().digest);
    server
        .client()
        .get(&manifest)
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
    for blob in &image.blobs {
        let path = format!("/v2/other/app/blobs/{}", blob.digest);
        server
            .client()
            .get(&path)
            .await
            .expect_error(404, "BLOB_UNKNOWN");
    }
}

#[tokio::test]
async fn the_stored_type_is_served_whatever_the_client_accepts() {
    let server = TestServer::start().await;
    let image = Recipe::image("accept").build();
    server.client().push("team/app", &image, &["v1"]).await;
    for accept in [
        "*/*",
        "application/json",
        DOCKER_MANIFEST,
        "text/html;q=0.5, text/plain",
    ] {
        let call = server
            .client()
            .get("/v2/team/app/manifests/v1")
            .header("accept", accept);
        let reply = call.await.expect_status(200);
        assert_eq!(reply.need("content-type"), OCI_MANIFEST, "{accept}");
        assert_eq!(reply.body, image.top().bytes);
    }
}

#[tokio::test]
async fn a_client_that_knows_no_indexes_gets_the_child_that_fits() {
    let server = TestServer::start().await;
    let children = [
        Recipe::image("amd64").build(),
        Recipe::image("arm64").build(),
    ];
    let many = index(Algorithm::Sha256, &children, &[]);
    server.client().push("team/app", &many, &["v1"]).await;
    let path = "/v2/team/app/manifests/v1";
    let call = server.client().get(path).header("accept", OCI_MANIFEST);
    let reply = call.await.expect_status(200);
    assert_eq!(
        reply.need("docker-content-digest"),
        children[0].top().digest
    );
    assert_eq!(reply.body, children[0].top().bytes);
    for accept in [
        format!("{OCI_MANIFEST}, {OCI_INDEX}"),
        format!("{OCI_MANIFEST}, */*"),
    ] {
        let call = server.client().get(path).header("accept", &accept);
        assert_eq!(call.await.expect_status(200).body, many.top().bytes);
    }
}

#[tokio::test]
async fn docker_manifests_and_lists_are_served_as_they_came() {
    let server = TestServer::start().await;
    let children = [
        Recipe::image("amd64").docker().build(),
        Recipe::image("arm64").docker().build(),
    ];
    let list = docker_list(&children);
    server.client().push("team/app", &list, &["v1"]).await;
    server.client().expect_pull("team/app", &list).await;
    let call = server.client().get("/v2/team/app/manifests/v1");
    let reply = call
        .header("accept", &format!("{DOCKER_LIST}, {DOCKER_MANIFEST}"))
        .await;
    assert_eq!(reply.need("content-type"), DOCKER_LIST);
    assert_eq!(reply.body, list.top().bytes);
}

#[tokio::test]
async fn a_manifest_without_media_type_keeps_the_type_it_was_sent_with() {
    let server = TestServer::start().await;
    let image = Recipe::image("untyped").build();
    let untyped = image.top().changed(Algorithm::Sha256, |json| {
        json.as_object_mut().unwrap().remove("mediaType");
    });
    for blob in &image.blobs {
        server.client().push_blob("team/app", &blob.bytes).await;
    }
    let call = server.client().push_manifest("team/app", "v1", &untyped);
    call.await.expect_status(201);
    let reply = server.client().get("/v2/team/app/manifests/v1").await;
    assert_eq!(reply.need("content-type"), OCI_MANIFEST);
    assert_eq!(reply.body, untyped.bytes);
}

#[tokio::test]
async fn addresses_in_replies_follow_the_host_the_prefix_and_the_taste_for_relative_ones() {
    let server = TestServer::builder()
        .config(|c| c["http"]["relativeurls"] = json!(true))
        .start()
        .await;
    let location = server.client().start_upload("team/app").await;
    assert!(
        location.starts_with("/v2/team/app/blobs/uploads/"),
        "{location}"
    );

    let server = TestServer::builder()
        .config(|c| c["http"]["host"] = json!("https://registry.example:8443"))
        .start()
        .await;
    let location = server.client().start_upload("team/app").await;
    let wanted = "https://registry.example:8443/v2/team/app/blobs/uploads/";
    assert!(location.starts_with(wanted), "{location}");

    let server = TestServer::builder()
        .config(|c| c["http"]["prefix"] = json!("/registry/"))
        .start()
        .await;
    server
        .client()
        .get("/registry/v2/")
        .await
        .expect_status(200);
    server.client().get("/v2/").await.expect_status(404);
    let started = server
        .client()
        .post("/registry/v2/team/app/blobs/uploads/")
        .await;
    let location = started.expect_status(202).location();
    assert!(
        location.contains("/registry/v2/team/app/blobs/uploads/"),
        "{location}"
    );
    server.client().get(&location).await.expect_status(204);
}

#[tokio::test]
async fn configured_headers_are_on_every_reply() {
    let server = TestServer::builder()
        .config(|c| c["http"]["headers"] = json!({"X-Content-Type-Options": ["nosniff"]}))
        .start()
        .await;
    for path in ["/v2/", "/v2/_catalog", "/v2/nobody/manifests/v1"] {
        let reply = server.client().get(path).await;
        assert_eq!(reply.need("x-content-type-options"), "nosniff", "{path}");
    }
}
