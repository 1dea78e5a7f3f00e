//! The doors of the server: each listener shows a part of what there is.

use super::context::Settings;

/// What a listener is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// The registry (`http.addr`).
    Registry {
        /// Whether the management API and the metrics are here too.
        api: bool,
    },
    /// The management API at an address of its own (`api.addr`).
    Management,
    /// What watches the server (`http.debug.addr`).
    Debug {
        /// The path of the metrics, if they are on (`http.debug.prometheus`).
        metrics: Option<String>,
    },
    /// The socket in the state directory: everything.
    Socket,
}

impl Door {
    /// Tells whether the registry API is behind this door.
    pub(super) fn has_registry(&self) -> bool {
        match self {
            Self::Registry { .. } | Self::Socket => true,
            Self::Management | Self::Debug { .. } => false,
        }
    }

    /// Returns what stands before the management API behind this door, beginning and ending with `/`.
    pub(super) fn api_prefix<'a>(&self, settings: &'a Settings) -> Option<&'a str> {
        match self {
            Self::Registry { api: true } => Some(&settings.prefix),
            // No proxy in front of these serves more than Seawall.
            Self::Management | Self::Socket => Some("/"),
            Self::Registry { api: false } | Self::Debug { .. } => None,
        }
    }

    /// Tells what the metrics behind this door are to a request for `path`.
    pub(super) fn metrics(&self, path: &str) -> Metrics {
        let is_here = match self {
            Self::Registry { api } => *api && path == "/metrics",
            Self::Management | Self::Socket => path == "/metrics",
            Self::Debug { metrics } => {
                let is_here = metrics.as_deref() == Some(path);
                return if is_here {
                    Metrics::Open
                } else {
                    Metrics::Elsewhere
                };
            }
        };
        if is_here {
            Metrics::Guarded
        } else {
            Metrics::Elsewhere
        }
    }

    /// Tells whether `/debug/health` is behind this door.
    pub(super) fn has_debug_health(&self) -> bool {
        matches!(self, Self::Debug { .. } | Self::Socket)
    }
}

/// What a path says about metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metrics {
    /// They are here, for everybody.
    Open,
    /// They are here, for the administrator.
    Guarded,
    /// They are not here.
    Elsewhere,
}
