//! What is finite: memory does not grow with a blob's size, and a full disk loses nothing.

use std::fs;

use bytes::Bytes;
use futures_util::stream;

use crate::support::binary::{Served, seawall};
use crate::support::images::{Algorithm, Blob, Content, OCI_LAYER, Recipe, digest_of, noise};
use crate::support::small_disk::SmallDisk;
use crate::support::upstream::FakeUpstream;

/// The growth of memory that a blob of any size may cause.
const GROWTH: u64 = 64 * 1024 * 1024;

/// Larger than the growth by far, small enough for a test.
const BLOB: usize = 384 * 1024 * 1024;

fn zeros() -> Bytes {
    vec![0; BLOB].into()
}

#[tokio::test]
async fn memory_does_not_grow_with_a_blob_that_is_pushed_and_pulled() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.yml");
    let root = home.path().join("root");
    let text = format!(
        "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\n\
         storage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
        root.display()
    );
    fs::write(&config, text).unwrap();
    let served = Served::start(seawall(home.path()).arg("serve").arg(&config)).await;
    served.client().get("/v2/").await.expect_status(200);
    let before = served.memory("VmRSS");
    let bytes = zeros();
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let location = served.client().start_upload("team/app").await;
    let pieces: Vec<_> = (0..BLOB / (1024 * 1024))
        .map(|piece| Ok::<_, std::io::Error>(bytes.slice(piece << 20..(piece + 1) << 20)))
        .collect();
    let body = reqwest::Body::wrap_stream(stream::iter(pieces));
    let patched = served.client().patch(&location).body(body).await;
    let location = patched.expect_status(202).location();
    let finish = served
        .client()
        .finish_upload(&location, &digest, &Bytes::new());
    finish.await.expect_status(201);
    let path = format!("/v2/team/app/blobs/{digest}");
    let pulled = served.client().get(&path).begin().await;
    assert_eq!(pulled.count_rest().await, BLOB);
    let grown = served.memory("VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn memory_does_not_grow_with_a_blob_that_is_mirrored_for_a_client_that_does_not_read() {
    let upstream = FakeUpstream::start().await;
    let blob = Blob::new(Algorithm::Sha256, OCI_LAYER, zeros());
    let content = Content {
        blobs: vec![blob.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.yml");
    let root = home.path().join("root");
    let text = format!(
        "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\n\
         storage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
         mirrors: [{{name: up.example, endpoints: ['{}']}}]\n",
        root.display(),
        upstream.url()
    );
    fs::write(&config, text).unwrap();
    let served = Served::start(seawall(home.path()).arg("serve").arg(&config)).await;
    let before = served.memory("VmRSS");
    let path = format!("/v2/up.example/team/app/blobs/{}", blob.digest);
    let mut lazy = served.client().get(&path).begin().await;
    lazy.read_at_least(1).await;
    let eager = served.client().get(&path).begin().await;
    assert_eq!(eager.count_rest().await, BLOB);
    let grown = served.memory("VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "grew by {} MiB", grown >> 20);
    drop(lazy);
}

#[tokio::test]
async fn a_full_disk_is_507_and_what_was_stored_is_served() {
    let home = tempfile::tempdir().unwrap();
    let Some(served) = SmallDisk::start(home.path(), "").await else {
        return;
    };
    let client = served.client();
    let image = Recipe::image("before").build();
    client.push("team/app", &image, &["v1"]).await;
    let large = noise("too large", 40 * 1024 * 1024);
    let location = client.start_upload("team/app").await;
    let refused = client.chunk(&location, 0, &large).await;
    refused.expect_status(507).expect_plain_error();
    client.expect_pull("team/app", &image).await;
    client
        .get("/v2/team/app/tags/list")
        .await
        .expect_status(200);
    let single = format!(
        "/v2/team/app/blobs/uploads/?digest={}",
        digest_of(Algorithm::Sha256, &large)
    );
    let refused = client.post(&single).body(large).await;
    refused.expect_status(507).expect_plain_error();
    client.expect_pull("team/app", &image).await;
    client.get("/v2/").await.expect_status(200);
}

#[tokio::test]
async fn a_cancelled_upload_gives_a_full_disk_its_room_back() {
    let home = tempfile::tempdir().unwrap();
    let Some(served) = SmallDisk::start(home.path(), "").await else {
        return;
    };
    let client = served.client();
    let location = client.start_upload("team/app").await;
    let large = noise("too large", 40 * 1024 * 1024);
    let refused = client.chunk(&location, 0, &large).await;
    refused.expect_status(507);
    client.delete(&location).await.expect_status(204);
    let image = Recipe::image("after").build();
    client.push("team/app", &image, &["v1"]).await;
    client.expect_pull("team/app", &image).await;
}
