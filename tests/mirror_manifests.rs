//! Manifests through a mirror: asked again when old, served stale when the upstream fails, and every
//! status told as it is.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::images::{Algorithm, Content, OCI_MANIFEST, Recipe, index, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::{FakeUpstream, basic};
use crate::support::upstream_plan::{Admission, Fault, Kind, TokenRules};

const TAG: &str = "/v2/upstream.example/team/app/manifests/v1";
const MINUTE: Duration = Duration::from_secs(61);

/// An upstream that holds an image as `team/app:v1` and a mirror of it.
async fn mirrored() -> (FakeUpstream, TestServer, Content) {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    (upstream, server, image)
}

fn by_digest(content: &Content) -> String {
    format!("/v2/{UPSTREAM}/team/app/manifests/{}", content.top().digest)
}

#[track_caller]
fn expect_stale(reply: Reply, image: &Content) {
    let reply = reply.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    assert_eq!(reply.need("seawall-cache"), "stale");
    let warning = reply.need("warning");
    let wanted = format!("299 - \"stale: {UPSTREAM} ");
    assert!(warning.starts_with(&wanted), "{warning}");
    assert!(reply.need("age").parse::<u64>().unwrap() >= 60);
}

#[tokio::test]
async fn a_tag_is_served_without_asking_while_it_is_fresh() {
    let (upstream, server, image) = mirrored().await;
    let first = server.client().get(TAG).await.expect_status(200);
    assert_eq!(first.body, image.top().bytes);
    assert_eq!(first.need("content-type"), OCI_MANIFEST);
    assert_eq!(first.need("docker-content-digest"), image.top().digest);
    assert_eq!(first.need("seawall-cache"), "miss");
    let asked = upstream.total();
    server.clock().advance(Duration::from_secs(59));
    for _ in 0..3 {
        let again = server.client().get(TAG).await.expect_status(200);
        assert_eq!(again.body, image.top().bytes);
        assert_eq!(again.need("seawall-cache"), "hit");
        server.client().head(TAG).await.expect_status(200);
    }
    assert_eq!(upstream.total(), asked);
}

#[tokio::test]
async fn an_old_tag_is_revalidated_by_head_alone() {
    let (upstream, server, image) = mirrored().await;
    server.client().get(TAG).await.expect_status(200);
    let (heads, gets) = (
        upstream.count(Kind::ManifestHead),
        upstream.count(Kind::ManifestGet),
    );
    server.clock().advance(MINUTE);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    assert_eq!(reply.need("seawall-cache"), "revalidated");
    assert!(reply.header("warning").is_none());
    assert_eq!(upstream.count(Kind::ManifestHead), heads + 1);
    assert_eq!(upstream.count(Kind::ManifestGet), gets);
    server.client().get(TAG).await.expect_status(200);
    assert_eq!(upstream.count(Kind::ManifestHead), heads + 1);
}

#[tokio::test]
async fn the_freshness_time_is_a_setting() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "freshness": {"default": "10m"}});
    let server = TestServer::builder().mirror(mirror).start().await;
    server.client().get(TAG).await.expect_status(200);
    let asked = upstream.total();
    server.clock().advance(Duration::from_secs(590));
    server.client().get(TAG).await.expect_status(200);
    assert_eq!(upstream.total(), asked);
    server.clock().advance(Duration::from_secs(20));
    server.client().get(TAG).await.expect_status(200);
    assert_eq!(upstream.total(), asked + 1);
}

#[tokio::test]
async fn a_tag_that_moved_upstream_moves_here_once_it_is_old() {
    let (upstream, server, image) = mirrored().await;
    server.client().get(TAG).await.expect_status(200);
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    server.clock().advance(MINUTE);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, newer.top().bytes);
    let old = server
        .client()
        .get(&by_digest(&image))
        .await
        .expect_status(200);
    assert_eq!(old.body, image.top().bytes);
}

#[tokio::test]
async fn a_tag_asked_for_with_head_and_fetched_by_digest_is_known_without_its_upstream() {
    let (upstream, server, image) = mirrored().await;
    let client = server.client();
    client.head(TAG).await.expect_status(200);
    client.get(&by_digest(&image)).await.expect_status(200);
    upstream.die().await;
    server.clock().advance(MINUTE);
    let reply = client.get(TAG).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    assert_eq!(reply.need("seawall-cache"), "stale");
}

#[tokio::test]
async fn two_tags_of_one_manifest_asked_for_with_head_are_both_known_afterwards() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("tagged twice").build();
    upstream.hold("team/app", &image, &["v1", "latest"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let client = server.client();
    let latest = TAG.replace("/v1", "/latest");
    client.head(TAG).await.expect_status(200);
    client.head(&latest).await.expect_status(200);
    client.get(&by_digest(&image)).await.expect_status(200);
    upstream.die().await;
    client.get(TAG).await.expect_status(200);
    client.get(&latest).await.expect_status(200);
}

#[tokio::test]
async fn a_slow_client_that_comes_for_what_its_head_told_moves_no_tag_back() {
    let (upstream, server, image) = mirrored().await;
    let client = server.client();
    client.head(TAG).await.expect_status(200);
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    let reply = client.get(TAG).await.expect_status(200);
    assert_eq!(reply.body, newer.top().bytes);
    let old = client.get(&by_digest(&image)).await.expect_status(200);
    assert_eq!(old.body, image.top().bytes);
    let reply = client.get(TAG).await.expect_status(200);
    assert_eq!(reply.body, newer.top().bytes, "the tag moved back");
}

#[tokio::test]
async fn a_manifest_by_digest_is_never_asked_for_twice() {
    let (upstream, server, image) = mirrored().await;
    let path = by_digest(&image);
    server.client().get(&path).await.expect_status(200);
    let asked = upstream.total();
    server.clock().advance(Duration::from_secs(1_000_000));
    upstream.die().await;
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    assert!(reply.header("warning").is_none());
    assert_eq!(upstream.total(), asked);
}

#[tokio::test]
async fn a_client_that_heads_and_then_gets_costs_one_fetch() {
    let (upstream, server, image) = mirrored().await;
    let head = server.client().head(TAG).await.expect_status(200);
    assert_eq!(head.need("docker-content-digest"), image.top().digest);
    assert_eq!(
        head.need("content-length"),
        image.top().bytes.len().to_string()
    );
    assert_eq!(head.need("content-type"), OCI_MANIFEST);
    server.client().get(TAG).await.expect_status(200);
    server
        .client()
        .get(&by_digest(&image))
        .await
        .expect_status(200);
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
}

#[tokio::test]
async fn many_clients_of_one_tag_cost_one_fetch() {
    let (upstream, server, image) = mirrored().await;
    let gate = Gate::closed();
    upstream.always(Kind::ManifestGet, Fault::Silence(gate.clone()));
    let client = server.client();
    let all = join_all((0..16).map(|_| async { client.get(TAG).await }));
    let release = async {
        gate.reached().await;
        gate.open();
    };
    let (replies, ()) = tokio::join!(all, release);
    for reply in replies {
        assert_eq!(reply.expect_status(200).body, image.top().bytes);
    }
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
}

#[tokio::test]
async fn an_old_tag_is_served_stale_when_the_upstream_is_gone() {
    let (upstream, server, image) = mirrored().await;
    server.client().get(TAG).await.expect_status(200);
    upstream.die().await;
    server.clock().advance(MINUTE);
    expect_stale(server.client().get(TAG).await, &image);
    let head = server.client().head(TAG).await.expect_status(200);
    assert!(head.need("warning").starts_with("299 - \"stale: "));
    upstream.come_back().await;
    server.let_upstreams_rest();
    // The one who comes when the pause is over is not kept waiting either: it is found out in the background.
    expect_stale(server.client().get(TAG).await, &image);
    let reply = server.client().get_until_fresh(TAG).await;
    assert_eq!(reply.body, image.top().bytes);
}

#[tokio::test]
async fn an_old_tag_is_served_stale_when_the_upstream_is_in_trouble() {
    let (upstream, server, image) = mirrored().await;
    server.client().get(TAG).await.expect_status(200);
    for status in [429, 500, 502, 503, 504] {
        upstream.refuse_everything(status, &[("retry-after", "60")]);
        server.clock().advance(MINUTE);
        expect_stale(server.client().get(TAG).await, &image);
        upstream.heal();
    }
}

#[tokio::test]
async fn an_old_tag_is_served_stale_when_the_upstream_is_slow_past_its_timeout() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    upstream.hold("team/app", &image, &["v1"]);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "timeout": {"connect": "5s", "read": "200ms"}});
    let server = TestServer::builder().mirror(mirror).start().await;
    server.client().get(TAG).await.expect_status(200);
    let gate = Gate::closed();
    for kind in [Kind::ManifestHead, Kind::ManifestGet] {
        upstream.always(kind, Fault::Silence(gate.clone()));
    }
    server.clock().advance(MINUTE);
    expect_stale(server.client().get(TAG).await, &image);
    let uncached = server
        .client()
        .get("/v2/upstream.example/team/app/manifests/v2")
        .await;
    uncached.expect_status(504).expect_plain_error();
    gate.open();
}

#[tokio::test]
async fn what_is_not_cached_gets_the_true_status() {
    let (upstream, server, _) = mirrored().await;
    for (status, wanted, code) in [
        (401, &[401][..], "UNAUTHORIZED"),
        (403, &[403], "DENIED"),
        (404, &[404], "MANIFEST_UNKNOWN"),
        (429, &[429], "TOOMANYREQUESTS"),
        (500, &[502], ""),
        (503, &[502, 503, 504], ""),
    ] {
        upstream.refuse_everything(status, &[("retry-after", "42")]);
        let reply = server.client().get(TAG).await.expect_plain_error();
        assert!(wanted.contains(&reply.status), "{status}: {reply:?}");
        if status == 429 {
            assert_eq!(reply.need("retry-after"), "42");
        }
        if !code.is_empty() {
            assert_eq!(reply.error_code(), code);
        }
        upstream.heal();
        server.clock().advance(MINUTE);
    }
    upstream.die().await;
    let reply = server.client().get(TAG).await.expect_plain_error();
    assert!([502, 504].contains(&reply.status), "{reply:?}");
    assert!(reply.text().contains(UPSTREAM), "{reply:?}");
    upstream.come_back().await;
    server.clock().advance(MINUTE);
    server.client().get(TAG).await.expect_status(200);
}

#[tokio::test]
async fn a_tag_that_is_gone_or_forbidden_upstream_is_not_served_stale() {
    let (upstream, server, image) = mirrored().await;
    server.client().get(TAG).await.expect_status(200);
    upstream.refuse_everything(403, &[]);
    server.clock().advance(MINUTE);
    server.client().get(TAG).await.expect_error(403, "DENIED");
    upstream.heal();
    upstream.forget("team/app");
    server.clock().advance(MINUTE);
    server
        .client()
        .get(TAG)
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
    upstream.hold("team/app", &image, &["v1"]);
    server.clock().advance(MINUTE);
    server.client().get(TAG).await.expect_status(200);
}

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused_and_not_kept() {
    let (upstream, server, image) = mirrored().await;
    let lie = Recipe::image("lie").build().top().bytes.clone();
    upstream.always(Kind::ManifestGet, Fault::Bytes(lie));
    let path = by_digest(&image);
    server
        .client()
        .get(&path)
        .await
        .expect_status(502)
        .expect_plain_error();
    server.client().get(TAG).await.expect_status(502);
    upstream.heal();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
}

#[tokio::test]
async fn pages_and_garbage_are_never_taken_for_manifests() {
    let (upstream, server, image) = mirrored().await;
    let html = vec![("content-type", "text/html".to_owned())];
    for body in ["<html>please log in</html>", "{}", ""] {
        for kind in [Kind::ManifestHead, Kind::ManifestGet] {
            upstream.always(kind, Fault::Answer(200, html.clone(), body.to_owned()));
        }
        let reply = server.client().get(TAG).await;
        assert_eq!(reply.status, 502, "{body}: {reply:?}");
        upstream.heal();
    }
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
}

#[tokio::test]
async fn an_endless_manifest_is_refused() {
    let (upstream, server, _) = mirrored().await;
    let endless = noise("endless", 6 * 1024 * 1024);
    upstream.always(Kind::ManifestGet, Fault::Bytes(endless));
    server
        .client()
        .get(TAG)
        .await
        .expect_status(502)
        .expect_plain_error();
}

#[tokio::test]
async fn an_upstream_without_digest_headers_is_mirrored_all_the_same() {
    let (upstream, server, image) = mirrored().await;
    upstream.plan().digest_header = false;
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.need("docker-content-digest"), image.top().digest);
    server.clock().advance(MINUTE);
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, newer.top().bytes);
}

#[tokio::test]
async fn an_index_is_kept_whole_and_its_children_come_when_asked_for() {
    let upstream = FakeUpstream::start().await;
    let children = [
        Recipe::image("amd64").build(),
        Recipe::image("arm64").build(),
    ];
    let many = index(Algorithm::Sha256, &children, &[]);
    upstream.hold("team/app", &many, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, many.top().bytes);
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
    server
        .client()
        .get(&by_digest(&children[0]))
        .await
        .expect_status(200);
    upstream.die().await;
    server
        .client()
        .get(&by_digest(&children[0]))
        .await
        .expect_status(200);
    let absent = server.client().get(&by_digest(&children[1])).await;
    assert!([502, 504].contains(&absent.status), "{absent:?}");
}

#[tokio::test]
async fn the_bearer_dance_is_danced_once_per_token() {
    for rules in [
        TokenRules::default(),
        TokenRules {
            field: "access_token",
            ..TokenRules::default()
        },
        TokenRules {
            expires_in: None,
            ..TokenRules::default()
        },
    ] {
        let (upstream, server, image) = mirrored().await;
        upstream.require_tokens(rules);
        server
            .client()
            .expect_pull(&format!("{UPSTREAM}/team/app"), &image)
            .await;
        let reply = server.client().get(TAG).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes);
        let tokens = upstream.seen(Kind::Token);
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        let query = tokens[0].query.replace("%3A", ":").replace("%2F", "/");
        assert!(query.contains("service=fake"), "{query}");
        assert!(query.contains("scope=repository:team/app:pull"), "{query}");
        assert_eq!(tokens[0].authorization, None);
    }
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    let (upstream, server, _) = mirrored().await;
    upstream.require_tokens(TokenRules::default());
    server.client().get(TAG).await.expect_status(200);
    assert_eq!(upstream.count(Kind::Token), 1);
    server.clock().advance(MINUTE);
    server.client().get(TAG).await.expect_status(200);
    assert_eq!(upstream.count(Kind::Token), 1);
    upstream.revoke_tokens();
    server.clock().advance(Duration::from_secs(400));
    server.client().get(TAG).await.expect_status(200);
    assert_eq!(upstream.count(Kind::Token), 2);
    upstream.revoke_tokens();
    server.clock().advance(MINUTE);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert!(
        reply.header("warning").is_none(),
        "a refused token is asked for anew"
    );
    assert_eq!(upstream.count(Kind::Token), 3);
}

#[tokio::test]
async fn credentials_are_shown_where_they_belong() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("private").build();
    upstream.hold("team/app", &image, &["v1"]);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "username": "user", "password": "secret"});
    upstream.plan().admission = Admission::Basic("user".into(), "secret".into());
    let server = TestServer::builder().mirror(mirror.clone()).start().await;
    server.client().get(TAG).await.expect_status(200);

    upstream.require_tokens(TokenRules::default());
    let server = TestServer::builder().mirror(mirror).start().await;
    server.client().get(TAG).await.expect_status(200);
    let tokens = upstream.seen(Kind::Token);
    assert_eq!(tokens[0].authorization, Some(basic("user", "secret")));
}

#[tokio::test]
async fn credentials_are_not_shown_to_a_realm_elsewhere_unless_it_is_listed() {
    let realm = FakeUpstream::start().await;
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("private").build();
    upstream.hold("team/app", &image, &["v1"]);
    upstream.require_tokens(TokenRules {
        realm: Some(realm.url()),
        ..TokenRules::default()
    });
    let mut mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "username": "user", "password": "secret"});
    let server = TestServer::builder().mirror(mirror.clone()).start().await;
    let _ = server.client().get(TAG).await;
    for seen in realm.seen(Kind::Token) {
        assert_eq!(seen.authorization, None);
    }
    mirror["realms"] = json!([realm.url()]);
    let server = TestServer::builder().mirror(mirror).start().await;
    server.client().get(TAG).await.expect_status(200);
    let shown = realm.seen(Kind::Token);
    let shown = shown.last().unwrap().authorization.clone();
    assert_eq!(shown, Some(basic("user", "secret")));
}

#[tokio::test]
async fn wrong_credentials_are_told_as_401() {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("private").build(), &["v1"]);
    upstream.plan().admission = Admission::Basic("user".into(), "secret".into());
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let reply = server
        .client()
        .get(TAG)
        .await
        .expect_error(401, "UNAUTHORIZED");
    assert!(!reply.text().contains("secret"));
}

#[tokio::test]
async fn the_next_endpoint_is_asked_when_one_is_in_trouble_and_not_when_it_says_404() {
    let first = FakeUpstream::start().await;
    let second = FakeUpstream::start().await;
    let image = Recipe::image("mirrored").build();
    second.hold("team/app", &image, &["v1"]);
    let mirror =
        json!({"name": UPSTREAM, "endpoints": [first.url(), second.url()], "default": true});
    let server = TestServer::builder().mirror(mirror).start().await;
    server.client().get(TAG).await.expect_status(404);
    assert_eq!(second.total(), 0);
    first.die().await;
    server.clock().advance(MINUTE);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
}

#[tokio::test]
async fn a_mirrored_docker_image_keeps_its_bytes_and_type() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("docker").docker().build();
    upstream.hold("team/app", &image, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.need("content-type"), image.top().media_type);
    assert_eq!(reply.body, image.top().bytes);
}
