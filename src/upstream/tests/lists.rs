//! Tags and referrers.

use bytes::Bytes;
use oci::{Algorithm, Digest, Page};

use super::server::{Reply, TestServer, answer, answer_with};
use super::{ask, client, client_of, digest, first_page, mirror_of, repository};
use crate::upstream::Error;

#[tokio::test]
async fn a_path_of_the_endpoint_goes_before_the_repository_name() {
    let server = TestServer::start(|_| answer(200, r#"{"tags":[]}"#)).await;
    for path in ["/docker.io", "/docker.io/"] {
        let url = server
            .url
            .join(path)
            .expect("a URL because it is written so");
        let page = Page {
            n: Some(2),
            last: Some("a".to_owned()),
        };
        let tags = ask(&client(&mirror_of(&[&url])))
            .tags(&repository(), &page)
            .await;
        tags.expect("a list of tags");
    }
    let targets = server.targets();
    assert_eq!(targets[0], targets[1]);
    let path = "GET /v2/docker.io/library/nginx/tags/list?";
    assert!(targets[0].starts_with(path), "{}", targets[0]);
}

#[tokio::test]
async fn a_page_of_tags_tells_how_to_ask_for_the_next() {
    let server = TestServer::start(|asked| {
        let link = match asked.uri.query() {
            Some("last=b") => None,
            _ => Some("</v2/library/nginx/tags/list?last=b&n=2>; rel=\"next\"".to_owned()),
        };
        let headers = link.map(|link| ("link", link)).into_iter().collect();
        Reply::Answer(200, headers, Bytes::from_static(br#"{"tags":["a","b"]}"#))
    })
    .await;
    let client = client_of(&server);
    let page = ask(&client)
        .tags(&repository(), &first_page())
        .await
        .expect("a page");
    assert_eq!(page.tags, ["a", "b"]);
    assert_eq!(page.next_last.as_deref(), Some("b"));
    let next = Page {
        n: None,
        last: page.next_last,
    };
    let page = ask(&client)
        .tags(&repository(), &next)
        .await
        .expect("a page");
    assert_eq!(page.next_last, None);
}

fn index_of(number: usize) -> String {
    let digest = Digest::of(Algorithm::Sha256, number.to_string().as_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    format!(r#"{{"manifests":[{{"mediaType":"{kind}","digest":"{digest}","size":{number}}}]}}"#)
}

#[tokio::test]
async fn referrers_are_collected_over_pages_of_the_same_origin() {
    let elsewhere = TestServer::start(|_| answer(200, &index_of(9))).await;
    let next = elsewhere.url.join("/v2/library/nginx/referrers/x?cursor=2");
    let next = next.expect("a URL because it is written so");
    let server = TestServer::start(move |asked| match asked.uri.query() {
        None => answer_with(200, "link", format!("<{next}>; rel=\"next\""), &index_of(1)),
        Some(_) => answer(200, &index_of(2)),
    })
    .await;
    let found = ask(&client_of(&server))
        .referrers(&repository(), &digest())
        .await;
    let found = found.expect("an answer").expect("referrers");
    let sizes: Vec<u64> = found.iter().map(|descriptor| descriptor.size).collect();
    assert_eq!(sizes, [1, 2]);
    assert_eq!(elsewhere.targets(), Vec::<String>::new());
}

#[tokio::test]
async fn endless_pages_of_referrers_end() {
    let server =
        TestServer::start(|_| answer_with(200, "link", "<?a>; rel=next".to_owned(), &index_of(1)))
            .await;
    let result = ask(&client_of(&server))
        .referrers(&repository(), &digest())
        .await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
    assert_eq!(server.asked().len(), 101);
}

#[tokio::test]
async fn an_upstream_without_referrers_api_is_no_error() {
    for status in [404, 405] {
        let server = TestServer::start(move |_| answer(status, "")).await;
        let result = ask(&client_of(&server))
            .referrers(&repository(), &digest())
            .await;
        assert_eq!(result.map(|found| found.is_none()), Ok(true), "{status}");
    }
    let server = TestServer::start(|_| answer(500, "")).await;
    let result = ask(&client_of(&server))
        .referrers(&repository(), &digest())
        .await;
    assert!(matches!(result, Err(Error::Failing { .. })), "{result:?}");
}
