//! Tokens and credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use url::Url;

use super::server::{Asked, TestServer, answer, answer_with};
use super::{BASIC, CHALLENGE, client, client_at, client_of, get, mirror_of, with_credentials};
use crate::clock::Fake;
use crate::config::Login;
use crate::upstream::Error;

fn bearer(realm: &Url) -> String {
    format!("Bearer realm=\"{realm}token\",service=\"s\",scope=\"repository:library/nginx:pull\"")
}

/// A registry whose token server is itself; every token asked for is the next number, and only
/// the newest is honoured.
async fn token_registry() -> (TestServer, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let server = TestServer::start(move |asked| {
        if asked.uri.path() == "/token" {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            return answer(200, &format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        let newest = format!("Bearer t{}", counter.load(Ordering::SeqCst));
        if asked.header("authorization") == newest {
            return answer(200, "manifest");
        }
        let realm = Url::parse(&format!("http://{}/", asked.header("host")));
        let realm = realm.expect("a URL because the client came by it");
        answer_with(401, CHALLENGE, bearer(&realm), "{}")
    })
    .await;
    (server, issued)
}

fn token_requests(server: &TestServer) -> usize {
    let asked = server.asked();
    asked
        .iter()
        .filter(|asked| asked.uri.path() == "/token")
        .count()
}

#[tokio::test]
async fn one_token_serves_32_concurrent_requests() {
    let (server, _) = token_registry().await;
    let client = client_of(&server);
    for result in join_all((0..32).map(|_| get(&client))).await {
        assert_eq!(result, Ok(Bytes::from_static(b"manifest")));
    }
    assert_eq!(token_requests(&server), 1);
    let before = server.asked().len();
    get(&client).await.expect("the token is kept");
    assert_eq!(
        server.asked().len(),
        before + 1,
        "the challenge is remembered"
    );
}

#[tokio::test]
async fn an_expired_token_is_replaced_before_it_is_sent() {
    let (server, _) = token_registry().await;
    let clock = Arc::new(Fake::at(0));
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    let advance = |seconds| clock.advance(Duration::from_secs(seconds));
    get(&client).await.expect("a first token");
    advance(269);
    get(&client).await.expect("the same token");
    assert_eq!(token_requests(&server), 1);
    advance(2);
    get(&client).await.expect("a second token");
    assert_eq!(token_requests(&server), 2);
    let asked = server.asked();
    let refused = asked
        .iter()
        .filter(|asked| asked.header("authorization").is_empty());
    assert_eq!(
        refused.count(),
        3,
        "one request without a token, two of the token server"
    );
}

#[tokio::test]
async fn a_token_refused_before_its_end_is_refreshed_once() {
    let (server, issued) = token_registry().await;
    let client = client_of(&server);
    get(&client).await.expect("a first token");
    issued.fetch_add(1, Ordering::SeqCst);
    get(&client).await.expect("a fresh token after the refusal");
    assert_eq!(token_requests(&server), 2);
}

#[tokio::test]
async fn a_registry_that_refuses_its_own_tokens_is_denied_and_not_asked_again() {
    let server = TestServer::start(|asked| {
        if asked.uri.path() == "/token" {
            return answer(200, r#"{"access_token":"t"}"#);
        }
        let realm = Url::parse(&format!("http://{}/", asked.header("host")));
        let realm = realm.expect("a URL because the client came by it");
        answer_with(401, CHALLENGE, bearer(&realm), "{}")
    })
    .await;
    assert_eq!(
        get(&client_of(&server)).await,
        Err(Error::Denied { status: 401 })
    );
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_basic_challenge_is_met_at_the_endpoint_itself() {
    let server = TestServer::start(|asked| {
        if asked.header("authorization") == BASIC {
            return answer(200, "manifest");
        }
        answer_with(401, CHALLENGE, "Basic realm=\"x\"".to_owned(), "{}")
    })
    .await;
    let mirror = with_credentials(mirror_of(&[&server.url]));
    assert_eq!(
        get(&client(&mirror)).await,
        Ok(Bytes::from_static(b"manifest"))
    );
    let anonymous = get(&client_of(&server)).await;
    assert_eq!(anonymous, Err(Error::Denied { status: 401 }));
}

/// A registry that asks for tokens of `realm` and takes any.
async fn registry_with_realm(realm: &Url) -> TestServer {
    let challenge = bearer(realm);
    TestServer::start(move |asked| {
        if asked.header("authorization").starts_with("Bearer ") {
            return answer(200, "manifest");
        }
        answer_with(401, CHALLENGE, challenge.clone(), "{}")
    })
    .await
}

#[tokio::test]
async fn credentials_never_go_to_a_foreign_realm() {
    let realm = TestServer::start(|_| answer(200, r#"{"token":"t"}"#)).await;
    let registry = registry_with_realm(&realm.url).await;
    let mirror = with_credentials(mirror_of(&[&registry.url]));
    let result = get(&client(&mirror)).await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
    assert_eq!(realm.targets(), Vec::<String>::new());
    let asked = registry.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.header("authorization").is_empty())
    );
}

#[tokio::test]
async fn a_listed_realm_gets_the_credentials_and_the_registry_the_token() {
    let realm = TestServer::start(|_| answer(200, r#"{"token":"t"}"#)).await;
    let registry = registry_with_realm(&realm.url).await;
    let mut mirror = with_credentials(mirror_of(&[&registry.url]));
    mirror.realms.push(realm.url.clone());
    get(&client(&mirror)).await.expect("the realm is listed");
    let expected = "GET /token?service=s&scope=repository%3Alibrary%2Fnginx%3Apull&account=aladdin";
    assert_eq!(realm.targets(), [expected]);
    assert_eq!(realm.asked()[0].header("authorization"), BASIC);
    let asked = registry.asked();
    let last = asked.last().expect("the registry was asked");
    assert_eq!(last.header("authorization"), "Bearer t");
}

#[tokio::test]
async fn an_identity_token_of_a_docker_configuration_is_turned_into_a_token() {
    let (server, _) = token_registry().await;
    let directory = tempfile::tempdir().expect("room for a directory");
    let file = directory.path().join("config.json");
    let host = format!(
        "127.0.0.1:{}",
        server.url.port().expect("a port of its own")
    );
    let json = format!(r#"{{"auths":{{"{host}":{{"identitytoken":"hunter2"}}}}}}"#);
    std::fs::write(&file, json).expect("the test's own directory");
    let mut mirror = mirror_of(&[&server.url]);
    mirror.login = Some(Login::DockerConfig { file });
    get(&client(&mirror))
        .await
        .expect("a token for the identity");
    let targets = server.targets();
    assert!(targets.contains(&"POST /token".to_owned()), "{targets:?}");
    let shown = server.asked();
    assert!(
        shown
            .iter()
            .all(|asked| !asked.header("authorization").contains("hunter2"))
    );
}

#[tokio::test]
async fn a_token_server_in_trouble_is_told_as_it_is() {
    let busy = |_: &Asked| answer_with(429, "retry-after", "7".to_owned(), "");
    let realm = TestServer::start(busy).await;
    let registry = registry_with_realm(&realm.url).await;
    let mut mirror = mirror_of(&[&registry.url]);
    mirror.realms.push(realm.url.clone());
    let retry_after = Some("7".to_owned());
    let result = get(&client(&mirror)).await;
    assert_eq!(result, Err(Error::RateLimited { retry_after }));
}

#[tokio::test]
async fn an_endless_token_answer_is_not_read() {
    let huge = format!(r#"{{"token":"{}"}}"#, "a".repeat(65 * 1024));
    let realm = TestServer::start(move |_| answer(200, &huge)).await;
    let registry = registry_with_realm(&realm.url).await;
    let mut mirror = mirror_of(&[&registry.url]);
    mirror.realms.push(realm.url.clone());
    let result = get(&client(&mirror)).await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
}
