//! The management API: who gets in by which door, the shape of what it says, and what it refuses.

use std::os::unix::fs::PermissionsExt;

use http::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::images::Recipe;
use crate::support::raw::exchange;
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const STATUS: &str = "/api/v1/mirrors";

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
    let mut server = TestServer::start().await;
    let about = std::fs::metadata(server.socket_path()).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    server.socket().get(STATUS).await.expect_status(200);
    server.socket().get("/v2/").await.expect_status(200);
    server.stop().await;
    assert!(!server.socket_path().exists());
}

#[tokio::test]
async fn the_network_gets_no_further_than_the_gate() {
    let server = TestServer::start().await;
    for path in [STATUS, "/api/v1/jobs", "/api/v1/openapi.json", "/metrics"] {
        let detail = server.client().get(path).await.expect_problem(403);
        assert!(detail.contains("administrator"), "{detail}");
    }
    // What is not there is not told either.
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing"] {
        server.client().get(path).await.expect_problem(403);
    }
    let warm = server.client().post("/api/v1/mirrors/warm");
    warm.json(&json!({"images": ["a/b"]}))
        .await
        .expect_problem(403);
    // A name that only begins like the API is the registry's business.
    server
        .client()
        .get("/api/v1x")
        .await
        .expect_error(404, "UNSUPPORTED");
}

#[tokio::test]
async fn a_page_of_another_site_gets_nowhere_on_loopback() {
    let server = TestServer::start().await;
    let asked = async |headers: &str| {
        let request = format!("GET {STATUS} HTTP/1.1\r\n{headers}\r\n");
        let reply = exchange(server.address(), &request).await.unwrap();
        assert_eq!(reply.status, 403);
        String::from_utf8(reply.body).unwrap()
    };
    let foreign = "only requests for a loopback host";
    assert!(asked("Host: evil.example\r\n").await.contains(foreign));
    let sent = asked("Host: localhost\r\nOrigin: https://evil.example\r\n").await;
    assert!(sent.contains(foreign), "{sent}");
    let near = asked("Host: localhost\r\nOrigin: http://localhost:3000\r\n").await;
    assert!(near.contains("administrator"), "{near}");
}

#[tokio::test]
async fn switched_off_it_is_on_the_socket_alone() {
    let server = TestServer::builder()
        .config(|config| config["api"] = json!({"enabled": false}))
        .start()
        .await;
    for path in [STATUS, "/metrics"] {
        server
            .client()
            .get(path)
            .await
            .expect_error(404, "UNSUPPORTED");
    }
    server.socket().get(STATUS).await.expect_status(200);
}

#[tokio::test]
async fn an_address_of_its_own_serves_it_and_not_the_registry() {
    let server = TestServer::builder()
        .config(|config| config["api"] = json!({"addr": "127.0.0.1:0"}))
        .start()
        .await;
    server.api().get(STATUS).await.expect_problem(403);
    server.api().get("/v2/").await.expect_problem(404);
    server.api().get("/livez").await.expect_status(200);
    server
        .client()
        .get(STATUS)
        .await
        .expect_error(404, "UNSUPPORTED");
}

#[tokio::test]
async fn below_a_prefix_it_is_where_the_registry_is() {
    let server = TestServer::builder()
        .config(|config| config["http"]["prefix"] = json!("/team/"))
        .start()
        .await;
    server
        .client()
        .get("/team/api/v1/mirrors")
        .await
        .expect_problem(403);
    server
        .client()
        .get(STATUS)
        .await
        .expect_error(404, "UNSUPPORTED");
    server.socket().get(STATUS).await.expect_status(200);
}

#[tokio::test]
async fn the_status_has_the_promised_shape_and_counts_what_happened() {
    let upstream = FakeUpstream::start().await;
    let content = Recipe::image("status").build();
    upstream.hold("library/app", &content, &["1.0"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let name = format!("{UPSTREAM}/library/app");
    let pulled = content.blobs.len() + content.manifests.len();
    for _ in 0..3 {
        server.client().expect_pull(&name, &content).await;
    }

    let status = server.socket().get(STATUS).await.expect_status(200).json();
    assert_eq!(names(&status), ["cache", "mirrors"]);
    assert_eq!(names(&status["cache"]), ["bytes", "maxbytes"]);
    let mirror = &status["mirrors"][0];
    let expected = [
        "bytessaved",
        "endpoints",
        "healthy",
        "hits",
        "inflight",
        "misses",
        "name",
        "ratelimitremaining",
        "stale",
    ];
    assert_eq!(names(mirror), expected);
    assert_eq!(names(&mirror["endpoints"][0]), ["healthy", "url"]);
    assert_eq!(mirror["name"], UPSTREAM);
    assert_eq!(mirror["healthy"], true);
    assert_eq!(mirror["inflight"], 0);
    assert_eq!(mirror["ratelimitremaining"], Value::Null);
    assert_eq!(mirror["misses"], pulled);
    assert_eq!(mirror["hits"], 2 * pulled);
    let blobs = content.blobs.iter().map(|blob| blob.bytes.len());
    let bytes: usize = blobs.sum();
    assert!(mirror["bytessaved"].as_u64() >= Some(2 * bytes as u64));
    assert_eq!(status["cache"]["maxbytes"], 0);
    assert!(status["cache"]["bytes"].as_u64() > Some(0), "{status:#}");
}

#[tokio::test]
async fn the_status_tells_of_fetches_under_way_and_of_an_upstream_that_is_down() {
    let upstream = FakeUpstream::start().await;
    let content = Recipe::image("status").build();
    upstream.hold("library/app", &content, &["1.0"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let mirror = async || {
        let status = server.socket().get(STATUS).await.expect_status(200);
        status.json()["mirrors"][0].clone()
    };
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::Silence(gate.clone()));
    let digest = &content.blobs[0].digest;
    let path = format!("/v2/{UPSTREAM}/library/app/blobs/{digest}");
    let client = server.client().clone();
    let pull = tokio::spawn(async move { client.get(&path).await.expect_status(200) });
    gate.reached().await;
    assert_eq!(mirror().await["inflight"], 1);
    gate.open();
    pull.await.unwrap();

    upstream.die().await;
    let tag = format!("/v2/{UPSTREAM}/library/app/manifests/1.0");
    server.client().get(&tag).await.expect_plain_error();
    let down = mirror().await;
    assert_eq!(down["healthy"], false);
    assert_eq!(down["endpoints"][0]["healthy"], false);
}

#[tokio::test]
async fn work_is_a_job_that_can_be_looked_up_and_listed() {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let admin = server.socket();
    let mut ids = Vec::new();
    for number in 0..3 {
        let pattern = format!("{UPSTREAM}/none{number}:*");
        let started = admin.post("/api/v1/mirrors/purge");
        let started = started.json(&json!({"pattern": pattern})).await;
        let started = started.expect_status(202);
        let job = started.json();
        assert_eq!(job["kind"], "purge");
        let id = job["id"].as_i64().unwrap();
        assert_eq!(started.location(), format!("/api/v1/jobs/{id}"));
        let shown = admin.get(&started.location()).await.expect_status(200);
        assert_eq!(shown.json()["id"], id);
        ids.push(id);
    }
    ids.reverse();
    assert_eq!(pages(&admin, "/api/v1/jobs?limit=2").await, [2, 1]);
    let all = admin.get("/api/v1/jobs").await.expect_status(200);
    assert_eq!(all.header("link"), None);
    let listed = all.json()["jobs"].as_array().unwrap().clone();
    let listed: Vec<i64> = listed
        .iter()
        .map(|job| job["id"].as_i64().unwrap())
        .collect();
    assert_eq!(listed, ids);
    let unknown = admin.get("/api/v1/jobs/987654").await.expect_problem(404);
    assert!(unknown.contains("987654"), "{unknown}");
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let server = TestServer::start().await;
    let admin = server.socket();
    let warm = || admin.post("/api/v1/mirrors/warm");
    let detail = warm()
        .json(&json!({"images": ["a/b"], "force": true}))
        .await
        .expect_problem(400);
    assert!(detail.contains("force"), "{detail}");
    warm()
        .json(&json!({"images": []}))
        .await
        .expect_problem(400);
    warm()
        .json(&json!({"images": ["UPPER//case"]}))
        .await
        .expect_problem(400);
    let plain = warm().header("content-type", "text/plain").body("{}");
    plain.await.expect_problem(415);
    let large = json!({"images": ["a".repeat(70_000)]});
    warm().json(&large).await.expect_problem(413);
    let refused = admin.call(Method::DELETE, STATUS).await.expect_status(405);
    assert_eq!(refused.need("allow"), "GET, HEAD");
    admin.get("/api/v1/nothing").await.expect_problem(404);
    admin.get("/api/v1/jobs?limit=0").await.expect_problem(400);
    // None of it left a job behind.
    let jobs = admin.get("/api/v1/jobs").await.expect_status(200);
    assert_eq!(jobs.json(), json!({"jobs": []}));
}

#[tokio::test]
async fn the_openapi_document_describes_every_path_that_answers() {
    let server = TestServer::start().await;
    let document = server.socket().get("/api/v1/openapi.json").await;
    let document = document.expect_status(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for path in document["paths"].as_object().unwrap().keys() {
        let path = path.replace("{id}", "1");
        let path = path.replace("{name}", "team/app").replace("{tag}", "v1");
        let reply = server.socket().call(Method::OPTIONS, &path).await;
        assert_eq!(reply.status, 405, "{path} is no endpoint");
    }
}

/// Follows the links; returns how many jobs were on each page.
async fn pages(admin: &Client, first: &str) -> Vec<usize> {
    let mut next = Some(first.to_owned());
    let mut counts = Vec::new();
    while let Some(page) = next {
        let reply = admin.get(&page).await.expect_status(200);
        counts.push(reply.json()["jobs"].as_array().unwrap().len());
        next = reply.next_page();
    }
    counts
}

fn names(value: &Value) -> Vec<String> {
    let object = value.as_object().unwrap();
    object.keys().cloned().collect()
}
