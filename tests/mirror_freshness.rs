//! How long a mirror believes what it knows: by tag pattern, with checks afterwards instead of before, and briefly that
//! something is not there.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::images::{Content, Recipe};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind, ReferrersApi};

const TAG: &str = "/v2/upstream.example/team/app/manifests/v1";
const MINUTE: Duration = Duration::from_secs(61);

fn tag(name: &str) -> String {
    TAG.replace("/v1", &format!("/{name}"))
}

/// An upstream that holds an image as `team/app:v1` and a mirror of it with these rules of freshness.
async fn mirrored(freshness: Value) -> (FakeUpstream, TestServer, Content) {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "freshness": freshness});
    let server = TestServer::builder().mirror(mirror).start().await;
    (upstream, server, image)
}

/// A mirror whose tag is known, and due.
async fn due_in_background() -> (FakeUpstream, TestServer, Content) {
    let (upstream, server, image) = mirrored(json!({"background": true})).await;
    server.client().get(TAG).await.expect_status(200);
    server.clock().advance(MINUTE);
    (upstream, server, image)
}

#[track_caller]
fn expect(reply: Reply, cache: &str, image: &Content) -> Reply {
    let reply = reply.expect_status(200);
    assert_eq!(reply.need("seawall-cache"), cache, "{reply:?}");
    assert_eq!(reply.body, image.top().bytes);
    reply
}

#[tokio::test]
async fn the_longest_pattern_says_how_long_a_tag_is_fresh() {
    let rules = json!({"default": "1m",
        "tags": {"v*": "30d", "v1-nightly*": "10s", "latest": "0s"}});
    let (upstream, server, image) = mirrored(rules).await;
    upstream.hold("team/app", &image, &["v1-nightly-7", "latest", "other"]);
    let client = server.client();
    let names = ["v1", "v1-nightly-7", "latest", "other"];
    let states = |wanted: [&'static str; 4]| async move {
        for (name, wanted) in names.iter().zip(wanted) {
            let reply = client.get(&tag(name)).await.expect_status(200);
            assert_eq!(reply.need("seawall-cache"), wanted, "{name}");
        }
    };
    states(["miss", "revalidated", "revalidated", "revalidated"]).await;
    states(["hit", "hit", "revalidated", "hit"]).await;
    server.clock().advance(Duration::from_secs(20));
    states(["hit", "revalidated", "revalidated", "hit"]).await;
    server.clock().advance(MINUTE);
    states(["hit", "revalidated", "revalidated", "revalidated"]).await;
}

#[tokio::test]
async fn a_due_tag_is_served_at_once_and_checked_afterwards() {
    let (upstream, server, image) = due_in_background().await;
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    let gate = Gate::closed();
    upstream.always(Kind::ManifestHead, Fault::Silence(gate.clone()));
    let client = server.client();
    for _ in 0..16 {
        let reply = expect(client.get(TAG).await, "hit", &image);
        assert!(reply.header("warning").is_none(), "{reply:?}");
        assert_eq!(reply.need("age"), "61");
        client.head(TAG).await.expect_status(200);
    }
    gate.reached().await;
    assert_eq!(upstream.count(Kind::ManifestHead), 1, "one check per tag");
    gate.open();
    client
        .until("the tag moves", || upstream.count(Kind::ManifestGet) == 2)
        .await;
    let mut reply = client.get(TAG).await.expect_status(200);
    while reply.body == image.top().bytes {
        assert_eq!(reply.need("docker-content-digest"), image.top().digest);
        reply = client.get(TAG).await.expect_status(200);
    }
    assert_eq!(reply.need("docker-content-digest"), newer.top().digest);
    expect(client.get(TAG).await, "hit", &newer);
    assert_eq!(upstream.count(Kind::ManifestHead), 1, "it is fresh again");
}

#[tokio::test]
async fn a_tag_that_could_not_be_checked_is_stale_and_nobody_waits_for_the_check() {
    let (upstream, server, image) = due_in_background().await;
    upstream.refuse_everything(503, &[]);
    let client = server.client();
    expect(client.get(TAG).await, "hit", &image);
    let mut reply = client.get(TAG).await.expect_status(200);
    while reply.need("seawall-cache") == "hit" {
        reply = client.get(TAG).await.expect_status(200);
    }
    let reply = expect(reply, "stale", &image);
    let wanted = format!("299 - \"stale: {UPSTREAM} ");
    assert!(reply.need("warning").starts_with(&wanted), "{reply:?}");
    assert_eq!(reply.need("age"), "61");
    let gate = Gate::closed();
    upstream.always(Kind::ManifestHead, Fault::Silence(gate.clone()));
    server.clock().advance(MINUTE);
    for _ in 0..4 {
        expect(client.get(TAG).await, "stale", &image);
    }
    upstream.heal();
    gate.open();
    let mut reply = client.get(TAG).await.expect_status(200);
    while reply.need("seawall-cache") == "stale" {
        server.clock().advance(Duration::from_secs(1));
        reply = client.get(TAG).await.expect_status(200);
    }
    expect(reply, "hit", &image);
}

#[tokio::test]
async fn a_refusal_that_a_check_met_is_told_to_the_next_client() {
    for (status, code) in [(403, "DENIED"), (404, "MANIFEST_UNKNOWN")] {
        let (upstream, server, image) = due_in_background().await;
        upstream.refuse_everything(status, &[]);
        let client = server.client();
        expect(client.get(TAG).await, "hit", &image);
        let mut reply = client.get(TAG).await;
        while reply.status == 200 {
            reply = client.get(TAG).await;
        }
        reply.expect_error(status, code);
    }
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_once_in_half_a_minute() {
    let (upstream, server, image) = mirrored(json!({})).await;
    let client = server.client();
    let absent = tag("absent");
    for _ in 0..4 {
        client
            .get(&absent)
            .await
            .expect_error(404, "MANIFEST_UNKNOWN");
        client.head(&absent).await.expect_status(404);
    }
    assert_eq!(upstream.total(), 1);
    client.get(&tag("another")).await.expect_status(404);
    let elsewhere = absent.replace("team/app", "team/other");
    client.get(&elsewhere).await.expect_status(404);
    assert_eq!(upstream.total(), 3, "only that one is known to be absent");
    upstream.hold("team/app", &image, &["absent"]);
    server.clock().advance(Duration::from_secs(29));
    client.get(&absent).await.expect_status(404);
    server.clock().advance(Duration::from_secs(2));
    client.get(&absent).await.expect_status(200);
}

#[tokio::test]
async fn digests_tags_and_referrers_that_are_not_there_are_remembered_too() {
    let (upstream, server, image) = mirrored(json!({"negative": "10s"})).await;
    upstream.plan().referrers = ReferrersApi::NotFound;
    let client = server.client();
    let other = Recipe::image("other").build();
    let digest = &other.top().digest;
    let by_digest = tag(digest);
    let list = format!("/v2/{UPSTREAM}/nobody/here/tags/list");
    let referrers = format!("/v2/{UPSTREAM}/team/app/referrers/{digest}");
    let ask_all = || async {
        client
            .get(&by_digest)
            .await
            .expect_error(404, "MANIFEST_UNKNOWN");
        client.get(&list).await.expect_error(404, "NAME_UNKNOWN");
        let none = client.get(&referrers).await.expect_status(200);
        assert_eq!(none.json()["manifests"], json!([]));
    };
    ask_all().await;
    let asked = upstream.total();
    assert_eq!(asked, 4, "a manifest, tags, referrers, the fallback tag");
    ask_all().await;
    ask_all().await;
    assert_eq!(upstream.total(), asked);
    server.clock().advance(Duration::from_secs(11));
    ask_all().await;
    assert_eq!(upstream.total(), 2 * asked);
    client.get(TAG).await.expect_status(200);
    drop(image);
}

#[tokio::test]
async fn a_negative_time_of_zero_asks_every_time() {
    let (upstream, server, image) = mirrored(json!({"negative": "0s"})).await;
    let client = server.client();
    let absent = tag("absent");
    client.get(&absent).await.expect_status(404);
    client.get(&absent).await.expect_status(404);
    assert_eq!(upstream.total(), 2);
    upstream.hold("team/app", &image, &["absent"]);
    client.get(&absent).await.expect_status(200);
}

#[tokio::test]
async fn what_was_absent_is_not_when_it_came_by_another_way() {
    let (upstream, server, image) = mirrored(json!({})).await;
    let client = server.client();
    let newer = Recipe::image("newer").build();
    let by_digest = tag(&newer.top().digest);
    client.get(&by_digest).await.expect_status(404);
    upstream.hold("team/app", &newer, &["v2"]);
    client.get(&tag("v2")).await.expect_status(200);
    expect(client.get(&by_digest).await, "hit", &newer);
    expect(client.get(TAG).await, "miss", &image);
}

#[tokio::test]
async fn a_push_is_not_held_up_by_what_was_absent_upstream() {
    let (upstream, server, _) = mirrored(json!({})).await;
    let client = server.client();
    let path = "/v2/own/app/manifests/v1";
    client.head(path).await.expect_status(404);
    client.get(path).await.expect_status(404);
    let own = Recipe::image("own").build();
    client.push("own/app", &own, &["v1"]).await;
    let reply = client.get(path).await.expect_status(200);
    assert_eq!(reply.body, own.top().bytes);
    assert_eq!(upstream.count(Kind::ManifestGet), 0);
}

#[tokio::test]
async fn trouble_and_refusals_are_never_taken_for_an_absence() {
    let (upstream, server, image) = mirrored(json!({})).await;
    let client = server.client();
    for status in [401, 403, 500] {
        upstream.next(Kind::ManifestGet, Fault::status(status));
        let refused = client.get(TAG).await.expect_plain_error();
        assert_ne!(refused.status, 404, "{refused:?}");
        server.clock().advance(Duration::from_secs(2));
    }
    expect(client.get(TAG).await, "miss", &image);
}

#[tokio::test]
async fn a_head_answers_the_next_head_while_it_is_fresh() {
    let (upstream, server, image) = mirrored(json!({})).await;
    let client = server.client();
    for wanted in ["miss", "hit", "hit"] {
        let head = client.head(TAG).await.expect_status(200);
        assert_eq!(head.need("seawall-cache"), wanted);
        assert_eq!(head.need("docker-content-digest"), image.top().digest);
        let length = image.top().bytes.len().to_string();
        assert_eq!(head.need("content-length"), length);
    }
    assert_eq!(upstream.total(), 1);
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    server.clock().advance(MINUTE);
    let head = client.head(TAG).await.expect_status(200);
    assert_eq!(head.need("docker-content-digest"), newer.top().digest);
    assert_eq!(upstream.count(Kind::ManifestGet), 0);
}

#[tokio::test]
async fn an_upstream_that_cannot_answer_head_is_asked_by_get() {
    let (upstream, server, image) = mirrored(json!({})).await;
    upstream.always(Kind::ManifestHead, Fault::status(405));
    let client = server.client();
    let head = client.head(TAG).await.expect_status(200);
    assert_eq!(head.need("docker-content-digest"), image.top().digest);
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    server.clock().advance(MINUTE);
    expect(client.get(TAG).await, "miss", &newer);
}

#[tokio::test]
async fn another_tag_of_what_is_stored_costs_a_head_and_no_get() {
    let (upstream, server, image) = mirrored(json!({})).await;
    let client = server.client();
    expect(client.get(TAG).await, "miss", &image);
    assert_eq!(upstream.count(Kind::ManifestHead), 0, "nothing was stored");
    upstream.hold("team/app", &image, &["v2"]);
    expect(client.get(&tag("v2")).await, "revalidated", &image);
    expect(client.get(&tag("v2")).await, "hit", &image);
    assert_eq!(upstream.count(Kind::ManifestHead), 1);
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
    upstream.die().await;
    server.clock().advance(MINUTE);
    expect(client.get(&tag("v2")).await, "stale", &image);
}

#[tokio::test]
async fn a_new_tag_of_something_new_is_fetched_by_the_digest_that_head_told() {
    let (upstream, server, image) = mirrored(json!({})).await;
    let client = server.client();
    expect(client.get(TAG).await, "miss", &image);
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v2"]);
    expect(client.get(&tag("v2")).await, "miss", &newer);
    let asked = upstream.seen(Kind::ManifestGet).pop().unwrap();
    assert!(asked.path.ends_with(&newer.top().digest), "{asked:?}");
    assert_eq!(upstream.count(Kind::ManifestHead), 1);
    // Who asked by HEAD a moment ago need not ask so again.
    let newest = Recipe::image("newest").build();
    upstream.hold("team/app", &newest, &["v3"]);
    client.head(&tag("v3")).await.expect_status(200);
    expect(client.get(&tag("v3")).await, "miss", &newest);
    assert_eq!(upstream.count(Kind::ManifestHead), 2);
    client.get(&tag("v4")).await.expect_status(404);
    assert_eq!(upstream.count(Kind::ManifestGet), 3, "HEAD told so");
    upstream.always(Kind::ManifestHead, Fault::status(405));
    let last = Recipe::image("last").build();
    upstream.hold("team/app", &last, &["v5"]);
    expect(client.get(&tag("v5")).await, "miss", &last);
}
