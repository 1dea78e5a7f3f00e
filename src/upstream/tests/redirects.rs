//! Redirects, and what does not follow them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

use super::server::{Asked, TestServer, answer, answer_with};
use super::{
    BASIC, CHALLENGE, ask, client, client_of, digest, get, mirror_of, read, repository,
    with_credentials,
};
use crate::clock::Fake;
use crate::telemetry::{Kind, Metrics};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::outgoing::{Outgoing, Proof};
use crate::upstream::setup::prepare;
use crate::upstream::{Error, InstanceId, Patience};

#[tokio::test]
async fn authorization_does_not_follow_a_redirect_to_another_origin() {
    let storage = TestServer::start(|_| answer(200, "blob")).await;
    let target = storage
        .url
        .join("/signed?key=1")
        .expect("a URL because it is written so");
    let registry = TestServer::start(move |asked| {
        if asked.header("authorization") == BASIC {
            return answer_with(307, "location", target.to_string(), "");
        }
        answer_with(401, CHALLENGE, "Basic realm=\"x\"".to_owned(), "{}")
    })
    .await;
    let client = client(&with_credentials(mirror_of(&[&registry.url])));
    let body = ask(&client)
        .get_blob(&repository(), &digest(), 7, Patience::Waits)
        .await;
    // The storage ignores the range; what counts here is what it was sent.
    assert_eq!(read(body.expect("a blob")).await, Ok(b"blob".to_vec()));
    let asked = storage.asked();
    assert_eq!(storage.targets(), ["GET /signed?key=1"]);
    assert_eq!(asked[0].header("authorization"), "");
    assert_eq!(asked[0].header("range"), "bytes=7-");
    assert_eq!(asked[0].header("accept-encoding"), "identity");
    let agent = concat!("seawall/", env!("CARGO_PKG_VERSION"));
    assert_eq!(asked[0].header("user-agent"), agent);
}

#[tokio::test]
async fn a_challenge_of_a_redirects_target_is_not_met() {
    let storage =
        TestServer::start(|_| answer_with(401, CHALLENGE, "Basic realm=\"x\"".to_owned(), ""))
            .await;
    let target = storage.url.to_string();
    let registry =
        TestServer::start(move |_| answer_with(302, "location", target.clone(), "")).await;
    let client = client(&with_credentials(mirror_of(&[&registry.url])));
    assert_eq!(get(&client).await, Err(Error::Denied { status: 401 }));
    assert_eq!(storage.asked().len(), 1);
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_the_authorization() {
    let server =
        TestServer::start(
            |asked| match (asked.uri.path(), asked.header("authorization")) {
                ("/moved", BASIC) => answer(200, "manifest"),
                (_, BASIC) => answer_with(308, "location", "/moved".to_owned(), ""),
                _ => answer_with(401, CHALLENGE, "Basic realm=\"x\"".to_owned(), ""),
            },
        )
        .await;
    let mirror = with_credentials(mirror_of(&[&server.url]));
    assert_eq!(
        get(&client(&mirror)).await,
        Ok(Bytes::from_static(b"manifest"))
    );
}

#[tokio::test]
async fn a_chain_of_redirects_ends() {
    let server = TestServer::start(|_| answer_with(302, "location", "?".to_owned(), "")).await;
    let result = get(&client_of(&server)).await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn redirects_to_what_is_no_plain_url_are_refused() {
    for location in ["file:///etc/passwd", "http://u:p@127.0.0.1/", "http://["] {
        let redirect = move |_: &Asked| answer_with(302, "location", location.to_owned(), "");
        let server = TestServer::start(redirect).await;
        let result = get(&client_of(&server)).await;
        assert!(matches!(result, Err(Error::Protocol { .. })), "{location}");
        assert_eq!(server.asked().len(), 1, "{location}");
    }
}

/// An endpoint that stands at `url`, with no realms.
fn endpoint(url: &str) -> Endpoint {
    let url = Url::parse(url).expect("a URL because it is written so");
    let clock = Arc::new(Fake::at(0));
    let requests = prepare(
        &mirror_of(&[&url]),
        Metrics::new(),
        clock,
        &InstanceId::new(),
    );
    let mut endpoints = requests
        .expect("an endpoint because the URL is sound")
        .endpoints;
    endpoints.remove(0)
}

fn outgoing(url: Url) -> Outgoing {
    Outgoing {
        kind: Kind::Token,
        method: Method::GET,
        repository: String::new(),
        url,
        headers: HeaderMap::new(),
        authorization: None,
        form: None,
        proof: Proof::Connection,
        deadline: None,
    }
}

#[tokio::test]
async fn an_endpoint_elsewhere_cannot_lead_to_this_machine() {
    let inside = TestServer::start(|_| answer(200, "secret")).await;
    let mut by_name = inside.url.clone();
    by_name
        .set_host(Some("localhost"))
        .expect("a host because it is written so");
    for elsewhere in [
        "https://registry.example",
        "https://10.0.0.1",
        "http://[fe80::1]",
    ] {
        for target in [&inside.url, &by_name] {
            let result = endpoint(elsewhere).exchange(outgoing(target.clone())).await;
            let result = result.map_err(|failed| failed.error);
            assert!(
                matches!(result, Err(Error::Protocol { .. })),
                "{elsewhere} {target}"
            );
        }
    }
    assert_eq!(inside.targets(), Vec::<String>::new());
    let here = endpoint("http://127.0.0.1:1");
    here.exchange(outgoing(by_name))
        .await
        .expect("this endpoint stands on this machine");
}

#[tokio::test]
async fn an_endpoint_may_lead_to_where_it_answered_from() {
    let storage = TestServer::start(|_| answer(200, "blob")).await;
    let target = storage.url.to_string();
    let registry =
        TestServer::start(move |_| answer_with(307, "location", target.clone(), "")).await;
    let mut by_name = registry.url.clone();
    by_name
        .set_host(Some("localhost"))
        .expect("a host because it is written so");
    let client = client(&mirror_of(&[&by_name]));
    let body = ask(&client)
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await;
    assert_eq!(read(body.expect("a blob")).await, Ok(b"blob".to_vec()));
}
