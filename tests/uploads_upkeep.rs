//! Uploads that nobody finishes: they are purged with their bytes, a client has only so many, and what a crash or a refusal
//! leaves of their bytes goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::binary::{Served, seawall};
use crate::support::client::{Client, Reply};
use crate::support::images::{ALGORITHMS, Algorithm, Recipe, digest_of, noise};
use crate::support::raw::RawConnection;
use crate::support::server::TestServer;
use crate::support::small_disk::{SmallDisk, upload_sizes};

const REPOSITORY: &str = "team/app";
const HOUR: Duration = Duration::from_secs(3600);

/// Starts a server that purges uploads after an hour, and looks for them as often as a story can wait for.
async fn purging() -> TestServer {
    TestServer::builder()
        .config(|config| {
            let purging = json!({"uploadpurging": {"age": "1h", "interval": "50ms"}});
            config["storage"]["maintenance"] = purging;
        })
        .start()
        .await
}

async fn capped(most: u64) -> TestServer {
    TestServer::builder()
        .config(|config| config["uploads"] = json!({"maxpersubject": most}))
        .start()
        .await
}

/// Begins an upload and sends its first bytes; returns where it goes on.
async fn begin(client: &Client, bytes: &Bytes) -> String {
    let location = client.start_upload(REPOSITORY).await;
    let sent = client.chunk(&location, 0, bytes).await.expect_status(202);
    sent.location()
}

async fn open(client: &Client) -> Reply {
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
    client.post(&path).await
}

fn uploads_left(server: &TestServer) -> usize {
    upload_sizes(&server.data()).len()
}

/// Returns what the metrics say about open uploads.
async fn told_open(server: &TestServer) -> u64 {
    let metrics = server.socket().get("/metrics").await.expect_status(200);
    let text = metrics.text();
    let told = text
        .lines()
        .find_map(|line| line.strip_prefix("seawall_uploads_open "));
    told.unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_abandoned_upload_is_purged_with_its_bytes_and_a_young_one_is_not() {
    let server = purging().await;
    let client = server.client();
    let bytes = noise("abandoned", 50_000);
    let abandoned = begin(client, &bytes).await;
    let never_sent_to = client.start_upload(REPOSITORY).await;
    let resumed = begin(client, &bytes).await;
    server.clock().advance(HOUR * 2 / 3);
    let more = noise("more", 1000);
    let resumed = client.chunk(&resumed, 50_000, &more).await;
    let resumed = resumed.expect_status(202).location();
    assert_eq!(uploads_left(&server), 2);
    server.clock().advance(HOUR * 2 / 3);
    client
        .until("the abandoned upload is purged", || {
            uploads_left(&server) == 1
        })
        .await;
    for gone in [&abandoned, &never_sent_to] {
        // One without bytes is seen to be gone by its answer alone.
        while client.get(gone).await.status == 204 {}
        let status = client.get(gone).await;
        status.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        let late = client.patch(gone).body(more.clone()).await;
        late.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let whole = [&bytes[..], &more[..]].concat();
    let digest = digest_of(Algorithm::Sha256, &whole);
    let finish = client.finish_upload(&resumed, &digest, &Bytes::new());
    finish.await.expect_status(201);
    assert_eq!(uploads_left(&server), 0);
    assert_eq!(told_open(&server).await, 0);
}

#[tokio::test]
async fn an_upload_that_a_client_is_sending_to_is_not_purged() {
    let server = purging().await;
    let client = server.client();
    let bytes = noise("slow", 100_000);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let slow = client.start_upload(REPOSITORY).await;
    let path = slow.split_once("/v2/").unwrap().1;
    let mut connection = RawConnection::open(server.address()).await;
    let head = format!(
        "PUT /v2/{path}?digest={digest} HTTP/1.1\r\nHost: registry\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    connection.send(head).await;
    connection.send(&bytes[..60_000]).await;
    client
        .until("its bytes arrive", || {
            upload_sizes(&server.data()).iter().any(|size| *size > 0)
        })
        .await;
    // One that is abandoned tells when purging has run.
    let abandoned = begin(client, &noise("abandoned", 1000)).await;
    server.clock().advance(HOUR * 2);
    client
        .until("the abandoned upload is purged", || {
            uploads_left(&server) == 1
        })
        .await;
    client
        .get(&abandoned)
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    connection.send(&bytes[60_000..]).await;
    let response = connection.response().await.unwrap();
    assert_eq!(response.status, 201);
    let blob = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let got = client.get(&blob).await.expect_status(200);
    assert_eq!(got.body, bytes);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_purged_and_leaves_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.yml");
    let root = home.path().join("root");
    let text = format!(
        "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage:\n  filesystem: {{rootdirectory: '{}'}}\n  \
         maintenance: {{uploadpurging: {{age: 1ms, interval: 50ms, dryrun: true}}}}\n",
        root.display()
    );
    fs::write(&file, text).unwrap();
    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let client = served.client();
    let location = begin(&client, &noise("kept", 1000)).await;
    let told = || served.screen().contains("would purge an abandoned upload");
    client.until("it is told", told).await;
    client.get(&location).await.expect_status(204);
    assert_eq!(upload_sizes(&root), [1000]);
}

#[tokio::test]
async fn abandoned_uploads_make_room_on_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let settings = "uploads: {maxage: 4s}";
    let purging = "maintenance: {uploadpurging: {interval: 100ms}}";
    let Some(served) = SmallDisk::start_with(home.path(), settings, purging).await else {
        return;
    };
    let client = served.client();
    let mut locations = Vec::new();
    for number in 0..4 {
        let bytes = noise(&format!("abandoned {number}"), 1 << 20);
        locations.push(begin(&client, &bytes).await);
    }
    served.fill();
    assert_eq!(served.upload_bytes(), 4 << 20, "they are still there");
    client
        .until("the disk has room again", || served.upload_bytes() == 0)
        .await;
    for location in &locations {
        let status = client.get(location).await;
        status.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let image = Recipe::image("after").build();
    client.push(REPOSITORY, &image, &["v1"]).await;
    client.expect_pull(REPOSITORY, &image).await;
}

#[tokio::test]
async fn a_client_with_too_many_open_uploads_is_told_to_come_back_later() {
    let server = capped(2).await;
    let client = server.client();
    let first = client.start_upload(REPOSITORY).await;
    let second = client.start_upload("other/app").await;
    let refused = open(client).await;
    assert_eq!(refused.need("retry-after"), "60");
    let refused = refused.expect_error(429, "TOOMANYREQUESTS");
    let message = refused.json()["errors"][0]["message"].clone();
    let message = message.as_str().unwrap().to_owned();
    assert!(message.contains("you have 2 uploads open"), "{message}");
    assert!(message.contains("uploads.maxpersubject"), "{message}");
    // However it is opened.
    let bytes = noise("whole", 1000);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let whole = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    let single = client.post(&whole).body(bytes.clone()).await;
    single.expect_error(429, "TOOMANYREQUESTS");
    let mount = format!("/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from=no/where");
    let missed = client.post(&mount).await;
    missed.expect_error(429, "TOOMANYREQUESTS");
    // Another client is not concerned.
    let other = server.socket();
    open(&other).await.expect_status(202);
    // One that ends makes room for one.
    client.delete(&first).await.expect_status(204);
    client.post(&whole).body(bytes).await.expect_status(201);
    let third = open(client).await.expect_status(202).location();
    open(client).await.expect_error(429, "TOOMANYREQUESTS");
    let finish = client.finish_upload(
        &second,
        &digest_of(Algorithm::Sha256, b"x"),
        &Bytes::from_static(b"x"),
    );
    finish.await.expect_status(201);
    open(client).await.expect_status(202);
    client.delete(&third).await.expect_status(204);
}

#[tokio::test]
async fn of_many_uploads_begun_at_once_no_more_are_opened_than_may_be() {
    let mut server = capped(3).await;
    let replies = join_all((0..12).map(|_| open(server.client()))).await;
    let opened = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!(opened, 3);
    assert!(
        replies
            .iter()
            .all(|reply| [202, 429].contains(&reply.status))
    );
    server.restart().await;
    let refused = open(server.client()).await;
    refused.expect_error(429, "TOOMANYREQUESTS");
    server
        .restart_with(|config| config["uploads"] = json!({"maxpersubject": 0}))
        .await;
    for _ in 0..5 {
        open(server.client()).await.expect_status(202);
    }
    assert_eq!(told_open(&server).await, 8);
}

#[tokio::test]
async fn the_metric_follows_every_upload_that_begins_and_ends() {
    let mut server = purging().await;
    assert_eq!(told_open(&server).await, 0);
    let mut open = Vec::new();
    for number in 0..4 {
        open.push(begin(server.client(), &noise("open", 100)).await);
        assert_eq!(told_open(&server).await, number + 1);
    }
    let bytes = noise("open", 100);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let finish = server
        .client()
        .finish_upload(&open[0], &digest, &Bytes::new());
    finish.await.expect_status(201);
    server.client().delete(&open[1]).await.expect_status(204);
    assert_eq!(told_open(&server).await, 2);
    server.restart().await;
    assert_eq!(told_open(&server).await, 2);
    server.clock().advance(HOUR);
    server
        .client()
        .until("both are purged", || uploads_left(&server) == 0)
        .await;
    assert_eq!(told_open(&server).await, 0);
}

#[tokio::test]
async fn a_refused_manifest_leaves_no_bytes() {
    let mut server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("refused").algorithm(algorithm).build();
        let top = image.top();
        let path = format!("/v2/{REPOSITORY}/manifests/{}", top.digest);
        let push = server.client().push_manifest(REPOSITORY, &top.digest, top);
        push.await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
        assert!(server.stored_blobs().is_empty());
        assert_eq!(uploads_left(&server), 0);
        server.client().head(&path).await.expect_status(404);
    }
    // Where the same bytes are a manifest of another repository, they stay.
    let image = Recipe::image("elsewhere").build();
    let top = image.top();
    server.client().push("other/app", &image, &["v1"]).await;
    let push = server.client().push_manifest(REPOSITORY, &top.digest, top);
    push.await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    server.restart().await;
    server.client().expect_pull("other/app", &image).await;
    server
        .client()
        .until("nothing is left of it", || uploads_left(&server) == 0)
        .await;
}

/// Gives what lies in `file` a name among the uploads, as a crash before a commit leaves it.
fn leave(server: &TestServer, file: &Path, number: u32) {
    let name = format!("00000000-0000-4000-8000-{number:012x}");
    fs::hard_link(file, server.data().join("uploads").join(name)).unwrap();
}

/// Puts bytes where they would lie as a blob.
fn place(server: &TestServer, bytes: &[u8], algorithm: Algorithm) -> PathBuf {
    let file = server.blob_file(&digest_of(algorithm, bytes));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

#[tokio::test]
async fn what_a_crash_left_between_publication_and_commit_goes_after_the_start() {
    let mut server = TestServer::start().await;
    let image = Recipe::image("committed").build();
    server.client().push(REPOSITORY, &image, &["v1"]).await;
    let committed = server.stored_blobs();
    server.stop().await;
    for (number, algorithm) in (0..).zip(ALGORITHMS) {
        let file = place(&server, &noise("in vain", 70_000), algorithm);
        leave(&server, &file, number);
    }
    // A crash just after the commit, before the upload's own name went.
    for (number, blob) in (10..).zip(committed.keys()) {
        leave(&server, &server.blob_file(blob), number);
    }
    assert_eq!(server.stored_blobs().len(), committed.len() + 2);
    server.start_again().await;
    server
        .client()
        .until("nothing is left of it", || uploads_left(&server) == 0)
        .await;
    assert_eq!(server.stored_blobs(), committed);
    server.client().expect_pull(REPOSITORY, &image).await;
}

#[tokio::test]
async fn pushes_of_what_a_crash_left_win_over_its_removal() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let blobs: Vec<Bytes> = (0..40)
        .map(|number| noise(&format!("left {number}"), 30_000))
        .collect();
    for (number, bytes) in (0..).zip(&blobs) {
        let file = place(&server, bytes, Algorithm::Sha256);
        leave(&server, &file, number);
    }
    server.start_again().await;
    let client = server.client();
    // In the other order too, so that some come before and some after.
    let pushes = blobs
        .iter()
        .rev()
        .map(|bytes| client.push_blob(REPOSITORY, bytes));
    let digests = join_all(pushes).await;
    client
        .until("nothing is left of it", || uploads_left(&server) == 0)
        .await;
    for (digest, bytes) in digests.iter().zip(blobs.iter().rev()) {
        let got = client
            .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await;
        assert_eq!(got.expect_status(200).body, bytes);
    }
}

#[tokio::test]
async fn a_start_does_not_wait_for_what_is_left() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let bytes = noise("large", 1 << 20);
    // Enough to be read for longer than a start may take.
    for number in 0..100 {
        let mut bytes = bytes.to_vec();
        bytes.extend_from_slice(&number.to_string().into_bytes());
        let file = place(&server, &bytes, Algorithm::Sha256);
        leave(&server, &file, number);
    }
    server.start_again().await;
    server.client().get("/v2/").await.expect_status(200);
    assert!(uploads_left(&server) > 0, "it went before the first answer");
    server
        .client()
        .until("nothing is left of it", || uploads_left(&server) == 0)
        .await;
    assert!(server.stored_blobs().is_empty());
}
