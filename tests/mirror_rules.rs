//! Which repositories a mirror may be asked for: `allow` and `deny`, told with their reason, also for what is cached.

use serde_json::{Value, json};

use crate::support::images::{Content, Recipe};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

/// An upstream that holds the same image under these names, and the settings of its mirror.
async fn holding(names: &[&str]) -> (FakeUpstream, Content, Value) {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("ruled").build();
    for name in names {
        upstream.hold(name, &image, &["v1"]);
    }
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true});
    (upstream, image, mirror)
}

fn manifest(repository: &str) -> String {
    format!("/v2/{UPSTREAM}/{repository}/manifests/v1")
}

#[tokio::test]
async fn a_repository_on_the_deny_list_is_refused_with_the_pattern_and_nobody_is_asked() {
    let (upstream, image, mut mirror) = holding(&["library/secrets", "library/app"]).await;
    mirror["deny"] = json!(["library/secret*"]);
    let server = TestServer::builder().mirror(mirror).start().await;
    let client = server.client();
    let base = format!("/v2/{UPSTREAM}/library/secrets");
    let (top, layer) = (&image.top().digest, &image.blobs[1].digest);
    for path in [
        format!("{base}/manifests/v1"),
        format!("{base}/manifests/{top}"),
        format!("{base}/tags/list"),
        format!("{base}/referrers/{top}"),
        format!("{base}/blobs/{layer}"),
    ] {
        let reply = client.get(&path).await.expect_error(403, "DENIED");
        let message = reply.text();
        assert!(message.contains("library/secret*"), "{message}");
        assert!(message.contains("deny list"), "{message}");
        assert!(message.contains(UPSTREAM), "{message}");
    }
    for path in ["manifests/v1", &format!("blobs/{layer}")] {
        let path = format!("{base}/{path}");
        client.head(&path).await.expect_status(403);
    }
    assert_eq!(upstream.total(), 0);
    client
        .expect_pull(&format!("{UPSTREAM}/library/app"), &image)
        .await;
}

#[tokio::test]
async fn an_allow_list_lets_through_what_it_names_and_deny_beats_it() {
    let names = ["library/app", "library/secrets", "team/app"];
    let (_upstream, image, mut mirror) = holding(&names).await;
    mirror["allow"] = json!(["library/**"]);
    mirror["deny"] = json!(["library/secrets"]);
    let server = TestServer::builder().mirror(mirror).start().await;
    let client = server.client();
    client
        .expect_pull(&format!("{UPSTREAM}/library/app"), &image)
        .await;
    let denied = client.get(&manifest("library/secrets")).await;
    let denied = denied.expect_error(403, "DENIED").text();
    assert!(denied.contains("deny list"), "{denied}");
    let unnamed = client.get(&manifest("team/app")).await;
    let unnamed = unnamed.expect_error(403, "DENIED").text();
    assert!(unnamed.contains("allow list"), "{unnamed}");
    assert!(unnamed.contains("library/**"), "{unnamed}");
}

#[tokio::test]
async fn lists_mean_the_names_the_upstream_uses() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("official").build();
    upstream.hold("library/nginx", &image, &["v1"]);
    let mirror = json!({"name": "docker.io", "endpoints": [upstream.url()],
        "allow": ["library/*"]});
    let server = TestServer::builder().mirror(mirror).start().await;
    let client = server.client();
    client.expect_pull("docker.io/nginx", &image).await;
    let other = client.get("/v2/docker.io/team/nginx/manifests/v1").await;
    other.expect_error(403, "DENIED");
}

#[tokio::test]
async fn what_was_cached_before_is_refused_too() {
    let (upstream, image, mirror) = holding(&["team/app"]).await;
    let mut server = TestServer::builder().mirror(mirror).start().await;
    let repository = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&repository, &image).await;
    server
        .restart_with(|settings| settings["mirrors"][0]["deny"] = json!(["team/**"]))
        .await;
    let asked = upstream.total();
    let client = server.client();
    let by_digest = format!("/v2/{repository}/manifests/{}", image.top().digest);
    for path in [manifest("team/app"), by_digest.clone()] {
        client.get(&path).await.expect_error(403, "DENIED");
        client.head(&path).await.expect_status(403);
    }
    let blob = format!("/v2/{repository}/blobs/{}", image.blobs[1].digest);
    client.get(&blob).await.expect_error(403, "DENIED");
    assert_eq!(upstream.total(), asked);
    server
        .restart_with(|settings| settings["mirrors"][0]["deny"] = json!([]))
        .await;
    server.client().get(&by_digest).await.expect_status(200);
    assert_eq!(upstream.total(), asked, "it had been kept");
}

#[tokio::test]
async fn pushes_to_local_names_work_beside_an_allow_list() {
    let (upstream, image, mut mirror) = holding(&["team/app"]).await;
    mirror["allow"] = json!(["library/**"]);
    let server = TestServer::builder().mirror(mirror).start().await;
    let client = server.client();
    let path = "/v2/team/app/manifests/v1";
    let head = client.head(path).await.expect_status(404);
    let warning = head.need("warning");
    assert!(warning.contains("allow list"), "{warning}");
    let blob = format!("/v2/team/app/blobs/{}", image.blobs[1].digest);
    client.head(&blob).await.expect_status(404);
    client.get(path).await.expect_error(403, "DENIED");
    let own = Recipe::image("own").build();
    client.push("team/app", &own, &["v1"]).await;
    let reply = client.get(path).await.expect_status(200);
    assert_eq!(reply.body, own.top().bytes);
    assert_eq!(upstream.total(), 0);
}
