//! Lists of tags and repositories: order, pages and what they do not show.

use serde_json::json;

use crate::support::client::{Client, Reply};
use crate::support::images::{Algorithm, Recipe, digest_of, noise};
use crate::support::server::TestServer;

async fn push_tags(server: &TestServer, tags: &[&str]) {
    let image = Recipe::image("tagged").layers(1).build();
    server.client().push("team/app", &image, tags).await;
}

/// Follows every `Link` from `path` and returns the pages.
async fn pages(client: &Client, path: &str, field: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let reply: Reply = client.get(&path).await.expect_status(200);
        pages.push(reply.texts(field));
        next = reply.next_page();
        assert!(pages.len() < 50, "the pages never end: {pages:?}");
    }
    pages
}

#[tokio::test]
async fn tags_are_listed_in_byte_order_with_their_repository() {
    let server = TestServer::start().await;
    push_tags(&server, &["v2", "V1", "v10", "_x", "1.0", "latest"]).await;
    let reply = server
        .client()
        .get("/v2/team/app/tags/list")
        .await
        .expect_status(200);
    assert!(reply.need("content-type").starts_with("application/json"));
    assert_eq!(reply.json()["name"], "team/app");
    assert_eq!(
        reply.texts("tags"),
        ["1.0", "V1", "_x", "latest", "v10", "v2"]
    );
    assert!(reply.next_page().is_none());
}

#[tokio::test]
async fn tags_come_in_pages_that_links_lead_through() {
    let server = TestServer::start().await;
    push_tags(&server, &["a", "b", "c", "d", "e"]).await;
    let client = server.client();
    let found = pages(client, "/v2/team/app/tags/list?n=2", "tags").await;
    let wanted: [&[&str]; 3] = [&["a", "b"], &["c", "d"], &["e"]];
    assert_eq!(found, wanted);
    let exact = client.get("/v2/team/app/tags/list?n=5").await;
    assert_eq!(exact.texts("tags").len(), 5);
    assert!(exact.next_page().is_none());
    let reply = client.get("/v2/team/app/tags/list?last=c").await;
    assert_eq!(reply.texts("tags"), ["d", "e"]);
    let reply = client.get("/v2/team/app/tags/list?n=1&last=bb").await;
    assert_eq!(reply.texts("tags"), ["c"]);
    let reply = client.get("/v2/team/app/tags/list?last=z").await;
    assert!(reply.texts("tags").is_empty());
    let reply = client
        .get("/v2/team/app/tags/list?n=0")
        .await
        .expect_status(200);
    assert!(reply.texts("tags").is_empty());
    assert!(reply.next_page().is_none());
}

#[tokio::test]
async fn a_page_number_that_is_none_is_400() {
    let server = TestServer::start().await;
    push_tags(&server, &["a"]).await;
    for n in ["-1", "x", "1.5", "99999999999999999999999999", "0x10", "+1"] {
        for path in ["/v2/team/app/tags/list", "/v2/_catalog"] {
            let reply = server.client().get(&format!("{path}?n={n}")).await;
            reply.expect_error(400, "PAGINATION_NUMBER_INVALID");
        }
    }
}

#[tokio::test]
async fn a_huge_page_costs_nothing() {
    let server = TestServer::start().await;
    push_tags(&server, &["a"]).await;
    for n in ["1001", "1000000000000", "9223372036854775807"] {
        let reply = server.client().get(&format!("/v2/_catalog?n={n}")).await;
        reply.expect_error(400, "PAGINATION_NUMBER_INVALID");
        let reply = server
            .client()
            .get(&format!("/v2/team/app/tags/list?n={n}"))
            .await;
        assert!([200, 400].contains(&reply.status), "{reply:?}");
    }
    server
        .client()
        .get("/v2/_catalog?n=1000")
        .await
        .expect_status(200);
}

#[tokio::test]
async fn the_tags_of_an_unknown_repository_are_404() {
    let server = TestServer::start().await;
    let reply = server.client().get("/v2/nobody/here/tags/list").await;
    let reply = reply.expect_error(404, "NAME_UNKNOWN");
    assert!(reply.text().contains("nobody/here"), "{reply:?}");
}

#[tokio::test]
async fn a_repository_without_tags_has_an_empty_list() {
    let server = TestServer::start().await;
    push_tags(&server, &[]).await;
    let reply = server
        .client()
        .get("/v2/team/app/tags/list")
        .await
        .expect_status(200);
    assert_eq!(reply.json()["tags"], json!([]));
}

#[tokio::test]
async fn the_catalog_lists_repositories_with_manifests_in_distributions_order() {
    let server = TestServer::start().await;
    let client = server.client();
    let empty = client.get("/v2/_catalog").await.expect_status(200);
    assert_eq!(empty.json()["repositories"], json!([]));
    let image = Recipe::image("listed").layers(0).build();
    for name in ["a-b", "a/b", "ab", "a", "b/c", "a/b/c"] {
        client.push(name, &image, &["v1"]).await;
    }
    client.push_blob("only/blobs", &noise("x", 10)).await;
    client.start_upload("only/uploads").await;
    let wanted = ["a", "a/b", "a/b/c", "a-b", "ab", "b/c"];
    let all = client.get("/v2/_catalog").await.expect_status(200);
    assert_eq!(all.texts("repositories"), wanted);
    let found = pages(client, "/v2/_catalog?n=4", "repositories").await;
    assert_eq!(found, [&wanted[..4], &wanted[4..]]);
    let found = pages(client, "/v2/_catalog?n=1", "repositories").await;
    assert_eq!(found.concat(), wanted);
    let after = client.get("/v2/_catalog?last=a/b").await;
    assert_eq!(after.texts("repositories"), wanted[2..]);
    let none = client.get("/v2/_catalog?n=0").await.expect_status(200);
    assert!(none.texts("repositories").is_empty());
}

#[tokio::test]
async fn a_repository_leaves_the_catalog_with_its_last_manifest() {
    let server = TestServer::start().await;
    let image = Recipe::image("leaving").build();
    server.client().push("team/app", &image, &["v1"]).await;
    let path = format!("/v2/team/app/manifests/{}", image.top().digest);
    server.client().delete(&path).await.expect_status(202);
    let catalog = server.client().get("/v2/_catalog").await;
    assert!(catalog.texts("repositories").is_empty());
}

#[tokio::test]
async fn the_largest_catalog_page_is_a_setting() {
    let server = TestServer::builder()
        .config(|c| c["catalog"] = json!({"maxentries": 3}))
        .start()
        .await;
    server
        .client()
        .get("/v2/_catalog?n=3")
        .await
        .expect_status(200);
    let reply = server.client().get("/v2/_catalog?n=4").await;
    reply.expect_error(400, "PAGINATION_NUMBER_INVALID");
    let image = Recipe::image("listed").layers(0).build();
    for name in ["a", "b", "c", "d", "e"] {
        server.client().push(name, &image, &["v1"]).await;
    }
    let found = pages(server.client(), "/v2/_catalog", "repositories").await;
    assert_eq!(found.concat(), ["a", "b", "c", "d", "e"]);
    assert!(found.iter().all(|page| page.len() <= 3), "{found:?}");
}

#[tokio::test]
async fn a_last_that_needs_escaping_survives_the_link() {
    let server = TestServer::start().await;
    let image = Recipe::image("listed").layers(0).build();
    for name in ["a/b", "a/c", "a/d"] {
        server.client().push(name, &image, &["v1"]).await;
    }
    let found = pages(server.client(), "/v2/_catalog?n=1&x=%26%3D", "repositories").await;
    assert_eq!(found.concat(), ["a/b", "a/c", "a/d"]);
    let nowhere = digest_of(Algorithm::Sha256, b"x");
    let reply = server
        .client()
        .get(&format!("/v2/_catalog?last={nowhere}&n=1"))
        .await;
    reply.expect_status(200);
}
