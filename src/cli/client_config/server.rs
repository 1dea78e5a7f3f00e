//! This server as clients see it: scheme, host, port and the path below which it serves.

use std::net::SocketAddr;

use url::{Host, Url};

use crate::config::{Http, Mirrors};

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    url: Url,
    guessed: bool,
}

impl Server {
    /// Returns the server at a URL a person typed.
    ///
    /// # Errors
    /// Returns the reason when it is not an http or https URL of a server.
    pub fn at(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let is_bare = |url: &Url| {
            url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        match url.filter(is_bare) {
            Some(mut url) => {
                let path = format!("{}/", url.path().trim_end_matches('/'));
                url.set_path(&path);
                Ok(Self {
                    url,
                    guessed: false,
                })
            }
            None => Err("a URL like http://127.0.0.1:5000 is expected".to_owned()),
        }
    }

    /// Returns the server a configuration describes: `http.host`, else the address it listens on.
    #[must_use]
    pub fn configured(http: &Http) -> Self {
        let (host, port) = http.addr.rsplit_once(':').unwrap_or((&http.addr, "80"));
        let everywhere = matches!(host, "" | "0.0.0.0" | "[::]");
        Self::named(
            http,
            if everywhere { "localhost" } else { host },
            port,
            everywhere,
        )
    }

    /// Returns the server that listens on this very address.
    #[must_use]
    pub fn listening(http: &Http, address: SocketAddr) -> Self {
        let everywhere = address.ip().is_unspecified();
        let host = match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        Self::named(
            http,
            if everywhere { "localhost" } else { &host },
            &address.port().to_string(),
            everywhere,
        )
    }

    fn named(http: &Http, host: &str, port: &str, everywhere: bool) -> Self {
        let mut url = match &http.host {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{host}:{port}"))
                .expect("because the configuration checked the address to listen on"),
        };
        url.set_path(&http.prefix);
        Self {
            url,
            guessed: everywhere && http.host.is_none(),
        }
    }

    /// Returns whether the host is a guess, because the server listens on every interface.
    pub(super) fn is_a_guess(&self) -> bool {
        self.guessed
    }

    /// Returns whether the server speaks http without TLS.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// Returns the URL without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Returns `host` or `host:port`, as it stands before a repository's name.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Returns whether the server is on the client's own machine, where Docker wants no TLS.
    pub(super) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(v4)) => v4.is_loopback(),
            Some(Host::Ipv6(v6)) => v6.is_loopback(),
            None => false,
        }
    }

    /// Returns the path the server serves below, if it is not the root.
    pub(super) fn path(&self) -> Option<&str> {
        Some(self.url.path()).filter(|path| *path != "/")
    }

    /// Returns the URL containerd wants: down to `/v2` where a path stands before it, the origin otherwise.
    pub(super) fn containerd_url(&self) -> String {
        if self.path().is_some() {
            format!("{}/v2", self.url())
        } else {
            self.url().to_owned()
        }
    }

    /// Returns the origin for a client that cannot use a server below a path.
    ///
    /// # Errors
    /// Returns the reason when the server is below one.
    pub(super) fn authority_at_root(&self, client: &str) -> Result<String, String> {
        match self.path() {
            None => Ok(self.authority()),
            Some(path) => Err(format!(
                "{client} cannot use a registry below the path {path}: serve it at the root of a host (http.prefix: /)"
            )),
        }
    }

    /// Returns an image one can pull through this server, if it mirrors anything a client can name.
    pub(in crate::cli) fn example_image(&self, mirrors: &Mirrors) -> Option<String> {
        let hub = mirrors.by_name("docker.io")?;
        let prefix = if mirrors.proxy_only {
            String::new()
        } else {
            format!("{}/", hub.name)
        };
        self.path()
            .is_none()
            .then(|| format!("{}/{prefix}library/alpine", self.authority()))
    }
}
