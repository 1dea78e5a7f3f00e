//! Origins, and which of them may receive a mirror's credentials.
//!
//! Credentials belong to scheme, host and port together: a realm or redirect that differs in
//! any of them gets none, however alike the names look.

use url::Url;

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an `http` or `https` URL; `None` for other schemes and for URLs
    /// that carry a username or password, which the HTTP client would turn into a header.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        Some(Self {
            https,
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Returns whether the origin is reached over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// Returns the host as it stands in URLs: lower case, IPv6 in brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port unless it is the scheme's usual one.
    pub(super) fn unusual_port(&self) -> Option<u16> {
        let usual = if self.https { 443 } else { 80 };
        (self.port != usual).then_some(self.port)
    }

    fn is_https_default(&self, host: &str) -> bool {
        self.https && self.port == 443 && self.host == host
    }
}

/// The origins that may receive a mirror's credentials.
#[derive(Debug)]
pub(super) struct TrustedOrigins {
    endpoints: Vec<Origin>,
    realms: Vec<Origin>,
}

impl TrustedOrigins {
    /// Trusts the mirror's endpoints and the realms it lists.
    pub(super) fn new(endpoints: Vec<Origin>, realms: Vec<Origin>) -> Self {
        Self { endpoints, realms }
    }

    /// Returns whether credentials that all endpoints share may be sent to `origin`: one of the endpoints, a
    /// listed realm, or the token server that is known to belong to an endpoint.
    pub(super) fn may_receive_credentials(&self, origin: &Origin) -> bool {
        self.endpoints
            .iter()
            .any(|own| self.may_receive_credentials_of(own, origin))
    }

    /// Returns whether credentials of the endpoint `own` alone may be sent to `origin`.
    pub(super) fn may_receive_credentials_of(&self, own: &Origin, origin: &Origin) -> bool {
        own == origin || self.lists_realm(origin) || is_built_in(own, origin)
    }

    /// Returns whether the configuration lists `origin` as a realm.
    pub(super) fn lists_realm(&self, origin: &Origin) -> bool {
        self.realms.contains(origin)
    }
}

/// Registries whose token server lives elsewhere, so that nobody has to configure it.
fn is_built_in(endpoint: &Origin, realm: &Origin) -> bool {
    let is_endpoint = |host| endpoint.is_https_default(host);
    if is_endpoint("registry-1.docker.io") || is_endpoint("docker.io") {
        return realm.is_https_default("auth.docker.io");
    }
    is_endpoint("registry.gitlab.com") && realm.is_https_default("gitlab.com")
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Origin, TrustedOrigins};

    fn origin(text: &str) -> Origin {
        let url = Url::parse(text).expect("a URL because the test says so");
        Origin::of(&url).expect("an origin because the test says so")
    }

    fn trusts(endpoint: &str, realms: &[&str], asked: &str) -> bool {
        let realms = realms.iter().map(|realm| origin(realm)).collect();
        let trusted = TrustedOrigins::new(vec![origin(endpoint)], realms);
        trusted.may_receive_credentials(&origin(asked))
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(
            origin("https://A.example/x"),
            origin("https://a.example:443/y")
        );
        assert_ne!(origin("https://a.example"), origin("http://a.example:443"));
        assert_ne!(origin("https://a.example"), origin("https://a.example:444"));
        assert_ne!(origin("https://a.example"), origin("https://a.example."));
        assert_eq!(origin("http://0x7f.1/"), origin("http://127.0.0.1/"));
    }

    #[test]
    fn other_schemes_and_urls_with_credentials_have_no_origin() {
        for text in [
            "ftp://a/",
            "file:///etc/passwd",
            "https://user@a/",
            "https://:p@a/",
        ] {
            let url = Url::parse(text).expect("a URL because the test says so");
            assert_eq!(Origin::of(&url), None, "{text}");
        }
    }

    #[test]
    fn credentials_go_to_the_endpoint_and_listed_realms_only() {
        let endpoint = "https://registry.example";
        let realms = ["https://auth.example"];
        assert!(trusts(endpoint, &realms, "https://registry.example/token"));
        assert!(trusts(endpoint, &realms, "https://auth.example/token"));
        for foreign in [
            "http://registry.example/token",
            "https://registry.example:8443/token",
            "https://auth.example:8443/token",
            "https://registry.example.evil/token",
            "https://sub.registry.example/token",
        ] {
            assert!(!trusts(endpoint, &realms, foreign), "{foreign}");
        }
    }

    #[test]
    fn credentials_of_one_endpoint_do_not_go_to_another() {
        let (own, other) = (origin("https://a.example"), origin("https://b.example"));
        let realm = origin("https://auth.example");
        let trusted = TrustedOrigins::new(vec![own.clone(), other.clone()], vec![realm.clone()]);
        assert!(trusted.may_receive_credentials(&other), "those of all");
        assert!(!trusted.may_receive_credentials_of(&own, &other));
        assert!(trusted.may_receive_credentials_of(&own, &own));
        assert!(trusted.may_receive_credentials_of(&own, &realm));
    }

    #[test]
    fn docker_hub_and_gitlab_know_their_token_servers() {
        let hub = "https://registry-1.docker.io";
        assert!(trusts(hub, &[], "https://auth.docker.io/token"));
        assert!(trusts(
            "https://docker.io",
            &[],
            "https://auth.docker.io/token"
        ));
        assert!(trusts(
            "https://registry.gitlab.com",
            &[],
            "https://gitlab.com/jwt/auth"
        ));
        assert!(!trusts(hub, &[], "http://auth.docker.io/token"));
        assert!(!trusts(hub, &[], "https://gitlab.com/jwt/auth"));
        assert!(!trusts(
            "https://ghcr.io",
            &[],
            "https://auth.docker.io/token"
        ));
        assert!(!trusts(
            "http://docker.io",
            &[],
            "https://auth.docker.io/token"
        ));
    }
}
