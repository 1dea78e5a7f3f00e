//! The `api` section and `http.debug`: where the server is managed and watched.

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
