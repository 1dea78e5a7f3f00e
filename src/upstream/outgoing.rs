//! A request as it is sent, and what is left of it after a redirect.
//!
//! An `Authorization` header never leaves the origin it was made for, and a request that
//! carries one never goes on without TLS once it had it.

use std::fmt;

use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::error::Error;
use super::origin::Origin;
use crate::telemetry::Kind;

/// What vouches for the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The digest that was asked for; the way it came does not matter.
    Digest,
    /// The connection only.
    Connection,
}

/// A request as it is sent, to its first URL and to every one it is redirected to.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) kind: Kind,
    pub(super) method: Method,
    /// The repository that is asked about, for the log; a token's is its scope.
    pub(super) repository: String,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) authorization: Option<HeaderValue>,
    /// An encoded form to send, which holds a secret and follows no redirect.
    pub(super) form: Option<Form>,
    pub(super) proof: Proof,
    /// When the whole answer has to be here.
    pub(super) deadline: Option<tokio::time::Instant>,
}

/// An encoded form that is never shown.
#[derive(Clone)]
pub(super) struct Form(pub(super) String);

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form(…)")
    }
}

/// A request on its way through redirects.
pub(super) struct Chain {
    pub(super) outgoing: Outgoing,
    pub(super) home: Origin,
    pub(super) origin: Origin,
    keeps_tls: bool,
}

impl Chain {
    /// Begins at the request's own URL.
    pub(super) fn start(outgoing: Outgoing) -> Result<Self, Error> {
        let Some(home) = Origin::of(&outgoing.url) else {
            return Err(Error::protocol("the first URL is not a plain HTTP one"));
        };
        Ok(Self {
            origin: home.clone(),
            home,
            keeps_tls: outgoing.authorization.is_some() || outgoing.proof == Proof::Connection,
            outgoing,
        })
    }

    /// Goes on to `next` without what must not go there.
    pub(super) fn follow(&mut self, next: Url) -> Result<(), Error> {
        let Some(origin) = Origin::of(&next) else {
            return Err(Error::protocol("a redirect leads to no plain HTTP URL"));
        };
        if self.outgoing.form.is_some() {
            return Err(Error::protocol("a redirect where a token was expected"));
        }
        if self.origin.is_https() && !origin.is_https() && self.keeps_tls {
            return Err(Error::protocol("a redirect leads from https to http"));
        }
        if origin != self.home {
            // For the rest of the chain: who redirects back is no longer the first origin.
            self.outgoing.authorization = None;
        }
        self.outgoing.url = next;
        self.origin = origin;
        Ok(())
    }
}

/// Returns where a redirect leads, or `None` when the answer is none.
pub(super) fn redirect_target(
    response: &reqwest::Response,
    from: &Url,
) -> Result<Option<Url>, Error> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {}
        _ => return Ok(None),
    }
    let location = response.headers().get(LOCATION);
    let target = location
        .and_then(|value| value.to_str().ok())
        .and_then(|text| from.join(text).ok());
    match target {
        Some(target) => Ok(Some(target)),
        None => Err(Error::protocol("a redirect without a usable location")),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use url::Url;

    use super::{Chain, Error, Kind, Outgoing, Proof};

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL because the test says so")
    }

    fn chain(from: &str, authorization: Option<&'static str>, proof: Proof) -> Chain {
        let outgoing = Outgoing {
            kind: Kind::Blob,
            method: Method::GET,
            repository: String::new(),
            url: url(from),
            headers: HeaderMap::new(),
            authorization: authorization.map(HeaderValue::from_static),
            form: None,
            proof,
            deadline: None,
        };
        Chain::start(outgoing).expect("a chain because the URL is plain")
    }

    #[test]
    fn authorization_is_gone_for_good_once_the_origin_was_left() {
        let mut chain = chain("https://a.example/x", Some("Bearer t"), Proof::Digest);
        chain
            .follow(url("https://a.example/y"))
            .expect("the same origin");
        assert!(chain.outgoing.authorization.is_some());
        chain
            .follow(url("https://a.example:444/y"))
            .expect("another port");
        assert_eq!(chain.outgoing.authorization, None);
        chain
            .follow(url("https://a.example/z"))
            .expect("back at the first origin");
        assert_eq!(chain.outgoing.authorization, None);
    }

    #[test]
    fn tls_is_given_up_only_for_what_a_digest_proves_and_nobody_authorised() {
        let plain = || url("http://b.example/");
        let is_refused = |result| matches!(result, Err(Error::Protocol { .. }));
        let mut authorised = chain("https://a.example", Some("Bearer t"), Proof::Digest);
        assert!(is_refused(authorised.follow(plain())));
        authorised
            .follow(url("https://c.example/"))
            .expect("https to https");
        assert!(
            is_refused(authorised.follow(plain())),
            "also after a detour"
        );
        let mut tag = chain("https://a.example", None, Proof::Connection);
        assert!(is_refused(tag.follow(plain())));
        let mut blob = chain("https://a.example", None, Proof::Digest);
        assert_eq!(blob.follow(plain()), Ok(()));
    }
}
