//! Images fetched before anybody asks, and removed when nobody wants them any more.

use std::time::Duration;

use seawall::jobs::{JobState, JobView, Payload, PurgePattern, WarmImages};
use serde_json::{Value, json};

use crate::support::gate::Gate;
use crate::support::images::{
    Algorithm, Blob, Content, OCI_LAYER, OCI_MANIFEST, Recipe, digest_of, index, noise,
};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

pub(crate) fn image(seed: &str) -> Content {
    Recipe::image(seed).build()
}

/// An index over amd64, arm64 and something without platform, and its children.
fn three_platforms() -> (Content, [Content; 3]) {
    let children = ["amd64", "arm64", "unsaid"].map(image);
    (index(Algorithm::Sha256, &children, &[]), children)
}

pub(crate) fn warm(images: &[&str], platforms: &[&str]) -> Payload {
    let images = images.iter().map(|image| format!("{UPSTREAM}/{image}"));
    let platforms = platforms.iter().map(|text| (*text).to_owned());
    Payload::Warm(WarmImages::new(images.collect(), platforms.collect()).unwrap())
}

/// Queues a job.
pub(crate) async fn start(server: &TestServer, payload: Payload) -> JobView {
    server.jobs().start(payload).await.unwrap()
}

/// Runs a job to its end.
pub(crate) async fn run(server: &TestServer, payload: Payload) -> JobView {
    let job = start(server, payload).await;
    server.ended(job.id).await
}

pub(crate) async fn world() -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    (upstream, server)
}

pub(crate) fn asked_for(upstream: &FakeUpstream, digest: &str) -> usize {
    let plan = upstream.plan();
    let about = plan.seen.iter().filter(|seen| seen.path.contains(digest));
    about.count()
}

#[tokio::test]
async fn warming_fetches_exactly_the_platforms_asked_for() {
    let (upstream, server) = world().await;
    let (whole, [amd64, arm64, unsaid]) = three_platforms();
    upstream.hold("team/app", &whole, &["v1"]);
    let job = run(&server, warm(&["team/app:v1"], &["linux/arm64"])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    assert_eq!(job.progress.images_done, 1);
    assert_eq!(job.progress.images_total, 1);
    assert_eq!(job.progress.manifests, 2);
    assert_eq!(job.progress.layers_done, arm64.blobs.len() as u64);
    assert_eq!(job.progress.layers_total, arm64.blobs.len() as u64);
    let bytes: usize = arm64.blobs.iter().map(|blob| blob.bytes.len()).sum();
    assert_eq!(job.progress.bytes_done, bytes as u64);
    assert_eq!(job.progress.bytes_total, bytes as u64);
    for other in [amd64, unsaid] {
        assert_eq!(asked_for(&upstream, &other.top().digest), 0);
    }
    assert_eq!(upstream.count(Kind::BlobGet), arm64.blobs.len());
    upstream.die().await;
    let by_tag = format!("/v2/{UPSTREAM}/team/app/manifests/v1");
    let served = server.client().get(&by_tag).await.expect_status(200);
    assert_eq!(served.body, whole.top().bytes, "the index stays as it is");
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &arm64).await;
}

#[tokio::test]
async fn warming_without_platforms_fetches_all_that_an_index_lists_and_once() {
    let (upstream, server) = world().await;
    let (whole, _) = three_platforms();
    upstream.hold("team/app", &whole, &["v1"]);
    for _ in 0..2 {
        let job = run(&server, warm(&["team/app:v1"], &[])).await;
        assert_eq!((job.state, job.error), (JobState::Done, None));
        assert_eq!(job.progress.layers_done, whole.blobs.len() as u64);
        assert_eq!(upstream.count(Kind::BlobGet), whole.blobs.len());
        assert_eq!(upstream.count(Kind::ManifestGet), whole.manifests.len());
    }
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &whole).await;
}

#[tokio::test]
async fn a_tag_pattern_warms_the_tags_that_fit() {
    let (upstream, server) = world().await;
    for tag in ["1.0", "1.1", "1.2", "2.0", "latest"] {
        upstream.hold("team/app", &image(tag), &[tag]);
    }
    upstream.plan().page_size = 2;
    let job = run(&server, warm(&["team/app:1.*"], &[])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    assert_eq!(job.progress.images_done, 3);
    assert_eq!(upstream.count(Kind::ManifestGet), 3);
    upstream.die().await;
    for tag in ["1.0", "1.1", "1.2"] {
        let name = format!("{UPSTREAM}/team/app");
        server.client().expect_pull(&name, &image(tag)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_warmed_is_told_and_the_rest_is_warmed() {
    let (upstream, server) = world().await;
    let (whole, _) = three_platforms();
    upstream.hold("team/app", &whole, &["v1"]);
    upstream.hold("team/other", &image("other"), &["v1"]);
    let images = [
        "team/none:v1",
        "team/app:v1",
        "team/app:9.*",
        "team/other:v1",
    ];
    let job = run(&server, warm(&images, &["windows/amd64"])).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(
        job.progress.images_done, 1,
        "an image itself is for whom it is"
    );
    let told = job.error.unwrap();
    assert!(told.contains("team/app:9.*: no tag fits"), "{told}");
    assert!(told.contains("and 2 more"), "{told}");
    let job = run(&server, warm(&["team/app:v1"], &["windows/amd64"])).await;
    assert!(job.error.unwrap().contains("nothing for windows/amd64"));
    // No host: a repository of the default upstream.
    let elsewhere = WarmImages::new(vec!["elsewhere/a".into()], Vec::new()).unwrap();
    let default = start(&server, Payload::Warm(elsewhere)).await;
    let job = server.ended(default.id).await;
    assert_eq!(
        job.state,
        JobState::Failed,
        "the default upstream was asked"
    );
}

#[tokio::test]
async fn a_server_without_mirrors_refuses_to_warm() {
    let server = TestServer::builder()
        .config(|config| config["mirrors"] = json!([]))
        .start()
        .await;
    let refused = server.jobs().start(warm(&["team/app:v1"], &[])).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("belongs to no mirror"), "{told}");
    assert_eq!(server.jobs().list(10, None).await.unwrap(), []);
}

#[tokio::test]
async fn an_image_of_a_registry_that_is_not_mirrored_is_refused_and_not_sought_at_the_default_upstream()
 {
    let (upstream, server) = world().await;
    for name in ["ghcr.io/team/app:v1", "localhost/app", "other:5000/app:v1"] {
        let images = WarmImages::new(vec![name.to_owned()], Vec::new()).unwrap();
        let refused = server.jobs().start(Payload::Warm(images)).await;
        let told = refused.expect_err(name).to_string();
        assert!(told.contains(name), "{told}");
        assert!(told.contains("belongs to no mirror"), "{told}");
    }
    assert_eq!(upstream.total(), 0);
}

#[tokio::test]
async fn clients_and_a_warming_share_one_fetch() {
    let (upstream, server) = world().await;
    let content = Recipe::image("a").layers(1).build();
    upstream.hold("team/app", &content, &["v1"]);
    let gate = Gate::closed();
    upstream.always(Kind::BlobGet, Fault::Silence(gate.clone()));
    let job = start(&server, warm(&["team/app:v1"], &[])).await;
    gate.reached().await;
    let name = format!("{UPSTREAM}/team/app");
    let client = server.client().clone();
    let pull = async { client.expect_pull(&name, &content).await };
    let opener = async {
        tokio::task::yield_now().await;
        gate.open();
    };
    tokio::join!(pull, opener);
    assert_eq!(server.ended(job.id).await.state, JobState::Done);
    assert_eq!(upstream.count(Kind::BlobGet), content.blobs.len());
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
}

#[tokio::test]
async fn the_bytes_of_a_layer_are_told_while_it_arrives() {
    let (upstream, server) = world().await;
    let mut content = image("a");
    let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("big", 2 << 20));
    let change = |json: &mut Value| json["layers"] = json!([layer.descriptor()]);
    content.manifests = vec![content.top().changed(Algorithm::Sha256, change)];
    content.blobs.truncate(1);
    upstream.hold("team/app", &content, &["v1"]);
    // The config is here already, so that the layer is the next blob asked for.
    let config = format!("/v2/{UPSTREAM}/team/app/blobs/{}", content.blobs[0].digest);
    let by_tag = format!("/v2/{UPSTREAM}/team/app/manifests/v1");
    for path in [by_tag, config] {
        server.client().get(&path).await.expect_status(200);
    }
    content.blobs.push(layer);
    upstream.hold("team/app", &content, &["v1"]);
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(1 << 20, gate.clone()));
    let job = start(&server, warm(&["team/app:v1"], &[])).await;
    gate.reached().await;
    let half_way = loop {
        let now = server.jobs().get(job.id).await.unwrap().unwrap();
        if now.progress.bytes_done >= 1 << 20 {
            break now;
        }
        server.client().get("/v2/").await.expect_status(200);
    };
    assert_eq!(half_way.state, JobState::Running);
    assert_eq!(half_way.progress.layers_done, 1, "the config");
    assert!(half_way.progress.bytes_done < half_way.progress.bytes_total);
    gate.open();
    let done = server.ended(job.id).await;
    assert_eq!((done.state, done.error), (JobState::Done, None));
    assert_eq!(done.progress.bytes_done, done.progress.bytes_total);
}

#[tokio::test]
async fn indexes_in_indexes_are_followed_and_attestations_only_when_all_is_asked_for() {
    let (upstream, server) = world().await;
    let (inner, [amd64, _, unsaid]) = three_platforms();
    let attestation = image("attestation");
    let unknown = json!({"os": "unknown", "architecture": "unknown"});
    let entries = json!([
        inner.top().descriptor(),
        with_platform(&attestation, &unknown),
        // Listed twice, fetched once.
        inner.top().descriptor(),
    ]);
    let mut outer = index(
        Algorithm::Sha256,
        &[inner, attestation.clone()],
        &[("manifests", entries)],
    );
    outer.blobs.extend(attestation.blobs.iter().cloned());
    upstream.hold("team/app", &outer, &["v1"]);
    let job = run(&server, warm(&["team/app:v1"], &["linux/amd64"])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    assert_eq!(job.progress.manifests, 3);
    assert_eq!(job.progress.layers_done, amd64.blobs.len() as u64);
    for other in [&attestation, &unsaid] {
        assert_eq!(asked_for(&upstream, &other.top().digest), 0);
    }
    let job = run(&server, warm(&["team/app:v1"], &[])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    for manifest in &outer.manifests {
        let by_digest = format!("manifests/{}", manifest.digest);
        assert!(asked_for(&upstream, &by_digest) <= 1);
    }
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &attestation).await;
    server.client().expect_pull(&name, &unsaid).await;
}

fn with_platform(content: &Content, platform: &Value) -> Value {
    let mut descriptor = content.top().descriptor();
    descriptor["platform"] = platform.clone();
    descriptor
}

#[tokio::test]
async fn a_list_of_ten_thousand_entries_costs_what_is_asked_of_it() {
    let (upstream, server) = world().await;
    let wanted = image("wanted");
    let arm = json!({"os": "linux", "architecture": "arm64"});
    let mut entries: Vec<Value> = (0..10_000)
        .map(|number| {
            let digest = digest_of(Algorithm::Sha256, format!("{number}").as_bytes());
            json!({"mediaType": OCI_MANIFEST, "size": 7, "digest": digest, "platform": arm})
        })
        .collect();
    let amd = json!({"os": "linux", "architecture": "amd64"});
    entries.push(with_platform(&wanted, &amd));
    let fields = [("manifests", json!(entries))];
    let whole = index(Algorithm::Sha256, std::slice::from_ref(&wanted), &fields);
    upstream.hold("team/app", &whole, &["v1"]);
    let job = run(&server, warm(&["team/app:v1"], &["linux/amd64"])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    assert_eq!(upstream.count(Kind::ManifestGet), 2);
    let job = run(&server, warm(&["team/app:v1"], &[])).await;
    let told = job.error.unwrap();
    assert!(told.contains("more than 1000 manifests"), "{told}");
    assert_eq!(
        upstream.count(Kind::ManifestGet),
        2,
        "it is refused before it is begun"
    );
}

#[tokio::test]
async fn indexes_deeper_than_any_image_has_are_refused() {
    let (upstream, server) = world().await;
    let mut whole = image("deep");
    for _ in 0..9 {
        whole = index(Algorithm::Sha256, &[whole], &[]);
    }
    upstream.hold("team/app", &whole, &["v1"]);
    let job = run(&server, warm(&["team/app:v1"], &[])).await;
    let told = job.error.unwrap();
    assert!(told.contains("8 deep"), "{told}");
    assert_eq!(upstream.count(Kind::BlobGet), 0);
}

#[tokio::test]
async fn purging_frees_what_fits_and_nothing_else() {
    let (upstream, server) = world().await;
    let (old, new) = (image("old"), image("new"));
    upstream.hold("team/app", &old, &["1.0"]);
    upstream.hold("team/app", &new, &["2.0"]);
    let job = run(&server, warm(&["team/app:*"], &[])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    let pattern = format!("{UPSTREAM}/team/app:1.*");
    let purge = Payload::Purge(PurgePattern::new(pattern).unwrap());
    let job = run(&server, purge.clone()).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    assert_eq!(job.progress.manifests, 1);
    let blobs: usize = old.blobs.iter().map(|blob| blob.bytes.len()).sum();
    let bytes = blobs + old.top().bytes.len();
    assert_eq!(job.progress.bytes_freed, bytes as u64);
    for blob in &old.blobs {
        assert!(!server.blob_file(&blob.digest).exists());
    }
    upstream.die().await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &new).await;
    let gone = format!("/v2/{name}/manifests/{}", old.top().digest);
    assert_ne!(server.client().get(&gone).await.status, 200);
    let again = run(&server, purge).await;
    assert_eq!(
        (again.state, again.progress.bytes_freed),
        (JobState::Done, 0)
    );
}

#[tokio::test]
async fn what_is_warmed_every_night_is_never_evicted_for_want_of_clients() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let upstream = FakeUpstream::start().await;
    let (whole, [amd64, arm64, unsaid]) = three_platforms();
    let other = image("other");
    upstream.hold("team/app", &whole, &["v1"]);
    upstream.hold("team/other", &other, &["v1"]);
    let server = TestServer::builder()
        .mirror_of(&upstream)
        .config(|config| config["cache"]["maxage"] = json!("36h"))
        .start()
        .await;
    let job = run(&server, warm(&["team/app:v1", "team/other:v1"], &[])).await;
    assert_eq!((job.state, job.error), (JobState::Done, None));
    for night in 1..=3 {
        server.clock().advance(DAY);
        // The tag is confirmed by HEAD, and everything is here already.
        let job = run(&server, warm(&["team/app:v1"], &["linux/arm64"])).await;
        assert_eq!((job.state, job.error), (JobState::Done, None));
        let gone = server.evict_due().await.manifests;
        // The other image, and the children that nobody warms any more.
        assert_eq!(gone, if night == 2 { 3 } else { 0 }, "night {night}");
    }
    let stored = server.stored_blobs();
    let is_here = |content: &Content| stored.contains_key(&content.blobs[0].digest);
    assert!(is_here(&arm64));
    assert!(!is_here(&amd64) && !is_here(&unsaid) && !is_here(&other));
    upstream.die().await;
    let by_tag = format!("/v2/{UPSTREAM}/team/app/manifests/v1");
    server.client().get(&by_tag).await.expect_status(200);
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &arm64).await;
}
