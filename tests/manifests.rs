//! What a pushed manifest has to be, and what a client learns when it is not.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::images::{
    ALGORITHMS, Algorithm, Content, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST, Recipe,
    SBOM, digest_of, index,
};
use crate::support::server::TestServer;
use crate::support::upstream::FakeUpstream;

const REPOSITORY: &str = "team/app";

async fn push_blobs(server: &TestServer, content: &Content) {
    for blob in &content.blobs {
        let client = server.client();
        client
            .push_blob_as(REPOSITORY, &blob.bytes, &blob.digest)
            .await;
    }
}

/// Puts raw text as a manifest.
async fn put(server: &TestServer, text: impl Into<Bytes>, content_type: Option<&str>) -> Reply {
    let call = server
        .client()
        .put(&format!("/v2/{REPOSITORY}/manifests/v1"));
    let call = match content_type {
        Some(content_type) => call.header("content-type", content_type),
        None => call,
    };
    call.body(text.into()).await
}

#[tokio::test]
async fn a_pushed_manifest_is_found_where_the_reply_says() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("located").algorithm(algorithm).build();
        push_blobs(&server, &image).await;
        let client = server.client();
        let reply = client
            .push_manifest(REPOSITORY, &image.top().digest, image.top())
            .await;
        let reply = reply.expect_status(201);
        assert_eq!(reply.need("docker-content-digest"), image.top().digest);
        assert_eq!(reply.need("content-length"), "0");
        assert!(reply.header("oci-subject").is_none());
        let got = client.get(&reply.location()).await.expect_status(200);
        assert_eq!(got.body, image.top().bytes);
    }
}

#[tokio::test]
async fn a_subject_is_confirmed_in_the_reply() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("subject").algorithm(algorithm).build();
        let artifact = Recipe::artifact("sbom", SBOM).algorithm(algorithm);
        let artifact = artifact.subject(image.top()).build();
        push_blobs(&server, &artifact).await;
        let call =
            server
                .client()
                .push_manifest(REPOSITORY, &artifact.top().digest, artifact.top());
        let reply = call.await.expect_status(201);
        assert_eq!(reply.need("oci-subject"), image.top().digest);
    }
}

#[tokio::test]
async fn a_body_that_does_not_hash_to_its_digest_is_400() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("mismatch").algorithm(algorithm).build();
        push_blobs(&server, &image).await;
        let mut padded = image.top().clone();
        padded.bytes = [&padded.bytes[..], b"  "].concat().into();
        let client = server.client();
        let reply = client
            .push_manifest(REPOSITORY, &padded.digest, &padded)
            .await;
        reply.expect_error(400, "DIGEST_INVALID");
        let path = format!("/v2/{REPOSITORY}/manifests/{}", padded.digest);
        client.get(&path).await.expect_status(404);
    }
}

#[tokio::test]
async fn a_malformed_digest_is_400() {
    let server = TestServer::start().await;
    let image = Recipe::image("baddigest").build();
    push_blobs(&server, &image).await;
    let call = server
        .client()
        .push_manifest(REPOSITORY, "sha256:baddigeststring", image.top());
    call.await.expect_error(400, "DIGEST_INVALID");
    let path = format!("/v2/{REPOSITORY}/manifests/sha256:baddigeststring");
    server
        .client()
        .get(&path)
        .await
        .expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn missing_references_are_named_up_to_five() {
    let server = TestServer::start().await;
    let image = Recipe::image("seven").layers(7).build();
    let call = server.client().push_manifest(REPOSITORY, "v1", image.top());
    let reply = call.await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    let text = reply.text();
    let named = image
        .blobs
        .iter()
        .filter(|blob| text.contains(&blob.digest))
        .count();
    assert_eq!(named, 5, "{text}");
    assert!(text.contains('3'), "how many more is told: {text}");

    push_blobs(&server, &image).await;
    let absent = Recipe::image("absent child").build();
    let many = index(Algorithm::Sha256, std::slice::from_ref(&absent), &[]);
    let call = server.client().push_manifest(REPOSITORY, "v1", many.top());
    let reply = call.await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    assert!(reply.text().contains(&absent.top().digest), "{reply:?}");
    server
        .client()
        .get(&format!("/v2/{REPOSITORY}/manifests/v1"))
        .await
        .expect_status(404);
}

#[tokio::test]
async fn references_to_another_repository_do_not_count() {
    let server = TestServer::start().await;
    let image = Recipe::image("elsewhere").build();
    server.client().push("other/app", &image, &["v1"]).await;
    let call = server.client().push_manifest(REPOSITORY, "v1", image.top());
    call.await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_descriptor_with_a_wrong_size_is_refused() {
    let server = TestServer::start().await;
    let image = Recipe::image("sizes").build();
    push_blobs(&server, &image).await;
    let wrong = image.top().changed(Algorithm::Sha256, |json| {
        json["layers"][1]["size"] = json!(1);
    });
    let reply = server
        .client()
        .push_manifest(REPOSITORY, "v1", &wrong)
        .await;
    let reply = reply.expect_status(400).expect_plain_error();
    let code = reply.error_code();
    assert!(
        ["MANIFEST_INVALID", "SIZE_INVALID"].contains(&code.as_str()),
        "{code}"
    );
    assert!(reply.text().contains(&image.blobs[2].digest), "{reply:?}");
}

#[tokio::test]
async fn a_manifest_over_the_limit_is_413() {
    let server = TestServer::start().await;
    let huge = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"x":"{}"}}"#,
        "A".repeat(4 * 1024 * 1024)
    );
    let reply = put(&server, huge, Some(OCI_INDEX)).await;
    reply.expect_status(413).expect_plain_error();

    let server = TestServer::builder()
        .config(|c| c["http"]["limits"] = json!({"manifestsize": "1KiB"}))
        .start()
        .await;
    let sized = |padding: usize| {
        let padding = "A".repeat(padding);
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "x": padding})
            .to_string()
    };
    put(&server, sized(100), Some(OCI_INDEX))
        .await
        .expect_status(201);
    put(&server, sized(1024), Some(OCI_INDEX))
        .await
        .expect_status(413);
}

#[tokio::test]
async fn schema_1_is_told_so() {
    let server = TestServer::start().await;
    let body = r#"{"schemaVersion":1,"name":"team/app","tag":"v1","fsLayers":[],"history":[]}"#;
    for content_type in [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
    ] {
        let reply = put(&server, body, Some(content_type)).await;
        let reply = reply.expect_error(400, "MANIFEST_INVALID");
        assert!(reply.text().to_lowercase().contains("schema"), "{reply:?}");
    }
}

#[tokio::test]
async fn the_type_comes_from_the_header_or_the_body_and_they_agree() {
    let server = TestServer::start().await;
    let image = Recipe::image("typed").build();
    push_blobs(&server, &image).await;
    let bytes = image.top().bytes.clone();
    put(&server, bytes.clone(), None).await.expect_status(201);
    let parameters = format!("{OCI_MANIFEST}; charset=utf-8");
    put(&server, bytes.clone(), Some(&parameters))
        .await
        .expect_status(201);
    for other in [OCI_INDEX, DOCKER_MANIFEST] {
        put(&server, bytes.clone(), Some(other))
            .await
            .expect_error(400, "MANIFEST_INVALID");
    }
    let untyped = image.top().changed(Algorithm::Sha256, |json| {
        json.as_object_mut().unwrap().remove("mediaType");
    });
    put(&server, untyped.bytes.clone(), Some(OCI_MANIFEST))
        .await
        .expect_status(201);
    let text_plain = put(&server, untyped.bytes, Some("text/plain")).await;
    text_plain.expect_error(400, "MANIFEST_INVALID");
    let path = format!("/v2/{REPOSITORY}/manifests/v1");
    let got = server.client().get(&path).await;
    assert_eq!(got.need("content-type"), OCI_MANIFEST);
}

#[tokio::test]
async fn what_is_no_manifest_is_400() {
    let server = TestServer::start().await;
    let image = Recipe::image("parts").build();
    push_blobs(&server, &image).await;
    let good = image.top().json.clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        json.to_string()
    };
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let mut bad = vec![
        String::new(),
        "not json".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        good.to_string().replacen('{', r#"{"schemaVersion":2,"#, 1),
        good.to_string()
            .replacen(r#""size":"#, r#""size":1,"size":"#, 1),
        format!("{} trailing", good),
        with(&|json| json["schemaVersion"] = json!(3)),
        with(&|json| json["manifests"] = json!([])),
        with(&|json| json["config"] = Value::Null),
        with(&|json| json["layers"] = json!({})),
        with(&|json| json["layers"][0]["digest"] = json!("sha256:short")),
        with(&|json| json["layers"][0]["digest"] = json!("../../../../etc/passwd")),
        with(&|json| json["layers"][0]["digest"] = Value::Null),
        with(&|json| json["layers"][0]["size"] = json!(-1)),
        with(&|json| json["layers"][0]["size"] = json!(1.5)),
        with(&|json| json["layers"][0]["size"] = json!("700")),
        with(&|json| json["subject"] = json!({"digest": 7})),
        with(&|json| json["annotations"] = json!({"a": 1})),
    ];
    for field in ["schemaVersion", "config", "layers"] {
        bad.push(with(&|json| {
            json.as_object_mut().unwrap().remove(field);
        }));
    }
    bad.push(
        good.to_string()
            .replacen('{', &format!(r#"{{"deep":{deep},"#), 1),
    );
    for text in bad {
        let reply = put(&server, text.clone(), Some(OCI_MANIFEST)).await;
        assert_eq!(reply.status, 400, "{text}: {reply:?}");
        let code = reply.expect_plain_error().error_code();
        let expected = ["MANIFEST_INVALID", "DIGEST_INVALID", "SIZE_INVALID"];
        assert!(expected.contains(&code.as_str()), "{code} for {text}");
    }
    let both = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [],
        "layers": [], "config": good["config"]});
    let reply = put(&server, both.to_string(), Some(OCI_INDEX)).await;
    reply.expect_error(400, "MANIFEST_INVALID");
    let list = server
        .client()
        .get(&format!("/v2/{REPOSITORY}/manifests/v1"))
        .await;
    list.expect_status(404);
}

#[tokio::test]
async fn layers_with_urls_are_never_fetched() {
    let elsewhere = FakeUpstream::start().await;
    let server = TestServer::start().await;
    let image = Recipe::image("foreign").build();
    push_blobs(&server, &image).await;
    let foreign = image.top().changed(Algorithm::Sha256, |json| {
        let digest = digest_of(Algorithm::Sha256, b"far away");
        json["layers"][0] = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": digest, "size": 8, "urls": [format!("{}/layer", elsewhere.url())]});
    });
    let client = server.client();
    client
        .push_manifest(REPOSITORY, "v1", &foreign)
        .await
        .expect_status(201);
    let digest = foreign.json["layers"][0]["digest"].as_str().unwrap();
    let blob = client
        .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
        .await;
    blob.expect_error(404, "BLOB_UNKNOWN");
    assert_eq!(elsewhere.total(), 0);
}

#[tokio::test]
async fn a_tag_moves_and_the_old_manifest_stays_reachable() {
    let server = TestServer::start().await;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    server.client().push(REPOSITORY, &old, &["latest"]).await;
    server.client().push(REPOSITORY, &new, &["latest"]).await;
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, new.top().bytes);
    server.client().expect_pull(REPOSITORY, &old).await;
}

#[tokio::test]
async fn a_manifest_may_be_named_by_a_child_pushed_as_sha512_and_the_other_way_round() {
    let server = TestServer::start().await;
    let small = Recipe::image("child").algorithm(Algorithm::Sha256).build();
    let large = Recipe::image("child").algorithm(Algorithm::Sha512).build();
    let mixed = index(Algorithm::Sha512, &[small, large], &[]);
    server.client().push(REPOSITORY, &mixed, &["v1"]).await;
    server.client().expect_pull(REPOSITORY, &mixed).await;
}

#[tokio::test]
async fn a_refused_manifest_leaves_the_tag_where_it_was() {
    let server = TestServer::start().await;
    let image = Recipe::image("kept").build();
    server.client().push(REPOSITORY, &image, &["v1"]).await;
    let absent: Manifest = Recipe::image("absent").build().top().clone();
    let call = server.client().push_manifest(REPOSITORY, "v1", &absent);
    call.await.expect_status(400);
    let reply = server
        .client()
        .get(&format!("/v2/{REPOSITORY}/manifests/v1"))
        .await;
    assert_eq!(reply.expect_status(200).body, image.top().bytes);
}
