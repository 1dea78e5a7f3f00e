//! Endpoints in order, and upstreams in trouble.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use crate::clock::Fake;
use crate::config::{Login, Mirror};
use crate::telemetry::Metrics;

use super::server::{ClosedPort, Reply, TestServer, answer, answer_with};
use super::{client, get, mirror_of, with_credentials};
use crate::upstream::{BuildError, Client, Error, InstanceId};

#[tokio::test]
async fn the_next_endpoint_is_asked_after_trouble_only() {
    let healthy = TestServer::start(|_| answer(200, "manifest")).await;
    for (status, goes_on) in [
        (500, true),
        (503, true),
        (429, true),
        (408, true),
        (404, false),
        (403, false),
        (400, false),
    ] {
        let first = TestServer::start(move |_| answer(status, "")).await;
        let client = client(&mirror_of(&[&first.url, &healthy.url]));
        let before = healthy.asked().len();
        assert_eq!(get(&client).await.is_ok(), goes_on, "{status}");
        let asked = healthy.asked().len() - before;
        assert_eq!(asked, usize::from(goes_on), "{status}");
    }
    let closed = ClosedPort::take();
    let client = client(&mirror_of(&[&closed.url, &healthy.url]));
    assert_eq!(get(&client).await, Ok(Bytes::from_static(b"manifest")));
}

#[tokio::test]
async fn the_first_trouble_is_told_when_every_endpoint_has_one() {
    let limited = TestServer::start(|_| answer_with(429, "retry-after", "60".to_owned(), "")).await;
    let closed = ClosedPort::take();
    let client = client(&mirror_of(&[&limited.url, &closed.url]));
    let retry_after = Some("60".to_owned());
    assert_eq!(get(&client).await, Err(Error::RateLimited { retry_after }));
}

#[tokio::test]
async fn a_mirrors_own_proxy_is_asked_for_what_only_it_can_reach() {
    let proxy = TestServer::start(|_| answer(200, "manifest")).await;
    let url = Url::parse("http://registry.invalid").expect("a URL because it is written so");
    let mut mirror = mirror_of(&[&url]);
    mirror.httpproxy = Some(proxy.url.clone());
    let fetched = get(&client(&mirror)).await;
    assert_eq!(fetched, Ok(Bytes::from_static(b"manifest")));
    let target = "GET http://registry.invalid/v2/library/nginx/manifests/latest";
    assert_eq!(proxy.targets(), [target]);
}

#[tokio::test]
async fn a_silent_upstream_times_out() {
    let server = TestServer::start(|_| Reply::Silence).await;
    let mut mirror = mirror_of(&[&server.url]);
    mirror.timeout.read = Duration::from_millis(20);
    let result = get(&client(&mirror)).await;
    assert!(matches!(result, Err(Error::TimedOut { .. })), "{result:?}");
}

#[tokio::test]
async fn reasons_name_no_host() {
    let closed = ClosedPort::take();
    let error = get(&client(&mirror_of(&[&closed.url]))).await;
    let error = error.expect_err("nothing listens there");
    assert_eq!(
        error.to_string(),
        "upstream unavailable: connection refused"
    );
    let missing = Url::parse("https://registry.invalid").expect("a URL because it is written so");
    let error = get(&client(&mirror_of(&[&missing]))).await;
    let error = error.expect_err("this name does not exist");
    assert!(error.is_trouble());
    assert!(!error.to_string().contains("invalid"), "{error}");
}

#[tokio::test]
async fn a_client_is_made_with_every_upstream_down_but_not_of_nonsense() {
    let url = Url::parse("https://registry.invalid").expect("a URL because it is written so");
    client(&mirror_of(&[&url]));
    let made = |mirror: &Mirror| {
        let clock = Arc::new(Fake::at(0));
        Client::new(mirror, Metrics::new(), clock, &InstanceId::new())
    };
    let nowhere = made(&mirror_of(&[]));
    assert!(matches!(nowhere, Err(BuildError::NoEndpoint { .. })));
    let ftp = Url::parse("ftp://a").expect("a URL because it is written so");
    let wrong = made(&mirror_of(&[&url, &ftp]));
    assert!(matches!(wrong, Err(BuildError::Url { position: 1, .. })));
    let mut colon = with_credentials(mirror_of(&[&url]));
    if let Some(Login::Password(credentials)) = &mut colon.login {
        "a:b".clone_into(&mut credentials.username);
    }
    let wrong = made(&colon);
    assert!(matches!(wrong, Err(BuildError::Credentials { .. })));
}
