//! A mirror without room: what cannot be kept is passed through, to each reader from where it is, and as
//! well verified as anything else.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::gate::{Gate, PATIENCE};
use crate::support::images::{ALGORITHMS, Algorithm, Blob, Content, OCI_LAYER, Recipe, noise};
use crate::support::small_disk::SmallDisk;
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind, Seen};

const MIB: usize = 1024 * 1024;

/// More than the disk has.
const LARGE: usize = 40 * MIB;

/// What fits while nobody else fills the disk.
const FITTING: usize = 10 * MIB;

/// Where upstreams stand still until the disk is full.
const HALF: usize = 6 * MIB;

struct World {
    upstream: FakeUpstream,
    served: SmallDisk,
    _home: TempDir,
}

impl World {
    /// Starts a mirror on a small disk; none where this user may not mount one.
    async fn start() -> Option<Self> {
        Self::with("{}").await
    }

    /// The same with `limits` (YAML) of the mirror.
    async fn with(limits: &str) -> Option<Self> {
        let upstream = FakeUpstream::start().await;
        let home = tempfile::tempdir().unwrap();
        let mirror = format!(
            "mirrors: [{{name: up.example, endpoints: ['{}'], limits: {limits}}}]",
            upstream.url()
        );
        let served = SmallDisk::start(home.path(), &mirror).await?;
        Some(Self {
            upstream,
            served,
            _home: home,
        })
    }

    /// Adds a blob to the upstream; returns it and its path here.
    fn hold(&self, algorithm: Algorithm, seed: &str, size: usize) -> (Blob, String) {
        let blob = Blob::new(algorithm, OCI_LAYER, noise(seed, size));
        let content = Content {
            blobs: vec![blob.clone()],
            manifests: Vec::new(),
        };
        self.upstream.hold("team/app", &content, &[]);
        let path = format!("/v2/up.example/team/app/blobs/{}", blob.digest);
        (blob, path)
    }

    fn seen(&self) -> Vec<Seen> {
        self.upstream.seen(Kind::BlobGet)
    }

    /// Pulls until the blob is kept, which takes a moment after the disk was full, but no restart.
    async fn expect_kept_in_the_end(&self, blob: &Blob, path: &str) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let reply = self.served.client().get(path).await.expect_status(200);
            assert!(reply.body == blob.bytes);
            if reply.need("seawall-cache") == "hit" {
                return;
            }
        }
        panic!("room that comes back is not used");
    }

    /// Has `reading` pull a blob that fits until the disk is full in the middle of it.
    async fn fill_during<T>(&self, reading: impl Future<Output = T>) -> T {
        let gate = Gate::closed();
        let stall = Fault::StallAt(HALF, gate.clone());
        self.upstream.next(Kind::BlobGet, stall);
        let fill = async {
            gate.reached().await;
            self.served.fill();
            gate.open();
        };
        tokio::join!(reading, fill).0
    }

    async fn expect_nothing_left(&self) {
        let client = self.served.client();
        let is_dropped = || self.served.upload_bytes() == 0;
        client.until("what was filled is dropped", is_dropped).await;
    }
}

/// Returns the first byte that was asked for.
fn start_of(seen: &Seen) -> usize {
    let range = seen.range.as_deref().unwrap_or("bytes=0-");
    let start = range.strip_prefix("bytes=").unwrap().split('-').next();
    start.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_blob_larger_than_the_disk_comes_whole_and_nothing_of_it_stays() {
    let Some(world) = World::start().await else {
        return;
    };
    for algorithm in ALGORITHMS {
        let before = world.seen().len();
        let (blob, path) = world.hold(algorithm, "large", LARGE);
        let reply = world.served.client().get(&path).await.expect_status(200);
        assert!(reply.body == blob.bytes);
        assert_eq!(reply.need("content-length"), LARGE.to_string());
        assert_eq!(reply.need("docker-content-digest"), blob.digest);
        assert_eq!(reply.need("seawall-cache"), "miss");
        world.expect_nothing_left().await;
        let seen = &world.seen()[before..];
        assert_eq!(seen.len(), 1, "{seen:?}");
        // What fits is kept all the same.
        let (small, path) = world.hold(algorithm, "small", MIB);
        world.expect_kept_in_the_end(&small, &path).await;
    }
    let screen = world.served.screen();
    let told = screen.matches("disk full: passing blobs through").count();
    assert_eq!(told, 1, "{screen}");
    let metrics = world.served.socket().get("/metrics").await.text();
    let counted = r#"seawall_mirror_passthrough_total{upstream="up.example"} "#;
    let counted = metrics.lines().find_map(|line| line.strip_prefix(counted));
    let counted: usize = counted.unwrap_or("0").parse().unwrap();
    assert!(counted >= ALGORITHMS.len(), "{counted}");
}

#[tokio::test]
async fn when_the_disk_fills_up_each_reader_goes_on_from_where_it_is() {
    let Some(world) = World::start().await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "shared", FITTING);
    let gate = Gate::closed();
    let stall = Fault::StallAt(HALF, gate.clone());
    world.upstream.next(Kind::BlobGet, stall);
    let begun = (0..4).map(|index| {
        let (client, path) = (world.served.client(), &path);
        async move {
            let mut arriving = client.get(path).begin().await;
            assert_eq!(arriving.status, 200);
            let first = arriving.read_at_least(1 + index * MIB).await;
            (first, arriving)
        }
    });
    let begun = join_all(begun).await;
    gate.reached().await;
    world.served.fill();
    gate.open();
    let ended = join_all(begun.into_iter().map(|(mut first, arriving)| async {
        let rest = arriving.rest().await.map_err(|some| some.len());
        first.extend(rest.expect("the body is whole"));
        first
    }));
    for bytes in ended.await {
        assert!(bytes == blob.bytes);
    }
    let seen = world.seen();
    assert_eq!(seen.len(), 1 + 4, "{seen:?}");
    assert!(seen[1..].iter().all(|seen| start_of(seen) > 0), "{seen:?}");
    world.expect_nothing_left().await;
    world.served.make_room();
    world.expect_kept_in_the_end(&blob, &path).await;
}

/// Pulls what must not come whole; returns what came of it.
async fn pull_lie(world: &World, path: &str) -> Vec<u8> {
    let arriving = world.served.client().get(path).begin().await;
    assert_eq!(arriving.status, 200);
    arriving.rest().await.expect_err("a lie is never completed")
}

#[tokio::test]
async fn wrong_bytes_break_the_body_also_where_nothing_is_kept() {
    let Some(world) = World::start().await else {
        return;
    };
    // At the beginning, which was read before the disk was full, and at the end, which was not.
    for at in [10, FITTING - 1] {
        let (mut blob, path) = world.hold(Algorithm::Sha256, &format!("at {at}"), FITTING);
        let mut flipped = blob.bytes.to_vec();
        flipped[at] ^= 1;
        blob.bytes = flipped.into();
        let lies = Content {
            blobs: vec![blob],
            manifests: Vec::new(),
        };
        world.upstream.hold("team/app", &lies, &[]);
        let got = world.fill_during(pull_lie(&world, &path)).await;
        assert!(got.len() > HALF, "{} bytes at {at}", got.len());
        world.expect_nothing_left().await;
        world.served.make_room();
    }
    // The same, where there was no room from the start.
    world.served.fill();
    let (small, path) = world.hold(Algorithm::Sha256, "small truth", 100_000);
    let mut flipped = small.bytes.to_vec();
    flipped[10] ^= 1;
    let lie = Fault::Bytes(flipped.into());
    world.upstream.always(Kind::BlobGet, lie);
    let refused = world.served.client().get(&path).await;
    refused.expect_error(502, "UNAVAILABLE");
    world.upstream.heal();
    let reply = world.served.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, small.bytes);
}

#[tokio::test]
async fn an_upstream_without_ranges_and_one_that_breaks_are_passed_through() {
    let Some(world) = World::start().await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "no ranges", FITTING);
    world.upstream.always(Kind::BlobGet, Fault::IgnoreRange);
    let pull = async { world.served.client().get(&path).await };
    let reply = world.fill_during(pull).await.expect_status(200);
    assert!(reply.body == blob.bytes);
    assert_eq!(world.seen().len(), 2);
    world.upstream.heal();
    let (blob, path) = world.hold(Algorithm::Sha256, "breaks", LARGE);
    for at in [30 * MIB, 4 * MIB, MIB] {
        let cut = Fault::CutAt(at);
        world.upstream.next(Kind::BlobGet, cut);
    }
    let reply = world.served.client().get(&path).await.expect_status(200);
    assert!(reply.body == blob.bytes);
    assert_eq!(world.seen().len(), 2 + 4);
    world.expect_nothing_left().await;
}

#[tokio::test]
async fn a_disk_full_from_the_start_costs_each_reader_one_request() {
    let Some(world) = World::start().await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "from the start", 3 * MIB);
    world.served.fill();
    for round in 1..4 {
        let reply = world.served.client().get(&path).await.expect_status(200);
        assert!(reply.body == blob.bytes);
        assert_eq!(reply.need("seawall-cache"), "miss");
        assert_eq!(world.seen().len(), round);
    }
    let client = world.served.client();
    let readers = (0..8).map(|_| async { client.get(&path).await.expect_status(200).body });
    for body in join_all(readers).await {
        assert!(body == blob.bytes);
    }
    assert!(world.seen().len() <= 3 + 8);
    let part = client.get(&path).header("range", "bytes=2000000-2000099");
    let part = part.await.expect_status(206);
    assert_eq!(part.body, blob.bytes.slice(2_000_000..2_000_100));
    let beyond = client.get(&path).header("range", "bytes=9999999-").await;
    beyond.expect_error(416, "RANGE_INVALID");
    world.served.make_room();
    world.expect_kept_in_the_end(&blob, &path).await;
}

#[tokio::test]
async fn an_image_nobody_has_pulled_comes_through_a_full_disk() {
    let Some(world) = World::start().await else {
        return;
    };
    world.served.fill();
    for algorithm in ALGORITHMS {
        let image = Recipe::image("through").algorithm(algorithm).build();
        world.upstream.hold("team/app", &image, &["v1"]);
        let client = world.served.client();
        for _ in 0..2 {
            let tag = client.get("/v2/up.example/team/app/manifests/v1").await;
            assert_eq!(tag.expect_status(200).body, image.top().bytes);
            client.expect_pull("up.example/team/app", &image).await;
        }
    }
}

#[tokio::test]
async fn readers_past_the_limit_are_told_to_come_back_when_nothing_is_kept() {
    let Some(world) = World::with("{connections: 3}").await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "too many", LARGE);
    let gate = Gate::closed();
    let client = world.served.client();
    let mut begun = Vec::new();
    for _ in 0..2 {
        let stall = Fault::StallAt(MIB, gate.clone());
        world.upstream.next(Kind::BlobGet, stall);
        let arriving = client.get(&path).begin().await;
        assert_eq!(arriving.status, 200);
        begun.push(arriving);
    }
    let refused = client.get(&path).await;
    let refused = refused.expect_error(503, "UNAVAILABLE");
    assert!(refused.need("retry-after").parse::<u64>().is_ok());
    gate.open();
    for arriving in begun {
        let bytes = arriving.rest().await;
        assert!(bytes.is_ok_and(|bytes| bytes == blob.bytes));
    }
    let reply = client.get(&path).await.expect_status(200);
    assert!(reply.body == blob.bytes);
}

#[tokio::test]
async fn readers_past_the_limit_are_broken_off_when_the_disk_fills_up_in_the_middle() {
    let Some(world) = World::with("{connections: 3}").await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "in the middle", FITTING);
    let (first, second) = (Gate::closed(), Gate::closed());
    let stall = Fault::StallAt(HALF, first.clone());
    world.upstream.next(Kind::BlobGet, stall);
    for _ in 0..2 {
        let stall = Fault::StallAt(MIB, second.clone());
        world.upstream.next(Kind::BlobGet, stall);
    }
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (client, path) = (world.served.client(), path.clone());
        let mut arriving = client.get(&path).begin().await;
        let before = arriving.read_at_least(1).await;
        readers.spawn(async move {
            let rest = arriving.rest().await;
            rest.map(|rest| [before, rest].concat())
        });
    }
    first.reached().await;
    world.served.fill();
    first.open();
    for _ in 0..2 {
        let outcome = readers.join_next().await.unwrap().unwrap();
        assert!(outcome.is_err(), "one connection of three is kept for tags");
    }
    second.open();
    for _ in 0..2 {
        let outcome = readers.join_next().await.unwrap().unwrap();
        assert!(outcome.is_ok_and(|bytes| bytes == blob.bytes));
    }
}

#[tokio::test]
async fn a_range_needs_no_more_than_one_connection_when_nothing_is_kept() {
    for limits in ["{connections: 1}", "{connections: 2}"] {
        let Some(world) = World::with(limits).await else {
            return;
        };
        let (blob, path) = world.hold(Algorithm::Sha256, "one connection", 3 * MIB);
        world.served.fill();
        for _ in 0..2 {
            let call = world.served.client().get(&path);
            let part = call.header("range", "bytes=2000000-2000099").await;
            let part = part.expect_status(206);
            assert_eq!(part.body, blob.bytes.slice(2_000_000..2_000_100));
        }
        let whole = world.served.client().get(&path).await.expect_status(200);
        assert!(whole.body == blob.bytes);
    }
}

#[tokio::test]
async fn a_blob_that_the_upstream_loses_before_a_part_of_it_comes_is_an_unknown_blob() {
    let Some(world) = World::start().await else {
        return;
    };
    let (_, path) = world.hold(Algorithm::Sha256, "lost", 3 * MIB);
    world.served.fill();
    world.upstream.next(Kind::BlobGet, Fault::IgnoreRange);
    world.upstream.next(Kind::BlobGet, Fault::status(404));
    let call = world.served.client().get(&path);
    let lost = call.header("range", "bytes=2000000-2000099").await;
    lost.expect_error(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_purge_makes_room_on_a_full_disk() {
    let Some(world) = World::start().await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "purged", FITTING);
    world.expect_kept_in_the_end(&blob, &path).await;
    world.served.fill();
    let admin = world.served.socket();
    // The log of the database may still have room for a few rows; for all of these it has none.
    for round in 0..200 {
        let pattern = format!("none.example/{round}/{}", "x".repeat(400));
        let queued = admin.post("/api/v1/mirrors/purge");
        let queued = queued.json(&json!({"pattern": pattern})).await;
        queued.expect_status(202);
    }
    let purge = admin.post("/api/v1/mirrors/purge");
    let purge = purge.json(&json!({"pattern": "up.example/**"})).await;
    let job = purge.expect_status(202).location();
    let started = Instant::now();
    let ended = loop {
        let shown = admin.get(&job).await.expect_status(200).json();
        if shown["state"] != "queued" && shown["state"] != "running" {
            break shown;
        }
        assert!(started.elapsed() < PATIENCE, "{shown}");
    };
    assert_eq!(ended["state"], "done", "{ended}");
    let freed = ended["progress"]["bytesfreed"].as_u64().unwrap();
    assert_eq!(freed, FITTING as u64);
    assert!(world.served.free() > 0);
    let (small, path) = world.hold(Algorithm::Sha256, "after", 100_000);
    let reply = world.served.client().get(&path).await.expect_status(200);
    assert!(reply.body == small.bytes);
}

#[tokio::test]
async fn what_is_mirrored_gives_way_to_a_push() {
    let Some(world) = World::start().await else {
        return;
    };
    let (blob, path) = world.hold(Algorithm::Sha256, "gives way", FITTING);
    world.expect_kept_in_the_end(&blob, &path).await;
    let pushed = noise("pushed", FITTING - MIB);
    assert!(world.served.free() < FITTING as u64, "not both fit");
    let client = world.served.client();
    let digest = client.push_blob("own/app", &pushed).await;
    let own = format!("/v2/own/app/blobs/{digest}");
    let reply = client.get(&own).await.expect_status(200);
    assert!(reply.body == pushed);
    let again = client.get(&path).await.expect_status(200);
    assert!(again.body == blob.bytes);
}
