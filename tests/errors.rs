//! Bad input: the right status and code, the thing named, little reflected, nothing of the inside.

use crate::support::images::{Algorithm, Recipe, digest_of};
use crate::support::raw::RawResponse;
use crate::support::server::TestServer;

/// What is reflected stays below this, envelope included.
const REFLECTION: usize = 1024;

#[track_caller]
fn expect_refusal(reply: &RawResponse, statuses: &[u16], what: &str) {
    assert!(statuses.contains(&reply.status), "{what}: {reply:?}");
    assert!(reply.body.len() < REFLECTION, "{what}: {reply:?}");
    let text = String::from_utf8_lossy(&reply.body).to_lowercase();
    for secret in ["/tmp", "docker/registry", "sqlite", "select ", "panick"] {
        assert!(!text.contains(secret), "{what} tells {secret:?}: {text}");
    }
}

#[tokio::test]
async fn malformed_names_are_400_and_named() {
    let server = TestServer::start().await;
    let long = "a".repeat(256);
    for name in [
        "UPPER", "-a", "a-", "_a", "a_", ".a", "a.", "a..b", "a___b", "a._b", "a/-b", "team/App",
        "a:b", "a@b", "team/a:1", "a+b", "a*b", "~a", "a/b_/c", &long,
    ] {
        let target = format!("/v2/{name}/manifests/v1");
        let reply = server.exact("GET", &target).await;
        expect_refusal(&reply, &[400], name);
        assert_eq!(reply.error_code(), "NAME_INVALID", "{name}");
        let reply = server
            .exact("POST", &format!("/v2/{name}/blobs/uploads/"))
            .await;
        expect_refusal(&reply, &[400], name);
    }
}

#[tokio::test]
async fn names_with_everything_the_grammar_allows_work() {
    let server = TestServer::start().await;
    let image = Recipe::image("named").layers(0).build();
    let long = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    for name in [
        "a",
        "0",
        "a-b",
        "a--b",
        "a_b",
        "a__b",
        "a.b",
        "a/b/c/d/e/f",
        "manifests/blobs/tags",
        "blobs/uploads",
        "a/manifests/b",
        "tags/list",
        "Host.Example:5000/app",
        &long,
    ] {
        server.client().push(name, &image, &["v1"]).await;
        server.client().expect_pull(name, &image).await;
    }
}

#[tokio::test]
async fn malformed_tags_are_400_and_named() {
    let server = TestServer::start().await;
    let long = "a".repeat(129);
    for tag in ["-a", ".a", "a+b", "a@b", "a~", "a*", &long] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let reply = server
                .exact(method, &format!("/v2/team/app/manifests/{tag}"))
                .await;
            expect_refusal(&reply, &[400], tag);
            if method != "HEAD" {
                assert_eq!(reply.error_code(), "TAG_INVALID", "{tag}");
            }
        }
    }
}

#[tokio::test]
async fn malformed_digests_are_400_and_named() {
    let server = TestServer::start().await;
    let good = digest_of(Algorithm::Sha256, b"x");
    let upper = good.to_uppercase().replace("SHA256", "sha256");
    let (short, long) = (&good[..70], format!("{good}0"));
    for digest in [
        "sha256:",
        ":",
        "sha256:xyz",
        "md5:00",
        "sha512:00",
        &upper,
        short,
        &long,
    ] {
        for target in [
            format!("/v2/team/app/blobs/{digest}"),
            format!("/v2/team/app/manifests/{digest}"),
            format!("/v2/team/app/referrers/{digest}"),
        ] {
            let reply = server.exact("GET", &target).await;
            expect_refusal(&reply, &[400], &target);
            assert_eq!(reply.error_code(), "DIGEST_INVALID", "{target}");
        }
    }
    let tag_as_digest = server.exact("GET", "/v2/team/app/blobs/latest").await;
    assert_eq!(tag_as_digest.error_code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn nothing_is_normalised_into_another_repository() {
    let server = TestServer::start().await;
    let image = Recipe::image("secret").build();
    server.client().push("team/app", &image, &["v1"]).await;
    for target in [
        "/v2/team%2Fapp/manifests/v1",
        "/v2/team%2fapp/manifests/v1",
        "/v2/team//app/manifests/v1",
        "/v2//team/app/manifests/v1",
        "//v2/team/app/manifests/v1",
        "/v2/team/./app/manifests/v1",
        "/v2/other/../team/app/manifests/v1",
        "/v2/other/%2e%2e/team/app/manifests/v1",
        "/v2/../v2/team/app/manifests/v1",
        "/v2/team/app/manifests/./v1",
        "/v2/team/app/manifests/v1/",
        "/v2/team/app/manifests%2Fv1",
        "/v2/team/app%00/manifests/v1",
        "/v2/te%61m/app/manifests/v1",
        "/v2/team/app/manifests/%76%31",
        "/v2/team\\app/manifests/v1",
        "/V2/team/app/manifests/v1",
    ] {
        let reply = server.exact("GET", target).await;
        expect_refusal(&reply, &[400, 404], target);
    }
}

#[tokio::test]
async fn an_encoded_colon_is_a_colon() {
    let server = TestServer::start().await;
    let image = Recipe::image("colon").build();
    server.client().push("team/app", &image, &[]).await;
    for colon in ["%3A", "%3a"] {
        let digest = image.top().digest.replace(':', colon);
        let reply = server
            .exact("GET", &format!("/v2/team/app/manifests/{digest}"))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let digest = image.blobs[0].digest.replace(':', colon);
        let reply = server
            .exact("GET", &format!("/v2/team/app/blobs/{digest}"))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn endless_paths_and_queries_are_refused_and_hardly_reflected() {
    let server = TestServer::start().await;
    let long = "a".repeat(64 * 1024);
    for target in [
        format!("/{long}"),
        format!("/v2/{long}/manifests/v1"),
        format!("/v2/team/app/manifests/{long}"),
        format!("/v2/team/app/blobs/sha256:{long}"),
        format!("/v2/{}manifests/v1", "a/".repeat(32 * 1024)),
    ] {
        let reply = server.exact("GET", &target).await;
        expect_refusal(&reply, &[400, 404, 414, 431], &target[..40]);
    }
    let reply = server
        .exact("GET", &format!("/v2/_catalog?last={long}"))
        .await;
    assert!(
        [200, 400, 414, 431].contains(&reply.status),
        "{}",
        reply.status
    );
    assert!(reply.body.len() < REFLECTION);
    server.client().get("/v2/").await.expect_status(200);
}

#[tokio::test]
async fn long_values_are_cut_where_they_are_quoted() {
    let server = TestServer::start().await;
    let long = "A".repeat(6000);
    for target in [
        format!("/v2/{long}/tags/list"),
        format!("/v2/team/app/manifests/{long}"),
        format!("/v2/team/app/blobs/sha256:{long}"),
        format!("/v2/team/app/blobs/uploads/{long}"),
        format!("/v2/_catalog?n={long}"),
    ] {
        let reply = server.exact("GET", &target).await;
        expect_refusal(&reply, &[400, 404], &target[..30]);
        assert!(!reply.error_code().is_empty());
    }
}

#[tokio::test]
async fn quotes_markup_and_odd_bytes_stay_inside_the_json() {
    let server = TestServer::start().await;
    for value in [
        "\"><script>",
        "'%22%0d%0aSet-Cookie:x=1",
        "\u{fc}ml\u{e4}ut",
        "%ff%fe",
        "%",
        "%zz",
    ] {
        let reply = server
            .exact("GET", &format!("/v2/team/app/manifests/{value}"))
            .await;
        assert!([400, 404].contains(&reply.status), "{value}: {reply:?}");
        assert!(reply.header("set-cookie").is_none());
        if !reply.body.is_empty() {
            assert!(!reply.error_code().is_empty());
        }
    }
}

#[tokio::test]
async fn methods_a_route_does_not_know_are_405_with_those_it_does() {
    let server = TestServer::start().await;
    let digest = digest_of(Algorithm::Sha256, b"x");
    for (method, target, allowed) in [
        ("POST", "/v2/team/app/manifests/v1".to_owned(), "GET"),
        ("PUT", "/v2/team/app/tags/list".to_owned(), "GET"),
        ("DELETE", "/v2/_catalog".to_owned(), "GET"),
        ("PUT", format!("/v2/team/app/blobs/{digest}"), "GET"),
        ("GET", "/v2/team/app/blobs/uploads/".to_owned(), "POST"),
        ("POST", format!("/v2/team/app/referrers/{digest}"), "GET"),
        ("BREW", "/v2/team/app/manifests/v1".to_owned(), "GET"),
    ] {
        let reply = server.exact(method, &target).await;
        expect_refusal(&reply, &[405], &target);
        assert_eq!(reply.error_code(), "UNSUPPORTED", "{method} {target}");
        let allow = reply.header("allow").unwrap_or_default();
        assert!(allow.contains(allowed), "{method} {target}: {allow}");
    }
}

#[tokio::test]
async fn routes_that_do_not_exist_are_404() {
    let server = TestServer::start().await;
    for target in [
        "/v2/team",
        "/v2/team/app",
        "/v1/_ping",
        "/etc/passwd",
        "/v2/team/app/tags",
        "/x",
    ] {
        let reply = server.exact("GET", target).await;
        expect_refusal(&reply, &[404], target);
    }
}

#[tokio::test]
async fn parameters_nobody_knows_are_ignored() {
    let server = TestServer::start().await;
    let image = Recipe::image("parameters").build();
    server.client().push("team/app", &image, &["v1"]).await;
    for query in [
        "ns=docker.io",
        "_state=abc",
        "x",
        "x=%ff",
        "n=1&n=2",
        "&&&=",
    ] {
        let reply = server
            .exact("GET", &format!("/v2/team/app/manifests/v1?{query}"))
            .await;
        assert_eq!(reply.status, 200, "{query}: {reply:?}");
    }
}

#[tokio::test]
async fn every_refusal_tells_the_api_version() {
    let server = TestServer::start().await;
    for target in [
        "/v2/UPPER/manifests/v1",
        "/v2/team/app/manifests/v1",
        "/v2/team/app/blobs/x",
    ] {
        let reply = server.exact("GET", target).await;
        assert_eq!(
            reply.header("docker-distribution-api-version"),
            Some("registry/2.0")
        );
        assert!(
            reply
                .header("content-type")
                .unwrap()
                .starts_with("application/json")
        );
    }
}
