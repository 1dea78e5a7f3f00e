//! Cross-repository mounts: a blob becomes a member elsewhere without its bytes being sent again.

use crate::support::images::{ALGORITHMS, Algorithm, digest_of, noise};
use crate::support::server::TestServer;

#[tokio::test]
async fn a_blob_is_mounted_from_the_repository_named() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("mounted", 512);
        let digest = digest_of(algorithm, &bytes);
        server
            .client()
            .push_blob_as("source/app", &bytes, &digest)
            .await;
        let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}&from=source%2Fapp");
        let reply = server.client().post(&mount).await.expect_status(201);
        assert_eq!(reply.need("docker-content-digest"), digest);
        let got = server
            .client()
            .get(&reply.location())
            .await
            .expect_status(200);
        assert_eq!(got.body, bytes);
        assert!(reply.location().contains("/v2/target/app/blobs/"));
    }
}

#[tokio::test]
async fn a_blob_is_mounted_without_a_source_when_any_repository_has_it() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("anywhere", 512);
        let digest = digest_of(algorithm, &bytes);
        server
            .client()
            .push_blob_as("source/app", &bytes, &digest)
            .await;
        let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}");
        let reply = server.client().post(&mount).await.expect_status(201);
        assert_eq!(reply.need("docker-content-digest"), digest);
        let got = server
            .client()
            .get(&format!("/v2/target/app/blobs/{digest}"))
            .await;
        assert_eq!(got.expect_status(200).body, bytes);
    }
}

#[tokio::test]
async fn a_mount_of_what_is_not_there_opens_an_upload() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("missing", 512);
        let digest = digest_of(algorithm, &bytes);
        server
            .client()
            .push_blob("source/app", &noise("other", 10))
            .await;
        for from in ["&from=source/app", "&from=nobody/here", ""] {
            let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}{from}");
            let reply = server.client().post(&mount).await.expect_status(202);
            let finished = server
                .client()
                .finish_upload(&reply.location(), &digest, &bytes);
            finished.await.expect_status(201);
            let path = format!("/v2/target/app/blobs/{digest}");
            server.client().delete(&path).await.expect_status(202);
        }
    }
}

#[tokio::test]
async fn a_mount_from_a_repository_that_lacks_the_blob_does_not_look_elsewhere() {
    let server = TestServer::start().await;
    let bytes = noise("elsewhere", 512);
    let digest = server.client().push_blob("secret/app", &bytes).await;
    server
        .client()
        .push_blob("source/app", &noise("other", 10))
        .await;
    let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}&from=source/app");
    server.client().post(&mount).await.expect_status(202);
    let path = format!("/v2/target/app/blobs/{digest}");
    server.client().head(&path).await.expect_status(404);
}

#[tokio::test]
async fn a_mounted_blob_lives_and_dies_apart_from_its_source() {
    let server = TestServer::start().await;
    let bytes = noise("apart", 512);
    let digest = server.client().push_blob("source/app", &bytes).await;
    let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}&from=source/app");
    let (source, target) = (
        format!("/v2/source/app/blobs/{digest}"),
        format!("/v2/target/app/blobs/{digest}"),
    );
    server.client().post(&mount).await.expect_status(201);
    server.client().delete(&target).await.expect_status(202);
    server.client().head(&target).await.expect_status(404);
    server.client().head(&source).await.expect_status(200);

    server.client().post(&mount).await.expect_status(201);
    server.client().delete(&source).await.expect_status(202);
    server.client().head(&source).await.expect_status(404);
    assert_eq!(
        server.client().get(&target).await.expect_status(200).body,
        bytes
    );
}

#[tokio::test]
async fn a_mount_of_no_digest_at_all_is_refused() {
    let server = TestServer::start().await;
    for digest in ["sha256:short", "nonsense", "sha384:aa"] {
        let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}&from=source/app");
        server
            .client()
            .post(&mount)
            .await
            .expect_error(400, "DIGEST_INVALID");
    }
    let digest = digest_of(Algorithm::Sha256, b"x");
    let mount = format!("/v2/target/app/blobs/uploads/?mount={digest}&from=UPPER..case");
    let reply = server.client().post(&mount).await;
    assert!([202, 400].contains(&reply.status), "{reply:?}");
}
