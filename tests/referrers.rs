//! Referrers: what points at a manifest, filtered and in pages, whether or not the subject is here.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::images::{
    ALGORITHMS, Algorithm, Content, Manifest, OCI_CONFIG, OCI_INDEX, Recipe, SBOM, SIGNATURE,
    digest_of, index,
};
use crate::support::server::TestServer;

const REPOSITORY: &str = "team/app";

async fn referrers(client: &Client, digest: &str, query: &str) -> Vec<Value> {
    let path = format!("/v2/{REPOSITORY}/referrers/{digest}{query}");
    let reply = client.get(&path).await.expect_status(200);
    assert_eq!(reply.need("content-type"), OCI_INDEX);
    let json = reply.json();
    assert_eq!(json["schemaVersion"], 2);
    assert_eq!(json["mediaType"], OCI_INDEX);
    json["manifests"].as_array().unwrap().clone()
}

fn digests(entries: &[Value]) -> Vec<&str> {
    let mut digests: Vec<&str> = entries
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    digests.sort_unstable();
    digests
}

fn sorted<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Vec<&'a str> {
    let digests = contents
        .into_iter()
        .map(|content| content.top().digest.as_str());
    let mut digests: Vec<&str> = digests.collect();
    digests.sort_unstable();
    digests
}

#[tokio::test]
async fn nothing_refers_to_a_digest_nobody_knows() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let digest = digest_of(algorithm, b"unknown");
        assert!(referrers(server.client(), &digest, "").await.is_empty());
    }
}

#[tokio::test]
async fn a_malformed_digest_is_400() {
    let server = TestServer::start().await;
    for digest in ["sha256:short", "latest", "sha384:00"] {
        let path = format!("/v2/{REPOSITORY}/referrers/{digest}");
        server
            .client()
            .get(&path)
            .await
            .expect_error(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn referrers_carry_type_size_and_annotations() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let subject = Recipe::image("subject").algorithm(algorithm).build();
        server.client().push(REPOSITORY, &subject, &["v1"]).await;
        let image = Recipe::image("image")
            .algorithm(algorithm)
            .subject(subject.top())
            .build();
        let sbom = Recipe::artifact("sbom", SBOM).algorithm(algorithm);
        let sbom = sbom
            .annotation("org.example.note", "one")
            .subject(subject.top())
            .build();
        let signature = Recipe::artifact("signature", SIGNATURE).algorithm(algorithm);
        let signature = signature.subject(subject.top()).build();
        let listed = index(algorithm, &[], &[("subject", subject.top().descriptor())]);
        for content in [&image, &sbom, &signature, &listed] {
            server.client().push(REPOSITORY, content, &[]).await;
        }
        let found = referrers(server.client(), &subject.top().digest, "").await;
        assert_eq!(
            digests(&found),
            sorted([&image, &sbom, &signature, &listed])
        );
        let entry = |manifest: &Manifest| {
            let mut entries = found
                .iter()
                .filter(|entry| entry["digest"] == manifest.digest);
            entries.next().unwrap().clone()
        };
        assert_eq!(entry(image.top())["artifactType"], OCI_CONFIG);
        assert_eq!(entry(signature.top())["artifactType"], SIGNATURE);
        assert!(entry(listed.top()).get("artifactType").is_none());
        assert_eq!(entry(listed.top())["mediaType"], OCI_INDEX);
        let sbom_entry = entry(sbom.top());
        assert_eq!(sbom_entry["artifactType"], SBOM);
        assert_eq!(
            sbom_entry["annotations"],
            json!({"org.example.note": "one"})
        );
        assert_eq!(sbom_entry["size"], sbom.top().bytes.len());
        assert_eq!(sbom_entry["mediaType"], sbom.top().media_type);
    }
}

#[tokio::test]
async fn the_filter_leaves_one_type_and_says_so() {
    let server = TestServer::start().await;
    let subject = Recipe::image("subject").build();
    let sbom = Recipe::artifact("sbom", SBOM)
        .subject(subject.top())
        .build();
    let signature = Recipe::artifact("signature", SIGNATURE)
        .subject(subject.top())
        .build();
    for content in [&sbom, &signature] {
        server.client().push(REPOSITORY, content, &[]).await;
    }
    let digest = &subject.top().digest;
    let path = format!("/v2/{REPOSITORY}/referrers/{digest}?artifactType={SBOM}");
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.list("oci-filters-applied"), ["artifactType"]);
    let found = referrers(server.client(), digest, &format!("?artifactType={SBOM}")).await;
    assert_eq!(digests(&found), sorted([&sbom]));
    let escaped = SBOM.replace('/', "%2F").replace('+', "%2B");
    let found = referrers(server.client(), digest, &format!("?artifactType={escaped}")).await;
    assert_eq!(digests(&found), sorted([&sbom]));
    let none = referrers(server.client(), digest, "?artifactType=application/none").await;
    assert!(none.is_empty());
    let path = format!("/v2/{REPOSITORY}/referrers/{digest}");
    let unfiltered = server.client().get(&path).await;
    assert!(unfiltered.header("oci-filters-applied").is_none());
}

#[tokio::test]
async fn many_referrers_come_in_pages_that_keep_the_filter() {
    let server = TestServer::start().await;
    let subject = Recipe::image("subject").build();
    let mut wanted = Vec::new();
    for number in 0..7 {
        let kind = if number < 5 { SBOM } else { SIGNATURE };
        let artifact = Recipe::artifact(&format!("artifact {number}"), kind);
        let artifact = artifact.subject(subject.top()).build();
        server.client().push(REPOSITORY, &artifact, &[]).await;
        wanted.push(artifact);
    }
    for (filter, wanted) in [
        ("", &wanted[..]),
        (&format!("&artifactType={SBOM}"), &wanted[..5]),
    ] {
        let mut next = Some(format!(
            "/v2/{REPOSITORY}/referrers/{}?n=2{filter}",
            subject.top().digest
        ));
        let mut found = Vec::new();
        let mut pages = 0;
        while let Some(path) = next {
            let reply = server.client().get(&path).await.expect_status(200);
            let page = reply.json()["manifests"].as_array().unwrap().clone();
            assert!(page.len() <= 2, "{page:?}");
            found.extend(page);
            next = reply.next_page();
            pages += 1;
            assert!(pages < 20, "the pages never end");
        }
        assert_eq!(digests(&found), sorted(wanted), "{filter}");
        assert!(pages >= 3);
    }
}

#[tokio::test]
async fn a_referrer_goes_with_its_manifest_and_the_subject_may_come_later() {
    let server = TestServer::start().await;
    let subject = Recipe::image("late subject").build();
    let sbom = Recipe::artifact("sbom", SBOM)
        .subject(subject.top())
        .build();
    server.client().push(REPOSITORY, &sbom, &[]).await;
    let digest = &subject.top().digest;
    assert_eq!(referrers(server.client(), digest, "").await.len(), 1);
    server.client().push(REPOSITORY, &subject, &["v1"]).await;
    assert_eq!(referrers(server.client(), digest, "").await.len(), 1);
    let path = format!("/v2/{REPOSITORY}/manifests/{digest}");
    server.client().delete(&path).await.expect_status(202);
    assert_eq!(referrers(server.client(), digest, "").await.len(), 1);
    let path = format!("/v2/{REPOSITORY}/manifests/{}", sbom.top().digest);
    server.client().delete(&path).await.expect_status(202);
    assert!(referrers(server.client(), digest, "").await.is_empty());
}

#[tokio::test]
async fn referrers_of_one_repository_are_not_those_of_another() {
    let server = TestServer::start().await;
    let subject = Recipe::image("subject").build();
    let sbom = Recipe::artifact("sbom", SBOM)
        .subject(subject.top())
        .build();
    server.client().push("other/app", &sbom, &[]).await;
    assert!(
        referrers(server.client(), &subject.top().digest, "")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn what_a_client_put_into_the_fallback_tag_shows_up() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let subject = Recipe::image("subject").algorithm(algorithm).build();
        server.client().push(REPOSITORY, &subject, &["v1"]).await;
        let old = Recipe::artifact("old", SBOM)
            .annotation("org.example.note", "old")
            .build();
        server.client().push(REPOSITORY, &old, &[]).await;
        let mut descriptor = old.top().descriptor();
        descriptor["artifactType"] = json!(SBOM);
        descriptor["annotations"] = json!({"org.example.note": "old"});
        let fallback = Manifest::new(
            Algorithm::Sha256,
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor]}),
        );
        let (name, encoded) = subject.top().digest.split_once(':').unwrap();
        let tag = format!("{name}-{}", &encoded[..64]);
        let call = server.client().push_manifest(REPOSITORY, &tag, &fallback);
        call.await.expect_status(201);
        let new = Recipe::artifact("new", SIGNATURE)
            .subject(subject.top())
            .build();
        server.client().push(REPOSITORY, &new, &[]).await;
        let found = referrers(server.client(), &subject.top().digest, "").await;
        assert_eq!(digests(&found), sorted([&old, &new]));
        let query = format!("?artifactType={SBOM}");
        let found = referrers(server.client(), &subject.top().digest, &query).await;
        assert_eq!(digests(&found), sorted([&old]));
        assert_eq!(found[0]["annotations"], json!({"org.example.note": "old"}));
    }
}
