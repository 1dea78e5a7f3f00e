//! Meets the challenges of an upstream: username and password, or a token of its token server.
//!
//! Credentials go to trusted origins only; every other token server is asked without them, and
//! only over TLS.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use moka::future::Cache;
use url::Url;
use url::form_urlencoded::Serializer;

use super::body::read_bounded;
use super::challenge::Challenge;
use super::endpoint::{Endpoint, Form, Outgoing, Proof};
use super::error::Error;
use super::logins::{Login, Logins};
use super::origin::{Origin, TrustedOrigins};
use super::token::{ANSWER_MAX, Issued, TokenKey, Tokens, read_token};
use crate::clock::Clock;
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

/// Makes the `Authorization` header for requests of one mirror.
#[derive(Debug)]
pub(super) struct Authorizer {
    pub(super) logins: Logins,
    trusted: Arc<TrustedOrigins>,
    tokens: Tokens,
    demands: Cache<Place, Demand>,
}

impl Authorizer {
    /// Starts without tokens.
    pub(super) fn new(logins: Logins, trusted: Arc<TrustedOrigins>, clock: Arc<dyn Clock>) -> Self {
        Self {
            logins,
            trusted,
            tokens: Tokens::new(clock),
            demands: Cache::new(REMEMBERED_MAX),
        }
    }

    /// Returns what the endpoint's earlier challenge for this repository asks for, so that the
    /// request need not be refused first, other than what was `refused`; `None` when there was no challenge.
    ///
    /// # Errors
    /// When no token or no credentials can be had.
    pub(super) async fn foresee(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        if let Some(bearer) = self.logins.bearer(endpoint.position()).await? {
            return Ok(Some(bearer));
        }
        let place = (endpoint.position(), repository.to_owned());
        let Some(demand) = self.demands.get(&place).await else {
            return Ok(None);
        };
        let met = self.meet(endpoint, &demand, refused).await;
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
    /// When no token or no credentials can be had.
    pub(super) async fn answer(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        challenges: Vec<Challenge>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(demand) = self.choose(endpoint, repository, challenges).await? else {
            return Ok(None);
        };
        let met = self.meet(endpoint, &demand, refused).await?;
        let place = (endpoint.position(), repository.to_owned());
        self.demands.insert(place, demand).await;
        Ok(met.filter(|authorization| Some(authorization) != refused))
    }

    /// Prefers a token to sending the password to the registry itself.
    async fn choose(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        challenges: Vec<Challenge>,
    ) -> Result<Option<Demand>, Error> {
        let login = self.logins.current(endpoint.position()).await?;
        if let Some(Login::Bearer(_)) = login.as_deref() {
            // It goes with every request; there is nothing else to show.
            return Ok(None);
        }
        let mut basic = None;
        for challenge in challenges {
            match challenge {
                Challenge::Basic => {
                    let has_password = matches!(login.as_deref(), Some(Login::Password { .. }));
                    basic = has_password.then_some(Demand::Basic);
                }
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
                        owner: self.logins.owner(endpoint.position()),
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
            Demand::Basic => match self.logins.current(endpoint.position()).await?.as_deref() {
                Some(Login::Password { basic, .. }) => Ok(Some(basic.clone())),
                Some(Login::Identity(_) | Login::Bearer(_)) | None => Ok(None),
            },
            Demand::Token(key) => {
                let fetch = || Box::pin(self.fetch_token(endpoint, key));
                self.tokens.get(key, refused, fetch).await.map(Some)
            }
        }
    }

    async fn fetch_token(&self, endpoint: &Endpoint, key: &TokenKey) -> Result<Issued, Error> {
        let login = self.logins.current(endpoint.position()).await?;
        let outgoing = self.token_request(endpoint.origin(), key, login.as_deref())?;
        let exchange = endpoint.exchange(outgoing).await;
        let received = exchange.map_err(|failed| failed.error)?.received;
        if let Some(error) = Error::of_status(received.status(), received.headers()) {
            return Err(match error {
                // A token server that is not there says nothing about the repository.
                Error::NotFound => Error::protocol("the token server answers 404"),
                other => other,
            });
        }
        let body = read_bounded(received, ANSWER_MAX).await?;
        read_token(&body)
    }

    /// Decides what a token server is told on behalf of the endpoint at `own`.
    fn token_request(
        &self,
        own: &Origin,
        key: &TokenKey,
        login: Option<&Login>,
    ) -> Result<Outgoing, Error> {
        let Some(origin) = Origin::of(&key.realm) else {
            return Err(Error::protocol("the token realm is not a plain HTTP URL"));
        };
        let trusted = if self.logins.is_shared() {
            self.trusted.may_receive_credentials(&origin)
        } else {
            self.trusted.may_receive_credentials_of(own, &origin)
        };
        if !trusted && !origin.is_https() {
            let reason = "the token realm is neither https nor one of the mirror's realms";
            return Err(Error::protocol(reason));
        }
        let mut url = key.realm.clone();
        url.set_fragment(None);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut outgoing = Outgoing {
            kind: Kind::Token,
            method: Method::GET,
            repository: key.scope.clone(),
            url,
            headers,
            authorization: None,
            form: None,
            proof: Proof::Connection,
            deadline: None,
        };
        match login.filter(|_| trusted) {
            Some(Login::Identity(token)) => {
                outgoing.method = Method::POST;
                outgoing.form = Some(refresh(key, token.reveal()));
            }
            Some(Login::Password { username, basic }) => {
                ask_for(key, Some(username), &mut outgoing.url);
                outgoing.authorization = Some(basic.clone());
            }
            Some(Login::Bearer(_)) | None => ask_for(key, None, &mut outgoing.url),
        }
        Ok(outgoing)
    }
}

/// Writes what is asked for into the URL, as the distribution token specification says.
fn ask_for(key: &TokenKey, account: Option<&str>, url: &mut Url) {
    let mut query = url.query_pairs_mut();
    if let Some(service) = &key.service {
        query.append_pair("service", service);
    }
    for scope in key.scope.split_whitespace() {
        query.append_pair("scope", scope);
    }
    if let Some(account) = account {
        query.append_pair("account", account);
    }
}

/// Returns the form that turns an identity token into a token (OAuth 2.0, RFC 6749 section 6).
fn refresh(key: &TokenKey, token: &str) -> Form {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    if let Some(service) = &key.service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", &key.scope);
    form.append_pair("client_id", "seawall");
    form.append_pair("refresh_token", token);
    Form(form.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use url::Url;

    use super::{
        Authorizer, Error, Form, Login, Logins, Origin, Outgoing, TokenKey, TrustedOrigins,
    };
    use crate::clock::Fake;
    use crate::config::Secret;

    fn origin(text: &str) -> Origin {
        let url = Url::parse(text).expect("a URL because the test says so");
        Origin::of(&url).expect("an origin because the test says so")
    }

    fn password() -> Login {
        let login = Login::password("aladdin", &Secret::new("opensesame"));
        login.expect("sendable because it is plain")
    }

    fn request_with(login: &Login, realm: &str) -> Result<Outgoing, Error> {
        let own = origin("https://registry-1.docker.io");
        let other = origin("https://mirror.example");
        let trusted = TrustedOrigins::new(vec![own.clone(), other], Vec::new());
        let clock = Arc::new(Fake::at(0));
        let logins = Logins::new(None, std::slice::from_ref(&own), Arc::clone(&clock) as _);
        let logins = logins.expect("none is always sendable");
        let authorizer = Authorizer::new(logins, Arc::new(trusted), clock);
        let key = TokenKey {
            realm: Url::parse(realm).expect("a URL because the test says so"),
            service: Some("a b".to_owned()),
            scope: "repository:x:pull repository:y:pull".to_owned(),
            owner: 0,
        };
        authorizer.token_request(&own, &key, Some(login))
    }

    fn request_to(realm: &str) -> Result<Outgoing, Error> {
        request_with(&password(), realm)
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
    fn an_identity_token_is_posted_to_a_trusted_realm_and_shown_to_no_other() {
        let identity = Login::Identity(Secret::new("hunter2"));
        let sent = request_with(&identity, "https://auth.docker.io/token").expect("trusted");
        assert_eq!(sent.method, http::Method::POST);
        assert_eq!(sent.url.as_str(), "https://auth.docker.io/token");
        assert!(!format!("{sent:?}").contains("hunter2"));
        let Some(Form(form)) = sent.form else {
            panic!("a form is sent");
        };
        let expected = "grant_type=refresh_token&service=a+b&scope=repository%3Ax%3Apull+repository%3Ay%3Apull&client_id=seawall&refresh_token=hunter2";
        assert_eq!(form, expected);
        let foreign = request_with(&identity, "https://evil.example/token").expect("https");
        assert!(foreign.form.is_none() && foreign.authorization.is_none());
        assert!(!foreign.url.as_str().contains("hunter2"));
    }

    #[test]
    fn a_bearer_of_the_registry_is_shown_to_no_token_server() {
        let bearer = Login::Bearer(http::HeaderValue::from_static("Bearer hunter2"));
        let sent = request_with(&bearer, "https://auth.docker.io/token").expect("trusted");
        assert_eq!(sent.authorization, None);
        assert!(!sent.url.as_str().contains("hunter2"));
    }

    #[test]
    fn credentials_that_would_read_as_others_are_refused() {
        for (username, password) in [("a:b", "c"), ("a\n", "c"), ("a", "c\r\nX: y")] {
            assert_eq!(Login::password(username, &Secret::new(password)), None);
        }
    }
}
