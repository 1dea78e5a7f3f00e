//! One endpoint of an upstream: its URLs, and the exchange of one request with it, whose
//! redirects are followed by hand (`outgoing` says what may follow them).

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use tracing::info;
use url::Url;

use super::bandwidth::Bandwidth;
use super::body::{Received, Terms};
use super::error::Error;
use super::health::{Health, Verdict};
use super::origin::{Origin, TrustedOrigins};
use super::outgoing::{Chain, Form, Outgoing, redirect_target};
use super::rate_limit;
use super::resolver::{GuardedResolver, Proxies, Surroundings};
use crate::telemetry::Metrics;

/// Longest chain of redirects that is followed.
const REDIRECTS_MAX: usize = 5;

/// What came back at the end of the redirects.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) received: Received,
    /// Whether the first URL's own origin answered, so that its challenge may be met.
    pub(super) at_home: bool,
}

/// Why nothing usable came back, and from where.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// Whether the first URL's own origin is to blame, or the token server, without which it cannot be asked.
    pub(super) at_home: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            at_home: true,
        }
    }
}

impl Failed {
    /// Returns what this says about the endpoint: a place for blobs it redirects to is another matter.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.error {
            Error::RateLimited { retry_after } if self.at_home => {
                Verdict::Limited(retry_after.clone())
            }
            Error::Unavailable { .. } | Error::Failing { .. } | Error::TimedOut { .. }
                if self.at_home =>
            {
                Verdict::Failed(self.error.clone())
            }
            Error::RateLimited { .. }
            | Error::Unavailable { .. }
            | Error::Failing { .. }
            | Error::TimedOut { .. }
            | Error::NotFound
            | Error::Denied { .. }
            | Error::Loop
            | Error::Busy { .. }
            | Error::NoSpare
            | Error::Protocol { .. } => Verdict::Answered,
        }
    }
}

/// Settings of connections to the endpoints themselves, and to everything they lead to.
pub(super) struct Connections {
    pub(super) direct: Box<dyn Fn() -> reqwest::ClientBuilder>,
    pub(super) guarded: Box<dyn Fn() -> reqwest::ClientBuilder>,
}

/// What the endpoints of one mirror have in common.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) upstream: Arc<str>,
    pub(super) metrics: Metrics,
    pub(super) health: Arc<Health>,
    pub(super) trusted: Arc<TrustedOrigins>,
    /// Names of the realms that the mirror lists.
    pub(super) realm_hosts: Vec<String>,
    pub(super) proxies: Arc<Proxies>,
    pub(super) bandwidth: Arc<Bandwidth>,
}

/// One endpoint with its connections.
#[derive(Debug)]
pub(super) struct Endpoint {
    upstream: Arc<str>,
    metrics: Metrics,
    health: Arc<Health>,
    bandwidth: Arc<Bandwidth>,
    position: usize,
    configured: Url,
    root: Url,
    /// Empty, or components that go before the repository name, with a slash at the end.
    prefix: String,
    origin: Origin,
    trusted: Arc<TrustedOrigins>,
    surroundings: Arc<Surroundings>,
    /// Connects to the endpoint, wherever that is.
    direct: reqwest::Client,
    /// Connects to everything the endpoint leads to.
    guarded: reqwest::Client,
}

impl Endpoint {
    /// Prepares the endpoint at `url`, the mirror's `position`th, whose origin is `origin`.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(
        network: &Network,
        connections: &Connections,
        position: usize,
        url: &Url,
        origin: Origin,
    ) -> Result<Self, reqwest::Error> {
        let realm_hosts = network.realm_hosts.clone();
        let proxies = Arc::clone(&network.proxies);
        let surroundings = Arc::new(Surroundings::new(url, realm_hosts, proxies));
        let resolver = GuardedResolver(Arc::clone(&surroundings));
        let mut root = url.clone();
        root.set_path("/");
        root.set_query(None);
        root.set_fragment(None);
        let path = url.path().trim_matches('/');
        let separator = if path.is_empty() { "" } else { "/" };
        Ok(Self {
            upstream: Arc::clone(&network.upstream),
            metrics: network.metrics.clone(),
            health: Arc::clone(&network.health),
            bandwidth: Arc::clone(&network.bandwidth),
            position,
            configured: url.clone(),
            root,
            prefix: format!("{path}{separator}"),
            origin,
            trusted: Arc::clone(&network.trusted),
            surroundings,
            direct: (connections.direct)().build()?,
            guarded: (connections.guarded)().dns_resolver(resolver).build()?,
        })
    }

    /// Returns the endpoint's place in the mirror's list.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Returns the endpoint's URL as configured.
    pub(super) fn configured(&self) -> &Url {
        &self.configured
    }

    /// Returns the name by which the endpoint knows a repository.
    pub(super) fn repository(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Returns the endpoint's origin.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the URL of a route's `/v2/…` path and query.
    pub(super) fn url(&self, path_and_query: &str) -> Url {
        let mut url = self.root.clone();
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let below = path.strip_prefix("/v2/").unwrap_or_default();
        url.set_path(&format!("/v2/{}{below}", self.prefix));
        url.set_query(query);
        url
    }

    /// Sends a request and follows its redirects.
    ///
    /// # Errors
    /// When no answer comes, or the redirects lead where they must not; any final status is a
    /// success here.
    pub(super) async fn exchange(&self, outgoing: Outgoing) -> Result<Exchange, Failed> {
        let mut chain = Chain::start(outgoing)?;
        for _ in 0..=REDIRECTS_MAX {
            let at_home = chain.origin == chain.home;
            let sent = self.send(&chain.outgoing, &chain.origin).await;
            let response = sent.map_err(|error| Failed { error, at_home })?;
            let Some(next) = redirect_target(&response, &chain.outgoing.url)? else {
                let received = Received::new(response, self.terms(&chain.outgoing));
                return Ok(Exchange { received, at_home });
            };
            chain.follow(next)?;
        }
        Err(Error::protocol(format!("more than {REDIRECTS_MAX} redirects")).into())
    }

    fn terms(&self, outgoing: &Outgoing) -> Terms {
        Terms {
            upstream: Arc::clone(&self.upstream),
            metrics: self.metrics.clone(),
            bandwidth: Arc::clone(&self.bandwidth),
            deadline: outgoing.deadline,
            endpoint: self.position,
            kind: outgoing.kind,
        }
    }

    /// Sends one request, without following anything, and logs it.
    async fn send(&self, outgoing: &Outgoing, origin: &Origin) -> Result<reqwest::Response, Error> {
        let own = *origin == self.origin;
        let connections = if own { &self.direct } else { &self.guarded };
        if !own {
            let listed = self.trusted.lists_realm(origin);
            let checked = self.surroundings.check_url(&outgoing.url, listed);
            checked.map_err(|refused| Error::protocol(refused.to_string()))?;
        }
        let mut headers = outgoing.headers.clone();
        // The digest is that of the bytes as they are stored.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = &outgoing.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut request = connections.request(outgoing.method.clone(), outgoing.url.clone());
        if let Some(Form(form)) = &outgoing.form {
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form_type);
            request = request.body(form.clone());
        }
        let started = Instant::now();
        let result = request.headers(headers).send().await;
        if let Ok(response) = &result
            && own
        {
            if let Some(address) = response.remote_addr() {
                self.surroundings.observe(address.ip());
            }
            self.health
                .note_quota(&rate_limit::read(response.headers()));
        }
        let result = result.map_err(|error| Error::of_transport(&error, "answer"));
        self.record(outgoing, own, &result, started);
        result
    }

    /// Counts and logs a request: neither its URL, which may be signed, nor any header but the limit's.
    fn record(
        &self,
        outgoing: &Outgoing,
        own: bool,
        result: &Result<reqwest::Response, Error>,
        started: Instant,
    ) {
        let status = match result {
            Ok(response) => response.status().as_str().to_owned(),
            Err(Error::TimedOut { .. }) => "timeout".to_owned(),
            Err(_) => "error".to_owned(),
        };
        let took = started.elapsed();
        self.metrics
            .upstream_request(&self.upstream, outgoing.kind, &status, took);
        let told = match result {
            Ok(response) if own => rate_limit::read(response.headers()),
            Ok(_) | Err(_) => rate_limit::Told::default(),
        };
        info!(
            upstream = &*self.upstream,
            endpoint = self.position,
            elsewhere = (!own).then_some(true),
            kind = outgoing.kind.as_str(),
            method = outgoing.method.as_str(),
            repository = outgoing.repository,
            status,
            millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            error = result.as_ref().err().map(tracing::field::display),
            ratelimit_remaining = told.remaining,
            ratelimit_source = told.source,
            "upstream request"
        );
    }
}
