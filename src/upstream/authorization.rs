//! Meets the challenges of an upstream: username and password, or a token of its token server.
//!
//! Credentials go to trusted origins only; every other token server is asked without them, and
//! only over TLS.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use moka::future::Cache;
use url::Url;

use super::body::read_bounded;
use super::challenge::Challenge;
use super::endpoint::{Endpoint, Outgoing, Proof};
use super::error::Error;
use super::origin::{Origin, TrustedOrigins};
use super::token::{ANSWER_MAX, Issued, TokenKey, Tokens, read_token};
use crate::clock::Clock;
use crate::config::Credentials;
use crate::telemetry::Kind;

/// Most repositories whose challenge is remembered.
const REMEMBERED_MAX: u64 = 10_000;

/// How a repository at an endpoint wants to be asked, as its last challenge told.
#[derive(Clone, Debug)]
enum Demand {
    Basic,
    Token(Arc<TokenKey>),
}

/// An endpoint, by its place in the list, and a repository there.
type Place = (usize, String);

/// The username and password in the forms they are sent in.
#[derive(Debug)]
struct Login {
    username: String,
    basic: HeaderValue,
}

/// Makes the `Authorization` header for requests of one mirror.
#[derive(Debug)]
pub(super) struct Authorizer {
    login: Option<Login>,
    trusted: Arc<TrustedOrigins>,
    tokens: Tokens,
    demands: Cache<Place, Demand>,
}

impl Authorizer {
    /// Starts without tokens. Returns `None` when the credentials cannot be sent: a colon in the
    /// username (RFC 7617), or a control character.
    pub(super) fn new(
        credentials: Option<&Credentials>,
        trusted: Arc<TrustedOrigins>,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let login = match credentials {
            Some(credentials) => Some(login(credentials)?),
            None => None,
        };
        Some(Self {
            login,
            trusted,
            tokens: Tokens::new(clock),
            demands: Cache::new(REMEMBERED_MAX),
        })
    }

    /// Returns what the endpoint's earlier challenge for this repository asks for, so that the
    /// request need not be refused first; `None` when there was no challenge.
    ///
    /// # Errors
    /// When no token can be had.
    pub(super) async fn foresee(
        &self,
        endpoint: &Endpoint,
        repository: &str,
    ) -> Result<Option<HeaderValue>, Error> {
        let place = (endpoint.position(), repository.to_owned());
        let Some(demand) = self.demands.get(&place).await else {
            return Ok(None);
        };
        let met = self.meet(endpoint, &demand, None).await;
        if met.is_err() {
            // The token server may have moved: the next request takes a new challenge.
            self.demands.invalidate(&place).await;
        }
        met
    }

    /// Returns what meets one of `challenges`, which came with a 401 from the endpoint's own
    /// origin after `refused` was sent; `None` when nothing can.
    ///
    /// # Errors
    /// When no token can be had.
    pub(super) async fn answer(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        challenges: Vec<Challenge>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(demand) = self.choose(endpoint, repository, challenges)? else {
            return Ok(None);
        };
        let met = self.meet(endpoint, &demand, refused).await?;
        let place = (endpoint.position(), repository.to_owned());
        self.demands.insert(place, demand).await;
        Ok(met.filter(|authorization| Some(authorization) != refused))
    }

    /// Prefers a token to sending the password to the registry itself.
    fn choose(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        challenges: Vec<Challenge>,
    ) -> Result<Option<Demand>, Error> {
        let mut basic = None;
        for challenge in challenges {
            match challenge {
                Challenge::Basic => basic = self.login.is_some().then_some(Demand::Basic),
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                } => {
                    let realm = Url::parse(&realm)
                        .map_err(|_| Error::protocol("the token realm is no URL"))?;
                    let scope = scope.unwrap_or_else(|| {
                        format!("repository:{}:pull", endpoint.repository(repository))
                    });
                    let key = TokenKey {
                        realm,
                        service,
                        scope,
                    };
                    return Ok(Some(Demand::Token(Arc::new(key))));
                }
            }
        }
        Ok(basic)
    }

    async fn meet(
        &self,
        endpoint: &Endpoint,
        demand: &Demand,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        match demand {
            Demand::Basic => Ok(self.login.as_ref().map(|login| login.basic.clone())),
            Demand::Token(key) => {
                let fetch = || self.fetch_token(endpoint, key);
                self.tokens.get(key, refused, fetch).await.map(Some)
            }
        }
    }

    async fn fetch_token(&self, endpoint: &Endpoint, key: &TokenKey) -> Result<Issued, Error> {
        let outgoing = self.token_request(key)?;
        let exchange = endpoint.exchange(outgoing).await?;
        let response = exchange.response;
        if let Some(error) = Error::of_status(response.status(), response.headers()) {
            return Err(match error {
                // A token server that is not there says nothing about the repository.
                Error::NotFound => Error::protocol("the token server answers 404"),
                other => other,
            });
        }
        let body = read_bounded(response, ANSWER_MAX).await?;
        read_token(&body)
    }

    /// Decides what a token server is told.
    fn token_request(&self, key: &TokenKey) -> Result<Outgoing, Error> {
        let Some(origin) = Origin::of(&key.realm) else {
            return Err(Error::protocol("the token realm is not a plain HTTP URL"));
        };
        let trusted = self.trusted.may_receive_credentials(&origin);
        if !trusted && !origin.is_https() {
            let reason = "the token realm is neither https nor one of the mirror's realms";
            return Err(Error::protocol(reason));
        }
        let login = self.login.as_ref().filter(|_| trusted);
        let mut url = key.realm.clone();
        url.set_fragment(None);
        let mut query = url.query_pairs_mut();
        if let Some(service) = &key.service {
            query.append_pair("service", service);
        }
        for scope in key.scope.split_whitespace() {
            query.append_pair("scope", scope);
        }
        if let Some(login) = login {
            query.append_pair("account", &login.username);
        }
        drop(query);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(Outgoing {
            kind: Kind::Token,
            method: Method::GET,
            url,
            headers,
            authorization: login.map(|login| login.basic.clone()),
            proof: Proof::Connection,
        })
    }
}

fn login(credentials: &Credentials) -> Option<Login> {
    let username = credentials.username.clone();
    let password = credentials.password.reveal();
    let has_control = |text: &str| text.chars().any(char::is_control);
    if username.contains(':') || has_control(&username) || has_control(password) {
        return None;
    }
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    let mut basic = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    basic.set_sensitive(true);
    Some(Login { username, basic })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use url::Url;

    use super::{Authorizer, Credentials, Error, Origin, Outgoing, TokenKey, TrustedOrigins};
    use crate::clock::Fake;
    use crate::config::Secret;

    fn credentials(username: &str, password: &str) -> Credentials {
        Credentials {
            username: username.to_owned(),
            password: Secret::new(password),
        }
    }

    fn authorizer(endpoint: &str, credentials: &Credentials) -> Option<Authorizer> {
        let endpoint = Url::parse(endpoint).expect("a URL because the test says so");
        let origin = Origin::of(&endpoint).expect("an origin because the test says so");
        let trusted = TrustedOrigins::new(vec![origin], Vec::new());
        let clock = Arc::new(Fake::at(0));
        Authorizer::new(Some(credentials), Arc::new(trusted), clock)
    }

    fn request_to(realm: &str) -> Result<Outgoing, Error> {
        let credentials = credentials("aladdin", "opensesame");
        let authorizer = authorizer("https://registry-1.docker.io", &credentials);
        let key = TokenKey {
            realm: Url::parse(realm).expect("a URL because the test says so"),
            service: Some("a b".to_owned()),
            scope: "repository:x:pull repository:y:pull".to_owned(),
        };
        let authorizer = authorizer.expect("sendable because the test says so");
        authorizer.token_request(&key)
    }

    #[test]
    fn a_trusted_realm_gets_the_credentials() {
        let sent = request_to("https://auth.docker.io/token?x=1").expect("sent to a trusted realm");
        let expected = "Basic YWxhZGRpbjpvcGVuc2VzYW1l";
        assert_eq!(sent.authorization.expect("credentials are sent"), expected);
        assert_eq!(
            sent.url.as_str(),
            "https://auth.docker.io/token?x=1&service=a+b&scope=repository%3Ax%3Apull&scope=repository%3Ay%3Apull&account=aladdin"
        );
    }

    #[test]
    fn a_foreign_realm_is_asked_without_credentials_and_over_tls_only() {
        let sent = request_to("https://evil.example/token").expect("anonymous over https");
        assert_eq!(sent.authorization, None);
        assert!(!sent.url.as_str().contains("aladdin"));
        for refused in [
            "http://evil.example/token",
            "http://auth.docker.io/token",
            "https://user:pass@auth.docker.io/token",
            "file:///etc/passwd",
        ] {
            let result = request_to(refused);
            assert!(matches!(result, Err(Error::Protocol { .. })), "{refused}");
        }
    }

    #[test]
    fn credentials_that_would_read_as_others_are_refused() {
        for (username, password) in [("a:b", "c"), ("a\n", "c"), ("a", "c\r\nX: y")] {
            let credentials = credentials(username, password);
            assert!(authorizer("https://a.example", &credentials).is_none());
        }
    }
}
