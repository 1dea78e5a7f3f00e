//! The `api` section and `http.debug`: where the server is managed and watched.

use super::problems::Problems;
use super::section::Section;

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

/// Reads the section `api`.
pub(super) fn read(_root: &Section<'_>, _problems: &mut Problems) -> Api {
    Api::default()
}

/// Reads `http.debug`.
pub(super) fn read_debug(_root: &Section<'_>, _problems: &mut Problems) -> Debug {
    Debug::default()
}
