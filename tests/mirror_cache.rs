//! The bounded cache: what is mirrored stays within its bound, least recently pulled goes first, and nothing goes that is
//! pinned, local or in somebody's hands.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::gate::Gate;
use crate::support::images::{
    Algorithm, Blob, Content, OCI_LAYER, Recipe, SIGNATURE, index, noise,
};
use crate::support::server::{Builder, TestServer, UPSTREAM};
use crate::support::small_disk::SmallDisk;
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const MINUTE: Duration = Duration::from_secs(60);

fn bytes_of(content: &Content) -> u64 {
    let blobs = content.blobs.iter().map(|blob| blob.bytes.len());
    let manifests = content
        .manifests
        .iter()
        .map(|manifest| manifest.bytes.len());
    blobs.chain(manifests).sum::<usize>() as u64
}

/// Returns images made from these seeds, held by an upstream under tags of the same names.
async fn upstream_with(seeds: &[&str]) -> (FakeUpstream, Vec<Content>) {
    let upstream = FakeUpstream::start().await;
    let images: Vec<Content> = seeds
        .iter()
        .map(|seed| Recipe::image(seed).build())
        .collect();
    for (seed, image) in seeds.iter().zip(&images) {
        upstream.hold("team/app", image, &[seed]);
    }
    (upstream, images)
}

fn mirror(upstream: &FakeUpstream, cache: serde_json::Value) -> Builder {
    TestServer::builder().mirror_of(upstream).config(|config| {
        for (key, value) in cache.as_object().expect("a section") {
            config["cache"][key] = value.clone();
        }
    })
}

/// Pulls as a client does: the tag, then what the manifest names.
async fn pull(server: &TestServer, tag: &str, image: &Content) {
    let name = format!("{UPSTREAM}/team/app");
    let path = format!("/v2/{name}/manifests/{tag}");
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes, "{tag}");
    server.client().expect_pull(&name, image).await;
}

/// Returns whether all of the image, or none of it, is stored.
fn is_stored(server: &TestServer, image: &Content) -> bool {
    let stored = server.stored_blobs();
    let manifests = image.manifests.iter().map(|manifest| &manifest.digest);
    let digests = image.blobs.iter().map(|blob| &blob.digest).chain(manifests);
    let here: Vec<bool> = digests.map(|digest| stored.contains_key(digest)).collect();
    let all = here.iter().all(|here| *here);
    assert!(all || !here.contains(&true), "only a part of it is stored");
    all
}

#[tokio::test]
async fn the_least_recently_pulled_goes_first() {
    let (upstream, images) = upstream_with(&["a", "b", "c"]).await;
    let server = mirror(&upstream, json!({})).start().await;
    for (tag, image) in ["a", "b", "c"].iter().zip(&images) {
        pull(&server, tag, image).await;
        server.clock().advance(MINUTE);
    }
    pull(&server, "a", &images[0]).await;
    let report = server.evict_down_to(bytes_of(&images[0]) * 2 + 100).await;
    assert_eq!((report.manifests, report.left_over_bound), (1, false));
    assert_eq!(report.bytes, bytes_of(&images[1]));
    let stored: Vec<bool> = images
        .iter()
        .map(|image| is_stored(&server, image))
        .collect();
    assert_eq!(stored, [true, false, true]);
    pull(&server, "b", &images[1]).await;
    assert!(is_stored(&server, &images[1]), "it comes back");
}

#[tokio::test]
async fn asking_whether_a_tag_exists_is_no_pull() {
    let (upstream, images) = upstream_with(&["a", "b"]).await;
    let server = mirror(&upstream, json!({})).start().await;
    for (tag, image) in ["a", "b"].iter().zip(&images) {
        pull(&server, tag, image).await;
        server.clock().advance(MINUTE);
    }
    let path = format!("/v2/{UPSTREAM}/team/app/manifests/a");
    server.client().head(&path).await.expect_status(200);
    server.evict_down_to(bytes_of(&images[1])).await;
    assert!(!is_stored(&server, &images[0]));
    assert!(is_stored(&server, &images[1]));
}

#[tokio::test]
async fn pull_times_survive_a_restart() {
    let (upstream, images) = upstream_with(&["a", "b"]).await;
    let mut server = mirror(&upstream, json!({})).start().await;
    for (tag, image) in ["a", "b"].iter().zip(&images) {
        pull(&server, tag, image).await;
        server.clock().advance(MINUTE);
    }
    pull(&server, "a", &images[0]).await;
    server.restart().await;
    server.evict_down_to(bytes_of(&images[0])).await;
    assert!(is_stored(&server, &images[0]));
    assert!(!is_stored(&server, &images[1]));
}

#[tokio::test]
async fn what_is_pinned_stays_with_its_children_and_referrers() {
    let upstream = FakeUpstream::start().await;
    let children = [
        Recipe::image("amd64").build(),
        Recipe::image("arm64").build(),
    ];
    let kept = index(Algorithm::Sha256, &children, &[]);
    let signature = Recipe::artifact("signature", SIGNATURE)
        .subject(kept.top())
        .build();
    let other = Recipe::image("other").build();
    upstream.hold("team/app", &kept, &["keep-1"]);
    upstream.hold("team/app", &signature, &[]);
    upstream.hold("team/app", &other, &["other"]);
    let pin = format!("{UPSTREAM}/team/*:keep*");
    let server = mirror(&upstream, json!({"pin": [pin]})).start().await;
    pull(&server, "keep-1", &kept).await;
    server
        .client()
        .expect_pull(&format!("{UPSTREAM}/team/app"), &signature)
        .await;
    pull(&server, "other", &other).await;
    let report = server.evict_down_to(0).await;
    assert_eq!((report.manifests, report.left_over_bound), (1, true));
    assert!(is_stored(&server, &kept) && is_stored(&server, &signature));
    assert!(!is_stored(&server, &other));
    upstream.die().await;
    pull(&server, "keep-1", &kept).await;
}

#[tokio::test]
async fn a_pin_names_the_mirror_also_where_names_are_plain() {
    let (upstream, images) = upstream_with(&["keep", "other"]).await;
    let server = TestServer::builder()
        .config(|config| {
            config["proxy"] = json!({"remoteurl": upstream.url()});
            config["cache"]["pin"] = json!(["127.0.0.1*/team/app:keep"]);
        })
        .start()
        .await;
    for image in &images {
        server.client().expect_pull("team/app", image).await;
    }
    let path = "/v2/team/app/manifests/keep";
    server.client().get(path).await.expect_status(200);
    server.evict_down_to(0).await;
    assert!(is_stored(&server, &images[0]) && !is_stored(&server, &images[1]));
}

#[tokio::test]
async fn a_local_repository_keeps_the_mirrored_blob_it_mounted() {
    let (upstream, images) = upstream_with(&["a"]).await;
    let server = mirror(&upstream, json!({})).start().await;
    pull(&server, "a", &images[0]).await;
    let layer = &images[0].blobs[1];
    let from = format!("{UPSTREAM}%2Fteam%2Fapp");
    let mount = format!(
        "/v2/local/app/blobs/uploads/?mount={}&from={from}",
        layer.digest
    );
    server.client().post(&mount).await.expect_status(201);
    server.evict_down_to(0).await;
    assert_eq!(
        server.stored_blobs().keys().collect::<Vec<_>>(),
        [&layer.digest]
    );
    let path = format!("/v2/local/app/blobs/{}", layer.digest);
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, layer.bytes);
}

#[tokio::test]
async fn a_lease_keeps_a_blob_until_it_ends() {
    let (upstream, images) = upstream_with(&["a"]).await;
    let server = mirror(&upstream, json!({})).start().await;
    pull(&server, "a", &images[0]).await;
    let layer = &images[0].blobs[1].digest;
    let from = format!("{UPSTREAM}%2Fteam%2Fapp");
    let mount = format!("/v2/local/app/blobs/uploads/?mount={layer}&from={from}");
    server.client().post(&mount).await.expect_status(201);
    let mounted = format!("/v2/local/app/blobs/{layer}");
    server.client().delete(&mounted).await.expect_status(202);
    let report = server.evict_down_to(0).await;
    assert!(report.left_over_bound);
    assert!(server.stored_blobs().contains_key(layer));
    server.clock().advance(MINUTE * 61);
    server.evict_down_to(0).await;
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn evicting_in_the_middle_of_a_fetch_leaves_it_whole() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("slow", 1 << 20));
    let image = Recipe::image("slow").on(&layer).build();
    upstream.hold("team/app", &image, &["slow"]);
    let server = mirror(&upstream, json!({})).start().await;
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(1 << 19, gate.clone()));
    let manifest = format!("/v2/{UPSTREAM}/team/app/manifests/slow");
    server.client().get(&manifest).await.expect_status(200);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let mut arriving = server.client().get(&path).begin().await;
    let mut read = arriving.read_at_least(1000).await;
    let report = server.evict_at_once().await;
    assert_eq!(report.manifests, 0, "its image is being pulled");
    gate.open();
    read.extend(arriving.rest().await.expect("the body is whole"));
    assert_eq!(read, layer.bytes);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_somebody_reads_is_evicted_only_afterwards() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("large", 32 << 20));
    let image = Recipe::image("large").on(&layer).build();
    upstream.hold("team/app", &image, &["large"]);
    let server = mirror(&upstream, json!({})).start().await;
    pull(&server, "large", &image).await;
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let mut reading = server.client().get(&path).begin().await;
    let mut read = reading.read_at_least(1000).await;
    assert_eq!(server.purge_at_once("**").await.manifests, 0);
    let report = server.evict_at_once().await;
    assert_eq!((report.manifests, report.left_over_bound), (0, true));
    read.extend(reading.rest().await.expect("the body is whole"));
    assert_eq!(read, layer.bytes);
    assert_eq!(server.evict_down_to(0).await.manifests, 1);
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn what_nobody_pulls_for_maxage_goes_although_there_is_room() {
    let (upstream, images) = upstream_with(&["a", "b"]).await;
    let server = mirror(&upstream, json!({"maxage": "1h"})).start().await;
    pull(&server, "a", &images[0]).await;
    pull(&server, "b", &images[1]).await;
    server.clock().advance(MINUTE * 59);
    pull(&server, "a", &images[0]).await;
    assert_eq!(server.evict_due().await.manifests, 0);
    server.clock().advance(MINUTE);
    assert_eq!(server.evict_due().await.manifests, 1);
    assert!(is_stored(&server, &images[0]) && !is_stored(&server, &images[1]));
}

#[tokio::test]
async fn a_ttl_counts_from_the_last_pull() {
    let (upstream, images) = upstream_with(&["a"]).await;
    let server = TestServer::builder()
        .config(|config| config["proxy"] = json!({"remoteurl": upstream.url(), "ttl": "24h"}))
        .start()
        .await;
    server.client().expect_pull("team/app", &images[0]).await;
    server.clock().advance(MINUTE * 60 * 23);
    server.client().expect_pull("team/app", &images[0]).await;
    server.clock().advance(MINUTE * 60 * 23);
    assert_eq!(server.evict_due().await.manifests, 0);
    server.clock().advance(MINUTE * 60);
    assert_eq!(server.evict_due().await.manifests, 1);
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn a_purge_takes_what_fits_with_its_children_and_keeps_what_has_another_tag() {
    let upstream = FakeUpstream::start().await;
    let children = [
        Recipe::image("amd64").build(),
        Recipe::image("arm64").build(),
    ];
    let gone = index(Algorithm::Sha256, &children, &[]);
    let signature = Recipe::artifact("signature", SIGNATURE)
        .subject(gone.top())
        .build();
    let kept = Recipe::image("kept").build();
    upstream.hold("team/app", &gone, &["1.25"]);
    upstream.hold("team/app", &signature, &[]);
    upstream.hold("team/app", &kept, &["1.26", "latest"]);
    let server = mirror(&upstream, json!({"pin": ["**"]})).start().await;
    pull(&server, "1.25", &gone).await;
    server
        .client()
        .expect_pull(&format!("{UPSTREAM}/team/app"), &signature)
        .await;
    pull(&server, "1.26", &kept).await;
    pull(&server, "latest", &kept).await;
    let report = server.purge(&format!("{UPSTREAM}/team/app:1.*")).await;
    assert_eq!((report.manifests, report.left_over_bound), (4, false));
    assert!(!is_stored(&server, &gone) && !is_stored(&server, &signature));
    assert!(is_stored(&server, &kept));
    upstream.die().await;
    let tag = |tag: &str| format!("/v2/{UPSTREAM}/team/app/manifests/{tag}");
    server.client().get(&tag("latest")).await.expect_status(200);
    let purged = server.client().get(&tag("1.26")).await;
    assert!(purged.status >= 500, "{}", purged.status);
    let report = server.purge(&format!("{UPSTREAM}/team/app:*")).await;
    assert_eq!(report.manifests, 1);
    assert!(server.stored_blobs().is_empty());
    assert_eq!(server.cache_bytes().await, 0);
}

#[tokio::test]
async fn a_purge_of_a_repository_takes_what_has_no_tag() {
    let (upstream, images) = upstream_with(&["a", "b"]).await;
    let server = mirror(&upstream, json!({})).start().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &images[0]).await;
    let path = format!("/v2/{name}/blobs/{}", images[1].blobs[1].digest);
    server.client().get(&path).await.expect_status(200);
    assert_eq!(
        server.purge(&format!("{name}:a")).await.blobs,
        0,
        "it has no tag here"
    );
    assert_eq!(server.purge("other.example/**").await.blobs, 0);
    let report = server.purge(&name).await;
    assert_eq!((report.manifests, report.blobs), (1, 6));
    assert!(server.stored_blobs().is_empty());
}

#[tokio::test]
async fn a_purge_knows_a_port_of_a_mirror_from_a_tag() {
    const NAME: &str = "registry.example:5000";
    let (upstream, images) = upstream_with(&["a"]).await;
    let mirror = json!({"name": NAME, "endpoints": [upstream.url()]});
    let server = TestServer::builder().mirror(mirror).start().await;
    let name = format!("{NAME}/team/app");
    for pattern in [name.clone(), format!("{name}:*"), format!("{NAME}/**")] {
        // By digest, so that it has no tag here.
        server.client().expect_pull(&name, &images[0]).await;
        let other = server.purge(&format!("{name}:b*")).await;
        assert_eq!(other.manifests, 0);
        assert_eq!(server.purge(&pattern).await.manifests, 1, "{pattern}");
        assert!(server.stored_blobs().is_empty(), "{pattern}");
    }
}

#[tokio::test]
async fn a_repository_of_which_all_was_evicted_still_gets_its_blobs_from_upstream() {
    let (upstream, images) = upstream_with(&["a"]).await;
    let server = mirror(&upstream, json!({})).start().await;
    let manifest = format!("/v2/team/app/manifests/{}", images[0].top().digest);
    server.client().get(&manifest).await.expect_status(200);
    server.evict_down_to(0).await;
    assert!(server.stored_blobs().is_empty());
    for blob in &images[0].blobs {
        let path = format!("/v2/team/app/blobs/{}", blob.digest);
        let reply = server.client().get(&path).await.expect_status(200);
        assert_eq!(reply.body, blob.bytes);
    }
}

/// Thirty images in groups of five that share a base.
fn thirty_images() -> Vec<Content> {
    let image = |number: usize| {
        let base = noise(&format!("base {}", number / 5), 1500);
        let base = Blob::new(Algorithm::Sha256, OCI_LAYER, base);
        Recipe::image(&format!("image {number}")).on(&base).build()
    };
    (0..30).map(image).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bound_holds_while_eight_clients_pull_three_times_what_fits() {
    let upstream = FakeUpstream::start().await;
    let images = thirty_images();
    for (number, image) in images.iter().enumerate() {
        upstream.hold("team/app", image, &[&format!("v{number}")]);
    }
    let most = 10 * bytes_of(&images[0]);
    let pin = format!("{UPSTREAM}/team/app:v7");
    let server = mirror(&upstream, json!({"maxsize": most, "pin": [pin]}))
        .start()
        .await;
    let local = Recipe::image("local").on(&images[0].blobs[1]).build();
    server.client().push("local/app", &local, &["v1"]).await;
    pull(&server, "v7", &images[7]).await;
    join_all((0..8).map(|client| {
        let (server, images) = (&server, &images);
        async move {
            for turn in 0..15 {
                let number = (turn * (2 * client + 1) + client) % 30;
                pull(server, &format!("v{number}"), &images[number]).await;
                server.clock().advance(Duration::from_millis(1));
                let held = server.cache_bytes().await;
                assert!(held <= most, "{held} of {most}");
            }
        }
    }))
    .await;
    server.evict_due().await;
    let stored = server.stored_blobs();
    let locals: u64 = local.blobs.iter().map(|blob| blob.bytes.len() as u64).sum();
    let mirrored = stored.values().sum::<u64>() - locals - local.top().bytes.len() as u64;
    assert!(mirrored <= most, "{mirrored} of {most}");
    assert_eq!(
        server.cache_bytes().await,
        mirrored,
        "it counts what the disk has"
    );
    assert!(
        mirrored > most / 2,
        "it is not emptied either: {mirrored} of {most}"
    );
    // Nothing that was to be kept is lost, and what is kept can be read without its upstream.
    upstream.die().await;
    server.client().expect_pull("local/app", &local).await;
    pull(&server, "v7", &images[7]).await;
    let kept = |image: &&Content| stored.contains_key(&image.top().digest);
    let kept: Vec<&Content> = images.iter().filter(kept).collect();
    assert!(kept.len() > 3, "{} images are kept", kept.len());
    for image in kept {
        let name = format!("/v2/{UPSTREAM}/team/app");
        let manifest = format!("{name}/manifests/{}", image.top().digest);
        let reply = server.client().get(&manifest).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes);
        let here = |blob: &&Blob| stored.contains_key(&blob.digest);
        for blob in image.blobs.iter().filter(here) {
            let path = format!("{name}/blobs/{}", blob.digest);
            let reply = server.client().get(&path).await.expect_status(200);
            assert_eq!(reply.body, blob.bytes);
        }
    }
}

#[tokio::test]
async fn a_disk_with_too_little_room_keeps_what_was_pulled_last() {
    const MIB: usize = 1 << 20;
    let home = tempfile::tempdir().unwrap();
    let upstream = FakeUpstream::start().await;
    let images: Vec<Content> = (0..12)
        .map(|number| {
            let layer = noise(&format!("layer {number}"), MIB);
            let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, layer);
            Recipe::image(&format!("image {number}")).on(&layer).build()
        })
        .collect();
    for (number, image) in images.iter().enumerate() {
        upstream.hold("team/app", image, &[&format!("v{number}")]);
    }
    let settings = format!(
        "mirrors: [{{name: {UPSTREAM}, endpoints: ['{}']}}]\ncache: {{minfree: 9MiB}}",
        upstream.url()
    );
    let Some(disk) = SmallDisk::start(home.path(), &settings).await else {
        return;
    };
    let client = disk.client();
    for image in &images {
        client
            .expect_pull(&format!("{UPSTREAM}/team/app"), image)
            .await;
        let free = disk.free();
        assert!(free >= 8 * MIB as u64, "{free} bytes are left");
    }
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    client.expect_pull(&name, images.last().unwrap()).await;
    let first = format!("/v2/{name}/blobs/{}", images[0].blobs[1].digest);
    assert!(client.get(&first).await.status >= 500, "it made room");
}
