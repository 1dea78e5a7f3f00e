//! What storage does to a registry: bits that rot, files that vanish, disks that are full. A push repairs
//! what is damaged, and a disk that takes nothing more still gives and forgets.

use std::fs;
use std::path::Path;

use crate::support::client::with_query;
use crate::support::images::{ALGORITHMS, Algorithm, Recipe, digest_of, noise};
use crate::support::server::TestServer;
use crate::support::small_disk::SmallDisk;
use crate::support::upstream::FakeUpstream;

/// Changes one bit in the middle.
fn rot(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn truncate(file: &Path) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(5).unwrap();
}

/// A way in which a file can be no longer what its row says, beside rot.
type Loss = (&'static str, fn(&Path));

const LOSSES: [Loss; 2] = [
    ("truncated", truncate),
    ("missing", |file| fs::remove_file(file).unwrap()),
];

#[tokio::test]
async fn a_push_repairs_a_manifest_that_rotted() {
    for algorithm in ALGORITHMS {
        let mut server = TestServer::start().await;
        let image = Recipe::image("rotten").algorithm(algorithm).build();
        let top = image.top();
        server.client().push("team/app", &image, &["v1"]).await;
        rot(&server.blob_file(&top.digest));
        server.restart().await;
        let (by_tag, by_digest) = (
            "/v2/team/app/manifests/v1".to_owned(),
            format!("/v2/team/app/manifests/{}", top.digest),
        );
        for path in [&by_tag, &by_digest] {
            let reply = server.client().get(path).await;
            reply.expect_error(404, "MANIFEST_UNKNOWN");
        }
        let again = server.client().push_manifest("team/app", &top.digest, top);
        again.await.expect_status(201);
        server.restart().await;
        for path in [&by_tag, &by_digest] {
            let reply = server.client().get(path).await.expect_status(200);
            assert_eq!(reply.body, top.bytes);
        }
    }
}

#[tokio::test]
async fn a_push_repairs_a_blob_that_rotted() {
    for algorithm in ALGORITHMS {
        let mut server = TestServer::start().await;
        let bytes = noise("rotten", 50_000);
        let digest = digest_of(algorithm, &bytes);
        let path = format!("/v2/team/app/blobs/{digest}");
        let single = format!("/v2/team/app/blobs/uploads/?digest={digest}");
        server
            .client()
            .push_blob_as("team/app", &bytes, &digest)
            .await;
        for single_post in [false, true] {
            rot(&server.blob_file(&digest));
            server.restart().await;
            if single_post {
                let again = server.client().post(&single).body(bytes.clone());
                again.await.expect_status(201);
            } else {
                server
                    .client()
                    .push_blob_as("team/app", &bytes, &digest)
                    .await;
            }
            let reply = server.client().get(&path).await.expect_status(200);
            assert!(reply.body == bytes, "single POST: {single_post}");
            server.restart().await;
            let reply = server.client().get(&path).await.expect_status(200);
            assert!(reply.body == bytes, "single POST: {single_post}, restarted");
        }
    }
}

#[tokio::test]
async fn head_of_a_manifest_that_was_lost_is_404_so_that_a_push_repairs_it() {
    for (loss, lose) in LOSSES {
        let mut server = TestServer::start().await;
        let image = Recipe::image("lost").build();
        let top = image.top();
        server.client().push("team/app", &image, &["v1"]).await;
        lose(&server.blob_file(&top.digest));
        server.restart().await;
        let paths = ["v1", &top.digest].map(|name| format!("/v2/team/app/manifests/{name}"));
        for path in &paths {
            let head = server.client().head(path).await;
            assert_eq!(head.status, 404, "{loss}: {path}");
        }
        let again = server.client().push_manifest("team/app", "v1", top);
        again.await.expect_status(201);
        server.restart().await;
        for path in &paths {
            server.client().head(path).await.expect_status(200);
            let reply = server.client().get(path).await.expect_status(200);
            assert_eq!(reply.body, top.bytes, "{loss}");
        }
    }
}

#[tokio::test]
async fn a_mount_of_a_blob_that_was_lost_opens_an_upload() {
    for (loss, lose) in LOSSES {
        for from in ["&from=source/app", ""] {
            let mut server = TestServer::start().await;
            let bytes = noise("lost", 50_000);
            let digest = server.client().push_blob("source/app", &bytes).await;
            lose(&server.blob_file(&digest));
            server.restart().await;
            let path = format!("/v2/target/app/blobs/{digest}");
            let mount = with_query(
                "/v2/target/app/blobs/uploads/",
                &format!("mount={digest}{from}"),
            );
            let reply = server.client().post(&mount).await;
            assert_eq!(reply.status, 202, "{loss}{from}: {reply:?}");
            server.client().head(&path).await.expect_status(404);
            let finish = server
                .client()
                .finish_upload(&reply.location(), &digest, &bytes);
            finish.await.expect_status(201);
            let reply = server.client().get(&path).await.expect_status(200);
            assert!(reply.body == bytes, "{loss}{from}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_serves_a_due_tag_that_its_upstream_confirms() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let home = tempfile::tempdir().unwrap();
    // Without any freshness a tag is due at every request.
    let mirror = format!(
        "mirrors: [{{name: up.example, endpoints: ['{}'], freshness: {{default: 0s}}}}]",
        upstream.url()
    );
    let Some(served) = SmallDisk::start(home.path(), &mirror).await else {
        return;
    };
    let client = served.client();
    let path = "/v2/up.example/team/app/manifests/v1";
    client.get(path).await.expect_status(200);
    served.fill();
    for _ in 0..3 {
        let reply = client.get(path).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes);
        let head = client.head(path).await.expect_status(200);
        assert_eq!(head.need("docker-content-digest"), image.top().digest);
    }
}

#[tokio::test]
async fn a_full_disk_does_not_hide_what_it_holds_from_head() {
    let home = tempfile::tempdir().unwrap();
    // A lease so short that every HEAD finds it due.
    let Some(served) = SmallDisk::start(home.path(), "gc: {lease: 1ms}").await else {
        return;
    };
    let client = served.client();
    let image = Recipe::image("held").build();
    client.push("team/app", &image, &["v1"]).await;
    served.fill();
    for _ in 0..3 {
        for name in ["v1", &image.top().digest] {
            let path = format!("/v2/team/app/manifests/{name}");
            client.head(&path).await.expect_status(200);
        }
        for blob in &image.blobs {
            let path = format!("/v2/team/app/blobs/{}", blob.digest);
            client.head(&path).await.expect_status(200);
        }
        client.expect_pull("team/app", &image).await;
    }
}

#[tokio::test]
async fn a_full_disk_takes_deletions() {
    let home = tempfile::tempdir().unwrap();
    let Some(served) = SmallDisk::start(home.path(), "").await else {
        return;
    };
    let client = served.client();
    let image = Recipe::image("deleted").build();
    client.push("team/app", &image, &["v1", "v2"]).await;
    let loose = client.push_blob("team/app", &noise("loose", 1000)).await;
    served.fill();
    for path in [
        "/v2/team/app/manifests/v1".to_owned(),
        format!("/v2/team/app/blobs/{loose}"),
    ] {
        client.delete(&path).await.expect_status(202);
        client.head(&path).await.expect_status(404);
    }
    let kept = client.get("/v2/team/app/manifests/v2").await;
    assert_eq!(kept.expect_status(200).body, image.top().bytes);
}

#[tokio::test]
async fn a_single_post_too_large_for_the_disk_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let Some(served) = SmallDisk::start(home.path(), "").await else {
        return;
    };
    let client = served.client();
    let large = noise("too large", 40 * 1024 * 1024);
    let digest = digest_of(Algorithm::Sha256, &large);
    let single = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    for round in 0..3 {
        let refused = client.post(&single).body(large.clone()).await;
        refused.expect_status(507).expect_plain_error();
        client
            .until("the refused bytes are dropped", || {
                served.upload_bytes() == 0
            })
            .await;
        let image = Recipe::image(&format!("after {round}")).build();
        client.push("team/app", &image, &["v1"]).await;
        client.expect_pull("team/app", &image).await;
    }
}
