//! Every kind of content clients push takes the same walk: push, list, pull, ask for referrers, delete.

use serde_json::json;

use crate::support::client::Client;
use crate::support::images::{
    ALGORITHMS, Algorithm, Blob, Content, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Recipe,
    SBOM, SIGNATURE, digest_of, docker_list, index, noise,
};
use crate::support::server::TestServer;

const REPOSITORY: &str = "team/app";

/// Takes content through a registry's life, the last manifest under `tags`.
async fn walk(client: &Client, content: &Content, tags: &[&str]) {
    client.push(REPOSITORY, content, tags).await;
    walk_after_push(client, content, tags).await;
}

async fn walk_after_push(client: &Client, content: &Content, tags: &[&str]) {
    let top = content.top();
    if !tags.is_empty() {
        let list = client.get(&format!("/v2/{REPOSITORY}/tags/list")).await;
        let listed = list.expect_status(200).texts("tags");
        for tag in tags {
            assert!(listed.contains(&(*tag).to_owned()), "{tag} in {listed:?}");
        }
    }
    client.expect_pull(REPOSITORY, content).await;
    for tag in tags {
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        let head = client.head(&path).await.expect_status(200);
        assert_eq!(head.need("content-length"), top.bytes.len().to_string());
        let reply = client.get(&path).await.expect_status(200);
        assert_eq!(reply.body, top.bytes);
        assert_eq!(reply.need("content-type"), top.media_type);
        assert_eq!(reply.need("docker-content-digest"), top.digest);
    }
    for manifest in &content.manifests {
        expect_among_referrers(client, manifest).await;
    }
    delete(client, content, tags).await;
}

/// Where a manifest has a subject, the subject's referrers name it with type and annotations.
async fn expect_among_referrers(client: &Client, manifest: &Manifest) {
    let Some(subject) = manifest.json["subject"]["digest"].as_str() else {
        return;
    };
    let reply = client
        .get(&format!("/v2/{REPOSITORY}/referrers/{subject}"))
        .await;
    let listed = reply.expect_status(200).json();
    let found = listed["manifests"].as_array().unwrap().iter();
    let entry = found
        .clone()
        .find(|entry| entry["digest"] == manifest.digest);
    let entry = entry.unwrap_or_else(|| panic!("{} not in {listed}", manifest.digest));
    assert_eq!(entry["annotations"], manifest.json["annotations"]);
    assert_eq!(entry["size"], manifest.bytes.len());
}

/// Takes everything away; each thing is gone at once.
async fn delete(client: &Client, content: &Content, tags: &[&str]) {
    let tagged = tags.iter().map(|tag| format!("manifests/{tag}"));
    let manifests = content.manifests.iter().rev();
    let manifests = manifests.map(|manifest| format!("manifests/{}", manifest.digest));
    let blobs = content
        .blobs
        .iter()
        .map(|blob| format!("blobs/{}", blob.digest));
    for thing in tagged.chain(manifests).chain(blobs) {
        let path = format!("/v2/{REPOSITORY}/{thing}");
        client.delete(&path).await.expect_status(202);
        client.head(&path).await.expect_status(404);
    }
}

#[tokio::test]
async fn images_live_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    let plain = "application/vnd.oci.image.layer.v1.tar";
    for algorithm in ALGORITHMS {
        let compressed = Recipe::image("compressed").algorithm(algorithm);
        walk(server.client(), &compressed.build(), &["v1"]).await;
        let uncompressed = Recipe::image("uncompressed").algorithm(algorithm);
        walk(
            server.client(),
            &uncompressed.layer_type(plain).build(),
            &["v1"],
        )
        .await;
        let bare = Recipe::image("bare").algorithm(algorithm).layers(0);
        walk(server.client(), &bare.build(), &["v1"]).await;
        let inline = Recipe::image("inline").algorithm(algorithm).inline_data();
        walk(server.client(), &inline.build(), &["v1"]).await;
        let custom = Recipe::image("custom").algorithm(algorithm);
        let custom = custom.field("org.example.unknown", json!({"deep": [1, null, "x"]}));
        walk(server.client(), &custom.build(), &["v1"]).await;
    }
}

#[tokio::test]
async fn docker_images_live_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    let image = Recipe::image("docker").docker().build();
    walk(server.client(), &image, &["v1"]).await;
    walk(server.client(), &docker_list(&[image]), &["v1"]).await;
}

#[tokio::test]
async fn a_manifest_of_almost_four_mebibytes_is_taken() {
    let server = TestServer::start().await;
    let long = "A".repeat(10_000);
    let annotations: serde_json::Map<_, _> = (0..390)
        .map(|number| (format!("large-{number}"), json!(long)))
        .collect();
    let image = Recipe::image("large")
        .field("annotations", annotations.into())
        .build();
    assert!(image.top().bytes.len() > 3_900_000);
    walk(server.client(), &image, &["v1"]).await;
}

#[tokio::test]
async fn indexes_live_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = |seed: &str| Recipe::image(seed).algorithm(algorithm).build();
        let flat = index(algorithm, &[image("a"), image("b")], &[]);
        walk(server.client(), &flat, &["v1"]).await;
        let other = index(algorithm, &[image("c"), image("d")], &[]);
        let nested = index(algorithm, &[flat, other], &[]);
        walk(server.client(), &nested, &["v1"]).await;
        let empty = index(algorithm, &[], &[]);
        walk(server.client(), &empty, &["v1"]).await;
        let fields = [("org.example.unknown", json!("kept"))];
        let custom = index(algorithm, &[image("e")], &fields);
        walk(server.client(), &custom, &["v1"]).await;
    }
}

#[tokio::test]
async fn artifacts_live_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let artifact = |seed: &str| Recipe::artifact(seed, SBOM).algorithm(algorithm);
        walk(server.client(), &artifact("one").build(), &["v1"]).await;
        let children = [artifact("two").build(), artifact("three").build()];
        let fields = [("artifactType", json!(SBOM))];
        walk(
            server.client(),
            &index(algorithm, &children, &fields),
            &["v1"],
        )
        .await;
        let empty = artifact_without_layers(algorithm);
        walk(server.client(), &empty, &["v1"]).await;
    }
}

/// An artifact whose one layer is the empty JSON, the same blob as its config.
fn artifact_without_layers(algorithm: Algorithm) -> Content {
    let empty = Blob::new(algorithm, "application/vnd.oci.empty.v1+json", &b"{}"[..]);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": SBOM,
        "config": empty.descriptor(), "layers": [empty.descriptor()],
    });
    Content {
        blobs: vec![empty],
        manifests: vec![Manifest::new(algorithm, manifest)],
    }
}

#[tokio::test]
async fn artifacts_with_a_subject_live_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("subject").algorithm(algorithm).build();
        server.client().push(REPOSITORY, &image, &["v1"]).await;
        let recipes = [
            Recipe::image("plain image"),
            Recipe::artifact("sbom", SBOM).annotation("org.example.note", "hello"),
            Recipe::artifact("signature", SIGNATURE).annotation("org.example.note", "hello"),
        ];
        for recipe in recipes {
            let referrer = recipe.algorithm(algorithm).subject(image.top()).build();
            walk(server.client(), &referrer, &["artifact"]).await;
        }
        delete(server.client(), &image, &["v1"]).await;
    }
}

#[tokio::test]
async fn an_index_with_a_subject_lives_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let subject = index(
            algorithm,
            &[Recipe::image("s").algorithm(algorithm).build()],
            &[],
        );
        server.client().push(REPOSITORY, &subject, &["v1"]).await;
        let children = [Recipe::artifact("a", SBOM).algorithm(algorithm).build()];
        let fields = [
            ("artifactType", json!(SBOM)),
            ("annotations", json!({"org.example.note": "hello"})),
            ("subject", subject.top().descriptor()),
        ];
        walk(
            server.client(),
            &index(algorithm, &children, &fields),
            &["artifact"],
        )
        .await;
        delete(server.client(), &subject, &["v1"]).await;
    }
}

#[tokio::test]
async fn an_artifact_whose_subject_is_missing_lives_through_push_pull_and_delete() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let missing = Recipe::image("never pushed").algorithm(algorithm).build();
        let artifact = Recipe::artifact("early", SBOM).algorithm(algorithm);
        let artifact = artifact.annotation("org.example.note", "hello");
        walk(
            server.client(),
            &artifact.subject(missing.top()).build(),
            &["v1"],
        )
        .await;
    }
}

#[tokio::test]
async fn layers_with_urls_are_opaque_and_need_not_be_here() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let far = |seed: &str, media_type: &str| {
            let digest = digest_of(algorithm, seed.as_bytes());
            json!({"mediaType": media_type, "digest": digest, "size": 123_456,
                "urls": [format!("https://store.example.com/{digest}")]})
        };
        let near = Blob::new(algorithm, OCI_LAYER, noise("near", 900));
        let config = Blob::new(algorithm, OCI_CONFIG, &br#"{"os":"linux"}"#[..]);
        let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(),
            "layers": [far("one", &format!("{kind}+gzip")), far("two", kind), near.descriptor()],
        });
        let image = Content {
            blobs: vec![config, near],
            manifests: vec![Manifest::new(algorithm, manifest)],
        };
        walk(server.client(), &image, &["v1"]).await;
    }
}

#[tokio::test]
async fn sparse_images_and_indexes_are_taken_where_validation_is_off() {
    let server = TestServer::builder()
        .config(|c| c["validation"] = json!({"disabled": true}))
        .start()
        .await;
    let mut image = Recipe::image("sparse").build();
    image.blobs.pop();
    walk(server.client(), &image, &["v1"]).await;
    let here = Recipe::image("here").build();
    let mut many = index(
        Algorithm::Sha256,
        &[here, Recipe::image("absent").build()],
        &[],
    );
    many.manifests.remove(1);
    many.blobs.truncate(4);
    walk(server.client(), &many, &["v1"]).await;
}

#[tokio::test]
async fn tags_come_with_a_push_by_digest() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("several").algorithm(algorithm).build();
        let many = index(algorithm, &[image], &[]);
        server.client().push(REPOSITORY, &many, &[]).await;
        let tags: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
        let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let reference = format!("{}?{}", many.top().digest, query.join("&"));
        let reply = server
            .client()
            .push_manifest(REPOSITORY, &reference, many.top())
            .await;
        let mut accepted = reply.expect_status(201).list("oci-tag");
        accepted.sort();
        let mut wanted = tags.clone();
        wanted.sort();
        assert_eq!(accepted, wanted);
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        walk_after_push(server.client(), &many, &tags).await;
    }
}

#[tokio::test]
async fn pushing_the_same_image_twice_changes_nothing() {
    let server = TestServer::start().await;
    let image = Recipe::image("twice").build();
    server.client().push(REPOSITORY, &image, &["v1"]).await;
    walk(server.client(), &image, &["v1"]).await;
}
