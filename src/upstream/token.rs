//! Bearer tokens: reading a token server's answer, and keeping tokens until they expire.
//!
//! A token is asked for once however many requests wait for it. Tokens live in memory only and
//! are never logged. Contract: the distribution token specification.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use moka::future::Cache;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::error::Error;
use crate::clock::Clock;
use crate::clock::micros;

/// Largest answer of a token server that is read, in bytes.
pub(super) const ANSWER_MAX: u64 = 64 * 1024;
/// Most tokens that are kept.
const TOKENS_MAX: u64 = 10_000;
/// Validity of a token that names none or less, as the specification says.
const VALIDITY_MIN: Duration = Duration::from_secs(60);
/// A token is asked for anew at least this often, whatever it claims.
const VALIDITY_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long before its end a token is no longer used, unless a tenth of its life is less.
const MARGIN_MAX: Duration = Duration::from_secs(30);

/// What a token is asked for; it is the same token for everyone who asks for the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    /// The token server.
    pub(super) realm: Url,
    /// Its name for the registry.
    pub(super) service: Option<String>,
    /// What the token allows, a list separated by spaces.
    pub(super) scope: String,
    /// Whose credentials it is asked for with.
    pub(super) owner: usize,
}

/// A token as it came.
#[derive(Debug)]
pub(super) struct Issued {
    /// The whole `Authorization` value, marked sensitive.
    pub(super) authorization: HeaderValue,
    /// How long it may be used from the moment it was asked for.
    pub(super) usable: Duration,
}

/// Reads a token server's answer.
///
/// # Errors
/// A protocol error when it is not JSON or holds neither `token` nor `access_token`.
pub(super) fn read_token(body: &[u8]) -> Result<Issued, Error> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<serde_json::Value>,
    }
    let unreadable = |_| Error::protocol("the token server's answer is not JSON of a token");
    let answer: Answer = serde_json::from_slice(body).map_err(unreadable)?;
    let is_there = |text: &String| !text.is_empty();
    let token = answer.token.filter(is_there);
    let token = token.or(answer.access_token.filter(is_there));
    let Some(token) = token else {
        return Err(Error::protocol("the token server's answer holds no token"));
    };
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Error::protocol("the token cannot be sent in a header"))?;
    authorization.set_sensitive(true);
    let seconds = answer
        .expires_in
        .as_ref()
        .and_then(serde_json::Value::as_u64);
    let valid = Duration::from_secs(seconds.unwrap_or(0)).clamp(VALIDITY_MIN, VALIDITY_MAX);
    let usable = valid - (valid / 10).min(MARGIN_MAX);
    Ok(Issued {
        authorization,
        usable,
    })
}

/// The tokens of one mirror.
pub(super) struct Tokens {
    slots: Cache<TokenKey, Arc<Slot>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Slot {
    /// Counts failed attempts, so that those who waited for one do not repeat it.
    failures: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// With the monotonic time of its end, in microseconds.
    token: Option<(HeaderValue, i64)>,
    failure: Option<Error>,
}

impl Tokens {
    /// Starts without tokens.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let slots = Cache::builder()
            .max_capacity(TOKENS_MAX)
            .time_to_idle(VALIDITY_MAX)
            .build();
        Self { slots, clock }
    }

    /// Returns a token's `Authorization` value that is neither expired nor `refused`, asking with
    /// `fetch` when none is held. Callers that wait while another one asks share its outcome.
    ///
    /// # Errors
    /// What `fetch` returned.
    pub(super) async fn get<F, Answer>(
        &self,
        key: &TokenKey,
        refused: Option<&HeaderValue>,
        fetch: F,
    ) -> Result<HeaderValue, Error>
    where
        F: FnOnce() -> Answer,
        Answer: Future<Output = Result<Issued, Error>>,
    {
        let slot = self.slots.entry_by_ref(key).or_default().await.into_value();
        let failures_before = slot.failures.load(Ordering::Acquire);
        let mut held = slot.held.lock().await;
        if let Some((authorization, until)) = &held.token
            && self.clock.monotonic_micros() < *until
            && refused != Some(authorization)
        {
            return Ok(authorization.clone());
        }
        if slot.failures.load(Ordering::Acquire) != failures_before
            && let Some(failure) = &held.failure
        {
            return Err(failure.clone());
        }
        let asked = self.clock.monotonic_micros();
        match fetch().await {
            Ok(issued) => {
                let authorization = issued.authorization;
                held.token = Some((authorization.clone(), asked + micros(issued.usable)));
                Ok(authorization)
            }
            Err(failure) => {
                held.token = None;
                held.failure = Some(failure.clone());
                slot.failures.fetch_add(1, Ordering::AcqRel);
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use url::Url;

    use super::{Error, Issued, TokenKey, Tokens, read_token};
    use crate::clock::Fake;

    fn issued(json: &str) -> Issued {
        read_token(json.as_bytes()).expect("a token because the test says so")
    }

    #[test]
    fn both_spellings_of_a_token_are_read() {
        assert_eq!(issued(r#"{"token":"a"}"#).authorization, "Bearer a");
        assert_eq!(issued(r#"{"access_token":"b"}"#).authorization, "Bearer b");
        let both = r#"{"access_token":"b","token":"a","issued_at":"x"}"#;
        assert_eq!(issued(both).authorization, "Bearer a");
        assert_eq!(
            issued(r#"{"token":"","access_token":"b"}"#).authorization,
            "Bearer b"
        );
        assert!(issued(both).authorization.is_sensitive());
    }

    #[test]
    fn validity_has_a_floor_a_margin_and_a_ceiling() {
        let usable = |expires_in: &str| {
            let json = format!(r#"{{"token":"a","expires_in":{expires_in}}}"#);
            issued(&json).usable.as_secs()
        };
        assert_eq!(issued(r#"{"token":"a"}"#).usable, Duration::from_secs(54));
        assert_eq!(usable("1"), 54);
        assert_eq!(usable("-5"), 54);
        assert_eq!(usable("\"300\""), 54);
        assert_eq!(usable("300"), 270);
        assert_eq!(usable("3600"), 3570);
        assert_eq!(usable("18446744073709551615"), 24 * 3600 - 30);
    }

    #[test]
    fn what_holds_no_token_is_a_protocol_error() {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"token":7}"#,
            r#"{"token":"a\nb"}"#,
        ] {
            let result = read_token(body.as_bytes());
            assert!(matches!(result, Err(Error::Protocol { .. })), "{body}");
        }
    }

    fn key() -> TokenKey {
        TokenKey {
            realm: Url::parse("https://auth.example/token")
                .expect("a URL because it is written so"),
            service: None,
            scope: "repository:a:pull".to_owned(),
            owner: 0,
        }
    }

    #[tokio::test]
    async fn those_who_waited_for_a_failure_share_it_and_the_next_one_asks_again() {
        let tokens = Tokens::new(Arc::new(Fake::at(0)));
        let asked = AtomicUsize::new(0);
        let key = key();
        let fail = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(Error::Denied { status: 401 })
        };
        let waiting = (0..8).map(|_| tokens.get(&key, None, fail));
        for result in join_all(waiting).await {
            assert_eq!(result, Err(Error::Denied { status: 401 }));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let later = tokens.get(&key, None, || async { Ok(issued(r#"{"token":"a"}"#)) });
        assert_eq!(
            later.await.expect("a token because it was issued"),
            "Bearer a"
        );
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_although_it_has_not_expired() {
        let tokens = Tokens::new(Arc::new(Fake::at(0)));
        let key = key();
        let answer = |json: &'static str| move || async move { Ok(issued(json)) };
        let first = tokens.get(&key, None, answer(r#"{"token":"a"}"#)).await;
        let first = first.expect("a token because it was issued");
        let kept = tokens.get(&key, None, answer(r#"{"token":"b"}"#)).await;
        assert_eq!(kept, Ok(first.clone()));
        let next = tokens
            .get(&key, Some(&first), answer(r#"{"token":"b"}"#))
            .await;
        assert_eq!(next.expect("a token because it was issued"), "Bearer b");
    }
}
