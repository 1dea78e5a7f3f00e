//! Collecting beside everything else: pulls, pushes, a full disk, and servers that end half way.

use rusqlite::Connection;
use serde_json::json;

use crate::gc::{DAY, HOUR, at_once, collect, delete, is_stored, is_whole, quiet};
use crate::support::gate::PATIENCE;
use crate::support::images::{Algorithm, Blob, Content, OCI_LAYER, Recipe, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::small_disk::SmallDisk;
use crate::support::upstream::FakeUpstream;

const MIB: usize = 1024 * 1024;

/// Changes what a stopped server left in its database.
fn change(server: &TestServer, sql: &str) {
    let database = Connection::open(server.data().join("seawall.db")).unwrap();
    assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
}

/// Makes the end of a server that is stopped one that was not in order.
fn forget_the_end(server: &TestServer) {
    change(server, "UPDATE upkeep SET clean = 0");
}

#[tokio::test]
async fn pulls_and_pushes_go_on_while_it_collects() {
    let server = TestServer::builder()
        .config(|config| config["gc"] = json!({"enabled": false, "rate": 4}))
        .start()
        .await;
    let client = server.client();
    let kept = Recipe::image("kept").build();
    client.push("team/app", &kept, &["v1"]).await;
    for number in 0..12 {
        client
            .push_blob("team/app", &noise(&format!("loose {number}"), 300))
            .await;
    }
    server.clock().advance(DAY);
    let socket = server.socket();
    let reply = socket.post("/api/v1/gc/run").json(&json!({})).await;
    let id = reply.expect_status(202).json()["id"].as_i64().unwrap();
    let state = async || {
        let status = socket.get("/api/v1/gc").await.expect_status(200);
        status.json()["state"].as_str().unwrap().to_owned()
    };
    let started = std::time::Instant::now();
    while state().await != "running" {
        assert!(started.elapsed() < PATIENCE, "it never begins");
    }
    // Twelve files at four a second: all of this is done while it runs.
    let pushed = Recipe::image("pushed meanwhile").build();
    client.push("team/app", &pushed, &["v2"]).await;
    client.expect_pull("team/app", &kept).await;
    client.expect_pull("team/app", &pushed).await;
    delete(&server, "team/app", &kept).await;
    assert_eq!(state().await, "running");
    server.ended(id).await;
    assert_eq!(
        server.stored_blobs().len(),
        kept.blobs.len() + pushed.blobs.len() + 2
    );
    client.expect_pull("team/app", &pushed).await;
}

#[tokio::test]
async fn what_is_being_read_waits_and_nothing_else_does() {
    let server = quiet().await;
    let client = server.client();
    let large = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("read", 8 * MIB));
    client.push_blob("team/app", &large.bytes).await;
    let small = client.push_blob("team/app", &noise("small", 100)).await;
    server.clock().advance(DAY);
    let path = format!("/v2/team/app/blobs/{}", large.digest);
    let mut reading = client.get(&path).begin().await;
    let first = reading.read_at_least(1).await;
    let kept = at_once(&server).await;
    assert_eq!((&kept["blobs"], &kept["kept"]), (&json!(1), &json!(1)));
    assert!(!is_stored(&server, &small) && is_stored(&server, &large.digest));
    let rest = reading.rest().await.expect("the reader gets all of it");
    assert!([first, rest].concat() == large.bytes);
    let started = std::time::Instant::now();
    while at_once(&server).await["blobs"] == 0 {
        assert!(started.elapsed() < PATIENCE, "it never goes");
    }
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn on_a_full_disk_deleting_and_collecting_make_room() {
    let home = tempfile::tempdir().unwrap();
    let settings = "gc: {lease: 1ms, enabled: false}";
    let Some(served) = SmallDisk::start(home.path(), settings).await else {
        return;
    };
    let client = served.client();
    let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("large", 6 * MIB));
    let goes = Recipe::image("goes").on(&layer).build();
    let stays = Recipe::image("stays").build();
    client.push("team/app", &goes, &["v1"]).await;
    client.push("team/app", &stays, &["v2"]).await;
    served.fill();
    assert_eq!(served.free(), 0);
    let path = format!("/v2/team/app/manifests/{}", goes.top().digest);
    client.delete(&path).await.expect_status(202);
    // Others take what the deletion left of the reserve.
    served.fill();
    assert_eq!(served.free(), 0);
    let socket = served.socket();
    let asked = json!({"grace": "0s"});
    let reply = socket.post("/api/v1/gc/run").json(&asked).await;
    let job = reply.expect_status(202).location();
    let started = std::time::Instant::now();
    let progress = loop {
        let job = socket.get(&job).await.expect_status(200).json();
        if job["state"] == "done" {
            break job["progress"].clone();
        }
        assert!(started.elapsed() < PATIENCE, "it never ends: {job}");
    };
    assert_eq!(progress["blobs"], goes.blobs.len() + 1, "{progress}");
    let freed = progress["bytesfreed"].as_u64().unwrap();
    assert!(freed > 6 * MIB as u64, "{progress}");
    // Some of it is the reserve again.
    assert!(served.free() > MIB as u64, "{}", served.free());
    client.expect_pull("team/app", &stays).await;
    let next = Recipe::image("next").build();
    client.push("team/app", &next, &["v3"]).await;
    client.expect_pull("team/app", &next).await;
}

#[tokio::test]
async fn on_a_low_disk_it_runs_by_itself_with_a_short_grace() {
    let home = tempfile::tempdir().unwrap();
    let settings =
        "gc: {lease: 1ms, grace: 24h, lowspacegrace: 1ms, interval: 24h}\ncache: {minfree: 50%}";
    let Some(served) = SmallDisk::start(home.path(), settings).await else {
        return;
    };
    let client = served.client();
    let loose = noise("loose", 3 * MIB);
    client.push_blob("team/app", &loose).await;
    // Of 24 MiB, 8 are the reserve: with these less than half is free.
    let image = Recipe::image("stays")
        .on(&Blob::new(
            Algorithm::Sha256,
            OCI_LAYER,
            noise("base", 4 * MIB),
        ))
        .build();
    client.push("team/app", &image, &["v1"]).await;
    let full = served.free();
    client
        .until("it makes room", || served.free() > full + 2 * MIB as u64)
        .await;
    client.expect_pull("team/app", &image).await;
}

#[tokio::test]
async fn after_an_end_that_was_not_in_order_local_content_is_held_back_for_one_lease() {
    let upstream = FakeUpstream::start().await;
    let mut server = TestServer::builder()
        .mirror_of(&upstream)
        .config(|config| config["gc"] = json!({"enabled": false}))
        .start()
        .await;
    let mirrored = Recipe::image("mirrored").build();
    upstream.hold("team/app", &mirrored, &["v1"]);
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &mirrored).await;
    let local = Recipe::image("local").build();
    server.client().push("local/app", &local, &["v1"]).await;
    delete(&server, "local/app", &local).await;
    server.clock().advance(DAY);
    server.stop().await;
    forget_the_end(&server);
    server.start_again().await;
    let held = at_once(&server).await;
    assert_eq!(held["blobs"], 0, "{held}");
    let status = server.socket().get("/api/v1/gc").await.expect_status(200);
    assert_eq!(status.json()["helduntil"], held["helduntil"]);
    assert!(held["helduntil"].is_i64(), "{held}");
    let evicted = server.evict_down_to(0).await;
    assert_eq!(evicted.manifests, 1, "what was only mirrored goes");
    assert!(is_whole(&server, &local) && !is_stored(&server, &mirrored.blobs[0].digest));
    server.clock().advance(HOUR);
    let gone = at_once(&server).await;
    assert_eq!(gone["blobs"], local.blobs.len() + 1, "{gone}");
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn after_an_end_in_order_everything_goes_at_once() {
    let mut server = quiet().await;
    let blob = noise("loose", 222);
    server.client().push_blob("team/app", &blob).await;
    server.clock().advance(HOUR);
    server.restart().await;
    let gone = at_once(&server).await;
    assert_eq!(gone["blobs"], 1, "candidates outlast a restart: {gone}");
}

#[tokio::test]
async fn what_a_stop_half_way_left_is_finished() {
    let mut server = quiet().await;
    let image = Recipe::image("half way").build();
    let client = server.client();
    client.push("team/app", &image, &["v1"]).await;
    let loose = client.push_blob("team/app", &noise("loose", 222)).await;
    delete(&server, "team/app", &image).await;
    server.clock().advance(DAY);
    server.stop().await;
    // Claimed, and stopped before the file was deleted; and a manifest deleted whose layers were not reviewed yet.
    change(
        &server,
        "DELETE FROM gc_candidates WHERE digest = (SELECT digest FROM blobs WHERE size = 222)",
    );
    change(
        &server,
        "DELETE FROM repository_blobs WHERE digest = (SELECT digest FROM blobs WHERE size = 222)",
    );
    change(&server, "UPDATE blobs SET state = 2 WHERE size = 222");
    server.start_again().await;
    let client = server.client();
    client
        .until("the start finishes it", || !is_stored(&server, &loose))
        .await;
    let gone = at_once(&server).await;
    assert_eq!(gone["blobs"], image.blobs.len() + 1, "{gone}");
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn a_collection_that_a_stop_broke_off_is_gone_on_with() {
    let mut server = TestServer::builder()
        .config(|config| config["gc"] = json!({"enabled": false, "rate": 3}))
        .start()
        .await;
    let client = server.client();
    for number in 0..9 {
        client
            .push_blob("team/app", &noise(&format!("loose {number}"), 300))
            .await;
    }
    server.clock().advance(DAY);
    let asked = json!({"grace": "0s"});
    let reply = server.socket().post("/api/v1/gc/run").json(&asked).await;
    let id = reply.expect_status(202).json()["id"].as_i64().unwrap();
    client
        .until("it has begun", || server.stored_blobs().len() < 9)
        .await;
    server
        .restart_with(|config| config["gc"]["rate"] = json!(0))
        .await;
    server.ended(id).await;
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn what_is_freed_is_counted() {
    let server = quiet().await;
    let image: Content = Recipe::image("counted").build();
    server.client().push("team/app", &image, &["v1"]).await;
    delete(&server, "team/app", &image).await;
    server.clock().advance(DAY);
    let gone = collect(&server, &json!({})).await;
    let metrics = server.socket().get("/metrics").await.expect_status(200);
    let text = metrics.text();
    let bytes = format!("seawall_gc_reclaimed_bytes_total {}", gone["bytesfreed"]);
    for line in [
        bytes.as_str(),
        "seawall_gc_reclaimed_blobs_total 5",
        "seawall_gc_candidates{kind=\"blob\"} 0",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
