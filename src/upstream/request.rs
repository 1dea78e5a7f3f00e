//! One request to an upstream: over its endpoints in order, each with the token dance.
//!
//! The next endpoint is asked only when one is in trouble, never when it said no.

use std::sync::Arc;

use http::header::VIA;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::asking::{Manner, Patience};
use super::authorization::Authorizer;
use super::challenge::challenges;
use super::client::{EndpointStanding, Standing};
use super::endpoint::{Endpoint, Exchange, Network, Outgoing, Proof};
use super::error::{BuildError, Error};
use super::origin::{Origin, TrustedOrigins};
use super::resolver::Proxies;
use super::via::{InstanceId, Via};
use crate::clock::Clock;
use crate::config::{Login, Mirror};
use crate::telemetry::{Kind, Metrics};

/// What is asked, whichever endpoint answers.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) method: Method,
    /// The repository's name at the upstream.
    pub(super) repository: String,
    /// A printed route.
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    pub(super) proof: Proof,
}

/// For whom a call is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The way the asker's request has come.
    pub(super) via: &'a Via,
    pub(super) manner: Manner,
    pub(super) patience: Patience,
}

/// An answer that is the upstream's word: any status but those of an endpoint in trouble.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: reqwest::Response,
    pub(super) asked: Asked,
}

/// Who was asked for what, before any redirect.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) url: Url,
    endpoint: usize,
}

impl Answer {
    /// Returns the answer when its status is one of `expected`.
    ///
    /// # Errors
    /// What the status means.
    pub(super) fn expect(self, expected: &[StatusCode]) -> Result<Self, Error> {
        let status = self.response.status();
        if expected.contains(&status) {
            return Ok(self);
        }
        let unexpected = || Error::protocol(format!("status {}", status.as_u16()));
        Err(Error::of_status(status, self.response.headers()).unwrap_or_else(unexpected))
    }
}

/// The endpoints of one mirror and what authorises requests to them.
#[derive(Debug)]
pub(super) struct Requests {
    endpoints: Vec<Endpoint>,
    authorizer: Authorizer,
    instance: InstanceId,
}

impl Requests {
    /// Prepares every endpoint; nothing is connected or looked up yet.
    ///
    /// # Errors
    /// When the mirror's URLs or credentials cannot be used, or TLS cannot be set up.
    pub(super) fn new(
        mirror: &Mirror,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        instance: &InstanceId,
    ) -> Result<Self, BuildError> {
        let own = origins(mirror, "endpoint", &mirror.endpoints)?;
        let realms = origins(mirror, "realm", &mirror.realms)?;
        if own.is_empty() {
            return Err(BuildError::NoEndpoint {
                upstream: mirror.name.clone(),
            });
        }
        let realm_hosts = realms.iter().map(|realm| realm.host().to_owned()).collect();
        let trusted = Arc::new(TrustedOrigins::new(own.clone(), realms));
        let network = Network {
            upstream: Arc::from(mirror.name.as_str()),
            metrics,
            timeout: mirror.timeout.clone(),
            trusted: Arc::clone(&trusted),
            realm_hosts,
            proxies: Arc::new(Proxies::from_system()),
        };
        let mut endpoints = Vec::with_capacity(own.len());
        for (position, (url, origin)) in mirror.endpoints.iter().zip(own).enumerate() {
            let endpoint = Endpoint::new(&network, position, url, origin);
            endpoints.push(endpoint.map_err(|source| BuildError::Http {
                upstream: mirror.name.clone(),
                source,
            })?);
        }
        let credentials = match &mirror.login {
            Some(Login::Password(credentials)) => Some(credentials),
            _ => None,
        };
        let authorizer = Authorizer::new(credentials, trusted, clock);
        let Some(authorizer) = authorizer else {
            return Err(BuildError::Credentials {
                upstream: mirror.name.clone(),
            });
        };
        Ok(Self {
            endpoints,
            authorizer,
            instance: instance.clone(),
        })
    }

    /// Returns the answer of the first endpoint that is not in trouble.
    ///
    /// # Errors
    /// The first endpoint's trouble when all are, and at once an answer that cannot be used.
    pub(super) async fn send(&self, call: &Call, errand: &Errand<'_>) -> Result<Answer, Error> {
        let mut trouble = None;
        for endpoint in &self.endpoints {
            let url = endpoint.url(&call.path_and_query);
            match self.ask(endpoint, call, errand.via, url).await {
                Err(error) if error.tries_next_endpoint() => {
                    trouble.get_or_insert(error);
                }
                result => return result,
            }
        }
        Err(trouble.expect("a trouble because there is an endpoint and none answered"))
    }

    /// Returns the answer to the page after the one `asked`, at the same endpoint. Of `next`, which
    /// the upstream chose, only path and query count.
    ///
    /// # Errors
    /// As [`Requests::send`], for this one endpoint.
    pub(super) async fn send_next(
        &self,
        call: &Call,
        via: &Via,
        asked: &Asked,
        next: &Url,
    ) -> Result<Answer, Error> {
        let mut url = asked.url.clone();
        url.set_path(next.path());
        url.set_query(next.query());
        let endpoint = &self.endpoints[asked.endpoint];
        self.ask(endpoint, call, via, url).await
    }

    /// Returns how the upstream stands.
    pub(super) fn standing(&self) -> Standing {
        let standing = |endpoint: &Endpoint| EndpointStanding {
            url: endpoint.configured().to_string(),
            healthy: true,
        };
        Standing {
            healthy: true,
            endpoints: self.endpoints.iter().map(standing).collect(),
            ratelimit_remaining: None,
            ratelimit_limit: None,
        }
    }

    /// Returns whether background work may ask now.
    pub(super) fn spare(&self) -> bool {
        true
    }

    /// Asks one endpoint, and once more when its challenge can be met.
    async fn ask(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        via: &Via,
        url: Url,
    ) -> Result<Answer, Error> {
        let sent = self.authorizer.foresee(endpoint, &call.repository).await?;
        let mut headers = call.headers.clone();
        headers.insert(VIA, via.onward(&self.instance));
        let mut outgoing = Outgoing {
            kind: call.kind,
            method: call.method.clone(),
            url: url.clone(),
            headers,
            authorization: sent.clone(),
            proof: call.proof,
        };
        let Exchange {
            mut response,
            at_home,
        } = endpoint.exchange(outgoing.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && at_home {
            let offered = challenges(response.headers());
            let met = self
                .authorizer
                .answer(endpoint, &call.repository, offered, sent.as_ref());
            if let Some(authorization) = met.await? {
                outgoing.authorization = Some(authorization);
                response = endpoint.exchange(outgoing).await?.response;
            }
        }
        match Error::of_status(response.status(), response.headers()) {
            Some(error) if error.tries_next_endpoint() => Err(error),
            _ => Ok(Answer {
                response,
                asked: Asked {
                    url,
                    endpoint: endpoint.position(),
                },
            }),
        }
    }
}

fn origins(mirror: &Mirror, what: &'static str, urls: &[Url]) -> Result<Vec<Origin>, BuildError> {
    let mut found = Vec::with_capacity(urls.len());
    for (position, url) in urls.iter().enumerate() {
        let Some(origin) = Origin::of(url) else {
            return Err(BuildError::Url {
                upstream: mirror.name.clone(),
                what,
                position,
                problem: "is not an http or https URL without a username",
            });
        };
        found.push(origin);
    }
    Ok(found)
}
