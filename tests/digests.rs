//! sha256 and sha512 are equals: the digest asked for is the digest answered.

use bytes::Bytes;

use crate::support::images::{ALGORITHMS, Algorithm, Recipe, digest_of, noise};
use crate::support::server::TestServer;

const REPOSITORY: &str = "team/app";

#[tokio::test]
async fn an_upload_started_for_an_algorithm_is_finished_with_it() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise(algorithm.name(), 3000);
        let digest = digest_of(algorithm, &bytes);
        let path = format!(
            "/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm={}",
            algorithm.name()
        );
        let started = server.client().post(&path).await.expect_status(202);
        let patched = server
            .client()
            .chunk(&started.location(), 0, &bytes.slice(..1000))
            .await;
        let location = patched.expect_status(202).location();
        let finish = server
            .client()
            .finish_upload(&location, &digest, &bytes.slice(1000..));
        assert_eq!(
            finish
                .await
                .expect_status(201)
                .need("docker-content-digest"),
            digest
        );
        let got = server
            .client()
            .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await;
        assert_eq!(got.expect_status(200).body, bytes);
    }
}

#[tokio::test]
async fn an_upload_started_for_one_algorithm_may_be_finished_with_the_other() {
    let server = TestServer::start().await;
    for (begun, ended) in [
        (Algorithm::Sha256, Algorithm::Sha512),
        (Algorithm::Sha512, Algorithm::Sha256),
    ] {
        let bytes = noise(begun.name(), 3000);
        let digest = digest_of(ended, &bytes);
        let path = format!(
            "/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm={}",
            begun.name()
        );
        let started = server.client().post(&path).await.expect_status(202);
        let patched = server.client().chunk(&started.location(), 0, &bytes).await;
        let location = patched.expect_status(202).location();
        let finish = server
            .client()
            .finish_upload(&location, &digest, &Bytes::new());
        assert_eq!(
            finish
                .await
                .expect_status(201)
                .need("docker-content-digest"),
            digest
        );
        let got = server
            .client()
            .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await;
        assert_eq!(got.expect_status(200).body, bytes);
    }
}

#[tokio::test]
async fn an_algorithm_nobody_knows_is_400() {
    let server = TestServer::start().await;
    for algorithm in ["md5", "sha384", "SHA256", ""] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm={algorithm}");
        let reply = server.client().post(&path).await.expect_status(400);
        reply.expect_plain_error();
    }
}

#[tokio::test]
async fn the_same_bytes_under_both_digests_are_two_members() {
    let server = TestServer::start().await;
    let bytes = noise("both", 1000);
    let [small, large] = ALGORITHMS.map(|algorithm| digest_of(algorithm, &bytes));
    server
        .client()
        .push_blob_as(REPOSITORY, &bytes, &small)
        .await;
    let large_path = format!("/v2/{REPOSITORY}/blobs/{large}");
    let small_path = format!("/v2/{REPOSITORY}/blobs/{small}");
    server
        .client()
        .push_blob_as(REPOSITORY, &bytes, &large)
        .await;
    for (path, digest) in [(&small_path, &small), (&large_path, &large)] {
        let reply = server.client().get(path).await.expect_status(200);
        assert_eq!(reply.need("docker-content-digest"), digest);
        assert_eq!(reply.body, bytes);
    }
    server.client().delete(&small_path).await.expect_status(202);
    server.client().head(&small_path).await.expect_status(404);
    server.client().head(&large_path).await.expect_status(200);
}

#[tokio::test]
async fn a_tag_pushed_by_tag_alone_answers_with_sha256() {
    let server = TestServer::start().await;
    let image = Recipe::image("by tag").build();
    server.client().push(REPOSITORY, &image, &[]).await;
    let call = server.client().push_manifest(REPOSITORY, "v1", image.top());
    let reply = call.await.expect_status(201);
    assert_eq!(reply.need("docker-content-digest"), image.top().digest);
}

#[tokio::test]
async fn a_tag_moves_between_algorithms_and_answers_with_the_last_one() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("moving").algorithm(algorithm).build();
        server.client().push(REPOSITORY, &image, &["v1"]).await;
        let head = server
            .client()
            .head(&format!("/v2/{REPOSITORY}/manifests/v1"))
            .await;
        assert_eq!(head.need("docker-content-digest"), image.top().digest);
    }
}

#[tokio::test]
async fn a_tag_parameter_beside_a_tag_or_a_malformed_one_is_refused_whole() {
    let server = TestServer::start().await;
    let image = Recipe::image("parameters").build();
    server.client().push(REPOSITORY, &image, &[]).await;
    let reference = format!("{}?tag=good&tag=..bad", image.top().digest);
    let reply = server
        .client()
        .push_manifest(REPOSITORY, &reference, image.top())
        .await;
    reply.expect_error(400, "TAG_INVALID");
    let path = format!("/v2/{REPOSITORY}/manifests/good");
    server.client().head(&path).await.expect_status(404);
}
