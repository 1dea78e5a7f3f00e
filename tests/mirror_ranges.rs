//! Ranges of a blob that is still arriving: lazy-pulling clients ask for the end first and do not wait for
//! what lies before it, whether somebody else pulls the blob or nobody did.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::support::client::Call;
use crate::support::gate::Gate;
use crate::support::images::{Algorithm, Blob, Content, OCI_LAYER, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const MIB: usize = 1024 * 1024;
const SIZE: usize = 12 * MIB;

/// A mirror of an upstream that holds one blob of [`SIZE`] and stands still in the middle of its first answer.
struct Stalled {
    upstream: FakeUpstream,
    server: TestServer,
    blob: Blob,
    path: String,
    /// Opens the first answer.
    gate: Gate,
}

impl Stalled {
    async fn at(bytes: usize) -> Self {
        let upstream = FakeUpstream::start().await;
        let blob = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("lazy", SIZE));
        let content = Content {
            blobs: vec![blob.clone()],
            manifests: Vec::new(),
        };
        upstream.hold("team/app", &content, &[]);
        let server = TestServer::builder().mirror_of(&upstream).start().await;
        let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", blob.digest);
        let gate = Gate::closed();
        upstream.next(Kind::BlobGet, Fault::StallAt(bytes, gate.clone()));
        Self {
            upstream,
            server,
            blob,
            path,
            gate,
        }
    }

    fn ask(&self, range: &Range<usize>) -> Call {
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        self.server.client().get(&self.path).header("range", &range)
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.blob.bytes.slice(range)
    }

    /// Lets the rest arrive and checks that it is the blob.
    async fn finish(&self) {
        self.gate.open();
        let whole = self.server.client().get(&self.path).await;
        assert_eq!(whole.expect_status(200).body, self.blob.bytes);
    }
}

#[tokio::test]
async fn the_end_of_a_blob_nobody_has_asked_for_comes_before_its_beginning() {
    let world = Stalled::at(100_000).await;
    let call = world.server.client().get(&world.path);
    let reply = call.header("range", "bytes=-70000").await;
    let reply = reply.expect_status(206);
    let range = SIZE - 70_000..SIZE;
    assert_eq!(reply.body, world.bytes(range.clone()));
    let told = format!("bytes {}-{}/{SIZE}", range.start, range.end - 1);
    assert_eq!(reply.need("content-range"), told);
    assert_eq!(reply.need("seawall-cache"), "miss");
    let seen = world.upstream.seen(Kind::BlobGet);
    let asked: Vec<_> = seen.iter().map(|seen| seen.range.as_deref()).collect();
    let ahead = format!("bytes={}-{}", range.start, range.end - 1);
    assert_eq!(asked, [None, Some(ahead.as_str())]);
    world.finish().await;
    assert_eq!(world.upstream.count(Kind::BlobGet), 2);
}

#[tokio::test]
async fn a_range_that_has_arrived_asks_the_upstream_for_nothing() {
    let world = Stalled::at(3 * MIB).await;
    let mut leader = world.server.client().get(&world.path).begin().await;
    let mut bytes = leader.read_at_least(2 * MIB).await;
    let range = MIB + 10..MIB + 20_000;
    let reply = world.ask(&range).await.expect_status(206);
    assert_eq!(reply.body, world.bytes(range));
    world.gate.open();
    bytes.extend(leader.rest().await.unwrap());
    assert_eq!(bytes, world.blob.bytes);
    assert_eq!(world.upstream.count(Kind::BlobGet), 1);
}

#[tokio::test]
async fn readers_of_the_same_range_ahead_share_one_request() {
    let world = Stalled::at(100_000).await;
    let silence = Gate::closed();
    world
        .upstream
        .next(Kind::BlobGet, Fault::Silence(silence.clone()));
    let range = 6 * MIB..9 * MIB;
    let begun = join_all((0..24).map(|_| world.ask(&range).begin())).await;
    silence.open();
    for arriving in begun {
        assert_eq!(arriving.status, 206);
        let got = arriving.rest().await.expect("the range is whole");
        assert!(got == world.bytes(range.clone()));
    }
    assert_eq!(world.upstream.count(Kind::BlobGet), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_long_range_ahead_comes_in_pieces_that_fit() {
    let world = Stalled::at(100_000).await;
    let range = 2 * MIB..SIZE - 5;
    let reply = world.ask(&range).await.expect_status(206);
    assert!(reply.body == world.bytes(range.clone()));
    let sent = world.upstream.blob_bytes_sent();
    assert_eq!(sent, (range.len() + 100_000) as u64);
    world.finish().await;
}

#[tokio::test]
async fn a_range_ahead_goes_on_from_the_file_once_that_has_overtaken() {
    let world = Stalled::at(100_000).await;
    let never = Gate::closed();
    world
        .upstream
        .next(Kind::BlobGet, Fault::Silence(never.clone()));
    let range = 8 * MIB..SIZE;
    let arriving = world.ask(&range).begin().await;
    never.reached().await;
    world.gate.open();
    let got = arriving.rest().await.expect("the range is whole");
    assert!(got == world.bytes(range));
    assert_eq!(world.upstream.count(Kind::BlobGet), 2);
}

#[tokio::test]
async fn an_upstream_that_knows_no_ranges_is_asked_once_and_then_waited_for() {
    for fault in [Fault::IgnoreRange, Fault::status(500), Fault::CutAt(1000)] {
        let world = Stalled::at(100_000).await;
        world.upstream.next(Kind::BlobGet, fault);
        let first = 8 * MIB..8 * MIB + 500_000;
        let second = 10 * MIB..SIZE;
        let arriving = world.ask(&first).begin().await;
        assert_eq!(arriving.status, 206);
        let client = world.server.client();
        let asked = || world.upstream.count(Kind::BlobGet) == 2;
        client.until("the range is asked for", asked).await;
        world.gate.open();
        let got = arriving.rest().await.expect("the range is whole");
        assert!(got == world.bytes(first));
        let reply = world.ask(&second).await.expect_status(206);
        assert!(reply.body == world.bytes(second));
        world.finish().await;
        assert_eq!(world.upstream.count(Kind::BlobGet), 2);
    }
}

#[tokio::test]
async fn many_different_ranges_ahead_are_fetched_a_few_at_a_time() {
    const PLACES: usize = 16;
    let world = Stalled::at(100_000).await;
    let silence = Gate::closed();
    world
        .upstream
        .always(Kind::BlobGet, Fault::Silence(silence.clone()));
    let ranges: Vec<_> = (0..24)
        .map(|index| 4 * MIB + index * 1000..SIZE - index)
        .collect();
    let begun = join_all(ranges.iter().map(|range| world.ask(range).begin())).await;
    let client = world.server.client();
    let asked = || world.upstream.count(Kind::BlobGet) == 1 + PLACES;
    client.until("every place is taken", asked).await;
    world.gate.open();
    for (arriving, range) in begun.into_iter().zip(ranges) {
        let got = arriving.rest().await.expect("the range is whole");
        assert!(got == world.bytes(range));
    }
}

#[tokio::test]
async fn what_was_fetched_ahead_is_no_part_of_what_is_stored() {
    let world = Stalled::at(100_000).await;
    let lie = Fault::Bytes(noise("a lie", SIZE));
    world.upstream.next(Kind::BlobGet, lie);
    let range = 8 * MIB..8 * MIB + 1000;
    let reply = world.ask(&range).await.expect_status(206);
    assert_eq!(reply.body, noise("a lie", SIZE).slice(range));
    world.finish().await;
}
