//! From a mirror's configuration to a client that can ask: endpoints, proxies, TLS, limits.

use std::path::Path;
use std::sync::Arc;

use url::Url;

use super::authorization::Authorizer;
use super::bandwidth::Bandwidth;
use super::endpoint::{Connections, Endpoint, Network};
use super::error::BuildError;
use super::health::Health;
use super::logins::Logins;
use super::origin::{Origin, TrustedOrigins};
use super::request::Requests;
use super::resolver::Proxies;
use super::slots::Slots;
use super::via::InstanceId;
use crate::clock::Clock;
use crate::config::{Mirror, Tls};
use crate::telemetry::Metrics;

/// Idle connections that are kept per host, and for how long.
const IDLE_CONNECTIONS: usize = 16;
const IDLE_TIME: std::time::Duration = std::time::Duration::from_secs(60);

/// Prepares every endpoint; nothing is connected or looked up yet.
///
/// # Errors
/// When the mirror's URLs or credentials cannot be used, or TLS cannot be set up.
pub(super) fn prepare(
    mirror: &Mirror,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    instance: &InstanceId,
) -> Result<Requests, BuildError> {
    let own = origins(mirror, "endpoint", &mirror.endpoints)?;
    let realms = origins(mirror, "realm", &mirror.realms)?;
    if own.is_empty() {
        return Err(BuildError::NoEndpoint {
            upstream: mirror.name.clone(),
        });
    }
    let upstream: Arc<str> = Arc::from(mirror.name.as_str());
    let health = Arc::new(Health::new(
        Arc::clone(&upstream),
        metrics.clone(),
        Arc::clone(&clock),
        own.len(),
    ));
    let realm_hosts = realms.iter().map(|realm| realm.host().to_owned()).collect();
    let trusted = Arc::new(TrustedOrigins::new(own.clone(), realms));
    let proxies = match &mirror.httpproxy {
        Some(proxy) => Proxies::through(proxy),
        None => Proxies::from_system(),
    };
    let network = Network {
        upstream,
        metrics,
        health: Arc::clone(&health),
        trusted: Arc::clone(&trusted),
        realm_hosts,
        proxies: Arc::new(proxies),
        bandwidth: Arc::new(Bandwidth::new(mirror.limits.bandwidth)),
    };
    let connections = connections(mirror)?;
    let unusable = |source| BuildError::Http {
        upstream: mirror.name.clone(),
        source,
    };
    let mut endpoints = Vec::with_capacity(own.len());
    for (position, (url, origin)) in mirror.endpoints.iter().zip(&own).enumerate() {
        let endpoint = Endpoint::new(&network, &connections, position, url, origin.clone());
        endpoints.push(endpoint.map_err(unusable)?);
    }
    let logins = Logins::new(mirror.login.as_ref(), &own, Arc::clone(&clock));
    let Some(logins) = logins else {
        return Err(BuildError::Credentials {
            upstream: mirror.name.clone(),
        });
    };
    Ok(Requests {
        endpoints,
        authorizer: Authorizer::new(logins, trusted, clock),
        health,
        slots: Slots::new(mirror.limits.connections, mirror.timeout.read),
        timeout: mirror.timeout.clone(),
        instance: instance.clone(),
    })
}

/// Returns the settings of connections to the mirror's own endpoints and to everything they lead to.
fn connections(mirror: &Mirror) -> Result<Connections, BuildError> {
    let problem = |what, problem| BuildError::Tls {
        upstream: mirror.name.clone(),
        what,
        problem,
    };
    let Tls {
        ca,
        identity,
        insecure,
    } = &mirror.tls;
    let roots = match ca {
        Some(file) => {
            let pem = read(file).map_err(|text| problem("tls.ca", text))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem);
            let roots = roots.map_err(|_| problem("tls.ca", "holds no PEM certificates"))?;
            if roots.is_empty() {
                return Err(problem("tls.ca", "holds no PEM certificates"));
            }
            roots
        }
        None => Vec::new(),
    };
    let identity = match identity {
        Some((certificate, key)) => {
            let mut pem = read(certificate).map_err(|text| problem("tls.certificate", text))?;
            pem.push(b'\n');
            pem.extend(read(key).map_err(|text| problem("tls.key", text))?);
            let wrong = "and tls.key hold no PEM certificate with its key";
            let identity = reqwest::Identity::from_pem(&pem);
            Some(identity.map_err(|_| problem("tls.certificate", wrong))?)
        }
        None => None,
    };
    let proxy = match &mirror.httpproxy {
        Some(url) => Some(
            reqwest::Proxy::all(url.clone())
                .map_err(|_| problem("httpproxy", "cannot be used as a proxy"))?,
        ),
        None => None,
    };
    let timeout = mirror.timeout.clone();
    let usual = move || {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("seawall/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout.connect)
            .read_timeout(timeout.read)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIME)
            // Fixed windows would hold a distant blob below its line's speed.
            .http2_adaptive_window(true);
        if !roots.is_empty() {
            builder = builder.tls_certs_merge(roots.clone());
        }
        if let Some(proxy) = &proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder
    };
    let insecure = *insecure;
    Ok(Connections {
        guarded: Box::new(usual.clone()),
        direct: Box::new(move || {
            // The client certificate is a credential, and "any certificate" is said of the endpoints alone.
            let builder = usual().tls_danger_accept_invalid_certs(insecure);
            match &identity {
                Some(identity) => builder.identity(identity.clone()),
                None => builder,
            }
        }),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, &'static str> {
    std::fs::read(file).map_err(|_| "cannot be read")
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
