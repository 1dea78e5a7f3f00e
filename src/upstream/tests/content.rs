//! Manifests and blobs.

use bytes::Bytes;

use super::server::{Asked, Reply, TestServer, answer, answer_with};
use super::{LIMIT, ask, client_of, digest, first_page, get, latest, read, repository};
use crate::upstream::{Error, Patience};

#[tokio::test]
async fn a_blob_is_resumed_where_it_broke_off() {
    let server = TestServer::start(|asked| match asked.header("range") {
        "" => Reply::Cut(10, Bytes::from_static(b"01234")),
        _ => answer_with(206, "content-range", "bytes 5-9/10".to_owned(), "56789"),
    })
    .await;
    let client = client_of(&server);
    let mut body = ask(&client)
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await
        .expect("a body");
    assert_eq!((body.start, body.total), (0, Some(10)));
    assert_eq!(body.chunk().await, Ok(Some(Bytes::from_static(b"01234"))));
    let broken = body.chunk().await;
    assert!(matches!(broken, Err(Error::Failing { .. })), "{broken:?}");
    let rest = ask(&client)
        .get_blob(&repository(), &digest(), 5, Patience::Waits)
        .await
        .expect("the rest");
    assert_eq!((rest.start, rest.total), (5, Some(10)));
    assert_eq!(read(rest).await, Ok(b"56789".to_vec()));
    let wrong = ask(&client)
        .get_blob(&repository(), &digest(), 6, Patience::Waits)
        .await;
    assert!(matches!(wrong, Err(Error::Protocol { .. })), "{wrong:?}");
}

#[tokio::test]
async fn an_upstream_that_ignores_ranges_starts_at_zero() {
    let server = TestServer::start(|_| answer(200, "0123456789")).await;
    let body = ask(&client_of(&server))
        .get_blob(&repository(), &digest(), 5, Patience::Waits)
        .await;
    let body = body.expect("a body");
    assert_eq!((body.start, body.total), (0, Some(10)));
}

#[tokio::test]
async fn a_range_nobody_asked_for_is_refused() {
    let range = |_: &Asked| answer_with(206, "content-range", "bytes 2-3/4".to_owned(), "ob");
    let server = TestServer::start(range).await;
    let result = ask(&client_of(&server))
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
}

#[tokio::test]
async fn a_manifest_is_bounded_whether_or_not_its_size_is_announced() {
    let server = TestServer::start(|_| answer(200, &"x".repeat(1025))).await;
    let result = get(&client_of(&server)).await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
    let exact = TestServer::start(|_| answer(200, &"x".repeat(1024))).await;
    assert_eq!(
        get(&client_of(&exact)).await.map(|bytes| bytes.len()),
        Ok(1024)
    );
    let chunked = TestServer::start(|_| Reply::Endless(Bytes::from_static(&[b'x'; 512]))).await;
    let result = get(&client_of(&chunked)).await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
}

#[tokio::test]
async fn web_pages_are_no_answers() {
    let page = |_: &Asked| {
        answer_with(
            200,
            "content-type",
            "text/html; charset=utf-8".to_owned(),
            "<html>",
        )
    };
    let server = TestServer::start(page).await;
    let client = client_of(&server);
    let is_protocol = |error: Error| matches!(error, Error::Protocol { .. });
    assert!(get(&client).await.is_err_and(is_protocol));
    let head = ask(&client).head_manifest(&repository(), &latest()).await;
    assert!(head.is_err_and(is_protocol));
    let tags = ask(&client).tags(&repository(), &first_page()).await;
    assert!(tags.is_err_and(is_protocol));
    let referrers = ask(&client).referrers(&repository(), &digest()).await;
    assert_eq!(referrers.map(|found| found.is_none()), Ok(true));
}

#[tokio::test]
async fn a_manifests_facts_come_from_its_headers() {
    let server = TestServer::start(|asked| {
        let digest = digest().to_string();
        let kind = "application/vnd.oci.image.index.v1+json".to_owned();
        let headers = vec![("docker-content-digest", digest), ("content-type", kind)];
        assert!(asked.header("accept").ends_with("*/*"));
        Reply::Answer(200, headers, Bytes::from_static(b"manifest"))
    })
    .await;
    let client = client_of(&server);
    let head = ask(&client)
        .head_manifest(&repository(), &latest())
        .await
        .expect("a head");
    assert_eq!(head.digest, Some(digest()));
    assert_eq!(head.size, Some(8));
    let kind = Some("application/vnd.oci.image.index.v1+json".to_owned());
    assert_eq!(head.media_type, kind);
    let fetched = ask(&client)
        .get_manifest(&repository(), &latest(), LIMIT)
        .await;
    let fetched = fetched.expect("a manifest");
    assert_eq!((fetched.digest, fetched.media_type), (Some(digest()), kind));
    let target = "/v2/library/nginx/manifests/latest";
    assert_eq!(
        server.targets(),
        [format!("HEAD {target}"), format!("GET {target}")]
    );
}

#[tokio::test]
async fn a_head_that_tells_nothing_is_no_error() {
    let silent = TestServer::start(|_| answer(200, "")).await;
    let head = ask(&client_of(&silent))
        .head_manifest(&repository(), &latest())
        .await;
    assert_eq!(head.map(|head| head.digest), Ok(None));
    let refusing = TestServer::start(|_| answer(405, "")).await;
    let head = ask(&client_of(&refusing))
        .head_manifest(&repository(), &latest())
        .await;
    assert_eq!(head.map(|head| head.digest), Ok(None));
    let wrong = |_: &Asked| answer_with(200, "docker-content-digest", "sha256:x".to_owned(), "");
    let lying = TestServer::start(wrong).await;
    let head = ask(&client_of(&lying))
        .head_manifest(&repository(), &latest())
        .await;
    assert!(matches!(head, Err(Error::Protocol { .. })), "{head:?}");
}

#[tokio::test]
async fn a_blobs_size_is_known_from_its_head() {
    let server = TestServer::start(|_| answer(200, "0123")).await;
    let head = ask(&client_of(&server))
        .head_blob(&repository(), &digest())
        .await;
    assert_eq!(head.map(|head| head.size), Ok(Some(4)));
    let expected = format!("HEAD /v2/library/nginx/blobs/{}", digest());
    assert_eq!(server.targets(), [expected]);
}
