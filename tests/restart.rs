//! What survives a restart: everything acknowledged, and uploads at their very byte.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::support::images::{ALGORITHMS, Recipe, SBOM, digest_of, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

#[tokio::test]
async fn everything_pushed_is_there_after_a_restart() {
    let mut server = TestServer::start().await;
    let image = Recipe::image("kept").build();
    let sbom = Recipe::artifact("sbom", SBOM).subject(image.top()).build();
    server
        .client()
        .push("team/app", &image, &["v1", "v2"])
        .await;
    server.client().push("team/app", &sbom, &[]).await;
    server
        .client()
        .delete("/v2/team/app/manifests/v2")
        .await
        .expect_status(202);
    let before = server.client().get("/v2/_catalog").await.body;
    server.restart().await;
    server.client().expect_pull("team/app", &image).await;
    server.client().expect_pull("team/app", &sbom).await;
    assert_eq!(server.client().get("/v2/_catalog").await.body, before);
    let tags = server.client().get("/v2/team/app/tags/list").await;
    assert_eq!(tags.texts("tags"), ["v1"]);
    let path = format!("/v2/team/app/referrers/{}", image.top().digest);
    let referrers = server.client().get(&path).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], sbom.top().digest);
}

#[tokio::test]
async fn an_upload_goes_on_at_its_byte_after_a_restart() {
    let mut server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        for asked in ["", "?digest-algorithm=sha512"] {
            let bytes = noise(&format!("resumed {asked}"), 300_000);
            let digest = digest_of(algorithm, &bytes);
            let started = server
                .client()
                .post(&format!("/v2/team/app/blobs/uploads/{asked}"))
                .await;
            let location = started.expect_status(202).location();
            let first = server
                .client()
                .chunk(&location, 0, &bytes.slice(..111_111))
                .await;
            let location = first.expect_status(202).location();
            server.restart().await;
            let status = server.client().get(&location).await.expect_status(204);
            assert_eq!(status.need("range"), "0-111110");
            let rest = bytes.slice(111_111..222_222);
            let second = server.client().chunk(&location, 111_111, &rest).await;
            let location = second.expect_status(202).location();
            server.restart().await;
            let rest = bytes.slice(222_222..);
            let finish = server.client().finish_upload(&location, &digest, &rest);
            finish.await.expect_status(201);
            let got = server
                .client()
                .get(&format!("/v2/team/app/blobs/{digest}"))
                .await;
            assert_eq!(got.expect_status(200).body, bytes);
            let path = format!("/v2/team/app/blobs/{digest}");
            server.client().delete(&path).await.expect_status(202);
        }
    }
}

/// Finds the file in which an upload's bytes lie.
fn upload_file(root: &Path, id: &str) -> PathBuf {
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().contains(id) {
                return path;
            }
        }
    }
    panic!("no file of upload {id} under {}", root.display());
}

#[tokio::test]
async fn bytes_past_the_acknowledged_offset_are_cut_off() {
    let mut server = TestServer::start().await;
    let bytes = noise("acknowledged", 100_000);
    let digest = digest_of(crate::support::images::Algorithm::Sha256, &bytes);
    let started = server.client().post("/v2/team/app/blobs/uploads/").await;
    let id = started.need("docker-upload-uuid").to_owned();
    let location = started.location();
    let first = server
        .client()
        .chunk(&location, 0, &bytes.slice(..50_000))
        .await;
    let location = first.expect_status(202).location();
    server.restart_with(|_| {}).await;
    let file = upload_file(&server.data(), &id);
    let mut stored = std::fs::read(&file).unwrap();
    assert_eq!(stored.len(), 50_000);
    stored.extend_from_slice(b"what a crash left behind");
    std::fs::write(&file, stored).unwrap();
    let status = server.client().get(&location).await.expect_status(204);
    assert_eq!(status.need("range"), "0-49999");
    let finish = server
        .client()
        .finish_upload(&location, &digest, &bytes.slice(50_000..));
    finish.await.expect_status(201);
    let got = server
        .client()
        .get(&format!("/v2/team/app/blobs/{digest}"))
        .await;
    assert_eq!(got.expect_status(200).body, bytes);
}

#[tokio::test]
async fn an_upload_whose_bytes_were_lost_never_becomes_a_blob() {
    let mut server = TestServer::start().await;
    let bytes = noise("lost", 50_000);
    let digest = digest_of(crate::support::images::Algorithm::Sha256, &bytes);
    let started = server.client().post("/v2/team/app/blobs/uploads/").await;
    let id = started.need("docker-upload-uuid").to_owned();
    let first = server.client().chunk(&started.location(), 0, &bytes).await;
    let location = first.expect_status(202).location();
    server.restart().await;
    let file = upload_file(&server.data(), &id);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(20_000)
        .unwrap();
    let finish = server
        .client()
        .finish_upload(&location, &digest, &Bytes::new())
        .await;
    assert_ne!(finish.status, 201, "{finish:?}");
    let path = format!("/v2/team/app/blobs/{digest}");
    server.client().head(&path).await.expect_status(404);
}

#[tokio::test]
async fn a_file_that_is_not_its_rows_size_is_never_served_as_whole() {
    let server = TestServer::start().await;
    let bytes = noise("rotten", 50_000);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let hex = digest.split_once(':').unwrap().1;
    let file = server.data().join("docker/registry/v2/blobs/sha256");
    let file = file.join(&hex[..2]).join(hex).join("data");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(20_000)
        .unwrap();
    let arriving = server
        .client()
        .get(&format!("/v2/team/app/blobs/{digest}"))
        .begin()
        .await;
    if arriving.status == 200 {
        arriving
            .rest()
            .await
            .expect_err("a short body is never completed");
    } else {
        assert!(
            [404, 500, 503].contains(&arriving.status),
            "{}",
            arriving.status
        );
    }
}

#[tokio::test]
async fn what_was_mirrored_is_served_after_a_restart_without_the_upstream() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let mut server = TestServer::builder().mirror_of(&upstream).start().await;
    let path = format!("/v2/{UPSTREAM}/team/app/manifests/v1");
    server.client().get(&path).await.expect_status(200);
    server
        .client()
        .expect_pull(&format!("{UPSTREAM}/team/app"), &image)
        .await;
    upstream.die().await;
    server.restart().await;
    server.clock().advance(Duration::from_secs(3600));
    server
        .client()
        .expect_pull(&format!("{UPSTREAM}/team/app"), &image)
        .await;
    let stale = server.client().get(&path).await.expect_status(200);
    assert!(stale.need("warning").starts_with("299 - \"stale: "));
}
