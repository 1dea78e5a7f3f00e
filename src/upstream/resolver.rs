//! Keeps the address policy where it cannot be gone round: at the lookup whose addresses are
//! then connected to, and at hosts written as addresses, which no lookup sees.
//!
//! Behind a proxy (`HTTPS_PROXY` and the like) names are looked up by the proxy, which then
//! decides what may be reached; addresses written in URLs are still checked here.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::address::Place;

/// A redirect or token realm leads where its upstream may not lead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a redirect or token realm leads to an address that the upstream may not name")]
pub(super) struct AddressRefused;

/// The proxies that the mirror or the environment names, as the HTTP client reads them.
#[derive(Debug)]
pub(super) struct Proxies {
    matcher: Matcher,
    hosts: Vec<String>,
}

impl Proxies {
    /// Reads the environment.
    pub(super) fn from_system() -> Self {
        Self::new(Matcher::from_system())
    }

    /// Takes one proxy for everything.
    pub(super) fn through(proxy: &Url) -> Self {
        Self::new(Matcher::builder().all(proxy.as_str()).build())
    }

    fn new(matcher: Matcher) -> Self {
        let anywhere = ["http://upstream.invalid/", "https://upstream.invalid/"];
        let found = anywhere.into_iter().filter_map(|target| {
            let intercept = matcher.intercept(&http::Uri::from_static(target))?;
            Some(intercept.uri().host()?.to_ascii_lowercase())
        });
        let hosts = found.collect();
        Self { matcher, hosts }
    }

    fn intercept(&self, url: &Url) -> bool {
        let uri: Result<http::Uri, _> = url.as_str().parse();
        uri.is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }

    fn has_host(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host == name)
    }
}

/// Where one endpoint stands, which decides where it may lead.
#[derive(Debug)]
pub(super) struct Surroundings {
    place: Mutex<Place>,
    /// False where the endpoint's place is written in its URL, or hidden behind a proxy.
    learns: bool,
    realm_hosts: Vec<String>,
    proxies: Arc<Proxies>,
}

impl Surroundings {
    /// Starts from the address written in the endpoint's URL, or from the Internet until its
    /// first answer tells. `realm_hosts` are the names of the realms that the mirror lists.
    pub(super) fn new(endpoint: &Url, realm_hosts: Vec<String>, proxies: Arc<Proxies>) -> Self {
        let written = written_address(endpoint);
        Self {
            place: Mutex::new(written.map_or(Place::Public, Place::of)),
            learns: written.is_none() && !proxies.intercept(endpoint),
            realm_hosts,
            proxies,
        }
    }

    /// Notes the address from which the endpoint itself answered.
    pub(super) fn observe(&self, address: IpAddr) {
        if self.learns {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Place::of(address);
        }
    }

    /// Checks a URL of another origin before it is asked; `listed` says that the mirror's
    /// `realms` hold this origin.
    ///
    /// # Errors
    /// When its host is an address that the endpoint may not lead to, or one of the proxies.
    pub(super) fn check_url(&self, url: &Url, listed: bool) -> Result<(), AddressRefused> {
        if let Some(address) = written_address(url) {
            return self.check(&[address], listed);
        }
        let name = url.host_str().ok_or(AddressRefused)?;
        // The resolver lets proxies through, so an upstream must not name them.
        if self.proxies.has_host(name) && !listed {
            return Err(AddressRefused);
        }
        Ok(())
    }

    fn check(&self, addresses: &[IpAddr], listed: bool) -> Result<(), AddressRefused> {
        let own = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = if listed { own.max(Place::Private) } else { own };
        let allowed = |address: &IpAddr| reach.may_lead_to(Place::of(*address));
        if addresses.iter().all(allowed) {
            Ok(())
        } else {
            Err(AddressRefused)
        }
    }

    fn check_resolved(&self, name: &str, found: &[SocketAddr]) -> Result<(), AddressRefused> {
        if self.proxies.has_host(name) {
            return Ok(());
        }
        let listed = self.realm_hosts.iter().any(|host| host == name);
        let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
        self.check(&addresses, listed)
    }
}

fn written_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// Looks names up once and gives only addresses that the policy allows; the HTTP client
/// connects to just these.
#[derive(Clone, Debug)]
pub(super) struct GuardedResolver(pub(super) Arc<Surroundings>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let surroundings = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            surroundings.check_resolved(name.as_str(), &found)?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper_util::client::proxy::matcher::Matcher;
    use reqwest::dns::Resolve;
    use url::Url;

    use super::{AddressRefused, GuardedResolver, Proxies, Surroundings};

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL because the test says so")
    }

    fn surroundings(endpoint: &str, realm_hosts: &[&str]) -> Surroundings {
        let proxies = Proxies::new(Matcher::builder().build());
        let realm_hosts = realm_hosts.iter().map(|&host| host.to_owned()).collect();
        Surroundings::new(&url(endpoint), realm_hosts, Arc::new(proxies))
    }

    async fn resolves(surroundings: Surroundings, name: &str) -> Result<(), String> {
        let resolver = GuardedResolver(Arc::new(surroundings));
        let name = name.parse().expect("a name because the test says so");
        match resolver.resolve(name).await {
            Ok(addresses) => {
                assert!(addresses.count() > 0);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_resolved_only_for_an_endpoint_on_it() {
        let refused = Err(AddressRefused.to_string());
        let public = surroundings("https://registry.example", &[]);
        assert_eq!(resolves(public, "localhost").await, refused);
        let private = surroundings("https://10.0.0.1", &[]);
        assert_eq!(resolves(private, "localhost").await, refused);
        let listed = surroundings("https://registry.example", &["localhost"]);
        assert_eq!(resolves(listed, "localhost").await, refused);
        let own = surroundings("http://127.0.0.1:5000", &[]);
        assert_eq!(resolves(own, "localhost").await, Ok(()));
    }

    #[test]
    fn addresses_written_in_urls_are_checked_too() {
        let public = surroundings("https://registry.example", &[]);
        for refused in [
            "http://127.0.0.1/",
            "https://[::1]:8443/",
            "http://169.254.169.254/latest/meta-data/",
            "http://2130706433/",
            "http://[::ffff:10.0.0.1]/",
            "http://192.168.0.9/",
        ] {
            let result = public.check_url(&url(refused), false);
            assert_eq!(result, Err(AddressRefused), "{refused}");
        }
        assert_eq!(public.check_url(&url("https://1.1.1.1/"), false), Ok(()));
        assert_eq!(
            public.check_url(&url("https://cdn.example/"), false),
            Ok(())
        );
    }

    #[test]
    fn a_listed_realm_may_be_private_but_not_on_this_machine() {
        let public = surroundings("https://registry.example", &[]);
        assert_eq!(public.check_url(&url("https://10.1.1.1/"), true), Ok(()));
        let loopback = url("https://127.0.0.1/");
        assert_eq!(public.check_url(&loopback, true), Err(AddressRefused));
    }

    #[test]
    fn an_endpoint_may_lead_into_the_network_it_answered_from() {
        let endpoint = surroundings("https://registry.example", &[]);
        let storage = url("http://10.9.9.9/blob");
        assert_eq!(endpoint.check_url(&storage, false), Err(AddressRefused));
        endpoint.observe([10, 0, 0, 7].into());
        assert_eq!(endpoint.check_url(&storage, false), Ok(()));
        let metadata = url("http://169.254.169.254/");
        assert_eq!(endpoint.check_url(&metadata, false), Err(AddressRefused));
        endpoint.observe([1, 1, 1, 1].into());
        assert_eq!(endpoint.check_url(&storage, false), Err(AddressRefused));
    }

    #[tokio::test]
    async fn a_proxy_of_the_mirror_keeps_the_same_rules_whatever_it_speaks() {
        for proxy in [
            "http://localhost:3128",
            "socks5://localhost:1080",
            "socks5h://localhost",
        ] {
            let proxies = Arc::new(Proxies::through(&url(proxy)));
            let endpoint = url("https://registry.example");
            let surroundings = Surroundings::new(&endpoint, Vec::new(), proxies);
            surroundings.observe([127, 0, 0, 1].into());
            for named in ["http://localhost:3128/", "http://127.0.0.1:3128/"] {
                let refused = surroundings.check_url(&url(named), false);
                assert_eq!(refused, Err(AddressRefused), "{proxy} {named}");
            }
            assert_eq!(resolves(surroundings, "localhost").await, Ok(()), "{proxy}");
        }
    }

    #[tokio::test]
    async fn a_private_proxy_is_reached_but_neither_named_nor_taken_for_the_endpoint() {
        let matcher = Matcher::builder().all("http://localhost:3128").build();
        let proxies = Arc::new(Proxies::new(matcher));
        let endpoint = url("https://registry.example");
        let surroundings = Surroundings::new(&endpoint, Vec::new(), proxies);
        surroundings.observe([127, 0, 0, 1].into());
        let named = url("http://localhost:3128/");
        assert_eq!(surroundings.check_url(&named, false), Err(AddressRefused));
        let loopback = url("http://127.0.0.1:3128/");
        assert_eq!(
            surroundings.check_url(&loopback, false),
            Err(AddressRefused)
        );
        assert_eq!(resolves(surroundings, "localhost").await, Ok(()));
    }
}
