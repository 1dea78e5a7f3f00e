//! Which repository a name means, where pushes go beside mirrors, and what strangers must not learn.

use serde_json::json;

use crate::support::images::{Algorithm, Recipe, digest_of, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Admission, Kind};

fn mirror(name: &str, upstream: &FakeUpstream, default: bool) -> serde_json::Value {
    json!({"name": name, "endpoints": [upstream.url()], "default": default})
}

#[tokio::test]
async fn the_first_component_names_the_upstream() {
    let (one, two) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let (first, second) = (Recipe::image("one").build(), Recipe::image("two").build());
    one.hold("team/app", &first, &["v1"]);
    two.hold("team/app", &second, &["v1"]);
    let server = TestServer::builder()
        .mirror(mirror("one.example", &one, true))
        .mirror(mirror("two.example:5000", &two, false))
        .start()
        .await;
    for (name, image) in [("one.example", &first), ("two.example:5000", &second)] {
        let path = format!("/v2/{name}/team/app/manifests/v1");
        let reply = server.client().get(&path).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes, "{name}");
        let repository = format!("{name}/team/app");
        server.client().expect_pull(&repository, image).await;
    }
    let mut names = server
        .client()
        .get("/v2/_catalog")
        .await
        .texts("repositories");
    names.sort();
    assert_eq!(names, ["one.example/team/app", "two.example:5000/team/app"]);
}

#[tokio::test]
async fn ns_names_the_upstream_and_comes_back_as_oci_namespace() {
    let (one, two) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let image = Recipe::image("two").build();
    two.hold("team/app", &image, &["v1"]);
    let server = TestServer::builder()
        .mirror(mirror("one.example", &one, true))
        .mirror(mirror("two.example", &two, false))
        .start()
        .await;
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1?ns=two.example")
        .await;
    let reply = reply.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    assert_eq!(reply.need("oci-namespace"), "two.example");
    for blob in &image.blobs {
        let path = format!("/v2/team/app/blobs/{}?ns=two.example", blob.digest);
        assert_eq!(
            server.client().get(&path).await.expect_status(200).body,
            blob.bytes
        );
    }
    assert_eq!(one.total(), 0);
    let same = server
        .client()
        .get("/v2/two.example/team/app/manifests/v1")
        .await;
    assert_eq!(same.expect_status(200).need("seawall-cache"), "hit");
    let wrong = server
        .client()
        .get("/v2/team/app/manifests/v1?ns=one.example")
        .await;
    wrong.expect_status(404);
}

#[tokio::test]
async fn an_ns_that_names_no_upstream_is_never_dialled() {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("default").build(), &["v1"]);
    let stranger = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let address = stranger.url().replace("http://", "");
    for ns in ["nowhere.example", address.as_str()] {
        let path = format!("/v2/team/app/manifests/v1?ns={ns}");
        let reply = server
            .client()
            .get(&path)
            .await
            .expect_error(404, "NAME_UNKNOWN");
        assert!(reply.text().contains(ns), "{reply:?}");
    }
    assert_eq!((upstream.total(), stranger.total()), (0, 0));
    let local = Recipe::image("local").build();
    server.client().push("own/app", &local, &["v1"]).await;
    let reply = server
        .client()
        .get("/v2/own/app/manifests/v1?ns=nowhere.example")
        .await;
    assert_eq!(reply.expect_status(200).body, local.top().bytes);
}

#[tokio::test]
async fn ns_is_ignored_where_there_is_no_mirror() {
    let server = TestServer::start().await;
    let image = Recipe::image("local").build();
    server.client().push("team/app", &image, &["v1"]).await;
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1?ns=docker.io")
        .await;
    assert_eq!(reply.expect_status(200).body, image.top().bytes);
}

#[tokio::test]
async fn a_local_repository_comes_before_the_default_upstream() {
    let upstream = FakeUpstream::start().await;
    let (local, far) = (Recipe::image("local").build(), Recipe::image("far").build());
    upstream.hold("team/app", &far, &["v1", "v2"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    server.client().push("team/app", &local, &["v1"]).await;
    let before = upstream.total();
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    assert_eq!(reply.body, local.top().bytes);
    server.client().expect_pull("team/app", &local).await;
    let v2 = server.client().get("/v2/team/app/manifests/v2").await;
    v2.expect_error(404, "MANIFEST_UNKNOWN");
    let blob = format!("/v2/team/app/blobs/{}", far.blobs[0].digest);
    server
        .client()
        .get(&blob)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    assert_eq!(upstream.total(), before, "a local name asks nobody");
    let path = format!("/v2/{UPSTREAM}/team/app/manifests/v1");
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, far.top().bytes);
}

#[tokio::test]
async fn every_other_name_goes_to_the_default_upstream() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("default").build();
    upstream.hold("team/app", &image, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    server.client().expect_pull("team/app", &image).await;
    upstream.die().await;
    server.client().expect_pull("team/app", &image).await;
    server
        .client()
        .expect_pull(&format!("{UPSTREAM}/team/app"), &image)
        .await;
}

#[tokio::test]
async fn without_a_default_upstream_plain_names_are_local_only() {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("far").build(), &["v1"]);
    let server = TestServer::builder()
        .mirror(mirror(UPSTREAM, &upstream, false))
        .start()
        .await;
    server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(404);
    assert_eq!(upstream.total(), 0);
}

#[tokio::test]
async fn single_names_of_docker_hub_are_in_its_library() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("nginx").build();
    upstream.hold("library/nginx", &image, &["latest"]);
    let server = TestServer::builder()
        .mirror(mirror("docker.io", &upstream, true))
        .start()
        .await;
    for name in ["nginx", "library/nginx", "docker.io/library/nginx"] {
        let path = format!("/v2/{name}/manifests/latest");
        let reply = server.client().get(&path).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes, "{name}");
        server.client().expect_pull(name, &image).await;
    }
    let catalog = server
        .client()
        .get("/v2/_catalog")
        .await
        .texts("repositories");
    assert_eq!(catalog, ["docker.io/library/nginx"]);
    let gets = upstream.seen(Kind::ManifestGet);
    assert_eq!(gets.len(), 1, "{gets:?}");
    assert!(
        gets[0].path.starts_with("/v2/library/nginx/manifests/"),
        "{gets:?}"
    );
}

#[tokio::test]
async fn pushes_to_mirrored_names_are_405_with_the_reason() {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let image = Recipe::image("mine").build();
    let bytes = noise("x", 10);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let client = server.client();
    for (name, query) in [
        (format!("{UPSTREAM}/team/app"), String::new()),
        ("team/app".to_owned(), format!("ns={UPSTREAM}")),
    ] {
        let start = format!("/v2/{name}/blobs/uploads/?{query}");
        let reply = client.post(&start).await.expect_error(405, "UNSUPPORTED");
        assert!(reply.text().contains("mirror"), "{reply:?}");
        let single = format!("/v2/{name}/blobs/uploads/?digest={digest}&{query}");
        let reply = client.post(&single).body(bytes.clone()).await;
        reply.expect_error(405, "UNSUPPORTED");
        let reference = format!("v1?{query}");
        let reply = client.push_manifest(&name, &reference, image.top()).await;
        reply.expect_error(405, "UNSUPPORTED");
    }
    assert_eq!(upstream.total(), 0);
}

#[tokio::test]
async fn pushes_to_local_names_work_beside_mirrors_and_tell_the_upstream_no_digests() {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let image = Recipe::image("mine").build();
    for blob in &image.blobs {
        let path = format!("/v2/own/app/blobs/{}", blob.digest);
        server.client().head(&path).await.expect_status(404);
        server
            .client()
            .get(&path)
            .await
            .expect_error(404, "BLOB_UNKNOWN");
    }
    server.client().push("own/app", &image, &["v1"]).await;
    for blob in &image.blobs {
        let path = format!("/v2/own/app/blobs/{}", blob.digest);
        server.client().head(&path).await.expect_status(200);
    }
    server.client().expect_pull("own/app", &image).await;
    assert_eq!(
        upstream.count(Kind::BlobHead) + upstream.count(Kind::BlobGet),
        0
    );
    assert_eq!(upstream.total(), 0);
}

#[tokio::test]
async fn a_push_does_not_learn_that_a_stranger_has_its_blobs() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("theirs").build();
    upstream.hold("team/app", &image, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let path = format!("/v2/team/app/blobs/{}", image.blobs[0].digest);
    server.client().head(&path).await.expect_status(404);
    server
        .client()
        .get(&path)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    assert_eq!(upstream.total(), 0);
    server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    server.client().get(&path).await.expect_status(200);
}

#[tokio::test]
async fn head_of_a_manifest_before_a_push_is_404_when_the_upstream_refuses() {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let path = "/v2/own/app/manifests/v1";
    for (status, told) in [(401, 401), (403, 403), (429, 429)] {
        upstream.refuse_everything(status, &[]);
        let head = server.client().head(path).await.expect_status(404);
        let warning = head.need("warning");
        let wanted = format!("299 - \"{UPSTREAM}: ");
        assert!(warning.starts_with(&wanted), "{warning}");
        assert_eq!(server.client().get(path).await.status, told);
        upstream.heal();
        server.let_upstreams_rest();
    }
    upstream.die().await;
    let head = server.client().head(path).await.expect_status(404);
    assert!(head.need("warning").starts_with("299 - "));
    let get = server.client().get(path).await;
    assert!([502, 504].contains(&get.status), "{get:?}");
    upstream.come_back().await;
    server.let_upstreams_rest();
    let head = server.client().head(path).await.expect_status(404);
    assert!(head.header("warning").is_none(), "{head:?}");
}

#[tokio::test]
async fn a_name_already_mirrored_from_the_default_upstream_is_not_shadowed_by_a_push() {
    let upstream = FakeUpstream::start().await;
    let (far, mine) = (Recipe::image("far").build(), Recipe::image("mine").build());
    upstream.hold("team/app", &far, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    let start = server.client().post("/v2/team/app/blobs/uploads/").await;
    match start.status {
        202 => {}
        _ => drop(start.expect_error(403, "DENIED")),
    }
    let reply = server
        .client()
        .push_manifest("team/app", "v1", mine.top())
        .await;
    let reply = reply.expect_error(403, "DENIED");
    assert!(reply.text().contains(UPSTREAM), "{reply:?}");
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    assert_eq!(reply.body, far.top().bytes);
}

#[tokio::test]
async fn a_mirror_that_may_be_shadowed_lets_the_push_in() {
    let upstream = FakeUpstream::start().await;
    let (far, mine) = (Recipe::image("far").build(), Recipe::image("mine").build());
    upstream.hold("team/app", &far, &["v1"]);
    let mut settings = mirror(UPSTREAM, &upstream, true);
    settings["shadow"] = json!(true);
    let server = TestServer::builder().mirror(settings).start().await;
    server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    server.client().push("team/app", &mine, &["v1"]).await;
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    assert_eq!(reply.body, mine.top().bytes);
}

#[tokio::test]
async fn a_shadowing_push_is_not_told_that_its_layers_exist_upstream() {
    let upstream = FakeUpstream::start().await;
    let shared = Recipe::image("shared").build();
    upstream.hold("team/app", &shared, &["v1"]);
    let mut settings = mirror(UPSTREAM, &upstream, true);
    settings["shadow"] = json!(true);
    let server = TestServer::builder().mirror(settings).start().await;
    let client = server.client();
    let pulled = client.get("/v2/team/app/manifests/v1").await;
    pulled.expect_status(200);
    // As clients push: what is there is skipped.
    for blob in &shared.blobs {
        let path = format!("/v2/team/app/blobs/{}", blob.digest);
        client.get(&path).await.expect_status(200);
        if client.head(&path).await.status != 200 {
            client.push_blob("team/app", &blob.bytes).await;
        }
    }
    let pushed = client.push_manifest("team/app", "v2", shared.top()).await;
    pushed.expect_status(201);
}

#[tokio::test]
async fn a_name_stops_being_local_with_its_last_manifest() {
    let upstream = FakeUpstream::start().await;
    let (far, mine) = (Recipe::image("far").build(), Recipe::image("mine").build());
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    server.client().push("team/app", &mine, &["v1"]).await;
    upstream.hold("team/app", &far, &["v1"]);
    let path = "/v2/team/app/manifests/v1";
    assert_eq!(
        server.client().get(path).await.expect_status(200).body,
        mine.top().bytes
    );
    let gone = format!("/v2/team/app/manifests/{}", mine.top().digest);
    server.client().delete(&gone).await.expect_status(202);
    assert_eq!(
        server.client().get(path).await.expect_status(200).body,
        far.top().bytes
    );
}

#[tokio::test]
async fn proxy_remoteurl_alone_is_a_read_only_mirror_under_plain_names() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("far").build();
    upstream.hold("team/app", &image, &["v1"]);
    let remote = upstream.url();
    let server = TestServer::builder()
        .config(|c| c["proxy"] = json!({"remoteurl": remote}))
        .start()
        .await;
    let client = server.client();
    let blob = format!("/v2/team/app/blobs/{}", image.blobs[0].digest);
    assert_eq!(
        client.get(&blob).await.expect_status(200).body,
        image.blobs[0].bytes
    );
    client
        .head("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    client.expect_pull("team/app", &image).await;
    let ns = client
        .get("/v2/team/app/manifests/v1?ns=nowhere.example")
        .await;
    ns.expect_status(200);
    let catalog = client.get("/v2/_catalog").await.texts("repositories");
    assert_eq!(catalog, ["team/app"]);
    let start = client.post("/v2/own/app/blobs/uploads/").await;
    start.expect_error(405, "UNSUPPORTED");
    let put = client.push_manifest("own/app", "v1", image.top()).await;
    put.expect_error(405, "UNSUPPORTED");
    let delete = client.delete("/v2/team/app/manifests/v1").await;
    delete.expect_error(405, "UNSUPPORTED");
    upstream.die().await;
    client.expect_pull("team/app", &image).await;
    let head = client.head("/v2/other/app/manifests/v1").await;
    assert!(
        [502, 504].contains(&head.status),
        "a read-only mirror tells the truth: {head:?}"
    );
}

#[tokio::test]
async fn proxy_remoteurl_uses_its_credentials() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("far").build();
    upstream.hold("team/app", &image, &["v1"]);
    upstream.plan().admission = Admission::Basic("user".into(), "secret".into());
    let proxy = json!({"remoteurl": upstream.url(), "username": "user", "password": "secret"});
    let server = TestServer::builder()
        .config(|c| c["proxy"] = proxy)
        .start()
        .await;
    server.client().expect_pull("team/app", &image).await;
}

#[tokio::test]
async fn proxy_remoteurl_beside_mirrors_is_the_default_and_pushes_work() {
    let (one, two) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let (first, second) = (Recipe::image("one").build(), Recipe::image("two").build());
    one.hold("team/app", &first, &["v1"]);
    two.hold("team/app", &second, &["v1"]);
    let remote = one.url();
    let server = TestServer::builder()
        .mirror(mirror("two.example", &two, false))
        .config(|c| c["proxy"] = json!({"remoteurl": remote}))
        .start()
        .await;
    let reply = server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
    assert_eq!(reply.body, first.top().bytes);
    let reply = server
        .client()
        .get("/v2/two.example/team/app/manifests/v1")
        .await;
    assert_eq!(reply.expect_status(200).body, second.top().bytes);
    server.client().push("own/app", &second, &["v1"]).await;
}
