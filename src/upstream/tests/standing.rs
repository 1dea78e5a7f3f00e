//! Upstreams in trouble, limited or busy: who is asked, who waits, who is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::server::{Asked, ClosedPort, Reply, TestServer, answer, answer_with};
use super::{ask, client, client_at, digest, get, latest, mirror_of, read, repository};
use crate::clock::Fake;
use crate::upstream::{Client, Error, InstanceId, Manner, Patience, Standing, Via};

const SECOND: Duration = Duration::from_secs(1);

/// A server whose status can be changed.
async fn moody() -> (TestServer, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let mood = Arc::clone(&status);
    let server = TestServer::start(move |_| answer(mood.load(Ordering::SeqCst), "manifest"));
    (server.await, status)
}

fn clock() -> Arc<Fake> {
    Arc::new(Fake::at(0))
}

async fn head(client: &Client) -> Result<(), Error> {
    let asking = ask(client).in_manner(Manner::WithFallback);
    let head = asking.head_manifest(&repository(), &latest()).await;
    head.map(|_| ())
}

/// Waits until the server was asked so often; a probe in the background needs no more than a few turns.
async fn until_asked(server: &TestServer, times: usize) {
    let asked = async {
        while server.asked().len() < times {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), asked).await;
    waited.expect("it is asked in the background");
}

async fn until_healthy(client: &Client) {
    let healthy = async {
        while !client.standing().healthy {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), healthy).await;
    waited.expect("the answer to the probe is noted");
}

#[tokio::test]
async fn an_upstream_in_trouble_is_left_alone_until_one_request_finds_out() {
    let (server, status) = moody().await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    status.store(503, Ordering::SeqCst);
    let trouble = get(&client).await.expect_err("503");
    for _ in 0..5 {
        assert_eq!(get(&client).await, Err(trouble.clone()));
    }
    assert_eq!(server.asked().len(), 1);
    assert!(!client.standing().healthy);
    clock.advance(SECOND);
    let crowd = join_all((0..16).map(|_| get(&client))).await;
    assert!(crowd.iter().all(Result::is_err));
    assert_eq!(server.asked().len(), 2, "one probe for all of them");
    clock.advance(SECOND);
    get(&client)
        .await
        .expect_err("the pause is two seconds now");
    assert_eq!(server.asked().len(), 2);
    status.store(200, Ordering::SeqCst);
    clock.advance(SECOND);
    let crowd = join_all((0..16).map(|_| get(&client))).await;
    assert!(crowd.iter().all(Result::is_ok), "{crowd:?}");
    assert!(client.standing().healthy);
}

#[tokio::test]
async fn what_an_upstream_says_no_to_is_no_trouble() {
    for status in [400, 401, 403, 404, 416, 429, 508] {
        let server = TestServer::start(move |_| answer(status, "")).await;
        let client = client_at(&mirror_of(&[&server.url]), &clock());
        get(&client).await.expect_err("no success");
        assert!(client.standing().healthy, "{status}");
    }
}

#[tokio::test]
async fn whoever_has_something_stored_never_waits_for_the_probe() {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let server = TestServer::start(move |_| {
        if is_silent.load(Ordering::SeqCst) {
            return Reply::Silence;
        }
        answer(503, "")
    })
    .await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    head(&client).await.expect_err("503");
    silent.store(true, Ordering::SeqCst);
    clock.advance(SECOND);
    for _ in 0..5 {
        // It would wait for the 30 seconds of the mirror's read timeout.
        head(&client).await.expect_err("the last error");
    }
    until_asked(&server, 2).await;
    head(&client).await.expect_err("the last error");
    assert_eq!(server.asked().len(), 2, "one probe in the background");
    assert_eq!(server.targets()[1], server.targets()[0]);
}

#[tokio::test]
async fn whoever_has_something_stored_is_released_when_somebody_else_learns_of_the_trouble() {
    let server = TestServer::start(|asked| {
        if asked.method == "HEAD" {
            return Reply::Silence;
        }
        answer(503, "")
    })
    .await;
    let client = client(&mirror_of(&[&server.url]));
    let waiting = head(&client);
    let other = async {
        until_asked(&server, 1).await;
        get(&client).await.expect_err("503")
    };
    let (waited, error) = tokio::join!(waiting, other);
    assert_eq!(waited, Err(error));
}

#[tokio::test]
async fn a_probe_in_the_background_brings_the_upstream_back() {
    let (server, status) = moody().await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    status.store(500, Ordering::SeqCst);
    head(&client).await.expect_err("500");
    status.store(200, Ordering::SeqCst);
    clock.advance(SECOND);
    head(&client).await.expect_err("the last error, at once");
    until_healthy(&client).await;
    assert_eq!(server.asked().len(), 2);
    assert_eq!(head(&client).await, Ok(()));
}

#[tokio::test]
async fn the_next_endpoint_is_asked_at_once_and_the_first_one_is_probed_beside() {
    let (first, status) = moody().await;
    let second = TestServer::start(|_| answer(200, "other")).await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&first.url, &second.url]), &clock);
    status.store(502, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(get(&client).await, Ok(Bytes::from_static(b"other")));
    }
    assert_eq!((first.asked().len(), second.asked().len()), (1, 3));
    let healthy = |standing: Standing| -> Vec<bool> {
        standing.endpoints.iter().map(|one| one.healthy).collect()
    };
    assert_eq!(healthy(client.standing()), [false, true]);
    status.store(200, Ordering::SeqCst);
    clock.advance(SECOND);
    assert_eq!(get(&client).await, Ok(Bytes::from_static(b"other")));
    until_asked(&first, 2).await;
    assert_eq!(first.asked()[1].method, "HEAD");
    while healthy(client.standing()) != [true, true] {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&client).await, Ok(Bytes::from_static(b"manifest")));
}

#[tokio::test]
async fn a_resume_goes_through_an_open_breaker_and_an_answer_closes_it() {
    let (server, status) = moody().await;
    let client = client(&mirror_of(&[&server.url]));
    status.store(503, Ordering::SeqCst);
    get(&client).await.expect_err("503");
    let resume = || ask(&client).in_manner(Manner::Insistently);
    let again = resume()
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await;
    again.expect_err("asked, and still 503");
    status.store(200, Ordering::SeqCst);
    let body = resume()
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await;
    read(body.expect("a blob")).await.expect("its bytes");
    assert_eq!(server.asked().len(), 3);
    get(&client).await.expect("the upstream is well again");
}

#[tokio::test]
async fn a_storage_that_is_gone_is_not_the_registrys_trouble() {
    let gone = ClosedPort::take();
    let target = gone.url.to_string();
    let server = TestServer::start(move |asked| {
        if asked.uri.path().contains("/blobs/") {
            return answer_with(307, "location", target.clone(), "");
        }
        answer(200, "manifest")
    })
    .await;
    let client = client(&mirror_of(&[&server.url]));
    let blob = ask(&client)
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await;
    assert!(matches!(blob, Err(Error::Unavailable { .. })), "{blob:?}");
    assert!(client.standing().healthy);
    get(&client).await.expect("manifests go on");
}

#[tokio::test]
async fn a_limited_upstream_is_left_alone_for_as_long_as_it_says() {
    let limited = |_: &Asked| answer_with(429, "retry-after", "42".to_owned(), "");
    let server = TestServer::start(limited).await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    let told = |seconds: &str| {
        let retry_after = Some(seconds.to_owned());
        Err(Error::RateLimited { retry_after })
    };
    assert_eq!(get(&client).await, told("42"));
    clock.advance(Duration::from_secs(40));
    for result in join_all((0..64).map(|_| get(&client))).await {
        assert_eq!(result, told("2"));
    }
    assert_eq!(server.asked().len(), 1);
    let blob = ask(&client).head_blob(&repository(), &digest()).await;
    assert_eq!(
        blob.map(|_| Bytes::new()),
        told("42"),
        "blobs have a limit of their own"
    );
    clock.advance(Duration::from_secs(2));
    assert_eq!(get(&client).await, told("42"), "asked again");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn what_is_left_of_the_limit_is_told_and_background_work_stops_first() {
    let left = Arc::new(AtomicU16::new(76));
    let telling = Arc::clone(&left);
    let server = TestServer::start(move |_| {
        let left = telling.load(Ordering::SeqCst);
        let headers = vec![
            ("ratelimit-limit", "100;w=21600".to_owned()),
            ("ratelimit-remaining", format!("{left};w=21600")),
        ];
        Reply::Answer(200, headers, Bytes::from_static(b"manifest"))
    })
    .await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    assert!(client.spare());
    get(&client).await.expect("a manifest");
    assert_eq!(client.standing().ratelimit_remaining, Some(76));
    let background = || {
        let asking = ask(&client).in_manner(Manner::InBackground);
        async move { asking.get_manifest(&repository(), &latest(), 1024).await }
    };
    background().await.expect("enough is left");
    left.store(9, Ordering::SeqCst);
    get(&client).await.expect("a manifest");
    assert!(!client.spare());
    let before = server.asked().len();
    assert_eq!(background().await, Err(Error::NoSpare));
    assert_eq!(server.asked().len(), before);
    get(&client).await.expect("clients go on");
    clock.advance(Duration::from_secs(21600));
    assert!(client.spare(), "a new window has begun");
}

#[tokio::test]
async fn background_work_asks_no_upstream_in_trouble_and_may_be_the_one_that_finds_out() {
    let (server, status) = moody().await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    status.store(503, Ordering::SeqCst);
    get(&client).await.expect_err("503");
    let background = || {
        let asking = ask(&client).in_manner(Manner::InBackground);
        async move { asking.get_manifest(&repository(), &latest(), 1024).await }
    };
    assert!(!client.spare());
    assert_eq!(background().await, Err(Error::NoSpare));
    assert_eq!(server.asked().len(), 1);
    status.store(200, Ordering::SeqCst);
    clock.advance(SECOND);
    assert!(client.spare());
    background().await.expect("it is well again");
    get(&client).await.expect("it is well again");
}

#[tokio::test]
async fn blobs_under_way_leave_a_place_for_manifests_and_are_counted_until_they_end() {
    let server = TestServer::start(|asked| {
        if asked.uri.path().contains("/blobs/") {
            return Reply::Endless(Bytes::from_static(&[0; 1024]));
        }
        answer(200, "manifest")
    })
    .await;
    let mut mirror = mirror_of(&[&server.url]);
    mirror.limits.connections = 2;
    mirror.timeout.read = Duration::from_secs(3);
    let client = client(&mirror);
    let (repository, digest) = (repository(), digest());
    let waiting = || ask(&client).get_blob(&repository, &digest, 0, Patience::Waits);
    let at_once = || ask(&client).get_blob(&repository, &digest, 0, Patience::AtOnce);
    let first = waiting().await.expect("a place is free");
    let busy = Error::Busy {
        retry_after_secs: 1,
    };
    assert_eq!(at_once().await.map(|_| ()), Err(busy.clone()));
    assert_eq!(waiting().await.map(|_| ()), Err(busy));
    get(&client).await.expect("manifests have a place");
    drop(first);
    at_once().await.expect("the place is free again");
}

#[tokio::test]
async fn a_whole_answer_has_to_come_in_the_total_time() {
    let server = TestServer::start(|asked| match asked.uri.path().contains("/blobs/") {
        true => Reply::Endless(Bytes::from_static(b"0")),
        false => Reply::Silence,
    })
    .await;
    let mut mirror = mirror_of(&[&server.url]);
    mirror.timeout.total = Some(Duration::from_secs(2));
    mirror.limits.bandwidth = 1000;
    let client = client(&mirror);
    let body = ask(&client)
        .get_blob(&repository(), &digest(), 0, Patience::Waits)
        .await;
    let endless = read(body.expect("it begins in time")).await;
    assert!(matches!(endless, Err(Error::TimedOut { .. })));
    let silent = get(&client).await;
    assert!(matches!(silent, Err(Error::TimedOut { .. })), "{silent:?}");
}

#[tokio::test]
async fn a_part_of_a_blob_is_asked_for_by_its_first_and_last_byte() {
    let server = TestServer::start(|asked| {
        if asked.header("range") == "bytes=2-4" {
            let range = "bytes 2-4/9".to_owned();
            return answer_with(206, "content-range", range, "234");
        }
        answer(200, "012345678")
    })
    .await;
    let client = client(&mirror_of(&[&server.url]));
    let (repository, digest) = (repository(), digest());
    let part = |part| ask(&client).get_blob_part(&repository, &digest, part, Patience::Waits);
    let body = part(2..5).await.expect("a part");
    assert_eq!((body.start, body.total), (2, Some(9)));
    assert_eq!(read(body).await, Ok(b"234".to_vec()));
    let whole = part(3..5).await.expect("the whole, for want of ranges");
    assert_eq!((whole.start, whole.total), (0, Some(9)));
}

#[tokio::test]
async fn requests_carry_the_way_they_came_and_a_loop_is_told_as_one() {
    let server = TestServer::start(|asked| {
        if asked.header("via").contains("twice") {
            return answer(508, "");
        }
        answer(200, "manifest")
    })
    .await;
    let client = client(&mirror_of(&[&server.url]));
    get(&client).await.expect("a manifest");
    let own = server.asked()[0].header("via").to_owned();
    assert!(own.starts_with("1.1 seawall-"), "{own}");
    let via = Via::parse([b"1.1 other, 1.1 twice".as_slice()]);
    let asking = client.on_behalf_of(&via);
    let result = asking.get_manifest(&repository(), &latest(), 1024).await;
    assert_eq!(result.map(|_| ()), Err(Error::Loop));
    let chain = format!("1.1 other, 1.1 twice, {own}");
    assert_eq!(server.asked()[1].header("via"), chain);
    assert!(!via.names(&InstanceId::new()));
}

#[tokio::test]
async fn one_path_that_fails_refuses_nobody_who_asks_for_another() {
    let server = TestServer::start(|asked: &Asked| {
        if asked.uri.path().contains("/blobs/") {
            return answer(500, "broken");
        }
        answer(200, "manifest")
    })
    .await;
    let clock = clock();
    let client = client_at(&mirror_of(&[&server.url]), &clock);
    for pause in [Duration::ZERO, SECOND / 2, SECOND * 2] {
        let failed = ask(&client)
            .get_blob(&repository(), &digest(), 0, Patience::Waits)
            .await;
        assert!(matches!(failed, Err(Error::Failing { .. })), "{failed:?}");
        let fallback = ask(&client).in_manner(Manner::WithFallback);
        let told = fallback.head_manifest(&repository(), &latest()).await;
        assert!(
            matches!(told, Err(Error::Failing { .. })),
            "who has something stored does not wait: {told:?}"
        );
        clock.advance(pause);
        get(&client).await.expect("a client without it is served");
        assert!(client.standing().healthy, "an answer ends the trouble");
    }
}
