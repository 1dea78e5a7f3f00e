//! Lists through a mirror: tags and referrers as the upstream has them, and what is left without it.

use std::time::Duration;

use serde_json::json;

use crate::support::images::{Algorithm, Manifest, OCI_INDEX, Recipe, SBOM, SIGNATURE};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Kind, ReferrersApi};

const TAGS: &str = "/v2/upstream.example/team/app/tags/list";

async fn mirrored(tags: &[&str]) -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("mirrored").build(), tags);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    (upstream, server)
}

#[tokio::test]
async fn tags_are_those_of_the_upstream() {
    let (upstream, server) = mirrored(&["v1", "v2", "v3"]).await;
    let reply = server.client().get(TAGS).await.expect_status(200);
    assert_eq!(reply.texts("tags"), ["v1", "v2", "v3"]);
    assert_eq!(reply.json()["name"], format!("{UPSTREAM}/team/app"));
    assert_eq!(upstream.count(Kind::Tags), 1);
    let plain = server
        .client()
        .get("/v2/team/app/tags/list")
        .await
        .expect_status(200);
    assert_eq!(plain.json()["name"], "team/app");
    assert_eq!(plain.texts("tags"), ["v1", "v2", "v3"]);
}

#[tokio::test]
async fn pages_of_the_upstreams_tags_lead_to_the_end() {
    let (upstream, server) = mirrored(&["v1", "v2", "v3", "v4", "v5"]).await;
    upstream.plan().page_size = 2;
    for start in [
        TAGS.to_owned(),
        format!("{TAGS}?n=2"),
        format!("{TAGS}?n=4"),
    ] {
        let mut next = Some(start.clone());
        let mut found = Vec::new();
        let mut pages = 0;
        while let Some(path) = next {
            let reply = server.client().get(&path).await.expect_status(200);
            found.extend(reply.texts("tags"));
            next = reply.next_page();
            if let Some(next) = &next {
                assert!(next.contains(UPSTREAM), "a link leads back here: {next}");
            }
            pages += 1;
            assert!(pages < 20, "the pages never end");
        }
        assert_eq!(found, ["v1", "v2", "v3", "v4", "v5"], "{start}");
    }
}

#[tokio::test]
async fn without_the_upstream_the_tags_known_here_are_listed_with_a_warning() {
    let (upstream, server) = mirrored(&["v1", "v2", "v3"]).await;
    for tag in ["v3", "v1"] {
        let path = format!("/v2/{UPSTREAM}/team/app/manifests/{tag}");
        server.client().get(&path).await.expect_status(200);
    }
    upstream.die().await;
    let reply = server.client().get(TAGS).await.expect_status(200);
    assert_eq!(reply.texts("tags"), ["v1", "v3"]);
    assert!(reply.need("warning").starts_with("299 - "), "{reply:?}");
    upstream.come_back().await;
    upstream.refuse_everything(503, &[]);
    server.let_upstreams_rest();
    let reply = server.client().get(TAGS).await.expect_status(200);
    assert_eq!(reply.texts("tags"), ["v1", "v3"]);
    upstream.heal();
    server.clock().advance(Duration::from_secs(2));
    let reply = server.client().get_until_fresh(TAGS).await;
    assert_eq!(reply.texts("tags").len(), 3);
}

#[tokio::test]
async fn tags_nobody_knows_get_the_true_status() {
    let (upstream, server) = mirrored(&["v1"]).await;
    let path = format!("/v2/{UPSTREAM}/nobody/here/tags/list");
    server
        .client()
        .get(&path)
        .await
        .expect_error(404, "NAME_UNKNOWN");
    upstream.die().await;
    let reply = server.client().get(TAGS).await.expect_plain_error();
    assert!([502, 504].contains(&reply.status), "{reply:?}");
}

#[tokio::test]
async fn the_tags_of_a_local_repository_ask_nobody() {
    let (upstream, server) = mirrored(&["v1"]).await;
    server
        .client()
        .push("own/app", &Recipe::image("mine").build(), &["mine"])
        .await;
    let reply = server
        .client()
        .get("/v2/own/app/tags/list")
        .await
        .expect_status(200);
    assert_eq!(reply.texts("tags"), ["mine"]);
    assert_eq!(upstream.total(), 0);
}

/// An upstream with an image and two artifacts about it.
async fn with_artifacts() -> (FakeUpstream, TestServer, String, [String; 2]) {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("subject").build();
    upstream.hold("team/app", &image, &["v1"]);
    let sbom = Recipe::artifact("sbom", SBOM).annotation("org.example.note", "far");
    let sbom = sbom.subject(image.top()).build();
    let signature = Recipe::artifact("signature", SIGNATURE)
        .subject(image.top())
        .build();
    upstream.hold("team/app", &sbom, &[]);
    upstream.hold("team/app", &signature, &[]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let path = format!("/v2/{UPSTREAM}/team/app/referrers/{}", image.top().digest);
    let digests = [sbom.top().digest.clone(), signature.top().digest.clone()];
    (upstream, server, path, digests)
}

#[tokio::test]
async fn referrers_are_those_of_the_upstream() {
    let (upstream, server, path, digests) = with_artifacts().await;
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.need("content-type"), OCI_INDEX);
    let json = reply.json();
    let listed = json["manifests"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{json}");
    for digest in &digests {
        assert!(listed.iter().any(|entry| entry["digest"] == *digest));
    }
    assert!(upstream.count(Kind::Referrers) >= 1);
    let filtered = server
        .client()
        .get(&format!("{path}?artifactType={SBOM}"))
        .await;
    let filtered = filtered.expect_status(200);
    assert_eq!(filtered.list("oci-filters-applied"), ["artifactType"]);
    let json = filtered.json();
    assert_eq!(json["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(json["manifests"][0]["digest"], digests[0]);
    assert_eq!(
        json["manifests"][0]["annotations"]["org.example.note"],
        "far"
    );
    let artifact = format!("/v2/{UPSTREAM}/team/app/manifests/{}", digests[0]);
    server.client().get(&artifact).await.expect_status(200);
}

#[tokio::test]
async fn referrers_of_an_upstream_without_the_api_come_from_its_fallback_tags() {
    for api in [ReferrersApi::NotFound, ReferrersApi::Html] {
        let upstream = FakeUpstream::start().await;
        upstream.plan().referrers = api;
        let image = Recipe::image("subject").build();
        upstream.hold("team/app", &image, &["v1"]);
        let sbom = Recipe::artifact("sbom", SBOM).subject(image.top()).build();
        upstream.hold("team/app", &sbom, &[]);
        let mut descriptor = sbom.top().descriptor();
        descriptor["artifactType"] = json!(SBOM);
        let fallback = Manifest::new(
            Algorithm::Sha256,
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor]}),
        );
        let tag = image.top().digest.replace(':', "-");
        let fallback = crate::support::images::Content {
            blobs: Vec::new(),
            manifests: vec![fallback],
        };
        upstream.hold("team/app", &fallback, &[&tag]);
        let server = TestServer::builder().mirror_of(&upstream).start().await;
        let path = format!("/v2/{UPSTREAM}/team/app/referrers/{}", image.top().digest);
        let reply = server.client().get(&path).await.expect_status(200);
        assert_eq!(
            reply.json()["manifests"][0]["digest"],
            sbom.top().digest,
            "{api:?}"
        );
        let other = Recipe::image("no referrers").build();
        let path = format!("/v2/{UPSTREAM}/team/app/referrers/{}", other.top().digest);
        let reply = server.client().get(&path).await.expect_status(200);
        assert_eq!(reply.json()["manifests"], json!([]));
    }
}

#[tokio::test]
async fn referrers_without_the_upstream_are_never_a_false_nothing() {
    let (upstream, server, path, _) = with_artifacts().await;
    upstream.die().await;
    let reply = server.client().get(&path).await;
    match reply.status {
        200 => assert!(reply.need("warning").starts_with("299 - "), "{reply:?}"),
        status => assert!([502, 504].contains(&status), "{reply:?}"),
    }
}

#[tokio::test]
async fn referrers_told_before_are_told_without_the_upstream_with_a_warning() {
    let (upstream, server, path, digests) = with_artifacts().await;
    let client = server.client();
    let bare = Recipe::image("bare").build();
    let none = format!("/v2/{UPSTREAM}/team/app/referrers/{}", bare.top().digest);
    let told = client.get(&path).await.expect_status(200);
    client.get(&none).await.expect_status(200);
    upstream.die().await;
    let reply = client.get(&path).await.expect_status(200);
    assert_eq!(reply.json(), told.json());
    for digest in &digests {
        assert!(reply.text().contains(digest.as_str()), "{reply:?}");
    }
    assert_eq!(reply.need("seawall-cache"), "stale");
    let warning = reply.need("warning").to_owned();
    let wanted = format!("299 - \"stale: {UPSTREAM} ");
    assert!(warning.starts_with(&wanted), "{warning}");
    let reply = client.get(&none).await.expect_status(200);
    assert_eq!(reply.json()["manifests"], json!([]), "it was told so");
    assert!(reply.need("warning").starts_with(&wanted), "{reply:?}");
    let nobody_asked = Recipe::image("nobody asked").build();
    let unknown = none.replace(&bare.top().digest, &nobody_asked.top().digest);
    let reply = client.get(&unknown).await.expect_plain_error();
    assert!([502, 504].contains(&reply.status), "{reply:?}");
}

#[tokio::test]
async fn a_stored_artifact_is_a_referrer_without_the_upstream() {
    let (upstream, server, path, [sbom, _]) = with_artifacts().await;
    let artifact = format!("/v2/{UPSTREAM}/team/app/manifests/{sbom}");
    server.client().get(&artifact).await.expect_status(200);
    upstream.refuse_everything(503, &[]);
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.need("seawall-cache"), "stale");
    assert_eq!(reply.json()["manifests"][0]["digest"], sbom);
}

#[tokio::test]
async fn a_signature_under_a_tag_pulls_through_like_any_image() {
    let (upstream, server) = mirrored(&["v1"]).await;
    let image = Recipe::image("mirrored").build();
    let signature = Recipe::artifact("cosign", SIGNATURE).build();
    let tag = format!("{}.sig", image.top().digest.replace(':', "-"));
    upstream.hold("team/app", &signature, &[&tag]);
    let client = server.client();
    let repository = format!("{UPSTREAM}/team/app");
    let path = format!("/v2/{repository}/manifests/{tag}");
    for wanted in ["miss", "hit"] {
        let reply = client.get(&path).await.expect_status(200);
        assert_eq!(reply.body, signature.top().bytes);
        assert_eq!(reply.need("seawall-cache"), wanted);
    }
    client.expect_pull(&repository, &signature).await;
    upstream.die().await;
    client.get(&path).await.expect_status(200);
    client.expect_pull(&repository, &signature).await;
}
