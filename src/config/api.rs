//! The `api` section and `http.debug`: where the server is managed and watched.

use std::net::IpAddr;

use super::http::listen_address;
use super::problems::Problems;
use super::section::{Section, switch};

/// The management API. The socket in the state directory serves it always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Whether it is served over TCP too (`api.enabled`; default true).
    pub enabled: bool,
    /// An address of its own (`api.addr`; default: the registry's listener).
    pub addr: Option<String>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            enabled: true,
            addr: None,
        }
    }
}

/// The debug listener, as Distribution has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Debug {
    /// `host:port` to listen on (`http.debug.addr`; default none).
    pub addr: Option<String>,
    /// The path of Prometheus metrics there (`http.debug.prometheus.enabled` and `.path`; default `/metrics` where
    /// enabled, none where not).
    pub metrics: Option<String>,
}

/// Where Distribution shows metrics.
const METRICS_PATH: &str = "/metrics";

/// Reads the section `api`.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Api {
    let section = root.section("api");
    let defaults = Api::default();
    Api {
        enabled: section
            .parse("enabled", problems, switch)
            .unwrap_or(defaults.enabled),
        addr: section.parse("addr", problems, address),
    }
}

/// Reads `http.debug`.
pub(super) fn read_debug(root: &Section<'_>, problems: &mut Problems) -> Debug {
    let section = root.section("http").section("debug");
    let prometheus = section.section("prometheus");
    let enabled = prometheus.switch("enabled", problems);
    let path = prometheus.parse("path", problems, metrics_path);
    Debug {
        addr: section.parse("addr", problems, address),
        metrics: enabled.then(|| path.unwrap_or_else(|| METRICS_PATH.to_owned())),
    }
}

/// Notes every listener that would take an address twice; `registry` is where the registry listens, and what says so.
pub(super) fn check_addresses(
    root: &Section<'_>,
    registry: (&'static str, &str),
    (api, debug): (&Api, &Debug),
    problems: &mut Problems,
) {
    let own = api.addr.as_deref().filter(|_| api.enabled);
    let watched = root.section("http").section("debug");
    let mut taken = vec![registry];
    for (key, section, address) in [
        ("api.addr", root.section("api"), own),
        ("http.debug.addr", watched, debug.addr.as_deref()),
    ] {
        let Some(address) = address else {
            continue;
        };
        let first = taken.iter().find(|(_, other)| is_same(other, address));
        if let (Some((by, _)), Some(field)) = (first, section.field("addr", problems)) {
            field.error(problems, &format!("{address:?} is taken by {by}"));
        }
        taken.push((key, address));
    }
}

/// Returns whether two listeners cannot have these addresses at once, as far as the text tells.
fn is_same(one: &str, other: &str) -> bool {
    let read = |text: &str| -> Option<(String, u16)> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_ascii_lowercase(), port.parse().ok()?))
    };
    let (Some((one, port)), Some((other, other_port))) = (read(one), read(other)) else {
        return false;
    };
    // Port 0 is another one each time.
    port == other_port && port != 0 && (covers(&one, &other) || covers(&other, &one))
}

/// Returns whether who listens at one host listens at the other too. Whether IPv4 belongs to `::` the system decides.
fn covers(one: &str, other: &str) -> bool {
    if one.is_empty() || one == other {
        return true;
    }
    let (Ok(one), Ok(other)) = (one.parse::<IpAddr>(), other.parse::<IpAddr>()) else {
        return false;
    };
    one == other || (one.is_unspecified() && one.is_ipv4() == other.is_ipv4())
}

fn address(text: &str) -> Result<String, String> {
    listen_address(text).map(|()| text.to_owned())
}

/// Checks a path that requests can name as it stands.
fn metrics_path(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let plain = text.bytes().all(allowed) && !text.contains("//");
    if plain && text.starts_with('/') && !text.split('/').any(|part| part == "." || part == "..") {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a plain path like /metrics"))
}
