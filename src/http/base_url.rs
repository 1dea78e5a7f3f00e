//! The scheme and host that clients see, for absolute `Location` headers: `http.host`, else what a
//! trusted proxy says, else the request's own `Host`. Proxies are believed on loopback and private
//! addresses only.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HOST};

use super::context::Settings;

/// Returns what goes before a path that begins with `/`; empty where only a relative URL is possible.
pub(super) fn base_url(settings: &Settings, headers: &HeaderMap, peer: Option<IpAddr>) -> String {
    if let Some(host) = &settings.host {
        return host.as_str().trim_end_matches('/').to_owned();
    }
    if settings.relative_urls {
        return String::new();
    }
    // What comes through the local socket comes from the administrator.
    let said = if peer.is_none_or(is_trusted) {
        forwarded(headers).unwrap_or_default()
    } else {
        Said::default()
    };
    let host = said.host.or_else(|| text(headers, HOST.as_str()));
    let scheme = said.scheme.unwrap_or_else(|| "http".to_owned());
    match host {
        Some(host) if is_host(&host) => format!("{scheme}://{host}"),
        Some(_) | None => String::new(),
    }
}

#[derive(Default)]
struct Said {
    scheme: Option<String>,
    host: Option<String>,
}

/// RFC 7239 first, then the older headers; of several proxies the first is the one clients speak to.
fn forwarded(headers: &HeaderMap) -> Option<Said> {
    if let Some(value) = text(headers, FORWARDED.as_str()) {
        let first = value.split(',').next()?;
        let mut said = Said::default();
        for pair in first.split(';') {
            let (name, value) = pair.split_once('=')?;
            let value = value.trim().trim_matches('"').to_owned();
            match name.trim().to_ascii_lowercase().as_str() {
                "proto" => said.scheme = scheme(&value),
                "host" => said.host = Some(value),
                _ => {}
            }
        }
        return Some(said);
    }
    let first = |name| {
        let value = text(headers, name)?;
        Some(value.split(',').next()?.trim().to_owned())
    };
    Some(Said {
        scheme: first("x-forwarded-proto").and_then(|proto| scheme(&proto)),
        host: first("x-forwarded-host"),
    })
}

fn scheme(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    (value == "http" || value == "https").then_some(value)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn is_host(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 255
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

/// The default of `http.trustedproxies`.
fn is_trusted(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::HeaderMap;

    use super::{Settings, base_url};

    fn near() -> Option<IpAddr> {
        Some([10, 0, 0, 7].into())
    }

    fn far() -> Option<IpAddr> {
        Some([203, 0, 113, 7].into())
    }

    fn settings() -> Settings {
        Settings {
            host: None,
            prefix: "/".to_owned(),
            relative_urls: false,
            headers: Vec::new(),
            manifest_limit: 0,
            catalog_most: 0,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn the_request_host_is_used_without_a_proxy() {
        let headers = headers(&[("host", "registry:5000")]);
        assert_eq!(
            base_url(&settings(), &headers, far()),
            "http://registry:5000"
        );
    }

    #[test]
    fn a_proxy_nearby_is_believed_and_one_far_away_is_not() {
        let headers = headers(&[
            ("host", "inner"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer, other"),
        ]);
        assert_eq!(base_url(&settings(), &headers, near()), "https://outer");
        assert_eq!(base_url(&settings(), &headers, far()), "http://inner");
    }

    #[test]
    fn the_standard_header_wins_over_the_older_ones() {
        let headers = headers(&[
            ("host", "inner"),
            (
                "forwarded",
                "for=1.2.3.4;proto=https;host=\"a.example:8443\", for=5.6.7.8;host=b",
            ),
            ("x-forwarded-host", "older"),
        ]);
        let url = base_url(&settings(), &headers, near());
        assert_eq!(url, "https://a.example:8443");
    }

    #[test]
    fn a_host_that_is_none_gives_a_relative_url() {
        let headers = headers(&[("host", "a/../b?c")]);
        assert_eq!(base_url(&settings(), &headers, near()), "");
    }
}
