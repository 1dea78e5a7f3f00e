//! Clients that stand still with a request half sent: they cost little and stand in nobody's way.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::binary::{Served, seawall};
use crate::support::gate::PATIENCE;
use crate::support::images::{Algorithm, Recipe, digest_of, noise};
use crate::support::raw::RawConnection;
use crate::support::server::TestServer;
use crate::support::small_disk::upload_sizes;

/// What a process may take at its highest, whatever its clients do: about 200 MiB, and what allocators
/// make of it.
const MEMORY: u64 = 256 * 1024 * 1024;

/// The largest manifest there is by default.
const MANIFEST: usize = 4 * 1024 * 1024;

/// Clients that together announce far more than the process may take.
const CLIENTS: usize = 100;

/// So many answers while the others send nothing more mean that they stand still.
const STILL: usize = 500;

/// A server and the clients that have each sent half a manifest to it.
struct Crowd {
    _home: TempDir,
    served: Served,
    waiting: JoinSet<Option<u16>>,
}

impl Crowd {
    /// Returns when every client has sent all but the last byte, was sent away, or gets no further.
    async fn gather() -> Self {
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
        let sent = Arc::new(AtomicUsize::new(0));
        let half = Arc::new(vec![b' '; MANIFEST - 1]);
        let mut waiting = JoinSet::new();
        for number in 0..CLIENTS {
            let (address, sent, half) = (served.address, sent.clone(), half.clone());
            waiting.spawn(async move {
                let mut connection = RawConnection::open(address).await;
                let head = format!(
                    "PUT /v2/team/app/manifests/half{number} HTTP/1.1\r\nHost: registry\r\n\
                     Content-Length: {MANIFEST}\r\n\r\n"
                );
                connection.send(head).await;
                connection.send_patiently(&half, &sent).await
            });
        }
        let client = served.client();
        let (mut still, mut before) = (0, 0);
        client
            .until("the clients stand still", || {
                let now = sent.load(Ordering::SeqCst);
                let stands = now == before && now > 0;
                still = if stands { still + 1 } else { 0 };
                before = now;
                still >= STILL
            })
            .await;
        Self {
            _home: home,
            served,
            waiting,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_half_sent_manifests_do_not_fill_memory() {
    let mut crowd = Crowd::gather().await;
    let memory = crowd.served.memory("VmHWM");
    assert!(memory < MEMORY, "takes {} MiB", memory >> 20);
    while let Some(ended) = crowd.waiting.try_join_next() {
        let status = ended.unwrap();
        assert!([None, Some(503)].contains(&status), "{status:?}");
    }

    crowd.waiting.shutdown().await;
    let client = crowd.served.client();
    let large = "x".repeat(MANIFEST - 64 * 1024);
    let image = Recipe::image("large").annotation("large", &large).build();
    for blob in &image.blobs {
        client.push_blob("team/large", &blob.bytes).await;
    }
    let started = Instant::now();
    loop {
        let reply = client.push_manifest("team/large", "v1", image.top()).await;
        if reply.status == 201 {
            break;
        }
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(started.elapsed() < PATIENCE, "the room is never given back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_half_sent_manifests_do_not_stop_small_pushes() {
    let crowd = Crowd::gather().await;
    let client = crowd.served.client();
    for number in 0..10 {
        let image = Recipe::image(&format!("small {number}")).build();
        client.push("team/small", &image, &["v1"]).await;
        client.expect_pull("team/small", &image).await;
    }
}

/// Cancels an upload to which a client has sent half of a request that begins like `request`.
async fn expect_cancelled(request: impl FnOnce(&str) -> String) {
    let server = TestServer::start().await;
    let location = server.client().start_upload("team/app").await;
    let path = format!("/v2/{}", location.split_once("/v2/").unwrap().1);
    let mut stalled = RawConnection::open(server.address()).await;
    let head = request(&path);
    let head = format!("{head} HTTP/1.1\r\nHost: registry\r\nContent-Length: 100000\r\n\r\n");
    stalled.send(head).await;
    stalled.send(noise("half", 50_000)).await;
    let data = server.data();
    server
        .client()
        .until("the half arrives", || upload_sizes(&data) == [50_000])
        .await;

    let cancelled = async { server.client().delete(&location).await };
    let cancelled = timeout(Duration::from_secs(10), cancelled)
        .await
        .expect("a cancellation waits for no client");
    cancelled.expect_status(204);
    if let Some(reply) = stalled.response().await {
        assert!(reply.status >= 400, "{reply:?}");
    }
    server.client().get(&location).await.expect_status(404);
    assert!(upload_sizes(&data).is_empty());
}

#[tokio::test]
async fn an_upload_is_cancelled_at_once_while_the_client_of_a_patch_stalls() {
    expect_cancelled(|path| format!("PATCH {path}")).await;
}

#[tokio::test]
async fn an_upload_is_cancelled_at_once_while_the_client_of_the_last_put_stalls() {
    expect_cancelled(|path| {
        let separator = if path.contains('?') { '&' } else { '?' };
        let digest = digest_of(Algorithm::Sha256, b"never whole");
        format!("PUT {path}{separator}digest={digest}")
    })
    .await;
}
